//! COPY FROM STDIN.

use crate::common::{answer, run, site};
use regauge_views::{Error, Response, Session};

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
