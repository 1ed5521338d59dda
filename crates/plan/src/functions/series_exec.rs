//! `generate_series` that becomes rows: made a batch at a time, in the place of an array that is unnested.
//!
//! ```text
//!   Unnest(Projection(.., pg_series(a, b, step), ..))  ─▶  SeriesExec: each row of the input again for each element of its series
//! ```
//! So a series is as long as it likes, a LIMIT reads no more of it than it needs, and a statement that is cancelled hears of it between two
//! batches. It holds one batch of its input and one of its output. Plain SELECTs only; a view keeps arrays ([`super::series`]), and so does
//! a series beside another set. DataFusion would compute a series of constants while it plans: [`unfold`] keeps it from that.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::exec_err;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, ScalarUDF};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;

use super::error::EvalError;
use super::series::{SERIES, Walk, elements};
use super::udf::PgFunction;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

fn is_series(function: &ScalarUDF) -> bool {
    function.inner().downcast_ref::<PgFunction>().is_some_and(|f| f.def.name == SERIES.name)
}

/// The plan with series under Unnest that no rule computes ahead.
pub fn unfold(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let twin = Arc::new(ScalarUDF::new_from_impl(PgFunction::unfolded(&SERIES)));
    let unfolded = |e: Expr| {
        e.transform_up(|e| match e {
            Expr::ScalarFunction(mut f) if is_series(&f.func) => {
                f.func = Arc::clone(&twin);
                Ok(Transformed::yes(Expr::ScalarFunction(f)))
            }
            other => Ok(Transformed::no(other)),
        })
        .data()
    };
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Unnest(mut unnest) = node else { return Ok(Transformed::no(node)) };
        let LogicalPlan::Projection(p) = unnest.input.as_ref() else { return Ok(Transformed::no(LogicalPlan::Unnest(unnest))) };
        let exprs = p.expr.iter().cloned().map(unfolded).collect::<DfResult<Vec<_>>>()?;
        let projected = Projection::try_new_with_schema(exprs, Arc::clone(&p.input), Arc::clone(&p.schema))?;
        unnest.input = Arc::new(LogicalPlan::Projection(projected));
        Ok(Transformed::yes(LogicalPlan::Unnest(unnest)))
    })
    .data()
}

/// The plan with [`SeriesExec`] where a series is all that is unnested.
pub(super) fn lazily(plan: Arc<dyn ExecutionPlan>) -> DfResult<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match made(&node) {
            Some(series) => Transformed::yes(Arc::new(series) as Arc<dyn ExecutionPlan>),
            None => Transformed::no(node),
        })
    })
    .data()
}

fn made(node: &Arc<dyn ExecutionPlan>) -> Option<SeriesExec> {
    let unnest = node.downcast_ref::<UnnestExec>()?;
    let projection = unnest.input().downcast_ref::<ProjectionExec>()?;
    let lists = unnest.list_column_indices();
    let plain = unnest.struct_column_indices().is_empty() && !unnest.options().preserve_nulls();
    if !plain || lists.iter().any(|list| list.depth != 1) {
        return None;
    }
    let exprs: Vec<Arc<dyn PhysicalExpr>> = projection.expr().iter().map(|e| Arc::clone(&e.expr)).collect();
    let call = |at: usize| exprs.get(at).and_then(|e| e.downcast_ref::<ScalarFunctionExpr>());
    let (at, places) = match lists {
        [one] => (one.index_in_input_schema, None),
        // WITH ORDINALITY
        [one, other] => (one.index_in_input_schema, Some(other.index_in_input_schema)),
        _ => return None,
    };
    let series = call(at).filter(|call| is_series(call.fun()))?;
    if let Some(places) = places {
        let numbers = call(places).filter(|call| call.fun().name() == super::rows::PLACES_NAME)?;
        let [of] = numbers.args() else { return None };
        if of.downcast_ref::<ScalarFunctionExpr>() != Some(series) {
            return None;
        }
    }
    let args = series.args().to_vec();
    let parts = Arc::new(Parts { args, at, places, exprs });
    Some(SeriesExec::new(Arc::clone(projection.input()), parts, unnest.schema()))
}

#[derive(Debug)]
struct Parts {
    /// Of the output's columns; that of the series is not computed.
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// Of the series.
    args: Vec<Arc<dyn PhysicalExpr>>,
    /// The column of the series.
    at: usize,
    /// The column of the elements' places, if they are numbered.
    places: Option<usize>,
}

#[derive(Debug)]
struct SeriesExec {
    input: Arc<dyn ExecutionPlan>,
    parts: Arc<Parts>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl SeriesExec {
    fn new(input: Arc<dyn ExecutionPlan>, parts: Arc<Parts>, schema: SchemaRef) -> SeriesExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            datafusion::physical_plan::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        SeriesExec { input, parts, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for SeriesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.parts.args.iter().map(ToString::to_string).collect();
        write!(f, "Series of=[{}]", args.join(", "))
    }
}

impl ExecutionPlan for SeriesExec {
    fn name(&self) -> &str {
        "SeriesExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for e in self.parts.exprs.iter().chain(&self.parts.args) {
            if f(e)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let Some(input) = children.pop() else { return exec_err!("a series has one input") };
        Ok(Arc::new(SeriesExec::new(input, Arc::clone(&self.parts), Arc::clone(&self.schema))))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let state = State { input, parts: Arc::clone(&self.parts), schema: Arc::clone(&self.schema), current: None };
        let stream =
            futures::stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|batch| (batch, state))) });
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream))))
    }
}

struct State {
    input: SendableRecordBatchStream,
    parts: Arc<Parts>,
    schema: SchemaRef,
    current: Option<Current>,
}

/// A batch of the input and how far it has come.
struct Current {
    columns: Vec<Option<ArrayRef>>,
    args: Vec<ArrayRef>,
    n: usize,
    row: usize,
    walk: Option<Walk>,
    /// Elements of the row that are made.
    n_made: i64,
}

/// Elements with the rows that they are of and their places in their series.
#[derive(Default)]
struct Made {
    rows: Vec<u32>,
    values: Vec<i128>,
    places: Vec<i64>,
}

impl State {
    async fn next(&mut self) -> DfResult<Option<RecordBatch>> {
        loop {
            if let Some(current) = &mut self.current {
                let made = current.fill()?;
                if !made.values.is_empty() {
                    return self.batch(made).map(Some);
                }
            }
            let Some(batch) = self.input.next().await.transpose()? else { return Ok(None) };
            self.current = Some(self.evaluated(&batch)?);
        }
    }

    fn evaluated(&self, batch: &RecordBatch) -> DfResult<Current> {
        let n = batch.num_rows();
        let value = |e: &Arc<dyn PhysicalExpr>| e.evaluate(batch)?.into_array(n);
        let args = self.parts.args.iter().map(value).collect::<DfResult<Vec<_>>>()?;
        let made = |i: usize| i == self.parts.at || self.parts.places == Some(i);
        let column = |(i, e)| if made(i) { Ok(None) } else { value(e).map(Some) };
        let columns = self.parts.exprs.iter().enumerate().map(column).collect::<DfResult<Vec<_>>>()?;
        Ok(Current { columns, args, n, row: 0, walk: None, n_made: 0 })
    }

    fn batch(&self, made: Made) -> DfResult<RecordBatch> {
        let rows = UInt32Array::from(made.rows);
        let ty = self.schema.field(self.parts.at).data_type();
        let series = elements(ty, made.values)?;
        let places: ArrayRef = Arc::new(Int64Array::from(made.places));
        let columns = self.current.iter().flat_map(|current| &current.columns).enumerate();
        let columns = columns.map(|(i, column)| match column {
            Some(column) => Ok(take(column.as_ref(), &rows, None)?),
            None if i == self.parts.at => Ok(Arc::clone(&series)),
            None => Ok(Arc::clone(&places)),
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<DfResult<Vec<_>>>()?)?)
    }
}

impl Current {
    /// The next elements with the rows that they are of; none when the batch is at its end.
    fn fill(&mut self) -> Result<Made, EvalError> {
        let mut made = Made::default();
        while self.row < self.n && made.values.len() < BATCH_ROWS {
            if self.walk.is_none() {
                self.walk = Walk::begin(&self.args, self.row)?;
            }
            if let Some(walk) = &mut self.walk {
                while made.values.len() < BATCH_ROWS
                    && let Some(value) = walk.step()
                {
                    self.n_made += 1;
                    made.values.push(value);
                    made.places.push(self.n_made);
                }
                let row = u32::try_from(self.row).map_err(|_| EvalError::internal("a batch has too many rows"))?;
                made.rows.resize(made.values.len(), row);
                if made.values.len() >= BATCH_ROWS {
                    break;
                }
            }
            (self.walk, self.row, self.n_made) = (None, self.row + 1, 0);
        }
        Ok(made)
    }
}
