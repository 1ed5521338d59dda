//! How a table's changes lie in its topic, and what each change means for a collection.
//!
//! ```text
//!   _op        the row after, one column per column     the row before, one column per column
//!   1 insert   values                                   NULL
//!   2 update   values                                   values
//!   3 delete   NULL                                     values
//! ```
//! Invariant: a commit holds at most one change per key, so the order within a commit says nothing. Column ids of the row
//! before are those of the row after with the highest bit set. It does not know keys, nor who is allowed to change what.

use crate::catalog::{self, Column};
use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt8Array, UInt32Array},
    compute::{concat_batches, take_record_batch},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt8Type},
    error::ArrowError,
};
use regauge_types::{ColumnId, Delta};
use std::sync::Arc;

/// Column id of `_op`.
pub const OP_COLUMN: ColumnId = ColumnId(0);
/// Added to a column's id for the value before.
pub const BEFORE_BIT: u32 = 1 << 31;

/// What a change does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// A row where none was.
    Insert = 1,
    /// Another row for the same key.
    Update = 2,
    /// No row any more.
    Delete = 3,
}

/// The topic's columns for a table's columns.
#[must_use]
pub fn topic_schema(columns: &[Column]) -> SchemaRef {
    let op = std::iter::once(catalog::field("_op", &DataType::UInt8, OP_COLUMN));
    let after = columns.iter().map(|c| catalog::field(&c.name, &c.ty, c.id));
    let before = columns.iter().map(before_field);
    Arc::new(Schema::new(op.chain(after).chain(before).collect::<Vec<_>>()))
}

fn before_field(column: &Column) -> Field {
    catalog::field(&format!("_before_{}", column.name), &column.ty, ColumnId(column.id.0 | BEFORE_BIT))
}

/// Changes as rows of the topic. `after` and `before` have one row per change, NULLs where a change has none.
pub fn changes(columns: &[Column], ops: Vec<Op>, after: &RecordBatch, before: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let ops: ArrayRef = Arc::new(ops.into_iter().map(|op| Some(op as u8)).collect::<UInt8Array>());
    let columns_ = std::iter::once(ops).chain(after.columns().iter().cloned()).chain(before.columns().iter().cloned());
    RecordBatch::try_new(topic_schema(columns), columns_.collect())
}

/// A batch of changes, taken apart again.
pub struct Changes {
    ops: UInt8Array,
    /// Rows after; NULLs for a delete.
    pub after: RecordBatch,
    /// Rows before; NULLs for an insert.
    pub before: RecordBatch,
}

impl Changes {
    /// Reads rows of a table's topic by the columns that they have themselves: those of the time when they were written.
    pub fn of(rows: &RecordBatch) -> Result<Changes, ArrowError> {
        let n = rows.num_columns().saturating_sub(1) / 2;
        let fields: Vec<_> = rows.schema().fields().iter().skip(1).take(n).cloned().collect();
        Changes::read(rows, &Arc::new(Schema::new(fields)))
    }

    /// Reads rows of a table's topic; `schema` is of the table's own columns. Rows that are none are an error with their schema.
    pub fn read(rows: &RecordBatch, schema: &SchemaRef) -> Result<Changes, ArrowError> {
        let n = schema.fields().len();
        if rows.num_columns() != 2 * n + 1 || rows.column(0).data_type() != &DataType::UInt8 {
            return Err(ArrowError::SchemaError(format!("rows are not changes of a table schema={}", rows.schema())));
        }
        let side = |from: usize| RecordBatch::try_new(schema.clone(), rows.columns()[from..from + n].to_vec());
        Ok(Changes { ops: rows.column(0).as_primitive::<UInt8Type>().clone(), after: side(1)?, before: side(n + 1)? })
    }

    /// Number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What one change does; `None` for a number that no release has written.
    #[must_use]
    pub fn op(&self, at: usize) -> Option<Op> {
        match self.ops.value(at) {
            1 => Some(Op::Insert),
            2 => Some(Op::Update),
            3 => Some(Op::Delete),
            _ => None,
        }
    }

    /// The change of the collection: before -1, after +1.
    pub fn delta(&self) -> Result<Delta, ArrowError> {
        if self.ops.values().iter().all(|op| *op == Op::Insert as u8) {
            return Ok(Delta::ones(self.after.clone()));
        }
        let gone = positions(&self.ops, |op| op != Op::Insert as u8);
        let come = positions(&self.ops, |op| op != Op::Delete as u8);
        let diffs: Int64Array =
            std::iter::repeat_n(-1, gone.len()).chain(std::iter::repeat_n(1, come.len())).collect::<Vec<_>>().into();
        let sides = [take_record_batch(&self.before, &gone)?, take_record_batch(&self.after, &come)?];
        Ok(Delta::new(concat_batches(&self.after.schema(), &sides)?, diffs))
    }
}

fn positions(ops: &UInt8Array, keep: impl Fn(u8) -> bool) -> UInt32Array {
    (0u32..).zip(ops.values()).filter(|(_, op)| keep(**op)).map(|(at, _)| at).collect::<Vec<_>>().into()
}
