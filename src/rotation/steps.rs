//! The steps themselves. Each may be taken again after a crash in its middle.

use super::*;
use uuid::Uuid;

use crate::api::CreatedToken;
use crate::api::lost::{self, Search};
use crate::api::promises::{Precision, SelfRotation, require, stem};
use crate::credential::{AuthData, TokenInfo};
use crate::expiry::DAY;
use crate::store;

const REVOKING_LOST: &str = "revoking a token whose secret was lost";
const IN_USE: &str = "the new token is in use already";

impl Rotator<'_> {
    /// Begins a rotation and carries it as far as it goes.
    pub fn start(&self, plan: &Plan) -> Result<Outcome, RotationError> {
        let _lock = SiteLock::acquire_rotation(self.paths, &plan.site, self.lock_timeout)?;
        let mut journal = self.preflight(plan)?;
        self.drive(&mut journal)
    }

    /// Finishes a rotation that a crash or an error left behind, or undoes what can't be finished.
    pub fn resume(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        let _lock = SiteLock::acquire_rotation(self.paths, &site_of(journal)?, self.lock_timeout)?;
        match journal.reload(self.paths)? {
            Some(mut now) => {
                // The caller may have changed the receivers; the rest is the file's.
                let receivers: Vec<Receiver> = journal
                    .deliveries
                    .iter()
                    .map(|d| d.receiver.clone())
                    .collect();
                now.redirect(&receivers);
                self.drive(&mut now)
            }
            None => {
                // The process that ended it meanwhile may have replaced nothing.
                let item = store::load(self.store, &site_of(journal)?)?;
                let is_kept = with_id(&item.credentials.0, &journal.old_id).is_some();
                Ok(match journal.is_in_place() && is_kept {
                    true => Outcome::Undone,
                    false => Outcome::Gone,
                })
            }
        }
    }

    /// Revokes the old token of a rotation whose grace is over. Where that fails, the grace goes on
    /// for an hour.
    pub fn end_grace(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        let site = site_of(journal)?;
        let _lock = SiteLock::acquire_rotation(self.paths, &site, self.lock_timeout)?;
        let journal = journal.reload(self.paths)?;
        let Some(mut journal) = journal.filter(|journal| journal.is_grace_over((self.now)()))
        else {
            return Ok(Outcome::Gone);
        };
        let ended = self.retire(&mut journal, &site);
        if ended.is_err() {
            journal.revoke_at = Some((self.now)().plus(journal.clock_skew + GRACE_AGAIN));
            self.step(&mut journal, Step::Grace)?;
        }
        ended
    }

    /// Writes down that a person was told of these tokens ([`RotationError::Unclear`]): whatever is
    /// not revoked by then is left alone from now on.
    pub fn leave_alone(&self, journal: &Journal, tokens: &[Token]) -> Result<(), RotationError> {
        let _lock = SiteLock::acquire_rotation(self.paths, &site_of(journal)?, self.lock_timeout)?;
        if let Some(mut journal) = journal.reload(self.paths)? {
            let ids = tokens.iter().map(|token| token.id.clone());
            journal.known.extend(ids);
            journal.save(self.paths)?;
        }
        Ok(())
    }

    /// Takes a rotation back: the old token in its place, the new one revoked.
    pub fn abort(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        let site = site_of(journal)?;
        let _lock = SiteLock::acquire_rotation(self.paths, &site, self.lock_timeout)?;
        let Some(mut journal) = journal.reload(self.paths)? else {
            return Ok(Outcome::Gone);
        };
        if journal.is_in_place() {
            return self.abort_in_place(&journal);
        }
        if journal.is_end_promised() {
            return Err(RotationError::TooLateToAbort("the grace has begun"));
        }
        if journal.new_id.is_some() && !self.is_new_alive(&journal)? {
            return self.forget_new(&mut journal, &site);
        }
        let in_use = journal.deliveries.iter().any(|delivery| delivery.done);
        if in_use || journal.step == Step::Revoking {
            return Err(RotationError::TooLateToAbort(IN_USE));
        }
        let item = store::load(self.store, &site)?;
        let kept = (item.pending.iter()).any(|entry| pending_id(entry, &journal).is_some());
        if journal.by_itself && kept {
            let why = "the old token has replaced itself and will end";
            return Err(RotationError::TooLateToAbort(why));
        }
        let promoted = journal
            .new_id
            .as_deref()
            .is_some_and(|id| with_id(&item.credentials.0, id).is_some());
        if promoted {
            // Going back is only good where the old token is.
            let Some(old) = with_id(&item.previous, &journal.old_id) else {
                return Err(RotationError::TooLateToAbort(IN_USE));
            };
            match self.api.verify(old.auth.secret()) {
                Err(ApiError::Unauthorized) => {
                    return Err(RotationError::TooLateToAbort("the old token is dead"));
                }
                other => other.map_err(doing("verifying the old token"))?,
            };
        }
        self.undo(&mut journal)
    }

    /// Ends a rotation whose new token somebody has revoked: the old one goes back to its place,
    /// where that is alive.
    fn forget_new(&self, journal: &mut Journal, site: &Site) -> Result<Outcome, RotationError> {
        if self.list()?.iter().any(|token| token.id == journal.old_id) {
            return self.undo(journal);
        }
        let new_id = new_id(journal)?;
        store::update(self.store, self.paths, site, |item| {
            remove_id(&mut item.credentials.0, &new_id);
            remove_id(&mut item.pending, &new_id);
            remove_id(&mut item.previous, &journal.old_id);
        })?;
        journal.clear(self.paths)?;
        Err(RotationError::Missing)
    }

    /// Returns whether the server still takes the new token.
    fn is_new_alive(&self, journal: &Journal) -> Result<bool, RotationError> {
        let new_id = new_id(journal)?;
        if self.api.promises().asks_password {
            let item = store::load(self.store, &site_of(journal)?)?;
            let kept = with_id(&item.credentials.0, &new_id).or(with_id(&item.pending, &new_id));
            if let Some(new) = kept {
                return match self.api.verify(new.auth.secret()) {
                    Ok(_) => Ok(true),
                    Err(ApiError::Unauthorized) => Ok(false),
                    Err(error) => Err(doing("verifying the new token")(error)),
                };
            }
        }
        let listed = self.list()?;
        let now = self.server_time();
        let lives = |token: &Token| token.id == new_id && !token.is_expired(now);
        Ok(listed.iter().any(lives))
    }

    /// Checks all that can be checked before anything is done.
    fn preflight(&self, plan: &Plan) -> Result<Journal, RotationError> {
        let promises = self.api.promises();
        can_rotate(plan, self.api).map_err(doing("rotating the token"))?;
        let mut journal = Journal::new(plan, self.server_time());
        journal.name = promises.next_name(&journal.name);
        if promises.expiry == Precision::None {
            journal.replace_in_days = journal.expires_in_days.take();
            // Nobody would replace what is not kept here.
            let is_kept = plan.stored || journal.replace_in_days.is_none();
            require(self.api, is_kept, "let a token expire")
                .map_err(doing("rotating the token"))?;
        }
        journal.expires_in_days = promises.lifetime(journal.expires_in_days);
        if !plan.stored && plan.deliver.is_empty() {
            return Err(RotationError::NoReceiver);
        }
        if let Some(newer) = journal::of_newer_version(self.paths, &plan.old_id)? {
            return Err(RotationError::Journal(newer.into()));
        }
        let item = {
            let _lock = SiteLock::acquire(self.paths, &plan.site)?;
            let item = store::load(self.store, &plan.site)?;
            // The very same item again: whether the store takes it is what is asked.
            self.store.write(&plan.site, &item.encode(&plan.site))?;
            if item.is_empty() {
                self.store.delete(&plan.site)?;
            }
            item
        };
        if plan.stored {
            let Some(old) = with_id(&item.credentials.0, &plan.old_id) else {
                let is_successor = |info: &TokenInfo| {
                    info.server == plan.server
                        && info.account == plan.account
                        && stem(&info.name) == stem(&plan.new.name)
                };
                let mut entries = item.credentials.0.iter();
                let is_replaced =
                    entries.any(|entry| entry.token.as_ref().is_some_and(is_successor));
                return Err(match is_replaced {
                    true => RotationError::Replaced,
                    false => RotationError::Missing,
                });
            };
            match self.api.verify(old.auth.secret()) {
                Ok(account) => journal.account_id = Some(account.id),
                // An expired token has nothing to lose, but can't replace itself.
                Err(ApiError::Unauthorized) if !plan.by_itself && self.is_expired(old.expiry) => {}
                Err(ApiError::Unauthorized) => return Err(RotationError::OldRefused),
                Err(error) => return Err(doing("verifying the old token")(error)),
            }
        }
        // Each call may take a one-time code of its own. The old token works, and the new one's name is
        // nobody else's.
        if promises.asks_password && promises.unique_names && journal.account_id.is_some() {
            journal.clock_skew = self.api.clock_skew().unwrap_or(0);
            journal.started = self.server_time();
            return Ok(journal);
        }
        let listed = self.list()?;
        if let Some(max) = promises.max_tokens.filter(|max| listed.len() >= *max) {
            return Err(RotationError::Full(max));
        }
        let old = listed.iter().find(|token| token.id == plan.old_id);
        // An expired token may have been swept from the list. One that works and is not there
        // belongs to another account than this login.
        if old.is_none() && (!plan.stored || journal.account_id.is_some()) {
            return Err(RotationError::Missing);
        }
        journal.clock_skew = self.api.clock_skew().unwrap_or(0);
        journal.started = self.server_time();
        journal.known = listed.into_iter().map(|token| token.id).collect();
        Ok(journal)
    }

    fn is_expired(&self, expiry: Option<Expiry>) -> bool {
        expiry.is_some_and(|expiry| expiry.is_expired(self.server_time().plus(CLOCK_MARGIN)))
    }

    /// Facts about a new token, as they are stored with it.
    pub(super) fn info_of(&self, token: &Token, journal: &Journal) -> TokenInfo {
        token.info(
            journal.server.clone(),
            &journal.account,
            self.server_time(),
            self.api.clock_skew(),
        )
    }

    /// The time by the server's clock, or by this machine's before the server has answered.
    pub(super) fn server_time(&self) -> UnixTime {
        (self.now)().plus(self.api.clock_skew().unwrap_or(0))
    }

    /// Goes on from the journal's step to the end.
    fn drive(&self, journal: &mut Journal) -> Result<Outcome, RotationError> {
        if journal.step == Step::Undoing {
            return self.undo(journal);
        }
        let in_place = journal.is_in_place();
        if journal.step == Step::Creating && in_place {
            if let Some(ended) = self.replace_in_place(journal)? {
                return Ok(ended);
            }
        } else if journal.step == Step::Creating {
            self.create(journal)?;
        }
        let site = site_of(journal)?;
        if journal.step == Step::Verifying {
            let item = store::load(self.store, &site)?;
            let new_id = new_id(journal)?;
            let held = match in_place {
                true => &item.credentials.0,
                false => &item.pending,
            };
            let Some(pending) = with_id(held, &new_id) else {
                return self.lost(journal);
            };
            if let Some(what) = self.fault_of(journal, pending)? {
                let revoked = !journal.by_itself;
                if revoked {
                    self.undo(journal)?;
                }
                return Err(RotationError::NotAsAsked { what, revoked });
            }
            let next = if journal.stored && !in_place {
                Step::Promoting
            } else {
                Step::Delivering
            };
            self.step(journal, next)?;
        }
        if journal.step == Step::Promoting {
            let new_id = new_id(journal)?;
            let old_id = journal.old_id.clone();
            let promoted = store::update(self.store, self.paths, &site, |item| {
                promote(item, &old_id, &new_id)
            })?;
            (self.reached)("promoted");
            if !promoted {
                return self.lost(journal);
            }
            self.step(journal, Step::Delivering)?;
        }
        if journal.step == Step::Delivering
            && let Some(undone) = self.deliver(journal, &site)?
        {
            return Ok(undone);
        }
        // Somebody may have revoked the new one since it was verified.
        let ends_old = !journal.by_itself && !journal.is_end_promised();
        if ends_old && !self.is_new_alive(journal)? {
            return Err(RotationError::NewGone);
        }
        if journal.step == Step::Delivering {
            self.begin_grace(journal)?;
        }
        self.retire(journal, &site)
    }

    /// Does what is left to do if the store no longer has the new token: it was emptied meanwhile.
    fn lost(&self, journal: &mut Journal) -> Result<Outcome, RotationError> {
        let in_use = journal.deliveries.iter().any(|delivery| delivery.done);
        if !in_use && !journal.by_itself {
            return self.undo(journal);
        }
        if journal.is_in_place() && !in_use {
            return self.nothing_left(journal);
        }
        // Whoever has it keeps it, and so does whoever has the old one.
        match journal.by_itself || self.is_new_alive(journal)? {
            true => Err(RotationError::NotKept),
            false => Err(RotationError::NewGone),
        }
    }

    /// Makes the new token and puts it into the pending slot.
    fn create(&self, journal: &mut Journal) -> Result<(), RotationError> {
        let site = site_of(journal)?;
        if journal.attempts > 0 {
            // A crash, or a lost response. Either the token was stored, or it is of no use to anybody.
            let item = store::load(self.store, &site)?;
            let kept = item
                .pending
                .iter()
                .find_map(|entry| pending_id(entry, journal));
            if kept.is_some() {
                journal.new_id = kept;
                return self.step(journal, Step::Verifying);
            }
            if let Some(id) = journal.new_id.take() {
                // The response came, and the process died before the secret was stored.
                self.revoke(&id, REVOKING_LOST)?;
                journal.request_ids.push(Uuid::new_v4());
            }
            self.revoke_lost(journal, &item)?;
        }
        journal.attempts += 1;
        if journal.request_ids.is_empty() {
            journal.request_ids.push(Uuid::new_v4());
        }
        journal.sent = self.server_time();
        self.step(journal, Step::Creating)?;
        let CreatedToken { token, secret } = match self.api.create(&journal.new_token()) {
            Ok(created) => created,
            Err(error) => {
                if journal.attempts == 1 && !error.may_be_carried_out() {
                    journal.clear(self.paths)?;
                } else if matches!(
                    error,
                    ApiError::Refused { .. } | ApiError::DatabaseRefused { .. }
                ) {
                    // The id itself may be what was refused: an earlier request arrived after all.
                    journal.request_ids.push(Uuid::new_v4());
                    journal.save(self.paths)?;
                }
                return Err(doing("creating the new token")(error));
            }
        };
        (self.reached)("created");
        // Before the token is stored, so that what is in the pending slot is known by its id alone.
        journal.new_id = Some(token.id.clone());
        if let Err(error) = journal.save(self.paths) {
            if !journal.by_itself {
                self.revoke(&token.id, "revoking the new token")?;
            }
            return Err(error.into());
        }
        (self.reached)("journal-created");
        let mut info = self.info_of(&token, journal);
        info.replace_by =
            (journal.replace_in_days).map(|days| Expiry(info.created.plus(i64::from(days) * DAY)));
        let entry = |old: Option<&Credential>| Credential {
            username: match old {
                Some(old) => old.username.clone(),
                None => Some(journal.account.clone().into_bytes()),
            },
            path: old.and_then(|old| old.path.clone()),
            auth: match old {
                Some(old) => old.auth.with(secret.clone()),
                None => AuthData::Password(secret.clone()),
            },
            expiry: token.expiry,
            refresh_token: None,
            sign_in: old.and_then(|old| old.sign_in_for(&info, (self.now)())),
            imported: false,
            token: Some(info.clone()),
        };
        let kept = store::update(self.store, self.paths, &site, |item| {
            let new = entry(with_id(&item.credentials.0, &journal.old_id));
            item.pending.push(new);
        });
        if let Err(error) = kept {
            // It may be written for all that: undoing looks there as well. What has replaced itself
            // can't be put back.
            if !journal.by_itself {
                self.undo(journal)?;
            }
            return Err(error.into());
        }
        (self.reached)("pending");
        self.step(journal, Step::Verifying)
    }

    /// Revokes what create requests created whose responses were lost.
    fn revoke_lost(&self, journal: &mut Journal, item: &Item) -> Result<(), RotationError> {
        let is_known = |id: &str| {
            let held = [&item.credentials.0, &item.pending, &item.previous];
            journal.old_id == id
                || journal.known.iter().any(|known| known == id)
                || held.iter().any(|entries| with_id(entries, id).is_some())
        };
        let search = |ids: &[Uuid]| {
            lost::search(self.api, &journal.name, ids, is_known)
                .map_err(doing("listing the tokens"))
        };
        let mut found = search(&journal.request_ids)?;
        if journal.by_itself && found == Search::Nothing {
            // A server may keep the ids of other requests only.
            found = search(&[])?;
        }
        match found {
            Search::Nothing => Ok(()),
            Search::Ours(tokens) => {
                for token in tokens {
                    self.revoke(&token.id, REVOKING_LOST)?;
                }
                journal.request_ids.push(Uuid::new_v4());
                Ok(journal.save(self.paths)?)
            }
            Search::Unclear(tokens) => Err(RotationError::Unclear {
                tokens,
                sent: journal.sent,
            }),
        }
    }

    /// Fault of the new token, asked of the server; `None` if it is as it should be.
    fn fault_of(
        &self,
        journal: &Journal,
        pending: &Credential,
    ) -> Result<Option<String>, RotationError> {
        let account = match self.api.verify(pending.auth.secret()) {
            Ok(account) => account,
            Err(ApiError::Unauthorized) => {
                return Ok(Some("the server does not accept it".to_owned()));
            }
            Err(error) => return Err(doing("verifying the new token")(error)),
        };
        let is_other = |old: &String| *old != account.id;
        let old_account = journal.account_id.as_ref().filter(|id| !id.is_empty());
        if !account.id.is_empty() && old_account.is_some_and(is_other) {
            return Ok(Some("it belongs to another account".to_owned()));
        }
        let Some(info) = &pending.token else {
            return Ok(Some("the server does not list it".to_owned()));
        };
        let mut asked = self.api.normalized_scopes(&journal.scopes);
        let mut given = info.scopes.clone();
        asked.sort();
        given.sort();
        if asked != given {
            return Ok(Some(format!("its scopes are {}", given.join(", "))));
        }
        let promises = self.api.promises();
        // What has replaced itself can't be put back, and lives as long as the host lets it.
        if !journal.is_in_place()
            && !promises.is_lifetime(journal.expires_in_days, info.created, pending.expiry)
        {
            return Ok(Some("its expiry differs".to_owned()));
        }
        Ok(None)
    }

    /// Brings the new token to every receiver that does not have it.
    fn deliver(
        &self,
        journal: &mut Journal,
        site: &Site,
    ) -> Result<Option<Outcome>, RotationError> {
        let new_id = new_id(journal)?;
        if journal.deliveries.iter().any(|delivery| !delivery.done) {
            let item = store::load(self.store, site)?;
            let kept = if journal.stored {
                &item.credentials.0
            } else {
                &item.pending
            };
            let Some(new) = with_id(kept, &new_id) else {
                return self.lost(journal).map(Some);
            };
            let mut failed = Vec::new();
            for at in 0..journal.deliveries.len() {
                if journal.deliveries[at].done {
                    continue;
                }
                let receiver = journal.deliveries[at].receiver.clone();
                match (self.deliver)(&receiver, new.auth.secret()) {
                    Ok(()) => {
                        (self.reached)("delivered");
                        journal.deliveries[at].done = true;
                        self.step(journal, Step::Delivering)?;
                    }
                    Err(error) => failed.push((receiver, error)),
                }
            }
            if !failed.is_empty() {
                // Kept for the re-run, with what the caller may have changed.
                journal.save(self.paths)?;
                let old = match (journal.by_itself, journal.is_in_place()) {
                    (false, _) => OldToken::Works,
                    (true, false) => OldToken::EndsSoon,
                    (true, true) => OldToken::HasEnded,
                };
                return Err(RotationError::Undelivered { failed, old });
            }
        }
        Ok(None)
    }

    /// Every receiver has the new token: writes down when the old one ends.
    fn begin_grace(&self, journal: &mut Journal) -> Result<(), RotationError> {
        let grace = i64::try_from(journal.grace).unwrap_or(i64::MAX);
        let until = self.server_time().plus(grace);
        journal.revoke_at = Some(until);
        let next = if grace > 0 {
            Step::Grace
        } else {
            Step::Revoking
        };
        self.step(journal, next)?;
        // Where the server ends it by itself, the run that revokes it only tidies up.
        if next == Step::Grace
            && self.api.promises().shorten
            && self.api.shorten(&journal.old_id, Expiry(until)).is_ok()
        {
            journal.shortened = true;
            journal.save(self.paths)?;
        }
        Ok(())
    }

    /// Waits for the end of the grace, then revokes the old token and forgets the rotation.
    fn retire(&self, journal: &mut Journal, site: &Site) -> Result<Outcome, RotationError> {
        let new_id = new_id(journal)?;
        let item = store::load(self.store, site)?;
        let expiry = with_id(&item.credentials.0, &new_id)
            .or(with_id(&item.pending, &new_id))
            .and_then(|entry| entry.expiry);
        if journal.step == Step::Grace && journal.is_due((self.now)()) {
            // This machine's clock may have been set since.
            self.list()?;
            self.note_clock(journal);
            journal.save(self.paths)?;
        }
        if !journal.is_due((self.now)()) {
            let until = journal.revoke_at.unwrap_or(journal.started);
            if !journal.stored {
                // Its receivers have it, and nothing on this machine is to use it.
                store::update(self.store, self.paths, site, |item| {
                    remove_id(&mut item.pending, &new_id);
                })?;
            }
            return Ok(Outcome::InGrace {
                new_id,
                expiry,
                until,
            });
        }
        if journal.step == Step::Grace {
            self.step(journal, Step::Revoking)?;
        }
        self.revoke_old(journal)?;
        (self.reached)("revoked");
        store::update(self.store, self.paths, site, |item| {
            remove_id(&mut item.previous, &journal.old_id);
            remove_id(&mut item.pending, &new_id);
        })?;
        (self.reached)("tidied");
        journal.clear(self.paths)?;
        (self.reached)("cleared");
        Ok(Outcome::Rotated { new_id, expiry })
    }

    /// Puts the old token back and revokes the new one.
    fn undo(&self, journal: &mut Journal) -> Result<Outcome, RotationError> {
        let site = site_of(journal)?;
        self.step(journal, Step::Undoing)?;
        let found = store::update(self.store, self.paths, &site, |item| {
            put_back(item, journal)
        })?;
        (self.reached)("put-back");
        if let Some(id) = found.or_else(|| journal.new_id.clone()) {
            self.revoke(&id, "revoking the new token")?;
        }
        if journal.attempts > 1 || (journal.attempts == 1 && journal.new_id.is_none()) {
            let item = store::load(self.store, &site)?;
            self.revoke_lost(journal, &item)?;
        }
        (self.reached)("taken-back");
        // Only now: until it is revoked, its id must not be forgotten.
        store::update(self.store, self.paths, &site, |item| forget(item, journal))?;
        journal.clear(self.paths)?;
        (self.reached)("cleared");
        Ok(Outcome::Undone)
    }

    fn list(&self) -> Result<Vec<Token>, RotationError> {
        self.api.list().map_err(doing("listing the tokens"))
    }

    /// Revokes what the rotation has created and does not keep.
    fn revoke(&self, id: &str, what: &'static str) -> Result<(), RotationError> {
        match self.api.revoke(id) {
            Ok(()) => {
                (self.revoked)(id, Reason::Created);
                Ok(())
            }
            Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(doing(what)(error)),
        }
    }

    /// Revokes the old token, and with it what has come of it, unless that is the new one.
    fn revoke_old(&self, journal: &Journal) -> Result<(), RotationError> {
        let id = &journal.old_id;
        let revoked = match journal.by_itself {
            true => self.api.revoke_alone(id).map(|()| Vec::new()),
            false => self.api.retire(id),
        };
        match revoked {
            Ok(also) => {
                (self.revoked)(id, Reason::Replaced);
                for token in also {
                    (self.revoked)(&token.id, Reason::Descendant);
                }
                Ok(())
            }
            Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(doing("revoking the old token")(error)),
        }
    }

    fn note_clock(&self, journal: &mut Journal) {
        if let Some(skew) = self.api.clock_skew() {
            journal.clock_skew = skew;
        }
    }

    /// Writes down the step that comes next.
    pub(super) fn step(&self, journal: &mut Journal, step: Step) -> Result<(), RotationError> {
        journal.step = step;
        self.note_clock(journal);
        journal.save(self.paths)?;
        (self.reached)(match step {
            Step::Creating => "journal-creating",
            Step::Verifying => "journal-verifying",
            Step::Promoting => "journal-promoting",
            Step::Delivering => "journal-delivering",
            Step::Grace => "journal-grace",
            Step::Revoking => "journal-revoking",
            Step::Undoing => "journal-undoing",
        });
        Ok(())
    }
}

/// Requires of the host what the plan needs, before anything is sent.
fn can_rotate(plan: &Plan, api: &dyn TokenApi) -> Result<(), ApiError> {
    let promises = api.promises();
    if !plan.new.repositories.is_empty() {
        require(
            api,
            promises.repositories,
            "bind a new token to repositories",
        )?;
    }
    if !plan.by_itself {
        require(api, promises.list && promises.create, "create tokens")?;
        return require(api, promises.revoke_others, "revoke tokens");
    }
    let rotates = promises.self_rotation != SelfRotation::None;
    require(api, rotates, "replace a token by itself")?;
    let overlaps = promises.self_rotation == SelfRotation::WithOverlap;
    let grace = "let a token that has replaced itself live on for a grace";
    require(api, overlaps || plan.grace.is_zero(), grace)
}

pub(super) fn doing(what: &'static str) -> impl Fn(ApiError) -> RotationError {
    move |error| RotationError::Api { doing: what, error }
}

fn damaged(what: &str) -> RotationError {
    RotationError::Journal(io::Error::new(io::ErrorKind::InvalidData, what))
}

pub(super) fn site_of(journal: &Journal) -> Result<Site, RotationError> {
    journal.site().ok_or_else(|| damaged("it names no site"))
}

fn new_id(journal: &Journal) -> Result<String, RotationError> {
    let id = journal.new_id.clone();
    id.ok_or_else(|| damaged("it names no new token"))
}

/// The new token for the old one, in one change. `false` where there is no new one to be found.
fn promote(item: &mut Item, old_id: &str, new_id: &str) -> bool {
    if with_id(&item.credentials.0, new_id).is_some() {
        return true;
    }
    let Some(new) = with_id(&item.pending, new_id).cloned() else {
        return false;
    };
    remove_id(&mut item.pending, new_id);
    let mut entries = item.credentials.0.iter();
    match entries.position(|entry| entry.has_id(old_id)) {
        Some(at) => {
            let old = std::mem::replace(&mut item.credentials.0[at], new);
            item.retire(old.auth.secret());
            item.previous.push(old);
        }
        // Git erased it meanwhile, as it does with a password that was refused.
        None => item.credentials.0.insert(0, new),
    }
    true
}

/// The old token for the new one. Answers the new one's id where only the pending slot knew it.
fn put_back(item: &mut Item, journal: &Journal) -> Option<String> {
    let old = with_id(&item.previous, &journal.old_id).cloned();
    if let (Some(new_id), Some(old)) = (&journal.new_id, old) {
        let is_new = |entry: &Credential| entry.has_id(new_id);
        if let Some(at) = item.credentials.0.iter().position(is_new) {
            let new = std::mem::replace(&mut item.credentials.0[at], old);
            item.retire(new.auth.secret());
            item.pending.push(new);
        } else if item.credentials.in_place_of(&old).is_none() {
            // Git erased it meanwhile, as it does with a password that was refused.
            item.credentials.0.insert(0, old);
        }
        remove_id(&mut item.previous, &journal.old_id);
    }
    item.pending
        .iter()
        .find_map(|entry| pending_id(entry, journal))
}

fn forget(item: &mut Item, journal: &Journal) {
    item.pending
        .retain(|entry| pending_id(entry, journal).is_none());
    if let Some(new_id) = &journal.new_id {
        remove_id(&mut item.pending, new_id);
    }
}

/// The id of a pending entry that is this rotation's.
fn pending_id(entry: &Credential, journal: &Journal) -> Option<String> {
    let info = entry.token.as_ref()?;
    if let Some(new_id) = &journal.new_id {
        return (info.id == *new_id).then(|| info.id.clone());
    }
    // Only a journal of version 1 may know less than the pending slot.
    if !journal.request_ids.is_empty() {
        return None;
    }
    let ours = info.server == journal.server
        && info.name == journal.name
        && !journal.known.contains(&info.id);
    ours.then(|| info.id.clone())
}
