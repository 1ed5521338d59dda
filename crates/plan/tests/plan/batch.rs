//! Plain SELECT over rows in memory: what DataFusion alone would answer differently.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use regauge_plan::batch::{BatchCatalog, BatchOptions, BatchQuery, context};
use regauge_plan::{CatalogView, ParseLimits, RelationInfo, RelationName, Statement, Value, parse};

struct Rows(Arc<MemTable>);

impl CatalogView for Rows {
    fn relation(&self, _: &RelationName) -> Option<RelationInfo> {
        None
    }
}

impl BatchCatalog for Rows {
    fn table(&self, name: &RelationName) -> Option<Arc<dyn TableProvider>> {
        (name.name == "t").then(|| Arc::clone(&self.0) as Arc<dyn TableProvider>)
    }
}

fn rows() -> Rows {
    let hour = 3_600_000_000i64;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(2), None, None]))),
        ("b", Arc::new(Int64Array::from(vec![Some(1), Some(3), None, Some(1), Some(1)]))),
        ("s", Arc::new(StringArray::from(vec!["x", "y", "z", "x", "w"]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(hour + 1), Some(-1), None, Some(hour)]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    Rows(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap()))
}

fn bind(sql: &str) -> BatchQuery {
    match parse(sql, &ParseLimits::default()).unwrap().remove(0) {
        Statement::Query(q) => BatchQuery::bind(&q, &rows()).unwrap_or_else(|e| panic!("{sql}: {e}")),
        other => panic!("{other:?}"),
    }
}

/// Rows as `a|b|..`, sorted.
fn run(query: &BatchQuery) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches: Vec<RecordBatch> = runtime.block_on(async {
        use futures::TryStreamExt;
        query.execute(&context(&BatchOptions::default())).await.unwrap().try_collect().await.unwrap()
    });
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let lines = table.lines().filter(|l| l.starts_with('|')).skip(1);
    let mut rows: Vec<String> =
        lines.map(|l| l.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect();
    rows.sort();
    rows
}

#[test]
fn set_operations_keep_multiplicities_as_postgresql_does() {
    assert_eq!(run(&bind("SELECT a FROM t INTERSECT ALL SELECT b FROM t")), ["", "1", "1"]);
    assert_eq!(run(&bind("SELECT a FROM t INTERSECT SELECT b FROM t")), ["", "1"]);
    assert_eq!(run(&bind("SELECT b FROM t EXCEPT ALL SELECT a FROM t")), ["1", "3"]);
    assert_eq!(run(&bind("SELECT a FROM t EXCEPT ALL SELECT b FROM t")), ["", "2"]);
    assert_eq!(run(&bind("SELECT b FROM t EXCEPT SELECT a FROM t")), ["3"]);
}

#[test]
fn windows_are_relations_here_too() {
    let tumble = "SELECT s, window_start FROM TUMBLE(t, at, INTERVAL '1 hour') AS w WHERE w.a IS NOT NULL";
    assert_eq!(run(&bind(tumble)), ["x|1970-01-01T00:00:00", "y|1970-01-01T01:00:00", "z|1969-12-31T23:00:00"]);
    let hop = "SELECT s, count(*) AS n, min(window_start) AS f, max(window_end) AS l FROM HOP(t, at, INTERVAL '30 minutes', INTERVAL '1 hour') GROUP BY s";
    assert_eq!(run(&bind(hop))[1], "x|2|1969-12-31T23:30:00|1970-01-01T01:00:00");
    assert_eq!(run(&bind(hop)).len(), 4);
}

#[test]
fn names_are_postgresqls_and_may_repeat() {
    let q = bind("SELECT count(*), count(a), a + 1, sum(b)::text, CASE WHEN a = 1 THEN s END FROM t GROUP BY a, s");
    assert_eq!(q.names, ["count", "count", "?column?", "sum", "case"]);
    assert_eq!(run(&q).len(), 5);
}

#[test]
fn a_limit_takes_the_same_rows_whatever_the_order_of_arrival() {
    assert_eq!(run(&bind("SELECT s, b FROM t ORDER BY b LIMIT 2")), ["w|1", "x|1"]);
    assert_eq!(run(&bind("SELECT s FROM t LIMIT 1")), ["w"]);
}

#[test]
fn parameters_are_found_and_replaced() {
    let q = bind("SELECT s FROM t WHERE a = $1 AND s = $2");
    let types = q.parameters().unwrap();
    assert_eq!(types.len(), 2);
    let bound = q.with_parameters(&[Value::int8(1), Value::text("y")]).unwrap();
    assert_eq!(run(&bound), ["y"]);
}
