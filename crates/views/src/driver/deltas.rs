//! Commits as deltas: what changed in each topic, in the topic's own columns; and the clock of the last one.
//!
//! A stream's records are added; a table's changes take the row before away and add the row after. Consecutive commits of one
//! epoch go into one delta per topic; a row that came and went within the epoch is cancelled by whoever consolidates.

use super::clock;
use crate::{
    catalog::{Catalog, Kind, ObjectId},
    event_time::{Times, layout},
    table::layout::Changes,
};
use arrow::error::ArrowError;
use regauge_log::Commit;
use regauge_types::{CATALOG_TOPIC, CLOCK_TOPIC, Delta, Hlc, TopicId};
use std::collections::BTreeMap;

/// Deltas of an epoch that is being gathered.
#[derive(Default)]
pub struct Gathered {
    by_topic: BTreeMap<TopicId, Vec<Delta>>,
    n_rows: usize,
    clock: Option<Hlc>,
    times: Times,
}

impl Gathered {
    /// Rows so far.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// How far these commits have brought event time; nothing of what was before.
    pub fn take_times(&mut self) -> Times {
        std::mem::take(&mut self.times)
    }

    /// Takes in a commit. Topics that the catalog does not know (dropped ones) are left out: nobody reads them.
    pub fn take_in(&mut self, catalog: &Catalog, commit: &Commit) -> Result<(), ArrowError> {
        self.clock = self.clock.max(Some(commit.hlc));
        for part in commit.parts.iter().filter(|p| p.topic != CATALOG_TOPIC) {
            let Some(relation) = catalog.get(ObjectId::Topic(part.topic.0)) else { continue };
            let delta = match relation.kind {
                Kind::Table { .. } => Changes::of(&part.rows)?.delta()?,
                _ => {
                    self.times.take_in(relation, part.partition, &part.rows);
                    Delta::ones(layout::without_watermarks(&part.rows)?)
                }
            };
            self.n_rows += delta.n_rows();
            self.by_topic.entry(part.topic).or_default().push(delta);
        }
        Ok(())
    }

    /// One delta per topic, the commit clock's among them.
    pub fn finish(self) -> Result<Vec<(TopicId, Delta)>, ArrowError> {
        let whole = |(topic, deltas): (TopicId, Vec<Delta>)| {
            let schema = deltas.last().map(|d| d.rows.schema()).unwrap_or_else(|| arrow::datatypes::Schema::empty().into());
            if deltas.iter().any(|d| d.rows.schema() != schema) {
                // The relation's columns changed within the epoch: what is not there any more nobody reads.
                let under = |d: &Delta| Ok(Delta { rows: crate::table::head::by_ids(&d.rows, &schema)?, diffs: d.diffs.clone() });
                let deltas = deltas.iter().map(under).collect::<Result<Vec<_>, ArrowError>>()?;
                return Ok((topic, Delta::concat(&schema, &deltas)?));
            }
            Ok((topic, Delta::concat(&schema, &deltas)?))
        };
        let clock = self.clock.map(|hlc| Ok((CLOCK_TOPIC, clock::delta(hlc)?)));
        self.by_topic.into_iter().map(whole).chain(clock).collect()
    }
}
