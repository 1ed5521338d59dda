//! UNION ALL: a row stands at every level as often as it is derived there, so changes pass through, summed up level by level.
//!
//! No state but what is pending: the derivations of a level are a linear function of the level below. A change that runs around a
//! cycle never ends, and is cut off at the last level.

use std::collections::{BTreeMap, VecDeque};

use arrow::datatypes::{DataType, SchemaRef};
use regauge_types::Delta;

use super::super::parts::{ROWS_MAX, diffs_of, schema_of};
use super::{Ends, Rows, leveled, with_level};
use crate::image::{Image, int64, table};
use crate::operator::{Finish, FlowError, OpStats, Out};
use crate::show;

/// See the module's header.
pub(super) struct All {
    schema: SchemaRef,
    with_level: SchemaRef,
    ends: Ends,
    pending: BTreeMap<u32, Vec<Delta>>,
    n_pending: u64,
    /// The level being settled, and what is left of it.
    level: u32,
    rest: VecDeque<Delta>,
    /// Rows that stand.
    n_rows: i64,
    stats: OpStats,
}

impl All {
    pub fn new(types: &[DataType], ends: Ends) -> All {
        All {
            schema: schema_of(types),
            with_level: with_level(types),
            ends,
            pending: BTreeMap::new(),
            n_pending: 0,
            level: 0,
            rest: VecDeque::new(),
            n_rows: 0,
            stats: OpStats::default(),
        }
    }
}

impl Rows for All {
    fn arrive(&mut self, rows: Delta, levels: &[u32]) -> Result<(), FlowError> {
        self.stats.touched += levels.len() as u64;
        self.n_pending += levels.len() as u64;
        self.ends.check(self.n_pending)?;
        let mut from = 0;
        for run in levels.chunk_by(|a, b| a == b) {
            self.pending.entry(run[0]).or_default().push(rows.slice(from, run.len()));
            from += run.len();
        }
        Ok(())
    }

    fn settle(&mut self, out: &mut Out) -> Result<Option<Delta>, FlowError> {
        if self.rest.is_empty() {
            let Some((level, deltas)) = self.pending.pop_first() else { return Ok(None) };
            let all = Delta::concat(&self.schema, &deltas)?;
            self.n_pending = self.n_pending.saturating_sub(all.n_rows() as u64);
            self.level = level;
            self.rest = all.consolidate()?.chunks(ROWS_MAX).collect();
        }
        let Some(rows) = self.rest.pop_front() else { return Ok(Some(Delta::empty(self.with_level.clone()))) };
        if self.level > self.ends.steps {
            for row in 0..rows.n_rows() {
                out.error(self.ends.beyond(), show::row("row", rows.rows.columns(), row), rows.diff(row));
            }
            return Ok(Some(Delta::empty(self.with_level.clone())));
        }
        let n = rows.n_rows();
        let diffs: Vec<i64> = diffs_of(&rows).map_or_else(|| vec![1; n], <[i64]>::to_vec);
        self.n_rows += diffs.iter().sum::<i64>();
        self.ends.check(u64::try_from(self.n_rows).unwrap_or(0))?;
        self.stats.rows_out += n as u64;
        out.emit(rows.clone());
        leveled(&self.with_level, rows.rows.columns().to_vec(), vec![self.level.into(); n], diffs).map(Some)
    }

    fn settling(&self) -> u32 {
        self.level
    }

    fn send(&mut self, _out: &mut Out) -> Result<Finish, FlowError> {
        self.level = 0;
        Ok(Finish::Done)
    }

    fn stats(&self) -> OpStats {
        self.stats.clone()
    }

    fn save(&self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        to.push(Image::new(0, 0, vec![table(vec![int64(std::iter::once(self.n_rows))], 1)?]));
        Ok(())
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images {
            let [n_rows] = image.read().numbers()?;
            self.n_rows += n_rows.iter().sum::<i64>();
        }
        Ok(())
    }
}
