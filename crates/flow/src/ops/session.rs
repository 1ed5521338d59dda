//! SESSION: rows of a partition that follow each other closely stand in one session, and each row goes out with its bounds.
//!
//! ```text
//! gap = 5       ts   1  3  6     20 22          sessions [1, 11) and [20, 27)
//! + 12          ts   1  3  6  12 20 22          nothing merges: 12 - 6 >= 5
//! + 9           ts   1  3  6 9 12  20 22        [1, 11) and [12, 17) become [1, 17): their rows go out again
//! ```
//! push:    rows wait in `Sequences`, by partition, in the order of their time
//! finish:  around each change the rows that no gap divides, counting what was and what is: only there can bounds differ. Both
//!          readings are cut into sessions; a row whose bounds differ goes out as -old +new
//!
//! With watermarks (`on_close`) nothing goes out until a session's end lies at or before all of them; then its rows do, once, and
//! are forgotten. Sessions wait by their end, so closing costs what closes.
//!
//! Invariant: the output is, for each partition, its rows with the bounds of their sessions among exactly its rows; of closed sessions only
//! with `on_close`. Cost: the sessions that an epoch's changes touch, whole, since the end is a column of each of their rows;
//! sessions that no change touches are not looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use regauge_plan::eval::EvalError;
use regauge_state::{GroupIndex, Sequences, Weights, canonical_floats, canonical_keys};
use regauge_types::Delta;
use regauge_types::forms::has_forms;
use regauge_types::hash::hash_columns;
use regauge_types::key::encode_exact;

use super::marks::Marks;
use super::parts::{ROWS_MAX, diffs_of, emit, row_number, schema_of};
use super::sequences;
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// Rows that are looked at first on each side of a change; twice as many each time after that.
const LOOK: usize = 16;

/// The part of its images that has the watermarks.
const MARKS: u32 = 1;

/// Start and end of a session.
type Bounds = (i64, i64);

/// Sessions that wait for their end.
struct Closing {
    marks: Marks,
    /// End, partition, start.
    open: BTreeSet<(i64, u32, i64)>,
}

/// See the module's header.
pub struct Session {
    partition: Vec<usize>,
    ts: usize,
    ts_type: DataType,
    gap_us: i64,
    /// What tells rows of one time apart.
    rest: Vec<usize>,
    index: GroupIndex,
    rows: Sequences,
    /// Partitions that were taken up in this epoch.
    visited: Vec<u32>,
    sealed: bool,
    closing: Option<Closing>,
    /// Types of its rows.
    input: Vec<DataType>,
    schema: SchemaRef,
    stats: OpStats,
}

/// Rows with bounds, to be sent.
#[derive(Default)]
struct Sent {
    slots: Vec<u32>,
    starts: Vec<i64>,
    ends: Vec<i64>,
    diffs: Vec<i64>,
}

impl Sent {
    fn push(&mut self, slot: u32, bounds: Option<Bounds>, diff: i64) {
        if let Some((start, end)) = bounds.filter(|_| diff != 0) {
            self.slots.push(slot);
            self.starts.push(start);
            self.ends.push(end);
            self.diffs.push(diff);
        }
    }
}

impl Session {
    /// Over an input of these types; `output` are its types and the two bounds. `marks`: how many watermarks it waits for, if it
    /// sends closed sessions only.
    pub fn new(
        partition: &[usize],
        ts: usize,
        gap_us: i64,
        marks: Option<usize>,
        input: &[DataType],
        output: &[DataType],
    ) -> Result<Self, FlowError> {
        let ts_type = input.get(ts).cloned().unwrap_or(DataType::Null);
        if !matches!(ts_type, DataType::Timestamp(TimeUnit::Microsecond, _)) || gap_us <= 0 {
            return Err(FlowError::Plan(format!("sessions over {ts_type} gap_us={gap_us}")));
        }
        let types: Vec<DataType> = partition.iter().map(|c| input[*c].clone()).collect();
        Ok(Session {
            partition: partition.to_vec(),
            ts,
            ts_type,
            gap_us,
            rest: (0..input.len()).filter(|c| *c != ts && (has_forms(&input[*c]) || !partition.contains(c))).collect(),
            index: GroupIndex::new(&types)?,
            rows: Sequences::new(input)?,
            visited: Vec::new(),
            sealed: false,
            closing: marks.map(|n| Closing { marks: Marks::new(n), open: BTreeSet::new() }),
            input: input.to_vec(),
            schema: schema_of(output),
            stats: OpStats::default(),
        })
    }

    /// The rows that have a place in time; those beyond it are errors.
    fn placed(&self, delta: Delta, out: &mut Out) -> Result<Delta, FlowError> {
        let times = delta.rows.column(self.ts).as_primitive::<TimestampMicrosecondType>();
        let in_range = |row: &usize| times.value(*row).checked_add(self.gap_us).is_some();
        let is_all = times.null_count() == 0 && (0..times.len()).all(|row| in_range(&row));
        if is_all {
            return Ok(delta);
        }
        let (placed, beyond): (Vec<usize>, Vec<usize>) = (0..times.len()).filter(|r| times.is_valid(*r)).partition(in_range);
        for row in beyond {
            let named = show::row("row", delta.rows.columns(), row);
            out.error(EvalError::new("22008", "timestamp out of range"), named, delta.diff(row));
        }
        Ok(delta.take(&UInt32Array::from_iter_values(placed.into_iter().map(row_number)))?)
    }

    fn times(&self, slots: &[u32]) -> Vec<i64> {
        self.rows.gather_column(self.ts, slots).as_primitive::<TimestampMicrosecondType>().values().to_vec()
    }

    /// Slots around a place that no gap divides from it, with their times.
    fn around(&self, group: u32, place: usize) -> (Vec<u32>, Vec<i64>) {
        let n = self.rows.n_slots(group);
        let (mut slots, mut times) = (self.rows.slots(group, place..place + 1), vec![]);
        times.extend(self.times(&slots));
        let Some(mut last) = times.last().copied() else { return (slots, times) };
        let (mut first, mut from, mut look) = (last, place, LOOK);
        let (mut before, mut before_times) = (vec![], vec![]);
        'back: while from > 0 {
            let lower = from.saturating_sub(look);
            let part = self.rows.slots(group, lower..from);
            for (slot, time) in part.iter().zip(self.times(&part)).rev() {
                if first.saturating_sub(time) >= self.gap_us {
                    break 'back;
                }
                before.push(*slot);
                before_times.push(time);
                first = time;
            }
            (from, look) = (lower, look * 2);
        }
        (from, look) = (place + 1, LOOK);
        'ahead: while from < n {
            let upper = (from + look).min(n);
            let part = self.rows.slots(group, from..upper);
            for (slot, time) in part.iter().zip(self.times(&part)) {
                if time.saturating_sub(last) >= self.gap_us {
                    break 'ahead;
                }
                slots.push(*slot);
                times.push(time);
                last = time;
            }
            (from, look) = (upper, look * 2);
        }
        before.reverse();
        before_times.reverse();
        before.extend(slots);
        before_times.extend(times);
        (before, before_times)
    }

    /// The session of each slot that has copies, in one of the readings.
    fn sessions(&self, slots: &[u32], times: &[i64], weights: Weights) -> Vec<Option<Bounds>> {
        let mut bounds: Vec<Option<Bounds>> = vec![None; slots.len()];
        let mut members: Vec<usize> = Vec::new();
        let mut end = i64::MIN;
        let mut settle = |members: &mut Vec<usize>, end: i64| {
            let start = members.first().map(|i| times[*i]);
            members.drain(..).for_each(|i| bounds[i] = start.map(|start| (start, end)));
        };
        for (i, (slot, time)) in slots.iter().zip(times).enumerate() {
            if self.rows.copies(*slot, weights) <= 0 {
                continue;
            }
            if !members.is_empty() && *time >= end {
                settle(&mut members, end);
            }
            members.push(i);
            // in range: rows beyond were turned away
            end = time.saturating_add(self.gap_us);
        }
        settle(&mut members, end);
        bounds
    }

    /// Sends what differs around a change, or notes what is open there.
    fn work(&mut self, group: u32, slots: &[u32], times: &[i64], out: &mut Out) -> Result<(), FlowError> {
        self.stats.touched += slots.len() as u64;
        let (was, is) = (self.sessions(slots, times, Weights::Before), self.sessions(slots, times, Weights::Now));
        if let Some(closing) = &mut self.closing {
            for (start, end) in was.into_iter().flatten() {
                closing.open.remove(&(end, group, start));
            }
            closing.open.extend(is.into_iter().flatten().map(|(start, end)| (end, group, start)));
            return Ok(());
        }
        let mut sent = Sent::default();
        for (at, slot) in slots.iter().enumerate() {
            let (before, now) = (self.rows.copies(*slot, Weights::Before), self.rows.copies(*slot, Weights::Now));
            if was[at] == is[at] {
                sent.push(*slot, is[at], now - before);
            } else {
                sent.push(*slot, was[at], -before);
                sent.push(*slot, is[at], now);
            }
        }
        self.send(sent, out)
    }

    fn send(&mut self, sent: Sent, out: &mut Out) -> Result<(), FlowError> {
        let n = sent.slots.len();
        self.stats.rows_out += n as u64;
        let mut columns = self.rows.gather(&sent.slots);
        for bound in [sent.starts, sent.ends] {
            let values = PrimitiveArray::<TimestampMicrosecondType>::from(bound).with_data_type(self.ts_type.clone());
            columns.push(Arc::new(values));
        }
        emit(out, &self.schema, columns, n, Some(sent.diffs))
    }

    /// The next session that is over, if there is one.
    fn next_closed(&mut self) -> Option<(i64, u32, i64)> {
        let closing = self.closing.as_mut()?;
        let mark = closing.marks.least()?;
        let first = *closing.open.first()?;
        (first.0 <= mark).then(|| {
            closing.open.remove(&first);
            first
        })
    }

    /// Sends the rows of a session that is over and forgets them; how many they were.
    fn close(&mut self, (end, group, start): (i64, u32, i64), out: &mut Out) -> Result<usize, FlowError> {
        let n = self.rows.n_slots(group);
        // the first place at or behind the start
        let (mut low, mut high) = (0, n);
        while low < high {
            let middle = low.midpoint(high);
            if self.times(&[self.rows.slot_at(group, middle)])[0] < start {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (mut sent, mut look) = (Sent::default(), LOOK);
        'rows: while low < n {
            let upper = (low + look).min(n);
            let part = self.rows.slots(group, low..upper);
            for (slot, time) in part.iter().zip(self.times(&part)) {
                if time >= end {
                    break 'rows;
                }
                sent.push(*slot, Some((start, end)), self.rows.copies(*slot, Weights::Now));
            }
            (low, look) = (upper, look * 2);
        }
        let slots = sent.slots.clone();
        self.stats.touched += slots.len() as u64;
        self.send(sent, out)?;
        self.rows.expire(group, &slots);
        self.visited.push(group);
        Ok(slots.len())
    }

    fn tidy(&mut self) -> Result<(), FlowError> {
        self.rows.settle();
        self.sealed = false;
        let mut gone: Vec<u32> =
            std::mem::take(&mut self.visited).into_iter().filter(|group| self.rows.n_slots(*group) == 0).collect();
        gone.sort_unstable();
        gone.dedup();
        Ok(self.index.forget(&gone)?)
    }
}

impl Operator for Session {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        if let Some(mark) = input.checked_sub(1) {
            self.stats.rows_in += delta.n_rows() as u64;
            let closing = self.closing.as_mut().ok_or_else(|| FlowError::Plan("a watermark for open sessions".into()))?;
            return closing.marks.take_in(mark, &delta);
        }
        self.stats.rows_in += delta.n_rows() as u64;
        self.stats.touched += delta.n_rows() as u64;
        let delta = self.placed(delta, out)?;
        let n = delta.n_rows();
        // Floats that are equal have one form in a view.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let parts = canonical_keys(self.partition.iter().map(|c| &columns[*c]));
        let mut groups = Vec::new();
        self.index.intern(&parts, &hash_columns(&parts, n)?, &mut groups, &mut Vec::new())?;
        let encoded = |key: &[usize]| {
            let keys: Vec<ArrayRef> = key.iter().map(|c| columns[*c].clone()).collect();
            encode_exact(&keys, n)
        };
        let (order, rest) = (encoded(&[self.ts])?, encoded(&self.rest)?);
        let diffs = diffs_of(&delta);
        self.rows.push(&groups, [&order, &rest], &columns, |row| diffs.map_or(1, |d| d[row]))?;
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        if !self.sealed {
            self.rows.seal();
            self.sealed = true;
        }
        let mut n = 0;
        while n < ROWS_MAX {
            let Some((group, changed)) = self.rows.next_group() else {
                let Some(session) = self.next_closed() else {
                    self.tidy()?;
                    return Ok(Finish::Done);
                };
                n += self.close(session, out)?;
                continue;
            };
            self.visited.push(group);
            let negative = changed.iter().map(|s| self.rows.copies(*s, Weights::Now)).find(|c| *c < 0);
            if let Some(multiplicity) = negative {
                return Err(FlowError::Negative { operator: "session", multiplicity });
            }
            // Changes ascend, so the last time of the stretch before says whether it has this one.
            let mut done: Option<i64> = None;
            let times = self.times(&changed);
            for (slot, time) in changed.iter().zip(times) {
                if done.is_some_and(|done| time <= done) {
                    continue;
                }
                let (slots, times) = self.around(group, self.rows.place_of(group, *slot));
                done = times.last().copied();
                n += slots.len();
                self.work(group, &slots, &times, out)?;
            }
        }
        Ok(Finish::More)
    }

    fn routing(&self, input: usize) -> Routing {
        match input {
            0 if self.partition.is_empty() => Routing::One,
            0 => Routing::Hash(self.partition.clone()),
            _ => Routing::All,
        }
    }

    fn stats(&self) -> OpStats {
        let open = self.closing.as_ref().map_or(0, |c| c.open.len() * size_of::<(i64, u32, i64)>());
        let bytes = self.index.n_bytes() + self.rows.n_bytes() + open;
        OpStats { state_rows: self.rows.n_rows() as u64, state_bytes: bytes as u64, ..self.stats.clone() }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        sequences::save(&self.index, &self.rows, to)?;
        self.closing.as_ref().map_or(Ok(()), |closing| closing.marks.save(MARKS, to))
    }

    /// Its rows come again, as one epoch of which nothing is sent; watermarks after them, so that nothing closes twice.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        let mut out = Out::default();
        for image in images.iter().filter(|i| i.part != MARKS) {
            let rows = sequences::rows(image, &self.input)?;
            self.push(0, rows, &mut out)?;
        }
        while self.finish(&mut out)? == Finish::More {
            out = Out::default();
        }
        self.stats = OpStats::default();
        let Some(closing) = &mut self.closing else { return Ok(()) };
        images.iter().filter(|i| i.part == MARKS).try_for_each(|image| closing.marks.restore(image))
    }
}
