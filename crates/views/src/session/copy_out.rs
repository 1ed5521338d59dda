//! COPY .. TO STDOUT: the rows of a table or a query as csv or PostgreSQL's text format, batch by batch.
//!
//! It does not know the protocol that takes the lines away; a batch is written when it is asked for.

use super::{Session, txn::Txn};
use crate::{
    error::{Error, Result},
    response::{Response, RowStream},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::SchemaRef,
};
use regauge_plan::{
    functions::cast::text_column,
    local::{self, Zone},
    parse::{Copy, CopyTo},
};

/// Rows on their way out.
pub struct CopyOut {
    /// Their columns.
    pub schema: SchemaRef,
    /// Them.
    pub stream: RowStream,
    /// How they are written.
    pub form: Copy,
    /// Where moments are shown.
    pub zone: Zone,
}

impl Session {
    pub(super) async fn copy_to(&mut self, txn: &mut Txn, copy: &CopyTo) -> Result<Response> {
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = copy.form.columns.iter().find(|name| !seen.insert(name.as_str())) {
            let message = format!("column \"{twice}\" specified more than once");
            return Err(Error::invalid(crate::error::sqlstate::DUPLICATE_COLUMN, message));
        }
        let Response::Rows(rows) = self.select(txn, &copy.query, None).await? else {
            return Err(Error::internal("a query gave no rows"));
        };
        Ok(Response::CopyOut(Box::new(CopyOut {
            schema: rows.schema,
            stream: rows.stream,
            form: copy.form.clone(),
            zone: self.zone(),
        })))
    }
}

impl CopyOut {
    /// The line of names, if one was asked for.
    #[must_use]
    pub fn header(&self) -> Option<Vec<u8>> {
        self.form.header.then(|| {
            let mut line = vec![];
            for (i, field) in self.schema.fields().iter().enumerate() {
                self.separate(i, &mut line);
                if self.form.csv {
                    self.csv(field.name(), false, &mut line);
                } else {
                    self.text(field.name(), &mut line);
                }
            }
            line.push(b'\n');
            line
        })
    }

    /// The lines of a batch, one for each row.
    ///
    /// # Errors
    /// 0A000 for a column whose type has no text form, and for the binary format, whose values the protocol writes.
    pub fn lines(&self, batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        if self.form.binary {
            return Err(super::copy::no_protocol());
        }
        let _zone = local::enter(self.zone);
        let columns: Vec<ArrayRef> =
            batch.columns().iter().map(text_column).collect::<Result<_, _>>().map_err(|e| Error::from_eval(&e))?;
        let mut lines = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut line = vec![];
            for (i, column) in columns.iter().enumerate() {
                self.separate(i, &mut line);
                let texts = column.as_string::<i32>();
                if texts.is_null(row) {
                    line.extend(self.form.null.as_bytes());
                } else if self.form.csv {
                    self.csv(texts.value(row), columns.len() == 1, &mut line);
                } else {
                    self.text(texts.value(row), &mut line);
                }
            }
            line.push(b'\n');
            lines.push(line);
        }
        Ok(lines)
    }

    fn separate(&self, i: usize, line: &mut Vec<u8>) {
        if i > 0 {
            line.extend(self.form.delimiter.to_string().as_bytes());
        }
    }

    /// A field that could be read as something else is quoted; `alone` is one that is a line by itself.
    fn csv(&self, text: &str, alone: bool, line: &mut Vec<u8>) {
        let (delimiter, quote) = (self.form.delimiter, self.form.quote);
        let special = |c: char| c == delimiter || c == quote || matches!(c, '\n' | '\r');
        if text == self.form.null || text.contains(special) || (alone && text == "\\.") {
            let doubled = text.replace(quote, &format!("{quote}{quote}"));
            line.extend(format!("{quote}{doubled}{quote}").as_bytes());
        } else {
            line.extend(text.as_bytes());
        }
    }

    fn text(&self, text: &str, line: &mut Vec<u8>) {
        for byte in text.bytes() {
            let short = match byte {
                b'\\' => b'\\',
                b'\x08' => b'b',
                b'\x0c' => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                b'\x0b' => b'v',
                other if u8::try_from(self.form.delimiter).is_ok_and(|d| d == other) => other,
                other => {
                    line.push(other);
                    continue;
                }
            };
            line.extend([b'\\', short]);
        }
    }
}
