//! Declared SQL types to Arrow: the contract's table, and nothing beyond it.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::sql::sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo};
use regauge_types::arrays::{DIMS_MAX, depth};

use crate::error::PlanError;
use crate::functions::precision;

/// numeric without precision.
pub(crate) const NUMERIC: DataType = DataType::Decimal128(38, 16);

/// timestamptz.
pub(crate) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The Arrow type and, for varchar(n) and for times whose seconds have n digits, n; of an array its elements'.
pub(crate) fn column_type(ty: &ast::DataType) -> Result<(DataType, Option<u64>), PlanError> {
    use ast::DataType as T;
    let plain = |t| Ok((t, None));
    if let T::Interval { fields: Some(_), .. } = ty {
        return Err(PlanError::unsupported(
            "a column of an interval of certain fields is not offered",
            "use interval, and cast what is written",
        ));
    }
    if let (true, false) = (precision::written(ty), matches!(ty, T::Array(_))) {
        let mut plain = ty.clone();
        let digits = precision::taken(&mut plain)?.and_then(|digits| u64::try_from(digits).ok());
        return column_type(&plain).map(|(ty, _)| (ty, digits));
    }
    match ty {
        T::Boolean | T::Bool => plain(DataType::Boolean),
        T::SmallInt(None) | T::Int2(None) => plain(DataType::Int16),
        T::Int(None) | T::Integer(None) | T::Int4(None) => plain(DataType::Int32),
        T::BigInt(None) | T::Int8(None) => plain(DataType::Int64),
        T::Real | T::Float4 => plain(DataType::Float32),
        T::Double(_) | T::DoublePrecision | T::Float8 => plain(DataType::Float64),
        T::Float(ExactNumberInfo::None) => plain(DataType::Float64),
        T::Float(ExactNumberInfo::Precision(p)) => match p {
            1..=24 => plain(DataType::Float32),
            25..=53 => plain(DataType::Float64),
            _ => Err(PlanError::invalid("22023", "precision for type float must be between 1 and 53")),
        },
        T::Numeric(n) | T::Decimal(n) | T::Dec(n) => numeric(n).map(|t| (t, None)),
        T::Text | T::String(None) => plain(DataType::Utf8),
        T::Varchar(n) | T::CharacterVarying(n) | T::CharVarying(n) => match n {
            None => plain(DataType::Utf8),
            Some(CharacterLength::IntegerLength { length, .. }) if *length > 0 => Ok((DataType::Utf8, Some(*length))),
            Some(_) => Err(PlanError::invalid("22023", "length for type varchar must be at least 1")),
        },
        T::Bytea => plain(DataType::Binary),
        T::Date => plain(DataType::Date32),
        T::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => plain(DataType::Time64(TimeUnit::Microsecond)),
        T::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            plain(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        T::Timestamp(_, _) | T::TimestampNtz(_) if matches!(ty, T::Timestamp(..)) => plain(timestamptz()),
        T::Interval { .. } => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        T::Char(_) | T::Character(_) => Err(refused(ty, "use text or varchar(n)")),
        T::JSON => plain(DataType::Utf8View),
        T::JSONB => plain(DataType::LargeUtf8),
        T::Uuid => plain(DataType::FixedSizeBinary(16)),
        T::Array(of) => match of {
            ast::ArrayElemTypeDef::AngleBracket(of)
            | ast::ArrayElemTypeDef::SquareBracket(of, _)
            | ast::ArrayElemTypeDef::Parenthesis(of) => {
                let (of, modifier) = column_type(of)?;
                if depth(&of) >= DIMS_MAX {
                    let message = format!("number of array dimensions exceeds the maximum allowed ({DIMS_MAX})");
                    return Err(PlanError::invalid("54000", message));
                }
                Ok((crate::pgtypes::list_of(of), modifier))
            }
            ast::ArrayElemTypeDef::None => Err(refused(ty, "write integer[]")),
        },
        T::Custom(name, _)
            if ["serial", "bigserial", "smallserial", "serial4", "serial8"]
                .contains(&name.to_string().to_lowercase().as_str()) =>
        {
            Err(refused(ty, "use bigint and give the value in INSERT"))
        }
        T::Custom(name, _) if !is_of_postgres(&name.to_string()) => Err(unknown(&name.to_string())),
        other => Err(refused(
            other,
            "the types are boolean, smallint, integer, bigint, real, double precision, numeric, text, varchar, bytea, date, time, timestamp, timestamptz, interval, uuid, json, jsonb",
        )),
    }
}

/// Types of PostgreSQL that there are none of here.
const MISSING: [&str; 48] = [
    "money",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "xml",
    "tsvector",
    "tsquery",
    "bit",
    "varbit",
    "char",
    "bpchar",
    "character",
    "name",
    "oid",
    "xid",
    "xid8",
    "cid",
    "tid",
    "pg_lsn",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "timetz",
    "jsonpath",
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
    "regrole",
    "txid_snapshot",
    "pg_snapshot",
];

/// Whether PostgreSQL has a type of this name, offered here or not.
pub(crate) fn is_of_postgres(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    MISSING.contains(&name)
        || name.starts_with("reg")
        || name.starts_with("any")
        || matches!(name, "void" | "record" | "cstring" | "trigger" | "event_trigger" | "internal")
}

fn unknown(name: &str) -> PlanError {
    PlanError::invalid("42704", format!("type \"{name}\" does not exist")).with_hint("the types are listed in docs/sql.md")
}

fn refused(ty: &ast::DataType, hint: &str) -> PlanError {
    PlanError::unsupported(format!("type {} is not offered", ty.to_string().to_lowercase()), hint)
}

fn numeric(n: &ExactNumberInfo) -> Result<DataType, PlanError> {
    let (p, s) = match n {
        ExactNumberInfo::None => return Ok(NUMERIC),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    match (u8::try_from(p), i8::try_from(s)) {
        (Ok(p8), Ok(s8)) if (1..=38).contains(&p8) && (0..=i64::from(p8)).contains(&s) => Ok(DataType::Decimal128(p8, s8)),
        _ => Err(PlanError::unsupported(
            format!("numeric({p},{s}) is not offered"),
            "precision is 1 to 38 and scale 0 to precision",
        )),
    }
}
