//! Watermarks, late records, and rows that are final, against a naive model that reads the log's own order.

use crate::common::{Site, attempt, code, run, site, site_with};
use regauge_views::Session;
use std::collections::{BTreeMap, BTreeSet};

const STREAM: &str = "CREATE STREAM s (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds')";
const FINAL: &str = "CREATE MATERIALIZED VIEW f WITH (late = 'drop') AS \
     SELECT k, window_end, count(*) AS n FROM TUMBLE(s, at, INTERVAL '10 seconds') GROUP BY k, window_start, window_end EMIT FINAL";

/// Second `n` of a day.
fn at(n: i64) -> String {
    format!("2026-01-01 00:{:02}:{:02}", n / 60, n % 60)
}

async fn insert(s: &mut Session, rows: &[(i64, i64)]) {
    let values: Vec<String> = rows.iter().map(|(k, n)| format!("({k}, '{}')", at(*n))).collect();
    run(s, &format!("INSERT INTO s VALUES {}", values.join(", "))).await;
}

async fn late(s: &mut Session) -> Vec<String> {
    run(s, "SELECT extract(minute FROM at) * 60 + extract(second FROM at), _late FROM s ORDER BY _partition, _offset").await
}

#[tokio::test]
async fn a_record_is_late_when_those_before_it_have_passed_its_time() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    insert(&mut s, &[(1, 20), (1, 15), (1, 14)]).await;
    insert(&mut s, &[(1, 30)]).await;
    insert(&mut s, &[(2, 24), (2, 25), (1, 26)]).await;
    run(&mut s, "INSERT INTO s VALUES (9, NULL)").await;
    let told = ["20|false", "15|false", "14|true", "30|false", "24|true", "25|false", "26|false", "|false"].map(|row| {
        let (n, late) = row.split_once('|').unwrap();
        if n.is_empty() { format!("NULL|{late}") } else { format!("{n}.000000|{late}") }
    });
    assert_eq!(late(&mut s).await, told);
    run(&mut s, "CREATE MATERIALIZED VIEW kept AS SELECT k, _late AS l FROM s WHERE _late OR k = 9").await;
    assert_eq!(run(&mut s, "SELECT * FROM kept ORDER BY 1").await, ["1|true", "2|true", "9|false"]);
    assert_eq!(run(&mut s, "SELECT * FROM s WHERE k = 9").await, ["9|NULL"], "nobody is shown what he has not asked for");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(late(&mut s).await, told, "a replay agrees");
    assert_eq!(run(&mut s, "SELECT * FROM kept ORDER BY 1").await, ["1|true", "2|true", "9|false"]);
    insert(&mut s, &[(3, 24)]).await;
    assert_eq!(run(&mut s, "SELECT _late FROM s WHERE k = 3").await, ["true"], "the watermark is what it was");
    assert_eq!(run(&mut s, "SELECT * FROM kept ORDER BY 1").await, ["1|true", "2|true", "3|true", "9|false"]);
}

#[tokio::test]
async fn a_commit_that_is_refused_moves_no_watermark() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    insert(&mut s, &[(1, 10)]).await;
    let mut other = site.session();
    run(&mut other, "BEGIN; INSERT INTO t VALUES (1)").await;
    insert(&mut other, &[(1, 1000)]).await;
    run(&mut s, "INSERT INTO t VALUES (1)").await;
    assert_eq!(code(&mut other, "COMMIT").await, "23505");
    run(&mut other, "ROLLBACK").await;
    insert(&mut s, &[(2, 11)]).await;
    assert_eq!(run(&mut s, "SELECT k, _late FROM s ORDER BY _offset").await, ["1|false", "2|false"]);
}

#[tokio::test]
async fn what_is_inserted_in_one_transaction_is_judged_in_its_order() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "BEGIN").await;
    run(&mut s, STREAM).await;
    insert(&mut s, &[(1, 30)]).await;
    insert(&mut s, &[(2, 20)]).await;
    run(&mut s, FINAL).await;
    run(&mut s, "COMMIT").await;
    assert_eq!(run(&mut s, "SELECT k, _late FROM s ORDER BY _offset").await, ["1|false", "2|true"]);
    run(&mut s, "INSERT INTO s VALUES (3, '2026-01-01 00:00:31')").await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM f").await, ["0"]);
    run(&mut s, "ADVANCE WATERMARK FOR s TO '2026-01-01 00:00:40'").await;
    assert_eq!(run(&mut s, "SELECT k, n FROM f ORDER BY k").await, ["1|1", "3|1"]);
}

#[tokio::test]
async fn late_records_correct_a_view_or_are_set_aside_or_dropped() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    let of =
        |name: &str, with: &str| format!("CREATE MATERIALIZED VIEW {name} {with} AS SELECT count(*) AS n, max(k) AS k FROM s");
    for (name, with) in
        [("c", ""), ("c2", "WITH (late = 'correct')"), ("d", "WITH (late = 'divert')"), ("x", "WITH (late = 'drop')")]
    {
        run(&mut s, &of(name, with)).await;
    }
    insert(&mut s, &[(1, 20), (7, 3), (2, 16)]).await;
    let mut all = vec![];
    for name in ["c", "c2", "d", "x"] {
        all.extend(run(&mut s, &format!("SELECT * FROM {name}")).await);
    }
    assert_eq!(all, ["3|7", "3|7", "2|2", "2|2"]);
    let aside = "SELECT _stream, _partition, _offset, k, at FROM d_late";
    assert_eq!(run(&mut s, aside).await, ["s|0|1|7|2026-01-01T00:00:03"]);
    let plan = run(&mut s, "EXPLAIN MATERIALIZED VIEW d").await.join("\n");
    assert!(plan.contains("is not true") && plan.contains("WHERE NOT _late"), "{plan}");
    let plan = run(&mut s, &format!("EXPLAIN {}", of("e", "WITH (late = 'drop')"))).await.join("\n");
    assert!(plan.contains("is not true"), "{plan}");
    let plan = run(&mut s, "EXPLAIN MATERIALIZED VIEW c").await.join("\n");
    assert!(!plan.contains("is not true") && !plan.contains("_late"), "{plan}");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT * FROM d").await, ["2|2"]);
    assert_eq!(run(&mut s, aside).await, ["s|0|1|7|2026-01-01T00:00:03"]);
    assert_eq!(code(&mut s, "DROP VIEW d_late").await, "2BP01");
    assert_eq!(code(&mut s, "CREATE MATERIALIZED VIEW no AS SELECT * FROM d_late").await, "0A000");
    run(&mut s, "DROP MATERIALIZED VIEW d").await;
    assert_eq!(code(&mut s, aside).await, "42P01", "it goes with its view");
    assert_eq!(code(&mut s, &of("no", "WITH (late = 'later')")).await, "0A000");
    run(&mut s, "CREATE STREAM plain (k INT)").await;
    let refused = "CREATE MATERIALIZED VIEW no WITH (late = 'drop') AS SELECT count(*) AS n FROM plain";
    assert_eq!(code(&mut s, refused).await, "0A000", "nothing there can be late");
}

#[tokio::test]
async fn a_view_that_sets_late_records_aside_is_renamed_with_what_shows_them() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE MATERIALIZED VIEW d WITH (late = 'divert') AS SELECT count(*) AS n FROM s").await;
    run(&mut s, "CREATE VIEW over AS SELECT k FROM d_late").await;
    insert(&mut s, &[(1, 20), (7, 3)]).await;
    run(&mut s, "CREATE VIEW taken_late AS SELECT 1 AS one").await;
    assert_eq!(code(&mut s, "ALTER MATERIALIZED VIEW d RENAME TO taken").await, "42P07");
    assert_eq!(code(&mut s, "ALTER VIEW d_late RENAME TO alone").await, "2BP01");
    run(&mut s, "ALTER MATERIALIZED VIEW d RENAME TO counted").await;
    run(&mut s, "CREATE SCHEMA other; ALTER MATERIALIZED VIEW counted SET SCHEMA other; ALTER STREAM s RENAME TO pings").await;
    for again in 0..2 {
        assert_eq!(run(&mut s, "SELECT * FROM other.counted").await, ["1"], "{again}");
        let aside = run(&mut s, "SELECT _stream, k FROM other.counted_late").await;
        assert_eq!(aside, ["pings|7"], "{again}");
        assert_eq!(run(&mut s, "SELECT k FROM over").await, ["7"], "{again}");
        assert_eq!(code(&mut s, "SELECT * FROM d_late").await, "42P01");
        assert_eq!(code(&mut s, "DROP VIEW other.counted_late").await, "2BP01", "it still goes with its view");
        drop(s);
        site.reopen();
        s = site.session();
    }
    run(&mut s, "DROP MATERIALIZED VIEW other.counted CASCADE").await;
    assert_eq!(code(&mut s, "SELECT * FROM other.counted_late").await, "42P01");
    run(&mut s, "CREATE VIEW counted_late AS SELECT 1 AS one").await;
}

#[tokio::test]
async fn a_stream_with_a_watermark_keeps_it_whatever_its_columns_are_called() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, FINAL).await;
    run(&mut s, "CREATE MATERIALIZED VIEW d WITH (late = 'divert') AS SELECT k, count(*) AS n FROM s GROUP BY k").await;
    insert(&mut s, &[(1, 3), (1, 4), (2, 20)]).await;
    assert_eq!(run(&mut s, "FLUSH; SELECT k, n FROM f").await, ["1|2"]);
    run(&mut s, "ALTER STREAM s ADD COLUMN note TEXT DEFAULT 'none'").await;
    run(&mut s, "INSERT INTO s VALUES (3, '2026-01-01 00:00:02', 'late'), (3, '2026-01-01 00:00:21', DEFAULT)").await;
    // EMIT FINAL reads the stream through a window function: its text cannot be written anew, the view over it has to go first.
    assert_eq!(code(&mut s, "ALTER STREAM s RENAME COLUMN at TO happened").await, "0A000");
    run(&mut s, "DROP MATERIALIZED VIEW f").await;
    run(&mut s, "ALTER STREAM s RENAME COLUMN at TO happened; ALTER STREAM s RENAME COLUMN k TO key").await;
    run(&mut s, "ALTER STREAM s RENAME TO pings").await;
    run(&mut s, "INSERT INTO pings VALUES (4, '2026-01-01 00:00:01', 'late too'), (4, '2026-01-01 00:00:22', 'fine')").await;
    let again = "CREATE MATERIALIZED VIEW again WITH (late = 'drop') AS SELECT key, window_end, count(*) AS n \
                 FROM TUMBLE(pings, happened, INTERVAL '10 seconds') GROUP BY key, window_start, window_end EMIT FINAL";
    run(&mut s, again).await;
    for times in 0..2 {
        let all = run(&mut s, "SELECT key, note, _late FROM pings ORDER BY _offset").await;
        let wanted =
            ["1|NULL|false", "1|NULL|false", "2|NULL|false", "3|late|true", "3|none|false", "4|late too|true", "4|fine|false"];
        assert_eq!(all, wanted, "{times}");
        assert_eq!(run(&mut s, "FLUSH; SELECT * FROM d ORDER BY k").await, ["1|2", "2|1", "3|1", "4|1"]);
        let aside = run(&mut s, "SELECT _stream, k, at FROM d_late ORDER BY k").await;
        assert_eq!(aside, ["pings|3|2026-01-01T00:00:02", "pings|4|2026-01-01T00:00:01"]);
        assert_eq!(run(&mut s, "SELECT key, n FROM again").await, ["1|2"]);
        drop(s);
        site.reopen();
        s = site.session();
    }
    assert_eq!(code(&mut s, "ALTER STREAM pings DROP COLUMN happened").await, "2BP01");
    run(&mut s, "INSERT INTO pings VALUES (5, '2026-01-01 00:00:40', 'opens')").await;
    assert_eq!(run(&mut s, "FLUSH; SELECT key, n FROM again ORDER BY window_end, key").await, ["1|2", "2|1", "3|1", "4|1"]);
}

#[tokio::test]
async fn two_streams_of_a_view_have_their_late_records_set_aside_together() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE STREAM r (k INT, at TIMESTAMPTZ, WATERMARK FOR at AS at)").await;
    run(
        &mut s,
        "CREATE MATERIALIZED VIEW j WITH (late = 'divert', on_error = 'divert') AS SELECT s.k FROM s JOIN r ON s.k = r.k",
    )
    .await;
    insert(&mut s, &[(1, 20), (2, 3)]).await;
    run(
        &mut s,
        "INSERT INTO r VALUES (1, '2026-01-01 00:00:09+00'), (2, '2026-01-01 00:00:10+00'), (1, '2026-01-01 00:00:00+00')",
    )
    .await;
    assert_eq!(run(&mut s, "SELECT * FROM j").await, ["1"]);
    assert_eq!(run(&mut s, "SELECT _stream, _partition, _offset FROM j_late ORDER BY 1").await, ["r|0|2", "s|0|1"]);
    assert_eq!(run(&mut s, "SELECT * FROM j_errors").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_window_is_sent_once_when_it_closes_and_never_again() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, FINAL).await;
    let all = "SELECT k, extract(minute FROM window_end) * 60 + extract(second FROM window_end), n FROM f ORDER BY 2, 1";
    insert(&mut s, &[(1, 3), (1, 9), (2, 9)]).await;
    assert_eq!(run(&mut s, all).await, Vec::<String>::new());
    insert(&mut s, &[(1, 14)]).await;
    assert_eq!(run(&mut s, all).await, Vec::<String>::new(), "9 is the watermark");
    insert(&mut s, &[(1, 15)]).await;
    let first = ["1|10.000000|2", "2|10.000000|1"];
    assert_eq!(run(&mut s, all).await, first);
    insert(&mut s, &[(1, 8), (3, 9)]).await;
    assert_eq!(run(&mut s, all).await, first, "late records change nothing");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, all).await, first, "a rebuild closes what live has closed");
    insert(&mut s, &[(2, 60)]).await;
    assert_eq!(run(&mut s, all).await, ["1|10.000000|2", "2|10.000000|1", "1|20.000000|2"]);
    run(&mut s, "ADVANCE WATERMARK FOR s TO '2026-01-01 00:01:10'").await;
    assert_eq!(run(&mut s, all).await, ["1|10.000000|2", "2|10.000000|1", "1|20.000000|2", "2|70.000000|1"]);
    insert(&mut s, &[(5, 69), (5, 70)]).await;
    assert_eq!(run(&mut s, "SELECT _late FROM s WHERE k = 5 ORDER BY _offset").await, ["true", "false"], "judged by the record");
    assert_eq!(run(&mut s, "SELECT count(*) FROM s").await, ["10"], "a watermark is no row");
    drop(s);
    site.reopen();
    let mut s = site.session();
    assert_eq!(run(&mut s, all).await, ["1|10.000000|2", "2|10.000000|1", "1|20.000000|2", "2|70.000000|1"]);
    insert(&mut s, &[(6, 69)]).await;
    assert_eq!(run(&mut s, "SELECT _late FROM s WHERE k = 6").await, ["true"]);
}

#[tokio::test]
async fn a_quiet_partition_holds_windows_open_until_it_is_advanced() {
    let site = site();
    let mut s = site.session();
    run(
        &mut s,
        "CREATE STREAM s (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds') PARTITION BY (k) WITH (partitions = 4)",
    )
    .await;
    run(&mut s, FINAL).await;
    insert(&mut s, &[(1, 5), (1, 100)]).await;
    assert_eq!(run(&mut s, "SELECT k, n FROM f").await, Vec::<String>::new());
    let used = run(&mut s, "SELECT DISTINCT _partition FROM s").await;
    for partition in (0..4).filter(|p| used != [p.to_string()]) {
        assert_eq!(run(&mut s, "SELECT k, n FROM f").await, Vec::<String>::new());
        run(&mut s, &format!("ADVANCE WATERMARK FOR s PARTITION {partition} TO '2026-01-01 00:00:30'")).await;
    }
    assert_eq!(run(&mut s, "SELECT k, n FROM f").await, ["1|1"]);
    assert_eq!(code(&mut s, "ADVANCE WATERMARK FOR s PARTITION 4 TO '2026-01-01 00:00:30'").await, "22023");
    assert_eq!(code(&mut s, "ADVANCE WATERMARK FOR s TO NULL").await, "22023");
    assert_eq!(code(&mut s, "ADVANCE WATERMARK FOR f TO '2026-01-01 00:00:30'").await, "42809");
    run(&mut s, "ADVANCE WATERMARK FOR s TO '2026-01-01 00:00:01'").await;
    insert(&mut s, &[(2, 29), (3, 29), (4, 29)]).await;
    let early = run(&mut s, "SELECT count(*) FROM s WHERE NOT _late AND k > 1").await;
    assert_eq!(early, ["0"], "a watermark never falls");
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n) as i64
    }
}

/// What is late and what has closed, from the records in their partitions' order: (partition, key, second), and what watermarks said.
#[derive(Default)]
struct Model {
    /// Greatest watermark by partition, and the records with their lateness.
    marks: BTreeMap<i64, i64>,
    kept: Vec<(i64, i64)>,
    n_late: usize,
}

impl Model {
    fn record(&mut self, partition: i64, k: i64, n: i64) {
        let mark = self.marks.get(&partition).copied().unwrap_or(i64::MIN);
        if n < mark {
            self.n_late += 1;
        } else {
            self.kept.push((k, n));
        }
        self.marks.insert(partition, mark.max(n - 5));
    }

    fn least(&self, partitions: i64) -> i64 {
        (0..partitions).map(|p| self.marks.get(&p).copied().unwrap_or(i64::MIN)).min().unwrap()
    }

    /// Windows of ten seconds: (key, end, rows).
    fn tumbles(&self, mark: i64) -> BTreeSet<String> {
        let mut n: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        self.kept.iter().for_each(|(k, at)| *n.entry((*k, at - at.rem_euclid(10) + 10)).or_default() += 1);
        n.into_iter().filter(|((_, end), _)| *end <= mark).map(|((k, end), n)| format!("{k}|{end}|{n}")).collect()
    }

    /// Sessions of four seconds: (key, start, end, rows).
    fn sessions(&self, mark: i64) -> BTreeSet<String> {
        let mut by_key: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        self.kept.iter().for_each(|(k, at)| by_key.entry(*k).or_default().push(*at));
        let mut all = BTreeSet::new();
        for (k, mut times) in by_key {
            times.sort_unstable();
            for session in times.chunk_by(|a, b| b - a < 4) {
                let (start, end) = (session[0], session[session.len() - 1] + 4);
                all.extend((end <= mark).then(|| format!("{k}|{start}|{end}|{}", session.len())));
            }
        }
        all
    }
}

async fn set(s: &mut Session, sql: &str) -> BTreeSet<String> {
    let rows = run(s, sql).await;
    let n = rows.len();
    let rows: BTreeSet<String> = rows.into_iter().collect();
    assert_eq!(rows.len(), n, "no row twice");
    rows
}

async fn random(seed: u64, workers: usize, partitions: i64) {
    let mut rng = Rng(seed);
    let mut site: Site = site_with(workers);
    let mut s = site.session();
    run(
        &mut s,
        &format!(
            "CREATE STREAM s (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds') \
             PARTITION BY (k) WITH (partitions = {partitions})"
        ),
    )
    .await;
    let second = |c: &str| format!("(extract(epoch FROM {c}) - 1767225600)::int");
    let sessions = "CREATE MATERIALIZED VIEW g WITH (late = 'divert') AS SELECT k, window_start, window_end, count(*) AS n \
         FROM SESSION(s, at, INTERVAL '4 seconds', PARTITION BY k) GROUP BY k, window_start, window_end EMIT ON WINDOW CLOSE";
    run(&mut s, FINAL).await;
    run(&mut s, sessions).await;
    let (f, g) = (
        format!("SELECT k, {}, n FROM f", second("window_end")),
        format!("SELECT k, {}, {}, n FROM g", second("window_start"), second("window_end")),
    );
    let mut model = Model::default();
    let mut offsets: BTreeMap<i64, i64> = BTreeMap::new();
    let mut now = 20;
    for step in 0..40 {
        now += rng.below(6);
        let rows: Vec<(i64, i64)> = (0..1 + rng.below(6)).map(|_| (rng.below(5), now + rng.below(12) - 8)).collect();
        insert(&mut s, &rows).await;
        // the log's own order
        let read = format!("SELECT _partition, _offset, k, {}, _late FROM s ORDER BY _partition, _offset", second("at"));
        let mut n_late = 0;
        for row in run(&mut s, &read).await {
            let cells: Vec<&str> = row.split('|').collect();
            let number = |i: usize| cells[i].parse::<i64>().unwrap();
            n_late += usize::from(cells[4] == "true");
            let next = offsets.entry(number(0)).or_default();
            if number(1) >= *next {
                *next = number(1) + 1;
                model.record(number(0), number(2), number(3));
            }
        }
        if rng.below(3) == 0 {
            let to = now - rng.below(8);
            run(&mut s, &format!("ADVANCE WATERMARK FOR s TO '{}'", at(to))).await;
            (0..partitions).for_each(|p| {
                let mark = model.marks.entry(p).or_insert(to);
                *mark = (*mark).max(to);
            });
        }
        assert_eq!(n_late, model.n_late, "seed {seed} step {step}");
        let mark = model.least(partitions);
        assert_eq!(set(&mut s, &f).await, model.tumbles(mark), "seed {seed} step {step} mark {mark}");
        assert_eq!(set(&mut s, &g).await, model.sessions(mark), "seed {seed} step {step} mark {mark}");
        assert_eq!(run(&mut s, "SELECT count(*) FROM g_late").await, [n_late.to_string()]);
        if rng.below(12) == 0 {
            drop(s);
            site.reopen();
            s = site.session();
            assert_eq!(set(&mut s, &g).await, model.sessions(mark), "seed {seed} step {step}: a rebuild in one epoch");
        }
    }
    // built from history, in one epoch
    run(&mut s, &FINAL.replace("VIEW f", "VIEW f2")).await;
    assert_eq!(set(&mut s, &f.replace("FROM f", "FROM f2")).await, model.tumbles(model.least(partitions)));
    assert!(!model.tumbles(model.least(partitions)).is_empty() && model.n_late > 0, "the schedule shows something");
}

#[tokio::test]
async fn random_schedules_close_what_the_model_closes() {
    for (seed, workers, partitions) in [(1, 1, 1), (2, 3, 3), (3, 2, 4)] {
        random(seed, workers, partitions).await;
    }
}

#[tokio::test]
async fn emit_final_is_refused_where_rows_could_still_change() {
    let site = site();
    let mut s = site.session();
    run(&mut s, STREAM).await;
    run(&mut s, "CREATE STREAM bare (k INT, at TIMESTAMP)").await;
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW m AS SELECT k, at FROM s").await;
    for (with, query, why) in [
        ("", "SELECT window_end, count(*) AS n FROM TUMBLE(s, at, INTERVAL '1 minute') GROUP BY window_end", "late = 'divert'"),
        ("w", "SELECT k, count(*) AS n FROM s GROUP BY k", "no column of the GROUP BY"),
        ("w", "SELECT k, at FROM s", "one grouping of windows"),
        ("w", "SELECT window_end FROM TUMBLE(s, at, INTERVAL '1 minute')", "one grouping of windows"),
        (
            "w",
            "SELECT window_start, count(*) AS n FROM SESSION(s, at, INTERVAL '1 minute') GROUP BY window_start",
            "no column of the GROUP BY",
        ),
        (
            "w",
            "SELECT window_end, count(*) AS n FROM TUMBLE((SELECT k, at + INTERVAL '1 hour' AS at FROM s), at, INTERVAL '1 minute') GROUP BY window_end",
            "a computed time",
        ),
        (
            "w",
            "SELECT window_end, count(*) AS n FROM TUMBLE((SELECT s.at FROM s JOIN t ON s.k = t.id), at, INTERVAL '1 minute') GROUP BY window_end",
            "joined or grouped before",
        ),
        (
            "w",
            "SELECT window_end, count(*) AS n FROM TUMBLE((SELECT at FROM s UNION ALL SELECT at FROM bare), at, INTERVAL '1 minute') GROUP BY window_end",
            "no watermark",
        ),
        (
            "w",
            "SELECT window_end, count(*) AS n FROM TUMBLE((SELECT at FROM s UNION ALL SELECT at FROM m), at, INTERVAL '1 minute') GROUP BY window_end",
            "a materialized view",
        ),
        (
            "w",
            "SELECT * FROM (SELECT window_end, count(*) AS n FROM TUMBLE(s, at, INTERVAL '1 minute') GROUP BY window_end) w ORDER BY n LIMIT 1",
            "one grouping of windows",
        ),
    ] {
        let with = if with.is_empty() { "" } else { "WITH (late = 'drop')" };
        let error = attempt(&mut s, &format!("CREATE MATERIALIZED VIEW no {with} AS {query} EMIT FINAL")).await.unwrap_err();
        let said = format!("{error} {}", error.hint.clone().unwrap_or_default());
        assert!(error.sqlstate == "0A000" && said.contains(why), "{query}: {said}");
    }
    for misplaced in ["SELECT count(*) FROM s EMIT FINAL", "CREATE VIEW no AS SELECT k FROM s EMIT FINAL"] {
        assert_eq!(code(&mut s, misplaced).await, "0A000");
    }
    // what stands around the grouping, and what stands below the windows, may be there
    let fine = "CREATE MATERIALIZED VIEW fine WITH (late = 'drop') AS SELECT n + 1 AS n, window_start FROM \
        (SELECT k % 2 AS half, window_start, window_end, count(*) AS n FROM HOP((SELECT k, at FROM s WHERE k > 0 UNION ALL SELECT -k, at FROM s), \
         at, INTERVAL '5 seconds', INTERVAL '10 seconds') GROUP BY 1, 2, 3 HAVING count(*) > 1) w EMIT FINAL";
    run(&mut s, fine).await;
    run(&mut s, "CREATE MATERIALIZED VIEW seen WITH (late = 'drop') AS SELECT DISTINCT k, window_end FROM CUMULATE(s, at, INTERVAL '5 seconds', INTERVAL '10 seconds') EMIT FINAL").await;
    insert(&mut s, &[(2, 3), (2, 4), (1, 30)]).await;
    assert_eq!(
        run(&mut s, "SELECT n, window_start FROM fine ORDER BY 2").await,
        ["5|2025-12-31T23:59:55", "5|2026-01-01T00:00:00"]
    );
    assert_eq!(
        run(&mut s, "SELECT k, window_end FROM seen ORDER BY 2").await,
        ["2|2026-01-01T00:00:05", "2|2026-01-01T00:00:10"]
    );
}
