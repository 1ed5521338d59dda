//! Functions over arrays, whose elements are counted from 1: lengths, places, elements, arrays made of arrays. Arrays of several dimensions
//! are lists of lists ([`regauge_types::arrays`]); what is about their elements sees them as one row of elements ([`Lists::leaves`]).
//! Elements are compared as PostgreSQL's `=` does; where a function looks for an element, NULL is an element like any other.
//!
//! An array that comes out is picked from the values that went in ([`Picks`]), so that one kernel serves every element type.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, Int32Array, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int32Type};

use super::arith::{bind_names, boxed};
use super::bind::{self, is_int, is_unknown};
use super::cast;
use super::compare;
use super::error::{EvalError, EvalResult};
use super::udf::{Args, Bound, Builtin, Col, text_array};
use regauge_types::arrays::{DIMS_MAX, build, depth, flatten, leaf, levels, nest, shape};

use crate::pgtypes::list_of;
use crate::scalar::CompareOp;

/// The element type of an array; `Null` of an untyped NULL.
pub(super) fn item(ty: &DataType) -> Option<&DataType> {
    match ty {
        DataType::List(field) | DataType::LargeList(field) => Some(field.data_type()),
        DataType::Null => Some(&DataType::Null),
        _ => None,
    }
}

fn undefined(name: &str, types: &[DataType]) -> EvalError {
    EvalError::undefined(format!("function {name}({}) does not exist", bind_names(types)))
}

/// The type of an array's elements, however many dimensions it has, beside a value: what both have in common. A text whose type is open is
/// read as an array.
pub(super) fn beside(list: &DataType, value: &DataType) -> Option<DataType> {
    let known = |ty: &DataType| if *ty == DataType::Null { DataType::Utf8 } else { ty.clone() };
    match item(list) {
        Some(_) => bind::united(leaf(list), value).ok().map(|ty| known(&ty)),
        None if is_unknown(list) => Some(known(value)),
        None => None,
    }
}

/// Arrays of this element type with as many dimensions as another, at least one.
pub(super) fn alike(of: DataType, list: &DataType) -> DataType {
    nest(of, depth(list).max(1))
}

/// More dimensions than arrays have.
pub(super) fn check_depth(ty: DataType) -> EvalResult<DataType> {
    check_dims(depth(&ty)).map(|()| ty)
}

fn check_dims(n: usize) -> EvalResult<()> {
    if n > DIMS_MAX {
        let message = format!("number of array dimensions ({n}) exceeds the maximum allowed ({DIMS_MAX})");
        return Err(EvalError::new("54000", message));
    }
    Ok(())
}

/// An array and whole numbers; `ret` of the array's type.
fn bind_sized(name: &str, types: &[DataType], n_ints: Range<usize>, ret: fn(&DataType) -> DataType) -> EvalResult<Bound> {
    let (list, ints) = types.split_first().ok_or_else(|| undefined(name, types))?;
    let of = item(list).filter(|_| n_ints.contains(&ints.len()) && ints.iter().all(|t| is_int(t) || is_unknown(t)));
    let of = of.ok_or_else(|| undefined(name, types))?;
    let of = if *of == DataType::Null { DataType::Utf8 } else { of.clone() };
    let list = list_of(of);
    let ret = ret(&list);
    Ok(Bound { args: std::iter::once(list).chain(ints.iter().map(|_| DataType::Int32)).collect(), ret })
}

/// An array and values of its element type; `ret` of the array's type.
fn bind_values(name: &str, types: &[DataType], n: usize, ret: fn(&DataType) -> DataType) -> EvalResult<Bound> {
    let (list, values) = types.split_first().ok_or_else(|| undefined(name, types))?;
    if values.len() != n {
        return Err(undefined(name, types));
    }
    let common = values.iter().try_fold(list.clone(), |so_far, value| beside(&so_far, value).map(|of| alike(of, &so_far)));
    let common = common.ok_or_else(|| undefined(name, types))?;
    let (of, ret) = (leaf(&common).clone(), ret(&common));
    let args = std::iter::once(common).chain(values.iter().map(|_| of.clone())).collect();
    Ok(Bound { args, ret })
}

/// What is of arrays of one dimension alone, or of a like number of them, in PostgreSQL, too.
///
/// # Errors
/// As PostgreSQL's, whose arrays tell it only when they are there.
pub(super) fn refuse_deep(name: &str, types: &[DataType]) -> EvalResult<()> {
    let depths: Vec<usize> = types.iter().map(depth).collect();
    let (code, message) = match (name, depths.as_slice()) {
        ("array_cat" | "pg_arrays_cat", [l, r]) if l.abs_diff(*r) > 1 && *l > 0 && *r > 0 => {
            ("2202E", "cannot concatenate incompatible arrays")
        }
        (_, all) if all.iter().all(|depth| *depth < 2) => return Ok(()),
        ("pg_arrays", all) => return all.iter().try_for_each(|depth| check_dims(depth + 1)),
        ("array_append" | "array_prepend", [l, r]) if *l == 0 || *r == 0 => {
            ("22000", "argument must be empty or one-dimensional array")
        }
        ("array_position" | "array_positions", _) => {
            ("0A000", "searching for elements in multidimensional arrays is not supported")
        }
        ("array_remove", _) => ("0A000", "removing elements from multidimensional arrays is not supported"),
        ("width_bucket", _) => ("2202E", "thresholds must be one-dimensional array"),
        (super::set_element::NAME | super::set_slice::NAME, _) => {
            ("0A000", "assigning to a part of an array of several dimensions is not offered: assign the whole array")
        }
        _ => return Ok(()),
    };
    Err(EvalError::new(code, message))
}

fn integer(_: &DataType) -> DataType {
    DataType::Int32
}
fn same(list: &DataType) -> DataType {
    list.clone()
}

macro_rules! entry {
    ($static:ident, $name:literal, $bind:expr, $safe:literal, $kernel:expr) => {
        #[doc = concat!("`", $name, "`")]
        pub static $static: Builtin =
            Builtin { name: $name, aliases: &[], bind: $bind, refine: None, kernel: $kernel, safe: $safe };
    };
}

/// An argument that is an array.
pub(super) struct Lists {
    pub(super) list: ListArray,
    step: usize,
}

impl Lists {
    pub(super) fn new(args: &Args<'_>, at: usize) -> EvalResult<Lists> {
        let col = args.col(at)?;
        let list = col.array.as_list_opt::<i32>().cloned();
        let list = list.ok_or_else(|| EvalError::internal(format!("argument {at} has type {}", col.array.data_type())))?;
        Ok(Lists { list, step: col.step })
    }

    /// Arrays of one dimension with the same elements.
    pub(super) fn leaves(self) -> Lists {
        Lists { list: flatten(&self.list), step: self.step }
    }

    /// The lengths of the dimensions of each of `n` rows; none of NULL and of what has no elements.
    pub(super) fn dims(&self, n: usize) -> Vec<Vec<usize>> {
        let (levels, _) = levels(&self.list);
        (0..n).map(|row| shape(&levels, row * self.step).0).collect()
    }

    /// Where a row's elements stand among the values; none for NULL.
    pub(super) fn range(&self, row: usize) -> Range<usize> {
        let at = row * self.step;
        if self.list.is_null(at) {
            return 0..0;
        }
        let offsets = self.list.value_offsets();
        let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
        place(offsets[at])..place(offsets[at + 1])
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        self.list.is_null(row * self.step)
    }
}

fn narrow(n: usize) -> EvalResult<i32> {
    i32::try_from(n).map_err(|_| EvalError::out_of_range("integer"))
}

/// Arrays made of picked values.
pub(super) struct Picks {
    offsets: Vec<i32>,
    places: Vec<Option<u32>>,
    valid: BooleanBufferBuilder,
}

impl Picks {
    pub(super) fn new(n: usize) -> Picks {
        Picks { offsets: vec![0], places: vec![], valid: BooleanBufferBuilder::new(n) }
    }

    /// The next element of the array that is being made.
    pub(super) fn push(&mut self, place: usize) -> EvalResult<()> {
        let place = u32::try_from(place).map_err(|_| EvalError::new("54000", "arrays of one batch are too large"))?;
        self.places.push(Some(place));
        Ok(())
    }

    /// The array is complete.
    pub(super) fn end(&mut self, valid: bool) -> EvalResult<()> {
        self.valid.append(valid);
        self.offsets.push(narrow(self.places.len())?);
        Ok(())
    }

    pub(super) fn finish(mut self, values: &ArrayRef, ret: &DataType) -> EvalResult<ArrayRef> {
        let DataType::List(field) = ret else { return Err(EvalError::internal("an array was expected")) };
        let values = take(values, &UInt32Array::from(self.places), None)?;
        let values =
            if values.data_type() == field.data_type() { values } else { arrow::compute::cast(&values, field.data_type())? };
        let nulls = Some(NullBuffer::new(self.valid.finish())).filter(|n| n.null_count() > 0);
        let offsets = OffsetBuffer::new(self.offsets.into());
        Ok(boxed(ListArray::try_new(Arc::clone(field), offsets, values, nulls)?))
    }
}

entry!(
    ARRAY_LENGTH,
    "array_length",
    |types| match types {
        [_, _] => bind_sized("array_length", types, 1..2, integer),
        _ => Err(undefined("array_length", types)),
    },
    false,
    |args| of_dimension(args, narrow)
);
entry!(
    ARRAY_UPPER,
    "array_upper",
    |types| match types {
        [_, _] => bind_sized("array_upper", types, 1..2, integer),
        _ => Err(undefined("array_upper", types)),
    },
    false,
    |args| of_dimension(args, narrow)
);
entry!(
    ARRAY_LOWER,
    "array_lower",
    |types| match types {
        [_, _] => bind_sized("array_lower", types, 1..2, integer),
        _ => Err(undefined("array_lower", types)),
    },
    false,
    |args| of_dimension(args, |_| Ok(1))
);
entry!(CARDINALITY, "cardinality", |types| bind_sized("cardinality", types, 0..1, integer), false, |args| {
    let list = Lists::new(args, 0)?.leaves();
    args.rows::<Int32Type>(|i| narrow(list.range(i).len()))
});
entry!(ARRAY_NDIMS, "array_ndims", |types| bind_sized("array_ndims", types, 0..1, integer), false, |args| {
    let dims = Lists::new(args, 0)?.dims(args.n);
    let n = |dims: &Vec<usize>| i32::try_from(dims.len()).ok().filter(|n| *n > 0);
    Ok(boxed(dims.iter().map(n).collect::<Int32Array>()))
});

/// What an array that is not empty has in one of its dimensions; NULL otherwise.
fn of_dimension(args: &Args<'_>, f: impl Fn(usize) -> EvalResult<i32>) -> EvalResult<ArrayRef> {
    let (dims, (dim, sd), nulls) = (Lists::new(args, 0)?.dims(args.n), args.lanes::<Int32Type>(1)?, args.nulls());
    let value = |i: usize| {
        let known = nulls.as_ref().is_none_or(|n| n.is_valid(i));
        length_of(&dims[i], dim[i * sd]).filter(|_| known).map(&f).transpose()
    };
    Ok(boxed((0..args.n).map(value).collect::<EvalResult<Int32Array>>()?))
}

/// The length of a dimension, counted from 1.
fn length_of(dims: &[usize], dimension: i32) -> Option<usize> {
    dims.get(usize::try_from(dimension).ok()?.checked_sub(1)?).copied()
}

/// One place for each dimension. Also `jsonb['key']`, `jsonb['key'][0]`.
fn bind_element(types: &[DataType]) -> EvalResult<Bound> {
    match types {
        [of, steps @ ..] if bind::is_jsonb(of) && !steps.is_empty() && steps.iter().all(|s| is_int(s) || is_unknown(s)) => {
            let step = |ty: &DataType| if is_int(ty) { DataType::Int32 } else { DataType::Utf8 };
            let args = std::iter::once(of.clone()).chain(steps.iter().map(step)).collect();
            Ok(Bound { args, ret: of.clone() })
        }
        _ => bind_sized("pg_element", types, 1..usize::MAX, |list| leaf(list).clone()),
    }
}

entry!(ELEMENT, "pg_element", bind_element, true, |args| {
    if bind::is_jsonb(args.col(0)?.array.data_type()) {
        return json_element(args);
    }
    let (list, nulls) = (Lists::new(args, 0)?, args.nulls());
    let (levels, leaves) = levels(&list.list);
    // with fewer places than dimensions, or more, there is no element
    if args.cols.len() != levels.len() + 1 {
        return Ok(args.all_null());
    }
    let places = (1..args.cols.len()).map(|at| args.lanes::<Int32Type>(at)).collect::<EvalResult<Vec<_>>>()?;
    let place = |i: usize| {
        let mut at = i * list.step;
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return None;
        }
        for (level, (no, sn)) in levels.iter().zip(&places) {
            let nth = usize::try_from(no[i * sn]).ok()?.checked_sub(1)?;
            let offsets = level.value_offsets();
            let (first, end) = (usize::try_from(offsets[at]).ok()?, usize::try_from(offsets[at + 1]).ok()?);
            at = first.checked_add(nth).filter(|at| *at < end)?;
        }
        u32::try_from(at).ok()
    };
    Ok(take(leaves, &(0..args.n).map(place).collect::<UInt32Array>(), None)?)
});

/// One step after the other into jsonb.
fn json_element(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let same = |col: &Col| Col { array: Arc::clone(&col.array), step: col.step };
    let mut value = same(args.col(0)?);
    for step in &args.cols[1..] {
        let one = Args { cols: vec![value, same(step)], n: args.n, ret: args.ret };
        value = Col { array: super::json::access::step(&one, false, false)?, step: 1 };
    }
    Ok(value.array)
}

entry!(
    SUBSCRIPTS,
    "pg_subscripts",
    |types| bind_sized("generate_subscripts", types, 1..2, |_| list_of(DataType::Int32)),
    true,
    |args| {
        let (dims, (dim, sd), nulls) = (Lists::new(args, 0)?.dims(args.n), args.lanes::<Int32Type>(1)?, args.nulls());
        let mut picks = Picks::new(args.n);
        let mut most = 0;
        for i in 0..args.n {
            let valid = nulls.as_ref().is_none_or(|n| n.is_valid(i));
            let len = length_of(&dims[i], dim[i * sd]).filter(|_| valid).unwrap_or(0);
            (0..len).try_for_each(|at| picks.push(at))?;
            picks.end(valid)?;
            most = most.max(len);
        }
        let numbers: ArrayRef = boxed(Int32Array::from_iter_values(1..=narrow(most)?));
        picks.finish(&numbers, args.ret)
    }
);
entry!(TRIM_ARRAY, "trim_array", |types| bind_sized("trim_array", types, 1..2, same), false, |args| {
    let (list, (drop, sd), nulls) = (Lists::new(args, 0)?, args.lanes::<Int32Type>(1)?, args.nulls());
    let mut picks = Picks::new(args.n);
    for i in 0..args.n {
        let valid = nulls.as_ref().is_none_or(|n| n.is_valid(i));
        if valid {
            let range = list.range(i);
            let keep = usize::try_from(drop[i * sd]).ok().and_then(|d| range.len().checked_sub(d));
            let message = || format!("number of elements to trim must be between 0 and {}", range.len());
            let keep = keep.ok_or_else(|| EvalError::new("2202E", message()))?;
            range.clone().take(keep).try_for_each(|at| picks.push(at))?;
        }
        picks.end(valid)?;
    }
    picks.finish(list.list.values(), args.ret)
});

/// Binds `width_bucket(value, array)`.
pub(super) fn bind_buckets(types: &[DataType]) -> EvalResult<Bound> {
    let [value, list] = types else { return Err(undefined("width_bucket", types)) };
    let Bound { mut args, ret } = bind_values("width_bucket", &[list.clone(), value.clone()], 1, integer)?;
    args.swap(0, 1);
    Ok(Bound { args, ret })
}

/// `width_bucket(value, array)`: how many of the bounds, which ascend, are not above the value.
pub(super) fn buckets(args: &Args<'_>) -> EvalResult<ArrayRef> {
    let (list, nulls) = (Lists::new(args, 1)?, args.nulls());
    let (reached, starts) = compared(args, &list, args.col(0)?, CompareOp::Ge)?;
    let bucket = |i: usize| {
        if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
            return Ok(None);
        }
        if list.range(i).any(|at| list.list.values().is_null(at)) {
            return Err(EvalError::new("22004", "thresholds array must not contain NULLs"));
        }
        let (first, mut low, mut high) = (starts[i], starts[i], starts[i + 1]);
        while low < high {
            let middle = usize::midpoint(low, high);
            if reached.value(middle) { low = middle + 1 } else { high = middle }
        }
        narrow(low - first).map(Some)
    };
    Ok(boxed((0..args.n).map(bucket).collect::<EvalResult<Int32Array>>()?))
}

/// Which elements stand to the row's value as `op` says: one answer per element of all rows, and where each row's begin.
fn compared(args: &Args<'_>, list: &Lists, value: &Col, op: CompareOp) -> EvalResult<(BooleanArray, Vec<usize>)> {
    let (mut places, mut rows, mut starts) = (vec![], vec![], vec![]);
    let index = |n: usize| u32::try_from(n).map_err(|_| EvalError::new("54000", "arrays of one batch are too large"));
    for i in 0..args.n {
        starts.push(places.len());
        for at in list.range(i) {
            places.push(index(at)?);
            rows.push(index(i * value.step)?);
        }
    }
    starts.push(places.len());
    let n = places.len();
    let elements = Col { array: take(list.list.values(), &UInt32Array::from(places), None)?, step: 1 };
    let value = Col { array: take(&value.array, &UInt32Array::from(rows), None)?, step: 1 };
    Ok((compare::compare(op, &value, &elements, n)?, starts))
}

entry!(
    ARRAY_POSITION,
    "array_position",
    |types| match types {
        [list, value, from] if is_int(from) || is_unknown(from) => {
            let mut bound = bind_values("array_position", &[list.clone(), value.clone()], 1, integer)?;
            bound.args.push(DataType::Int32);
            Ok(bound)
        }
        _ => bind_values("array_position", types, 1, integer),
    },
    true,
    |args| {
        let list = Lists::new(args, 0)?;
        let from = if args.cols.len() > 2 { Some(args.lanes::<Int32Type>(2)?) } else { None };
        let (same, starts) = compared(args, &list, args.col(1)?, CompareOp::NotDistinct)?;
        let value = |i: usize| {
            let skip = from.map_or(0, |(f, s)| usize::try_from(f[i * s].saturating_sub(1)).unwrap_or(0));
            let at = (starts[i]..starts[i + 1]).skip(skip).find(|at| same.value(*at))?;
            i32::try_from(at - starts[i] + 1).ok()
        };
        Ok(boxed((0..args.n).map(value).collect::<Int32Array>()))
    }
);
entry!(
    ARRAY_POSITIONS,
    "array_positions",
    |types| bind_values("array_positions", types, 1, |_| list_of(DataType::Int32)),
    true,
    |args| {
        let list = Lists::new(args, 0)?;
        let (same, starts) = compared(args, &list, args.col(1)?, CompareOp::NotDistinct)?;
        let mut picks = Picks::new(args.n);
        let mut most = 0;
        for i in 0..args.n {
            for at in (starts[i]..starts[i + 1]).filter(|at| same.value(*at)) {
                picks.push(at - starts[i])?;
            }
            picks.end(!list.is_null(i))?;
            most = most.max(starts[i + 1] - starts[i]);
        }
        let numbers: ArrayRef = boxed(Int32Array::from_iter_values(1..=narrow(most)?));
        picks.finish(&numbers, args.ret)
    }
);
entry!(ARRAY_REMOVE, "array_remove", |types| bind_values("array_remove", types, 1, same), true, |args| {
    let list = Lists::new(args, 0)?;
    let (gone, starts) = compared(args, &list, args.col(1)?, CompareOp::NotDistinct)?;
    let mut picks = Picks::new(args.n);
    for (i, start) in starts.into_iter().enumerate().take(args.n) {
        for (nth, at) in list.range(i).enumerate() {
            if !gone.value(start + nth) {
                picks.push(at)?;
            }
        }
        picks.end(!list.is_null(i))?;
    }
    picks.finish(list.list.values(), args.ret)
});
entry!(ARRAY_REPLACE, "array_replace", |types| bind_values("array_replace", types, 2, same), true, |args| {
    let whole = Lists::new(args, 0)?;
    let dims = whole.dims(args.n);
    let list = whole.leaves();
    let (found, starts) = compared(args, &list, args.col(1)?, CompareOp::NotDistinct)?;
    let new = args.col(2)?;
    let values = concat(&[list.list.values().as_ref(), new.array.as_ref()])?;
    let behind = list.list.values().len();
    let index = |n: usize| u32::try_from(n).map_err(|_| EvalError::new("54000", "arrays of one batch are too large"));
    let (mut places, mut shapes) = (vec![], Vec::with_capacity(args.n));
    for (i, (start, dims)) in starts.into_iter().zip(dims).enumerate() {
        for (nth, at) in list.range(i).enumerate() {
            places.push(index(if found.value(start + nth) { behind + i * new.step } else { at })?);
        }
        shapes.push((!list.is_null(i)).then_some(dims));
    }
    Ok(build(args.ret, take(&values, &UInt32Array::from(places), None)?, &shapes)?)
});
entry!(ARRAY_APPEND, "array_append", |types| bind_values("array_append", types, 1, same), true, |args| joined(args, 0, Some(1)));
entry!(
    ARRAY_PREPEND,
    "array_prepend",
    |types| match types {
        [value, list] => {
            let mut bound = bind_values("array_prepend", &[list.clone(), value.clone()], 1, same)?;
            bound.args.reverse();
            Ok(bound)
        }
        _ => Err(undefined("array_prepend", types)),
    },
    true,
    |args| joined(args, 1, Some(0))
);
entry!(ARRAY_CAT, "array_cat", bind_cat, true, |args| joined(args, 0, None));
entry!(ARRAYS_CAT, "pg_arrays_cat", bind_cat, false, cat_deep);

/// Two arrays, of which one may have a dimension more than the other: that is an element of it then.
fn bind_cat(types: &[DataType]) -> EvalResult<Bound> {
    let [l, r] = types else { return Err(undefined("array_cat", types)) };
    let list = |ty: &DataType, other: &DataType| match item(ty) {
        Some(_) if *ty != DataType::Null => Some(ty.clone()),
        _ if is_unknown(ty) && item(other).is_some() => Some(alike(leaf(other).clone(), other)),
        _ => None,
    };
    let both = list(l, r).zip(list(r, l)).ok_or_else(|| undefined("array_cat", types))?;
    let of = bind::common(leaf(&both.0), leaf(&both.1)).map_err(|_| undefined("array_cat", types))?;
    let of = if of == DataType::Null { DataType::Utf8 } else { of };
    let args = vec![alike(of.clone(), &both.0), alike(of, &both.1)];
    let ret = if depth(&args[0]) < depth(&args[1]) { args[1].clone() } else { args[0].clone() };
    Ok(Bound { args, ret })
}

/// The same of several dimensions: what is joined has the same dimensions but for the first. An array that is NULL or empty adds nothing;
/// two that are NULL give NULL.
fn cat_deep(args: &Args<'_>) -> EvalResult<ArrayRef> {
    refuse_deep("array_cat", &[args.col(0)?.array.data_type().clone(), args.col(1)?.array.data_type().clone()])?;
    let sides = [Lists::new(args, 0)?, Lists::new(args, 1)?];
    let deep = sides.each_ref().map(|side| depth(side.list.data_type()));
    let most = deep[0].max(deep[1]);
    // what joins the rows of an array: those of the side, or the side itself
    let rows = [0, 1].map(|k| if deep[k] == most { Arc::clone(sides[k].list.values()) } else { boxed(sides[k].list.clone()) });
    let values = concat(&[rows[0].as_ref(), rows[1].as_ref()])?;
    let (dims, behind) = ([sides[0].dims(args.n), sides[1].dims(args.n)], rows[0].len());
    let mut picks = Picks::new(args.n);
    for i in 0..args.n {
        let own = [0, 1].map(|k| if deep[k] == most { dims[k][i].get(1..).unwrap_or_default() } else { &dims[k][i][..] });
        let fits = own[0] == own[1] || dims.iter().any(|dims| dims[i].is_empty());
        if !fits {
            return Err(EvalError::new("2202E", "cannot concatenate incompatible arrays"));
        }
        for (k, first) in [(0, 0), (1, behind)] {
            if deep[k] == most {
                sides[k].range(i).try_for_each(|at| picks.push(first + at))?;
            } else if !dims[k][i].is_empty() {
                picks.push(first + i * sides[k].step)?;
            }
        }
        picks.end(!(sides[0].is_null(i) && sides[1].is_null(i)))?;
    }
    picks.finish(&values, args.ret)
}

/// A list and a value (before or behind it, as the arguments stand), or two lists. A list that is NULL is as if it were empty; two
/// of them give NULL.
fn joined(args: &Args<'_>, list_at: usize, value_at: Option<usize>) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, list_at)?;
    let mut picks = Picks::new(args.n);
    let behind = list.list.values().len();
    if let Some(value_at) = value_at {
        let value = args.col(value_at)?;
        let values = concat(&[list.list.values().as_ref(), value.array.as_ref()])?;
        for i in 0..args.n {
            if value_at < list_at {
                picks.push(behind + i * value.step)?;
            }
            list.range(i).try_for_each(|at| picks.push(at))?;
            if value_at > list_at {
                picks.push(behind + i * value.step)?;
            }
            picks.end(true)?;
        }
        return picks.finish(&values, args.ret);
    }
    let more = Lists::new(args, 1)?;
    let values = concat(&[list.list.values().as_ref(), more.list.values().as_ref()])?;
    for i in 0..args.n {
        list.range(i).try_for_each(|at| picks.push(at))?;
        more.range(i).try_for_each(|at| picks.push(behind + at))?;
        picks.end(!(list.is_null(i) && more.is_null(i)))?;
    }
    picks.finish(&values, args.ret)
}

entry!(
    ARRAY_TO_STRING,
    "array_to_string",
    |types| match types {
        [list, texts @ ..] if (1..3).contains(&texts.len()) && texts.iter().all(is_unknown) => {
            let of = item(list).ok_or_else(|| undefined("array_to_string", types))?;
            let of = if *of == DataType::Null { DataType::Utf8 } else { of.clone() };
            let args = std::iter::once(list_of(of)).chain(texts.iter().map(|_| DataType::Utf8)).collect();
            Ok(Bound { args, ret: DataType::Utf8 })
        }
        _ => Err(undefined("array_to_string", types)),
    },
    false,
    |args| {
        let (list, (by, sb)) = (Lists::new(args, 0)?.leaves(), args.texts(1)?);
        let for_null = if args.cols.len() > 2 { Some(args.texts(2)?) } else { None };
        let values = list.list.values();
        let write = cast::writer(values)?;
        text_array(args.n, |i, out| {
            if list.is_null(i) || by.is_null(i * sb) {
                return Ok(false);
            }
            let mut first = true;
            for at in list.range(i) {
                let null = values.is_null(at);
                let shown = for_null.filter(|(n, s)| n.is_valid(i * s));
                if null && shown.is_none() {
                    continue;
                }
                if !std::mem::take(&mut first) {
                    out.push_str(by.value(i * sb));
                }
                match shown.filter(|_| null) {
                    Some((n, s)) => out.push_str(n.value(i * s)),
                    None => write(at, out),
                }
            }
            Ok(true)
        })
    }
);
entry!(
    STRING_TO_ARRAY,
    "string_to_array",
    |types| match types {
        [_, _] | [_, _, _] if types.iter().all(is_unknown) => {
            Ok(Bound { args: vec![DataType::Utf8; types.len()], ret: list_of(DataType::Utf8) })
        }
        _ => Err(undefined("string_to_array", types)),
    },
    true,
    |args| {
        let ((text, st), (by, sb)) = (args.texts(0)?, args.texts(1)?);
        let for_null = if args.cols.len() > 2 { Some(args.texts(2)?) } else { None };
        texts_of(args.n, args.ret, |i, out| {
            if text.is_null(i * st) {
                return Ok(false);
            }
            let text = text.value(i * st);
            let none = for_null.filter(|(n, s)| n.is_valid(i * s)).map(|(n, s)| n.value(i * s));
            let mut part = |p: &str| out((Some(p) != none).then_some(p));
            if text.is_empty() {
                return Ok(true);
            }
            match by.is_valid(i * sb).then(|| by.value(i * sb)) {
                // every character of its own
                None => text.char_indices().for_each(|(at, c)| part(&text[at..at + c.len_utf8()])),
                Some("") => part(text),
                Some(by) => text.split(by).for_each(part),
            }
            Ok(true)
        })
    }
);

/// Builds arrays of texts: `f` gives a row's elements one by one and says whether the row is not NULL.
pub(super) fn texts_of(
    n: usize,
    ret: &DataType,
    f: impl Fn(usize, &mut dyn FnMut(Option<&str>)) -> EvalResult<bool>,
) -> EvalResult<ArrayRef> {
    let mut texts = arrow::array::StringBuilder::new();
    let mut offsets = vec![0];
    let mut valid = BooleanBufferBuilder::new(n);
    let mut n_texts = 0usize;
    let mut bytes = 0usize;
    for i in 0..n {
        valid.append(f(i, &mut |text| {
            n_texts += 1;
            bytes += text.map_or(0, str::len);
            if bytes <= 1 << 30 {
                texts.append_option(text);
            }
        })?);
        offsets.push(narrow(n_texts)?);
    }
    if bytes > 1 << 30 {
        return Err(EvalError::new("54000", "arrays of one batch are too large"));
    }
    let DataType::List(field) = ret else { return Err(EvalError::internal("an array was expected")) };
    let nulls = Some(NullBuffer::new(valid.finish())).filter(|n| n.null_count() > 0);
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(boxed(ListArray::try_new(Arc::clone(field), offsets, boxed(texts.finish()), nulls)?))
}

/// `value op ANY (array)`, `value op ALL (array)`: true or false as soon as an element decides, else NULL where an element or the
/// value is NULL.
fn quantified(args: &Args<'_>, op: CompareOp, all: bool) -> EvalResult<ArrayRef> {
    let list = Lists::new(args, 1)?.leaves();
    let (holds, starts) = compared(args, &list, args.col(0)?, op)?;
    let answer = |i: usize| {
        if list.is_null(i) {
            return None;
        }
        let mut unknown = false;
        for at in starts[i]..starts[i + 1] {
            if holds.is_null(at) {
                unknown = true;
            } else if holds.value(at) != all {
                return Some(!all);
            }
        }
        (!unknown).then_some(all)
    };
    Ok(boxed((0..args.n).map(answer).collect::<BooleanArray>()))
}

fn bind_quantified(types: &[DataType]) -> EvalResult<Bound> {
    let [value, list] = types else { return Err(EvalError::undefined("ANY and ALL take a value and an array")) };
    let Some(of) = beside(list, value) else {
        if item(list).is_none() {
            return Err(EvalError::new("42809", "op ANY/ALL (array) requires array on right side"));
        }
        let (value, of) = (crate::pgtypes::type_name(value), item(list).map(crate::pgtypes::type_name).unwrap_or_default());
        return Err(EvalError::undefined(format!("operator does not exist: {value} = {of}")));
    };
    Ok(Bound { args: vec![of.clone(), alike(of, list)], ret: DataType::Boolean })
}

macro_rules! quantifier {
    ($static:ident, $name:literal, $op:ident, $all:literal) => {
        entry!($static, $name, bind_quantified, true, |args| quantified(args, CompareOp::$op, $all));
    };
}
quantifier!(ANY_EQ, "pg_any_eq", Eq, false);
quantifier!(ANY_NE, "pg_any_ne", Ne, false);
quantifier!(ANY_LT, "pg_any_lt", Lt, false);
quantifier!(ANY_LE, "pg_any_le", Le, false);
quantifier!(ANY_GT, "pg_any_gt", Gt, false);
quantifier!(ANY_GE, "pg_any_ge", Ge, false);
quantifier!(ALL_EQ, "pg_all_eq", Eq, true);
quantifier!(ALL_NE, "pg_all_ne", Ne, true);
quantifier!(ALL_LT, "pg_all_lt", Lt, true);
quantifier!(ALL_LE, "pg_all_le", Le, true);
quantifier!(ALL_GT, "pg_all_gt", Gt, true);
quantifier!(ALL_GE, "pg_all_ge", Ge, true);
