//! The tables of the wit platform, on SQLite and on PostgreSQL: shared by `api` and `platform`.
//!
//! The same SQL text serves both: `$1` placeholders, quoted `"user"`, times and ids bound as
//! parameters, times as `Timestamp`s. The server's limits are kept here rather than in routes, because `wit token` in
//! direct mode comes this way too.

pub mod accounts;
pub mod audit;
pub mod backup;
pub mod collaborators;
mod connection;
pub mod device;
pub mod family;
pub mod invitations;
pub mod operator;
mod password;
pub mod profile;
pub mod repositories;
mod row;
mod schema;
pub mod sessions;
pub mod shown;
mod timestamp;
pub mod tokens;

use std::fmt;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use time::{OffsetDateTime, PrimitiveDateTime};

use connection::{ACQUIRE_TIMEOUT, Pool, read, transaction};
use timestamp::Timestamp;

/// One database, whichever of the two kinds it is.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    /// True if it has our own tables (`wit_…`): one that only the platform has worked on has none.
    audited: bool,
    /// True if it has those of sign-ins and accounts: one that an older server works on has none.
    has_account_tables: bool,
}

/// Why the database did not do what was asked.
#[derive(Debug)]
pub enum DatabaseError {
    /// Outside the server's limits; with a sentence for the person.
    Invalid(String),
    /// The same, where one field of a form is to blame.
    InvalidField(&'static str, String),
    /// There is already one of that name.
    Taken { code: &'static str, what: String },
    /// No such row, or not the caller's.
    NotFound,
    /// The account is suspended.
    Suspended,
    /// Nothing was done: too many asked at once, another program holds a lock, or the database took
    /// too long. The same may be asked again soon.
    Busy(sqlx::Error),
    /// The database itself failed. Not for strangers' eyes: SQL may be in it.
    Failed(sqlx::Error),
}

/// Said of a database of something else.
pub const FOREIGN: &str = "it is not the database of a wit server: a table is missing in it";

impl DatabaseError {
    /// Returns whether a table of the platform's is missing: the URL names some other database.
    pub fn is_foreign(&self) -> bool {
        let DatabaseError::Failed(sqlx::Error::Database(error)) = self else {
            return false;
        };
        // undefined_table; SQLite has one code for all that is wrong with a statement.
        error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
    }

    /// Returns whether the database gave no connection: it is away, or has too much to do. Nothing was done.
    pub fn is_away(&self) -> bool {
        match self {
            DatabaseError::Busy(sqlx::Error::PoolTimedOut) => true,
            // Nobody listens at its port; there is no socket of that name.
            DatabaseError::Failed(sqlx::Error::Io(error)) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ),
            _ => false,
        }
    }

    /// Returns whether the disk that the database is on has no room left.
    pub fn is_disk_full(&self) -> bool {
        match self {
            DatabaseError::Failed(sqlx::Error::Io(error)) => {
                error.kind() == io::ErrorKind::StorageFull
            }
            DatabaseError::Failed(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                let is_sqlite = error
                    .try_downcast_ref::<sqlx::sqlite::SqliteError>()
                    .is_some();
                match is_sqlite {
                    // SQLITE_FULL; SQLITE_IOERR_SHMSIZE, of the file that is made for each start.
                    true => matches!(&*code, "13" | "4874"),
                    // disk_full
                    false => code == "53100",
                }
            }
            _ => false,
        }
    }

    /// Returns whether SQLite can't read or write its files, whatever is in them.
    pub fn is_of_disk(&self) -> bool {
        match self {
            DatabaseError::Failed(sqlx::Error::Io(_)) => true,
            DatabaseError::Failed(sqlx::Error::Database(error)) => {
                let is_sqlite = error
                    .try_downcast_ref::<sqlx::sqlite::SqliteError>()
                    .is_some();
                let code = error.code().and_then(|code| code.parse().ok());
                // SQLITE_PERM, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL, SQLITE_CANTOPEN.
                let is_of_disk = |code: u32| matches!(code & 0xff, 3 | 8 | 10 | 13 | 14);
                is_sqlite && code.is_some_and(is_of_disk)
            }
            _ => false,
        }
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Invalid(what)
            | DatabaseError::InvalidField(_, what)
            | DatabaseError::Taken { what, .. } => f.write_str(what),
            DatabaseError::NotFound => f.write_str("not found"),
            DatabaseError::Suspended => f.write_str("this account is suspended"),
            DatabaseError::Busy(_) => f.write_str("the database is busy"),
            error if error.is_foreign() => f.write_str(FOREIGN),
            DatabaseError::Failed(_) => f.write_str("the database failed"),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Failed(error) | DatabaseError::Busy(error) => Some(error),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match is_busy(&error) {
            true => DatabaseError::Busy(error),
            false => DatabaseError::Failed(error),
        }
    }
}

/// Returns whether an error, of anything but COMMIT, says that the same may succeed soon.
fn is_busy(error: &sqlx::Error) -> bool {
    let error = match error {
        sqlx::Error::PoolTimedOut => return true,
        sqlx::Error::Database(error) => error,
        _ => return false,
    };
    let code = error.code().unwrap_or_default();
    if (error.try_downcast_ref::<sqlx::sqlite::SqliteError>()).is_some() {
        // The lowest byte of an extended result code is its kind: SQLITE_BUSY, SQLITE_LOCKED.
        return code
            .parse()
            .is_ok_and(|code: u32| matches!(code & 0xff, 5 | 6));
    }
    // lock_not_available, query_canceled, serialization_failure, deadlock_detected,
    // too_many_connections, cannot_connect_now.
    let busy = ["55P03", "57014", "40001", "40P01", "53300", "57P03"];
    busy.contains(&&*code)
}

impl Database {
    /// Opens, and creates where missing, the SQLite database in a file.
    pub async fn open_sqlite(path: &Path) -> Result<Self, DatabaseError> {
        // SQLite gives its other files the mode of this one, and sessions lie in them.
        crate::config::touch_private(path).map_err(sqlx::Error::Io)?;
        Self::with_tables(Pool::open_sqlite(path).await?).await
    }

    /// Opens the SQLite database in a file that is there, and changes nothing in it.
    pub async fn connect_sqlite(path: &Path) -> Result<Self, DatabaseError> {
        Self::as_it_is(Pool::connect_sqlite(path).await?).await
    }

    /// Connects to the PostgreSQL at a `postgres://` URL and creates what tables are missing.
    pub async fn open_postgres(url: &str) -> Result<Self, DatabaseError> {
        Self::with_tables(Pool::connect_postgres(url).await?).await
    }

    /// Connects to the PostgreSQL at a `postgres://` URL, and changes nothing there.
    pub async fn connect_postgres(url: &str) -> Result<Self, DatabaseError> {
        Self::as_it_is(Pool::connect_postgres(url).await?).await
    }

    /// Has the database answer the simplest question.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        read!(self, connection => {
            sqlx::query("SELECT 1").execute(&mut *connection).await?;
        });
        Ok(())
    }

    /// Closes all connections; SQLite then folds its write-ahead log back in.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn with_tables(pool: Pool) -> Result<Self, DatabaseError> {
        schema::create(&pool).await?;
        Ok(Database {
            pool,
            audited: true,
            has_account_tables: true,
        })
    }

    async fn as_it_is(pool: Pool) -> Result<Self, DatabaseError> {
        let audited = schema::has_own_tables(&pool).await?;
        let has_account_tables = schema::has_account_tables(&pool).await?;
        Ok(Database {
            pool,
            audited,
            has_account_tables,
        })
    }
}

/// Now, cut to the milliseconds that the platform itself keeps.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}

/// The same moment for the columns without a zone, which hold UTC.
fn without_zone(time: OffsetDateTime) -> PrimitiveDateTime {
    let utc = time.to_offset(time::UtcOffset::UTC);
    PrimitiveDateTime::new(utc.date(), utc.time())
}

/// The hex SHA-256 of a whole token or code: all that the server keeps of it. A token has 160 random
/// bits, so a slow hash would add nothing.
fn hash(secret: &[u8]) -> String {
    format!("{:x}", Sha256::digest(secret))
}

/// `length` random characters of A-Z, a-z, 0-9: the form of the platform's ids and session tokens.
pub(crate) fn random_name(length: usize) -> String {
    random_letters(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        length,
    )
}

/// `length` random ones of at most 256 ASCII letters, each as likely as the others.
fn random_letters(letters: &[u8], length: usize) -> String {
    // Beyond the largest multiple of their number in a byte, some letters would be likelier.
    let fair = 256 - 256 % letters.len();
    let mut name = String::with_capacity(length);
    while name.len() < length {
        for byte in random_bytes::<32>().map(usize::from) {
            if byte < fair && name.len() < length {
                name.push(char::from(letters[byte % letters.len()]));
            }
        }
    }
    name
}

pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Nothing safe can be done without randomness, and no supported system is without it.
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}
