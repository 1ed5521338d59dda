//! `docs/sinks.md`, run: every statement of its blocks is taken by an instance, and no option is missing in its tables.

use super::common::{exec, open};

const PAGE: &str = include_str!("../../../../docs/sinks.md");

#[tokio::test]
async fn the_page_says_what_works() {
    let dir = tempfile::tempdir().unwrap();
    let instance = open(dir.path());
    let blocks: Vec<&str> = PAGE.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    let mut n = 0;
    for sql in blocks.iter().flat_map(|b| b.split(";\n")).filter(|s| !s.trim().is_empty()) {
        exec(&instance, sql).await;
        n += 1;
    }
    assert!(n > 8, "{n}");
}

#[tokio::test]
async fn every_option_stands_on_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let instance = open(dir.path());
    exec(&instance, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    for (connector, needed) in
        [("postgres", ", host = 'h', user = 'u', database = 'd'"), ("parquet", ", path = '/p'"), ("http", ", url = 'http://h/'")]
    {
        let sql = format!("CREATE SINK s FROM t WITH (connector = '{connector}'{needed}, nonsense = 1)");
        let error = super::common::try_exec(&instance, &sql).await.err().unwrap();
        let known = error.hint.unwrap();
        let section = PAGE.split(&format!("## {connector}")).nth(1).unwrap().split("\n## ").next().unwrap();
        for option in known.trim_start_matches("known are ").split(", ").filter(|o| *o != "connector") {
            assert!(section.contains(&format!("`{option}`")), "{connector}: {option}");
        }
    }
}
