//! Before binding: columns get the names PostgreSQL would give them, and INTERSECT and EXCEPT become a relation of ours
//! (DataFusion plans them as semi and anti joins, which is wrong for the ALL forms' multiplicities).

use crate::walk::VisitMut;
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Expr, Ident, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor, VisitorMut,
};

use super::{
    asof, calls, clauses, frames, grouping, json, names, recursive, row_in, rows, setop, shadow, sort, spelling, ties, truth,
    values,
};
use crate::error::PlanError;
use crate::parse::fold;

/// Stands between a column's name and what makes it unique inside one query; never shown.
pub(super) const MARK: char = '\u{1}';

/// The name as readers see it.
pub(crate) fn shown_name(name: &str) -> &str {
    name.split(MARK).next().unwrap_or(name)
}

/// Names that may repeat, each with a mark that [`shown_names`] takes off where another has it already.
pub(crate) fn told_apart(names: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mark = |(at, name): (usize, String)| if seen.insert(name.clone()) { name } else { format!("{name}{MARK}{at}") };
    names.into_iter().enumerate().map(mark).collect()
}

/// The names of some columns as readers see them; they may repeat. DataFusion tells the columns of a subquery apart by `:1` and so
/// on behind a name that another has.
pub(crate) fn shown_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: HashSet<&str> = HashSet::new();
    names
        .map(|name| {
            seen.insert(name);
            let numbered = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
            let name =
                name.rsplit_once(':').filter(|(base, n)| numbered(n) && seen.contains(base)).map_or(name, |(base, _)| base);
            shown_name(name).to_owned()
        })
        .collect()
}

/// Rewrites a query and all queries inside it. `columns`: see [`names`].
pub(crate) fn prepare(query: &mut Query, columns: names::Columns<'_>) -> Result<(), PlanError> {
    crate::parse::relations(query, &mut |_| 1)?;
    shadow::rename(query);
    json::aliases(query)?;
    match VisitMut::visit(query, &mut Preparer { env: names::Env::new(columns), withs: vec![], depth: 0, arms: vec![] }) {
        ControlFlow::Break(e) => Err(e),
        ControlFlow::Continue(()) => {
            sort::part_names(query);
            spelling::spell(query)
        }
    }
}

struct Preparer<'a> {
    env: names::Env<'a>,
    /// Of the queries around: a query of WITH is done before what may name it.
    withs: Vec<Option<ast::With>>,
    /// How many queries are around.
    depth: usize,
    /// Of the queries around, how many expressions are around in each that evaluate arms.
    arms: Vec<usize>,
}

/// Columns that an alias gives one name are told apart by a mark.
fn columns_apart(alias: &mut ast::TableAlias) {
    let names = told_apart(alias.columns.iter().map(|c| fold(&c.name)).collect());
    for (column, name) in alias.columns.iter_mut().zip(names) {
        if name.contains(MARK) {
            column.name = Ident::with_quote('"', name);
        }
    }
}

/// What gives a value from one of its arms: a function that gives rows has no place in it.
fn has_arms(e: &Expr) -> Option<&'static str> {
    match e {
        Expr::Case { .. } => Some("CASE"),
        Expr::Function(f) if super::series::function_name(&f.name).as_deref() == Some("coalesce") => Some("COALESCE"),
        _ => None,
    }
}

impl Preparer<'_> {
    fn with(&mut self, with: &mut ast::With) -> ControlFlow<PlanError> {
        let mut names = HashSet::new();
        if let Some(twice) = with.cte_tables.iter().map(|cte| fold(&cte.alias.name)).find(|name| !names.insert(name.clone())) {
            let message = format!("WITH query name \"{twice}\" specified more than once");
            return ControlFlow::Break(PlanError::invalid("42712", message));
        }
        for cte in &mut with.cte_tables {
            if with.recursive {
                self.env.know(cte);
            }
            VisitMut::visit(&mut cte.query, self)?;
            columns_apart(&mut cte.alias);
            names::complete(cte);
            self.env.know(cte);
        }
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Preparer<'_> {
    type Break = PlanError;

    fn pre_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
        self.depth += 1;
        self.arms.push(0);
        if let Err(e) = clauses::check(q) {
            return ControlFlow::Break(e);
        }
        ties::mark(q);
        truth::of_body(&mut q.body);
        if let Err(e) = row_in::conjuncts(q).and_then(|()| grouping::name_sets(q)) {
            return ControlFlow::Break(e);
        }
        self.env.open();
        let mut with = q.with.take();
        if let Some(with) = &mut with {
            self.with(with)?;
        }
        self.withs.push(with);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<PlanError> {
        if let TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } = factor
        {
            columns_apart(alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        truth::of_expr(e);
        let within = self.arms.last().is_some_and(|n| *n > 0);
        if let (Some(_), Some(arms)) = (has_arms(e), self.arms.last_mut()) {
            *arms += 1;
        }
        match e {
            Expr::Function(f) if within && super::series::is_set_returning(&f.name) => {
                let error = PlanError::unsupported(
                    "set-returning functions are not allowed in CASE and COALESCE",
                    "put the function into FROM: FROM t, LATERAL generate_series(..) AS s",
                );
                ControlFlow::Break(error)
            }
            Expr::Function(f) => calls::check(f).map_or_else(ControlFlow::Break, ControlFlow::Continue),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, e: &mut Expr) -> ControlFlow<PlanError> {
        if let (Some(_), Some(arms)) = (has_arms(e), self.arms.last_mut()) {
            *arms = arms.saturating_sub(1);
        }
        row_in::anywhere(e).map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }

    fn post_visit_query(&mut self, q: &mut Query) -> ControlFlow<PlanError> {
        q.with = self.withs.pop().flatten();
        let mut done = prepare_one(q, &mut self.env);
        self.env.close();
        self.arms.pop();
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            done = done.and_then(|()| sort::part_inner_names(q));
        }
        done.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

/// Rewrites a query whose inner queries have been.
fn prepare_one(q: &mut Query, env: &mut names::Env<'_>) -> Result<(), PlanError> {
    if !q.locks.is_empty() {
        return Err(PlanError::unsupported(
            "FOR UPDATE and FOR SHARE are not offered",
            "transactions are snapshot isolation: the first to commit wins, the other retries",
        ));
    }
    values::refuse(&q.body)?;
    asof::mark(q)?;
    names::resolve(q, env, prepare_one)?;
    name_columns(&mut q.body);
    rows::spell(&mut q.body);
    recursive::check(q)?;
    frames::place(q)?;
    set_operations(&mut q.body)
}

/// Gives the columns of a query and of all queries inside it PostgreSQL's names.
pub(crate) fn name_all(query: &mut Query) {
    struct V;
    impl VisitorMut for V {
        type Break = ();
        fn post_visit_query(&mut self, q: &mut Query) -> ControlFlow<()> {
            name_columns(&mut q.body);
            ControlFlow::Continue(())
        }
    }
    let _ = VisitMut::visit(query, &mut V);
}

fn name_columns(body: &mut SetExpr) {
    let mut todo = vec![body];
    while let Some(body) = todo.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                todo.push(left);
                todo.push(right);
            }
            SetExpr::Select(s) => {
                let grouped = match &s.group_by {
                    ast::GroupByExpr::Expressions(e, _) => e.iter().filter_map(identifier).collect(),
                    ast::GroupByExpr::All(_) => HashSet::new(),
                };
                name_items(&mut s.projection, &grouped);
            }
            _ => {}
        }
    }
}

fn identifier(e: &Expr) -> Option<String> {
    if let Expr::Identifier(i) = e { Some(fold(i)) } else { None }
}

/// For a `*`, the relation whose columns it stands for; within, `None` for those of all.
fn star(item: &SelectItem) -> Option<Option<String>> {
    match item {
        SelectItem::Wildcard(_) => Some(None),
        SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => match name.0.as_slice() {
            [of] => Some(of.as_ident().map(fold)),
            _ => Some(None),
        },
        SelectItem::QualifiedWildcard(..) => Some(None),
        _ => None,
    }
}

/// Unnamed expressions get PostgreSQL's name; a name already taken gets a mark, which DataFusion needs and nobody sees.
/// An expression whose name a GROUP BY uses stays as it is: there the input's column is meant.
fn name_items(items: &mut [SelectItem], grouped: &HashSet<String>) {
    let mut taken: HashSet<String> = HashSet::new();
    // What a * stands for is not known here; it may hold any name, but that of another relation's column.
    let stars: Vec<Option<String>> = items.iter().filter_map(star).collect();
    let clashes = |e: &Expr| match e {
        Expr::CompoundIdentifier(parts) if parts.len() == 2 => {
            stars.iter().any(|of| of.as_ref().is_none_or(|of| *of == fold(&parts[0])))
        }
        _ => !stars.is_empty(),
    };
    let written = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(e) => Some((column_name(e), matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)))),
        SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), true)),
        _ => None,
    };
    let all: HashSet<String> = items.iter().filter_map(written).map(|(name, _)| name).collect();
    for (i, item) in items.iter_mut().enumerate() {
        let Some((name, plain)) = written(item) else { continue };
        // One with a mark comes out of a query within; another may have given the same.
        let clashes = !name.contains(MARK) && matches!(item, SelectItem::UnnamedExpr(e) if plain && clashes(e));
        let mut unique = name.clone();
        if !taken.insert(name.clone()) || clashes {
            unique = format!("{}{MARK}{i}", shown_name(&name));
            while all.contains(&unique) || !taken.insert(unique.clone()) {
                unique.push('_');
            }
        }
        if unique == name && (plain || grouped.contains(&name)) {
            continue;
        }
        let expr = match item {
            SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => e.clone(),
            _ => continue,
        };
        *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', unique) };
    }
}

/// PostgreSQL's name for a column without AS (its FigureColname).
pub(crate) fn column_name(e: &Expr) -> String {
    name_of(e).unwrap_or_else(|| "?column?".into())
}

fn name_of(e: &Expr) -> Option<String> {
    let fixed = |s: &str| Some(s.to_owned());
    match e {
        Expr::Identifier(i) => Some(fold(i)),
        Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        Expr::Nested(e) | Expr::Collate { expr: e, .. } => name_of(e),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = |a: &ast::AccessExpr| match a {
                ast::AccessExpr::Dot(Expr::Identifier(field)) => Some(fold(field)),
                _ => None,
            };
            access_chain.iter().rev().find_map(field).or_else(|| name_of(root))
        }
        Expr::Function(f) => f.name.0.last().and_then(|p| p.as_ident()).map(fold),
        Expr::Cast { expr, data_type, .. } => firm_name_of(expr).or_else(|| Some(type_name(data_type))),
        Expr::TypedString(t) => Some(type_name(&t.data_type)),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(firm_name_of).or_else(|| fixed("case")),
        Expr::Exists { negated: false, .. } => fixed("exists"),
        Expr::Extract { .. } => fixed("extract"),
        Expr::Substring { .. } => fixed("substring"),
        Expr::Trim { .. } => fixed("btrim"),
        Expr::Position { .. } => fixed("position"),
        Expr::Overlay { .. } => fixed("overlay"),
        Expr::Ceil { .. } => fixed("ceil"),
        Expr::Floor { .. } => fixed("floor"),
        Expr::IsNormalized { negated: false, .. } => fixed("is_normalized"),
        Expr::AtTimeZone { .. } => fixed("timezone"),
        Expr::BinaryOp { op: ast::BinaryOperator::Overlaps, .. } => fixed("overlaps"),
        Expr::Interval(_) => fixed("interval"),
        Expr::Array(_) => fixed("array"),
        Expr::Subquery(q) => first_name_of(&q.body),
        _ => None,
    }
}

/// The name of a query's first column.
fn first_name_of(body: &SetExpr) -> Option<String> {
    match body {
        SetExpr::Select(s) => match s.projection.first()? {
            SelectItem::UnnamedExpr(e) => name_of(e),
            SelectItem::ExprWithAlias { alias, .. } => Some(shown_name(&fold(alias)).to_owned()),
            SelectItem::Wildcard(_) => match &s.from.first()?.relation {
                TableFactor::Derived { subquery, .. } => first_name_of(&subquery.body),
                _ => None,
            },
            _ => None,
        },
        SetExpr::SetOperation { left, .. } => first_name_of(left),
        SetExpr::Query(q) => first_name_of(&q.body),
        SetExpr::Values(_) => Some("column1".to_owned()),
        _ => None,
    }
}

/// The name, unless it is only a type's or a keyword's, which a cast or CASE around it puts its own in the place of.
fn firm_name_of(e: &Expr) -> Option<String> {
    match e {
        Expr::Nested(e) | Expr::Collate { expr: e, .. } | Expr::Cast { expr: e, .. } => firm_name_of(e),
        Expr::Case { else_result, .. } => else_result.as_deref().and_then(firm_name_of),
        Expr::TypedString(_) | Expr::Interval(_) | Expr::Value(_) => None,
        e => name_of(e),
    }
}

fn type_name(ty: &ast::DataType) -> String {
    use ast::DataType as T;
    match ty {
        T::Boolean | T::Bool => "bool".into(),
        T::SmallInt(_) | T::Int2(_) => "int2".into(),
        T::Int(_) | T::Integer(_) | T::Int4(_) => "int4".into(),
        T::BigInt(_) | T::Int8(_) => "int8".into(),
        T::Real | T::Float4 => "float4".into(),
        T::Double(_) | T::DoublePrecision | T::Float8 => "float8".into(),
        T::Numeric(_) | T::Decimal(_) | T::Dec(_) => "numeric".into(),
        T::Varchar(_) | T::CharacterVarying(_) => "varchar".into(),
        T::Timestamp(_, ast::TimezoneInfo::Tz | ast::TimezoneInfo::WithTimeZone) => "timestamptz".into(),
        T::Timestamp(..) => "timestamp".into(),
        T::Time(..) => "time".into(),
        T::Interval { .. } => "interval".into(),
        T::Array(
            ast::ArrayElemTypeDef::SquareBracket(of, _)
            | ast::ArrayElemTypeDef::AngleBracket(of)
            | ast::ArrayElemTypeDef::Parenthesis(of),
        ) => type_name(of),
        other => other.to_string().to_lowercase(),
    }
}

/// Replaces `A INTERSECT|EXCEPT [ALL] B` inside a body by `SELECT * FROM <our relation>(A, B)`.
fn set_operations(body: &mut SetExpr) -> Result<(), PlanError> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    set_operations(left)?;
    set_operations(right)?;
    if *op == SetOperator::Union {
        return Ok(());
    }
    let all = match set_quantifier {
        SetQuantifier::All => true,
        SetQuantifier::None | SetQuantifier::Distinct => false,
        _ => return Err(PlanError::unsupported("BY NAME is not offered", "list the columns in the same order")),
    };
    let name = match op {
        SetOperator::Intersect => setop::INTERSECT,
        _ => setop::EXCEPT,
    };
    let no_values = ast::Values { explicit_row: false, value_keyword: false, rows: vec![] };
    let take = |side: &mut Box<SetExpr>| std::mem::replace(side.as_mut(), SetExpr::Values(no_values.clone()));
    let sides = [take(left), take(right)];
    *body = setop_select(name, all, sides)?;
    Ok(())
}

fn setop_select(name: &str, all: bool, sides: [SetExpr; 2]) -> Result<SetExpr, PlanError> {
    let text = format!("SELECT * FROM {name}{}((SELECT 1), (SELECT 1))", if all { "_all" } else { "" });
    let mut query = crate::parse::parse_query(&text, &crate::parse::ParseLimits::default())?;
    let odd = || PlanError::internal("a set operation could not be rewritten");
    let SetExpr::Select(s) = query.body.as_mut() else { return Err(odd()) };
    let Some(TableFactor::Table { args: Some(args), .. }) = s.from.first_mut().map(|f| &mut f.relation) else {
        return Err(odd());
    };
    for (arg, side) in args.args.iter_mut().zip(sides) {
        let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(Expr::Subquery(q))) = arg else { return Err(odd()) };
        match side {
            SetExpr::Query(inner) => *q = inner,
            side => *q.body = side,
        }
    }
    Ok(*query.body)
}
