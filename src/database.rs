//! The tables of the wit platform, on SQLite and on PostgreSQL: shared by `api` and `platform`.
