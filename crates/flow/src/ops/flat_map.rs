//! Rows out of a row: the elements of its arrays and series, one row each, the row's own columns beside them.
//!
//! Linear and stateless between epochs: a row that goes in with diff d comes out as its rows with diff d, or as one error with diff d.
//! What one row becomes may be millions, so nothing is made for a whole batch at once: rows are taken in slices of about
//! [`ELEMENTS_MAX`] elements (a series tells how long it is before it is made, `functions::series::estimates`), and sent in pieces of
//! bounded rows and bytes. What a push leaves over waits for the end of the epoch, a slice a call, so that other flows get their turn.
//! Cost: memory of a slice, or of the longest single series (which is bounded, `SERIES_MAX`), whatever the input.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::eval::{Program, compile};
use regauge_plan::flowplan::RowsOf;
use regauge_plan::functions::series;
use regauge_types::Delta;

use super::parts::{ROWS_MAX, emit, row_number, schema_of};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// Elements that are made at a time, as far as they are known before.
const ELEMENTS_MAX: u64 = 65_536;
/// Bytes of the kept columns in one piece.
const BYTES_MAX: usize = 16 << 20;

/// A list, and how to tell its length.
struct Unfolded {
    list: Program,
    /// The arguments of a series.
    series: Option<Vec<Program>>,
}

/// Rows whose lists are made.
struct Slice {
    rows: Delta,
    lists: Vec<ListArray>,
    /// Rows that each row becomes.
    lens: Vec<usize>,
    /// The next to send: a row and the place in its lists.
    row: usize,
    place: usize,
}

/// See the module's header.
pub struct FlatMap {
    keep: Vec<usize>,
    lists: Vec<Unfolded>,
    outer: bool,
    schema: SchemaRef,
    /// Rows not yet looked at, with about how many elements each has.
    waiting: VecDeque<(Delta, Vec<u64>)>,
    slice: Option<Slice>,
    stats: OpStats,
}

impl FlatMap {
    /// Compiles the lists of an `Op::FlatMap` over an input of these types.
    pub fn new(
        keep: &[usize],
        lists: &[RowsOf],
        outer: bool,
        input: &[DataType],
        output: &[DataType],
    ) -> Result<Self, FlowError> {
        let list = |l: &RowsOf| {
            let scalar = l.scalar().ok_or_else(|| FlowError::Plan("a list without an argument".into()))?;
            let is_series = l.func.as_deref() == Some(series::SERIES.name);
            let series = is_series.then(|| l.args.iter().map(|a| compile(a, input)).collect::<Result<_, _>>()).transpose()?;
            Ok(Unfolded { list: compile(&scalar, input)?, series })
        };
        Ok(FlatMap {
            keep: keep.to_vec(),
            lists: lists.iter().map(list).collect::<Result<_, FlowError>>()?,
            outer,
            schema: schema_of(output),
            waiting: VecDeque::new(),
            slice: None,
            stats: OpStats::default(),
        })
    }

    /// About how many elements each row has; 1 where only making them would tell.
    fn estimates(&self, rows: &RecordBatch) -> Vec<u64> {
        let mut all = vec![1; rows.num_rows()];
        for args in self.lists.iter().filter_map(|l| l.series.as_ref()) {
            let args: Vec<ArrayRef> = args.iter().map(|a| a.eval(rows).values).collect();
            for (n, of_list) in all.iter_mut().zip(series::estimates(&args)) {
                *n = (*n).max(of_list);
            }
        }
        all
    }

    /// Sends about so many rows; whether anything is left.
    fn run(&mut self, n_rows: usize, out: &mut Out) -> Result<bool, FlowError> {
        let mut sent = 0;
        while sent < n_rows {
            let Some(mut slice) = self.slice.take() else {
                match self.next(out)? {
                    Some(slice) => self.slice = Some(slice),
                    None => return Ok(false),
                }
                continue;
            };
            sent += self.send(&mut slice, out)?.max(1);
            if slice.row < slice.lens.len() {
                self.slice = Some(slice);
            }
        }
        Ok(self.slice.is_some() || !self.waiting.is_empty())
    }

    /// Makes the lists of the next rows.
    fn next(&mut self, out: &mut Out) -> Result<Option<Slice>, FlowError> {
        let Some((rows, estimates)) = self.waiting.pop_front() else { return Ok(None) };
        let mut elements = 0u64;
        let mut fits = |n: &u64| {
            elements = elements.saturating_add(*n);
            elements <= ELEMENTS_MAX
        };
        let n = estimates.iter().map_while(|n| fits(n).then_some(())).count().clamp(1, ROWS_MAX).min(rows.n_rows());
        if n < rows.n_rows() {
            self.waiting.push_front((rows.slice(n, rows.n_rows() - n), estimates[n..].to_vec()));
        }
        self.unfolded(rows.slice(0, n), out).map(Some)
    }

    fn unfolded(&mut self, rows: Delta, out: &mut Out) -> Result<Slice, FlowError> {
        let n = rows.n_rows();
        let (mut lists, mut lens, mut failed) = (vec![], vec![0usize; n], BTreeMap::new());
        for list in &self.lists {
            let evaluated = list.list.eval(&rows.rows);
            for (row, error) in evaluated.errors {
                failed.entry(row).or_insert(error);
            }
            let list = evaluated.values.as_list_opt::<i32>();
            let list = list.ok_or_else(|| FlowError::Plan("what is unfolded is no list".into()))?.clone();
            for (row, len) in lens.iter_mut().enumerate().filter(|(row, _)| list.is_valid(*row)) {
                *len = (*len).max(usize::try_from(list.value_length(row)).unwrap_or(0));
            }
            lists.push(list);
        }
        if self.outer {
            lens.iter_mut().for_each(|len| *len = (*len).max(1));
        }
        for (row, error) in failed {
            lens[row] = 0;
            out.error(error, show::row("row", rows.rows.columns(), row), rows.diff(row));
        }
        self.stats.touched += lens.iter().map(|n| *n as u64).sum::<u64>();
        Ok(Slice { rows, lists, lens, row: 0, place: 0 })
    }

    /// Sends a piece of a slice; how many rows it had.
    fn send(&mut self, slice: &mut Slice, out: &mut Out) -> Result<usize, FlowError> {
        let kept: Vec<ArrayRef> = self.keep.iter().map(|c| slice.rows.rows.column(*c).clone()).collect();
        let (mut rows, mut bytes): (Vec<u32>, usize) = (vec![], 0);
        let mut elements: Vec<Vec<Option<u32>>> = vec![vec![]; slice.lists.len()];
        while let Some(len) = slice.lens.get(slice.row).copied() {
            let width = width(&kept, slice.row);
            while slice.place < len && rows.len() < ROWS_MAX && (rows.is_empty() || bytes + width <= BYTES_MAX) {
                rows.push(row_number(slice.row));
                bytes += width;
                for (list, elements) in slice.lists.iter().zip(&mut elements) {
                    elements.push(element(list, slice.row, slice.place));
                }
                slice.place += 1;
            }
            if slice.place < len {
                break;
            }
            slice.row += 1;
            slice.place = 0;
        }
        if rows.is_empty() {
            return Ok(0);
        }
        let n = rows.len();
        let diffs = super::parts::diffs_of(&slice.rows).map(|d| rows.iter().map(|r| d[*r as usize]).collect());
        let rows = UInt32Array::from(rows);
        let mut columns = super::parts::take_all(&kept, &rows)?;
        for (list, elements) in slice.lists.iter().zip(elements) {
            columns.push(take(list.values(), &UInt32Array::from(elements), None)?);
        }
        self.stats.rows_out += n as u64;
        emit(out, &self.schema, columns, n, diffs)?;
        Ok(n)
    }
}

/// Where an element of a row's list stands among the values.
fn element(list: &ListArray, row: usize, place: usize) -> Option<u32> {
    let len = if list.is_valid(row) { usize::try_from(list.value_length(row)).unwrap_or(0) } else { 0 };
    let first = u32::try_from(*list.value_offsets().get(row)?).ok()?;
    (place < len).then(|| first + row_number(place))
}

/// About how many bytes a copy of a row takes.
fn width(columns: &[ArrayRef], row: usize) -> usize {
    let of = |c: &ArrayRef| match c.data_type() {
        DataType::Utf8 => usize::try_from(c.as_string::<i32>().value_length(row)).unwrap_or(0),
        DataType::Binary => usize::try_from(c.as_binary::<i32>().value_length(row)).unwrap_or(0),
        DataType::LargeUtf8 => usize::try_from(c.as_string::<i64>().value_length(row)).unwrap_or(0),
        DataType::List(_) => c.as_list::<i32>().value(row).get_array_memory_size(),
        _ => 8,
    };
    columns.iter().map(of).sum()
}

impl Operator for FlatMap {
    fn push(&mut self, _input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        self.stats.rows_in += delta.n_rows() as u64;
        if delta.is_empty() {
            return Ok(());
        }
        let estimates = self.estimates(&delta.rows);
        self.waiting.push_back((delta, estimates));
        // More than that waits for the end of the epoch: what one push sends is held at once.
        if self.waiting.len() == 1 {
            self.run(4 * ROWS_MAX, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        Ok(if self.run(ROWS_MAX, out)? { Finish::More } else { Finish::Done })
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
