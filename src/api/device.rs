//! Signing in by a browser elsewhere (RFC 8628): the device's side.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::ApiError;
use super::http::{Answer, Client};
use super::login::{SignedIn, User};
use super::server::ServerUrl;
use crate::expiry::{Expiry, UnixTime};
use crate::quote::escaped;
use crate::secret::Secret;

/// Bounds of what a server may ask for: seconds between two questions, and life of a code.
const INTERVAL: (u64, u64) = (1, 60);
const LONGEST_LIFE: u64 = 60 * 60;
/// The interval where the server names none (RFC 8628, section 3.2), in seconds.
const USUAL_INTERVAL: u64 = 5;

/// A sign-in that waits for a person.
#[derive(Debug)]
pub struct Asked {
    device_code: Secret,
    /// Code that the person types, escaped.
    pub user_code: String,
    /// Address at which it is typed, escaped.
    pub address: String,
    /// Lifetime of the code.
    pub life: Duration,
    /// Interval between two polls.
    pub interval: Duration,
}

/// Answer of the server to a poll.
#[derive(Debug)]
pub enum Progress {
    /// The user confirmed the code: the session.
    Done(SignedIn),
    /// The user has not answered yet.
    Pending,
    /// Wait 5 seconds longer from now on.
    SlowDown,
}

/// Begins. [`ApiError::NotFound`] where the server has no such sign-in.
pub fn ask(client: &Client, device_name: &str) -> Result<Asked, ApiError> {
    #[derive(Deserialize)]
    struct Wire {
        device_code: Secret,
        user_code: String,
        verification_uri: String,
        expires_in: u64,
        interval: Option<u64>,
    }
    let fields = [("client_id", "wit"), ("device_name", device_name)];
    let wire: Wire = client.post_form("/api/auth/device/code", &fields)?.json()?;
    if !is_openable(&wire.verification_uri, client.server()) {
        return Err(ApiError::Malformed {
            what: "a page for the code that can't be opened safely".to_owned(),
        });
    }
    let interval = wire.interval.unwrap_or(USUAL_INTERVAL);
    Ok(Asked {
        device_code: wire.device_code,
        user_code: escaped(&wire.user_code),
        address: escaped(&wire.verification_uri),
        life: Duration::from_secs(wire.expires_in.min(LONGEST_LIFE)),
        interval: Duration::from_secs(interval.clamp(INTERVAL.0, INTERVAL.1)),
    })
}

/// Asks once whether the person has answered. [`ApiError::Refused`] where the answer was no, or
/// comes too late.
pub fn poll(client: &Client, asked: &Asked) -> Result<Progress, ApiError> {
    #[derive(Deserialize)]
    struct Wire {
        access_token: Secret,
        expires_in: Option<i64>,
        user: User,
    }
    let code = asked.device_code.expose_str().unwrap_or_default();
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", "wit"),
        ("device_code", code),
    ];
    let answer = client.post_form("/api/auth/device/token", &fields)?;
    match error(&answer).as_deref() {
        Some("authorization_pending") => Ok(Progress::Pending),
        Some("slow_down") => Ok(Progress::SlowDown),
        Some("access_denied") => refused("the sign-in was denied in the browser"),
        Some("expired_token" | "invalid_grant") => {
            refused("the code has expired or was already used")
        }
        _ => {
            let wire: Wire = answer.json()?;
            let end = |seconds| Expiry(UnixTime::now().plus(seconds));
            Ok(Progress::Done(SignedIn {
                cookie: answer.session_cookie(&wire.access_token),
                session: wire.access_token,
                expiry: wire.expires_in.map(end),
                account: wire.user.name()?,
            }))
        }
    }
}

/// Returns whether a person may be shown an address: https, this machine itself, or the server that was asked.
fn is_openable(address: &str, server: &ServerUrl) -> bool {
    let Ok(url) = Url::parse(address) else {
        return false;
    };
    let origin = |url: &Url| url.origin().ascii_serialization();
    let is_anonymous = url.username().is_empty() && url.password().is_none();
    let is_known = || {
        let named = ServerUrl::parse(&origin(&url));
        origin(&url) == origin(&server.at("/")) || named.is_ok_and(|named| named.is_loopback())
    };
    is_anonymous && (url.scheme() == "https" || url.scheme() == "http" && is_known())
}

fn refused(why: &str) -> Result<Progress, ApiError> {
    Err(ApiError::Refused {
        message: why.to_owned(),
    })
}

/// The code of an OAuth error (RFC 6749, section 5.2), if the answer is one.
fn error(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Wire {
        error: String,
    }
    if answer.status != 400 {
        return None;
    }
    let wire: Wire = serde_json::from_slice(answer.body()).ok()?;
    Some(wire.error)
}
