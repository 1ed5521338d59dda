//! COPY FROM STDIN over the wire.

use crate::{
    common::{code, rows, site, sqlstate},
    raw::{Raw, bind, execute, field, message, parse, query, sync},
};
use bytes::Bytes;
use futures::{SinkExt, TryStreamExt};

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_pieces_of_any_size() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT)").await.unwrap();
    let csv: String = (0..20_000).map(|i| format!("{i},\"line {i}\nquoted \"\"{i}\"\"\"\n")).collect();
    for (first, size) in [(0, 1), (10_000, 7), (15_000, 65_536)] {
        let last = if size == 1 { 200 } else { first + 5_000 };
        let lines: Vec<&str> = csv.split_inclusive("\"\n").collect();
        let part = lines[first..last].concat();
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT csv)").await.unwrap();
        futures::pin_mut!(sink);
        for piece in part.as_bytes().chunks(size) {
            sink.feed(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), u64::try_from(last - first).unwrap());
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["10200"]);
    assert_eq!(rows(&client, "SELECT s FROM t WHERE id = 12345").await, ["line 12345\nquoted \"12345\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_midway_leaves_nothing_and_the_rest_is_thrown_away() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, n INT)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    for (rows, expected, detail) in [
        ("1\t2\n3\n5\t6\n", "22P04", "COPY t, line 2"),
        ("1\t2\n1\t2\t3\n", "22P04", "COPY t, line 2"),
        ("1\t2\nx\t4\n", "22P02", "COPY t, line 2, column id"),
        ("1\t2\n1\t3\n", "23505", ""),
        ("1\t99999999999\n", "22003", "COPY t, line 1, column n"),
        ("1\t2\0\n", "22021", ""),
    ] {
        raw.send(&query("COPY t FROM STDIN")).await;
        assert_eq!(raw.answer().await.unwrap().0, b'G');
        raw.send(&[message(b'd', rows.as_bytes()), message(b'd', b"7\t8\n"), message(b'c', b""), query("SELECT 1")].concat())
            .await;
        let failed = raw.until_ready().await;
        assert_eq!(field(&failed[0].1, b'C'), expected, "{rows:?}");
        assert!(field(&failed[0].1, b'D').contains(detail), "{rows:?}: {}", field(&failed[0].1, b'D'));
        assert_eq!(raw.letters().await, "TDCZ", "{rows:?}");
    }
    raw.send(&[query("COPY t FROM STDIN"), message(b'd', b"1\t2\n"), message(b'f', b"I have changed my mind\0")].concat()).await;
    let failed = raw.until_ready().await;
    assert_eq!((failed[0].0, field(&failed[1].1, b'C').as_str()), (b'G', "57014"));
    assert!(field(&failed[1].1, b'M').contains("changed my mind"));
    assert_eq!(code(&client, "SELECT 1").await, "00000");
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_extended_protocol_fails_up_to_its_sync() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let mut raw = Raw::admitted(&site).await;
    let begin = [parse("", "COPY t FROM STDIN"), bind("", ""), execute("", 0), sync()].concat();
    raw.send(&[&begin[..], &message(b'd', b"1\n"), &message(b'c', b""), &sync()].concat()).await;
    assert_eq!(raw.letters().await, "12GCZ");
    raw.send(
        &[&begin[..], &message(b'd', b"x\n"), &message(b'd', b"2\n"), &message(b'c', b""), &sync(), &query("SELECT 1")].concat(),
    )
    .await;
    assert_eq!(raw.letters().await, "12GEZ");
    assert_eq!(raw.letters().await, "TDCZ");
    assert_eq!(rows(&client, "SELECT id FROM t").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_within_a_transaction_is_part_of_it() {
    let site = site().await;
    let mut client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let sink = transaction.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from_static(b"1\n2\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    assert_eq!(transaction.query("SELECT id FROM t", &[]).await.unwrap().len(), 2);
    transaction.rollback().await.unwrap();
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
    client.batch_execute("BEGIN").await.unwrap();
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from_static(b"1\nx\n")).await.unwrap();
    assert_eq!(sqlstate(&sink.finish().await.unwrap_err()), "22P02");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
}

/// A file of the binary format, without its end.
fn binary(tuples: &[&[Option<&[u8]>]]) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for fields in tuples {
        out.extend(i16::try_from(fields.len()).unwrap().to_be_bytes());
        for field in *fields {
            out.extend(field.map_or(-1, |f| i32::try_from(f.len()).unwrap()).to_be_bytes());
            out.extend(field.unwrap_or_default());
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_rows_go_out_and_come_in_as_they_were() {
    let site = site().await;
    let client = site.client().await;
    let columns = "id INT PRIMARY KEY, s TEXT, n NUMERIC(10,2), big BIGINT, f FLOAT8, b BOOLEAN, d DATE, at TIMESTAMPTZ, plain TIMESTAMP, \
                   t TIME, iv INTERVAL, y BYTEA, u UUID, j JSONB, a INT[], ts TEXT[], small SMALLINT, r REAL, v VARCHAR(5)";
    client.batch_execute(&format!("CREATE TABLE a ({columns}); CREATE TABLE b ({columns})")).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO a VALUES (1, 'it''s\n', -12345678.90, 9000000000, 1e-300, true, '0001-01-01', '2026-01-02 03:04:05.678Z', 'infinity', \
             '23:59:59.999999', '1 mon -3 days 00:00:05', '\\x0001ff', '00000000-0000-0000-0000-000000000005', '{\"k\": [1, 2.50]}', '{1,NULL,3}', \
             '{a,\"b,c\",NULL}', -7, 1.5, 'short'), (2, '', 0, 0, 'NaN', false, 'infinity', '-infinity', '1969-07-20 20:17', '0:00', '0', '', \
             NULL, '1', '{}', '{}', 0, 0, ''); INSERT INTO a (id) VALUES (3)",
        )
        .await
        .unwrap();
    let out = client.copy_out("COPY (SELECT * FROM a ORDER BY id) TO STDOUT WITH (FORMAT binary)").await.unwrap();
    let pieces: Vec<Bytes> = out.try_collect().await.unwrap();
    assert!(pieces[0].len() > 100 && pieces[0].starts_with(b"PGCOPY\n\xff\r\n\0"), "the first row stands with the head");
    let bytes = pieces.concat();
    let sink = client.copy_in::<_, Bytes>("COPY b FROM STDIN (FORMAT binary)").await.unwrap();
    futures::pin_mut!(sink);
    for piece in bytes.chunks(7) {
        sink.feed(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 3);
    let (a, b) = (rows(&client, "SELECT * FROM a ORDER BY id").await, rows(&client, "SELECT * FROM b ORDER BY id").await);
    assert_eq!((a.len(), &a), (3, &b));

    // Byte for byte what PostgreSQL writes.
    let out = client.copy_out("COPY (SELECT id, v, u FROM a WHERE id = 2) TO STDOUT BINARY").await.unwrap();
    let written = out.try_collect::<Vec<Bytes>>().await.unwrap().concat();
    assert_eq!(written, [binary(&[&[Some(&[0, 0, 0, 2]), Some(b""), None]]), vec![0xff, 0xff]].concat());
    let out = client.copy_out("COPY (SELECT id FROM a WHERE id = 9) TO STDOUT BINARY").await.unwrap();
    assert_eq!(out.try_collect::<Vec<Bytes>>().await.unwrap().concat(), [binary(&[]), vec![0xff, 0xff]].concat());
    assert_eq!(code(&client, "COPY a TO STDOUT (FORMAT binary, DELIMITER ',')").await, "42601");
    assert_eq!(code(&client, "COPY a TO STDOUT (FORMAT binary, HEADER)").await, "0A000");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_rows_that_are_wrong_leave_nothing() {
    let site = site().await;
    let client = site.client().await;
    client.batch_execute("CREATE TABLE t (id INT PRIMARY KEY, s TEXT, n NUMERIC(4,2))").await.unwrap();
    let one: &[Option<&[u8]>] = &[Some(&[0, 0, 0, 1]), Some(b"a"), None];
    let with = |second: &[Option<&[u8]>]| binary(&[one, second]);
    let huge = [0, 1, 0, 0, 0, 0, 0, 0, 0, 100];
    for (bytes, expected, detail) in [
        (b"1\ta\t\\N\n".to_vec(), "22P04", "COPY t, line 1"),
        (with(&[Some(&[0, 0, 0, 2]), Some(b"b")]), "22P04", "COPY t, line 2"),
        (with(&[Some(&[0, 0, 0, 2]), Some(b"b"), None])[..40].to_vec(), "22P04", "COPY t, line 2"),
        ([with(&[Some(&[0, 0, 0, 2]), Some(b"b"), None]), vec![0xff, 0xff, 0]].concat(), "22P04", "COPY t, line 3"),
        (with(&[Some(&[0, 0, 2]), Some(b"b"), None]), "22P03", "COPY t, line 2, column id"),
        (with(&[Some(&[0, 0, 0, 2]), Some(&[0xff]), None]), "22021", "COPY t, line 2, column s"),
        (with(&[Some(&[0, 0, 0, 2]), None, Some(&[0, 1])]), "22P03", "COPY t, line 2, column n"),
        (with(&[Some(&[0, 0, 0, 2]), None, Some(&huge)]), "22003", "COPY t, line 2, column n"),
        (with(one), "23505", ""),
        (with(&[None, None, None]), "23502", ""),
    ] {
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
        futures::pin_mut!(sink);
        sink.send(Bytes::from(bytes.clone())).await.unwrap();
        let error = sink.finish().await.expect_err("wrong");
        assert_eq!(sqlstate(&error), expected, "{bytes:?}: {error:?}");
        let told = error.as_db_error().and_then(|e| e.detail()).unwrap_or_default();
        assert!(told.contains(detail), "{bytes:?}: {told}");
    }
    assert_eq!(rows(&client, "SELECT count(*) FROM t").await, ["0"]);
    // A value that is none is a bad record like any other; where a tuple breaks off there is no next one.
    client.batch_execute("CREATE STREAM s (id INT NOT NULL, n SMALLINT) WITH (on_error = 'dead_letter')").await.unwrap();
    let bytes =
        binary(&[&[Some(&[0, 0, 0, 1]), None], &[Some(b"x"), None], &[None, None], &[Some(&[0, 0, 0, 4]), Some(&[0, 4])]]);
    let sink = client.copy_in::<_, Bytes>("COPY s FROM STDIN (FORMAT binary)").await.unwrap();
    futures::pin_mut!(sink);
    sink.send(Bytes::from(bytes)).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 2);
    client.batch_execute("FLUSH").await.unwrap();
    assert_eq!(rows(&client, "SELECT id, n FROM s ORDER BY id").await, ["1|NULL", "4|4"]);
    let dead = rows(&client, "SELECT position, format, sqlstate, column_name FROM s_dead ORDER BY position").await;
    assert_eq!(dead, ["2|binary|22P03|id", "3|binary|23502|id"]);
}
