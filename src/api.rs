//! A server's token API, in whichever of its three forms.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

pub use form::Form;
use promises::Promises;
pub use reason::{Reason, ReasonKind};

use crate::credential::TokenInfo;
use crate::expiry::{Expiry, UnixTime, notable_skew};
use crate::secret::Secret;

pub mod account;
pub(crate) mod checked;
#[cfg(feature = "direct")]
pub mod database;
#[cfg(not(feature = "direct"))]
#[path = "api/without_database.rs"]
pub mod database;
pub mod device;
mod form;
pub mod http;
pub mod login;
pub mod lost;
pub mod promises;
mod reason;
pub mod rest;
pub mod self_token;
pub mod server;
pub mod trpc;
pub mod user;

/// A token as the server lists it: never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Id, unique at the server.
    pub id: String,
    /// Name, which other tokens may share unless the host's names are unique.
    pub name: String,
    /// The first 8 characters, `wit_a1b2`, where the host tells them; they do collide.
    pub prefix: String,
    /// The last 8 characters, where the host tells those.
    pub suffix: String,
    /// Scopes in the host's own words; empty where it does not tell them.
    pub scopes: Vec<String>,
    /// The only repositories that it opens, as `OWNER/NAME`; empty for all of the account's.
    pub repositories: Vec<String>,
    /// `None` where the host does not say it.
    pub created: Option<UnixTime>,
    /// Last use as the server counts it; `None` for never, or where it does not tell.
    pub last_used: Option<UnixTime>,
    /// End by the server's clock; `None` for never.
    pub expiry: Option<Expiry>,
    /// [`NewToken::request_id`] of the request that created it, where the server keeps that.
    pub request_id: Option<Uuid>,
    /// Id of the token that replaced it, if one did and the server says so.
    pub replaced_by: Option<String>,
}

impl Token {
    /// Returns whether it has expired by the server's clock.
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expiry.is_some_and(|expiry| expiry.is_expired(now))
    }

    /// Facts about it that are stored with it. `now` is the server's time, for a host that does not say
    /// when a token was created.
    pub fn info(
        &self,
        server: String,
        account: &str,
        now: UnixTime,
        clock_skew: Option<i64>,
    ) -> TokenInfo {
        TokenInfo {
            server,
            id: self.id.clone(),
            name: self.name.clone(),
            account: account.to_owned(),
            scopes: self.scopes.clone(),
            repositories: self.repositories.clone(),
            created: self.created.unwrap_or(now),
            replace_by: None,
            clock_skew: notable_skew(clock_skew),
        }
    }

    /// Seconds since it was used, or created where it never was; `None` where neither is known.
    pub fn idle(&self, now: UnixTime) -> Option<i64> {
        Some(now.since(self.last_used.or(self.created)?))
    }
}

/// Request for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// 1 to 100 characters, none of them a control character.
    pub name: String,
    /// At least one.
    pub scopes: Vec<String>,
    /// The only repositories that it is to open, as `OWNER/NAME`; empty for all of the account's.
    pub repositories: Vec<String>,
    /// 1 or more, as far as [`Promises::max_lifetime_days`], or `None` for no end.
    pub expires_in_days: Option<u32>,
    /// A random UUID of the client's choice. A server that takes it creates at most one token for it and
    /// lists it with that token, so that a token whose response was lost can be told from those of
    /// other machines.
    pub request_id: Option<Uuid>,
    /// Id of the token that it takes the place of, for a host that gives a token more than is asked
    /// for here, such as a role.
    pub replaces: Option<String>,
}

/// A token just made, with the only copy of its secret.
#[derive(Debug)]
pub struct CreatedToken {
    /// The token as the server lists it.
    pub token: Token,
    /// The secret, which the server tells this once.
    pub secret: Secret,
}

/// Changes to a token; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A new name.
    pub name: Option<String>,
    /// An empty one removes it.
    pub description: Option<String>,
}

/// A token that ended because it came of another, which was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlsoRevoked {
    /// Id of the token.
    pub id: String,
    /// Name of the token.
    pub name: String,
    /// The first 8 characters of its secret.
    pub token_prefix: String,
}

/// Account that a token acts for, as the server itself answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Id of the account; empty where the server does not tell it.
    pub id: String,
    /// Username; `None` for an account without one.
    pub username: Option<String>,
    /// Email address; empty where the host does not tell it.
    pub email: String,
}

/// A scope that the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The word for it in a request.
    pub name: String,
    /// One sentence of the server's, escaped.
    pub description: String,
}

/// One thing that was done with a token of the account, as the server wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time by the server's clock.
    pub at: UnixTime,
    /// `created`, `used` (for the first time), `rotated` or `revoked`; a server may know more.
    pub action: String,
    /// Id of the token.
    pub token_id: String,
    /// Name of the token at that time.
    pub token_name: String,
    /// The first 8 characters of its secret.
    pub token_prefix: String,
    /// Address that the request came from; `None` for work on the database itself.
    pub address: Option<String>,
}

/// Answer of a form of the API without [`TokenApi::events`].
const NO_EVENTS: ApiError = ApiError::Unsupported {
    what: "tell what was done with tokens",
};

/// A host's token API. What a host can't do is in its [`Promises`]; the calls for it answer
/// [`ApiError::Unsupported`]. Each call is bounded in time.
pub trait TokenApi {
    /// Its form.
    fn form(&self) -> Form;

    /// Abilities of the host for this login.
    fn promises(&self) -> Promises;

    /// The error for something that is not promised; `what` goes on from "can't".
    fn refusal(&self, what: &'static str) -> ApiError {
        ApiError::Unsupported { what }
    }

    /// Scopes as the host lists them once they are granted.
    fn normalized_scopes(&self, scopes: &[String]) -> Vec<String> {
        scopes.to_vec()
    }

    /// Makes a token. Sent once: after [`ApiError::Lost`] the caller must look whether it exists.
    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError>;

    /// The longest lifetime, in days from now and fewer than `asked`, that may be asked for after
    /// the host has refused that one; `None` where its sentence is about something else.
    fn longest_lifetime(&self, _asked: u32, _refusal: &str) -> Option<u32> {
        None
    }

    /// All tokens of the account, newest first.
    fn list(&self) -> Result<Vec<Token>, ApiError>;

    /// Revokes by full id. [`ApiError::NotFound`] where there is no such token of this account.
    fn revoke(&self, id: &str) -> Result<(), ApiError>;

    /// [`TokenApi::revoke_all`] for a token that another has replaced, which a server that keeps events then calls rotated.
    fn retire(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        self.revoke_all(id)
    }

    /// Changes what a token is called; [`ApiError::Unsupported`] where the API can't,
    /// [`ApiError::NotFound`] where there is no such token of this account.
    fn change(&self, _id: &str, _change: &Change) -> Result<(), ApiError> {
        Err(ApiError::Unsupported {
            what: "change the name of a token",
        })
    }

    /// Revokes like [`TokenApi::revoke`], and says which tokens ended with it: those that came of it
    /// by replacing itself, where the server ends them.
    fn revoke_all(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        self.revoke(id).map(|()| Vec::new())
    }

    /// Revokes one token alone, such as one that has expired: what replaced it lives on.
    fn revoke_alone(&self, id: &str) -> Result<(), ApiError> {
        self.revoke(id)
    }

    /// Revokes a token of which the secret is at hand, for hosts where only a token itself can be its
    /// end. [`ApiError::NotFound`] where it is dead already.
    fn revoke_by_secret(&self, id: &str, _secret: &Secret) -> Result<(), ApiError> {
        self.revoke(id)
    }

    /// Asks the server whom `token` acts for, with an empty id where it does not say it;
    /// [`ApiError::Unauthorized`] where the token is dead, and only there.
    fn verify(&self, token: &Secret) -> Result<Account, ApiError>;

    /// The token of the list that a secret is, where the host describes a token to itself
    /// ([`Promises::describes_itself`]); `None` where it is not among them, or is not described.
    fn identify<'a>(
        &self,
        _tokens: &'a [Token],
        _secret: &Secret,
    ) -> Result<Option<&'a Token>, ApiError> {
        Ok(None)
    }

    /// The scopes that a token may have.
    fn scopes(&self) -> Result<Vec<Scope>, ApiError>;

    /// The newest of what was done with the account's tokens, newest first;
    /// [`ApiError::Unsupported`] where the server does not write it down.
    fn events(&self) -> Result<Vec<Event>, ApiError> {
        Err(NO_EVENTS)
    }

    /// Ends a token that another has replaced at `at` where the API can; [`ApiError::Unsupported`] where it can't.
    fn shorten(&self, id: &str, at: Expiry) -> Result<(), ApiError>;

    /// Server clock minus this machine's, in seconds, from the last answer; `None` before one or
    /// where the form has no clock.
    fn clock_skew(&self) -> Option<i64>;
}

/// Why the server, or the way to it, did not do what was asked. Never holds a secret or a raw body;
/// sentences of the server's are cut, escaped and redacted.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing was carried out: the request never got there.
    #[error("can't reach {server}: {reason}")]
    Unreachable {
        /// Base URL of the server.
        server: String,
        /// Reason, which keeps the error that it comes from.
        #[source]
        reason: Reason,
    },
    /// Nothing was sent: the certificates that are to be trusted can't be read.
    #[error("can't read the certificates in {}: {reason}", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        reason: Reason,
    },
    /// Nothing was sent: plain http to another machine would show the secret on its way.
    #[error("{server}: plain http would show the secret on its way")]
    PlainHttp {
        /// Base URL of the server.
        server: String,
    },
    /// The request went out and the answer did not come: it may have been carried out.
    #[error("no answer from {server}: {reason}")]
    Lost {
        /// Base URL of the server.
        server: String,
        /// Reason, which keeps the error that it comes from.
        #[source]
        reason: Reason,
    },
    /// The session or token is missing, expired or revoked.
    #[error("the server does not accept this login")]
    Unauthorized,
    /// Known, but not allowed.
    #[error("{message}")]
    Forbidden {
        /// The server's sentence.
        message: String,
    },
    /// No such token.
    #[error("token not found")]
    NotFound,
    /// The server refused the request as it was.
    #[error("{message}")]
    Refused {
        /// The server's sentence.
        message: String,
    },
    /// The database of direct mode refused, or is not a wit server's.
    #[error("{message}")]
    DatabaseRefused {
        /// The database's sentence.
        message: String,
    },
    /// Too many requests, or a server that is busy: nothing was carried out.
    #[error("{}", limited(unavailable.as_deref(), *retry_after))]
    Limited {
        /// The sentence of a server that is not available (503); `None` where there are too many requests.
        unavailable: Option<String>,
        /// Time after which the server wants to be asked again, where it says one.
        retry_after: Option<Duration>,
    },
    /// The server failed: it may have done what was asked.
    #[error("{}", failed(*status))]
    Failed {
        /// HTTP status, 500 or more.
        status: u16,
    },
    /// An answer that is not of the API's form.
    #[error("invalid response from the server: {what}")]
    Malformed {
        /// One clause, without what was read.
        what: String,
    },
    /// This form of the API has no such call.
    #[error("this server can't {what}")]
    Unsupported {
        /// What it can't do.
        what: &'static str,
    },
    /// The host has no such call for this login. Nothing was sent.
    #[error("{host} can't {what} for this sign-in")]
    Impossible {
        /// Name of the host's kind.
        host: &'static str,
        /// What it can't do.
        what: &'static str,
        /// The page on which a person can do it.
        page: Option<String>,
    },
    /// The host takes the account's password only, and nobody could be asked for it.
    #[error("{server} requires your password for this: {reason}")]
    PasswordNeeded {
        /// Base URL of the server.
        server: String,
        /// Why nobody was asked.
        reason: String,
    },
    /// The host refused the password or the one-time code.
    #[error("{server} refused the password or the one-time code")]
    WrongPassword {
        /// Base URL of the server.
        server: String,
    },
}

/// HTTP status of a server whose disk is full (RFC 4918 section 11.5).
pub const DISK_FULL_STATUS: u16 = 507;

fn failed(status: u16) -> String {
    match status {
        DISK_FULL_STATUS => "the server's disk is full".to_owned(),
        _ => format!("the server failed with status {status}"),
    }
}

fn limited(unavailable: Option<&str>, retry_after: Option<Duration>) -> String {
    let again = match retry_after {
        Some(wait) => format!("; try again in {} s", wait.as_secs()),
        None => String::new(),
    };
    match unavailable.map(|said| said.split("; try again").next().unwrap_or(said)) {
        Some(why) => format!("{why} (503){again}"),
        None => format!("too many requests{again}"),
    }
}

impl ApiError {
    /// Returns whether the server may have done what was asked, although it did not say so.
    pub fn may_be_carried_out(&self) -> bool {
        match self {
            ApiError::Lost { .. } | ApiError::Failed { .. } | ApiError::Malformed { .. } => true,
            ApiError::Unreachable { .. }
            | ApiError::CaFile { .. }
            | ApiError::PlainHttp { .. }
            | ApiError::Unauthorized
            | ApiError::Forbidden { .. }
            | ApiError::NotFound
            | ApiError::Refused { .. }
            | ApiError::DatabaseRefused { .. }
            | ApiError::Limited { .. }
            | ApiError::Unsupported { .. }
            | ApiError::Impossible { .. }
            | ApiError::PasswordNeeded { .. }
            | ApiError::WrongPassword { .. } => false,
        }
    }
}
