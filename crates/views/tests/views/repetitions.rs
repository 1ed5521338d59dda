//! What a producer sends again is answered as it was stored (I2), whatever holds by then; a sequence stands for one append.

use crate::common::{code, run, site};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use regauge_views::{ProducerSeq, SessionOptions};
use std::sync::Arc;

fn rows(keys: &[i64], texts: &[&str]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    RecordBatch::try_from_iter([("k", keys), ("v", texts)]).unwrap()
}

fn by(sequence: u64) -> Option<ProducerSeq> {
    Some(ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence })
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_came_later_do_not_refuse_what_is_stored() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT); CREATE STREAM s (k BIGINT, v TEXT)").await;
    let first = rows(&[1, 200], &["a", "long"]);
    let mut receipts = vec![];
    for of in ["t", "s"] {
        receipts.push(s.append_records(of, first.clone(), by(receipts.len() as u64)).await.unwrap());
    }
    run(&mut s, "SET regauge.producer = 'q'").await;
    run(&mut s, "INSERT INTO s VALUES (3, 'c'), (4, 'd') WITH SEQUENCE 0").await;
    // A key that is taken, a condition, a column that is gone.
    run(&mut s, "UPDATE t SET v = NULL").await;
    run(&mut s, "ALTER TABLE t ADD CHECK (v IS NULL)").await;
    run(&mut s, "ALTER STREAM s DROP COLUMN v").await;
    for round in 0..2 {
        for (of, before) in ["t", "s"].into_iter().zip(&receipts) {
            let again = s.append_records(of, first.clone(), by(if of == "t" { 0 } else { 1 })).await.unwrap();
            assert!(again.duplicate && !before.duplicate, "{of}");
            assert_eq!((again.lsn, &again.placed, again.n_rows), (before.lsn, &before.placed, before.n_rows), "{of}");
        }
        let insert = "INSERT INTO s VALUES (3, 'c'), (4, 'd') WITH SEQUENCE 0";
        assert_eq!(run(&mut s, insert).await, ["INSERT 0 2"], "round {round}");
        // What was not stored is judged.
        assert!(["42601", "42703"].contains(&code(&mut s, &insert.replace("SEQUENCE 0", "SEQUENCE 1")).await));
        assert_eq!(s.append_records("t", rows(&[9], &["c"]), by(2)).await.unwrap_err().sqlstate, "23514");
        assert!(s.append_records("s", first.clone(), by(2)).await.is_err());
        drop(s);
        site.reopen();
        s = site.session();
        run(&mut s, "SET regauge.producer = 'q'").await;
    }
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(run(&mut s, "SELECT count(*) FROM s").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_of_another_relation_is_an_error_and_counts_nothing() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT); CREATE STREAM s (k BIGINT, v TEXT)").await;
    let one = rows(&[1], &["a"]);
    s.append_records("t", one.clone(), by(0)).await.unwrap();
    let before = site.instance().log().ledger();
    let error = s.append_records("s", one.clone(), by(0)).await.unwrap_err();
    assert_eq!((error.sqlstate, error.hint.is_some()), ("55P02", true), "{error}");
    run(&mut s, "SET regauge.producer = 'p'").await;
    assert_eq!(code(&mut s, "INSERT INTO s VALUES (1, 'a') WITH SEQUENCE 0").await, "55P02");
    assert_eq!(site.instance().log().ledger().topics, before.topics);
    assert_eq!(run(&mut s, "INSERT INTO s VALUES (1, 'a') WITH SEQUENCE 1").await, ["INSERT 0 1"]);
    // Another one of the same name is another relation.
    run(&mut s, "DROP TABLE t").await;
    run(&mut s, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT)").await;
    assert_eq!(s.append_records("t", one, by(0)).await.unwrap_err().sqlstate, "55P02");
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_beside_a_stream_are_the_streams_and_so_are_their_repetitions() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k BIGINT CHECK (k > 0), v TEXT) WITH (on_error = 'dead_letter')").await;
    let all_bad = rows(&[0, -1], &["a", "b"]);
    let some_bad = rows(&[0, 1], &["a", "b"]);
    for (at, rows, expected) in [(0, &all_bad, (0, 2)), (1, &some_bad, (1, 1))] {
        let first = s.append_records("s", rows.clone(), by(at)).await.unwrap();
        assert_eq!((first.n_rows, first.n_dead, first.duplicate), (expected.0, expected.1, false));
    }
    run(&mut s, "ALTER STREAM s SET (on_error = 'fail')").await;
    for (at, rows, expected) in [(0, &all_bad, (0, 2)), (1, &some_bad, (1, 1))] {
        let again = s.append_records("s", rows.clone(), by(at)).await.unwrap();
        assert_eq!((again.n_rows, again.n_dead, again.duplicate), (expected.0, expected.1, true));
    }
    assert_eq!(s.append_records("s", some_bad, by(2)).await.unwrap_err().sqlstate, "23514");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_insert_any_more_is_told_nothing_of_what_is_stored() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM t (k BIGINT, v TEXT); CREATE ROLE eve LOGIN; GRANT INSERT ON t TO eve").await;
    let options = SessionOptions { user: "eve".to_owned(), ..SessionOptions::default() };
    let mut eve = site.instance().session(options).unwrap();
    run(&mut eve, "SET regauge.producer = 'p'").await;
    let insert = "INSERT INTO t VALUES (1, 'a') WITH SEQUENCE 0";
    run(&mut eve, insert).await;
    assert_eq!(run(&mut eve, insert).await, ["INSERT 0 1"]);
    // Another role's producer of that name is another one.
    run(&mut s, "SET regauge.producer = 'p'").await;
    assert_eq!(run(&mut s, insert).await, ["INSERT 0 1"]);
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["2"]);
    run(&mut s, "REVOKE INSERT ON t FROM eve").await;
    assert_eq!(code(&mut eve, insert).await, "42501");
    assert_eq!(eve.append_records("t", rows(&[1], &["a"]), by(0)).await.unwrap_err().sqlstate, "42501");
}
