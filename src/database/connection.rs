//! Connections to the database, and the one place where transactions begin and end.
//!
//! A connection returns to its pool only when the state of its transaction is known. SQLite rolls
//! back by itself after some errors (a full disk, say), a ROLLBACK can fail, and a request can end
//! between a BEGIN and its answer: a connection of which the code believes something else than the
//! database would then take later changes and never commit them. So transactions begin and end by
//! statements of our own, not by sqlx's count of them, and whatever failed is closed.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
};
use sqlx::{Connection, Postgres, Row, Sqlite};

use super::DatabaseError;

/// Has a connection look for tables in our schema first. Where there is none, it changes nothing.
const SEARCH_OWN_SCHEMA: &str = "
SELECT set_config('search_path',
    concat_ws(', ', 'wit_server', nullif(current_setting('search_path'), '')), false)
WHERE current_setting('search_path') !~ '^wit_server\\y'";

/// Longest wait of a request for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait of SQLite for another process that has the database locked.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for the work on one connection, COMMIT aside. PostgreSQL ends what takes longer
/// than [`POSTGRES_SETTINGS`] says; this is for one that does not answer at all.
const WORK_TIMEOUT: Duration = Duration::from_secs(15);
/// Bounds that PostgreSQL itself keeps: on a statement, on its wait for a lock, and on the silence
/// of a client in the middle of a transaction.
const POSTGRES_SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s';
     SET idle_in_transaction_session_timeout = '15s'";

/// Connections that read SQLite. Readers do not wait for the writer, nor for one of another process.
const SQLITE_READERS: u32 = 8;
/// SQLite takes one writer at a time. Those that wait for a connection wait in the order in which
/// they came, which those that wait for SQLite's lock do not.
const SQLITE_WRITERS: u32 = 1;
/// Most of SQLite's file that is mapped into memory, in bytes.
const SQLITE_MAPPED: &str = "268435456";

const POSTGRES_CONNECTIONS: u32 = 16;
/// Longest idle time after which a connection to a server is still taken to work.
const POSTGRES_UNTRIED: Duration = Duration::from_secs(1);

/// Connections to one of the two kinds of database.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

/// Reads with one connection of either kind. The body uses `?`, and its value is that of the macro.
macro_rules! read {
    ($database:expr, $connection:ident => $body:expr) => {
        match &$database.pool {
            crate::database::connection::Pool::Sqlite { readers, .. } => {
                crate::database::connection::read!(@in readers, $connection => $body)
            }
            crate::database::connection::Pool::Postgres(pool) => {
                crate::database::connection::read!(@in pool, $connection => $body)
            }
        }
    };
    (@in $pool:expr, $connection:ident => $body:expr) => {{
        let mut taken = crate::database::connection::Taken::from($pool).await?;
        let work = async {
            let $connection = taken.connection();
            Ok($body)
        };
        let done = crate::database::connection::bounded(work).await;
        taken.after(done)?
    }};
}
pub(super) use read;

/// Carries a body out in one transaction of either kind of database: `Ok` commits, `Err` rolls
/// back. `return` in the body leaves the body only. The macro's value is the body's `Result`.
macro_rules! transaction {
    ($database:expr, $connection:ident => $body:expr) => {
        match &$database.pool {
            crate::database::connection::Pool::Sqlite { writer, .. } => {
                crate::database::connection::transaction!(@in writer, $connection => $body)
            }
            crate::database::connection::Pool::Postgres(pool) => {
                crate::database::connection::transaction!(@in pool, $connection => $body)
            }
        }
    };
    (@in $pool:expr, $connection:ident => $body:expr) => {
        match crate::database::connection::Transaction::begin($pool).await {
            Ok(mut transaction) => {
                let work = async {
                    let $connection = transaction.connection();
                    $body
                };
                let done = crate::database::connection::bounded(work).await;
                transaction.end(done).await
            }
            Err(error) => Err(error),
        }
    };
}
pub(super) use transaction;

/// A kind of database with its words for a transaction.
pub(super) trait Transactional: sqlx::Database {
    /// Begins a transaction. An error where the connection was in one already.
    fn begin(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Runs `COMMIT` or `ROLLBACK`.
    fn finish(
        connection: &mut Self::Connection,
        statement: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl Transactional for Sqlite {
    async fn begin(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // IMMEDIATE: a transaction that reads first could find its place taken when it writes.
        Self::finish(connection, "BEGIN IMMEDIATE").await
    }

    async fn finish(
        connection: &mut SqliteConnection,
        statement: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(connection).await?;
        Ok(())
    }
}

impl Transactional for Postgres {
    async fn begin(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // BEGIN in a transaction is no error in PostgreSQL, but that transaction is older.
        match is_new(connection, "BEGIN; SELECT now() = statement_timestamp()").await? {
            true => Ok(()),
            false => Err(sqlx::Error::BeginFailed),
        }
    }

    async fn finish(
        connection: &mut PgConnection,
        statement: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statement).execute(connection).await?;
        Ok(())
    }
}

/// The boolean that a statement returns. It must be sent as one message: the transaction that it
/// is in then began with it, or before it.
async fn is_new(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<bool, sqlx::Error> {
    let rows = sqlx::raw_sql(statement).fetch_all(connection).await?;
    rows.last().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}

/// Ends work that takes too long. Its connection must be closed then.
pub(super) async fn bounded<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(WORK_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(DatabaseError::Busy(late())),
    }
}

fn late() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

/// A connection out of a pool; closed at the end, unless it is given back.
pub(super) struct Taken<DB: sqlx::Database>(Option<PoolConnection<DB>>);

impl<DB: sqlx::Database> Taken<DB> {
    pub(super) async fn from(pool: &sqlx::Pool<DB>) -> Result<Self, DatabaseError> {
        Ok(Taken(Some(pool.acquire().await?)))
    }

    pub(super) fn connection(&mut self) -> &mut DB::Connection {
        self.0.as_mut().expect("it is there until it is given back")
    }

    fn give_back(mut self) {
        drop(self.0.take());
    }

    /// Gives the connection back, unless the database failed at what was done with it.
    pub(super) fn after<T>(self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        if !matches!(done, Err(DatabaseError::Failed(_) | DatabaseError::Busy(_))) {
            self.give_back();
        }
        done
    }
}

impl<DB: sqlx::Database> Drop for Taken<DB> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// A transaction under way. Where it is dropped before its end, its connection is closed, and the
/// database rolls it back.
pub(super) struct Transaction<DB: Transactional>(Taken<DB>);

impl<DB: Transactional> Transaction<DB> {
    pub(super) async fn begin(pool: &sqlx::Pool<DB>) -> Result<Self, DatabaseError> {
        let mut taken = Taken::from(pool).await?;
        bounded(async { Ok(DB::begin(taken.connection()).await?) }).await?;
        Ok(Transaction(taken))
    }

    pub(super) fn connection(&mut self) -> &mut DB::Connection {
        self.0.connection()
    }

    /// Commits what was done, or rolls it back. After an error of COMMIT it may have been either;
    /// after any other, nothing of it is kept.
    pub(super) async fn end<T>(
        mut self,
        done: Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let statement = match &done {
            Ok(_) => "COMMIT",
            Err(DatabaseError::Failed(_) | DatabaseError::Busy(_)) => return done,
            Err(_) => "ROLLBACK",
        };
        let finishing = DB::finish(self.0.connection(), statement);
        let finished = tokio::time::timeout(WORK_TIMEOUT, finishing).await;
        match (finished.unwrap_or_else(|_| Err(late())), done) {
            (Ok(()), done) => {
                self.0.give_back();
                done
            }
            (Err(error), Ok(_)) => Err(DatabaseError::Failed(error)),
            // Closed, and so rolled back.
            (Err(_), refused) => refused,
        }
    }
}

impl Pool {
    /// Opens the SQLite database in a file, and creates it where it is missing.
    pub(super) async fn open_sqlite(path: &std::path::Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A large table is read where the system has it in memory, without a call for each page.
            .pragma("mmap_size", SQLITE_MAPPED)
            .busy_timeout(SQLITE_BUSY_TIMEOUT);
        // The writer first: it creates the file.
        let writer = sqlite_pool(SQLITE_WRITERS)
            .connect_with(options.clone())
            .await?;
        let readers = sqlite_pool(SQLITE_READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Pool::Sqlite { readers, writer })
    }

    /// Opens the SQLite database in a file that is there, and changes nothing in it.
    pub(super) async fn connect_sqlite(path: &std::path::Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .foreign_keys(true)
            // What is deleted is overwritten: sessions, before a copy of them leaves the machine.
            .pragma("secure_delete", "ON")
            .busy_timeout(SQLITE_BUSY_TIMEOUT);
        let readers = sqlite_pool(1)
            .connect_with(options.clone().pragma("query_only", "ON"))
            .await?;
        let writer = sqlite_pool(SQLITE_WRITERS).connect_lazy_with(options);
        Ok(Pool::Sqlite { readers, writer })
    }

    /// Connects to the PostgreSQL at a `postgres://` URL.
    pub(super) async fn connect_postgres(url: &str) -> Result<Self, DatabaseError> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if !matches!(scheme, "postgres" | "postgresql") {
            let plain = scheme.chars().all(|c| c.is_ascii_alphanumeric());
            let given = match plain && !scheme.is_empty() {
                true => format!("; {scheme}:// is not supported"),
                false => String::new(),
            };
            let what = format!("its URL must begin with postgres://{given}");
            return Err(DatabaseError::Invalid(what));
        }
        let options: PgConnectOptions = url.parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // To try each connection before each use would double the round trips.
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    for statements in [POSTGRES_SETTINGS, SEARCH_OWN_SCHEMA] {
                        sqlx::raw_sql(statements).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .before_acquire(|connection, about| {
                Box::pin(async move {
                    if about.idle_for <= POSTGRES_UNTRIED {
                        return Ok(true);
                    }
                    is_new(connection, "SELECT now() = statement_timestamp()").await
                })
            });
        // A pool goes on trying where nobody listens, and then says only that it took too long.
        PgConnection::connect_with(&options).await?.close().await?;
        Ok(Pool::Postgres(pool.connect_lazy_with(options)))
    }

    /// Closes all connections; SQLite then folds its write-ahead log back in.
    pub(super) async fn close(&self) {
        match self {
            Pool::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection to a file is not lost while it is not used.
        .test_before_acquire(false)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::database::Database;
    use crate::database::accounts::NewUser;
    use crate::secret::Secret;

    async fn writer(database: &Database) -> Taken<Sqlite> {
        match &database.pool {
            Pool::Sqlite { writer, .. } => Taken::from(writer).await.expect("a connection"),
            Pool::Postgres(_) => unreachable!("it is SQLite"),
        }
    }

    /// Leaves no room for another page, for as long as the writer's connection lives.
    async fn fill(database: &Database) {
        let mut taken = writer(database).await;
        sqlx::raw_sql("PRAGMA max_page_count = 1")
            .execute(taken.connection())
            .await
            .expect("a bound");
        taken.give_back();
    }

    async fn create(database: &Database, user: &str) -> Result<(Uuid, Secret), DatabaseError> {
        // A long name, so that a page is soon full.
        let (name, scopes) = ("n".repeat(100), ["repo:read".to_owned()]);
        let created =
            database.create_token(user, Uuid::new_v4(), &name, &scopes, None, None.into());
        let (token, secret) = created.await?;
        Ok((token.id, secret))
    }

    #[tokio::test]
    async fn a_database_without_room_undoes_nothing_that_was_done() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("wit.sqlite3");
        let database = Database::open_sqlite(&file).await.expect("open");
        let new = NewUser {
            name: "Alice".to_owned(),
            email: "alice@example.com".to_owned(),
            username: "alice".to_owned(),
            password: Secret::from("correct horse".to_owned()),
        };
        let user = database.sign_up(new).await.expect("an account").id;
        let mut old = Vec::new();
        for _ in 0..3 {
            old.push(create(&database, &user).await.expect("created"));
        }
        for _ in 0..2 {
            fill(&database).await;
            let error = loop {
                if let Err(error) = create(&database, &user).await {
                    break error;
                }
            };
            assert!(matches!(error, DatabaseError::Failed(_)), "{error:?}");
        }
        let new = create(&database, &user).await.expect("there is room");
        for (id, _) in &old {
            database.delete_token(&user, *id, None).await.expect("done");
        }
        database.close().await;

        let database = Database::open_sqlite(&file).await.expect("open");
        for (_, secret) in &old {
            let grant = database.check_token(secret).await.expect("checked");
            assert!(grant.is_none(), "a revoked token lives");
        }
        let grant = database.check_token(&new.1).await.expect("checked");
        assert!(grant.is_some(), "a created token is gone");
    }

    #[tokio::test]
    async fn a_connection_that_is_in_a_transaction_takes_no_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("wit.sqlite3");
        let database = Database::open_sqlite(&file).await.expect("open");
        let mut taken = writer(&database).await;
        Sqlite::begin(taken.connection()).await.expect("begun");
        taken.give_back();
        let name = Database::ask_device;
        let from = std::net::IpAddr::from([127, 0, 0, 1]);
        assert!(name(&database, "a", from).await.is_err(), "never committed");
        assert!(
            name(&database, "b", from).await.is_ok(),
            "another connection"
        );
    }
}
