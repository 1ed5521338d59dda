//! Temporal filters: `now()` in a view is the greatest commit clock in the cut, and a quiet log ticks while such a view is there.

use crate::common::{attempt, run};
use regauge_types::env::{Clock, Env};
use regauge_types::{Hlc, Lsn};
use regauge_views::{Config, Instance, Session, SessionOptions};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

/// 2026-01-01 12:00:00 UTC.
const NOON_MS: u64 = 1_767_268_800_000;

/// A wall clock that stands until it is moved.
struct Hand {
    real: Arc<dyn Clock>,
    wall_ms: AtomicU64,
}

impl Clock for Hand {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }
    fn steady(&self) -> Duration {
        self.real.steady()
    }
    fn sleep(&self, time: Duration) {
        self.real.sleep(time);
    }
}

struct Site {
    dir: TempDir,
    hand: Arc<Hand>,
    instance: Option<Instance>,
}

fn site() -> Site {
    let hand = Arc::new(Hand { real: Env::real().clock, wall_ms: AtomicU64::new(NOON_MS) });
    let mut site = Site { dir: tempfile::tempdir().unwrap(), hand, instance: None };
    site.open(2);
    site
}

impl Site {
    fn open(&mut self, workers: usize) {
        self.instance = None;
        let mut config = Config::new(self.dir.path()).workers(workers);
        // a machine may be slow
        config.limits.causal_timeout = std::time::Duration::from_secs(120);
        config.env.clock = self.hand.clone();
        // which would be a commit on a quiet log
        config.checkpoints.every = crate::common::ONLY_WHEN_ASKED;
        self.instance = Some(Instance::open(config).unwrap());
    }
    fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }
    fn session(&self) -> Session {
        self.instance().session(SessionOptions::default()).unwrap()
    }
    /// The wall clock shows so much after noon.
    fn at(&self, minutes: u64, seconds: u64) {
        self.hand.wall_ms.store(NOON_MS + (minutes * 60 + seconds) * 1000, Ordering::SeqCst);
    }
    /// The parts of the commits after one.
    fn parts_after(&self, lsn: Lsn) -> Vec<usize> {
        let log = self.instance().log();
        log.source().read(lsn, log.durable(), None).unwrap().map(|c| c.unwrap().parts.len()).collect()
    }
}

/// Asks until the answer is this one: time moves by a commit that somebody else writes.
async fn becomes(s: &mut Session, sql: &str, wanted: &[&str]) {
    let mut last = vec![];
    for _ in 0..3000 {
        last = run(s, sql).await;
        if last == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{sql}\n  gave {last:?}, not {wanted:?}");
}

const VIEWS: [(&str, &str); 5] = [
    ("recent", "SELECT id FROM s WHERE at > now() - INTERVAL '10 minutes'"),
    ("due", "SELECT id FROM s WHERE at <= current_timestamp"),
    ("near", "SELECT id FROM s WHERE now() BETWEEN at - INTERVAL '1 minute' AND at + INTERVAL '5 minutes'"),
    ("counted", "SELECT count(*) AS id FROM s WHERE now() - INTERVAL '10 minutes' < at AND id > 0"),
    ("joined", "SELECT s.id FROM s JOIN names n ON n.id = s.id WHERE s.at > now() - INTERVAL '10 minutes' AND n.name <> 'x'"),
];

async fn check(s: &mut Session, prefix: &str, answers: [&[&str]; 5]) {
    for ((name, _), wanted) in VIEWS.iter().zip(answers) {
        becomes(s, &format!("SELECT id FROM {prefix}{name} ORDER BY id"), wanted).await;
    }
}

async fn create(s: &mut Session, prefix: &str) {
    for (name, query) in VIEWS {
        run(s, &format!("CREATE MATERIALIZED VIEW {prefix}{name} AS {query}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_and_go_as_the_commit_clock_moves_also_after_a_restart_and_in_a_rebuild() {
    let mut site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (id INT, at TIMESTAMPTZ)").await;
    run(&mut s, "CREATE TABLE names (id INT PRIMARY KEY, name TEXT)").await;
    run(&mut s, "INSERT INTO names VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'x')").await;
    create(&mut s, "").await;
    let rows = "(1, '2026-01-01 11:45Z'), (2, '2026-01-01 11:55Z'), (3, '2026-01-01 12:04Z'), (4, NULL)";
    run(&mut s, &format!("INSERT INTO s VALUES {rows}")).await;
    check(&mut s, "", [&["2", "3"], &["1", "2"], &["2"], &["2"], &["2", "3"]]).await;
    site.at(3, 0);
    check(&mut s, "", [&["2", "3"], &["1", "2"], &["3"], &["2"], &["2", "3"]]).await;
    create(&mut s, "late_").await;
    check(&mut s, "late_", [&["2", "3"], &["1", "2"], &["3"], &["2"], &["2", "3"]]).await;
    site.at(6, 0);
    for prefix in ["", "late_"] {
        check(&mut s, prefix, [&["3"], &["1", "2", "3"], &["3"], &["1"], &["3"]]).await;
    }
    for workers in [1, 3] {
        drop(s);
        site.open(workers);
        s = site.session();
        for prefix in ["", "late_"] {
            check(&mut s, prefix, [&["3"], &["1", "2", "3"], &["3"], &["1"], &["3"]]).await;
        }
    }
    site.at(20, 0);
    create(&mut s, "last_").await;
    for prefix in ["", "late_", "last_"] {
        check(&mut s, prefix, [&[], &["1", "2", "3"], &[], &["0"], &[]]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_are_exact_and_changes_of_rows_that_wait_or_have_gone_are_right() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP, n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW open AS SELECT id, n FROM t WHERE at > now() - INTERVAL '1 second'").await;
    run(&mut s, "CREATE MATERIALIZED VIEW closed AS SELECT id, n FROM t WHERE at >= now() - INTERVAL '1 second'").await;
    run(&mut s, "CREATE MATERIALIZED VIEW begun AS SELECT id, n FROM t WHERE at < now()").await;
    // 1 ends at 12:01:01 to the millisecond, 2 has ended, 3 is to come
    run(&mut s, "INSERT INTO t VALUES (1, '2026-01-01 12:01', 1), (2, '2026-01-01 11:00', 1), (3, '2026-01-01 12:02', 1)").await;
    becomes(&mut s, "SELECT id FROM open ORDER BY id", &["1", "3"]).await;
    becomes(&mut s, "SELECT id FROM begun ORDER BY id", &["2"]).await;
    site.at(1, 1);
    becomes(&mut s, "SELECT id FROM open ORDER BY id", &["3"]).await;
    assert_eq!(run(&mut s, "SELECT id FROM closed ORDER BY id").await, ["1", "3"], "at the same epoch");
    assert_eq!(run(&mut s, "SELECT id FROM begun ORDER BY id").await, ["1", "2"]);
    run(&mut s, "UPDATE t SET n = 2").await;
    assert_eq!(run(&mut s, "SELECT id, n FROM begun ORDER BY id").await, ["1|2", "2|2"]);
    assert_eq!(run(&mut s, "SELECT id, n FROM open ORDER BY id").await, ["3|2"]);
    run(&mut s, "UPDATE t SET at = '2026-01-01 12:30' WHERE id = 2; DELETE FROM t WHERE id = 3;").await;
    assert_eq!(run(&mut s, "SELECT id, n FROM begun ORDER BY id").await, ["1|2"]);
    assert_eq!(run(&mut s, "SELECT id, n FROM open ORDER BY id").await, ["2|2"]);
    site.at(31, 0);
    becomes(&mut s, "SELECT id, n FROM begun ORDER BY id", &["1|2", "2|2"]).await;
    run(&mut s, "DELETE FROM t").await;
    for view in ["open", "closed", "begun"] {
        assert!(run(&mut s, &format!("SELECT * FROM {view}")).await.is_empty(), "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_log_ticks_only_while_a_view_reads_the_clock() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (id INT, at TIMESTAMPTZ)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW plain AS SELECT id FROM s").await;
    let quiet = async |minutes: u64| {
        site.at(minutes, 0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        site.instance().log().durable()
    };
    let before = site.instance().log().durable();
    assert_eq!(quiet(1).await, before);
    run(&mut s, "CREATE MATERIALIZED VIEW recent AS SELECT id FROM s WHERE at > now() - INTERVAL '10 minutes'").await;
    run(&mut s, "INSERT INTO s VALUES (1, '2026-01-01 12:00Z')").await;
    let before = site.instance().log().durable();
    site.at(30, 0);
    becomes(&mut s, "SELECT id FROM recent", &[]).await;
    assert_eq!(site.parts_after(before), [0], "one commit without rows moved the clock");
    assert!(site.instance().log().last_hlc() >= Hlc::from_ms(NOON_MS + 30 * 60_000));
    run(&mut s, "DROP MATERIALIZED VIEW recent").await;
    // the driver has come to the drop, and does not tick behind it
    run(&mut s, "FLUSH").await;
    let settled = site.instance().log().durable();
    assert_eq!(quiet(50).await, settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn now_elsewhere_in_a_view_is_refused_with_what_to_write() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (id INT, at TIMESTAMPTZ, d DATE)").await;
    let refused = [
        "SELECT now() FROM s",
        "SELECT id FROM s WHERE at > now() OR id = 1",
        "SELECT id FROM s WHERE NOT (at > now())",
        "SELECT id FROM s WHERE at > now() - INTERVAL '1 month'",
        "SELECT id FROM s WHERE at <> now()",
        "SELECT id FROM s WHERE at - now() > INTERVAL '1 hour'",
        "SELECT id, count(*) FILTER (WHERE at > now()) FROM s GROUP BY id",
        "SELECT a.id FROM s a LEFT JOIN s b ON a.id = b.id AND b.at > now()",
    ];
    for query in refused {
        let error = attempt(&mut s, &format!("CREATE MATERIALIZED VIEW v AS {query}")).await.expect_err(query);
        assert_eq!(error.sqlstate, "RG003", "{query}: {error}");
        assert!(error.hint.as_ref().is_some_and(|h| h.contains("now() - INTERVAL")), "{query}: {error:?}");
    }
    // dates are compared with now() as PostgreSQL does, and groups may go as rows do
    run(&mut s, "CREATE MATERIALIZED VIEW days AS SELECT id FROM s WHERE d >= now() - INTERVAL '2 days'").await;
    run(&mut s, "CREATE MATERIALIZED VIEW g AS SELECT id FROM s GROUP BY id HAVING max(at) > now() - INTERVAL '1 hour'").await;
    run(&mut s, "INSERT INTO s VALUES (1, '2026-01-01 11:30Z', '2025-12-31'), (1, '2026-01-01 10:00Z', '2025-12-30')").await;
    assert_eq!(run(&mut s, "SELECT id FROM days").await, ["1"]);
    assert_eq!(run(&mut s, "SELECT id FROM g").await, ["1"]);
}
