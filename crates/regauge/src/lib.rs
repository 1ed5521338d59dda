//! regauge in your own process: a data folder, SQL, appends and subscriptions, without a server.
//!
//! ```no_run
//! # async fn doc() -> regauge::Result<()> {
//! let db = regauge::Database::open("./data")?;
//! let mut connection = db.connect()?;
//! connection.batch("CREATE STREAM clicks (page TEXT, ms INT);
//!                   CREATE MATERIALIZED VIEW pages AS SELECT page, count(*) AS n FROM clicks GROUP BY page").await?;
//! connection.execute("INSERT INTO clicks VALUES ($1, $2)", &["/docs".into(), 12.into()]).await?;
//! println!("{}", connection.query("SELECT * FROM pages", &[]).await?);
//! # Ok(()) }
//! ```
//!
//! It is the engine that `regauge serve` runs, over the same folder: acknowledged means durable, a connection reads what it wrote,
//! and every answer is of one epoch. A folder has one owner at a time, this process or a server. Calls are asynchronous and want a
//! tokio runtime; on one of several threads planning does not hold up the others. Rows are Arrow batches ([`arrow`]).
//!
//! Without the default feature `cli` the crate is this library alone, and the binary's dependencies are not compiled.

mod connection;
mod database;
mod function;
mod param;
mod table;

pub use arrow;
pub use connection::{Changes, Connection, Outcome};
pub use database::Database;
pub use function::{Signature, aggregate, function};
pub use param::Param;
pub use regauge_views::{Config, Error, HostFunction, HostValue, Limits, ProducerSeq, Result, session::append::Receipt};
pub use table::Table;
