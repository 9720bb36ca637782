//! When tokens and sessions are used: noted with each request, written down together, off its path.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Platform;
use super::lock::lock;
use crate::database::sessions::{Session, SessionUse};
use crate::database::tokens::{Grant, Use};

/// Longest time that a use stays unwritten. A server that is killed forgets those.
const KEPT_BACK: Duration = Duration::from_secs(1);
/// Longest time that a list of tokens waits for uses to be written: reading goes on while
/// another program has the database locked.
const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// The uses that are not written down yet. In the order of ids, so that two servers that write the
/// same ones at once can't wait for each other.
#[derive(Debug, Default)]
pub struct LastUsed {
    tokens: Mutex<BTreeMap<Uuid, Use>>,
    sessions: Mutex<BTreeMap<String, SessionUse>>,
    /// Held while they are written: whoever then shows them waits for what is on its way.
    writing: tokio::sync::Mutex<()>,
}

impl LastUsed {
    /// Notes a use that counts. The first address since the last writing is kept.
    pub fn note(&self, grant: &Grant, from: IpAddr) {
        if !grant.use_counts {
            return;
        }
        let mut uses = lock(&self.tokens);
        uses.entry(grant.token_id).or_insert(Use {
            token_id: grant.token_id,
            at: OffsetDateTime::now_utc(),
            from: Some(from),
        });
    }

    /// Notes a session's use that counts.
    pub fn note_session(&self, session: &Session, from: IpAddr) {
        if !session.use_counts {
            return;
        }
        let session_id = session.id.clone();
        lock(&self.sessions)
            .entry(session_id)
            .or_insert_with_key(|id| SessionUse {
                session_id: id.clone(),
                at: OffsetDateTime::now_utc(),
                from,
            });
    }

    fn take(&self) -> Vec<Use> {
        std::mem::take(&mut *lock(&self.tokens))
            .into_values()
            .collect()
    }

    /// Notes uses that could not be written down again, where there is no newer one.
    fn put_back(&self, uses: Vec<Use>) {
        let mut noted = lock(&self.tokens);
        for one in uses {
            noted.entry(one.token_id).or_insert(one);
        }
    }
}

impl Platform {
    /// Writes down what was noted, to its end also where the caller goes away. Waits for a short
    /// time only. What can't be written down stays noted.
    pub async fn write_uses(self: &Arc<Self>) {
        let platform = self.clone();
        let written = tokio::spawn(async move { platform.write_all_uses().await });
        let _ = tokio::time::timeout(WRITE_TIMEOUT, written).await;
    }

    /// Writes down what was noted, however long the database takes.
    pub async fn write_all_uses(&self) {
        let _writing = self.last_used.writing.lock().await;
        let sessions: Vec<SessionUse> = std::mem::take(&mut *lock(&self.last_used.sessions))
            .into_values()
            .collect();
        // One that is lost is noted again at its session's next request.
        if !sessions.is_empty()
            && let Err(error) = self.database.write_session_uses(&sessions).await
        {
            tracing::error!(?error, "can't write down when sessions were used");
        }
        let uses = self.last_used.take();
        if uses.is_empty() {
            return;
        }
        if let Err(error) = self.database.write_uses(&uses).await {
            tracing::error!(?error, "can't write down when tokens were used");
            self.last_used.put_back(uses);
        }
    }
}

/// Writes uses down time and again, for as long as there is a platform.
pub async fn write_down(platform: Weak<Platform>) {
    loop {
        tokio::time::sleep(KEPT_BACK).await;
        match platform.upgrade() {
            Some(platform) => platform.write_all_uses().await,
            None => return,
        }
    }
}
