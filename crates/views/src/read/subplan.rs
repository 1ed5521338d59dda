//! Correlated subqueries of system statements, run once for each distinct value that they take from outside: PostgreSQL's SubPlan.
//!
//! ```text
//!   SELECT (SELECT x FROM d WHERE d.id = a.id LIMIT 1) FROM a      ─▶      SELECT subplan(a.id) FROM a
//! ```
//! DataFusion turns correlated subqueries into joins, and refuses those that it cannot turn: without an aggregate, with LIMIT,
//! or correlated by anything but equality. The catalogues' readers write such subqueries all the time. Here the subquery is
//! analysed once and becomes a function of its outer columns. Invariant: it reads [`Source::Rows`] only, which are in memory, so
//! running it waits for nothing. Cost: one planning per distinct value, which is why user relations are left to DataFusion.

use super::relation::{RelationTable, Source};
use arrow::{
    array::{Array, ArrayRef, ListArray, RecordBatch, StructArray},
    buffer::OffsetBuffer,
    compute::concat_batches,
    datatypes::{DataType, Field, FieldRef, Fields},
};
use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{
        Column, DFSchema, DataFusionError, JoinType, Result, ScalarValue, UnnestOptions, exec_datafusion_err, exec_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{
        ColumnarValue, Expr, Join, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Subquery, SubqueryAlias, TypeSignature, Volatility,
        expr::{Exists, InSubquery, ScalarFunction},
        expr_rewriter::NamePreserver,
        lit,
        utils::{conjunction, merge_schema, split_conjunction},
    },
};
use futures::StreamExt;
use std::{
    cell::Cell,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// Polls after which a subquery that should wait for nothing is given up.
const POLLS_MAX: usize = 1_000_000;

/// The same plan with its correlated scalar subqueries and arrays of rows as functions. `array` names the marker function
/// around a subquery all of whose rows are wanted.
pub(super) fn lift(plan: LogicalPlan, state: &SessionState, array: &str) -> Result<LogicalPlan> {
    Lift { state, array, made: Cell::new(0), joins: Cell::new(false) }.plan(plan)
}

/// How many rows a subquery may answer with, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// One value, NULL when there is no row.
    Value,
    /// All of them as an array.
    Array,
    /// Whether there is one.
    Exists,
    /// Whether the first argument is among them.
    In,
    /// All columns of all of them as an array of structs, NULL for none.
    Rows,
}

struct Lift<'a> {
    state: &'a SessionState,
    array: &'a str,
    made: Cell<usize>,
    /// Whether EXISTS and IN stand where DataFusion makes joins of them.
    joins: Cell<bool>,
}

impl Lift<'_> {
    fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.transform_up(|node| self.node(node).map(Transformed::yes))?.data)
    }

    fn node(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = match node {
            LogicalPlan::Join(join) => self.lateral(join)?,
            other => other,
        };
        let has = |e: &Expr| e.exists(|e| Ok(self.concerns(e)));
        let mut any = false;
        for e in node.expressions() {
            any |= has(&e)?;
        }
        if !any {
            return Ok(node);
        }
        let joins = matches!(&node, LogicalPlan::Filter(f) if split_conjunction(&f.predicate).into_iter().all(joinable));
        let before = self.joins.replace(joins);
        let lifted = self.exprs(node);
        self.joins.set(before);
        lifted
    }

    fn exprs(&self, node: LogicalPlan) -> Result<LogicalPlan> {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|e| {
            let name = names.save(&e);
            let lifted = e.transform_down(|e| self.expr(e, &schema))?;
            Ok(lifted.update_data(|e| name.restore(e)))
        })?;
        node.data.recompute_schema()
    }

    fn concerns(&self, e: &Expr) -> bool {
        matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))
    }

    fn expr(&self, e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        match e {
            Expr::ScalarFunction(ScalarFunction { func, mut args }) if func.name() == self.array => match args.pop() {
                Some(Expr::ScalarSubquery(sub)) => self.subquery(sub, schema, Answer::Array),
                _ => exec_err!("{} is for subqueries", self.array),
            },
            Expr::ScalarSubquery(sub) => self.subquery(sub, schema, Answer::Value),
            Expr::Exists(Exists { subquery, negated }) if self.joins.get() || !in_memory(&subquery.subquery)? => {
                let subquery = self.inside(subquery)?;
                Ok(jump(Expr::Exists(Exists { subquery, negated })))
            }
            Expr::Exists(Exists { subquery, negated }) => {
                let found = self.subquery(subquery, schema, Answer::Exists)?;
                Ok(found.update_data(|e| if negated { Expr::Not(Box::new(e)) } else { e }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) if !self.joins.get() && in_memory(&subquery.subquery)? => {
                let needle = expr.transform_down(|e| self.expr(e, schema))?.data;
                let found = self.call(self.inside(subquery)?, schema, Answer::In, Some(needle))?;
                Ok(jump(if negated { Expr::Not(Box::new(found)) } else { found }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                let subquery = self.inside(subquery)?;
                Ok(Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated })))
            }
            other => Ok(Transformed::no(other)),
        }
    }

    /// A subquery whose own subqueries are lifted.
    fn inside(&self, sub: Subquery) -> Result<Subquery> {
        let plan = self.plan(Arc::unwrap_or_clone(sub.subquery))?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: sub.spans })
    }

    fn subquery(&self, sub: Subquery, schema: &DFSchema, answer: Answer) -> Result<Transformed<Expr>> {
        let sub = self.inside(sub)?;
        let plain = answer == Answer::Value && sub.outer_ref_columns.is_empty();
        if plain || !in_memory(&sub.subquery)? {
            if answer == Answer::Array {
                return Err(DataFusionError::NotImplemented("ARRAY(SELECT ..) over tables, streams and views".to_owned()));
            }
            return Ok(jump(Expr::ScalarSubquery(sub)));
        }
        self.call(sub, schema, answer, None).map(jump)
    }

    /// The function that stands for a subquery.
    fn call(&self, sub: Subquery, schema: &DFSchema, answer: Answer, needle: Option<Expr>) -> Result<Expr> {
        let analyzer = self.state.analyzer();
        let plan = analyzer.execute_and_check(Arc::unwrap_or_clone(sub.subquery), self.state.config_options(), |_, _| {})?;
        let item = match plan.schema().fields().as_ref() {
            _ if answer == Answer::Rows => DataType::Struct(nullable(plan.schema().as_arrow().fields())),
            [field] => field.data_type().clone(),
            _ if answer == Answer::Exists => DataType::Boolean,
            _ => return exec_err!("subquery must return only one column"),
        };
        let mut outer = Vec::new();
        let mut args: Vec<Expr> = needle.into_iter().collect();
        for e in plan.all_out_ref_exprs() {
            let Expr::OuterReferenceColumn(_, column) = &e else { continue };
            if outer.contains(column) {
                continue;
            }
            outer.push(column.clone());
            args.push(if schema.has_column(column) { Expr::Column(column.clone()) } else { e });
        }
        let no = self.made.get();
        self.made.set(no + 1);
        let ty = match answer {
            Answer::Value => item.clone(),
            Answer::Array | Answer::Rows => DataType::new_list(item.clone(), true),
            Answer::Exists | Answer::In => DataType::Boolean,
        };
        let inner = Inner { plan, outer, answer, item, ty, state: self.state.clone(), name: format!("subplan_{no}") };
        let kinds = vec![TypeSignature::VariadicAny, TypeSignature::Nullary];
        let udf = SubPlan { inner: Arc::new(inner), signature: Signature::one_of(kinds, Volatility::Stable) };
        Ok(ScalarUDF::new_from_impl(udf).call(args))
    }

    /// `left JOIN LATERAL (subquery)`: the subquery's rows become an array beside each row on the left, which is then unnested.
    fn lateral(&self, join: Join) -> Result<LogicalPlan> {
        let (alias, sub) = match join.right.as_ref() {
            LogicalPlan::Subquery(sub) => (None, sub.clone()),
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => match input.as_ref() {
                LogicalPlan::Subquery(sub) => (Some(alias.clone()), sub.clone()),
                _ => return Ok(LogicalPlan::Join(join)),
            },
            _ => return Ok(LogicalPlan::Join(join)),
        };
        let always = join.filter.as_ref().is_none_or(|f| *f == lit(true)) && join.on.is_empty();
        let outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left if always => true,
            _ => return Ok(LogicalPlan::Join(join)),
        };
        if !in_memory(&sub.subquery)? {
            return Ok(LogicalPlan::Join(join));
        }
        let left = Arc::unwrap_or_clone(join.left);
        let (left_schema, right_schema) = (left.schema().clone(), sub.subquery.schema().clone());
        let rows = self.call(sub, &left_schema, Answer::Rows, None)?;
        let rows_name = format!("lateral_{}", self.made.get());
        let kept: Vec<Expr> = left_schema.columns().into_iter().map(Expr::Column).collect();
        let mut beside = kept.clone();
        beside.push(rows.alias(&rows_name));
        let options = UnnestOptions::new().with_preserve_nulls(outer);
        let row = Expr::Column(Column::new_unqualified(&rows_name));
        let mut output = kept;
        for (qualifier, field) in right_schema.iter() {
            let value = datafusion::functions::core::expr_fn::get_field(row.clone(), field.name().as_str());
            output.push(value.alias_qualified(alias.clone().or_else(|| qualifier.cloned()), field.name()));
        }
        let rows = LogicalPlanBuilder::from(left)
            .project(beside)?
            .unnest_column_with_options(Column::new_unqualified(&rows_name), options)?
            .project(output)?;
        let equal = join.on.into_iter().map(|(l, r)| l.eq(r));
        match conjunction(equal.chain(join.filter.filter(|_| !always))) {
            Some(condition) => rows.filter(condition)?.build(),
            None => rows.build(),
        }
    }
}

fn nullable(fields: &Fields) -> Fields {
    fields.iter().map(|f| Field::new(f.name(), f.data_type().clone(), true)).collect()
}

/// What is inside has been looked at.
fn jump(e: Expr) -> Transformed<Expr> {
    Transformed::new(e, true, TreeNodeRecursion::Jump)
}

/// Whether a condition of WHERE has its EXISTS and IN, if any, where DataFusion makes joins of them.
fn joinable(condition: &Expr) -> bool {
    match condition {
        Expr::Exists(_) | Expr::InSubquery(_) => true,
        Expr::Not(inner) if matches!(inner.as_ref(), Expr::Exists(_) | Expr::InSubquery(_)) => true,
        other => !other.exists(|e| Ok(matches!(e, Expr::Exists(_) | Expr::InSubquery(_)))).unwrap_or(true),
    }
}

/// Whether a plan reads nothing but rows that are there already.
fn in_memory(plan: &LogicalPlan) -> Result<bool> {
    let mut all = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let table = provider.downcast_ref::<RelationTable>();
            all &= table.is_some_and(|t| matches!(t.source(), Source::Rows(_)));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all)
}

struct Inner {
    name: String,
    plan: LogicalPlan,
    outer: Vec<Column>,
    answer: Answer,
    item: DataType,
    ty: DataType,
    state: SessionState,
}

/// A subquery as a function of its outer columns.
struct SubPlan {
    inner: Arc<Inner>,
    signature: Signature,
}

impl std::fmt::Debug for SubPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubPlan").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl PartialEq for SubPlan {
    fn eq(&self, other: &SubPlan) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Eq for SubPlan {}

impl Hash for SubPlan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.name.hash(state);
    }
}

impl ScalarUDFImpl for SubPlan {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.inner.ty.clone())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(&self.inner.name, self.inner.ty.clone(), true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = args.args.iter().map(|a| a.to_array(args.number_rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut values = Vec::with_capacity(args.number_rows);
        for row in 0..args.number_rows {
            let key = columns.iter().map(|c| ScalarValue::try_from_array(c, row)).collect::<Result<Vec<_>>>()?;
            let value = match known.get(&key) {
                Some(value) => value.clone(),
                None => {
                    let value = self.inner.value(&key)?;
                    known.insert(key, value.clone());
                    value
                }
            };
            values.push(value);
        }
        if values.is_empty() {
            return Ok(ColumnarValue::Array(arrow::array::new_empty_array(&self.inner.ty)));
        }
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(values)?))
    }
}

impl Inner {
    fn value(&self, outer: &[ScalarValue]) -> Result<ScalarValue> {
        let (needle, outer) = match (self.answer, outer) {
            (Answer::In, [needle, outer @ ..]) => (Some(needle), outer),
            _ => (None, outer),
        };
        let bound = self.bound(outer)?;
        let batches = now(self.run(&bound))??;
        let n: usize = batches.iter().map(RecordBatch::num_rows).sum();
        match self.answer {
            Answer::Exists => return Ok(ScalarValue::from(n > 0)),
            Answer::Rows if n == 0 => return ScalarValue::try_from(&self.ty),
            Answer::Rows => {
                let DataType::Struct(fields) = &self.item else { return exec_err!("rows are structs") };
                let one = concat_batches(&self.plan.schema().inner().clone(), &batches)?;
                return list(Arc::new(StructArray::try_new(fields.clone(), one.columns().to_vec(), None)?));
            }
            _ => {}
        }
        let columns: Vec<ArrayRef> = batches.iter().map(|b| b.column(0).clone()).collect();
        let arrays: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
        let all = if arrays.is_empty() { arrow::array::new_empty_array(&self.item) } else { arrow::compute::concat(&arrays)? };
        if let Some(needle) = needle {
            return among(needle, &all);
        }
        match (self.answer, all.len()) {
            (Answer::Array, _) => list(all),
            (Answer::Value, 0) => ScalarValue::try_from(&self.item),
            (Answer::Value, 1) => ScalarValue::try_from_array(&all, 0),
            (_, _) => exec_err!("more than one row returned by a subquery used as an expression"),
        }
    }

    /// The plan with values in the place of its outer columns.
    fn bound(&self, outer: &[ScalarValue]) -> Result<LogicalPlan> {
        let value = |column: &Column| self.outer.iter().position(|c| c == column).and_then(|at| outer.get(at));
        let plan = self.plan.clone().transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|e| {
                let name = names.save(&e);
                let bound = e.transform_up(|e| match &e {
                    Expr::OuterReferenceColumn(field, column) => match value(column) {
                        Some(value) => Ok(Transformed::yes(Expr::Literal(value.cast_to(field.data_type())?, None))),
                        None => Ok(Transformed::no(e)),
                    },
                    _ => Ok(Transformed::no(e)),
                })?;
                Ok(bound.update_data(|e| name.restore(e)))
            })?;
            Ok(Transformed::yes(node.data.recompute_schema()?))
        })?;
        Ok(plan.data)
    }

    async fn run(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let plan = self.state.create_physical_plan(plan).await?;
        let mut batches = Vec::new();
        // One partition after the other: gathering them would need tasks, and waiting for those.
        for partition in 0..plan.properties().partitioning.partition_count() {
            let mut stream = plan.execute(partition, self.state.task_ctx())?;
            while let Some(batch) = stream.next().await {
                batches.push(batch?);
            }
        }
        Ok(batches)
    }
}

/// One array of these elements.
fn list(items: ArrayRef) -> Result<ScalarValue> {
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(item, offsets, items, None)?)))
}

/// `needle IN (items)` with SQL's unknown.
fn among(needle: &ScalarValue, items: &ArrayRef) -> Result<ScalarValue> {
    if items.is_empty() {
        return Ok(ScalarValue::from(false));
    }
    let needle = needle.cast_to(items.data_type())?;
    for at in 0..items.len() {
        if !needle.is_null() && ScalarValue::try_from_array(items, at)? == needle {
            return Ok(ScalarValue::from(true));
        }
    }
    let unknown = needle.is_null() || items.null_count() > 0;
    Ok(ScalarValue::Boolean((!unknown).then_some(false)))
}

/// Runs a future that waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> Result<T> {
    // Without a budget: what gives way here would give way to nobody.
    let mut future = std::pin::pin!(tokio::task::unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
    }
    Err(exec_datafusion_err!("a subquery over system relations waits for something"))
}
