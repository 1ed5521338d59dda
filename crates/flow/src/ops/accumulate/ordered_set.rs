//! percentile_cont, percentile_disc, mode: the values of a group in order, each with its count.
//!
//! Invariant: the members of a group are the multiset of its values, so a result depends on no order of arrival. A value costs the
//! distinct values of its group up to the last place asked for (mode: all of them).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use regauge_plan::eval::EvalError;
use regauge_plan::flowplan::{AggCall, AggFunc};
use regauge_plan::functions::fractions::{self, Place};
use regauge_plan::value::Datum;
use regauge_state::{OrderedGroups, Segments, canonical_floats};
use regauge_types::key::{KeyOrder, encode_ordered};

use super::{Accumulator, Rows, Values};
use crate::operator::FlowError;
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
}

/// Where one result comes from: two slots and how far between them.
type Source = Option<(u32, u32, f64)>;

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
            order: KeyOrder { descending: key.descending, nulls_first: key.nulls_first },
            members: OrderedGroups::new(std::slice::from_ref(ty))?,
            counts: Segments::default(),
        })
    }

    /// The slots at these places of a group, in the places' order.
    fn slots(&self, group: u32, places: &[Option<Place>]) -> Vec<Source> {
        let mut wanted: Vec<(u64, usize, bool)> = Vec::with_capacity(places.len() * 2);
        for (at, place) in places.iter().enumerate() {
            if let Some(place) = place {
                wanted.push((place.low, at, false));
                wanted.push((place.high, at, true));
            }
        }
        wanted.sort_unstable();
        let mut found: Vec<Source> = places.iter().map(|p| p.map(|p| (0, 0, p.share))).collect();
        let (mut next, mut before) = (0, 0u64);
        for member in self.members.members(group) {
            let end = before + member.count.unsigned_abs();
            while let Some((_, at, is_high)) = wanted.get(next).filter(|(row, ..)| *row < end) {
                if let Some(source) = &mut found[*at] {
                    *(if *is_high { &mut source.1 } else { &mut source.0 }) = member.slot;
                }
                next += 1;
            }
            if next == wanted.len() {
                break;
            }
            before = end;
        }
        found
    }

    fn sources(&self, group: u32) -> Vec<Source> {
        let n = self.counts[group as usize];
        if self.func == AggFunc::Mode {
            let mut best: Option<(i64, u32)> = None;
            for member in self.members.members(group) {
                if best.is_none_or(|(count, _)| member.count > count) {
                    best = Some((member.count, member.slot));
                }
            }
            return vec![best.map(|(_, slot)| (slot, slot, 0.0))];
        }
        let Some(n) = u64::try_from(n).ok().filter(|n| *n > 0) else { return vec![None; self.fractions.len()] };
        let place = |f: &Option<f64>| {
            f.map(|f| if self.func == AggFunc::PercentileCont { fractions::continuous(f, n) } else { fractions::discrete(f, n) })
        };
        let places: Vec<Option<Place>> = self.fractions.iter().map(place).collect();
        self.slots(group, &places)
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
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let values = [canonical_floats(&rows.args[0])];
        let keys = encode_ordered(&values, &[self.order], rows.groups.len())?;
        for (row, group) in rows.groups.iter().enumerate() {
            self.counts[*group as usize] += rows.diff(row);
            self.members.add(*group, keys.get(row), &values, row_number(row), rows.diff(row))?;
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

    fn clear(&mut self, group: u32) {
        self.members.clear(group);
        self.counts[group as usize] = 0;
    }

    fn settle(&mut self) {
        self.members.settle();
    }

    fn n_bytes(&self) -> usize {
        self.members.n_bytes() + self.counts.n_bytes()
    }
}
