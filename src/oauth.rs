//! OAuth 2, the client's side: endpoints and clients as data, one file a grant.
//!
//! It prints nothing and asks nobody. CONTRIBUTING.md says why no crate does this.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use crate::api::ApiError;
use crate::api::http::{Answer, Auth, Client, sentence};
use crate::api::server::ServerUrl;
use crate::config::Config;
use crate::expiry::{Expiry, UnixTime};
use crate::secret::{Secret, SecretBuffer};
use crate::sign_in::{ClientAuth, OAuthClient};

pub mod code;
pub mod configured;
pub mod device;
pub mod discovery;
pub mod revoke;

/// Endpoints of a server, by the names of RFC 8414.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Authorization endpoint; `None` where there is no sign-in by browser.
    pub authorization: Option<Url>,
    /// Token endpoint.
    pub token: Url,
    /// Device authorization endpoint (RFC 8628); `None` where there is no device flow.
    pub device: Option<Url>,
    /// Revocation endpoint (RFC 7009).
    pub revocation: Option<Url>,
    /// Userinfo endpoint (OpenID Connect Core, section 5.3).
    pub userinfo: Option<Url>,
    /// Expected issuer of the answers (RFC 9207).
    pub issuer: Option<String>,
    /// True if each redirect names the issuer.
    pub names_issuer: bool,
    /// True if the server is known to take a secret by Basic, in the form, or by either.
    pub client_auth: Option<ClientAuth>,
    /// `scopes_supported`, where the server says it.
    pub scopes: Vec<String>,
}

/// This program as a client of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// `client_id` (RFC 6749, section 2.2).
    pub client_id: String,
    /// `client_secret`; `None` for a public client.
    pub client_secret: Option<Secret>,
    /// The way in which the secret travels.
    pub client_auth: ClientAuth,
}

/// Ways in which the servers are reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Time limit for one request, if it is not the usual one.
    pub limit: Option<Duration>,
}

impl Reach {
    /// For a server: with the certificates that are given, else those of its login.
    pub fn to(config: &Config, server: &str, ca_file: Option<PathBuf>) -> Self {
        let known = || config.servers.get(server)?.ca_file.clone();
        Reach {
            ca_file: ca_file.or_else(known),
            limit: None,
        }
    }
}

/// Tokens of a token endpoint.
#[derive(Debug)]
pub struct Tokens {
    /// Access token.
    pub access: Secret,
    /// End of the access token by this machine's clock, where the server tells it.
    pub expiry: Option<Expiry>,
    /// Refresh token; `None` where the access token can't be renewed.
    pub refresh: Option<Secret>,
    /// When the refresh token expires, where the server says it.
    pub refresh_expiry: Option<Expiry>,
    /// `None` where the server does not say them: then they are those that were asked for.
    pub scopes: Option<Vec<String>>,
}

/// Why a grant was not given, in one line that holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The way to the server failed, or what it said is not OAuth's.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The server refused (RFC 6749, section 5.2).
    #[error("the server refused: {}", refusal(code, description.as_deref()))]
    Refused {
        /// Its code, escaped.
        code: String,
        /// Its sentence, escaped.
        description: Option<String>,
    },
    /// The host has ended what the sign-in holds.
    #[error("{why}")]
    Ended {
        /// One clause.
        why: String,
    },
    /// The user said no.
    #[error("the sign-in was denied")]
    Denied,
    /// The user did not answer in time.
    #[error("the sign-in was not confirmed in time")]
    Expired,
    /// The same, and the token endpoint could not say since when.
    #[error("the sign-in was not confirmed in time; the last answer was: {0}")]
    ExpiredUnanswered(#[source] ApiError),
    /// Nobody can bring the browser's redirect.
    #[error("no browser can be opened here, and stdin has ended: nobody can paste an address")]
    Unattended {
        /// True if the server has a device flow.
        has_device_flow: bool,
    },
    /// Polls come too often.
    #[error("the server wants fewer requests")]
    SlowDown {
        /// The interval in seconds that it wants, where it says one (GitHub).
        interval: Option<u64>,
    },
    /// The server has no such way in.
    #[error("the server has no {what}")]
    Unsupported {
        /// The way.
        what: &'static str,
    },
    /// An endpoint that no secret may be sent to.
    #[error("can't use {url}: {why}")]
    Endpoint {
        /// Its URL, without user, password and query.
        url: String,
        /// One clause.
        why: &'static str,
    },
    /// The redirect does not belong to this sign-in.
    #[error("the redirect belongs to another sign-in (its state does not match)")]
    State,
    /// The redirect, or the metadata, comes from another server than was asked (RFC 9207).
    #[error("the response comes from {found}, not from {expected} (iss does not match)")]
    Issuer {
        /// The issuer that was asked, escaped.
        expected: String,
        /// The one that answered, escaped.
        found: String,
    },
    /// The pasted text is not the address of a redirect.
    #[error("that is not the address that the browser was sent to")]
    NoRedirect,
    /// Nothing can be listened to on this machine.
    #[error("can't wait for the browser: {0}")]
    Listen(#[source] std::io::Error),
}

fn refusal(code: &str, description: Option<&str>) -> String {
    match description {
        Some(description) => format!("{description} ({code})"),
        None => code.to_owned(),
    }
}

impl OAuthError {
    /// Returns whether no new access token is given for good. Of a refresh token each host has its own word
    /// for it: the RFC's, GitHub's, and Gitea's and Forgejo's for one that was used before.
    pub fn ends_sign_in(&self) -> bool {
        match self {
            OAuthError::Ended { .. } => true,
            OAuthError::Refused { code, .. } => matches!(
                code.as_str(),
                "invalid_grant" | "bad_refresh_token" | "unauthorized_client"
            ),
            _ => false,
        }
    }

    /// Time for which the server wants to be left alone, if it says one.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            OAuthError::Api(ApiError::Limited { retry_after, .. }) => *retry_after,
            _ => None,
        }
    }
}

impl App {
    /// The fields that say who asks, and how the secret travels.
    fn identify<'a>(&'a self, form: &mut Form) -> Auth<'a> {
        match (&self.client_secret, self.client_auth) {
            (Some(secret), ClientAuth::Basic) => Auth::Basic(&self.client_id, secret),
            (secret, _) => {
                form.add("client_id", &self.client_id);
                if let Some(secret) = secret {
                    form.add_secret("client_secret", secret);
                }
                Auth::Nobody
            }
        }
    }

    /// The stored form, with the endpoints that are needed after the sign-in.
    pub fn stored(&self, endpoints: &Endpoints) -> OAuthClient {
        OAuthClient {
            token_endpoint: endpoints.token.to_string(),
            revocation_endpoint: endpoints.revocation.as_ref().map(Url::to_string),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            client_auth: self.client_auth,
        }
    }
}

impl From<&OAuthClient> for App {
    fn from(stored: &OAuthClient) -> Self {
        App {
            client_id: stored.client_id.clone(),
            client_secret: stored.client_secret.clone(),
            client_auth: stored.client_auth,
        }
    }
}

/// A form in the making, wiped when it is done with.
pub(crate) struct Form(SecretBuffer);

impl Form {
    pub(crate) fn new() -> Self {
        Form(SecretBuffer::default())
    }

    pub(crate) fn add(&mut self, name: &str, value: &str) {
        self.add_bytes(name, value.as_bytes());
    }

    pub(crate) fn add_secret(&mut self, name: &str, value: &Secret) {
        self.add_bytes(name, value.expose());
    }

    fn add_bytes(&mut self, name: &str, value: &[u8]) {
        if !self.0.expose().is_empty() {
            self.0.add(b"&");
        }
        self.0.add(name.as_bytes());
        self.0.add(b"=");
        // Piece by piece, so that no other copy of a secret is made.
        for piece in url::form_urlencoded::byte_serialize(value) {
            self.0.add(piece.as_bytes());
        }
    }

    fn into_body(self) -> (&'static str, Zeroizing<Vec<u8>>) {
        let bytes = Zeroizing::new(self.0.expose().to_vec());
        ("application/x-www-form-urlencoded", bytes)
    }
}

/// A client of the server that an endpoint lies on: https, or this machine itself.
pub(crate) fn client(url: &Url, reach: &Reach) -> Result<Client, OAuthError> {
    let unusable = |why| OAuthError::Endpoint {
        // Without a user, a password, or what a query holds.
        url: sentence(&format!(
            "{}{}",
            url.origin().ascii_serialization(),
            url.path()
        )),
        why,
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("it holds a user or a password"));
    }
    if !matches!(url.scheme(), "https" | "http") {
        return Err(unusable("only http:// and https:// URLs are supported"));
    }
    let origin = url.origin().ascii_serialization();
    let server = ServerUrl::parse(&origin).map_err(unusable)?;
    let client = Client::trusting(&server, false, reach.ca_file.as_deref())?;
    Ok(match reach.limit {
        Some(limit) => client.within(limit),
        None => client,
    })
}

/// Returns whether a user may be shown an address to open: https, or this machine itself. Who could change a
/// page on its way could ask for the user's password.
pub(crate) fn is_openable(url: &Url) -> bool {
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    let server = ServerUrl::parse(&url.origin().ascii_serialization());
    let is_private = || server.is_ok_and(|server| server.is_loopback());
    is_anonymous && (url.scheme() == "https" || url.scheme() == "http" && is_private())
}

/// POST of a form, sent once.
fn post(url: &Url, app: &App, mut form: Form, reach: &Reach) -> Result<Answer, OAuthError> {
    let client = client(url, reach)?;
    let auth = app.identify(&mut form);
    Ok(client.request(Method::POST, url.clone(), auth, Some(form.into_body()))?)
}

/// An error as OAuth puts it, whatever the status: GitHub's come with 200.
#[derive(Deserialize)]
struct ErrorWire {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
    /// Of `slow_down`, in seconds (GitHub).
    #[serde(default)]
    interval: Option<u64>,
}

impl ErrorWire {
    fn of(answer: &Answer) -> Option<Self> {
        serde_json::from_slice(answer.body()).ok()
    }
}

impl From<ErrorWire> for OAuthError {
    fn from(wire: ErrorWire) -> Self {
        match wire.error.as_str() {
            "access_denied" => OAuthError::Denied,
            "expired_token" | "token_expired" => OAuthError::Expired,
            "slow_down" => OAuthError::SlowDown {
                interval: wire.interval,
            },
            code => OAuthError::Refused {
                code: sentence(code),
                description: wire.error_description.as_deref().map(sentence),
            },
        }
    }
}

/// Asks the token endpoint for a grant. `form` has everything but who asks.
///
/// Returns whether a server takes the secret by Basic or in the form is known beforehand of few. One that
/// does not take it the one way has not used the grant up, so the other way is tried; `app` keeps
/// the one that worked.
fn grant(
    endpoint: &Url,
    app: &mut App,
    form: impl Fn(&mut Form),
    reach: &Reach,
) -> Result<Tokens, OAuthError> {
    let ask = |app: &App| {
        let mut fields = Form::new();
        form(&mut fields);
        let asked = UnixTime::now();
        tokens(&post(endpoint, app, fields, reach)?, asked)
    };
    let refused = match ask(app) {
        Err(error) if app.client_secret.is_some() && is_invalid_client(&error) => error,
        other => return other,
    };
    let other = App {
        client_auth: match app.client_auth {
            ClientAuth::Body => ClientAuth::Basic,
            ClientAuth::Basic => ClientAuth::Body,
        },
        ..app.clone()
    };
    match ask(&other) {
        Err(error) if is_invalid_client(&error) => Err(refused),
        answered => {
            *app = other;
            answered
        }
    }
}

fn is_invalid_client(error: &OAuthError) -> bool {
    match error {
        OAuthError::Refused { code, .. } => code == "invalid_client",
        OAuthError::Api(ApiError::Unauthorized) => true,
        _ => false,
    }
}

/// Parses the answer of a token endpoint (RFC 6749, section 5). The expiry counts from `asked`, before the
/// server can have counted.
fn tokens(answer: &Answer, asked: UnixTime) -> Result<Tokens, OAuthError> {
    #[derive(Deserialize)]
    struct Wire {
        access_token: Secret,
        token_type: Option<String>,
        expires_in: Option<Value>,
        refresh_token: Option<Secret>,
        /// GitHub's, and Keycloak's name for the same.
        #[serde(alias = "refresh_expires_in")]
        refresh_token_expires_in: Option<Value>,
        scope: Option<String>,
    }
    if let Some(error) = ErrorWire::of(answer) {
        return Err(error.into());
    }
    let wire: Wire = answer.json()?;
    let malformed = |what: &str| ApiError::Malformed { what: what.into() };
    let kind = wire.token_type.as_deref().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(malformed("a token that is no bearer token").into());
    }
    if wire.access_token.is_empty() {
        return Err(malformed("an empty access token").into());
    }
    // RFC 6749, appendix A.12 and A.17. Anything else could not be given to git, nor sent again.
    let is_visible = |token: &Secret| {
        token
            .expose()
            .iter()
            .all(|byte| matches!(byte, 0x20..=0x7e))
    };
    if ![Some(&wire.access_token), wire.refresh_token.as_ref()]
        .into_iter()
        .flatten()
        .all(is_visible)
    {
        return Err(malformed("a token with characters that no token has").into());
    }
    let expiry = |value: Option<Value>| {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let text = value.as_str().and_then(|text| text.parse().ok());
        let seconds = value.as_i64().or(value.as_f64().map(|s| s as i64)).or(text);
        let seconds: i64 = seconds.ok_or_else(|| malformed("a lifetime that is no number"))?;
        Ok::<_, ApiError>((seconds > 0).then(|| Expiry(asked.plus(seconds))))
    };
    let scopes = wire.scope.filter(|scope| !scope.is_empty());
    Ok(Tokens {
        access: wire.access_token,
        expiry: expiry(wire.expires_in)?,
        refresh: wire.refresh_token.filter(|token| !token.is_empty()),
        refresh_expiry: expiry(wire.refresh_token_expires_in)?,
        scopes: scopes.map(|scope| split_scopes(&scope)),
    })
}

/// Scopes as OAuth writes them, with spaces, and as GitHub does, with commas.
pub fn split_scopes(text: &str) -> Vec<String> {
    text.split([' ', ','])
        .filter(|scope| !scope.is_empty())
        .map(sentence)
        .collect()
}

/// A new access token for a refresh token (RFC 6749, section 6), asked for once.
pub fn refresh(
    client: &OAuthClient,
    refresh_token: &Secret,
    reach: &Reach,
) -> Result<Tokens, OAuthError> {
    let endpoint = parse_endpoint(&client.token_endpoint)?;
    let app = App::from(client);
    let mut form = Form::new();
    form.add("grant_type", "refresh_token");
    form.add_secret("refresh_token", refresh_token);
    let asked = UnixTime::now();
    tokens(&post(&endpoint, &app, form, reach)?, asked)
}

/// An endpoint's URL, as it was stored or configured.
pub(crate) fn parse_endpoint(text: &str) -> Result<Url, OAuthError> {
    Url::parse(text).map_err(|_| OAuthError::Endpoint {
        url: sentence(text),
        why: "it is not a URL",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let mut form = Form::new();
        form.add("a", "x y");
        form.add_secret("b", &Secret::from("&=é".to_owned()));
        assert_eq!(form.0.expose(), b"a=x+y&b=%26%3D%C3%A9");
    }

    #[test]
    fn scopes_are_parted_by_spaces_or_commas() {
        assert_eq!(split_scopes("repo,gist  user"), ["repo", "gist", "user"]);
    }
}
