//! `(t.*) IS NULL` is true when all columns of t are NULL, `(t.*) IS NOT NULL` when none is: the row that an outer join left empty.
//!
//! `row_to_json(t)` and its kin take the row's names and values in turn.
//!
//! DataFusion hands over the star as an expression that it takes to be never NULL. The rule writes the columns out while plans still
//! have the names of the query; it runs before any other.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, merge_schema};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::error::PlanError;

/// The rule. See the module's header.
#[derive(Debug)]
pub(crate) struct WholeRows;

impl AnalyzerRule for WholeRows {
    fn name(&self) -> &str {
        "whole_rows"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if !concerns(&plan)? {
            return Ok(plan);
        }
        let written = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let names = NamePreserver::new(&node);
            let node = node.map_expressions(|e| {
                let name = names.save(&e);
                Ok(e.transform_up(|e| written_out(e, &schema))?.update_data(|e| name.restore(e)))
            })?;
            if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
        })?;
        Ok(written.data)
    }
}

fn concerns(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                found |= row_of(e).is_some() || json_of(e).is_some();
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

/// The relation whose row is tested.
#[expect(deprecated, reason = "what DataFusion's planner gives")]
fn row_of(e: &Expr) -> Option<&TableReference> {
    match e {
        Expr::IsNull(row) | Expr::IsNotNull(row) => match row.as_ref() {
            Expr::Wildcard { qualifier: Some(relation), .. } => Some(relation),
            _ => None,
        },
        _ => None,
    }
}

/// The relation whose row becomes JSON.
#[expect(deprecated, reason = "what DataFusion's planner gives")]
fn json_of(e: &Expr) -> Option<&TableReference> {
    match e {
        Expr::ScalarFunction(f) if matches!(f.name(), "pg_row_json" | "pg_row_jsonb") => match f.args.as_slice() {
            [Expr::Wildcard { qualifier: Some(relation), .. }] => Some(relation),
            _ => None,
        },
        _ => None,
    }
}

/// DataFusion calls an outer query's column `outer_ref(t.a)`.
fn outer_name(name: &str) -> &str {
    let inner = name.strip_prefix("outer_ref(").and_then(|rest| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.rsplit('.').next().unwrap_or(inner))
}

fn written_out(e: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if let (Some(relation), Expr::ScalarFunction(f)) = (json_of(&e), &e) {
        let of_row = schema.iter().filter(|(q, _)| q.is_some_and(|q| q == relation || q.table() == relation.table()));
        let args: Vec<Expr> = of_row
            .flat_map(|(q, f)| {
                let name = outer_name(super::ast::shown_name(f.name())).to_owned();
                [datafusion::logical_expr::lit(name), Expr::Column(Column::new(q.cloned(), f.name()))]
            })
            .collect();
        if args.is_empty() {
            let what = format!("the whole row of \"{relation}\" as JSON is not offered here");
            return Err(PlanError::unsupported(what, "name its columns: json_build_object('a', a, ..)").into());
        }
        return Ok(Transformed::yes(f.func.call(args)));
    }
    let Some(relation) = row_of(&e) else { return Ok(Transformed::no(e)) };
    let is_null = matches!(e, Expr::IsNull(_));
    let of_row = schema.iter().filter(|(q, _)| q.is_some_and(|q| q == relation || q.table() == relation.table()));
    let tests = of_row.map(|(q, f)| {
        let column = Expr::Column(Column::new(q.cloned(), f.name()));
        if is_null { column.is_null() } else { column.is_not_null() }
    });
    match conjunction(tests) {
        Some(all) => Ok(Transformed::yes(all)),
        None => Err(PlanError::unsupported(
            format!("a test of the whole row of \"{relation}\" is not offered here"),
            "test a column of it that is never NULL",
        )
        .into()),
    }
}
