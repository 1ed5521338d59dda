//! The past of a topic, for a version that begins: a table's rows at a commit, a stream's records up to it.
//!
//! Columns are those that the plan's sources name, in that order, with their ids in the metadata. Workers share the work: a
//! stream's scan is split by the log, a table's pages go round. Not promised: any order.

use crate::{
    catalog::{Kind, Relation},
    event_time::layout,
    judge::SharedHead,
    read::Pin,
    table::{runs::Runs, writes::Key},
    version::trace::Past,
};
use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::{FieldRef, Schema, SchemaRef},
};
use regauge_log::{Log, ScanColumn, ScanSpec};
use regauge_plan::catalog::LATE_COLUMN;
use regauge_types::{COLUMN_ID_KEY, ColumnId, Delta, Epoch, Lsn, TopicId};
use std::sync::Arc;

const PAGE_ROWS: usize = 8192;

/// A table's rows at a commit.
pub struct TablePast {
    head: Option<SharedHead>,
    at: Lsn,
    pin: Option<Pin>,
    schema: SchemaRef,
}

/// A stream's records up to a commit, in parts.
pub struct StreamPast {
    log: Log,
    topic: TopicId,
    /// Where parts begin and end: the first behind the first of these commits, the last up to the last.
    bounds: Vec<Lsn>,
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

/// The past of a relation, of the columns with these ids: behind the first of these commits up to the last. Streams are cut at those between;
/// of a table the rows at the last one are the whole.
pub fn past(
    relation: &Relation,
    columns: &[ColumnId],
    bounds: &[Lsn],
    log: &Log,
    head: Option<SharedHead>,
    pin: Option<Pin>,
) -> Result<Arc<dyn Past>, String> {
    let at = bounds.last().copied().unwrap_or_default();
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
    let bounds = bounds.to_vec();
    Ok(Arc::new(StreamPast { log: log.clone(), topic, bounds, schema: Arc::new(Schema::new(fields)), columns }))
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
                let ((page, last), whole) = {
                    let head = head.read();
                    (head.page(at, after.as_ref(), PAGE_ROWS, |_| false), head.schema().clone())
                };
                after = Some(last?);
                page_no += 1;
                if (page_no - 1) % workers.max(1) == worker {
                    return Some(wanted(&page, &whole, &schema));
                }
            }
        });
        Box::new(pages)
    }
}

impl Past for StreamPast {
    fn open(&self, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let parts = (0..self.bounds.len().saturating_sub(1)).collect::<Vec<_>>();
        let all = parts.into_iter().map(|part| self.open_part(part, worker, workers)).collect::<Vec<_>>();
        Box::new(all.into_iter().flatten())
    }

    fn cuts(&self) -> Vec<Epoch> {
        let n = self.bounds.len();
        self.bounds.get(1..n.saturating_sub(1)).unwrap_or_default().iter().map(|at| Epoch::from(*at)).collect()
    }

    fn open_part(&self, part: usize, worker: usize, workers: usize) -> Box<dyn Iterator<Item = Result<Delta, String>> + Send> {
        let (Some(after), Some(up_to)) = (self.bounds.get(part), self.bounds.get(part + 1)) else {
            return Box::new(std::iter::empty());
        };
        if up_to <= after {
            return Box::new(std::iter::empty());
        }
        let all = ScanSpec::all(self.topic, self.columns.clone(), *up_to);
        let mut spec = ScanSpec { after: *after, ..all };
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

/// A page's rows, of the columns that are wanted. By ids: the table's columns may have changed since the plan was made.
fn wanted(page: &Runs, whole: &SchemaRef, schema: &SchemaRef) -> Result<Delta, String> {
    let id = |f: &FieldRef| f.metadata().get(COLUMN_ID_KEY).cloned();
    let ids: Vec<Option<String>> = schema.fields().iter().map(id).collect();
    let has = |at: &usize| whole.fields().get(*at).is_some_and(|f| id(f).is_some() && ids.contains(&id(f)));
    let positions: Vec<usize> = (0..whole.fields().len()).filter(has).collect();
    let read = Arc::new(whole.project(&positions).map_err(|e| e.to_string())?);
    let rows = page.columns(&read, &positions).map_err(|e| e.to_string())?;
    let rows = crate::table::head::by_ids(&rows, schema).map_err(|e| e.to_string())?;
    under(schema, rows.columns().to_vec(), rows.num_rows())
}

fn under(schema: &SchemaRef, columns: Vec<arrow::array::ArrayRef>, n_rows: usize) -> Result<Delta, String> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map(Delta::ones).map_err(|e| e.to_string())
}
