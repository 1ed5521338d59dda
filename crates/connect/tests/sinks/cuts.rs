//! Killed at each step of the protocol: at the end the target holds what the relation holds, no row missing and none twice.
//!
//! `REGAUGE_SINK_ROUNDS` says how often each step is tried; 20 is the attack's figure (docs/reliability.md).

use super::{
    common::{CHANGES_MAX, Dice, Knife, caught_up, exec, open, rows, run, run_cut, sink_id, there},
    server::Server,
};
use regauge_connect::postgres;
use std::{sync::Arc, time::Duration};

fn rounds() -> usize {
    std::env::var("REGAUGE_SINK_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4)
}

async fn change(instance: &regauge_views::Instance, dice: &mut Dice) {
    let (id, who) = (dice.roll(30), dice.roll(5));
    let sql = match dice.roll(4) {
        0 => format!("DELETE FROM orders WHERE id = {id}; INSERT INTO clicks VALUES ('w{who}', {id})"),
        1 => format!("UPDATE orders SET cents = cents + {who} WHERE id % 3 = {}", who % 3),
        _ => format!("INSERT INTO orders VALUES ({id}, 'w{who}', {id}) ON CONFLICT (id) DO UPDATE SET who = 'w{who}'"),
    };
    exec(instance, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_postgres_has_no_gap_and_no_double() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let mut instance = open(dir.path());
    exec(
        &instance,
        "CREATE TABLE orders (id INT PRIMARY KEY, who TEXT, cents BIGINT); CREATE STREAM clicks (who TEXT, n INT);
         CREATE MATERIALIZED VIEW totals AS SELECT who, count(*) AS n, sum(cents) AS cents FROM orders GROUP BY who;
         CREATE MATERIALIZED VIEW pairs AS SELECT a.who FROM orders a JOIN orders b ON a.who = b.who",
    )
    .await;
    let sinks = [("totals", "who, n, cents"), ("pairs", "who"), ("clicks", "who, n")];
    for (of, _) in sinks {
        exec(
            &instance,
            &format!(
                "CREATE SINK s_{of} FROM {of} WITH (connector = 'postgres', host = '127.0.0.1', port = {}, user = 'postgres', database = \
                 'postgres')",
                server.port
            ),
        )
        .await;
    }
    let client = server.client().await;
    let mut dice = Dice(42);
    let (mut killed, mut following) = (0, 0);
    for step in postgres::STEPS {
        for round in 0..rounds() {
            let opening = ["connected", "claiming", "claimed", "answered"].contains(&step) || round % 2 == 0;
            let knife = Arc::new(Knife::default());
            let runner;
            if opening {
                change(&instance, &mut dice).await;
                knife.arm(step, usize::try_from(dice.roll(3)).unwrap());
                runner = run_cut(&instance, knife.clone());
            } else {
                runner = run_cut(&instance, knife.clone());
                for (of, _) in sinks {
                    caught_up(&instance, &format!("s_{of}")).await;
                }
                following += 1;
                knife.arm(step, 0);
            }
            let ids: Vec<u32> = sinks.iter().map(|(of, _)| sink_id(&instance, &format!("s_{of}"))).collect();
            for _ in 0..CHANGES_MAX {
                if ids.iter().any(|id| runner.killed(*id).is_some()) {
                    killed += 1;
                    break;
                }
                change(&instance, &mut dice).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(ids.iter().any(|id| runner.killed(*id) == Some(step)), "never killed at {step}");
            runner.stop().await;
            change(&instance, &mut dice).await;
            if dice.roll(4) == 0 {
                drop(instance);
                instance = open(dir.path());
            }
            let runner = run(&instance);
            for (of, columns) in sinks {
                caught_up(&instance, &format!("s_{of}")).await;
                let (here, there) = if of == "pairs" {
                    let here = rows(&instance, &format!("SELECT {columns}, count(*) FROM {of} GROUP BY {columns}")).await;
                    (here, there(&client, &format!("SELECT {columns}, _regauge_count FROM {of}")).await)
                } else {
                    let here = rows(&instance, &format!("SELECT {columns} FROM {of}")).await;
                    (here, there(&client, &format!("SELECT {columns} FROM {of}")).await)
                };
                assert_eq!(there, here, "{of} after a kill at {step}, round {round}");
            }
            runner.stop().await;
        }
    }
    println!("sink cut points, postgres: kills={killed} while_following={following} gaps=0 doubles=0");
    assert_eq!(killed, postgres::STEPS.len() * rounds());
    assert!(following > 0);
}
