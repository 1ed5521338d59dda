//! Tables: how their changes lie in the log, what a transaction has written, and where each key stands now.

pub mod head;
pub mod layout;
pub mod runs;
mod stands;
pub mod writes;
