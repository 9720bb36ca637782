//! Rows as structs, by the names of their columns, from both kinds of database. sqlx's own derive
//! would bring a second build of sqlx, SQLite and TLS for its macros.

/// Implements `FromRow` for a struct: `fields` are columns of the same name, `or default` those that
/// a statement may leave out, and `nested` other such structs, of the same row.
macro_rules! from_row {
    ($name:ident { $($field:ident),* $(,)? }
        $(or default { $($default:ident),* $(,)? })?
        $(nested { $($nested:ident),* $(,)? })?
    ) => {
        from_row!(@impl sqlx::sqlite::SqliteRow, $name { $($field),* }
            { $($($default),*)? } { $($($nested),*)? });
        from_row!(@impl sqlx::postgres::PgRow, $name { $($field),* }
            { $($($default),*)? } { $($($nested),*)? });
    };
    (@impl $row:ty, $name:ident { $($field:ident),* } { $($default:ident),* } { $($nested:ident),* }) => {
        impl sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                Ok($name {
                    $($field: sqlx::Row::try_get(row, stringify!($field))?,)*
                    $($default: match sqlx::Row::try_get(row, stringify!($default)) {
                        Err(sqlx::Error::ColumnNotFound(_)) => Default::default(),
                        other => other?,
                    },)*
                    $($nested: sqlx::FromRow::from_row(row)?,)*
                })
            }
        }
    };
}
pub(super) use from_row;
