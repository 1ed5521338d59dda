//! Floor 3: the life of a view.
//!
//! What passes through: sessions' statements become commits of the log and reads at epochs; commits become epochs of the
//! engine; catalog events become versions that live and end. Invariant: everything here is a fold of the log: catalog, heads,
//! versions; a crash at any moment loses none of it. It never knows: protocols, operators, files other than the token's key and the values of secrets.

pub(crate) mod advisory;
pub mod backup;
pub mod catalog;
pub mod checkpoint;
pub mod config;
pub(crate) mod core;
pub mod driver;
pub mod error;
pub mod event_time;
pub mod follow;
pub mod gate;
pub mod host;
pub mod instance;
pub mod judge;
pub mod notify;
pub mod overview;
mod pressure;
pub mod read;
pub mod response;
pub mod secrets;
pub(crate) mod sequences;
pub mod session;
pub mod sinks;
mod stack;
pub(crate) mod syntax;
pub mod table;
pub mod token;
pub mod verify;
pub mod version;

pub use regauge_log::ProducerSeq;

pub use config::{Config, HISTORY_COMMITS, Limits};
pub use error::{Error, Result};
pub use instance::Instance;
pub use notify::{Inbox, Note};
pub use regauge_plan::host::{Folding, HostFunction, HostValue, Work};
pub use regauge_plan::{Datum, Value, pgtypes};
pub use response::{Response, RowStream, Rows};
pub use session::copy_out::CopyOut;
pub use session::{
    CancelHandle, Prepared, Script, Session, SessionOptions, TransactionStatus,
    append::{PlacedRows, Receipt},
    copy::CopyIn,
    copy_binary::{Receive, SIGNATURE as COPY_SIGNATURE},
    subscribe::Subscription,
};
