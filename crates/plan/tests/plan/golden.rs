//! EXPLAIN of many queries, as files. `REGAUGE_BLESS=1 cargo test` writes them anew; read the difference before committing.

use crate::fixture::plan;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plan/golden.txt");

/// Blocks separated by lines of `====`: the query, a line `----`, its EXPLAIN.
fn blocks(text: &str) -> Vec<(String, String)> {
    let blocks = text.split("====\n").filter(|b| !b.trim().is_empty());
    blocks
        .map(|b| {
            let (sql, plan) = b.split_once("----\n").unwrap_or((b, ""));
            (sql.trim().to_owned(), plan.to_owned())
        })
        .collect()
}

#[test]
fn every_query_has_the_plan_that_was_reviewed() {
    let text = std::fs::read_to_string(PATH).unwrap();
    let mut written = String::new();
    let mut wrong = vec![];
    for (sql, expected) in blocks(&text) {
        let got = match plan(&sql) {
            Ok(p) => p.explain(),
            Err(e) => format!("error {}: {e}\nhint: {}\n", e.sqlstate(), e.hint().unwrap_or("-")),
        };
        if got != expected {
            wrong.push(format!("{sql}\n-- expected\n{expected}-- got\n{got}"));
        }
        written.push_str(&format!("{sql}\n----\n{got}====\n"));
    }
    if std::env::var_os("REGAUGE_BLESS").is_some() {
        std::fs::write(PATH, written).unwrap();
    } else {
        assert!(wrong.is_empty(), "{} plans differ:\n{}", wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn the_same_text_and_catalog_give_the_same_bytes() {
    let text = std::fs::read_to_string(PATH).unwrap();
    for (sql, _) in blocks(&text) {
        let Ok(first) = plan(&sql) else { continue };
        let (first, second) = (first.to_bytes(), plan(&sql).unwrap());
        assert_eq!(first, second.to_bytes(), "{sql}");
        let read = regauge_plan::FlowPlan::from_bytes(&first).unwrap();
        assert_eq!(read, second, "{sql}");
        assert_eq!(read.fingerprint(), second.fingerprint());
    }
}
