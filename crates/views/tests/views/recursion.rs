//! A recursion that goes on and on is an error of its view: other views are served meanwhile, and it ends by itself.

use crate::common::{attempt, code, run, site_with};
use std::time::Duration;

const ENDLESS: &str = "AS WITH RECURSIVE r(n) AS (SELECT i::bigint FROM t UNION SELECT n + 1 FROM r) SELECT n FROM r";

async fn state(s: &mut regauge_views::Session, view: &str) -> String {
    let lines = run(s, "SHOW MATERIALIZED VIEWS").await;
    let line = lines.iter().find(|l| l.split('|').nth(1) == Some(view)).unwrap_or_else(|| panic!("{view}: {lines:?}"));
    line.split('|').nth(3).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_views_are_served_while_a_recursion_goes_on() {
    for workers in [1, 2] {
        let site = site_with(workers);
        let mut s = site.session();
        run(&mut s, "CREATE TABLE t (i INT PRIMARY KEY)").await;
        run(&mut s, "CREATE MATERIALIZED VIEW summed AS SELECT sum(i) AS s FROM t").await;
        run(&mut s, "INSERT INTO t VALUES (1)").await;
        // it would take hours
        let with = "WITH (async, recursion_steps = 2000000000, recursion_rows = 2000000000)";
        run(&mut s, &format!("CREATE MATERIALIZED VIEW endless {with} {ENDLESS}")).await;
        for i in 2..30 {
            run(&mut s, &format!("INSERT INTO t VALUES ({i})")).await;
            assert_eq!(run(&mut s, "SELECT * FROM summed").await, [(i * (i + 1) / 2).to_string()]);
        }
        assert_ne!(state(&mut s, "endless").await, "live", "workers={workers}");
        run(&mut s, "DROP MATERIALIZED VIEW endless").await;
        assert_eq!(run(&mut s, "SELECT * FROM summed").await, ["435"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursion_beyond_its_limits_is_an_error_of_its_view() {
    let site = site_with(2);
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (i INT PRIMARY KEY)").await;
    run(&mut s, &format!("CREATE MATERIALIZED VIEW steps WITH (recursion_steps = 500) {ENDLESS}")).await;
    run(&mut s, &format!("CREATE MATERIALIZED VIEW many WITH (async, recursion_rows = 300) {ENDLESS}")).await;
    assert!(run(&mut s, "SELECT * FROM steps").await.is_empty());
    run(&mut s, "INSERT INTO t VALUES (1)").await;
    let error = attempt(&mut s, "SELECT * FROM steps").await.unwrap_err();
    assert_eq!(error.sqlstate, "RG002");
    assert!(error.to_string().contains("recursion did not end after 500 steps"), "{error}");
    let mut said = String::new();
    for _ in 0..100 {
        match attempt(&mut s, "SELECT * FROM many").await {
            Ok(_) => {}
            Err(error) => {
                said = error.to_string();
                if said.contains("recursion holds more than 300 rows") {
                    break;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(said.contains("recursion holds more than 300 rows"), "{said}");
    // the one heals with its cause, the other must be created anew
    run(&mut s, "DELETE FROM t WHERE i = 1").await;
    assert!(run(&mut s, "SELECT * FROM steps").await.is_empty());
    assert_eq!(code(&mut s, "CREATE MATERIALIZED VIEW v WITH (recursion_rows = 'x') AS SELECT i FROM t").await, "22023");
}
