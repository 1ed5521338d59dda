//! Windows as Flink and Calcite group by them, as the relations of windows that they are.
//!
//! ```text
//!   SELECT tumble_start(ts, INTERVAL '1 hour'), k, count(*) FROM t GROUP BY tumble(ts, INTERVAL '1 hour'), k
//!   SELECT window_start, k, count(*) FROM tumble(t, ts, INTERVAL '1 hour') GROUP BY window_start, window_end, k
//! ```
//! A session's partition is what else is grouped by, which must be plain columns. So there is one implementation of windows, and
//! EMIT FINAL and watermarks know them by it. `tumble(INTERVAL '1 hour')` names no column: see [`crate::bind`]'s `event_time`.

use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByKind, Query, Select,
    SelectItem, SetExpr, TableFactor, TableFunctionArgs, Value, VisitorMut,
};

use crate::bind::window::{BOUNDS, Function as Window};
use crate::error::PlanError;
use crate::parse::fold;

/// Rewrites all queries of a statement, query or expression, before anybody has looked up their relations.
///
/// # Errors
/// 0A000 for windows over several relations, or for two of them.
pub(super) fn place<T: VisitMut>(tree: &mut T) -> Result<(), PlanError> {
    struct Placer;
    impl VisitorMut for Placer {
        type Break = PlanError;
        fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
            let SetExpr::Select(s) = q.body.as_mut() else { return ControlFlow::Continue(()) };
            match select(s) {
                Ok(Some(window)) => {
                    if let Some(by) = q.order_by.as_mut().map(|by| &mut by.kind)
                        && let OrderByKind::Expressions(by) = by
                    {
                        by.iter_mut().for_each(|key| bounds(&mut key.expr, window));
                    }
                    ControlFlow::Continue(())
                }
                Ok(None) => ControlFlow::Continue(()),
                Err(e) => ControlFlow::Break(e),
            }
        }
        fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<PlanError> {
            select(s).map_or_else(ControlFlow::Break, |_| ControlFlow::Continue(()))
        }
    }
    match VisitMut::visit(tree, &mut Placer) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// The window that a SELECT was grouped by, now one of its relation.
fn select(s: &mut Select) -> Result<Option<Window>, PlanError> {
    let GroupByExpr::Expressions(keys, _) = &s.group_by else { return Ok(None) };
    let found = |key: &Expr| match key {
        // the name of an item of the select list
        Expr::Identifier(name) => s.projection.iter().find_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if fold(alias) == fold(name) => window(expr),
            _ => None,
        }),
        key => window(nth(key, &s.projection).unwrap_or(key)),
    };
    let windows: Vec<(usize, (Window, Vec<Expr>))> =
        keys.iter().enumerate().filter_map(|(i, key)| Some((i, found(key)?))).collect();
    let (at, (window, mut args)) = match <[_; 1]>::try_from(windows) {
        Ok([one]) => one,
        Err(none) if none.is_empty() => return Ok(None),
        Err(_) => return Err(PlanError::unsupported("GROUP BY two windows is not offered", "join two windowed subqueries")),
    };
    if let Some(Expr::CompoundIdentifier(parts)) = args.first()
        && let Some(column) = parts.last().cloned()
    {
        args[0] = Expr::Identifier(column);
    }
    let rest: Vec<Expr> = keys.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, key)| key.clone()).collect();
    if matches!(window, Window::Session) {
        for key in &rest {
            args.push(match nth(key, &s.projection).unwrap_or(key) {
                column @ Expr::Identifier(_) => column.clone(),
                Expr::CompoundIdentifier(parts) => parts.last().cloned().map_or_else(|| key.clone(), Expr::Identifier),
                _ => {
                    return Err(PlanError::unsupported(
                        "sessions of what is computed are not offered",
                        "group by plain columns, or compute it in a subquery",
                    ));
                }
            });
        }
    }
    let [from] = s.from.as_mut_slice() else { return Err(one_relation()) };
    if !from.joins.is_empty() {
        return Err(one_relation());
    }
    let (relation, alias) = match &mut from.relation {
        TableFactor::Table { name, alias, args: None, version: None, sample: None, .. } => {
            let parts: Option<Vec<Ident>> = name.0.iter().map(|part| part.as_ident().cloned()).collect();
            let parts = parts.ok_or_else(one_relation)?;
            let relation = match parts.as_slice() {
                [one] => Expr::Identifier(one.clone()),
                _ => Expr::CompoundIdentifier(parts),
            };
            (relation, alias.take())
        }
        TableFactor::Derived { lateral: false, subquery, alias, .. } => (Expr::Subquery(subquery.clone()), alias.take()),
        _ => return Err(one_relation()),
    };
    let args = std::iter::once(relation).chain(args).map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    from.relation = TableFactor::Table {
        name: ObjectName::from(vec![Ident::new(window.name().to_lowercase())]),
        alias,
        args: Some(TableFunctionArgs { args, settings: None }),
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    };
    for item in &mut s.projection {
        match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => bounds(e, window),
            _ => {}
        }
    }
    if let Some(having) = &mut s.having {
        bounds(having, window);
    }
    let by = BOUNDS.into_iter().map(|bound| Expr::Identifier(Ident::new(bound)));
    s.group_by = GroupByExpr::Expressions(by.chain(rest).collect(), vec![]);
    Ok(Some(window))
}

fn one_relation() -> PlanError {
    PlanError::unsupported(
        "GROUP BY a window takes one relation without joins",
        "write FROM TUMBLE(relation, ts, INTERVAL '1 hour') JOIN .. GROUP BY window_start, window_end",
    )
}

/// The item of the select list that a key is the number of.
fn nth<'a>(key: &Expr, items: &'a [SelectItem]) -> Option<&'a Expr> {
    let Expr::Value(value) = key else { return None };
    let Value::Number(n, _) = &value.value else { return None };
    match items.get(n.parse::<usize>().ok()?.checked_sub(1)?)? {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some(e),
        _ => None,
    }
}

/// A call of one of the windows, over a column or by the relation's own time.
fn window(e: &Expr) -> Option<(Window, Vec<Expr>)> {
    let (name, args) = plain_call(e)?;
    let window = Window::of(&name)?;
    let over_column = matches!(args.first(), Some(Expr::Identifier(_) | Expr::CompoundIdentifier(_))) && args.len() >= 2;
    let by_itself = !args.is_empty() && args.iter().all(|e| matches!(e, Expr::Interval(_)));
    (over_column || by_itself).then_some((window, args))
}

fn plain_call(e: &Expr) -> Option<(String, Vec<Expr>)> {
    let Expr::Function(Function { name, args: FunctionArguments::List(list), over: None, filter: None, .. }) = e else {
        return None;
    };
    let [name] = name.0.as_slice() else { return None };
    let arg = |a: &FunctionArg| match a {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    Some((fold(name.as_ident()?), list.args.iter().map(arg).collect::<Option<Vec<_>>>()?))
}

/// `tumble_start(..)`, `tumble_end(..)`, and `tumble(..)` itself, which is its start, as the columns of the window.
fn bounds(e: &mut Expr, window: Window) {
    struct Bounds(Window);
    impl VisitorMut for Bounds {
        type Break = ();
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
            let Some((name, _)) = plain_call(e) else { return ControlFlow::Continue(()) };
            let of = self.0.name().to_lowercase();
            let bound = match name.strip_prefix(of.as_str()) {
                Some("" | "_start") => BOUNDS[0],
                Some("_end") => BOUNDS[1],
                _ => return ControlFlow::Continue(()),
            };
            *e = Expr::Identifier(Ident::new(bound));
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(e, &mut Bounds(window));
}
