//! Invitations: links by which one account each can be created.

use time::{Duration, OffsetDateTime};

use super::accounts::check_email;
use super::row::from_row;
use super::{Database, DatabaseError, Timestamp, hash, now, random_name, read, transaction};
use crate::secret::Secret;

/// An invitation that can still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The email that the account is to have, where the operator has set it.
    pub email: Option<String>,
    pub expires_at: OffsetDateTime,
}
from_row!(Invitation { email, expires_at });

impl Database {
    /// Makes an invitation and returns its code, of which only the hash is kept.
    /// [`DatabaseError::Invalid`] where the database has no table for it.
    pub async fn invite(
        &self,
        email: Option<&str>,
        life: Duration,
    ) -> Result<(Secret, Invitation), DatabaseError> {
        if !self.has_account_tables {
            let what =
                "this database knows no invitations; start this version of wit up on it once";
            return Err(DatabaseError::Invalid(what.to_owned()));
        }
        let email = email.map(str::to_lowercase);
        if let Some(email) = &email {
            check_email(email)?;
        }
        let code = random_name(32);
        let at = now();
        let Some(expires_at) = at.checked_add(life) else {
            return Err(DatabaseError::Invalid("that is too far away".to_owned()));
        };
        let invitation = Invitation { email, expires_at };
        transaction!(self, connection => {
            sqlx::query("DELETE FROM wit_invitation WHERE expires_at <= $1")
                .bind(Timestamp(at))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "INSERT INTO wit_invitation (code_hash, email, expires_at) VALUES ($1, $2, $3)",
            )
            .bind(hash(code.as_bytes()))
            .bind(&invitation.email)
            .bind(Timestamp(invitation.expires_at))
            .execute(&mut *connection)
            .await?;
            Ok(())
        })?;
        Ok((Secret::from(code), invitation))
    }

    /// The invitation of that code; `None` for one that is unknown, used or expired.
    pub async fn invitation(&self, code: &Secret) -> Result<Option<Invitation>, DatabaseError> {
        let found: Option<Invitation> = read!(self, connection => {
            sqlx::query_as("SELECT email, expires_at FROM wit_invitation WHERE code_hash = $1")
                .bind(hash(code.expose()))
                .fetch_optional(&mut *connection)
                .await?
        });
        Ok(found.filter(|invitation| invitation.expires_at > now()))
    }
}
