//! Renewing the stored access tokens of a site, by one process at a time: by a refresh token, or by
//! the key of an app.

use std::time::Duration;

use super::end::end;
use super::github_app::AppApi;
use crate::api::server::ServerUrl;
use crate::config::{Config, Paths};
use crate::credential::{AuthData, Credential, Site};
use crate::expiry::UnixTime;
use crate::oauth::{OAuthError, Reach, Tokens, refresh};
use crate::sign_in::{SignIn, Upkeep, ended};
use crate::store::lock::SiteLock;
use crate::store::{self, Store, StoreError};

/// Why a site's access tokens were not all refreshed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The server ended the sign-in: only a new one helps.
    #[error("{}{}", ended(server, account.as_deref()), clause(why.as_deref()))]
    Ended {
        /// Base URL of the server.
        server: String,
        /// The account, where it is known.
        account: Option<String>,
        /// In one clause, where more is known than that.
        why: Option<String>,
        /// Arguments after `wit login`.
        login: Vec<String>,
    },
    /// The server was asked in vain a moment ago.
    #[error("the server did not answer a moment ago")]
    Paused,
    /// It was not refreshed this time.
    #[error("{0}")]
    OAuth(#[source] OAuthError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
}

fn clause(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

/// Renews each access token of `site` that is due. Other processes wait for the lock up to
/// `lock_timeout`, and then find nothing due. Nothing is asked where `is_paused` says so once the lock
/// is held: another process has just failed. Returns how many were renewed; the first failure
/// after all were tried.
pub fn refresh_due(
    store: &dyn Store,
    paths: &Paths,
    site: &Site,
    lock_timeout: Duration,
    is_paused: impl FnOnce() -> bool,
) -> Result<usize, RenewError> {
    let is_due = |entry: &&Credential| entry.needs_refresh(UnixTime::now());
    // Most callers have nothing due, and need no lock to see that.
    let item = store::load(store, site)?;
    if !item.credentials.0.iter().any(|entry| is_due(&entry)) {
        return Ok(0);
    }
    let _lock = SiteLock::acquire_rotation(paths, site, lock_timeout)?;
    let item = store::load(store, site)?;
    let due: Vec<&Credential> = item.credentials.0.iter().filter(is_due).collect();
    if due.is_empty() {
        return Ok(0);
    }
    if is_paused() {
        return Err(RenewError::Paused);
    }
    let config = Config::load(paths).unwrap_or_default();
    let mut renewed = 0;
    let mut failure = None;
    for entry in due {
        match renew(store, paths, site, entry, &config) {
            Ok(()) => renewed += 1,
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        None => Ok(renewed),
        Some(error) => Err(error),
    }
}

fn renew(
    store: &dyn Store,
    paths: &Paths,
    site: &Site,
    entry: &Credential,
    config: &Config,
) -> Result<(), RenewError> {
    let Some(sign_in) = &entry.sign_in else {
        return Ok(());
    };
    let reach = Reach::to(config, &sign_in.server, None);
    let issued = UnixTime::now();
    let tokens = match new_tokens(entry, sign_in, &reach) {
        Ok(Some(tokens)) => tokens,
        Ok(None) => return Ok(()),
        Err(error) if error.ends_sign_in() => {
            change(store, paths, site, entry, |sign_in, _| sign_in.ended = true)?;
            return Err(RenewError::Ended {
                server: sign_in.server.clone(),
                account: sign_in.account.clone(),
                why: match error {
                    OAuthError::Ended { why } => Some(why),
                    _ => None,
                },
                login: sign_in.login_words(),
            });
        }
        Err(error) => return Err(RenewError::OAuth(error)),
    };
    let mut new = Credential {
        auth: AuthData::Password(tokens.access),
        refresh_token: tokens.refresh,
        ..entry.clone()
    };
    // A refresh token may work once only: nothing stands between the answer and this write.
    let is_kept = change(store, paths, site, entry, |sign_in, held| {
        held.auth = new.auth.clone();
        held.expiry = tokens.expiry;
        held.refresh_token = new.refresh_token.clone().or(held.refresh_token.take());
        sign_in.issued = issued;
        sign_in.refresh_expiry = tokens.refresh_expiry.or(sign_in.refresh_expiry);
        if let Some(scopes) = tokens.scopes {
            sign_in.scopes = scopes;
        }
    })?;
    if !is_kept && let Ok(server) = ServerUrl::parse(&sign_in.server) {
        // Nobody would end it otherwise: it was logged out of meanwhile.
        new.refresh_token = new.refresh_token.take().or(entry.refresh_token.clone());
        let _ = end(&new, sign_in, &server, &reach);
    }
    Ok(())
}

/// Tokens that the host gives in the place of the entry's access token; `None` where it is not renewed so.
fn new_tokens(
    entry: &Credential,
    sign_in: &SignIn,
    reach: &Reach,
) -> Result<Option<Tokens>, OAuthError> {
    match (&sign_in.upkeep, &entry.refresh_token) {
        (Upkeep::Refresh(client), Some(refresh_token)) => {
            refresh(client, refresh_token, reach).map(Some)
        }
        (Upkeep::Mint(app), _) => {
            let server = ServerUrl::parse(&sign_in.server).map_err(|why| OAuthError::Endpoint {
                url: sign_in.server.clone(),
                why,
            })?;
            AppApi::new(&server, &app.id, &app.key, reach)?
                .token(app)
                .map(Some)
        }
        _ => Ok(None),
    }
}

/// Changes the entry in the store, whatever else was changed meanwhile; whether it was still there.
/// The replaced access token is not stored again, should git bring it.
fn change(
    store: &dyn Store,
    paths: &Paths,
    site: &Site,
    entry: &Credential,
    change: impl FnOnce(&mut SignIn, &mut Credential),
) -> Result<bool, StoreError> {
    let upkeep = |entry: &Credential| entry.sign_in.as_ref().map(|held| held.upkeep.clone());
    store::update(store, paths, site, |item| {
        let same = |held: &&mut Credential| {
            held.refresh_token == entry.refresh_token
                && (&held.username, &held.path) == (&entry.username, &entry.path)
                && upkeep(held) == upkeep(entry)
        };
        let Some(held) = item.credentials.0.iter_mut().find(same) else {
            return false;
        };
        if let Some(mut sign_in) = held.sign_in.take() {
            change(&mut sign_in, held);
            held.sign_in = Some(sign_in);
        }
        if held.auth != entry.auth {
            item.retire(entry.auth.secret());
        }
        true
    })
}
