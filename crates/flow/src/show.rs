//! Values of a row as text for people: an error names its row by it.
//!
//! Invariant: equal values have equal texts, so the retraction of a row has the text of its insertion. Values are written as
//! PostgreSQL writes them, each cut to a bounded length before anything is copied, and so is the whole. It quotes nothing: the text
//! is not meant to be read back. Cost: paid for rows that fail only.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use regauge_plan::functions::cast::text_column;
use regauge_state::canonical_floats;

/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 64;
/// Bytes of a row, after which no further value is written.
const ROW_BYTES_MAX: usize = 200;

/// `what=(1, a, NULL)` of one row of these columns.
#[must_use]
pub fn row(what: &str, columns: &[ArrayRef], row: usize) -> String {
    let mut out = format!("{what}=(");
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if out.len() >= ROW_BYTES_MAX {
            out.push_str("...");
            break;
        }
        out.push_str(&value(column, row));
    }
    out.push(')');
    out
}

/// One value.
#[must_use]
pub fn value(column: &ArrayRef, row: usize) -> String {
    if row >= column.len() || column.is_null(row) {
        return "NULL".to_owned();
    }
    let one = match column.data_type() {
        DataType::Utf8 => return cut(column.as_string::<i32>().value(row)),
        // a byte is two digits; what is beyond the cut is not written at all
        DataType::Binary => {
            let bytes = column.as_binary::<i32>().value(row);
            let head = bytes.get(..VALUE_BYTES_MAX).unwrap_or(bytes);
            return cut(&head.iter().fold("\\x".to_owned(), |text, b| format!("{text}{b:02x}")));
        }
        // of equal values one form: a retraction may bring the other zero
        _ => canonical_floats(&column.slice(row, 1)),
    };
    match text_column(&one) {
        Ok(text) => cut(text.as_string_opt::<i32>().map_or("", |t| t.value(0))),
        // arrays
        Err(_) => cut(&array_value_to_string(&one, 0).unwrap_or_default()),
    }
}

fn cut(text: &str) -> String {
    if text.len() <= VALUE_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(VALUE_BYTES_MAX)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BinaryArray, BooleanArray, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_row_is_written_as_postgres_writes_its_values() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![7, -1])),
            Arc::new(StringArray::from(vec![Some("a"), None])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(BinaryArray::from(vec![&b"\x01\xff"[..], b""])),
        ];
        assert_eq!(row("row", &columns, 0), "row=(7, a, t, \\x01ff)");
        assert_eq!(row("group", &columns, 1), "group=(-1, NULL, f, \\x)");
        assert_eq!(row("group", &[], 0), "group=()");
    }

    #[test]
    fn long_values_and_wide_rows_are_cut() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["ü".repeat(100_000)]));
        assert_eq!(value(&text, 0), format!("{}...", "ü".repeat(32)));
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[0u8; 1000][..]]));
        assert!(value(&bytes, 0).len() < 80);
        let wide = vec![text; 1000];
        let shown = row("row", &wide, 0);
        assert!(shown.len() < 300 && shown.ends_with(", ...)"), "{shown}");
    }
}
