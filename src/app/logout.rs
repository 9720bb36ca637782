//! Signing out of a wit server: what is stored for it, here and there.

use std::io;

use super::known;
use super::session::{self, Selection, SessionError};
use super::{Ask, AskError};
use crate::api::ApiError;
use crate::config::{Config, Paths};
use crate::credential::{Credential, Site, TokenInfo};
use crate::expiry::{Expiry, UnixTime};
use crate::item::{Item, Session};
use crate::quote::escaped;
use crate::rotation::journal::{self, Journal};
use crate::store::{self, Store, StoreError};

/// Outcome of a logout.
#[derive(Debug)]
pub struct LoggedOut {
    /// Base URL of the server.
    pub server: String,
    /// True if the login was kept: a token of its account was to be revoked, and was not.
    pub is_kept: bool,
    /// True if the server's tokens were managed directly in its database.
    pub is_direct: bool,
    /// Sessions that were removed.
    pub sessions: Vec<EndedSession>,
    /// Tokens that were revoked and are no longer stored.
    pub revoked: Vec<TokenInfo>,
    /// Tokens that were not revoked, and stay stored.
    pub not_revoked: Vec<NotRevoked>,
    /// Rotations that needed one of the sessions: their old tokens live on.
    pub unfinished: Vec<Journal>,
    /// Tokens of the accounts that were logged out of, which git goes on using.
    pub in_use: Vec<TokenInfo>,
}

impl LoggedOut {
    /// Returns whether nothing is left to do.
    pub fn is_complete(&self) -> bool {
        !self.is_kept
            && self.unfinished.is_empty()
            && self.not_revoked.is_empty()
            && self.sessions.iter().all(|session| session.ended.is_ok())
    }
}

/// A session that is gone from this machine.
#[derive(Debug)]
pub struct EndedSession {
    /// Username or email of the account.
    pub account: String,
    /// End of the session; `None` where it is not known.
    pub expiry: Option<Expiry>,
    /// Why it may still work at the server.
    pub ended: Result<(), ApiError>,
}

/// A token that still works.
#[derive(Debug)]
pub struct NotRevoked {
    /// The stored token.
    pub token: TokenInfo,
    /// Why it was not revoked.
    pub error: LogoutError,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum LogoutError {
    /// None of the tokens was revoked, so nothing was done.
    #[error("can't revoke this machine's tokens")]
    Revoke(#[source] Box<LogoutError>),
    /// Nobody is logged in, so that the tokens that are stored can't be revoked.
    #[error(
        "not logged in to {server}, so that {} can't be revoked; git still uses what is stored here",
        names(tokens)
    )]
    StillStored {
        /// Base URL of the server.
        server: String,
        /// The tokens.
        tokens: Vec<TokenInfo>,
    },
    /// A rotation's journal can't be removed.
    #[error("can't forget a rotation")]
    Journal(#[source] io::Error),
    /// The session was removed, but the configuration still names the server.
    #[error("can't write the configuration")]
    Config(#[source] io::Error),
    /// The user did not agree, or could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The server or the account is not clear, or nobody is logged in.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// Names of tokens, for a person.
fn names(tokens: &[TokenInfo]) -> String {
    let names: Vec<String> = tokens.iter().map(|one| escaped(&one.name)).collect();
    names.join(", ")
}

/// Removes the session that is meant from this machine, ends it at the server, and with `revoke`
/// first revokes the tokens that this machine stores for the server: of the account that is named,
/// or of all.
pub fn log_out(
    paths: &Paths,
    meant: &Selection,
    revoke: bool,
    ask: &dyn Ask,
) -> Result<LoggedOut, LogoutError> {
    let config = known::config(paths).map_err(SessionError::from)?;
    let server = session::server(&config, meant.server.as_deref())?;
    let name = server.to_string();
    let account = session::account(&config, &server, meant.account.as_deref());
    let site = session::site_of(&server)?;
    let store = store::select::open(paths, None)?;
    let is_meant = |session: &Session| {
        session.server == name && account.as_ref().is_none_or(|a| *a == session.account)
    };
    let now = UnixTime::now();
    let is_alive = |session: &Session| !session.expiry.is_some_and(|e| e.is_expired(now));
    let held = store::load(store.as_ref(), &site)?;
    // Before anything is forgotten: a session that is never told to end lives on.
    if (held.sessions.iter()).any(|session| is_meant(session) && is_alive(session))
        && let Err(error @ ApiError::PlainHttp { .. }) = session::client(&config, &server, meant)
    {
        return Err(error.into());
    }
    let (revoked, not_revoked) = match revoke {
        true => revoke_stored(paths, meant, &name, &site, store.as_ref(), ask)?,
        false => Default::default(),
    };
    let mut done = LoggedOut {
        server: name.clone(),
        is_kept: false,
        is_direct: session::is_direct(&config, &server),
        sessions: Vec::new(),
        revoked,
        not_revoked,
        unfinished: Vec::new(),
        in_use: Vec::new(),
    };
    let is_of_account =
        |failed: &NotRevoked| account.as_ref().is_none_or(|a| *a == failed.token.account);
    if done.not_revoked.iter().any(is_of_account) {
        // With the session they can be revoked by another try.
        done.is_kept = true;
        return Ok(done);
    }
    let remembered = session::account(&config, &server, None);
    let (ended, left) = store::update(store.as_ref(), paths, &site, |item| {
        let ended: Vec<Session> = (item.sessions)
            .extract_if(.., |session| is_meant(session))
            .collect();
        (ended, Left::of(item, &name, remembered.as_deref()))
    })?;
    let is_elsewhere = is_held_elsewhere(paths, store.as_ref(), &site, &name)?;
    let direct = done.is_direct;
    let is_idle = config.servers.contains_key(&name)
        && !left.tokens
        && !is_elsewhere
        && left.account.is_none();
    // Which server was not logged in to is to be told, unless it was named to be forgotten.
    let is_forgotten = is_idle && (meant.server.is_some() || !done.revoked.is_empty());
    if ended.is_empty() && !direct && !is_forgotten {
        let item = store::load(store.as_ref(), &site)?;
        return Err(session::not_logged_in(name, &item, meant.account.as_ref()).into());
    }
    Config::update(paths, |config| match &left.account {
        None if !left.tokens && !is_elsewhere => config.forget(&name),
        left => {
            if let Some(known) = config.servers.get_mut(&name) {
                known.api.take_if(|_| direct);
                // Where nobody is left, the next login offers the one that was.
                known.account = left.clone().or(known.account.take());
            }
        }
    })
    .map_err(LogoutError::Config)?;
    let is_ended = |token: &TokenInfo| ended.iter().any(|one| one.account == token.account);
    done.in_use = (held.credentials.0.iter())
        .filter_map(|entry| entry.token.as_ref())
        .filter(|token| token.server == name && is_ended(token) && site.takes_tokens())
        .filter(|token| !done.revoked.iter().any(|revoked| revoked.id == token.id))
        .cloned()
        .collect();
    done.sessions = (ended.into_iter())
        .map(|session| {
            let ended = match is_alive(&session) {
                true => session::end(&config, meant, &session),
                false => Ok(()),
            };
            EndedSession {
                account: session.account,
                expiry: session.expiry,
                ended,
            }
        })
        .collect();
    done.unfinished = unfinished(paths, &done)?;
    Ok(done)
}

/// Revokes what this machine stores for a server: git's tokens, those that a rotation has replaced
/// and those of unfinished ones; each account's by its own session.
fn revoke_stored(
    paths: &Paths,
    meant: &Selection,
    server: &str,
    site: &Site,
    store: &dyn Store,
    ask: &dyn Ask,
) -> Result<(Vec<TokenInfo>, Vec<NotRevoked>), LogoutError> {
    let item = store::load(store, site)?;
    let named = meant.account.as_ref();
    let is_meant = |token: &&TokenInfo| {
        token.server == server && named.is_none_or(|account| *account == token.account)
    };
    let mut tokens: Vec<TokenInfo> = (item.entries())
        .filter_map(|entry| entry.token.as_ref())
        .filter(is_meant)
        .cloned()
        .collect();
    tokens.sort_by(|a, b| (&a.account, &a.id).cmp(&(&b.account, &b.id)));
    tokens.dedup_by(|a, b| a.id == b.id);
    let (mut revoked, mut failed) = (Vec::new(), Vec::new());
    if tokens.is_empty() {
        return Ok((revoked, failed));
    }
    let is_logged_in = |token: &TokenInfo| {
        let mut sessions = item.sessions.iter();
        sessions.any(|held| held.server == server && held.account == token.account)
    };
    let is_direct = session::direct()?.is_some();
    if !is_direct && !tokens.iter().any(is_logged_in) {
        let server = server.to_owned();
        return Err(LogoutError::StillStored { server, tokens });
    }
    ask.confirm(&match tokens.len() {
        1 => format!("Revoke the token that this machine stores for {server}?"),
        many => format!("Revoke the {many} tokens that this machine stores for {server}?"),
    })?;
    for of_account in tokens.chunk_by(|a, b| a.account == b.account) {
        let account = Selection {
            server: Some(server.to_owned()),
            account: of_account.first().map(|token| token.account.clone()),
            ..meant.clone()
        };
        for token in of_account {
            // Opened anew for each: a failure is then told of each, with its source.
            let done = session::open(paths, &account)
                .and_then(session::ApiSession::for_git)
                .map_err(LogoutError::from)
                .and_then(|session| match session.api.revoke(&token.id) {
                    Ok(()) | Err(ApiError::NotFound) => Ok(()),
                    Err(error) => Err(error.into()),
                });
            match done {
                Ok(()) => {
                    store::update(store, paths, site, |item| item.forget(server, &token.id))?;
                    revoked.push(token.clone());
                }
                Err(error) => failed.push(NotRevoked {
                    token: token.clone(),
                    error,
                }),
            }
        }
    }
    match failed.is_empty() || !revoked.is_empty() {
        true => Ok((revoked, failed)),
        // Nothing was done, for a reason that is told as of any other task.
        false => match failed.swap_remove(0).error {
            error @ LogoutError::Session(_) => Err(error),
            error => Err(LogoutError::Revoke(Box::new(error))),
        },
    }
}

/// Returns whether the store that the configuration names holds something of a server, where
/// `WIT_STORE` names another one. One that can't be read may hold something.
pub fn is_held_elsewhere(
    paths: &Paths,
    store: &dyn Store,
    site: &Site,
    server: &str,
) -> Result<bool, StoreError> {
    let configured = store::select::remembered(paths)?;
    let Some(other) = configured.filter(|kind| kind.name() != store.name()) else {
        return Ok(false);
    };
    let item = other
        .open(paths)
        .and_then(|other| store::load(other.as_ref(), site));
    Ok(item.map_or(true, |item| {
        let is_theirs = |entry: &Credential| {
            let token = entry.token.as_ref().map(|token| &token.server);
            let sign_in = entry.sign_in.as_ref().map(|sign_in| &sign_in.server);
            [token, sign_in]
                .into_iter()
                .flatten()
                .any(|held| held == server)
        };
        item.sessions.iter().any(|held| held.server == server) || item.entries().any(is_theirs)
    }))
}

/// Remains of a server in an item.
struct Left {
    /// An account that is logged in: the one that commands mean so far, if it still is.
    account: Option<String>,
    /// True if there is a token that was created there.
    tokens: bool,
}

impl Left {
    fn of(item: &Item, server: &str, remembered: Option<&str>) -> Self {
        let created_there = |entry: &Credential| {
            let token = entry.token.as_ref();
            token.is_some_and(|token| token.server == server)
        };
        let accounts = (item.sessions.iter())
            .filter(|session| session.server == server)
            .map(|session| session.account.as_str());
        let mut accounts: Vec<&str> = accounts.collect();
        accounts.sort_by_key(|account| Some(*account) != remembered);
        Left {
            account: accounts.first().map(|account| (*account).to_owned()),
            tokens: item.entries().any(created_there),
        }
    }
}

/// The rotations that need one of the sessions that ended, so that their old tokens live on. Those
/// of which nothing lives any more are forgotten.
fn unfinished(paths: &Paths, done: &LoggedOut) -> Result<Vec<Journal>, LogoutError> {
    let is_revoked = |id: &String| done.revoked.iter().any(|token| token.id == *id);
    let mut left = Vec::new();
    for journal in journal::all(paths).unwrap_or_default() {
        let is_theirs = |session: &EndedSession| session.account == journal.account;
        if journal.server != done.server || !done.sessions.iter().any(is_theirs) {
            continue;
        }
        if is_revoked(&journal.old_id) && journal.new_id.as_ref().is_none_or(is_revoked) {
            journal.clear(paths).map_err(LogoutError::Journal)?;
        } else if !journal.shortened && !journal.by_itself {
            left.push(journal);
        }
    }
    Ok(left)
}
