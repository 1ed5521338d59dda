//! From a query's syntax to a physical plan over the relations of a scope.
//!
//! One instance plans for all sessions: functions and rules stand in a base state that is copied per statement, with the names
//! of the statement's own catalog value. Cost: about a millisecond per statement; the sessions keep plans of texts they have
//! seen. It does not know epochs: see [`super::reading`].

use super::{
    Reading,
    budget::Budget,
    names::{DATABASE, Names, PATH, Scope, SystemRelations},
    relation::{RelationTable, Source},
    subplan,
    system::{self, SystemDialect},
    window,
};
use crate::{
    catalog::{Kind, ObjectId, PUBLIC, Relation, diverted, rights::Privileges},
    config::Limits,
    error::{Error, Result, sqlstate as code},
};
use arrow::{
    array::RecordBatch,
    datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit},
};
use datafusion::{
    catalog::default_table_source::source_as_provider,
    common::{
        TableReference,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::{
        FunctionRegistry, SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Volatility, cast, col},
    physical_plan::{ExecutionPlan, coop::CooperativeExec, execute_stream, stream::RecordBatchReceiverStreamBuilder},
    prelude::SessionConfig,
    sql::{parser::Statement as DfStatement, sqlparser::ast},
};
use futures::StreamExt;
use parking_lot::RwLock;
use regauge_plan::{batch, functions::clock_timestamp, halt, local, params::Slots};
use regauge_types::env::Clock;
use std::{
    collections::{BTreeSet, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

/// Views over views deeper than this are refused: expanding them would exhaust the stack.
const VIEW_DEPTH_MAX: usize = 32;

/// Plans queries.
#[derive(Clone)]
pub struct Planner(Arc<Inner>);

struct Inner {
    base: SessionState,
    limits: Limits,
    /// What all queries hold together.
    memory: Arc<GreedyMemoryPool>,
    systems: RwLock<HashMap<String, SystemRelations>>,
    dialect: RwLock<Option<Arc<dyn SystemDialect>>>,
}

impl Planner {
    /// With our functions and rules in DataFusion's place.
    #[must_use]
    pub fn new(base: SessionState, limits: Limits) -> Planner {
        let memory = Arc::new(GreedyMemoryPool::new(limits.all_queries_memory_bytes));
        Planner(Arc::new(Inner { base, limits, memory, systems: RwLock::default(), dialect: RwLock::default() }))
    }

    /// Settings that every statement is planned with.
    #[must_use]
    pub fn config() -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(DATABASE, PATH)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(1)
            .with_batch_size(8192);
        let options = config.options_mut();
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.parse_float_as_decimal = true;
        // A rule of DataFusion that fails (a cast and its column in one GROUP BY have one name there) is passed over: the plan
        // that it should have improved is sound.
        options.optimizer.skip_failed_rules = true;
        options.execution.time_zone = Some("UTC".to_owned());
        // That a column is never NULL is said of EXISTS before its join is made, and not behind it.
        options.execution.skip_physical_aggregate_schema_check = true;
        config
    }

    /// Gives a schema whose relations are made from the catalog when they are asked for (`pg_catalog`, for one).
    pub fn add_system_schema(&self, schema: &str, relations: SystemRelations) {
        self.0.systems.write().insert(schema.to_owned(), relations);
    }

    /// Gives functions and syntax for statements that ask about the instance itself.
    pub fn set_system_dialect(&self, dialect: Arc<dyn SystemDialect>) {
        *self.0.dialect.write() = Some(dialect);
    }

    pub(super) fn system_rows(&self, scope: &Scope, schema: &str, relation: &str) -> Option<RecordBatch> {
        let relations = self.0.systems.read().get(schema).cloned()?;
        relations(scope, relation)
    }

    /// The dialect, if the query asks about the instance itself; then the query is changed to what can be planned.
    pub fn system(&self, query: &mut ast::Query, scope: &Scope) -> Result<Option<Arc<dyn SystemDialect>>> {
        let Some(dialect) = self.0.dialect.read().clone() else { return Ok(None) };
        Ok(dialect.rewrite(query, scope)?.then_some(dialect))
    }

    fn state(&self, scope: Scope) -> SessionState {
        let mut state = self.0.base.clone();
        state.config_mut().options_mut().execution.time_zone = Some(scope.time_zone.clone());
        state.register_catalog_list(Arc::new(Names::new(Arc::new(scope), self.clone())));
        state
    }

    /// A logical plan with the types that its rows will have, not yet optimised. Names that are not in the scope are refused
    /// with their own SQLSTATE.
    pub async fn plan(&self, query: ast::Query, scope: Scope) -> Result<LogicalPlan> {
        self.typed(query, scope, true).await
    }

    async fn typed(&self, query: ast::Query, scope: Scope, open: bool) -> Result<LogicalPlan> {
        // Boxed: SqlToRel needs much stack, and a future within futures would take it from there.
        aside(Box::pin(async {
            let plan = self.bound(query, scope, open).await?;
            let state = &self.0.base;
            state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).map_err(Error::from_datafusion)
        }))
        .await
    }

    /// As [`Planner::plan`], before types are settled: what stands around an open parameter still tells its type here.
    pub async fn untyped(&self, query: ast::Query, scope: Scope) -> Result<LogicalPlan> {
        self.bound(query, scope, true).await
    }

    /// `open`: see [`regauge_plan::batch::total_orders`].
    async fn bound(&self, mut query: ast::Query, mut scope: Scope, open: bool) -> Result<LogicalPlan> {
        let as_of = regauge_plan::parse::epoch_of(&query).map_err(Error::from)?;
        if as_of.is_some() && !open {
            return Err(Error::unsupported("a view is of the newest epoch").hint("SELECT .. FROM the view AS OF EPOCH n"));
        }
        regauge_plan::parse::forget_epoch(&mut query);
        let dialect = self.system(&mut query, &scope)?;
        self.weigh(&query, &scope)?;
        let references = self.references(&query)?;
        for reference in &references {
            self.check(reference, &scope)?;
        }
        if window::unwindowed(&query).is_some() {
            let seen = self.0.base.resolve_table_references(&statement(query.clone())).map_err(Error::from_datafusion)?;
            let unseen: Vec<&TableReference> = references.iter().filter(|r| !seen.contains(r)).collect();
            window::mention(&mut query, &unseen)?;
        }
        if open {
            batch::of_statements(&mut query);
        }
        batch::versions(&mut query, &|name| scope.shape(name)).map_err(Error::from)?;
        scope.system_columns |= super::records::names_system_column(&query.to_string());
        batch::prepare(&mut query, &|name| scope.columns(name)).map_err(Error::from)?;
        still_wanted()?;
        let counting = crate::session::sequence::functions(&query, &scope);
        let calling = crate::session::calls::functions(&query, &scope)?;
        let params = Arc::clone(&scope.params);
        let statement = if params.is_empty() { statement(query) } else { with_params(query, &params)? };
        let functions = dialect.as_ref().map(|d| d.functions(&scope)).unwrap_or_default();
        let mut state = self.state(scope);
        for function in counting {
            state.register_udf(function).map_err(Error::from_datafusion)?;
        }
        for function in functions {
            state.register_udf(system::planned(function)).map_err(Error::from_datafusion)?;
        }
        // Behind those of the dialect: its `current_setting` does not know what a statement is about to set.
        for function in calling {
            state.register_udf(function).map_err(Error::from_datafusion)?;
        }
        let plan = match state.statement_to_plan(statement).await.map_err(Error::from_datafusion)? {
            LogicalPlan::Statement(datafusion::logical_expr::Statement::Prepare(prepared)) => {
                Arc::unwrap_or_clone(prepared.input)
            }
            plan => plan,
        };
        still_wanted()?;
        let plan = match dialect {
            Some(dialect) => subplan::lift(plan, &state, dialect.array_of_rows()).map_err(Error::from_datafusion)?,
            None => plan,
        };
        batch::total_orders(plan, open).map_err(Error::from)
    }

    /// As [`Planner::plan`], of a view's query: its rows are the same whoever computes them, those of a LIMIT among them.
    pub async fn plan_text(&self, sql: &str, scope: Scope) -> Result<LogicalPlan> {
        self.plan_view(crate::syntax::query(sql)?, scope).await
    }

    /// The same of a query that is to be a view's.
    pub async fn plan_view(&self, query: ast::Query, scope: Scope) -> Result<LogicalPlan> {
        self.typed(query, scope, false).await
    }

    fn check(&self, reference: &TableReference, scope: &Scope) -> Result<()> {
        let (schema, name) = (reference.schema(), reference.table());
        if let Some(database) = reference.catalog().filter(|c| *c != DATABASE) {
            let message =
                format!("cross-database references are not implemented: \"{database}.{}.{name}\"", schema.unwrap_or(PUBLIC));
            return Err(Error::unsupported(message));
        }
        if let Some(of) = diverted::find(&scope.catalog, schema, name) {
            // They tell values of rows, whoever may read the view.
            scope.who.own(of)?;
            // They tell them of what the view reads, too.
            return if scope.who.tells(&scope.catalog, of.id) {
                Ok(())
            } else {
                let message = format!("permission denied for rows that \"{}\" has set aside", of.name);
                Err(crate::catalog::rights::denied::error(message).hint("SELECT on all tables and streams below it is needed"))
            };
        }
        let own = schema.is_none() && scope.own.contains_key(name);
        let system = schema.is_some_and(|s| self.system_rows(scope, s, name).is_some());
        if own || system {
            // They hold what passwords are proven against.
            if system && ["pg_authid", "pg_shadow"].contains(&name) && !scope.who.is_superuser() {
                return Err(crate::catalog::rights::denied::error(format!("permission denied for table {name}")));
            }
            return Ok(());
        }
        if let Some(schema) = schema.filter(|s| !scope.who.within && scope.catalog.has_schema(s)) {
            scope.who.schema(schema, Privileges::USAGE)?;
        }
        scope.who.read(&scope.catalog, scope.relation(schema, name)?)
    }

    /// Refuses a query that stands for too many relations, plain views among them put in their places.
    ///
    /// # Errors
    /// 54001.
    pub fn weigh(&self, query: &ast::Query, scope: &Scope) -> Result<()> {
        self.weight(query, scope, &mut HashMap::new(), 0).map(|_| ())
    }

    fn weight(&self, query: &ast::Query, scope: &Scope, known: &mut HashMap<ObjectId, u64>, depth: usize) -> Result<u64> {
        if depth > VIEW_DEPTH_MAX {
            let message = format!("views are nested too deeply max={VIEW_DEPTH_MAX}");
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message));
        }
        let mut failed = None;
        let counted = regauge_plan::parse::relations(query, &mut |name| {
            let mut parts = name.0.iter().rev().filter_map(|part| part.as_ident()).map(regauge_plan::parse::fold);
            let (Some(table), schema) = (parts.next(), parts.next()) else { return 1 };
            let Some(relation) = scope.catalog.resolve(schema.as_deref(), &table, &scope.search_path) else { return 1 };
            let Some(definition) = scope.definition(relation) else { return 1 };
            if let Some(weight) = known.get(&relation.id) {
                return *weight;
            }
            let inner = Scope { search_path: definition.search_path.clone(), own: HashMap::new(), ..scope.clone() };
            let weight = crate::syntax::query(&definition.sql).and_then(|query| self.weight(&query, &inner, known, depth + 1));
            let weight = weight.unwrap_or_else(|e| {
                failed = Some(e);
                0
            });
            known.insert(relation.id, weight.max(1));
            weight.max(1)
        });
        match failed {
            Some(e) => Err(e),
            None => counted.map_err(Error::from),
        }
    }

    /// Relations that a query names, plain views expanded into what they name.
    pub fn uses(&self, query: &ast::Query, scope: &Scope) -> Result<BTreeSet<ObjectId>> {
        self.weigh(query, scope)?;
        let mut uses = BTreeSet::new();
        self.collect_uses(query, scope, &mut uses, 0)?;
        Ok(uses)
    }

    /// Whether a query reads system relations and nothing else.
    pub fn reads_catalogs_only(&self, query: &ast::Query, scope: &Scope) -> Result<bool> {
        let references = self.references(query)?;
        let of_ours = references.iter().any(|name| name.schema() == Some("regauge"));
        Ok(!references.is_empty() && !of_ours && self.names(query, scope)?.is_empty() && scope.own.is_empty())
    }

    fn collect_uses(&self, query: &ast::Query, scope: &Scope, uses: &mut BTreeSet<ObjectId>, depth: usize) -> Result<()> {
        if depth > VIEW_DEPTH_MAX {
            let message = format!("views are nested too deeply max={VIEW_DEPTH_MAX}");
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message));
        }
        for relation in self.names(query, scope)? {
            let definition = scope.definition(&relation);
            // what nothing maintains yet has no rows of its own to wait for
            let is_read = definition.is_none() || matches!(relation.kind, Kind::View { .. });
            let is_new = !is_read || uses.insert(relation.id);
            if let Some(definition) = definition
                && is_new
            {
                let inner = scope.of_definition(&relation, definition);
                self.collect_uses(&crate::syntax::query(&definition.sql)?, &inner, uses, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Names of relations in a query, those that windows are over among them.
    pub(super) fn references(&self, query: &ast::Query) -> Result<Vec<TableReference>> {
        let read = window::unwindowed(query).unwrap_or_else(|| query.clone());
        self.0.base.resolve_table_references(&statement(read)).map_err(Error::from_datafusion)
    }

    /// Refuses items of RETURNING that are not of one row: aggregates and window functions outside of subqueries.
    ///
    /// # Errors
    /// 42803, 42P20.
    pub fn rows_alone(&self, items: &[ast::SelectItem]) -> Result<()> {
        struct V<'a>(&'a SessionState, usize);
        impl ast::Visitor for V<'_> {
            type Break = Error;
            fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
                self.1 += 1;
                ControlFlow::Continue(())
            }
            fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<Error> {
                self.1 -= 1;
                ControlFlow::Continue(())
            }
            fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<Error> {
                let ast::Expr::Function(f) = e else { return ControlFlow::Continue(()) };
                if self.1 > 0 {
                    return ControlFlow::Continue(());
                }
                if f.over.is_some() {
                    return ControlFlow::Break(Error::invalid("42P20", "window functions are not allowed in RETURNING"));
                }
                let name = f.name.0.last().and_then(|p| p.as_ident()).map(regauge_plan::parse::fold).unwrap_or_default();
                if regauge_plan::batch::is_set_returning(&f.name) {
                    return ControlFlow::Break(Error::unsupported("set-returning functions are not allowed in RETURNING"));
                }
                match self.0.aggregate_functions().contains_key(&name) {
                    true => ControlFlow::Break(Error::invalid("42803", "aggregate functions are not allowed in RETURNING")),
                    false => ControlFlow::Continue(()),
                }
            }
        }
        let mut v = V(&self.0.base, 0);
        match items.iter().try_for_each(|item| regauge_plan::walk::Visit::visit(item, &mut v)) {
            ControlFlow::Break(error) => Err(error.hint("read the rows with a SELECT: WITH d AS (.. RETURNING ..) SELECT ..")),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    /// Relations that a query names itself.
    pub fn names(&self, query: &ast::Query, scope: &Scope) -> Result<Vec<Arc<Relation>>> {
        let mut query = query.clone();
        self.system(&mut query, scope)?;
        let references = self.references(&query)?;
        let mut found = Vec::new();
        for reference in &references {
            let (schema, name) = (reference.schema(), reference.table());
            self.check(reference, scope)?;
            if let Some(relation) = diverted::find(&scope.catalog, schema, name) {
                found.push(relation.clone());
            } else if let Some(relation) = scope.catalog.resolve(schema, name, &scope.search_path)
                && !(schema.is_none() && scope.own.contains_key(name))
            {
                found.push(relation.clone());
            }
        }
        Ok(found)
    }

    /// A plan that can run, any number of times.
    pub async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        self.physical_with(plan, None).await
    }

    /// The same of a plan with parameters, whose values are in these slots when it runs.
    pub async fn physical_with(&self, plan: &LogicalPlan, slots: Option<&Arc<Slots>>) -> Result<Arc<dyn ExecutionPlan>> {
        let immutable = is_immutable(plan);
        let plan = &batch::unfold_series(plan.clone()).map_err(Error::from)?;
        let plan = aside(Box::pin(async {
            let zone = local::here();
            if let Some(slots) = slots {
                let mut state = self.0.base.clone();
                if !zone.is_utc() {
                    state.config_mut().options_mut().execution.time_zone = Some(local::option_of(zone));
                }
                state.config_mut().set_extension(Arc::clone(slots));
                create(&state, plan).await
            } else if immutable && zone.is_utc() {
                create(&self.0.base, plan).await
            } else {
                // now() and its kin are the moment of planning; calls that other tasks make find the zone among the options
                let mut state = self.0.base.clone();
                if !zone.is_utc() {
                    state.config_mut().options_mut().execution.time_zone = Some(local::option_of(zone));
                }
                state.mark_start_execution();
                create(&state, plan).await
            }
        }))
        .await;
        let plan = plan.map_err(Error::from_datafusion)?;
        // DataFusion's own rule makes leaves give way; a cross join multiplies what one leaf gave and never asks it again.
        let giving_way = plan.transform_up(|node| {
            let join = node.children().len() > 1;
            Ok(if join {
                Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
            } else {
                Transformed::no(node)
            })
        });
        giving_way.data().map_err(Error::from_datafusion)
    }

    /// Runs a plan at an epoch, within the limit on memory of one query.
    pub fn run(&self, plan: &Arc<dyn ExecutionPlan>, reading: Reading) -> Result<SendableRecordBatchStream> {
        self.run_as(plan, reading, false)
    }

    /// The same, with the parts of a UNION ALL one after the other, as they are written: INSERT numbers its rows so.
    pub fn run_in_order(&self, plan: &Arc<dyn ExecutionPlan>, reading: Reading) -> Result<SendableRecordBatchStream> {
        self.run_as(plan, reading, true)
    }

    fn run_as(&self, plan: &Arc<dyn ExecutionPlan>, reading: Reading, in_order: bool) -> Result<SendableRecordBatchStream> {
        let plan = datafusion::physical_plan::execution_plan::reset_plan_states(plan.clone()).map_err(Error::from_datafusion)?;
        let config = self.0.base.config().clone().with_extension(Arc::new(reading));
        let context = TaskContext::default().with_session_config(config).with_runtime(self.runtime()?);
        if !branches(&plan) {
            return start(plan, Arc::new(context), in_order).map_err(Error::from_datafusion);
        }
        // A join may compute for long without giving way: on a task of its own it does not keep its client from being told
        // that the statement was cancelled. Dropping the stream ends the task where it next gives way.
        let schema = plan.schema();
        let mut builder = RecordBatchReceiverStreamBuilder::new(schema, 2);
        let tx = builder.tx();
        let zone = local::here();
        builder.spawn(crate::stack::within(zone, async move {
            let mut stream = start(plan, Arc::new(context), in_order)?;
            while let Some(batch) = stream.next().await {
                if tx.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(())
        }));
        Ok(builder.build())
    }

    /// An account for rows that somebody keeps: as much as a query may hold.
    #[must_use]
    pub fn holding(&self, who: &str) -> MemoryReservation {
        let pool: Arc<dyn MemoryPool> = self.budget();
        MemoryConsumer::new(who).register(&pool)
    }

    fn budget(&self) -> Arc<Budget> {
        Arc::new(Budget::new(self.0.limits.query_memory_bytes, Arc::clone(&self.0.memory)))
    }

    fn runtime(&self) -> Result<Arc<RuntimeEnv>> {
        RuntimeEnvBuilder::new()
            .with_memory_pool(self.budget())
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()
            .map_err(Error::from_datafusion)
    }
}

/// A base state with PostgreSQL's operators, functions, casts and aggregates in the place of DataFusion's: what
/// [`Planner::new`] takes. Views are planned with the same ones, but for `clock_timestamp()`, which reads this clock.
#[must_use]
pub fn default_state(clock: Arc<dyn Clock>) -> SessionState {
    let mut builder = batch::install(SessionStateBuilder::new_with_default_features().with_config(Planner::config()));
    builder.scalar_functions().get_or_insert_default().push(clock_timestamp(Some(clock)));
    builder.build()
}

/// The same plan with its output cast to these columns, by position. `schema` must have as many fields.
pub fn renamed(plan: LogicalPlan, schema: &SchemaRef) -> Result<LogicalPlan> {
    let input = plan.schema().clone();
    let exprs: Vec<Expr> = input
        .iter()
        .zip(schema.fields())
        .map(|((qualifier, field), wanted)| {
            let column = Expr::Column(datafusion::common::Column::new(qualifier.cloned(), field.name()));
            let same = field.data_type() == wanted.data_type();
            let value = if same { column } else { cast(column, wanted.data_type().clone()) };
            value.alias(wanted.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(exprs).and_then(LogicalPlanBuilder::build).map_err(Error::from_datafusion)
}

/// The schema with its columns' names as readers see them; they may repeat.
#[must_use]
pub fn shown(schema: &SchemaRef) -> SchemaRef {
    let names = batch::shown_names(schema.fields().iter().map(|f| f.name().as_str()));
    let shown = |(f, name): (&FieldRef, String)| f.as_ref().clone().with_name(name);
    Arc::new(Schema::new(schema.fields().iter().zip(names).map(shown).collect::<Vec<_>>()))
}

fn start(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    in_order: bool,
) -> datafusion::common::Result<SendableRecordBatchStream> {
    if !in_order || plan.properties().output_partitioning().partition_count() < 2 {
        return execute_stream(plan, context);
    }
    let schema = plan.schema();
    let parts = datafusion::physical_plan::execute_stream_partitioned(plan, context)?;
    let whole = futures::stream::iter(parts).flatten();
    Ok(Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, whole)))
}

/// The plan's physical one, unless its statement is over before that.
async fn create(state: &SessionState, plan: &LogicalPlan) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
    halt::check_now()?;
    let plan = state.optimize(plan)?;
    halt::check_now()?;
    state.query_planner().create_physical_plan(&plan, state).await
}

/// Ends the statement between two steps of its planning.
fn still_wanted() -> Result<()> {
    halt::check_now().map_err(|error| Error::from_eval(&error))
}

/// Planning computes for as long as a query is intricate, without a pause: meanwhile this thread's other sessions go on elsewhere.
async fn aside<T>(work: impl Future<Output = T>) -> T {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| runtime.block_on(work))
        }
        _ => work.await,
    }
}

fn branches(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let children = plan.children();
    children.len() > 1 || children.into_iter().any(branches)
}

/// Whether a plan gives the same answer whenever it runs on the same data, so that it may be kept.
#[must_use]
pub fn is_immutable(plan: &LogicalPlan) -> bool {
    let mut immutable = true;
    let visited = plan.apply_with_subqueries(|node| {
        // Rows that were made for this statement are of its moment.
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let table = provider.downcast_ref::<RelationTable>();
            immutable &= !table.is_some_and(|t| matches!(t.source(), Source::Rows(_)));
        }
        for expr in node.expressions() {
            expr.apply(|e| {
                if let Expr::ScalarFunction(f) = e {
                    immutable &= f.func.signature().volatility == Volatility::Immutable;
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.is_ok() && immutable
}

/// Whether runs of a plan have nothing in common, so that it may be run again while it runs. What a scalar subquery gave is kept where all copies of
/// its plan find it, those that are reset among them (DataFusion 55).
#[must_use]
pub fn runs_apart(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.name() != "ScalarSubqueryExec" && plan.children().into_iter().all(runs_apart)
}

/// Functions of a plan that do not answer by their arguments alone.
#[must_use]
pub fn volatile_functions(plan: &LogicalPlan) -> Vec<String> {
    let mut names = vec![];
    let _ = plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            expr.apply(|e| {
                if let Expr::ScalarFunction(f) = e
                    && f.func.signature().volatility != Volatility::Immutable
                {
                    names.push(f.func.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    names
}

/// The type of an expression over a plan's output; used for parameters.
pub fn type_of(expr: &Expr, plan: &LogicalPlan) -> Option<DataType> {
    expr.get_type(plan.schema()).ok()
}

/// A column by the name it has in a plan's output.
#[must_use]
pub fn output(name: &str) -> Expr {
    col(datafusion::common::Column::from_name(name))
}

/// `PREPARE AS query`, of parameters of these types.
fn with_params(query: ast::Query, params: &[DataType]) -> Result<DfStatement> {
    let word = |ty: &DataType| {
        let word = param_type(ty);
        word.ok_or_else(|| Error::internal(format!("a kept plan has no parameter of type {ty}")))
    };
    Ok(DfStatement::Statement(Box::new(ast::Statement::Prepare {
        name: ast::Ident::new("kept"),
        data_types: params.iter().map(word).collect::<Result<_>>()?,
        statement: Box::new(ast::Statement::Query(Box::new(query))),
    })))
}

/// The word for a parameter's type that DataFusion reads as exactly that type; `None` where it has none.
#[must_use]
pub fn param_type(ty: &DataType) -> Option<ast::DataType> {
    Some(match ty {
        DataType::Boolean => ast::DataType::Boolean,
        DataType::Int16 => ast::DataType::SmallInt(None),
        DataType::Int32 => ast::DataType::Int(None),
        DataType::Int64 => ast::DataType::BigInt(None),
        DataType::Float64 => ast::DataType::DoublePrecision,
        DataType::Utf8 => ast::DataType::Text,
        DataType::Date32 => ast::DataType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => ast::DataType::Timestamp(Some(6), ast::TimezoneInfo::None),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => {
            ast::DataType::Timestamp(Some(6), ast::TimezoneInfo::WithTimeZone)
        }
        DataType::Decimal128(precision, scale) => {
            ast::DataType::Decimal(ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale)))
        }
        _ => return None,
    })
}

fn statement(query: ast::Query) -> DfStatement {
    DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query))))
}
