//! The upkeep of stored tokens: which are to be rotated or resumed, renewals while git asks, and
//! graces that are over. Nothing is printed; outcomes and errors are typed.

use std::io;
use std::time::Duration;

use uuid::Uuid;

use crate::api::server::ServerUrl;
use crate::api::{ApiError, TokenApi};
use crate::config::{Config, Paths};
use crate::credential::{Credential, Site};
use crate::expiry::{CLOCK_MARGIN, DAY, UnixTime, notable_skew};
use crate::helper::renewal;
use crate::hosts::gitlab::Itself;
use crate::oauth::Reach;
use crate::rotation::deliver::{DeliveryError, Receiver};
use crate::rotation::journal::{self, Journal};
use crate::rotation::{Outcome, Plan, Reason, RotationError, Rotator, crash_point};
use crate::secret::Secret;
use crate::store::{self, Store, StoreError};

/// Grace of the old token of a renewal: other processes of git may have just been given it.
const RENEWAL_GRACE: Duration = Duration::from_secs(3_600);

/// One account's tokens, and what their upkeep is carried out with.
pub struct Upkeep<'a> {
    /// The account's token API.
    pub api: &'a dyn TokenApi,
    /// Store of the tokens.
    pub store: &'a dyn Store,
    /// Directories of journals and locks.
    pub paths: &'a Paths,
    /// Brings a new token to a receiver.
    pub deliver: &'a dyn Fn(&Receiver, &Secret) -> Result<(), DeliveryError>,
    /// Told the id of each token that was revoked, and why.
    pub revoked: &'a dyn Fn(&str, Reason),
    /// Longest wait for another rotation at the same site.
    pub lock_timeout: Duration,
    /// True if a person reads what is reported, and so decides what nobody else can.
    pub attended: bool,
}

/// The end of a renewal without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The token was replaced.
    Rotated(Outcome),
    /// Another process was faster, or finishing an earlier rotation replaced it.
    Already,
    /// By the server's clock it is not due.
    NotDue,
}

/// Why a token was not renewed. It still works.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// Its unfinished rotation prints the new token, which only a person can resume.
    #[error("the new token waits to be printed")]
    WaitsForPrint(Box<Journal>),
    /// Only a person can decide how its unfinished rotation goes on.
    #[error("{error}")]
    Undecided {
        /// The reason why it stopped.
        #[source]
        error: RotationError,
        /// The unfinished rotation.
        journal: Box<Journal>,
    },
    /// The rotation failed.
    #[error("{0}")]
    Rotation(#[from] RotationError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A fresh id for a rotation.
pub fn rotation_id() -> String {
    Uuid::new_v4().to_string()
}

/// The unfinished rotations of an account, those that wait for the end of a grace included.
pub fn unfinished(paths: &Paths, server: &str, account: &str) -> io::Result<Vec<Journal>> {
    let mut journals = journal::all(paths)?;
    journals.retain(|journal| journal.server == server && journal.account == account);
    Ok(journals)
}

/// The rotations whose grace is over.
pub fn due_graces(paths: &Paths, now: UnixTime) -> io::Result<Vec<Journal>> {
    let mut journals = journal::all(paths)?;
    journals.retain(|journal| journal.is_grace_over(now));
    Ok(journals)
}

/// Returns whether a token that `wit` made expires, or is to be replaced, within so many days, or has.
pub fn expires_within(entry: &Credential, days: u32, now: UnixTime) -> bool {
    let left = entry.left(now);
    entry.is_replaceable() && left.is_some_and(|left| left <= i64::from(days) * DAY)
}

/// The API by which a stored token replaces itself. Where none is stored any more, nothing is sent
/// by it.
pub fn itself(
    paths: &Paths,
    server: &str,
    entry: Option<&Credential>,
) -> Result<Box<dyn TokenApi>, ApiError> {
    let server = ServerUrl::parse(server).map_err(|why| ApiError::Unreachable {
        server: server.to_owned(),
        reason: why.into(),
    })?;
    let config = Config::load(paths).unwrap_or_default();
    let reach = Reach::to(&config, &server.to_string(), None);
    let token = entry.map(|entry| entry.auth.secret().clone());
    let token = token.unwrap_or_else(|| Secret::from(String::new()));
    Ok(Box::new(Itself::new(&server, token, &reach)?))
}

impl Upkeep<'_> {
    fn rotator(&self) -> Rotator<'_> {
        Rotator {
            api: self.api,
            store: self.store,
            paths: self.paths,
            now: &UnixTime::now,
            deliver: self.deliver,
            reached: &crash_point,
            revoked: self.revoked,
            lock_timeout: self.lock_timeout,
        }
    }

    /// Rotates a token.
    pub fn start(&self, plan: &Plan) -> Result<Outcome, RotationError> {
        if plan.is_in_place() {
            let itself = self.itself(&plan.site, &plan.server, &[&plan.old_id])?;
            return self.with(itself.as_ref()).rotator().start(plan);
        }
        self.rotator().start(plan)
    }

    /// Finishes an unfinished rotation.
    pub fn resume(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        if let Some(itself) = self.itself_of(journal)? {
            return self.with(itself.as_ref()).rotator().resume(journal);
        }
        let outcome = self.rotator().resume(journal);
        self.leave_what_was_told(journal, outcome)
    }

    /// Takes an unfinished rotation back.
    pub fn abort(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        if let Some(itself) = self.itself_of(journal)? {
            return self.with(itself.as_ref()).rotator().abort(journal);
        }
        let outcome = self.rotator().abort(journal);
        self.leave_what_was_told(journal, outcome)
    }

    /// The same by another token API.
    fn with<'a>(&'a self, api: &'a dyn TokenApi) -> Upkeep<'a> {
        Upkeep { api, ..*self }
    }

    /// Token API for a rotation whose old token replaces itself; `None` for any other.
    fn itself_of(&self, journal: &Journal) -> Result<Option<Box<dyn TokenApi>>, RotationError> {
        let Some(site) = journal.site().filter(|_| journal.is_in_place()) else {
            return Ok(None);
        };
        let new_id = journal.new_id.as_deref().unwrap_or(&journal.old_id);
        let itself = self.itself(&site, &journal.server, &[new_id, &journal.old_id]);
        itself.map(Some)
    }

    /// The API of a stored token that replaces itself, the first that is stored of those ids.
    fn itself(
        &self,
        site: &Site,
        server: &str,
        ids: &[&str],
    ) -> Result<Box<dyn TokenApi>, RotationError> {
        let item = store::load(self.store, site)?;
        let with_id = |id: &&str| {
            let mut entries = item.credentials.0.iter();
            entries.find(|entry| entry.has_id(id))
        };
        let entry = ids.iter().find_map(with_id);
        itself(self.paths, server, entry).map_err(|error| RotationError::Api {
            doing: "rotating the token",
            error,
        })
    }

    /// Whatever a person who was told of it does not revoke is another machine's.
    fn leave_what_was_told(
        &self,
        journal: &Journal,
        outcome: Result<Outcome, RotationError>,
    ) -> Result<Outcome, RotationError> {
        if let Err(RotationError::Unclear { tokens, .. }) = &outcome
            && self.attended
        {
            self.rotator().leave_alone(journal, tokens)?;
        }
        outcome
    }

    /// Revokes the old token of a rotation whose grace is over.
    pub fn end_grace(&self, journal: &Journal) -> Result<Outcome, RotationError> {
        self.rotator().end_grace(journal)
    }

    /// Replaces a stored token that is due `days` before its end, after finishing what is unfinished
    /// of it. The old one lives on for an hour.
    pub fn renew(
        &self,
        site: &Site,
        entry: &Credential,
        days: i64,
    ) -> Result<Renewed, RenewalError> {
        let Some(mut plan) = Plan::of_stored(rotation_id(), site, entry) else {
            return Ok(Renewed::NotDue);
        };
        if self.api.promises().asks_password && !self.attended {
            let error = ApiError::PasswordNeeded {
                server: plan.server,
                reason: "nobody can be asked".to_owned(),
            };
            let doing = "renewing the token";
            return Err(RotationError::Api { doing, error }.into());
        }
        // A token that replaces itself has ended then.
        if !plan.is_in_place() {
            plan.grace = RENEWAL_GRACE;
        }
        if !self.is_due_by_the_server(site, entry, days)? {
            return Ok(Renewed::NotDue);
        }
        let journals = unfinished(self.paths, &plan.server, &plan.account);
        for journal in journals.map_err(RotationError::from)? {
            if !journal.is_of(&plan.old_id) || !journal.is_due(UnixTime::now()) {
                continue;
            }
            if journal.waits_for_print() {
                return Err(RenewalError::WaitsForPrint(Box::new(journal)));
            }
            match self.resume(&journal) {
                Err(error @ RotationError::Unclear { .. }) => {
                    let journal = Box::new(journal);
                    return Err(RenewalError::Undecided { error, journal });
                }
                other => other?,
            };
        }
        match self.start(&plan) {
            Ok(outcome) => Ok(Renewed::Rotated(outcome)),
            Err(RotationError::Missing | RotationError::Replaced) => Ok(Renewed::Already),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether the token is due by its server's clock, which is asked where this machine's was known
    /// to differ. The skew of now is remembered with the token.
    fn is_due_by_the_server(
        &self,
        site: &Site,
        entry: &Credential,
        days: i64,
    ) -> Result<bool, RenewalError> {
        let Some(info) = entry.token.as_ref().filter(|info| info.clock_skew != 0) else {
            return Ok(true);
        };
        self.api.list().map_err(|error| RotationError::Api {
            doing: "asking the server for the time",
            error,
        })?;
        let skew = self.api.clock_skew();
        let notable = notable_skew(skew);
        if notable.abs_diff(info.clock_skew) >= CLOCK_MARGIN.unsigned_abs() {
            store::update(self.store, self.paths, site, |item| {
                let held = item.credentials.0.iter_mut();
                for held in held.filter_map(|entry| entry.token.as_mut()) {
                    if held.server == info.server && held.id == info.id {
                        held.clock_skew = notable;
                    }
                }
            })?;
        }
        let now = UnixTime::now().plus(skew.unwrap_or(0));
        Ok(renewal::is_due_by_this_clock(entry, days, now))
    }
}
