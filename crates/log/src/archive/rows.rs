//! Rows of commits on their way to columns: the shape that the writer of segments and the scan of the journal share.
//!
//! Many commits have one row. Each waits here as it came, and the columns are built once for many of them.

use super::objects::broken;
use crate::{error::LogError, model::Part};
use arrow::{
    array::{Array, ArrayRef, BinaryArray, BinaryBuilder, Int64Builder, RecordBatch},
    compute::concat,
    error::ArrowError,
};
use bytes::Bytes;
use regauge_types::{Hlc, Lsn};
use std::sync::Arc;

/// A run of one partition's rows from one commit.
pub(crate) struct CommitRows {
    pub(crate) rows: RecordBatch,
    pub(crate) first_offset: u64,
    pub(crate) lsn: Lsn,
    pub(crate) hlc: Hlc,
    pub(crate) cause: Option<Bytes>,
}

impl CommitRows {
    pub(crate) fn new(part: Part, lsn: Lsn, hlc: Hlc) -> CommitRows {
        CommitRows { rows: part.rows, first_offset: part.first_offset, lsn, hlc, cause: part.cause }
    }
}

/// A number as the columns hold it.
pub(crate) fn as_i64(value: u64) -> Result<i64, LogError> {
    i64::try_from(value).map_err(|_| broken(format!("number is beyond 63 bits value={value}")))
}

/// One user column of all runs, in their order; all have the same schema.
pub(crate) fn user_column(runs: &[CommitRows], i: usize) -> Result<ArrayRef, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("rows do not have their schema's columns position={i}"));
    let pieces: Option<Vec<&ArrayRef>> = runs.iter().map(|run| run.rows.columns().get(i)).collect();
    match pieces.ok_or_else(missing)?[..] {
        [one] => Ok(Arc::clone(one)),
        ref many => concat(&many.iter().map(|piece| piece.as_ref()).collect::<Vec<&dyn Array>>()),
    }
}

fn numbers(
    runs: &[CommitRows],
    mut fill: impl FnMut(&CommitRows, &mut Int64Builder) -> Result<(), LogError>,
) -> Result<ArrayRef, LogError> {
    let mut builder = Int64Builder::with_capacity(runs.iter().map(|run| run.rows.num_rows()).sum());
    for run in runs {
        fill(run, &mut builder)?;
    }
    Ok(Arc::new(builder.finish()))
}

/// `_offset` of all rows.
pub(crate) fn offsets(runs: &[CommitRows]) -> Result<ArrayRef, LogError> {
    numbers(runs, |run, out| {
        let first = as_i64(run.first_offset)?;
        let end = as_i64(run.first_offset + run.rows.num_rows() as u64)?;
        // The range's length is known, so that nothing is asked for each.
        out.append_slice(&(first..end).collect::<Vec<i64>>());
        Ok(())
    })
}

/// `_lsn` of all rows.
pub(crate) fn lsns(runs: &[CommitRows]) -> Result<ArrayRef, LogError> {
    numbers(runs, |run, out| {
        out.append_value_n(as_i64(run.lsn.0)?, run.rows.num_rows());
        Ok(())
    })
}

/// `_commit_ts` of all rows.
pub(crate) fn clocks(runs: &[CommitRows]) -> Result<ArrayRef, LogError> {
    numbers(runs, |run, out| {
        out.append_value_n(as_i64(run.hlc.0)?, run.rows.num_rows());
        Ok(())
    })
}

/// `_cause` of all rows.
pub(crate) fn causes(runs: &[CommitRows]) -> ArrayRef {
    if runs.iter().all(|run| run.cause.is_none()) {
        return Arc::new(BinaryArray::new_null(runs.iter().map(|run| run.rows.num_rows()).sum()));
    }
    let mut builder = BinaryBuilder::new();
    for run in runs {
        for _ in 0..run.rows.num_rows() {
            builder.append_option(run.cause.as_ref());
        }
    }
    Arc::new(builder.finish())
}
