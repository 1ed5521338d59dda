//! PREPARE and EXECUTE, and cursors: statements that a session keeps under a name.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::statement::{Direction, Statement};
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
                types.push(types::column_type(&ty)?.0);
                if !self.symbol(&Token::Comma) {
                    self.expect_symbol(&Token::RParen)?;
                    break;
                }
            }
        }
        self.expect("as")?;
        match self.word_at(0).as_deref() {
            Some("select" | "values" | "with" | "table" | "insert" | "update" | "delete" | "merge") => {
                let statement = Box::new(self.statement()?);
                Ok(Statement::Prepare { name, types, statement })
            }
            _ => Err(self.expected("SELECT, VALUES, INSERT, UPDATE, DELETE or MERGE")),
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

    /// `DECLARE name [ASENSITIVE | INSENSITIVE] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`
    pub(super) fn declare(&mut self) -> Result<Statement> {
        self.expect("declare")?;
        let name = self.name()?;
        let mut scroll = false;
        while !self.take("cursor") {
            match self.word_at(0).as_deref() {
                Some("asensitive" | "insensitive") => self.parser.advance_token(),
                Some("no") if self.take("no scroll") => {}
                Some("scroll") => {
                    self.parser.advance_token();
                    scroll = true;
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
        let hold = self.take("with hold");
        let _ = !hold && self.take("without hold");
        self.expect("for")?;
        Ok(Statement::Declare { name, query: self.query()?, scroll, hold })
    }

    /// `FETCH [direction] [FROM | IN] name`, and MOVE
    pub(super) fn fetch(&mut self) -> Result<Statement> {
        let moves = self.take("move");
        if !moves {
            self.expect("fetch")?;
        }
        let direction = self.direction()?;
        let _ = self.take("from") || self.take("in");
        Ok(Statement::Fetch { name: self.name()?, direction, moves })
    }

    fn direction(&mut self) -> Result<Direction> {
        // The words may be a cursor's name as well: then nothing follows.
        if matches!(self.parser.peek_nth_token_ref(1).token, Token::EOF | Token::SemiColon) {
            return Ok(Direction::Forward(Some(1)));
        }
        Ok(match self.word_at(0).as_deref() {
            Some("next") => self.passed(Direction::Forward(Some(1))),
            Some("prior") => self.passed(Direction::Backward(Some(1))),
            Some("first") => self.passed(Direction::Absolute(1)),
            Some("last") => self.passed(Direction::Absolute(-1)),
            Some("all") => self.passed(Direction::Forward(None)),
            Some("absolute") => {
                self.parser.advance_token();
                Direction::Absolute(self.rows()?.ok_or_else(|| self.expected("the number of a row"))?)
            }
            Some("relative") => {
                self.parser.advance_token();
                Direction::Relative(self.rows()?.ok_or_else(|| self.expected("a number of rows"))?)
            }
            Some(word @ ("forward" | "backward")) => {
                let back = word == "backward";
                self.parser.advance_token();
                match self.rows()? {
                    Some(n) => counted(if back { -n } else { n }),
                    None => {
                        let n = if self.take("all") { None } else { Some(1) };
                        if back { Direction::Backward(n) } else { Direction::Forward(n) }
                    }
                }
            }
            _ => self.rows()?.map_or(Direction::Forward(Some(1)), counted),
        })
    }

    /// Steps over a word.
    fn passed<T>(&mut self, value: T) -> T {
        self.parser.advance_token();
        value
    }

    /// A whole number with its sign, if one comes next.
    fn rows(&mut self) -> Result<Option<i64>> {
        let minus = self.symbol(&Token::Minus);
        let signed = minus || self.symbol(&Token::Plus);
        let Token::Number(digits, _) = self.parser.peek_token_ref().token.clone() else {
            return if signed { Err(self.expected("a number of rows")) } else { Ok(None) };
        };
        let n: i64 = digits.parse().map_err(|_| self.expected("a whole number of rows"))?;
        self.parser.next_token();
        Ok(Some(if minus { -n } else { n }))
    }

    /// `CLOSE name`, `CLOSE ALL`
    pub(super) fn close(&mut self) -> Result<Statement> {
        self.expect("close")?;
        let name = if self.take("all") { None } else { Some(self.name()?) };
        Ok(Statement::Close { name })
    }
}

/// So many rows on; none of them means the row that it stands on.
fn counted(n: i64) -> Direction {
    match n {
        0 => Direction::Relative(0),
        n if n < 0 => Direction::Backward(Some(n.unsigned_abs())),
        n => Direction::Forward(Some(n.unsigned_abs())),
    }
}
