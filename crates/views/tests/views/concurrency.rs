//! Many sessions at once.

use crate::common::{attempt, run, site};

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_that_count_lose_no_update() {
    const EACH: usize = 300;
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT)").await;
    run(&mut s, "INSERT INTO t VALUES (1, 0)").await;
    let count = |mut session: regauge_views::Session| async move {
        for _ in 0..EACH {
            run(&mut session, "UPDATE t SET n = n + 1").await;
        }
    };
    let (a, b) = (tokio::spawn(count(site.session())), tokio::spawn(count(site.session())));
    a.await.unwrap();
    b.await.unwrap();
    assert_eq!(run(&mut s, "SELECT n FROM t").await, [(2 * EACH).to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_merge_the_same_keys_lose_no_count() {
    const EACH: usize = 25;
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT)").await;
    // Who is the first to merge a key inserts it; all others must see it, however late they learn of it.
    let count = |mut session: regauge_views::Session| async move {
        for i in 0..EACH {
            let merge = format!(
                "MERGE INTO t USING (VALUES ({}), (1000)) AS s (id) ON t.id = s.id \
                 WHEN MATCHED THEN UPDATE SET n = t.n + 1 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 1)",
                i % 7
            );
            run(&mut session, &merge).await;
        }
    };
    let tasks = [(); 3].map(|()| tokio::spawn(count(site.session())));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(run(&mut s, "SELECT n FROM t WHERE id = 1000").await, [(3 * EACH).to_string()]);
    assert_eq!(run(&mut s, "SELECT count(*), sum(n) FROM t WHERE id < 7").await, [format!("7|{}", 3 * EACH)]);
}

#[tokio::test]
async fn of_two_transactions_that_merge_one_key_the_second_fails() {
    let site = site();
    let (mut a, mut b) = (site.session(), site.session());
    run(&mut a, "CREATE TABLE t (id INT PRIMARY KEY, n INT); INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let merge = |id: i32| {
        format!(
            "MERGE INTO t USING (VALUES ({id})) AS s (id) ON t.id = s.id \
             WHEN MATCHED AND t.n = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET n = 10 WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0)"
        )
    };
    for id in [1, 2] {
        run(&mut a, "BEGIN").await;
        run(&mut b, "BEGIN").await;
        run(&mut a, &merge(id)).await;
        run(&mut b, &merge(id)).await;
        run(&mut a, "COMMIT").await;
        assert_eq!(attempt(&mut b, "COMMIT").await.unwrap_err().sqlstate, "40001", "id={id}");
    }
    assert_eq!(run(&mut a, "SELECT id, n FROM t").await, ["1|10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_insert_one_key_one_succeeds() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE t (id INT PRIMARY KEY, who INT)").await;
    let tasks: Vec<_> = (0..8)
        .map(|who| {
            let mut session = site.session();
            tokio::spawn(async move {
                let mut won = vec![];
                for id in 0..10 {
                    match attempt(&mut session, &format!("INSERT INTO t VALUES ({id}, {who})")).await {
                        Ok(_) => won.push(id),
                        Err(error) => assert_eq!(error.sqlstate, "23505", "{error}"),
                    }
                }
                won
            })
        })
        .collect();
    let mut won = vec![];
    for task in tasks {
        won.extend(task.await.unwrap());
    }
    won.sort_unstable();
    assert_eq!(won, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_keep_the_sum_at_every_read() {
    let site = site();
    let mut s = site.session();
    run(&mut s, "CREATE TABLE account (id INT PRIMARY KEY, n INT)").await;
    run(&mut s, "INSERT INTO account VALUES (0, 100), (1, 100), (2, 100), (3, 100)").await;
    let movers: Vec<_> = (0..3)
        .map(|mover| {
            let mut session = site.session();
            tokio::spawn(async move {
                for i in 0..20 {
                    let (from, to) = ((mover + i) % 4, (mover + i * 3 + 1) % 4);
                    let text = format!("BEGIN; UPDATE account SET n = n - 5 WHERE id = {from}; UPDATE account SET n = n + 5 WHERE id = {to}; COMMIT");
                    if let Err(error) = attempt(&mut session, &text).await {
                        assert_eq!(error.sqlstate, "40001", "{error}");
                        let _ = attempt(&mut session, "ROLLBACK").await;
                    }
                }
            })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(run(&mut s, "SELECT sum(n) FROM account").await, ["400"]);
    }
    for mover in movers {
        mover.await.unwrap();
    }
    assert_eq!(run(&mut s, "SELECT sum(n) FROM account").await, ["400"]);
}
