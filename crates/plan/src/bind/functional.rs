//! `SELECT t.id, t.name, count(*) .. GROUP BY t.id` where id is t's primary key: the other columns of t that the query names join the keys.
//!
//! The key tells the whole row, so the groups stay the same, also where an outer join has left t's columns empty. What stands within an
//! aggregate needs no key; a key that is not needed would make the view one without a key, which no look-up finds. Syntax alone, with
//! what the catalog says of t. Not where a query groups by several sets of keys, nor for a relation whose columns FROM renames.

use crate::walk::{Visit, VisitMut};
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value, Visitor, VisitorMut,
};

use super::ast::column_name;
use super::system_time::{Shape, Shapes};
use crate::functions::is_aggregate;
use crate::parse::{fold, relation_name};

/// Completes the keys of a query and of all queries within it.
pub(crate) fn complete(query: &mut Query, shapes: Shapes<'_>) {
    struct With(HashSet<String>);
    impl Visitor for With {
        type Break = ();
        fn pre_visit_query(&mut self, q: &Query) -> ControlFlow<()> {
            self.0.extend(q.with.iter().flat_map(|w| &w.cte_tables).map(|c| fold(&c.alias.name)));
            ControlFlow::Continue(())
        }
    }
    struct V<'a>(Shapes<'a>, HashSet<String>);
    impl VisitorMut for V<'_> {
        type Break = ();
        fn post_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
            let order = q.order_by.clone();
            let mut todo = vec![q.body.as_mut()];
            while let Some(body) = todo.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_mut(), right.as_mut()]),
                    SetExpr::Select(s) => keys(s, order.as_ref(), self.0, &self.1),
                    _ => {}
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut with = With(HashSet::new());
    let _ = Visit::visit(query, &mut with);
    let _ = VisitMut::visit(query, &mut V(shapes, with.0));
}

/// A relation of FROM that has a key.
struct Of {
    alias: Ident,
    columns: Vec<String>,
    key: Vec<usize>,
}

fn keys(select: &mut Select, order: Option<&ast::OrderBy>, shapes: Shapes<'_>, with: &HashSet<String>) {
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return };
    let sets = |e: &Expr| matches!(e, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
    if keys.is_empty() || keys.iter().any(sets) {
        return;
    }
    let mut relations = vec![];
    select.from.iter().for_each(|from| of_from(from, shapes, with, &mut relations));
    let mut more: Vec<Expr> = vec![];
    for of in &relations {
        let grouped: HashSet<&str> = keys.iter().filter_map(|k| column_of(k, of, &select.projection)).collect();
        if !of.key.iter().all(|at| of.columns.get(*at).is_some_and(|c| grouped.contains(c.as_str()))) {
            continue;
        }
        let mut named = Named { of, columns: HashSet::new(), all: false, within: 0, around: vec![] };
        let _ = select.projection.visit(&mut named);
        let _ = select.having.visit(&mut named);
        let _ = select.distinct.visit(&mut named);
        for e in order.into_iter().flat_map(sorted_by).filter(|e| !is_output(e, &select.projection)) {
            let _ = e.visit(&mut named);
        }
        named.all |= select.projection.iter().any(|item| match item {
            SelectItem::Wildcard(_) => true,
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                name.0.last().and_then(|p| p.as_ident()).is_some_and(|i| fold(i) == fold(&of.alias))
            }
            _ => false,
        });
        for column in &of.columns {
            if !grouped.contains(column.as_str()) && (named.all || named.columns.contains(column)) {
                more.push(Expr::CompoundIdentifier(vec![of.alias.clone(), Ident::with_quote('"', column)]));
            }
        }
    }
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        keys.extend(more);
    }
}

fn of_from(from: &TableWithJoins, shapes: Shapes<'_>, with: &HashSet<String>, out: &mut Vec<Of>) {
    for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation)) {
        match factor {
            TableFactor::NestedJoin { table_with_joins, alias: None } => of_from(table_with_joins, shapes, with, out),
            TableFactor::Table { name, alias, args: None, .. } => {
                let Ok(relation) = relation_name(name) else { continue };
                if relation.schema.is_none() && with.contains(&relation.name)
                    || alias.as_ref().is_some_and(|a| !a.columns.is_empty())
                {
                    continue;
                }
                let Some(Shape { schema, key: Some(key), .. }) = shapes(&relation) else { continue };
                if key.is_empty() {
                    continue;
                }
                let alias = alias.as_ref().map_or_else(|| Ident::with_quote('"', &relation.name), |a| a.name.clone());
                let columns = schema.fields().iter().map(|f| f.name().clone()).collect();
                out.push(Of { alias, columns, key });
            }
            _ => {}
        }
    }
}

/// The relation's column that a key is; a position and another name of the select list stand for what they name.
fn column_of<'a>(key: &Expr, of: &'a Of, items: &[SelectItem]) -> Option<&'a str> {
    let own = |name: &str| of.columns.iter().find(|c| *c == name).map(String::as_str);
    match key {
        Expr::Nested(e) => column_of(e, of, items),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., alias, column] if fold(alias) == fold(&of.alias) => own(&fold(column)),
            _ => None,
        },
        Expr::Identifier(i) => own(&fold(i)).or_else(|| {
            let meant = items.iter().find_map(|item| match item {
                SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(i) => Some(expr),
                _ => None,
            })?;
            plain(meant).then(|| column_of(meant, of, &[])).flatten()
        }),
        Expr::Value(v) => {
            let Value::Number(digits, _) = &v.value else { return None };
            let at = digits.to_string().parse::<usize>().ok()?.checked_sub(1)?;
            match items.get(at)? {
                SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } if plain(e) => column_of(e, of, &[]),
                _ => None,
            }
        }
        _ => None,
    }
}

fn sorted_by(order: &ast::OrderBy) -> Vec<&Expr> {
    match &order.kind {
        ast::OrderByKind::Expressions(all) => all.iter().map(|by| &by.expr).collect(),
        ast::OrderByKind::All(_) => vec![],
    }
}

/// Whether ORDER BY means a column of the select list by its name.
fn is_output(e: &Expr, items: &[SelectItem]) -> bool {
    let Expr::Identifier(name) = e else { return false };
    items.iter().any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if fold(alias) == fold(name)))
}

fn plain(e: &Expr) -> bool {
    matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) && column_name(e) != "?column?"
}

/// Columns of a relation that are named outside of aggregates; too many give the same rows.
struct Named<'a> {
    of: &'a Of,
    columns: HashSet<String>,
    all: bool,
    /// How many aggregates of the query at hand the walk is within. In queries within it every name counts, also within their aggregates:
    /// those are not of this query.
    within: usize,
    around: Vec<usize>,
}

/// A call of an aggregate, not over a window.
fn aggregates(e: &Expr) -> bool {
    let Expr::Function(f) = e else { return false };
    let name = f.name.0.last().and_then(|p| p.as_ident()).map(fold);
    f.over.is_none() && name.is_some_and(|name| is_aggregate(&name))
}

impl Visitor for Named<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.around.push(std::mem::take(&mut self.within));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.within = self.around.pop().unwrap_or_default();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
        self.within += usize::from(self.around.is_empty() && aggregates(e));
        match e {
            _ if self.within > 0 => {}
            Expr::Identifier(i) => {
                self.all |= fold(i) == fold(&self.of.alias);
                self.columns.insert(fold(i));
            }
            Expr::CompoundIdentifier(parts) => {
                if let [.., alias, column] = parts.as_slice()
                    && fold(alias) == fold(&self.of.alias)
                {
                    self.columns.insert(fold(column));
                }
            }
            Expr::QualifiedWildcard(..) | Expr::Wildcard(_) => self.all = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &Expr) -> ControlFlow<()> {
        self.within -= usize::from(self.around.is_empty() && aggregates(e));
        ControlFlow::Continue(())
    }
}
