//! Views that read a long history: how far they are, how fast they may go, and that nothing else waits for them.
#![allow(clippy::disallowed_methods, reason = "how long it waits for a real instance is real time")]

use crate::common::{ONLY_WHEN_ASKED, Site, attempt, run, site_with, site_with_checkpoints};
use regauge_types::ViewId;
use regauge_views::{Config, Instance, Session, catalog::Kind, driver::pace::Progress};
use std::time::Duration;

const ROWS: u64 = 200_000;

/// How long a checkpoint may take.
const LONG: Duration = Duration::from_secs(300);

async fn made(site: &Site) -> Session {
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k BIGINT, v BIGINT)").await;
    run(&mut s, "CREATE TABLE t (k BIGINT PRIMARY KEY, name TEXT)").await;
    run(&mut s, "INSERT INTO t SELECT i, 'n' || i FROM generate_series(0, 99) AS i").await;
    for part in 0..4 {
        let (from, to) = (part * ROWS / 4 + 1, (part + 1) * ROWS / 4);
        run(&mut s, &format!("INSERT INTO s SELECT i % 100, i FROM generate_series({from}, {to}) AS i")).await;
    }
    s
}

fn progress(site: &Site, name: &str) -> Option<Progress> {
    let catalog = site.instance().catalog();
    let relation = catalog.relations().find(|r| r.name.name == name)?.clone();
    let Kind::Materialized { routed, .. } = relation.kind else { return None };
    let ViewId(view) = relation.view()?;
    site.instance().versions().progress(ViewId(view), routed)
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const QUERY: &str = "SELECT t.name, count(*) AS n, sum(s.v) AS v, max(s.v) AS m FROM s JOIN t ON s.k = t.k GROUP BY t.name";

async fn compare(s: &mut Session) {
    let view = run(s, "SELECT name, n, v, m FROM slow ORDER BY name").await;
    assert_eq!(view, run(s, &format!("{QUERY} ORDER BY 1")).await);
    assert_eq!(view.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_held_goes_on_where_it_was_and_live_views_do_not_wait() {
    let site = site_with(2);
    let mut s = made(&site).await;
    run(&mut s, "CREATE MATERIALIZED VIEW live AS SELECT count(*) AS n, max(v) AS m FROM s").await;
    run(&mut s, &format!("CREATE MATERIALIZED VIEW slow WITH (async, backfill_rate = 0) AS {QUERY}")).await;
    until("it began", || progress(&site, "slow").is_some()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let held = progress(&site, "slow").unwrap();
    assert_eq!((held.done, held.all, held.rate, held.left), (0, ROWS + 100, Some(0), None));
    run(&mut s, &format!("INSERT INTO s VALUES (7, {})", ROWS + 1)).await;
    assert_eq!(run(&mut s, "SELECT n, m FROM live").await, [format!("{0}|{0}", ROWS + 1)]);
    run(&mut s, "SET regauge.causal_timeout = '50ms'").await;
    assert_eq!(attempt(&mut s, "SELECT count(*) FROM slow").await.unwrap_err().sqlstate, "RG004");
    run(&mut s, "SET regauge.causal_timeout = '120s'").await;
    // some rows, then held again; all of them would take 40 seconds
    run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 5000)").await;
    until("rows were read", || progress(&site, "slow").is_some_and(|p| p.done > 2000)).await;
    hold(&site, &mut s).await;
    let before = progress(&site, "slow").unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = progress(&site, "slow").unwrap();
    assert!(after.done == before.done && after.done < after.all, "{before:?} {after:?}");
    run(&mut s, "UPDATE t SET name = 'x' || k WHERE k < 10").await;
    assert_eq!(run(&mut s, "SELECT n FROM live").await, [(ROWS + 1).to_string()]);
    run(&mut s, "ALTER MATERIALIZED VIEW slow RESET (backfill_rate)").await;
    until("all is read", || progress(&site, "slow").is_none()).await;
    run(&mut s, "FLUSH").await;
    compare(&mut s).await;
}

/// The rate is 0: the statement has committed that, and the driver has come to it.
async fn hold(site: &Site, s: &mut Session) {
    run(s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 0)").await;
    let rate = || progress(site, "slow").expect("it was through before it was held").rate;
    until("it is held", || rate() == Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_outlives_the_instance_and_a_held_view_can_be_dropped() {
    for checkpoints in [false, true] {
        let mut site = if checkpoints { site_with_checkpoints(2) } else { site_with(2) };
        let mut s = made(&site).await;
        for name in ["slow", "never"] {
            run(&mut s, &format!("CREATE MATERIALIZED VIEW {name} WITH (async, backfill_rate = 0) AS {QUERY}")).await;
        }
        run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 5000)").await;
        until("rows were read", || progress(&site, "slow").is_some_and(|p| p.done > 1000)).await;
        if checkpoints {
            assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        }
        // closed while one waits and one is in the middle
        drop(s);
        site.reopen();
        let mut s = site.session();
        until("they began anew", || ["slow", "never"].iter().all(|name| progress(&site, name).is_some())).await;
        assert_eq!(progress(&site, "slow").map(|p| p.rate), Some(Some(5_000)));
        assert_eq!(progress(&site, "never").map(|p| (p.done, p.rate)), Some((0, Some(0))));
        run(&mut s, "DROP MATERIALIZED VIEW never").await;
        assert_eq!(progress(&site, "never"), None);
        run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = NULL)").await;
        until("all is read", || progress(&site, "slow").is_none()).await;
        run(&mut s, "FLUSH").await;
        compare(&mut s).await;
        // one of the same name has a rate of its own
        run(&mut s, &format!("CREATE MATERIALIZED VIEW never AS {QUERY}")).await;
        assert_eq!(run(&mut s, "SELECT count(*) FROM never").await, ["100"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_rate_is_refused() {
    let site = site_with(1);
    let mut s = site.session();
    run(
        &mut s,
        "CREATE STREAM s (k INT); CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n FROM s; CREATE VIEW p AS SELECT k FROM s",
    )
    .await;
    for (sql, code) in [
        ("ALTER MATERIALIZED VIEW v SET (backfill_rate = -1)", "22023"),
        ("ALTER MATERIALIZED VIEW v SET (backfill_rate = 'fast')", "22023"),
        ("ALTER MATERIALIZED VIEW v SET (fillfactor = 70)", "0A000"),
        ("ALTER MATERIALIZED VIEW v RESET (fillfactor)", "0A000"),
        ("ALTER MATERIALIZED VIEW p SET (backfill_rate = 1)", "42809"),
        ("ALTER MATERIALIZED VIEW nothing SET (backfill_rate = 1)", "42P01"),
        ("CREATE MATERIALIZED VIEW w WITH (backfill_rate = x) AS SELECT k FROM s", "22023"),
    ] {
        assert_eq!(attempt(&mut s, sql).await.unwrap_err().sqlstate, code, "{sql}");
    }
    run(&mut s, "CREATE ROLE clerk LOGIN").await;
    let clerk = regauge_views::SessionOptions { user: "clerk".to_owned(), ..regauge_views::SessionOptions::default() };
    let mut clerk = site.instance().session(clerk).unwrap();
    assert_eq!(attempt(&mut clerk, "ALTER MATERIALIZED VIEW v SET (backfill_rate = 0)").await.unwrap_err().sqlstate, "42501");
    run(&mut s, "ALTER MATERIALIZED VIEW v SET (backfill_rate = 5)").await;
    run(&mut s, "INSERT INTO s VALUES (1)").await;
    assert_eq!(run(&mut s, "SELECT n FROM v").await, ["1"], "a rate is for history alone");
}

/// Reopens with parts of so many rows.
fn reopened(site: &mut Site, workers: usize) {
    site.instance = None;
    let mut config = Config::new(site.dir.path()).workers(workers);
    // a machine may be slow
    config.limits.causal_timeout = std::time::Duration::from_secs(120);
    config.limits.backfill_step_rows = 5_000;
    config.checkpoints.every = ONLY_WHEN_ASKED;
    site.instance = Some(Instance::open(config).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_goes_on_behind_the_last_checkpoint_of_it() {
    const AGGREGATED: &str = "SELECT k, count(*) AS n, sum(v) AS v, max(v) AS m, count(DISTINCT v % 7) AS d FROM s GROUP BY k";
    let mut site = site_with_checkpoints(2);
    let mut s = site.session();
    run(&mut s, "CREATE STREAM s (k BIGINT, v BIGINT)").await;
    // commits of few rows, so that there is where to cut
    for part in 0..300 {
        run(
            &mut s,
            &format!("INSERT INTO s SELECT i % 100, i FROM generate_series({part} * 1000 + 1, {part} * 1000 + 1000) AS i"),
        )
        .await;
    }
    drop(s);
    reopened(&mut site, 2);
    let mut s = site.session();
    let all = 300_000;
    run(&mut s, "CREATE MATERIALIZED VIEW live AS SELECT count(*) AS n FROM s").await;
    run(&mut s, &format!("CREATE MATERIALIZED VIEW slow WITH (async, backfill_rate = 0) AS {AGGREGATED}")).await;
    until("it began", || progress(&site, "slow").is_some()).await;
    // all of it would take 50 seconds
    run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 6000)").await;
    let (mut before, mut kept) = (0, None);
    for (round, workers) in [1, 3, 2].into_iter().enumerate() {
        until("rows were read", || progress(&site, "slow").is_some_and(|p| p.done > before + 6_000)).await;
        run(&mut s, &format!("INSERT INTO s VALUES (5, {round})")).await;
        // what a checkpoint finds is kept, and what the next one does not come to is kept on
        while {
            assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
            half(&site).is_none() || half(&site) == kept
        } {
            assert!(progress(&site, "slow").is_some(), "round {round}: it was through before a checkpoint had a part of it");
        }
        assert_eq!(
            run(&mut s, "SELECT n FROM live").await,
            [(all + round as u64 + 1).to_string()],
            "live views are right meanwhile"
        );
        hold(&site, &mut s).await;
        let known = progress(&site, "slow").unwrap();
        kept = half(&site);
        assert!(site.instance().checkpoint(LONG).unwrap(), "{:?}", site.instance().checkpoints());
        assert!(kept.is_some() && half(&site) == kept, "of one that is held it goes on having what it had");
        drop(s);
        reopened(&mut site, workers);
        s = site.session();
        until("it goes on", || progress(&site, "slow").is_some()).await;
        let again = progress(&site, "slow").unwrap();
        assert!(
            again.before > before && again.done == again.before && again.done <= known.done,
            "round {round}: {known:?} {again:?}"
        );
        let why = site.instance().checkpoints().opened.into_values().filter_map(Result::err).collect::<Vec<_>>();
        assert!(why.iter().any(|w| w.starts_with("it was being built; its history goes on")), "{why:?}");
        before = again.before;
        run(&mut s, "ALTER MATERIALIZED VIEW slow SET (backfill_rate = 6000)").await;
    }
    run(&mut s, "ALTER MATERIALIZED VIEW slow RESET (backfill_rate)").await;
    until("all is read", || progress(&site, "slow").is_none()).await;
    run(&mut s, "FLUSH").await;
    let view = run(&mut s, "SELECT k, n, v, m, d FROM slow ORDER BY k").await;
    assert_eq!(view, run(&mut s, &format!("{AGGREGATED} ORDER BY 1")).await);
    // and from there it is a version like others: kept whole, restored whole
    run(&mut s, "INSERT INTO s VALUES (5, 99)").await;
    assert!(site.instance().checkpoint(LONG).unwrap() && half(&site).is_none());
    drop(s);
    reopened(&mut site, 2);
    let opened = site.instance().checkpoints().opened;
    assert!(opened.len() == 2 && opened.values().all(Result::is_ok), "{opened:?}");
    let mut s = site.session();
    run(&mut s, "FLUSH").await;
    assert_eq!(
        run(&mut s, "SELECT k, n, v, m, d FROM slow ORDER BY k").await,
        run(&mut s, &format!("{AGGREGATED} ORDER BY 1")).await
    );
}

/// The half-built version that the newest checkpoint has, by its name there, which tells the cut.
fn half(site: &Site) -> Option<Vec<u8>> {
    let store = site.instance().backup_parts().checkpoints.unwrap();
    let held = store.hold().unwrap().unwrap();
    held.manifest().sections.iter().map(|s| s.name.to_vec()).find(|name| name.starts_with(b"backfill "))
}
