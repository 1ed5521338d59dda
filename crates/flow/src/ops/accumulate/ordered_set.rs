//! percentile_cont, percentile_disc, mode: the values of a group in order, each with its count.
//!
//! ```text
//!   values   1  2  2  5  7  7  9       a cursor for each fraction: a sort key, and how many values stand before it
//!                     ▲                a value that comes or goes before the key shifts the number; when a result is asked for the
//!            before: 3                 cursor walks to the position that the fraction points at now
//! ```
//! Invariant: the members of a group are the multiset of its values, so a result depends on no order of arrival. Cost: a percentile
//! costs the values between where it was and where it is, a few for a few changes; mode knows the most frequent value and counts
//! all of them only after that one became rarer. Does not know NULLs and FILTER, which are taken out before.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, RecordBatch, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{AggCall, AggFunc};
use regauge_plan::functions::fractions::{self, Place};
use regauge_plan::value::Datum;
use regauge_state::{OrderedGroups, Segments, canonical_floats};
use regauge_types::forms::canonical;
use regauge_types::key::{KeyOrder, encode_ordered};

use super::{Accumulator, Rows, Values};
use crate::image::Tables;
use crate::operator::FlowError;
use crate::ops::members;
use crate::ops::parts::row_number;

/// See the module's header.
pub(super) struct OrderedSet {
    func: AggFunc,
    /// One, unless a list is asked for; `None` is NULL.
    fractions: Vec<Option<f64>>,
    is_list: bool,
    item: DataType,
    order: KeyOrder,
    members: OrderedGroups,
    counts: Segments<i64>,
    /// Where reading left off; reading changes nothing else.
    marks: RefCell<Segments<Marks>>,
}

/// What is remembered of a group.
#[derive(Debug, Default)]
struct Marks {
    /// One for each fraction, once it was read.
    cursors: Vec<Cursor>,
    /// The most frequent value; `None` when it is not known.
    most: Option<(i64, Box<[u8]>)>,
}

/// A sort key, which need not be a member's, and the number of values before it.
#[derive(Debug, Default)]
struct Cursor {
    key: Box<[u8]>,
    before: i64,
}

/// Where one result comes from: two slots and how far between them.
type Source = Option<(u32, u32, f64)>;

impl Cursor {
    /// Walks to the member at this position, counted from 0; its slot, and the number of values up to its end.
    fn seek(&mut self, members: &OrderedGroups, group: u32, position: i64) -> Option<(u32, i64)> {
        if position < self.before {
            let (mut key, mut before) = (None, self.before);
            for (k, member) in members.members_before(group, &self.key) {
                (key, before) = (Some(k), before - member.count);
                if before <= position {
                    break;
                }
            }
            (self.key, self.before) = (key?.into(), before);
        }
        let mut before = self.before;
        for (key, member) in members.members_from(group, &self.key) {
            let end = before + member.count;
            if position < end {
                if *self.key != *key {
                    self.key = key.into();
                }
                self.before = before;
                return Some((member.slot, end));
            }
            before = end;
        }
        None
    }
}

impl OrderedSet {
    /// `ty` is the argument's type.
    pub(super) fn new(call: &AggCall, ty: &DataType) -> Result<Self, FlowError> {
        let key = call.order.first().ok_or_else(|| FlowError::Plan("an aggregate within a group without order".into()))?;
        let fraction = |d: &Datum| if let Datum::Float(f) = d { Some(*f) } else { None };
        Ok(OrderedSet {
            func: call.func,
            fractions: call.direct.iter().map(|v| fraction(&v.datum)).collect(),
            is_list: matches!(call.output, DataType::List(_)) && call.func != AggFunc::Mode,
            item: ty.clone(),
            // mode counts values; a percentile shows one that is there, of equal ones the first as it is written
            order: KeyOrder { exact: call.func != AggFunc::Mode, ..key.key() },
            members: OrderedGroups::new(std::slice::from_ref(ty))?,
            counts: Segments::default(),
            marks: RefCell::default(),
        })
    }

    /// A value has come or gone; its count is now `count`.
    fn moved(&mut self, group: u32, key: &[u8], diff: i64, count: i64) {
        let marks = &mut self.marks.get_mut()[group as usize];
        for cursor in &mut marks.cursors {
            if *key < *cursor.key {
                cursor.before += diff;
            }
        }
        let Some((most, of)) = &mut marks.most else { return };
        match (**of).cmp(key) {
            Ordering::Equal if diff > 0 => *most = count,
            Ordering::Equal => marks.most = None,
            // of equally frequent ones the first
            order if count > *most || (count == *most && order == Ordering::Greater) => marks.most = Some((count, key.into())),
            _ => {}
        }
    }

    fn mode(&self, group: u32) -> Source {
        let mut all = self.marks.borrow_mut();
        let marks = &mut all[group as usize];
        if marks.most.is_none() {
            for (key, member) in self.members.members_from(group, &[]) {
                if marks.most.as_ref().is_none_or(|(count, _)| member.count > *count) {
                    marks.most = Some((member.count, key.into()));
                }
            }
        }
        let (_, key) = marks.most.as_ref()?;
        let (_, member) = self.members.members_from(group, key).next()?;
        Some((member.slot, member.slot, 0.0))
    }

    fn sources(&self, group: u32) -> Vec<Source> {
        let n = u64::try_from(self.counts[group as usize]).unwrap_or(0);
        if n == 0 {
            return vec![None; self.fractions.len().max(1)];
        }
        if self.func == AggFunc::Mode {
            return vec![self.mode(group)];
        }
        let mut marks = self.marks.borrow_mut();
        let cursors = &mut marks[group as usize].cursors;
        cursors.resize_with(self.fractions.len(), Cursor::default);
        let source = |(fraction, cursor): (&Option<f64>, &mut Cursor)| {
            let fraction = (*fraction)?;
            let Place { low, high, share } = match self.func {
                AggFunc::PercentileCont => fractions::continuous(fraction, n),
                _ => fractions::discrete(fraction, n),
            };
            let (slot, end) = cursor.seek(&self.members, group, i64::try_from(low).ok()?)?;
            if i64::try_from(high).ok()? < end {
                return Some((slot, slot, share));
            }
            let (_, next) = self.members.members_from(group, &cursor.key).nth(1)?;
            Some((slot, next.slot, share))
        };
        self.fractions.iter().zip(cursors).map(source).collect()
    }

    /// The items of these sources, and those that have none by error.
    fn items(&self, sources: &[Source]) -> Result<(ArrayRef, Vec<(usize, EvalError)>), FlowError> {
        let slots = |pick: fn(&(u32, u32, f64)) -> u32| sources.iter().flatten().map(pick).collect::<Vec<u32>>();
        // a gathered row for each source that is there, NULL for the others
        let mut next = 0u32;
        let rows: UInt32Array = sources
            .iter()
            .map(|s| {
                s.as_ref().map(|_| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let column = |slots: &[u32]| -> Result<ArrayRef, FlowError> {
            Ok(take(self.members.gather(slots).swap_remove(0).as_ref(), &rows, None)?)
        };
        let low = column(&slots(|s| s.0))?;
        if self.func != AggFunc::PercentileCont {
            return Ok((low, vec![]));
        }
        let high = column(&slots(|s| s.1))?;
        let shares: Vec<f64> = sources.iter().map(|s| s.map_or(0.0, |s| s.2)).collect();
        if let Ok(items) = fractions::between(&low, &high, &shares) {
            return Ok((items, vec![]));
        }
        // some interval leaves its range: which ones?
        let mut errors = vec![];
        let one = |i: usize, shares: &[f64]| fractions::between(&low.slice(i, 1), &high.slice(i, 1), shares);
        let kept: UInt32Array = (0..sources.len())
            .map(|i| match one(i, &shares[i..=i]) {
                Ok(_) => Some(row_number(i)),
                Err(e) => {
                    errors.push((i, e));
                    None
                }
            })
            .collect();
        let (low, high) = (take(low.as_ref(), &kept, None)?, take(high.as_ref(), &kept, None)?);
        let items = fractions::between(&low, &high, &shares)?;
        Ok((items, errors))
    }
}

impl Accumulator for OrderedSet {
    fn resize(&mut self, n_ids: usize) {
        self.counts.grow(n_ids, 0);
        self.marks.get_mut().grow_with(n_ids, Marks::default);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let of = if self.func == AggFunc::Mode { canonical } else { canonical_floats };
        let values = [of(&rows.args[0])];
        let keys = encode_ordered(&values, &[self.order], rows.groups.len())?;
        for (row, group) in rows.groups.iter().enumerate() {
            let (key, diff) = (keys.get(row), rows.diff(row));
            self.counts[*group as usize] += diff;
            let count = self.members.add(*group, key, &values, row_number(row), diff)?;
            self.moved(*group, key, diff, count);
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let (mut sources, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for group in groups {
            let of = self.sources(*group);
            let any = self.counts[*group as usize] > 0;
            lengths.push(if any { of.len() } else { 0 });
            valid.push(any);
            if any || !self.is_list {
                sources.extend(of);
            }
        }
        let (items, mut errors) = self.items(&sources)?;
        if !self.is_list {
            return Ok((items, errors));
        }
        // of a list's items the first that fails fails the group
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        for (at, _) in &mut errors {
            *at = offsets.partition_point(|o| usize::try_from(*o).is_ok_and(|o| o <= *at)).saturating_sub(1);
        }
        errors.dedup_by_key(|(at, _)| *at);
        let field = Arc::new(Field::new_list_field(self.item.clone(), true));
        Ok((Arc::new(ListArray::new(field, offsets, items, Some(NullBuffer::from(valid)))), errors))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.members.clear(group);
        self.counts[group as usize] = 0;
        self.marks.get_mut()[group as usize] = Marks::default();
        Ok(())
    }

    fn settle(&mut self) {
        self.members.settle();
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn n_bytes(&self) -> usize {
        // As if all had been read, and all keys were as long as one is: to look at each would cost the state at each epoch's end.
        let cursor = size_of::<Cursor>() + self.members.key_bytes();
        let marks = self.marks.borrow();
        self.members.n_bytes() + self.counts.n_bytes() + marks.n_bytes() + marks.len() * self.fractions.len().max(1) * cursor
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        pieces.iter().zip(to).try_for_each(|(groups, to)| members::save(&self.members, groups, to))
    }

    /// Where reading left off is not kept: it is found again by the first read.
    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let counts = &mut self.counts;
        members::restore(&mut self.members, groups, std::slice::from_ref(&self.item), from, |group, _, count, _| {
            counts[group as usize] += count;
        })?;
        self.members.settle();
        Ok(())
    }
}
