//! Copies of a SQLite database while it is worked on, and what is checked in one.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use uuid::Uuid;

use super::connection::Pool;
use super::{Database, DatabaseError, read, transaction};

/// Time limit for a copy, or a check, of a whole database.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Most faults of a database that are told.
const MAX_FAULTS: usize = 20;

impl Database {
    /// The ids of all repositories, each with whether it is private.
    pub async fn all_repositories(&self) -> Result<Vec<(Uuid, bool)>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as("SELECT id, private FROM wit_repository ORDER BY id")
                .fetch_all(connection)
                .await?
        }))
    }

    /// Writes the database as it is at one moment into an empty or missing file.
    /// [`DatabaseError::Invalid`] for PostgreSQL.
    ///
    /// By `VACUUM INTO`: one read transaction, whoever writes meanwhile. The backup API of SQLite would
    /// begin again after each change by another process, and can't be called without unsafe code.
    pub async fn copy_to(&self, file: &Path) -> Result<(), DatabaseError> {
        let name = file
            .to_str()
            .ok_or_else(|| DatabaseError::Invalid(format!("{} is no UTF-8", file.display())))?;
        let copying = sqlx::query("VACUUM INTO $1").bind(name);
        // Not by a reader: their connections refuse every writing statement.
        let (_, writer) = self.sqlite()?;
        whole(async { Ok(copying.execute(writer).await.map(drop)?) }).await
    }

    /// Ends all sessions, and takes back what could become one: devices that wait to be let in, and
    /// invitations.
    pub async fn end_all_sessions(&self) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            for statement in [
                "DELETE FROM session",
                "DELETE FROM wit_device",
                "DELETE FROM wit_invitation",
            ] {
                sqlx::query(statement).execute(&mut *connection).await?;
            }
            Ok(())
        })
    }

    /// Makes those repositories private.
    pub async fn hide_repositories(&self, ids: &[Uuid]) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            for id in ids {
                sqlx::query("UPDATE wit_repository SET private = $2 WHERE id = $1")
                    .bind(id)
                    .bind(true)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    }

    /// Forgets those repositories.
    pub async fn forget_repositories(&self, ids: &[Uuid]) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            for id in ids {
                sqlx::query("DELETE FROM wit_repository WHERE id = $1")
                    .bind(id)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    }

    /// Faults that SQLite finds in its file, and rows that refer to none; at most 20 of each.
    /// [`DatabaseError::Invalid`] for PostgreSQL, which enforces both itself.
    pub async fn faults(&self) -> Result<Vec<String>, DatabaseError> {
        let (readers, _) = self.sqlite()?;
        whole(async {
            let told: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(20)")
                .fetch_all(readers)
                .await?;
            let told = told.into_iter().map(|(fault,)| fault);
            let mut faults: Vec<String> = told.filter(|fault| fault != "ok").collect();
            let dangling: Vec<(String, Option<i64>, String, i64)> =
                sqlx::query_as("PRAGMA foreign_key_check")
                    .fetch_all(readers)
                    .await?;
            let rows = dangling.into_iter().take(MAX_FAULTS);
            faults.extend(rows.map(|(table, row, parent, _)| {
                let row = row.map_or_else(|| "?".to_owned(), |row| row.to_string());
                format!("row {row} of {table} refers to no row of {parent}")
            }));
            Ok(faults)
        })
        .await
    }

    fn sqlite(&self) -> Result<(&SqlitePool, &SqlitePool), DatabaseError> {
        match &self.pool {
            Pool::Sqlite { readers, writer } => Ok((readers, writer)),
            Pool::Postgres(_) => Err(DatabaseError::Invalid(
                "this is done on SQLite only".to_owned(),
            )),
        }
    }
}

async fn whole<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let done = tokio::time::timeout(WHOLE_TIMEOUT, work).await;
    done.unwrap_or(Err(DatabaseError::Busy(sqlx::Error::PoolTimedOut)))
}
