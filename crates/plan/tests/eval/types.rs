//! Text in and out: what a type prints it reads back, hostile text is refused with PostgreSQL's SQLSTATE, never with a panic.

use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;
use regauge_plan::pgtypes::{self, format_text, parse_text, type_by_name};
use regauge_plan::value::{Datum, Value};

fn all_types() -> Vec<DataType> {
    [
        "bool",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "numeric",
        "text",
        "bytea",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
    ]
    .map(|name| type_by_name(name, &[]).unwrap())
    .to_vec()
}

fn round_trip(ty: DataType, datum: Datum) {
    let value = Value { ty, datum };
    let text = format_text(&value).unwrap();
    assert_eq!(parse_text(&value.ty, &text).unwrap(), value, "{text}");
}

#[test]
fn text_that_is_no_value_is_refused_with_postgres_sqlstate() {
    for (ty, text, state) in [
        ("int4", "abc", "22P02"),
        ("int4", "2147483648", "22003"),
        ("int2", "", "22P02"),
        ("float8", "1e400", "22003"),
        ("float8", "1e-400", "22003"),
        ("float8", "nanx", "22P02"),
        ("numeric", "1..2", "22P02"),
        ("numeric", "1e30", "22003"),
        ("bool", "maybe", "22P02"),
        ("date", "2023-02-29", "22008"),
        ("date", "yesterday-ish", "22007"),
        ("timestamp", "2023-01-01 25:00", "22008"),
        ("time", "24:00:01", "22008"),
        ("interval", "1 fortnight", "22007"),
        ("bytea", "\\xzz", "22023"),
    ] {
        let error = parse_text(&type_by_name(ty, &[]).unwrap(), text).unwrap_err();
        assert_eq!(error.sqlstate, state, "{ty} {text}: {error}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(
        bits in any::<u64>(), small in any::<u32>(), int in any::<i64>(), us in -62_135_596_800_000_000i64..253_402_300_800_000_000,
        days in -700_000i32..2_900_000, span in (-100_000i32..100_000, -100_000i32..100_000, -1_000_000_000_000i64..1_000_000_000_000),
        unscaled in -(10i128.pow(37))..10i128.pow(37), scale in 0i8..=30, bytes in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let (double, real) = (f64::from_bits(bits), f32::from_bits(small));
        round_trip(DataType::Float64, Datum::Float(if double.is_nan() { f64::NAN } else { double }));
        if !real.is_nan() {
            round_trip(DataType::Float32, Datum::Float(real.into()));
        }
        round_trip(DataType::Int64, Datum::Int(int));
        round_trip(DataType::Decimal128(38, scale), Datum::Decimal(unscaled));
        round_trip(DataType::Timestamp(TimeUnit::Microsecond, None), Datum::Timestamp(us));
        round_trip(pgtypes::timestamptz(), Datum::Timestamp(us));
        round_trip(DataType::Date32, Datum::Date(days));
        round_trip(DataType::Time64(TimeUnit::Microsecond), Datum::Time(us.rem_euclid(86_400_000_000)));
        round_trip(pgtypes::interval(), Datum::Interval { months: span.0, days: span.1, nanos: span.2 * 1000 });
        round_trip(DataType::Binary, Datum::Bytes(bytes));
    }

    #[test]
    fn hostile_text_never_panics(text in "[-+0-9eE.:\\\\xTtzZ /a-fPpYMDH é]{0,24}") {
        for ty in all_types() {
            if let Ok(value) = parse_text(&ty, &text) {
                prop_assert!(value.fits(), "{ty}: {text}");
                format_text(&value);
            }
        }
    }
}
