//! Tokens: made, listed, deleted and checked, with the server's limits.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use time::{Duration, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::accounts::{User, hold_account};
use super::audit::{Action, record, written};
use super::row::from_row;
use super::{Database, DatabaseError, Pool, Timestamp, hash, now, random_bytes, read, transaction};
use crate::names::{SCOPES, offered_scopes};
use crate::secret::Secret;

/// Most tokens of an account.
pub const MAX_TOKENS: i64 = 50;
/// Age of `last_used_at` from which a use is recorded again.
const USE_KEPT_TO: Duration = Duration::minutes(1);

/// A token as its owner sees it: never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: Uuid,
    pub user_id: String,
    pub name: String,
    /// The first 8 characters, `wit_a1b2`; they do collide.
    pub prefix: String,
    pub scopes: Vec<String>,
    pub created: OffsetDateTime,
    pub last_used: Option<OffsetDateTime>,
    pub expires: Option<OffsetDateTime>,
    /// The token that it replaced itself by, if it did.
    pub replaced_by: Option<Uuid>,
    /// The owner's note on it.
    pub description: Option<String>,
    /// The browser or program that asked for it, and from where.
    pub device: Option<String>,
    pub address: Option<String>,
    /// Address of its last use.
    pub last_address: Option<String>,
}

/// Origin of a request for a token: a browser or program that is signed in, or, with nothing known of
/// either, on the database itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct AskedFrom<'a> {
    pub device: Option<&'a str>,
    pub address: Option<IpAddr>,
}

impl From<Option<IpAddr>> for AskedFrom<'_> {
    fn from(address: Option<IpAddr>) -> Self {
        AskedFrom {
            device: None,
            address,
        }
    }
}

/// Changes to a token; the rest stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenChange {
    pub name: Option<String>,
    /// At most 500 characters; an empty one removes it.
    pub description: Option<String>,
}

pub(super) struct Row {
    id: Uuid,
    user_id: String,
    name: String,
    token_prefix: String,
    scopes: String,
    created_at: OffsetDateTime,
    last_used_at: Option<OffsetDateTime>,
    expires_at: Option<OffsetDateTime>,
    replaced_by: Option<Uuid>,
    description: Option<String>,
    device: Option<String>,
    address: Option<String>,
    last_address: Option<String>,
}
from_row!(Row { id, user_id, name, token_prefix, scopes, created_at, last_used_at, expires_at }
    or default { replaced_by, description, device, address, last_address });

impl TokenRecord {
    fn asked_from(&mut self, from: AskedFrom<'_>) {
        self.device = from.device.map(str::to_owned);
        self.address = written(from.address);
    }
}

impl From<Row> for TokenRecord {
    fn from(row: Row) -> Self {
        TokenRecord {
            id: row.id,
            user_id: row.user_id,
            name: row.name,
            prefix: row.token_prefix,
            // A list that can't be read allows nothing.
            scopes: serde_json::from_str(&row.scopes).unwrap_or_default(),
            created: row.created_at,
            last_used: row.last_used_at,
            expires: row.expires_at,
            replaced_by: row.replaced_by,
            description: row.description,
            device: row.device,
            address: row.address,
            last_address: row.last_address,
        }
    }
}

/// Grant of a token that was checked.
#[derive(Clone, Debug)]
pub struct Grant {
    pub token_id: Uuid,
    pub user: User,
    pub scopes: Vec<String>,
    /// True if this use is to be written down: the last one that was is a minute old.
    pub use_counts: bool,
}

/// The hash of what looks like a token: all that is ever asked of the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub(super) String);

impl TokenHash {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None` for what can be no token.
    pub fn of(secret: &Secret) -> Option<Self> {
        let rest = secret.expose().strip_prefix(b"wit_")?;
        let is_token = rest.len() == 40 && rest.iter().all(u8::is_ascii_hexdigit);
        is_token.then(|| TokenHash(hash(secret.expose())))
    }
}

/// A token's use, to be written down.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub token_id: Uuid,
    pub at: OffsetDateTime,
    pub from: Option<IpAddr>,
}

impl Grant {
    /// Returns whether the token has a scope. None implies another. That of a suspended account has none.
    pub fn allows(&self, scope: &str) -> bool {
        !self.user.suspended && self.scopes.iter().any(|had| had == scope)
    }
}

/// Writes a new token down, where the account has room for it, within a transaction of either kind
/// of database.
macro_rules! insert {
    ($connection:expr, $record:expr, $secret:expr) => {
        sqlx::query(
            "INSERT INTO personal_access_tokens
                 (id, user_id, name, token_hash, token_prefix, scopes, expires_at, created_at)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8
             WHERE (SELECT count(*) FROM personal_access_tokens WHERE user_id = $2) < $9",
        )
        .bind($record.id)
        .bind(&$record.user_id)
        .bind(&$record.name)
        .bind(hash($secret.expose()))
        .bind(&$record.prefix)
        .bind(serde_json::Value::from($record.scopes.clone()).to_string())
        .bind($record.expires.map(crate::database::Timestamp))
        .bind(crate::database::Timestamp($record.created))
        .bind(MAX_TOKENS)
        .execute(&mut *$connection)
        .await?
    };
}
pub(super) use insert;

/// Writes down where a new token was asked for, and its description, within a transaction.
macro_rules! insert_detail {
    ($database:expr, $connection:expr, $record:expr) => {
        if $database.has_account_tables {
            sqlx::query(
                "INSERT INTO wit_token_detail (token_id, description, device, address)
                 VALUES ($1, $2, $3, $4)",
            )
            .bind($record.id)
            .bind(&$record.description)
            .bind(&$record.device)
            .bind(&$record.address)
            .execute(&mut *$connection)
            .await?;
        }
    };
}
pub(super) use insert_detail;

/// The statement that selects [`Row`]s, with all that a database knows of them.
macro_rules! selecting {
    ($database:expr, $rest:literal) => {
        match ($database.audited, $database.has_account_tables) {
            (true, true) => concat!(
                "SELECT t.id, t.user_id, t.name, t.token_prefix, t.scopes, t.created_at,
                     t.last_used_at, t.expires_at, f.replaced_by, d.description, d.device,
                     d.address, d.last_address
                 FROM personal_access_tokens t
                 LEFT JOIN wit_token_family f ON f.token_id = t.id
                 LEFT JOIN wit_token_detail d ON d.token_id = t.id ",
                $rest
            ),
            (true, false) => concat!(
                "SELECT t.id, t.user_id, t.name, t.token_prefix, t.scopes, t.created_at,
                     t.last_used_at, t.expires_at, f.replaced_by
                 FROM personal_access_tokens t
                 LEFT JOIN wit_token_family f ON f.token_id = t.id ",
                $rest
            ),
            (false, _) => concat!(
                "SELECT t.id, t.user_id, t.name, t.token_prefix, t.scopes, t.created_at,
                     t.last_used_at, t.expires_at
                 FROM personal_access_tokens t ",
                $rest
            ),
        }
    };
}

/// Refuses the id of a token that is there, or was: the same request came twice.
macro_rules! refuse_known {
    ($database:expr, $connection:expr, $user_id:expr, $id:expr) => {
        // The events know of one that was revoked since.
        let known = match $database.audited {
            true => {
                "SELECT EXISTS (SELECT 1 FROM personal_access_tokens WHERE id = $1)
                     OR EXISTS (SELECT 1 FROM wit_token_event WHERE user_id = $2 AND token_id = $1)"
            }
            false => {
                "SELECT EXISTS (SELECT 1 FROM personal_access_tokens WHERE id = $1)
                     AND $2 = $2"
            }
        };
        let (is_known,): (bool,) = sqlx::query_as(known)
            .bind($id)
            .bind($user_id)
            .fetch_one(&mut *$connection)
            .await?;
        if is_known {
            return Err(crate::database::DatabaseError::Taken {
                code: "TOKEN_EXISTS",
                what: "this token was made before".to_owned(),
            });
        }
    };
}
pub(super) use refuse_known;

/// The tokens that came of one of an account by replacing itself, as [`Row`]s, oldest first.
macro_rules! successors {
    ($connection:expr, $user_id:expr, $id:expr) => {{
        let mut rows: Vec<Row> = sqlx::query_as(
            "WITH RECURSIVE came (id) AS (
                 SELECT replaced_by FROM wit_token_family WHERE token_id = $1 AND user_id = $2
                 UNION
                 SELECT f.replaced_by FROM wit_token_family f JOIN came ON f.token_id = came.id)
             SELECT t.id, t.user_id, t.name, t.token_prefix, t.scopes, t.created_at,
                    t.last_used_at, t.expires_at
             FROM personal_access_tokens t JOIN came ON came.id = t.id
             WHERE t.user_id = $2",
        )
        .bind($id)
        .bind($user_id)
        .fetch_all(&mut *$connection)
        .await?;
        rows.sort_by_key(|row| (row.created_at, row.id));
        rows
    }};
}

/// Deletes a token of an account and writes down why, within a transaction; how many it were.
macro_rules! end {
    ($database:expr, $connection:expr, $user_id:expr, $id:expr, $action:expr, $from:expr) => {{
        record!($database, $connection, $action, $id, $from);
        sqlx::query("DELETE FROM personal_access_tokens WHERE user_id = $1 AND id = $2")
            .bind($user_id)
            .bind($id)
            .execute(&mut *$connection)
            .await?
            .rows_affected()
    }};
}

impl Database {
    /// Makes a token of `user_id`, asked for `from` there, under an id of version 4 that the client
    /// may have chosen. The secret is returned this once; only its hash is kept.
    /// [`DatabaseError::Invalid`] outside the limits, [`DatabaseError::NotFound`] for no account,
    /// [`DatabaseError::Taken`] where there is or was a token of that id: the same was asked for
    /// twice.
    pub async fn create_token(
        &self,
        user_id: &str,
        id: Uuid,
        name: &str,
        scopes: &[String],
        expires_in_days: Option<i64>,
        from: AskedFrom<'_>,
    ) -> Result<(TokenRecord, Secret), DatabaseError> {
        check_name(name)?;
        // Of another version there may be few enough to hit upon somebody else's.
        if id.get_version() != Some(uuid::Version::Random) {
            return invalid("the id of a request is a random UUID (version 4)");
        }
        let (mut record, secret) = fresh(user_id, name, check_scopes(scopes)?, expires_in_days)?;
        record.id = id;
        record.asked_from(from);
        let made = transaction!(self, connection => {
            // Two requests at once can't both find room for the fiftieth token.
            hold_account!(connection, user_id);
            refuse_known!(self, connection, user_id, id);
            let made = insert!(connection, record, secret).rows_affected();
            if made > 0 {
                insert_detail!(self, connection, record);
            }
            record!(self, connection, Action::Created, record.id, from.address);
            Ok(made)
        })?;
        match made {
            0 => Err(no_room()),
            _ => Ok((record, secret)),
        }
    }

    /// Puts a new token of the same name and scopes in the place of one, which ends at once, with
    /// those that came of it by replacing itself.
    /// [`DatabaseError::NotFound`] for another's too; [`DatabaseError::Invalid`] where the account
    /// has more tokens than it may have, as the platform's own database lets it.
    pub async fn rotate_token(
        &self,
        user_id: &str,
        id: Uuid,
        expires_in_days: Option<i64>,
        asked: AskedFrom<'_>,
    ) -> Result<(TokenRecord, Secret), DatabaseError> {
        let from = asked.address;
        let old = self.token(user_id, id).await?;
        let old = old.ok_or(DatabaseError::NotFound)?;
        let (mut record, secret) = fresh(user_id, &old.name, old.scopes, expires_in_days)?;
        record.description = old.description;
        record.asked_from(asked);
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            if self.audited {
                // Whoever has one of these may have got it by the old one.
                for successor in successors!(connection, user_id, id) {
                    end!(self, connection, user_id, successor.id, Action::Revoked, from);
                }
            }
            if end!(self, connection, user_id, id, Action::Rotated, from) == 0 {
                return Err(DatabaseError::NotFound);
            }
            if insert!(connection, record, secret).rows_affected() == 0 {
                return Err(no_room());
            }
            insert_detail!(self, connection, record);
            record!(self, connection, Action::Created, record.id, from);
            Ok(())
        })?;
        Ok((record, secret))
    }

    /// All tokens of an account, newest first.
    pub async fn tokens(&self, user_id: &str) -> Result<Vec<TokenRecord>, DatabaseError> {
        let listing = selecting!(self, "WHERE t.user_id = $1");
        let mut rows: Vec<Row> = read!(self, connection => {
            sqlx::query_as(listing)
                .bind(user_id)
                .fetch_all(connection)
                .await?
        });
        // Not by SQL: in direct mode, SQLite may still have times that an older server wrote.
        rows.sort_by_key(|row| (Reverse(row.created_at), row.id));
        Ok(rows.into_iter().map(TokenRecord::from).collect())
    }

    /// One token of an account. Another's is as unknown as none.
    pub async fn token(
        &self,
        user_id: &str,
        id: Uuid,
    ) -> Result<Option<TokenRecord>, DatabaseError> {
        let finding = selecting!(self, "WHERE t.user_id = $1 AND t.id = $2");
        let row: Option<Row> = read!(self, connection => {
            sqlx::query_as(finding)
                .bind(user_id)
                .bind(id)
                .fetch_optional(connection)
                .await?
        });
        Ok(row.map(TokenRecord::from))
    }

    /// The tokens that came of one by replacing itself, and still are: the one that replaced it, the
    /// one that replaced that, and so on.
    pub async fn successors(
        &self,
        user_id: &str,
        id: Uuid,
    ) -> Result<Vec<TokenRecord>, DatabaseError> {
        if !self.audited {
            return Ok(Vec::new());
        }
        let rows: Vec<Row> = read!(self, connection => successors!(connection, user_id, id));
        Ok(rows.into_iter().map(TokenRecord::from).collect())
    }

    /// Changes the name or description of a token. [`DatabaseError::NotFound`] for another's too,
    /// [`DatabaseError::InvalidField`] outside the limits.
    pub async fn change_token(
        &self,
        user_id: &str,
        id: Uuid,
        change: &TokenChange,
    ) -> Result<(), DatabaseError> {
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        let is_described = change.description.is_some();
        let description = change.description.as_deref().unwrap_or_default();
        check_description(description)?;
        if is_described && !self.has_account_tables {
            return invalid("this database keeps no descriptions of tokens");
        }
        transaction!(self, connection => {
            let changed = sqlx::query(
                "UPDATE personal_access_tokens SET name = coalesce($3, name)
                 WHERE user_id = $1 AND id = $2",
            )
            .bind(user_id)
            .bind(id)
            .bind(&change.name)
            .execute(&mut *connection)
            .await?;
            if changed.rows_affected() == 0 {
                return Err(DatabaseError::NotFound);
            }
            if is_described {
                sqlx::query(
                    "INSERT INTO wit_token_detail (token_id, description)
                     VALUES ($1, nullif($2, ''))
                     ON CONFLICT (token_id) DO UPDATE SET description = excluded.description",
                )
                .bind(id)
                .bind(description)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })
    }

    /// Writes down that a token was replaced by another and ends by itself.
    /// [`DatabaseError::NotFound`] for another's too.
    pub async fn note_rotation(
        &self,
        user_id: &str,
        id: Uuid,
        from: Option<IpAddr>,
    ) -> Result<(), DatabaseError> {
        if self.token(user_id, id).await?.is_none() {
            return Err(DatabaseError::NotFound);
        }
        transaction!(self, connection => {
            record!(self, connection, Action::Rotated, id, from);
            Ok(())
        })
    }

    /// Revokes a token from the next check on, and with it those that came of it by replacing
    /// itself, which are returned: whoever has one may have got it by the other. `action` is what is
    /// written down of it, [`Action::Revoked`] or [`Action::Rotated`].
    /// [`DatabaseError::NotFound`] for another's too.
    pub async fn revoke_token(
        &self,
        user_id: &str,
        id: Uuid,
        action: Action,
        from: Option<IpAddr>,
    ) -> Result<Vec<TokenRecord>, DatabaseError> {
        transaction!(self, connection => {
            // A token can't replace itself meanwhile: that takes the same row.
            hold_account!(connection, user_id);
            let mut ended: Vec<Row> = Vec::new();
            if self.audited {
                ended = successors!(connection, user_id, id);
                for successor in &ended {
                    end!(self, connection, user_id, successor.id, Action::Revoked, from);
                }
            }
            // Of one that is gone already, its successors end all the same.
            let gone = end!(self, connection, user_id, id, action, from);
            if gone == 0 && ended.is_empty() {
                return Err(DatabaseError::NotFound);
            }
            Ok(ended.into_iter().map(TokenRecord::from).collect())
        })
    }

    /// Deletes one token alone, as is done with those that have expired.
    /// [`DatabaseError::NotFound`] for another's too.
    pub async fn delete_token(
        &self,
        user_id: &str,
        id: Uuid,
        from: Option<IpAddr>,
    ) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            hold_account!(connection, user_id);
            match end!(self, connection, user_id, id, Action::Revoked, from) {
                0 => Err(DatabaseError::NotFound),
                _ => Ok(()),
            }
        })
    }

    /// Ends a token at `at`, where that is sooner than it ended before, and for good: from then on it
    /// can't replace itself, for its successor would outlive that end.
    /// [`DatabaseError::NotFound`] for another's too, [`DatabaseError::Invalid`] for a moment that
    /// has no year in UTC.
    pub async fn shorten_token(
        &self,
        user_id: &str,
        id: Uuid,
        at: OffsetDateTime,
    ) -> Result<(), DatabaseError> {
        let Some(at) = at.checked_to_offset(UtcOffset::UTC) else {
            return invalid("that is no time at which a token can end");
        };
        transaction!(self, connection => {
            // Of two that bring the end forward at once, the later must not put it off again.
            hold_account!(connection, user_id);
            let token: Option<(Option<OffsetDateTime>,)> = sqlx::query_as(
                "SELECT expires_at FROM personal_access_tokens WHERE user_id = $1 AND id = $2",
            )
            .bind(user_id)
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
            let (expires,) = token.ok_or(DatabaseError::NotFound)?;
            if expires.is_none_or(|expires| expires > at) {
                sqlx::query("UPDATE personal_access_tokens SET expires_at = $2 WHERE id = $1")
                    .bind(id)
                    .bind(Timestamp(at))
                    .execute(&mut *connection)
                    .await?;
            }
            if self.audited {
                // Replaced, but by none.
                sqlx::query(
                    "INSERT INTO wit_token_family (token_id, family, user_id, token_hash, replaced_at)
                     SELECT id, id, user_id, token_hash, $2 FROM personal_access_tokens WHERE id = $1
                     ON CONFLICT (token_id) DO UPDATE SET replaced_at =
                         coalesce(wit_token_family.replaced_at, excluded.replaced_at)",
                )
                .bind(id)
                .bind(Timestamp(now()))
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Grant of a token at this moment; `None` if it is unknown, expired, revoked, or its
    /// account is suspended. Nothing is written.
    pub async fn check_token(&self, secret: &Secret) -> Result<Option<Grant>, DatabaseError> {
        let Some(hash) = TokenHash::of(secret) else {
            return Ok(None);
        };
        let found = self.check_tokens(&[&hash]).await?.remove(&hash.0);
        let found = found.filter(|grant| !grant.user.suspended);
        Ok(found.map(Arc::unwrap_or_clone))
    }

    /// The grants of several tokens at once, by their hashes. Those of an account that is suspended
    /// are among them, and allow nothing ([`Grant::allows`]).
    pub async fn check_tokens(
        &self,
        hashes: &[&TokenHash],
    ) -> Result<HashMap<String, Arc<Grant>>, DatabaseError> {
        struct Checked {
            token_hash: String,
            token_id: Uuid,
            scopes: String,
            last_used_at: Option<OffsetDateTime>,
            expires_at: Option<OffsetDateTime>,
            user: User,
        }
        from_row!(Checked { token_hash, token_id, scopes, last_used_at, expires_at } nested { user });
        let hashes: Vec<&str> = hashes.iter().map(|hash| hash.0.as_str()).collect();
        // The one question that the two kinds of database must be asked in different words. By
        // `= ANY`, PostgreSQL would read a table of some 1,000 tokens whole each time.
        let rows: Vec<Checked> = match &self.pool {
            Pool::Sqlite { readers, .. } => read!(@in readers, connection => sqlx::query_as(
                r#"SELECT t.token_hash, t.id AS token_id, t.scopes, t.last_used_at, t.expires_at,
                              u.id, u.name, u.email, u.username, u.suspended
                       FROM personal_access_tokens t JOIN "user" u ON u.id = t.user_id
                       WHERE t.token_hash IN (SELECT value FROM json_each($1))"#,
            )
            .bind(serde_json::json!(hashes).to_string())
            .fetch_all(connection)
            .await?),
            Pool::Postgres(pool) => read!(@in pool, connection => sqlx::query_as(
                r#"SELECT found.* FROM unnest($1) AS asked (hash) CROSS JOIN LATERAL (
                       SELECT t.token_hash, t.id AS token_id, t.scopes, t.last_used_at, t.expires_at,
                              u.id, u.name, u.email, u.username, u.suspended
                       FROM personal_access_tokens t JOIN "user" u ON u.id = t.user_id
                       WHERE t.token_hash = asked.hash LIMIT 1) AS found"#,
            )
            .bind(hashes)
            .fetch_all(connection)
            .await?),
        };
        let now = now();
        let good = (rows.into_iter()).filter(|row| row.expires_at.is_none_or(|end| end > now));
        let grant = |row: Checked| Grant {
            token_id: row.token_id,
            use_counts: (row.last_used_at).is_none_or(|used| now - used >= USE_KEPT_TO),
            user: row.user,
            scopes: serde_json::from_str(&row.scopes).unwrap_or_default(),
        };
        Ok(good
            .map(|mut row| (std::mem::take(&mut row.token_hash), Arc::new(grant(row))))
            .collect())
    }

    /// Writes uses down, together; the first of a token is an event.
    pub async fn write_uses(&self, uses: &[Use]) -> Result<(), DatabaseError> {
        transaction!(self, connection => {
            for Use { token_id, at, from } in uses {
                if let (true, Some(address)) = (self.has_account_tables, written(*from)) {
                    // The token may have ended since.
                    sqlx::query(
                        "INSERT INTO wit_token_detail (token_id, last_address)
                         SELECT id, $2 FROM personal_access_tokens WHERE id = $1
                         ON CONFLICT (token_id) DO UPDATE SET last_address = excluded.last_address",
                    )
                    .bind(token_id)
                    .bind(address)
                    .execute(&mut *connection)
                    .await?;
                }
                let first = sqlx::query(
                    "UPDATE personal_access_tokens SET last_used_at = $2
                     WHERE id = $1 AND last_used_at IS NULL",
                )
                .bind(token_id)
                .bind(Timestamp(*at))
                .execute(&mut *connection)
                .await?;
                if first.rows_affected() == 1 {
                    record!(self, connection, Action::Used, token_id, *from);
                    continue;
                }
                sqlx::query(
                    "UPDATE personal_access_tokens SET last_used_at = $2
                     WHERE id = $1 AND last_used_at < $2",
                )
                .bind(token_id)
                .bind(Timestamp(*at))
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// A scope as the API lists it.
#[derive(Debug, Serialize)]
pub struct ScopeRecord {
    pub name: &'static str,
    pub description: &'static str,
}

/// The scopes that are offered for a token.
pub fn scopes() -> impl Iterator<Item = ScopeRecord> {
    offered_scopes().map(|(name, description)| ScopeRecord { name, description })
}

/// A new secret and what is written down of it.
pub(super) fn fresh(
    user_id: &str,
    name: &str,
    scopes: Vec<String>,
    expires_in_days: Option<i64>,
) -> Result<(TokenRecord, Secret), DatabaseError> {
    let created = now();
    let expires = match expires_in_days {
        None => None,
        Some(days @ 1..=365) => Some(created + Duration::days(days)),
        Some(_) => return wrong("expires", "a token expires in 1 to 365 days, or never"),
    };
    let secret = format!("wit_{}", hex::encode(random_bytes::<20>()));
    let record = TokenRecord {
        id: Uuid::new_v4(),
        user_id: user_id.to_owned(),
        name: name.to_owned(),
        prefix: secret[..8].to_owned(),
        scopes,
        created,
        last_used: None,
        expires,
        replaced_by: None,
        description: None,
        device: None,
        address: None,
        last_address: None,
    };
    Ok((record, Secret::from(secret)))
}

fn check_name(name: &str) -> Result<(), DatabaseError> {
    if name.trim().is_empty() || name.chars().count() > 100 || name.contains(char::is_control) {
        return wrong(
            "name",
            "a token's name is 1 to 100 characters, none of them a control character",
        );
    }
    Ok(())
}

fn check_description(description: &str) -> Result<(), DatabaseError> {
    if description.chars().count() > 500 || description.contains(char::is_control) {
        let what = "a description is at most 500 characters, none of them a control character";
        return wrong("description", what);
    }
    Ok(())
}

fn wrong<T>(field: &'static str, what: &str) -> Result<T, DatabaseError> {
    Err(DatabaseError::InvalidField(field, what.to_owned()))
}

/// Known ones, each once, in the order given.
fn check_scopes(scopes: &[String]) -> Result<Vec<String>, DatabaseError> {
    let mut kept: Vec<String> = Vec::new();
    for scope in scopes {
        if !SCOPES.iter().any(|(known, _)| known == scope) {
            return wrong(
                "scope",
                "there is an unknown scope; GET /api/tokens/scopes lists the known ones",
            );
        }
        if !kept.contains(scope) {
            kept.push(scope.clone());
        }
    }
    if kept.is_empty() {
        return wrong("scope", "a token needs at least one scope");
    }
    Ok(kept)
}

pub(super) fn no_room() -> DatabaseError {
    DatabaseError::Invalid(format!("Maximum of {MAX_TOKENS} tokens allowed per user"))
}

fn invalid<T>(what: &str) -> Result<T, DatabaseError> {
    Err(DatabaseError::Invalid(what.to_owned()))
}
