//! Set-returning functions in FROM: `generate_series`, `unnest` and their kin, with aliases and WITH ORDINALITY. One row per element
//! of the array that [`super::spelling::array_of`] makes of them.
//!
//! Arguments are expressions over the relations before it in FROM, as outer columns: [`super::unnest`] puts them beside each other.

use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, Ident, TableAliasColumnDef, TableFactor};

use super::{json, spelling};
use crate::error::PlanError;
use crate::parse::fold;

/// Whether a relation of this name with arguments is a set-returning function.
pub(crate) fn is_set_returning(name: &ast::ObjectName) -> bool {
    function_name(name).is_some_and(|name| {
        name == "unnest"
            || name == crate::parse::ROWS_FROM
            || spelling::array_of(&name, vec![]).is_some()
            || json::columns_of(&name, vec![]).is_some()
            || json::refused(&name).is_some()
    })
}

pub(super) fn function_name(name: &ast::ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [one] => one.as_ident().map(fold),
        [schema, one] if schema.as_ident().map(fold).as_deref() == Some("pg_catalog") => one.as_ident().map(fold),
        _ => None,
    }
}

/// Plans them.
#[derive(Debug)]
pub(crate) struct SetReturning;

impl RelationPlanner for SetReturning {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> DfResult<RelationPlanning> {
        let (name, args, alias, numbered) = match relation {
            TableFactor::Table { ref name, args: Some(ref args), ref alias, with_ordinality, .. } if is_set_returning(name) => {
                (name.clone(), unnamed(&args.args)?, alias.clone(), with_ordinality)
            }
            TableFactor::Function { ref name, ref args, ref alias, with_ordinality, .. } if is_set_returning(name) => {
                (name.clone(), unnamed(args)?, alias.clone(), with_ordinality)
            }
            TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality, .. } => {
                (ast::ObjectName::from(vec![Ident::new("unnest")]), array_exprs, alias, with_ordinality)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        let name = function_name(&name).unwrap_or_default();
        let arrays = match (json::columns_of(&name, args.clone()), spelling::array_of(&name, args.clone())) {
            (Some(columns), _) => columns.into_iter().map(|(_, array)| array).collect(),
            (None, Some(array)) => vec![array],
            (None, None) => args,
        };
        let plan = plan(&name, arrays, alias.as_ref(), numbered, context)?;
        // Without an alias the function's name is the relation's.
        let alias =
            alias.unwrap_or_else(|| ast::TableAlias { explicit: false, name: Ident::new(&name), columns: vec![], at: None });
        let n_named = alias.columns.len();
        let rest = plan.schema().fields().iter().skip(n_named);
        let rest = rest.map(|f| TableAliasColumnDef { name: Ident::with_quote('"', f.name()), data_type: None });
        let columns = alias.columns.iter().cloned().chain(rest).collect();
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, Some(ast::TableAlias { columns, ..alias })))))
    }
}

/// The names of the columns that a function of so many arguments gives; an alias's own names of columns come on top.
pub(super) fn columns(name: &str, n_args: usize, alias: Option<&ast::TableAlias>, numbered: bool) -> Vec<String> {
    if let Some(fixed) = json::columns_of(name, vec![]) {
        let fixed = fixed.into_iter().map(|(column, _)| column.to_owned());
        return fixed.chain(numbered.then(|| "ordinality".to_owned())).collect();
    }
    let n_arrays = if spelling::array_of(name, vec![]).is_some() { 1 } else { n_args };
    let shown = match alias {
        // a function of one column gives it the relation's name
        Some(alias) if n_arrays == 1 => fold(&alias.name),
        _ => name.to_owned(),
    };
    // columns of one name are told apart by a mark that nobody sees
    let column = |i: usize| if i > 0 { format!("{shown}{}{i}", super::ast::MARK) } else { shown.clone() };
    (0..n_arrays).map(column).chain(numbered.then(|| "ordinality".to_owned())).collect()
}

fn unnamed(args: &[FunctionArg]) -> DfResult<Vec<Expr>> {
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Ok(e.clone()),
        other => Err(PlanError::syntax(format!("not an argument of a set-returning function: {other}")).into()),
    };
    args.iter().map(arg).collect()
}

fn plan(
    name: &str,
    arrays: Vec<Expr>,
    alias: Option<&ast::TableAlias>,
    numbered: bool,
    context: &mut dyn RelationPlannerContext,
) -> DfResult<LogicalPlan> {
    if arrays.is_empty() {
        return Err(PlanError::invalid("42883", format!("function {name}() does not exist")).into());
    }
    let nothing = DFSchema::empty();
    let shown = columns(name, arrays.len(), alias, numbered);
    let mut inner = vec![];
    let mut exprs = vec![];
    for (i, array) in arrays.iter().enumerate() {
        let array = context.sql_to_expr(array.clone(), &nothing)?;
        inner.push(Column::from_name(format!("\u{1}set_{i}")));
        exprs.push(array.alias(&inner[i].name));
    }
    if numbered {
        let places = spelling::call("pg_places", arrays.clone());
        inner.push(Column::from_name("\u{1}places"));
        exprs.push(context.sql_to_expr(places, &nothing)?.alias("\u{1}places"));
    }
    let unnested = LogicalPlanBuilder::empty(true).project(exprs)?.unnest_columns_with_options(inner.clone(), options())?;
    let out = inner.into_iter().zip(shown).map(|(c, shown)| datafusion::logical_expr::Expr::Column(c).alias(shown));
    unnested.project(out.collect::<Vec<_>>())?.build()
}

fn options() -> datafusion::common::UnnestOptions {
    datafusion::common::UnnestOptions::new().with_preserve_nulls(false)
}
