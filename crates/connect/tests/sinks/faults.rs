//! A sink whose task panics, and one that may never have been.

use super::common::{caught_up, exec, open_with, rows, run_cut, sink_id, status, until};
use super::files::summed;
use super::gate::Gate;
use regauge_connect::{error::Fault, target::Cuts};
use regauge_views::follow::Feed;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Panics at a step, as long as it is told to; counts the tasks that came to the first one.
#[derive(Default)]
struct Bomb {
    armed: AtomicBool,
    begun: AtomicU64,
}

impl Cuts for Bomb {
    fn pass(&self, step: &'static str) -> Result<(), Fault> {
        self.begun.fetch_add(u64::from(step == "listed"), Ordering::SeqCst);
        assert!(!(step == "written" && self.armed.load(Ordering::SeqCst)), "planted");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_panics_says_so_and_is_begun_anew() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let instance = open_with(dir.path(), |_| {});
    exec(&instance, "CREATE TABLE t (id INT PRIMARY KEY)").await;
    let path = out.path().display();
    exec(&instance, &format!("CREATE SINK s FROM t WITH (connector = 'parquet', path = '{path}', interval_ms = 0)")).await;
    let bomb = Arc::new(Bomb::default());
    let runner = run_cut(&instance, bomb.clone());
    exec(&instance, "INSERT INTO t VALUES (1)").await;
    caught_up(&instance, "s").await;
    for id in 2..4 {
        bomb.armed.store(true, Ordering::SeqCst);
        let retries = status(&instance, "s").n_retries;
        exec(&instance, &format!("INSERT INTO t VALUES ({id})")).await;
        let failed = until(&instance, "s", |s| s.state == "failed").await;
        assert!(failed.error.as_ref().is_some_and(|error| error.contains("panicked: planted")), "{failed:?}");
        assert_eq!(runner.killed(sink_id(&instance, "s")), None);
        // It is tried again and again, as after any failure.
        until(&instance, "s", |s| s.n_retries >= retries + 3).await;
        bomb.armed.store(false, Ordering::SeqCst);
        let well = caught_up(&instance, "s").await;
        assert_eq!(well.error, None, "{well:?}");
        assert_eq!(summed(out.path()), rows(&instance, "SELECT * FROM t").await);
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_begins_when_it_is_there_for_good() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gate = Gate::new();
    let instance = open_with(dir.path(), |config| config.env.disk = gate.clone());
    exec(&instance, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let bomb = Arc::new(Bomb::default());
    let runner = run_cut(&instance, bomb.clone());
    gate.shut();
    let path = out.path().join("new").display().to_string();
    let sql = format!("CREATE SINK s FROM t WITH (connector = 'parquet', path = '{path}', interval_ms = 0)");
    let creating = tokio::spawn({
        let instance = instance.clone();
        async move { exec(&instance, &sql).await }
    });
    gate.until_waited_for().await;
    // Who plans a statement may build on it, as what it commits comes to nothing with it. Who writes elsewhere may not.
    assert_eq!(instance.catalog().sinks().count(), 1);
    assert_eq!(Feed::new(&instance).catalog().sinks().count(), 0);
    // Many times as long as it takes to begin one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bomb.begun.load(Ordering::SeqCst), 0, "a crash would take back a sink that has begun to write");
    assert!(!out.path().join("new").exists());
    gate.open_up();
    creating.await.unwrap();
    caught_up(&instance, "s").await;
    assert_eq!(summed(&out.path().join("new")), ["1"]);
    runner.stop().await;
}
