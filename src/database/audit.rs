//! What was done with an account's tokens, from where: kept beyond the tokens themselves.

use std::net::IpAddr;

use time::OffsetDateTime;
use uuid::Uuid;

use super::row::from_row;
use super::{Database, DatabaseError, read};

/// What is written down of a token's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Created,
    /// Used for the first time.
    Used,
    Rotated,
    Revoked,
    /// Revoked, since one of its family that had been replaced was to be replaced again.
    Reused,
}

impl Action {
    /// As the table and the API have it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Created => "created",
            Action::Used => "used",
            Action::Rotated => "rotated",
            Action::Revoked => "revoked",
            Action::Reused => "reused",
        }
    }
}

/// One thing that was done with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: OffsetDateTime,
    /// The name of an [`Action`].
    pub action: String,
    pub token_id: Uuid,
    pub token_name: String,
    pub token_prefix: String,
    /// The address of the request; `None` for what was done on the database itself.
    pub address: Option<String>,
}
from_row!(Event {
    at,
    action,
    token_id,
    token_name,
    token_prefix,
    address
});

/// Takes the token's name from its row, so it must be there: record a creation after it and a
/// deletion before it.
pub(super) const RECORD: &str = "INSERT INTO wit_token_event
         (at, action, address, user_id, token_id, token_name, token_prefix)
     SELECT $1, $2, $3, user_id, id, name, token_prefix FROM personal_access_tokens
     WHERE id = $4";

/// An address as it is written down: that of an IPv4 client is the same on a socket of either kind.
pub(super) fn written(from: Option<IpAddr>) -> Option<String> {
    from.map(|from| from.to_canonical().to_string())
}

/// Writes an [`Action`] on the token of an id down, within a transaction of either kind of database.
macro_rules! record {
    ($database:expr, $connection:expr, $action:expr, $token_id:expr, $from:expr) => {
        if $database.audited {
            sqlx::query(crate::database::audit::RECORD)
                .bind(crate::database::now())
                .bind($action.name())
                .bind(crate::database::audit::written($from))
                .bind($token_id)
                .execute(&mut *$connection)
                .await?;
        }
    };
}
pub(super) use record;

impl Database {
    /// The newest events of an account, at most 200, newest first. None where the platform's own
    /// database has no table for them.
    pub async fn events(&self, user_id: &str) -> Result<Vec<Event>, DatabaseError> {
        if !self.audited {
            return Ok(Vec::new());
        }
        Ok(read!(self, connection => {
            sqlx::query_as(
                "SELECT at, action, token_id, token_name, token_prefix, address
                 FROM wit_token_event WHERE user_id = $1 ORDER BY id DESC LIMIT 200",
            )
            .bind(user_id)
            .fetch_all(&mut *connection)
            .await?
        }))
    }
}
