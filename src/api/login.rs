//! Signing in and up, and which form of the token API a server speaks.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Client};
use super::rest::Rest;
use super::trpc::Trpc;
use super::{ApiError, TokenApi};
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::secret::Secret;

/// How long the platform's sessions last, in seconds: 30 days. Its answer does not say it.
const SESSION_LIFE: i64 = 30 * DAY;

/// What a person signs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Email(String),
    Username(String),
}

/// A session just begun.
#[derive(Debug)]
pub struct SignedIn {
    pub session: Secret,
    pub expiry: Option<Expiry>,
    /// The username, or the email of an account without one.
    pub account: String,
}

/// Whose session it is, as the server answers.
#[derive(Deserialize)]
pub(super) struct User {
    email: String,
    #[serde(default)]
    username: Option<String>,
}

impl User {
    pub(super) fn name(self) -> String {
        self.username.unwrap_or(self.email)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    password: &'a str,
}

/// Signs in. [`ApiError::Unauthorized`] means a wrong name or password.
pub fn sign_in(client: &Client, login: &Login, password: &Secret) -> Result<SignedIn, ApiError> {
    let (path, email, username) = match login {
        Login::Email(email) => ("/api/auth/sign-in/email", Some(email), None),
        Login::Username(name) => ("/api/auth/sign-in/username", None, Some(name)),
    };
    let body = Body {
        email: email.map(String::as_str),
        username: username.map(String::as_str),
        name: None,
        password: text(password)?,
    };
    signed_in(send(client, path, &body)?)
}

/// Makes an account and signs in to it.
pub fn sign_up(
    client: &Client,
    email: &str,
    username: &str,
    password: &Secret,
) -> Result<SignedIn, ApiError> {
    let body = Body {
        email: Some(email),
        username: Some(username),
        name: Some(username),
        password: text(password)?,
    };
    signed_in(send(client, "/api/auth/sign-up/email", &body)?)
}

/// Ends a session at the server.
pub fn sign_out(client: &Client, session: &Secret) -> Result<(), ApiError> {
    client
        .post_json("/api/auth/sign-out", Some(session), &serde_json::json!({}))?
        .done()
}

/// The form named, or the one that the server answers in.
pub fn token_api(
    client: &Rc<Client>,
    session: &Secret,
    form: Option<&str>,
) -> Result<Box<dyn TokenApi>, ApiError> {
    let rest = || Rest::new(Rc::clone(client), session.clone());
    let trpc = || Trpc::new(Rc::clone(client), session.clone());
    match form {
        Some("trpc") => Ok(Box::new(trpc())),
        Some(_) => Ok(Box::new(rest())),
        None => match rest().list() {
            // The running platform answers 404 to the documented form.
            Err(ApiError::NotFound | ApiError::Malformed { .. }) => {
                trpc().list()?;
                Ok(Box::new(trpc()))
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Box::new(rest())),
        },
    }
}

fn text(password: &Secret) -> Result<&str, ApiError> {
    password.expose_str().ok_or_else(|| ApiError::Refused {
        message: "the password is not UTF-8".into(),
    })
}

fn send(client: &Client, path: &str, body: &Body<'_>) -> Result<Answer, ApiError> {
    let body = serde_json::to_vec(body).map_err(|_| ApiError::Refused {
        message: "the request can't be written as JSON".into(),
    })?;
    client.post_bytes(path, None, body)
}

fn signed_in(answer: Answer) -> Result<SignedIn, ApiError> {
    #[derive(Deserialize)]
    struct Wire {
        token: Secret,
        user: User,
    }
    let wire: Wire = answer.json()?;
    Ok(SignedIn {
        session: wire.token,
        expiry: Some(Expiry(UnixTime::now().plus(SESSION_LIFE))),
        account: wire.user.name(),
    })
}
