//! min, max. Append-only: the one best value. Retractable: all values in order, since the best may be taken back.
//!
//! Values of 64 bits or less become order-preserving i64 (floats as PostgreSQL orders them: -0.0 = 0.0 < .. < NaN; negated for
//! max, so that the best is always the least); all others stand in an [`OrderedGroups`] under the frozen key encoding,
//! descending for max, and of values that are equal the exact one, so that no order of arrival shows. Retractable state is one B-tree over (group, value) for all groups: O(log values) a row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use regauge_state::{OrderedGroups, Segments};
use regauge_types::key::{KeyOrder, encode_ordered};

use super::{Accumulator, Rows, Values, each};
use crate::image::{Tables, int64, places, table};
use crate::operator::FlowError;
use crate::ops::members;
use crate::ops::parts::row_number;

/// The accumulator for arguments of type `ty`.
pub(super) fn extreme(is_max: bool, ty: &DataType, append_only: bool) -> Result<Box<dyn Accumulator>, FlowError> {
    Ok(match (is_small(ty), append_only) {
        (true, true) => Box::new(Best { is_max, ty: ty.clone(), best: Segments::default(), has: Segments::default() }),
        (true, false) => Box::new(All { is_max, ty: ty.clone(), counts: BTreeMap::new() }),
        (false, _) => {
            Box::new(Wide { append_only, is_max, ty: ty.clone(), members: OrderedGroups::new(std::slice::from_ref(ty))? })
        }
    })
}

fn is_small(ty: &DataType) -> bool {
    use DataType::*;
    matches!(ty, Int16 | Int32 | Int64 | Date32 | Time64(_) | Timestamp(..) | Float32 | Float64)
}

/// Bits of a float such that integer order is PostgreSQL's order of floats.
fn ordered_bits(v: f64) -> i64 {
    let v = if v.is_nan() { f64::NAN.copysign(1.0) } else { v + 0.0 };
    let bits = v.to_bits().cast_signed();
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn float_of(ordered: i64) -> f64 {
    f64::from_bits(if ordered < 0 { ordered ^ i64::MAX } else { ordered }.cast_unsigned())
}

/// Order-preserving integers, the least being the best.
fn ranks(array: &ArrayRef, is_max: bool) -> Result<Vec<i64>, FlowError> {
    let mut ranks: Vec<i64> = match array.data_type() {
        DataType::Int16 => array.as_primitive::<Int16Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Int32 => array.as_primitive::<Int32Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Date32 => array.as_primitive::<Date32Type>().values().iter().map(|v| i64::from(*v)).collect(),
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().map(|v| ordered_bits(f64::from(*v))).collect(),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().map(|v| ordered_bits(*v)).collect(),
        _ => cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec(),
    };
    if is_max {
        // !v reverses the order of all of i64, without the overflow of -v
        ranks.iter_mut().for_each(|v| *v = !*v);
    }
    Ok(ranks)
}

/// A rank that is read back is one of a value of this type.
fn checked(rank: i64, ty: &DataType) -> Result<i64, FlowError> {
    let fits = match ty {
        DataType::Int16 => i16::try_from(rank).is_ok(),
        DataType::Int32 | DataType::Date32 => i32::try_from(rank).is_ok(),
        _ => true,
    };
    if fits { Ok(rank) } else { Err(FlowError::Image(format!("a rank that no value has rank={rank}"))) }
}

/// The array of these ranks.
fn unrank(ranks: impl Iterator<Item = Option<i64>>, ty: &DataType, is_max: bool) -> Result<ArrayRef, FlowError> {
    let values = ranks.map(|rank| rank.map(|v| if is_max { !v } else { v }));
    Ok(match ty {
        DataType::Int16 => {
            Arc::new(values.map(|v| v.map(|v| i16::try_from(v).expect("the rank of a smallint"))).collect::<Int16Array>())
        }
        DataType::Int32 => {
            Arc::new(values.map(|v| v.map(|v| i32::try_from(v).expect("the rank of an int"))).collect::<Int32Array>())
        }
        DataType::Date32 => {
            Arc::new(values.map(|v| v.map(|v| i32::try_from(v).expect("the rank of a date"))).collect::<Date32Array>())
        }
        #[allow(clippy::cast_possible_truncation)]
        DataType::Float32 => Arc::new(values.map(|v| v.map(|v| float_of(v) as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(values.map(|v| v.map(float_of)).collect::<Float64Array>()),
        _ => cast(&values.collect::<Int64Array>(), ty)?,
    })
}

/// Append-only: the best rank so far.
struct Best {
    is_max: bool,
    ty: DataType,
    best: Segments<i64>,
    /// Whether there is one.
    has: Segments<bool>,
}

impl Accumulator for Best {
    fn resize(&mut self, n_ids: usize) {
        self.best.grow(n_ids, 0);
        self.has.grow(n_ids, false);
    }

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let ranks = ranks(&rows.args[0], self.is_max)?;
        for (rank, group) in ranks.into_iter().zip(rows.groups) {
            let group = *group as usize;
            if !self.has[group] || rank < self.best[group] {
                self.best[group] = rank;
                self.has[group] = true;
            }
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let best = |g: &u32| self.has[*g as usize].then(|| self.best[*g as usize]);
        Ok((unrank(groups.iter().map(best), &self.ty, self.is_max)?, Vec::new()))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.has[group as usize] = false;
        Ok(())
    }

    fn n_bytes(&self) -> usize {
        self.best.n_bytes() + self.has.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| {
            let has = int64(groups.iter().map(|g| self.has[*g as usize].into()));
            let best = int64(groups.iter().map(|g| if self.has[*g as usize] { self.best[*g as usize] } else { 0 }));
            table(vec![has, best], groups.len())
        })
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let [has, best] = from.numbers()?;
        for (g, (has, best)) in groups.iter().zip(has.into_iter().zip(best)) {
            self.has[*g as usize] = has != 0;
            self.best[*g as usize] = checked(best, &self.ty)?;
        }
        Ok(())
    }
}

/// Retractable: every rank with its count.
struct All {
    is_max: bool,
    ty: DataType,
    counts: BTreeMap<(u32, i64), i64>,
}

impl All {
    fn change(&mut self, of: (u32, i64), diff: i64) {
        if diff == 0 {
            return;
        }
        let count = self.counts.entry(of).or_insert(0);
        *count += diff;
        if *count == 0 {
            self.counts.remove(&of);
        }
    }
}

/// So few rows go into the tree one by one.
const SUMMED_ROWS_MIN: usize = 16;

impl Accumulator for All {
    fn resize(&mut self, _n_ids: usize) {}

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let ranks = ranks(&rows.args[0], self.is_max)?;
        let changes = ranks.into_iter().zip(rows.groups).enumerate().map(|(row, (rank, group))| ((*group, rank), rows.diff(row)));
        if rows.groups.len() < SUMMED_ROWS_MIN {
            changes.for_each(|(of, diff)| self.change(of, diff));
            return Ok(());
        }
        // What goes and what comes are often the same values of the same groups (counts that rise by one): most of it cancels out before
        // the tree is looked at.
        let mut sums: HashMap<(u32, i64), i64, FixedState> = HashMap::with_hasher(FixedState::with_seed(0));
        changes.for_each(|(of, diff)| *sums.entry(of).or_default() += diff);
        sums.into_iter().for_each(|(of, diff)| self.change(of, diff));
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let best =
            |g: &u32| self.counts.range((*g, i64::MIN)..=(*g, i64::MAX)).find(|(_, n)| **n > 0).map(|((_, rank), _)| *rank);
        Ok((unrank(groups.iter().map(best), &self.ty, self.is_max)?, Vec::new()))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        let left: Vec<i64> = self.counts.range((group, i64::MIN)..=(group, i64::MAX)).map(|((_, rank), _)| *rank).collect();
        for rank in left {
            self.counts.remove(&(group, rank));
        }
        Ok(())
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn n_bytes(&self) -> usize {
        self.counts.len() * size_of::<((u32, i64), i64)>()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        each(pieces, to, |groups| {
            let (mut of, mut ranks, mut counts) = (Vec::new(), Vec::new(), Vec::new());
            for (place, group) in groups.iter().enumerate() {
                for ((_, rank), count) in self.counts.range((*group, i64::MIN)..=(*group, i64::MAX)) {
                    of.push(row_number(place));
                    ranks.push(*rank);
                    counts.push(*count);
                }
            }
            let n = of.len();
            table(vec![places(of), int64(ranks.into_iter()), int64(counts.into_iter())], n)
        })
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        let (of, ranks, counts) = from.placed(groups.len(), &[DataType::Int64])?;
        let ranks = ranks[0].as_primitive::<Int64Type>().values();
        for (place, (rank, count)) in of.into_iter().zip(ranks.iter().zip(counts)) {
            self.counts.insert((groups[place as usize], checked(*rank, &self.ty)?), count);
        }
        Ok(())
    }
}

/// Text, binary, numerics and the rest.
struct Wide {
    append_only: bool,
    is_max: bool,
    ty: DataType,
    members: OrderedGroups,
}

impl Accumulator for Wide {
    fn resize(&mut self, _n_ids: usize) {}

    fn update(&mut self, rows: &Rows<'_>) -> Result<(), FlowError> {
        let order = KeyOrder { descending: self.is_max, ..KeyOrder::EXACT };
        let keys = encode_ordered(&rows.args[..1], &[order], rows.groups.len())?;
        for (row, group) in rows.groups.iter().enumerate() {
            if self.append_only {
                match self.members.first(*group) {
                    Some((best, _)) if best <= keys.get(row) => continue,
                    Some(_) => self.members.clear(*group),
                    None => {}
                }
            }
            self.members.add(*group, keys.get(row), &rows.args[..1], row_number(row), rows.diff(row))?;
        }
        Ok(())
    }

    fn values(&self, groups: &[u32]) -> Result<Values, FlowError> {
        let best: Vec<Option<u32>> = groups.iter().map(|g| self.members.members(*g).next().map(|m| m.slot)).collect();
        if best.iter().all(Option::is_none) {
            return Ok((new_null_array(&self.ty, groups.len()), Vec::new()));
        }
        let slots: Vec<u32> = best.iter().flatten().copied().collect();
        let values = self.members.gather(&slots).swap_remove(0);
        if slots.len() == groups.len() {
            return Ok((values, Vec::new()));
        }
        let mut at = 0;
        let places: arrow::array::UInt32Array = best
            .iter()
            .map(|b| {
                b.map(|_| {
                    at += 1;
                    at - 1
                })
            })
            .collect();
        Ok((arrow::compute::take(values.as_ref(), &places, None)?, Vec::new()))
    }

    fn clear(&mut self, group: u32) -> Result<(), FlowError> {
        self.members.clear(group);
        Ok(())
    }

    fn settle(&mut self) {
        self.members.settle();
    }

    fn is_flat(&self) -> bool {
        false
    }

    fn n_bytes(&self) -> usize {
        self.members.n_bytes()
    }

    fn save(&self, pieces: &[&[u32]], to: &mut [Vec<RecordBatch>]) -> Result<(), FlowError> {
        pieces.iter().zip(to).try_for_each(|(groups, to)| members::save(&self.members, groups, to))
    }

    fn restore(&mut self, groups: &[u32], from: &mut Tables<'_>) -> Result<(), FlowError> {
        members::restore(&mut self.members, groups, std::slice::from_ref(&self.ty), from, |_, _, _, _| {})?;
        self.members.settle();
        Ok(())
    }
}
