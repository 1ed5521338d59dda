//! Running a compiled expression over one frame of columns. An arm that can fail is run on a smaller frame that holds only
//! the rows that reach it; its values are scattered back and its failed rows renumbered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::{boolean, zip::zip};
use arrow::compute::{FilterBuilder, interleave, take};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;

use super::like::LikePattern;
use super::program::{Function, Kind, Node, Pattern};
use crate::functions::compare;
use crate::functions::error::{EvalError, EvalResult};
use crate::functions::udf::Col;
use crate::scalar::{CompareOp, IsTest};

/// Columns of the rows under evaluation. In a filtered frame only columns that are read are right; the rest is empty.
pub(super) struct Frame {
    pub columns: Vec<ArrayRef>,
    pub n: usize,
}

/// Failed rows and their first error.
#[derive(Default)]
pub(super) struct RowErrors(BTreeMap<usize, EvalError>);

impl RowErrors {
    fn fail(&mut self, row: usize, e: EvalError) {
        self.0.entry(row).or_insert(e);
    }
    pub fn fail_all(&mut self, n: usize, e: &EvalError) {
        (0..n).for_each(|row| self.fail(row, e.clone()));
    }
    pub fn into_vec(self) -> Vec<(usize, EvalError)> {
        self.0.into_iter().collect()
    }
    /// The rows of `rows` that have not failed.
    fn sane(&self, rows: BooleanBuffer) -> BooleanBuffer {
        if self.0.is_empty() {
            return rows;
        }
        BooleanBuffer::collect_bool(rows.len(), |i| rows.value(i) && !self.0.contains_key(&i))
    }
}

/// A constant NULL of the type.
pub(super) fn null(ty: &DataType) -> ColumnarValue {
    ColumnarValue::Scalar(ScalarValue::try_from(ty).unwrap_or(ScalarValue::Null))
}

/// Rows where a boolean is true.
pub(super) fn truths(a: &BooleanArray) -> BooleanBuffer {
    match a.nulls() {
        Some(nulls) => a.values() & nulls.inner(),
        None => a.values().clone(),
    }
}

/// Evaluates a node; rows that fail are noted and have some value.
pub(super) fn run(node: &Node, frame: &Frame, errors: &mut RowErrors) -> ColumnarValue {
    let result = match &node.kind {
        Kind::Column(i) => Ok(ColumnarValue::Array(Arc::clone(&frame.columns[*i]))),
        Kind::Const(value) => Ok(ColumnarValue::Scalar(value.clone())),
        Kind::Failure(e) => Err(e.clone()),
        Kind::Call(function, args) => {
            let args: Vec<ColumnarValue> = args.iter().map(|a| run(a, frame, errors)).collect();
            call(function, &args, node, frame.n, errors)
        }
        Kind::Compare(op, l, r) => {
            let (l, r) = (run(l, frame, errors), run(r, frame, errors));
            compared(*op, &l, &r, frame.n).map(|a| ColumnarValue::Array(Arc::new(a)))
        }
        Kind::And(args) => conjunction(args, frame, errors, true),
        Kind::Or(args) => conjunction(args, frame, errors, false),
        Kind::Not(a) => run_bool(a, frame, errors).and_then(|a| Ok(ColumnarValue::Array(Arc::new(boolean::not(&a)?)))),
        Kind::Is(test, negated, a) => is(*test, *negated, a, frame, errors),
        Kind::Case(branches, otherwise) => case(branches, otherwise.as_deref(), &node.ty, frame, errors),
        Kind::Coalesce(args) => coalesce(args, &node.ty, frame, errors),
        Kind::InList(a, list, negated) => in_list(a, list, *negated, frame, errors),
        Kind::Like(a, pattern, negated) => like(a, pattern, *negated, frame, errors),
    };
    result.unwrap_or_else(|e| {
        errors.fail_all(frame.n, &e);
        null(&node.ty)
    })
}

fn array(value: ColumnarValue, n: usize) -> EvalResult<ArrayRef> {
    match value {
        ColumnarValue::Array(a) => Ok(a),
        ColumnarValue::Scalar(s) => s.to_array_of_size(n).map_err(|e| EvalError::internal(e.strip_backtrace())),
    }
}

fn run_array(node: &Node, frame: &Frame, errors: &mut RowErrors) -> EvalResult<ArrayRef> {
    array(run(node, frame, errors), frame.n)
}

fn run_bool(node: &Node, frame: &Frame, errors: &mut RowErrors) -> EvalResult<BooleanArray> {
    let a = run_array(node, frame, errors)?;
    Ok(match a.as_boolean_opt() {
        Some(b) => b.clone(),
        // an untyped NULL
        None => BooleanArray::new_null(frame.n),
    })
}

/// Calls a function; when the batch fails, finds the rows that do by halving.
fn call(f: &Function, args: &[ColumnarValue], node: &Node, n: usize, errors: &mut RowErrors) -> EvalResult<ColumnarValue> {
    let constant = args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    match f.invoke(args, n, &node.ty) {
        Err(e) if constant => Err(e),
        Err(_) => {
            let mut pieces = vec![];
            isolate(f, args, &node.ty, 0, n, errors, &mut pieces);
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            Ok(ColumnarValue::Array(arrow::compute::concat(&pieces)?))
        }
        value => value,
    }
}

fn isolate(
    f: &Function,
    args: &[ColumnarValue],
    ty: &DataType,
    from: usize,
    len: usize,
    errors: &mut RowErrors,
    out: &mut Vec<ArrayRef>,
) {
    let part: Vec<ColumnarValue> = args
        .iter()
        .map(|a| match a {
            ColumnarValue::Array(a) => ColumnarValue::Array(a.slice(from, len)),
            constant => constant.clone(),
        })
        .collect();
    match f.invoke(&part, len, ty).and_then(|v| array(v, len)) {
        Ok(a) => out.push(a),
        Err(e) if len <= 1 => {
            errors.fail(from, e);
            out.push(new_null_array(ty, len));
        }
        Err(_) => {
            let half = len / 2;
            isolate(f, args, ty, from, half, errors, out);
            isolate(f, args, ty, from + half, len - half, errors, out);
        }
    }
}

fn col(v: &ColumnarValue) -> EvalResult<Col> {
    Ok(match v {
        ColumnarValue::Array(a) => Col { array: Arc::clone(a), step: 1 },
        ColumnarValue::Scalar(s) => Col { array: s.to_array().map_err(|e| EvalError::internal(e.strip_backtrace()))?, step: 0 },
    })
}

fn compared(op: CompareOp, l: &ColumnarValue, r: &ColumnarValue, n: usize) -> EvalResult<BooleanArray> {
    compare::compare(op, &col(l)?, &col(r)?, n)
}

/// The node's values for the selected rows, in their order, and whether they are compact. A node that cannot fail is
/// evaluated for all rows, where they stand.
struct Part {
    values: ArrayRef,
    compact: bool,
}

fn run_selected(node: &Node, frame: &Frame, rows: &BooleanBuffer, errors: &mut RowErrors) -> EvalResult<Part> {
    let n_selected = rows.count_set_bits();
    if !node.fails || n_selected == frame.n {
        return Ok(Part { values: run_array(node, frame, errors)?, compact: false });
    }
    if n_selected == 0 {
        return Ok(Part { values: new_null_array(&node.ty, 0), compact: true });
    }
    let filter = FilterBuilder::new(&BooleanArray::new(rows.clone(), None)).optimize().build();
    let empty: ArrayRef = Arc::new(arrow::array::NullArray::new(0));
    let mut columns = vec![empty; frame.columns.len()];
    for i in &node.columns {
        columns[*i] = filter.filter(&frame.columns[*i])?;
    }
    let small = Frame { columns, n: n_selected };
    let mut inner = RowErrors::default();
    let values = run_array(node, &small, &mut inner)?;
    if !inner.0.is_empty() {
        let places: Vec<usize> = rows.set_indices().collect();
        for (row, e) in inner.0 {
            errors.fail(places[row], e);
        }
    }
    Ok(Part { values, compact: true })
}

/// Values back at their rows; NULL elsewhere.
fn scatter(part: Part, rows: &BooleanBuffer) -> EvalResult<ArrayRef> {
    if !part.compact {
        return Ok(part.values);
    }
    let mut next = 0u32;
    let places: UInt32Array = rows
        .iter()
        .map(|set| {
            set.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    Ok(take(&part.values, &places, None)?)
}

/// AND (`all`) or OR of several, in order: a row that an arm has decided does not see the later ones.
fn conjunction(args: &[Node], frame: &Frame, errors: &mut RowErrors, all: bool) -> EvalResult<ColumnarValue> {
    let mut result: Option<BooleanArray> = None;
    for arg in args {
        let Some(so_far) = result else {
            result = Some(run_bool(arg, frame, errors)?);
            continue;
        };
        let values = if arg.fails {
            // undecided: not false for AND, not true for OR
            let decided = if all { truths(&boolean::not(&so_far)?) } else { truths(&so_far) };
            let open = errors.sane(!&decided);
            let part = run_selected(arg, frame, &open, errors)?;
            let values = scatter(part, &open)?;
            values.as_boolean_opt().cloned().unwrap_or_else(|| BooleanArray::new_null(frame.n))
        } else {
            run_bool(arg, frame, errors)?
        };
        result = Some(if all { boolean::and_kleene(&so_far, &values) } else { boolean::or_kleene(&so_far, &values) }?);
    }
    Ok(match result {
        Some(a) => ColumnarValue::Array(Arc::new(a)),
        None => ColumnarValue::Scalar(ScalarValue::Boolean(Some(all))),
    })
}

fn is(test: IsTest, negated: bool, arg: &Node, frame: &Frame, errors: &mut RowErrors) -> EvalResult<ColumnarValue> {
    let values = match test {
        IsTest::Null | IsTest::Unknown => {
            let a = run_array(arg, frame, errors)?;
            match a.logical_nulls() {
                Some(nulls) => !nulls.inner(),
                None => BooleanBuffer::new_unset(frame.n),
            }
        }
        IsTest::True => truths(&run_bool(arg, frame, errors)?),
        IsTest::False => truths(&boolean::not(&run_bool(arg, frame, errors)?)?),
    };
    let values = if negated { !&values } else { values };
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(values, None))))
}

/// Values picked row by row out of several parts; rows that nothing picked are NULL.
struct Picks {
    arrays: Vec<ArrayRef>,
    places: Vec<(usize, usize)>,
}

impl Picks {
    fn new(ty: &DataType, n: usize) -> Picks {
        Picks { arrays: vec![new_null_array(ty, 1)], places: vec![(0, 0); n] }
    }

    fn pick(&mut self, part: Part, rows: &BooleanBuffer) {
        let k = self.arrays.len();
        for (nth, row) in rows.set_indices().enumerate() {
            self.places[row] = (k, if part.compact { nth } else { row });
        }
        self.arrays.push(part.values);
    }

    fn finish(self, ty: &DataType) -> EvalResult<ColumnarValue> {
        // an untyped NULL among the arms takes the type of the rest
        let arrays: Vec<ArrayRef> =
            self.arrays.into_iter().map(|a| if a.data_type() == ty { a } else { new_null_array(ty, a.len()) }).collect();
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(interleave(&arrays, &self.places)?))
    }
}

fn case(
    branches: &[(Node, Node)],
    otherwise: Option<&Node>,
    ty: &DataType,
    frame: &Frame,
    errors: &mut RowErrors,
) -> EvalResult<ColumnarValue> {
    if let ([(condition, then)], Some(other)) = (branches, otherwise)
        && !then.fails
        && !other.fails
        && then.ty == *ty
        && other.ty == *ty
    {
        let hit = BooleanArray::new(truths(&run_bool(condition, frame, errors)?), None);
        let (then, other) = (run_array(then, frame, errors)?, run_array(other, frame, errors)?);
        return Ok(ColumnarValue::Array(zip(&hit, &then, &other)?));
    }
    let mut picks = Picks::new(ty, frame.n);
    let mut open = BooleanBuffer::new_set(frame.n);
    for (condition, then) in branches {
        if open.count_set_bits() == 0 {
            break;
        }
        let part = run_selected(condition, frame, &open, errors)?;
        let value = scatter(part, &open)?;
        let hit = match value.as_boolean_opt() {
            Some(b) => &truths(b) & &open,
            None => BooleanBuffer::new_unset(frame.n),
        };
        let hit = errors.sane(hit);
        open = errors.sane(&open & &!&hit);
        let part = run_selected(then, frame, &hit, errors)?;
        picks.pick(part, &hit);
    }
    if let Some(other) = otherwise {
        let part = run_selected(other, frame, &open, errors)?;
        picks.pick(part, &open);
    }
    picks.finish(ty)
}

fn coalesce(args: &[Node], ty: &DataType, frame: &Frame, errors: &mut RowErrors) -> EvalResult<ColumnarValue> {
    let mut picks = Picks::new(ty, frame.n);
    let mut open = BooleanBuffer::new_set(frame.n);
    for arg in args {
        if open.count_set_bits() == 0 {
            break;
        }
        let part = run_selected(arg, frame, &open, errors)?;
        let nulls = part.values.logical_nulls();
        let mut nth = 0;
        let present = BooleanBuffer::collect_bool(frame.n, |row| {
            if !open.value(row) {
                return false;
            }
            let at = if part.compact { nth } else { row };
            nth += 1;
            nulls.as_ref().is_none_or(|n| n.is_valid(at))
        });
        // picked by the rows that were open, so that compact values are counted right; NULLs are picked again later
        picks.pick(part, &open);
        open = errors.sane(&open & &!&present);
    }
    picks.finish(ty)
}

fn in_list(arg: &Node, list: &[Node], negated: bool, frame: &Frame, errors: &mut RowErrors) -> EvalResult<ColumnarValue> {
    let needle = run(arg, frame, errors);
    let mut found = BooleanArray::from(vec![false; frame.n]);
    for item in list {
        let equal = if item.fails {
            let open = errors.sane(!&truths(&found));
            let part = run_selected(item, frame, &open, errors)?;
            let value = scatter(part, &open)?;
            compared(CompareOp::Eq, &needle, &ColumnarValue::Array(value), frame.n)?
        } else {
            compared(CompareOp::Eq, &needle, &run(item, frame, errors), frame.n)?
        };
        found = boolean::or_kleene(&found, &equal)?;
    }
    Ok(ColumnarValue::Array(Arc::new(if negated { boolean::not(&found)? } else { found })))
}

fn like(arg: &Node, pattern: &Pattern, negated: bool, frame: &Frame, errors: &mut RowErrors) -> EvalResult<ColumnarValue> {
    let a = run_array(arg, frame, errors)?;
    let Some(text) = a.as_string_opt::<i32>() else { return Ok(null(&DataType::Boolean)) };
    let (values, nulls) = match pattern {
        Pattern::Fixed(p) => {
            let hit = BooleanBuffer::collect_bool(frame.n, |i| {
                text.is_valid(i) && p.matches(text.value(i)).is_ok_and(|m| m != negated)
            });
            (hit, text.nulls().cloned())
        }
        Pattern::Each(node, escape, fold) => {
            let p = run_array(node, frame, errors)?;
            let Some(p) = p.as_string_opt::<i32>() else { return Ok(null(&DataType::Boolean)) };
            let nulls = arrow::buffer::NullBuffer::union(text.nulls(), p.nulls());
            // neighbours often share a pattern
            let mut last: Option<(&str, LikePattern)> = None;
            let hit = BooleanBuffer::collect_bool(frame.n, |i| {
                if nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                    return false;
                }
                let pattern = p.value(i);
                if last.as_ref().is_none_or(|(known, _)| *known != pattern) {
                    last = Some((pattern, LikePattern::new(pattern, *escape, *fold)));
                }
                match last.as_ref().map(|(_, compiled)| compiled.matches(text.value(i))) {
                    Some(Ok(matches)) => matches != negated,
                    Some(Err(e)) => {
                        errors.fail(i, e);
                        false
                    }
                    None => false,
                }
            });
            (hit, nulls)
        }
    };
    Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(values, nulls))))
}
