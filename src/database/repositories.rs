//! Repositories and their owners.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::accounts::hold_account;
use super::row::from_row;
use super::{Database, DatabaseError, Timestamp, now, read, transaction};
pub use crate::names::is_name;

/// A repository. On disk it is named by its id, so that no name is ever part of a path there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    pub id: Uuid,
    pub owner_id: String,
    pub name: String,
    /// Only its owner can see it; any other account gets the answer for what does not exist.
    pub private: bool,
}
from_row!(Repository {
    id,
    owner_id,
    name,
    private
});

/// Refuses a name that differs from that of another repository of the account at most by case, within
/// a transaction of either kind of database. `$own` is the name that it has so far.
macro_rules! refuse_likeness {
    ($connection:expr, $owner_id:expr, $name:expr, $own:expr) => {
        let alike: Option<(String,)> = sqlx::query_as(
            "SELECT name FROM wit_repository
             WHERE owner_id = $1 AND lower(name) = lower($2) AND name <> $3 LIMIT 1",
        )
        .bind($owner_id)
        .bind($name)
        .bind($own)
        .fetch_optional(&mut *$connection)
        .await?;
        if let Some((name,)) = alike {
            return Err(is_taken(&name));
        }
    };
}

impl Database {
    /// Records a repository of `owner_id`. [`DatabaseError::Taken`] where it has one of that name, in
    /// any case: people and file systems take `Hello` for `hello`.
    pub async fn add_repository(
        &self,
        id: Uuid,
        owner_id: &str,
        name: &str,
        private: bool,
    ) -> Result<Repository, DatabaseError> {
        check_name(name)?;
        transaction!(self, connection => {
            // Two that come at once see each other's name.
            hold_account!(connection, owner_id);
            refuse_likeness!(connection, owner_id, name, "");
            sqlx::query_as(
                "INSERT INTO wit_repository (id, owner_id, name, private, created_at)
                 VALUES ($1, $2, $3, $4, $5) RETURNING id, owner_id, name, private",
            )
            .bind(id)
            .bind(owner_id)
            .bind(name)
            .bind(private)
            .bind(Timestamp(now()))
            .fetch_one(connection)
            .await
            .map_err(|error| taken(error, name))
        })
    }

    /// The repository at `OWNER/NAME`, in any case, whoever may see it. An account without a username, as the
    /// platform makes them, goes by its id.
    pub async fn repository(
        &self,
        owner: &str,
        name: &str,
    ) -> Result<Option<Repository>, DatabaseError> {
        if !is_name(owner) || !is_name(name) {
            return Ok(None);
        }
        let exact: Option<Repository> = read!(self, connection => {
            sqlx::query_as(
                r#"SELECT r.id, r.owner_id, r.name, r.private
                   FROM wit_repository r JOIN "user" u ON u.id = r.owner_id
                   WHERE (u.username = $1 OR u.username IS NULL AND u.id = $3) AND r.name = $2"#,
            )
            .bind(owner.to_lowercase())
            .bind(name)
            .bind(owner)
            .fetch_optional(&mut *connection)
            .await?
        });
        if exact.is_some() {
            return Ok(exact);
        }
        let mut alike: Vec<Repository> = read!(self, connection => {
            sqlx::query_as(
                r#"SELECT r.id, r.owner_id, r.name, r.private
                   FROM wit_repository r JOIN "user" u ON u.id = r.owner_id
                   WHERE (u.username = $1 OR u.username IS NULL AND u.id = $3)
                     AND lower(r.name) = lower($2) LIMIT 2"#,
            )
            .bind(owner.to_lowercase())
            .bind(name)
            .bind(owner)
            .fetch_all(&mut *connection)
            .await?
        });
        // Older servers let two names differ by case alone: then neither is meant.
        Ok(if alike.len() == 1 { alike.pop() } else { None })
    }

    /// A repository of `owner_id`, by its name. [`DatabaseError::NotFound`] for another's too.
    pub async fn own_repository(
        &self,
        owner_id: &str,
        name: &str,
    ) -> Result<Repository, DatabaseError> {
        let found: Option<Repository> = read!(self, connection => {
            sqlx::query_as(
                "SELECT id, owner_id, name, private FROM wit_repository
                 WHERE owner_id = $1 AND name = $2",
            )
            .bind(owner_id)
            .bind(name)
            .fetch_optional(&mut *connection)
            .await?
        });
        found.ok_or(DatabaseError::NotFound)
    }

    /// Writes down that a repository was pushed to just now.
    pub async fn note_push(&self, repository: Uuid) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            // It may be gone by now.
            sqlx::query(
                "INSERT INTO wit_push (repository_id, pushed_at)
                 SELECT id, $2 FROM wit_repository WHERE id = $1
                 ON CONFLICT (repository_id) DO UPDATE SET pushed_at = excluded.pushed_at",
            )
            .bind(repository)
            .bind(Timestamp(now()))
            .execute(connection)
            .await?;
            Ok(())
        })
    }

    /// When each of the repositories that an account owns or may use was pushed to last.
    pub async fn pushes(
        &self,
        user_id: &str,
    ) -> Result<HashMap<Uuid, OffsetDateTime>, DatabaseError> {
        let rows: Vec<(Uuid, OffsetDateTime)> = read!(self, connection => {
            sqlx::query_as(
                "SELECT p.repository_id, p.pushed_at FROM wit_push p
                 JOIN wit_repository r ON r.id = p.repository_id
                 WHERE r.owner_id = $1 OR r.id IN
                     (SELECT repository_id FROM wit_collaborator WHERE user_id = $1)",
            )
            .bind(user_id)
            .fetch_all(connection)
            .await?
        });
        Ok(rows.into_iter().collect())
    }

    /// Changes the name or who may see a repository of `owner_id`. [`DatabaseError::NotFound`]
    /// for another's too, [`DatabaseError::Taken`] where the name is.
    pub async fn change_repository(
        &self,
        owner_id: &str,
        name: &str,
        new_name: Option<&str>,
        private: Option<bool>,
    ) -> Result<Repository, DatabaseError> {
        if let Some(new_name) = new_name {
            check_name(new_name)?;
        }
        transaction!(self, connection => {
            if let Some(new_name) = new_name {
                hold_account!(connection, owner_id);
                refuse_likeness!(connection, owner_id, new_name, name);
            }
            let changed: Option<Repository> = sqlx::query_as(
                "UPDATE wit_repository
                 SET name = coalesce($3, name), private = coalesce($4, private)
                 WHERE owner_id = $1 AND name = $2 RETURNING id, owner_id, name, private",
            )
            .bind(owner_id)
            .bind(name)
            .bind(new_name)
            .bind(private)
            .fetch_optional(connection)
            .await
            .map_err(|error| taken(error, new_name.unwrap_or(name)))?;
            changed.ok_or(DatabaseError::NotFound)
        })
    }

    /// Forgets a repository of `owner_id`, and says which it was.
    pub async fn remove_repository(
        &self,
        owner_id: &str,
        name: &str,
    ) -> Result<Repository, DatabaseError> {
        transaction!(self, connection => {
            let removed: Option<Repository> = sqlx::query_as(
                "DELETE FROM wit_repository WHERE owner_id = $1 AND name = $2
                 RETURNING id, owner_id, name, private",
            )
            .bind(owner_id)
            .bind(name)
            .fetch_optional(connection)
            .await?;
            removed.ok_or(DatabaseError::NotFound)
        })
    }

    /// All repositories of an account, by name.
    pub async fn repositories(&self, owner_id: &str) -> Result<Vec<Repository>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                "SELECT id, owner_id, name, private FROM wit_repository
                 WHERE owner_id = $1 ORDER BY name",
            )
            .bind(owner_id)
            .fetch_all(&mut *connection)
            .await?
        }))
    }
}

/// [`DatabaseError::Invalid`] for what can be no name of a repository.
pub fn check_name(name: &str) -> Result<(), DatabaseError> {
    if is_name(name) {
        return Ok(());
    }
    Err(DatabaseError::InvalidField(
        "name",
        "a repository's name is 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-', \
         must not start with '.' or '-', contain '..' or end in '.git'"
            .to_owned(),
    ))
}

fn taken(error: sqlx::Error, name: &str) -> DatabaseError {
    match error.as_database_error() {
        Some(cause) if cause.is_unique_violation() => is_taken(name),
        _ => error.into(),
    }
}

fn is_taken(name: &str) -> DatabaseError {
    DatabaseError::Taken {
        code: "REPOSITORY_EXISTS",
        what: format!("there is already a repository {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn a_name_can_be_no_way_out_of_a_directory() {
        for good in ["demo", "a", "Demo_2.x-y", "a.b"] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in [
            "", ".", "..", ".git", "a..b", "a/b", "a\\b", "a b", "a\0", "-x", "x.git", "é", "%2e",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
