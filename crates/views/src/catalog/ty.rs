//! Names of types: what the catalog's events, SHOW and DESCRIBE say, and back again.
//!
//! Invariant: `parse(&name(t)) == Some(t)` for every type that a column may have. What is not here is no column's type.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// The type of a column as it is declared: `varchar(9)`, `timestamp(3)`; the modifier of an array is its elements'.
#[must_use]
pub fn written(ty: &DataType, modifier: Option<u64>) -> String {
    let Some(n) = modifier else { return name(ty) };
    match ty {
        DataType::List(item) => format!("{}[]", written(item.data_type(), modifier)),
        DataType::Utf8 => format!("varchar({n})"),
        _ => format!("{}({n})", name(ty)),
    }
}

/// The SQL name of a column's type, or Arrow's where SQL has none.
#[must_use]
pub fn name(ty: &DataType) -> String {
    let fixed = match ty {
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 => "text",
        DataType::Binary => "bytea",
        DataType::FixedSizeBinary(16) => "uuid",
        DataType::LargeUtf8 => "jsonb",
        DataType::Utf8View => "json",
        DataType::Date32 => "date",
        DataType::Time64(TimeUnit::Microsecond) => "time",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz",
        DataType::Interval(IntervalUnit::MonthDayNano) => "interval",
        DataType::Decimal128(p, s) => return format!("numeric({p},{s})"),
        DataType::List(item) => return format!("{}[]", name(item.data_type())),
        other => return format!("{other}"),
    };
    fixed.to_owned()
}

/// The type of a name that [`name`] gave.
#[must_use]
pub fn parse(text: &str) -> Option<DataType> {
    if let Some(item) = text.strip_suffix("[]") {
        return Some(DataType::new_list(parse(item)?, true));
    }
    if let Some(inner) = text.strip_prefix("numeric(").and_then(|t| t.strip_suffix(')')) {
        let (p, s) = inner.split_once(',')?;
        return Some(DataType::Decimal128(p.trim().parse().ok()?, s.trim().parse().ok()?));
    }
    Some(match text {
        "boolean" => DataType::Boolean,
        "smallint" => DataType::Int16,
        "integer" => DataType::Int32,
        "bigint" => DataType::Int64,
        "real" => DataType::Float32,
        "double precision" => DataType::Float64,
        "text" => DataType::Utf8,
        "bytea" => DataType::Binary,
        "uuid" => DataType::FixedSizeBinary(16),
        "jsonb" => DataType::LargeUtf8,
        "json" => DataType::Utf8View,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_type() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let list = DataType::new_list(DataType::Decimal128(38, 16), true);
        let deep = regauge_types::arrays::nest(DataType::Int32, 3);
        for ty in [
            DataType::Boolean,
            DataType::Int16,
            DataType::Decimal128(10, -2),
            DataType::FixedSizeBinary(16),
            DataType::LargeUtf8,
            DataType::Utf8View,
            utc,
            list,
            deep,
        ] {
            assert_eq!(parse(&name(&ty)), Some(ty));
        }
        assert_eq!(parse("numeric(1)"), None);
    }
}
