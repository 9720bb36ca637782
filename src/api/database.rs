//! Direct mode: the token API carried out on the platform's own database, without a server.

use std::path::Path;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::checked;
use super::promises::Promises;
use super::{
    Account, AlsoRevoked, ApiError, Change, CreatedToken, Event, Form, NewToken, Reason,
    ReasonKind, Scope, Token, TokenApi,
};
use crate::database::audit::{self, Action};
use crate::database::tokens::{AskedFrom, Grant, TokenChange, TokenRecord, Use, scopes};
use crate::database::{Database, DatabaseError, FOREIGN};
use crate::expiry::{Expiry, UnixTime};
use crate::progress;
use crate::quote::sentence;
use crate::secret::Secret;

/// Time limit for one call in all, connecting included.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);

/// The tokens of one account of one database.
pub struct Direct {
    runtime: Runtime,
    database: Database,
    user_id: String,
}

impl Direct {
    /// Opens `DATABASE_URL` for the account of `WIT_USER_ID`. `postgres://`, `postgresql://` and
    /// `sqlite:PATH` are understood; no table is made, and a SQLite file must be there already.
    pub fn open(url: &str, user_id: &str) -> Result<Self, ApiError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unreachable(reason(error.to_string()).caused_by(error)))?;
        let opening = async {
            match url.strip_prefix("sqlite:") {
                Some(path) => {
                    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
                    if !path.is_file() {
                        return Err(unreachable(reason("there is no such file")));
                    }
                    Database::connect_sqlite(path).await
                }
                // The URL standard leaves line breaks out, and so names another host.
                None if url.contains(char::is_control) => {
                    return Err(unreachable(reason("there is a line break in it")));
                }
                None => Database::connect_postgres(url).await,
            }
            .map_err(|error| unreachable(cause(error)))
        };
        let database = waiting(|| {
            runtime.block_on(async { tokio::time::timeout(DATABASE_TIMEOUT, opening).await })
        })
        .map_err(|_| unreachable(too_late()))??;
        Ok(Direct {
            runtime,
            database,
            user_id: user_id.to_owned(),
        })
    }

    /// The account that the calls are about; [`ApiError::Unauthorized`] where there is none.
    pub fn account(&self) -> Result<Account, ApiError> {
        let user = self.wait(self.database.user(&self.user_id))?;
        let user = user
            .filter(|user| !user.suspended)
            .ok_or(ApiError::Unauthorized)?;
        checked::account(Account {
            id: user.id,
            username: user.username,
            email: user.email,
        })
    }

    /// Ends a token, and says which ended with it.
    fn end(&self, id: &str, action: Action) -> Result<Vec<AlsoRevoked>, ApiError> {
        let id = id_of(id)?;
        let also = self.wait((self.database).revoke_token(&self.user_id, id, action, None))?;
        let also = also.into_iter().map(|token| AlsoRevoked {
            id: token.id.to_string(),
            name: token.name,
            token_prefix: token.prefix,
        });
        Ok(also.collect())
    }

    /// Runs a call to its end. One that runs out of time may have been carried out.
    fn wait<T>(&self, call: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, ApiError> {
        waiting(|| {
            self.runtime
                .block_on(async { tokio::time::timeout(DATABASE_TIMEOUT, call).await })
        })
        .map_err(|_| ApiError::Lost {
            server: SERVER.to_owned(),
            reason: too_late(),
        })?
        .map_err(failed)
    }
}

/// Stands for the server's name: the URL itself may hold a password.
pub const SERVER: &str = "the database of DATABASE_URL";

fn waiting<T>(work: impl FnOnce() -> T) -> T {
    progress::during(&format!("Waiting for {SERVER}"), work)
}

fn reason(text: impl Into<String>) -> Reason {
    Reason::new(ReasonKind::Database, text)
}

fn too_late() -> Reason {
    reason(format!("no answer within {} s", DATABASE_TIMEOUT.as_secs()))
}

fn unreachable(reason: Reason) -> ApiError {
    ApiError::Unreachable {
        server: SERVER.to_owned(),
        reason,
    }
}

fn failed(error: DatabaseError) -> ApiError {
    match error {
        error if error.is_foreign() => ApiError::DatabaseRefused {
            message: format!("{SERVER}: {FOREIGN}"),
        },
        DatabaseError::Invalid(message) | DatabaseError::InvalidField(_, message) => {
            ApiError::Refused { message }
        }
        DatabaseError::Taken { what, .. } => ApiError::Refused { message: what },
        DatabaseError::NotFound => ApiError::NotFound,
        DatabaseError::Suspended => ApiError::Unauthorized,
        // Nothing was carried out.
        DatabaseError::Busy(_) => unreachable(cause(error)),
        // It answered, so nothing was carried out. The URL itself is not in what it says.
        DatabaseError::Failed(sqlx::Error::Database(refusal)) => ApiError::DatabaseRefused {
            message: format!("{SERVER} refuses: {}", sentence(refusal.message())),
        },
        // The statement may have been carried out before the connection broke.
        DatabaseError::Failed(_) => ApiError::Lost {
            server: SERVER.to_owned(),
            reason: cause(error),
        },
    }
}

/// The cause in words, which sqlx keeps free of the URL's password.
fn cause(error: DatabaseError) -> Reason {
    match error {
        DatabaseError::Failed(error) | DatabaseError::Busy(error) => {
            reason(error.to_string()).caused_by(error)
        }
        other => reason(other.to_string()),
    }
}

fn id_of(id: &str) -> Result<Uuid, ApiError> {
    id.parse().map_err(|_| ApiError::NotFound)
}

fn unix(time: OffsetDateTime) -> UnixTime {
    UnixTime(time.unix_timestamp())
}

impl TryFrom<TokenRecord> for Token {
    type Error = ApiError;

    /// Whatever wrote the row, the platform itself or a person.
    fn try_from(record: TokenRecord) -> Result<Self, ApiError> {
        checked::token(Token {
            id: record.id.to_string(),
            name: record.name,
            prefix: record.prefix,
            suffix: String::new(),
            scopes: record.scopes,
            repositories: Vec::new(),
            created: Some(unix(record.created)),
            last_used: record.last_used.map(unix),
            expiry: record.expires.map(|time| Expiry(unix(time))),
            // Direct mode sends it as the token's own id.
            request_id: Some(record.id),
            replaced_by: record.replaced_by.map(|id| id.to_string()),
        })
    }
}

impl TokenApi for Direct {
    fn form(&self) -> Form {
        Form::Database
    }

    fn promises(&self) -> Promises {
        Promises {
            request_ids: true,
            shorten: true,
            change: true,
            ..Promises::PLATFORM
        }
    }

    fn create(&self, new: &NewToken) -> Result<CreatedToken, ApiError> {
        let days = new.expires_in_days.map(i64::from);
        let making = self.database.create_token(
            &self.user_id,
            new.request_id.unwrap_or_else(Uuid::new_v4),
            &new.name,
            &new.scopes,
            days,
            AskedFrom::default(),
        );
        let (record, secret) = self.wait(making)?;
        Ok(CreatedToken {
            token: record.try_into()?,
            secret,
        })
    }

    fn list(&self) -> Result<Vec<Token>, ApiError> {
        let records = self.wait(self.database.tokens(&self.user_id))?;
        let tokens: Result<Vec<Token>, _> = records.into_iter().map(Token::try_from).collect();
        let mut tokens = tokens?;
        tokens.sort_by_key(|token| std::cmp::Reverse(token.created));
        Ok(tokens)
    }

    fn revoke(&self, id: &str) -> Result<(), ApiError> {
        self.end(id, Action::Revoked).map(drop)
    }

    fn retire(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        self.end(id, Action::Rotated)
    }

    fn change(&self, id: &str, change: &Change) -> Result<(), ApiError> {
        let change = TokenChange {
            name: change.name.clone(),
            description: change.description.clone(),
        };
        self.wait((self.database).change_token(&self.user_id, id_of(id)?, &change))
    }

    fn revoke_all(&self, id: &str) -> Result<Vec<AlsoRevoked>, ApiError> {
        self.end(id, Action::Revoked)
    }

    fn revoke_alone(&self, id: &str) -> Result<(), ApiError> {
        let id = id_of(id)?;
        self.wait(self.database.delete_token(&self.user_id, id, None))
    }

    fn verify(&self, token: &Secret) -> Result<Account, ApiError> {
        let grant = self.wait(self.database.check_token(token))?;
        let Grant {
            token_id,
            user,
            use_counts,
            ..
        } = grant.ok_or(ApiError::Unauthorized)?;
        if use_counts {
            let at = OffsetDateTime::now_utc();
            let used = Use {
                token_id,
                at,
                from: None,
            };
            self.wait(self.database.write_uses(&[used]))?;
        }
        checked::account(Account {
            id: user.id,
            username: user.username,
            email: user.email,
        })
    }

    fn scopes(&self) -> Result<Vec<Scope>, ApiError> {
        let known = scopes().map(|scope| Scope {
            name: scope.name.to_owned(),
            description: scope.description.to_owned(),
        });
        Ok(known.collect())
    }

    fn events(&self) -> Result<Vec<Event>, ApiError> {
        let events = self.wait(self.database.events(&self.user_id))?;
        let event = |event: audit::Event| Event {
            at: unix(event.at),
            action: event.action,
            token_id: event.token_id.to_string(),
            token_name: event.token_name,
            token_prefix: event.token_prefix,
            address: event.address,
        };
        Ok(events.into_iter().map(event).collect())
    }

    fn shorten(&self, id: &str, at: Expiry) -> Result<(), ApiError> {
        let id = id_of(id)?;
        let at = OffsetDateTime::from_unix_timestamp(at.0.0).map_err(|_| ApiError::Refused {
            message: "that expiry is out of range".to_owned(),
        })?;
        self.wait(self.database.shorten_token(&self.user_id, id, at))?;
        self.wait(self.database.note_rotation(&self.user_id, id, None))
    }

    fn clock_skew(&self) -> Option<i64> {
        None
    }
}
