//! Signing in, up and out, whose a session is, and which form of the token API a server speaks.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::http::{Answer, Client};
use super::rest::Rest;
use super::trpc::{self, Trpc};
pub use super::user::User;
use super::{ApiError, Form, TokenApi};
use crate::expiry::{DAY, Expiry, UnixTime};
use crate::secret::Secret;

/// Lifetime of the platform's sessions, in seconds: 30 days. Its answer does not say it.
const SESSION_LIFE: i64 = 30 * DAY;

/// Credentials of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// By an email address.
    Email(String),
    /// By a username.
    Username(String),
}

/// A session just begun.
#[derive(Debug)]
pub struct SignedIn {
    /// The session's token.
    pub session: Secret,
    /// The session's signed cookie, as `name=value`, where the server gave one. It takes this to
    /// end the session.
    pub cookie: Option<Secret>,
    /// End of the session; `None` where the server does not tell it.
    pub expiry: Option<Expiry>,
    /// The username, or the email of an account without one.
    pub account: String,
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

/// Ends a session at the server, and asks whether it has ended.
///
/// The platform ends it for its signed `cookie` only: with the session alone it answers that all
/// is well, and does nothing. [`ApiError::Refused`] where the session still works.
pub fn sign_out(
    client: &Rc<Client>,
    session: &Secret,
    cookie: Option<&Secret>,
) -> Result<(), ApiError> {
    let answer = client.post_by_session("/api/auth/sign-out", session, cookie)?;
    match token_api(client, session, None) {
        Err(ApiError::Unauthorized) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            answer.done()?;
            Err(ApiError::Refused {
                message: "the session still works".into(),
            })
        }
    }
}

/// User of a session: `GET /api/v1/profile` of `wit up`, `auth.me` of the platform.
/// [`ApiError::Unsupported`] where the server does not tell.
pub fn whose(client: &Client, session: &Secret, form: Form) -> Result<User, ApiError> {
    let told = match form {
        Form::Trpc => trpc::me(client, session),
        _ => (client.get("/api/v1/profile", Some(session))).and_then(|answer| answer.json()),
    };
    told.map_err(|error| match error {
        ApiError::NotFound | ApiError::Malformed { .. } | ApiError::Forbidden { .. } => {
            ApiError::Unsupported {
                what: "tell whose session it is",
            }
        }
        other => other,
    })
}

/// The form of the token API that the server answers in: the one named, or the first that it knows.
/// [`ApiError::NotFound`] or [`ApiError::Malformed`] where it does not speak it.
pub fn probe(
    client: &Rc<Client>,
    session: &Secret,
    form: Option<Form>,
) -> Result<Box<dyn TokenApi>, ApiError> {
    let api = token_api(client, session, form)?;
    if form.is_some() {
        api.list()?;
    }
    Ok(api)
}

/// The form named, not asked yet; or the one that the server answers in.
pub fn token_api(
    client: &Rc<Client>,
    session: &Secret,
    form: Option<Form>,
) -> Result<Box<dyn TokenApi>, ApiError> {
    let rest = || Rest::new(Rc::clone(client), session.clone());
    let trpc = || Trpc::new(Rc::clone(client), session.clone());
    match form {
        Some(Form::Trpc) => Ok(Box::new(trpc())),
        Some(Form::Rest) => Ok(Box::new(rest())),
        Some(Form::Database | Form::SelfToken | Form::Host) => Err(ApiError::Unsupported {
            what: "be asked in that form with a session",
        }),
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
        cookie: answer.session_cookie(&wire.token),
        session: wire.token,
        expiry: Some(Expiry(UnixTime::now().plus(SESSION_LIFE))),
        account: wire.user.name()?,
    })
}
