//! The one view of a new token.
//!
//! The form that creates a token is answered by a redirect, so that a reload or the way back sends no
//! form again. Until the page behind it is asked for, the token waits in the database, where any of
//! several servers finds it, sealed with a key that only the browser has, in a cookie of its own. So
//! neither a copy of the database nor the browser's files alone hold the token, and the first view
//! removes it from both.

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use cookie::Cookie;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::PageError;
use super::layout::{self, Notice, copied};
use super::paths;
use super::session::{Visitor, cookie_value, cookies, own_cookie};
use super::tokens;
use crate::database::random_bytes;
use crate::database::shown::SHOWN_WITHIN;
use crate::database::tokens::TokenRecord;
use crate::expiry::UnixTime;
use crate::platform::Shared;
use crate::platform::origin::Origin;
use crate::platform::refusal::Refusal;
use crate::secret::Secret;

pub fn routes() -> Router<Shared> {
    Router::new().route("/settings/tokens/{id}/shown", get(show))
}

const PREFIX: &str = "wit_shown_";
/// The value of a cookie whose token was shown.
const SEEN: &str = "seen";

/// Each new token has a cookie of its own: two may be created in two windows at once.
fn cookie_name(origin: &Origin, id: Uuid) -> String {
    let prefix = if origin.is_tls { "__Host-" } else { "" };
    format!("{prefix}{PREFIX}{}", id.simple())
}

/// Leads to the page that shows a new token once.
pub async fn lead(
    platform: &Shared,
    visitor: &Visitor,
    origin: &Origin,
    id: Uuid,
    secret: &Secret,
    is_rotation: bool,
) -> Result<Response, PageError> {
    let key = Zeroizing::new(random_bytes::<32>());
    let payload = Payload {
        msg: secret.expose(),
        aad: id.as_bytes(),
    };
    // A key seals one token only, so that no nonce comes twice.
    let sealed = ChaCha20Poly1305::new(Key::from_slice(&*key))
        .encrypt(&Nonce::default(), payload)
        .map_err(|_| Refusal::failed())?;
    platform
        .database
        .keep_to_show(id, &visitor.session.id, &sealed)
        .await?;
    let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(key.as_slice()));
    let cookie = own_cookie(origin, cookie_name(origin, id), &value)
        .max_age(cookie::time::Duration::seconds(
            SHOWN_WITHIN.whole_seconds(),
        ))
        .build()
        .to_string();
    let done = if is_rotation { "?done=rotated" } else { "" };
    let path = format!("{}/{id}/shown{done}", paths::TOKENS);
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Redirect::to(&path)).into_response())
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    done: String,
}

async fn show(
    State(platform): State<Shared>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    origin: Origin,
    headers: HeaderMap,
    visitor: Visitor,
) -> Result<Response, PageError> {
    let title = match asked.done.as_str() {
        "rotated" => "Token rotated",
        _ => "Token created",
    };
    let shown = match Uuid::try_parse(&id) {
        Ok(id) => take(&platform, &visitor, &origin, &headers, id).await?,
        Err(_) => None,
    };
    let Some((token, secret)) = shown else {
        return Ok(Redirect::to(tokens::SHOWN_BEFORE).into_response());
    };
    let seen = own_cookie(&origin, cookie_name(&origin, token.id), SEEN)
        .build()
        .to_string();
    let page = page(title, &visitor, &origin, &token, &secret);
    Ok((AppendHeaders([(SET_COOKIE, seen)]), page).into_response())
}

/// Removes the cookies of tokens that were shown, with the next page that is asked for. A browser
/// that keeps whole pages for the way back drops those that are not to be stored (`no-store`) as soon
/// as such a cookie changes, and with them the token.
pub async fn forget(request: Request, next: Next) -> Response {
    let seen: Vec<String> = match request.uri().path().ends_with("/shown") {
        true => Vec::new(),
        false => cookies(request.headers())
            .filter(|cookie| cookie.value() == SEEN && cookie.name().contains(PREFIX))
            .map(|cookie| cookie.name().to_owned())
            .collect(),
    };
    let mut response = next.run(request).await;
    for name in seen {
        let is_tls = name.starts_with("__Host-");
        let over = Cookie::build((name, ""))
            .http_only(true)
            .secure(is_tls)
            .path("/")
            .max_age(cookie::time::Duration::ZERO)
            .build()
            .to_string();
        if let Ok(over) = HeaderValue::from_str(&over) {
            response.headers_mut().append(SET_COOKIE, over);
        }
    }
    response
}

/// The token of that id, if it waits for this visitor; it does not afterwards.
async fn take(
    platform: &Shared,
    visitor: &Visitor,
    origin: &Origin,
    headers: &HeaderMap,
    id: Uuid,
) -> Result<Option<(TokenRecord, Secret)>, PageError> {
    let Some(key) = cookie_value(headers, &cookie_name(origin, id)) else {
        return Ok(None);
    };
    let key = Zeroizing::new(URL_SAFE_NO_PAD.decode(key.expose()).unwrap_or_default());
    if key.len() != 32 {
        return Ok(None);
    }
    let database = &platform.database;
    let Some(sealed) = database.take_to_show(id, &visitor.session.id).await? else {
        return Ok(None);
    };
    let payload = Payload {
        msg: &sealed,
        aad: id.as_bytes(),
    };
    let opened = ChaCha20Poly1305::new(Key::from_slice(&key)).decrypt(&Nonce::default(), payload);
    let token = database.token(&visitor.user.id, id).await?;
    Ok(token.zip(opened.ok().map(Secret::new)))
}

/// The only page that ever holds a token.
fn page(
    title: &str,
    visitor: &Visitor,
    origin: &Origin,
    token: &TokenRecord,
    secret: &Secret,
) -> Markup {
    let notice = Notice::Done("Copy the token now: it is not shown again.".to_owned());
    let content = html! {
        section.card {
            (tokens::name(token))
            (copied("The token", html! {
                textarea.secret data-copied readonly rows="2" aria-label="Token"
                    autocomplete="off" spellcheck="false" {
                    (secret.expose_str().unwrap_or_default())
                }
            }, "Copy token"))
            (tokens::scopes(token))
            p.facts { (tokens::end(token, UnixTime::now())) }
            p.actions { a.button href=(paths::TOKENS) { "Back to your tokens" } }
        }
        section.aside aria-labelledby="use" {
            h2 #use { "How to use it" }
            p { "Git asks for a username and a password: give " code { (visitor.name()) } " and the token." }
            pre { code { "git clone " (origin.url()) "/" (visitor.name()) "/" i { "repository" } ".git" } }
            p { "In CI, set " code { "WIT_TOKEN" } " to the token and " code { "WIT_URL" } " to " code { (origin.url()) } "." }
        }
    };
    layout::page(title, Some(&visitor.viewer), Some(notice), content)
}
