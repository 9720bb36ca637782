//! How many gits run at once: a few clients that never finish must leave room for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::refusal::Refusal;

/// Gits that run at once.
const IN_ALL: usize = 96;
/// Those of them that one account, or one network of strangers, may have.
const FOR_ONE: usize = 32;
/// How long a request waits for its turn before it is sent away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whom a git runs for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// An account's id.
    Account(String),
    /// Where a stranger asks from.
    Network(IpAddr),
}

/// Who has how many.
#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    each: Mutex<HashMap<Whom, Arc<Semaphore>>>,
}

/// The right to run one git, held until dropped.
#[derive(Debug)]
pub struct Turn {
    _own: OwnedSemaphorePermit,
    _one_of_all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Turns {
            all: Arc::new(Semaphore::new(IN_ALL)),
            each: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn, for 30 seconds at most; then 503.
    pub async fn take(&self, whom: Whom) -> Result<Turn, Refusal> {
        let own = {
            let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
            let own = each.entry(whom);
            own.or_insert_with(|| Arc::new(Semaphore::new(FOR_ONE)))
                .clone()
        };
        let both = async {
            // One's own first: who waits for it must not hold one of all.
            Some(Turn {
                _own: own.acquire_owned().await.ok()?,
                _one_of_all: self.all.clone().acquire_owned().await.ok()?,
            })
        };
        let taken = tokio::time::timeout(PATIENCE, both).await;
        taken.ok().flatten().ok_or_else(Refusal::busy)
    }

    /// Forgets those who have none.
    pub fn forget(&self) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|_, own| own.available_permits() < FOR_ONE);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn who_has_all_his_turns_waits_and_others_do_not() {
        let turns = Turns::default();
        let one = Whom::Account("one".to_owned());
        let mut held = Vec::new();
        for _ in 0..FOR_ONE {
            held.push(turns.take(one.clone()).await.expect("a turn"));
        }
        let mut waiting = std::pin::pin!(turns.take(one));
        let is_waiting =
            std::future::poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending()));
        assert!(is_waiting.await);
        let other = Whom::Network(IpAddr::from([127, 0, 0, 1]));
        assert!(turns.take(other).await.is_ok());
        held.pop();
        assert!(waiting.await.is_ok());
        held.clear();
        turns.forget();
        assert!(turns.each.lock().expect("no panic").is_empty());
    }
}
