//! The columns that a source node names, out of those that a topic or a version gives.

use crate::operator::FlowError;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use regauge_types::{COLUMN_ID_KEY, ColumnId, Delta};
use std::sync::Arc;

/// Of one source node.
pub(super) struct Layout {
    columns: Vec<ColumnId>,
    schema: SchemaRef,
}

impl Layout {
    pub fn new(columns: Vec<ColumnId>, types: &[DataType]) -> Layout {
        let fields: Vec<Field> = types.iter().enumerate().map(|(i, ty)| Field::new(format!("c{i}"), ty.clone(), true)).collect();
        Layout { columns, schema: Arc::new(Schema::new(fields)) }
    }

    /// Rows of a topic: columns are found by their ids.
    pub fn of_topic(&self, delta: &Delta) -> Result<Delta, FlowError> {
        let schema = delta.rows.schema();
        let ids: Vec<Option<u32>> = schema.fields().iter().map(|f| f.metadata().get(COLUMN_ID_KEY)?.parse().ok()).collect();
        self.project(delta, |id| ids.iter().position(|i| *i == Some(id.0)))
    }

    /// Rows of a version: the ids are positions.
    pub fn of_version(&self, delta: &Delta) -> Result<Delta, FlowError> {
        let n = delta.rows.num_columns();
        self.project(delta, |id| usize::try_from(id.0).ok().filter(|i| *i < n))
    }

    fn project(&self, delta: &Delta, place: impl Fn(&ColumnId) -> Option<usize>) -> Result<Delta, FlowError> {
        let missing = |id: &ColumnId| FlowError::Plan(format!("source does not give a column id={id}"));
        let places = self.columns.iter().map(|id| place(id).ok_or_else(|| missing(id))).collect::<Result<Vec<_>, _>>()?;
        under(&self.schema, delta, &places)
    }
}

/// Columns of a delta under another schema.
pub(super) fn under(schema: &SchemaRef, delta: &Delta, places: &[usize]) -> Result<Delta, FlowError> {
    let columns = places.iter().map(|p| Arc::clone(delta.rows.column(*p))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(delta.n_rows()));
    Ok(delta.with_rows(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?))
}
