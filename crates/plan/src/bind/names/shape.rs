//! The columns that a FROM clause offers: by relation, and as `*` gives them.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use super::Env;
use crate::bind::ast::column_name;
use crate::bind::{series, setop, window};
use crate::parse::fold;

/// A column as `*` gives it.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub name: String,
    /// What it is, qualified.
    pub expr: Expr,
    /// A join by USING or NATURAL made one of two.
    pub is_merged: bool,
}

/// What can stand before a column's name.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub name: String,
    qualifier: Vec<Ident>,
    pub columns: Vec<String>,
}

/// What a FROM clause, or a part of it, offers.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub columns: Vec<Column>,
    pub relations: Vec<Relation>,
}

impl Column {
    /// As an item of a select list.
    pub fn item(&self) -> SelectItem {
        if column_name(&self.expr) == self.name && matches!(self.expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
            return SelectItem::UnnamedExpr(self.expr.clone());
        }
        SelectItem::ExprWithAlias { expr: self.expr.clone(), alias: Ident::with_quote('"', &self.name) }
    }
}

impl Relation {
    /// All parts of its name, as it was written.
    pub fn qualifier(&self) -> &[Ident] {
        &self.qualifier
    }

    /// What its name was written behind.
    pub fn schema(&self) -> Option<&Ident> {
        self.qualifier.len().checked_sub(2).and_then(|at| self.qualifier.get(at))
    }

    pub fn column(&self, name: &str) -> Expr {
        let mut parts = self.qualifier.clone();
        parts.push(Ident::with_quote('"', name));
        Expr::CompoundIdentifier(parts)
    }
}

impl Shape {
    fn of_relation(qualifier: Vec<Ident>, columns: Vec<String>) -> Option<Shape> {
        let relation = Relation { name: fold(qualifier.last()?), qualifier, columns };
        let column = |name: &String| Column { name: name.clone(), expr: relation.column(name), is_merged: false };
        Some(Shape { columns: relation.columns.iter().map(column).collect(), relations: vec![relation] })
    }

    /// Both, the left one's columns first.
    pub fn beside(mut self, right: Shape) -> Shape {
        self.columns.extend(right.columns);
        self.relations.extend(right.relations);
        self
    }

    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c.name == column)
    }

    /// Whether there is something that bare names must be replaced by.
    pub fn merges(&self) -> bool {
        self.columns.iter().any(|c| c.is_merged)
    }

    /// The merged column that a bare name means: no other has it.
    pub fn merged(&self, name: &str) -> Option<&Column> {
        let mut named = self.columns.iter().filter(|c| c.name == name);
        let first = named.next().filter(|c| c.is_merged)?;
        named.next().is_none().then_some(first)
    }
}

/// Of what stands between the commas of FROM; where columns are merged they stand twice.
pub(super) fn of_joins(from: &TableWithJoins, env: &Env<'_>) -> Option<Shape> {
    let first = of_factor(&from.relation, env)?;
    from.joins.iter().try_fold(first, |all, join| Some(all.beside(of_factor(&join.relation, env)?)))
}

pub(super) fn of_factor(factor: &TableFactor, env: &Env<'_>) -> Option<Shape> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let columns = under_alias(env.relation(name)?, alias.as_ref());
            Shape::of_relation(qualifier(name, alias.as_ref())?, columns)
        }
        TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
            if series::is_set_returning(name) {
                return of_function(&series::function_name(name)?, args.args.len(), alias.as_ref(), *with_ordinality);
            }
            let (of, mut columns) = of_argument(args.args.first()?, env)?;
            if is_set_operation(name) {
                return None;
            }
            window::Function::of(&name.to_string())?;
            columns.extend(window::BOUNDS.map(str::to_owned));
            let columns = under_alias(columns, alias.as_ref());
            Shape::of_relation(alias.as_ref().map_or(of, |a| Some(vec![a.name.clone()]))?, columns)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } if series::is_set_returning(name) => {
            of_function(&series::function_name(name)?, args.len(), alias.as_ref(), *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            of_function("unnest", array_exprs.len(), alias.as_ref(), *with_ordinality)
        }
        TableFactor::Derived { subquery, alias: Some(alias), .. } => {
            Shape::of_relation(vec![alias.name.clone()], under_alias(of_query(subquery)?, Some(alias)))
        }
        TableFactor::NestedJoin { table_with_joins, alias: None } => of_joins(table_with_joins, env),
        _ => None,
    }
}

fn qualifier(name: &ObjectName, alias: Option<&TableAlias>) -> Option<Vec<Ident>> {
    match alias {
        Some(alias) => Some(vec![alias.name.clone()]),
        None => name.0.iter().map(|p| p.as_ident().cloned()).collect(),
    }
}

fn of_function(name: &str, n_args: usize, alias: Option<&TableAlias>, numbered: bool) -> Option<Shape> {
    let columns = under_alias(series::columns(name, n_args, alias, numbered), alias);
    Shape::of_relation(vec![alias.map_or_else(|| Ident::with_quote('"', name), |a| a.name.clone())], columns)
}

/// A relation as an argument: its name, if it has one, and its columns.
fn of_argument(arg: &FunctionArg, env: &Env<'_>) -> Option<(Option<Vec<Ident>>, Vec<String>)> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) = arg else { return None };
    let parts = match e {
        Expr::Identifier(i) => vec![i.clone()],
        Expr::CompoundIdentifier(parts) => parts.clone(),
        Expr::Subquery(q) => return Some((None, of_query(q)?)),
        _ => return None,
    };
    let columns = env.relation(&ObjectName::from(parts.clone()))?;
    Some((Some(parts), columns))
}

fn is_set_operation(name: &ObjectName) -> bool {
    let [one] = name.0.as_slice() else { return false };
    one.as_ident().is_some_and(|i| i.value.starts_with(setop::INTERSECT) || i.value.starts_with(setop::EXCEPT))
}

/// The first columns have the names that an alias gives them.
pub(super) fn under_alias(mut columns: Vec<String>, alias: Option<&TableAlias>) -> Vec<String> {
    for (name, given) in columns.iter_mut().zip(alias.into_iter().flat_map(|a| &a.columns)) {
        *name = fold(&given.name);
    }
    columns
}

/// The columns of a query that is rewritten already.
pub(super) fn of_query(query: &Query) -> Option<Vec<String>> {
    of_body(&query.body)
}

fn of_body(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(s) => match (s.projection.as_slice(), s.from.as_slice()) {
            ([SelectItem::Wildcard(_)], [from]) => match &from.relation {
                TableFactor::Table { name, args: Some(args), .. } if is_set_operation(name) => match args.args.first()? {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Subquery(q))) => of_query(q),
                    _ => None,
                },
                _ => None,
            },
            (items, _) => items.iter().map(named).collect(),
        },
        SetExpr::SetOperation { left, .. } => of_body(left),
        SetExpr::Query(q) => of_query(q),
        SetExpr::Values(v) => Some((1..=v.rows.first()?.content.len()).map(|i| format!("column{i}")).collect()),
        _ => None,
    }
}

fn named(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(i)) => Some(fold(i)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// The columns that a query will have: of one that names itself, and is not rewritten yet.
pub(super) fn expected(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(s) => s
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(e) => Some(column_name(e)),
                item => named(item),
            })
            .collect(),
        SetExpr::SetOperation { left, .. } => expected(left),
        SetExpr::Query(q) => expected(&q.body),
        body => of_body(body),
    }
}
