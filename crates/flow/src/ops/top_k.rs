//! Top-k of each partition: rows at positions `offset < p <= offset + limit`, with their number if wished.
//!
//! State: the rows of each partition in order under the frozen key encoding, ties broken by the whole row. At the first touch of
//! a partition in an epoch its window is kept; at the end it is read again and the difference goes out. Without row numbers
//! that is the difference of two multisets; with them, of two lists, position by position.
//!
//! An append-only input needs no more than `offset + limit` rows of a partition: what falls behind can never come back.
//! Invariant: the output is, for each partition, exactly the window of its rows. Cost: O(log rows) a row; O(offset + limit) at
//! the end of an epoch for each partition touched.

mod spilled;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::flowplan::OrderKey;
use regauge_state::{GroupIndex, OrderedGroups, Segments, canonical_floats, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::{BUCKETS, hash_columns};
use regauge_types::key::{KeyOrder, encode_ordered};

use super::dirty::Dirty;
use super::members;
use super::parts::{ROWS_MAX, Touched, diffs_of, emit, row_number, schema_of};
use crate::image::{Home, Image, Step, changed, forget, gone_keys, int64, of_bucket, table};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};

/// A window of a partition: slots in order with how many copies are inside.
type Shown = Vec<(u32, i64)>;

/// See the module's header.
pub struct TopK {
    partition: Vec<usize>,
    order: Vec<OrderKey>,
    limit: i64,
    offset: i64,
    row_number: bool,
    append_only: bool,
    index: GroupIndex,
    /// Rows in each partition, all copies; what was cut off is not counted.
    counts: Segments<i64>,
    members: OrderedGroups,
    touched: Touched,
    dirty: Dirty,
    /// The window at the epoch's start; parallel to `touched`.
    shown: Vec<Shown>,
    /// Changes of the epoch not sent yet: slot, position (or 0), diff.
    waiting: Vec<(u32, i64, i64)>,
    /// Partitions whose changes were computed in this epoch.
    sent: Vec<u32>,
    /// Types of its rows.
    input: Vec<DataType>,
    schema: SchemaRef,
    stats: OpStats,
}

impl TopK {
    /// Over an input of these types.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        partition: &[usize],
        order: &[OrderKey],
        limit: u64,
        offset: u64,
        row_number: bool,
        input: &[DataType],
        output: &[DataType],
        append_only: bool,
    ) -> Result<Self, FlowError> {
        let types: Vec<DataType> = partition.iter().map(|c| input[*c].clone()).collect();
        Ok(TopK {
            partition: partition.to_vec(),
            order: order.to_vec(),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            row_number,
            append_only,
            index: GroupIndex::new(&types)?,
            counts: Segments::default(),
            members: OrderedGroups::new(input)?,
            touched: Touched::default(),
            dirty: Dirty::default(),
            shown: Vec::new(),
            waiting: Vec::new(),
            sent: Vec::new(),
            input: input.to_vec(),
            schema: schema_of(output),
            stats: OpStats::default(),
        })
    }

    fn window(&self, group: u32) -> Shown {
        let (mut skip, mut left, mut window) = (self.offset, self.limit, Vec::new());
        for member in self.members.members(group) {
            if left == 0 {
                break;
            }
            let skipped = member.count.min(skip);
            skip -= skipped;
            let n = (member.count - skipped).min(left);
            left -= n;
            if n > 0 {
                window.push((member.slot, n));
            }
        }
        window
    }

    /// The difference of two windows as (slot, position, diff).
    fn difference(&self, before: &Shown, after: &Shown) -> Vec<(u32, i64, i64)> {
        if before == after {
            return Vec::new();
        }
        let mut changes = Vec::new();
        if self.row_number {
            let numbered = |w: &Shown| {
                w.iter().flat_map(|(s, n)| std::iter::repeat_n(*s, usize::try_from(*n).unwrap_or(0))).collect::<Vec<u32>>()
            };
            let (before, after) = (numbered(before), numbered(after));
            for i in 0..before.len().max(after.len()) {
                let position = self.offset.saturating_add(i64::try_from(i).unwrap_or(i64::MAX)).saturating_add(1);
                let (b, a) = (before.get(i), after.get(i));
                if a == b {
                    continue;
                }
                changes.extend(b.map(|slot| (*slot, position, -1)));
                changes.extend(a.map(|slot| (*slot, position, 1)));
            }
            return changes;
        }
        let mut by_slot: BTreeMap<u32, i64> = before.iter().map(|(s, n)| (*s, -n)).collect();
        for (slot, n) in after {
            *by_slot.entry(*slot).or_insert(0) += n;
        }
        changes.extend(by_slot.into_iter().filter(|(_, diff)| *diff != 0).map(|(slot, diff)| (slot, 0, diff)));
        changes
    }

    /// Append-only: drops what lies behind the window for ever.
    fn cut(&mut self, group: u32) {
        let needed = self.offset.saturating_add(self.limit);
        while let Some((_, last)) = self.members.last(group) {
            let count = &mut self.counts[group as usize];
            if *count - last.count < needed {
                return;
            }
            *count -= last.count;
            self.members.remove_last(group);
        }
    }

    /// The epoch's changes are sent: slots that only its start referred to can go, and partitions that are empty.
    fn tidy(&mut self) -> Result<(), FlowError> {
        self.shown.clear();
        self.members.settle();
        let mut gone = std::mem::take(&mut self.sent);
        self.dirty.mark(gone.iter().copied());
        gone.retain(|group| !self.append_only && self.counts[*group as usize] == 0);
        self.dirty.gone(&gone, || self.index.keys(&gone))?;
        Ok(self.index.forget(&gone)?)
    }

    fn send(&mut self, n_max: usize, out: &mut Out) -> Result<(), FlowError> {
        let rest = self.waiting.split_off(n_max.min(self.waiting.len()));
        let changes = std::mem::replace(&mut self.waiting, rest);
        let slots: Vec<u32> = changes.iter().map(|c| c.0).collect();
        let mut columns = self.members.gather(&slots);
        if self.row_number {
            let positions: Vec<i64> = changes.iter().map(|c| c.1).collect();
            columns.push(Arc::new(Int64Array::from(positions)));
        }
        self.stats.rows_out += changes.len() as u64;
        emit(out, &self.schema, columns, changes.len(), Some(changes.iter().map(|c| c.2).collect()))
    }
}

impl Operator for TopK {
    fn push(&mut self, _input: usize, delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        // Floats that are equal have one form in a view; other rows are one member if they are the same as they are shown.
        let columns: Vec<ArrayRef> = delta.rows.columns().iter().map(canonical_floats).collect();
        let keys = canonical_keys(self.partition.iter().map(|c| &columns[*c]));
        let mut groups = Vec::new();
        self.index.intern(&keys, &hash_columns(&keys, n)?, &mut groups, &mut Vec::new())?;
        self.counts.grow(self.index.n_ids(), 0);
        let ordered: Vec<ArrayRef> =
            self.order.iter().map(|o| columns[o.column].clone()).chain(columns.iter().cloned()).collect();
        let mut orders: Vec<KeyOrder> = self.order.iter().map(|o| o.key()).collect();
        orders.resize(ordered.len(), KeyOrder::EXACT);
        let sort_keys = encode_ordered(&ordered, &orders, n)?;
        let diffs = diffs_of(&delta);
        let needed = self.offset.saturating_add(self.limit);
        for (row, group) in groups.iter().enumerate() {
            let sort_key = sort_keys.get(row);
            let diff = diffs.map_or(1, |d| d[row]);
            let g = *group as usize;
            if self.append_only && self.counts[g] >= needed && self.members.last(*group).is_none_or(|(last, _)| last < sort_key) {
                continue;
            }
            if self.touched.mark(*group) {
                let window = self.window(*group);
                self.stats.touched += window.len() as u64;
                self.shown.push(window);
            }
            self.counts[g] += diff;
            self.members.add(*group, sort_key, &columns, row_number(row), diff)?;
            if self.append_only {
                self.cut(*group);
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        if !self.waiting.is_empty() {
            self.send(ROWS_MAX, out)?;
            return Ok(Finish::More);
        }
        let (at, groups) = self.touched.next(64);
        for (i, group) in groups.iter().enumerate() {
            let count = self.counts[*group as usize];
            if count < 0 {
                return Err(FlowError::Negative { operator: "top-k", multiplicity: count });
            }
            let after = self.window(*group);
            self.stats.touched += after.len() as u64;
            let before = std::mem::take(&mut self.shown[at + i]);
            let changes = self.difference(&before, &after);
            self.waiting.extend(changes);
        }
        if groups.is_empty() {
            self.tidy()?;
            return Ok(Finish::Done);
        }
        self.send(ROWS_MAX, out)?;
        self.sent.extend(groups);
        Ok(Finish::More)
    }

    fn routing(&self, _input: usize) -> Routing {
        if self.partition.is_empty() { Routing::One } else { Routing::Hash(self.partition.clone()) }
    }

    fn stats(&self) -> OpStats {
        let bytes =
            self.index.n_bytes() + self.counts.n_bytes() + self.touched.n_bytes() + self.dirty.n_bytes() + self.members.n_bytes();
        OpStats { state_rows: self.members.n_rows() as u64, state_bytes: bytes as u64, ..self.stats.clone() }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        (0..BUCKETS).try_for_each(|bucket| self.save_bucket(bucket, to))
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        self.take_in(images, &|_| true)
    }

    fn track(&mut self) -> bool {
        self.dirty.start();
        true
    }

    fn save_bucket(&self, bucket: usize, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (bucket, groups) in of_bucket(&self.index, bucket) {
            to.push(Image::new(0, bucket, self.tables(&groups)?));
        }
        Ok(())
    }

    /// Of a partition that changed it takes all rows: which of them are new is not known.
    fn save_changes(&mut self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let (groups, gone) = self.dirty.take();
        gone_keys(0, gone, to)?;
        for (of, groups) in changed(&groups, self.index.n_groups(), |bucket| self.index.bucket(bucket)) {
            to.push(Image { of, ..Image::change(0, Step::Changed, self.tables(&groups)?) });
        }
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        self.take_in(images, mine)
    }
}

/// What a checkpoint takes and gives.
impl TopK {
    fn tables(&self, groups: &[u32]) -> Result<Vec<RecordBatch>, FlowError> {
        let keys = table(self.index.keys(groups)?, groups.len())?;
        let counts = table(vec![int64(groups.iter().map(|g| self.counts[*g as usize]))], groups.len())?;
        let mut tables = vec![keys, counts];
        members::save(&self.members, groups, &mut tables)?;
        Ok(tables)
    }

    fn take_in(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        images.iter().try_for_each(|image| {
            self.put(image, mine)?;
            self.members.settle();
            Ok(())
        })
    }

    fn put(&mut self, image: &Image, mine: &Mine<'_>) -> Result<(), FlowError> {
        let mut tables = image.read();
        let input = &self.input;
        let types: Vec<DataType> = self.partition.iter().map(|c| input[*c].clone()).collect();
        let (keys, n) = tables.table(&types)?;
        let (hashes, mut groups) = (hash_columns(&keys, n)?, Vec::new());
        self.index.intern(&keys, &hashes, &mut groups, &mut Vec::new())?;
        self.counts.grow(self.index.n_ids(), 0);
        if image.step != Step::Whole {
            for group in &groups {
                self.counts[*group as usize] = 0;
                self.members.clear(*group);
            }
            self.members.settle();
        }
        if image.step != Step::Gone {
            let [counts] = tables.numbers()?;
            groups.iter().zip(counts).for_each(|(g, n)| self.counts[*g as usize] += n);
            members::restore(&mut self.members, &groups, &self.input, &mut tables, |_, _, _, _| {})?;
        }
        let others = groups.iter().zip(hashes).filter(|(_, hash)| image.step == Step::Gone || !mine(*hash));
        let others: Vec<u32> = others.map(|(group, _)| *group).collect();
        for group in &others {
            self.counts[*group as usize] = 0;
            self.members.clear(*group);
        }
        forget(&mut self.index, others)
    }
}
