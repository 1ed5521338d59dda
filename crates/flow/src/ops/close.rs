//! GROUP BY of windows, sent when they close: one row a group, once, and nothing is kept of it afterwards.
//!
//! ```text
//! push rows:       keys -> group ids -> accumulators[call].update; a new group waits under the time at which it closes
//! push watermark:  the least of all streams' watermarks rises
//! finish:          groups whose time it has reached go out as +row and are forgotten
//! ```
//! Invariant: what went out is, for each group that has closed, the row that its accumulators give over all its rows: whoever planned this
//! has proven that none comes later. Cost: a look-up and an update a call for each row, as with any GROUP BY; the end of an
//! epoch costs the groups that close. State: the open groups.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use regauge_plan::flowplan::AggCall;
use regauge_types::Delta;

use super::aggregate::Aggregate;
use super::marks::Marks;
use super::parts::ROWS_MAX;
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};

/// The part of its images that has the watermarks.
const MARKS: u32 = 1;

/// See the module's header.
pub struct Close {
    groups: Aggregate,
    /// Which key says when a group closes, and how long after it.
    key: usize,
    plus_us: i64,
    marks: Marks,
    /// Open groups by when they close.
    open: BTreeMap<i64, Vec<u32>>,
    rows_in: u64,
}

impl Close {
    /// An aggregate over an input of these types; `output` are the keys' and the calls' types; so many watermarks follow the rows.
    pub fn new(
        keys: &[usize],
        aggs: &[AggCall],
        (key, plus_us): (usize, i64),
        n_marks: usize,
        input: &[DataType],
        output: &[DataType],
        append_only: bool,
    ) -> Result<Self, FlowError> {
        if !matches!(output.get(key), Some(DataType::Timestamp(_, _))) || key >= keys.len() {
            return Err(FlowError::Plan(format!("groups that close without a time key={key}")));
        }
        let mut groups = Aggregate::new(keys, aggs, input, output, append_only)?;
        groups.closes();
        Ok(Close { groups, key, plus_us, marks: Marks::new(n_marks), open: BTreeMap::new(), rows_in: 0 })
    }

    /// Groups made by a delta wait for their time.
    fn wait(&mut self, created: &[u32]) -> Result<(), FlowError> {
        let keys: Vec<ArrayRef> = self.groups.keys_of(created)?;
        let times = keys[self.key].as_primitive::<TimestampMicrosecondType>();
        for (at, group) in created.iter().enumerate() {
            if times.is_null(at) {
                return Err(FlowError::Plan("a group that never closes".into()));
            }
            self.open.entry(times.value(at).saturating_add(self.plus_us)).or_default().push(*group);
        }
        Ok(())
    }

    /// At most so many groups that have closed.
    fn closed(&mut self, n_max: usize) -> Vec<u32> {
        let mut closed = Vec::new();
        let Some(mark) = self.marks.least() else { return closed };
        while let Some(mut first) = self.open.first_entry() {
            if *first.key() > mark || closed.len() >= n_max {
                break;
            }
            let groups = first.get_mut();
            let keep = groups.len().saturating_sub(n_max - closed.len());
            closed.extend(groups.drain(keep..));
            if groups.is_empty() {
                first.remove();
            }
        }
        closed
    }
}

impl Operator for Close {
    fn push(&mut self, input: usize, delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        if let Some(mark) = input.checked_sub(1) {
            self.rows_in += delta.n_rows() as u64;
            return self.marks.take_in(mark, &delta);
        }
        self.rows_in += delta.n_rows() as u64;
        let mut created = Vec::new();
        self.groups.take_in(&delta, &mut created)?;
        self.wait(&created)
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        let groups = self.closed(ROWS_MAX);
        if groups.is_empty() {
            self.groups.settle();
            return Ok(Finish::Done);
        }
        self.groups.send_last(&groups, out)?;
        Ok(Finish::More)
    }

    fn routing(&self, input: usize) -> Routing {
        if input == 0 { self.groups.routing(0) } else { Routing::All }
    }

    fn stats(&self) -> OpStats {
        let open: usize = self.open.values().map(|groups| groups.capacity() * size_of::<u32>() + 48).sum();
        let stats = self.groups.stats();
        OpStats { rows_in: self.rows_in, state_bytes: stats.state_bytes + open as u64, ..stats }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        self.groups.save_groups(to)?;
        self.marks.save(MARKS, to)
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        let mut created = Vec::new();
        self.groups.restore_groups(images.iter().copied().filter(|i| i.part != MARKS), &mut created)?;
        self.wait(&created)?;
        images.iter().filter(|i| i.part == MARKS).try_for_each(|image| self.marks.restore(image))
    }
}
