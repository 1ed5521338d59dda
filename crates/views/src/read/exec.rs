//! The leaf of a physical plan: reads one relation from the [`Reading`] that the task is bound to.
//!
//! Cost of a table scan: pages of 8,192 rows, each under its own short lock of the head; of a point look-up: one map access. A
//! stream is read by a blocking thread with a bounded channel, so a slow consumer holds it up and nothing else.

use super::{
    hint::{Hint, worth_copying},
    reading::Reading,
    records::Records,
    relation::{LookUp, Point, Source, system_fields},
};
use crate::{
    catalog::{ObjectId, diverted},
    table::{
        runs::Runs,
        writes::{Key as RowKey, RowRef},
    },
};
use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{DataFusionError, Result, exec_datafusion_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter},
    },
};
use futures::{StreamExt, stream};
use regauge_log::ScanSpec;
use regauge_state::trace::RowError;
use regauge_types::{TopicId, ViewId};
use std::{fmt, sync::Arc};

const PAGE_ROWS: usize = 8192;

/// Reads a relation.
#[derive(Debug)]
pub struct RelationExec {
    source: Source,
    /// Of the whole relation.
    schema: SchemaRef,
    projection: Vec<usize>,
    point: Option<Point>,
    hints: Arc<[Hint]>,
    properties: Arc<PlanProperties>,
}

impl RelationExec {
    /// Reads these columns, of one row only where there is a key to look up.
    pub(super) fn new(
        source: Source,
        schema: SchemaRef,
        projection: Option<Vec<usize>>,
        point: Option<Point>,
    ) -> Result<RelationExec> {
        let projection = projection.unwrap_or_else(|| (0..schema.fields().len()).collect());
        let output = Arc::new(schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(RelationExec { source, schema, projection, point, hints: Arc::default(), properties: Arc::new(properties) })
    }

    /// The same, that need not give rows for which one of these is false.
    #[must_use]
    pub(super) fn hinted(self, hints: Vec<Hint>) -> RelationExec {
        RelationExec { hints: hints.into(), ..self }
    }

    /// Where the rows come from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    fn output(&self) -> SchemaRef {
        self.properties.eq_properties.schema().clone()
    }

    fn table(&self, topic: TopicId, reading: &Reading) -> Result<SendableRecordBatchStream> {
        let (output, projection, schema) = (self.output(), self.projection.clone(), self.schema.clone());
        let own = reading.own.get(&topic).cloned();
        let head = reading.judged.head(topic);
        let at = reading.at;
        let looked_up = self.point.as_ref().map_or(Ok(LookUp::All), Point::look_up)?;
        if !matches!(looked_up, LookUp::All) {
            let of = |key: &RowKey| match own.as_ref().and_then(|own| own.own(key)) {
                Some(row) => row.cloned(),
                None => head.as_ref().and_then(|head| head.read().get(key, at).cloned()),
            };
            let row = if let LookUp::Row(key) = &looked_up { of(key) } else { None };
            let batch = project(&one_batch(&schema, row.iter())?, &projection, &output)?;
            return Ok(Box::pin(RecordBatchStreamAdapter::new(output, stream::iter([Ok(batch)]))));
        }
        let pin = reading.pin.clone();
        let own_rows: Vec<RowRef> = own.iter().flat_map(|own| own.changes().iter().filter_map(|c| c.after.clone())).collect();
        let hints = Arc::clone(&self.hints);
        let (schema_, projection_, output_) = (schema.clone(), projection.clone(), output.clone());
        // A page of which no row is worth copying goes out empty, so that whoever reads gives way now and then.
        let pages = stream::try_unfold((head, None::<RowKey>), move |(head, after)| {
            let _keep = &pin;
            let is_own = |key: &RowKey| own.as_ref().is_some_and(|own| own.own(key).is_some());
            let page = head.as_ref().map(|head| head.read().page(at, after.as_ref(), PAGE_ROWS, is_own));
            let (page, next) = page.unwrap_or_default();
            let batch = check_columns(&page, &schema_).and_then(|()| {
                let page = worth_copying(&hints, page);
                page.columns(&output_, &projection_).map_err(|e| DataFusionError::External(Box::new(e)))
            });
            async move { batch.map(|batch| next.map(|key| (batch, (head, Some(key))))) }
        });
        let output_ = output.clone();
        let own = stream::iter(own_rows.chunks(PAGE_ROWS).map(<[RowRef]>::to_vec).collect::<Vec<_>>())
            .map(move |rows| one_batch(&schema, rows.iter()).and_then(|b| project(&b, &projection, &output_)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(output, pages.chain(own))))
    }

    fn stream(&self, topic: TopicId, reading: &Reading) -> Result<SendableRecordBatchStream> {
        let output = self.output();
        let records = Records::new(reading, topic, &output)?;
        let spec = ScanSpec::all(topic, records.columns.clone(), reading.at);
        let log = reading.log.clone();
        let mut builder = RecordBatchReceiverStreamBuilder::new(output.clone(), 2);
        let tx = builder.tx();
        builder.spawn_blocking(move || {
            let scan = log.scan(&spec).map_err(|e| DataFusionError::External(Box::new(e)))?;
            for batch in scan {
                let batch = batch.map_err(|e| DataFusionError::External(Box::new(e)))?;
                let rows = records.rows(&batch.rows, &output)?;
                if tx.blocking_send(Ok(rows)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}

/// Rows that failed, as rows.
fn set_aside(reading: &Reading, view: ViewId, errors: &[(RowError, i64)]) -> Result<RecordBatch> {
    let catalog = reading.judged.catalog();
    let name = |view: ViewId| catalog.get(ObjectId::View(view.0)).map(|r| r.name.to_string());
    let text = |of: &dyn Fn(&RowError) -> Option<String>| -> ArrayRef {
        Arc::new(errors.iter().map(|(error, _)| of(error)).collect::<StringArray>())
    };
    let columns = vec![
        text(&|e| Some(e.sqlstate.to_owned())),
        text(&|e| Some(e.message.clone())),
        text(&|e| name(e.origin.map_or(view, |(view, _)| view))),
        text(&|e| Some(e.row.clone())),
        Arc::new(errors.iter().map(|(_, n)| Some(*n)).collect::<Int64Array>()),
    ];
    Ok(RecordBatch::try_new(diverted::schema(), columns)?)
}

fn one_batch<'a>(schema: &SchemaRef, rows: impl Iterator<Item = &'a RowRef>) -> Result<RecordBatch> {
    let mut all = Runs::default();
    rows.for_each(|row| all.push(row));
    check_columns(&all, schema)?;
    all.all(schema).map_err(|e| DataFusionError::External(Box::new(e)))
}

/// Whether rows have the columns that the plan was made for.
fn check_columns(rows: &Runs, schema: &SchemaRef) -> Result<()> {
    if rows.batches().all(|batch| same_columns(&batch.schema(), schema)) {
        return Ok(());
    }
    let error = crate::Error::conflict("columns of the table were changed after this statement was planned")
        .detail("A transaction that changed them reads the table after it is committed.");
    Err(DataFusionError::External(Box::new(error)))
}

fn same_columns(rows: &Schema, wanted: &Schema) -> bool {
    let pairs = rows.fields().iter().zip(wanted.fields());
    rows.fields().len() == wanted.fields().len()
        && pairs.into_iter().all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
}

fn project(batch: &RecordBatch, projection: &[usize], output: &SchemaRef) -> Result<RecordBatch> {
    let columns = projection.iter().map(|at| batch.column(*at).clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(output.clone(), columns, &options)?)
}

impl DisplayAs for RelationExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.projection.iter().map(|at| self.schema.field(*at).name().as_str()).collect();
        match (&self.source, &self.point) {
            (Source::Table { topic, .. }, None) => write!(f, "Table topic={topic} columns={columns:?}"),
            (Source::Table { topic, .. }, Some(_)) => write!(f, "Table topic={topic} by key columns={columns:?}"),
            (Source::Stream { topic }, _) => write!(f, "Stream topic={topic} columns={columns:?}"),
            (Source::Version { view, version }, _) => write!(f, "Version view={view} version={version} columns={columns:?}"),
            (Source::Diverted { view, version }, _) => write!(f, "Diverted view={view} version={version}"),
            (Source::Rows(batches), _) => write!(f, "Rows batches={}", batches.len()),
        }
    }
}

impl ExecutionPlan for RelationExec {
    fn name(&self) -> &str {
        "RelationExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if let Source::Rows(batches) = &self.source {
            return self.rows(batches);
        }
        let reading = context.session_config().get_extension::<Reading>();
        let reading = reading.ok_or_else(|| exec_datafusion_err!("plan is not bound to an epoch"))?;
        match &self.source {
            Source::Table { topic, .. } => self.table(*topic, &reading),
            Source::Stream { topic } => self.stream(*topic, &reading),
            Source::Version { view, version } => {
                let rows = reading.versions.get(&(*view, *version));
                let rows = rows.ok_or_else(|| exec_datafusion_err!("version is not bound view={view} version={version}"))?;
                let batches = rows.batches().map_err(|e| DataFusionError::External(Box::new(e)))?;
                self.rows(&batches)
            }
            Source::Diverted { view, version } => {
                let rows = reading.versions.get(&(*view, *version));
                let rows = rows.ok_or_else(|| exec_datafusion_err!("version is not bound view={view} version={version}"))?;
                self.rows(&[set_aside(&reading, *view, rows.diverted())?])
            }
            Source::Rows(batches) => self.rows(batches),
        }
    }
}

impl RelationExec {
    fn rows(&self, batches: &[RecordBatch]) -> Result<SendableRecordBatchStream> {
        let output = self.output();
        let batches: Vec<_> = batches.iter().map(|b| project(b, &self.projection, &output)).collect();
        Ok(Box::pin(RecordBatchStreamAdapter::new(output, stream::iter(batches))))
    }
}

/// The schema of a stream's rows with its system columns.
#[must_use]
pub fn with_system_columns(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| f.as_ref().clone()).chain(system_fields());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
