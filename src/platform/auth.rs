//! Authentication: the session or token of a request, checked against the database each time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::limits::Left;
use super::refusal::Refusal;
use super::{Platform, Shared};
use crate::database::accounts::{Login, NewUser, User};
use crate::database::tokens::{Grant, TokenHash};
use crate::database::{Database, DatabaseError};
use crate::secret::Secret;

/// Usernames that go with every token: ours, and those that users of GitLab, GitHub and Bitbucket
/// are used to.
const ANY_OWNER: [&str; 4] = ["token", "oauth2", "x-access-token", "x-token-auth"];

/// Credentials in `Authorization`.
pub enum Presented {
    Bearer(Secret),
    Basic { username: String, password: Secret },
}

/// Reads `Authorization`; `None` where it is missing or malformed.
pub fn presented(headers: &HeaderMap) -> Option<Presented> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Presented::Bearer(Secret::new(rest.to_vec())));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(rest).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(Presented::Basic {
        username: String::from_utf8(pair[..colon].to_vec()).ok()?,
        password: Secret::new(pair[colon + 1..].to_vec()),
    })
}

/// The refusal of a server without sign-up.
pub fn sign_up_disabled() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "SIGN_UP_DISABLED",
        "this server takes no new accounts; ask whoever runs it",
    )
}

impl Platform {
    /// Creates an account, where the server lets anybody do that.
    pub async fn sign_up(&self, new: NewUser, from: IpAddr) -> Result<User, Refusal> {
        self.limits.address(from)?;
        if !self.takes_accounts {
            return Err(sign_up_disabled());
        }
        let user = self.database.sign_up(new).await?;
        self.limits.signed_in(&user, from);
        Ok(user)
    }

    /// The account of that name and password; 429 where it was tried too often.
    pub async fn sign_in(
        &self,
        login: Login,
        password: Secret,
        from: IpAddr,
    ) -> Result<User, Refusal> {
        let (name, code, message) = match &login {
            Login::Email(email) => (
                email,
                "INVALID_EMAIL_OR_PASSWORD",
                "Invalid email or password",
            ),
            Login::Username(username) => (
                username,
                "INVALID_USERNAME_OR_PASSWORD",
                "Invalid username or password",
            ),
        };
        // Before the database is asked anything.
        self.limits.sign_in(name, from)?;
        let wrong = Refusal::new(StatusCode::UNAUTHORIZED, code, message);
        if name.contains('\0') {
            return Err(wrong);
        }
        let claimed = self.database.claimed(&login).await?;
        match Database::sign_in(claimed, password).await {
            Ok(user) => {
                self.limits.signed_in(&user, from);
                Ok(user)
            }
            Err(DatabaseError::NotFound) => Err(wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// The account of the session in `Authorization: Bearer`. A token is no session: with one,
    /// nobody can make or read another.
    pub async fn session(&self, headers: &HeaderMap) -> Result<User, Refusal> {
        let Some(Presented::Bearer(session)) = presented(headers) else {
            return Err(Refusal::not_authenticated());
        };
        let user = self.database.session(&session).await?;
        user.ok_or_else(Refusal::not_authenticated)
    }

    /// The grant of a request's token, sent `from` an address by Bearer, or by Basic under its
    /// owner's name or email, or one of [`ANY_OWNER`].
    pub async fn token(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Option<Arc<Grant>>, Refusal> {
        let (username, secret) = match presented(headers) {
            None => return Ok(None),
            Some(Presented::Bearer(secret)) => (None, secret),
            Some(Presented::Basic { username, password }) => (Some(username), password),
        };
        let Some(hash) = TokenHash::of(&secret) else {
            return Ok(None);
        };
        let grant = self.checks.check(hash).await?;
        let grant = grant.filter(|grant| match &username {
            None => true,
            Some(username) => {
                ANY_OWNER.contains(&username.as_str()) || grant.user.is_called(username)
            }
        });
        if let Some(grant) = &grant {
            self.uses.note(grant, from);
        }
        Ok(grant)
    }
}

impl Platform {
    /// The account that a request acts for: by its session, or by a token with the scope.
    pub async fn acting(
        &self,
        grant: Option<Extension<Arc<Grant>>>,
        headers: &HeaderMap,
        scope: &str,
    ) -> Result<User, Refusal> {
        match grant {
            Some(Extension(grant)) if grant.allows(scope) => Ok(grant.user.clone()),
            Some(_) => Err(Refusal::needs_scope(scope)),
            None => self.session(headers).await,
        }
    }
}

/// Checks the token of a request, if it has one, and counts the request as the token's.
pub async fn counted(
    State(platform): State<Shared>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let grant = match platform.token(request.headers(), from.ip()).await {
        Ok(Some(grant)) => grant,
        // A session, or nobody.
        Ok(None) => return next.run(request).await,
        Err(refusal) => return refusal.into_response(),
    };
    let (mut response, left) = match platform.limits.api(grant.token_id) {
        Ok(left) => {
            request.extensions_mut().insert(grant);
            (next.run(request).await, left)
        }
        Err(refusal) => (refusal.into_response(), Left::NOTHING),
    };
    left.write(response.headers_mut());
    response
}
