//! Floor 4: the doors. Sessions of `regauge-views` come in over the network and rows go out; nothing here knows operators or files of state.

pub mod http;
pub mod login;
pub mod pg;
pub mod pg_catalog;
pub mod records;
pub mod secret;
