//! The tables of the wit platform, on SQLite and on PostgreSQL: shared by `api` and `platform`.
//!
//! The same SQL text serves both: `$1` placeholders, quoted `"user"`, times and ids bound as
//! parameters. The server's limits are kept here rather than in routes, because `wit token` in
//! direct mode comes this way too.

pub mod accounts;
pub mod audit;
pub mod device;
pub mod family;
mod password;
pub mod profile;
pub mod repositories;
mod schema;
pub mod tokens;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use time::{OffsetDateTime, PrimitiveDateTime};

/// How long a request waits for a connection, or for SQLite's one writer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most of SQLite's file that is mapped into memory, in bytes.
const MAPPED: &str = "268435456";
/// How long a connection to a server may lie unused and still be taken for good.
const UNTRIED: Duration = Duration::from_secs(1);

/// One database, whichever of the two kinds it is.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    /// Whether it has a table of events: one that only the platform has worked on has none.
    audited: bool,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Expands one expression for either kind of pool.
macro_rules! on {
    ($database:expr, $pool:ident => $body:expr) => {
        match &$database.pool {
            crate::database::Pool::Sqlite($pool) => $body,
            crate::database::Pool::Postgres($pool) => $body,
        }
    };
}
use on;

/// Why the database did not do what was asked.
#[derive(Debug)]
pub enum DatabaseError {
    /// Outside the server's limits; with a sentence for the person.
    Invalid(String),
    /// There is already one of that name.
    Taken { code: &'static str, what: String },
    /// No such row, or not the caller's.
    NotFound,
    /// The account is suspended.
    Suspended,
    /// Too many ask at once; the same may be asked again soon.
    Busy,
    /// The database itself failed. Not for strangers' eyes: SQL may be in it.
    Failed(sqlx::Error),
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseError::Invalid(what) | DatabaseError::Taken { what, .. } => f.write_str(what),
            DatabaseError::NotFound => f.write_str("not found"),
            DatabaseError::Suspended => f.write_str("this account is suspended"),
            DatabaseError::Busy => f.write_str("too many ask at once"),
            DatabaseError::Failed(_) => f.write_str("the database failed"),
        }
    }
}

impl std::error::Error for DatabaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DatabaseError::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::Failed(error)
    }
}

impl Database {
    /// Opens, and makes where missing, the SQLite database in a file.
    pub async fn open_sqlite(path: &Path) -> Result<Self, DatabaseError> {
        // SQLite gives its other files the mode of this one, and sessions lie in them.
        crate::config::touch_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A large table is read where the system has it in memory, without a call for each page.
            .pragma("mmap_size", MAPPED)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            // A connection to a file is not lost while it is not used.
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        Self::with_tables(Pool::Sqlite(pool)).await
    }

    /// Opens the SQLite database in a file that is there, and changes nothing in it.
    pub async fn connect_sqlite(path: &Path) -> Result<Self, DatabaseError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        let (audited,): (bool,) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'wit_token_event')",
        )
        .fetch_one(&pool)
        .await?;
        Ok(Database {
            pool: Pool::Sqlite(pool),
            audited,
        })
    }

    /// Connects to the PostgreSQL at a `postgres://` URL and makes what tables are missing.
    pub async fn open_postgres(url: &str) -> Result<Self, DatabaseError> {
        Self::with_tables(Pool::Postgres(connect(url).await?)).await
    }

    /// Connects to the PostgreSQL at a `postgres://` URL, and changes nothing there.
    pub async fn connect_postgres(url: &str) -> Result<Self, DatabaseError> {
        let options: PgConnectOptions = url.parse()?;
        // A pool goes on trying where nobody listens, and then says only that it took too long.
        let mut connection = PgConnection::connect_with(&options).await?;
        let (audited,): (bool,) =
            sqlx::query_as("SELECT to_regclass('wit_token_event') IS NOT NULL")
                .fetch_one(&mut connection)
                .await?;
        connection.close().await?;
        Ok(Database {
            pool: Pool::Postgres(pool_options().connect_lazy_with(options)),
            audited,
        })
    }

    /// Lets the connections go; SQLite then folds its write-ahead log back in.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }

    async fn with_tables(pool: Pool) -> Result<Self, DatabaseError> {
        match &pool {
            Pool::Sqlite(pool) => {
                sqlx::raw_sql(schema::SQLITE).execute(pool).await?;
            }
            Pool::Postgres(pool) => {
                let mut transaction = pool.begin().await?;
                // Two servers that start at once: IF NOT EXISTS alone is not safe from a race.
                sqlx::query("SELECT pg_advisory_xact_lock($1)")
                    .bind(schema::LOCK)
                    .execute(&mut *transaction)
                    .await?;
                sqlx::raw_sql(schema::POSTGRES)
                    .execute(&mut *transaction)
                    .await?;
                transaction.commit().await?;
            }
        }
        Ok(Database {
            pool,
            audited: true,
        })
    }
}

async fn connect(url: &str) -> Result<PgPool, sqlx::Error> {
    pool_options().connect_with(url.parse()?).await
}

fn pool_options() -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(16)
        .acquire_timeout(PATIENCE)
        // To try each connection before each use would double the round trips.
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > UNTRIED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
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

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Nothing safe can be done without randomness, and no supported system is without it.
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes
}
