//! Statements that are planned once, whatever the values in them are: each answers as it does planned with its values.

use crate::common::{Site, answer, attempt, run, site, size};
use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::DataType,
};
use futures::StreamExt as _;
use regauge_views::{Response, Session, SessionOptions};
use std::sync::Arc;

/// How often a query was planned so far.
fn made(site: &Site) -> u64 {
    site.instance().plans().0
}

fn int(n: i32) -> ArrayRef {
    Arc::new(Int32Array::from(vec![n]))
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_differ_by_values_are_planned_once() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT, s TEXT); INSERT INTO t SELECT i, i * 10, 'x' || i FROM generate_series(1, 50) g(i)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT s, n FROM t; FLUSH").await;
    let shapes = [
        "SELECT n FROM t WHERE id = {}",
        "SELECT count(*) FROM t WHERE n < {} OR id IN ({}, 3)",
        "SELECT count(*) FROM v WHERE s = 'x{}'",
        "UPDATE t SET n = n + {} WHERE id = 7",
        "UPDATE t SET s = 'y{}' WHERE id = {}",
        "DELETE FROM t WHERE n = -{}",
    ];
    let text = |shape: &str, n: i32| shape.replace("{}", &n.to_string());
    for shape in shapes {
        run(&mut s, &text(shape, 40)).await;
        let before = made(&site);
        for n in 0..20 {
            run(&mut s, &text(shape, n)).await;
        }
        assert_eq!(made(&site), before, "{shape}");
        // and another session finds it when this one has ended
        drop(std::mem::replace(&mut s, site.session()));
        run(&mut s, &text(shape, 41)).await;
        assert_eq!(made(&site), before, "{shape}, in another session");
    }
    assert_eq!(run(&mut s, "SELECT n FROM t WHERE id = 7").await, [(70 + 40 + 41 + (0..20).sum::<i32>()).to_string()]);
    let update = s.prepare("UPDATE t SET n = n - $2 WHERE id = $1", &[]).await.unwrap();
    s.run(&update, &[int(1), Arc::new(Int64Array::from(vec![1]))]).await.unwrap();
    let before = made(&site);
    for id in 1..50 {
        s.run(&update, &[int(id), Arc::new(Int64Array::from(vec![1]))]).await.unwrap();
    }
    assert_eq!(made(&site), before);
    assert_eq!(run(&mut s, "SELECT n FROM t WHERE id = 1").await, ["8"]);
    // what a value could change the plan of is planned with it
    let before = made(&site);
    for n in [1, 2] {
        assert_eq!(run(&mut s, &format!("SELECT id FROM t WHERE id < 9 ORDER BY id LIMIT {n}")).await.len(), n);
    }
    assert!(made(&site) >= before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_runs_is_not_given_other_values() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, g INT); INSERT INTO t SELECT i, i % 3 FROM generate_series(1, 60000) q(i)")
        .await;
    let text = |g: i32| format!("SELECT id, g FROM t WHERE g = {g} AND id > {g}");
    run(&mut s, &text(0)).await;
    let open = |mut responses: Vec<Response>| match responses.pop() {
        Some(Response::Rows(rows)) => rows.stream,
        _ => panic!("no rows"),
    };
    let mut streams = vec![];
    for g in 0..3 {
        streams.push(open(s.execute(&text(g)).await.unwrap()));
    }
    let mut other = site.session();
    streams.push(open(other.execute(&text(1)).await.unwrap()));
    // in turn, a batch of each
    let mut sums = vec![(0, 0); 4];
    let mut going = true;
    while going {
        going = false;
        for (n, stream) in streams.iter_mut().enumerate() {
            let Some(batch) = stream.next().await else { continue };
            let batch: RecordBatch = batch.unwrap();
            let g = batch.column(1).as_any().downcast_ref::<Int32Array>().unwrap();
            assert!(g.values().iter().all(|g| *g == [0, 1, 2, 1][n]), "stream {n}");
            sums[n] = (sums[n].0 + batch.num_rows(), sums[n].1 + 1);
            going = true;
        }
    }
    let rows: Vec<usize> = sums.iter().map(|(rows, _)| *rows).collect();
    assert_eq!(rows, [20_000, 19_999, 19_999, 19_999], "{sums:?}");
    assert!(sums.iter().all(|(_, batches)| *batches > 1), "one after the other: {sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_plan_ends_with_the_catalog_the_role_and_the_settings_that_it_was_made_for() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE SCHEMA b; CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE TABLE b.t (id INT PRIMARY KEY, n INT)")
        .await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20); INSERT INTO b.t VALUES (1, 11), (2, 21)").await;
    let rows = async |s: &mut Session, id: i32| run(s, &format!("SELECT * FROM t WHERE id = {id}")).await;
    assert_eq!((rows(&mut s, 1).await, rows(&mut s, 2).await), (vec!["1|10".to_owned()], vec!["2|20".to_owned()]));
    run(&mut s, "SET search_path = b").await;
    assert_eq!(rows(&mut s, 2).await, ["2|21"]);
    run(&mut s, "RESET search_path").await;
    assert_eq!(rows(&mut s, 1).await, ["1|10"]);
    run(&mut s, "BEGIN; INSERT INTO t VALUES (3, 30); UPDATE t SET n = 12 WHERE id = 1").await;
    assert_eq!((rows(&mut s, 3).await, rows(&mut s, 1).await), (vec!["3|30".to_owned()], vec!["1|12".to_owned()]));
    assert!(rows(&mut site.session(), 3).await.is_empty());
    run(&mut s, "ROLLBACK").await;
    assert!(rows(&mut s, 3).await.is_empty());
    run(&mut s, "ALTER TABLE t ADD COLUMN more INT DEFAULT 5").await;
    assert_eq!(rows(&mut s, 1).await, ["1|10|5"]);
    run(&mut s, "CREATE ROLE r LOGIN").await;
    let mut r = site.instance().session(SessionOptions { user: "r".to_owned(), ..SessionOptions::default() }).unwrap();
    assert_eq!(attempt(&mut r, "SELECT * FROM t WHERE id = 1").await.unwrap_err().sqlstate, "42501");
    run(&mut s, "GRANT SELECT ON t TO r").await;
    assert_eq!(rows(&mut r, 2).await, ["2|20|5"]);
    run(&mut s, "REVOKE SELECT ON t FROM r").await;
    assert_eq!(attempt(&mut r, "SELECT * FROM t WHERE id = 2").await.unwrap_err().sqlstate, "42501");
    run(&mut s, "DROP TABLE t; CREATE TABLE t (id TEXT PRIMARY KEY, n INT); INSERT INTO t VALUES ('1', 7)").await;
    assert_eq!(attempt(&mut s, "SELECT * FROM t WHERE id = 1").await.unwrap_err().sqlstate, "42883");
    assert_eq!(run(&mut s, "SELECT * FROM t WHERE id = '1'").await, ["1|7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_written_nearly_alike_have_plans_of_their_own() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, s TEXT, \"a\"\"b\" INT, \"a\"\"\"\"b\" INT)").await;
    let values = ["a''b", "a''''b", "a\\''b", "a\\''''b", "a b", "a  b"];
    for (id, value) in values.iter().enumerate() {
        run(&mut s, &format!("INSERT INTO t VALUES ({id}, '{value}', {id}, -{id})")).await;
    }
    for _ in 0..2 {
        for (id, value) in values.iter().enumerate() {
            let rows = run(&mut s, &format!("SELECT id FROM t WHERE id < 9 AND upper(s) = upper('{value}')")).await;
            assert_eq!(rows, [id.to_string()], "{value}");
            let rows = run(&mut s, &format!("SELECT length('{value}') FROM t WHERE id = {id}")).await;
            assert_eq!(rows, [value.replace("''", "'").len().to_string()], "{value}");
            assert_eq!(
                run(&mut s, &format!("UPDATE t SET s = concat('{value}') WHERE id = {id} RETURNING s = '{value}'")).await,
                ["true"]
            );
        }
        assert_eq!(run(&mut s, "SELECT \"a\"\"b\" FROM t WHERE id = 3").await, ["3"]);
        assert_eq!(run(&mut s, "SELECT \"a\"\"\"\"b\" FROM t WHERE id = 3").await, ["-3"]);
    }
    for (id, value) in values.iter().enumerate() {
        assert_eq!(run(&mut s, &format!("DELETE FROM t WHERE id < 9 AND upper(s) = upper('{value}')")).await, ["DELETE 1"]);
        assert!(run(&mut s, &format!("SELECT id FROM t WHERE id = {id}")).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_its_values_is_planned_with_them_and_kept_as_it_was() {
    let site = site();
    run(&mut site.session(), "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 2), (2, 3)").await;
    // the moment is in it, so no plan is kept
    let text = |id: i32| format!("SELECT n, now() IS NULL FROM t WHERE id = {id}");
    run(&mut site.session(), &text(1)).await;
    let before = made(&site);
    for n in 1..=5 {
        assert_eq!(run(&mut site.session(), &text(2)).await, ["3|false"]);
        assert_eq!(made(&site), before + n, "planned once each time");
    }
    // a parameter of a narrower type than the key finds its row by the key
    let mut s = site.session();
    run(&mut s, "CREATE TABLE w (id BIGINT PRIMARY KEY, n INT); INSERT INTO w VALUES (1, 2), (2, 3)").await;
    for ty in [DataType::Int16, DataType::Int32, DataType::Int64] {
        let one = arrow::compute::cast(&int(2), &ty).unwrap();
        let select = s.prepare("SELECT n + 0 FROM w WHERE id = $1", &[Some(ty.clone())]).await.unwrap();
        assert_eq!(answer(s.run(&select, std::slice::from_ref(&one)).await.unwrap()).await.unwrap(), ["3"], "{ty}");
        // assigned as PostgreSQL assigns: not a text to a number
        let update = s.prepare("UPDATE w SET n = $1 WHERE id = 1", &[Some(ty)]).await.unwrap();
        assert_eq!(answer(s.run(&update, &[one]).await.unwrap()).await.unwrap(), ["UPDATE 1"]);
    }
    let update = s.prepare("UPDATE w SET n = $1 WHERE id = 1", &[Some(DataType::Utf8)]).await;
    let outcome = match update {
        Ok(update) => s.run(&update, &[Arc::new(StringArray::from(vec!["7"]))]).await.map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().sqlstate, "42804");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_prepared_again_is_not_planned_again_and_means_what_it_means_now() {
    let site = site();
    let mut s = site.session();
    run(
        &mut s,
        "CREATE SCHEMA b; CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMPTZ); CREATE TABLE b.t (id TEXT PRIMARY KEY, at INT)",
    )
    .await;
    run(&mut s, "INSERT INTO t VALUES (1, '2026-07-01 12:00+00'); INSERT INTO b.t VALUES ('1', 7)").await;
    let text = "SELECT id, at::text FROM t WHERE id = $1";
    let first = s.prepare(text, &[]).await.unwrap();
    assert_eq!(first.params, [DataType::Int32]);
    let all = async |s: &mut Session, value: ArrayRef| {
        let prepared = s.prepare(text, &[]).await.unwrap();
        answer(s.run(&prepared, &[value]).await.unwrap()).await.unwrap()
    };
    all(&mut s, int(1)).await;
    let before = made(&site);
    for _ in 0..5 {
        assert_eq!(all(&mut s, int(1)).await, ["1|2026-07-01 12:00:00+00"]);
    }
    assert_eq!(made(&site), before);
    run(&mut s, "SET timezone = 'Asia/Tokyo'").await;
    assert_eq!(all(&mut s, int(1)).await, ["1|2026-07-01 21:00:00+09"]);
    run(&mut s, "SET search_path = b").await;
    assert_eq!(s.prepare(text, &[]).await.unwrap().params, [DataType::Utf8]);
    assert_eq!(all(&mut s, Arc::new(StringArray::from(vec!["1"]))).await, ["1|7"]);
    run(&mut s, "RESET ALL").await;
    assert_eq!(all(&mut s, int(1)).await, ["1|2026-07-01 12:00:00+00"]);
    // types that the client names are another statement
    assert_eq!(s.prepare(text, &[Some(DataType::Int64)]).await.unwrap().params, [DataType::Int64]);
    run(&mut s, "BEGIN; ALTER TABLE t RENAME COLUMN at TO was").await;
    assert_eq!(s.prepare(text, &[]).await.err().unwrap().sqlstate, "42703");
    run(&mut s, "ROLLBACK").await;
    assert_eq!(all(&mut s, int(1)).await, ["1|2026-07-01 12:00:00+00"]);
    run(&mut s, "DROP TABLE t; CREATE TABLE t (id BIGINT PRIMARY KEY, at DATE); INSERT INTO t VALUES (1, '2026-01-02')").await;
    assert_eq!(s.prepare(text, &[]).await.unwrap().params, [DataType::Int64]);
    assert_eq!(all(&mut s, Arc::new(Int64Array::from(vec![1]))).await, ["1|2026-01-02"]);
    run(&mut s, "CREATE ROLE r; SET ROLE r").await;
    assert_eq!(s.prepare(text, &[]).await.err().unwrap().sqlstate, "42501");
    run(&mut s, "RESET ROLE; DROP TABLE t").await;
    assert_eq!(s.prepare(text, &[]).await.err().unwrap().sqlstate, "42P01");
}

/// Numbers from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    fn value(&mut self, column: &str) -> String {
        let numbers = [
            "0",
            "1",
            "-1",
            "2",
            "3",
            "7",
            "12",
            "100",
            "32767",
            "-32768",
            "40000",
            "2147483648",
            "-9223372036854775808",
            "99999999999999999999",
            "1.5",
            "2.0",
            "1e2",
        ];
        let texts = [
            "''",
            "'a'",
            "'b'",
            "'it''s'",
            "'ü'",
            "'5'",
            "'A'",
            "'1.5'",
            "'2026-01-02'",
            "'x y'",
            "'2026-01-02 03:04:05'",
            "'true'",
        ];
        let strange = self.below(12) == 0;
        match column {
            "s" | "day" | "ts" | "f" if !strange => self.of(&texts).to_owned(),
            "s" | "day" | "ts" | "f" => self.of(&numbers).to_owned(),
            _ if strange => self.of(&texts).to_owned(),
            _ => self.of(&numbers).to_owned(),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let column = self.of(&["id", "id", "b", "sm", "s", "n", "d", "day", "ts", "f", "t.id", "\"b\""]);
        let plain = column.trim_start_matches("t.").trim_matches('"').to_owned();
        let one = match self.below(8) {
            0 => format!("{column} BETWEEN {} AND {}", self.value(&plain), self.value(&plain)),
            1 => format!("{column} IN ({}, {}, {})", self.value(&plain), self.value(&plain), self.value(&plain)),
            2 => format!("{} {} {column}", self.value(&plain), self.of(&["=", "<", ">=", "<>"])),
            3 => format!("{column} NOT IN ({})", self.value(&plain)),
            4 => format!("{column} + 1 {} {}", self.of(&["=", "<"]), self.value(&plain)),
            _ => format!("{column} {} {}", self.of(&["=", "=", "<", "<=", ">", "<>", "!="]), self.value(&plain)),
        };
        match self.below(if depth == 0 { 1 } else { 5 }) {
            1 => format!("{one} AND {}", self.condition(depth - 1)),
            2 => format!("({one} OR {})", self.condition(depth - 1)),
            3 => format!("NOT ({one}) AND {}", self.condition(depth - 1)),
            _ => one,
        }
    }

    fn assignment(&mut self) -> String {
        let column = self.of(&["b", "sm", "s", "n", "d", "w"]);
        match self.below(4) {
            0 if column != "s" => format!("{column} = {column} + {}", self.value(column)),
            1 if column != "s" => format!("{column} = id - {}", self.value("id")),
            2 if column != "s" => format!("{column} = {} + sm", self.value("sm")),
            _ => format!("{column} = {}", self.value(column)),
        }
    }
}

const COLUMNS: &str = "(id INT PRIMARY KEY, b BIGINT, sm SMALLINT, s VARCHAR(4), n NUMERIC(12,2), d DOUBLE PRECISION, f BOOLEAN, day DATE, ts TIMESTAMP, w INT)";
const ROWS: &str = "SELECT i, i * 2, (i % 5)::smallint, CASE i % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'b' WHEN 2 THEN '5' END, i / 2.0, i / 4.0, i % 2 = 0, \
                    DATE '2026-01-01' + i, TIMESTAMP '2026-01-02 03:04:05' + (i - 1) * INTERVAL '1 day', NULLIF(i, 3) FROM generate_series(-3, 12) g(i)";

#[tokio::test(flavor = "multi_thread")]
async fn random_statements_do_as_they_do_planned_with_their_values() {
    let site = site();
    let mut s = site.session();
    for table in ["t", "u"] {
        run(&mut s, &format!("CREATE TABLE {table} {COLUMNS}; INSERT INTO {table} {ROWS}")).await;
    }
    let mut draw = Draw(size("REGAUGE_SEED", 7) as u64);
    let rounds = size("REGAUGE_OPEN_PLANS", 400);
    let (mut n_rows, mut n_errors) = (0, 0);
    for round in 0..rounds {
        // a join with one row has no plan for any values
        let condition = draw.condition(2);
        let text = format!("SELECT id, b, s FROM t WHERE {condition} ORDER BY id");
        let got = attempt(&mut s, &text).await.map_err(|e| e.sqlstate);
        let with_values = format!("SELECT id, b, s FROM t CROSS JOIN (VALUES (1)) one(one) WHERE {condition} ORDER BY id");
        assert_eq!(got, attempt(&mut s, &with_values).await.map_err(|e| e.sqlstate), "round {round}: {text}");
        match got {
            Ok(rows) => n_rows += rows.len(),
            Err(_) => n_errors += 1,
        }
        let (assignment, condition) = (draw.assignment(), draw.condition(1));
        let change = if draw.below(6) == 0 {
            format!("DELETE FROM t WHERE {condition}")
        } else {
            format!("UPDATE t SET {assignment} WHERE {condition}")
        };
        let other = condition.replace("t.id", "u.id");
        let with_values = match change.strip_prefix("DELETE") {
            Some(_) => format!("DELETE FROM u USING (VALUES (1)) one(one) WHERE {other}"),
            None => format!("UPDATE u SET {assignment} FROM (VALUES (1)) one(one) WHERE {other}"),
        };
        let got = attempt(&mut s, &change).await.map_err(|e| e.sqlstate);
        assert_eq!(got, attempt(&mut s, &with_values).await.map_err(|e| e.sqlstate), "round {round}: {change}");
        assert_eq!(run(&mut s, "TABLE t ORDER BY id").await, run(&mut s, "TABLE u ORDER BY id").await, "round {round}: {change}");
        if round % 40 == 39 {
            for table in ["t", "u"] {
                run(&mut s, &format!("DELETE FROM {table}; INSERT INTO {table} {ROWS}")).await;
            }
        }
    }
    let (made, found) = site.instance().plans();
    println!("{rounds} rounds: {n_rows} rows, {n_errors} errors, {made} plans made and {found} found");
    assert!(n_rows > rounds && n_errors > 0 && found > rounds as u64 / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_every_type_find_what_their_values_find() {
    let site = site();
    let mut s = site.session();
    run(&mut s, &format!("CREATE TABLE t {COLUMNS}; INSERT INTO t {ROWS}")).await;
    let one = |array: ArrayRef| array;
    let decimal = |n: i128| one(Arc::new(Decimal128Array::from(vec![n]).with_precision_and_scale(12, 2).unwrap()));
    let cases: Vec<(&str, Vec<(ArrayRef, &str)>)> = vec![
        ("id", vec![(int(3), "3"), (int(99), "99"), (one(Arc::new(Int32Array::from(vec![None::<i32>]))), "NULL")]),
        (
            "id",
            vec![
                (one(Arc::new(Int64Array::from(vec![4]))), "4::bigint"),
                (one(Arc::new(Int64Array::from(vec![1_i64 << 40]))), "1099511627776"),
            ],
        ),
        ("id", vec![(one(Arc::new(Int16Array::from(vec![-2]))), "-2")]),
        ("sm", vec![(int(2), "2"), (int(70_000), "70000")]),
        ("b", vec![(one(Arc::new(Int64Array::from(vec![8]))), "8")]),
        (
            "s",
            vec![
                (one(Arc::new(StringArray::from(vec!["b"]))), "'b'"),
                (one(Arc::new(StringArray::from(vec!["it's"]))), "'it''s'"),
            ],
        ),
        ("n", vec![(decimal(150), "1.5"), (decimal(-50), "-0.5")]),
        (
            "d",
            vec![
                (one(Arc::new(Float64Array::from(vec![0.25]))), "0.25"),
                (one(Arc::new(Float64Array::from(vec![f64::NAN]))), "'NaN'::float8"),
            ],
        ),
        ("f", vec![(one(Arc::new(BooleanArray::from(vec![true]))), "true")]),
        ("day", vec![(one(Arc::new(Date32Array::from(vec![20_456]))), "'2026-01-03'")]),
        ("ts", vec![(one(Arc::new(TimestampMicrosecondArray::from(vec![1_767_409_445_000_000]))), "'2026-01-03 03:04:05'")]),
    ];
    // every type beside every column: answers or is refused as the same value is that is written with a cast
    let all: Vec<(ArrayRef, &str)> = vec![
        (int(3), "3::int"),
        (one(Arc::new(Int64Array::from(vec![4]))), "4::bigint"),
        (one(Arc::new(Int16Array::from(vec![2]))), "2::smallint"),
        (one(Arc::new(StringArray::from(vec!["5"]))), "'5'::text"),
        (decimal(150), "1.5::numeric(12,2)"),
        (one(Arc::new(Float64Array::from(vec![0.25]))), "0.25::float8"),
        (one(Arc::new(BooleanArray::from(vec![true]))), "true"),
        (one(Arc::new(Date32Array::from(vec![20_456]))), "'2026-01-03'::date"),
        (one(Arc::new(TimestampMicrosecondArray::from(vec![1_767_409_445_000_000]))), "'2026-01-03 03:04:05'::timestamp"),
        (
            one(Arc::new(TimestampMicrosecondArray::from(vec![1_767_409_445_000_000]).with_timezone("UTC"))),
            "'2026-01-03 03:04:05+00'::timestamptz",
        ),
    ];
    run(&mut s, "ALTER TABLE t ADD COLUMN tz TIMESTAMPTZ").await;
    run(&mut s, "UPDATE t SET tz = ts; CREATE TABLE u (LIKE t); INSERT INTO u SELECT * FROM t").await;
    for column in ["id", "sm", "b", "s", "n", "d", "f", "day", "ts", "tz"] {
        for (value, written) in &all {
            let ty = [Some(value.data_type().clone())];
            for shape in [
                "SELECT id FROM t WHERE {c} <= {v} ORDER BY id",
                "SELECT id FROM t WHERE {c} IN ({v}, {v}) ORDER BY id",
                "UPDATE t SET {c} = {v} WHERE id = 1",
                "UPDATE t SET {c} = {c} + {v} WHERE id = 1",
            ] {
                if shape.contains("SET") && column == "id" {
                    continue;
                }
                let of = |v: &str| shape.replace("{c}", column).replace("{v}", v);
                let prepared = match s.prepare(&of("$1"), &ty).await {
                    Ok(prepared) => match s.run(&prepared, std::slice::from_ref(value)).await {
                        Ok(response) => answer(response).await,
                        Err(error) => Err(error),
                    },
                    Err(error) => Err(error),
                };
                let other =
                    of(written).replace("FROM t", "FROM u CROSS JOIN (VALUES (1)) one(one)").replace("UPDATE t", "UPDATE u");
                let other = if shape.starts_with("UPDATE") {
                    other.replace(" WHERE", " FROM (VALUES (1)) one(one) WHERE")
                } else {
                    other
                };
                let wanted = attempt(&mut s, &other).await.map_err(|e| e.sqlstate);
                assert_eq!(prepared.map_err(|e| e.sqlstate), wanted, "{} of {written}", of("$1"));
                assert_eq!(
                    run(&mut s, "TABLE t ORDER BY id").await,
                    run(&mut s, "TABLE u ORDER BY id").await,
                    "{} of {written}",
                    of("$1")
                );
            }
        }
    }
    run(&mut s, &format!("DROP TABLE t; CREATE TABLE t {COLUMNS}; INSERT INTO t {ROWS}")).await;
    for (column, values) in cases {
        let ty: DataType = values[0].0.data_type().clone();
        for op in ["=", "<", ">=", "<>"] {
            let select =
                s.prepare(&format!("SELECT id FROM t WHERE {column} {op} $1 ORDER BY id"), &[Some(ty.clone())]).await.unwrap();
            for (value, written) in values.iter().chain(&values) {
                let got = answer(s.run(&select, std::slice::from_ref(value)).await.unwrap()).await.unwrap();
                let text = format!("SELECT id FROM t CROSS JOIN (VALUES (1)) one(one) WHERE {column} {op} {written} ORDER BY id");
                assert_eq!(got, run(&mut s, &text).await, "{column} {op} {written}");
            }
        }
    }
}
