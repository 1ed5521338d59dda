//! Ordered groups as tables of an image: which group, the sort key, the row, how often; in pieces of bounded size behind their number.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::DataType;
use regauge_state::{Member, OrderedGroups};

use super::parts::row_number;
use crate::image::{IMAGE_ROWS, Tables, int64, places, table};
use crate::operator::FlowError;

/// Appends the members of these groups, each under its group's place among them.
pub(super) fn save(members: &OrderedGroups, groups: &[u32], to: &mut Vec<RecordBatch>) -> Result<(), FlowError> {
    let of = |(place, group): (usize, &u32)| members.entries(*group).map(move |(key, m)| (row_number(place), key, m));
    let all: Vec<(u32, &[u8], Member)> = groups.iter().enumerate().flat_map(of).collect();
    let pieces = all.chunks(IMAGE_ROWS);
    to.push(table(vec![int64(std::iter::once(i64::try_from(pieces.len()).unwrap_or(i64::MAX)))], 1)?);
    for piece in pieces {
        let mut columns: Vec<ArrayRef> = vec![places(piece.iter().map(|(place, ..)| *place).collect())];
        columns.push(Arc::new(BinaryArray::from_iter_values(piece.iter().map(|(_, key, _)| *key))));
        columns.extend(members.gather(&piece.iter().map(|(.., m)| m.slot).collect::<Vec<u32>>()));
        columns.push(int64(piece.iter().map(|(.., m)| m.count)));
        to.push(table(columns, piece.len())?);
    }
    Ok(())
}

/// Takes them in, for groups that have these ids now, without settling (slots of this epoch stay good); `seen` hears of each: group, sort key, count, what it adds up to.
pub(super) fn restore(
    members: &mut OrderedGroups,
    groups: &[u32],
    types: &[DataType],
    from: &mut Tables<'_>,
    mut seen: impl FnMut(u32, &[u8], i64, i64),
) -> Result<(), FlowError> {
    let types: Vec<DataType> = [DataType::Binary].into_iter().chain(types.iter().cloned()).collect();
    let [n_pieces] = from.numbers()?;
    for _ in 0..n_pieces.first().copied().unwrap_or(0) {
        let (of, mut columns, counts) = from.placed(groups.len(), &types)?;
        let keys = columns.remove(0);
        let keys = keys.as_binary::<i32>();
        for (row, (place, count)) in of.iter().zip(counts).enumerate() {
            let group = groups[*place as usize];
            let now = members.add(group, keys.value(row), &columns, row_number(row), count)?;
            seen(group, keys.value(row), count, now);
        }
    }
    Ok(())
}
