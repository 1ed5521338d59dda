//! `CYCLE a, b SET mark [TO yes DEFAULT no] USING path` behind a query of WITH RECURSIVE: the standard's way to walk a graph that has cycles.
//!
//! ```text
//!   r(a, n) AS (SELECT x, 1 FROM t UNION ALL SELECT e.y, n + 1 FROM e JOIN r ON ..) CYCLE a SET mark USING path
//!     ─▶  r(a, n, mark, path) AS (
//!           SELECT x, 1, false, ARRAY[row(x)] FROM t UNION ALL
//!           SELECT e.y, n + 1, row(e.y) = ANY (r.path), r.path || row(e.y) FROM e JOIN r ON .. WHERE NOT r.mark)
//! ```
//! as SQL:2016 and PostgreSQL have it, but that a row of the path is its text, as rows are everywhere here. sqlparser does not read the
//! clause: the tokens become one more query of WITH, with a name that nothing else has, and [`apply`] takes it away again.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Cte, Expr, Ident, Query, Select, SelectItem, SetExpr, SetOperator, TableAliasColumnDef, TableFactor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::{Result, fold, parse_expr};
use crate::error::PlanError;
use crate::functions::row_text;

/// The name of the query that stands for the clause.
const MARK: &str = "\u{1}cycle";

fn is(token: Option<&Token>, word: &str) -> bool {
    matches!(token, Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// Puts queries in the place of clauses.
///
/// # Errors
/// 0A000 for SEARCH.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    if !tokens.iter().any(|t| is(Some(&t.token), "cycle") || is(Some(&t.token), "search")) {
        return Ok(tokens);
    }
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).collect();
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut i = 0;
    while let Some(t) = tokens.get(i) {
        let at = |i: usize| tokens.get(i).map(|t| &t.token);
        let behind = i > 0 && at(i - 1) == Some(&Token::RParen);
        let first_by = (is(at(i + 1), "depth") || is(at(i + 1), "breadth")) && is(at(i + 2), "first") && is(at(i + 3), "by");
        if behind && is(Some(&t.token), "search") && first_by {
            let hint = "count the depth in a column of its own and ORDER BY that; for depth first, ORDER BY an array of the keys on the way";
            return Err(PlanError::unsupported("SEARCH in WITH RECURSIVE is not offered", hint));
        }
        if behind
            && is(Some(&t.token), "cycle")
            && let Some((query, end)) = clause(&tokens, i + 1)
        {
            out.extend(query.into_iter().map(|token| TokenWithSpan { token, span: t.span }));
            i = end;
            continue;
        }
        out.push(t.clone());
        i += 1;
    }
    Ok(out)
}

/// The clause that begins here as `, mark AS (SELECT 'a', 'b', yes, no, 'mark', 'path')`, and where it ends.
fn clause(tokens: &[TokenWithSpan], from: usize) -> Option<(Vec<Token>, usize)> {
    let at = |i: usize| tokens.get(i).map(|t| &t.token);
    let name = |i: usize| match at(i) {
        Some(Token::Word(w)) if w.quote_style.is_some() => Some(Token::SingleQuotedString(w.value.clone())),
        Some(Token::Word(w)) => Some(Token::SingleQuotedString(w.value.to_lowercase())),
        _ => None,
    };
    let mut items = vec![name(from)?];
    let mut i = from + 1;
    while at(i) == Some(&Token::Comma) {
        items.extend([Token::Comma, name(i + 1)?]);
        i += 2;
    }
    if !is(at(i), "set") {
        return None;
    }
    let mark = name(i + 1)?;
    i += 2;
    let mut values = [Token::make_keyword("TRUE"), Token::make_keyword("FALSE")];
    if is(at(i), "to") && is(at(i + 2), "default") {
        values = [at(i + 1)?.clone(), at(i + 3)?.clone()];
        i += 4;
    }
    if !is(at(i), "using") {
        return None;
    }
    let path = name(i + 1)?;
    let query = Word { value: MARK.into(), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    let [yes, no] = values;
    let mut out = vec![Token::Comma, Token::Word(query), Token::make_keyword("AS"), Token::LParen, Token::make_keyword("SELECT")];
    out.extend(items);
    out.extend([Token::Comma, yes, Token::Comma, no, Token::Comma, mark, Token::Comma, path, Token::RParen]);
    Some((out, i + 2))
}

/// Applies the clauses of a query's WITH.
///
/// # Errors
/// As PostgreSQL for columns that there are not; 0A000 where the recursion selects `*` or has clauses behind its WHERE.
pub(super) fn apply(query: &mut Query) -> Result<()> {
    let Some(with) = &mut query.with else { return Ok(()) };
    let is_mark = |cte: &Cte| cte.alias.name.value == MARK;
    if !with.cte_tables.iter().any(is_mark) {
        return Ok(());
    }
    if !with.recursive {
        return Err(PlanError::syntax("WITH query is not recursive"));
    }
    let mut done: Vec<Cte> = vec![];
    for cte in std::mem::take(&mut with.cte_tables) {
        if !is_mark(&cte) {
            done.push(cte);
            continue;
        }
        let odd = || PlanError::syntax("CYCLE stands behind a query of WITH RECURSIVE");
        let SetExpr::Select(s) = cte.query.body.as_ref() else { return Err(odd()) };
        let items: Vec<&Expr> =
            s.projection.iter().filter_map(|item| if let SelectItem::UnnamedExpr(e) = item { Some(e) } else { None }).collect();
        let [columns @ .., yes, no, mark, path] = items.as_slice() else { return Err(odd()) };
        let text = |e: &Expr| match e {
            Expr::Value(v) => v.value.clone().into_string().ok_or_else(odd),
            _ => Err(odd()),
        };
        let columns = columns.iter().map(|e| text(e)).collect::<Result<Vec<String>>>()?;
        let cycle = Cycle { columns, yes: yes.to_string(), no: no.to_string(), mark: text(mark)?, path: text(path)? };
        cycle.place(done.last_mut().ok_or_else(odd)?)?;
    }
    with.cte_tables = done;
    Ok(())
}

struct Cycle {
    columns: Vec<String>,
    yes: String,
    no: String,
    mark: String,
    path: String,
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Cycle {
    fn place(&self, cte: &mut Cte) -> Result<()> {
        let name = fold(&cte.alias.name);
        let form = || {
            let message =
                format!("recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term");
            PlanError::invalid("42P19", message)
        };
        let plain = || {
            PlanError::unsupported(
                "CYCLE over this recursion is not offered",
                "write both of its terms as plain SELECTs that name their columns",
            )
        };
        let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = cte.query.body.as_mut() else {
            return Err(form());
        };
        let (SetExpr::Select(left), SetExpr::Select(right)) = (left.as_mut(), right.as_mut()) else { return Err(plain()) };
        let names: Vec<String> = match cte.alias.columns.as_slice() {
            [] => left.projection.iter().map(output).collect::<Option<_>>().ok_or_else(plain)?,
            given => given.iter().map(|c| fold(&c.name)).collect(),
        };
        let places = self.columns.iter().map(|column| {
            let at = names.iter().position(|name| name == column);
            at.ok_or_else(|| PlanError::syntax(format!("cycle column \"{column}\" not in WITH query column list")))
        });
        let places = places.collect::<Result<Vec<usize>>>()?;
        for new in [&self.mark, &self.path] {
            if names.contains(new) {
                let message = format!("cycle column name \"{new}\" already used in WITH query column list");
                return Err(PlanError::syntax(message));
            }
        }
        let of = right.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
        let recursion = of.filter_map(|factor| called(factor, &name)).next().ok_or_else(plain)?;
        let (mark, path) = (quoted(&self.mark), quoted(&self.path));
        let (seen, way) = (format!("{recursion}.{mark}"), format!("{recursion}.{path}"));
        let row = |s: &Select| -> Result<String> {
            let items = places.iter().map(|at| match s.projection.get(*at) {
                Some(SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. }) => Some(e.to_string()),
                _ => None,
            });
            let items = items.collect::<Option<Vec<String>>>().ok_or_else(plain)?;
            Ok(format!("{}({})", row_text::NAME, items.join(", ")))
        };
        let Cycle { yes, no, .. } = self;
        let (first, next) = (row(left)?, row(right)?);
        let add = |s: &mut Select, value: String, name: &str| -> Result<()> {
            let alias = Ident::with_quote('"', name);
            s.projection.push(SelectItem::ExprWithAlias { expr: parse_expr(&value)?, alias });
            Ok(())
        };
        add(left, no.clone(), &self.mark)?;
        add(left, format!("ARRAY[{first}]"), &self.path)?;
        add(right, format!("CASE WHEN {next} = ANY ({way}) THEN {yes} ELSE {no} END"), &self.mark)?;
        add(right, format!("array_append({way}, {next})"), &self.path)?;
        let open = parse_expr(&format!("({seen} <> {yes})"))?;
        right.selection = Some(match right.selection.take() {
            Some(e) => {
                Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(e))), op: BinaryOperator::And, right: Box::new(open) }
            }
            None => open,
        });
        if !cte.alias.columns.is_empty() {
            let column = |name: &String| TableAliasColumnDef { name: Ident::with_quote('"', name), data_type: None };
            cte.alias.columns.extend([&self.mark, &self.path].map(column));
        }
        Ok(())
    }
}

fn output(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(i)) => Some(fold(i)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(fold),
        SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
        _ => None,
    }
}

/// What the recursion's relation is called where this is it.
fn called(factor: &TableFactor, name: &str) -> Option<String> {
    let TableFactor::Table { name: of, alias, args: None, .. } = factor else { return None };
    let [one] = of.0.as_slice() else { return None };
    let one = one.as_ident().filter(|one| fold(one) == name)?;
    Some(quoted(&alias.as_ref().map_or_else(|| fold(one), |alias| fold(&alias.name))))
}
