//! Flow: a `FlowPlan` becomes running operators.

pub mod operator;
pub mod ops;
