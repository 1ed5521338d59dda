//! An instance that opens from a checkpoint shows, at every moment after, what one shows that reads the whole log.

use crate::common::{Site, attempt, run, site_with, site_with_checkpoints};
use regauge_views::Session;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// One view of every kind of state there is.
const VIEWS: &[(&str, &str)] = &[
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

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

async fn make(s: &mut Session) -> Vec<&'static str> {
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
async fn churn(s: &mut Session, rng: &mut Rng, n: u64, second: &mut u64) {
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
    fn folder(from: &std::path::Path, to: &std::path::Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folder(&entry.path(), &to)
            } else {
                assert!(std::fs::copy(entry.path(), to).is_ok())
            }
        }
    }
    folder(from.dir.path(), to.dir.path());
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
