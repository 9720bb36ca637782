//! What this machine knows of a token beside the server's list: its rotation.

use crate::api::Token;
use crate::cli::Context;
use crate::cli::output::span;
use crate::expiry::{Expiry, UnixTime};
use crate::rotation::journal::{self, Journal, Step};

/// The rotations that this machine has begun and not finished.
pub struct Rotations {
    journals: Vec<Journal>,
    now: UnixTime,
}

impl Rotations {
    /// Reads them. A journal that can't be read is `wit doctor`'s to tell.
    pub fn load(context: &Context) -> Self {
        Rotations {
            journals: journal::all(&context.paths).unwrap_or_default(),
            now: UnixTime::now(),
        }
    }

    /// The end of a replaced token's grace by this machine's clock, where that is still to come.
    pub fn grace_end(&self, id: &str) -> Option<UnixTime> {
        let mut journals = self.journals.iter();
        let journal =
            journals.find(|journal| journal.step == Step::Grace && journal.old_id == id)?;
        journal.revoke_at.filter(|at| at.since(self.now) > 0)
    }

    /// Seconds that a replaced token has left. `now` is the server's clock.
    pub fn grace_left(&self, token: &Token, now: UnixTime) -> Option<i64> {
        let left = self.grace_end(&token.id)?.since(self.now);
        let expiry = token.expiry.map(|expiry: Expiry| expiry.left(now).max(0));
        Some(expiry.map_or(left, |expiry| expiry.min(left)))
    }

    /// Whether a rotation from or to the token waits to be finished.
    pub fn is_unfinished(&self, id: &str) -> bool {
        let mut journals = self.journals.iter();
        journals.any(|journal| journal.is_of(id) && journal.is_due(self.now))
    }
}

/// `replaced, ends in 52 minutes`.
pub fn replaced(left: i64) -> String {
    format!("replaced, ends in {}", span(left))
}
