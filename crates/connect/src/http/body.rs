//! Changes as the JSON bodies of requests.
//!
//! ```json
//! {"sink": "s", "relation": "v", "version": 1, "epoch": 812, "part": 0, "parts": 2, "snapshot": false, "key": ["who"],
//!  "rows": [{"epoch": 812, "diff": 1, "row": {"who": "ann", "n": 3}}]}
//! ```
//! `snapshot` true: the rows of all parts together are the whole relation, and take the place of everything that was sent before.
//! Numbers are JSON numbers, jsonb is itself, everything else is text as PostgreSQL writes it.

use crate::{
    error::Fault,
    rows::conform,
    target::{Rows, Write},
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::DataType,
};
use regauge_plan::functions::cast::text_column;
use regauge_types::Delta;
use std::fmt::Write as _;

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A value of a type, from its text.
fn value(ty: &DataType, shown: &str) -> String {
    match ty {
        DataType::Boolean => (if shown.starts_with('t') { "true" } else { "false" }).to_owned(),
        DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => shown.to_owned(),
        // JSON has no NaN and no infinity.
        DataType::Float32 | DataType::Float64 if shown.parse::<f64>().is_ok_and(f64::is_finite) => shown.to_owned(),
        DataType::LargeUtf8 | DataType::Utf8View => shown.to_owned(),
        _ => text(shown),
    }
}

fn rows(epoch: u64, delta: &Delta, write: &Write<'_>, out: &mut Vec<String>) -> Result<(), Fault> {
    let batch: RecordBatch = conform(&delta.rows, &write.source.relation.schema())?;
    let columns = batch.columns().iter().map(text_column).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(|e| Fault::Hopeless(format!("a column has no form as text: {e}")))?;
    for at in 0..batch.num_rows() {
        let mut row = String::new();
        for ((field, column), of) in batch.schema_ref().fields().iter().zip(batch.columns()).zip(&columns) {
            let texts = of.as_string::<i32>();
            let shown = if texts.is_null(at) { "null".to_owned() } else { value(column.data_type(), texts.value(at)) };
            let comma = if row.is_empty() { "" } else { "," };
            let _ = write!(row, "{comma}{}:{shown}", text(field.name()));
        }
        out.push(format!(r#"{{"epoch":{epoch},"diff":{},"row":{{{row}}}}}"#, delta.diff(at)));
    }
    Ok(())
}

/// The bodies of a write, `rows_max` rows each; at least one for a snapshot, which may be of nothing.
pub fn bodies(name: &str, write: &Write<'_>, rows_max: usize) -> Result<Vec<String>, Fault> {
    let mut all = vec![];
    let snapshot = match write.rows {
        Rows::Whole(batches) => {
            for batch in batches {
                rows(write.to.epoch, &Delta::ones(batch.clone()), write, &mut all)?;
            }
            true
        }
        Rows::Changes(epochs) => {
            for (epoch, delta) in epochs {
                rows(epoch.0, delta, write, &mut all)?;
            }
            false
        }
    };
    let columns = &write.source.relation.columns;
    let key: Vec<String> = write.source.key.iter().flatten().filter_map(|at| columns.get(*at)).map(|c| text(&c.name)).collect();
    let mut parts: Vec<&[String]> = all.chunks(rows_max.max(1)).collect();
    if parts.is_empty() && snapshot {
        parts.push(&[]);
    }
    let n = parts.len();
    let body = |(part, rows): (usize, &[String])| {
        format!(
            r#"{{"sink":{},"relation":{},"version":{},"epoch":{},"part":{part},"parts":{n},"snapshot":{snapshot},"key":[{}],"rows":[{}]}}"#,
            text(name),
            text(&write.source.relation.name.to_string()),
            write.to.version,
            write.to.epoch,
            key.join(","),
            rows.join(",")
        )
    };
    Ok(parts.into_iter().enumerate().map(body).collect())
}

#[cfg(test)]
mod tests {
    use super::value;
    use arrow::datatypes::DataType;

    #[test]
    fn values_are_json_of_their_kind() {
        assert_eq!(value(&DataType::Boolean, "t"), "true");
        assert_eq!(value(&DataType::Int64, "-5"), "-5");
        assert_eq!(value(&DataType::Float64, "1.5e+300"), "1.5e+300");
        assert_eq!(value(&DataType::Float64, "NaN"), "\"NaN\"");
        assert_eq!(value(&DataType::LargeUtf8, "{\"a\": 1}"), "{\"a\": 1}");
        assert_eq!(value(&DataType::Utf8, "a\"b"), "\"a\\\"b\"");
    }
}
