//! Queries of both protocols.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, bind, execute, field, message, parse, query, sync},
};
use futures::{StreamExt, pin_mut};
use tokio_postgres::types::Type;

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_one_text_are_answered_one_by_one_until_one_fails() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("SELECT 1; SELECT 1/0; SELECT 3")).await;
    let letters = raw.letters().await;
    assert!(matches!(letters.as_str(), "TDCEZ" | "TDCTEZ"), "{letters}");
    raw.send(&query("")).await;
    assert_eq!(raw.letters().await, "IZ");
    raw.send(&query(" ; -- nothing")).await;
    assert_eq!(raw.letters().await, "IZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_have_the_names_and_types_that_postgres_gives_them() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, d NUMERIC(10,2), s VARCHAR(5), ts TIMESTAMPTZ)").await.unwrap();
    let statement =
        client.prepare("SELECT id, d, s, ts, count(*) OVER (), id + 1, 1::bigint, array_agg(id) OVER () FROM t").await.unwrap();
    let columns: Vec<(&str, Type)> = statement.columns().iter().map(|c| (c.name(), c.type_().clone())).collect();
    let expected = [
        ("id", Type::INT4),
        ("d", Type::NUMERIC),
        ("s", Type::TEXT),
        ("ts", Type::TIMESTAMPTZ),
        ("count", Type::INT8),
        ("?column?", Type::INT4),
        ("int8", Type::INT8),
        ("array_agg", Type::INT4_ARRAY),
    ];
    assert_eq!(columns, expected);
    let mut raw = Raw::admitted(&site).await;
    raw.send(&query("SELECT d FROM t")).await;
    let columns = raw.until_ready().await.remove(0).1;
    // name, table, column, type, size, modifier, format
    assert_eq!(columns[10..14], 1700u32.to_be_bytes());
    assert_eq!(columns[16..20], ((10u32 << 16 | 2) + 4).to_be_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_rows_of_every_type_come_back_as_they_were() {
    let site = site().await;
    let client = site.client().await;
    let declared = "id BIGINT PRIMARY KEY, b BOOLEAN, i2 SMALLINT, i4 INT, f4 REAL, f8 DOUBLE PRECISION, s TEXT, y BYTEA, \
                    d DATE, ts TIMESTAMP, tz TIMESTAMPTZ";
    client.batch_execute(&format!("CREATE TABLE t ({declared})")).await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)").await.unwrap();
    let types = [
        Type::INT8,
        Type::BOOL,
        Type::INT2,
        Type::INT4,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::TEXT,
        Type::BYTEA,
        Type::DATE,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
    ];
    assert_eq!(insert.params(), types);
    let date = chrono::NaiveDate::from_ymd_opt(1969, 7, 20).unwrap();
    let at = date.and_hms_micro_opt(20, 17, 40, 123_456).unwrap();
    let text = "it's \u{1f600} \\ \" \n";
    let bytes: &[u8] = &[0, 255, b'\\'];
    let written = client
        .execute(
            &insert,
            &[&i64::MIN, &true, &i16::MAX, &i32::MIN, &f32::MIN_POSITIVE, &-0.1f64, &text, &bytes, &date, &at, &at.and_utc()],
        )
        .await;
    assert_eq!(written.unwrap(), 1);
    let row = client.query_one("SELECT * FROM t WHERE id = $1", &[&i64::MIN]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (i64::MIN, true));
    assert_eq!((row.get::<_, i16>(2), row.get::<_, i32>(3)), (i16::MAX, i32::MIN));
    assert_eq!((row.get::<_, f32>(4), row.get::<_, f64>(5)), (f32::MIN_POSITIVE, -0.1));
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &[u8]>(7)), (text, bytes));
    assert_eq!(row.get::<_, chrono::NaiveDate>(8), date);
    assert_eq!(row.get::<_, chrono::NaiveDateTime>(9), at);
    assert_eq!(row.get::<_, chrono::DateTime<chrono::Utc>>(10), at.and_utc());
    let nulls = client.execute("INSERT INTO t (id, s) VALUES ($1, $2)", &[&1i64, &None::<&str>]).await;
    assert_eq!(nulls.unwrap(), 1);
    let row = client.query_one("SELECT s, d, b FROM t WHERE s IS NULL", &[]).await.unwrap();
    assert_eq!((row.get::<_, Option<&str>>(0), row.get::<_, Option<bool>>(2)), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_portions_and_a_portal_ends_with_its_transaction() {
    let site = site().await;
    let mut client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let values: Vec<String> = (0..20_000).map(|i| format!("({i})")).collect();
    client.batch_execute(&format!("INSERT INTO t VALUES {}", values.join(","))).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    let mut seen = 0;
    loop {
        let rows = transaction.query_portal(&portal, 3000).await.unwrap();
        if rows.is_empty() {
            break;
        }
        assert_eq!(rows.len(), 3000.min(20_000 - seen));
        assert_eq!(rows[0].get::<_, i32>(0), i32::try_from(seen).unwrap());
        seen += rows.len();
    }
    assert_eq!(seen, 20_000);
    transaction.commit().await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    raw.send(&[query("BEGIN"), parse("s", "SELECT id FROM t"), bind("p", "s"), execute("p", 2), sync()].concat()).await;
    assert_eq!(raw.letters().await, "CZ");
    assert_eq!(raw.letters().await, "12DDsZ");
    raw.send(&[execute("p", 2), sync(), query("COMMIT"), execute("p", 2), sync()].concat()).await;
    assert_eq!(raw.letters().await, "DDsZ");
    assert_eq!(raw.letters().await, "CZ");
    let gone = raw.until_ready().await;
    assert_eq!(field(&gone[0].1, b'C'), "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let site = site().await;
    let mut raw = Raw::admitted(&site).await;
    let messages = [
        parse("bad", "SELECT nothing"),
        parse("good", "SELECT 1"),
        bind("", "good"),
        execute("", 0),
        query("SELECT 2"),
        sync(),
        parse("good", "SELECT 1"),
        message(b'D', b"Sgood\0"),
        bind("", "good"),
        message(b'D', b"P\0"),
        execute("", 0),
        sync(),
    ];
    raw.send(&messages.concat()).await;
    assert_eq!(raw.letters().await, "EZ");
    assert_eq!(raw.letters().await, "1tT2TDCZ");
    raw.send(&[parse("good", "SELECT 1"), sync(), message(b'C', b"Sgood\0"), bind("", "good"), sync()].concat()).await;
    assert_eq!(field(&raw.until_ready().await[0].1, b'C'), "42P05");
    let closed = raw.until_ready().await;
    assert_eq!((closed[0].0, field(&closed[1].1, b'C').as_str()), (b'3', "26000"));
    raw.send(&[parse("", ""), bind("", ""), execute("", 0), sync()].concat()).await;
    assert_eq!(raw.letters().await, "12IZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_before_one_sync_are_one_transaction() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    let insert = |id: u32| [parse("", &format!("INSERT INTO t VALUES ({id})")), bind("", ""), execute("", 0)].concat();
    raw.send(&[insert(1), insert(2), insert(1), sync()].concat()).await;
    assert_eq!(raw.letters().await, "12C12C12EZ");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
    raw.send(&[insert(1), insert(2), sync()].concat()).await;
    assert_eq!(raw.letters().await, "12C12CZ");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_statement_sees_what_happened_since() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, v TEXT)").await.unwrap();
    let select = client.prepare("SELECT v FROM t WHERE id = $1").await.unwrap();
    assert!(client.query_opt(&select, &[&1]).await.unwrap().is_none());
    client.batch_execute("INSERT INTO t VALUES (1, 'one')").await.unwrap();
    assert_eq!(client.query_one(&select, &[&1]).await.unwrap().get::<_, &str>(0), "one");
    client.batch_execute("DROP TABLE t").await.unwrap();
    assert_eq!(sqlstate(&client.query(&select, &[&1]).await.unwrap_err()), "42P01");
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, v BIGINT)").await.unwrap();
    assert_eq!(sqlstate(&client.query(&select, &[&1]).await.unwrap_err()), "0A000");
    client
        .batch_execute("DROP TABLE t; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'new')")
        .await
        .unwrap();
    assert_eq!(client.query_one(&select, &[&1]).await.unwrap().get::<_, &str>(0), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_streams_rows_until_it_is_cancelled() {
    let site = site().await;
    let (client, other) = (site.client().await, site.client().await);
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 10)").await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW m AS SELECT sum(n) AS total FROM t").await.unwrap();
    for (sql, value) in [("SUBSCRIBE m", 20i64), ("SUBSCRIBE t", 30)] {
        let cancel = client.cancel_token();
        let stream = client.query_raw(sql, Vec::<i32>::new()).await.unwrap();
        pin_mut!(stream);
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(first.get::<_, i64>("diff"), 1, "{sql}");
        other.batch_execute(&format!("INSERT INTO t VALUES ({value}, {value})")).await.unwrap();
        loop {
            let next = stream.next().await.unwrap().unwrap();
            let last = next.len() - 1;
            let seen = if sql.ends_with('m') { next.get::<_, i64>(last) } else { next.get::<_, i32>(last).into() };
            // The view's total, or the table's new row.
            if seen >= value && next.get::<_, i64>("diff") == 1 {
                assert!(next.get::<_, i64>("epoch") > first.get::<_, i64>("epoch"), "{sql}");
                break;
            }
        }
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        let end = loop {
            match stream.next().await.expect("an error") {
                Ok(_) => {}
                Err(error) => break sqlstate(&error),
            }
        };
        assert_eq!(end, "57014", "{sql}");
        assert_eq!(rows(&client, "SELECT 1").await, ["1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_holds_up_nobody_else() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await.unwrap();
    let values: Vec<String> = (0..2000).map(|i| format!("({i}, repeat('x', 1000))")).collect();
    client.batch_execute(&format!("INSERT INTO t VALUES {}", values.join(","))).await.unwrap();
    let mut lazy = vec![];
    for _ in 0..8 {
        let mut raw = Raw::admitted(&site).await;
        raw.send(&query("SELECT a.s, b.s FROM t a, t b")).await;
        lazy.push(raw);
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["2000"]);
    assert_eq!(code(&client, "INSERT INTO t VALUES (-1, '')").await, "00000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_with_a_row_that_fails_says_which_in_both_protocols() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE STREAM clicks (page TEXT, ms INT)").await.unwrap();
    client.batch_execute("CREATE MATERIALIZED VIEW speed AS SELECT page, 1000 / ms AS r FROM clicks").await.unwrap();
    client.batch_execute("INSERT INTO clicks VALUES ('a', 10), ('b', 0)").await.unwrap();
    let simple = client.batch_execute("SELECT * FROM speed").await.unwrap_err();
    let extended = client.query("SELECT * FROM speed", &[]).await.unwrap_err();
    for error in [simple, extended] {
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "RG002");
        assert_eq!(error.message(), "view \"speed\" has an error: division by zero topic=clicks partition=0 offset=1");
        assert_eq!(error.detail(), Some("row=(b, 0) n_rows=1"));
        assert!(error.hint().is_some());
    }
    let shown = rows(&client, "SHOW MATERIALIZED VIEWS").await;
    assert!(shown[0].contains("errored"), "{shown:?}");
}
