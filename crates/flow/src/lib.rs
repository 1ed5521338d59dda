//! Flow: a `FlowPlan` becomes running operators.

pub mod engine;
pub mod image;
pub mod operator;
pub mod ops;
pub mod show;
pub mod spill;
