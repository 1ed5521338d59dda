//! The columns of a scan, and how rows of any schema of the topic become them.
//!
//! A user's column is found by its id, so a rename needs nothing; one that a schema lacks is null; one that was widened
//! since is cast. The newest schema that has a column says its name and type.

use super::{ScanColumn, ScanSpec};
use crate::{
    archive::{
        Manifest,
        columns::{CAUSE, COMMIT_TS, LSN, OFFSET, PARTITION, SCHEMA, column_id},
        objects::broken,
        rows::as_i64,
        schema_from_bytes,
    },
    error::LogError,
    model::CommitSource,
};
use arrow::{
    array::{ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
};
use regauge_types::{ColumnId, SchemaId, TopicId};
use std::sync::Arc;

/// How many ids below the current one are looked up for a column that was dropped.
const SCHEMAS_BELOW_MAX: u32 = 1 << 12;

/// See the module.
pub(super) struct Projection {
    topic: TopicId,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

/// Where rows stand.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) partition: u32,
    pub(super) schema_id: SchemaId,
    pub(super) first_offset: u64,
    pub(super) rows: usize,
}

impl Projection {
    pub(super) fn resolve(spec: &ScanSpec, manifest: &Manifest, journal: &dyn CommitSource) -> Result<Projection, LogError> {
        let topic =
            journal.topics().into_iter().find(|t| t.id == spec.topic).ok_or(LogError::UnknownTopic { topic: spec.topic })?;
        let known = Known { current: topic.schema, topic: spec.topic, schema_id: topic.schema_id, manifest, journal };
        let fields: Result<Vec<FieldRef>, LogError> = spec
            .columns
            .iter()
            .map(|column| {
                let (name, ty) = match column {
                    ScanColumn::User(id) => return known.field(*id),
                    ScanColumn::Offset => (OFFSET, DataType::Int64),
                    ScanColumn::Partition => (PARTITION, DataType::Int32),
                    ScanColumn::Lsn => (LSN, DataType::Int64),
                    ScanColumn::CommitTs => (COMMIT_TS, DataType::Int64),
                    ScanColumn::Schema => (SCHEMA, DataType::Int32),
                    ScanColumn::Cause => (CAUSE, DataType::Binary),
                };
                Ok(Arc::new(Field::new(name, ty, true)))
            })
            .collect();
        Ok(Projection { topic: spec.topic, columns: spec.columns.clone(), schema: Arc::new(Schema::new(fields?)) })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(super) fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }

    /// Rows in the scan's columns. `stored` has an array for each column that the source of the rows has; the place gives
    /// the others, and a user's column that is nowhere is null.
    pub(super) fn rows(&self, place: Place, stored: Vec<Option<ArrayRef>>) -> Result<RecordBatch, LogError> {
        let n = place.rows;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns.len());
        for ((column, field), stored) in self.columns.iter().zip(self.schema.fields()).zip(stored) {
            columns.push(match (stored, column) {
                (Some(array), _) => self.widened(array, field, place)?,
                (None, ScanColumn::Offset) => {
                    let first = as_i64(place.first_offset)?;
                    Arc::new(Int64Array::from_iter_values((first..).take(n)))
                }
                (None, ScanColumn::Partition) => small(place.partition, n)?,
                (None, ScanColumn::Schema) => small(place.schema_id.0, n)?,
                (None, ScanColumn::User(_)) => new_null_array(field.data_type(), n),
                (None, ScanColumn::Lsn | ScanColumn::CommitTs | ScanColumn::Cause) => {
                    return Err(broken("a column of the log was not read"));
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        RecordBatch::try_new_with_options(self.schema(), columns, &options)
            .map_err(|e| broken(format!("rows do not fit the scan: {e}")))
    }

    fn widened(&self, array: ArrayRef, field: &Field, place: Place) -> Result<ArrayRef, LogError> {
        if array.data_type() == field.data_type() {
            return Ok(array);
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&array, field.data_type(), &strict).map_err(|e| LogError::WrongSchema {
            topic: self.topic,
            schema: place.schema_id,
            reason: format!("an older column cannot be read as the newer one column={}: {e}", field.name()),
        })
    }
}

fn small(value: u32, n: usize) -> Result<ArrayRef, LogError> {
    let value = i32::try_from(value).map_err(|_| broken(format!("number is beyond 31 bits value={value}")))?;
    Ok(Arc::new(Int32Array::from_value(value, n)))
}

/// All schemas of the topic, newest first, each looked at only if the newer ones lack the column.
struct Known<'a> {
    topic: TopicId,
    schema_id: SchemaId,
    current: SchemaRef,
    manifest: &'a Manifest,
    journal: &'a dyn CommitSource,
}

impl Known<'_> {
    fn field(&self, id: ColumnId) -> Result<FieldRef, LogError> {
        let found = |schema: &Schema| schema.fields().iter().find(|f| column_id(f) == Some(id)).cloned();
        if let Some(field) = found(&self.current) {
            return Ok(nullable(field));
        }
        // Ids of a topic ascend, perhaps with gaps: the ones just below, then those that the archive has seen.
        let near = (self.schema_id.0.saturating_sub(SCHEMAS_BELOW_MAX)..self.schema_id.0).rev().map(SchemaId);
        let seen = self.manifest.schemas.iter().rev().filter(|entry| entry.topic == self.topic).map(|entry| entry.id);
        for older in near.chain(seen) {
            let schema = self.journal.schema(self.topic, older).or_else(|| self.archived(older));
            if let Some(field) = schema.and_then(|schema| found(&schema)) {
                return Ok(nullable(field));
            }
        }
        Err(LogError::UnknownColumn { topic: self.topic, column: id })
    }

    fn archived(&self, id: SchemaId) -> Option<SchemaRef> {
        let entry = self.manifest.schemas.iter().find(|entry| entry.topic == self.topic && entry.id == id)?;
        schema_from_bytes(&entry.bytes).map(Arc::new)
    }
}

fn nullable(field: FieldRef) -> FieldRef {
    if field.is_nullable() { field } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}
