//! Bad records that are stored beside their stream, and the ledger of it (promise I12): what came in is what is there, by count.

use crate::common::{Site, answer, code, run, site, site_with_checkpoints};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use futures::StreamExt;
use regauge_types::{Env, TopicId};
use regauge_views::{
    Config, Error, Instance, ProducerSeq, Response, Session, SessionOptions,
    backup::{self, Vault},
    catalog::Name,
};
use std::sync::Arc;

async fn copy(session: &mut Session, sql: &str, data: &[u8], piece: usize) -> Result<(Vec<String>, Vec<String>), Error> {
    let Some(Response::CopyIn(mut copy)) = session.execute(sql).await?.pop() else { panic!("no copy") };
    for chunk in data.chunks(piece) {
        copy.push(chunk)?;
    }
    let response = session.finish_copy(*copy).await?;
    let notices = if let Response::Command { notices, .. } = &response { notices.clone() } else { vec![] };
    Ok((answer(response).await?, notices.into_iter().map(|n| n.message).collect()))
}

/// Stored, dead-lettered, skipped.
fn ledger(site: &Site, stream: &str) -> (u64, u64, u64) {
    of(site.instance(), stream)
}

fn of(instance: &Instance, stream: &str) -> (u64, u64, u64) {
    let (catalog, ledger) = (instance.catalog(), instance.log().ledger());
    let tally = |name: &str| {
        let topic = catalog.find(&Name::public(name)).and_then(|r| r.topic()).unwrap_or(TopicId(u32::MAX));
        ledger.topic(topic)
    };
    let own = tally(stream);
    (own.stored, tally(&format!("{stream}_dead")).stored, own.skipped)
}

async fn counts(s: &mut Session, stream: &str) -> (u64, u64) {
    run(s, "FLUSH").await;
    let n = |rows: Vec<String>| rows[0].parse().unwrap();
    let stored = n(run(s, &format!("SELECT count(*) FROM {stream}")).await);
    (stored, n(run(s, &format!("SELECT count(*) FROM {stream}_dead")).await))
}

const STREAM: &str = "CREATE STREAM s (k INT NOT NULL, v VARCHAR(3), n NUMERIC(6,2) CHECK (n > 0), \
                      twice INT GENERATED ALWAYS AS (100 / k) STORED, d TEXT DEFAULT 'x') WITH (on_error = 'dead_letter')";

fn batch(keys: &[Option<i64>], texts: &[&str]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    RecordBatch::try_from_iter([("k", keys), ("v", texts)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_stores_the_good_records_and_the_bad_ones_beside_them_in_one_commit() {
    for piece in [1, 7, 65_536] {
        let site = site();
        let mut s = site.session();
        run(&mut s, STREAM).await;
        let csv = b"k,v,n\n1,a,1\nx,b,1\n2,\"lo\nng\",1\n3,c\n4,c,1,9\n0,a,1\n5,d,-1\n,a,2\n6,e,2\n7,\xff,1\n8,\"f,1\n9,g,1\n";
        let before = site.instance().log().durable();
        let sql = "COPY s (k, v, n) FROM STDIN (FORMAT csv, HEADER)";
        let (tag, notices) = copy(&mut s, sql, csv, piece).await.unwrap();
        assert_eq!((tag, notices), (vec!["COPY 2".to_owned()], vec!["9 bad records went to \"s_dead\"".to_owned()]));
        assert_eq!(site.instance().log().durable().0, before.0 + 1, "one commit");
        run(&mut s, "FLUSH").await;
        assert_eq!(run(&mut s, "SELECT k, v, n, twice, d FROM s ORDER BY k").await, ["1|a|1.00|100|x", "6|e|2.00|16|x"]);
        let letters = "SELECT position, sqlstate, column_name, record, encode(record_bytes, 'hex'), source, format FROM s_dead ORDER BY _offset";
        assert_eq!(
            run(&mut s, letters).await,
            [
                "3|22P02|k|x,b,1|NULL|copy|csv",
                "4|22001|NULL|2,\"lo\nng\",1|NULL|copy|csv",
                "6|22P04|NULL|3,c|NULL|copy|csv",
                "7|22P04|NULL|4,c,1,9|NULL|copy|csv",
                "8|22012|NULL|0,a,1|NULL|copy|csv",
                "9|23514|NULL|5,d,-1|NULL|copy|csv",
                "10|23502|k|,a,2|NULL|copy|csv",
                "12|22021|NULL|NULL|372cff2c31|copy|csv",
                "13|22P04|NULL|8,\"f,1\n9,g,1|NULL|copy|csv",
            ]
        );
        assert_eq!(ledger(&site, "s"), (2, 9, 0));
        assert_eq!(run(&mut s, "SELECT DISTINCT a._commit_ts = b._commit_ts FROM s a, s_dead b").await, ["true"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_records_fault_refuses_all_and_so_does_who_asks_for_it() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE STREAM plain (k INT NOT NULL)").await;
    run(&mut s, "CREATE TABLE t (k INT PRIMARY KEY)").await;
    let refused = [
        ("COPY s (k, v) FROM STDIN (ON_ERROR stop)", "1\ta\nx\tb\n", "22P02"),
        ("COPY s (k, v) FROM STDIN (ON_ERROR fail)", "1\ta\nx\tb\n", "22P02"),
        ("COPY s (k, v) FROM STDIN (ON_ERROR ignore)", "1\ta\n", "0A000"),
        ("COPY plain FROM STDIN", "1\nx\n", "22P02"),
        ("COPY plain FROM STDIN (ON_ERROR dead_letter)", "1\n", "42809"),
        ("COPY t FROM STDIN (ON_ERROR dead_letter)", "1\n", "42809"),
        ("COPY s_dead (record) FROM STDIN", "1\n", "42809"),
    ];
    for (sql, data, sqlstate) in refused {
        let error = copy(&mut s, sql, data.as_bytes(), 100).await.expect_err(sql);
        assert_eq!(error.sqlstate, sqlstate, "{sql}: {error}");
    }
    for (sql, sqlstate) in [
        ("CREATE TABLE u (k INT) WITH (on_error = 'dead_letter')", "0A000"),
        ("CREATE STREAM u (k INT) WITH (on_error = 'ignore')", "0A000"),
        ("INSERT INTO s_dead (record) VALUES ('a')", "42809"),
        ("INSERT INTO s (k) VALUES (1 / 0)", "22012"),
        ("INSERT INTO s (k) SELECT record::int FROM (VALUES ('a')) x (record)", "22P02"),
        ("COPY s TO STDOUT (ON_ERROR stop)", "22023"),
    ] {
        assert_eq!(code(&mut s, sql).await, sqlstate, "{sql}");
    }
    // So many bad ones are a wrong file; they are held in memory until their commit.
    let error =
        copy(&mut s, "COPY s (k, v) FROM STDIN", "x\ta\n".repeat(65_537).as_bytes(), 1 << 20).await.expect_err("too many");
    assert_eq!(error.sqlstate, "54000");
    // A column that is not there is a wrong request, not a wrong row.
    let other = RecordBatch::try_from_iter([("z", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    assert_eq!(s.append_records("s", other, None).await.unwrap_err().sqlstate, "42703");
    assert_eq!((ledger(&site, "s"), ledger(&site, "plain")), ((0, 0, 0), (0, 0, 0)));
    assert_eq!(counts(&mut s, "s").await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_and_appends_of_rows_divert_what_breaks_a_rule_and_repetitions_are_skipped() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    let sql = "INSERT INTO s (k, v, n) VALUES (1, 'a', 1), (0, 'b', 1), (2, 'long', 1), (3, 'c', -1), (NULL, 'd', 1), (4, 'e', 2) RETURNING k";
    assert_eq!(run(&mut s, sql).await, ["1", "4"]);
    run(&mut s, "FLUSH").await;
    let letters = "SELECT position, sqlstate, record::json->>'v', source, format FROM s_dead ORDER BY _offset";
    assert_eq!(
        run(&mut s, letters).await,
        ["2|22012|b|insert|row", "3|22001|long|insert|row", "4|23514|c|insert|row", "5|23502|d|insert|row"]
    );
    let producer = |sequence| Some(ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence });
    let rows = batch(&[Some(5), None, Some(6), Some(99_999_999_999)], &["a", "b", "long", "c"]);
    let receipt = s.append_records("s", rows.clone(), producer(0)).await.unwrap();
    assert_eq!((receipt.n_rows, receipt.n_dead, receipt.duplicate), (1, 3, false));
    assert_eq!(receipt.placed.len(), 1, "letters are not among the places");
    for _ in 0..3 {
        assert!(s.append_records("s", rows.clone(), producer(0)).await.unwrap().duplicate);
    }
    run(&mut s, "SET regauge.producer = 'q'").await;
    for _ in 0..2 {
        run(&mut s, "INSERT INTO s (k, v) VALUES (7, 'a'), (0, 'b') WITH SEQUENCE 0").await;
    }
    // All bad: the stream itself gets nothing, and the sequence is taken all the same.
    let bad = batch(&[None], &["a"]);
    assert!(!s.append_records("s", bad.clone(), producer(1)).await.unwrap().duplicate);
    assert!(s.append_records("s", bad, producer(1)).await.unwrap().duplicate);
    let expected = (2 + 1 + 1, 4 + 3 + 1 + 1, 3 * 4 + 2 + 1);
    assert_eq!(ledger(&site, "s"), expected);
    assert_eq!(counts(&mut s, "s").await, (expected.0, expected.1));
    let named = "SELECT producer, incarnation, sequence, count(*) FROM s_dead GROUP BY 1, 2, 3 ORDER BY 1, 3";
    assert_eq!(run(&mut s, named).await, ["p|0|0|3", "p|0|1|1", "q|0|0|1", "NULL|NULL|NULL|4"]);
    drop(s);
    site.reopen();
    assert_eq!(ledger(&site, "s"), expected);
    let mut s = site.session();
    assert_eq!(counts(&mut s, "s").await, (expected.0, expected.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_ledger_counts_its_changes_and_its_producers_repetitions() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (k BIGINT PRIMARY KEY, v TEXT)").await;
    let producer = |sequence| Some(ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence });
    let rows = batch(&[Some(1), Some(2)], &["a", "b"]);
    assert!(!s.append_records("t", rows.clone(), producer(0)).await.unwrap().duplicate);
    // The retry meets its own rows before the log sees who sent them.
    assert!(s.append_records("t", rows.clone(), producer(0)).await.unwrap().duplicate);
    assert_eq!(s.append_records("t", rows, producer(1)).await.unwrap_err().sqlstate, "23505");
    run(&mut s, "UPDATE t SET v = 'c' WHERE k = 1").await;
    run(&mut s, "DELETE FROM t").await;
    assert_eq!(ledger(&site, "t"), (5, 0, 2));
    drop(s);
    site.reopen();
    assert_eq!(ledger(&site, "t"), (5, 0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_takes_its_letters_with_it_or_back() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "BEGIN").await;
    run(&mut s, STREAM).await;
    run(&mut s, "INSERT INTO s (k) VALUES (1), (0)").await;
    run(&mut s, "SAVEPOINT a").await;
    run(&mut s, "INSERT INTO s (k) VALUES (2), (0), (0)").await;
    run(&mut s, "ROLLBACK TO a").await;
    assert_eq!(copy(&mut s, "COPY s (k) FROM STDIN", b"3\nx\n", 9).await.unwrap().0, ["COPY 1"]);
    run(&mut s, "COMMIT").await;
    assert_eq!(ledger(&site, "s"), (2, 2, 0));
    run(&mut s, "BEGIN; INSERT INTO s (k) VALUES (0); ROLLBACK").await;
    assert_eq!((ledger(&site, "s"), counts(&mut s, "s").await), ((2, 2, 0), (2, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_read_by_views_and_subscriptions_and_driven_again() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE MATERIALIZED VIEW why AS SELECT sqlstate, count(*) AS n FROM s_dead GROUP BY sqlstate").await;
    let mut other = site.session();
    let subscribed = other.execute("SUBSCRIBE TO s_dead").await.unwrap().pop();
    let Some(Response::Subscription(mut changes)) = subscribed else { panic!("changes") };
    copy(&mut s, "COPY s (k, v) FROM STDIN", b"1\ta\n0\tb\n2\tlong\n3\talso\n", 9).await.unwrap();
    let mut seen = 0;
    while seen < 3 {
        seen += changes.stream.next().await.unwrap().unwrap().num_rows();
    }
    assert_eq!(seen, 3);
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, "SELECT sqlstate, n FROM why ORDER BY 1").await, ["22001|2", "22012|1"]);
    // What is corrected enters; what is not is a letter again.
    let again =
        "INSERT INTO s (k, v) SELECT split_part(record, E'\\t', 1)::int, substr(split_part(record, E'\\t', 2), 1, 3) FROM s_dead";
    assert_eq!(run(&mut s, again).await, ["INSERT 0 2"]);
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, "SELECT k, v FROM s ORDER BY k").await, ["1|a", "2|lon", "3|als"]);
    assert_eq!(run(&mut s, "SELECT sqlstate, n FROM why ORDER BY 1").await, ["22001|2", "22012|2"]);
    assert_eq!(ledger(&site, "s"), (3, 4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_and_are_renamed_with_their_stream_and_come_by_alter() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k INT NOT NULL)").await;
    run(&mut s, "CREATE STREAM x_dead (k INT)").await;
    assert_eq!(code(&mut s, "CREATE STREAM x (k INT) WITH (on_error = 'dead_letter')").await, "42P07");
    assert_eq!(code(&mut s, "SELECT * FROM s_dead").await, "42P01");
    assert_eq!(code(&mut s, "INSERT INTO s VALUES (NULL)").await, "23502");
    run(&mut s, "ALTER STREAM s SET (on_error = 'dead_letter')").await;
    run(&mut s, "INSERT INTO s VALUES (NULL), (1)").await;
    for (sql, sqlstate) in [
        ("DROP STREAM s_dead", "2BP01"),
        ("ALTER STREAM s_dead RENAME TO y", "2BP01"),
        ("ALTER STREAM s_dead ADD COLUMN y INT", "2BP01"),
        ("ALTER STREAM s_dead SET (on_error = 'dead_letter')", "42809"),
        ("ALTER STREAM s SET (partitions = 2)", "0A000"),
        ("ALTER STREAM s RENAME TO x", "42P07"),
    ] {
        assert_eq!(code(&mut s, sql).await, sqlstate, "{sql}");
    }
    run(&mut s, "ALTER STREAM s RENAME TO r").await;
    run(&mut s, "CREATE SCHEMA o").await;
    run(&mut s, "ALTER STREAM r SET SCHEMA o").await;
    assert_eq!(run(&mut s, "SELECT position, sqlstate FROM o.r_dead").await, ["1|23502"]);
    run(&mut s, "ALTER STREAM o.r SET SCHEMA public").await;
    run(&mut s, "ALTER STREAM r SET (on_error = 'fail')").await;
    assert_eq!(code(&mut s, "INSERT INTO r VALUES (NULL)").await, "23502");
    // A request may still ask for it: the letters' stream is there.
    assert_eq!(copy(&mut s, "COPY r FROM STDIN (ON_ERROR dead_letter)", b"2\nx\n", 9).await.unwrap().0, ["COPY 1"]);
    run(&mut s, "ALTER STREAM r RESET (on_error)").await;
    run(&mut s, "ALTER STREAM r SET (on_error = 'dead_letter')").await;
    drop(s);
    site.reopen();
    let mut s = site.session();
    run(&mut s, "INSERT INTO r VALUES (NULL)").await;
    assert_eq!((ledger(&site, "r"), counts(&mut s, "r").await), ((2, 3, 0), (2, 3)));
    let shown = run(&mut s, "SHOW CREATE STREAM r").await;
    assert!(shown[0].contains("on_error = 'dead_letter'"), "{shown:?}");
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM r_dead").await;
    assert_eq!(code(&mut s, "DROP STREAM r").await, "2BP01");
    run(&mut s, "DROP STREAM r CASCADE").await;
    assert_eq!(code(&mut s, "SELECT * FROM r_dead").await, "42P01");
    // The statement that was shown makes both anew, under the same names.
    let sql = shown[0].split_once('|').unwrap().1.to_owned();
    run(&mut s, &sql).await;
    assert_eq!((ledger(&site, "r"), counts(&mut s, "r").await), ((0, 0, 0), (0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_letters_are_their_streams() {
    let site = site();
    let mut root = site.session();
    for sql in ["CREATE ROLE a LOGIN", "CREATE ROLE b LOGIN", "GRANT CREATE ON SCHEMA public TO a"] {
        run(&mut root, sql).await;
    }
    let session =
        |user: &str| site.instance().session(SessionOptions { user: user.to_owned(), ..SessionOptions::default() }).unwrap();
    let (mut a, mut b) = (session("a"), session("b"));
    run(&mut a, STREAM).await;
    run(&mut a, "INSERT INTO s (k) VALUES (1), (0)").await;
    run(&mut a, "FLUSH").await;
    assert_eq!(run(&mut a, "SELECT sqlstate FROM s_dead").await, ["22012"]);
    assert_eq!(code(&mut b, "SELECT * FROM s_dead").await, "42501");
    run(&mut a, "GRANT INSERT ON s TO b").await;
    run(&mut b, "INSERT INTO s (k) VALUES (0)").await;
    assert_eq!(code(&mut b, "SELECT * FROM s_dead").await, "42501", "who writes may not read");
    run(&mut a, "GRANT SELECT ON s TO b").await;
    run(&mut b, "FLUSH").await;
    assert_eq!(run(&mut b, "SELECT count(*) FROM s_dead").await, ["2"]);
    for sql in ["GRANT SELECT ON s_dead TO b", "REVOKE ALL ON s_dead FROM b", "ALTER STREAM s_dead OWNER TO b"] {
        assert_eq!(code(&mut a, sql).await, "42809", "{sql}");
    }
    assert_eq!(code(&mut b, "ALTER STREAM s SET (on_error = 'fail')").await, "42501");
    // A view is read by its owner's rights on the stream, whoever reads it.
    run(&mut a, "CREATE VIEW v AS SELECT sqlstate FROM s_dead").await;
    run(&mut a, "GRANT SELECT ON v TO b").await;
    run(&mut a, "REVOKE SELECT ON s FROM b").await;
    assert_eq!(run(&mut b, "SELECT count(*) FROM v").await, ["2"]);
    assert_eq!(code(&mut b, "SELECT * FROM s_dead").await, "42501");
    run(&mut root, "ALTER STREAM s OWNER TO b").await;
    assert_eq!(run(&mut b, "SELECT count(*) FROM s_dead").await, ["2"]);
    assert_eq!(code(&mut a, "SELECT * FROM s_dead").await, "42501");
    run(&mut root, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO a").await;
    assert_eq!(run(&mut a, "SELECT count(*) FROM s_dead").await, ["2"]);
    run(&mut root, "DROP OWNED BY b CASCADE").await;
    assert_eq!(code(&mut root, "SELECT * FROM s_dead").await, "42P01");
    run(&mut root, "DROP ROLE b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_a_checkpoint_have_the_ledger() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s_dead").await;
    let producer = || Some(ProducerSeq { id: "p".to_owned(), incarnation: 0, sequence: 0 });
    let rows = batch(&[Some(5), None], &["a", "b"]);
    for _ in 0..2 {
        s.append_records("s", rows.clone(), producer()).await.unwrap();
    }
    run(&mut s, "FLUSH").await;
    assert!(site.instance().checkpoint(std::time::Duration::from_secs(60)).unwrap());
    site.instance().log().archive_now().unwrap();
    let (target, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&mut s, &format!("BACKUP TO '{}'", target.path().display())).await;
    assert!(s.append_records("s", rows.clone(), producer()).await.unwrap().duplicate);
    drop(s);
    site.reopen();
    assert_eq!(ledger(&site, "s"), (1, 1, 4));
    let mut s = site.session();
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, "SELECT n FROM v").await, ["1"]);
    // The backup is of the moment before the last repetition; the producer goes on in it.
    let (env, vault) = (Env::real(), Vault::in_folder(&Env::real(), target.path()));
    backup::restore(&env, &vault, Some(1), folder.path()).unwrap();
    let restored = Instance::open(Config::new(folder.path()).workers(1)).unwrap();
    assert_eq!(of(&restored, "s"), (1, 1, 2));
    let mut s = restored.session(SessionOptions::default()).unwrap();
    assert!(s.append_records("s", rows, producer()).await.unwrap().duplicate);
    assert_eq!(of(&restored, "s"), (1, 1, 4));
    assert_eq!(run(&mut s, "SELECT sqlstate FROM s_dead").await, ["23502"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_rows_among_many_good_ones_are_told_apart_and_stay_in_order() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    // Each seventh has no key, each eleventh is too long, each thirteenth cannot be computed, each seventeenth breaks the condition.
    let n = 600_i64;
    let mut data = String::new();
    for i in 1..=n {
        let key = if i % 7 == 0 {
            "\\N".to_owned()
        } else if i % 13 == 0 {
            "0".to_owned()
        } else {
            i.to_string()
        };
        let text = if i % 11 == 0 { "long" } else { "a" };
        data += &format!("{key}\t{text}\t{}\n", if i % 17 == 0 { -1 } else { 1 });
    }
    let bad = |i: &i64| i % 7 == 0 || i % 11 == 0 || i % 13 == 0 || i % 17 == 0;
    let n_bad = (1..=n).filter(bad).count() as u64;
    copy(&mut s, "COPY s (k, v, n) FROM STDIN", data.as_bytes(), 1_000).await.unwrap();
    assert_eq!(ledger(&site, "s"), (n as u64 - n_bad, n_bad, 0));
    run(&mut s, "FLUSH").await;
    let good: Vec<String> = (1..=n).filter(|i| !bad(i)).map(|i| i.to_string()).collect();
    assert_eq!(run(&mut s, "SELECT k FROM s ORDER BY _offset").await, good);
    let letters: Vec<String> = (1..=n).filter(bad).map(|i| i.to_string()).collect();
    assert_eq!(run(&mut s, "SELECT position FROM s_dead ORDER BY _offset").await, letters);
}
