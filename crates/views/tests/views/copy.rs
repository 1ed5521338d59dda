//! COPY FROM STDIN.

use crate::common::{answer, run, site};
use regauge_views::{Config, Error, Instance, Response, Session, SessionOptions};

async fn copy(session: &mut Session, sql: &str, chunks: &[&[u8]]) -> Result<Vec<String>, Error> {
    let Some(Response::CopyIn(mut copy)) = session.execute(sql).await?.pop() else { panic!("no copy") };
    for chunk in chunks {
        copy.push(chunk)?;
    }
    answer(session.finish_copy(*copy).await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_and_text_become_rows() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, d NUMERIC(6,2), at TIMESTAMPTZ)").await;
    let csv: &[&[u8]] =
        &[b"id,v,d,at\n1,\"a,\"\"b\"\"\n", b"x\",1.50,2024-01-02 03:04:05+00\r\n2,,,\n3,\"\",", b"2,2024-01-02T00:00:00Z"];
    assert_eq!(copy(&mut s, "COPY t FROM STDIN (FORMAT csv, HEADER)", csv).await.unwrap(), ["COPY 3"]);
    assert_eq!(run(&mut s, "SELECT id, v, d FROM t ORDER BY id").await, ["1|a,\"b\"\nx|1.50", "2|NULL|NULL", "3||2.00"]);
    let text: &[&[u8]] = &[b"10\ttab\\there\t\\N\t\\N\n11\t\\N\t1\t\\N\n\\.\n"];
    assert_eq!(copy(&mut s, "COPY t FROM STDIN", text).await.unwrap(), ["COPY 2"]);
    assert_eq!(run(&mut s, "SELECT v FROM t WHERE id >= 10 ORDER BY id").await, ["tab\there", "NULL"]);
    run(&mut s, "CREATE STREAM m (a INT, b TEXT)").await;
    assert_eq!(copy(&mut s, "COPY m (b, a) FROM STDIN (FORMAT csv)", &[b"x,1\ny,2\n"]).await.unwrap(), ["COPY 2"]);
    assert_eq!(run(&mut s, "SELECT a, b FROM m ORDER BY a").await, ["1|x", "2|y"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_names_its_line_and_leaves_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    let wrong: &[(&[u8], &str, &str)] = &[
        (b"1,1\n2\n", "22P04", "line 2"),
        (b"1,1\n2,2,2\n", "22P04", "line 2"),
        (b"1,1\n2,2\n3,x\n", "22P02", "line 3, column n"),
        (b"1,\"1\n", "22P04", "line 1"),
        (b"1,1\n1,2\n", "23505", "Key (id)=(1)"),
        (b",1\n", "23502", ""),
        (b"1,\xff\n", "22021", "line 1"),
    ];
    for (bytes, sqlstate, detail) in wrong {
        let error = copy(&mut s, "COPY t FROM STDIN (FORMAT csv)", &[bytes]).await.unwrap_err();
        assert_eq!(error.sqlstate, *sqlstate, "{error}");
        assert!(error.detail.clone().unwrap_or_default().contains(detail), "{error}");
    }
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_rows_are_counted_before_there_are_many_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path()).workers(1);
    config.limits.query_memory_bytes = 24 << 20;
    let instance = Instance::open(config).unwrap();
    let mut s = instance.session(SessionOptions::default()).unwrap();
    run(&mut s, "CREATE STREAM m (id INT, v TEXT)").await;
    for format in ["text", "csv"] {
        let sql = format!("COPY m FROM STDIN (FORMAT {format})");
        let Some(Response::CopyIn(mut copy)) = s.execute(&sql).await.unwrap().pop() else { panic!("no copy") };
        let row = format!("1{}{}\n", if format == "csv" { ',' } else { '\t' }, "x".repeat(1 << 20));
        // 24 MiB may be held, and somewhat more than 8 MiB are waiting to be counted.
        let n = (0..1000).find_map(|n| copy.push(row.as_bytes()).err().map(|error| (n, error)));
        let (n, error) = n.expect("a gigabyte was held");
        assert_eq!(error.sqlstate, "53200", "{error}");
        assert!((10..60).contains(&n), "{format}: {n} MiB");
    }
    // Rows of this length are no trouble by themselves.
    let Some(Response::CopyIn(mut copy)) = s.execute("COPY m FROM STDIN").await.unwrap().pop() else { panic!("no copy") };
    for _ in 0..9 {
        copy.push(format!("1\t{}\n", "x".repeat(1 << 20)).as_bytes()).unwrap();
    }
    assert_eq!(answer(s.finish_copy(*copy).await.unwrap()).await.unwrap(), ["COPY 9"]);
    assert_eq!(run(&mut s, "SELECT count(*), sum(length(v)) FROM m").await, ["9|9437184"]);
}
