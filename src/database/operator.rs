//! Operations on accounts by the operator of a server.

use std::net::IpAddr;

use time::PrimitiveDateTime;
use uuid::Uuid;

use super::accounts::{ConfirmedPassword, User, check_password, hold_account, slowly};
use super::audit::{AccountAction, record_account};
use super::row::from_row;
use super::sessions::end_sessions;
use super::{Database, DatabaseError, now, password, random_name, read, transaction, without_zone};
use crate::secret::Secret;

/// An account as its operator sees it.
#[derive(Clone, Debug)]
pub struct AccountRecord {
    pub user: User,
    pub created_at: PrimitiveDateTime,
    pub suspended_reason: Option<String>,
    /// Number of its tokens, expired ones included.
    pub tokens: i64,
}
from_row!(AccountRecord { created_at, suspended_reason, tokens } nested { user });

impl Database {
    /// All accounts, oldest first.
    pub async fn accounts(&self) -> Result<Vec<AccountRecord>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT u.id, u.name, u.email, u.username, u.suspended, u.created_at,
                          u.suspended_reason,
                          (SELECT count(*) FROM personal_access_tokens t WHERE t.user_id = u.id)
                              AS tokens
                   FROM "user" u ORDER BY u.created_at, u.id"#,
            )
            .fetch_all(connection)
            .await?
        }))
    }

    /// The account of a username or email, in any case, or of an id.
    pub async fn account_called(&self, name: &str) -> Result<Option<User>, DatabaseError> {
        if name.contains('\0') {
            return Ok(None);
        }
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT id, name, email, username, suspended FROM "user"
                   WHERE username = $1 OR email = $1 OR id = $2"#,
            )
            .bind(name.to_lowercase())
            .bind(name)
            .fetch_optional(connection)
            .await?
        }))
    }

    /// Sets an account's password and ends its sessions; how many it were. Devices that were let in and
    /// have not been back yet are turned away too. Tokens live on. It is the operator who does it.
    /// [`DatabaseError::InvalidField`] outside the limits, [`DatabaseError::NotFound`] for no account.
    pub async fn set_password(
        &self,
        user_id: &str,
        password: Secret,
    ) -> Result<u64, DatabaseError> {
        check_password(&password)?;
        let hash = slowly(move || password::hash(&password)).await?;
        let at = without_zone(now());
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            let set = sqlx::query(
                "UPDATE account SET password = $2, updated_at = $3
                 WHERE user_id = $1 AND provider_id = 'credential'",
            )
            .bind(user_id)
            .bind(&hash)
            .bind(at)
            .execute(&mut *connection)
            .await?;
            if set.rows_affected() == 0 {
                sqlx::query(
                    "INSERT INTO account
                         (id, account_id, provider_id, user_id, password, created_at, updated_at)
                     VALUES ($1, $2, 'credential', $2, $3, $4, $4)",
                )
                .bind(random_name(32))
                .bind(user_id)
                .bind(&hash)
                .bind(at)
                .execute(&mut *connection)
                .await?;
            }
            record_account!(self, connection, AccountAction::PasswordReset, user_id, None::<&str>, None);
            Ok(end_sessions!(self, connection, user_id, None::<&str>))
        })
    }

    /// The same for the account's owner, and but for the session whose id is `keep`.
    /// [`DatabaseError::NotFound`] also where the password is not `old` any more: of several changes
    /// at once, one is made.
    pub async fn change_password(
        &self,
        user_id: &str,
        old: &ConfirmedPassword,
        password: Secret,
        keep: &str,
        from: IpAddr,
    ) -> Result<u64, DatabaseError> {
        check_password(&password)?;
        let hash = slowly(move || password::hash(&password)).await?;
        let at = without_zone(now());
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            let set = sqlx::query(
                "UPDATE account SET password = $2, updated_at = $3
                 WHERE user_id = $1 AND provider_id = 'credential' AND password = $4",
            )
            .bind(user_id)
            .bind(&hash)
            .bind(at)
            .bind(&old.0)
            .execute(&mut *connection)
            .await?;
            if set.rows_affected() == 0 {
                return Err(DatabaseError::NotFound);
            }
            record_account!(
                self,
                connection,
                AccountAction::PasswordChanged,
                user_id,
                None::<&str>,
                Some(from)
            );
            Ok(end_sessions!(self, connection, user_id, Some(keep)))
        })
    }

    /// Suspends an account, from its next request on, or restores it. Nothing that it has is lost.
    /// [`DatabaseError::NotFound`] for no account.
    pub async fn set_suspended(
        &self,
        user_id: &str,
        suspended: bool,
        reason: Option<&str>,
    ) -> Result<(), DatabaseError> {
        let reason = reason.filter(|_| suspended);
        if reason
            .is_some_and(|reason| reason.chars().count() > 500 || reason.contains(char::is_control))
        {
            let what = "a reason is at most 500 characters, none of them a control character";
            return Err(DatabaseError::Invalid(what.to_owned()));
        }
        let at = without_zone(now());
        transaction!(self, connection => {
            let set = sqlx::query(
                r#"UPDATE "user" SET suspended = $2, suspended_at = $3, suspended_reason = $4,
                       updated_at = $5 WHERE id = $1"#,
            )
            .bind(user_id)
            .bind(suspended)
            .bind(suspended.then_some(at))
            .bind(reason)
            .bind(at)
            .execute(&mut *connection)
            .await?;
            if set.rows_affected() == 0 {
                return Err(DatabaseError::NotFound);
            }
            let action = match suspended {
                true => AccountAction::Suspended,
                false => AccountAction::Restored,
            };
            record_account!(self, connection, action, user_id, reason, None);
            Ok(())
        })
    }

    /// Deletes an account with all that it has; the ids of its repositories, which are still on the
    /// disk. [`DatabaseError::NotFound`] for no account.
    pub async fn delete_account(&self, user_id: &str) -> Result<Vec<Uuid>, DatabaseError> {
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            let mut repositories: Vec<(Uuid,)> = Vec::new();
            if self.audited {
                repositories = sqlx::query_as("SELECT id FROM wit_repository WHERE owner_id = $1")
                    .bind(user_id)
                    .fetch_all(&mut *connection)
                    .await?;
            }
            sqlx::query(r#"DELETE FROM "user" WHERE id = $1"#)
                .bind(user_id)
                .execute(&mut *connection)
                .await?;
            Ok(repositories.into_iter().map(|(id,)| id).collect())
        })
    }
}
