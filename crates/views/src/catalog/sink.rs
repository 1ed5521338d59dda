//! Sinks as the catalog has them: which relation goes where, for whom, and whether it is held.
//!
//! How far a sink has come is not here: its target knows that (docs/rfcs/2026-11-26-sinks.md). Options hold no secret: they name the
//! file or the variable that does.

use super::{Name, ObjectId, RoleId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a sink is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSpec {
    /// The relation that it follows.
    pub of: ObjectId,
    /// `WITH (...)`, `connector` among them.
    pub options: BTreeMap<String, String>,
    /// Who reads the relation for it.
    pub owner: RoleId,
    /// ALTER SINK .. PAUSE.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

impl SinkSpec {
    /// The kind of its target.
    #[must_use]
    pub fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }
}

/// A sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Never used again.
    pub id: u32,
    /// Its name; no relation of the schema has it.
    pub name: Name,
    /// As it is stored.
    pub spec: SinkSpec,
    /// How often it was altered: RESUME begins anew even what nothing was changed of.
    pub n_altered: u32,
}
