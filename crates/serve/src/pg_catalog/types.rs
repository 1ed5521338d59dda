//! PostgreSQL's types as `pg_type` lists them, and how a column's Arrow type is called there.
//!
//! Types that no column of ours has are there when drivers look them up.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// A type.
#[derive(Debug)]
pub struct Type {
    /// Its oid.
    pub oid: i64,
    /// `typname`.
    pub name: &'static str,
    /// As `format_type` says it.
    pub sql: &'static str,
    /// Bytes; -1: varying.
    pub len: i64,
    /// `typcategory`.
    pub category: &'static str,
    /// `b`, or `p` for a pseudo-type.
    pub kind: &'static str,
    /// The oid of its array type, 0 for none.
    pub array: i64,
    /// Element of `int2vector` and `oidvector`.
    pub element: i64,
}

const fn base(oid: i64, name: &'static str, sql: &'static str, len: i64, category: &'static str, array: i64) -> Type {
    Type { oid, name, sql, len, category, kind: "b", array, element: 0 }
}
const fn vector(oid: i64, name: &'static str, array: i64, element: i64) -> Type {
    Type { oid, name, sql: name, len: -1, category: "A", kind: "b", array, element }
}
const fn pseudo(oid: i64, name: &'static str, array: i64) -> Type {
    Type { oid, name, sql: name, len: 4, category: "P", kind: "p", array, element: 0 }
}

/// All but the array types.
pub static TYPES: &[Type] = &[
    base(16, "bool", "boolean", 1, "B", 1000),
    base(17, "bytea", "bytea", -1, "U", 1001),
    base(18, "char", "\"char\"", 1, "Z", 1002),
    base(19, "name", "name", 64, "S", 1003),
    base(20, "int8", "bigint", 8, "N", 1016),
    base(21, "int2", "smallint", 2, "N", 1005),
    vector(22, "int2vector", 1006, 21),
    base(23, "int4", "integer", 4, "N", 1007),
    base(24, "regproc", "regproc", 4, "N", 1008),
    base(25, "text", "text", -1, "S", 1009),
    base(26, "oid", "oid", 4, "N", 1028),
    base(27, "tid", "tid", 6, "U", 1010),
    base(28, "xid", "xid", 4, "U", 1011),
    base(29, "cid", "cid", 4, "U", 1012),
    vector(30, "oidvector", 1013, 26),
    base(114, "json", "json", -1, "U", 199),
    base(142, "xml", "xml", -1, "U", 143),
    base(194, "pg_node_tree", "pg_node_tree", -1, "Z", 0),
    base(700, "float4", "real", 4, "N", 1021),
    base(701, "float8", "double precision", 8, "N", 1022),
    base(829, "macaddr", "macaddr", 6, "U", 1040),
    base(869, "inet", "inet", -1, "I", 1041),
    base(650, "cidr", "cidr", -1, "I", 651),
    base(790, "money", "money", 8, "N", 791),
    base(1033, "aclitem", "aclitem", 16, "U", 1034),
    base(1042, "bpchar", "character", -1, "S", 1014),
    base(1043, "varchar", "character varying", -1, "S", 1015),
    base(1082, "date", "date", 4, "D", 1182),
    base(1083, "time", "time without time zone", 8, "D", 1183),
    base(1114, "timestamp", "timestamp without time zone", 8, "D", 1115),
    base(1184, "timestamptz", "timestamp with time zone", 8, "D", 1185),
    base(1186, "interval", "interval", 16, "T", 1187),
    base(1266, "timetz", "time with time zone", 12, "D", 1270),
    base(1560, "bit", "bit", -1, "V", 1561),
    base(1562, "varbit", "bit varying", -1, "V", 1563),
    base(1700, "numeric", "numeric", -1, "N", 1231),
    base(2202, "regprocedure", "regprocedure", 4, "N", 2207),
    base(2205, "regclass", "regclass", 4, "N", 2210),
    base(2206, "regtype", "regtype", 4, "N", 2211),
    base(4096, "regrole", "regrole", 4, "N", 4097),
    base(4089, "regnamespace", "regnamespace", 4, "N", 4090),
    base(2950, "uuid", "uuid", 16, "U", 2951),
    base(3220, "pg_lsn", "pg_lsn", 8, "U", 3221),
    base(3802, "jsonb", "jsonb", -1, "U", 3807),
    base(705, "unknown", "unknown", -2, "X", 0),
    pseudo(2249, "record", 2287),
    pseudo(2275, "cstring", 1263),
    pseudo(2276, "any", 0),
    pseudo(2277, "anyarray", 0),
    pseudo(2278, "void", 0),
    pseudo(2283, "anyelement", 0),
    pseudo(2279, "trigger", 0),
];

/// A type by its oid.
pub fn by_oid(oid: i64) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.oid == oid)
}

/// An array type's element by the array's oid.
pub fn element(array: i64) -> Option<&'static Type> {
    TYPES.iter().find(|t| t.array == array && array != 0)
}

/// The oid of a type by what SQL or `pg_type` calls it; `x[]` is its array type.
pub fn by_name(name: &str) -> Option<i64> {
    let name = name.trim().trim_start_matches("pg_catalog.").trim_matches('"');
    if let Some(item) = name.strip_suffix("[]") {
        return by_name(item).and_then(by_oid).map(|t| t.array).filter(|a| *a != 0);
    }
    if let Some(item) = name.strip_prefix('_').and_then(|item| TYPES.iter().find(|t| t.name == item)) {
        return Some(item.array).filter(|a| *a != 0);
    }
    let name = match name.split('(').next().unwrap_or(name).trim() {
        "int" => "int4",
        "decimal" => "numeric",
        "float" => "float8",
        other => other,
    };
    TYPES.iter().find(|t| t.name == name || t.sql == name).map(|t| t.oid)
}

/// `format_type(oid, typmod)`.
pub fn format(oid: i64, typmod: Option<i64>) -> String {
    if let Some(item) = element(oid) {
        return format!("{}[]", format(item.oid, typmod));
    }
    let Some(ty) = by_oid(oid) else { return if oid == 0 { "-".to_owned() } else { "???".to_owned() } };
    let modifier = match (oid, typmod.filter(|m| *m >= 4)) {
        (1042 | 1043, Some(m)) => format!("({})", m - 4),
        (1700, Some(m)) => format!("({},{})", ((m - 4) >> 16) & 0xffff, (m - 4) & 0xffff),
        _ => match (oid, typmod) {
            // the digits of seconds stand behind the first word
            (1083 | 1114 | 1184, Some(digits @ 0..=6)) => {
                let (word, rest) = ty.sql.split_once(' ').unwrap_or((ty.sql, ""));
                return format!("{word}({digits}) {rest}");
            }
            (1186, Some(m)) if m >> 16 == INTERVAL_FIELDS => format!("({})", m & 0xffff),
            _ => String::new(),
        },
    };
    format!("{}{modifier}", ty.sql)
}

/// What an interval of all fields has above its digits of seconds.
const INTERVAL_FIELDS: i64 = 0x7fff;

/// Oid and typmod of a column's type.
pub fn of_column(ty: &DataType, chars_max: Option<u64>) -> (i64, i64) {
    let plain = |oid| (oid, -1);
    let digits = || chars_max.and_then(|n| i64::try_from(n).ok());
    match ty {
        DataType::Boolean => plain(16),
        DataType::Int16 => plain(21),
        DataType::Int32 => plain(23),
        DataType::Int64 => plain(20),
        DataType::Float32 => plain(700),
        DataType::Float64 => plain(701),
        DataType::Utf8 => chars_max.map_or(plain(25), |n| (1043, i64::try_from(n).map_or(-1, |n| n + 4))),
        DataType::Binary => plain(17),
        DataType::FixedSizeBinary(16) => plain(2950),
        DataType::LargeUtf8 => plain(3802),
        DataType::Utf8View => plain(114),
        DataType::Date32 => plain(1082),
        DataType::Time64(_) => (1083, digits().unwrap_or(-1)),
        DataType::Timestamp(TimeUnit::Microsecond, None) => (1114, digits().unwrap_or(-1)),
        DataType::Timestamp(..) => (1184, digits().unwrap_or(-1)),
        DataType::Interval(IntervalUnit::MonthDayNano) => (1186, digits().map_or(-1, |n| INTERVAL_FIELDS << 16 | n)),
        // numeric without precision
        DataType::Decimal128(38, 16) => plain(1700),
        DataType::Decimal128(p, s) => (1700, ((i64::from(*p) << 16) | i64::from(*s & 0x7f)) + 4),
        DataType::List(_) => {
            let (oid, typmod) = of_column(regauge_types::arrays::leaf(ty), chars_max);
            (by_oid(oid).map_or(0, |t| t.array), typmod)
        }
        _ => plain(25),
    }
}
