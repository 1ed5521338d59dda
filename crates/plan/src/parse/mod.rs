//! Text to statements. sqlparser reads queries and expressions in PostgreSQL's dialect; the statement layer around it is
//! ours ([`create`], [`dml`], [`session`]), since half of the statements are.
//!
//! Invariant: no text makes it panic or overflow a stack: [`limits`] are judged on the bytes first, and the parser runs on a
//! stack of [`STACK_BYTES`].

mod asof;
mod assign;
mod backup;
mod bracketed;
mod create;
mod cycle;
mod ddl;
mod dialect;
mod dml;
mod emit;
mod epoch;
mod exclude;
mod extras;
mod forms;
mod function;
mod grouped_windows;
mod groups;
mod identity;
mod index;
mod keywords;
mod limits;
mod locked;
mod merge;
mod nested_joins;
mod numerals;
mod offsets;
mod precedence;
mod prepared;
mod redact;
mod rights;
mod session;
mod session_window;
mod similar;
mod sink;
mod stars;
mod statement;
mod strings;
mod subscripts;
pub(crate) mod types;
mod unicode;
mod watermark;
mod weight;
mod window_arguments;
mod with;

pub(crate) use asof::{INNER as ASOF_INNER, LEFT as ASOF_LEFT, SYSTEM_TIME, SYSTEM_TIME_LEFT};
pub use create::{SECRET_OPTION, column_name, finish_columns, two_keys};
pub use ddl::{Alter, Check, Ddl, SequenceSpec, rate};
pub use epoch::{epoch_of, forget_epoch};
pub(crate) use exclude::EXCLUDE_MARK;
pub use function::{Body, CreateFunction, DroppedFunction};
pub(crate) use groups::{DISTINCT_SETS, ROWS_FROM};
pub use index::{CreateIndex, IndexColumn};
pub use limits::ParseLimits;
pub use merge::{Merge, MergeAction, MergeClause};
pub use rights::{Grant, GrantKind, GrantOn, Rights, RoleName, RoleOptions, Secret};
pub use sink::{SinkChange, SinkDdl};
pub use statement::*;
pub use weight::{COLUMNS_MAX, RELATIONS_MAX, relations};
pub use with::{Part, With};

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError, Word};

use crate::error::PlanError;

/// Stack for parsing and planning: a statement within [`ParseLimits`] needs a few MiB in an unoptimised build.
pub(crate) const STACK_BYTES: usize = 64 << 20;

/// Stands before the lower bound of BETWEEN SYMMETRIC, which sqlparser does not know. No other text gives this operator.
pub(crate) const SYMMETRIC: ast::UnaryOperator = ast::UnaryOperator::DoubleAt;

type Result<T> = std::result::Result<T, PlanError>;

/// Reads all statements of a text; empty ones are left out.
pub fn parse(sql: &str, limits: &ParseLimits) -> Result<Vec<Statement>> {
    limits::check(sql, limits)?;
    read(sql, limits).map_err(|error| redact::quiet(sql, error))
}

fn read(sql: &str, limits: &ParseLimits) -> Result<Vec<Statement>> {
    stacker::grow(STACK_BYTES, || {
        let dialect = dialect::Postgres;
        let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| tokenizer_error(sql, &e))?;
        numerals::check(sql, &tokens)?;
        let tokens = keywords::plain(strings::joined(sql, unicode::rewrite(sql, tokens)?)?);
        let tokens = asof::rewrite(exclude::rewrite(session_window::rewrite(rewrite_tokens(subscripts::rewrite(
            identity::rewrite(stars::rewrite(groups::rewrite(extras::rewrite(similar::rewrite(tokens))))),
        )))))?;
        let tokens = nested_joins::rewrite(offsets::rewrite(bracketed::rewrite(tokens)));
        let tokens = cycle::rewrite(epoch::rewrite(emit::rewrite(tokens)?)?)?;
        let locks = tokens.iter().any(|t| matches!(&t.token, Token::Word(w) if w.keyword == Keyword::FOR));
        // A bracket costs the parser up to four levels of its own.
        let recursion = limits.nesting_max * 6 + 50;
        let parser = Parser::new(&dialect).with_recursion_limit(recursion).with_tokens_with_locations(tokens);
        // Looked for once: a text may hold many statements.
        let merges = sql.as_bytes().windows(5).any(|word| word.eq_ignore_ascii_case(b"merge"));
        let mut p = P { parser, sql, merges };
        let mut out = vec![];
        loop {
            while p.parser.consume_token(&Token::SemiColon) {}
            if p.parser.peek_token_ref().token == Token::EOF {
                return Ok(out);
            }
            let statement = p.statement()?;
            let statement = match p.epoch()? {
                Some(epoch) => epoch::apply(statement, epoch)?,
                None => statement,
            };
            out.push(if locks { locked::hoist(statement)? } else { statement });
            if p.parser.peek_token_ref().token == emit::MARK {
                return Err(emit::misplaced());
            }
            if !matches!(p.parser.peek_token_ref().token, Token::SemiColon | Token::EOF) {
                return Err(p.expected("end of statement"));
            }
        }
    })
}

/// Reads one query, as stored for a plain view.
pub fn parse_query(sql: &str, limits: &ParseLimits) -> Result<Box<ast::Query>> {
    let mut statements = parse(sql, limits)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(q)), true) => epoch::none(q),
        _ => Err(PlanError::syntax("expected one query")),
    }
}

/// Reads one expression.
pub(crate) fn parse_expr(sql: &str) -> Result<ast::Expr> {
    let query = parse_query(&format!("SELECT {sql}"), &ParseLimits::default())?;
    if let ast::SetExpr::Select(mut s) = *query.body
        && let (Some(ast::SelectItem::UnnamedExpr(e)), true) = (s.projection.pop(), s.projection.is_empty())
    {
        return Ok(e);
    }
    Err(PlanError::syntax(format!("not an expression: {sql}")))
}

/// Joins `v @ 2` written without spaces into one name, drops TABLE in `TUMBLE(TABLE t, ..)`, and marks BETWEEN SYMMETRIC.
fn rewrite_tokens(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(t) = rest.next() {
        match &t.token {
            Token::AtSign => {
                let version = match rest.peek().map(|n| &n.token) {
                    Some(Token::Number(n, false)) if n.parse::<u32>().is_ok() => n.clone(),
                    _ => {
                        out.push(t);
                        continue;
                    }
                };
                if let Some(Token::Word(w)) = out.last_mut().map(|l| &mut l.token) {
                    let name = if w.quote_style.is_some() { w.value.clone() } else { w.value.to_lowercase() };
                    *w = Word { value: format!("{name}@{version}"), quote_style: Some('"'), keyword: Keyword::NoKeyword };
                    rest.next();
                } else {
                    out.push(t);
                }
            }
            Token::Word(w) if w.keyword == Keyword::TABLE && after_window_function(&out) => {}
            // `TABLE t` where a query begins, with all that may follow one.
            Token::Word(w)
                if w.keyword == Keyword::TABLE && (begins_query(&out) || after_insert_target(&out)) && names_next(&mut rest) =>
            {
                let word = |text: &str| TokenWithSpan { token: Token::make_keyword(text), span: t.span };
                out.extend([word("SELECT"), TokenWithSpan { token: Token::Mul, span: t.span }, word("FROM")]);
            }
            // As in PostgreSQL a sign ends an operator only beside one of its rarer characters: `a <>-1` is `a <> -1`.
            Token::CustomBinaryOperator(text) if !text.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) => {
                let (front, sign) = text.split_at(text.len().saturating_sub(1));
                let front = match front {
                    "<>" => Some(Token::Neq),
                    "<=" => Some(Token::LtEq),
                    ">=" => Some(Token::GtEq),
                    "<" => Some(Token::Lt),
                    ">" => Some(Token::Gt),
                    "=" => Some(Token::Eq),
                    "->" => Some(Token::Arrow),
                    "->>" => Some(Token::LongArrow),
                    _ => None,
                };
                let sign = match sign {
                    "-" => Some(Token::Minus),
                    "+" => Some(Token::Plus),
                    _ => None,
                };
                match front.zip(sign) {
                    Some(two) => out.extend([two.0, two.1].map(|token| TokenWithSpan { token, span: t.span })),
                    None => out.push(t),
                }
            }
            Token::Word(w) if w.quote_style.is_none() && after_between(&out) && w.value.eq_ignore_ascii_case("symmetric") => {
                out.push(TokenWithSpan { token: Token::AtAt, span: t.span });
            }
            Token::Word(w) if w.quote_style.is_none() && after_between(&out) && w.value.eq_ignore_ascii_case("asymmetric") => {}
            _ => out.push(t),
        }
    }
    out
}

fn no_merge() -> PlanError {
    PlanError::unsupported("MERGE not supported in WITH query", "it stands last: WITH .. MERGE INTO ..")
}

fn begins_query(before: &[TokenWithSpan]) -> bool {
    let mut words = before.iter().rev().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_)));
    match words.next() {
        None | Some(Token::SemiColon | Token::LParen) => true,
        Some(Token::Word(w)) => {
            matches!(w.keyword, Keyword::AS | Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::ALL)
        }
        _ => false,
    }
}

/// Behind `INSERT INTO t` or `INSERT INTO s.t (a, b)`.
fn after_insert_target(before: &[TokenWithSpan]) -> bool {
    let mut words = before.iter().rev().map(|t| &t.token).filter(|t| !matches!(t, Token::Whitespace(_))).peekable();
    if words.peek() == Some(&&Token::RParen) {
        let _ = words.by_ref().find(|t| **t == Token::LParen);
    }
    // A name of up to three parts.
    for _ in 0..3 {
        match words.next() {
            Some(Token::Word(w)) if w.keyword != Keyword::INTO || w.quote_style.is_some() => {}
            _ => return false,
        }
        match words.next() {
            Some(Token::Period) => {}
            Some(Token::Word(w)) => return w.quote_style.is_none() && w.keyword == Keyword::INTO,
            _ => return false,
        }
    }
    false
}

fn names_next(rest: &mut std::iter::Peekable<std::vec::IntoIter<TokenWithSpan>>) -> bool {
    // Blanks are passed over: the parser does not read them.
    while rest.next_if(|t| matches!(t.token, Token::Whitespace(_))).is_some() {}
    matches!(rest.peek().map(|t| &t.token), Some(Token::Word(_)))
}

fn after_between(before: &[TokenWithSpan]) -> bool {
    let last = before.iter().rev().find(|t| !matches!(t.token, Token::Whitespace(_)));
    matches!(last.map(|t| &t.token), Some(Token::Word(w)) if w.keyword == Keyword::BETWEEN)
}

/// Behind `TUMBLE(`, or `TUMBLE(.. DATA =>`.
fn after_window_function(before: &[TokenWithSpan]) -> bool {
    let mut words = before.iter().rev().filter(|t| !matches!(t.token, Token::Whitespace(_))).peekable();
    if words.next_if(|t| t.token == Token::RArrow).is_some() {
        return matches!(words.next().map(|t| &t.token), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case("data"));
    }
    let open = words.next().is_some_and(|t| t.token == Token::LParen);
    let name = words.next().map(|t| &t.token);
    open && matches!(name, Some(Token::Word(w)) if ["tumble", "hop", "cumulate", "session"].iter().any(|f| w.value.eq_ignore_ascii_case(f)))
}

/// PostgreSQL's precedence, and one form for what can be said in several.
fn repair<T: crate::walk::VisitMut>(tree: &mut T) -> Result<()> {
    precedence::repair(tree);
    forms::unify(tree)?;
    grouped_windows::place(tree)
}

/// sqlparser's parser with our statement layer; the layer's files add `impl` blocks.
struct P<'a> {
    parser: Parser<'a>,
    sql: &'a str,
    /// The text has the word MERGE.
    merges: bool,
}

impl P<'_> {
    fn statement(&mut self) -> Result<Statement> {
        let first = self.word_at(0).unwrap_or_default();
        let second = self.word_at(1).unwrap_or_default();
        if first == "with"
            && self.merges
            && let Some(merge) = self.with_merge()?
        {
            return Ok(merge);
        }
        match (first.as_str(), second.as_str()) {
            ("create", _) => self.create(),
            ("drop", _) => self.drop_objects(),
            ("insert", _) => self.insert(),
            ("update", _) => self.update(),
            ("delete", _) => self.delete(),
            ("copy", _) => self.copy(),
            ("select" | "values" | "with" | "table", _) => self.query().and_then(with::statement).and_then(create::select_into),
            ("begin" | "start" | "commit" | "end" | "rollback" | "abort", _) => self.transaction(),
            ("subscribe", _) => self.subscribe(),
            ("flush", _) => {
                self.parser.next_token();
                Ok(Statement::Flush)
            }
            ("backup", _) => self.backup(),
            ("show", _) => self.show(),
            ("set", _) => self.set(),
            ("reset", _) => self.reset(),
            ("describe" | "desc", _) => {
                self.parser.next_token();
                Ok(Statement::Describe { name: self.relation()? })
            }
            ("explain", _) => self.explain(),
            ("discard", _) => self.discard(),
            ("deallocate", _) => self.deallocate(),
            ("alter", _) => self.alter(),
            ("comment", _) => self.comment(),
            ("truncate", _) => self.truncate(),
            ("refresh", _) => self.refresh(),
            ("advance", _) => self.advance_watermark(),
            ("savepoint" | "release", _) => self.savepoint(),
            ("listen", _) => self.listen(),
            ("unlisten", _) => self.unlisten(),
            ("notify", _) => self.notify(),
            ("grant" | "revoke", _) => self.grant(),
            ("reassign", _) => self.reassign(),
            ("lock", _) => self.lock(),
            ("prepare", _) => self.prepare(),
            ("execute", _) => self.execute(),
            ("declare", _) => self.declare(),
            ("fetch" | "move", _) => self.fetch(),
            ("close", _) => self.close(),
            ("merge", _) => self.merge(),
            ("vacuum" | "analyze" | "analyse" | "checkpoint", _) => self.housekeeping(),
            ("reindex" | "cluster", _) => {
                Err(PlanError::unsupported(format!("{} is not offered", first.to_uppercase()), "it is not needed here"))
            }
            ("", _) if self.parser.peek_token_ref().token == Token::LParen => self.query().map(Statement::Query),
            _ => Err(self.expected("a statement")),
        }
    }

    fn query(&mut self) -> Result<Box<ast::Query>> {
        let q = self.parser.parse_query();
        self.repaired(q)
    }
    /// The number behind [`epoch::MARK`], if that comes next.
    fn epoch(&mut self) -> Result<Option<u64>> {
        if !self.symbol(&epoch::MARK) {
            return Ok(None);
        }
        match self.parser.next_token().token {
            Token::Number(number, _) => Ok(number.parse().ok()),
            _ => Err(self.expected("an epoch")),
        }
    }
    fn expr(&mut self) -> Result<ast::Expr> {
        let e = self.parser.parse_expr();
        self.repaired(e)
    }
    /// What sqlparser read, with PostgreSQL's precedence.
    fn repaired<T: crate::walk::VisitMut>(&self, parsed: std::result::Result<T, ParserError>) -> Result<T> {
        let mut tree = self.sqlparser(parsed)?;
        repair(&mut tree)?;
        Ok(tree)
    }

    /// The n-th coming token, when it is an unquoted word, in lower case.
    fn word_at(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(w) if w.quote_style.is_none() => Some(w.value.to_lowercase()),
            _ => None,
        }
    }
    /// Takes these unquoted words, or nothing.
    fn take(&mut self, words: &str) -> bool {
        let n = words.split(' ').count();
        let fits = words.split(' ').enumerate().all(|(i, w)| self.word_at(i).as_deref() == Some(w));
        if fits {
            (0..n).for_each(|_| self.parser.advance_token());
        }
        fits
    }
    fn expect(&mut self, words: &str) -> Result<()> {
        if self.take(words) { Ok(()) } else { Err(self.expected(&words.to_uppercase())) }
    }
    fn symbol(&mut self, t: &Token) -> bool {
        self.parser.consume_token(t)
    }
    fn expect_symbol(&mut self, t: &Token) -> Result<()> {
        if self.symbol(t) { Ok(()) } else { Err(self.expected(&t.to_string())) }
    }

    fn name(&mut self) -> Result<String> {
        match self.parser.peek_token_ref().token.clone() {
            Token::Word(w) => {
                self.parser.next_token();
                Ok(fold(&ast::Ident { value: w.value, quote_style: w.quote_style, span: ast_span() }))
            }
            _ => Err(self.expected("a name")),
        }
    }
    fn names_in_parens(&mut self) -> Result<Vec<String>> {
        self.expect_symbol(&Token::LParen)?;
        let mut names = vec![self.name()?];
        while self.symbol(&Token::Comma) {
            names.push(self.name()?);
        }
        self.expect_symbol(&Token::RParen)?;
        Ok(names)
    }
    fn relation(&mut self) -> Result<RelationName> {
        let mut parts = vec![self.name()?];
        while self.symbol(&Token::Period) {
            parts.push(self.name()?);
        }
        relation_of_parts(parts)
    }

    fn text(&mut self) -> Result<String> {
        match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => {
                self.parser.next_token();
                Ok(s)
            }
            Token::DollarQuotedString(s) => {
                self.parser.next_token();
                Ok(s.value)
            }
            _ => Err(self.expected("a string")),
        }
    }

    fn expected(&self, what: &str) -> PlanError {
        let t = self.parser.peek_token_ref();
        let found = if t.token == Token::EOF { "end of input".to_owned() } else { format!("\"{}\"", t.token) };
        PlanError::Syntax {
            sqlstate: "42601",
            message: format!("syntax error: expected {what}, found {found}"),
            position: position(self.sql, t.span.start.line, t.span.start.column),
            hint: None,
        }
    }
    fn sqlparser<T>(&self, r: std::result::Result<T, ParserError>) -> Result<T> {
        r.map_err(|e| parser_error(self.sql, e))
    }
}

fn ast_span() -> datafusion::sql::sqlparser::tokenizer::Span {
    datafusion::sql::sqlparser::tokenizer::Span::empty()
}

/// PostgreSQL's folding: lower case unless quoted.
pub fn fold(i: &ast::Ident) -> String {
    if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() }
}

/// A relation's name out of a parsed object name.
pub fn relation_name(name: &ast::ObjectName) -> Result<RelationName> {
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(fold)).collect();
    relation_of_parts(parts.ok_or_else(|| PlanError::syntax(format!("not a relation's name: {name}")))?)
}

fn relation_of_parts(mut parts: Vec<String>) -> Result<RelationName> {
    // A database before the schema is taken as ours, as drivers write it.
    if parts.len() == 3 {
        parts.remove(0);
    }
    let (schema, name) = match parts.len() {
        1 => (None, parts.remove(0)),
        2 => (Some(parts.remove(0)), parts.remove(0)),
        _ => return Err(PlanError::syntax(format!("improper qualified name: {}", parts.join(".")))),
    };
    if name.is_empty() {
        return Err(PlanError::syntax("zero-length name"));
    }
    let (name, version) = match name.rsplit_once('@').and_then(|(n, v)| Some((n, v.parse::<u32>().ok()?))) {
        Some((n, v)) => (n.to_owned(), Some(v)),
        None => (name, None),
    };
    Ok(RelationName { schema, name, version })
}

/// Offset in characters from 1 of a place given as line and column from 1.
fn position(sql: &str, line: u64, column: u64) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let before: usize = sql.split_inclusive('\n').take(line).map(|l| l.chars().count()).sum();
    Some(before + usize::try_from(column).ok()?.max(1))
}

fn tokenizer_error(sql: &str, e: &TokenizerError) -> PlanError {
    PlanError::Syntax {
        sqlstate: "42601",
        message: format!("syntax error: {}", e.message.to_lowercase()),
        position: position(sql, e.location.line, e.location.column),
        hint: None,
    }
}

fn parser_error(sql: &str, e: ParserError) -> PlanError {
    let text = match e {
        ParserError::RecursionLimitExceeded => {
            return PlanError::TooComplex { what: "statement is nested too deeply", limit: ParseLimits::default().nesting_max };
        }
        ParserError::TokenizerError(m) | ParserError::ParserError(m) => m,
    };
    // The message ends in " at Line: l, Column: c".
    let (message, at) = match text.rsplit_once(" at Line: ") {
        Some((m, at)) => (m.to_owned(), at.split_once(", Column: ")),
        None => (text, None),
    };
    let position = at.and_then(|(l, c)| position(sql, l.trim().parse().ok()?, c.trim().parse().ok()?));
    let at_end = message.ends_with("found: EOF").then(|| sql.chars().count() + 1);
    let position = position.or(at_end);
    let message = message.replace("Expected: ", "expected ").replace("found: ", "found ").replace("EOF", "end of input");
    PlanError::Syntax { sqlstate: "42601", message: format!("syntax error: {message}"), position, hint: None }
}
