//! Temporal filter: rows that are there from a moment on, until another, as the clock goes.
//!
//! ```text
//!   push ─┬─ until has passed ─▶ nothing
//!         ├─ from is to come  ─▶ waiting, by from
//!         └─ now              ─▶ sent; showing, by until, if it has an end
//!   finish: waiting up to the clock ─▶ sent ─▶ showing up to the clock ─▶ taken back
//! ```
//! The clock is the second input: the greatest moment that came. It only goes forward, so what has passed needs no state: a row that is
//! taken back after its time changes nothing. Rows are judged by the clock as it is known when they come, and again at the end of the
//! epoch, so the order of rows and clock within an epoch does not matter.
//!
//! Invariant: at the end of an epoch exactly the rows with from <= clock < until have been sent. Cost: O(log rows) for each row that
//! comes, appears or goes; nothing else is looked at. A row of which a moment is NULL is never there.

use std::ops::ControlFlow;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use regauge_state::timeline::after;
use regauge_state::{Timeline, canonical_floats};
use regauge_types::Delta;
use regauge_types::key::encode;

use super::parts::{ROWS_MAX, diffs_of, emit, row_number, schema_of, take_all};
use crate::image::{Home, Image, Of, Step, int64, rows_by_bucket, table, types_of};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};

/// Parts of its images.
const ROWS: u32 = 0;
const CLOCK: u32 = 1;

/// When a row is there: from <= clock < until, in microseconds.
type Span = (i64, i64);

/// See the module's header.
pub struct Temporal {
    from: Vec<(usize, bool)>,
    until: Vec<(usize, bool)>,
    by: Option<Vec<usize>>,
    clock_us: i64,
    waiting: Timeline,
    showing: Timeline,
    /// What was looked at last in the epoch's end, in `showing` if that was begun.
    at: Vec<u8>,
    closing_showing: bool,
    schema: SchemaRef,
    stats: OpStats,
}

/// A moment as a key; the group is 0 for all.
fn key_of(us: i64) -> [u8; 8] {
    (us.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

/// Behind everything up to a moment.
fn behind(us: i64) -> Vec<u8> {
    after(&[&[0; 4][..], &key_of(us)].concat())
}

impl Temporal {
    /// Over rows of these types; rows that may be taken back are found by the columns `by`.
    pub fn new(
        from: &[(usize, bool)],
        until: &[(usize, bool)],
        by: &[usize],
        input: &[DataType],
        append_only: bool,
    ) -> Result<Self, FlowError> {
        Ok(Temporal {
            from: from.to_vec(),
            until: until.to_vec(),
            by: (!append_only).then(|| by.to_vec()),
            clock_us: i64::MIN,
            waiting: Timeline::new(input)?,
            showing: Timeline::new(input)?,
            at: Vec::new(),
            closing_showing: false,
            schema: schema_of(input),
            stats: OpStats::default(),
        })
    }

    fn spans(&self, columns: &[ArrayRef], n: usize) -> Vec<Option<Span>> {
        let moments = |of: &[(usize, bool)]| {
            let columns =
                of.iter().map(|(c, inclusive)| (columns[*c].as_primitive::<TimestampMicrosecondType>().clone(), *inclusive));
            columns.collect::<Vec<_>>()
        };
        let (from, until) = (moments(&self.from), moments(&self.until));
        let span = |row: usize| {
            let (mut begin, mut end) = (i64::MIN, i64::MAX);
            for (column, inclusive) in &from {
                let us = column.is_valid(row).then(|| column.value(row))?;
                begin = begin.max(us.saturating_add(i64::from(!inclusive)));
            }
            for (column, inclusive) in &until {
                let us = column.is_valid(row).then(|| column.value(row))?;
                end = end.min(us.saturating_add(i64::from(*inclusive)));
            }
            (begin < end).then_some((begin, end))
        };
        (0..n).map(span).collect()
    }

    /// Rows that are there now go out, and are kept if they have an end; those to come wait.
    fn take_in(&mut self, columns: &[ArrayRef], n: usize, diff: impl Fn(usize) -> i64, out: &mut Out) -> Result<(), FlowError> {
        let spans = self.spans(columns, n);
        let rests = encode(columns, n)?;
        let (mut rows, mut diffs) = (Vec::new(), Vec::new());
        for (row, span) in spans.into_iter().enumerate() {
            let Some((begin, end)) = span.filter(|(_, end)| self.clock_us < *end) else { continue };
            if self.clock_us < begin {
                self.waiting.add(0, &key_of(begin), rests.get(row), columns, row_number(row), diff(row))?;
                continue;
            }
            if end < i64::MAX {
                self.showing.add(0, &key_of(end), rests.get(row), columns, row_number(row), diff(row))?;
            }
            rows.push(row_number(row));
            diffs.push(diff(row));
        }
        self.stats.rows_out += rows.len() as u64;
        let n = rows.len();
        emit(out, &self.schema, take_all(columns, &UInt32Array::from(rows))?, n, Some(diffs))
    }

    /// The epoch is over: rows that are gone are forgotten.
    fn settle(&mut self) -> Result<(), FlowError> {
        for timeline in [&mut self.waiting, &mut self.showing] {
            let negative = |multiplicity| FlowError::Negative { operator: "temporal filter", multiplicity };
            timeline.seal().map_err(negative)?;
            timeline.settle();
        }
        Ok(())
    }

    /// The next rows whose moment has come, out of their timeline: slots and copies. Ends when there is none.
    fn due(&mut self) -> ControlFlow<(), Vec<(u32, i64)>> {
        let timeline = if self.closing_showing { &mut self.showing } else { &mut self.waiting };
        let found: Vec<_> =
            timeline.range(&self.at, &behind(self.clock_us)).take(ROWS_MAX).map(|(k, s)| (k.to_vec(), s)).collect();
        let Some((last, _)) = found.last() else { return ControlFlow::Break(()) };
        self.at = after(last);
        let mut rows = Vec::with_capacity(found.len());
        for (key, standing) in found {
            self.stats.touched += 1;
            timeline.clear(&key);
            rows.push((standing.slot, standing.now));
        }
        rows.retain(|(_, copies)| *copies != 0);
        ControlFlow::Continue(rows)
    }
}

impl Operator for Temporal {
    fn push(&mut self, input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        if input == 1 {
            self.stats.rows_in += n as u64;
            let moments = delta.rows.column(0).as_primitive::<TimestampMicrosecondType>();
            self.clock_us = moments.iter().flatten().fold(self.clock_us, i64::max);
            return Ok(());
        }
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        // Rows that are equal are one, so they need one form.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let diffs = diffs_of(&delta);
        self.take_in(&columns, n, |row| diffs.map_or(1, |d| d[row]), out)
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        match self.due() {
            ControlFlow::Continue(rows) => {
                let slots: Vec<u32> = rows.iter().map(|r| r.0).collect();
                if self.closing_showing {
                    self.stats.rows_out += rows.len() as u64;
                    let columns = self.showing.gather(&slots);
                    emit(out, &self.schema, columns, rows.len(), Some(rows.iter().map(|r| -r.1).collect()))?;
                } else {
                    let columns = self.waiting.gather(&slots);
                    self.take_in(&columns, rows.len(), |row| rows[row].1, out)?;
                }
                Ok(Finish::More)
            }
            ControlFlow::Break(()) => {
                self.at.clear();
                if !std::mem::replace(&mut self.closing_showing, true) {
                    return Ok(Finish::More);
                }
                self.closing_showing = false;
                self.settle()?;
                Ok(Finish::Done)
            }
        }
    }

    fn routing(&self, input: usize) -> Routing {
        match (&self.by, input) {
            (_, 1) => Routing::All,
            (None, _) => Routing::Any,
            (Some(by), _) => Routing::Hash(by.clone()),
        }
    }

    fn stats(&self) -> OpStats {
        let rows = (self.waiting.n_rows() + self.showing.n_rows()) as u64;
        let bytes = (self.waiting.n_bytes() + self.showing.n_bytes()) as u64;
        OpStats { state_rows: rows, state_bytes: bytes, ..self.stats.clone() }
    }

    fn save(&self, home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let by = self.by.as_ref().or(home.as_ref()).unwrap_or(&all);
        for timeline in [&self.waiting, &self.showing] {
            let rows: Vec<(u32, i64)> = timeline.iter().map(|(_, s)| (s.slot, s.now)).collect();
            rows_by_bucket(ROWS, &rows, |slots| timeline.gather(slots), by, to)?;
        }
        let clock = table(vec![int64(std::iter::once(self.clock_us))], 1)?;
        to.push(Image { part: CLOCK, of: Of::All, step: Step::Whole, tables: vec![clock] });
        Ok(())
    }

    /// The clock first: it says of each row whether it waits or shows.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images.iter().filter(|i| i.part == CLOCK) {
            let [clock] = image.read().numbers()?;
            self.clock_us = clock.into_iter().fold(self.clock_us, i64::max);
        }
        let types = types_of(&self.schema);
        for image in images.iter().filter(|i| i.part == ROWS) {
            let (columns, copies) = image.read().numbered(&types)?;
            self.take_in(&columns, copies.len(), |row| copies[row], &mut Out::default())?;
        }
        self.stats = OpStats::default();
        self.settle()
    }
}
