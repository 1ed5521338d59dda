//! Rows of traces and of tables as tables of a block.

use crate::error::{Error, Result};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array},
    datatypes::{DataType, Field, Int64Type, Schema, UInt64Type},
};
use regauge_state::trace::RowError;
use regauge_types::{Delta, VersionNo, ViewId};
use std::sync::Arc;

/// The name of the column of multiplicities; it is the last one, so another of this name does no harm.
const DIFF: &str = "diff";

/// Rows with their multiplicities behind them.
pub fn of_delta(delta: &Delta) -> Result<RecordBatch> {
    let mut fields: Vec<_> = delta.rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(DIFF, DataType::Int64, false)));
    let mut columns = delta.rows.columns().to_vec();
    columns.push(Arc::new(delta.diffs_array()));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::arrow)
}

/// The same back.
pub fn to_delta(rows: &RecordBatch) -> Result<Delta> {
    let odd = || Error::internal("a checkpoint's rows have no multiplicities");
    let n = rows.num_columns().checked_sub(1).ok_or_else(odd)?;
    let diffs = rows.column(n).as_primitive_opt::<Int64Type>().filter(|d| d.null_count() == 0).ok_or_else(odd)?.clone();
    let rows = rows.project(&(0..n).collect::<Vec<_>>()).map_err(Error::arrow)?;
    Ok(if diffs.values().iter().all(|d| *d == 1) { Delta::ones(rows) } else { Delta::new(rows, diffs) })
}

/// Errors of rows.
pub fn of_errors(errors: &[(RowError, i64)]) -> Result<RecordBatch> {
    let text = |of: fn(&RowError) -> &str| Arc::new(StringArray::from_iter_values(errors.iter().map(|(e, _)| of(e)))) as ArrayRef;
    let origin = |of: fn((ViewId, VersionNo)) -> u64| {
        Arc::new(errors.iter().map(|(e, _)| e.origin.map(of)).collect::<UInt64Array>()) as ArrayRef
    };
    let columns = [
        ("message", text(|e| &e.message)),
        ("row", text(|e| &e.row)),
        ("sqlstate", text(|e| e.sqlstate)),
        ("view", origin(|(view, _)| view.0.into())),
        ("version", origin(|(_, no)| no.0.into())),
        ("node", Arc::new(UInt64Array::from_iter_values(errors.iter().map(|(e, _)| e.node as u64)))),
        ("n", Arc::new(Int64Array::from_iter_values(errors.iter().map(|(_, n)| *n)))),
    ];
    RecordBatch::try_from_iter(columns).map_err(Error::arrow)
}

/// The same back.
pub fn to_errors(rows: &RecordBatch) -> Result<Vec<(RowError, i64)>> {
    let odd = || Error::internal("a checkpoint's errors do not read");
    let text = |at: usize| rows.columns().get(at).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(odd);
    let number = |at: usize| rows.columns().get(at).and_then(|c| c.as_primitive_opt::<UInt64Type>()).ok_or_else(odd);
    let (message, row, sqlstate) = (text(0)?, text(1)?, text(2)?);
    let (view, version, node) = (number(3)?, number(4)?, number(5)?);
    let n = rows.columns().get(6).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(odd)?;
    let error = |at: usize| {
        let small = |n: u64| u32::try_from(n).map_err(|_| odd());
        let origin =
            if view.is_valid(at) { Some((ViewId(small(view.value(at))?), VersionNo(small(version.value(at))?))) } else { None };
        let node = usize::try_from(node.value(at)).map_err(|_| odd())?;
        let state = RowError::known_sqlstate(sqlstate.value(at)).ok_or_else(odd)?;
        let error = RowError::new(state, message.value(at).to_owned(), node, row.value(at).to_owned());
        Ok((RowError { origin, message: message.value(at).to_owned(), row: row.value(at).to_owned(), ..error }, n.value(at)))
    };
    (0..rows.num_rows()).map(error).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_rows_read_back_as_they_were() {
        let low = RowError::new("22012", "division by zero".to_owned(), 3, "row=(1, 0)".to_owned());
        let long = RowError::new("22P02", "x".repeat(400), 0, String::new()).seen_from_above((ViewId(7), VersionNo(2)));
        let errors = vec![(low, 2), (long, 1)];
        assert_eq!(to_errors(&of_errors(&errors).unwrap()).unwrap(), errors);
        assert_eq!(to_errors(&of_errors(&[]).unwrap()).unwrap(), vec![]);
        let rows = RecordBatch::try_from_iter([("diff", Arc::new(Int64Array::from(vec![4, 5])) as ArrayRef)]).unwrap();
        for delta in [Delta::ones(rows.clone()), Delta::new(rows, Int64Array::from(vec![2, 7]))] {
            assert_eq!(to_delta(&of_delta(&delta).unwrap()).unwrap(), delta);
        }
    }
}
