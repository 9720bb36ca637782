//! Who looks at the page: the session in a cookie, and forms that only the page itself can send.

use axum::extract::{Form, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::layout;
use super::sign_in::Next;
use crate::database::accounts::User;
use crate::platform::Shared;
use crate::platform::origin::{Origin, Sender};
use crate::platform::refusal::Refusal;
use crate::secret::Secret;

/// Someone who is signed in.
#[derive(Debug)]
pub struct Visitor {
    pub user: User,
    pub session: Secret,
}

impl Visitor {
    /// Whose session the request's cookie holds, if it is one.
    pub async fn find(
        parts: &Parts,
        platform: &Shared,
        origin: &Origin,
    ) -> Result<Option<Self>, Refusal> {
        let Some(session) = cookie_value(&parts.headers, cookie_name(origin.is_tls)) else {
            return Ok(None);
        };
        let user = platform.database.session(&session).await?;
        Ok(user.map(|user| Visitor { user, session }))
    }

    /// The name that a person knows the account by.
    pub fn name(&self) -> &str {
        self.user.username.as_deref().unwrap_or(&self.user.email)
    }

    /// What each of the visitor's forms carries. Whoever does not know the session can't make it,
    /// and nobody can tell the session from it.
    pub fn form_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.mac().finalize().into_bytes())
    }

    fn sent(&self, form_token: &str) -> bool {
        (URL_SAFE_NO_PAD.decode(form_token))
            .is_ok_and(|given| self.mac().verify_slice(&given).is_ok())
    }

    fn mac(&self) -> Hmac<Sha256> {
        let mac = Hmac::new_from_slice(self.session.expose());
        let mut mac: Hmac<Sha256> = mac.expect("HMAC takes a key of any length");
        mac.update(b"wit page: form");
        mac
    }
}

impl FromRequestParts<Shared> for Visitor {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, platform: &Shared) -> Result<Self, PageError> {
        let origin = Origin::from_request_parts(parts, platform).await?;
        let visitor = Visitor::find(parts, platform, &origin).await?;
        visitor.ok_or_else(|| PageError::SignIn(Next::of(parts.uri.path())))
    }
}

/// The fields of a form that a page of this server sent. Any of them may be a password.
#[derive(Debug)]
pub struct Fields(Vec<(String, Secret)>);

impl Fields {
    /// The first field of that name; empty where there is none, or none that is text.
    pub fn text(&self, name: &str) -> &str {
        let value = self.all(name).next();
        value.and_then(Secret::expose_str).unwrap_or_default()
    }

    /// Every field of that name, such as those of ticked boxes.
    pub fn texts(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.all(name).filter_map(Secret::expose_str)
    }

    /// The first field of that name, as the secret that it is.
    pub fn secret(&self, name: &str) -> Secret {
        let value = self.all(name).next();
        value.cloned().unwrap_or_else(|| Secret::new(Vec::new()))
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Secret> {
        let named = self.0.iter().filter(move |(other, _)| other == name);
        named.map(|(_, value)| value)
    }
}

impl FromRequest<Shared> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, platform: &Shared) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let origin = Origin::from_request_parts(&mut parts, platform).await?;
        if origin.sender(&parts.headers) != Sender::ThisSite {
            return Err(forged("it came from another site"));
        }
        let request = Request::from_parts(parts, body);
        match Form::from_request(request, platform).await {
            Ok(Form(fields)) => Ok(Fields(fields)),
            Err(rejection) => Err(PageError::Refused(Refusal::new(
                rejection.status(),
                "BAD_REQUEST",
                "the form can't be read",
            ))),
        }
    }
}

/// A form that the visitor sent from one of the pages made for this session.
#[derive(Debug)]
pub struct Posted {
    pub visitor: Visitor,
    pub fields: Fields,
}

impl FromRequest<Shared> for Posted {
    type Rejection = PageError;

    async fn from_request(request: Request, platform: &Shared) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, platform).await?;
        let fields = Fields::from_request(Request::from_parts(parts, body), platform).await?;
        match visitor.sent(fields.text("form")) {
            true => Ok(Posted { visitor, fields }),
            false => Err(forged("it is not from a page of this sign-in")),
        }
    }
}

fn forged(why: &str) -> PageError {
    PageError::Refused(Refusal::new(
        StatusCode::FORBIDDEN,
        "FORBIDDEN",
        format!("the form was not accepted: {why}"),
    ))
}

/// Why a visitor does not get the page that was asked for.
#[derive(Debug)]
pub enum PageError {
    SignIn(Next),
    Refused(Refusal),
}

impl<E: Into<Refusal>> From<E> for PageError {
    fn from(why: E) -> Self {
        PageError::Refused(why.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        match self {
            PageError::SignIn(next) => Redirect::to(next.sign_in()).into_response(),
            PageError::Refused(refusal) => layout::refusal(&refusal),
        }
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
