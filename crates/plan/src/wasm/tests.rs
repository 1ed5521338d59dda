//! Guests of every kind, called as queries call them.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::logical_expr::ColumnarValue;
use datafusion::scalar::ScalarValue;
use std::sync::Arc;

use super::*;
use crate::functions::udf::call;

const INT: DataType = DataType::Int64;
const TEXT: DataType = DataType::Utf8;

/// Judges an export and calls it.
fn run(wat: &str, export: &str, strict: bool, ret: &DataType, args: &[ArrayRef]) -> Result<ArrayRef, String> {
    let bytes = read(wat).map_err(|e| format!("{} {e}", e.sqlstate()))?;
    let module = keep(&bytes);
    let types: Vec<DataType> = args.iter().map(|a| a.data_type().clone()).collect();
    module.judge(export, &Signature::of(&types, ret, strict)).map_err(|e| format!("{} {e}", e.sqlstate()))?;
    let constant = |text: &str| ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.to_owned())));
    let null = ScalarValue::try_from(ret).map_err(|e| e.to_string())?;
    let mode = if strict { "strict" } else { "null" };
    let mut all = vec![constant(module.hash()), constant(export), constant(mode), ColumnarValue::Scalar(null)];
    let n = args.first().map_or(1, |a| a.len());
    all.extend(args.iter().map(|a| ColumnarValue::Array(a.clone())));
    let value = call(&CALL, &all, n, ret).map_err(|e| format!("{} {}", e.sqlstate, e.message))?;
    value.to_array(n).map_err(|e| e.to_string())
}

fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

const SUM: &str = r#"(module (func (export "f") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1))))"#;

/// A memory and an allocator that only goes up.
const HEAP: &str = r#"(memory (export "memory") 1 512) (global $top (mut i32) (i32.const 16))
  (func $alloc (export "alloc") (param $n i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.add (global.get $top) (local.get $n)))
    (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.add (i32.div_u (local.get $n) (i32.const 65536)) (i32.const 1))))))
    (local.get $at))"#;

#[test]
fn numbers_go_in_and_come_out() {
    let args = [ints(&[Some(1), None, Some(i64::MAX)]), ints(&[Some(2), Some(3), Some(1)])];
    let sums = run(SUM, "f", true, &INT, &args).expect("runs");
    assert_eq!(sums.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(3), None, Some(i64::MIN)]);
}

#[test]
fn texts_go_through_the_guests_memory() {
    let wat = format!(
        r#"(module {HEAP}
          (func (export "twice") (param $at i32) (param $n i32) (result i32 i32)
            (local $to i32)
            (local.set $to (call $alloc (i32.mul (local.get $n) (i32.const 2))))
            (memory.copy (local.get $to) (local.get $at) (local.get $n))
            (memory.copy (i32.add (local.get $to) (local.get $n)) (local.get $at) (local.get $n))
            (local.get $to) (i32.mul (local.get $n) (i32.const 2)))
          (func (export "packed") (param $at i32) (param $n i32) (result i64)
            (if (i32.eqz (local.get $n)) (then (return (i64.const -1))))
            (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $n)))))"#
    );
    let big = "é".repeat(100_000);
    let args = [texts(&[Some("ab"), None, Some(""), Some(&big)])];
    let twice = run(&wat, "twice", true, &TEXT, &args).expect("runs");
    let long = format!("{big}{big}");
    assert_eq!(twice.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("abab"), None, Some(""), Some(long.as_str())]);
    let packed = run(&wat, "packed", true, &TEXT, &args).expect("runs");
    assert_eq!(packed.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("ab"), None, None, Some(big.as_str())]);
}

#[test]
fn nulls_are_told_and_given() {
    let wat = r#"(module
      (func (export "or_seven") (param $null i32) (param $x i64) (result i32 i64)
        (if (local.get $null) (then (return (i32.const 0) (i64.const 7))))
        (i64.eq (local.get $x) (i64.const 1)) (local.get $x)))"#;
    let some = run(wat, "or_seven", false, &INT, &[ints(&[Some(1), None, Some(3)])]).expect("runs");
    assert_eq!(some.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(7), Some(3)]);
    let asked = r#"(module (global $n (mut i32) (i32.const 0))
      (func (export "f") (param $x i64) (result i64) (global.set $n (i64.eqz (local.get $x))) (local.get $x))
      (func (export "is_null") (result i32) (global.get $n)))"#;
    let some = run(asked, "f", true, &INT, &[ints(&[Some(0), Some(3)])]).expect("runs");
    assert_eq!(some.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [None, Some(3)]);
}

#[test]
fn a_call_remembers_nothing_of_the_one_before() {
    let counts = r#"(module (global $n (mut i64) (i64.const 0)) (memory 1)
      (func (export "f") (param i64) (result i64)
        (global.set $n (i64.add (global.get $n) (i64.const 1)))
        (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 10)))
        (i64.add (global.get $n) (i64.load (i32.const 0)))))"#;
    let all = run(counts, "f", true, &INT, &[ints(&[Some(5); 4])]).expect("runs");
    assert_eq!(all.as_primitive::<Int64Type>().values(), &[11; 4]);
}

#[test]
fn there_is_one_nan() {
    let wat = r#"(module (func (export "f") (param f64) (result f64)
      (if (result f64) (f64.eq (local.get 0) (f64.const 1))
        (then (f64.reinterpret_i64 (i64.const 0xfff8dead_beef0001))) (else (f64.sqrt (f64.const -1))))))"#;
    let args: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, f64::from_bits(0x7ff0_0000_0000_0001)]));
    let all = run(wat, "f", true, &DataType::Float64, &[args]).expect("runs");
    let bits: Vec<u64> = all.as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [f64::NAN.to_bits(); 3]);
    let seen = r#"(module (func (export "f") (param f64) (result i64) (i64.reinterpret_f64 (local.get 0))))"#;
    let args: ArrayRef = Arc::new(Float64Array::from(vec![f64::from_bits(0xfff0_0000_0000_0001)]));
    let all = run(seen, "f", true, &INT, &[args]).expect("runs");
    assert_eq!(all.as_primitive::<Int64Type>().value(0).cast_unsigned(), f64::NAN.to_bits());
}

/// The error of one call over a bigint, or of its creation.
fn fails(wat: &str, ret: &DataType) -> String {
    run(wat, "f", true, ret, &[ints(&[Some(1)])]).expect_err("fails")
}

#[test]
fn what_goes_wrong_within_a_guest_is_an_error_with_a_code() {
    let of = |body: &str| format!(r#"(module (func $f (export "f") (param i64) (result i64) {body}))"#);
    let cases = [
        (of("unreachable"), "38000", "trapped"),
        (of("(i64.div_s (local.get 0) (i64.const 0))"), "38000", "trapped"),
        (of("(i64.trunc_f64_s (f64.const 1e300))"), "38000", "trapped"),
        (of("(loop $l (br $l)) (i64.const 0)"), "54000", "fuel"),
        (of("(call $f (local.get 0))"), "54001", "deeply"),
        (
            r#"(module (memory 1) (func (export "f") (param i64) (result i64) (drop (memory.grow (i32.const 1000))) (i64.const 0)))"#
                .to_owned(),
            "54000",
            "memory",
        ),
        (r#"(module (memory 1000) (func (export "f") (param i64) (result i64) (i64.const 0)))"#.to_owned(), "54000", "memory"),
        (
            r#"(module (table 100000 funcref) (func (export "f") (param i64) (result i64) (i64.const 0)))"#.to_owned(),
            "54000",
            "memory",
        ),
        (
            r#"(module (memory 1) (func (export "f") (param i64) (result i64) (i64.load (i32.const 70000))))"#.to_owned(),
            "38000",
            "trapped",
        ),
        (
            r#"(module (func $s (loop $l (br $l))) (start $s) (func (export "f") (param i64) (result i64) (i64.const 0)))"#.to_owned(),
            "54000",
            "fuel",
        ),
        (
            r#"(module (memory (export "memory") 1) (data (i32.const 8) "no such\nthing")
              (func (export "f") (param i64) (result i64) unreachable)
              (func (export "error_message") (result i64) (i64.const 0x80000000d)))"#
                .to_owned(),
            "38000",
            "failed: no such thing",
        ),
    ];
    for (wat, code, word) in cases {
        let said = fails(&wat, &INT);
        assert!(said.starts_with(code) && said.contains(word), "{said}: {wat}");
        let error = EvalError::new("38000", said[6..].to_owned());
        assert!(hint(&error).is_some(), "{said}");
    }
}

#[test]
fn results_that_break_the_rules_are_errors() {
    let of = |data: &str, result: &str| {
        format!(
            r#"(module (memory (export "memory") 1) (data (i32.const 0) "{data}")
              (func (export "f") (param i64) (result i32 i32) {result}))"#
        )
    };
    let said = fails(&of(r"\ff\fe", "(i32.const 0) (i32.const 2)"), &TEXT);
    assert!(said.starts_with("22021") && said.contains("UTF-8"), "{said}");
    let said = fails(&of(r"a\00b", "(i32.const 0) (i32.const 3)"), &TEXT);
    assert!(said.starts_with("22021") && said.contains("zero"), "{said}");
    for outside in ["(i32.const 65536) (i32.const 1)", "(i32.const 0) (i32.const -1)", "(i32.const -2) (i32.const -2)"] {
        let said = fails(&of("", outside), &TEXT);
        assert!(said.starts_with("38000") && said.contains("outside"), "{said}");
    }
    let small = r#"(module (func (export "f") (param i64) (result i32) (i32.const 40000)))"#;
    assert!(fails(small, &DataType::Int16).starts_with("22003"));
    let date = r#"(module (func (export "f") (param i64) (result i32) (i32.const -2147483647)))"#;
    assert!(fails(date, &DataType::Date32).starts_with("22008"));
    let elsewhere = r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) (i32.const 65534))
      (func (export "f") (param i32 i32) (result i64) (i64.const 1)))"#;
    let said = run(elsewhere, "f", true, &INT, &[texts(&[Some("abc")])]).expect_err("no room");
    assert!(said.starts_with("38000") && said.contains("alloc"), "{said}");
}

#[test]
fn a_module_that_does_not_fit_is_refused_when_it_is_made() {
    let cases = [
        ("(module", "42601"),
        (r"\x0061736d0", "42601"),
        ("hello there", "42601"),
        (r"\x00616263", "42P13"),
        ("AGFzbQEAAAA=", "42P13"),
        (
            r#"(module (import "env" "clock" (func (result i64))) (func (export "f") (param i64) (result i64) (local.get 0)))"#,
            "42P13",
        ),
        (r#"(module (import "env" "memory" (memory 1)) (func (export "f") (param i64) (result i64) (local.get 0)))"#, "42P13"),
        (r#"(module (func (export "g") (param i64) (result i64) (local.get 0)))"#, "42P13"),
        (r#"(module (global (export "f") i64 (i64.const 0)))"#, "42P13"),
        (r#"(module (func (export "f") (param i32) (result i64) (i64.const 0)))"#, "42P13"),
        (r#"(module (func (export "f") (param i64) (result i32) (i32.const 0)))"#, "42P13"),
        (r#"(module (func (export "f") (param i64) (result i64) (i32.const 0)))"#, "42P13"),
        (r#"(module (memory i64 1) (func (export "f") (param i64) (result i64) (local.get 0)))"#, "42P13"),
        (r#"(module (func (export "f") (param i64) (result i64) (v128.const i64x2 0 0) drop (local.get 0)))"#, "42P13"),
    ];
    for (wat, code) in cases {
        let said = fails(wat, &INT);
        assert!(said.starts_with(code), "{said}: {wat}");
    }
    let no_memory = r#"(module (func (export "f") (param i64) (result i32 i32) (i32.const 0) (i32.const 0)))"#;
    assert!(fails(no_memory, &TEXT).starts_with("42P13"));
    let no_alloc = r#"(module (memory (export "memory") 1) (func (export "f") (param i32 i32) (result i64) (i64.const 0)))"#;
    assert!(run(no_alloc, "f", true, &INT, &[texts(&[Some("a")])]).expect_err("no alloc").starts_with("42P13"));
    let large = format!("\\x0061736d01000000{}", "00".repeat(MODULE_MAX));
    assert!(fails(&large, &INT).starts_with("54000"));
}

#[test]
fn every_way_to_write_a_module_gives_the_same_one() {
    let bytes = read(SUM).expect("text");
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(read(&format!("\\x{hex}")).expect("hex"), bytes);
    assert_eq!(read("  ;; a comment\n(module)").expect("text"), b"\0asm\x01\0\0\0");
    assert_eq!(read("AGFzbQEAAAA=").expect("base64"), b"\0asm\x01\0\0\0");
    assert_eq!(keep(&bytes), keep(&bytes));
}

#[test]
fn a_module_that_nobody_keeps_is_gone() {
    let bytes = read(r#"(module (func (export "only here")))"#).expect("text");
    let kept = keep(&bytes);
    let hash = kept.hash().to_owned();
    assert!(find(&hash).is_some_and(|found| Arc::ptr_eq(&found, &kept)));
    drop(kept);
    assert!(find(&hash).is_none());
}

/// Random bytes, and sound modules with bytes changed, taken out and put in: each is refused, or runs to a value or an error.
#[test]
fn whatever_a_module_is_nothing_panics() {
    let heap = format!(
        r#"(module {HEAP} (table 4 funcref) (elem (i32.const 0) $alloc)
          (func (export "f") (param $at i32) (param $n i32) (result i32 i32)
            (local $i i32)
            (loop $l
              (i32.store8 (i32.add (local.get $at) (local.get $i)) (i32.add (local.get $i) (i32.const 97)))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.lt_u (local.get $i) (local.get $n))))
            (drop (call_indirect (param i32) (result i32) (i32.const 3) (i32.const 0)))
            (local.get $at) (local.get $n)))"#
    );
    let sound = [read(&heap).expect("text"), read(SUM).expect("text")];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).unwrap_or(0) % below.max(1)
    };
    let (mut judged, mut ran) = (0, 0);
    for round in 0..6_000 {
        let mut bytes = if round % 10 == 0 {
            let mut bytes = b"\0asm\x01\0\0\0".to_vec();
            bytes.extend((0..next(60)).map(|_| u8::try_from(next(256)).unwrap_or(0)));
            bytes
        } else {
            sound[round % 2].clone()
        };
        for _ in 0..1 + next(3) {
            let at = next(bytes.len());
            let byte = u8::try_from(next(256)).unwrap_or(0);
            match next(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        let module = keep(&bytes);
        for (types, ret, args) in [
            (vec![TEXT], TEXT, vec![texts(&[Some("abc"), Some("")])]),
            (vec![INT, INT], INT, vec![ints(&[Some(3)]), ints(&[Some(4)])]),
        ] {
            if module.judge("f", &Signature::of(&types, &ret, true)).is_err() {
                continue;
            }
            judged += 1;
            let constant = |text: &str| ColumnarValue::Scalar(ScalarValue::Utf8(Some(text.to_owned())));
            let mut all = vec![
                constant(module.hash()),
                constant("f"),
                constant("strict"),
                ColumnarValue::Scalar(ScalarValue::try_from(&ret).expect("a type")),
            ];
            let n = args[0].len();
            all.extend(args.into_iter().map(ColumnarValue::Array));
            match call(&CALL, &all, n, &ret) {
                Ok(value) => ran += usize::from(value.data_type() == ret),
                Err(error) => assert!(error.sqlstate != "XX000", "{error}"),
            }
        }
    }
    // Some of them are still modules, or the test would see nothing.
    assert!(judged > 100 && ran > 50, "judged={judged} ran={ran}");
}
