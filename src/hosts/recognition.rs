//! Asking a server what it is: at login only, without a secret, without following a redirect.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::api::ApiError;
use crate::api::http::{Answer, Auth, sentence};
use crate::api::server::ServerUrl;
use crate::oauth::discovery::discover;
use crate::oauth::{Endpoints, OAuthError, Reach, client};
use crate::sign_in::HostType;

/// Time limit for one question.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The call of a wit server's API that tells it from others.
pub const WIT_USER: &str = "/api/v1/user";

/// Returns whether an answer to [`WIT_USER`], asked without a token, is a wit server's.
pub fn is_wit(answer: &Answer) -> bool {
    answer.status == 401 && message(answer).as_deref() == Some("Requires authentication")
}

/// Recognised server.
#[derive(Debug)]
pub struct Recognized {
    /// Type of the server.
    pub host: HostType,
    /// Base URL: the URL that was given, or its root.
    pub server: ServerUrl,
    /// Version, where the server tells it.
    pub version: Option<String>,
    /// Endpoints that it described, if it was asked for them.
    pub endpoints: Option<Endpoints>,
}

/// Silence of a server that takes connections and has answered nothing yet.
enum Silence {
    Untried,
    Kept(ApiError),
    Broken,
}

/// Asks `server`, and then its root where it lies below a path. `None` is a server that fits none
/// of the types. It fails where the server can't be reached, where plain http would leave this
/// machine, and with [`ApiError::Failed`] where what fits none of them refused to answer.
pub fn recognize(server: &ServerUrl, reach: &Reach) -> Result<Option<Recognized>, OAuthError> {
    let reach = Reach {
        limit: Some(TIMEOUT),
        ..reach.clone()
    };
    let mut refusal = None;
    let mut silence = Silence::Untried;
    let mut found = recognize_at(server, &reach, &mut refusal, &mut silence)?;
    let root = server.at("").origin().ascii_serialization();
    match ServerUrl::parse(&root) {
        Ok(root) if found.is_none() && root != *server => {
            found = recognize_at(&root, &reach, &mut refusal, &mut silence)?;
        }
        _ => {}
    }
    if let (None, Silence::Kept(error)) = (&found, silence) {
        return Err(error.into());
    }
    match (found, refusal) {
        // A proxy, a rate limiter, or a server that is down says nothing of what it is.
        (None, Some(status)) => Err(ApiError::Failed { status }.into()),
        (found, _) => Ok(found),
    }
}

/// `refusal` is the status of a question that was not answered.
fn recognize_at(
    server: &ServerUrl,
    reach: &Reach,
    refusal: &mut Option<u16>,
    silence: &mut Silence,
) -> Result<Option<Recognized>, OAuthError> {
    let mut get = |path: &str| {
        let url = server.at(path);
        let answer = client(&url, reach)?.request(Method::GET, url, Auth::Nobody, None);
        match answer {
            Ok(answer) => {
                *silence = Silence::Broken;
                if matches!(answer.status, 403 | 429 | 500..) {
                    refusal.get_or_insert(answer.status);
                }
                Ok(Some(answer))
            }
            Err(ApiError::Failed { status }) => {
                *silence = Silence::Broken;
                refusal.get_or_insert(status);
                Ok(None)
            }
            Err(error @ ApiError::Lost { .. }) => {
                if matches!(silence, Silence::Untried) {
                    *silence = Silence::Kept(error);
                }
                Ok(None)
            }
            Err(ApiError::Malformed { .. }) => {
                *silence = Silence::Broken;
                Ok(None)
            }
            Err(error) => Err(OAuthError::from(error)),
        }
    };
    let is = |host, version, endpoints| {
        Ok(Some(Recognized {
            host,
            server: server.clone(),
            version,
            endpoints,
        }))
    };
    if let Some(answer) = get(WIT_USER)?
        && is_wit(&answer)
    {
        return is(HostType::Wit, None, None);
    }
    if let Some(answer) = get("/api/forgejo/v1/version")?
        && (version(&answer).is_some() || is_refusal_in_json(&answer))
    {
        return is(HostType::Forgejo, version(&answer), None);
    }
    if let Some(answer) = get("/api/v1/version")?
        && let Some(version) = version(&answer)
    {
        let host = match version.contains("+gitea") {
            true => HostType::Forgejo,
            false => HostType::Gitea,
        };
        return is(host, Some(version), None);
    }
    let described = match discover(server, reach) {
        Err(OAuthError::Issuer { .. }) => None,
        other => other?,
    };
    if let Some(endpoints) = &described {
        let ends = |url: Option<&url::Url>, end| url.is_some_and(|url| url.path().ends_with(end));
        let userinfo = endpoints.userinfo.as_ref();
        if ends(Some(&endpoints.token), "/oauth/token") && ends(userinfo, "/oauth/userinfo") {
            return is(HostType::Gitlab, None, described);
        }
        if ends(Some(&endpoints.token), "/login/oauth/access_token") {
            return is(HostType::Gitea, None, described);
        }
    }
    if let Some(answer) = get("/api/v4/version")?
        && (message(&answer).as_deref() == Some("401 Unauthorized")
            || version(&answer).is_some() && answer.header("x-gitlab-meta").is_some())
    {
        return is(HostType::Gitlab, version(&answer), described);
    }
    if let Some(answer) = get("/api/v3/meta")?
        && (answer.header("x-github-request-id").is_some()
            || text(&answer, "installed_version").is_some())
    {
        return is(HostType::Github, text(&answer, "installed_version"), None);
    }
    match described {
        Some(endpoints) => is(HostType::Oauth, None, Some(endpoints)),
        None => Ok(None),
    }
}

/// The version in a success; an answer in HTML has none.
fn version(answer: &Answer) -> Option<String> {
    (answer.status == 200)
        .then(|| text(answer, "version"))
        .flatten()
}

fn text(answer: &Answer, key: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(answer.body()).ok()?;
    Some(sentence(body.get(key)?.as_str()?))
}

fn message(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        message: String,
    }
    let wire: Wire = serde_json::from_slice(answer.body()).ok()?;
    Some(wire.message)
}

/// A server that wants a sign-in even for its version says so in JSON. Its errors name the page of its
/// API; a server that answers 401 to everything names another, or none. A proxy's 403 is none.
fn is_refusal_in_json(answer: &Answer) -> bool {
    match answer.status {
        401 => text(answer, "url").is_some_and(|url| url.ends_with("/api/swagger")),
        403 => message(answer).is_some_and(|said| said.starts_with("Only signed in user")),
        _ => false,
    }
}

/// Returns whether a failure to recognize is one to reach the server at all.
pub fn is_unreachable(error: &OAuthError) -> bool {
    matches!(error, OAuthError::Api(ApiError::Unreachable { .. }))
}
