//! Authentication: the session or token of a request, checked against the database each time.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::limits::{Left, Tried, network};
use super::refusal::Refusal;
use super::{Platform, Shared};
use crate::database::accounts::{ConfirmedPassword, Login, NewUser, User};
use crate::database::sessions::{Client, Session, Way};
use crate::database::tokens::{AskedFrom, Grant, TokenHash};
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
        "sign-up is closed here; ask the server's operator",
    )
}

/// The refusal of somebody who is signed in and does not know the account's password.
fn wrong_password() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "INVALID_PASSWORD",
        "that is not your password",
    )
    .at("current")
}

/// One answer for an invitation that is unknown, used or expired.
pub fn no_invitation() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "INVITATION_NOT_FOUND",
        "this invitation can't be used: it was used before, has expired, or never was one; ask \
         whoever sent it for another",
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

    /// Creates an account by an invitation, on a server without sign-up too.
    pub async fn sign_up_invited(
        &self,
        new: NewUser,
        invitation: &Secret,
        from: IpAddr,
    ) -> Result<User, Refusal> {
        self.limits.address(from)?;
        let made = self.database.sign_up_with(new, Some(invitation)).await;
        let user = made.map_err(|error| match error {
            DatabaseError::NotFound => no_invitation(),
            other => other.into(),
        })?;
        self.limits.signed_in(&user, from);
        Ok(user)
    }

    /// The account of that name and password; 429 where it was tried too often.
    pub async fn sign_in(
        &self,
        login: Login,
        password: Secret,
        client: &Client,
    ) -> Result<User, Refusal> {
        let from = client.address;
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
        let tried = self.limits.sign_in(name, from)?;
        let wrong = Refusal::new(StatusCode::UNAUTHORIZED, code, message);
        if name.contains('\0') {
            return Err(wrong);
        }
        let claimed = self.database.claimed(&login).await?;
        let user_id = claimed.as_ref().map(|claimed| claimed.user.id.clone());
        if let Tried::ByStrangers(too_many) = tried {
            // Asked about nobody too, so that the time tells nothing.
            let known = self
                .database
                .addresses_of(user_id.as_deref().unwrap_or_default());
            let known = known.await?;
            if !known.iter().any(|known| network(*known) == network(from)) {
                return Err(too_many);
            }
        }
        match Database::sign_in(claimed, password).await {
            Ok(user) => {
                self.limits.signed_in(&user, from);
                Ok(user)
            }
            Err(DatabaseError::NotFound) => {
                if let Some(user_id) = user_id {
                    self.note_failed(user_id, client.clone());
                }
                Err(wrong)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down that a password was wrong, off the request's path: the time of its answer must
    /// not tell which accounts there are. Not more often than people can read.
    fn note_failed(&self, user_id: String, client: Client) {
        if !self.limits.failed_sign_in(&user_id) {
            return;
        }
        let database = self.database.clone();
        self.handlers.spawn(async move {
            let noting = database.note_failed_sign_in(&user_id, &client.name, client.address);
            if let Err(error) = noting.await {
                tracing::error!(?error, "can't write down a failed sign-in");
            }
        });
    }

    /// Changes the password of somebody who is signed in, and ends all other sessions; how many.
    pub async fn change_password(
        &self,
        session: &Session,
        current: Secret,
        new: Secret,
        from: IpAddr,
    ) -> Result<u64, Refusal> {
        let confirmed = self.confirm_password(&session.user, current, from).await?;
        let (user_id, keep) = (&session.user.id, session.id.as_str());
        let changed = self
            .database
            .change_password(user_id, &confirmed, new, keep, from);
        changed.await.map_err(|error| match error {
            // Another change came before this one.
            DatabaseError::NotFound => wrong_password(),
            other => other.into(),
        })
    }

    /// Checks the password of somebody who is signed in already; 429 where it was tried too often.
    pub async fn confirm_password(
        &self,
        user: &User,
        password: Secret,
        from: IpAddr,
    ) -> Result<ConfirmedPassword, Refusal> {
        self.limits.code(&user.id, from)?;
        let login = Login::Email(user.email.clone());
        let claimed = self.database.claimed(&login).await?;
        match Database::confirm(claimed, password).await {
            Ok((_, confirmed)) => Ok(confirmed),
            Err(DatabaseError::NotFound) => {
                // Whoever sits at a screen that was left open may try it too.
                let client = Client {
                    name: "to change the account".to_owned(),
                    way: Way::Page,
                    address: from,
                };
                self.note_failed(user.id.clone(), client);
                Err(wrong_password())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A session, whose use from an address is noted.
    pub async fn session(
        &self,
        session: &Secret,
        from: IpAddr,
    ) -> Result<Option<Session>, Refusal> {
        let session = self.database.session(session).await?;
        if let Some(session) = &session {
            self.last_used.note_session(session, from);
        }
        Ok(session)
    }

    /// The grant of a request's token, sent `from` an address by Bearer, or by Basic under its
    /// owner's name or email, or one of [`ANY_OWNER`].
    pub async fn token(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Option<Arc<Grant>>, Refusal> {
        let grant = self.presented_token(headers).await?;
        let grant = grant.filter(|grant| !grant.user.suspended);
        if let Some(grant) = &grant {
            self.last_used.note(grant, from);
        }
        Ok(grant)
    }

    /// The same for git, which erases a password that is answered with 401. A token of an account
    /// that is suspended is good again when the account is restored, so it is refused with 403.
    pub async fn token_for_git(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Option<Arc<Grant>>, Refusal> {
        let grant = self.presented_token(headers).await?;
        if let Some(grant) = &grant {
            if grant.user.suspended {
                return Err(DatabaseError::Suspended.into());
            }
            self.last_used.note(grant, from);
        }
        Ok(grant)
    }

    /// The grant of a request's token, also of an account that is suspended.
    async fn presented_token(&self, headers: &HeaderMap) -> Result<Option<Arc<Grant>>, Refusal> {
        let (username, secret) = match presented(headers) {
            None => return Ok(None),
            Some(Presented::Bearer(secret)) => (None, secret),
            Some(Presented::Basic { username, password }) => (Some(username), password),
        };
        let Some(hash) = TokenHash::of(&secret) else {
            return Ok(None);
        };
        let grant = self.token_lookup.check(hash).await?;
        Ok(grant.filter(|grant| match &username {
            None => true,
            Some(username) => {
                ANY_OWNER.contains(&username.as_str()) || grant.user.is_called(username)
            }
        }))
    }
}

impl Platform {
    /// The account that a request acts for: by its session, or by a token with the scope.
    pub async fn acting(&self, caller: Caller, scope: &str) -> Result<User, Refusal> {
        match caller {
            Caller::Token(grant) if grant.allows(scope) => Ok(grant.user.clone()),
            Caller::Token(_) => Err(Refusal::needs_scope(scope)),
            Caller::Other(Some(session), from) => {
                let session = self.session(&session, from).await?;
                let session = session.ok_or_else(Refusal::not_authenticated)?;
                Ok(session.user)
            }
            Caller::Other(None, _) => Err(Refusal::not_authenticated()),
        }
    }
}

/// Sender of a request below [`counted`].
pub enum Caller {
    /// A token that is good.
    Token(Arc<Grant>),
    /// Possible session, and the address that it comes from.
    Other(Option<Secret>, IpAddr),
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Refusal> {
        if let Some(grant) = parts.extensions.get::<Arc<Grant>>() {
            return Ok(Caller::Token(grant.clone()));
        }
        let session = match presented(&parts.headers) {
            Some(Presented::Bearer(session)) => Some(session),
            _ => None,
        };
        Ok(Caller::Other(session, address(parts)?))
    }
}

/// The session in `Authorization: Bearer`. A token is no session: with one, nobody can make or read
/// another.
pub struct Signed {
    pub session: Session,
    pub from: IpAddr,
}

impl FromRequestParts<Shared> for Signed {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, platform: &Shared) -> Result<Self, Refusal> {
        let Some(Presented::Bearer(session)) = presented(&parts.headers) else {
            return Err(Refusal::not_authenticated());
        };
        let from = address(parts)?;
        let session = platform.session(&session, from).await?;
        let session = session.ok_or_else(Refusal::not_authenticated)?;
        Ok(Signed { session, from })
    }
}

impl Signed {
    pub fn user(&self) -> &User {
        &self.session.user
    }

    /// Origin of its requests for tokens.
    pub fn asked_from(&self) -> AskedFrom<'_> {
        AskedFrom {
            device: self.session.client.as_deref(),
            address: Some(self.from),
        }
    }
}

/// The address that a request comes from.
pub fn address(parts: &Parts) -> Result<IpAddr, Refusal> {
    let from = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    from.map(|ConnectInfo(from)| from.ip())
        .ok_or_else(Refusal::failed)
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
