//! Records as a door has read them, with those that are none: what [`sift`](super::sift) judges and one commit stores.
//!
//! ```text
//!   bytes ─▶ door: cuts, counts, reads ─▶ Intake: rows + how each came + bad ones ─▶ sift: rules ─▶ rows and letters ─▶ one commit
//! ```
//! Invariant (I12): `n_records` is what the door cut out of its input, counted before it is known what becomes of a record; a commit whose rows
//! and letters are not as many is refused. Cost: nothing where bad records are refused; else 40 bytes a record until the commit.
//! It does not know formats.

use crate::{
    catalog::{Relation, dead},
    error::{Error, Result},
};
use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray},
    compute::filter_record_batch,
};
use bytes::Bytes;
use regauge_log::ProducerSeq;
use std::sync::Arc;

/// What becomes of bad records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// What brings one is refused.
    #[default]
    Fail,
    /// It is stored beside the stream.
    DeadLetter,
}

impl OnError {
    /// By its name.
    pub fn parse(text: &str) -> Result<OnError> {
        dead::option(text).map(|stored| if stored { OnError::DeadLetter } else { OnError::Fail })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OnError::Fail => dead::FAIL,
            OnError::DeadLetter => dead::DEAD_LETTER,
        }
    }
}

/// A record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Its bytes, without the end of its line.
    pub bytes: Bytes,
    /// On which line it begins, or which row it is, from 1.
    pub position: u64,
}

/// A record that is to blame for an error.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// As it came.
    pub raw: Raw,
    /// What is wrong with it.
    pub error: Error,
    /// With which column, where the reader knows.
    pub column: Option<String>,
}

/// Bad records that one request, COPY or statement may bring: they are held in memory until its commit.
pub const LETTERS_MAX: usize = 65_536;

/// 54000 when there are more than [`LETTERS_MAX`].
pub fn check_room(n_letters: usize) -> Result<()> {
    if n_letters <= LETTERS_MAX {
        return Ok(());
    }
    let message = format!("more than {LETTERS_MAX} records are bad: nothing of them is stored");
    Err(Error::invalid("54000", message)
        .hint("is it the right stream and format? Send fewer records at once to have them stored beside it"))
}

/// Through which door records came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// `copy`, `records` or `insert`.
    pub source: &'static str,
    /// How records were written; `row` where they were rows already.
    pub format: &'static str,
}

/// See the module's header.
#[derive(Clone, Debug)]
pub struct Intake {
    /// The good ones, in the columns that they name.
    pub rows: RecordBatch,
    /// How each of them came, in the same order. Of rows that were rows already there is none: their values are written as JSON.
    pub raws: Vec<Raw>,
    /// The bad ones so far.
    pub letters: Vec<DeadLetter>,
    /// How many there were in all.
    pub n_records: u64,
    /// What becomes of bad ones.
    pub on_error: OnError,
    /// Where they came in.
    pub door: Door,
}

impl Intake {
    /// Rows of a program or a query.
    #[must_use]
    pub fn of_rows(rows: RecordBatch, on_error: OnError, source: &'static str) -> Intake {
        let n_records = rows.num_rows() as u64;
        let door = Door { source, format: "row" };
        Intake { rows, raws: vec![], letters: vec![], n_records, on_error, door }
    }
}

/// The rows that are no letters, with how they came.
pub fn without(rows: &RecordBatch, raws: Vec<Raw>, bad: &[bool]) -> Result<(RecordBatch, Vec<Raw>)> {
    let mask = bad.iter().map(|bad| Some(!bad)).collect();
    let rows = filter_record_batch(rows, &mask).map_err(Error::arrow)?;
    let raws = raws.into_iter().zip(bad).filter(|(_, bad)| !**bad).map(|(raw, _)| raw).collect();
    Ok((rows, raws))
}

/// A row that came as a row: an object of its values in PostgreSQL's text.
pub(super) fn raw_of(rows: &RecordBatch, row: usize) -> Raw {
    let value = |column: &ArrayRef| {
        if column.is_null(row) {
            return serde_json::Value::Null;
        }
        let text = regauge_plan::functions::cast::text_column(&column.slice(row, 1));
        let text = text.ok().and_then(|t| Some(t.as_string_opt::<i32>()?.value(0).to_owned()));
        let shown = || arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
        serde_json::Value::String(text.unwrap_or_else(shown))
    };
    let fields = rows.schema();
    let object: Vec<String> = fields
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, column)| format!("{}:{}", serde_json::Value::String(field.name().clone()), value(column)))
        .collect();
    Raw { bytes: Bytes::from(format!("{{{}}}", object.join(","))), position: row as u64 + 1 }
}

/// Letters as rows of the stream that holds them, in the order in which they came.
pub(super) fn letters(
    of: &Relation,
    mut letters: Vec<DeadLetter>,
    door: Door,
    producer: Option<&ProducerSeq>,
) -> Result<RecordBatch> {
    letters.sort_by_key(|letter| letter.raw.position);
    let n = letters.len();
    let int = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    // A text has no zero byte.
    let text = |letter: &DeadLetter| std::str::from_utf8(&letter.raw.bytes).ok().filter(|t| !t.contains('\0')).map(str::to_owned);
    let texts: Vec<Option<String>> = letters.iter().map(text).collect();
    let bytes = letters.iter().zip(&texts).map(|(letter, text)| text.is_none().then_some(letter.raw.bytes.as_ref()));
    let bytes: ArrayRef = Arc::new(bytes.collect::<BinaryArray>());
    let strings =
        |of: &dyn Fn(&DeadLetter) -> Option<String>| -> ArrayRef { Arc::new(letters.iter().map(of).collect::<StringArray>()) };
    let same = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text; n])) };
    let number = |value: Option<u64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value.map(int); n])) };
    let positions: ArrayRef = Arc::new(letters.iter().map(|l| Some(int(l.raw.position))).collect::<Int64Array>());
    let columns = vec![
        Arc::new(StringArray::from(texts)) as ArrayRef,
        bytes,
        strings(&|l| Some(l.error.sqlstate.to_owned())),
        strings(&|l| Some(l.error.message.clone())),
        strings(&|l| l.column.clone()),
        same(Some(door.source)),
        same(Some(door.format)),
        positions,
        same(producer.map(|p| p.id.as_str())),
        number(producer.map(|p| p.incarnation)),
        number(producer.map(|p| p.sequence)),
    ];
    RecordBatch::try_new(of.schema(), columns).map_err(Error::arrow)
}
