//! `AS OF EPOCH n` at the end of a statement: its query is answered as it would have been when epoch n closed.
//!
//! sqlparser would take the words for an alias, so they go from the tokens and [`MARK`] and the number stand where they stood: a token
//! that ends every query. Behind a whole statement [`apply`] gives the number to its query, in a place that nothing of PostgreSQL's
//! has ([`epoch_of`]). Invariant: a query within another never has it, so one statement reads at one epoch; whoever plans a query
//! either honours the number or refuses it. Linear.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Visitor};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Result;
use super::statement::Statement;
use crate::error::PlanError;
use crate::walk::Visit;

/// A character that no statement has a use for.
pub(super) const MARK: Token = Token::Char('\u{5}');
/// Where a query has its epoch: an option of another dialect, which ours does not read.
const SETTING: &str = "regauge as of epoch";

fn misplaced() -> PlanError {
    PlanError::unsupported(
        "AS OF EPOCH stands at the end of a whole statement: SELECT, EXPLAIN, COPY (..) TO, DECLARE, INSERT .. SELECT or CREATE TABLE .. AS",
        "write SELECT .. AS OF EPOCH 812: all that the statement reads is read at that epoch",
    )
}

/// Puts marks in the place of the words.
pub(super) fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>> {
    let is = |t: &Token, s: &str| matches!(t, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(s));
    if !tokens.iter().any(|t| is(&t.token, "epoch") || t.token == MARK) {
        return Ok(tokens);
    }
    let places: Vec<usize> = (0..tokens.len()).filter(|i| !matches!(tokens[*i].token, Token::Whitespace(_))).collect();
    let at = |n: usize| places.get(n).map_or(&Token::EOF, |i| &tokens[*i].token);
    let mut out = Vec::with_capacity(tokens.len());
    // Which word begins the statement at hand.
    let (mut n, mut first) = (0, 0);
    while let Some(place) = places.get(n).copied() {
        let token = tokens[place].clone();
        if token.token == Token::SemiColon {
            first = n + 1;
        }
        let words = is(at(n), "as") && is(at(n + 1), "of") && is(at(n + 2), "epoch");
        let ends = matches!(at(n + 4), Token::EOF | Token::SemiColon | Token::RParen);
        match at(n + 3) {
            Token::Number(number, _) if words && ends => {
                if number.parse::<u64>().is_err() {
                    return Err(PlanError::syntax(format!("an epoch is a whole number, not {number}")));
                }
                if *at(n + 4) == Token::RParen && !is(at(first), "copy") {
                    return Err(misplaced());
                }
                out.push(TokenWithSpan { token: MARK, span: token.span });
                out.push(tokens[places[n + 3]].clone());
                n += 4;
            }
            Token::Placeholder(_) if words && ends => {
                let hint = "write the number into the text; SHOW regauge.epoch tells the last one";
                return Err(PlanError::unsupported("AS OF EPOCH takes a number and no parameter", hint));
            }
            _ => {
                // what a text itself has of these is as wrong as any other character
                let token = if token.token == MARK { TokenWithSpan { token: Token::Char('\u{2}'), ..token } } else { token };
                out.push(token);
                n += 1;
            }
        }
    }
    Ok(out)
}

/// The statement, whose query reads at this epoch.
///
/// # Errors
/// 0A000 for one that has no such query, or locks what it reads.
pub(super) fn apply(mut statement: Statement, epoch: u64) -> Result<Statement> {
    match &mut statement {
        Statement::Query(query) | Statement::Declare { query, .. } | Statement::ExplainQuery { query, as_view: None, .. } => {
            set(query, epoch)?;
        }
        Statement::Insert(insert) => match &mut insert.source {
            Some(query) if !matches!(*query.body, ast::SetExpr::Values(_)) => set(query, epoch)?,
            _ => return Err(misplaced()),
        },
        Statement::CreateTable(create) => match &mut create.query {
            Some((query, _)) => set(query, epoch)?,
            None => return Err(misplaced()),
        },
        _ => return Err(misplaced()),
    }
    Ok(statement)
}

/// The query, read at this epoch.
pub(super) fn set(query: &mut ast::Query, epoch: u64) -> Result<()> {
    if locks(query) {
        return Err(PlanError::unsupported(
            "rows of the past cannot be locked: FOR UPDATE and AS OF EPOCH in one statement",
            "leave one of them out",
        ));
    }
    let value = ast::Expr::Value(ast::Value::Number(epoch.to_string(), false).into());
    query.settings = Some(vec![ast::Setting { key: ast::Ident::with_quote('"', SETTING), value }]);
    Ok(())
}

/// The epoch that a query is to be read at, if it names one.
///
/// # Errors
/// 0A000 when it stands in a query within this one: the text of a function or view that names an epoch of its own.
pub fn epoch_of(query: &ast::Query) -> Result<Option<u64>> {
    struct Within(usize);
    impl Visitor for Within {
        type Break = ();
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            self.0 += 1;
            if self.0 > 1 && of(query).is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    if Visit::visit(query, &mut Within(0)).is_break() { Err(misplaced()) } else { Ok(of(query)) }
}

/// A query that is to have no epoch of its own.
pub(super) fn none(query: Box<ast::Query>) -> Result<Box<ast::Query>> {
    if of(&query).is_some() { Err(misplaced()) } else { Ok(query) }
}

/// The query without its epoch, for who has taken note of it.
pub fn forget_epoch(query: &mut ast::Query) {
    if of(query).is_some() {
        query.settings = None;
    }
}

fn of(query: &ast::Query) -> Option<u64> {
    let setting = query.settings.iter().flatten().find(|s| s.key.value == SETTING)?;
    match &setting.value {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(number, _) => number.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn locks(query: &ast::Query) -> bool {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            if query.locks.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }
    }
    Visit::visit(query, &mut V).is_break()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{ParseLimits, parse};

    fn epoch(sql: &str) -> Option<u64> {
        match parse(sql, &ParseLimits::default()).unwrap().pop().unwrap() {
            Statement::Query(q) | Statement::Declare { query: q, .. } | Statement::ExplainQuery { query: q, .. } => {
                epoch_of(&q).unwrap()
            }
            Statement::CopyTo(copy) => epoch_of(&copy.query).unwrap(),
            Statement::Insert(insert) => epoch_of(&insert.source.unwrap()).unwrap(),
            Statement::CreateTable(create) => epoch_of(&create.query.unwrap().0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_epoch_is_of_the_whole_statement() {
        for sql in [
            "SELECT * FROM t AS OF EPOCH 7",
            "select a.x from t as a, u where x > 3 order by 1 limit 5 as of epoch 7 ; ",
            "TABLE t AS OF EPOCH 7",
            "WITH a AS (SELECT 1) SELECT * FROM a AS\n OF /* so */ EPOCH 7",
            "(SELECT 1 UNION ALL SELECT 2) AS OF EPOCH 7",
            "EXPLAIN ANALYZE SELECT * FROM t AS OF EPOCH 7",
            "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t AS OF EPOCH 7",
            "COPY (SELECT * FROM t AS OF EPOCH 7) TO STDOUT",
            "INSERT INTO t SELECT * FROM t AS OF EPOCH 7",
            "INSERT INTO t SELECT epoch FROM t ON CONFLICT (a) DO NOTHING AS OF EPOCH 7",
            "CREATE TABLE u AS SELECT * FROM t AS OF EPOCH 7",
        ] {
            assert_eq!(epoch(sql), Some(7), "{sql}");
        }
        assert_eq!(epoch("SELECT epoch AS of FROM t AS epoch"), None);
        assert_eq!(epoch("INSERT INTO t OVERRIDING SYSTEM VALUE SELECT epoch FROM t"), None);
    }

    #[test]
    fn elsewhere_it_is_refused_and_never_passed_over() {
        for (sql, code) in [
            ("SELECT * FROM (SELECT * FROM t AS OF EPOCH 7) AS s", "0A000"),
            ("CREATE VIEW v AS SELECT * FROM t AS OF EPOCH 7", "0A000"),
            ("CREATE MATERIALIZED VIEW v AS SELECT * FROM t AS OF EPOCH 7", "0A000"),
            ("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM t AS OF EPOCH 7'", "0A000"),
            ("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM t AS OF EPOCH 7)", "0A000"),
            ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a AS OF EPOCH 7", "0A000"),
            ("SELECT * FROM t FOR UPDATE AS OF EPOCH 7", "0A000"),
            ("SELECT * FROM t WHERE a IN (SELECT a FROM t FOR UPDATE) AS OF EPOCH 7", "0A000"),
            ("UPDATE t SET a = 1 AS OF EPOCH 7", "0A000"),
            ("DELETE FROM t AS OF EPOCH 7", "0A000"),
            ("SUBSCRIBE TO v AS OF EPOCH 7", "0A000"),
            ("INSERT INTO t DEFAULT VALUES AS OF EPOCH 7", "0A000"),
            ("INSERT INTO t VALUES (1) AS OF EPOCH 7", "0A000"),
            ("CREATE TABLE u (a int) AS OF EPOCH 7", "0A000"),
            ("SELECT * FROM t AS OF EPOCH $1", "0A000"),
            ("SELECT * FROM t AS OF EPOCH 7.5", "42601"),
            ("SELECT * FROM t AS OF EPOCH 99999999999999999999", "42601"),
            ("SELECT * FROM t AS OF EPOCH -1", "42601"),
            ("SELECT * FROM t AS OF EPOCH 7 LIMIT 1", "42601"),
            ("SELECT * FROM t AS OF EPOCH 7 AS OF EPOCH 8", "42601"),
            ("SELECT * FROM t AS OF EPOCH", "42601"),
            ("SELECT \u{5} 7", "42601"),
        ] {
            let error = parse(sql, &ParseLimits::default()).map(|all| format!("{all:?}")).unwrap_err();
            assert_eq!(error.sqlstate(), code, "{sql}: {error}");
        }
    }
}
