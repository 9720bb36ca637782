//! The platform's tables, word for word where it matters, plus indexes and tables of our own
//! (`wit_…`). Where the platform created the tables, `IF NOT EXISTS` leaves them as they are.
//!
//! In PostgreSQL our own tables are in a schema of their own. The platform's start compares the
//! schema `public` with its own tables and drops all others without a question; it drops our indexes
//! on its tables too, which the next start of ours creates again. Tables that an older server of
//! ours created in `public` are moved. A server of that older kind that still runs then fails until
//! it is replaced by a new one: it looks for them in the old place.

use std::time::Duration;

use sqlx::{PgConnection, SqliteConnection};

use super::DatabaseError;
use super::connection::{Pool, Transaction};
use super::timestamp;

/// The advisory lock under which tables are created: the letters `wit`.
const LOCK: i64 = 0x77_69_74;
/// Time limit for the creation of tables and indexes: an index of a large table takes its time.
const CREATE_TIMEOUT: Duration = Duration::from_secs(600);

/// Creates the tables and indexes that are missing.
pub(super) async fn create(pool: &Pool) -> Result<(), DatabaseError> {
    let creating = async {
        match pool {
            Pool::Sqlite { writer, .. } => {
                let mut transaction = Transaction::begin(writer).await?;
                let created = create_sqlite(transaction.connection()).await;
                transaction.end(created).await
            }
            Pool::Postgres(pool) => {
                let mut transaction = Transaction::begin(pool).await?;
                let created = create_postgres(transaction.connection()).await;
                transaction.end(created).await
            }
        }
    };
    (tokio::time::timeout(CREATE_TIMEOUT, creating).await)
        .unwrap_or_else(|_| Err(DatabaseError::Busy(sqlx::Error::PoolTimedOut)))
}

async fn create_sqlite(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    sqlx::raw_sql(SQLITE).execute(&mut *connection).await?;
    timestamp::normalize(connection).await
}

async fn create_postgres(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    sqlx::raw_sql("SET LOCAL statement_timeout = '600s'; SET LOCAL lock_timeout = '60s'")
        .execute(&mut *connection)
        .await?;
    // Two servers that start at once: IF NOT EXISTS alone is not safe from a race.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await?;
    for statements in [WITHOUT_OWN_SCHEMA, PLATFORM, OWN_SCHEMA, OWN] {
        sqlx::raw_sql(statements).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns whether a database has our own tables.
pub(super) async fn has_own_tables(pool: &Pool) -> Result<bool, DatabaseError> {
    let (has,): (bool,) = match pool {
        Pool::Sqlite { readers, .. } => {
            sqlx::query_as(
                "SELECT count(*) = 2 FROM sqlite_master
                 WHERE name IN ('wit_token_event', 'wit_token_family')",
            )
            .fetch_one(readers)
            .await?
        }
        // In our schema, or where an older server created them.
        Pool::Postgres(pool) => {
            sqlx::query_as(
                "SELECT to_regclass('wit_token_event') IS NOT NULL
                    AND to_regclass('wit_token_family') IS NOT NULL",
            )
            .fetch_one(pool)
            .await?
        }
    };
    Ok(has)
}

/// Returns whether a database has the tables of accounts and their sign-ins, which came last.
pub(super) async fn has_account_tables(pool: &Pool) -> Result<bool, DatabaseError> {
    let (has,): (bool,) = match pool {
        Pool::Sqlite { readers, .. } => {
            sqlx::query_as(
                "SELECT count(*) = 1 FROM sqlite_master WHERE name = 'wit_account_event'",
            )
            .fetch_one(readers)
            .await?
        }
        Pool::Postgres(pool) => {
            sqlx::query_as("SELECT to_regclass('wit_account_event') IS NOT NULL")
                .fetch_one(pool)
                .await?
        }
    };
    Ok(has)
}

/// Until the transaction ends, tables without a schema's name are created where they were without us.
const WITHOUT_OWN_SCHEMA: &str = "
SELECT set_config('search_path',
    regexp_replace(current_setting('search_path'), '^wit_server(, )?', ''), true)";

/// Creates our schema, and moves tables there that are elsewhere.
const OWN_SCHEMA: &str = "
DO $$
DECLARE
    own text;
BEGIN
    -- Asked first: IF NOT EXISTS wants the right to create one even where it exists.
    IF to_regnamespace('wit_server') IS NULL THEN
        CREATE SCHEMA wit_server;
    END IF;
    FOREACH own IN ARRAY ARRAY['wit_repository', 'wit_token_event', 'wit_device', 'wit_token_family']
    LOOP
        IF to_regclass(own) IS NULL THEN
            CONTINUE;
        ELSIF to_regclass('wit_server.' || own) IS NULL THEN
            EXECUTE format('ALTER TABLE %s SET SCHEMA wit_server', to_regclass(own));
        ELSE
            RAISE WARNING '% was created by an older server since its data moved to wit_server; it is not used', own;
        END IF;
    END LOOP;
END $$";

const PLATFORM: &str = r#"
CREATE TABLE IF NOT EXISTS "user" (
    id text PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    email_verified boolean NOT NULL DEFAULT false,
    image text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now(),
    username text UNIQUE,
    display_username text,
    bio text,
    location text,
    website text,
    avatar_url text,
    role text NOT NULL DEFAULT 'user',
    suspended boolean NOT NULL DEFAULT false,
    suspended_at timestamp,
    suspended_reason text
);
CREATE TABLE IF NOT EXISTS session (
    id text PRIMARY KEY,
    expires_at timestamp NOT NULL,
    token text NOT NULL UNIQUE,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL,
    ip_address text,
    user_agent text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS "session_userId_idx" ON session (user_id);
CREATE TABLE IF NOT EXISTS account (
    id text PRIMARY KEY,
    account_id text NOT NULL,
    provider_id text NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    access_token text,
    refresh_token text,
    id_token text,
    access_token_expires_at timestamp,
    refresh_token_expires_at timestamp,
    scope text,
    password text,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL
);
CREATE INDEX IF NOT EXISTS "account_userId_idx" ON account (user_id);
CREATE TABLE IF NOT EXISTS personal_access_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    name text NOT NULL,
    token_hash text NOT NULL,
    token_prefix text NOT NULL,
    scopes text NOT NULL,
    last_used_at timestamptz,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS wit_token_hash_idx ON personal_access_tokens (token_hash);
CREATE INDEX IF NOT EXISTS wit_token_user_idx ON personal_access_tokens (user_id);
"#;

const OWN: &str = r#"
CREATE TABLE IF NOT EXISTS wit_server.wit_repository (
    id uuid PRIMARY KEY,
    owner_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    name text NOT NULL,
    private boolean NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (owner_id, name)
);
CREATE TABLE IF NOT EXISTS wit_server.wit_collaborator (
    repository_id uuid NOT NULL REFERENCES wit_server.wit_repository(id) ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    role text NOT NULL,
    PRIMARY KEY (repository_id, user_id)
);
CREATE INDEX IF NOT EXISTS wit_collaborator_user_idx ON wit_server.wit_collaborator (user_id);
CREATE TABLE IF NOT EXISTS wit_server.wit_push (
    repository_id uuid PRIMARY KEY REFERENCES wit_server.wit_repository(id) ON DELETE CASCADE,
    pushed_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS wit_server.wit_token_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    address text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    token_id uuid NOT NULL,
    token_name text NOT NULL,
    token_prefix text NOT NULL
);
CREATE INDEX IF NOT EXISTS wit_token_event_user_idx ON wit_server.wit_token_event (user_id, id);
CREATE TABLE IF NOT EXISTS wit_server.wit_device (
    device_code_hash text PRIMARY KEY,
    user_code text NOT NULL UNIQUE,
    name text NOT NULL,
    address text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    pause integer NOT NULL,
    polled_at timestamptz,
    granted boolean,
    user_id text REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS wit_server.wit_token_family (
    token_id uuid PRIMARY KEY,
    family uuid NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    token_hash text NOT NULL UNIQUE,
    replaced_by uuid,
    replaced_at timestamptz
);
CREATE INDEX IF NOT EXISTS wit_token_family_idx ON wit_server.wit_token_family (family);
CREATE TABLE IF NOT EXISTS wit_server.wit_session (
    session_id text PRIMARY KEY REFERENCES session(id) ON DELETE CASCADE,
    name text NOT NULL,
    address text,
    last_used_at timestamptz NOT NULL,
    last_address text
);
CREATE TABLE IF NOT EXISTS wit_server.wit_account_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    action text NOT NULL,
    detail text,
    address text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS wit_account_event_user_idx ON wit_server.wit_account_event (user_id, at);
CREATE TABLE IF NOT EXISTS wit_server.wit_token_detail (
    token_id uuid PRIMARY KEY REFERENCES personal_access_tokens(id) ON DELETE CASCADE,
    description text,
    device text,
    address text,
    last_address text
);
CREATE TABLE IF NOT EXISTS wit_server.wit_shown_token (
    token_id uuid PRIMARY KEY REFERENCES personal_access_tokens(id) ON DELETE CASCADE,
    session_id text NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE TABLE IF NOT EXISTS wit_server.wit_invitation (
    code_hash text PRIMARY KEY,
    email text,
    expires_at timestamptz NOT NULL
);
"#;

/// SQLite keeps an uuid as 16 bytes, as sqlx binds it, and a time as text, as `Timestamp` has it.
const SQLITE: &str = r#"
CREATE TABLE IF NOT EXISTS "user" (
    id text PRIMARY KEY NOT NULL,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    email_verified boolean NOT NULL DEFAULT false,
    image text,
    created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    username text UNIQUE,
    display_username text,
    bio text,
    location text,
    website text,
    avatar_url text,
    role text NOT NULL DEFAULT 'user',
    suspended boolean NOT NULL DEFAULT false,
    suspended_at datetime,
    suspended_reason text
);
CREATE TABLE IF NOT EXISTS session (
    id text PRIMARY KEY NOT NULL,
    expires_at datetime NOT NULL,
    token text NOT NULL UNIQUE,
    created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at datetime NOT NULL,
    ip_address text,
    user_agent text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS "session_userId_idx" ON session (user_id);
CREATE TABLE IF NOT EXISTS account (
    id text PRIMARY KEY NOT NULL,
    account_id text NOT NULL,
    provider_id text NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    access_token text,
    refresh_token text,
    id_token text,
    access_token_expires_at datetime,
    refresh_token_expires_at datetime,
    scope text,
    password text,
    created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at datetime NOT NULL
);
CREATE INDEX IF NOT EXISTS "account_userId_idx" ON account (user_id);
CREATE TABLE IF NOT EXISTS personal_access_tokens (
    id blob PRIMARY KEY NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    name text NOT NULL,
    token_hash text NOT NULL,
    token_prefix text NOT NULL,
    scopes text NOT NULL,
    last_used_at datetime,
    expires_at datetime,
    created_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX IF NOT EXISTS wit_token_hash_idx ON personal_access_tokens (token_hash);
CREATE INDEX IF NOT EXISTS wit_token_user_idx ON personal_access_tokens (user_id);
CREATE TABLE IF NOT EXISTS wit_repository (
    id blob PRIMARY KEY NOT NULL,
    owner_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    name text NOT NULL,
    private boolean NOT NULL,
    created_at datetime NOT NULL,
    UNIQUE (owner_id, name)
);
CREATE TABLE IF NOT EXISTS wit_collaborator (
    repository_id blob NOT NULL REFERENCES wit_repository(id) ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    role text NOT NULL,
    PRIMARY KEY (repository_id, user_id)
);
CREATE INDEX IF NOT EXISTS wit_collaborator_user_idx ON wit_collaborator (user_id);
CREATE TABLE IF NOT EXISTS wit_push (
    repository_id blob PRIMARY KEY NOT NULL REFERENCES wit_repository(id) ON DELETE CASCADE,
    pushed_at datetime NOT NULL
);
CREATE TABLE IF NOT EXISTS wit_token_event (
    id integer PRIMARY KEY,
    at datetime NOT NULL,
    action text NOT NULL,
    address text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    token_id blob NOT NULL,
    token_name text NOT NULL,
    token_prefix text NOT NULL
);
CREATE INDEX IF NOT EXISTS wit_token_event_user_idx ON wit_token_event (user_id, id);
CREATE TABLE IF NOT EXISTS wit_device (
    device_code_hash text PRIMARY KEY NOT NULL,
    user_code text NOT NULL UNIQUE,
    name text NOT NULL,
    address text NOT NULL,
    created_at datetime NOT NULL,
    expires_at datetime NOT NULL,
    pause integer NOT NULL,
    polled_at datetime,
    granted boolean,
    user_id text REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS wit_token_family (
    token_id blob PRIMARY KEY NOT NULL,
    family blob NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    token_hash text NOT NULL UNIQUE,
    replaced_by blob,
    replaced_at datetime
);
CREATE INDEX IF NOT EXISTS wit_token_family_idx ON wit_token_family (family);
CREATE TABLE IF NOT EXISTS wit_session (
    session_id text PRIMARY KEY NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    name text NOT NULL,
    address text,
    last_used_at datetime NOT NULL,
    last_address text
);
CREATE TABLE IF NOT EXISTS wit_account_event (
    id integer PRIMARY KEY,
    at datetime NOT NULL,
    action text NOT NULL,
    detail text,
    address text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS wit_account_event_user_idx ON wit_account_event (user_id, at);
CREATE TABLE IF NOT EXISTS wit_token_detail (
    token_id blob PRIMARY KEY NOT NULL REFERENCES personal_access_tokens(id) ON DELETE CASCADE,
    description text,
    device text,
    address text,
    last_address text
);
CREATE TABLE IF NOT EXISTS wit_shown_token (
    token_id blob PRIMARY KEY NOT NULL REFERENCES personal_access_tokens(id) ON DELETE CASCADE,
    session_id text NOT NULL REFERENCES session(id) ON DELETE CASCADE,
    sealed blob NOT NULL,
    expires_at datetime NOT NULL
);
CREATE TABLE IF NOT EXISTS wit_invitation (
    code_hash text PRIMARY KEY NOT NULL,
    email text,
    expires_at datetime NOT NULL
);
"#;
