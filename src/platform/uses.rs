//! When tokens are used: noted with each request, written down together, off its path.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Platform;
use crate::database::tokens::{Grant, Use};

/// How long a use may stay unwritten. A server that is killed forgets those.
const KEPT_BACK: Duration = Duration::from_secs(1);

/// The uses that are not written down yet. In the order of ids, so that two servers that write the
/// same ones at once can't wait for each other.
#[derive(Debug, Default)]
pub struct Uses(Mutex<BTreeMap<Uuid, Use>>);

impl Uses {
    /// Notes a use that counts. The first address since the last writing is kept.
    pub fn note(&self, grant: &Grant, from: IpAddr) {
        if !grant.use_counts {
            return;
        }
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.entry(grant.token_id).or_insert(Use {
            token_id: grant.token_id,
            at: OffsetDateTime::now_utc(),
            from: Some(from),
        });
    }

    fn take(&self) -> Vec<Use> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *uses).into_values().collect()
    }
}

impl Platform {
    /// Writes down what was noted. Where that fails, a token's next use is noted again.
    pub async fn write_uses(&self) {
        let uses = self.uses.take();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.database.write_uses(&uses).await {
            tracing::error!(?error, "can't write down when tokens were used");
        }
    }
}

/// Writes uses down time and again, for as long as there is a platform.
pub async fn write_down(platform: Weak<Platform>) {
    loop {
        tokio::time::sleep(KEPT_BACK).await;
        match platform.upgrade() {
            Some(platform) => platform.write_uses().await,
            None => return,
        }
    }
}
