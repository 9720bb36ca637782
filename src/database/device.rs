//! Devices that ask to be signed in (RFC 8628): in the database, so that any of several servers
//! can answer the device, and any other the person.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};

use super::accounts::User;
use super::row::from_row;
use super::{
    Database, DatabaseError, Timestamp, audit, hash, now, random_letters, random_name, read,
    transaction,
};
use crate::secret::Secret;

/// Lifetime of a device's codes.
pub const LIFE: Duration = Duration::minutes(15);
/// Interval between two polls of a device, in seconds.
pub const INTERVAL: i32 = 2;
/// By how much a device that asks too often must wait longer (RFC 8628, section 3.5), in seconds.
const SLOWER: i32 = 5;
/// Time for which a device can still be told that its codes have expired.
const REMEMBERED: Duration = Duration::hours(1);

/// The letters of a user code: none that is easily taken for another, and no vowel that could
/// make a word (RFC 8628, section 6.1).
const LETTERS: &[u8] = b"BCDFGHJKLMNPQRSTVWXZ";
/// 20 letters to the eighth are 34 bits: enough, since they are asked for by accounts that have
/// few tries, and for 15 minutes.
const USER_CODE: usize = 8;

/// The codes of a device that has just asked.
#[derive(Debug)]
pub struct Codes {
    /// Code that the device shows to the server. Only its hash is kept.
    pub device: Secret,
    /// Code that the device shows to a person, as it is shown: `BCDF-GHJK`.
    pub user: String,
}

/// A device that waits for a person's answer.
#[derive(Clone, Debug)]
pub struct Waiting {
    user_code: String,
    /// Name that the device gives itself.
    pub name: String,
    /// Address that it asked from.
    pub address: String,
    pub created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}
from_row!(Waiting {
    user_code,
    name,
    address,
    created_at,
    expires_at
});

impl Waiting {
    /// The code as the device shows it.
    pub fn user_code(&self) -> String {
        shown(&self.user_code)
    }
}

/// Answer to a device.
#[derive(Debug)]
pub enum Answer {
    /// A person has let it in: this once.
    Granted {
        user: User,
        /// The name of the device.
        device: String,
    },
    /// Nobody has answered yet.
    Pending,
    /// Nor yet, and it asks too often.
    SlowDown,
    Denied,
    Expired,
    /// There is no such device code, or it was used.
    Unknown,
}

impl Database {
    /// Writes down that a device asks, under a name of 1 to 100 characters.
    pub async fn ask_device(&self, name: &str, from: IpAddr) -> Result<Codes, DatabaseError> {
        let is_name = (1..=100).contains(&name.chars().count());
        if !is_name || name.contains(char::is_control) {
            let what = "a device's name is 1 to 100 characters, none of them a control character";
            return Err(DatabaseError::Invalid(what.to_owned()));
        }
        let device = random_name(40);
        let user = random_letters(LETTERS, USER_CODE);
        let at = now();
        transaction!(self, connection => {
            sqlx::query("DELETE FROM wit_device WHERE expires_at < $1")
                .bind(Timestamp(at - REMEMBERED))
                .execute(&mut *connection)
                .await?;
            sqlx::query(
                "INSERT INTO wit_device
                     (device_code_hash, user_code, name, address, created_at, expires_at, pause)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(hash(device.as_bytes()))
            .bind(&user)
            .bind(name)
            .bind(audit::written(Some(from)))
            .bind(Timestamp(at))
            .bind(Timestamp(at + LIFE))
            .bind(INTERVAL)
            .execute(connection)
            .await?;
            Ok(())
        })?;
        Ok(Codes {
            user: shown(&user),
            device: Secret::from(device),
        })
    }

    /// The device that shows a user code, if it still waits.
    pub async fn waiting_device(&self, user_code: &str) -> Result<Option<Waiting>, DatabaseError> {
        let Some(user_code) = plain(user_code) else {
            return Ok(None);
        };
        let row: Option<Waiting> = read!(self, connection => {
            sqlx::query_as(
                "SELECT user_code, name, address, created_at, expires_at FROM wit_device
                 WHERE user_code = $1 AND granted IS NULL",
            )
            .bind(user_code)
            .fetch_optional(&mut *connection)
            .await?
        });
        Ok(row.filter(|row| row.expires_at > now()))
    }

    /// Lets the device that shows a user code act for an account, or turns it away.
    /// [`DatabaseError::NotFound`] where none with that code waits any more.
    pub async fn answer_device(
        &self,
        user_code: &str,
        user_id: &str,
        granted: bool,
    ) -> Result<(), DatabaseError> {
        // One whose time runs out between the two is told so when it asks.
        if self.waiting_device(user_code).await?.is_none() {
            return Err(DatabaseError::NotFound);
        }
        transaction!(self, connection => {
            let answered = sqlx::query(
                "UPDATE wit_device SET granted = $3, user_id = $2
                 WHERE user_code = $1 AND granted IS NULL",
            )
            .bind(plain(user_code))
            .bind(user_id)
            .bind(granted)
            .execute(connection)
            .await?;
            match answered.rows_affected() {
                0 => Err(DatabaseError::NotFound),
                _ => Ok(()),
            }
        })
    }

    /// Answer to the device with that code. [`Answer::Granted`] uses the code up.
    pub async fn poll_device(&self, device_code: &Secret) -> Result<Answer, DatabaseError> {
        struct Row {
            expires_at: OffsetDateTime,
            polled_at: Option<OffsetDateTime>,
            pause: i32,
            granted: Option<bool>,
            user_id: Option<String>,
            name: String,
        }
        from_row!(Row {
            name,
            expires_at,
            polled_at,
            pause,
            granted,
            user_id
        });
        let hash = hash(device_code.expose());
        let at = now();
        // SQLite has one writer: who has no code is not to keep the others from it.
        let (is_known,): (bool,) = read!(self, connection => {
            sqlx::query_as("SELECT EXISTS (SELECT 1 FROM wit_device WHERE device_code_hash = $1)")
                .bind(&hash)
                .fetch_one(connection)
                .await?
        });
        if !is_known {
            return Ok(Answer::Unknown);
        }
        let answer: Result<Result<(String, String), Answer>, DatabaseError> = transaction!(self, connection => {
            // Takes the row for itself, on either kind of database.
            sqlx::query("UPDATE wit_device SET pause = pause WHERE device_code_hash = $1")
                .bind(&hash)
                .execute(&mut *connection)
                .await?;
            let row: Option<Row> = sqlx::query_as(
                "SELECT expires_at, polled_at, pause, granted, user_id, name FROM wit_device
                 WHERE device_code_hash = $1",
            )
            .bind(&hash)
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = row else {
                return Ok(Err(Answer::Unknown));
            };
            if row.expires_at <= at {
                return Ok(Err(Answer::Expired));
            }
            match (row.granted, row.user_id) {
                (Some(true), Some(user_id)) => {
                    sqlx::query("DELETE FROM wit_device WHERE device_code_hash = $1")
                        .bind(&hash)
                        .execute(&mut *connection)
                        .await?;
                    Ok(Ok((user_id, row.name)))
                }
                (Some(_), _) => Ok(Err(Answer::Denied)),
                (None, _) => {
                    let is_early = (row.polled_at)
                        .is_some_and(|polled| at - polled < Duration::seconds(row.pause.into()));
                    let slower = if is_early { SLOWER } else { 0 };
                    sqlx::query(
                        "UPDATE wit_device SET polled_at = $2, pause = $3
                         WHERE device_code_hash = $1",
                    )
                    .bind(&hash)
                    .bind(Timestamp(at))
                    .bind(row.pause.saturating_add(slower))
                    .execute(&mut *connection)
                    .await?;
                    Ok(Err(match is_early {
                        true => Answer::SlowDown,
                        false => Answer::Pending,
                    }))
                }
            }
        });
        let (user_id, device) = match answer? {
            Ok(granted) => granted,
            Err(answer) => return Ok(answer),
        };
        let user = self.user(&user_id).await?;
        let user = user.filter(|user| !user.suspended);
        Ok(user.map_or(Answer::Denied, |user| Answer::Granted { user, device }))
    }
}

/// A user code as it is kept: whatever its case, and with or without its hyphen. `None` for what
/// is none.
fn plain(user_code: &str) -> Option<String> {
    let letters = user_code
        .chars()
        .filter(|c| *c != '-' && !c.is_whitespace());
    let plain: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let is_one = plain.len() == USER_CODE && plain.bytes().all(|byte| LETTERS.contains(&byte));
    is_one.then_some(plain)
}

/// A user code as it is shown: in two halves, which are easier to read out.
fn shown(user_code: &str) -> String {
    let (first, last) = user_code.split_at(USER_CODE / 2);
    format!("{first}-{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_may_be_typed_in_any_case_and_with_or_without_its_hyphen() {
        for typed in ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "b-c-d-f-g-h-j-k"] {
            assert_eq!(plain(typed).as_deref(), Some("BCDFGHJK"), "{typed:?}");
        }
        for typed in [
            "",
            "BCDF-GHJ",
            "BCDF-GHJA",
            "BCDF-GHJKL",
            "BCDF-GHJ\0",
            "BCDFGHJß",
        ] {
            assert_eq!(plain(typed), None, "{typed:?}");
        }
    }
}
