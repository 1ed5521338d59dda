//! Prepared statements: parameters have types, values take their places.

use crate::common::{answer, run, site};
use arrow::{
    array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, IntervalMonthDayNano},
};
use std::sync::Arc;

fn int(n: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![n]))
}

fn text(t: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![t]))
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_the_types_of_what_they_meet() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)").await;
    let insert = s.prepare("INSERT INTO t VALUES ($1, $2) RETURNING id", &[]).await.unwrap();
    assert_eq!(insert.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(insert.columns.as_ref().unwrap().field(0).name(), "id");
    for (id, v) in [(1, "it's"), (2, "'); DROP TABLE t; --")] {
        let rows = answer(s.run(&insert, &[int(id), text(v)]).await.unwrap()).await.unwrap();
        assert_eq!(rows, [id.to_string()]);
    }
    let select = s.prepare("SELECT v FROM t WHERE id = $1", &[]).await.unwrap();
    assert_eq!(select.params, [DataType::Int32]);
    assert_eq!(answer(s.run(&select, &[int(2)]).await.unwrap()).await.unwrap(), ["'); DROP TABLE t; --"]);
    let update = s.prepare("UPDATE t SET v = $2 WHERE id = $1", &[]).await.unwrap();
    assert_eq!(update.params, [DataType::Int32, DataType::Utf8]);
    assert_eq!(answer(s.run(&update, &[int(1), text("new")]).await.unwrap()).await.unwrap(), ["UPDATE 1"]);
    let given = s.prepare("SELECT $1 + 1", &[Some(DataType::Int64)]).await.unwrap();
    let seven: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    assert_eq!(answer(s.run(&given, &[seven]).await.unwrap()).await.unwrap(), ["8"]);
    assert_eq!(s.run(&given, &[]).await.err().unwrap().sqlstate, "08P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_merge_and_of_joined_changes_are_typed() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, d DATE)").await;
    let merge = "MERGE INTO t USING (VALUES ($1::int)) AS s (id) ON t.id = s.id \
                 WHEN MATCHED AND t.d > $4 THEN UPDATE SET v = $2 WHEN NOT MATCHED THEN INSERT (id, v, d) VALUES (s.id, $2, $3)";
    let merge = s.prepare(merge, &[]).await.unwrap();
    assert_eq!(merge.params, [DataType::Int32, DataType::Utf8, DataType::Date32, DataType::Date32]);
    assert!(merge.columns.is_none());
    let day = |n: i32| -> ArrayRef { Arc::new(Date32Array::from(vec![n])) };
    for (v, tag) in [("a", "MERGE 1"), ("b", "MERGE 1")] {
        assert_eq!(answer(s.run(&merge, &[int(7), text(v), day(10), day(5)]).await.unwrap()).await.unwrap(), [tag]);
    }
    assert_eq!(answer(s.run(&merge, &[int(7), text("c"), day(10), day(15)]).await.unwrap()).await.unwrap(), ["MERGE 0"]);
    assert_eq!(run(&mut s, "SELECT * FROM t").await, ["7|b|1970-01-11"]);
    let update =
        "UPDATE t SET v = w.v FROM (SELECT 7 AS k, 'x' AS v) w WHERE w.k = t.id AND t.id = $1 RETURNING t.id, w.v AS other, d";
    let update = s.prepare(update, &[]).await.unwrap();
    assert_eq!(update.params, [DataType::Int32]);
    let names: Vec<String> = update.columns.as_ref().unwrap().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["id", "other", "d"]);
    assert_eq!(answer(s.run(&update, &[int(7)]).await.unwrap()).await.unwrap(), ["7|x|1970-01-11"]);
    run(&mut s, "PREPARE m (int) AS MERGE INTO t USING (SELECT $1 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE").await;
    assert_eq!(run(&mut s, "EXECUTE m(8)").await, ["MERGE 0"]);
    assert_eq!(run(&mut s, "EXECUTE m(7)").await, ["MERGE 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_parameter_arrives_as_the_value_it_was() {
    let site = site();
    let mut s = site.session();
    let year: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 4_000_000_000)]));
    let values: [(ArrayRef, &str); 5] = [
        (year, "INTERVAL '1 year 2 months 3 days 4 seconds'"),
        (Arc::new(TimestampMicrosecondArray::from(vec![-1])), "TIMESTAMP '1969-12-31 23:59:59.999999'"),
        (Arc::new(Date32Array::from(vec![-800_000])), "DATE '1970-01-01' - 800000"),
        (Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), "'-Infinity'::double precision"),
        (Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(38, 16).unwrap()), "-0.0000000000000005"),
    ];
    for (value, same) in values {
        let equal = s.prepare(&format!("SELECT $1 = {same}"), &[Some(value.data_type().clone())]).await.unwrap();
        assert_eq!(answer(s.run(&equal, &[value]).await.unwrap()).await.unwrap(), ["true"], "{same}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_by_key_answers_what_the_statement_with_the_value_in_it_does() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT, \"Kind\" TEXT, v TEXT, PRIMARY KEY (id, \"Kind\"))").await;
    run(&mut s, "CREATE MATERIALIZED VIEW per_kind AS SELECT \"Kind\", count(*) AS n, max(v) AS v FROM t GROUP BY \"Kind\"")
        .await;
    let row = s.prepare("SELECT v, id FROM t WHERE $2 = \"Kind\" AND id = $1", &[]).await.unwrap();
    let kind = s.prepare("select * from public.per_kind where \"Kind\" = $1", &[]).await.unwrap();
    assert_eq!(kind.columns.as_ref().unwrap().fields().len(), 3);
    run(&mut s, "INSERT INTO t VALUES (1, 'a', 'one'), (2, 'a', 'two'), (1, 'b', NULL)").await;
    for step in 0..4 {
        for (id, k) in [(1, "a"), (2, "a"), (1, "b"), (3, "a"), (1, "A")] {
            let found = answer(s.run(&row, &[int(id), text(k)]).await.unwrap()).await.unwrap();
            let planned = run(&mut s, &format!("SELECT v, id FROM t WHERE \"Kind\" = '{k}' AND id = {id}")).await;
            assert_eq!(found, planned, "step {step} id {id} kind {k}");
            let found = answer(s.run(&kind, &[text(k)]).await.unwrap()).await.unwrap();
            assert_eq!(
                found,
                run(&mut s, &format!("SELECT * FROM per_kind WHERE \"Kind\" = '{k}'")).await,
                "step {step} kind {k}"
            );
        }
        let next =
            ["UPDATE t SET v = 'zwei' WHERE id = 2", "DELETE FROM t WHERE \"Kind\" = 'b'", "BEGIN; UPDATE t SET v = 'mine'", ""];
        run(&mut s, next[step]).await;
    }
    run(&mut s, "ROLLBACK").await;
    let nothing: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    assert!(answer(s.run(&kind, &[nothing]).await.unwrap()).await.unwrap().is_empty());
    run(
        &mut s,
        "DROP MATERIALIZED VIEW per_kind; CREATE MATERIALIZED VIEW per_kind AS SELECT \"Kind\", 1 AS n, 'new' AS v FROM t",
    )
    .await;
    let renewed = answer(s.run(&kind, &[text("a")]).await.unwrap()).await.unwrap();
    assert_eq!(renewed, ["a|1|new", "a|1|new"], "a plan of a view that was dropped is not used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_in_a_view_with_an_error_fails_until_it_is_healed() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW q AS SELECT n % 2 AS odd, sum(10 / n) AS s FROM t GROUP BY n % 2").await;
    run(&mut s, "INSERT INTO t VALUES (1, 5), (2, 0)").await;
    let look = s.prepare("SELECT s FROM q WHERE odd = $1", &[]).await.unwrap();
    assert_eq!(s.run(&look, &[int(1)]).await.err().map(|e| e.sqlstate), Some("RG002"));
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    assert_eq!(answer(s.run(&look, &[int(1)]).await.unwrap()).await.unwrap(), ["2"]);
}
