//! The session of a browser, in a cookie.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::PageError;
use super::layout::Viewer;
use super::paths::Next;
use crate::database::accounts::User;
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::secret::Secret;

/// Someone who is signed in.
#[derive(Debug)]
pub struct Visitor {
    pub user: User,
    pub session: Secret,
    pub viewer: Viewer,
}

impl Visitor {
    fn new(user: User, session: Secret) -> Self {
        let name = user.username.as_deref().unwrap_or(&user.email);
        let viewer = Viewer {
            name: name.to_owned(),
            form_token: URL_SAFE_NO_PAD.encode(mac(&session).finalize().into_bytes()),
        };
        Visitor {
            user,
            session,
            viewer,
        }
    }

    /// The visitor whose session the request's cookie holds.
    pub async fn find(
        parts: &Parts,
        platform: &Shared,
        origin: &Origin,
    ) -> Result<Option<Self>, Refusal> {
        let Some(session) = cookie_value(&parts.headers, cookie_name(origin.is_tls)) else {
            return Ok(None);
        };
        let user = platform.database.session(&session).await?;
        Ok(user.map(|user| Visitor::new(user, session)))
    }

    /// The name that a person knows the account by.
    pub fn name(&self) -> &str {
        &self.viewer.name
    }

    /// A form of this visitor's pages holds that.
    pub fn sent(&self, form_token: &str) -> bool {
        (URL_SAFE_NO_PAD.decode(form_token))
            .is_ok_and(|given| mac(&self.session).verify_slice(&given).is_ok())
    }
}

/// What each form carries: nobody can make it without the session, nor tell the session from it.
fn mac(session: &Secret) -> Hmac<Sha256> {
    let mac = Hmac::new_from_slice(session.expose());
    let mut mac: Hmac<Sha256> = mac.expect("HMAC takes a key of any length");
    mac.update(b"wit page: form");
    mac
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, platform: &Shared) -> Result<Self, PageError> {
        let origin = Origin::from_request_parts(parts, platform).await?;
        let visitor = Visitor::find(parts, platform, &origin).await?;
        visitor.ok_or_else(|| PageError::SignIn(Next::of(parts.uri.path())))
    }
}

/// The prefix makes a browser take the cookie only over TLS, from this host, for all of it
/// (RFC 6265bis, section 4.1.3.2): no neighbour can plant one.
fn cookie_name(is_tls: bool) -> &'static str {
    if is_tls {
        "__Host-wit_session"
    } else {
        "wit_session"
    }
}

/// Begins a session in the browser; it ends with the browser, or at the server.
pub fn session_cookie(origin: &Origin, session: &Secret) -> String {
    let value = session.expose_str().unwrap_or_default();
    cookie(origin, value).build().to_string()
}

/// Makes the browser forget the session.
pub fn no_session_cookie(origin: &Origin) -> String {
    cookie(origin, "")
        .max_age(cookie::time::Duration::ZERO)
        .build()
        .to_string()
}

fn cookie<'a>(origin: &Origin, value: &'a str) -> cookie::CookieBuilder<'a> {
    Cookie::build((cookie_name(origin.is_tls), value))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(origin.is_tls)
        .path("/")
}

fn cookie_value(headers: &HeaderMap, name: &str) -> Option<Secret> {
    let sent = headers.get_all(header::COOKIE).into_iter();
    sent.filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .flatten()
        .find(|cookie| cookie.name() == name)
        .map(|cookie| Secret::from(cookie.value().to_owned()))
}
