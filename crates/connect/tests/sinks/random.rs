//! Random changes, restarts, kills and outages in any order: the target is the view.

use super::{
    common::{Dice, Knife, caught_up, exec, open, rows, run, run_cut, there},
    server::Server,
};
use regauge_connect::postgres;
use std::{sync::Arc, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn after_random_changes_and_restarts_the_target_is_the_view() {
    let (mut server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let mut instance = open(dir.path());
    exec(
        &instance,
        "CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT, c DOUBLE PRECISION, d NUMERIC(12, 3), e INTERVAL, f BYTEA, h DATE);
         CREATE MATERIALIZED VIEW keyed AS SELECT a, count(*) AS n, max(c) AS c, sum(d) AS d, min(h) AS h FROM t GROUP BY a;
         CREATE MATERIALIZED VIEW loose AS SELECT a, b, c, d, e, f, h FROM t WHERE a IS DISTINCT FROM 3",
    )
    .await;
    let options = format!(
        "WITH (connector = 'postgres', host = '127.0.0.1', port = {}, user = 'postgres', database = 'postgres')",
        server.port
    );
    exec(&instance, &format!("CREATE SINK k FROM keyed {options}; CREATE SINK l FROM loose {options}")).await;
    let mut dice = Dice(std::env::var("REGAUGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(2026));
    let knife = Arc::new(Knife::default());
    let mut runner = run_cut(&instance, knife.clone());
    let (mut restarts, mut outages) = (0, 0);
    for _ in 0..250 {
        let id = dice.roll(40);
        let some = |text: String, dice: &mut Dice| if dice.roll(5) == 0 { "NULL".to_owned() } else { text };
        match dice.roll(20) {
            0 => {
                runner.stop().await;
                drop(instance);
                instance = open(dir.path());
                runner = run_cut(&instance, knife.clone());
                restarts += 1;
            }
            1 => {
                server.crash();
                tokio::time::sleep(Duration::from_millis(dice.roll(100))).await;
                server.start().await;
                outages += 1;
            }
            2 => {
                let step = usize::try_from(dice.roll(postgres::STEPS.len() as u64)).unwrap();
                knife.arm(postgres::STEPS[step], 0);
            }
            3 => {
                runner.stop().await;
                runner = run_cut(&instance, knife.clone());
            }
            4..=6 => exec(&instance, &format!("DELETE FROM t WHERE id % 7 = {}", id % 7)).await,
            _ => {
                let n = dice.roll(5);
                let values = [
                    some(n.to_string(), &mut dice),
                    some(format!("E'a\\t\\\\N{n}'"), &mut dice),
                    some(["'NaN'", "-0.0", "1e300", "'-Infinity'", "0.1"][usize::try_from(n).unwrap()].to_owned(), &mut dice),
                    some(format!("{n}.125"), &mut dice),
                    some(format!("'{n} days 3 hours'"), &mut dice),
                    some(format!("'\\x0{n}ff'"), &mut dice),
                    some(format!("'2026-0{}-01'", n + 1), &mut dice),
                ]
                .join(", ");
                exec(&instance, &format!("INSERT INTO t VALUES ({id}, {values}) ON CONFLICT (id) DO NOTHING")).await;
            }
        }
    }
    runner.stop().await;
    let runner = run(&instance);
    let client = server.client().await;
    caught_up(&instance, "k").await;
    caught_up(&instance, "l").await;
    let columns = "a, n, c, d, h";
    let here = rows(&instance, &format!("SELECT {columns} FROM keyed")).await;
    assert_eq!(there(&client, &format!("SELECT {columns} FROM keyed")).await, here);
    let columns = "a, b, c, d, e, f, h";
    let here = rows(&instance, &format!("SELECT {columns}, count(*) FROM loose GROUP BY {columns}")).await;
    assert!(!here.is_empty());
    assert_eq!(there(&client, &format!("SELECT {columns}, _regauge_count FROM loose")).await, here);
    println!("random sink schedule: restarts={restarts} outages={outages}");
    runner.stop().await;
}
