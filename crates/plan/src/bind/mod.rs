//! Names, types and meaning: a parsed query becomes DataFusion's optimised logical plan, by our functions and our rules.
//!
//! The way: [`ast`] gives columns PostgreSQL's names and takes set operations out of DataFusion's hands; SqlToRel binds
//! over a [`provider`]; [`check`] refuses on the *raw* plan (the optimiser would fold `now()` away); the analyzer types it;
//! [`rules`] optimise it. No session, no clock, no statistics: the same text over the same catalog gives the same plan.

mod arrays;
pub(crate) mod asof;
pub(crate) mod ast;
mod bits;
mod calls;
mod check;
mod clauses;
mod counted;
mod distinct_on;
mod elsewhere;
mod equal;
pub(crate) mod equijoin;
mod event_time;
pub(crate) mod frames;
mod functional;
mod grouping;
mod hypothetical;
mod interval;
mod json;
mod json_record;
pub(crate) mod moving;
pub(crate) mod names;
pub(crate) mod one_row;
pub(crate) mod optimizer;
mod order;
mod physical;
mod provider;
pub(crate) mod records;
mod recursive;
mod reducers;
mod row_in;
mod rows;
pub(crate) mod rows_from;
pub(crate) mod rules;
pub(crate) mod series;
mod session_batch;
pub(crate) mod setop;
mod shadow;
mod sort;
mod source;
mod spelling;
mod system_time;
pub(crate) mod temporal;
mod ties;
mod truth;
mod unnest;
mod values;
mod whole_row;
pub(crate) mod window;
mod window_batch;

pub(crate) use equal::EqualValues;
pub(crate) use grouping::{direct_of_groups, no_aggregate_among_keys};
pub(crate) use provider::Functions;
pub(crate) use recursive::Recursion;
pub(crate) use rules::cast_ast;
pub(crate) use source::{RelationSource, WorkTable};
pub use system_time::Shape;
pub(crate) use unnest::Unnest;
pub(crate) use whole_row::WholeRows;

use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::planner::RelationPlanner;
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast as sql;

use datafusion::execution::session_state::SessionStateBuilder;

use crate::batch::BatchCatalog;
use crate::catalog::CatalogView;
use crate::error::PlanError;
use provider::{Mode, Provider, Relations};

/// A bound and optimised query.
pub(crate) struct Bound {
    pub plan: LogicalPlan,
    /// Output names as readers see them.
    pub names: Vec<String>,
    pub notices: Vec<String>,
}

/// Binds a query for incremental maintenance.
pub(crate) fn bind_view(query: &sql::Query, catalog: &dyn CatalogView) -> Result<Bound, PlanError> {
    let functions = Functions::get();
    let mut query = query.clone();
    versions(&mut query, &|name| shape(catalog.relation(name)?))?;
    let is_limited = query.limit_clause.is_some();
    prepare_over(&mut query, &Relations::View(catalog))?;
    let mut notices = vec![];
    if query.order_by.is_some() && query.limit_clause.is_none() && query.fetch.is_none() && !is_distinct_on(&query.body) {
        // without one that was asked for it is of the rows that are counted
        if !is_limited {
            looked_up(&query, catalog)?;
            notices.push("ORDER BY without LIMIT has no effect in a view and was dropped; order the SELECT that reads it".into());
        }
        query.order_by = None;
    }
    let raw = raw_plan(query, &Relations::View(catalog), functions, 0)?;
    let names = ast::shown_names(raw.schema().fields().iter().map(|f| f.name().as_str()));
    let raw = temporal::place(raw)?;
    check::view(&raw)?;
    let config = rules::config();
    let raw = order::total(raw)?;
    let plan = rules::analyze(raw, &config, Mode::View)?;
    let plan = rules::optimize(rows::unfolded(plan)?, config)?;
    Ok(Bound { plan, names, notices })
}

/// Refuses names of an ORDER BY that has no effect, if there are none such.
fn looked_up(query: &sql::Query, catalog: &dyn CatalogView) -> Result<(), PlanError> {
    match raw_plan(query.clone(), &Relations::View(catalog), Functions::get(), 0) {
        Err(e @ PlanError::Invalid { .. }) => Err(e),
        _ => Ok(()),
    }
}

/// What [`system_time`] asks of a relation.
fn shape(info: crate::catalog::RelationInfo) -> Option<system_time::Shape> {
    Some(system_time::Shape { schema: info.schema, key: info.key, watermark: info.watermark })
}

/// What the keys and watermarks of relations mean: FOR SYSTEM_TIME AS OF, GROUP BY a primary key, windows that name no time. For who binds
/// by itself: before [`prepare`].
pub(crate) fn versions(query: &mut sql::Query, shapes: system_time::Shapes<'_>) -> Result<(), PlanError> {
    event_time::place(query, shapes)?;
    system_time::resolve(query, shapes)?;
    functional::complete(query, shapes);
    Ok(())
}

/// Whether ORDER BY decides which rows there are.
fn is_distinct_on(body: &sql::SetExpr) -> bool {
    matches!(body, sql::SetExpr::Select(s) if matches!(s.distinct, Some(sql::Distinct::On(_))))
}

/// Binds and types a query for DataFusion's executor.
pub(crate) fn bind_batch(query: &sql::Query, catalog: &dyn BatchCatalog) -> Result<(LogicalPlan, Vec<String>), PlanError> {
    let functions = Functions::get();
    let mut query = query.clone();
    versions(&mut query, &|name| shape(catalog.relation(name)?))?;
    prepare_over(&mut query, &Relations::Batch(catalog))?;
    let raw = raw_plan(query, &Relations::Batch(catalog), functions, 0)?;
    let names = ast::shown_names(raw.schema().fields().iter().map(|f| f.name().as_str()));
    let plan = rules::analyze(order::total(raw)?, &rules::config(), Mode::Batch)?;
    Ok((plan, names))
}

/// Our functions in the place of DataFusion's, for its executor, and its physical rules without what changes answers.
pub(crate) fn install(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let rules = &mut builder.physical_optimizers().get_or_insert_default().rules;
    *rules = physical::rules(std::mem::take(rules));
    crate::functions::install(builder)
}

/// TUMBLE and HOP, INTERSECT and EXCEPT for DataFusion's executor.
pub(crate) fn relation_planners() -> Vec<Arc<dyn RelationPlanner>> {
    provider::planners(Mode::Batch)
}

/// Before somebody else binds a query: names and set operations as [`bind_batch`] has them.
pub(crate) fn prepare(query: &mut sql::Query, columns: names::Columns<'_>) -> Result<(), PlanError> {
    ast::prepare(query, columns)
}

/// The same over relations that are bound here.
fn prepare_over(query: &mut sql::Query, catalog: &Relations<'_>) -> Result<(), PlanError> {
    let late = names_lateness(query);
    ast::prepare(query, &|name| catalog.columns(name, late))
}

/// Whether streams show their records' lateness.
fn names_lateness(query: &sql::Query) -> bool {
    crate::catalog::mentions(&query.to_string(), crate::catalog::LATE)
}

/// After somebody else has bound a query: orders that a LIMIT reads are total, but an outermost one's when `open`.
pub(crate) fn total_orders(plan: LogicalPlan, open: bool) -> Result<LogicalPlan, PlanError> {
    if open { order::total_below(plan) } else { order::total(plan) }
}

/// The unoptimised plan; `depth` counts plain views inside plain views.
fn raw_plan(query: sql::Query, catalog: &Relations<'_>, functions: &Functions, depth: usize) -> Result<LogicalPlan, PlanError> {
    let late = names_lateness(&query);
    let provider = Provider::new(catalog, functions, depth, late);
    let planner = SqlToRel::new_with_options(&provider, rules::parser_options());
    Ok(planner.sql_statement_to_plan(sql::Statement::Query(Box::new(query)))?)
}

/// A scalar expression over no columns, bound, cast to `ty` and folded to a constant: a DEFAULT, an element of VALUES.
pub(crate) fn constant(e: &sql::Expr, ty: &arrow::datatypes::DataType) -> Result<crate::value::Value, PlanError> {
    constant_of(rules::cast_ast(e.clone(), ty)?)
}

/// The same, of the type that it has by itself.
pub(crate) fn constant_of(e: sql::Expr) -> Result<crate::value::Value, PlanError> {
    let shown = e.to_string();
    struct Nothing;
    impl CatalogView for Nothing {
        fn relation(&self, _: &crate::parse::RelationName) -> Option<crate::catalog::RelationInfo> {
            None
        }
    }
    let mut q = crate::parse::parse_query("SELECT NULL", &crate::parse::ParseLimits::default())?;
    if let sql::SetExpr::Select(s) = q.body.as_mut() {
        s.projection = vec![sql::SelectItem::UnnamedExpr(e)];
    }
    let bound = bind_view(&q, &Nothing)?;
    let plan = crate::lower::lower(&bound.plan, crate::flowplan::RecursionLimits::default())?;
    match plan.nodes.get(plan.root).map(|n| &n.op) {
        Some(crate::flowplan::Op::Rows { rows }) => rows.first().and_then(|r| r.first()).cloned(),
        _ => None,
    }
    .ok_or_else(|| PlanError::unsupported(format!("not a constant: {shown}"), "write a literal"))
}
