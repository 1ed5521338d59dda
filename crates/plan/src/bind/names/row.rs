//! A relation's row as a value: its name where no column has that name, and `t.*` within an expression.
//!
//! ```text
//!   t IS NULL, t IS DISTINCT FROM u, t = u    (t.a, t.b) IS NULL, ..: tests and comparisons go by the columns
//!   count(t)                                  count(t.*)
//!   (t).a, ROW(t.*, 1)                        t.a, (t.a, t.b, 1)
//!   t, t::text, md5(t::text), array_agg(t)    pg_row_text(t.a, t.b): anything else is of the row's text
//! ```
//! There is no type of rows, so a row that a query gives is a text, which is equal when the rows are; [`sorted`] orders it by its columns.
//! A row that an outer join has left empty is NULL, and so is one there whose columns are all NULL. The name of a function that gives one
//! column is that column.

use crate::walk::VisitMut;
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Distinct, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, JoinOperator, ObjectName, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value, VisitorMut,
};

use super::shape::{Relation, Shape};
use super::{Env, Result, bare, output};
use crate::bind::ast::column_name;
use crate::bind::spelling::{call, fields, not};
use crate::bind::{records, row_in, window};
use crate::error::PlanError;
use crate::functions::row_text;
use crate::parse::fold;

/// Rewrites the expressions of a SELECT whose FROM has this shape, and those of queries within that mean its relations.
pub(super) fn spell(s: &mut Select, shape: &Shape, env: &mut Env<'_>) {
    let (mut filled, mut single) = (HashSet::new(), HashSet::new());
    s.from.iter().for_each(|from| of_joins(from, &mut filled, &mut single));
    let mut rows = Rows { shape, env, filled, single, between: vec![] };
    for item in &mut s.projection {
        let (SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) = item else { continue };
        let name = column_name(e);
        let _ = VisitMut::visit(e, &mut rows);
        if let Some(text) = records::text(e) {
            *e = text;
        }
        if let SelectItem::UnnamedExpr(e) = item
            && column_name(e) != name
        {
            *item = SelectItem::ExprWithAlias { expr: e.clone(), alias: Ident::with_quote('"', name) };
        }
    }
    let _ = VisitMut::visit(&mut s.from, &mut rows);
    let _ = VisitMut::visit(&mut s.distinct, &mut rows);
    let _ = VisitMut::visit(&mut s.selection, &mut rows);
    // a key that an output has the name of means that
    let outputs: Vec<String> = s.projection.iter().filter_map(output).collect();
    if let GroupByExpr::Expressions(keys, _) = &mut s.group_by {
        for key in keys.iter_mut().filter(|key| !matches!(key, Expr::Identifier(i) if outputs.contains(&fold(i)))) {
            let _ = VisitMut::visit(key, &mut rows);
        }
    }
    let _ = VisitMut::visit(&mut s.having, &mut rows);
}

/// Keys of ORDER BY that are rows, as the rows' columns.
///
/// # Errors
/// 0A000 behind DISTINCT, which leaves their texts only.
pub(super) fn sorted(s: &Select, keys: &mut Vec<OrderByExpr>, shape: &Shape, env: &mut Env<'_>) -> Result<()> {
    let items = || {
        s.projection.iter().map(|item| match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => Some((output(item), e)),
            _ => None,
        })
    };
    let mut out = Vec::with_capacity(keys.len());
    for mut key in std::mem::take(keys) {
        let shown = match &key.expr {
            Expr::Identifier(i) => items().flatten().find(|(name, _)| name.as_ref() == Some(&fold(i))).map(|(_, e)| e),
            Expr::Value(v) => match &v.value {
                Value::Number(n, _) => {
                    let at = n.to_string().parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                    at.and_then(|at| items().nth(at)).flatten().map(|(_, e)| e)
                }
                _ => None,
            },
            _ => None,
        };
        let columns = match shown {
            Some(e) => texts(e),
            None => {
                let row = Rows { shape, env: &mut *env, filled: HashSet::new(), single: HashSet::new(), between: vec![] };
                row.of(&key.expr).map(|(columns, _)| columns).or_else(|| fields(&key.expr))
            }
        };
        let Some(columns) = columns else {
            out.push(key);
            continue;
        };
        if shown.is_some() && matches!(s.distinct, Some(Distinct::Distinct)) {
            return Err(PlanError::unsupported("ORDER BY a row behind DISTINCT is not offered", "select and order its columns"));
        }
        for column in columns {
            key.expr = column;
            out.push(key.clone());
        }
    }
    *keys = out;
    Ok(())
}

/// Refuses rows in the ORDER BY of UNION, INTERSECT and EXCEPT. PostgreSQL takes none that are written there; a column that is a row has
/// nothing but its text here, which is not in the order of rows.
///
/// # Errors
/// 0A000.
pub(super) fn unsorted(query: &Query) -> Result<()> {
    let mut body = query.body.as_ref();
    while let SetExpr::Query(inner) = body {
        body = inner.body.as_ref();
    }
    let (SetExpr::SetOperation { .. }, Some(OrderBy { kind: OrderByKind::Expressions(keys), .. })) = (body, &query.order_by)
    else {
        return Ok(());
    };
    for key in keys {
        if fields(&key.expr).is_some() {
            return Err(PlanError::unsupported(
                "invalid UNION/INTERSECT/EXCEPT ORDER BY clause",
                "name the columns one after the other: ORDER BY a, b",
            ));
        }
        if place(body, &key.expr).is_some_and(|at| gives_row(body, at)) {
            return Err(PlanError::unsupported(
                "ORDER BY a row behind UNION, INTERSECT or EXCEPT is not offered",
                "select and order its columns",
            ));
        }
    }
    Ok(())
}

/// Which output a key of ORDER BY names, by its number or by the name that the first query gives it.
fn place(body: &SetExpr, key: &Expr) -> Option<usize> {
    let name = match key {
        Expr::Nested(inner) => return place(body, inner),
        Expr::Identifier(name) => fold(name),
        Expr::Value(v) => match &v.value {
            Value::Number(n, _) => return n.to_string().parse::<usize>().ok()?.checked_sub(1),
            _ => return None,
        },
        _ => return None,
    };
    let mut first = body;
    loop {
        first = match first {
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            SetExpr::Query(inner) => inner.body.as_ref(),
            SetExpr::Select(s) => return s.projection.iter().position(|item| output(item).as_ref() == Some(&name)),
            _ => return None,
        };
    }
}

/// Whether a query among them gives a row in this output. What a `*` gives that is still there is not known.
fn gives_row(body: &SetExpr, at: usize) -> bool {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_ref(), right.as_ref()]),
            SetExpr::Query(inner) => todo.push(inner.body.as_ref()),
            SetExpr::Select(s) => {
                let is_row = |item: &SelectItem| match item {
                    SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => {
                        Some(texts(e).is_some() || fields(e).is_some())
                    }
                    _ => None,
                };
                // `None` where a star stands before it
                let items: Option<Vec<bool>> = s.projection.iter().take(at.saturating_add(1)).map(is_row).collect();
                if items.is_some_and(|items| items.get(at) == Some(&true)) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The columns of a row's text.
fn texts(e: &Expr) -> Option<Vec<Expr>> {
    match e {
        Expr::Case { else_result: Some(text), .. } => texts(text),
        Expr::Function(f) if matches!(f.name.0.as_slice(), [one] if one.as_ident().is_some_and(|i| i.value == row_text::NAME)) => {
            let FunctionArguments::List(list) = &f.args else { return None };
            let arg = |a: &FunctionArg| match a {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => Some(e.clone()),
                _ => None,
            };
            list.args.iter().map(arg).collect()
        }
        _ => None,
    }
}

/// The names of relations whose rows an outer join may fill up, and of functions that give one column.
fn of_joins(from: &TableWithJoins, filled: &mut HashSet<String>, single: &mut HashSet<String>) {
    let mut left = vec![];
    names(&from.relation, filled, single, &mut left);
    for join in &from.joins {
        let mut right = vec![];
        names(&join.relation, filled, single, &mut right);
        let (fills_left, fills_right) = match &join.join_operator {
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
            JoinOperator::FullOuter(_) => (true, true),
            _ => (false, false),
        };
        filled.extend(left.iter().filter(|_| fills_left).cloned());
        filled.extend(right.iter().filter(|_| fills_right).cloned());
        left.extend(right);
    }
}

fn names(factor: &TableFactor, filled: &mut HashSet<String>, single: &mut HashSet<String>, all: &mut Vec<String>) {
    let name = match factor {
        TableFactor::NestedJoin { table_with_joins, .. } => {
            of_joins(table_with_joins, filled, single);
            names(&table_with_joins.relation, filled, single, all);
            table_with_joins.joins.iter().for_each(|join| names(&join.relation, filled, single, all));
            return;
        }
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(&alias.name),
        TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => name.0.last().and_then(|part| part.as_ident()),
        _ => None,
    };
    let Some(name) = name.map(fold) else { return };
    if let TableFactor::UNNEST { with_ordinality: false, .. }
    | TableFactor::Table { args: Some(_), with_ordinality: false, .. }
    | TableFactor::Function { with_ordinality: false, .. } = factor
    {
        single.insert(name.clone());
    }
    all.push(name);
}

struct Rows<'s, 'e, 'a> {
    shape: &'s Shape,
    env: &'e mut Env<'a>,
    filled: HashSet<String>,
    single: HashSet<String>,
    /// The names of columns and of relations in each FROM clause between, `None` where they are not known.
    between: Vec<Option<HashSet<String>>>,
}

impl Rows<'_, '_, '_> {
    /// The columns of a row, and the relation's name.
    fn of(&self, e: &Expr) -> Option<(Vec<Expr>, String)> {
        match e {
            Expr::Nested(inner) => self.of(inner),
            Expr::Identifier(i) => {
                let name = fold(i);
                self.relation(&name).filter(|_| !self.shape.has(&name)).map(|r| (columns(r), name))
            }
            Expr::QualifiedWildcard(of, _) => {
                let name = fold(of.0.last()?.as_ident()?);
                self.relation(&name).map(|r| (columns(r), name))
            }
            _ => None,
        }
    }

    /// The one relation of this name.
    fn relation(&self, name: &str) -> Option<&Relation> {
        let mut named = self.shape.relations.iter().filter(|r| r.name == name);
        let first = named.next()?;
        let known = self.between.iter().all(|names| names.as_ref().is_some_and(|names| !names.contains(name)));
        (known && named.next().is_none() && !first.columns.is_empty()).then_some(first)
    }

    /// A row, or what stands for one: columns by which it is compared.
    fn compared(&self, e: &Expr) -> Option<Vec<Expr>> {
        self.of(e).map(|(columns, _)| columns).or_else(|| fields(e))
    }

    fn names(&self, s: &Select) -> Option<HashSet<String>> {
        let shape = bare::offered(s, self.env)?;
        Some(shape.columns.into_iter().map(|c| c.name).chain(shape.relations.into_iter().map(|r| r.name)).collect())
    }

    /// Two sides of a comparison, if both are rows and one of them is a relation's.
    fn pair(&self, left: &mut Expr, right: &mut Expr) {
        if self.of(left).is_none() && self.of(right).is_none() {
            return;
        }
        if let (Some(l), Some(r)) = (self.compared(left), self.compared(right)) {
            (*left, *right) = (tuple(l), tuple(r));
        }
    }

    /// A comparison of rows one of which is a relation's: a row is a value there, whose NULLs are equal and greater than anything else.
    fn record(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        let (l, r) = (self.of(left), self.of(right));
        if l.is_none() && r.is_none() {
            return None;
        }
        let empty = |of: &Option<(Vec<Expr>, String)>| of.as_ref().filter(|(_, name)| self.filled.contains(name)).cloned();
        let empty: Vec<Expr> = [empty(&l), empty(&r)].into_iter().flatten().map(|(columns, _)| tuple(columns)).collect();
        let (l, r) = (self.compared(left)?, self.compared(right)?);
        if l.len() != r.len() {
            return None;
        }
        let equal = || {
            let pairs = l.iter().zip(&r).map(|(l, r)| bracketed(Expr::IsNotDistinctFrom(boxed(l), boxed(r))));
            pairs.reduce(|all, pair| joined(all, BinaryOperator::And, pair))
        };
        let value = match op {
            Eq => equal()?,
            NotEq => not(equal()?),
            Lt => less(&l, &r)?,
            Gt => less(&r, &l)?,
            LtEq => not(less(&r, &l)?),
            GtEq => not(less(&l, &r)?),
            _ => return None,
        };
        Some(empty.into_iter().fold(bracketed(value), |value, row| unless_empty(row, value)))
    }

    fn function(&self, f: &mut Function) -> Option<Expr> {
        let [name] = f.name.0.as_slice() else { return None };
        let name = fold(name.as_ident()?);
        let FunctionArguments::List(list) = &mut f.args else { return None };
        match name.as_str() {
            "count" if list.duplicate_treatment != Some(ast::DuplicateTreatment::Distinct) => {
                if let [FunctionArg::Unnamed(arg)] = list.args.as_mut_slice()
                    && let FunctionArgExpr::Expr(e) = &*arg
                    && let Some((columns, of)) = self.of(e)
                    && !(columns.len() == 1 && self.single.contains(&of))
                {
                    *arg = FunctionArgExpr::QualifiedWildcard(ObjectName::from(vec![Ident::with_quote('"', of)]));
                }
                None
            }
            "row" => {
                let mut items = vec![];
                for arg in &list.args {
                    match arg {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => items.push(e.clone()),
                        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(of)) => {
                            let of = fold(of.0.last()?.as_ident()?);
                            items.extend(columns(self.relation(&of)?));
                        }
                        _ => return None,
                    }
                }
                (items.len() > 1).then_some(Expr::Tuple(items))
            }
            _ => None,
        }
    }
}

fn boxed(e: &Expr) -> Box<Expr> {
    Box::new(bracketed(e.clone()))
}

fn bracketed(e: Expr) -> Expr {
    Expr::Nested(Box::new(e))
}

fn joined(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    bracketed(Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) })
}

/// Whether a row comes before another: by the first columns that differ.
fn less(l: &[Expr], r: &[Expr]) -> Option<Expr> {
    l.iter().zip(r).rev().fold(None, |rest, (l, r)| {
        let before = Expr::BinaryOp { left: boxed(l), op: BinaryOperator::Lt, right: boxed(r) };
        let beside_null = joined(Expr::IsNotNull(boxed(l)), BinaryOperator::And, Expr::IsNull(boxed(r)));
        let first = call("coalesce", vec![before, beside_null]);
        Some(match rest {
            None => first,
            Some(rest) => {
                let same = bracketed(Expr::IsNotDistinctFrom(boxed(l), boxed(r)));
                joined(first, BinaryOperator::Or, joined(same, BinaryOperator::And, rest))
            }
        })
    })
}

fn is_window(factor: &TableFactor) -> bool {
    matches!(factor, TableFactor::Table { name, args: Some(_), .. } if window::Function::of(&name.to_string()).is_some())
}

fn columns(of: &Relation) -> Vec<Expr> {
    of.columns.iter().map(|column| of.column(column)).collect()
}

fn tuple(mut columns: Vec<Expr>) -> Expr {
    if columns.len() == 1 { Expr::Nested(Box::new(columns.swap_remove(0))) } else { Expr::Tuple(columns) }
}

impl VisitorMut for Rows<'_, '_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
        self.env.open();
        self.env.know_all(q.with.as_ref());
        let names = if let ast::SetExpr::Select(s) = q.body.as_ref() { self.names(s) } else { Some(HashSet::new()) };
        self.between.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.env.close();
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, s: &mut Select) -> ControlFlow<()> {
        let names = self.names(s);
        self.between.push(names);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        self.between.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // there a name is a relation
        if is_window(factor) {
            self.between.push(None);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if is_window(factor) {
            self.between.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
        match e {
            Expr::IsNull(row) | Expr::IsNotNull(row) => {
                if let Some((columns, _)) = self.of(row) {
                    **row = tuple(columns);
                }
            }
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => self.pair(left, right),
            Expr::BinaryOp { left, op: op @ (Eq | NotEq | Lt | LtEq | Gt | GtEq), right } => {
                let op = op.clone();
                if let Some(compared) = self.record(left, &op, right) {
                    *e = compared;
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                let mut of = root.as_ref();
                while let Expr::Nested(inner) = of {
                    of = inner.as_ref();
                }
                if let (Expr::Identifier(of), true, Some(AccessExpr::Dot(Expr::Identifier(field)))) =
                    (of, self.of(root).is_some(), access_chain.first())
                {
                    let column = Expr::CompoundIdentifier(vec![of.clone(), field.clone()]);
                    if access_chain.len() == 1 {
                        *e = column;
                    } else {
                        **root = column;
                        access_chain.remove(0);
                    }
                }
            }
            Expr::Function(f) => {
                if let Some(row) = self.function(f) {
                    *e = row;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<()> {
        if !matches!(e, Expr::Identifier(_) | Expr::QualifiedWildcard(..)) {
            if let Some(spelt) = row_in::compared(e) {
                *e = spelt;
            }
            return ControlFlow::Continue(());
        }
        let Some((mut columns, of)) = self.of(e) else { return ControlFlow::Continue(()) };
        if columns.len() == 1 && self.single.contains(&of) {
            *e = columns.swap_remove(0);
            return ControlFlow::Continue(());
        }
        let text = call(row_text::NAME, columns.clone());
        *e = if self.filled.contains(&of) { unless_empty(tuple(columns), text) } else { text };
        ControlFlow::Continue(())
    }
}

/// `CASE WHEN row IS NULL THEN NULL ELSE value END`
pub(in crate::bind) fn unless_empty(row: Expr, value: Expr) -> Expr {
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![ast::CaseWhen { condition: Expr::IsNull(Box::new(row)), result: Expr::value(Value::Null) }],
        else_result: Some(Box::new(value)),
    }
}
