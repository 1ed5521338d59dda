//! Longer and shorter ways to say the same, turned into one when a query is read: `FETCH FIRST n ROWS ONLY` is `LIMIT n`, `GROUP BY ()`
//! is the one empty grouping set, `ROW(a, b)` is `(a, b)`, `t.a[1]` is a subscript of the column `t.a` (sqlparser takes it for one of what `t` is), `FROM TABLE (f(..))` is `FROM f(..)`,
//! `normalize(x, NFC)` is `normalize(x, 'NFC')`, `a OPERATOR(pg_catalog.+) b` is `a + b`. (`TABLE t` is `SELECT * FROM t` in the tokens already.)

use super::{Result, cycle, window_arguments};
use crate::error::PlanError;
use crate::walk::VisitMut;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, LimitClause,
    ObjectNamePart, Query, Select, TableFactor, TableFunctionArgs, Value, VisitorMut,
};

/// Rewrites all queries of a statement, query or expression.
///
/// # Errors
/// See [`cycle::apply`].
pub(super) fn unify<T: VisitMut>(tree: &mut T) -> Result<()> {
    struct Forms;
    impl VisitorMut for Forms {
        type Break = PlanError;
        fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
            limit(q);
            cycle::apply(q).map_or_else(ControlFlow::Break, ControlFlow::Continue)
        }
        fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<PlanError> {
            if let GroupByExpr::Expressions(keys, _) = &mut s.group_by {
                for e in keys.iter_mut().filter(|e| matches!(e, Expr::Tuple(all) if all.is_empty())) {
                    *e = Expr::GroupingSets(vec![vec![]]);
                }
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_table_factor(&mut self, t: &mut TableFactor) -> ControlFlow<PlanError> {
            called(t);
            window_arguments::order(t);
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
            subscripted(e);
            row(e);
            normalized(e);
            if let Err(e) = operator(e) {
                return ControlFlow::Break(e);
            }
            ControlFlow::Continue(())
        }
    }
    match VisitMut::visit(tree, &mut Forms) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// `FROM TABLE (f(..))`, as the standard calls a function that gives rows, is `FROM f(..)`.
fn called(t: &mut TableFactor) {
    let TableFactor::TableFunction { expr: Expr::Function(f), alias } = t else { return };
    let FunctionArguments::List(list) = &mut f.args else { return };
    if f.over.is_some() || f.filter.is_some() || !list.clauses.is_empty() || list.duplicate_treatment.is_some() {
        return;
    }
    *t = TableFactor::Table {
        name: f.name.clone(),
        alias: alias.take(),
        args: Some(TableFunctionArgs { args: std::mem::take(&mut list.args), settings: None }),
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    };
}

/// `ROW(a, b)` is `(a, b)`, which is compared element by element.
fn row(e: &mut Expr) {
    let Expr::Function(f) = &*e else { return };
    let plain = f.over.is_none() && f.filter.is_none() && f.within_group.is_empty();
    let FunctionArguments::List(list) = &f.args else { return };
    let ObjectNamePart::Identifier(name) = (match f.name.0.as_slice() {
        [one] => one,
        _ => return,
    }) else {
        return;
    };
    if !plain || name.quote_style.is_some() || !name.value.eq_ignore_ascii_case("row") || list.args.len() < 2 {
        return;
    }
    let item = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
        _ => None,
    };
    if let Some(items) = list.args.iter().map(item).collect::<Option<Vec<_>>>() {
        *e = Expr::Tuple(items);
    }
}

/// `a OPERATOR(pg_catalog.+) b` is `a + b`; what the operator is called tells how tightly it binds no longer.
fn operator(e: &mut Expr) -> Result<()> {
    let Expr::BinaryOp { left, op: BinaryOperator::PGCustomBinaryOperator(parts), right } = e else { return Ok(()) };
    let sign = match parts.as_slice() {
        [sign] => sign,
        [schema, sign] if schema == "pg_catalog" => sign,
        _ => return Ok(()),
    };
    // `OPERATOR(and)` is none
    if sign.chars().any(char::is_alphanumeric) {
        return Ok(());
    }
    let Expr::BinaryOp { op, .. } = super::parse_expr(&format!("1 {sign} 1"))? else { return Ok(()) };
    let take = |e: &mut Box<Expr>| Box::new(std::mem::replace(e.as_mut(), Expr::value(Value::Null)));
    let nested = |e: Box<Expr>| if matches!(*e, Expr::BinaryOp { .. }) { Box::new(Expr::Nested(e)) } else { e };
    let (left, right) = (nested(take(left)), nested(take(right)));
    *e = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }));
    Ok(())
}

/// The normal form that `normalize` names is a word there, and no column.
fn normalized(e: &mut Expr) {
    let Expr::Function(f) = e else { return };
    let [ObjectNamePart::Identifier(name)] = f.name.0.as_slice() else { return };
    let FunctionArguments::List(list) = &mut f.args else { return };
    if name.quote_style.is_some() || !name.value.eq_ignore_ascii_case("normalize") {
        return;
    }
    let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(form))] = list.args.as_mut_slice() else { return };
    let Expr::Identifier(word) = &*form else { return };
    let word = Some(word.value.to_ascii_uppercase()).filter(|_| word.quote_style.is_none());
    if let Some(word) = word.filter(|word| ["NFC", "NFD", "NFKC", "NFKD"].contains(&word.as_str())) {
        *form = Expr::value(Value::SingleQuotedString(word));
    }
}

/// `t.a[1]`, `s.t.a[1:2]`
fn subscripted(e: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = e else { return };
    let Expr::Identifier(first) = root.as_ref() else { return };
    let name = |a: &AccessExpr| -> Option<Ident> {
        if let AccessExpr::Dot(Expr::Identifier(name)) = a { Some(name.clone()) } else { None }
    };
    let mut parts = vec![first.clone()];
    parts.extend(access_chain.iter().map_while(name));
    let n = parts.len() - 1;
    if n > 0 && access_chain[n..].iter().all(|a| matches!(a, AccessExpr::Subscript(_))) {
        access_chain.drain(..n);
        **root = Expr::CompoundIdentifier(parts);
    }
}

/// WITH TIES and PERCENT stay, and are refused.
fn limit(q: &mut Query) {
    if q.fetch.as_ref().is_none_or(|f| f.with_ties || f.percent) {
        return;
    }
    let LimitClause::LimitOffset { limit: slot @ None, .. } =
        q.limit_clause.get_or_insert(LimitClause::LimitOffset { limit: None, offset: None, limit_by: vec![] })
    else {
        return;
    };
    let n = q.fetch.take().and_then(|f| f.quantity);
    *slot = Some(n.unwrap_or_else(|| Expr::value(Value::Number("1".to_owned(), false))));
}
