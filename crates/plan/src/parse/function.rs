//! CREATE FUNCTION of language SQL or WebAssembly, and DROP FUNCTION.
//!
//! A function of language SQL is one query over its parameters. It is not bound here: [`crate::user_function`] puts it in the place of
//! its calls. One of WebAssembly is a module's text, which [`crate::wasm`] reads.

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
    /// CREATE AGGREGATE.
    pub aggregate: bool,
    /// In their order.
    pub params: Vec<Param>,
    /// What a call gives.
    pub returns: Returns,
    /// A call with a NULL among its arguments is NULL, or gives no rows.
    pub strict: bool,
    /// What it does.
    pub body: Body,
}

/// What a function does.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// One query.
    Sql(Box<ast::Query>),
    /// An export of a module.
    Wasm {
        /// The module, in WebAssembly's text format, hexadecimal or base64.
        module: String,
        /// The export's name, if it is not the function's.
        export: Option<String>,
    },
}

/// A language that functions are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Sql,
    Wasm,
}

/// What AS, RETURN or BEGIN ATOMIC says.
enum Source {
    Text(String, Option<String>),
    Query(Box<ast::Query>),
}

/// A function as DROP, GRANT and ALTER name it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub(super) fn create_function(&mut self, or_replace: bool, aggregate: bool) -> Result<Statement> {
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
        let (mut strict, mut source, mut language) = (false, None, Language::Sql);
        loop {
            if self.take("returns null on null input") || self.take("strict") {
                strict = true;
            } else if self.take("called on null input") {
                strict = false;
            } else if self.take("returns") {
                returns = Some(self.returns(&name.name)?);
            } else if self.take("language") {
                language = self.language()?;
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
                let text = self.text()?;
                let link = if self.symbol(&Token::Comma) { Some(self.text()?) } else { None };
                source = Some(Source::Text(text, link));
            } else if self.take("return") {
                let expr = self.expr()?;
                source = Some(Source::Query(super::parse_query(&format!("SELECT {expr}"), &ParseLimits::default())?));
            } else if self.take("begin atomic") {
                source = Some(Source::Query(self.query()?));
                while self.symbol(&Token::SemiColon) {}
                self.expect("end")?;
            } else if !WITHOUT_EFFECT.iter().any(|words| self.take(words)) {
                break;
            }
        }
        let missing = |message: &str| PlanError::invalid("42P13", message.to_owned());
        let returns = returns.ok_or_else(|| missing("function result type must be specified"))?;
        let body = match (language, source.ok_or_else(|| missing("no function body specified"))?) {
            (Language::Sql, Source::Query(query)) => Body::Sql(query),
            (Language::Sql, Source::Text(_, Some(_))) => {
                return Err(PlanError::unsupported("AS with an object file is not offered", "AS 'SELECT ..'"));
            }
            (Language::Sql, Source::Text(text, None)) => Body::Sql(query_of(&text)?),
            (Language::Wasm, Source::Query(_)) => {
                return Err(missing("inline SQL function body only valid for language SQL"));
            }
            (Language::Wasm, Source::Text(module, export)) => {
                if let Returns::Rows(_) = returns {
                    let hint = "give a jsonb array, and unfold it by jsonb_array_elements";
                    return Err(PlanError::unsupported("a WebAssembly function gives one value", hint));
                }
                Body::Wasm { module, export }
            }
        };
        if let Some(twice) = (1..params.len()).find(|at| twice(&params, *at)) {
            let name = params[twice].name.clone().unwrap_or_default();
            return Err(missing(&format!("parameter name \"{name}\" used more than once")));
        }
        if let Some(first) = params.iter().position(|p| p.default.is_some())
            && params.iter().skip(first).any(|p| p.default.is_none())
        {
            return Err(missing("input parameters after one with a default value must also have defaults"));
        }
        if aggregate && (params.is_empty() || matches!(body, Body::Sql(_))) {
            return Err(PlanError::unsupported(
                "an aggregate is of language wasm and has a parameter",
                "CREATE AGGREGATE f(x bigint) RETURNS bigint LANGUAGE wasm AS ..: docs/wasm.md",
            ));
        }
        let create = CreateFunction { name, or_replace, aggregate, params, returns, strict, body };
        Ok(Statement::Ddl(Box::new(Ddl::CreateFunction(create))))
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

    fn language(&mut self) -> Result<Language> {
        let language = match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(_) => self.text()?.to_lowercase(),
            _ => self.name()?,
        };
        match language.as_str() {
            "sql" => Ok(Language::Sql),
            "wasm" => Ok(Language::Wasm),
            other => Err(PlanError::unsupported(
                format!("language \"{other}\" is not offered"),
                "LANGUAGE SQL, with a query as its body, or LANGUAGE wasm, with a WebAssembly module",
            )),
        }
    }

    /// A function by its name, with the types of its parameters or without.
    pub(super) fn named_function(&mut self) -> Result<DroppedFunction> {
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
        Ok(DroppedFunction { name, params })
    }

    pub(super) fn drop_function(&mut self, aggregate: bool) -> Result<Statement> {
        let if_exists = self.take("if exists");
        let mut functions = vec![];
        loop {
            functions.push(self.named_function()?);
            if !self.symbol(&Token::Comma) {
                break;
            }
        }
        let _ = self.cascades();
        Ok(Statement::Ddl(Box::new(Ddl::DropFunction { functions, if_exists, aggregate })))
    }
}

/// The text of a body.
fn query_of(text: &str) -> Result<Box<ast::Query>> {
    let mut statements = super::parse(text, &ParseLimits::default())?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => super::epoch::none(query),
        _ => Err(PlanError::unsupported("the body of a function is one query", "AS 'SELECT ..'")),
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
