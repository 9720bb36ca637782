//! A token by password and one-time code, where a host creates one so: Gitea and Forgejo.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::api;
use crate::api::ApiError;
use crate::api::http::{Auth, sentence};
use crate::api::server::ServerUrl;
use crate::oauth::{OAuthError, Reach, client};
use crate::secret::Secret;
use crate::sign_in::HostType;

/// A user, the password, and the one-time code of those who have a second factor.
#[derive(Debug)]
pub struct Login<'a> {
    /// Username.
    pub username: &'a str,
    /// Password, which is sent and not kept.
    pub password: &'a Secret,
    /// One-time code; each is accepted once.
    pub code: Option<&'a Secret>,
}

/// A token that a host has just created.
#[derive(Debug)]
pub struct Created {
    /// Number of the token.
    pub id: String,
    /// Name of the token, escaped.
    pub name: String,
    /// Scopes as the host granted them.
    pub scopes: Vec<String>,
    /// The secret, which the host tells this once.
    pub secret: Secret,
}

/// Returns whether the host creates tokens for a password.
pub fn is_supported(host: HostType) -> bool {
    matches!(host, HostType::Gitea | HostType::Forgejo)
}

/// Creates a token, sent once. [`ApiError::Unauthorized`] means a wrong name, password or code, or
/// that a code is missing.
pub fn create(
    host: HostType,
    server: &ServerUrl,
    login: &Login,
    name: &str,
    scopes: &[String],
    reach: &Reach,
) -> Result<Created, OAuthError> {
    #[derive(Deserialize)]
    struct Wire {
        id: u64,
        name: String,
        sha1: Secret,
        #[serde(default)]
        scopes: Vec<String>,
    }
    let Some(url) = tokens(host, server, login.username) else {
        return Err(OAuthError::Unsupported {
            what: "tokens for a password",
        });
    };
    let body = json!({ "name": name, "scopes": scopes }).to_string();
    let body = Zeroizing::new(body.into_bytes());
    let answer = client(&url, reach)?.request(
        Method::POST,
        url,
        auth(host, login),
        Some(("application/json", body)),
    )?;
    let wire: Wire = answer.json()?;
    if wire.sha1.is_empty() {
        let what = "no token in it".to_owned();
        return Err(ApiError::Malformed { what }.into());
    }
    Ok(Created {
        id: wire.id.to_string(),
        name: sentence(&wire.name),
        scopes: wire.scopes.iter().map(|scope| sentence(scope)).collect(),
        secret: wire.sha1,
    })
}

/// Revokes a token by its id. One that is gone is a success.
pub fn revoke(
    host: HostType,
    server: &ServerUrl,
    login: &Login,
    id: &str,
    reach: &Reach,
) -> Result<(), OAuthError> {
    let Some(mut url) = tokens(host, server, login.username) else {
        return Ok(());
    };
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(id);
    }
    let answer = client(&url, reach)?.request(Method::DELETE, url, auth(host, login), None)?;
    match answer.done() {
        Err(ApiError::NotFound) => Ok(()),
        other => Ok(other?),
    }
}

/// The URL of an account's tokens; `None` where the host has no such call.
pub(super) fn tokens(host: HostType, server: &ServerUrl, username: &str) -> Option<url::Url> {
    if !is_supported(host) {
        return None;
    }
    let mut url = api(host, server, "/users")?;
    url.path_segments_mut().ok()?.extend([username, "tokens"]);
    Some(url)
}

/// Basic authentication, with the host's header for a one-time code.
pub(super) fn auth<'a>(host: HostType, login: &Login<'a>) -> Auth<'a> {
    let header = match host {
        HostType::Forgejo => "x-forgejo-otp",
        _ => "x-gitea-otp",
    };
    match login.code {
        Some(code) => Auth::OneTimeCode(login.username, login.password, header, code),
        None => Auth::Basic(login.username, login.password),
    }
}
