//! Accounts that may use a repository of another's, and how.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::repositories::Repository;
use super::row::from_row;
use super::{Database, DatabaseError, read, transaction};

/// Collaborators of one repository.
pub const MAX_COLLABORATORS: i64 = 100;

/// The rights of a collaborator. Everything else is the owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Fetch.
    Read,
    /// Fetch and push.
    Write,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
        }
    }

    /// A word that is not known grants the least.
    fn of(word: &str) -> Self {
        match word {
            "write" => Role::Write,
            _ => Role::Read,
        }
    }
}

/// A collaborator as the owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Collaborator {
    pub username: String,
    pub role: Role,
}

impl Database {
    /// The role of an account in a repository of another's.
    pub async fn role(
        &self,
        repository_id: Uuid,
        user_id: &str,
    ) -> Result<Option<Role>, DatabaseError> {
        let role: Option<(String,)> = read!(self, connection => {
            sqlx::query_as(
                "SELECT role FROM wit_collaborator WHERE repository_id = $1 AND user_id = $2",
            )
            .bind(repository_id)
            .bind(user_id)
            .fetch_optional(&mut *connection)
            .await?
        });
        Ok(role.map(|(role,)| Role::of(&role)))
    }

    /// Gives an account a role, in the place of one that it had.
    /// [`DatabaseError::Invalid`] for a name that no other account has, or where there are too many.
    pub async fn share_repository(
        &self,
        repository: &Repository,
        username: &str,
        role: Role,
    ) -> Result<(), DatabaseError> {
        let shared = transaction!(self, connection => {
            let shared = sqlx::query(
                r#"INSERT INTO wit_collaborator (repository_id, user_id, role)
                   SELECT $1, u.id, $3 FROM "user" u
                   WHERE u.username = $2 AND u.id <> $4
                     AND (SELECT count(*) FROM wit_collaborator c
                          WHERE c.repository_id = $1 AND c.user_id <> u.id) < $5
                   ON CONFLICT (repository_id, user_id) DO UPDATE SET role = excluded.role"#,
            )
            .bind(repository.id)
            .bind(username.to_lowercase())
            .bind(role.as_str())
            .bind(&repository.owner_id)
            .bind(MAX_COLLABORATORS)
            .execute(connection)
            .await?;
            Ok(shared.rows_affected())
        })?;
        if shared > 0 {
            return Ok(());
        }
        let why = match self.user_named(username).await? {
            None => "there is no account of that username".to_owned(),
            Some(user) if user.id == repository.owner_id => "it is that account's own".to_owned(),
            Some(_) => {
                format!("{MAX_COLLABORATORS} accounts have a role already, which is the most")
            }
        };
        Err(DatabaseError::InvalidField("username", why))
    }

    /// Takes a role back. [`DatabaseError::NotFound`] where the account has none.
    pub async fn unshare_repository(
        &self,
        repository_id: Uuid,
        username: &str,
    ) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            let removed = sqlx::query(
                r#"DELETE FROM wit_collaborator WHERE repository_id = $1
                   AND user_id IN (SELECT id FROM "user" WHERE username = $2)"#,
            )
            .bind(repository_id)
            .bind(username.to_lowercase())
            .execute(connection)
            .await?;
            match removed.rows_affected() {
                0 => Err(DatabaseError::NotFound),
                _ => Ok(()),
            }
        })
    }

    /// The collaborators of a repository, by name.
    pub async fn collaborators(
        &self,
        repository_id: Uuid,
    ) -> Result<Vec<Collaborator>, DatabaseError> {
        let rows: Vec<(String, String)> = read!(self, connection => {
            sqlx::query_as(
                r#"SELECT coalesce(u.username, u.id), c.role
                   FROM wit_collaborator c JOIN "user" u ON u.id = c.user_id
                   WHERE c.repository_id = $1 ORDER BY 1"#,
            )
            .bind(repository_id)
            .fetch_all(&mut *connection)
            .await?
        });
        let collaborator = |(username, role): (String, String)| Collaborator {
            username,
            role: Role::of(&role),
        };
        Ok(rows.into_iter().map(collaborator).collect())
    }

    /// The repositories of others in which an account has a role, with their owners' names.
    pub async fn shared_with(
        &self,
        user_id: &str,
    ) -> Result<Vec<(String, Repository, Role)>, DatabaseError> {
        struct Row {
            owner: String,
            role: String,
            repository: Repository,
        }
        from_row!(Row { owner, role } nested { repository });
        let rows: Vec<Row> = read!(self, connection => {
            sqlx::query_as(
                r#"SELECT coalesce(u.username, u.id) AS owner, c.role,
                          r.id, r.owner_id, r.name, r.private
                   FROM wit_collaborator c JOIN wit_repository r ON r.id = c.repository_id
                   JOIN "user" u ON u.id = r.owner_id
                   WHERE c.user_id = $1 ORDER BY 1, r.name"#,
            )
            .bind(user_id)
            .fetch_all(&mut *connection)
            .await?
        });
        let shared = |row: Row| (row.owner, row.repository, Role::of(&row.role));
        Ok(rows.into_iter().map(shared).collect())
    }
}
