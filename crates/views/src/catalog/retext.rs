//! Names within a definition's text, when what they stand for gets another name: the text is written anew, its meaning stays.
//!
//! ```text
//!   t is renamed to u        FROM t                 ─▶  FROM u AS t
//!   t.a is renamed to b,     FROM t AS x            ─▶  FROM (SELECT "b" AS "a" FROM t) AS x        (only where it can matter)
//!   a column is added
//! ```
//! A relation keeps the name that the rest of the text knows it by, as PostgreSQL does with the alias it prints, so nothing else
//! of the text is touched. Names that WITH gives are not relations, in the places where WITH gives them. Cost: one parse of
//! the text. It does not know types, nor which relation an unqualified column belongs to: where a column's name is read, it is
//! taken to be the column.

use super::{Catalog, Name, ObjectId, PUBLIC, Relation};
use crate::{
    error::{Error, Result},
    syntax,
};
use datafusion::sql::sqlparser::ast::{self, VisitorMut};
use regauge_plan::walk::VisitMut;
use std::{collections::BTreeMap, ops::ControlFlow};

/// A name as a text writes it.
struct Written {
    schema: Option<String>,
    name: String,
    /// `@2`, with its sign.
    version: String,
}

fn written(name: &ast::ObjectName) -> Option<Written> {
    let mut parts = name.0.iter().map(|p| p.as_ident().map(fold)).collect::<Option<Vec<_>>>()?;
    let last = parts.pop()?;
    let (name, version) = match last.rsplit_once('@') {
        Some((name, version)) if version.parse::<u32>().is_ok() => (name.to_owned(), format!("@{version}")),
        _ => (last, String::new()),
    };
    Some(Written { schema: parts.pop(), name, version })
}

fn fold(i: &ast::Ident) -> String {
    if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() }
}

/// A relation's name in a text; `bare` leaves `public` out.
fn object_name(name: &Name, version: &str, bare: bool) -> ast::ObjectName {
    let schema = (!bare || name.schema != PUBLIC).then(|| ident(&name.schema));
    let last = ident(&format!("{}{version}", name.name));
    ast::ObjectName(schema.into_iter().chain([last]).map(ast::ObjectNamePart::Identifier).collect())
}

/// Words that the parser does not take for a name everywhere.
fn reserved(name: &str) -> bool {
    use datafusion::sql::sqlparser::keywords as k;
    let Ok(at) = k::ALL_KEYWORDS.binary_search(&name.to_uppercase().as_str()) else { return false };
    let Some(word) = k::ALL_KEYWORDS_INDEX.get(at) else { return true };
    [k::RESERVED_FOR_COLUMN_ALIAS, k::RESERVED_FOR_TABLE_ALIAS, k::RESERVED_FOR_IDENTIFIER].iter().any(|l| l.contains(word))
}

/// An identifier, in quotes if it needs them.
fn ident(name: &str) -> ast::Ident {
    let plain = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !reserved(name);
    if plain { ast::Ident::new(name) } else { syntax::ident(name) }
}

/// A name as a text writes it: in quotes if it needs them.
#[must_use]
pub fn identifier(name: &str) -> String {
    ident(name).to_string()
}

/// Visits the places where a query names relations, not what WITH gives.
struct Places<'a> {
    visible: Vec<String>,
    taken: Vec<(Option<ast::With>, usize)>,
    each: &'a mut dyn FnMut(&mut ast::TableFactor) -> Result<()>,
}

impl VisitorMut for Places<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        let before = self.visible.len();
        // Taken out while the body is visited: each part of WITH sees the parts before it, the body sees them all.
        let mut with = query.with.take();
        if let Some(with) = &mut with {
            if with.recursive {
                self.visible.extend(with.cte_tables.iter().map(|c| fold(&c.alias.name)));
            }
            for cte in &mut with.cte_tables {
                cte.query.visit(self)?;
                self.visible.push(fold(&cte.alias.name));
            }
        }
        self.taken.push((with, before));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Error> {
        if let Some((with, before)) = self.taken.pop() {
            query.with = with;
            self.visible.truncate(before);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut ast::TableFactor) -> ControlFlow<Error> {
        if let ast::TableFactor::Table { name, args: None, .. } = factor
            && let [only] = name.0.as_slice()
            && only.as_ident().is_some_and(|i| self.visible.contains(&fold(i)))
        {
            return ControlFlow::Continue(());
        }
        match (self.each)(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn places(query: &mut ast::Query, each: &mut dyn FnMut(&mut ast::TableFactor) -> Result<()>) -> Result<()> {
    match query.visit(&mut Places { visible: vec![], taken: vec![], each }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The relation that a window function's call is over, as a name: `TUMBLE(t, ..)`.
fn windowed(factor: &mut ast::TableFactor) -> Option<&mut ast::Expr> {
    let args = match factor {
        ast::TableFactor::Table { args: Some(args), .. } => &mut args.args,
        ast::TableFactor::Function { args, .. } => args,
        _ => return None,
    };
    match args.first_mut()? {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Some(e),
        _ => None,
    }
}

fn name_of(expr: &ast::Expr) -> Option<ast::ObjectName> {
    let parts = match expr {
        ast::Expr::Identifier(i) => vec![i.clone()],
        ast::Expr::CompoundIdentifier(parts) => parts.clone(),
        _ => return None,
    };
    Some(ast::ObjectName(parts.into_iter().map(ast::ObjectNamePart::Identifier).collect()))
}

fn expr_of(name: ast::ObjectName) -> Option<ast::Expr> {
    let mut parts: Vec<ast::Ident> = name.0.into_iter().filter_map(|p| p.as_ident().cloned()).collect();
    match parts.len() {
        0 => None,
        1 => parts.pop().map(ast::Expr::Identifier),
        _ => Some(ast::Expr::CompoundIdentifier(parts)),
    }
}

fn alias(name: &str) -> Option<ast::TableAlias> {
    Some(ast::TableAlias { explicit: true, name: ident(name), columns: vec![], at: None })
}

/// The query with every relation under its whole name: it means the same whatever the search path of who reads it.
pub fn qualified(query: &ast::Query, catalog: &Catalog, search_path: &[String]) -> Result<ast::Query> {
    let mut query = query.clone();
    places(&mut query, &mut |factor| {
        let whole = |name: &ast::ObjectName| {
            let w = written(name)?;
            let relation = catalog.resolve(w.schema.as_deref(), &w.name, search_path)?;
            Some(object_name(&relation.name, &w.version, false))
        };
        if let Some(e) = windowed(factor) {
            if let Some(found) = name_of(e).and_then(|n| whole(&n)).and_then(expr_of) {
                *e = found;
            }
        } else if let ast::TableFactor::Table { name, args: None, .. } = factor
            && let Some(found) = whole(name)
        {
            *name = found;
        }
        Ok(())
    })?;
    Ok(query)
}

/// A definition's text after relations got other names; none if it names none of them. `catalog` has the names before.
pub fn renamed(sql: &str, catalog: &Catalog, search_path: &[String], names: &BTreeMap<ObjectId, Name>) -> Result<Option<String>> {
    let mut query = syntax::query(sql)?;
    let bare = search_path == [PUBLIC.to_owned()];
    let mut any = false;
    places(&mut query, &mut |factor| {
        let find = |name: &ast::ObjectName| {
            let w = written(name)?;
            let relation = catalog.resolve(w.schema.as_deref(), &w.name, search_path)?;
            Some((object_name(names.get(&relation.id)?, &w.version, bare), w.name))
        };
        if let Some(e) = windowed(factor) {
            if let Some((to, _)) = name_of(e).and_then(|n| find(&n))
                && let Some(to) = expr_of(to)
            {
                any = true;
                *e = to;
            }
        } else if let ast::TableFactor::Table { name, alias: known_as, args: None, .. } = factor
            && let Some((to, before)) = find(name)
        {
            any = true;
            if to.0.last().and_then(|p| p.as_ident()).is_some_and(|last| fold(last) != before) && known_as.is_none() {
                *known_as = alias(&before);
            }
            *name = to;
        }
        Ok(())
    })?;
    Ok(any.then(|| query.to_string()))
}

/// A definition's text after a relation's columns changed: it reads these columns, under these names (name now, name in the
/// text). None if nothing of the text can notice.
pub fn pinned(
    sql: &str,
    catalog: &Catalog,
    search_path: &[String],
    relation: &Relation,
    columns: &[(String, String)],
    touched: &[&str],
) -> Result<Option<String>> {
    let mut query = syntax::query(sql)?;
    let reads = reads(&mut query, &|name| is_relation(catalog, search_path, relation, name));
    if !reads.all && !touched.iter().any(|column| reads.names.contains(&(*column).to_owned())) {
        return Ok(None);
    }
    let system: Vec<&str> =
        crate::read::relation::SYSTEM_COLUMNS.into_iter().filter(|c| reads.names.contains(&(*c).to_owned())).collect();
    // What the text does not read it does not hold.
    let named: Vec<&(String, String)> = columns.iter().filter(|(_, then)| reads.all || reads.names.contains(then)).collect();
    let read = if named.is_empty() { columns.iter().take(1).collect() } else { named };
    let bare = search_path == [PUBLIC.to_owned()];
    let mut any = false;
    places(&mut query, &mut |factor| {
        let is = |name: &ast::ObjectName| {
            let w = written(name)?;
            let found = catalog.resolve(w.schema.as_deref(), &w.name, search_path)?;
            (found.id == relation.id).then_some(w)
        };
        if let Some(e) = windowed(factor) {
            if name_of(e).and_then(|n| is(&n)).is_some() {
                return Err(Error::unsupported(format!("columns of \"{}\" are read through a window function", relation.name))
                    .hint("drop the view with the window, change the columns, and create it anew"));
            }
            return Ok(());
        }
        let ast::TableFactor::Table { name, alias: known_as, args: None, .. } = factor else { return Ok(()) };
        let Some(w) = is(name) else { return Ok(()) };
        let mut items: Vec<ast::SelectItem> = read
            .iter()
            .map(|(now, then)| match now == then {
                true => ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(ident(now))),
                false => ast::SelectItem::ExprWithAlias { expr: ast::Expr::Identifier(ident(now)), alias: ident(then) },
            })
            .collect();
        items.extend(system.iter().map(|c| ast::SelectItem::UnnamedExpr(ast::Expr::Identifier(ident(c)))));
        let from = object_name(&relation.name, &w.version, bare).to_string();
        let subquery = Box::new(syntax::select(items, &from, None)?);
        let alias = known_as.take().or_else(|| alias(&w.name));
        *factor = ast::TableFactor::Derived { lateral: false, subquery, alias, sample: None };
        any = true;
        Ok(())
    })?;
    Ok(any.then(|| query.to_string()))
}

/// What a text reads by name.
struct Reads {
    /// `*`, `t.*` or NATURAL: whatever columns there are.
    all: bool,
    /// Names of columns, wherever they come from.
    names: Vec<String>,
}

fn is_relation(catalog: &Catalog, search_path: &[String], relation: &Relation, name: &ast::ObjectName) -> bool {
    let found = written(name).and_then(|w| catalog.resolve(w.schema.as_deref(), &w.name, search_path).cloned());
    found.is_some_and(|f| f.id == relation.id)
}

/// `of`: whether a name is the relation in question; a `*` beside others does not read its columns.
fn reads(query: &mut ast::Query, of: &dyn Fn(&ast::ObjectName) -> bool) -> Reads {
    struct V<'a>(Reads, &'a dyn Fn(&ast::ObjectName) -> bool);
    impl V<'_> {
        fn direct(&self, factor: &ast::TableFactor) -> bool {
            match factor {
                ast::TableFactor::Table { name, args: None, .. } => (self.1)(name),
                ast::TableFactor::Derived { .. } => false,
                _ => true,
            }
        }
    }
    impl VisitorMut for V<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &mut ast::Expr) -> ControlFlow<()> {
            match e {
                ast::Expr::Identifier(i) => self.0.names.push(fold(i)),
                ast::Expr::CompoundIdentifier(parts) => self.0.names.extend(parts.last().map(fold)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
        fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<()> {
            let factors =
                select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
            let direct = factors.into_iter().any(|f| self.direct(f));
            for item in select.projection.iter().filter(|_| direct) {
                self.0.all |= matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..));
            }
            for join in select.from.iter().flat_map(|f| &f.joins) {
                if let Some(constraint) = constraint(&join.join_operator) {
                    match constraint {
                        ast::JoinConstraint::Natural => self.0.all |= direct,
                        ast::JoinConstraint::Using(names) => {
                            let last = |n: &ast::ObjectName| n.0.last().and_then(|p| p.as_ident()).map(fold);
                            self.0.names.extend(names.iter().filter_map(last));
                        }
                        _ => {}
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut v = V(Reads { all: false, names: vec![] }, of);
    let _ = query.visit(&mut v);
    v.0
}

fn constraint(op: &ast::JoinOperator) -> Option<&ast::JoinConstraint> {
    use ast::JoinOperator as J;
    match op {
        J::Join(c)
        | J::Inner(c)
        | J::Left(c)
        | J::LeftOuter(c)
        | J::Right(c)
        | J::RightOuter(c)
        | J::FullOuter(c)
        | J::Semi(c)
        | J::LeftSemi(c)
        | J::RightSemi(c)
        | J::Anti(c)
        | J::LeftAnti(c)
        | J::RightAnti(c) => Some(c),
        _ => None,
    }
}

/// Whether a text reads a column of this name, or all columns that the relation has.
pub fn mentions(sql: &str, catalog: &Catalog, search_path: &[String], relation: &Relation, column: &str) -> Result<bool> {
    let mut query = syntax::query(sql)?;
    let reads = reads(&mut query, &|name| is_relation(catalog, search_path, relation, name));
    Ok(reads.all || reads.names.iter().any(|n| n == column))
}

/// An expression over a relation's own columns, after one of them was renamed.
pub fn column_renamed(sql: &str, from: &str, to: &str) -> Result<String> {
    struct V<'a>(&'a str, &'a str);
    impl VisitorMut for V<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &mut ast::Expr) -> ControlFlow<()> {
            let last = match e {
                ast::Expr::Identifier(i) => Some(i),
                ast::Expr::CompoundIdentifier(parts) => parts.last_mut(),
                _ => None,
            };
            if let Some(i) = last
                && fold(i) == self.0
            {
                *i = ident(self.1);
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = syntax::expression(sql)?;
    let _ = expr.visit(&mut V(from, to));
    Ok(expr.to_string())
}

/// Whether an expression reads a column.
pub fn reads_column(sql: &str, column: &str) -> Result<bool> {
    let mut query = syntax::query(&format!("SELECT {sql}"))?;
    Ok(reads(&mut query, &|_| false).names.iter().any(|n| n == column))
}
