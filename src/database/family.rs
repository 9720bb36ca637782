//! Tokens that replace themselves: each with those that it came from and those that came of it.
//!
//! If a token has leaked, its owner and the thief both hold it, and sooner or later both want its
//! successor. The second of them shows that there are two; nobody can tell who is who, so all of the
//! family end (RFC 9700, section 4.14.2, says the same of refresh tokens).

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::audit::{Action, record, written};
use super::tokens::{
    MAX_TOKENS, Row, TokenHash, TokenRecord, fresh, insert, insert_detail, no_room, refuse_known,
};
use super::{Database, DatabaseError, Timestamp, hash, now, read, transaction};
use crate::secret::Secret;

/// Grace of a token that has replaced itself, for jobs that already hold it.
pub const OVERLAP: Duration = Duration::minutes(10);
/// Time for which it is remembered that a token was replaced: no token lives longer than that.
const REMEMBERED: Duration = Duration::days(365);

/// Outcome of a token's request to be replaced.
#[derive(Debug)]
pub enum Succession {
    /// The new token, and when the old one ends.
    Replaced {
        new: Box<TokenRecord>,
        secret: Secret,
        old_ends: OffsetDateTime,
    },
    /// It had been replaced before, so that its whole family was revoked.
    Reused { user_id: String, family: Uuid },
    /// Its owner has set its end, which a successor would outlive.
    Final,
    /// There is no such token, it has expired, or its account is suspended.
    Unknown,
}

impl Database {
    /// Puts a token of the same name, scopes and lifetime after the one that `secret` is.
    /// [`DatabaseError::Invalid`] where the account has no room for it. `id` is the new token's,
    /// of version 4, where the client chooses it.
    pub async fn succeed_token(
        &self,
        secret: &Secret,
        id: Option<Uuid>,
        from: Option<IpAddr>,
    ) -> Result<Succession, DatabaseError> {
        let Some(TokenHash(hash)) = TokenHash::of(secret) else {
            return Ok(Succession::Unknown);
        };
        if id.is_some_and(|id| id.get_version() != Some(uuid::Version::Random)) {
            let message = "the id of a request is a random UUID (version 4)".to_owned();
            return Err(DatabaseError::Invalid(message));
        }
        let now = now();
        // SQLite has one writer: who knows no token is not to keep the others from it.
        let (is_known,): (bool,) = read!(self, connection => {
            sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM personal_access_tokens WHERE token_hash = $1)
                     OR EXISTS (SELECT 1 FROM wit_token_family WHERE token_hash = $1)",
            )
            .bind(&hash)
            .fetch_one(connection)
            .await?
        });
        if !is_known {
            return Ok(Succession::Unknown);
        }
        transaction!(self, connection => {
            // Takes the account's row for itself: of two requests at once, one is the second.
            let account: Option<(String,)> = sqlx::query_as(
                r#"UPDATE "user" SET updated_at = updated_at WHERE suspended = false AND id =
                       (SELECT user_id FROM personal_access_tokens WHERE token_hash = $1
                        UNION SELECT user_id FROM wit_token_family WHERE token_hash = $1)
                   RETURNING id"#,
            )
            .bind(&hash)
            .fetch_optional(&mut *connection)
            .await?;
            let Some((user_id,)) = account else {
                return Ok(Succession::Unknown);
            };
            let member: Option<(Uuid, bool, Option<Uuid>)> = sqlx::query_as(
                "SELECT family, replaced_at IS NOT NULL, replaced_by FROM wit_token_family
                 WHERE token_hash = $1",
            )
            .bind(&hash)
            .fetch_optional(&mut *connection)
            .await?;
            if let Some((family, true, Some(_))) = member {
                let living: Vec<(Uuid,)> = sqlx::query_as(
                    "SELECT t.id FROM personal_access_tokens t
                     JOIN wit_token_family f ON f.token_id = t.id WHERE f.family = $1
                     ORDER BY t.id",
                )
                .bind(family)
                .fetch_all(&mut *connection)
                .await?;
                for (id,) in living {
                    record!(self, connection, Action::Reused, id, from);
                    sqlx::query("DELETE FROM personal_access_tokens WHERE id = $1")
                        .bind(id)
                        .execute(&mut *connection)
                        .await?;
                }
                return Ok(Succession::Reused { user_id, family });
            }
            let old: Option<Row> = sqlx::query_as(
                "SELECT id, user_id, name, token_prefix, scopes, created_at, last_used_at, expires_at
                 FROM personal_access_tokens WHERE token_hash = $1",
            )
            .bind(&hash)
            .fetch_optional(&mut *connection)
            .await?;
            let mut old = old.map(TokenRecord::from);
            if let (true, Some(old)) = (self.has_account_tables, &mut old) {
                let detail: Option<(Option<String>,)> =
                    sqlx::query_as("SELECT description FROM wit_token_detail WHERE token_id = $1")
                        .bind(old.id)
                        .fetch_optional(&mut *connection)
                        .await?;
                old.description = detail.and_then(|(description,)| description);
            }
            let Some(old) = old.filter(|old| old.expires.is_none_or(|ends| ends > now)) else {
                return Ok(Succession::Unknown);
            };
            if let Some((_, true, None)) = member {
                return Ok(Succession::Final);
            }
            let family = member.map_or(old.id, |(family, ..)| family);
            // Those that were replaced before and have ended since only take up room.
            sqlx::query(
                "DELETE FROM personal_access_tokens WHERE expires_at <= $2 AND id IN
                     (SELECT token_id FROM wit_token_family
                      WHERE family = $1 AND replaced_at IS NOT NULL)",
            )
            .bind(family)
            .bind(Timestamp(now))
            .execute(&mut *connection)
            .await?;
            let (mut new, secret) = fresh(&user_id, &old.name, old.scopes, None)?;
            if let Some(id) = id {
                refuse_known!(self, connection, &user_id, id);
                new.id = id;
            }
            new.description = old.description;
            new.address = written(from);
            new.expires = old.expires.map(|ends| new.created + (ends - old.created));
            if insert!(connection, new, secret).rows_affected() == 0 {
                return Err(no_room());
            }
            insert_detail!(self, connection, new);
            let old_ends = old.expires.map_or(now + OVERLAP, |ends| ends.min(now + OVERLAP));
            sqlx::query("UPDATE personal_access_tokens SET expires_at = $2 WHERE id = $1")
                .bind(old.id)
                .bind(Timestamp(old_ends))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "DELETE FROM wit_token_family
                 WHERE token_hash = $1 OR (family = $2 AND replaced_at < $3)",
            )
            .bind(&hash)
            .bind(family)
            .bind(Timestamp(now - REMEMBERED))
            .execute(&mut *connection)
            .await?;
            let members = [
                (old.id, &hash, Some(new.id), Some(now)),
                (new.id, &super::hash(secret.expose()), None, None),
            ];
            for (id, hash, replaced_by, replaced_at) in members {
                sqlx::query(
                    "INSERT INTO wit_token_family
                         (token_id, family, user_id, token_hash, replaced_by, replaced_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(id)
                .bind(family)
                .bind(&user_id)
                .bind(hash)
                .bind(replaced_by)
                .bind(replaced_at.map(Timestamp))
                .execute(&mut *connection)
                .await?;
            }
            record!(self, connection, Action::Rotated, old.id, from);
            record!(self, connection, Action::Created, new.id, from);
            Ok(Succession::Replaced { new: Box::new(new), secret, old_ends })
        })
    }

    /// The id of the token that replaced the one of `id`, if one did.
    pub async fn successor(&self, id: Uuid) -> Result<Option<Uuid>, DatabaseError> {
        let row: Option<(Option<Uuid>,)> = read!(self, connection => {
            sqlx::query_as("SELECT replaced_by FROM wit_token_family WHERE token_id = $1")
                .bind(id)
                .fetch_optional(&mut *connection)
                .await?
        });
        Ok(row.and_then(|(replaced_by,)| replaced_by))
    }
}
