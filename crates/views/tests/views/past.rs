//! AS OF EPOCH: what everything was at an epoch, told again later.
#![allow(clippy::disallowed_methods, reason = "it opens real folders")]

use crate::checkpoints::{Rng, VIEWS, churn, make};
use crate::common::{attempt, lines, run};
use crate::mirror::Mirror;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use futures::StreamExt as _;
use regauge_plan::{
    sqlparser::ast,
    walk::{VisitMut as _, VisitorMut},
};
use regauge_views::{
    Config, Instance, Response, Session, SessionOptions,
    catalog::Kind,
    read::{
        names::Scope,
        system::{SystemDialect, SystemFunction},
    },
};
use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);
/// Commits kept, in these tests.
const KEPT: u64 = 150;

struct Place {
    dir: TempDir,
    instance: Option<Instance>,
}

impl Place {
    fn new(kept: u64) -> Place {
        let mut place = Place { dir: tempfile::tempdir().unwrap(), instance: None };
        place.open(2, false, kept);
        place
    }

    /// Opens the folder again, in a hurry to forget.
    fn open(&mut self, workers: usize, checkpoints: bool, kept: u64) {
        self.instance = None;
        let mut config = Config::new(self.dir.path()).workers(workers);
        config.checkpoints.enabled = checkpoints;
        (config.limits.history_commits, config.limits.forget_every, config.limits.compact_every) = (kept, 1, 32);
        config.limits.causal_timeout = LONG;
        self.instance = Some(Instance::open(config).unwrap());
    }

    fn instance(&self) -> &Instance {
        self.instance.as_ref().unwrap()
    }

    fn session(&self) -> Session {
        self.instance().session(SessionOptions::default()).unwrap()
    }
}

/// What was answered at an epoch.
struct Told {
    epoch: u64,
    answers: Vec<(String, Vec<String>)>,
}

/// The epoch that an error names.
fn oldest_in(text: &str) -> u64 {
    let rest = text.split("read is ").nth(1).unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// What forgets may be a little behind what is shown.
async fn until_gone(s: &mut Session, sql: &str) {
    for _ in 0..3_000 {
        match attempt(s, sql).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return assert_eq!(error.sqlstate, "72000", "{sql}: {error}"),
        }
    }
    panic!("{sql} is never forgotten");
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// The epoch of the transaction at hand.
async fn epoch_of(s: &mut Session, of: &str) -> u64 {
    let plan = run(s, &format!("EXPLAIN ANALYZE SELECT 1 FROM {of} LIMIT 1")).await;
    plan.iter().find_map(|line| line.strip_prefix("epoch ")).unwrap().parse().unwrap()
}

/// Since when a view can be read together with the others; `None` while it cannot.
fn since(instance: &Instance, view: &str) -> Option<u64> {
    let catalog = instance.catalog();
    let relation = catalog.relations().find(|relation| relation.name.name == view)?;
    let Kind::Materialized { routed, .. } = &relation.kind else { return None };
    instance.versions().report(relation.view()?, *routed).since.map(|since| since.0)
}

/// The views that a query reads, and those that they read.
fn views_in(query: &str) -> Vec<&'static str> {
    let has = |name: &str| query.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
    let mut all: Vec<&str> = VIEWS.iter().map(|(name, _)| *name).filter(|name| has(name)).collect();
    for (view, reads) in [("summed", &["grouped", "global"][..]), ("above", &["ranked", "uniq"]), ("errs_errors", &["errs"])] {
        if has(view) {
            all.extend(reads);
        }
    }
    all
}

/// One commit after which every query of [`queries`] has another answer than before: an answer of the epoch before or behind is another one.
async fn stamp(s: &mut Session, n: u64, second: &mut u64) {
    // far enough to close the window of the last one
    *second += 20;
    let at = format!("2026-01-01 00:{:02}:{:02}", *second / 60 % 60, *second % 60);
    let (of, alone, zero, linked, v) = (1000 + n, 100_000 + n, 300_000 + n, 200_000 + n, 1000 + n);
    let sql = format!(
        "INSERT INTO t VALUES ({of}, 'r{n}', 5), ({alone}, 'q{n}', 3), ({zero}, 'z{n}', 0), (7, 'seven', {v}) \
         ON CONFLICT (id) DO UPDATE SET v = excluded.v; \
         INSERT INTO u VALUES ({of}, {of}, 'n'), ({linked}, 1, 'l'); \
         INSERT INTO bag VALUES ({of}, 'x'); INSERT INTO s VALUES ({of}, '{at}')"
    );
    run(s, &sql).await;
}

/// Answers of one transaction, and its epoch.
async fn tell(s: &mut Session, queries: &[String]) -> Told {
    run(s, "BEGIN").await;
    let epoch = epoch_of(s, "t").await;
    let mut answers = vec![];
    for query in queries {
        answers.push((query.clone(), sorted(run(s, query).await)));
    }
    run(s, "COMMIT").await;
    Told { epoch, answers }
}

async fn shown(s: &mut Session) -> u64 {
    run(s, "SHOW regauge.epoch").await[0].parse().unwrap()
}

/// How often a query was asked again, by what came of it.
#[derive(Clone, Debug, Default)]
struct Asked {
    kept: u64,
    gone: u64,
    /// Refused within what is promised: a view fell behind, and began anew.
    behind: u64,
}

/// Asks again for what was told. It must be what it was, or be refused with an epoch that can be read.
async fn ask(place: &Place, s: &mut Session, told: &Told, opened: u64, asked: &mut BTreeMap<String, Asked>, why: &str) {
    for (query, before) in &told.answers {
        let sql = format!("{query} AS OF EPOCH {}", told.epoch);
        let count = asked.entry(query.clone()).or_default();
        match attempt(s, &sql).await {
            Ok(now) => {
                assert_eq!(&sorted(now), before, "{why}: {sql}");
                count.kept += 1;
            }
            Err(error) => {
                assert_eq!(error.sqlstate, "72000", "{why}: {sql}: {error}");
                let text = error.to_string();
                let oldest = oldest_in(&text);
                assert!(told.epoch < oldest, "{why}: {text}");
                let gone = told.epoch < opened || told.epoch + KEPT < shown(s).await;
                // A view that fell behind begins anew, and says since when; tables and streams have all that is promised.
                let begins: Vec<_> = views_in(query).into_iter().map(|view| (view, since(place.instance(), view))).collect();
                let is_behind = begins.iter().any(|(_, since)| since.is_none_or(|since| told.epoch < since));
                assert!(gone || is_behind, "{why}: {sql} is refused too early: opened={opened} {text} {begins:?}");
                if gone { count.gone += 1 } else { count.behind += 1 }
            }
        }
    }
}

/// Queries that read no view.
const OF_TABLES: &[&str] = &[
    "SELECT * FROM t",
    "SELECT * FROM u",
    "SELECT * FROM bag",
    "SELECT * FROM s",
    "SELECT v FROM t WHERE id = 7",
    "WITH x AS (SELECT id FROM t UNION ALL SELECT id FROM u) SELECT id, count(*) FROM x GROUP BY id",
];

fn queries() -> Vec<String> {
    let mut all: Vec<String> = OF_TABLES.iter().map(|&query| query.to_owned()).collect();
    let views = VIEWS.iter().filter(|(name, _)| *name != "recent").map(|(name, _)| format!("SELECT * FROM {name}"));
    all.extend(views);
    all.extend(
        [
            "TABLE errs_errors",
            "SELECT t.id, p.w, g.n FROM t JOIN plain p ON p.id = t.id CROSS JOIN global g",
            "SELECT e.k, e.n, (SELECT count(*) FROM s WHERE s.k = e.k), (SELECT count(*) FROM bag) FROM events e ORDER BY 1 LIMIT 40",
        ]
        .map(str::to_owned),
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_epoch_showed_it_shows_again_or_says_that_it_is_gone() {
    let seeds = crate::common::size("REGAUGE_PAST_SEEDS", 1) as u64;
    let base = crate::common::size("REGAUGE_SEED", 1) as u64;
    for seed in base..base + seeds {
        let mut rng = Rng(seed);
        let mut place = Place::new(KEPT);
        let mut s = place.session();
        make(&mut s).await;
        run(&mut s, "FLUSH").await;
        let queries = queries();
        let (mut told, mut opened, mut second): (Vec<Told>, _, _) = (vec![], 0, 0);
        let mut asked = BTreeMap::new();
        for round in 0..30u64 {
            let n = 1 + rng.below(16);
            churn(&mut s, &mut rng, n, &mut second).await;
            let why = format!("seed {seed} round {round}");
            // Two epochs that have no answer in common, and nothing between them but a tick of the clock.
            for n in [2 * round, 2 * round + 1] {
                stamp(&mut s, n, &mut second).await;
                told.push(tell(&mut s, &queries).await);
            }
            let pair = &told[told.len() - 2..];
            for (before, after) in pair[0].answers.iter().zip(&pair[1].answers) {
                assert_ne!(before, after, "{why}: an answer of the epoch beside it would not be told");
            }
            for _ in 0..2 {
                let one = &told[rng.below(told.len() as u64) as usize];
                ask(&place, &mut s, one, opened, &mut asked, &why).await;
            }
            if round % 10 == 5 && place.instance().checkpoints().enabled {
                assert!(place.instance().checkpoint(LONG).unwrap());
            }
            if round % 10 == 9 {
                drop(s);
                place.open(1 + rng.below(4) as usize, round != 19, KEPT);
                opened = place.instance().log().durable().0;
                s = place.session();
                run(&mut s, "FLUSH").await;
                for one in &told {
                    ask(&place, &mut s, one, opened, &mut asked, &format!("seed {seed} round {round} opened again")).await;
                }
            }
        }
        for (query, count) in &asked {
            let floor = if OF_TABLES.contains(&query.as_str()) { 15 } else { 5 };
            assert!(count.kept >= floor && count.gone > 0, "seed {seed}: {query}: {count:?}: it is not a test of both");
        }
    }
}

/// What a view missed it is fed in one piece: within that it has no epochs, and of those before it none that it is not sure of.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_fell_behind_refuses_the_epochs_that_it_had_before_and_those_that_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mirror: Arc<Mirror> = Arc::default();
    let mut config = Config::new(dir.path());
    config.limits.causal_timeout = Duration::from_secs(120);
    config.limits.epochs_in_flight = 1;
    let instance = Instance::open_with(config, mirror.clone()).unwrap();
    let mut s = instance.session(SessionOptions::default()).unwrap();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE MATERIALIZED VIEW v AS SELECT id, n FROM t").await;
    run(&mut s, "FLUSH").await;
    let (mut id, mut epochs, mut answered, mut refused) = (0, vec![], 0, 0);
    for round in 0..3 {
        for held in [false, true] {
            mirror.hold(held);
            let begun = Instant::now();
            // While it is held, until it is left behind, and some commits more that it will be fed in the same piece.
            let mut left = 3;
            while left > 0 {
                assert!(begun.elapsed() < 2 * LONG, "round {round}: it never falls behind");
                run(&mut s, &format!("INSERT INTO t VALUES ({id}, {round})")).await;
                id += 1;
                epochs.push(instance.log().durable().0);
                if held {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                left -= i32::from(!held || since(&instance, "v").is_none());
                if !held {
                    run(&mut s, "FLUSH").await;
                }
            }
        }
        mirror.hold(false);
        run(&mut s, "FLUSH").await;
        run(&mut s, &format!("INSERT INTO t VALUES ({id}, {round}); FLUSH")).await;
        id += 1;
        epochs.push(instance.log().durable().0);
        let since = since(&instance, "v").expect("it is back");
        for at in &epochs {
            // of a table each commit is one
            let table = sorted(run(&mut s, &format!("SELECT id, n FROM t AS OF EPOCH {at}")).await);
            match attempt(&mut s, &format!("SELECT id, n FROM v AS OF EPOCH {at}")).await {
                Ok(rows) => {
                    assert_eq!(sorted(rows), table, "round {round} epoch {at} since {since}");
                    assert!(*at >= since, "round {round}: it cannot know what it had at {at}: since {since}");
                    answered += 1;
                }
                Err(error) => {
                    assert_eq!((error.sqlstate, *at < since), ("72000", true), "round {round} epoch {at} since {since}: {error}");
                    let oldest = oldest_in(&error.to_string());
                    let of = |relation: &str| format!("SELECT count(*) FROM {relation} AS OF EPOCH {oldest}");
                    assert_eq!(run(&mut s, &of("v")).await, run(&mut s, &of("t")).await, "round {round}: the oldest {oldest}");
                    refused += 1;
                }
            }
        }
    }
    assert!(answered > 2 && refused > 20, "answered={answered} refused={refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_epoch_that_an_error_names_can_be_read() {
    let place = Place::new(20);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, max(n) AS m FROM t").await;
    for id in 0..300 {
        run(&mut s, &format!("INSERT INTO t VALUES ({id}, {id})")).await;
    }
    run(&mut s, "FLUSH").await;
    for of in ["t", "v"] {
        until_gone(&mut s, &format!("SELECT count(*) FROM {of} AS OF EPOCH 150")).await;
        let error = attempt(&mut s, &format!("SELECT count(*) FROM {of} AS OF EPOCH 5")).await.unwrap_err();
        assert_eq!(error.sqlstate, "72000");
        assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("20 commits are kept")), "{error:?}");
        let oldest = oldest_in(&error.to_string());
        assert_eq!(run(&mut s, &format!("SELECT count(*) > 0 FROM {of} AS OF EPOCH {oldest}")).await, ["true"], "{of}");
        let boundaries = place.instance().versions().boundaries();
        let before = boundaries.iter().rfind(|b| b.0 < oldest).unwrap().0;
        let gone = format!("SELECT * FROM {of} AS OF EPOCH {before}");
        assert_eq!(attempt(&mut s, &gone).await.unwrap_err().sqlstate, "72000", "{gone} oldest={oldest}");
    }
    let last = shown(&mut s).await;
    assert_eq!(run(&mut s, &format!("SELECT n, m FROM v AS OF EPOCH {last}")).await, ["300|299"]);
    let error = attempt(&mut s, &format!("SELECT n FROM v AS OF EPOCH {}", last + 1)).await.unwrap_err();
    assert_eq!((error.sqlstate, error.to_string().contains(&format!("the last one is {last}"))), ("22023", true), "{error}");
    let error = attempt(&mut s, &format!("SELECT n FROM t AS OF EPOCH {}", u64::MAX)).await.unwrap_err();
    assert_eq!(error.sqlstate, "22023");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_kept_for_who_reads_it() {
    let place = Place::new(20);
    let (mut s, mut reader, mut cursor) = (place.session(), place.session(), place.session());
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE STREAM log (n INT)").await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT id, n FROM t").await;
    run(&mut s, "INSERT INTO t SELECT n, 0 FROM generate_series(1, 30000) AS g(n); INSERT INTO log VALUES (1)").await;
    run(&mut s, "FLUSH").await;
    let at = shown(&mut s).await;
    let mut open = vec![];
    for of in ["t", "v"] {
        let response =
            reader.execute(&format!("SELECT sum(n) OVER (), n FROM {of} AS OF EPOCH {at}")).await.unwrap().pop().unwrap();
        let Response::Rows(rows) = response else { panic!("no rows") };
        open.push((of, rows.stream));
    }
    run(&mut cursor, &format!("BEGIN; DECLARE c CURSOR FOR SELECT id, n FROM t AS OF EPOCH {at}")).await;
    assert_eq!(run(&mut cursor, "FETCH 1 FROM c").await, ["1|0"]);
    for n in 1..200 {
        run(&mut s, &format!("UPDATE t SET n = {n} WHERE id % 1000 = 0; INSERT INTO log VALUES ({n})")).await;
    }
    run(&mut s, "FLUSH").await;
    assert_eq!(run(&mut s, "SELECT max(n) FROM v").await, ["199"]);
    for (of, mut stream) in open {
        let mut n_rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.unwrap();
            assert!(lines(std::slice::from_ref(&batch)).iter().all(|line| line == "0|0"), "{of}");
            n_rows += batch.num_rows();
        }
        assert_eq!(n_rows, 30_000, "{of}");
    }
    assert!(run(&mut cursor, "FETCH ALL FROM c").await.iter().all(|line| line.ends_with("|0")));
    run(&mut cursor, "COMMIT").await;
    // Nobody reads it any more: it goes.
    for n in 0..100 {
        run(&mut s, &format!("INSERT INTO log VALUES ({n})")).await;
    }
    run(&mut s, "FLUSH").await;
    until_gone(&mut s, &format!("SELECT count(*) FROM t AS OF EPOCH {at}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_those_of_now_and_what_they_mean_must_have_been_there_then() {
    let place = Place::new(500);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 10); FLUSH").await;
    let first = shown(&mut s).await;
    run(&mut s, "CREATE MATERIALIZED VIEW v AS SELECT sum(n) AS n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (2, 20); FLUSH").await;
    let second = shown(&mut s).await;
    let of = |query: &str, at: u64| format!("{query} AS OF EPOCH {at}");
    let error = attempt(&mut s, &of("SELECT * FROM v", first)).await.unwrap_err();
    assert_eq!(error.sqlstate, "42P01");
    assert!(error.to_string().contains(&format!("did not exist at epoch {first}")), "{error}");
    // A plain view is the query that it is now.
    run(&mut s, "CREATE VIEW plain AS SELECT id, n * 2 AS n FROM t").await;
    assert_eq!(run(&mut s, &of("SELECT * FROM plain ORDER BY id", first)).await, ["1|20"]);
    assert_eq!(run(&mut s, &of("SELECT * FROM plain ORDER BY id", second)).await, ["1|20", "2|40"]);
    // Another name is the same relation; another relation of the same name is another one.
    run(&mut s, "ALTER TABLE t RENAME TO moved").await;
    assert_eq!(run(&mut s, &of("SELECT * FROM moved ORDER BY id", first)).await, ["1|10"]);
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (9, 9)").await;
    assert_eq!(attempt(&mut s, &of("SELECT * FROM t", second)).await.unwrap_err().sqlstate, "42P01");
    run(&mut s, "FLUSH").await;
    let third = shown(&mut s).await;
    // Other columns.
    run(&mut s, "ALTER TABLE moved ADD COLUMN more TEXT").await;
    run(&mut s, "UPDATE moved SET more = 'x' WHERE id = 1; FLUSH").await;
    let error = attempt(&mut s, &of("SELECT * FROM moved", third)).await.unwrap_err();
    assert_eq!((error.sqlstate, error.to_string().contains("were changed after epoch")), ("0A000", true), "{error}");
    let fourth = shown(&mut s).await;
    run(&mut s, "DELETE FROM moved WHERE id = 1").await;
    assert_eq!(run(&mut s, &of("SELECT id, more FROM moved ORDER BY id", fourth)).await, ["1|x", "2|NULL"]);
    assert_eq!(run(&mut s, &of("SELECT n FROM v", third)).await, ["30"], "its own columns are what they were");
    // What is dropped is not there; what was made within the transaction is not yet.
    run(&mut s, "DROP TABLE t").await;
    assert_eq!(attempt(&mut s, &of("SELECT * FROM t", third)).await.unwrap_err().sqlstate, "42P01");
    run(&mut s, "BEGIN; CREATE TABLE new (a INT)").await;
    assert_eq!(attempt(&mut s, &of("SELECT * FROM new", third)).await.unwrap_err().sqlstate, "42P01");
    run(&mut s, "ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_transaction_it_reads_beside_the_snapshot_and_without_its_writes() {
    let place = Place::new(500);
    let (mut s, mut other) = (place.session(), place.session());
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE MATERIALIZED VIEW v AS SELECT id, n FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 10), (2, 20); FLUSH").await;
    let first = shown(&mut s).await;
    run(&mut s, "UPDATE t SET n = 11 WHERE id = 1; FLUSH").await;
    run(&mut s, "BEGIN; UPDATE t SET n = 12 WHERE id = 1").await;
    assert_eq!(run(&mut s, "SELECT n FROM t WHERE id = 1").await, ["12"]);
    for of in ["t", "v"] {
        assert_eq!(run(&mut s, &format!("SELECT n FROM {of} WHERE id = 1 AS OF EPOCH {first}")).await, ["10"]);
    }
    run(&mut other, "INSERT INTO t VALUES (3, 30); FLUSH").await;
    let last = shown(&mut other).await;
    assert_eq!(run(&mut s, "SELECT count(*) FROM t").await, ["2"], "its snapshot is what it was");
    assert_eq!(run(&mut s, &format!("SELECT count(*) FROM v AS OF EPOCH {last}")).await, ["3"], "an epoch may be later, too");
    run(&mut s, "COMMIT").await;
    // What was deleted is put back, and what stands now judges it.
    run(&mut s, "DELETE FROM t WHERE id = 2").await;
    let back = format!("INSERT INTO t SELECT id, n FROM v ON CONFLICT (id) DO NOTHING AS OF EPOCH {last}");
    assert_eq!(run(&mut s, &back).await, ["INSERT 0 1"]);
    assert_eq!(run(&mut s, "SELECT id, n FROM t ORDER BY id").await, ["1|12", "2|20", "3|30"]);
    assert_eq!(
        attempt(&mut s, &format!("INSERT INTO t SELECT id, n FROM t AS OF EPOCH {first}")).await.unwrap_err().sqlstate,
        "23505"
    );
    run(&mut s, &format!("CREATE TABLE was AS SELECT * FROM t AS OF EPOCH {first}")).await;
    assert_eq!(run(&mut s, "SELECT id, n FROM was ORDER BY id").await, ["1|10", "2|20"]);
    let plan = run(&mut s, &format!("EXPLAIN SELECT * FROM v AS OF EPOCH {first}")).await;
    assert_eq!(plan.last().unwrap(), &format!("as of epoch {first}"));
    let plan = run(&mut s, &format!("EXPLAIN ANALYZE SELECT * FROM v AS OF EPOCH {first}")).await;
    assert!(plan.contains(&format!("epoch {first}")) && plan.contains(&"rows 2".to_owned()), "{plan:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_now() {
    let place = Place::new(500);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT); INSERT INTO t VALUES (1); CREATE ROLE eve LOGIN; GRANT SELECT ON t TO eve; FLUSH")
        .await;
    let at = shown(&mut s).await;
    let mut eve = place.instance().session(SessionOptions { user: "eve".to_owned(), ..SessionOptions::default() }).unwrap();
    let sql = format!("SELECT * FROM t AS OF EPOCH {at}");
    assert_eq!(run(&mut eve, &sql).await, ["1"]);
    run(&mut s, "REVOKE SELECT ON t FROM eve").await;
    assert_eq!(attempt(&mut eve, &sql).await.unwrap_err().sqlstate, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_was_in_error_then_is_in_error_then_and_healed_now() {
    let place = Place::new(500);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE MATERIALIZED VIEW v AS SELECT id, 10 / n AS q FROM t").await;
    run(&mut s, "INSERT INTO t VALUES (1, 5), (2, 0); FLUSH").await;
    let errored = shown(&mut s).await;
    run(&mut s, "DELETE FROM t WHERE id = 2; FLUSH").await;
    let healed = shown(&mut s).await;
    run(&mut s, "INSERT INTO t VALUES (3, 0); FLUSH").await;
    assert_eq!(attempt(&mut s, "SELECT q FROM v").await.unwrap_err().sqlstate, "RG002");
    assert_eq!(run(&mut s, &format!("SELECT q FROM v AS OF EPOCH {healed}")).await, ["2"]);
    assert_eq!(attempt(&mut s, &format!("SELECT q FROM v AS OF EPOCH {errored}")).await.unwrap_err().sqlstate, "RG002");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_within_an_epoch_is_no_epoch_of_views_and_its_neighbours_are_named() {
    let place = Place::new(5000);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t").await;
    // Writers side by side until two of their commits fall into one epoch.
    let mut tries = 0;
    let pair = loop {
        tries += 1;
        let writes = (0..8).map(|_| {
            let mut w = place.session();
            async move {
                let ids = "SELECT coalesce((SELECT max(id) FROM t), 0) + 1 + (random() * 1000000)::int";
                let _ = attempt(&mut w, &format!("INSERT INTO t {ids} ON CONFLICT DO NOTHING")).await;
            }
        });
        futures::future::join_all(writes).await;
        run(&mut s, "FLUSH").await;
        let boundaries: Vec<u64> = place.instance().versions().boundaries().iter().map(|b| b.0).collect();
        if let Some(pair) = boundaries.windows(2).find(|w| w[1] > w[0] + 1 && w[0] > 3) {
            break (pair[0], pair[1]);
        }
        assert!(tries < 2_000, "each commit is an epoch: n={} last={:?}", boundaries.len(), boundaries.last());
    };
    let within = pair.0 + 1;
    let error = attempt(&mut s, &format!("SELECT n FROM v AS OF EPOCH {within}")).await.unwrap_err();
    assert_eq!(error.sqlstate, "22023");
    let named = format!("the one before it ends with {}, the next one with {}", pair.0, pair.1);
    assert!(error.to_string().contains(&named), "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("the oldest that can be read is ")), "{error:?}");
    let count = |sql: String, mut s: Session| async move { run(&mut s, &sql).await[0].parse::<i64>().unwrap() };
    let view = count(format!("SELECT n FROM v AS OF EPOCH {}", pair.1), place.session()).await;
    let table = count(format!("SELECT count(*) FROM t AS OF EPOCH {}", pair.1), place.session()).await;
    assert_eq!(view, table);
    let inside = count(format!("SELECT count(*) FROM t AS OF EPOCH {within}"), place.session()).await;
    assert!(inside <= table, "of a table each commit is one");
}

/// `pg_class`, `regauge.epochs` and `information_schema.tables`, each of one row, as a server gives them.
fn give_system_relations(instance: &Instance) {
    #[derive(Default)]
    struct Bare(bool);
    impl VisitorMut for Bare {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &mut ast::ObjectName) -> ControlFlow<()> {
            let text = name.to_string();
            if text == "pg_class" {
                *name = vec![ast::Ident::new("pg_catalog"), ast::Ident::new("pg_class")].into();
            }
            self.0 |= text.ends_with("pg_class");
            ControlFlow::Continue(())
        }
    }
    struct Dialect;
    impl SystemDialect for Dialect {
        fn rewrite(&self, query: &mut ast::Query, _: &Scope) -> regauge_views::Result<bool> {
            let mut bare = Bare::default();
            let _ = query.visit(&mut bare);
            Ok(bare.0)
        }
        fn functions(&self, _: &Scope) -> Vec<Arc<dyn SystemFunction>> {
            vec![]
        }
        fn array_of_rows(&self) -> &'static str {
            "array_of_rows"
        }
    }
    for (schema, relation) in [("pg_catalog", "pg_class"), ("regauge", "epochs"), ("information_schema", "tables")] {
        let rows = move |_: &Scope, name: &str| {
            let n: ArrayRef = Arc::new(Int64Array::from(vec![7]));
            (name == relation).then(|| RecordBatch::try_from_iter([("n", n)]).unwrap())
        };
        instance.add_system_schema(schema, Arc::new(rows));
    }
    instance.set_system_dialect(Arc::new(Dialect));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tells_of_the_instance_has_no_past_however_it_is_named() {
    let place = Place::new(500);
    give_system_relations(place.instance());
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 7)").await;
    run(&mut s, "CREATE VIEW of_t AS SELECT id, n FROM t; CREATE VIEW over_t AS SELECT n FROM of_t").await;
    run(&mut s, "CREATE VIEW of_epochs AS SELECT n FROM regauge.epochs; CREATE VIEW of_class AS SELECT n FROM pg_class").await;
    run(&mut s, "CREATE VIEW over_class AS SELECT c.n FROM of_t JOIN of_class c ON c.n = of_t.n; FLUSH").await;
    let at = shown(&mut s).await;
    for query in [
        "SELECT n FROM pg_class",
        "SELECT c.n FROM pg_class c, t",
        "SELECT n FROM pg_catalog.pg_class",
        "SELECT n FROM regauge.epochs",
        "SELECT n FROM information_schema.tables",
        "SELECT n FROM t WHERE n IN (SELECT n FROM pg_class)",
        "SELECT n FROM of_epochs",
        "SELECT n FROM of_class",
        "SELECT n FROM over_class",
        "SELECT o.n FROM over_t o, over_class c",
        "WITH x AS (SELECT n FROM over_class) SELECT n FROM x",
    ] {
        assert_eq!(run(&mut s, query).await, ["7"], "{query}");
        let error = attempt(&mut s, &format!("{query} AS OF EPOCH {at}")).await.unwrap_err();
        assert_eq!((error.sqlstate, error.to_string().contains("has no past")), ("0A000", true), "{query}: {error}");
    }
    run(&mut s, "UPDATE t SET n = 8; FLUSH").await;
    assert_eq!(run(&mut s, &format!("SELECT n FROM over_t AS OF EPOCH {at}")).await, ["7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_that_a_transaction_is_told_is_the_one_that_it_reads() {
    let place = Place::new(500);
    let (mut s, mut other) = (place.session(), place.session());
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM t; FLUSH").await;
    run(&mut s, "BEGIN").await;
    run(&mut other, "INSERT INTO t VALUES (1); FLUSH").await;
    assert_eq!(shown(&mut s).await, shown(&mut other).await, "it has not read yet");
    assert_eq!(run(&mut s, "SELECT n FROM v").await, ["1"]);
    let at = epoch_of(&mut s, "t").await;
    run(&mut other, "INSERT INTO t VALUES (2); FLUSH").await;
    let last = shown(&mut other).await;
    assert!(at < last);
    assert_eq!(shown(&mut s).await, at);
    assert_eq!(run(&mut s, &format!("SELECT n FROM v AS OF EPOCH {at}")).await, run(&mut s, "SELECT n FROM v").await);
    assert_eq!(run(&mut s, &format!("SELECT n FROM v AS OF EPOCH {last}")).await, ["2"]);
    assert_eq!(shown(&mut s).await, at, "another epoch does not move it");
    run(&mut s, "COMMIT").await;
    assert_eq!(shown(&mut s).await, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_values_to_come_does_not_close_the_past() {
    let place = Place::new(500);
    let mut s = place.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 10); FLUSH").await;
    let first = shown(&mut s).await;
    run(&mut s, "UPDATE t SET n = 11; FLUSH").await;
    for change in ["SET DEFAULT 7", "SET NOT NULL", "DROP DEFAULT", "DROP NOT NULL"] {
        run(&mut s, &format!("ALTER TABLE t ALTER COLUMN n {change}")).await;
        assert_eq!(run(&mut s, &format!("SELECT id, n FROM t AS OF EPOCH {first}")).await, ["1|10"], "{change}");
    }
    // Names are of the rows: the commit that is told is the one from which on they are those of now.
    run(&mut s, "ALTER TABLE t RENAME COLUMN n TO m; FLUSH").await;
    let renamed = shown(&mut s).await;
    run(&mut s, "ALTER TABLE t RENAME COLUMN m TO n; FLUSH").await;
    let back = shown(&mut s).await;
    let error = attempt(&mut s, &format!("SELECT n FROM t AS OF EPOCH {renamed}")).await.unwrap_err();
    let hint = error.hint.clone().unwrap_or_default();
    assert_eq!((error.sqlstate, hint.ends_with(&format!("since commit {back}"))), ("0A000", true), "{error} {hint}");
    assert_eq!(run(&mut s, &format!("SELECT n FROM t AS OF EPOCH {back}")).await, ["11"]);
}
