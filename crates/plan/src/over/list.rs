//! array_agg and string_agg of frames, in the partition's order. Cost: the length of what they give.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;

use super::frame::Frames;
use super::{TakingPart, index};
use crate::functions::list_more::accumulated;
use crate::functions::{EvalError, EvalResult};

/// Most items, or bytes of text, of one column of results: with growing frames they are as many as the square of the rows.
const ITEMS_MAX: usize = 1 << 28;

fn too_long() -> EvalError {
    EvalError::new("54000", format!("arrays over window frames hold too many items max={ITEMS_MAX}"))
}

fn members<'a>(row: usize, part: &'a TakingPart, frame: &'a Frames<'_>) -> impl Iterator<Item = usize> + 'a {
    frame.ranges(row).into_iter().flat_map(|(a, b)| a..b).filter(|r| part.has(*r))
}

pub(super) fn arrays(arg: &ArrayRef, output: &DataType, part: &TakingPart, frame: &Frames<'_>, n: usize) -> EvalResult<ArrayRef> {
    let DataType::List(field) = output else { return Err(EvalError::internal("array_agg gives a list")) };
    let (mut rows, mut lengths, mut valid) = (Vec::new(), Vec::with_capacity(n), Vec::with_capacity(n));
    for row in 0..n {
        let before = rows.len();
        rows.extend(members(row, part, frame).map(index));
        if rows.len() > ITEMS_MAX {
            return Err(too_long());
        }
        lengths.push(rows.len() - before);
        valid.push(rows.len() > before);
    }
    let items = take(arg, &UInt32Array::from(rows), None)?;
    let lists: ArrayRef = Arc::new(ListArray::try_new(
        Arc::clone(field),
        OffsetBuffer::from_lengths(lengths),
        items,
        Some(NullBuffer::from(valid)),
    )?);
    accumulated(&lists)?;
    Ok(lists)
}

pub(super) fn strings(
    text: &ArrayRef,
    separator: &ArrayRef,
    part: &TakingPart,
    frame: &Frames<'_>,
    n: usize,
) -> EvalResult<ArrayRef> {
    let no_text = || EvalError::internal("string_agg is for text");
    let (text, separator) =
        (text.as_string_opt::<i32>().ok_or_else(no_text)?, separator.as_string_opt::<i32>().ok_or_else(no_text)?);
    let mut out = StringBuilder::new();
    let (mut one, mut n_bytes) = (String::new(), 0);
    for row in 0..n {
        let mut any = false;
        one.clear();
        for r in members(row, part, frame) {
            if any && separator.is_valid(r) {
                one.push_str(separator.value(r));
            }
            one.push_str(text.value(r));
            any = true;
        }
        n_bytes += one.len();
        if n_bytes > ITEMS_MAX {
            return Err(too_long());
        }
        out.append_option(any.then_some(&one));
    }
    Ok(Arc::new(out.finish()))
}
