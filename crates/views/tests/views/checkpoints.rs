//! An instance that opens from a checkpoint shows, at every moment after, what one shows that reads the whole log.
#![allow(clippy::disallowed_methods, reason = "it copies and damages real folders")]

use crate::common::{Site, attempt, run, site_with, site_with_checkpoints};
use futures::StreamExt as _;
use regauge_state::checkpoint::{Manifest, Store};
use regauge_types::{Env, Lsn};
use regauge_views::{Response, Session};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// One view of every kind of state there is.
pub const VIEWS: &[(&str, &str)] = &[
    ("plain", "SELECT id, name, v * 2 AS w FROM t WHERE v > 1"),
    ("joined", "SELECT t.id, t.name, u.note FROM t JOIN u ON t.id = u.of"),
    ("outer_joined", "SELECT t.id, u.id AS u, u.note FROM t FULL JOIN u ON t.id = u.of"),
    ("semi", "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.of = t.id)"),
    ("anti", "SELECT id FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.of = t.id)"),
    (
        "grouped",
        "SELECT name, count(*) AS n, sum(v) AS s, avg(v) AS a, min(v) AS lo, max(name) AS hi, count(DISTINCT v) AS d, \
         string_agg(id::text, ',' ORDER BY id) AS ids, percentile_cont(0.5) WITHIN GROUP (ORDER BY v) AS p, \
         var_samp(v::float8) AS var, bool_or(v > 5) AS b, bit_xor(v) AS x FROM t GROUP BY name",
    ),
    ("global", "SELECT count(*) AS n, sum(v) AS s, max(id) AS m FROM t"),
    ("summed", "SELECT s.name, s.n + g.n AS both FROM grouped s CROSS JOIN global g"),
    ("uniq", "SELECT DISTINCT name, v % 3 AS r FROM t"),
    ("top", "SELECT id, name, v FROM t ORDER BY v DESC, id LIMIT 5"),
    (
        "ranked",
        "SELECT id, name, row_number() OVER (PARTITION BY name ORDER BY v, id) AS r, sum(v) OVER (ORDER BY id) AS run FROM t",
    ),
    ("excepted", "SELECT id FROM t EXCEPT SELECT of FROM u"),
    ("unfolded", "SELECT id, unnest(string_to_array(name, NULL)) AS x FROM t"),
    ("above", "SELECT r.name, count(*) AS n FROM ranked r JOIN uniq q ON r.name = q.name GROUP BY r.name"),
    ("events", "SELECT k, count(*) AS n, max(at) AS last FROM s GROUP BY k"),
    (
        "closed",
        "SELECT k, window_end, count(*) AS n FROM TUMBLE(s, at, INTERVAL '10 seconds') GROUP BY k, window_start, window_end EMIT FINAL",
    ),
    (
        "sessions",
        "SELECT k, window_start, window_end, count(*) AS n FROM SESSION(s, at, INTERVAL '3 seconds', k) GROUP BY k, window_start, window_end",
    ),
    ("linked", "WITH RECURSIVE r(id) AS (SELECT 1 UNION SELECT u.id FROM r JOIN u ON u.of = r.id) SELECT id FROM r"),
    ("recent", "SELECT id FROM t WHERE at > now() - INTERVAL '30000 days'"),
    ("errs", "SELECT id, 10 / v AS q FROM t"),
];

pub struct Rng(pub u64);

impl Rng {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

pub async fn make(s: &mut Session) -> Vec<&'static str> {
    run(s, "CREATE TABLE t (id INT PRIMARY KEY, name TEXT, v INT, at TIMESTAMPTZ DEFAULT '2026-01-01')").await;
    run(s, "CREATE TABLE u (id INT PRIMARY KEY, of INT, note TEXT)").await;
    run(s, "CREATE TABLE bag (x INT, y TEXT)").await;
    run(s, "CREATE STREAM s (k INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5 seconds')").await;
    let (mut made, mut refused) = (vec![], vec![]);
    for (name, query) in VIEWS {
        let with = match *name {
            "closed" => "WITH (late = 'drop')",
            "errs" => "WITH (on_error = 'divert')",
            _ => "",
        };
        match attempt(s, &format!("CREATE MATERIALIZED VIEW {name} {with} AS {query}")).await {
            Ok(_) => made.push(*name),
            Err(error) => refused.push(format!("{name}: {error}")),
        }
    }
    assert_eq!(refused, Vec::<String>::new());
    made.push("errs_errors");
    made
}

/// Some statements that change everything.
pub async fn churn(s: &mut Session, rng: &mut Rng, n: u64, second: &mut u64) {
    for _ in 0..n {
        let (id, v) = (rng.below(60), rng.below(9));
        let name = ["a", "b", "c", "ü"][rng.below(4) as usize];
        let sql = match rng.below(9) {
            0 | 1 => format!(
                "INSERT INTO t VALUES ({id}, '{name}', {v}) ON CONFLICT (id) DO UPDATE SET v = excluded.v, name = excluded.name"
            ),
            2 => format!("UPDATE t SET v = {v} WHERE id % 7 = {}", rng.below(7)),
            3 => format!("DELETE FROM t WHERE id = {id}"),
            4 => format!("INSERT INTO u VALUES ({}, {id}, '{name}') ON CONFLICT (id) DO NOTHING", rng.below(40)),
            5 => format!("DELETE FROM u WHERE id % 11 = {}", rng.below(11)),
            6 => format!("INSERT INTO bag VALUES ({v}, '{name}'), ({v}, '{name}')"),
            7 => format!("DELETE FROM bag WHERE x = {v}"),
            _ => {
                *second += rng.below(6);
                let at = |n: u64| format!("2026-01-01 00:{:02}:{:02}", n / 60 % 60, n % 60);
                format!(
                    "INSERT INTO s VALUES ({v}, '{}'), ({}, '{}')",
                    at(*second),
                    rng.below(3),
                    at(second.saturating_sub(rng.below(9)))
                )
            }
        };
        run(s, &sql).await;
    }
}

/// What everything shows.
async fn shown(s: &mut Session, made: &[&str]) -> Vec<(String, Vec<String>)> {
    let mut all = vec![];
    for name in made.iter().chain(&["t", "u", "bag", "s"]) {
        let mut rows = run(s, &format!("SELECT * FROM {name}")).await;
        rows.sort();
        all.push(((*name).to_owned(), rows));
    }
    all
}

fn compare(what: &str, found: &[(String, Vec<String>)], wanted: &[(String, Vec<String>)]) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted, "{what}");
    }
}

fn copy(from: &Site, to: &Site) {
    copy_folder(from.dir.path(), to.dir.path());
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to)
        } else {
            assert!(std::fs::copy(entry.path(), to).is_ok())
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_opens_from_a_checkpoint_shows_what_one_shows_that_reads_the_whole_log() {
    for seed in 0..3u64 {
        let mut rng = Rng(seed + 1);
        let mut site = site_with_checkpoints(1 + seed as usize);
        let mut s = site.session();
        let made = make(&mut s).await;
        let mut second = 0;
        for round in 0..4u64 {
            churn(&mut s, &mut rng, 40, &mut second).await;
            shown(&mut s, &made).await;
            assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
            let status = site.instance().checkpoints();
            assert!(status.n_sections >= made.len() - 1 + 3, "{status:?}");
            if round == 1 {
                // what did not change is not written again
                run(&mut s, "INSERT INTO bag VALUES (99, 'x')").await;
                assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
                let (written, reused) = site.instance().checkpoints().n_bytes;
                assert!(written > 0 && written * 3 < reused, "written={written} reused={reused}");
            }
            // the log goes on after it
            churn(&mut s, &mut rng, if round == 2 { 0 } else { 25 }, &mut second).await;
            let before = shown(&mut s, &made).await;
            drop(s);
            let workers = 1 + rng.below(4) as usize;
            site.reopen_with(workers, true);
            s = site.session();
            compare(&format!("seed {seed} round {round} restored with {workers} workers"), &shown(&mut s, &made).await, &before);
            let opened = site.instance().checkpoints().opened;
            assert_eq!(opened.len(), made.len() - 1, "{opened:?}");
            assert!(opened.values().all(Result::is_ok), "{opened:?}");
            churn(&mut s, &mut rng, 25, &mut second).await;
            let after = shown(&mut s, &made).await;
            drop(s);
            // the judge: everything from the log
            site.reopen_with(2, false);
            s = site.session();
            compare(&format!("seed {seed} round {round} rebuilt"), &shown(&mut s, &made).await, &after);
            assert!(site.instance().checkpoints().opened.is_empty());
            drop(s);
            site.reopen_with(workers, true);
            s = site.session();
            compare(&format!("seed {seed} round {round} restored again"), &shown(&mut s, &made).await, &after);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_tables_and_views_that_come_and_go_after_a_checkpoint_are_as_the_log_says() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    run(&mut s, "CREATE TABLE bag (x INT)").await;
    run(&mut s, "CREATE TABLE gone (id INT PRIMARY KEY)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20)").await;
    run(&mut s, "INSERT INTO bag VALUES (1), (1), (2)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW kept AS SELECT sum(v) AS s FROM t").await;
    run(&mut s, "CREATE MATERIALIZED VIEW dropped AS SELECT id FROM gone").await;
    assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    run(&mut s, "ALTER TABLE t ADD COLUMN w INT").await;
    run(&mut s, "INSERT INTO t VALUES (3, 30, 300)").await;
    run(&mut s, "ALTER TABLE bag ADD COLUMN y TEXT").await;
    run(&mut s, "DROP MATERIALIZED VIEW dropped").await;
    run(&mut s, "DROP TABLE gone").await;
    run(&mut s, "CREATE TABLE made (id INT PRIMARY KEY)").await;
    run(&mut s, "INSERT INTO made VALUES (7)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW later AS SELECT t.w, made.id FROM t, made").await;
    drop(s);
    for workers in [1, 3] {
        site.reopen_with(workers, true);
        let mut s = site.session();
        assert_eq!(run(&mut s, "SELECT * FROM kept").await, ["60"]);
        assert_eq!(run(&mut s, "SELECT * FROM t ORDER BY id").await, ["1|10|NULL", "2|20|NULL", "3|30|300"]);
        assert_eq!(run(&mut s, "SELECT * FROM later ORDER BY w").await, ["300|7", "NULL|7", "NULL|7"]);
        assert_eq!(run(&mut s, "SELECT * FROM made").await, ["7"]);
        assert_eq!(attempt(&mut s, "SELECT * FROM gone").await.unwrap_err().sqlstate, "42P01");
        assert_eq!(run(&mut s, "DELETE FROM bag WHERE x = 1 RETURNING x").await, ["1", "1"]);
        run(&mut s, "INSERT INTO bag VALUES (1, NULL), (1, NULL)").await;
        let opened = site.instance().checkpoints().opened;
        let (ok, rebuilt): (Vec<_>, Vec<_>) = opened.values().partition(|o| o.is_ok());
        assert_eq!((ok.len(), rebuilt.len()), (1, 1), "{opened:?}");
        assert_eq!(attempt(&mut s, "INSERT INTO t VALUES (2, 0)").await.unwrap_err().sqlstate, "23505", "the head is there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_is_told_and_the_one_before_or_the_log_takes_its_place() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    let made = make(&mut s).await;
    let (mut rng, mut second) = (Rng(9), 0);
    for _ in 0..2 {
        churn(&mut s, &mut rng, 40, &mut second).await;
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    }
    churn(&mut s, &mut rng, 10, &mut second).await;
    let before = shown(&mut s, &made).await;
    drop(s);
    site.instance = None;
    let folder = |site: &Site| site.dir.path().join("checkpoint");
    let mut names: Vec<String> =
        std::fs::read_dir(folder(&site)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 4, "two manifests, two runs: {names:?}");
    let (mut n_older, mut n_none) = (0, 0);
    for case in 0..24u64 {
        let mut other = site_with(1);
        other.instance = None;
        copy(&site, &other);
        // manifests sort before runs: in turn the newer manifest, the newer run, the older run, both manifests
        let victims: &[usize] = [&[1][..], &[3], &[2], &[0, 1]][case as usize % 4];
        for victim in victims {
            let path = folder(&other).join(&names[*victim]);
            let mut bytes = std::fs::read(&path).unwrap();
            if case % 3 == 0 {
                bytes.truncate(rng.below(bytes.len() as u64) as usize);
            } else {
                // behind the head of a run, which nothing reads
                let at = 16 + rng.below(bytes.len() as u64 - 16) as usize;
                bytes[at] ^= 1 << rng.below(8);
            }
            std::fs::write(&path, bytes).unwrap();
        }
        other.reopen_with(1 + case as usize % 3, true);
        let mut s = other.session();
        compare(&format!("case {case}"), &shown(&mut s, &made).await, &before);
        let status = other.instance().checkpoints();
        // the older run may hold nothing that the newer checkpoint names
        assert!(!status.damaged.is_empty() || victims == [2], "case {case}: {status:?}");
        if status.damaged.len() == 1 && status.opened.values().any(Result::is_ok) {
            n_older += 1;
        }
        if status.opened.is_empty() {
            n_none += 1;
        }
        let text = status.damaged.join(" ");
        assert!(text.is_empty() || text.contains("file="), "{text}");
        // and the next checkpoint stands
        assert!(other.instance().checkpoint(LONG).unwrap(), "{:?}", other.instance().checkpoints());
        drop(s);
        other.reopen_with(2, true);
        let mut s = other.session();
        compare(&format!("case {case}, after the next"), &shown(&mut s, &made).await, &before);
    }
    assert!(n_older > 0 && n_none > 0, "older={n_older} none={n_none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_writes_what_changed_key_by_key_and_changes_are_put_together_in_time() {
    const KEYS: u64 = 20_000;
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, g INT, v INT)").await;
    run(&mut s, "CREATE TABLE u (id INT PRIMARY KEY, note TEXT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW sums AS SELECT g, count(*) AS n, sum(v) AS s FROM t GROUP BY g").await;
    run(&mut s, "CREATE MATERIALIZED VIEW both AS SELECT t.id, t.v, u.note FROM t LEFT JOIN u ON t.id = u.id").await;
    run(&mut s, &format!("INSERT INTO t SELECT i, i / 2, i FROM generate_series(1, {KEYS}) AS i")).await;
    run(&mut s, &format!("INSERT INTO u SELECT i, 'n' || i FROM generate_series(1, {KEYS}, 2) AS i")).await;
    let count = "SELECT (SELECT count(*) FROM sums), (SELECT count(*) FROM both)";
    assert_eq!(run(&mut s, count).await, [format!("{}|{KEYS}", KEYS / 2 + 1)]);
    assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    let whole = site.instance().checkpoints().n_bytes.0;
    let mut rng = Rng(4);
    let (mut written, mut named) = (vec![], 0);
    for round in 0..14u64 {
        let picked: Vec<String> = (0..KEYS / 100).map(|_| (1 + rng.below(KEYS)).to_string()).collect();
        if round % 4 == 2 {
            run(&mut s, "UPDATE t SET v = v + 1").await;
        } else {
            // a hundredth of the keys, anywhere
            run(&mut s, &format!("UPDATE t SET v = v + 1 WHERE id IN ({})", picked.join(", "))).await;
            run(&mut s, &format!("DELETE FROM u WHERE id IN ({})", picked[..50].join(", "))).await;
        }
        run(&mut s, count).await;
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        let status = site.instance().checkpoints();
        if round % 4 != 2 {
            written.push(status.n_bytes.0);
        }
        named = named.max(status.n_bytes.0 + status.n_bytes.1);
        if round % 5 == 4 {
            // a restart does not make the next one a whole one
            drop(s);
            site.reopen_with(1 + round as usize % 3, true);
            s = site.session();
            let opened = site.instance().checkpoints().opened;
            assert!(opened.len() == 2 && opened.values().all(Result::is_ok), "{opened:?}");
        }
    }
    // one in a while pays for putting together what many left
    written.sort_unstable();
    assert!(written.iter().rev().skip(2).all(|n| n * 8 < whole), "whole={whole} written={written:?}");
    // three times everything was changed: without putting changes together they would be more than what they are changes of
    assert!(named < whole * 3, "whole={whole} named={named} written={written:?}");
    let sums = run(&mut s, "SELECT g, n, s FROM sums EXCEPT SELECT g, count(*), sum(v) FROM t GROUP BY g").await;
    let both = "SELECT id, v, note FROM both EXCEPT SELECT t.id, t.v, u.note FROM t LEFT JOIN u ON t.id = u.id";
    assert_eq!((sums, run(&mut s, both).await), (vec![], vec![]));
    let status = site.instance().checkpoints();
    assert!(!status.pauses.is_empty() && status.pause_p99() >= status.pauses.iter().min().copied().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_the_digest_that_their_checkpoint_names_are_rebuilt_from_the_log() {
    let mut site = site_with_checkpoints(1);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW odd AS SELECT id, v FROM t WHERE id % 2 = 1").await;
    run(&mut s, "CREATE MATERIALIZED VIEW even AS SELECT id, v FROM t WHERE id % 2 = 0").await;
    let mut digests = vec![];
    for round in 0..3 {
        run(&mut s, &format!("INSERT INTO t SELECT i, {round} FROM generate_series({}, {}) AS i", round * 100, round * 100 + 99))
            .await;
        run(&mut s, "SELECT count(*) FROM odd, even").await;
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        digests.push(site.instance().checkpoints().digests);
    }
    // the digest is that of the rows, however it came to be
    let status = site.instance().checkpoints();
    let of = |rows: arrow::array::RecordBatch| {
        let mut digest = regauge_types::Digest::default();
        digest.add_delta(&regauge_types::Delta::ones(rows)).unwrap();
        digest
    };
    let ids = |first: i32| {
        let all: Vec<i32> = (first..300).step_by(2).collect();
        let vs: Vec<i32> = all.iter().map(|i| i / 100).collect();
        let column = |of: Vec<i32>| std::sync::Arc::new(arrow::array::Int32Array::from(of)) as arrow::array::ArrayRef;
        arrow::array::RecordBatch::try_from_iter([("id", column(all)), ("v", column(vs))]).unwrap()
    };
    let found: Vec<_> = status.digests.values().map(|(_, digest)| *digest).collect();
    assert_eq!(found, [of(ids(1)), of(ids(0))]);
    let dataset = site.instance().log().dataset();
    drop(s);
    site.instance = None;
    // a checkpoint with all checksums right, of which one change to one view is missing
    let store = Store::open(Env::real(), &site.dir.path().join("checkpoint"), dataset).unwrap();
    let last = store.load(store.manifests().unwrap()[0]).unwrap();
    let writer = store.begin(Some(&last)).unwrap();
    let mut forged = Manifest { no: writer.no(), ..last };
    let blocks = &mut forged.sections.iter_mut().find(|s| s.name.starts_with(b"version")).unwrap().blocks;
    let changed = blocks.iter().position(|b| b.label.kind == 5).unwrap();
    blocks.remove(changed);
    writer.publish(&forged).unwrap();
    site.reopen_with(2, true);
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT count(*), sum(v) FROM odd").await, ["150|150"]);
    assert_eq!(run(&mut s, "SELECT count(*), sum(v) FROM even").await, ["150|150"]);
    let opened: Vec<_> = site.instance().checkpoints().opened.into_values().collect();
    let rebuilt: Vec<_> = opened.iter().filter_map(|o| o.as_ref().err()).collect();
    assert_eq!((opened.len(), rebuilt.len()), (2, 1), "{opened:?}");
    assert!(rebuilt[0].contains("do not have the digest"), "{rebuilt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_on_unless_they_are_turned_off_and_an_idle_instance_takes_one_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    assert!(regauge_views::Config::new(dir.path()).checkpoints.enabled);
    let mut config = regauge_views::Config::new(dir.path());
    config.checkpoints.every = Duration::from_millis(50);
    let instance = regauge_views::Instance::open(config).unwrap();
    let mut s = instance.session(regauge_views::SessionOptions::default()).unwrap();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1), (2)").await;
    let durable = instance.log().durable();
    let until = |wanted: &dyn Fn(&regauge_views::checkpoint::Status) -> bool| {
        for _ in 0..12_000 {
            if wanted(&instance.checkpoints()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", instance.checkpoints());
    };
    until(&|s| s.last.is_some_and(|(_, lsn)| lsn >= durable) && s.digests.len() == 1);
    let (n, idle) = (instance.checkpoints().n_taken, instance.checkpoints().n_idle);
    // the clock says that one is due, again and again
    until(&|s| s.n_idle > idle + 5 || s.n_taken > n);
    assert_eq!(instance.checkpoints().n_taken, n, "nothing was written since");
    run(&mut s, "INSERT INTO t VALUES (3)").await;
    until(&|s| s.n_taken > n);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_goes_live_while_nothing_is_written_is_in_a_checkpoint_and_in_no_more_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = regauge_views::Config::new(dir.path()).workers(2);
    config.checkpoints.every = Duration::from_millis(50);
    let instance = regauge_views::Instance::open(config.clone()).unwrap();
    let mut s = instance.session(regauge_views::SessionOptions::default()).unwrap();
    let until = |wanted: &dyn Fn(&regauge_views::checkpoint::Status) -> bool| {
        for _ in 0..6000 {
            if wanted(&instance.checkpoints()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", instance.checkpoints());
    };
    run(&mut s, "CREATE STREAM s (k INT)").await;
    run(&mut s, "INSERT INTO s SELECT n % 10 FROM generate_series(1, 3000) AS g(n)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW slow WITH (async, backfill_rate = 0) AS SELECT k, count(*) AS n FROM s GROUP BY k")
        .await;
    // Slow enough for checkpoints to be taken while it reads, with nothing written meanwhile.
    run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 2000)").await;
    let durable = instance.log().durable();
    until(&|s| s.last.is_some_and(|(_, lsn)| lsn >= durable));
    until(&|s| s.digests.len() == 1);
    let (n, idle) = (instance.checkpoints().n_taken, instance.checkpoints().n_idle);
    // the clock says that one is due, again and again
    until(&|s| s.n_idle > idle + 5 || s.n_taken > n);
    assert_eq!(instance.checkpoints().n_taken, n, "nothing is new since");
    drop(s);
    drop(instance);
    let instance = regauge_views::Instance::open(config).unwrap();
    let opened = instance.checkpoints().opened;
    assert!(opened.len() == 1 && opened.values().all(Result::is_ok), "{opened:?}");
    let mut s = instance.session(regauge_views::SessionOptions::default()).unwrap();
    assert_eq!(run(&mut s, "SELECT count(*), sum(n) FROM slow").await, ["10|3000"]);
}

/// An older copy of the folder is put back over a newer one, whose checkpoint stays: the log then comes to the checkpoint's commit by another
/// way.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_history_of_the_log_is_told_and_not_used() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(n) AS s FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 1)").await;
    drop(s);
    site.instance = None;
    let old = tempfile::tempdir().unwrap();
    copy_folder(site.dir.path(), old.path());

    site.reopen_with(2, true);
    let mut s = site.session();
    for id in 2..8 {
        run(&mut s, &format!("INSERT INTO t VALUES ({id}, 1000)")).await;
    }
    assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    assert!(
        site.instance().checkpoints().last.unwrap().1 < Lsn(14),
        "the other history is to overtake it with its first ten rows"
    );
    drop(s);
    site.instance = None;

    copy_folder(old.path(), site.dir.path());
    for opening in 0..3 {
        site.reopen_with(2, true);
        let mut s = site.session();
        let damaged = site.instance().checkpoints().damaged;
        let what = if opening == 0 { "not of this log" } else { "another history" };
        assert!(damaged.iter().any(|d| d.contains(what)), "opening {opening}: {damaged:?}");
        let from = 2 + opening * 10;
        for id in from..from + 10 {
            run(&mut s, &format!("INSERT INTO t VALUES ({id}, 7)")).await;
        }
        let n = 1 + (opening + 1) * 10;
        let wanted = [format!("{n}|{}", 1 + (n - 1) * 7)];
        assert_eq!(run(&mut s, "SELECT * FROM v").await, wanted, "opening {opening}");
        assert_eq!(run(&mut s, "SELECT count(*), sum(n) FROM t").await, wanted, "opening {opening}");
        drop(s);
    }
    // one of this history takes its place
    site.reopen_with(1, true);
    for _ in 0..100 {
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        // the table, and the view once it has caught up
        if site.instance().checkpoints().n_sections == 2 {
            break;
        }
    }
    site.reopen_with(2, true);
    let opened = site.instance().checkpoints().opened;
    assert!(opened.len() == 1 && opened.values().all(Result::is_ok), "{opened:?}");
    assert_eq!(run(&mut site.session(), "SELECT * FROM v").await, ["31|211"]);
}

/// A version that goes on from a checkpoint is fed the log after it in epochs of its own: changes behind an epoch of the last process would be
/// given again in part.
#[tokio::test(flavor = "multi_thread")]
async fn changes_after_an_epoch_of_an_earlier_process_are_refused_not_given_twice() {
    let mut site = site_with_checkpoints(1);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT id FROM t").await;
    assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
    let mut token = String::new();
    for id in 0..6 {
        run(&mut s, &format!("INSERT INTO t VALUES ({id})")).await;
        assert_eq!(run(&mut s, "SELECT count(*) FROM v").await, [(id + 1).to_string()]);
        if id == 2 {
            token = run(&mut s, "SHOW regauge.token").await.remove(0);
        }
    }
    let after = format!("SUBSCRIBE v AFTER '{token}'");
    assert!(s.execute(&after).await.is_ok(), "in the process that gave it");
    drop(s);
    site.reopen_with(2, true);
    let mut s = site.session();
    assert_eq!(run(&mut s, "SELECT count(*) FROM v").await, ["6"]);
    let Response::Subscription(mut given) = s.execute(&after).await.unwrap().pop().unwrap() else { panic!("changes") };
    let refused = given.stream.next().await.unwrap().unwrap_err();
    assert_eq!(refused.sqlstate, "40001", "{refused}");
    assert!(refused.hint.is_some_and(|h| h.contains("without AFTER")));
    let of_topic = s.execute(&format!("SUBSCRIBE t AFTER '{token}'")).await;
    assert!(of_topic.is_ok(), "the log keeps every commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_are_dropped_while_a_checkpoint_is_written_are_left_out_of_it_and_it_is_taken() {
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    run(&mut s, "INSERT INTO t SELECT i, i % 10 FROM generate_series(1, 4000) AS i").await;
    run(&mut s, "CREATE MATERIALIZED VIEW stays AS SELECT v, count(*) AS n FROM t GROUP BY v").await;
    for round in 0..12 {
        for view in 0..6 {
            run(&mut s, &format!("CREATE MATERIALIZED VIEW goes{view} AS SELECT id, v + {view} AS v FROM t")).await;
        }
        run(&mut s, "UPDATE t SET v = v + 1 WHERE id % 7 = 1").await;
        let instance = site.instance.clone().unwrap();
        let taken = tokio::task::spawn_blocking(move || instance.checkpoint(LONG).map(|done| (done, instance.checkpoints())));
        for view in 0..6 {
            run(&mut s, &format!("DROP MATERIALIZED VIEW goes{view}")).await;
        }
        let (done, status) = taken.await.unwrap().unwrap();
        assert!(done, "round {round}: {status:?}");
    }
    let before = run(&mut s, "SELECT * FROM stays ORDER BY v").await;
    drop(s);
    site.reopen();
    let opened = site.instance.as_ref().unwrap().checkpoints().opened;
    assert!(opened.values().all(Result::is_ok) && opened.len() == 1, "{opened:?}");
    assert_eq!(run(&mut site.session(), "SELECT * FROM stays ORDER BY v").await, before);
}
