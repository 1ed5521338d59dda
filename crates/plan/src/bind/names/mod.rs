//! What the names of a query stand for, as far as it must be known before DataFusion binds it: which columns `*` gives and in which order
//! ([`star`]), what a column is that a join by USING or NATURAL merges ([`merge`], [`bare`]), and which relation is meant where an inner
//! query has a column of that relation's name ([`rename`]), and a relation's name as its row ([`row`]).
//!
//! ```text
//!   SELECT *, k FROM a FULL JOIN b USING (k)   ─▶   SELECT COALESCE(a.k, b.k) AS k, a.v, b.w, COALESCE(a.k, b.k) AS k
//!                                                   FROM a FULL JOIN b ON a.k = b.k
//! ```
//! Syntax with the catalog's columns beside it: no types. Queries are rewritten from the innermost outwards, so what a query within FROM
//! gives stands in its select list already ([`shape`]). Where a shape is not known (a system relation, a missing one) nothing is changed,
//! and DataFusion's binder says what there is to say. Cost: each query is walked once for each query around it.

mod bare;
mod lateral;
mod meant;
mod merge;
mod rename;
pub(super) mod row;
mod schema;
mod shape;
mod star;
mod twice;
mod unfold;

use datafusion::sql::sqlparser::ast::{
    Cte, Distinct, Expr, GroupByExpr, Ident, ObjectName, OrderBy, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableAliasColumnDef, With,
};

use self::shape::Shape;
use super::ast::column_name;
use crate::error::PlanError;
use crate::parse::{fold, relation_name};

type Result<T> = std::result::Result<T, PlanError>;

pub(crate) use crate::batch::Columns;

/// What names of relations stand for at a place in a query.
pub(super) struct Env<'a> {
    catalog: Columns<'a>,
    /// Queries of WITH and their columns, the innermost last.
    ctes: Vec<Vec<(String, Option<Vec<String>>)>>,
}

impl<'a> Env<'a> {
    pub fn new(catalog: Columns<'a>) -> Env<'a> {
        Env { catalog, ctes: vec![] }
    }

    /// Enters a query.
    pub fn open(&mut self) {
        self.ctes.push(vec![]);
    }

    /// Leaves it.
    pub fn close(&mut self) {
        self.ctes.pop();
    }

    /// A query of WITH that what follows may name; its own query is rewritten already, or names itself.
    pub fn know(&mut self, cte: &Cte) {
        let own = shape::of_query(&cte.query).or_else(|| shape::expected(&cte.query.body));
        let names = own.map(|own| shape::under_alias(own, Some(&cte.alias)));
        if let Some(known) = self.ctes.last_mut() {
            known.push((fold(&cte.alias.name), names));
        }
    }

    /// All of a WITH whose queries are rewritten already.
    fn know_all(&mut self, with: Option<&With>) {
        with.into_iter().flat_map(|w| &w.cte_tables).for_each(|cte| self.know(cte));
    }

    fn relation(&self, name: &ObjectName) -> Option<Vec<String>> {
        if let [one] = name.0.as_slice() {
            let one = fold(one.as_ident()?);
            if let Some((_, known)) = self.ctes.iter().rev().flat_map(|f| f.iter().rev()).find(|(n, _)| *n == one) {
                return known.clone();
            }
        }
        (self.catalog)(&relation_name(name).ok()?)
    }
}

/// A query of WITH may name its first columns only; DataFusion wants all names.
pub(super) fn complete(cte: &mut Cte) {
    let named = &mut cte.alias.columns;
    if named.is_empty() {
        return;
    }
    let rest = shape::of_query(&cte.query).unwrap_or_default().into_iter().skip(named.len());
    named.extend(rest.map(|name| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None }));
}

/// All that is done to a query whose inner ones are done: for those that are made here.
pub(super) type Whole = fn(&mut Query, &mut Env<'_>) -> Result<()>;

/// Rewrites a query whose inner queries have been.
pub(super) fn resolve(query: &mut Query, env: &mut Env<'_>, whole: Whole) -> Result<()> {
    let mut todo = vec![query.body.as_mut()];
    let mut order = query.order_by.as_mut();
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                // its order knows output columns only
                order = None;
                todo.extend([left.as_mut(), right.as_mut()]);
            }
            SetExpr::Select(s) => {
                let shape = select(s, env, whole)?;
                if let (Some(shape), Some(order)) = (&shape, order.as_deref_mut()) {
                    sorted(s, order, shape, env)?;
                }
                rename::hidden(s, order.as_deref_mut(), env);
                if let Some(shape) = &shape {
                    unfold::part(s, order.as_deref(), shape)?;
                }
            }
            _ => {}
        }
    }
    row::unsorted(query)
}

/// Bare names in ORDER BY. One that is an output's means that, if it stands alone.
fn sorted(s: &Select, order: &mut OrderBy, shape: &Shape, env: &mut Env<'_>) -> Result<()> {
    let OrderByKind::Expressions(keys) = &mut order.kind else { return Ok(()) };
    let outputs: Vec<String> = s.projection.iter().filter_map(output).collect();
    row::sorted(s, keys, shape, env)?;
    for key in keys {
        match &key.expr {
            Expr::Identifier(i) if outputs.contains(&fold(i)) => one_meaning(s, &fold(i), "ORDER BY")?,
            Expr::Nested(e) if matches!(e.as_ref(), Expr::Identifier(i) if outputs.contains(&fold(i))) => {}
            e => {
                // what stands in the select list as it stands here is that item, which DISTINCT leaves alone to order by
                let is_distinct = matches!(s.distinct, Some(Distinct::Distinct));
                if let Some(item) = is_distinct.then(|| meant::item(s, e)).flatten() {
                    key.expr = item;
                } else {
                    bare::replace(shape, env, &mut key.expr);
                    meant::inputs(s, shape, &mut key.expr)?;
                }
            }
        }
    }
    Ok(())
}

/// Refuses a name for several outputs that are not the same.
fn one_meaning(s: &Select, name: &str, clause: &str) -> Result<()> {
    let mut meant = s.projection.iter().filter(|item| output(item).as_deref() == Some(name)).filter_map(|item| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    });
    let first = meant.next();
    match meant.all(|other| Some(other) == first) {
        true => Ok(()),
        false => Err(PlanError::invalid("42702", format!("{clause} \"{name}\" is ambiguous"))
            .with_hint("give one of the two another name with AS, or write its number")),
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(e) => Some(column_name(e)),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The FROM clause's shape, if it is known.
fn select(s: &mut Select, env: &mut Env<'_>, whole: Whole) -> Result<Option<Shape>> {
    let mut all = Some(Shape::default());
    for from in &mut s.from {
        if let Some(before) = &all {
            lateral::behind(before, env, &mut from.relation)?;
            from.joins.iter_mut().try_for_each(|j| lateral::behind(before, env, &mut j.relation))?;
        }
        let shape = merge::joins(from, env, whole)?;
        all = all.zip(shape).map(|(all, shape)| all.beside(shape));
    }
    let Some(shape) = all else { return Ok(None) };
    if shape.merges() {
        for item in &mut s.projection {
            // what is written in the place of a column keeps its name
            if let SelectItem::UnnamedExpr(Expr::Identifier(i)) = item
                && let Some(column) = shape.merged(&fold(i))
            {
                *item = column.item();
            }
        }
        bare::replace(&shape, env, &mut s.projection);
        bare::replace(&shape, env, &mut s.distinct);
        bare::replace(&shape, env, &mut s.selection);
        bare::replace(&shape, env, &mut s.group_by);
        bare::replace(&shape, env, &mut s.having);
        bare::replace(&shape, env, &mut s.named_window);
        bare::replace(&shape, env, &mut s.qualify);
    }
    schema::settle(s, &shape, env)?;
    twice::refuse(s, &shape)?;
    star::expand(s, &shape)?;
    row::spell(s, &shape, env);
    grouped(s, &shape)?;
    Ok(Some(shape))
}

/// A key of GROUP BY that is a name alone means the input's column of that name; where there is none, the one output of that name.
fn grouped(s: &Select, shape: &Shape) -> Result<()> {
    let GroupByExpr::Expressions(keys, _) = &s.group_by else { return Ok(()) };
    let names = keys.iter().filter_map(|key| if let Expr::Identifier(i) = key { Some(fold(i)) } else { None });
    for name in names.filter(|name| !shape.has(name)) {
        one_meaning(s, &name, "GROUP BY")?;
        for item in s.projection.iter().filter(|item| output(item).as_ref() == Some(&name)) {
            if let SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } = item {
                crate::bind::clauses::of_group(e)?;
            }
        }
    }
    Ok(())
}
