//! `ADVANCE WATERMARK FOR stream [PARTITION n] TO timestamp`.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{P, Result, Statement};

impl P<'_> {
    pub(super) fn advance_watermark(&mut self) -> Result<Statement> {
        self.expect("advance watermark for")?;
        let stream = self.relation()?;
        let partition = if self.take("partition") { Some(self.partition_number()?) } else { None };
        self.expect("to")?;
        Ok(Statement::AdvanceWatermark { stream, partition, to: Box::new(self.expr()?) })
    }

    fn partition_number(&mut self) -> Result<u32> {
        let number = match &self.parser.peek_token_ref().token {
            Token::Number(n, _) => n.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected("a partition's number"))?;
        self.parser.next_token();
        Ok(number)
    }
}
