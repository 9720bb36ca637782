//! The rotations that this machine has not finished, as far as a token's state goes.

use crate::api::Token;
use crate::config::Paths;
use crate::expiry::UnixTime;
use crate::rotation::journal::{self, Journal, Step};

/// The rotations that this machine has begun and not finished.
pub struct Rotations {
    journals: Vec<Journal>,
    /// By this machine's clock.
    now: UnixTime,
}

impl Rotations {
    /// Reads them. A journal that can't be read is `wit doctor`'s to tell.
    pub fn load(paths: &Paths) -> Self {
        Rotations {
            journals: journal::all(paths).unwrap_or_default(),
            now: UnixTime::now(),
        }
    }

    /// Seconds until the end of a replaced token's grace, where that is still to come.
    pub fn grace(&self, id: &str) -> Option<i64> {
        let is_meant = |journal: &&Journal| {
            journal.step == Step::Grace && journal.old_id == id && !journal.is_due(self.now)
        };
        let journal = self.journals.iter().find(is_meant)?;
        // The journal's times are the server's.
        let now = self.now.plus(journal.clock_skew);
        Some(journal.revoke_at?.since(now))
    }

    /// When a replaced token ends, by the server's clock: as this machine's rotation has it, or as
    /// the server says of a token that was replaced elsewhere.
    pub fn ends(&self, token: &Token, now: UnixTime) -> Option<UnixTime> {
        let expiry = token.expiry.map(|expiry| expiry.0);
        let grace = self.grace(&token.id).map(|left| now.plus(left));
        match (&token.replaced_by, grace) {
            (Some(_), None) => expiry,
            (_, Some(grace)) => Some(expiry.map_or(grace, |expiry| expiry.min(grace))),
            (None, None) => None,
        }
    }

    /// Returns whether a rotation from or to the token waits to be finished.
    pub fn is_unfinished(&self, id: &str) -> bool {
        let mut journals = self.journals.iter();
        journals.any(|journal| journal.is_of(id) && journal.is_due(self.now))
    }
}
