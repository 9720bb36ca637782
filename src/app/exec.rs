//! A token that lives as long as one command: created for it, and revoked when it ends.
//!
//! A record that suffices to revoke it is written before it is asked for. If this process is killed,
//! the next one finds that record without its owner, and revokes the token in its place.

use std::io;
use std::time::Duration;

use super::issue;
use super::session::{ApiSession, SessionError, git_site};
use crate::api::lost::{self, Search};
use crate::api::promises::{self, BIND, Precision, require};
use crate::api::{ApiError, CreatedToken, NewToken, Reason};
use crate::config::Paths;
use crate::credential::{Credential, Site};
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::hosts;
use crate::quote::{Suggestion, escaped};
use crate::sign_in::HostType;
use crate::store::{self, StoreError};

pub mod journal;

use journal::{Held, Journal};

/// Pause after an abandoned token could not be revoked, in seconds.
const RETRY_INTERVAL: i64 = 600;
/// Seconds after its request in which a token may still appear.
const LATE: i64 = 600;
/// Differences of an expiry that do not matter, in seconds.
const TOLERANCE: i64 = 120;
/// Longest name of a command in a token's name, in characters: with a machine's 80 it fits in 100.
const MAX_COMMAND: usize = 60;
/// Longest name of a token, less its generation, in characters.
const MAX_NAME: usize = 90;

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct Order {
    /// The command's name, without its arguments: they may hold secrets.
    pub command: String,
    /// The name of this machine, or nothing.
    pub machine: String,
    /// At least one.
    pub scopes: Vec<String>,
    /// The only ones that it is for, as OWNER/NAME; all of them where there are none.
    pub repositories: Vec<String>,
    /// Longest time that it is needed.
    pub lifetime: Duration,
}

/// Why there is no token for a command.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be used, or not be revoked later.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The server refuses it, or can't be asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Without a record nobody would revoke the token after a crash.
    #[error("can't record the token that is to be created")]
    Journal(#[source] io::Error),
    /// The same where only the token can revoke itself.
    #[error("can't store the token until it is revoked")]
    Store(#[source] StoreError),
    /// The request failed and created nothing.
    #[error("no token was created")]
    NotCreated(#[source] ApiError),
    /// The answer with the secret was lost.
    #[error("a token was created, but its secret was lost ({})", end_of(*is_revoked))]
    SecretLost {
        /// Why.
        #[source]
        error: ApiError,
        /// True if it was revoked.
        is_revoked: bool,
    },
    /// The server gave more than was asked for.
    #[error(
        "the server granted {}, which was not asked for ({})",
        escaped(scope),
        end_of(*is_revoked)
    )]
    TooBroad {
        /// The scope.
        scope: String,
        /// True if the token was revoked.
        is_revoked: bool,
    },
}

fn end_of(is_revoked: bool) -> &'static str {
    match is_revoked {
        true => "the token was revoked again",
        false => "the next wit command revokes it",
    }
}

/// A token for a command, until [`Lease::end`].
pub struct Lease<'a> {
    session: &'a ApiSession,
    paths: Paths,
    held: Held,
    /// The token and its secret.
    pub created: CreatedToken,
}

/// Creates a token. [`Lease::end`] revokes it, or, where this process does not get there, a later
/// [`finish`].
pub fn issue<'a>(
    paths: &Paths,
    session: &'a ApiSession,
    order: &Order,
) -> Result<Lease<'a>, ExecError> {
    let api = session.api.as_ref();
    let place = git_site(session)?;
    // The helper would not answer with WIT_TOKEN there.
    if !place.site.takes_tokens() {
        let server = place.server.to_string();
        return Err(ApiError::PlainHttp { server }.into());
    }
    let promises = api.promises();
    require(api, promises.create, "create tokens")?;
    let can_revoke = promises.revoke_others || promises.revoke_itself;
    require(api, can_revoke, "revoke a token")?;
    if !order.repositories.is_empty() {
        require(api, promises.repositories, BIND)?;
    }
    // What it promises of request ids it learns from the list. A host that wants a one-time code for
    // each call is asked as seldom as can be.
    let before = match promises.list && !promises.asks_password {
        true => api.list()?,
        false => Vec::new(),
    };
    let promises = api.promises();
    let server = place.server.to_string();
    let name = name(order, !promises.request_ids);
    let account = session.account.clone();
    let lifetime = promises.lifetime(Some(days(order.lifetime, promises.expiry, session.now())));
    let mut journal = Journal::new(server, account, name.clone(), UnixTime::now());
    // Until the answer says it.
    journal.ends = lifetime.map(|days| UnixTime::now().plus(i64::from(days) * DAY));
    journal.repositories.clone_from(&order.repositories);
    if !promises.request_ids {
        journal.known = before.into_iter().map(|token| token.id).collect();
    }
    let new = NewToken {
        name,
        scopes: order.scopes.clone(),
        repositories: order.repositories.clone(),
        expires_in_days: lifetime,
        request_id: Some(journal.request_id),
        replaces: None,
    };
    let mut held = Held::begin(paths, journal).map_err(ExecError::Journal)?;
    let created = match api.create(&new) {
        Ok(created) => created,
        Err(error) if error.may_be_carried_out() => {
            return Err(lost(error, held, paths, session));
        }
        Err(error) => {
            held.clear().map_err(ExecError::Journal)?;
            return Err(error.into());
        }
    };
    let left = (created.token.expiry).map(|expiry| expiry.left(session.now()));
    let by_secret = !promises.revoke_others;
    if by_secret && let Err(error) = keep(paths, session, &created) {
        let _ = api.revoke_by_secret(&created.token.id, &created.secret);
        let _ = held.clear();
        return Err(ExecError::Store(error));
    }
    held.journal.by_secret = by_secret;
    held.journal.token_id = Some(created.token.id.clone());
    held.journal.ends = left.map(|left| UnixTime::now().plus(left));
    let saved = held.save();
    let mut lease = Lease {
        session,
        paths: paths.clone(),
        held,
        created,
    };
    if let Err(error) = saved {
        // Whoever finishes it searches for it by its request.
        let _ = lease.end();
        return Err(ExecError::Journal(error));
    }
    if let Some(scope) = lease.surplus(&order.scopes) {
        let is_revoked = lease.end().is_ok();
        return Err(ExecError::TooBroad { scope, is_revoked });
    }
    if promises.shorten {
        lease.shorten(order.lifetime);
    }
    Ok(lease)
}

impl Lease<'_> {
    /// Site and URL at which the token can be used.
    pub fn site(&self) -> Result<(&Site, String), SessionError> {
        let place = git_site(self.session)?;
        Ok((&place.site, place.server.to_string()))
    }

    /// The username that the host wants with the token; `None` where any will do.
    pub fn git_username(&self) -> Option<String> {
        let ApiSession { host, account, .. } = self.session;
        match host {
            HostType::Wit => None,
            HostType::Github => Some(hosts::git_username(*host, None)),
            _ => Some(hosts::git_username(*host, Some(account))),
        }
    }

    /// The command that revokes the token, where that takes a person.
    pub fn revoke_by_hand(&self) -> Option<Suggestion> {
        let revoke = || self.session.suggest("wit token revoke");
        let asks = self.session.api.promises().asks_password;
        asks.then(|| revoke().arg(&self.created.token.id))
    }

    /// Difference between the token's expiry and the one that was wanted, if it matters.
    pub fn difference(&self, wanted: Duration) -> Option<Difference> {
        difference(self.created.token.expiry, self.session.now(), wanted)
    }

    /// Revokes the token, and what came of it by replacing itself. After an error it is left to
    /// [`finish`].
    pub fn end(self) -> Result<(), ApiError> {
        if settle(&self.paths, self.session, &self.held.journal)? {
            // A record that stays is no harm: the token is not found then.
            let _ = self.held.clear();
        }
        Ok(())
    }

    /// A scope that was not asked for.
    fn surplus(&self, asked: &[String]) -> Option<String> {
        let asked = self.session.api.normalized_scopes(asked);
        let mut granted = self.created.token.scopes.iter();
        granted.find(|scope| !asked.contains(scope)).cloned()
    }

    /// Brings the token's end forward to the time that was asked for. Where that fails it lives for
    /// whole days, and is revoked all the same.
    fn shorten(&mut self, lifetime: Duration) {
        let wanted = Expiry(self.session.now().plus(seconds(lifetime)));
        let token = &mut self.created.token;
        let is_longer = (token.expiry).is_none_or(|expiry| expiry.0.since(wanted.0) > TOLERANCE);
        if is_longer && self.session.api.shorten(&token.id, wanted).is_ok() {
            token.expiry = Some(wanted);
        }
    }
}

/// Difference between a token's expiry and the one that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// It ends before.
    Earlier(Expiry),
    /// It ends later, unless it is revoked.
    Later(Expiry),
    /// It does not end unless it is revoked.
    Never,
}

fn difference(ends: Option<Expiry>, now: UnixTime, wanted: Duration) -> Option<Difference> {
    let Some(ends) = ends else {
        return Some(Difference::Never);
    };
    match ends.left(now).saturating_sub(seconds(wanted)) {
        later if later > TOLERANCE => Some(Difference::Later(ends)),
        later if later < -TOLERANCE => Some(Difference::Earlier(ends)),
        _ => None,
    }
}

/// After a lost answer: revokes the token if the request has created one, and says so.
fn lost(error: ApiError, held: Held, paths: &Paths, session: &ApiSession) -> ExecError {
    match settle(paths, session, &held.journal) {
        Ok(true) => {
            let _ = held.clear();
            let is_revoked = true;
            ExecError::SecretLost { error, is_revoked }
        }
        // The request may still arrive; the record stays for that.
        Ok(false) => ExecError::NotCreated(error),
        Err(_) => {
            let is_revoked = false;
            ExecError::SecretLost { error, is_revoked }
        }
    }
}

/// Revokes the token of a record; whether that is the end of it. It is not where no token is found,
/// and the request may still be on its way.
fn settle(paths: &Paths, session: &ApiSession, journal: &Journal) -> Result<bool, ApiError> {
    let api = session.api.as_ref();
    if journal.by_secret {
        return by_secret(paths, session, journal).map(|()| true);
    }
    let ended = |id: &str| match api.revoke_all(id) {
        Ok(_) | Err(ApiError::NotFound) => Ok(()),
        Err(error) => Err(error),
    };
    if let Some(id) = &journal.token_id {
        return ended(id).map(|()| true);
    }
    let is_late = UnixTime::now().since(journal.sent) > LATE;
    if !api.promises().list {
        return Ok(is_late);
    }
    let is_known = |id: &str| journal.known.iter().any(|known| known == id);
    let found = match lost::search(api, &journal.name, &[journal.request_id], is_known)? {
        Search::Nothing => return Ok(is_late),
        // Their name has a generation that no other request has.
        Search::Ours(found) | Search::Unclear(found) => found,
    };
    for token in &found {
        ended(&token.id)?;
    }
    Ok(true)
}

/// Has a token revoke itself, and forgets it. One that is not stored any more is revoked.
fn by_secret(paths: &Paths, session: &ApiSession, journal: &Journal) -> Result<(), ApiError> {
    let Some((place, id)) = session.place.as_ref().zip(journal.token_id.as_ref()) else {
        return Ok(());
    };
    let is_meant = |entry: &Credential| entry.has_id(id);
    let unread = |error: StoreError| ApiError::Unreachable {
        server: session.name.clone(),
        reason: Reason::from(error.to_string()).caused_by(error),
    };
    let item = store::load(session.store.as_ref(), &place.site).map_err(unread)?;
    for entry in item.pending.iter().filter(|entry| is_meant(entry)) {
        match session.api.revoke_by_secret(id, entry.auth.secret()) {
            Ok(()) | Err(ApiError::NotFound | ApiError::Unauthorized) => {}
            Err(error) => return Err(error),
        }
    }
    store::update(session.store.as_ref(), paths, &place.site, |item| {
        item.pending.retain(|entry| !is_meant(entry));
    })
    .map_err(unread)
}

/// Stores a token as one that is pending, which git is never given.
fn keep(paths: &Paths, session: &ApiSession, created: &CreatedToken) -> Result<(), StoreError> {
    let Some(place) = &session.place else {
        return Ok(());
    };
    let entry = issue::credential(session, place, created, None);
    store::update(session.store.as_ref(), paths, &place.site, |item| {
        item.pending.push(entry);
    })
}

/// The records whose process is gone, and which it is time to finish.
pub fn abandoned(paths: &Paths) -> Vec<Held> {
    let now = UnixTime::now();
    let mut found = journal::abandoned(paths);
    // A time further ahead than it can be is one by a clock that was set since.
    let waits = |at: UnixTime| (1..=RETRY_INTERVAL).contains(&at.since(now));
    found.retain(|held| !held.journal.retry_at.is_some_and(waits));
    found
}

/// The records whose process is gone, and whose token could not be revoked so far: its host is away,
/// or requires a password.
pub fn unrevoked(paths: &Paths) -> Vec<Journal> {
    let mut found: Vec<Journal> = (journal::abandoned(paths).into_iter())
        .map(|held| held.journal)
        .collect();
    found.retain(|record| record.retry_at.is_some());
    found
}

/// Revokes the token of an abandoned record.
pub fn finish(paths: &Paths, mut held: Held, session: &ApiSession) -> Result<(), ApiError> {
    match settle(paths, session, &held.journal) {
        Ok(true) => {
            let _ = held.clear();
        }
        Ok(false) => {}
        Err(error) => {
            if has_ended(&held.journal) {
                // The project may be gone, and its tokens with it.
                let _ = held.clear();
                return Err(error);
            }
            held.journal.retry_at = Some(UnixTime::now().plus(RETRY_INTERVAL));
            // Failing at that only means to try again sooner.
            let _ = held.save();
            return Err(error);
        }
    }
    Ok(())
}

/// Forgets a token that has ended by itself, if nobody is signed in to revoke it.
pub fn give_up(held: Held) {
    if has_ended(&held.journal) {
        let _ = held.clear();
    }
}

fn has_ended(journal: &Journal) -> bool {
    let now = UnixTime::now();
    journal.ends.is_some_and(|ends| ends.since(now) < -DAY)
}

/// `exec: git on vm`, with a generation where nothing else tells a request's token from others.
fn name(order: &Order, is_unique: bool) -> String {
    let command: String = order.command.chars().take(MAX_COMMAND).collect();
    let mut name = format!("exec: {command}");
    if !order.machine.is_empty() {
        name = format!("{name} on {}", order.machine);
    }
    match is_unique {
        true => promises::generation(&name),
        false => name.chars().take(MAX_NAME).collect(),
    }
}

/// The fewest whole days that cover a time from now on.
fn days(time: Duration, precision: Precision, now: UnixTime) -> u32 {
    let seconds = seconds(time);
    let days = match precision {
        // The token ends when the last of them begins.
        Precision::Date => now.plus(seconds).0.div_euclid(DAY) - now.0.div_euclid(DAY) + 1,
        Precision::Second | Precision::None => seconds.saturating_add(DAY - 1) / DAY,
    };
    u32::try_from(days.max(1)).unwrap_or(u32::MAX)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// The variables that have git in the command ask `helper`, and no other, about `site`: they come
/// after every file of git's configuration (git-config(1), GIT_CONFIG_COUNT). `count` is that
/// variable's value now. Nothing where it is one that git does not take.
pub fn git_variables(
    site: &Site,
    helper: &str,
    username: Option<&str>,
    count: Option<&str>,
) -> Vec<(String, String)> {
    let Ok(count) = count.unwrap_or("0").trim().parse::<u16>() else {
        return Vec::new();
    };
    // An empty value forgets the helpers before it.
    let helpers = [("helper", ""), ("helper", helper)];
    let values = helpers
        .into_iter()
        .chain(username.map(|name| ("username", name)));
    let mut variables = Vec::new();
    let mut number = u32::from(count);
    for (key, value) in values {
        let key = format!("credential.{site}.{key}");
        variables.push((format!("GIT_CONFIG_KEY_{number}"), key));
        variables.push((format!("GIT_CONFIG_VALUE_{number}"), value.to_owned()));
        number += 1;
    }
    variables.push(("GIT_CONFIG_COUNT".to_owned(), number.to_string()));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(command: &str, machine: &str) -> Order {
        Order {
            command: command.into(),
            machine: machine.into(),
            scopes: vec!["repo:read".into()],
            repositories: Vec::new(),
            lifetime: Duration::from_secs(3_600),
        }
    }

    #[test]
    fn a_name_says_which_command_and_where() {
        assert_eq!(name(&order("git", "vm"), false), "exec: git on vm");
        assert_eq!(name(&order("git", ""), false), "exec: git");
        let long = order(&"c".repeat(200), &"m".repeat(80));
        for is_unique in [false, true] {
            assert!(name(&long, is_unique).chars().count() <= 100);
        }
        let unique = name(&order("git", "vm"), true);
        assert_eq!(crate::api::promises::stem(&unique), "exec: git on vm");
        assert_ne!(unique, name(&order("git", "vm"), true));
    }

    #[test]
    fn a_token_is_asked_for_by_the_smallest_number_of_days() {
        for (hours, expected) in [(0, 1), (1, 1), (24, 1), (25, 2), (24 * 7, 7)] {
            let time = Duration::from_secs(hours * 3_600);
            assert_eq!(days(time, Precision::Second, UnixTime(1)), expected);
        }
        let noon = UnixTime(DAY / 2);
        for (hours, expected) in [(1, 1), (11, 1), (12, 2), (24, 2), (36, 3)] {
            let time = Duration::from_secs(hours * 3_600);
            assert_eq!(days(time, Precision::Date, noon), expected, "{hours}");
        }
    }

    #[test]
    fn what_ends_at_another_time_than_wanted_is_told() {
        let now = UnixTime(1_000_000);
        let hour = Duration::from_secs(3_600);
        let at = |seconds: i64| Expiry(now.plus(seconds));
        let told = |ends| difference(ends, now, hour);
        assert_eq!(told(Some(at(3_600))), None);
        assert_eq!(told(Some(at(3_590))), None);
        assert_eq!(told(Some(at(DAY))), Some(Difference::Later(at(DAY))));
        assert_eq!(told(Some(at(600))), Some(Difference::Earlier(at(600))));
        assert_eq!(told(None), Some(Difference::Never));
    }

    #[test]
    fn git_is_told_of_the_helper_after_what_it_was_told_before() {
        let site = Site::new(b"https", b"wit.example").expect("a site");
        let variables = git_variables(&site, "wit", None, Some("1"));
        let expected = [
            ("GIT_CONFIG_KEY_1", "credential.https://wit.example.helper"),
            ("GIT_CONFIG_VALUE_1", ""),
            ("GIT_CONFIG_KEY_2", "credential.https://wit.example.helper"),
            ("GIT_CONFIG_VALUE_2", "wit"),
            ("GIT_CONFIG_COUNT", "3"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected);
        let named = git_variables(&site, "wit", Some("ada"), None);
        assert_eq!(named[4].1, "credential.https://wit.example.username");
        assert_eq!(named[6].1, "3");
        assert_eq!(git_variables(&site, "wit", None, Some("many")), []);
    }
}
