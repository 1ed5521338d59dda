//! Bytes that outlive a process: if one of these changes, data written by an earlier release is misread. Never adapt them.

use arrow::array::*;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use regauge_types::key::KeyOrder;
use regauge_types::{CausalToken, DataSetId, Digest, Hlc, Lsn, TokenKey, hash, key};
use std::sync::Arc;

fn columns() -> Vec<(&'static str, ArrayRef)> {
    let interval = PrimitiveArray::<IntervalMonthDayNanoType>::from(vec![Some(IntervalMonthDayNano::new(1, 2, 3)), None]);
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None]);
    list.append_null();
    vec![
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("bigint", Arc::new(Int64Array::from(vec![Some(-2), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(-1.5), Some(-0.0)]))),
        ("numeric", Arc::new(Decimal128Array::from(vec![Some(-12345), None]).with_precision_and_scale(10, 2).unwrap())),
        ("text", Arc::new(StringArray::from(vec![Some("a\0regauge"), Some("")]))),
        ("bytea", Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\xff"), None]))),
        ("date", Arc::new(Date32Array::from(vec![Some(20_000), None]))),
        ("timestamptz", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_000), None]).with_timezone("UTC"))),
        ("interval", Arc::new(interval)),
        ("int[]", Arc::new(list.finish())),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn lines() -> String {
    let mut out = String::new();
    for (name, column) in columns() {
        let hashes = hash::hash_columns(std::slice::from_ref(&column), 2).unwrap();
        let up = key::encode(std::slice::from_ref(&column), 2).unwrap();
        let down = key::encode_ordered(&[column], &[KeyOrder { descending: true, nulls_first: true, exact: false }], 2).unwrap();
        for (row, hash) in hashes.iter().enumerate() {
            out += &format!("{name} {row} {hash:016x} {} {}\n", hex(up.get(row)), hex(down.get(row)));
        }
    }
    let all: Vec<ArrayRef> = columns().into_iter().map(|c| c.1).collect();
    out += &format!("row {:x?}\n", hash::hash_columns(&all, 2).unwrap());
    let mut digest = Digest::default();
    key::encode(&all, 2).unwrap().iter().for_each(|k| digest.add(k, 3));
    out += &format!("digest {digest}\n");
    let token = CausalToken { data_set: DataSetId(*b"0123456789abcdef"), incarnation: 1, lsn: Lsn(2), hlc: Hlc(3) };
    out += &format!("token {}\n", token.encode(&TokenKey::derive(b"secret")));
    out
}

#[test]
fn stored_bytes_are_those_of_the_first_release() {
    assert_eq!(lines(), include_str!("golden.txt"), "never adapt golden.txt: give the new bytes a new format version");
}

#[test]
fn keys_of_arrays_of_several_dimensions_are_their_elements_and_then_their_dimensions() {
    use arrow::datatypes::DataType;
    let leaves: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None]));
    let ty = regauge_types::arrays::nest(DataType::Int32, 2);
    let column = regauge_types::arrays::build(&ty, leaves, &[Some(vec![2, 1]), None, Some(vec![])]).unwrap();
    let keys = key::encode(&[column], 3).unwrap();
    let one = "01018000000000000001ff00020000000200000001";
    assert_eq!(keys.iter().map(hex).collect::<Vec<_>>(), [one, "ff", "0100"]);
}
