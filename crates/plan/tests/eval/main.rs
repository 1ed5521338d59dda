//! Promises of expression evaluation: PostgreSQL's results, types and errors, for batches and for single rows.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod exact_sum;
