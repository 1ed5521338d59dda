//! CREATE INDEX and DROP INDEX.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Ddl, P, RelationName, Result, Statement};
use crate::error::PlanError;

/// What CREATE INDEX says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateIndex {
    /// Its name, if it is given one.
    pub name: Option<String>,
    /// IF NOT EXISTS.
    pub if_not_exists: bool,
    /// Of which relation.
    pub on: RelationName,
    /// `btree` or `hash`.
    pub method: String,
    /// By what, in order.
    pub columns: Vec<IndexColumn>,
    /// INCLUDE.
    pub include: Vec<String>,
}

/// A column that an index is ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexColumn {
    /// Which one.
    pub name: String,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST, or what DESC says of them.
    pub nulls_first: bool,
}

impl P<'_> {
    /// Behind CREATE.
    pub(super) fn create_index(&mut self) -> Result<Statement> {
        self.expect("index")?;
        let _ = self.take("concurrently");
        let if_not_exists = self.take("if not exists");
        let name = if self.word_at(0).as_deref() == Some("on") { None } else { Some(self.name()?) };
        self.expect("on")?;
        let _ = self.take("only");
        let on = self.relation()?;
        let method = if self.take("using") { self.name()? } else { "btree".to_owned() };
        if !matches!(method.as_str(), "btree" | "hash") {
            let hint = "an index by columns needs none: leave USING out";
            return Err(PlanError::unsupported(format!("access method \"{method}\" is not offered"), hint));
        }
        self.expect_symbol(&Token::LParen)?;
        let mut columns = vec![self.index_column()?];
        while self.symbol(&Token::Comma) {
            columns.push(self.index_column()?);
        }
        self.expect_symbol(&Token::RParen)?;
        let include = if self.take("include") { self.names_in_parens()? } else { vec![] };
        if self.word_at(0).as_deref() == Some("where") {
            return Err(PlanError::unsupported("an index of some rows is not offered", "leave WHERE out"));
        }
        Ok(Self::ddl(Ddl::CreateIndex(CreateIndex { name, if_not_exists, on, method, columns, include })))
    }

    fn index_column(&mut self) -> Result<IndexColumn> {
        let by_expression = || PlanError::unsupported("an index by an expression is not offered", "name columns");
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(by_expression());
        }
        let name = self.name()?;
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(by_expression());
        }
        // An operator class or a collation changes no answer.
        if self.take("collate") {
            self.relation()?;
        }
        if self.word_at(0).is_some_and(|w| w.ends_with("_ops")) {
            self.name()?;
        }
        let descending = self.take("desc");
        let _ = !descending && self.take("asc");
        let nulls_first = self.take("nulls first") || (!self.take("nulls last") && descending);
        Ok(IndexColumn { name, descending, nulls_first })
    }

    /// Behind DROP INDEX.
    pub(super) fn drop_index(&mut self) -> Result<Statement> {
        let _ = self.take("concurrently");
        let if_exists = self.take("if exists");
        let mut names = vec![self.relation()?];
        while self.symbol(&Token::Comma) {
            names.push(self.relation()?);
        }
        let _ = self.take("cascade") || self.take("restrict");
        Ok(Self::ddl(Ddl::DropIndex { names, if_exists }))
    }
}
