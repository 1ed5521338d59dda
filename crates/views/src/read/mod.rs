//! Reads: one statement sees tables, streams and views at one epoch.
//!
//! ```text
//!   text ─▶ logical plan over relations of a catalog ─▶ physical plan ─▶ (bound to a Reading: epoch, own writes, traces) ─▶ rows
//! ```
//! A plan names relations, never contents; what it reads is bound when it runs. So one plan serves every epoch, and a table, a
//! point look-up by key and the statement's own transaction's writes take the same way.

mod bind;
mod budget;
pub mod culprit;
pub mod exec;
pub mod failure;
mod hint;
pub mod names;
pub(crate) mod past;
pub mod pins;
pub mod planner;
pub mod reading;
pub mod records;
pub mod relation;
mod subplan;
pub mod system;
mod window;

pub use pins::{Pin, Pins};
pub use planner::Planner;
pub use reading::Reading;
