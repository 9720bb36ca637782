//! Accounts.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use tokio::sync::Semaphore;

use super::audit::{AccountAction, record_account};
use super::row::from_row;
use super::{
    ACQUIRE_TIMEOUT, Database, DatabaseError, Timestamp, now, password, random_name, read,
    transaction, without_zone,
};
use crate::names;
use crate::secret::Secret;

/// An account as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    pub username: Option<String>,
    pub suspended: bool,
}
from_row!(User {
    id,
    name,
    email,
    username,
    suspended
});

impl User {
    /// Returns whether `login` names this account: its username or email, in any case.
    pub fn is_called(&self, login: &str) -> bool {
        let login = login.to_lowercase();
        self.email.to_lowercase() == login
            || (self.username.as_ref()).is_some_and(|name| name.to_lowercase() == login)
    }
}

/// Fields of a new account.
#[derive(Debug)]
pub struct NewUser {
    pub name: String,
    pub email: String,
    pub username: String,
    pub password: Secret,
}

/// Name of an account at sign-in.
#[derive(Clone, Debug)]
pub enum Login {
    Email(String),
    Username(String),
}

/// An account that somebody wants to be signed in to.
pub struct Claimed {
    pub user: User,
    /// The hash.
    password: Option<String>,
}
from_row!(Claimed { password } nested { user });

/// The hash of a password that was told just now.
pub struct ConfirmedPassword(pub(super) String);

/// Takes an account's row for one transaction alone, on either kind of database;
/// [`DatabaseError::NotFound`] where there is none.
macro_rules! hold_account {
    ($connection:expr, $user_id:expr) => {
        let held = sqlx::query(r#"UPDATE "user" SET updated_at = updated_at WHERE id = $1"#)
            .bind($user_id)
            .execute(&mut *$connection)
            .await?;
        if held.rows_affected() == 0 {
            return Err(crate::database::DatabaseError::NotFound);
        }
    };
}
pub(super) use hold_account;

impl Database {
    /// Makes an account. [`DatabaseError::Taken`] where its email or username has one.
    pub async fn sign_up(&self, new: NewUser) -> Result<User, DatabaseError> {
        self.sign_up_with(new, None).await
    }

    /// The same, and uses up an invitation; [`DatabaseError::NotFound`] where that is none any more.
    pub async fn sign_up_with(
        &self,
        new: NewUser,
        invitation: Option<&Secret>,
    ) -> Result<User, DatabaseError> {
        let NewUser {
            name,
            email,
            username,
            password,
        } = new;
        let email = email.to_lowercase();
        check_email(&email)?;
        check_username(&username)?;
        check_name(&name)?;
        check_password(&password)?;
        if let Some(code) = invitation {
            self.invitation(code)
                .await?
                .ok_or(DatabaseError::NotFound)?;
        }
        let hash = slowly(move || password::hash(&password)).await?;
        let at = now();
        let now = without_zone(at);
        let user = User {
            id: random_name(32),
            name,
            email,
            username: Some(username.to_lowercase()),
            suspended: false,
        };
        transaction!(self, connection => {
            if let Some(code) = invitation {
                // Of two at once, the second waits for the first, and then finds none.
                let used = sqlx::query(
                    "DELETE FROM wit_invitation WHERE code_hash = $1 AND expires_at > $2",
                )
                .bind(super::hash(code.expose()))
                .bind(Timestamp(at))
                .execute(&mut *connection)
                .await?;
                if used.rows_affected() == 0 {
                    return Err(DatabaseError::NotFound);
                }
            }
            sqlx::query(
                r#"INSERT INTO "user" (id, name, email, username, display_username, created_at, updated_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $6)"#,
            )
            .bind(&user.id)
            .bind(&user.name)
            .bind(&user.email)
            .bind(&user.username)
            .bind(&username)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(taken)?;
            sqlx::query(
                r#"INSERT INTO account
                       (id, account_id, provider_id, user_id, password, created_at, updated_at)
                   VALUES ($1, $2, 'credential', $2, $3, $4, $4)"#,
            )
            .bind(random_name(32))
            .bind(&user.id)
            .bind(hash)
            .bind(now)
            .execute(&mut *connection)
            .await?;
            Ok(())
        })?;
        Ok(user)
    }

    /// The account of that name, if there is one that has a password.
    pub async fn claimed(&self, login: &Login) -> Result<Option<Claimed>, DatabaseError> {
        let (email, username) = match login {
            Login::Email(email) => (Some(email.to_lowercase()), None),
            Login::Username(username) => (None, Some(username.to_lowercase())),
        };
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT u.id, u.name, u.email, u.username, u.suspended, a.password
                   FROM "user" u JOIN account a ON a.user_id = u.id
                   WHERE a.provider_id = 'credential' AND (u.email = $1 OR u.username = $2)"#,
            )
            .bind(email)
            .bind(username)
            .fetch_optional(&mut *connection)
            .await?
        }))
    }

    /// The account, where the password is its own. [`DatabaseError::NotFound`] for no account and
    /// for a wrong password, after the same work.
    pub async fn sign_in(
        claimed: Option<Claimed>,
        password: Secret,
    ) -> Result<User, DatabaseError> {
        let confirmed = Self::confirm(claimed, password).await;
        confirmed.map(|(user, _)| user)
    }

    /// The same with the password as it is stored, for a change that is to replace this one only.
    pub async fn confirm(
        claimed: Option<Claimed>,
        password: Secret,
    ) -> Result<(User, ConfirmedPassword), DatabaseError> {
        let (user, stored) = match claimed {
            Some(Claimed { user, password }) => (Some(user), password),
            None => (None, None),
        };
        let right = slowly(move || match stored {
            Some(stored) => password::matches(&password, &stored).then_some(stored),
            // The time of an answer must not tell which accounts there are.
            None => {
                password::hash(&password);
                None
            }
        })
        .await?;
        match user.zip(right) {
            Some((user, _)) if user.suspended => Err(DatabaseError::Suspended),
            Some((user, stored)) => Ok((user, ConfirmedPassword(stored))),
            None => Err(DatabaseError::NotFound),
        }
    }

    /// Gives an account another email. [`DatabaseError::Taken`] where that has one.
    pub async fn change_email(
        &self,
        user_id: &str,
        email: &str,
        from: IpAddr,
    ) -> Result<(), DatabaseError> {
        let email = email.to_lowercase();
        check_email(&email)?;
        transaction!(self, connection => {
            let changed = sqlx::query(
                r#"UPDATE "user" SET email = $2, email_verified = false, updated_at = $3
                   WHERE id = $1"#,
            )
            .bind(user_id)
            .bind(&email)
            .bind(without_zone(now()))
            .execute(&mut *connection)
            .await
            .map_err(|error| match taken(error) {
                DatabaseError::Taken { code, .. } => DatabaseError::Taken {
                    code,
                    what: "that email already has an account".to_owned(),
                },
                other => other,
            })?;
            if changed.rows_affected() == 0 {
                return Err(DatabaseError::NotFound);
            }
            record_account!(self, connection, AccountAction::EmailChanged, user_id, &email, Some(from));
            Ok(())
        })
    }

    /// The account with that id.
    pub async fn user(&self, id: &str) -> Result<Option<User>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT id, name, email, username, suspended FROM "user" WHERE id = $1"#,
            )
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?
        }))
    }

    /// The account of that username, in any case.
    pub async fn user_named(&self, username: &str) -> Result<Option<User>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT id, name, email, username, suspended FROM "user" WHERE username = $1"#,
            )
            .bind(username.to_lowercase())
            .fetch_optional(&mut *connection)
            .await?
        }))
    }

    /// The two oldest accounts, if there are so many: enough to tell none from one from several.
    pub async fn first_users(&self) -> Result<Vec<User>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                r#"SELECT id, name, email, username, suspended FROM "user"
                   ORDER BY created_at LIMIT 2"#,
            )
            .fetch_all(&mut *connection)
            .await?
        }))
    }
}

/// Runs password hashing where it holds up no other request: no more of it at once than there are
/// processors, for each takes 32 MiB, also where nobody waits for it any more.
pub(super) async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DatabaseError> {
    static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
        let processors = std::thread::available_parallelism();
        Arc::new(Semaphore::new(processors.map_or(1, usize::from)))
    });
    let turn = tokio::time::timeout(ACQUIRE_TIMEOUT, TURNS.clone().acquire_owned()).await;
    let too_many = |_| DatabaseError::Busy(sqlx::Error::Io(io::ErrorKind::TimedOut.into()));
    let turn = turn.map_err(too_many)?;
    let worked = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    worked
        .await
        .map_err(|_| DatabaseError::Failed(sqlx::Error::WorkerCrashed))
}

fn taken(error: sqlx::Error) -> DatabaseError {
    let unique = (error.as_database_error()).is_some_and(|error| error.is_unique_violation());
    if !unique {
        return error.into();
    }
    DatabaseError::Taken {
        code: "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
        what: "that email or username already has an account".to_owned(),
    }
}

fn wrong<T>(field: &'static str, what: &str) -> Result<T, DatabaseError> {
    Err(DatabaseError::InvalidField(field, what.to_owned()))
}

pub(super) fn check_email(email: &str) -> Result<(), DatabaseError> {
    match names::is_email(email) {
        true => Ok(()),
        false => wrong("email", "that is not an email address"),
    }
}

/// First parts of paths that are the server's own.
const RESERVED: [&str; 10] = [
    "account", "api", "device", "health", "login", "logout", "metrics", "settings", "token", "trpc",
];

/// A username is the first part of a repository's path, so the rule is that of names there.
fn check_username(username: &str) -> Result<(), DatabaseError> {
    if RESERVED.contains(&username.to_lowercase().as_str()) {
        return wrong("username", "that username is reserved");
    }
    match names::is_username(username) {
        true => Ok(()),
        false => wrong("username", names::USERNAME_RULE),
    }
}

pub(super) fn check_name(name: &str) -> Result<(), DatabaseError> {
    if name.is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return wrong(
            "name",
            "a name is 1 to 100 characters, none of them a control character",
        );
    }
    Ok(())
}

pub(super) fn check_password(password: &Secret) -> Result<(), DatabaseError> {
    match password.expose_str() {
        Some(text) if (8..=128).contains(&text.chars().count()) => Ok(()),
        _ => wrong("password", "a password is 8 to 128 characters long"),
    }
}
