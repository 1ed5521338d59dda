//! The past of a topic, for a version that begins: a table's rows at a commit, a stream's records up to it.
//!
//! Columns are those that the plan's sources name, in that order, with their ids in the metadata. Workers share the work: a
//! stream's scan is split by the log, a table's pages go round. Not promised: any order.

use crate::{
    catalog::{Kind, Relation},
    event_time::layout,
    judge::SharedHead,
    read::Pin,
    table::writes::{Key, gather},
    version::trace::Past,
};
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{Schema, SchemaRef},
};
use regauge_log::{Log, ScanColumn, ScanSpec};
use regauge_plan::catalog::LATE_COLUMN;
use regauge_types::{ColumnId, Delta, Lsn, TopicId};
use std::sync::Arc;

const PAGE_ROWS: usize = 8192;

/// A table's rows at a commit.
pub struct TablePast {
    head: Option<SharedHead>,
    at: Lsn,
    pin: Option<Pin>,
    schema: SchemaRef,
}

/// A stream's records up to a commit.
pub struct StreamPast {
    log: Log,
    topic: TopicId,
    at: Lsn,
    schema: SchemaRef,
    /// Those of the schema; then, of a stream with a watermark, what tells watermark records.
    columns: Vec<ScanColumn>,
}

/// The past of a version that has what it needs of it.
pub struct Nothing;

impl Past for Nothing {
    fn open(&self, _worker: usize, _workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        Box::new(std::iter::empty())
    }
}

/// The past of a relation at a commit, of the columns with these ids.
pub fn past(
    relation: &Relation,
    columns: &[ColumnId],
    at: Lsn,
    log: &Log,
    head: Option<SharedHead>,
    pin: Option<Pin>,
) -> Result<Arc<dyn Past>, String> {
    let topic = relation.topic().ok_or("only tables and streams have a past in the log")?;
    let position =
        |id: &ColumnId| relation.columns.iter().position(|c| c.id == *id).ok_or_else(|| format!("no such column id={id}"));
    let schema = relation.schema();
    if matches!(relation.kind, Kind::Table { .. }) {
        let positions = columns.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(schema.project(&positions).map_err(|e| e.to_string())?);
        return Ok(Arc::new(TablePast { head, at, pin, schema }));
    }
    let topic_schema = layout::topic_schema(relation);
    let field = |id: &ColumnId| {
        let at = if *id == LATE_COLUMN { relation.columns.len() } else { position(id)? };
        topic_schema.fields().get(at).map(|f| f.as_ref().clone()).ok_or_else(|| format!("no such column id={id}"))
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, String>>()?;
    let carried = layout::clock(relation).map(|_| layout::CARRIED_COLUMN);
    let columns = columns.iter().copied().chain(carried).map(ScanColumn::User).collect();
    Ok(Arc::new(StreamPast { log: log.clone(), topic, at, schema: Arc::new(Schema::new(fields)), columns }))
}

impl Past for TablePast {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let Some(head) = self.head.clone() else { return Box::new(std::iter::empty()) };
        let (at, pin, schema) = (self.at, self.pin.clone(), self.schema.clone());
        let mut after: Option<Key> = None;
        let mut page_no = 0;
        let pages = std::iter::from_fn(move || {
            let _keep = &pin;
            loop {
                let page = head.read().page(at, after.as_ref(), PAGE_ROWS);
                after = Some(page.last()?.0.clone());
                page_no += 1;
                if (page_no - 1) % workers.max(1) == worker {
                    let whole = head.read().schema().clone();
                    let rows = gather(&whole, page.iter().map(|(_, row)| Some(row)));
                    // By ids: the table's columns may have changed since the plan was made.
                    return Some(rows.map_err(|e| e.to_string()).and_then(|rows| {
                        let rows = crate::table::head::by_ids(&rows, &schema).map_err(|e| e.to_string())?;
                        under(&schema, rows.columns().to_vec(), rows.num_rows())
                    }));
                }
            }
        });
        Box::new(pages)
    }
}

impl Past for StreamPast {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        if self.at == Lsn::ZERO {
            return Box::new(std::iter::empty());
        }
        let mut spec = ScanSpec::all(self.topic, self.columns.clone(), self.at);
        spec.split = Some((worker, workers.max(1)));
        let schema = self.schema.clone();
        match self.log.scan(&spec) {
            Err(error) => Box::new(std::iter::once(Err(error.to_string()))),
            Ok(scan) => Box::new(scan.map(move |batch| {
                let batch = batch.map_err(|e| e.to_string())?;
                layout::scanned(&schema, &batch.rows).map(Delta::ones).map_err(|e| e.to_string())
            })),
        }
    }
}

fn under(schema: &SchemaRef, columns: Vec<arrow::array::ArrayRef>, n_rows: usize) -> Result<Delta, String> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map(Delta::ones).map_err(|e| e.to_string())
}
