//! PREPARE and EXECUTE, and cursors: statements that a session keeps under a name.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::statement::Statement;
use super::{P, Result, types};
use crate::error::PlanError;

impl P<'_> {
    /// `PREPARE name [(type, ..)] AS statement`
    pub(super) fn prepare(&mut self) -> Result<Statement> {
        self.expect("prepare")?;
        let name = self.name()?;
        let mut types = vec![];
        if self.symbol(&Token::LParen) {
            loop {
                let ty = self.parser.parse_data_type();
                let ty = self.sqlparser(ty)?;
                types.push(match &ty {
                    datafusion::sql::sqlparser::ast::DataType::Array(item) => {
                        use datafusion::sql::sqlparser::ast::ArrayElemTypeDef as Item;
                        match item {
                            Item::AngleBracket(of) | Item::SquareBracket(of, _) | Item::Parenthesis(of) => {
                                crate::pgtypes::list_of(types::column_type(of)?.0)
                            }
                            Item::None => return Err(self.expected("an element type")),
                        }
                    }
                    ty => types::column_type(ty)?.0,
                });
                if !self.symbol(&Token::Comma) {
                    self.expect_symbol(&Token::RParen)?;
                    break;
                }
            }
        }
        self.expect("as")?;
        match self.word_at(0).as_deref() {
            Some("select" | "values" | "with" | "table" | "insert" | "update" | "delete") => {
                let statement = Box::new(self.statement()?);
                Ok(Statement::Prepare { name, types, statement })
            }
            _ => Err(self.expected("SELECT, VALUES, INSERT, UPDATE or DELETE")),
        }
    }

    /// `EXECUTE name [(value, ..)]`
    pub(super) fn execute(&mut self) -> Result<Statement> {
        self.expect("execute")?;
        let name = self.name()?;
        let mut args = vec![];
        if self.symbol(&Token::LParen) && !self.symbol(&Token::RParen) {
            loop {
                args.push(self.expr()?);
                if !self.symbol(&Token::Comma) {
                    self.expect_symbol(&Token::RParen)?;
                    break;
                }
            }
        }
        Ok(Statement::Execute { name, args })
    }

    /// `DECLARE name [BINARY] [[NO] SCROLL] CURSOR [WITHOUT HOLD] FOR query`
    pub(super) fn declare(&mut self) -> Result<Statement> {
        self.expect("declare")?;
        let name = self.name()?;
        while !self.take("cursor") {
            match self.word_at(0).as_deref() {
                Some("asensitive" | "insensitive") => self.parser.advance_token(),
                Some("no") if self.take("no scroll") => {}
                Some("scroll") => {
                    return Err(PlanError::unsupported("SCROLL cursors are not offered", "a cursor here goes forward only"));
                }
                Some("binary") => {
                    return Err(PlanError::unsupported(
                        "BINARY cursors are not offered",
                        "ask for binary results by the protocol",
                    ));
                }
                _ => return Err(self.expected("CURSOR")),
            }
        }
        if self.take("with hold") {
            return Err(PlanError::unsupported(
                "cursors WITH HOLD are not offered",
                "read the cursor within its transaction, or SUBSCRIBE TO a view",
            ));
        }
        let _ = self.take("without hold");
        self.expect("for")?;
        Ok(Statement::Declare { name, query: self.query()? })
    }

    /// `FETCH [NEXT | n | ALL | FORWARD [n | ALL]] [FROM | IN] name`, and MOVE
    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let moves = self.take("move");
        if !moves {
            self.expect("fetch")?;
        }
        let forward = self.take("next") || self.take("forward");
        // these words may be a cursor's name as well
        let elsewhere =
            matches!(self.word_at(0).as_deref(), Some("prior" | "first" | "last" | "absolute" | "relative" | "backward"))
                && !matches!(self.parser.peek_nth_token_ref(1).token, Token::EOF | Token::SemiColon);
        if (elsewhere && !forward) || self.parser.peek_token_ref().token == Token::Minus {
            let hint = "write FETCH NEXT, FETCH n or FETCH ALL";
            return Err(PlanError::unsupported("a cursor here goes forward only", hint));
        }
        let count = if let Token::Number(n, _) = self.parser.peek_token_ref().token.clone() {
            self.parser.next_token();
            Some(n.parse::<u64>().map_err(|_| self.expected("a number of rows"))?)
        } else if self.take("all") {
            None
        } else {
            Some(1)
        };
        let _ = self.take("from") || self.take("in");
        Ok(Statement::Fetch { name: self.name()?, count, moves })
    }

    /// `CLOSE name`, `CLOSE ALL`
    pub(super) fn close(&mut self) -> Result<Statement> {
        self.expect("close")?;
        let name = if self.take("all") { None } else { Some(self.name()?) };
        Ok(Statement::Close { name })
    }
}
