//! The session of a browser, in a cookie.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::error::PageError;
use super::layout::Viewer;
use super::paths::Next;
use crate::database::accounts::User;
use crate::database::sessions::Session;
use crate::database::tokens::AskedFrom;
use crate::platform::Shared;
use crate::platform::auth::address;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::secret::Secret;

/// Someone who is signed in.
#[derive(Debug)]
pub struct Visitor {
    pub user: User,
    pub session: Session,
    /// The session's secret.
    pub secret: Secret,
    /// Address that the request comes from.
    pub from: IpAddr,
    pub viewer: Viewer,
}

impl Visitor {
    fn new(session: Session, secret: Secret, from: IpAddr) -> Self {
        let user = session.user.clone();
        let name = user.username.as_deref().unwrap_or(&user.email);
        let viewer = Viewer {
            name: name.to_owned(),
            form_token: URL_SAFE_NO_PAD.encode(mac(&secret).finalize().into_bytes()),
        };
        Visitor {
            user,
            session,
            secret,
            from,
            viewer,
        }
    }

    /// The visitor whose session the request's cookie holds.
    pub async fn find(
        parts: &Parts,
        platform: &Shared,
        origin: &Origin,
    ) -> Result<Option<Self>, Refusal> {
        let Some(secret) = cookie_value(&parts.headers, cookie_name(origin.is_tls)) else {
            return Ok(None);
        };
        let from = address(parts)?;
        let session = platform.session(&secret, from).await?;
        Ok(session.map(|session| Visitor::new(session, secret, from)))
    }

    /// Origin of the visitor's requests for tokens.
    pub fn asked_from(&self) -> AskedFrom<'_> {
        AskedFrom {
            device: self.session.client.as_deref(),
            address: Some(self.from),
        }
    }

    /// The name that a person knows the account by.
    pub fn name(&self) -> &str {
        &self.viewer.name
    }

    /// A form of this visitor's pages holds that.
    pub fn sent(&self, form_token: &str) -> bool {
        (URL_SAFE_NO_PAD.decode(form_token))
            .is_ok_and(|given| mac(&self.secret).verify_slice(&given).is_ok())
    }
}

/// Token of each form: nobody can make it without the session, nor tell the session from it.
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
        let wanted = match (&parts.method, parts.uri.path_and_query()) {
            // A form's own address may show nothing else.
            (&Method::GET, Some(wanted)) => wanted.as_str().to_owned(),
            _ => parts.uri.path().to_owned(),
        };
        visitor.ok_or_else(|| PageError::SignIn(Next::of(&wanted)))
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
    own_cookie(origin, cookie_name(origin.is_tls), value)
}

/// A cookie for this server alone, which no script can read.
pub fn own_cookie<'a>(
    origin: &Origin,
    name: impl Into<std::borrow::Cow<'a, str>>,
    value: &'a str,
) -> cookie::CookieBuilder<'a> {
    Cookie::build((name, value))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(origin.is_tls)
        .path("/")
}

/// The cookies of a request.
pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = Cookie<'_>> {
    let sent = headers.get_all(header::COOKIE).into_iter();
    sent.filter_map(|value| value.to_str().ok())
        .flat_map(Cookie::split_parse)
        .flatten()
}

pub fn cookie_value(headers: &HeaderMap, name: &str) -> Option<Secret> {
    cookies(headers)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| Secret::from(cookie.value().to_owned()))
}
