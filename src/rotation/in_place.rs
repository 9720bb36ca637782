//! A stored token that replaces itself and ends at once: there is no overlap, so no pending slot, no
//! grace, and no way back.
//!
//! The request is sent once, by a token that was just seen to be alive. Its answer is stored in the
//! old token's place by one write, before anything else is done. Where the answer is lost, or the
//! process died, the old token decides: a host that refuses it has carried the request out, and
//! what nobody received is lost; a host that still takes it has not. Never is the request sent
//! by a token that may be revoked: GitLab takes that for a theft, and revokes every token that came
//! of it.

use std::time::Instant;

use super::steps::{doing, site_of};
use super::*;
use crate::api::CreatedToken;
use crate::config;
use crate::credential::TokenInfo;
use crate::store;

/// Time after the request in which a token that still works may yet be replaced by it: a proxy or a
/// worker may be busy with it although nobody waits any more. `WIT_SETTLE_TIMEOUT` says otherwise.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between two looks at the token meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Most tries to store the only copy of a new token, a second apart.
const STORE_ATTEMPTS: usize = 20;
/// Most shorter lifetimes that are asked for after a refusal.
const MAX_LIFETIMES: u32 = 2;

const ENDED: &str = "the old token has replaced itself and has ended";

/// The state of a token whose request may have been carried out.
enum Old {
    /// The request did nothing.
    Alive,
    /// The request was carried out, or the token ended in another way.
    Dead,
    /// It is not stored any more, and so can't be asked about.
    Gone,
}

impl Rotator<'_> {
    /// Has the token replace itself, and stores the new one in its place. `Some` where there is
    /// nothing left to do.
    pub(super) fn replace_in_place(
        &self,
        journal: &mut Journal,
    ) -> Result<Option<Outcome>, RotationError> {
        let site = site_of(journal)?;
        let item = store::load(self.store, &site)?;
        if journal.attempts > 0 {
            if let Some(id) = successor(&item, journal) {
                journal.new_id = Some(id);
                self.stored(journal)?;
                return Ok(None);
            }
            match self.settled(journal, &item)? {
                Old::Alive => {}
                Old::Dead => return Err(self.lost_in_place(journal, &site)?),
                Old::Gone => return self.nothing_left(journal).map(Some),
            }
        }
        let Some(old) = with_id(&item.credentials.0, &journal.old_id).cloned() else {
            return self.nothing_left(journal).map(Some);
        };
        let mut lifetimes = 0;
        loop {
            journal.attempts += 1;
            journal.sent = self.server_time();
            self.step(journal, Step::Creating)?;
            let error = match self.api.create(&journal.new_token()) {
                Ok(created) => {
                    self.take_place(journal, &site, &old, &created)?;
                    return Ok(None);
                }
                Err(error) => error,
            };
            // By a token that was alive a moment ago: something has ended it since, perhaps a copy
            // of this request.
            let is_dead = matches!(error, ApiError::Unauthorized);
            if is_dead || error.may_be_carried_out() {
                return match self.settled(journal, &item)? {
                    Old::Dead => Err(self.lost_in_place(journal, &site)?),
                    Old::Alive | Old::Gone => {
                        journal.clear(self.paths)?;
                        Err(doing("replacing the token")(error))
                    }
                };
            }
            let shorter = match (&error, journal.expires_in_days) {
                (ApiError::Refused { message }, Some(days)) if lifetimes < MAX_LIFETIMES => {
                    self.api.longest_lifetime(days, message)
                }
                _ => None,
            };
            let Some(days) = shorter else {
                journal.clear(self.paths)?;
                return Err(doing("replacing the token")(error));
            };
            // A refusal of the request has left the token alone; whether it did is asked all the same.
            match self.api.verify(old.auth.secret()) {
                Ok(_) => {}
                Err(ApiError::Unauthorized) => return Err(self.lost_in_place(journal, &site)?),
                Err(error) => {
                    return Err(doing("asking whether the token was replaced")(error));
                }
            }
            lifetimes += 1;
            journal.expires_in_days = Some(days);
        }
    }

    /// The one write that matters: between the answer and it nothing is done.
    fn take_place(
        &self,
        journal: &mut Journal,
        site: &Site,
        old: &Credential,
        created: &CreatedToken,
    ) -> Result<(), RotationError> {
        (self.reached)("created");
        let new = self.successor_of(old, created, journal);
        let write = || {
            store::update(self.store, self.paths, site, |item| {
                put_in_place(item, &journal.old_id, &new);
            })
        };
        let mut written = write();
        for _ in 1..STORE_ATTEMPTS {
            if written.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_secs(1));
            written = write();
        }
        written?;
        (self.reached)("stored");
        journal.new_id = Some(created.token.id.clone());
        self.stored(journal)
    }

    /// The new token is asked about only where it goes on to receivers: there is no way back.
    fn stored(&self, journal: &mut Journal) -> Result<(), RotationError> {
        let is_for_others = journal.deliveries.iter().any(|delivery| !delivery.done);
        self.step(
            journal,
            match is_for_others {
                true => Step::Verifying,
                false => Step::Delivering,
            },
        )
    }

    fn successor_of(
        &self,
        old: &Credential,
        created: &CreatedToken,
        journal: &Journal,
    ) -> Credential {
        let CreatedToken { token, secret } = created;
        let sign_in = old.sign_in.clone().map(|mut sign_in| {
            sign_in.issued = (self.now)();
            sign_in.scopes.clone_from(&token.scopes);
            sign_in.ended = false;
            sign_in
        });
        Credential {
            auth: old.auth.with(secret.clone()),
            expiry: token.expiry,
            token: Some(self.info_of(token, journal)),
            sign_in,
            ..old.clone()
        }
    }

    /// Asks the host about the old token until what was sent can't arrive any more.
    fn settled(&self, journal: &Journal, item: &Item) -> Result<Old, RotationError> {
        let Some(old) = with_id(&item.credentials.0, &journal.old_id) else {
            return Ok(Old::Gone);
        };
        let timeout = config::seconds("WIT_SETTLE_TIMEOUT", SETTLE_TIMEOUT);
        let since = u64::try_from(self.server_time().since(journal.sent)).unwrap_or(0);
        let end = Instant::now() + timeout.saturating_sub(Duration::from_secs(since));
        loop {
            match self.api.verify(old.auth.secret()) {
                Err(ApiError::Unauthorized) => return Ok(Old::Dead),
                Ok(_) => {}
                Err(error) => return Err(doing("asking whether the token was replaced")(error)),
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Old::Alive);
            }
            std::thread::sleep(left.min(POLL_INTERVAL));
        }
    }

    /// Writes down that only a new sign-in helps, and ends the rotation.
    fn lost_in_place(
        &self,
        journal: &Journal,
        site: &Site,
    ) -> Result<RotationError, RotationError> {
        let now = (self.now)();
        store::update(self.store, self.paths, site, |item| {
            let mut entries = item.credentials.0.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.has_id(&journal.old_id)) {
                // By either clock.
                let skew = entry.token.as_ref().map_or(0, |token| token.clock_skew);
                entry.expiry = Some(Expiry(now.plus(skew.min(0))));
                if let Some(sign_in) = &mut entry.sign_in {
                    sign_in.ended = true;
                }
            }
        })?;
        journal.clear(self.paths)?;
        Ok(RotationError::Lost {
            server: journal.server.clone(),
            name: journal.name.clone(),
        })
    }

    /// Somebody has logged out, or signed in anew, meanwhile.
    pub(super) fn nothing_left(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        journal.clear(self.paths)?;
        Ok(Outcome::Gone)
    }

    /// Gives a rotation up that has not done anything.
    pub(super) fn abort_in_place(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        let site = site_of(journal)?;
        let item = store::load(self.store, &site)?;
        let is_stored = |id: &String| with_id(&item.credentials.0, id).is_some();
        let new = journal.new_id.clone().or_else(|| successor(&item, journal));
        if new.as_ref().is_some_and(is_stored) {
            return Err(RotationError::TooLateToAbort(ENDED));
        }
        if new.is_none() && journal.attempts > 0 {
            match self.settled(journal, &item)? {
                Old::Alive => {}
                Old::Dead => return Err(self.lost_in_place(journal, &site)?),
                Old::Gone => return self.nothing_left(journal),
            }
        }
        journal.clear(self.paths)?;
        match new {
            Some(_) => Ok(Outcome::Gone),
            None => Ok(Outcome::Undone),
        }
    }
}

/// The stored token that has taken the old one's place, where the journal does not know it yet: the
/// new one keeps its name.
fn successor(item: &Item, journal: &Journal) -> Option<String> {
    let is_new = |info: &&TokenInfo| {
        info.server == journal.server
            && info.account == journal.account
            && info.name == journal.name
            && !journal.known.contains(&info.id)
    };
    let mut infos = (item.credentials.0.iter()).filter_map(|entry| entry.token.as_ref());
    infos.find(is_new).map(|info| info.id.clone())
}

/// The new token for the old one, also where that is stored for a path as well.
fn put_in_place(item: &mut Item, old_id: &str, new: &Credential) {
    let mut old = None;
    for entry in item
        .credentials
        .0
        .iter_mut()
        .filter(|entry| entry.has_id(old_id))
    {
        let successor = Credential {
            username: entry.username.clone(),
            path: entry.path.clone(),
            ..new.clone()
        };
        old = Some(std::mem::replace(entry, successor));
    }
    match old {
        Some(old) => item.retire(old.auth.secret()),
        // Git erased it meanwhile, as it does with a password that was refused.
        None => item.credentials.0.insert(0, new.clone()),
    }
}
