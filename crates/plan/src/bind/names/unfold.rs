//! `SELECT a AS b, unnest(ARRAY[b, 1]) FROM t`: an output has the name of a column that rows out of an array are made of. DataFusion has
//! the outputs and what it unfolds in one schema, where the name is then ambiguous; so the outputs get their names in a query around.

use crate::walk::Visit;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor, Visitor,
};

use super::shape::Shape;
use super::{Result, output};
use crate::bind::ast::{MARK, column_name};
use crate::bind::series;
use crate::parse::fold;

/// Rewrites such a SELECT; one that is ordered by more than its outputs stays.
pub(super) fn part(s: &mut Select, order: Option<&OrderBy>, shape: &Shape) -> Result<()> {
    if !concerns(s, shape) || !by_outputs(s, order) {
        return Ok(());
    }
    let name = |i: usize| Ident::with_quote('"', format!("{MARK}row{i}"));
    let mut outer = crate::parse::parse_query("SELECT 1 FROM t", &crate::parse::ParseLimits::default())?;
    let SetExpr::Select(around) = outer.body.as_mut() else { return Ok(()) };
    let mut items = vec![];
    for (i, item) in s.projection.iter_mut().enumerate() {
        let (expr, alias) = match item {
            SelectItem::UnnamedExpr(e) => (e.clone(), Ident::with_quote('"', column_name(e))),
            SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.clone()),
            _ => return Ok(()),
        };
        *item = SelectItem::ExprWithAlias { expr, alias: name(i) };
        items.push(SelectItem::ExprWithAlias { expr: Expr::Identifier(name(i)), alias });
    }
    around.projection = items;
    around.distinct = s.distinct.take();
    std::mem::swap(around.as_mut(), s);
    // now `s` is the query around, and what was there stands in `outer`
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', format!("{MARK}rows")), columns: vec![], at: None };
    if let Some(from) = s.from.first_mut() {
        from.relation = TableFactor::Derived { lateral: false, subquery: outer, alias: Some(alias), sample: None };
    }
    Ok(())
}

fn concerns(s: &Select, shape: &Shape) -> bool {
    let renames = s.projection.iter().any(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => {
            let name = fold(alias);
            let same = match expr {
                Expr::Identifier(i) => fold(i) == name,
                Expr::CompoundIdentifier(parts) => parts.last().map(fold).is_some_and(|last| last == name),
                _ => false,
            };
            !same && shape.has(&name)
        }
        _ => false,
    });
    let plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    renames && s.projection.iter().all(plain) && s.projection.visit(&mut Rows(0)).is_break()
}

fn by_outputs(s: &Select, order: Option<&OrderBy>) -> bool {
    if matches!(s.distinct, Some(datafusion::sql::sqlparser::ast::Distinct::On(_))) {
        return false;
    }
    let outputs: Vec<String> = s.projection.iter().filter_map(output).collect();
    match order.map(|o| &o.kind) {
        None => true,
        Some(OrderByKind::Expressions(keys)) => keys.iter().all(|k| match &k.expr {
            Expr::Identifier(i) => outputs.contains(&fold(i)),
            Expr::Value(_) => true,
            _ => false,
        }),
        Some(_) => false,
    }
}

/// Looks for a function that gives rows, outside of queries within.
struct Rows(usize);

impl Visitor for Rows {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0 += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
        let found = self.0 == 0 && matches!(e, Expr::Function(f) if series::is_set_returning(&f.name));
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
