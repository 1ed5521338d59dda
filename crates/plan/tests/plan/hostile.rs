//! Texts and bytes that mean harm get a typed error, on a small stack too.

use proptest::prelude::*;
use regauge_plan::{FlowPlan, ParseLimits, parse};

use crate::fixture::plan;

fn refused(sql: &str, sqlstate: &str) {
    let e = parse(sql, &ParseLimits::default()).err().map(|e| e.sqlstate());
    assert_eq!(e, Some(sqlstate), "{}", sql.chars().take(60).collect::<String>());
}

#[test]
fn deep_and_long_statements_are_refused_before_they_overflow() {
    refused(&format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)), "54001");
    refused(&format!("SELECT 1{}", " + 1".repeat(1_000_000)), "54001");
    // Binding a chain of n operators costs n cubed: 900 took minutes.
    refused(&format!("SELECT id{} FROM orders", " + qty".repeat(900)), "54001");
    refused(&format!("SELECT true{}", " AND true".repeat(100_000)), "54001");
    refused(&format!("SELECT true{}", " OR a = 1".repeat(100_000)), "54001");
    refused(&format!("SELECT {} 1", "NOT ".repeat(100_000)), "54001");
    refused(&format!("SELECT {} 1", "- ".repeat(100_000)), "54001");
    refused(&format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(5_000), " END".repeat(5_000)), "54001");
    refused(&format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(100_000)), "54001");
    refused(&format!("SELECT 1 FROM t{}", " JOIN t ON true".repeat(100_000)), "54001");
    refused(&format!("SELECT a{}", "::int".repeat(100_000)), "54001");
    refused(&format!("SELECT {}1", "f(".repeat(10_000)), "54001");
    refused(&format!("SELECT '{}'", "x".repeat(17 << 20)), "54000");
    refused(&format!("VALUES (1){}", ",(1)".repeat(1_000_000)), "54001");
}

#[test]
fn what_the_limits_allow_is_planned_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(512 << 10).spawn(|| {
        let ors = format!("SELECT id FROM orders WHERE qty = 0{}", " OR qty * 2 = 7".repeat(300));
        plan(&ors).unwrap();
        let brackets = format!("SELECT {}1{} AS x", "(".repeat(90), ")".repeat(90));
        plan(&brackets).unwrap();
        let sums = format!("SELECT id{} AS x FROM orders", " + qty".repeat(60));
        plan(&sums).unwrap();
        let nested = format!("SELECT * FROM {}orders{}", "(SELECT * FROM ".repeat(40), ") t".repeat(40));
        plan(&nested).unwrap();
    });
    small.unwrap().join().unwrap();
}

#[test]
fn a_nul_is_refused_with_its_place() {
    let e = parse("SELECT 'a\0b'", &ParseLimits::default()).unwrap_err();
    assert_eq!((e.sqlstate(), e.position()), ("22021", Some(10)));
}

#[test]
fn a_syntax_error_names_its_place() {
    let e = parse("SELECT 1;\nSELEC 2", &ParseLimits::default()).unwrap_err();
    assert_eq!((e.sqlstate(), e.position()), ("42601", Some(11)));
    let e = parse("SELECT a FROM t WHERE", &ParseLimits::default()).unwrap_err();
    assert_eq!(e.sqlstate(), "42601");
    assert!(e.position().is_some(), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_panics(sql in "[a-z0-9 (),.;'\"$@*+=<>\\[\\]{}:\\-/%_]{0,80}") {
        let _ = parse(&sql, &ParseLimits::default());
    }

    #[test]
    fn no_bytes_panic(of in 0usize..3, cut in 0usize..400, at in 0usize..400, byte in any::<u8>()) {
        let sql = [
            "SELECT customer, count(DISTINCT qty), max(note) FROM orders WHERE qty + 1 > 2 GROUP BY customer",
            "WITH RECURSIVE r(n) AS (SELECT a FROM friends UNION SELECT f.b FROM r JOIN friends f ON f.a = r.n) SELECT n FROM r",
            "SELECT id, x, ARRAY[1, 2] AS l FROM orders, unnest(string_to_array(orders.note, ','), '{a,NULL}'::text[]) AS u(x, y)",
        ][of];
        let mut bytes = plan(sql).unwrap().to_bytes();
        if at < bytes.len() {
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(5));
        if let Ok(p) = FlowPlan::from_bytes(&bytes) {
            prop_assert_eq!(p.to_bytes(), bytes, "one plan, one encoding");
        }
    }

    #[test]
    fn no_random_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = b"RGFP\x01".to_vec();
        bytes.extend(body);
        let _ = FlowPlan::from_bytes(&bytes);
    }
}
