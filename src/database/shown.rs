//! New tokens between the form that created them and the page that shows them once.
//!
//! They are sealed: the database never holds a token that could be read from it alone.

use time::Duration;
use uuid::Uuid;

use super::{Database, DatabaseError, Timestamp, now, read, transaction};

/// Time for which a new token waits to be shown.
pub const SHOWN_WITHIN: Duration = Duration::minutes(5);

impl Database {
    /// Keeps a sealed token for a page of one session.
    pub async fn keep_to_show(
        &self,
        token_id: Uuid,
        session_id: &str,
        sealed: &[u8],
    ) -> Result<(), DatabaseError> {
        let at = now();
        transaction!(self, connection => {
            sqlx::query("DELETE FROM wit_shown_token WHERE expires_at <= $1")
                .bind(Timestamp(at))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "INSERT INTO wit_shown_token (token_id, session_id, sealed, expires_at)
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(token_id)
            .bind(session_id)
            .bind(sealed)
            .bind(Timestamp(at + SHOWN_WITHIN))
            .execute(&mut *connection)
            .await?;
            Ok(())
        })
    }

    /// Hands a sealed token out, this once, to the session that it is kept for.
    pub async fn take_to_show(
        &self,
        token_id: Uuid,
        session_id: &str,
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        // SQLite has one writer, whom a page that is looked at again need not wait for.
        let (is_kept,): (bool,) = read!(self, connection => {
            sqlx::query_as("SELECT EXISTS (SELECT 1 FROM wit_shown_token WHERE token_id = $1)")
                .bind(token_id)
                .fetch_one(connection)
                .await?
        });
        if !is_kept {
            return Ok(None);
        }
        let taken: Option<(Vec<u8>,)> = transaction!(self, connection => {
            Ok(sqlx::query_as(
                "DELETE FROM wit_shown_token
                 WHERE token_id = $1 AND session_id = $2 AND expires_at > $3 RETURNING sealed",
            )
            .bind(token_id)
            .bind(session_id)
            .bind(Timestamp(now()))
            .fetch_optional(connection)
            .await?)
        })?;
        Ok(taken.map(|(sealed,)| sealed))
    }
}
