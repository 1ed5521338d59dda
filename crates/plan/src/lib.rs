//! SQL to incremental plan.

pub mod functions;
