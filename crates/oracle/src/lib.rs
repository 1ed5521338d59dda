//! The oracle: random views and schedules run through regauge and through a real PostgreSQL, and the
//! SQL text files. It shares no code with the engine: what is right is what PostgreSQL says.
//!
//! ```text
//!   seed ─▶ generate ─▶ Case ─▶ run ─┬─▶ regauge     ─▶ Answer ─┐
//!                                    └─▶ PostgreSQL  ─▶ Answer ─┴─▶ compare ─▶ shrink ─▶ SQL for both
//! ```
//!
//! Everything random comes from one seed, so a difference is a command line. It knows SQL and
//! sessions; it never looks into plans, state or operators.
// A tool for people and tests: it prints, starts a foreign server and reads the real disk.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

pub mod answer;
pub mod case;
pub mod equalities;
pub mod generate;
pub mod postgres;
pub mod prove;
pub mod regauge;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod slt;
pub mod system;
pub mod text;
