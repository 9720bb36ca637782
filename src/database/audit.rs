//! Events of an account and of its tokens, with where they came from: kept beyond the tokens.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::row::from_row;
use super::{Database, DatabaseError, read, transaction};

/// Action that is recorded.
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

/// Time for which the events of an account itself are kept.
pub(super) const KEPT: Duration = Duration::days(365);

/// Event of an account itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAction {
    SignedIn,
    SignInFailed,
    /// A sign-in was ended, by its own browser or program or from elsewhere.
    SignedOut,
    PasswordChanged,
    /// By the operator.
    PasswordReset,
    EmailChanged,
    Suspended,
    Restored,
}

impl AccountAction {
    /// As the table and the API have it.
    pub fn name(self) -> &'static str {
        match self {
            AccountAction::SignedIn => "signed-in",
            AccountAction::SignInFailed => "sign-in-failed",
            AccountAction::SignedOut => "signed-out",
            AccountAction::PasswordChanged => "password-changed",
            AccountAction::PasswordReset => "password-reset",
            AccountAction::EmailChanged => "email-changed",
            AccountAction::Suspended => "suspended",
            AccountAction::Restored => "restored",
        }
    }
}

/// One thing that happened to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEvent {
    pub at: OffsetDateTime,
    /// The name of an [`AccountAction`].
    pub action: String,
    /// The browser or program, where one has to do with it.
    pub detail: Option<String>,
    /// The address of the request; `None` for what the operator did.
    pub address: Option<String>,
}
from_row!(AccountEvent {
    at,
    action,
    detail,
    address
});

/// Writes an [`AccountAction`] down, within a transaction of either kind of database, and forgets
/// those that are too old.
macro_rules! record_account {
    ($database:expr, $connection:expr, $action:expr, $user_id:expr, $detail:expr, $from:expr) => {
        if $database.has_account_tables {
            let at = crate::database::now();
            sqlx::query("DELETE FROM wit_account_event WHERE user_id = $1 AND at < $2")
                .bind($user_id)
                .bind(crate::database::Timestamp(
                    at - crate::database::audit::KEPT,
                ))
                .execute(&mut *$connection)
                .await?;
            sqlx::query(
                "INSERT INTO wit_account_event (at, action, detail, address, user_id)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(crate::database::Timestamp(at))
            .bind($action.name())
            .bind($detail)
            .bind(crate::database::audit::written($from))
            .bind($user_id)
            .execute(&mut *$connection)
            .await?;
        }
    };
}
pub(super) use record_account;

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
                .bind(crate::database::Timestamp(crate::database::now()))
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
    /// The newest events of an account's tokens, at most 200, newest first. None where the
    /// platform's own database has no table for them.
    pub async fn events(&self, user_id: &str) -> Result<Vec<Event>, DatabaseError> {
        self.token_events(user_id, None).await
    }

    /// The same of one token alone.
    pub async fn token_events(
        &self,
        user_id: &str,
        token_id: Option<Uuid>,
    ) -> Result<Vec<Event>, DatabaseError> {
        if !self.audited {
            return Ok(Vec::new());
        }
        Ok(read!(self, connection => {
            sqlx::query_as(
                "SELECT at, action, token_id, token_name, token_prefix, address
                 FROM wit_token_event WHERE user_id = $1 AND token_id = coalesce($2, token_id)
                 ORDER BY id DESC LIMIT 200",
            )
                .bind(user_id)
                .bind(token_id)
                .fetch_all(&mut *connection)
                .await?
        }))
    }

    /// The newest events of an account itself, at most 200, newest first.
    pub async fn account_events(&self, user_id: &str) -> Result<Vec<AccountEvent>, DatabaseError> {
        if !self.has_account_tables {
            return Ok(Vec::new());
        }
        Ok(read!(self, connection => {
            sqlx::query_as(
                "SELECT at, action, detail, address FROM wit_account_event
                 WHERE user_id = $1 ORDER BY at DESC, id DESC LIMIT 200",
            )
            .bind(user_id)
            .fetch_all(&mut *connection)
            .await?
        }))
    }

    /// Addresses from which an account has signed in within the last year: those of the last 100
    /// sign-ins.
    pub async fn addresses_of(&self, user_id: &str) -> Result<Vec<IpAddr>, DatabaseError> {
        if !self.has_account_tables {
            return Ok(Vec::new());
        }
        let rows: Vec<(Option<String>,)> = read!(self, connection => {
            sqlx::query_as(
                "SELECT address FROM wit_account_event
                 WHERE user_id = $1 AND action = $2 ORDER BY at DESC LIMIT 100",
            )
            .bind(user_id)
            .bind(AccountAction::SignedIn.name())
            .fetch_all(&mut *connection)
            .await?
        });
        let addresses = rows.into_iter().filter_map(|(address,)| address);
        Ok(addresses.filter_map(|text| text.parse().ok()).collect())
    }

    /// Writes down that somebody tried a wrong password.
    pub async fn note_failed_sign_in(
        &self,
        user_id: &str,
        client: &str,
        from: IpAddr,
    ) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            record_account!(self, connection, AccountAction::SignInFailed, user_id, client, Some(from));
            Ok(())
        })
    }
}
