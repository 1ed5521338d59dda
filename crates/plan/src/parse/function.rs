//! CREATE FUNCTION of language SQL, and DROP FUNCTION.
//!
//! A function is one query over its parameters. It is not bound here: [`crate::user_function`] puts it in the place of its calls.

use arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::ddl::Ddl;
use super::statement::{RelationName, Statement};
use super::{P, ParseLimits, Result, types};
use crate::error::PlanError;
use crate::user_function::{Param, Returns};

/// CREATE FUNCTION.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateFunction {
    /// Its name.
    pub name: RelationName,
    /// OR REPLACE.
    pub or_replace: bool,
    /// In their order.
    pub params: Vec<Param>,
    /// What a call gives.
    pub returns: Returns,
    /// A call with a NULL among its arguments is NULL, or gives no rows.
    pub strict: bool,
    /// One query.
    pub body: Box<ast::Query>,
}

/// One of DROP FUNCTION.
#[derive(Debug, Clone, PartialEq)]
pub struct DroppedFunction {
    /// Its name.
    pub name: RelationName,
    /// The types of its parameters, where they are given.
    pub params: Option<Vec<DataType>>,
}

/// Words that say how PostgreSQL may plan and run a call, and that mean nothing to one whose body takes its place.
const WITHOUT_EFFECT: [&str; 11] = [
    "immutable",
    "stable",
    "volatile",
    "leakproof",
    "not leakproof",
    "parallel safe",
    "parallel unsafe",
    "parallel restricted",
    "security invoker",
    "external security invoker",
    "window",
];

impl P<'_> {
    pub(super) fn create_function(&mut self, or_replace: bool) -> Result<Statement> {
        let name = self.relation()?;
        let mut params = vec![];
        let mut outs = vec![];
        self.expect_symbol(&Token::LParen)?;
        while !self.symbol(&Token::RParen) {
            if !params.is_empty() || !outs.is_empty() {
                self.expect_symbol(&Token::Comma)?;
            }
            match self.param()? {
                (param, false) => params.push(param),
                (param, true) => outs.push(param),
            }
        }
        let mut returns = outs_of(outs)?;
        let (mut strict, mut body) = (false, None);
        loop {
            if self.take("returns null on null input") || self.take("strict") {
                strict = true;
            } else if self.take("called on null input") {
                strict = false;
            } else if self.take("returns") {
                returns = Some(self.returns(&name.name)?);
            } else if self.take("language") {
                self.language()?;
            } else if self.take("cost") || self.take("rows") {
                let _ = self.expr()?;
            } else if self.take("security definer") || self.take("external security definer") {
                return Err(PlanError::unsupported(
                    "SECURITY DEFINER is not offered",
                    "a function's body takes the place of its call; a view is read with its owner's rights",
                ));
            } else if self.take("set") {
                return Err(PlanError::unsupported("SET of a function is not offered", "write its value in the body"));
            } else if self.take("as") {
                body = Some(self.body()?);
            } else if self.take("return") {
                let expr = self.expr()?;
                body = Some(super::parse_query(&format!("SELECT {expr}"), &ParseLimits::default())?);
            } else if self.take("begin atomic") {
                body = Some(self.query()?);
                while self.symbol(&Token::SemiColon) {}
                self.expect("end")?;
            } else if !WITHOUT_EFFECT.iter().any(|words| self.take(words)) {
                break;
            }
        }
        let missing = |message: &str| PlanError::invalid("42P13", message.to_owned());
        let returns = returns.ok_or_else(|| missing("function result type must be specified"))?;
        let body = body.ok_or_else(|| missing("no function body specified"))?;
        if let Some(twice) = (1..params.len()).find(|at| twice(&params, *at)) {
            let name = params[twice].name.clone().unwrap_or_default();
            return Err(missing(&format!("parameter name \"{name}\" used more than once")));
        }
        if let Some(first) = params.iter().position(|p| p.default.is_some())
            && params.iter().skip(first).any(|p| p.default.is_none())
        {
            return Err(missing("input parameters after one with a default value must also have defaults"));
        }
        Ok(Statement::Ddl(Box::new(Ddl::CreateFunction(CreateFunction { name, or_replace, params, returns, strict, body }))))
    }

    /// A parameter, and whether it is OUT.
    fn param(&mut self) -> Result<(Param, bool)> {
        if self.take("variadic") || self.take("inout") || self.take("in out") {
            return Err(PlanError::unsupported(
                "VARIADIC and INOUT parameters are not offered",
                "give it an array, or RETURNS TABLE (..)",
            ));
        }
        let out = self.take("out");
        if !out {
            let _ = self.take("in");
        }
        // One word and then a comma, a bracket or the end is a type; a name stands before another word.
        let is_word = |p: &Self, n| matches!(p.parser.peek_nth_token_ref(n).token, Token::Word(_));
        let two_words =
            ["double precision", "character varying", "timestamp with", "timestamp without", "time with", "time without"];
        let starts_type = two_words.iter().any(|two| {
            let (one, other) = two.split_once(' ').unwrap_or((two, ""));
            self.word_at(0).as_deref() == Some(one) && self.word_at(1).as_deref() == Some(other)
        });
        let has_default = self.word_at(1).as_deref() == Some("default");
        let name = if is_word(self, 1) && !starts_type && !has_default { Some(self.name()?) } else { None };
        let ty = self.data_type()?;
        let default = if self.take("default") || self.symbol(&Token::Eq) { Some(self.expr()?) } else { None };
        Ok((Param { name, ty, default }, out))
    }

    fn data_type(&mut self) -> Result<DataType> {
        let parsed = self.parser.parse_data_type();
        let ty = types::column_type(&self.sqlparser(parsed)?)?.0;
        // Precision and length are no part of a function's types, as in PostgreSQL.
        Ok(if matches!(ty, DataType::Decimal128(..)) { crate::pgtypes::numeric() } else { ty })
    }

    fn returns(&mut self, function: &str) -> Result<Returns> {
        if self.take("table") {
            self.expect_symbol(&Token::LParen)?;
            let mut columns = vec![];
            loop {
                let name = self.name()?;
                columns.push((name, self.data_type()?));
                if !self.symbol(&Token::Comma) {
                    break;
                }
            }
            self.expect_symbol(&Token::RParen)?;
            return Ok(Returns::Rows(columns));
        }
        if self.take("setof") {
            if self.take("record") {
                return Err(PlanError::unsupported("SETOF record is not offered", "RETURNS TABLE (name type, ..)"));
            }
            return Ok(Returns::Rows(vec![(function.to_owned(), self.data_type()?)]));
        }
        match self.word_at(0).as_deref() {
            Some("trigger" | "event_trigger") => {
                Err(PlanError::unsupported("triggers are not offered", "a view follows its relations by itself"))
            }
            Some("void" | "record") => {
                Err(PlanError::unsupported("a function gives a value or rows", "RETURNS type, or RETURNS TABLE (..)"))
            }
            _ => Ok(Returns::Value(self.data_type()?)),
        }
    }

    fn language(&mut self) -> Result<()> {
        let language = match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(_) => self.text()?.to_lowercase(),
            _ => self.name()?,
        };
        match language.as_str() {
            "sql" => Ok(()),
            other => Err(PlanError::unsupported(
                format!("language \"{other}\" is not offered"),
                "LANGUAGE SQL, with a query as its body",
            )),
        }
    }

    fn body(&mut self) -> Result<Box<ast::Query>> {
        let text = self.text()?;
        if self.symbol(&Token::Comma) {
            return Err(PlanError::unsupported("AS with an object file is not offered", "AS 'SELECT ..'"));
        }
        let mut statements = super::parse(&text, &ParseLimits::default())?;
        match (statements.pop(), statements.is_empty()) {
            (Some(Statement::Query(query)), true) => Ok(query),
            _ => Err(PlanError::unsupported("the body of a function is one query", "AS 'SELECT ..'")),
        }
    }

    pub(super) fn drop_function(&mut self) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let mut functions = vec![];
        loop {
            let name = self.relation()?;
            let mut params = None;
            if self.symbol(&Token::LParen) {
                let mut types = vec![];
                while !self.symbol(&Token::RParen) {
                    if !types.is_empty() {
                        self.expect_symbol(&Token::Comma)?;
                    }
                    types.push(self.param()?.0.ty);
                }
                params = Some(types);
            }
            functions.push(DroppedFunction { name, params });
            if !self.symbol(&Token::Comma) {
                break;
            }
        }
        let _ = self.cascades();
        Ok(Statement::Ddl(Box::new(Ddl::DropFunction { functions, if_exists })))
    }
}

fn twice(params: &[Param], at: usize) -> bool {
    params[at].name.is_some() && params[..at].iter().any(|other| other.name == params[at].name)
}

/// What OUT parameters say is given.
fn outs_of(outs: Vec<Param>) -> Result<Option<Returns>> {
    let mut outs = outs.into_iter();
    match (outs.next(), outs.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(Returns::Value(one.ty))),
        _ => Err(PlanError::unsupported("several OUT parameters are not offered", "RETURNS TABLE (name type, ..)")),
    }
}
