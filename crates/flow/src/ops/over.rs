//! Functions with OVER: rows of each partition in order, with a column for each call.
//!
//! ```text
//! push:    rows wait in `Sequences`, by partition
//! finish:  they are sorted in ┬─ stretch as it was ─▶ over::evaluate ─┐
//!                             └─ stretch as it is  ─▶ over::evaluate ─┴▶ rows whose results differ: -old +new
//! ```
//! Nothing but the input is kept: what a row showed before is computed again from the partition as it was. A row for which a call
//! fails is an error's entry instead, and a row again when the cause goes.
//!
//! Invariant: the output is, for each partition, its rows with the functions' values over exactly its rows; ties are broken by the
//! whole row. Cost: partitions that did not change are not looked at; of those that did, the stretches that [`super::reach`] names.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, UInt32Array, new_empty_array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{Arg, OrderKey, WindowCall};
use regauge_plan::over::{self, Before, Sorted};
use regauge_state::{GroupIndex, Sequences, Weights, canonical_floats, canonical_keys};
use regauge_types::Delta;
use regauge_types::forms::has_forms;
use regauge_types::hash::hash_columns;
use regauge_types::key::{KeyOrder, encode_ordered};

use super::parts::{ROWS_MAX, diffs_of, emit, row_number, schema_of, take_all};
use super::reach::{Reach, Stretch};
use super::sequences;
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// See the module's header.
pub struct Over {
    partition: Vec<usize>,
    order: Vec<OrderKey>,
    calls: Vec<WindowCall>,
    reach: Reach,
    /// The columns of a row's key, and how each orders: the written order, then what else the row has.
    key: Vec<(usize, KeyOrder)>,
    /// Columns that the calls look at.
    needed: BTreeSet<usize>,
    index: GroupIndex,
    rows: Sequences,
    /// Partitions that were taken up in this epoch.
    visited: Vec<u32>,
    sealed: bool,
    results: RowConverter,
    /// Types of its rows.
    input: Vec<DataType>,
    schema: SchemaRef,
    stats: OpStats,
}

/// One reading of some stretches, each a part.
#[derive(Default)]
struct Side {
    /// The slot of each row; copies stand beside each other.
    slots: Vec<u32>,
    parts: Vec<usize>,
    before: Vec<Before>,
}

/// What the calls give over a side.
struct Results {
    columns: Vec<ArrayRef>,
    errors: HashMap<usize, EvalError>,
}

impl Over {
    /// Over an input of these types; `output` are its types and the calls'.
    pub fn new(
        partition: &[usize],
        order: &[OrderKey],
        calls: &[WindowCall],
        input: &[DataType],
        output: &[DataType],
    ) -> Result<Self, FlowError> {
        let types: Vec<DataType> = partition.iter().map(|c| input[*c].clone()).collect();
        let mut key: Vec<(usize, KeyOrder)> = order.iter().map(|o| (o.column, o.key())).collect();
        for (column, ty) in input.iter().enumerate() {
            // partition and order say the value, but not how it is written
            if has_forms(ty) || (!partition.contains(&column) && order.iter().all(|o| o.column != column)) {
                key.push((column, KeyOrder::EXACT));
            }
        }
        let mut needed: BTreeSet<usize> = order.iter().map(|o| o.column).collect();
        for call in calls {
            needed.extend(call.args.iter().filter_map(|a| if let Arg::Column(c) = a { Some(*c) } else { None }));
            needed.extend(call.filter);
        }
        let fields = calls.iter().map(|c| SortField::new(c.output.clone())).collect();
        Ok(Over {
            partition: partition.to_vec(),
            order: order.to_vec(),
            calls: calls.to_vec(),
            reach: Reach::of(calls, order.len()),
            key,
            needed,
            index: GroupIndex::new(&types)?,
            rows: Sequences::new(input)?,
            visited: Vec::new(),
            sealed: false,
            results: RowConverter::new(fields)?,
            input: input.to_vec(),
            schema: schema_of(output),
            stats: OpStats::default(),
        })
    }

    fn side(&self, stretches: &[Stretch], weights: Weights) -> Side {
        let mut side = Side { parts: vec![0], ..Side::default() };
        for stretch in stretches {
            for slot in &stretch.slots {
                let copies = usize::try_from(self.rows.copies(*slot, weights)).unwrap_or(0);
                side.slots.extend(std::iter::repeat_n(*slot, copies));
            }
            side.parts.push(side.slots.len());
            side.before.push(stretch.before);
        }
        side
    }

    fn evaluate(&mut self, side: &Side) -> Result<Results, FlowError> {
        self.stats.touched += side.slots.len() as u64;
        let nothing = new_empty_array(&DataType::Null);
        let n_columns = self.schema.fields().len() - self.calls.len();
        let column = |c: usize| if self.needed.contains(&c) { self.rows.gather_column(c, &side.slots) } else { nothing.clone() };
        let columns: Vec<ArrayRef> = (0..n_columns).map(column).collect();
        let sorted = Sorted { columns: &columns, parts: &side.parts, before: Some(&side.before) };
        let given = over::evaluate(&self.calls, &self.order, &sorted)?;
        Ok(Results { columns: given.columns, errors: given.errors.into_iter().collect() })
    }

    /// Computes stretches as they were and as they are, and sends the rows whose results differ.
    fn work(&mut self, stretches: &[Stretch], out: &mut Out) -> Result<(), FlowError> {
        let (old, new) = (self.side(stretches, Weights::Before), self.side(stretches, Weights::Now));
        let (was, is) = (self.evaluate(&old)?, self.evaluate(&new)?);
        let differ = if old.slots.is_empty() || new.slots.is_empty() {
            None
        } else {
            Some((self.results.convert_columns(&was.columns)?, self.results.convert_columns(&is.columns)?))
        };
        let same = |i: usize, j: usize| match (was.errors.get(&i), is.errors.get(&j)) {
            (None, None) => differ.as_ref().is_some_and(|(a, b)| a.row(i) == b.row(j)),
            (a, b) => a == b,
        };
        let (mut gone, mut come): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let (mut i, mut j) = (0, 0);
        for stretch in stretches {
            for (at, slot) in stretch.slots.iter().enumerate() {
                let copies = |w| usize::try_from(self.rows.copies(*slot, w)).unwrap_or(0);
                let (n_old, n_new) = (copies(Weights::Before), copies(Weights::Now));
                if stretch.shown.contains(&at) {
                    for copy in 0..n_old.max(n_new) {
                        if copy < n_old && copy < n_new && same(i + copy, j + copy) {
                            continue;
                        }
                        gone.extend((copy < n_old).then_some(i + copy));
                        come.extend((copy < n_new).then_some(j + copy));
                    }
                }
                i += n_old;
                j += n_new;
            }
        }
        self.send(&old, &was, gone, -1, out)?;
        self.send(&new, &is, come, 1, out)
    }

    fn send(&mut self, side: &Side, results: &Results, rows: Vec<usize>, diff: i64, out: &mut Out) -> Result<(), FlowError> {
        let mut sound: Vec<u32> = Vec::with_capacity(rows.len());
        for row in rows {
            match results.errors.get(&row) {
                Some(error) => {
                    let failed = self.rows.gather(&[side.slots[row]]);
                    out.error(error.clone(), show::row("row", &failed, 0), diff);
                }
                None => sound.push(row_number(row)),
            }
        }
        self.stats.rows_out += sound.len() as u64;
        let slots: Vec<u32> = sound.iter().map(|row| side.slots[*row as usize]).collect();
        let mut columns = self.rows.gather(&slots);
        let n = sound.len();
        columns.extend(take_all(&results.columns, &UInt32Array::from(sound))?);
        emit(out, &self.schema, columns, n, (diff != 1).then(|| vec![diff; n]))
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

impl Operator for Over {
    fn push(&mut self, _input: usize, delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        // Floats that are equal have one form in a view.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let parts = canonical_keys(self.partition.iter().map(|c| &columns[*c]));
        let mut groups = Vec::new();
        self.index.intern(&parts, &hash_columns(&parts, n)?, &mut groups, &mut Vec::new())?;
        let encoded = |key: &[(usize, KeyOrder)]| {
            let (keys, orders): (Vec<ArrayRef>, Vec<KeyOrder>) = key.iter().map(|(c, o)| (columns[*c].clone(), *o)).unzip();
            encode_ordered(&keys, &orders, n)
        };
        let (order, rest) = (encoded(&self.key[..self.order.len()])?, encoded(&self.key[self.order.len()..])?);
        let diffs = diffs_of(&delta);
        self.rows.push(&groups, [&order, &rest], &columns, |row| diffs.map_or(1, |d| d[row]))?;
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        if !self.sealed {
            self.rows.seal();
            self.sealed = true;
        }
        let (mut stretches, mut n) = (Vec::new(), 0);
        while n < ROWS_MAX {
            let Some((group, changed)) = self.rows.next_group() else {
                self.work(&stretches, out)?;
                self.tidy()?;
                return Ok(Finish::Done);
            };
            self.visited.push(group);
            let negative = changed.iter().map(|s| self.rows.copies(*s, Weights::Now)).find(|c| *c < 0);
            if let Some(multiplicity) = negative {
                return Err(FlowError::Negative { operator: "window", multiplicity });
            }
            if !changed.is_empty() {
                for stretch in self.reach.stretches(&self.rows, group, &changed) {
                    n += stretch.slots.len();
                    stretches.push(stretch);
                }
            }
        }
        self.work(&stretches, out)?;
        Ok(Finish::More)
    }

    fn routing(&self, _input: usize) -> Routing {
        if self.partition.is_empty() { Routing::One } else { Routing::Hash(self.partition.clone()) }
    }

    fn stats(&self) -> OpStats {
        let bytes = self.index.n_bytes() + self.rows.n_bytes();
        OpStats { state_rows: self.rows.n_rows() as u64, state_bytes: bytes as u64, ..self.stats.clone() }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        sequences::save(&self.index, &self.rows, to)
    }

    /// Its rows come again and are sorted in; what they show was sent, and is not computed.
    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images {
            let rows = sequences::rows(image, &self.input)?;
            self.push(0, rows, &mut Out::default())?;
        }
        self.rows.seal();
        while self.rows.next_group().is_some() {}
        self.stats = OpStats::default();
        self.tidy()
    }
}
