//! Versions of views: their life, who runs them, and how they are read.

pub(crate) mod engine;
pub mod errors;
pub mod life;
pub mod registry;
pub mod trace;

pub use engine::start as start_engine;
pub use registry::{Report, Versions};
pub use trace::{FlowId, trace_error};
