//! The engine behind [`super::trace::Dataflows`].
//!
//! There is none yet: [`start`] gives dataflows that say so, and CREATE MATERIALIZED VIEW is refused before it leaves anything in
//! the catalog. Everything else of a version's life (driver, epochs, reads) runs against the trait and is tested with another
//! implementation through `Instance::open_with`.

use super::trace::{Dataflows, FlowId, Start, Trace};
use crate::{
    config::Config,
    error::{Error, Result},
};
use regauge_plan::{FlowPlan, SourceId};
use regauge_types::{Delta, Epoch, TopicId};
use std::{collections::HashMap, sync::Arc};

struct NoEngine;

fn none() -> Error {
    Error::unsupported("materialized views are not run by this build").hint("CREATE VIEW gives the same rows, computed when they are read")
}

impl Dataflows for NoEngine {
    fn ready(&self) -> Result<()> {
        Err(none())
    }

    fn install(&self, _: FlowId, _: &FlowPlan, _: HashMap<SourceId, Start>, _: Epoch) -> Result<Arc<dyn Trace>> {
        Err(none())
    }

    fn feed(&self, _: FlowId, _: Epoch, _: &[(TopicId, Delta)]) {}

    fn stop(&self, _: FlowId) {}

    fn operators(&self, _: FlowId) -> Vec<String> {
        vec![]
    }
}

/// The engine of an instance.
pub fn start(_config: &Config) -> Result<Arc<dyn Dataflows>> {
    Ok(Arc::new(NoEngine))
}
