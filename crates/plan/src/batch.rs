//! Plain SELECT: the same binding, names, functions and types as in views, over DataFusion's executor. VERIFY recomputes views
//! by it, so an answer here and a view's rows must agree: orders that a LIMIT reads are total here as they are there.
//!
//! Knows no catalog and no epoch: the caller gives relations as table providers that already stand at one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ParamValues;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast;

use crate::catalog::CatalogView;
use crate::error::PlanError;
use crate::parse::RelationName;
use crate::{bind, value::Value, view::guarded};

pub use crate::bind::Shape;

/// Relations for batch queries: `relation` gives plain views (and shapes), `table` gives rows.
pub trait BatchCatalog: CatalogView {
    /// The rows of a table, stream, materialized view or system relation. Asked first; `None` falls back to a plain view.
    fn table(&self, name: &RelationName) -> Option<Arc<dyn TableProvider>>;
}

/// How queries run.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Threads of one query.
    pub partitions: usize,
    /// Rows of one batch.
    pub batch_rows: usize,
    /// Memory pool and disk of the process; bounds what a query may take.
    pub runtime: Arc<RuntimeEnv>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        BatchOptions { partitions: 1, batch_rows: 8192, runtime: Arc::new(RuntimeEnv::default()) }
    }
}

/// A session state with our functions, rules and guards; cheap to clone, to be made once.
pub fn context(options: &BatchOptions) -> SessionState {
    let mut settings = bind::rules::config();
    settings.optimizer.enable_physical_uncorrelated_scalar_subquery = true;
    let config = SessionConfig::from(settings)
        .with_target_partitions(options.partitions.max(1))
        .with_batch_size(options.batch_rows.max(1));
    let builder =
        SessionStateBuilder::new().with_config(config).with_runtime_env(Arc::clone(&options.runtime)).with_default_features();
    bind::install(builder).build()
}

/// Puts into a session of the caller's own what [`context`] has: functions, rules, guards, windows of time, set operations, and
/// window functions. For callers that bind by DataFusion's `statement_to_plan` over their own names: they call
/// [`prepare`] before, [`total_orders`] behind it, and show names by [`shown_names`].
pub fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.relation_planners().get_or_insert_default().extend(bind::relation_planners());
    bind::install(builder)
}

/// Gives columns PostgreSQL's names (which may hold a mark that [`shown_names`] takes off) and order, and INTERSECT and EXCEPT
/// PostgreSQL's multiplicities.
///
/// # Errors
/// For locking clauses, set operations BY NAME, and joins by columns that there are not.
pub fn prepare(query: &mut ast::Query, columns: Columns<'_>) -> Result<(), PlanError> {
    bind::prepare(query, columns)
}

/// The names of a relation's columns as the caller's binder will find them, by its name; `None` leaves its stars to the binder.
pub type Columns<'a> = &'a dyn Fn(&RelationName) -> Option<Vec<String>>;

/// What relations look like, by their names.
pub type Shapes<'a> = &'a dyn Fn(&RelationName) -> Option<Shape>;

/// Makes ASOF JOINs of joins with FOR SYSTEM_TIME AS OF, and names the time of windows that name none; for callers that bind by
/// themselves, before [`prepare`].
///
/// # Errors
/// When a relation's key does not tell its versions, or it has no time of its own.
pub fn versions(query: &mut ast::Query, shapes: Shapes<'_>) -> Result<(), PlanError> {
    bind::versions(query, shapes)
}

/// What a statement may write and a view may not: `'today'::date` and its kin, and rows in its select list.
pub fn of_statements(query: &mut ast::Query) {
    bind::moving::spell(query);
    bind::records::spell(query);
}

/// Whether a name with arguments in FROM is a function that gives rows, not a relation.
#[must_use]
pub fn is_set_returning(name: &ast::ObjectName) -> bool {
    bind::series::is_set_returning(name)
}

/// Whether a name with arguments in FROM is a function that gives rows, or one for each row, not a relation.
#[must_use]
pub fn is_function_of_from(name: &ast::ObjectName) -> bool {
    bind::rows_from::is_function(name)
}

/// Refuses an aggregate, a window function and one that gives rows in an expression of one row, but for those in queries within it; `place`
/// ends the sentence "are not allowed in".
///
/// # Errors
/// 42803, 42P20, 0A000.
pub fn of_one_row(e: &ast::Expr, place: &str) -> Result<(), PlanError> {
    bind::one_row::check(e, place)
}

/// Makes the orders total that a LIMIT reads: ties, and LIMIT without ORDER BY, are broken by the whole row. When `open`, an
/// outermost LIMIT without ORDER BY takes what comes first: that is a statement's, which no view has to agree with.
///
/// # Errors
/// When a plan cannot be rebuilt.
pub fn total_orders(plan: LogicalPlan, open: bool) -> Result<LogicalPlan, PlanError> {
    bind::total_orders(plan, open)
}

/// The plan with series that are made while it runs, not while it is planned; for a plan that is to run, before it is optimised.
///
/// # Errors
/// Those of DataFusion's tree traversal.
pub fn unfold_series(plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
    Ok(crate::functions::unfold_series(plan)?)
}

/// Types that functions of ours give to parameters among their arguments, by `$n`; of a plan whose types are not settled yet.
#[must_use]
pub fn open_parameters(plan: &LogicalPlan) -> HashMap<String, DataType> {
    crate::functions::open_parameters(plan)
}

/// Gives the columns of a query PostgreSQL's names; names that repeat are told apart by what [`shown_names`] takes off again.
pub fn name_columns(query: &mut ast::Query) {
    bind::ast::name_all(query);
}

/// The names of a query's columns as readers see them; they may repeat.
#[must_use]
pub fn shown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    bind::ast::shown_names(names)
}

/// A bound query, not yet run.
#[derive(Debug, Clone)]
pub struct BatchQuery {
    /// Typed, not optimised.
    pub plan: LogicalPlan,
    /// Output names, as readers see them; they may repeat.
    pub names: Vec<String>,
}

impl BatchQuery {
    /// Binds a query over these relations.
    pub fn bind(query: &ast::Query, catalog: &dyn BatchCatalog) -> Result<BatchQuery, PlanError> {
        guarded(|| {
            let (plan, names) = bind::bind_batch(query, catalog)?;
            Ok(BatchQuery { plan, names })
        })
    }

    /// Types of `$1, $2, ..` in order, `None` where the query leaves it open.
    pub fn parameters(&self) -> Result<Vec<Option<DataType>>, PlanError> {
        let found: HashMap<String, Option<DataType>> = self.plan.get_parameter_types()?;
        let mut types = vec![];
        for (name, ty) in found {
            let number = name.trim_start_matches('$').parse::<usize>().ok().filter(|n| (1..=65_535).contains(n));
            let at = number.ok_or_else(|| PlanError::invalid("42P02", format!("there is no parameter {name}")))?;
            if types.len() < at {
                types.resize(at, None);
            }
            types[at - 1] = ty;
        }
        Ok(types)
    }

    /// The query with its parameters replaced.
    pub fn with_parameters(&self, values: &[Value]) -> Result<BatchQuery, PlanError> {
        let values: Option<Vec<ScalarValue>> = values.iter().map(Value::to_scalar).collect();
        let values = values.ok_or_else(|| PlanError::invalid("22P02", "a parameter does not fit its type"))?;
        let plan = self.plan.clone().with_param_values(ParamValues::from(values))?;
        Ok(BatchQuery { plan, names: self.names.clone() })
    }

    /// The schema of the rows, under the shown names.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.plan.schema().fields().iter().zip(&self.names);
        let fields: Vec<_> =
            fields.map(|(f, n)| arrow::datatypes::Field::new(n, crate::lower::output_type(f.data_type()), true)).collect();
        Arc::new(arrow::datatypes::Schema::new(fields))
    }

    /// Optimises and starts; the stream's batches have the plan's own names and the schema's types.
    pub async fn execute(&self, state: &SessionState) -> Result<SendableRecordBatchStream, PlanError> {
        let physical = state.create_physical_plan(&self.plan).await?;
        let task: Arc<TaskContext> = state.task_ctx();
        Ok(execute_stream(physical, task)?)
    }
}

/// Names that may repeat, told apart by what [`shown_names`] takes off again.
pub fn told_apart(names: Vec<String>) -> Vec<String> {
    bind::ast::told_apart(names)
}
