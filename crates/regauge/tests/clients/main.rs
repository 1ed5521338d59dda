//! The real binary and real clients: psql, psycopg, SQLAlchemy, asyncpg. `cargo xtask test` installs what is needed; a client that is missing
//! fails its tests and says how to get it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod catalog;
mod dbt;
mod psql;
mod python;
mod server;
mod tls;
