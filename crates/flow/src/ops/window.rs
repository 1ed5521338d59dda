//! TUMBLE, HOP and CUMULATE: a row goes out once for every window that holds its time, with the window's bounds appended.
//!
//! ```text
//! windows start at offset + k * slide (k any integer) and are `size` wide; TUMBLE is slide = size
//! ts = 7, slide = 5, size = 10:   [0, 10)   [5, 15)        floor also below zero: ts = -1 lies in [-10, 0) and [-5, 5)
//! CUMULATE starts as TUMBLE does and grows by `step`:  ts = 7, step = 5, size = 15:   [0, 10)   [0, 15)
//! ```
//! Linear and stateless. A row without a time lies in no window and is dropped (as Flink does); a window whose bound leaves the
//! range of timestamps is an error of its row (22008), once a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use regauge_plan::eval::EvalError;
use regauge_types::Delta;

use super::parts::{diffs_of, emit, row_number, schema_of, take_all};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// See the module's header.
pub struct Window {
    ts: usize,
    ts_type: DataType,
    slide_us: i64,
    size_us: i64,
    offset_us: i64,
    /// CUMULATE.
    step_us: Option<i64>,
    schema: SchemaRef,
    stats: OpStats,
}

impl Window {
    /// Windows over column `ts` of an input whose output types (input and two bounds) are `output`.
    pub fn new(ts: usize, slide_us: i64, size_us: i64, offset_us: i64, output: &[DataType]) -> Result<Self, FlowError> {
        let ts_type = output.get(ts).cloned().unwrap_or(DataType::Null);
        if !matches!(ts_type, DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _)) || slide_us <= 0 || size_us <= 0 {
            return Err(FlowError::Plan(format!("a window over {ts_type} slide_us={slide_us} size_us={size_us}")));
        }
        let (schema, stats) = (schema_of(output), OpStats::default());
        Ok(Window { ts, ts_type, slide_us, size_us, offset_us, step_us: None, schema, stats })
    }

    /// The same for windows of one start that grow by `step_us` up to `size_us`.
    pub fn cumulate(ts: usize, step_us: i64, size_us: i64, offset_us: i64, output: &[DataType]) -> Result<Self, FlowError> {
        if step_us <= 0 || size_us % step_us != 0 {
            return Err(FlowError::Plan(format!("windows that grow by step_us={step_us} to size_us={size_us}")));
        }
        Ok(Window { step_us: Some(step_us), ..Window::new(ts, size_us, size_us, offset_us, output)? })
    }

    /// The ends of the windows that begin at `start` and hold `ts`, ascending.
    fn ends(&self, ts: i64, start: i64, ends: &mut Vec<i64>) {
        let Some(step) = self.step_us else {
            // `starts` has looked whether it is in range
            ends.push(start + self.size_us);
            return;
        };
        let first = (ts - start) / step + 1;
        ends.extend((first..=self.size_us / step).map(|k| start + k * step));
    }

    /// The starts of the windows that hold `ts`, ascending; `None` if a bound is out of range. Neighbouring rows often lie in the
    /// same windows: `recent`, the last start of the row before, spares them the division.
    fn starts(&self, ts: i64, starts: &mut Vec<i64>, recent: &mut Option<i64>) -> Option<()> {
        let is_tumble = self.slide_us == self.size_us;
        if let Some(start) = recent.filter(|start| is_tumble && *start <= ts && ts - *start < self.size_us) {
            starts.push(start);
            return Some(());
        }
        let last = ts.checked_sub(ts.checked_sub(self.offset_us)?.rem_euclid(self.slide_us))?;
        // The least start is the first one above ts - size: that many steps below the last.
        let n_below = (last.checked_sub(ts.checked_sub(self.size_us)?)?.checked_sub(1)?).div_euclid(self.slide_us);
        for k in (0..=n_below).rev() {
            let start = last.checked_sub(k.checked_mul(self.slide_us)?)?;
            start.checked_add(self.size_us)?;
            starts.push(start);
        }
        *recent = Some(last);
        Some(())
    }
}

impl Operator for Window {
    fn push(&mut self, _input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        self.stats.rows_in += delta.n_rows() as u64;
        let times = delta.rows.column(self.ts).as_primitive::<TimestampMicrosecondType>();
        let (mut rows, mut starts, mut recent) = (Vec::with_capacity(times.len()), Vec::with_capacity(times.len()), None);
        let mut ends = Vec::with_capacity(times.len());
        for row in (0..delta.n_rows()).filter(|row| times.is_valid(*row)) {
            let n_before = starts.len();
            if self.starts(times.value(row), &mut starts, &mut recent).is_none() {
                starts.truncate(n_before);
                let named = show::row("row", delta.rows.columns(), row);
                out.error(EvalError::new("22008", "timestamp out of range"), named, delta.diff(row));
            }
            starts[n_before..].iter().for_each(|start| self.ends(times.value(row), *start, &mut ends));
            if self.step_us.is_some()
                && let Some(start) = starts.get(n_before).copied()
            {
                starts.resize(ends.len(), start);
            }
            rows.resize(starts.len(), row_number(row));
        }
        self.stats.rows_out += rows.len() as u64;
        let diffs = diffs_of(&delta).map(|d| rows.iter().map(|row| d[*row as usize]).collect());
        let n = rows.len();
        let mut columns = take_all(delta.rows.columns(), &UInt32Array::from(rows))?;
        let bound = |values: Vec<i64>| -> ArrayRef {
            Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(values).with_data_type(self.ts_type.clone()))
        };
        columns.push(bound(starts));
        columns.push(bound(ends));
        emit(out, &self.schema, columns, n, diffs)
    }

    fn finish(&mut self, _out: &mut Out) -> Result<Finish, FlowError> {
        Ok(Finish::Done)
    }

    fn routing(&self, _input: usize) -> Routing {
        Routing::Any
    }

    fn stats(&self) -> OpStats {
        self.stats.clone()
    }

    fn save(&self, _home: &Home, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Ok(())
    }

    fn restore(&mut self, _images: &[&Image]) -> Result<(), FlowError> {
        Ok(())
    }
}
