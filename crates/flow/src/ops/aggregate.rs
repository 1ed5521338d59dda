//! GROUP BY: one row a group, changed rows sent once at the end of each epoch.
//!
//! ```text
//! push:    keys -> group ids -> (first touch in this epoch: keep the old row) -> accumulators[call].update
//! finish:  for each touched group    old row?  new row?      sends
//!                                    -         r             +r
//!                                    r         -             -r         group forgotten
//!                                    r         r'            -r +r'     nothing if they are equal
//! ```
//! A row may be an error instead (sum out of range): then the error's entry takes the row's place, and goes when it heals.
//!
//! Invariant: the output holds for each group that has rows exactly the row that its accumulators give; a group's state is a
//! function of the multiset of its rows. Without keys there is exactly one group, which exists from the first epoch on and never
//! goes: the runtime finishes a `Routing::One` operator on the one worker that it routes to. Groups are equal as PostgreSQL
//! groups. Cost: one look-up and one update a call for each row; the end of an epoch costs the groups it touched.

mod spilled;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{AggCall, AggFunc};
use regauge_state::{Columns, GroupIndex, Segments, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::hash_columns;

use super::accumulate::{Accumulator, Rows, accumulator};
use super::dirty::Dirty;
use super::parts::{ROWS_MAX, Touched, diffs_of, emit, row_number, schema_of, take_all};
use super::shown::{Before, Shown};
use crate::image::{Home, Image, Step, by_bucket, changed, forget, gone_keys, int64, of_bucket, table, types_of};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};
use crate::show;

struct Call {
    /// None for a plain count(*): that is the number of the group's rows, which is kept anyway.
    accumulator: Option<Box<dyn Accumulator>>,
    /// Arguments, then ORDER BY columns, of the input.
    columns: Vec<usize>,
    filter: Option<usize>,
    /// Rows whose first argument is NULL take no part.
    skips_null: bool,
}

/// See the module's header.
pub struct Aggregate {
    keys: Vec<usize>,
    calls: Vec<Call>,
    index: GroupIndex,
    n_rows: Segments<i64>,
    touched: Touched,
    dirty: Dirty,
    /// Rows are slots of `old`.
    shown: Before,
    old: Columns,
    schema: SchemaRef,
    has_started: bool,
    /// Nothing was sent before this epoch, though groups may have been touched before in it.
    is_fresh: bool,
    stats: OpStats,
}

/// The rows that take part in a call: everything, or some.
fn taking_part(filter: Option<usize>, columns: &[usize], skips_null: bool, delta: &Delta) -> Option<Vec<u32>> {
    let column = |c: usize| delta.rows.column(c);
    let filter = filter.map(|c| column(c).as_boolean());
    let nulls = columns.first().filter(|_| skips_null).map(|c| column(*c)).filter(|c| c.null_count() > 0);
    if filter.is_none() && nulls.is_none() {
        return None;
    }
    let takes_part =
        |row: &usize| filter.is_none_or(|f| f.is_valid(*row) && f.value(*row)) && nulls.is_none_or(|c| c.is_valid(*row));
    Some((0..delta.n_rows()).filter(takes_part).map(row_number).collect())
}

/// For each group the leftmost call's error.
fn first_errors(all: Vec<Vec<(usize, EvalError)>>) -> HashMap<usize, EvalError> {
    let mut first = HashMap::new();
    for (at, error) in all.into_iter().flatten() {
        first.entry(at).or_insert(error);
    }
    first
}

impl Aggregate {
    /// An aggregate over an input of these types; `output` are the keys' and the calls' types.
    pub fn new(
        keys: &[usize],
        aggs: &[AggCall],
        input: &[DataType],
        output: &[DataType],
        append_only: bool,
    ) -> Result<Self, FlowError> {
        let types: Vec<DataType> = keys.iter().map(|k| input[*k].clone()).collect();
        let mut calls = Vec::with_capacity(aggs.len());
        for call in aggs {
            let columns: Vec<usize> = call.args.iter().copied().chain(call.order.iter().map(|o| o.column)).collect();
            let types: Vec<DataType> = columns.iter().map(|c| input[*c].clone()).collect();
            let counts_rows = call.func == AggFunc::Count && columns.is_empty() && call.filter.is_none();
            calls.push(Call {
                accumulator: if counts_rows { None } else { Some(accumulator(call, &types, append_only)?) },
                columns,
                filter: call.filter,
                skips_null: !call.args.is_empty() && call.func != AggFunc::ArrayAgg,
            });
        }
        let mut this = Aggregate {
            keys: keys.to_vec(),
            calls,
            index: GroupIndex::new(&types)?,
            n_rows: Segments::default(),
            touched: Touched::default(),
            dirty: Dirty::default(),
            shown: Before::default(),
            old: Columns::new(&output[keys.len()..])?,
            schema: schema_of(output),
            has_started: false,
            is_fresh: false,
            stats: OpStats::default(),
        };
        if this.is_global() {
            let (mut ids, hashes) = (Vec::new(), hash_columns(&[], 1)?);
            this.index.intern(&[], &hashes, &mut ids, &mut Vec::new())?;
            this.grow();
            this.touch(&ids)?;
        }
        Ok(this)
    }

    fn is_global(&self) -> bool {
        self.keys.is_empty()
    }

    fn grow(&mut self) {
        let n = self.index.n_ids();
        self.n_rows.grow(n, 0);
        self.accumulators().for_each(|a| a.resize(n));
    }

    fn accumulators(&mut self) -> impl Iterator<Item = &mut Box<dyn Accumulator>> {
        self.calls.iter_mut().filter_map(|c| c.accumulator.as_mut())
    }

    fn exists(&self, group: u32) -> bool {
        self.is_global() || self.n_rows[group as usize] > 0
    }

    fn values(&self, groups: &[u32]) -> Result<(Vec<ArrayRef>, HashMap<usize, EvalError>), FlowError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.calls.len());
        let mut errors = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let Some(accumulator) = &call.accumulator else {
                let counts: Vec<i64> = groups.iter().map(|g| self.n_rows[*g as usize]).collect();
                columns.push(Arc::new(Int64Array::from(counts)));
                continue;
            };
            let (values, failed) = accumulator.values(groups)?;
            columns.push(values);
            errors.push(failed);
        }
        Ok((columns, first_errors(errors)))
    }

    /// Marks groups as touched and keeps what those that exist show, before anything changes.
    fn touch(&mut self, groups: &[u32]) -> Result<(), FlowError> {
        let (mut existing, mut places) = (Vec::new(), Vec::new());
        for group in groups {
            let place = self.touched.len();
            let is_first = self.touched.mark(*group) && !self.is_fresh;
            if is_first && self.exists(*group) && (self.has_started || !self.is_global()) {
                existing.push(*group);
                places.push(place);
            }
        }
        self.stats.touched += existing.len() as u64;
        if existing.is_empty() {
            return Ok(());
        }
        let (columns, mut errors) = self.values(&existing)?;
        let rows: Vec<u32> = (0..existing.len()).filter(|i| !errors.contains_key(i)).map(row_number).collect();
        let mut slots = Vec::with_capacity(rows.len());
        self.old.insert(&columns, &rows, &mut slots)?;
        for (row, slot) in rows.iter().zip(slots) {
            self.shown.put(places[*row as usize], Shown::Row(slot));
        }
        for (at, place) in places.iter().enumerate() {
            if let Some(error) = errors.remove(&at) {
                self.shown.put(*place, Shown::Error(error));
            }
        }
        Ok(())
    }

    fn update(&mut self, delta: &Delta, groups: &[u32]) -> Result<(), FlowError> {
        let diffs = diffs_of(delta);
        match diffs {
            None => groups.iter().for_each(|g| self.n_rows[*g as usize] += 1),
            Some(diffs) => groups.iter().zip(diffs).for_each(|(g, d)| self.n_rows[*g as usize] += d),
        }
        for call in &mut self.calls {
            let Some(accumulator) = &mut call.accumulator else { continue };
            let args: Vec<ArrayRef> = call.columns.iter().map(|c| delta.rows.column(*c).clone()).collect();
            let Some(rows) = taking_part(call.filter, &call.columns, call.skips_null, delta) else {
                accumulator.update(&Rows { groups, args: &args, diffs })?;
                continue;
            };
            let some_groups: Vec<u32> = rows.iter().map(|row| groups[*row as usize]).collect();
            let some_diffs: Option<Vec<i64>> = diffs.map(|d| rows.iter().map(|row| d[*row as usize]).collect());
            let some_args = take_all(&args, &UInt32Array::from(rows))?;
            accumulator.update(&Rows { groups: &some_groups, args: &some_args, diffs: some_diffs.as_deref() })?;
        }
        Ok(())
    }

    /// Which of these groups show the row that they showed before.
    fn unchanged(&self, groups: &[u32], before: &[Shown], values: &[ArrayRef], errors: &HashMap<usize, EvalError>) -> Vec<bool> {
        let (mut slots, mut rows) = (Vec::new(), Vec::new());
        for (i, (group, before)) in groups.iter().zip(before).enumerate() {
            if let Shown::Row(slot) = before
                && self.exists(*group)
                && !errors.contains_key(&i)
            {
                slots.push(*slot);
                rows.push(row_number(i));
            }
        }
        let mut same = vec![true; slots.len()];
        self.old.retain_same_bits(&slots, values, &rows, &mut same);
        let mut unchanged = vec![false; groups.len()];
        rows.iter().zip(same).for_each(|(row, same)| unchanged[*row as usize] = same);
        unchanged
    }

    /// Sends what changed in these groups; `at` is the place of the first in `shown`.
    fn send(&mut self, at: usize, groups: &[u32], out: &mut Out) -> Result<(), FlowError> {
        if let Some(group) = groups.iter().find(|g| self.n_rows[**g as usize] < 0) {
            return Err(FlowError::Negative { operator: "aggregate", multiplicity: self.n_rows[*group as usize] });
        }
        let keys = self.index.keys(groups)?;
        let (values, mut errors) = self.values(groups)?;
        let before: Vec<Shown> = (at..at + groups.len()).map(|place| self.shown.take(place)).collect();
        let same = self.unchanged(groups, &before, &values, &errors);
        let (mut gone, mut gone_slots, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (group, before)) in groups.iter().zip(before).enumerate() {
            let row = row_number(i);
            let error = errors.remove(&i).filter(|_| self.exists(*group));
            let is_row = error.is_none() && self.exists(*group);
            match before {
                Shown::Row(slot) if same[i] => {
                    self.old.remove(slot);
                    continue;
                }
                Shown::Row(slot) => {
                    gone.push(row);
                    gone_slots.push(slot);
                }
                Shown::Error(before) if error.as_ref() == Some(&before) => continue,
                Shown::Error(before) => out.error(before, show::row("group", &keys, i), -1),
                Shown::Nothing => {}
            }
            if is_row {
                new.push(row);
            } else if let Some(error) = error {
                out.error(error, show::row("group", &keys, i), 1);
            }
        }
        self.stats.rows_out += (gone.len() + new.len()) as u64;
        let n = gone.len();
        let mut columns = take_all(&keys, &UInt32Array::from(gone))?;
        columns.extend(self.old.gather(&gone_slots));
        emit(out, &self.schema, columns, n, Some(vec![-1; n]))?;
        gone_slots.iter().for_each(|slot| self.old.remove(*slot));
        let n = new.len();
        let new = UInt32Array::from(new);
        let columns = [take_all(&keys, &new)?, take_all(&values, &new)?].concat();
        emit(out, &self.schema, columns, n, None)?;
        self.dirty.mark(groups.iter().copied());
        let gone: Vec<u32> = groups.iter().copied().filter(|g| !self.exists(*g)).collect();
        self.dirty.gone(&gone, || self.index.keys(&gone))?;
        self.index.forget(&gone)?;
        gone.iter().try_for_each(|group| self.accumulators().try_for_each(|a| a.clear(*group)))
    }
}

/// What a checkpoint takes and gives.
impl Aggregate {
    /// Groups with what is kept of each.
    pub(super) fn save_groups(&self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        self.save_pieces(&by_bucket(&self.index).collect::<Vec<_>>(), to)
    }

    fn save_pieces(&self, pieces: &[(usize, Vec<u32>)], to: &mut Vec<Image>) -> Result<(), FlowError> {
        let groups: Vec<&[u32]> = pieces.iter().map(|(_, groups)| groups.as_slice()).collect();
        let tables = self.tables(&groups)?;
        to.extend(pieces.iter().zip(tables).map(|((bucket, _), tables)| Image::new(0, *bucket, tables)));
        Ok(())
    }

    /// Of each piece its tables.
    fn tables(&self, pieces: &[&[u32]]) -> Result<Vec<Vec<RecordBatch>>, FlowError> {
        let mut tables = Vec::with_capacity(pieces.len());
        for groups in pieces {
            let n_rows = int64(groups.iter().map(|g| self.n_rows[*g as usize]));
            tables.push(vec![table(self.index.keys(groups)?, groups.len())?, table(vec![n_rows], groups.len())?]);
        }
        for accumulator in self.calls.iter().filter_map(|c| c.accumulator.as_ref()) {
            accumulator.save(pieces, &mut tables)?;
        }
        Ok(tables)
    }

    /// Takes in what replaces groups.
    fn replace_groups(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        let types = types_of(&self.schema);
        for image in images {
            let mut tables = image.read();
            let (keys, n) = tables.table(&types[..self.keys.len()])?;
            let (hashes, mut groups) = (hash_columns(&keys, n)?, Vec::new());
            self.index.intern(&keys, &hashes, &mut groups, &mut Vec::new())?;
            self.grow();
            self.empty(&groups)?;
            if image.step != Step::Gone {
                let [n_rows] = tables.numbers()?;
                groups.iter().zip(n_rows).for_each(|(g, n)| self.n_rows[*g as usize] = n);
                self.accumulators().try_for_each(|a| a.restore(&groups, &mut tables))?;
            }
            if !self.is_global() {
                let others = groups.iter().zip(hashes).filter(|(_, hash)| image.step == Step::Gone || !mine(*hash));
                let others: Vec<u32> = others.map(|(group, _)| *group).collect();
                self.empty(&others)?;
                forget(&mut self.index, others)?;
            }
        }
        self.settle();
        Ok(())
    }

    fn empty(&mut self, groups: &[u32]) -> Result<(), FlowError> {
        groups.iter().for_each(|group| self.n_rows[*group as usize] = 0);
        groups.iter().try_for_each(|group| self.accumulators().try_for_each(|a| a.clear(*group)))?;
        self.settle();
        Ok(())
    }

    /// Takes the groups of an image in; `created` gets their ids.
    fn take_groups(&mut self, image: &Image, created: &mut Vec<u32>) -> Result<(), FlowError> {
        let types = types_of(&self.schema);
        let mut tables = image.read();
        let (keys, n) = tables.table(&types[..self.keys.len()])?;
        let [n_rows] = tables.numbers()?;
        let mut groups = Vec::new();
        self.index.intern(&keys, &hash_columns(&keys, n)?, &mut groups, created)?;
        self.grow();
        groups.iter().zip(n_rows).for_each(|(g, n)| self.n_rows[*g as usize] = n);
        self.accumulators().try_for_each(|a| a.restore(&groups, &mut tables))
    }

    /// Takes groups in; `created` gets their ids.
    pub(super) fn restore_groups<'a>(
        &mut self,
        images: impl Iterator<Item = &'a Image>,
        created: &mut Vec<u32>,
    ) -> Result<(), FlowError> {
        for image in images {
            self.take_groups(image, created)?;
        }
        // A global group was touched when it was made; its row was sent by who saved it.
        while !self.touched.next(ROWS_MAX).1.is_empty() {}
        self.has_started = true;
        self.settle();
        Ok(())
    }
}

/// What [`super::close`] asks of its groups: nothing is shown while they are open.
impl Aggregate {
    fn groups_of(&mut self, delta: &Delta, created: &mut Vec<u32>) -> Result<Vec<u32>, FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        let keys = canonical_keys(self.keys.iter().map(|k| delta.rows.column(*k)));
        let hashes = hash_columns(&keys, n)?;
        let mut groups = Vec::new();
        self.index.intern(&keys, &hashes, &mut groups, created)?;
        self.grow();
        Ok(groups)
    }

    /// Takes rows in without keeping what their groups showed; `created` gets the groups that are new.
    pub(super) fn take_in(&mut self, delta: &Delta, created: &mut Vec<u32>) -> Result<(), FlowError> {
        let groups = self.groups_of(delta, created)?;
        self.update(delta, &groups)
    }

    /// Groups will be sent last while they have rows.
    pub(super) fn closes(&mut self) {
        self.accumulators().for_each(|a| a.closes());
    }

    /// The keys of groups.
    pub(super) fn keys_of(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, FlowError> {
        Ok(self.index.keys(groups)?)
    }

    /// An epoch has ended.
    pub(super) fn settle(&mut self) {
        self.accumulators().for_each(|a| a.settle());
    }

    /// Sends these groups' rows and forgets the groups.
    pub(super) fn send_last(&mut self, groups: &[u32], out: &mut Out) -> Result<(), FlowError> {
        let keys = self.index.keys(groups)?;
        let (values, errors) = self.values(groups)?;
        let mut rows = Vec::with_capacity(groups.len());
        for (i, group) in groups.iter().enumerate() {
            match self.n_rows[*group as usize] {
                n if n < 0 => return Err(FlowError::Negative { operator: "aggregate", multiplicity: n }),
                0 => {}
                _ => match errors.get(&i) {
                    Some(error) => out.error(error.clone(), show::row("group", &keys, i), 1),
                    None => rows.push(row_number(i)),
                },
            }
        }
        self.stats.touched += groups.len() as u64;
        self.stats.rows_out += rows.len() as u64;
        let n = rows.len();
        let rows = UInt32Array::from(rows);
        emit(out, &self.schema, [take_all(&keys, &rows)?, take_all(&values, &rows)?].concat(), n, None)?;
        self.index.forget(groups)?;
        for group in groups {
            self.n_rows[*group as usize] = 0;
            self.accumulators().try_for_each(|a| a.clear(*group))?;
        }
        Ok(())
    }
}

impl Operator for Aggregate {
    fn push(&mut self, _input: usize, delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        let groups = self.groups_of(&delta, &mut Vec::new())?;
        self.touch(&groups)?;
        self.update(&delta, &groups)
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        let (at, groups) = self.touched.next(ROWS_MAX);
        if groups.is_empty() {
            self.shown.clear();
            (self.has_started, self.is_fresh) = (true, false);
            self.accumulators().for_each(|a| a.settle());
            return Ok(Finish::Done);
        }
        self.send(at, &groups, out)?;
        Ok(Finish::More)
    }

    fn routing(&self, _input: usize) -> Routing {
        if self.is_global() { Routing::One } else { Routing::Hash(self.keys.clone()) }
    }

    fn stats(&self) -> OpStats {
        let accumulators: usize = self.calls.iter().filter_map(|c| c.accumulator.as_ref()).map(|a| a.n_bytes()).sum();
        let of_epoch = self.touched.n_bytes() + self.dirty.n_bytes() + self.shown.n_bytes() + self.old.n_bytes();
        let bytes = self.index.n_bytes() + self.n_rows.n_bytes() + accumulators + of_epoch;
        OpStats { state_rows: self.index.n_groups() as u64, state_bytes: bytes as u64, ..self.stats.clone() }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        self.save_groups(to)
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        self.restore_groups(images.iter().copied(), &mut Vec::new())
    }

    fn track(&mut self) -> bool {
        self.dirty.start();
        true
    }

    fn save_bucket(&self, bucket: usize, to: &mut Vec<Image>) -> Result<(), FlowError> {
        self.save_pieces(&of_bucket(&self.index, bucket), to)
    }

    fn save_changes(&mut self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let (groups, gone) = self.dirty.take();
        gone_keys(0, gone, to)?;
        let pieces = changed(&groups, self.index.n_groups(), |bucket| self.index.bucket(bucket));
        let tables = self.tables(&pieces.iter().map(|(_, groups)| groups.as_slice()).collect::<Vec<_>>())?;
        let images =
            pieces.iter().zip(tables).map(|((of, _), tables)| Image { of: *of, ..Image::change(0, Step::Changed, tables) });
        to.extend(images);
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        self.accumulators().try_for_each(|a| a.recalls(true))?;
        self.replace_groups(images, mine)?;
        self.accumulators().try_for_each(|a| a.recalls(false))
    }
}
