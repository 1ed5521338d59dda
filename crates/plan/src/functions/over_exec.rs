//! Functions with OVER in plain SELECTs: the operator that takes the place of DataFusion's, so that a SELECT and a view give the same
//! rows, types and errors.
//!
//! It reads all of its input, sorts it by partition, order and the whole row, and computes all partitions at once by
//! [`crate::over`]. Memory: the input, its sort keys and the results, reserved from the query's pool.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, exec_err};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore, Window};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt};
use regauge_types::forms::has_forms;
use regauge_types::key::{KeyOrder, encode_ordered};

use super::error::EvalError;
use super::over::not_offered;
use crate::flowplan::{Arg, OrderKey, WindowCall};
use crate::lower::over::{all_ours, any_ours, spec};
use crate::over::{self, Sorted};
use crate::value::Value;

/// Rows of an emitted batch.
const BATCH_ROWS: usize = 8192;

/// The plan with our node in the place of each logical Window of our functions.
pub(super) fn replace(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Window(w) = node else { return Ok(Transformed::no(node)) };
        if !any_ours(&w) {
            return Ok(Transformed::no(LogicalPlan::Window(w)));
        }
        if !all_ours(&w) {
            return Err(not_offered("a further aggregate").into());
        }
        Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(OverNode { window: w }) })))
    })?;
    Ok(replaced.data)
}

/// A logical Window of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OverNode {
    window: Window,
}

impl Hash for OverNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.window.input.hash(state);
        self.window.window_expr.hash(state);
    }
}

impl PartialOrd for OverNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for OverNode {
    fn name(&self) -> &str {
        "Over"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.window.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.window.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        self.window.window_expr.clone()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.window.window_expr.iter().map(ToString::to_string).collect();
        write!(f, "Over: {}", calls.join(", "))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let Some(input) = inputs.pop() else { return exec_err!("a window has one input") };
        let schema = Arc::clone(&self.window.schema);
        Ok(OverNode { window: Window { input: Arc::new(input), window_expr: exprs, schema } })
    }
}

/// Plans our node.
#[derive(Debug)]
pub(super) struct OverPlanner;

#[async_trait]
impl ExtensionPlanner for OverPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning: &PhysicalPlanningContext,
    ) -> DfResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<OverNode>() else { return Ok(None) };
        let [input] = inputs else { return exec_err!("a window has one input") };
        let w = &node.window;
        let schema = w.input.schema();
        let width = schema.fields().len();
        let mut computed: Vec<Expr> = vec![];
        let spec = spec(w, &mut |e| {
            let e = e.clone().unalias();
            if let Expr::Literal(v, _) = &e
                && let Some(v) = Value::from_scalar(v).or_else(|| v.is_null().then(|| Value::null(v.data_type())))
            {
                return Ok(Arg::Constant(v));
            }
            if let Expr::Column(c) = &e
                && let Some(i) = schema.maybe_index_of_column(c)
            {
                return Ok(Arg::Column(i));
            }
            Ok(Arg::Column(
                width
                    + computed.iter().position(|x| *x == e).unwrap_or_else(|| {
                        computed.push(e);
                        computed.len() - 1
                    }),
            ))
        })
        .map_err(DataFusionError::from)?;
        let mut exprs = vec![];
        for e in &computed {
            exprs.push(planner.create_physical_expr(e, schema, session, planning)?);
        }
        let calls = Calls { exprs, partition: spec.partition, order: spec.order, calls: spec.calls };
        Ok(Some(Arc::new(OverExec::new(Arc::clone(input), Arc::new(calls), Arc::clone(w.schema.inner())))))
    }
}

/// What is computed: further columns over the input, then the calls over both.
#[derive(Debug)]
struct Calls {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    partition: Vec<usize>,
    order: Vec<OrderKey>,
    calls: Vec<WindowCall>,
}

#[derive(Debug)]
struct OverExec {
    input: Arc<dyn ExecutionPlan>,
    calls: Arc<Calls>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl OverExec {
    fn new(input: Arc<dyn ExecutionPlan>, calls: Arc<Calls>, schema: SchemaRef) -> OverExec {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        OverExec { input, calls, schema, properties: Arc::new(properties) }
    }
}

impl DisplayAs for OverExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.calls.calls.iter().map(|c| c.func.name()).collect();
        write!(f, "Over calls=[{}]", names.join(", "))
    }
}

impl ExecutionPlan for OverExec {
    fn name(&self) -> &str {
        "OverExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    #[allow(deprecated)] // what DataFusion asks as long as it has it
    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
    }
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
    ) -> DfResult<TreeNodeRecursion> {
        for e in &self.calls.exprs {
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
        let Some(input) = children.pop() else { return exec_err!("a window has one input") };
        Ok(Arc::new(OverExec::new(input, Arc::clone(&self.calls), Arc::clone(&self.schema))))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("Over").register(context.memory_pool());
        let input = self.input.execute(partition, context)?;
        let (calls, schema) = (Arc::clone(&self.calls), Arc::clone(&self.schema));
        let batches = async move { computed(input, &calls, schema, reservation).await };
        let stream = futures::stream::once(batches)
            .map_ok(|all| futures::stream::iter(all.into_iter().map(Ok::<_, DataFusionError>)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), stream)))
    }
}

async fn computed(
    mut input: SendableRecordBatchStream,
    calls: &Calls,
    schema: SchemaRef,
    reservation: MemoryReservation,
) -> DfResult<Vec<RecordBatch>> {
    let (read, mut batches) = (input.schema(), vec![]);
    while let Some(batch) = input.next().await.transpose()? {
        // the rows, and them again in order
        reservation.try_grow(batch.get_array_memory_size() * 2)?;
        batches.push(batch);
    }
    let all = concat_batches(&read, &batches)?;
    drop(batches);
    let n = all.num_rows();
    let mut columns: Vec<ArrayRef> = all.columns().to_vec();
    for e in &calls.exprs {
        columns.push(e.evaluate(&all)?.into_array(n)?);
    }
    let width = all.num_columns();
    let columns = sorted(&columns, calls, n, &reservation)?;
    let partition: Vec<ArrayRef> = calls.partition.iter().map(|c| Arc::clone(&columns[*c])).collect();
    let parts = over::starts(&over::boundaries(&partition, n)?);
    let rows = Sorted { columns: &columns, parts: &parts, before: None };
    let over::Evaluated { columns: results, errors } = over::evaluate(&calls.calls, &calls.order, &rows)?;
    if let Some((_, e)) = errors.into_iter().next() {
        return Err(e.into());
    }
    reservation.try_grow(results.iter().map(|c| c.get_array_memory_size()).sum())?;
    let columns: Vec<ArrayRef> = columns.into_iter().take(width).chain(results).collect();
    let whole = RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(n)))?;
    Ok((0..n).step_by(BATCH_ROWS).map(|at| whole.slice(at, BATCH_ROWS.min(n - at))).collect())
}

/// The rows by partition, order, and then the whole row, so that ties stand as they do in views.
fn sorted(columns: &[ArrayRef], calls: &Calls, n: usize, reservation: &MemoryReservation) -> DfResult<Vec<ArrayRef>> {
    let mut key: Vec<(usize, KeyOrder)> = calls.partition.iter().map(|c| (*c, KeyOrder::default())).collect();
    for k in &calls.order {
        key.push((k.column, k.key()));
    }
    let written = key.len();
    for (column, array) in columns.iter().enumerate() {
        if has_forms(array.data_type()) || key[..written].iter().all(|(c, _)| *c != column) {
            key.push((column, KeyOrder::EXACT));
        }
    }
    let (arrays, orders): (Vec<ArrayRef>, Vec<KeyOrder>) = key.into_iter().map(|(c, o)| (Arc::clone(&columns[c]), o)).unzip();
    let keys = encode_ordered(&arrays, &orders, n).map_err(|e| EvalError::new("0A000", e.to_string()))?;
    reservation.try_grow(keys.iter().map(<[u8]>::len).sum::<usize>() + n * 12)?;
    let n = u32::try_from(n).map_err(|_| EvalError::new("54000", "too many rows in window functions"))?;
    let mut rows: Vec<u32> = (0..n).collect();
    rows.sort_by(|a, b| keys.get(*a as usize).cmp(keys.get(*b as usize)));
    let rows = UInt32Array::from(rows);
    columns.iter().map(|c| Ok(take(c.as_ref(), &rows, None)?)).collect()
}
