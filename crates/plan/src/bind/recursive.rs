//! WITH RECURSIVE as PostgreSQL has it: which queries are one at all, and which types they may have.
//!
//! DataFusion's binder casts a recursive term to the types of the non-recursive one, however much is lost; PostgreSQL refuses. So what a
//! recursive term selects is marked before it is bound ([`check`]), and [`Recursion`] compares the types of what was marked and
//! takes the marks away. A select list with `*` has no place for marks: what it gives are columns, and the cast then is what PostgreSQL
//! would ask for.

use crate::walk::Visit;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Projection, RecursiveQuery, TableSource, cast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::sql::sqlparser::ast::{
    self, Cte, Ident, JoinOperator, Query, Select, SelectItem, SetExpr, SetOperator, TableFactor, TableWithJoins, Visitor,
};

use super::ast::column_name;
use super::source::WorkTable;
use super::spelling::call;
use crate::error::PlanError;
use crate::flowplan::types::sql_name;
use crate::functions::bind::{common, is_text};
use crate::functions::rows::{MARKED, marked};
use crate::functions::semantics;
use crate::lower::output_type;
use crate::parse::fold;

/// Refuses what is no recursion, and marks what the recursive terms of a query select. Columns have their names already.
pub(super) fn check(query: &mut Query) -> Result<(), PlanError> {
    let Some(with) = query.with.as_mut().filter(|w| w.recursive) else { return Ok(()) };
    with.cte_tables.iter_mut().try_for_each(check_one)
}

fn invalid(name: &str, what: &str) -> PlanError {
    PlanError::invalid("42P19", format!("recursive reference to query \"{name}\" must not appear {what}"))
}

fn check_one(cte: &mut Cte) -> Result<(), PlanError> {
    let name = fold(&cte.alias.name);
    if references(cte.query.as_ref(), &name) == 0 {
        return Ok(());
    }
    let clause =
        [(cte.query.order_by.is_some(), "ORDER BY"), (cte.query.limit_clause.is_some() || cte.query.fetch.is_some(), "LIMIT")];
    let form = || {
        let message = format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
        PlanError::invalid("42P19", message)
    };
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = cte.query.body.as_mut() else { return Err(form()) };
    if let Some((_, clause)) = clause.iter().find(|(there, _)| *there) {
        let hint = "order and limit the query that reads the recursion";
        return Err(PlanError::unsupported(format!("{clause} in a recursive query is not implemented"), hint));
    }
    if references(left.as_ref(), &name) > 0 {
        return Err(invalid(&name, "within its non-recursive term"));
    }
    if in_queries(right, &name) {
        return Err(invalid(&name, "within a subquery"));
    }
    if references(right.as_ref(), &name) > 1 {
        return Err(invalid(&name, "more than once"));
    }
    placed(right, &name)?;
    widen(left);
    if let Some(select) = select_of(right) {
        mark(select);
    }
    Ok(())
}

/// How often a query names a relation.
fn references(within: &impl Visit, name: &str) -> usize {
    struct Count<'a>(&'a str, usize);
    impl Visitor for Count<'_> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, t: &TableFactor) -> ControlFlow<()> {
            self.1 += usize::from(is_named(t, self.0));
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(name, 0);
    let _ = within.visit(&mut count);
    count.1
}

fn is_named(t: &TableFactor, name: &str) -> bool {
    match t {
        TableFactor::Table { name: of, args: None, .. } => {
            matches!(of.0.as_slice(), [one] if one.as_ident().is_some_and(|i| fold(i) == name))
        }
        _ => false,
    }
}

/// Whether an expression's query names it.
fn in_queries(body: &SetExpr, name: &str) -> bool {
    struct Look<'a>(&'a str);
    impl Visitor for Look<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let query = match e {
                ast::Expr::Subquery(q) | ast::Expr::Exists { subquery: q, .. } | ast::Expr::InSubquery { subquery: q, .. } => q,
                _ => return ControlFlow::Continue(()),
            };
            if references(query.as_ref(), self.0) > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    body.visit(&mut Look(name)).is_break()
}

/// Neither on the side of an outer join that may be filled up, nor where a row less makes a row more.
fn placed(body: &SetExpr, name: &str) -> Result<(), PlanError> {
    match body {
        SetExpr::Select(s) => s.from.iter().try_for_each(|t| in_join(t, name)),
        SetExpr::Query(q) => placed(&q.body, name),
        SetExpr::SetOperation { op, left, right, .. } => {
            if *op == SetOperator::Except && references(right.as_ref(), name) > 0 {
                return Err(invalid(name, "within EXCEPT"));
            }
            placed(left, name)?;
            placed(right, name)
        }
        _ => Ok(()),
    }
}

fn in_join(t: &TableWithJoins, name: &str) -> Result<(), PlanError> {
    let mut left = references(&t.relation, name);
    for join in &t.joins {
        let right = references(&join.relation, name);
        let lost = match join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => right,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => left,
            JoinOperator::FullOuter(_) => left + right,
            _ => 0,
        };
        if lost > 0 {
            return Err(invalid(name, "within an outer join"));
        }
        left += right;
    }
    for relation in std::iter::once(&t.relation).chain(t.joins.iter().map(|j| &j.relation)) {
        match relation {
            TableFactor::NestedJoin { table_with_joins, .. } => in_join(table_with_joins, name)?,
            TableFactor::Derived { subquery, .. } => placed(&subquery.body, name)?,
            _ => {}
        }
    }
    Ok(())
}

fn select_of(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(s) => Some(s),
        SetExpr::Query(q) => select_of(&mut q.body),
        _ => None,
    }
}

/// A number with a point is a numeric of any scale, as PostgreSQL's are, if a recursion starts with it.
fn widen(body: &mut SetExpr) {
    let Some(select) = select_of(body) else { return };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } = item
            && matches!(e, ast::Expr::Value(v) if matches!(&v.value, ast::Value::Number(n, _) if n.to_string().contains('.')))
        {
            let expr = Box::new(std::mem::replace(e, ast::Expr::value(ast::Value::Null)));
            let data_type = ast::DataType::Numeric(ast::ExactNumberInfo::None);
            *e = ast::Expr::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None, array: false };
        }
    }
}

fn mark(select: &mut Select) {
    let plain = |i: &SelectItem| matches!(i, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if !select.projection.iter().all(plain) {
        return;
    }
    for item in &mut select.projection {
        let (e, alias) = match item {
            SelectItem::UnnamedExpr(e) => (e, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
            _ => continue,
        };
        // A function that gives rows must stand where the binder looks for it.
        if references_rows(e) {
            continue;
        }
        let alias = alias.unwrap_or_else(|| Ident::with_quote('"', column_name(e)));
        let expr = call(MARKED, vec![std::mem::replace(e, ast::Expr::value(ast::Value::Null))]);
        *item = SelectItem::ExprWithAlias { expr, alias };
    }
}

fn references_rows(e: &ast::Expr) -> bool {
    struct Look;
    impl Visitor for Look {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let found = matches!(e, ast::Expr::Function(f) if super::series::is_set_returning(&f.name));
            if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    e.visit(&mut Look).is_break()
}

/// The rule that settles the types of recursions: those of the non-recursive term first, which then are the types of the rows that the
/// recursive term reads. It runs before types are settled elsewhere, which finds nothing left to do here.
#[derive(Debug)]
pub(crate) struct Recursion;

impl AnalyzerRule for Recursion {
    fn name(&self) -> &str {
        "settle_recursions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let settled = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::RecursiveQuery(r) => Ok(Transformed::yes(LogicalPlan::RecursiveQuery(settle(r)?))),
            node => Ok(Transformed::no(node)),
        })?;
        Ok(settled.data)
    }
}

fn settle(r: RecursiveQuery) -> DfResult<RecursiveQuery> {
    let first = semantics::settle(Arc::unwrap_or_clone(r.static_term))?;
    let columns = first.schema().columns().into_iter().zip(first.schema().fields());
    let known: Vec<(Column, DataType, DataType)> =
        columns.map(|(c, f)| (c, f.data_type().clone(), output_type(f.data_type()))).collect();
    let first = if known.iter().all(|(_, have, want)| have == want) {
        first
    } else {
        let exprs = known.iter().map(|(c, have, want)| {
            let e = Expr::Column(c.clone());
            if have == want { e } else { cast(e, want.clone()).alias(&c.name) }
        });
        LogicalPlan::Projection(Projection::try_new(exprs.collect(), Arc::new(first))?)
    };
    let types: Vec<DataType> = known.into_iter().map(|(_, _, want)| want).collect();
    let term = retyped(Arc::unwrap_or_clone(r.recursive_term), &r.name, &types)?;
    no_aggregates(&term, &r.name)?;
    let term = coerced(semantics::settle(term)?, &r.name, &types)?;
    RecursiveQuery::try_new(r.name, Arc::new(first), Arc::new(term), r.is_distinct)
}

/// The term over rows of these types.
fn retyped(term: LogicalPlan, name: &str, types: &[DataType]) -> DfResult<LogicalPlan> {
    let schema = |old: &Schema| {
        let field = |(f, ty): (&FieldRef, &DataType)| Field::new(f.name(), ty.clone(), true);
        Arc::new(Schema::new(old.fields().iter().zip(types).map(field).collect::<Vec<_>>()))
    };
    let term = term.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = node else {
            let node = node.recompute_schema()?;
            return Ok(Transformed::yes(node));
        };
        let any: &dyn std::any::Any = scan.source.as_ref();
        let source: Arc<dyn TableSource> = if let Some(work) = any.downcast_ref::<WorkTable>().filter(|w| w.name == name) {
            Arc::new(WorkTable { name: work.name.clone(), schema: schema(&work.schema) })
        } else if let Ok(provider) = source_as_provider(&scan.source)
            && let Some(work) = provider.downcast_ref::<CteWorkTable>().filter(|w| w.name() == name)
        {
            provider_as_source(Arc::new(CteWorkTable::new(name, schema(&work.schema()))))
        } else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let scan = LogicalPlanBuilder::scan(scan.table_name, source, scan.projection)?.build()?;
        Ok(Transformed::yes(scan))
    })?;
    Ok(term.data)
}

/// A recursive term counts nothing: what it would count is not complete.
fn no_aggregates(term: &LogicalPlan, name: &str) -> DfResult<()> {
    let counts = |node: &LogicalPlan| matches!(node, LogicalPlan::Aggregate(a) if !a.aggr_expr.is_empty());
    if term.exists(|node| Ok(counts(node) && node.exists(|below| Ok(is_work_table(below, name)))?))? {
        let message = "aggregate functions are not allowed in a recursive query's recursive term";
        return Err(PlanError::invalid("42P19", message).into());
    }
    Ok(())
}

pub(super) fn is_work_table(node: &LogicalPlan, name: &str) -> bool {
    let LogicalPlan::TableScan(scan) = node else { return false };
    let any: &dyn std::any::Any = scan.source.as_ref();
    match any.downcast_ref::<WorkTable>() {
        Some(work) => work.name == name,
        None => {
            source_as_provider(&scan.source).is_ok_and(|p| p.downcast_ref::<CteWorkTable>().is_some_and(|w| w.name() == name))
        }
    }
}

/// The settled term in these types, which its own may be but for what PostgreSQL lets be.
fn coerced(term: LogicalPlan, name: &str, types: &[DataType]) -> DfResult<LogicalPlan> {
    let (exprs, input) = match term {
        LogicalPlan::Projection(p) => (p.expr, p.input),
        term => (term.schema().columns().into_iter().map(Expr::Column).collect(), Arc::new(term)),
    };
    let mut out = vec![];
    for (i, (e, first)) in exprs.into_iter().zip(types).enumerate() {
        let shown = e.schema_name().to_string();
        let e = match marked(&e).cloned().or_else(|| distinct_column(&e, &input)) {
            None => e,
            Some(own) => {
                let ty = output_type(&own.get_type(input.schema())?);
                // a literal without a type is read as the first term's
                let is_open = semantics::is_unknown_literal(&own.clone().unalias_nested().data);
                if !is_open && is_text(&ty) != is_text(first) && ty != DataType::Null {
                    let message = format!("UNION types {} and {} cannot be matched", sql_name(first), sql_name(&ty));
                    return Err(PlanError::invalid("42804", message).with_hint("add explicit casts").into());
                }
                compare(name, i + 1, first, &ty)?;
                own.alias(&shown)
            }
        };
        let same = e.get_type(input.schema())? == *first;
        out.push(if same { e } else { cast(e.unalias(), first.clone()).alias(shown) });
    }
    Ok(LogicalPlan::Projection(Projection::try_new(out, input)?))
}

/// The column under a cast, if it is one that SELECT DISTINCT computes.
fn distinct_column(e: &Expr, input: &LogicalPlan) -> Option<Expr> {
    let column = match e {
        Expr::Alias(a) => return distinct_column(&a.expr, input),
        Expr::Cast(c) => c.expr.as_ref(),
        e => e,
    };
    let (Expr::Column(c), LogicalPlan::Distinct(Distinct::All(below))) = (column, input) else { return None };
    let LogicalPlan::Projection(p) = below.as_ref() else { return None };
    p.schema.maybe_index_of_column(c).and_then(|i| p.expr.get(i)).and_then(marked).map(|_| column.clone())
}

fn compare(name: &str, column: usize, first: &DataType, own: &DataType) -> Result<(), PlanError> {
    let overall = common(first, own).map_err(|_| {
        let message = format!("UNION types {} and {} cannot be matched", sql_name(first), sql_name(own));
        PlanError::invalid("42804", message)
    })?;
    if overall == *first {
        return Ok(());
    }
    let (first, overall) = (sql_name(first), sql_name(&overall));
    let message =
        format!("recursive query \"{name}\" column {column} has type {first} in non-recursive term but type {overall} overall");
    Err(PlanError::invalid("42804", message).with_hint("Cast the output of the non-recursive term to the correct type."))
}
