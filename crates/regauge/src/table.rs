//! The rows of an answer.

use crate::arrow::{
    array::{Array, RecordBatch},
    datatypes::SchemaRef,
};
use regauge_views::{Value, pgtypes};
use std::fmt;

/// The rows of an answer, in batches, all of one epoch. Shown, it is a table of texts as PostgreSQL writes them.
#[derive(Clone, Debug)]
pub struct Table {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
}

impl Table {
    /// How many rows there are.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as texts, NULL as `None`: for tests, and for people.
    #[must_use]
    pub fn texts(&self) -> Vec<Vec<Option<String>>> {
        let text = |column: &dyn Array, at| {
            let value = Value::of_array(column, at)?;
            pgtypes::format_text(&value)
        };
        let rows = self.batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |at| batch.columns().iter().map(|column| text(column, at)).collect())
        });
        rows.collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let rows = self.texts().into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>());
        let rows = std::iter::once(names).chain(rows).collect::<Vec<_>>();
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max();
        let widths = (0..self.schema.fields().len()).map(|column| width(column).unwrap_or(0)).collect::<Vec<_>>();
        for (at, row) in rows.iter().enumerate() {
            let padded = row.iter().zip(&widths).map(|(text, width)| format!(" {text:width$} ")).collect::<Vec<_>>();
            writeln!(f, "{}", padded.join("|").trim_end())?;
            if at == 0 {
                writeln!(f, "{}", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("+"))?;
            }
        }
        Ok(())
    }
}
