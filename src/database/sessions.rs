//! Sessions: one for each browser or program that is signed in.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::accounts::{User, hold_account};
use super::audit::{AccountAction, record_account, written};
use super::row::from_row;
use super::{
    Database, DatabaseError, Timestamp, now, random_name, read, transaction, without_zone,
};
use crate::secret::Secret;

/// Lifetime of a session, as on the platform.
pub const SESSION: Duration = Duration::days(30);
/// Age of a session's last use from which a use is recorded again.
const USE_KEPT_TO: Duration = Duration::minutes(1);

/// The browser or program that a sign-in is from.
#[derive(Clone, Debug)]
pub struct Client {
    /// Name that it gives itself, or is taken for: 1 to 100 characters.
    pub name: String,
    pub way: Way,
    pub address: IpAddr,
}

/// The way in which somebody signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Page,
    Device,
    Api,
}

impl Way {
    fn words(self) -> &'static str {
        match self {
            Way::Page => "on the page",
            Way::Device => "as a device",
            Way::Api => "by the API",
        }
    }
}

/// A session that a request carries.
#[derive(Clone, Debug)]
pub struct Session {
    /// Not the secret.
    pub id: String,
    pub user: User,
    /// The client's name, where it is known.
    pub client: Option<String>,
    /// True if this use is to be written down: the last one that was is a minute old.
    pub use_counts: bool,
}

/// A session as its owner sees it.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub id: String,
    /// `None` for one that is older than this list.
    pub client: Option<String>,
    /// Address that it was created from.
    pub address: Option<String>,
    pub created_at: PrimitiveDateTime,
    pub expires_at: PrimitiveDateTime,
    pub last_used_at: Option<OffsetDateTime>,
    pub last_address: Option<String>,
}
from_row!(SignIn {
    id,
    client,
    address,
    created_at,
    expires_at,
    last_used_at,
    last_address
});

/// A session's use, to be written down.
#[derive(Clone, Debug)]
pub struct SessionUse {
    pub session_id: String,
    pub at: OffsetDateTime,
    pub from: IpAddr,
}

/// Ends the sessions of an account but for the one whose id is kept, with the devices that were let
/// in and have not been back yet, within a transaction; how many sessions it were.
macro_rules! end_sessions {
    ($database:expr, $connection:expr, $user_id:expr, $keep:expr) => {{
        let ended = sqlx::query("DELETE FROM session WHERE user_id = $1 AND id <> $2")
            .bind($user_id)
            .bind($keep.unwrap_or_default())
            .execute(&mut *$connection)
            .await?;
        if $database.audited {
            sqlx::query("DELETE FROM wit_device WHERE user_id = $1")
                .bind($user_id)
                .execute(&mut *$connection)
                .await?;
        }
        ended.rows_affected()
    }};
}
pub(super) use end_sessions;

impl Database {
    /// Makes a session for an account, and returns its token. Those of it that are over are removed.
    pub async fn open_session(
        &self,
        user_id: &str,
        client: &Client,
    ) -> Result<Secret, DatabaseError> {
        let token = random_name(32);
        let id = random_name(32);
        let at = now();
        transaction!(self, connection => {
            sqlx::query("DELETE FROM session WHERE user_id = $1 AND expires_at <= $2")
                .bind(user_id)
                .bind(without_zone(at))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                r#"INSERT INTO session (id, expires_at, token, created_at, updated_at, user_id)
                   VALUES ($1, $2, $3, $4, $4, $5)"#,
            )
            .bind(&id)
            .bind(without_zone(at + SESSION))
            .bind(&token)
            .bind(without_zone(at))
            .bind(user_id)
            .execute(&mut *connection)
            .await?;
            let address = written(Some(client.address));
            sqlx::query(
                "INSERT INTO wit_session (session_id, name, address, last_used_at, last_address)
                 VALUES ($1, $2, $3, $4, $3)",
            )
            .bind(&id)
            .bind(&client.name)
            .bind(address)
            .bind(Timestamp(at))
            .execute(&mut *connection)
            .await?;
            let detail = format!("{}, {}", client.name, client.way.words());
            let from = Some(client.address);
            record_account!(self, connection, AccountAction::SignedIn, user_id, detail, from);
            Ok(())
        })?;
        Ok(Secret::from(token))
    }

    /// The session of that token; `None` where it is unknown, over, or its account is suspended.
    /// Nothing is written.
    pub async fn session(&self, token: &Secret) -> Result<Option<Session>, DatabaseError> {
        struct Row {
            user: User,
            session_id: String,
            client: Option<String>,
            expires_at: PrimitiveDateTime,
            last_used_at: Option<OffsetDateTime>,
        }
        from_row!(Row { session_id, client, expires_at, last_used_at } nested { user });
        let Some(token) = token.expose_str().filter(|text| !text.contains('\0')) else {
            return Ok(None);
        };
        let row: Option<Row> = read!(self, connection => {
            sqlx::query_as(
                r#"SELECT u.id, u.name, u.email, u.username, u.suspended,
                          s.id AS session_id, s.expires_at, w.name AS client, w.last_used_at
                   FROM session s JOIN "user" u ON u.id = s.user_id
                   LEFT JOIN wit_session w ON w.session_id = s.id WHERE s.token = $1"#,
            )
            .bind(token)
            .fetch_optional(&mut *connection)
            .await?
        });
        let now = now();
        Ok(row
            .filter(|row| row.expires_at > without_zone(now) && !row.user.suspended)
            .map(|row| Session {
                id: row.session_id,
                user: row.user,
                client: row.client,
                use_counts: (row.last_used_at).is_none_or(|used| now - used >= USE_KEPT_TO),
            }))
    }

    /// The sessions of an account that are not over, the one used last first.
    pub async fn sign_ins(&self, user_id: &str) -> Result<Vec<SignIn>, DatabaseError> {
        Ok(read!(self, connection => {
            sqlx::query_as(
                "SELECT s.id, s.created_at, s.expires_at, w.name AS client, w.address,
                        w.last_used_at, w.last_address
                 FROM session s LEFT JOIN wit_session w ON w.session_id = s.id
                 WHERE s.user_id = $1 AND s.expires_at > $2
                 ORDER BY w.last_used_at DESC, s.created_at DESC, s.id",
            )
            .bind(user_id)
            .bind(without_zone(now()))
            .fetch_all(&mut *connection)
            .await?
        }))
    }

    /// Writes uses down, together.
    pub async fn write_session_uses(&self, uses: &[SessionUse]) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            for SessionUse { session_id, at, from } in uses {
                // The session may have ended since.
                sqlx::query(
                    "INSERT INTO wit_session (session_id, name, last_used_at, last_address)
                     SELECT id, '', $2, $3 FROM session WHERE id = $1
                     ON CONFLICT (session_id) DO UPDATE
                     SET last_used_at = excluded.last_used_at, last_address = excluded.last_address
                     WHERE wit_session.last_used_at < excluded.last_used_at",
                )
                .bind(session_id)
                .bind(Timestamp(*at))
                .bind(written(Some(*from)))
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })
    }

    /// Ends the session of a token; that it is already over is no error.
    pub async fn close_session(&self, token: &Secret, from: IpAddr) -> Result<(), DatabaseError> {
        match self.session(token).await? {
            Some(session) => {
                let ended = self.end_session(&session.user.id, &session.id, from);
                match ended.await {
                    Err(DatabaseError::NotFound) => Ok(()),
                    other => other,
                }
            }
            None => Ok(()),
        }
    }

    /// Ends one session of an account, by its id. [`DatabaseError::NotFound`] for another's too.
    pub async fn end_session(
        &self,
        user_id: &str,
        id: &str,
        from: IpAddr,
    ) -> Result<(), DatabaseError> {
        if id.contains('\0') {
            return Err(DatabaseError::NotFound);
        }
        transaction!(self, connection => {
            let client: Option<(String,)> =
                sqlx::query_as("SELECT name FROM wit_session WHERE session_id = $1")
                    .bind(id)
                    .fetch_optional(&mut *connection)
                    .await?;
            let ended = sqlx::query("DELETE FROM session WHERE user_id = $1 AND id = $2")
                .bind(user_id)
                .bind(id)
                .execute(&mut *connection)
                .await?;
            if ended.rows_affected() == 0 {
                return Err(DatabaseError::NotFound);
            }
            let client = client.map(|(name,)| name).filter(|name| !name.is_empty());
            record_account!(self, connection, AccountAction::SignedOut, user_id, client, Some(from));
            Ok(())
        })
    }

    /// Ends the sessions of an account, but for the one whose id is `keep`; how many it were.
    /// [`DatabaseError::NotFound`] for no account.
    pub async fn end_sessions(
        &self,
        user_id: &str,
        keep: Option<&str>,
        from: IpAddr,
    ) -> Result<u64, DatabaseError> {
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            let ended = end_sessions!(self, connection, user_id, keep);
            let detail = match keep {
                Some(_) => "everywhere else",
                None => "everywhere",
            };
            record_account!(self, connection, AccountAction::SignedOut, user_id, detail, Some(from));
            Ok(ended)
        })
    }
}
