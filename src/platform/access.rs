//! Who asks: the session or token of a request, checked against the database each time.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use zeroize::Zeroizing;

use super::Platform;
use super::refusal::Refusal;
use crate::database::DatabaseError;
use crate::database::accounts::{Login, User};
use crate::database::tokens::Grant;
use crate::secret::Secret;

/// Sign-ins tried in a row for one account, and then one a minute.
const FOR_ONE_ACCOUNT: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
/// Sign-ins tried in a row from one address, and then one every two seconds.
const FROM_ONE_ADDRESS: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// Above so many remembered names, those that no longer count are forgotten.
const REMEMBERED: usize = 10_000;

/// How often a password may be tried.
pub struct Limits {
    accounts: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limits")
    }
}

impl Default for Limits {
    fn default() -> Self {
        let every_two_seconds = NonZeroU32::new(30).expect("not zero");
        Limits {
            accounts: RateLimiter::keyed(
                Quota::per_minute(NonZeroU32::MIN).allow_burst(FOR_ONE_ACCOUNT),
            ),
            addresses: RateLimiter::keyed(
                Quota::per_minute(every_two_seconds).allow_burst(FROM_ONE_ADDRESS),
            ),
        }
    }
}

impl Limits {
    /// Counts one sign-in; 429 where there have been too many.
    pub fn sign_in(&self, account: &str, address: IpAddr) -> Result<(), Refusal> {
        self.sign_up(address)?;
        if self.accounts.len() > REMEMBERED {
            self.accounts.retain_recent();
        }
        (self.accounts.check_key(&account.to_lowercase()))
            .map_err(|early| too_many(early.wait_time_from(DefaultClock::default().now())))
    }

    /// Counts one try at the code that a device shows; 429 where there have been too many.
    pub fn user_code(&self, user_id: &str, address: IpAddr) -> Result<(), Refusal> {
        // No account is called so: a space is in no name.
        self.sign_in(&format!("device {user_id}"), address)
    }

    /// Counts one new account, which costs the server as much as a sign-in.
    pub fn sign_up(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.addresses.len() > REMEMBERED {
            self.addresses.retain_recent();
        }
        (self.addresses.check_key(&address))
            .map_err(|early| too_many(early.wait_time_from(DefaultClock::default().now())))
    }
}

fn too_many(wait: std::time::Duration) -> Refusal {
    let mut refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "TOO_MANY_REQUESTS",
        "Too many requests. Please try again later.",
    );
    refusal.retry_after = Some(wait.as_secs() + 1);
    refusal
}

/// What a request carries in `Authorization`.
pub enum Presented {
    Bearer(Secret),
    Basic { username: String, password: Secret },
}

/// Reads `Authorization`; `None` where there is none, or none that can be understood.
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

impl Platform {
    /// The account of that name and password, where its limits leave a try.
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
        self.limits.sign_in(name, from)?;
        let wrong = Refusal::new(StatusCode::UNAUTHORIZED, code, message);
        if name.contains('\0') {
            return Err(wrong);
        }
        match self.database.sign_in(&login, password).await {
            Err(DatabaseError::NotFound) => Err(wrong),
            other => Ok(other?),
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

    /// What the token of a request `from` an address allows, by Bearer, or by Basic under its
    /// owner's name or email, or `token`.
    pub async fn token(&self, headers: &HeaderMap, from: IpAddr) -> Result<Option<Grant>, Refusal> {
        let (username, secret) = match presented(headers) {
            None => return Ok(None),
            Some(Presented::Bearer(secret)) => (None, secret),
            Some(Presented::Basic { username, password }) => (Some(username), password),
        };
        let grant = self.database.check_token(&secret).await?;
        let grant = grant.filter(|grant| match &username {
            None => true,
            Some(username) => username == "token" || grant.user.is_called(username),
        });
        if let Some(grant) = &grant {
            self.uses.note(grant, from);
        }
        Ok(grant)
    }
}
