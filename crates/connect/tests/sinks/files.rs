//! A folder of Parquet files as a target: what a reader of the newest manifest sees is the relation, whatever was killed.

use super::common::{CHANGES_MAX, Dice, Knife, caught_up, exec, open, rows, run, run_cut, sink_id, try_exec, until};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use regauge_connect::parquet::{self, manifest::Manifest};
use regauge_plan::functions::cast::text_column;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

/// The newest manifest, as a reader finds it.
fn newest(folder: &Path) -> Manifest {
    let names = std::fs::read_dir(folder.join("manifest")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let number = names.filter_map(|n| Manifest::number_of(&n)).max().unwrap();
    Manifest::read(&std::fs::read(folder.join("manifest").join(Manifest::name(number))).unwrap()).unwrap()
}

/// Rows of a manifest's files, summed by `_diff`, each as often as it is there; read with nothing of ours but the casts to text.
pub fn summed(folder: &Path) -> Vec<String> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for file in newest(folder).files {
        let bytes = bytes::Bytes::from(std::fs::read(folder.join(file.path)).unwrap());
        let reader = ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let n = batch.num_columns() - 2;
            let texts: Vec<_> = (0..n).map(|at| text_column(batch.column(at)).unwrap()).collect();
            let diffs = batch.column(n + 1).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let cell = |c: &arrow::array::ArrayRef| {
                    let texts = c.as_string::<i32>();
                    if texts.is_null(row) { "NULL".to_owned() } else { texts.value(row).to_owned() }
                };
                *sums.entry(texts.iter().map(cell).collect::<Vec<_>>().join("|")).or_default() += diffs.value(row);
            }
        }
    }
    assert!(sums.values().all(|n| *n >= 0), "a row is there less than never: {sums:?}");
    sums.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, usize::try_from(n).unwrap())).collect()
}

const SCHEMA: &str =
    "CREATE TABLE orders (id INT PRIMARY KEY, who TEXT, cents BIGINT, at TIMESTAMPTZ, more JSONB, span INTERVAL);
    CREATE STREAM clicks (who TEXT, n INT);
    CREATE MATERIALIZED VIEW totals AS SELECT who, count(*) AS n, sum(cents) AS cents FROM orders GROUP BY who;
    CREATE MATERIALIZED VIEW pairs AS SELECT a.who FROM orders a JOIN orders b ON a.who = b.who";

fn sink(of: &str, folder: &Path) -> String {
    format!("CREATE SINK s_{of} FROM {of} WITH (connector = 'parquet', path = '{}', interval_ms = 0)", folder.join(of).display())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_relation_is_the_sum_of_its_files() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, "INSERT INTO orders VALUES (1, 'ann', 5, '2026-01-02 03:04:05.6+00', '{\"a\": 1}', '1 day'), (2, NULL, 7, NULL, NULL, NULL)").await;
    let all = ["orders", "clicks", "totals", "pairs"];
    for of in all {
        exec(&instance, &sink(of, out.path())).await;
    }
    for round in 0..3 {
        let runner = run(&instance);
        for i in 0..5 {
            exec(
                &instance,
                &format!(
                    "INSERT INTO orders VALUES ({}, 'w{i}', {i}); INSERT INTO clicks VALUES ('a', {i})",
                    10 * round + i + 10
                ),
            )
            .await;
            exec(&instance, &format!("UPDATE orders SET cents = cents + 1 WHERE id % 5 = {i}")).await;
        }
        for of in all {
            caught_up(&instance, &format!("s_{of}")).await;
            assert_eq!(summed(&out.path().join(of)), rows(&instance, &format!("SELECT * FROM {of}")).await, "{of}");
        }
        runner.stop().await;
        exec(&instance, "DELETE FROM orders WHERE id % 4 = 1; INSERT INTO clicks VALUES ('late', 1)").await;
        drop(instance);
        instance = open(dir.path());
    }
    assert_eq!(newest(&out.path().join("totals")).key, ["who"]);
    assert_eq!(newest(&out.path().join("totals")).incarnation, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_become_one_again() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("totals", out.path())).await;
    let runner = run(&instance);
    let mut most = 0;
    for i in 0..parquet::FILES_MAX + 40 {
        exec(&instance, &format!("INSERT INTO orders VALUES ({i}, 'w{}', 1)", i % 3)).await;
        caught_up(&instance, "s_totals").await;
        most = most.max(newest(&out.path().join("totals")).files.len());
    }
    assert!(most > parquet::FILES_MAX / 2 && most <= parquet::FILES_MAX + 2, "{most}");
    assert!(newest(&out.path().join("totals")).files.len() < parquet::FILES_MAX);
    assert_eq!(summed(&out.path().join("totals")), rows(&instance, "SELECT * FROM totals").await);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_publishes_nothing_and_a_folder_is_not_taken_unasked() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("totals", out.path())).await;
    let (one, two) = (run(&instance), run(&instance));
    for id in 0..30 {
        exec(&instance, &format!("INSERT INTO orders VALUES ({id}, 'w{}', 1)", id % 3)).await;
    }
    let here = rows(&instance, "SELECT * FROM totals").await;
    // before that there is no manifest to read
    until(&instance, "s_totals", |s| s.seen.is_some()).await;
    let mut tries = 0;
    while summed(&out.path().join("totals")) != here {
        tries += 1;
        assert!(tries < 18_000, "the folder never got there: {:?}", super::common::status(&instance, "s_totals"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    one.stop().await;
    two.stop().await;
    let runner = run(&instance);
    let path = out.path().join("totals");
    exec(&instance, &format!("CREATE SINK other FROM orders WITH (connector = 'parquet', path = '{}')", path.display())).await;
    until(&instance, "other", |s| s.error.as_ref().is_some_and(|e| e.contains("another sink"))).await;
    assert_eq!(summed(&path), rows(&instance, "SELECT * FROM totals").await);
    for wrong in ["relative", "/a/../b", "s3://bucket/x"] {
        let sql = format!("CREATE SINK w FROM orders WITH (connector = 'parquet', path = '{wrong}')");
        assert!(try_exec(&instance, &sql).await.is_err(), "{wrong}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_the_files_have_no_gap_and_no_double() {
    let rounds: usize = std::env::var("REGAUGE_SINK_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let all = ["totals", "pairs", "clicks"];
    for of in all {
        exec(&instance, &sink(of, out.path())).await;
    }
    let mut dice = Dice(3);
    let (mut killed, mut following) = (0, 0);
    let change = async |instance: &regauge_views::Instance, dice: &mut Dice| {
        let (id, who) = (dice.roll(30), dice.roll(5));
        let sql = match dice.roll(3) {
            0 => format!("DELETE FROM orders WHERE id = {id}; INSERT INTO clicks VALUES ('w{who}', {id})"),
            _ => format!("INSERT INTO orders VALUES ({id}, 'w{who}', {id}) ON CONFLICT (id) DO UPDATE SET who = 'w{who}'"),
        };
        exec(instance, &sql).await;
    };
    for step in parquet::STEPS {
        for round in 0..rounds {
            let opening = ["listed", "claimed", "answered"].contains(&step) || round % 2 == 0;
            let knife = Arc::new(Knife::default());
            change(&instance, &mut dice).await;
            let runner;
            if opening {
                knife.arm(step, usize::try_from(dice.roll(3)).unwrap());
                runner = run_cut(&instance, knife.clone());
            } else {
                runner = run_cut(&instance, knife.clone());
                for of in all {
                    caught_up(&instance, &format!("s_{of}")).await;
                }
                following += 1;
                knife.arm(step, 0);
            }
            let ids: Vec<u32> = all.iter().map(|of| sink_id(&instance, &format!("s_{of}"))).collect();
            for _ in 0..CHANGES_MAX {
                if ids.iter().any(|id| runner.killed(*id).is_some()) {
                    break;
                }
                change(&instance, &mut dice).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(ids.iter().any(|id| runner.killed(*id) == Some(step)), "never killed at {step}");
            killed += 1;
            runner.stop().await;
            if dice.roll(4) == 0 {
                drop(instance);
                instance = open(dir.path());
            }
            let runner = run(&instance);
            for of in all {
                caught_up(&instance, &format!("s_{of}")).await;
                let here = rows(&instance, &format!("SELECT * FROM {of}")).await;
                assert_eq!(summed(&out.path().join(of)), here, "{of} after a kill at {step}, round {round}");
            }
            runner.stop().await;
        }
    }
    println!("sink cut points, parquet: kills={killed} while_following={following} gaps=0 doubles=0");
}
