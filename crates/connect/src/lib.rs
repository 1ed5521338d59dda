//! Floor 4, beside serve: foreign systems.
//!
//! What passes through: the changes of a relation go out to a target that is not ours, epoch by epoch (a sink). Invariant: where the
//! target commits atomically it holds them once, without a gap and in order (I6): [`protocol`] decides, [`run`] acts, a [`target`]
//! writes. It never knows: the wire protocols that we serve, operators, files of the log.
//!
//! ```text
//!   views::follow ──whole, changes──▶ run ◀──what the target has── target: postgres, parquet, http
//!                                      │ facts   ▲ what to do
//!                                      └──▶ protocol (pure)
//! ```

pub mod connectors;
pub mod error;
pub mod http;
mod options;
pub mod parquet;
pub mod postgres;
pub mod protocol;
mod rows;
pub mod run;
pub mod secret;
pub mod target;
mod tls;

pub use connectors::install;
pub use run::{Runner, start};
