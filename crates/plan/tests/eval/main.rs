//! Promises of expression evaluation: PostgreSQL's results, types and errors, for batches and for single rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, clippy::print_stdout, missing_docs)]

mod aggregates;
mod corpus;
mod exact_sum;
mod guards;
mod kept;
mod lower;
mod offered;
mod types;
