//! Columns of an outer query that a query reads: `Expr::OuterReferenceColumn`, wherever it stands.
//!
//! A query within the query may read columns of either; those that the node around it has are its own, and only the others count.

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema};
use datafusion::error::Result;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};

/// An outer column and what was known of it when the query was bound.
pub(super) type Outer = (Column, FieldRef);

/// Same column, wherever in the text it was written.
pub(super) fn same(a: &Column, b: &Column) -> bool {
    a.relation == b.relation && a.name == b.name
}

/// Whether a column is one of the schema's.
pub(super) fn resolves(schema: &DFSchema, column: &Column) -> bool {
    schema.maybe_index_of_column(column).is_some()
}

/// The query within an expression, if the expression is one.
pub(super) fn query_of(e: &Expr) -> Option<&Subquery> {
    match e {
        Expr::Exists(x) => Some(&x.subquery),
        Expr::InSubquery(x) => Some(&x.subquery),
        Expr::SetComparison(x) => Some(&x.subquery),
        Expr::ScalarSubquery(q) => Some(q),
        _ => None,
    }
}

/// Whether a query stands somewhere in the expression.
pub(super) fn has_query(e: &Expr) -> bool {
    let mut found = false;
    let visited = e.apply(|e| {
        found |= query_of(e).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || visited.is_err()
}

/// What the plan reads from outside of it, each once, in order of appearance.
pub(super) fn of_plan(plan: &LogicalPlan) -> Result<Vec<Outer>> {
    let mut found = vec![];
    collect(plan, &mut found)?;
    Ok(found)
}

/// What an expression over `schema` reads from outside.
pub(super) fn of_expr(e: &Expr, schema: &DFSchema) -> Result<Vec<Outer>> {
    let mut found = vec![];
    collect_expr(e, schema, &mut found)?;
    Ok(found)
}

fn collect(plan: &LogicalPlan, found: &mut Vec<Outer>) -> Result<()> {
    plan.apply(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|e| {
            collect_expr(e, &schema, found)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(())
}

fn collect_expr(e: &Expr, schema: &DFSchema, found: &mut Vec<Outer>) -> Result<()> {
    let mut add = |outer: Outer| {
        if !found.iter().any(|(c, _)| same(c, &outer.0)) {
            found.push(outer);
        }
    };
    e.apply(|e| {
        if let Expr::OuterReferenceColumn(field, column) = e {
            add((column.clone(), FieldRef::clone(field)));
        } else if let Some(query) = query_of(e) {
            of_plan(&query.subquery)?.into_iter().filter(|(c, _)| !resolves(schema, c)).for_each(&mut add);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

/// The expression with outer columns as what now stands beside its input. Queries within it are left alone: they
/// read nothing from further out (see [`super`]).
pub(super) fn replace(e: Expr, now: &dyn Fn(&Column) -> Option<Expr>) -> Result<Expr> {
    let replaced = e.transform(|e| {
        Ok(match &e {
            Expr::OuterReferenceColumn(_, column) => match now(column) {
                Some(now) => Transformed::yes(now),
                None => Transformed::no(e),
            },
            _ => Transformed::no(e),
        })
    })?;
    Ok(replaced.data)
}

/// The expression with these columns as outer ones: for a condition that moves into the other side of a join.
pub(super) fn as_outer(e: Expr, schema: &DFSchema) -> Result<Expr> {
    let replaced = e.transform(|e| {
        Ok(match &e {
            Expr::Column(column) if resolves(schema, column) => {
                let field = schema.field_from_column(column)?;
                Transformed::yes(Expr::OuterReferenceColumn(FieldRef::clone(field), column.clone()))
            }
            _ => Transformed::no(e),
        })
    })?;
    Ok(replaced.data)
}
