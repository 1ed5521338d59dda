//! Which record an error of a version is about: looked for when a read fails by it, so that rows which do not fail pay nothing.
//!
//! ```text
//!   stream ─▶ map ─▶ (view below ─▶) hop ─▶ map ✗ row=(7, 0)        topic=clicks partition=1 offset=42
//!   table  ─▶ map ✗ row=(0)                                         table=t id=2
//!   join, aggregate ✗ group=(a)                                     group=(a)        no single record is at fault
//! ```
//! An error names its row by the values that the failing operator saw. Where only filters, projections and windows lie between one
//! topic and that operator, the topic's rows take the same way again, by the same operators, until one makes the same error: the first
//! of the lowest partition, the first key. Of several equal rows one is named. Cost: at most [`ROWS_MAX`] rows are read, on a thread
//! that may block; beyond that the row's values must do. What was found is kept: for a stream for good, for a table for its epoch.
//! Not promised: that the row was not named by another error, too.

use super::reading::Reading;
use crate::{
    catalog::{Catalog, Kind, ObjectId, Relation},
    error::Error,
    table::writes::Key as RowKey,
    version::{errors, registry::Key},
};
use arrow::{
    array::{AsArray, RecordBatch, RecordBatchOptions},
    datatypes::{Int64Type, Schema},
};
use parking_lot::Mutex;
use regauge_flow::{
    operator::{Operator, Out},
    ops, show,
};
use regauge_log::{ScanColumn, ScanSpec};
use regauge_plan::{FlowPlan, Op, SourceId};
use regauge_state::trace::RowError;
use regauge_types::{ColumnId, Delta, Lsn, TopicId};
use std::{collections::HashMap, sync::Arc};

/// Rows of a topic that are read to find one: about a second.
const ROWS_MAX: usize = 4_000_000;
/// Rows at a time.
const PAGE_ROWS: usize = 8192;
/// Errors whose record is remembered, one a version.
const KEPT_MAX: usize = 256;

/// Records that were found.
#[derive(Default)]
pub struct Culprits(Mutex<HashMap<Key, Found>>);

#[derive(Clone)]
struct Found {
    error: RowError,
    /// Where it holds; None for ever.
    at: Option<Lsn>,
    record: Option<String>,
}

impl Culprits {
    /// What a reader hears of a version whose rows have errors at the epoch that it reads. May read much: not for an async thread.
    pub fn refusal(&self, reading: &Reading, key: Key, errors: &[(RowError, i64)]) -> Error {
        let catalog = reading.judged.catalog();
        let name = |(view, _): Key| catalog.get(ObjectId::View(view.0)).map_or_else(|| view.to_string(), |r| r.name.to_string());
        let Some((error, _)) = errors.first() else { return Error::internal("a version without errors was refused") };
        let record = self.record(reading, &catalog, error.origin.unwrap_or(key), error);
        let told = errors::told(key, error, name);
        errors::errored(&name(key), &told, record.as_deref().unwrap_or(&error.row), &error.row, errors::n_rows(errors))
    }

    fn record(&self, reading: &Reading, catalog: &Catalog, key: Key, error: &RowError) -> Option<String> {
        if let Some(found) = self.0.lock().get(&key).filter(|f| &f.error == error && f.at.is_none_or(|at| at == reading.at)) {
            return found.record.clone();
        }
        let mut way = way(catalog, key, error.node)?;
        let relation = catalog.get(ObjectId::Topic(way.topic.0))?;
        let (at, record) = match &relation.kind {
            Kind::Table { key } => (Some(reading.at), of_table(reading, relation, key, &mut way, error)),
            Kind::Stream { partitions, .. } => (None, of_stream(reading, relation, *partitions, &mut way, error)),
            _ => return None,
        };
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, Found { error: error.clone(), at, record: record.clone() });
        record
    }
}

/// From a topic's columns to the operator that failed, which is the last step.
struct Way {
    topic: TopicId,
    columns: Vec<ColumnId>,
    steps: Vec<Step>,
}

enum Step {
    Run(Box<dyn Operator>),
    /// What a view above reads of one below.
    Columns(Vec<usize>),
}

/// The way to a node, if it is linear from one topic on.
fn way(catalog: &Catalog, key: Key, node: usize) -> Option<Way> {
    let (mut plan, mut node) = (plan_of(catalog, key)?, node);
    let mut steps = vec![];
    loop {
        let this = plan.nodes.get(node)?;
        match &this.op {
            Op::Map { .. } | Op::Tumble { .. } | Op::Hop { .. } | Op::Cumulate { .. } => {
                steps.push(Step::Run(ops::build(&plan, node).ok()?));
                node = *this.inputs.first()?;
            }
            Op::Source { id: SourceId::Version(view, no), columns } => {
                let below = (*view, *no);
                steps.push(Step::Columns(columns.iter().map(|id| usize::try_from(id.0).ok()).collect::<Option<_>>()?));
                plan = plan_of(catalog, below)?;
                node = plan.root;
            }
            Op::Source { id: SourceId::Topic(topic), columns } => {
                steps.reverse();
                return Some(Way { topic: *topic, columns: columns.clone(), steps });
            }
            _ => return None,
        }
    }
}

fn plan_of(catalog: &Catalog, (view, no): Key) -> Option<FlowPlan> {
    let Kind::Materialized { versions, .. } = &catalog.get(ObjectId::View(view.0))?.kind else { return None };
    FlowPlan::from_bytes(&versions.get(&no)?.plan).ok()
}

impl Way {
    /// Whether one of the rows, given in the source's columns, makes this error.
    fn fails(&mut self, rows: Delta, error: &RowError) -> Option<bool> {
        let (mut deltas, last) = (vec![rows], self.steps.len().checked_sub(1)?);
        for (i, step) in self.steps.iter_mut().enumerate() {
            deltas = match step {
                Step::Columns(places) => deltas.iter().map(|d| columns_of(d, places)).collect::<Option<_>>()?,
                Step::Run(operator) => {
                    let mut out = Out::default();
                    for delta in deltas {
                        operator.push(0, delta, &mut out).ok()?;
                    }
                    if i == last {
                        let same = |e: &RowError| e.message == error.message && e.row == error.row;
                        let made = out.errors.into_iter();
                        return Some(
                            made.map(|(f, _)| RowError::new(f.error.sqlstate, f.error.message, error.node, f.row))
                                .any(|e| same(&e)),
                        );
                    }
                    out.deltas
                }
            };
        }
        Some(false)
    }

    /// The first of the rows that makes it, found by halving.
    fn first(&mut self, rows: &Delta, error: &RowError) -> Option<usize> {
        if rows.is_empty() || !self.fails(rows.clone(), error)? {
            return None;
        }
        let (mut from, mut n) = (0, rows.n_rows());
        while n > 1 {
            let half = n / 2;
            if self.fails(rows.slice(from, half), error)? {
                n = half;
            } else {
                from += half;
                n -= half;
            }
        }
        Some(from)
    }
}

fn columns_of(delta: &Delta, places: &[usize]) -> Option<Delta> {
    let columns = places.iter().map(|p| delta.rows.columns().get(*p).cloned()).collect::<Option<Vec<_>>>()?;
    let fields: Vec<_> = places.iter().map(|p| delta.rows.schema().field(*p).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(delta.n_rows()));
    Some(delta.with_rows(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).ok()?))
}

fn of_stream(reading: &Reading, relation: &Relation, partitions: u32, way: &mut Way, error: &RowError) -> Option<String> {
    let mut columns: Vec<ScanColumn> = way.columns.iter().map(|id| ScanColumn::User(*id)).collect();
    columns.push(ScanColumn::Offset);
    let places: Vec<usize> = (0..way.columns.len()).collect();
    let mut n_rows = 0;
    for partition in 0..partitions {
        let spec = ScanSpec { partitions: Some(vec![partition]), ..ScanSpec::all(way.topic, columns.clone(), reading.at) };
        for batch in reading.log.scan(&spec).ok()? {
            let batch = batch.ok()?;
            let rows = columns_of(&Delta::ones(batch.rows.clone()), &places)?;
            if let Some(row) = way.first(&rows, error) {
                let offset = batch.rows.column(places.len()).as_primitive_opt::<Int64Type>()?.value(row);
                return Some(format!("topic={} partition={} offset={offset}", relation.name, batch.partition));
            }
            n_rows += rows.n_rows();
            if n_rows >= ROWS_MAX {
                return None;
            }
        }
    }
    None
}

fn of_table(reading: &Reading, relation: &Relation, key: &[usize], way: &mut Way, error: &RowError) -> Option<String> {
    let position = |id: &ColumnId| relation.columns.iter().position(|c| c.id == *id);
    let places = way.columns.iter().map(position).collect::<Option<Vec<_>>>()?;
    let head = reading.judged.head(way.topic)?;
    let (mut after, mut n_rows) = (None::<RowKey>, 0);
    loop {
        let (page, last) = head.read().page(reading.at, after.as_ref(), PAGE_ROWS, |_| false);
        after = Some(last?);
        let whole = page.all(&relation.schema()).ok()?;
        if let Some(row) = way.first(&columns_of(&Delta::ones(whole.clone()), &places)?, error) {
            let values = key.iter().map(|at| format!(" {}={}", relation.columns[*at].name, show::value(whole.column(*at), row)));
            return Some(format!("table={}{}", relation.name, values.collect::<String>()));
        }
        n_rows += page.n_rows();
        if n_rows >= ROWS_MAX {
            return None;
        }
    }
}
