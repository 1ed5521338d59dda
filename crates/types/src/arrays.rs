//! Arrays of several dimensions: lists of lists, as deep as their type says, every list of one value as long as its neighbours.
//!
//! ```text
//!   {{1,2,3},{4,5,6}}    List<List<Int32>>    dims [2, 3]    leaves 1 2 3 4 5 6, neighbours in the innermost column
//!   {}                   of any depth         dims []        an outer list without elements; no list within one is empty or NULL
//! ```
//! Who makes such values keeps that rule ([`build`] does, [`misfit`] judges); everything here rests on it. The depth is a column's type,
//! where PostgreSQL's is a value's. Cost: [`flatten`] a pass over the rows, the others over what is asked for. It knows no SQL.

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use std::ops::Range;
use std::sync::Arc;

/// Most dimensions that an array may have, as in PostgreSQL.
pub const DIMS_MAX: usize = 6;

/// How many lists deep a type is; 0 of what is no list.
#[must_use]
pub fn depth(ty: &DataType) -> usize {
    let (mut depth, mut ty) = (0, ty);
    while let DataType::List(item) = ty {
        (depth, ty) = (depth + 1, item.data_type());
    }
    depth
}

/// The type of the elements, however deep they lie; the type itself where it is no list.
#[must_use]
pub fn leaf(ty: &DataType) -> &DataType {
    let mut ty = ty;
    while let DataType::List(item) = ty {
        ty = item.data_type();
    }
    ty
}

/// Lists of lists of elements of this type.
#[must_use]
pub fn nest(leaf: DataType, depth: usize) -> DataType {
    (0..depth).fold(leaf, |ty, _| DataType::List(Arc::new(Field::new_list_field(ty, true))))
}

fn range(list: &ListArray, of: &Range<usize>) -> Range<usize> {
    let offsets = list.value_offsets();
    let place = |at: usize| usize::try_from(offsets[at]).unwrap_or(0);
    place(of.start)..place(of.end)
}

/// The lists of a column from the outermost to the innermost, and the column of the elements.
#[must_use]
pub fn levels(list: &ListArray) -> (Vec<&ListArray>, &ArrayRef) {
    let mut levels = vec![list];
    let mut values = list.values();
    while let Some(inner) = values.as_list_opt::<i32>() {
        levels.push(inner);
        values = inner.values();
    }
    (levels, values)
}

/// The lengths of a row's dimensions, outermost first; none where it is NULL or has no elements. And where its elements stand.
#[must_use]
pub fn shape(levels: &[&ListArray], row: usize) -> (Vec<usize>, Range<usize>) {
    let mut at = row..row + 1;
    if levels.first().is_none_or(|outer| outer.is_null(row)) {
        return (vec![], 0..0);
    }
    let mut dims = Vec::with_capacity(levels.len());
    for list in levels {
        // neighbours are alike, so the first of them tells
        dims.push(range(list, &(at.start..at.start + 1)).len());
        at = range(list, &at);
        if at.is_empty() {
            return (vec![], 0..0);
        }
    }
    (dims, at)
}

/// The same arrays with one dimension: their elements in order.
#[must_use]
pub fn flatten(list: &ListArray) -> ListArray {
    let (levels, leaves) = levels(list);
    if levels.len() == 1 {
        return list.clone();
    }
    let place = |at: i32| usize::try_from(at).unwrap_or(0);
    let mut ends: Vec<i32> = list.value_offsets().to_vec();
    for inner in &levels[1..] {
        let offsets = inner.value_offsets();
        ends.iter_mut().for_each(|end| *end = offsets[place(*end)]);
    }
    let field = Arc::new(Field::new_list_field(leaves.data_type().clone(), true));
    ListArray::new(field, OffsetBuffer::new(ends.into()), Arc::clone(leaves), list.nulls().cloned())
}

/// Arrays of `ty` out of their elements, row after row: each of the lengths that its dimensions have, `None` for NULL.
///
/// # Errors
/// Where the elements are not as many as the dimensions say, or not of the type.
pub fn build(ty: &DataType, leaves: ArrayRef, shapes: &[Option<Vec<usize>>]) -> Result<ArrayRef, ArrowError> {
    build_level(ty, leaves, shapes, 0)
}

fn build_level(ty: &DataType, leaves: ArrayRef, shapes: &[Option<Vec<usize>>], level: usize) -> Result<ArrayRef, ArrowError> {
    let DataType::List(field) = ty else { return Ok(leaves) };
    let items = build_level(field.data_type(), leaves, shapes, level + 1)?;
    let mut lengths = vec![];
    for dims in shapes {
        let dims = dims.as_deref().unwrap_or_default();
        // a list within a list that has elements has some itself
        let n_lists = if level == 0 { 1 } else { dims.get(..level).map_or(0, |outer| outer.iter().product()) };
        lengths.extend(std::iter::repeat_n(dims.get(level).copied().unwrap_or(0), n_lists));
    }
    let nulls = (level == 0).then(|| NullBuffer::from(shapes.iter().map(Option::is_some).collect::<Vec<_>>()));
    let nulls = nulls.filter(|n| n.null_count() > 0);
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    if offsets.last().is_none_or(|end| usize::try_from(*end) != Ok(items.len())) {
        return Err(ArrowError::InvalidArgumentError("elements and dimensions differ".to_owned()));
    }
    Ok(Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls)?))
}

/// Why lists are no array of one more dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// One is NULL.
    Null,
    /// One has no elements.
    Empty,
    /// Two have not the same dimensions.
    Differ,
}

/// What keeps the lists within a row of a column of lists of lists from being an array; `None` where they are one, and for a row that is
/// NULL or empty.
#[must_use]
pub fn misfit(list: &ListArray, row: usize) -> Option<Misfit> {
    let (levels, _) = levels(list);
    let [_, inner @ ..] = levels.as_slice() else { return None };
    let first = inner.first().filter(|_| list.is_valid(row))?;
    let mut dims: Option<Vec<usize>> = None;
    for at in range(list, &(row..row + 1)) {
        if first.is_null(at) {
            return Some(Misfit::Null);
        }
        let (own, _) = shape(inner, at);
        if own.is_empty() {
            return Some(Misfit::Empty);
        }
        if dims.get_or_insert_with(|| own.clone()) != &own {
            return Some(Misfit::Differ);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    fn cubes() -> ListArray {
        let leaves: ArrayRef = Arc::new(Int32Array::from_iter_values(1..=14));
        let shapes = [Some(vec![2, 1, 3]), None, Some(vec![]), Some(vec![1, 2, 4])];
        build(&nest(DataType::Int32, 3), leaves, &shapes).unwrap().as_list::<i32>().clone()
    }

    #[test]
    fn what_is_built_of_elements_and_dimensions_has_them() {
        let cubes = cubes();
        let (levels, leaves) = levels(&cubes);
        let shapes: Vec<_> = (0..4).map(|row| shape(&levels, row)).collect();
        assert_eq!(shapes, [(vec![2, 1, 3], 0..6), (vec![], 0..0), (vec![], 0..0), (vec![1, 2, 4], 6..14)]);
        assert_eq!((leaves.len(), depth(cubes.data_type()), leaf(cubes.data_type())), (14, 3, &DataType::Int32));
        assert!(cubes.is_null(1) && cubes.is_valid(2));
        let few: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
        assert!(build(&nest(DataType::Int32, 2), few, &[Some(vec![2, 2])]).is_err());
    }

    #[test]
    fn flat_arrays_have_the_same_elements_a_slice_of_them_too() {
        let cubes = cubes();
        let flat = flatten(&cubes);
        assert_eq!(flat.value(0).len(), 6);
        assert!(flat.is_null(1) && flat.value(2).is_empty());
        let last = flatten(&cubes.slice(3, 1));
        assert_eq!(last.value(0).as_primitive::<arrow::datatypes::Int32Type>().values(), &[7, 8, 9, 10, 11, 12, 13, 14]);
    }

    #[test]
    fn lists_that_are_not_alike_are_no_array() {
        let list = |rows: Vec<Option<Vec<Option<i32>>>>| -> ListArray {
            let inner = ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>(rows);
            let field = Arc::new(Field::new_list_field(inner.data_type().clone(), true));
            ListArray::new(field, OffsetBuffer::from_lengths([inner.len()]), Arc::new(inner), None)
        };
        let of = |rows| misfit(&list(rows), 0);
        assert_eq!(of(vec![Some(vec![Some(1), None]), Some(vec![None, None])]), None);
        assert_eq!(of(vec![]), None);
        assert_eq!(of(vec![Some(vec![Some(1)]), None]), Some(Misfit::Null));
        assert_eq!(of(vec![Some(vec![Some(1)]), Some(vec![])]), Some(Misfit::Empty));
        assert_eq!(of(vec![Some(vec![Some(1)]), Some(vec![Some(1), Some(2)])]), Some(Misfit::Differ));
    }
}
