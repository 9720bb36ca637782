//! Points in time as they are bound to a statement.
//!
//! SQLite keeps a time as text and compares it as text. sqlx writes no trailing zeros of a fraction, so
//! that `…:43.12Z` came before `…:43.1Z`, and that before `…:43Z`. Here each time has nine digits: the
//! order of the texts is that of the times. [`normalize`] rewrites those of older servers.
//!
//! The columns without a zone (`session.expires_at`, `"user".created_at`) are bound as sqlx does it:
//! without a letter behind the fraction, the order is right in any width.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo};
use sqlx::{AssertSqlSafe, Encode, Postgres, Sqlite, SqliteConnection, Type};
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::DatabaseError;

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");

/// A point in time to bind: `.bind(Timestamp(at))`, never the time itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timestamp(pub(super) OffsetDateTime);

impl Type<Sqlite> for Timestamp {
    fn type_info() -> SqliteTypeInfo {
        <OffsetDateTime as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        let utc = self.0.checked_to_offset(UtcOffset::UTC);
        // What has more digits or a sign could not be read again.
        let utc = utc.filter(|utc| (0..=9999).contains(&utc.year()));
        let text = utc
            .ok_or("a time outside the years 0 to 9999")?
            .format(FORMAT)?;
        Encode::<Sqlite>::encode(text, buffer)
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode_by_ref(&self.0, buffer)
    }
}

/// Rewrites the times of a SQLite database that an older server, or somebody by hand, wrote otherwise.
pub(super) async fn normalize(connection: &mut SqliteConnection) -> Result<(), DatabaseError> {
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND c.type = 'datetime'
             AND (t.name = 'personal_access_tokens' OR t.name GLOB 'wit_*')",
    )
    .fetch_all(&mut *connection)
    .await?;
    for (table, column) in columns {
        // The names are those of our own schema. A time in UTC gets its zeros; any other that SQLite
        // can read is converted, to the millisecond.
        let rewriting = format!(
            "UPDATE {table} SET {column} = CASE
                 WHEN {column} GLOB '????-??-??T??:??:??Z' OR {column} GLOB '????-??-??T??:??:??.*Z'
                 THEN substr(rtrim({column}, 'Z') || iif(instr({column}, '.'), '', '.')
                     || '000000000', 1, 29) || 'Z'
                 ELSE coalesce(strftime('%Y-%m-%dT%H:%M:%f000000Z', {column}), {column}) END
             WHERE typeof({column}) = 'text'
                 AND {column} NOT GLOB '????-??-??T??:??:??.?????????Z'"
        );
        sqlx::query(AssertSqlSafe(rewriting))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
