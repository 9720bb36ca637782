//! Bounds the gits that run at once. Nobody may have more of them than half of those that are free,
//! so one account or one network that has many never keeps a newcomer waiting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::platform::limits::network;
use crate::platform::lock::lock;
use crate::platform::refusal::Refusal;

/// Gits that run at once.
const MAX_SLOTS: usize = 96;
/// Requests of one network that wait at once. More are refused at once.
const MAX_WAITING: usize = 128;
/// Longest wait of a request for a slot before it is refused.
const SLOT_TIMEOUT: Duration = Duration::from_secs(30);

/// Gives out the slots.
#[derive(Clone, Debug)]
pub struct GitSlots(Arc<Mutex<State>>);

/// The right to run one git, held until dropped.
#[derive(Debug)]
pub struct Slot {
    slots: GitSlots,
    requester: Requester,
}

/// Requester of a git process: the address, and the account's id unless it is anonymous.
#[derive(Clone, Debug)]
pub struct Requester {
    network: IpAddr,
    account: Option<String>,
}

impl Requester {
    pub fn new(address: IpAddr, account: Option<&str>) -> Self {
        Requester {
            network: network(address),
            account: account.map(str::to_owned),
        }
    }
}

#[derive(Debug)]
struct State {
    free: usize,
    networks: HashMap<IpAddr, usize>,
    accounts: HashMap<String, usize>,
    /// In the order of arrival. While the lock is free, none of them could be given a slot.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    requester: Requester,
    slot: oneshot::Sender<Slot>,
}

impl State {
    /// The slots that a requester has, by its network or its account.
    fn held(&self, requester: &Requester) -> usize {
        let by_network = self.networks.get(&requester.network);
        let account = requester.account.as_ref();
        let by_account = account.and_then(|account| self.accounts.get(account));
        by_network.max(by_account).copied().unwrap_or(0)
    }

    fn may_take(&self, requester: &Requester) -> bool {
        2 * self.held(requester) < self.free
    }

    fn take(&mut self, requester: &Requester) {
        self.free -= 1;
        *self.networks.entry(requester.network).or_default() += 1;
        if let Some(account) = &requester.account {
            *self.accounts.entry(account.clone()).or_default() += 1;
        }
    }

    fn give_back(&mut self, requester: &Requester) {
        fn less<K: std::hash::Hash + Eq>(held: &mut HashMap<K, usize>, key: &K) {
            if let Some(count) = held.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    held.remove(key);
                }
            }
        }
        self.free += 1;
        less(&mut self.networks, &requester.network);
        if let Some(account) = &requester.account {
            less(&mut self.accounts, account);
        }
    }

    /// Takes out of the queue who gets the next slot: of those that may have one, the one that has
    /// the fewest, and of several such the first.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(|waiting| !waiting.slot.is_closed());
        let candidates = self.waiting.iter().enumerate();
        let (index, _) = candidates
            .filter(|(_, waiting)| self.may_take(&waiting.requester))
            .min_by_key(|(_, waiting)| self.held(&waiting.requester))?;
        Some(self.waiting.remove(index))
    }
}

impl Default for GitSlots {
    fn default() -> Self {
        GitSlots(Arc::new(Mutex::new(State {
            free: MAX_SLOTS,
            networks: HashMap::new(),
            accounts: HashMap::new(),
            waiting: Vec::new(),
        })))
    }
}

impl GitSlots {
    /// Waits for a slot, at most 30 seconds; then the request is refused with 503.
    pub async fn take(&self, requester: Requester) -> Result<Slot, Refusal> {
        let slot = {
            let mut state = self.state();
            if state.may_take(&requester) {
                state.take(&requester);
                return Ok(self.slot(requester));
            }
            let of_network = |waiting: &&Waiting| {
                waiting.requester.network == requester.network && !waiting.slot.is_closed()
            };
            if state.waiting.iter().filter(of_network).count() >= MAX_WAITING {
                return Err(Refusal::busy());
            }
            let (give, slot) = oneshot::channel();
            state.waiting.push(Waiting {
                requester,
                slot: give,
            });
            slot
        };
        let given = tokio::time::timeout(SLOT_TIMEOUT, slot).await;
        given.ok().and_then(Result::ok).ok_or_else(Refusal::busy)
    }

    /// Returns whether no git runs.
    pub fn are_free(&self) -> bool {
        self.state().free == MAX_SLOTS
    }

    fn slot(&self, requester: Requester) -> Slot {
        Slot {
            slots: self.clone(),
            requester,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut given = Vec::new();
        let mut state = self.slots.state();
        state.give_back(&self.requester);
        while let Some(waiting) = state.next() {
            state.take(&waiting.requester);
            given.push(waiting);
        }
        drop(state);
        for Waiting { requester, slot } in given {
            // Where the request has just gone away, the slot comes back and is dropped: given on.
            let _ = slot.send(self.slots.slot(requester));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;

    fn from(host: u8, account: Option<&str>) -> Requester {
        Requester::new(IpAddr::from([192, 0, 2, host]), account)
    }

    async fn is_waiting<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    /// As many slots as a requester gets without waiting.
    async fn all_of(slots: &GitSlots, requester: &Requester) -> Vec<Slot> {
        let mut held = Vec::new();
        loop {
            let mut next = Box::pin(slots.take(requester.clone()));
            match std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await {
                Poll::Ready(slot) => held.push(slot.expect("a slot")),
                Poll::Pending => return held,
            }
        }
    }

    #[tokio::test]
    async fn an_account_with_all_its_slots_waits_and_others_do_not() {
        let slots = GitSlots::default();
        let one = from(1, Some("one"));
        let mut held = all_of(&slots, &one).await;
        assert_eq!(held.len(), MAX_SLOTS / 3);
        // From elsewhere too.
        let mut waiting = std::pin::pin!(slots.take(from(2, Some("one"))));
        assert!(is_waiting(&mut waiting).await);
        assert!(slots.take(from(3, None)).await.is_ok());
        held.pop();
        assert!(waiting.await.is_ok());
        held.clear();
        let state = slots.state();
        assert_eq!(state.free, MAX_SLOTS);
        assert!(state.accounts.is_empty() && state.networks.is_empty());
    }

    #[tokio::test]
    async fn several_greedy_networks_leave_slots_for_newcomers() {
        let slots = GitSlots::default();
        let mut held = Vec::new();
        for host in 1..=8 {
            held.extend(all_of(&slots, &from(host, None)).await);
        }
        assert!(held.len() > MAX_SLOTS / 2);
        assert!(slots.take(from(100, Some("new"))).await.is_ok());
        assert!(slots.take(from(101, None)).await.is_ok());
    }

    #[tokio::test]
    async fn of_those_that_wait_the_one_with_the_fewest_slots_is_next() {
        let slots = GitSlots::default();
        let greedy = from(1, None);
        let mut held = all_of(&slots, &greedy).await;
        for host in 2..=200 {
            held.extend(slots.take(from(host, None)).await.ok());
            if slots.state().free == 0 {
                break;
            }
        }
        let mut first = std::pin::pin!(slots.take(greedy));
        let mut second = std::pin::pin!(slots.take(from(201, None)));
        assert!(is_waiting(&mut first).await && is_waiting(&mut second).await);
        held.pop();
        assert!(second.await.is_ok());
        assert!(is_waiting(&mut first).await);
    }

    #[tokio::test]
    async fn a_slot_for_a_request_that_went_away_is_given_on() {
        let slots = GitSlots::default();
        let one = from(1, Some("one"));
        let held = all_of(&slots, &one).await;
        let mut gone = Box::pin(slots.take(one.clone()));
        std::future::poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await;
        let mut stays = std::pin::pin!(slots.take(one));
        assert!(is_waiting(&mut stays).await);
        drop(gone);
        drop(held);
        assert!(stays.await.is_ok());
        assert_eq!(slots.state().free, MAX_SLOTS);
    }

    #[tokio::test]
    async fn a_network_has_only_so_many_that_wait() {
        let slots = GitSlots::default();
        let one = from(1, None);
        let _held = all_of(&slots, &one).await;
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            let mut next = Box::pin(slots.take(one.clone()));
            std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
            waiting.push(next);
        }
        // The one that it holds back itself waits too; the next is refused.
        assert!(slots.take(one.clone()).await.is_err());
        waiting.pop();
        let mut next = std::pin::pin!(slots.take(one));
        assert!(is_waiting(&mut next).await);
    }
}
