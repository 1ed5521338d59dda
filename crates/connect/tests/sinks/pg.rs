//! PostgreSQL tables as a target, with nobody being killed: SQL, kinds of tables, restarts, errors, fencing.

use super::{
    common::{Dice, caught_up, exec, open, rows, run, status, there, try_exec, until},
    server::Server,
};

fn sink(name: &str, of: &str, server: &Server, more: &str) -> String {
    format!(
        "CREATE SINK {name} FROM {of} WITH (connector = 'postgres', host = '127.0.0.1', port = {}, user = 'postgres', database = \
         'postgres'{more})",
        server.port
    )
}

const SCHEMA: &str = "CREATE TABLE orders (id INT PRIMARY KEY, who TEXT, cents BIGINT, at TIMESTAMPTZ, more JSONB);
    CREATE STREAM clicks (who TEXT, page TEXT) WITH (partitions = 2);
    CREATE TABLE loose (a INT, b TEXT);
    CREATE MATERIALIZED VIEW totals AS SELECT who, count(*) AS n, sum(cents) AS cents FROM orders GROUP BY who;
    CREATE MATERIALIZED VIEW pages AS SELECT page, who FROM clicks WHERE page <> 'hidden'";

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_relation_arrives_and_follows() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(
        &instance,
        "INSERT INTO orders VALUES (1, 'ann', 5, '2026-01-02 03:04:05.6+00', '{\"a\": [1, null]}'), (2, NULL, 7, NULL, NULL),
         (3, E'tab\\tline\\nback\\\\slash', -1, NULL, '\"x\"')",
    )
    .await;
    exec(
        &instance,
        "INSERT INTO clicks VALUES ('ann', '/'), ('ann', '/'), ('bob', 'hidden'); INSERT INTO loose VALUES (1, 'x'), (1, 'x')",
    )
    .await;
    for of in ["orders", "clicks", "loose", "totals", "pages"] {
        exec(&instance, &sink(&format!("s_{of}"), of, &server, &format!(", table = 't_{of}'"))).await;
    }
    let runner = run(&instance);
    let client = server.client().await;
    let compare = async || {
        for (of, columns) in [("orders", "id, who, cents, at, more"), ("clicks", "who, page"), ("totals", "who, n, cents")] {
            caught_up(&instance, &format!("s_{of}")).await;
            let here = rows(&instance, &format!("SELECT {columns} FROM {of}")).await;
            assert_eq!(there(&client, &format!("SELECT {columns} FROM t_{of}")).await, here, "{of}");
        }
        for (of, columns) in [("loose", "a, b"), ("pages", "page, who")] {
            caught_up(&instance, &format!("s_{of}")).await;
            let here = rows(&instance, &format!("SELECT {columns}, count(*) FROM {of} GROUP BY {columns}")).await;
            assert_eq!(there(&client, &format!("SELECT {columns}, _regauge_count FROM t_{of}")).await, here, "{of}");
        }
    };
    compare().await;
    exec(
        &instance,
        "UPDATE orders SET cents = cents + 1; DELETE FROM orders WHERE id = 1; INSERT INTO orders VALUES (4, NULL, 1)",
    )
    .await;
    exec(&instance, "INSERT INTO clicks VALUES ('ann', '/'); DELETE FROM loose WHERE a = 1; INSERT INTO loose VALUES (2, NULL)")
        .await;
    compare().await;
    // The group of NULL comes and goes.
    exec(&instance, "DELETE FROM orders WHERE who IS NULL").await;
    compare().await;
    let shown = rows(&instance, "SHOW SINKS").await;
    assert_eq!(shown.len(), 5);
    assert!(shown[0].contains("|postgres|running|"), "{shown:?}");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_target_is() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let mut instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("s", "totals", &server, "")).await;
    exec(&instance, &sink("c", "clicks", &server, "")).await;
    let client = server.client().await;
    let mut dice = Dice(7);
    for round in 0..5 {
        let runner = run(&instance);
        for _ in 0..5 {
            let (id, who) = (dice.roll(20), dice.roll(4));
            let upsert =
                format!("INSERT INTO orders VALUES ({id}, 'w{who}', {id}) ON CONFLICT (id) DO UPDATE SET who = 'w{who}'");
            exec(&instance, &upsert).await;
            exec(&instance, &format!("DELETE FROM orders WHERE id = {}; INSERT INTO clicks VALUES ('w', '{id}')", dice.roll(20)))
                .await;
        }
        for (name, columns, of) in [("s", "who, n, cents", "totals"), ("c", "who, page", "clicks")] {
            caught_up(&instance, name).await;
            let here = rows(&instance, &format!("SELECT {columns} FROM {of}")).await;
            assert_eq!(there(&client, &format!("SELECT {columns} FROM {of}")).await, here, "{of} round {round}");
        }
        runner.stop().await;
        // More happens while nobody runs the sinks.
        exec(&instance, &format!("INSERT INTO orders VALUES ({}, 'late', 1); INSERT INTO clicks VALUES ('l', 'l')", 100 + round))
            .await;
        drop(instance);
        instance = open(dir.path());
    }
    let taken = there(&client, "SELECT min(incarnation) FROM regauge_sinks").await;
    assert_eq!(taken, ["5"], "each opening takes an incarnation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_goes_on_from_a_checkpoint_is_not_written_twice() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let open = || {
        let mut config = regauge_views::Config::new(dir.path()).workers(2);
        config.checkpoints.enabled = true;
        config.checkpoints.every = std::time::Duration::from_secs(3600);
        let instance = regauge_views::Instance::open(config).unwrap();
        regauge_connect::install(&instance);
        instance
    };
    let mut instance = open();
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("p", "pages", &server, "")).await;
    let client = server.client().await;
    for round in 0..6 {
        let runner = run(&instance);
        exec(&instance, &format!("INSERT INTO clicks VALUES ('a', 'p{round}')")).await;
        caught_up(&instance, "p").await;
        // The checkpoint lies before what the target has when the process goes.
        let taken = instance.clone();
        tokio::task::spawn_blocking(move || taken.checkpoint(std::time::Duration::from_secs(300)).unwrap()).await.unwrap();
        for i in 0..round {
            exec(&instance, &format!("INSERT INTO clicks VALUES ('b', 'p{i}')")).await;
            caught_up(&instance, "p").await;
        }
        runner.stop().await;
        exec(&instance, "INSERT INTO clicks VALUES ('c', 'p0'); INSERT INTO loose VALUES (1)").await;
        exec(&instance, "INSERT INTO clicks VALUES ('c', 'p1')").await;
        drop(instance);
        instance = open();
        let runner = run(&instance);
        caught_up(&instance, "p").await;
        let here = rows(&instance, "SELECT page, who, count(*) FROM pages GROUP BY page, who").await;
        assert_eq!(there(&client, "SELECT page, who, _regauge_count FROM pages").await, here, "round {round}");
        runner.stop().await;
    }
    assert!(instance.checkpoints().enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_away_is_waited_for_and_errors_are_told() {
    let (mut server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("s", "totals", &server, "")).await;
    let runner = run(&instance);
    exec(&instance, "INSERT INTO orders VALUES (1, 'a', 1)").await;
    caught_up(&instance, "s").await;
    server.crash();
    exec(&instance, "INSERT INTO orders VALUES (2, 'b', 1)").await;
    let away = until(&instance, "s", |s| s.n_retries > 1).await;
    assert_eq!(away.state, "retrying");
    assert!(away.error.is_some());
    // Views go on while their target is away.
    assert_eq!(rows(&instance, "SELECT who FROM totals").await, ["a", "b"]);
    server.start().await;
    let back = caught_up(&instance, "s").await;
    assert_eq!(back.error, None);
    let client = server.client().await;
    assert_eq!(there(&client, "SELECT who, n FROM totals").await, ["a|1", "b|1"]);
    // A constraint of the target's own.
    client.batch_execute("ALTER TABLE totals ADD CHECK (who <> 'c')").await.unwrap();
    exec(&instance, "INSERT INTO orders VALUES (3, 'c', 1)").await;
    let refused = until(&instance, "s", |s| s.error.as_ref().is_some_and(|e| e.contains("23514"))).await;
    assert_eq!(refused.state, "retrying");
    client.batch_execute("ALTER TABLE totals DROP CONSTRAINT totals_who_check").await.unwrap();
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who, n FROM totals").await, ["a|1", "b|1", "c|1"]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_resume_takes_the_sink_back() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("s", "totals", &server, "")).await;
    let old = run(&instance);
    exec(&instance, "INSERT INTO orders VALUES (1, 'a', 1)").await;
    caught_up(&instance, "s").await;
    // Another process opens the same sink: it takes the next incarnation.
    let client = server.client().await;
    client.batch_execute("UPDATE regauge_sinks SET incarnation = incarnation + 1").await.unwrap();
    exec(&instance, "INSERT INTO orders VALUES (2, 'b', 1)").await;
    let fenced = until(&instance, "s", |s| s.state == "fenced").await;
    assert!(fenced.error.unwrap().contains("another writer"));
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"], "a zombie has written");
    exec(&instance, "ALTER SINK s RESUME").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a", "b"]);
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_sink_end_with_one() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("s", "totals", &server, "")).await;
    let (one, two) = (run(&instance), run(&instance));
    for id in 0..30 {
        exec(&instance, &format!("INSERT INTO orders VALUES ({id}, 'w{}', 1)", id % 3)).await;
    }
    let client = server.client().await;
    // before that there is no table to read
    until(&instance, "s", |s| s.seen.is_some()).await;
    let all = ["w0|10|10", "w1|10|10", "w2|10|10"];
    for _ in 0..18_000 {
        if there(&client, "SELECT who, n, cents FROM totals").await == all {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(there(&client, "SELECT who, n, cents FROM totals").await, all);
    // each took one; who lost its connection in between took another
    let taken = there(&client, "SELECT incarnation FROM regauge_sinks").await;
    assert!(taken.len() == 1 && taken[0].parse::<u64>().unwrap() >= 2, "{taken:?}");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_resume_replace_and_drop_are_defined() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, &sink("s", "totals", &server, "")).await;
    let runner = run(&instance);
    caught_up(&instance, "s").await;
    exec(&instance, "ALTER SINK s PAUSE").await;
    until(&instance, "s", |s| s.state == "paused").await;
    exec(&instance, "INSERT INTO orders VALUES (1, 'a', 1)").await;
    let client = server.client().await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, [""; 0]);
    exec(&instance, "ALTER SINK s RESUME").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"]);
    // The target's name is fixed, whatever the relation is called later.
    exec(&instance, "ALTER MATERIALIZED VIEW totals RENAME TO sums; INSERT INTO orders VALUES (0, 'z', 1); ALTER SINK s RESUME")
        .await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a", "z"]);
    exec(&instance, "ALTER MATERIALIZED VIEW sums RENAME TO totals; DELETE FROM orders WHERE id = 0").await;
    caught_up(&instance, "s").await;
    // Columns that come are missed there, told, and filled once they are there.
    exec(&instance, &sink("o", "orders", &server, "")).await;
    caught_up(&instance, "o").await;
    exec(&instance, "ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'none'").await;
    until(&instance, "o", |s| s.error.as_ref().is_some_and(|e| e.contains("note"))).await;
    client.batch_execute("ALTER TABLE orders ADD COLUMN note TEXT").await.unwrap();
    caught_up(&instance, "o").await;
    assert_eq!(there(&client, "SELECT id, note FROM orders").await, ["1|none"]);
    // A relation with a sink is not dropped by accident.
    let error = try_exec(&instance, "DROP MATERIALIZED VIEW totals").await.err().unwrap();
    assert_eq!(error.sqlstate, "2BP01");
    assert!(error.detail.unwrap().contains("sink s"));
    exec(&instance, "DROP MATERIALIZED VIEW totals CASCADE").await;
    assert!(!instance.catalog().sinks().any(|s| s.name.name == "s"));
    exec(&instance, "DROP SINK o").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"], "the target keeps what it has");
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_rows_is_not_taken_unasked() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE totals (who text UNIQUE, n bigint, cents numeric); INSERT INTO totals VALUES ('mine')")
        .await
        .unwrap();
    exec(&instance, &sink("s", "totals", &server, "")).await;
    let runner = run(&instance);
    let told = until(&instance, "s", |s| s.error.is_some()).await;
    assert!(told.error.unwrap().contains("holds rows already"));
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["mine"]);
    exec(&instance, "INSERT INTO orders VALUES (1, 'a', 1); ALTER SINK s SET (existing = 'replace')").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"]);
    // A second sink into the same table is refused as well, and takes over if told to.
    exec(&instance, &sink("t", "totals", &server, "")).await;
    until(&instance, "t", |s| s.error.as_ref().is_some_and(|e| e.contains("another sink"))).await;
    exec(&instance, "ALTER SINK t SET (existing = 'replace'); INSERT INTO orders VALUES (2, 'b', 1)").await;
    caught_up(&instance, "t").await;
    exec(&instance, "INSERT INTO orders VALUES (3, 'c', 1)").await;
    until(&instance, "s", |s| s.state == "fenced").await;
    caught_up(&instance, "t").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a", "b", "c"]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_row_fails_stops_at_the_last_good_epoch() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE MATERIALIZED VIEW v AS SELECT id, 100 / n AS r FROM t")
        .await;
    exec(&instance, &sink("s", "v", &server, "")).await;
    let runner = run(&instance);
    exec(&instance, "INSERT INTO t VALUES (1, 10)").await;
    caught_up(&instance, "s").await;
    exec(&instance, "INSERT INTO t VALUES (2, 0)").await;
    until(&instance, "s", |s| s.error.as_ref().is_some_and(|e| e.contains("division by zero"))).await;
    let client = server.client().await;
    assert_eq!(there(&client, "SELECT id, r FROM v").await, ["1|10"]);
    exec(&instance, "UPDATE t SET n = 4 WHERE id = 2").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT id, r FROM v").await, ["1|10", "2|25"]);
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_password_from_a_file_reach_a_server_that_wants_both() {
    let server = Server::secure(include_str!("tls/cert.pem"), include_str!("tls/key.pem")).await;
    let (dir, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let client = server.client().await;
    client.batch_execute("CREATE ROLE app LOGIN PASSWORD 'canary'; GRANT ALL ON SCHEMA public TO app").await.unwrap();
    let (password, ca) = (secrets.path().join("password"), secrets.path().join("ca.pem"));
    std::fs::write(&password, "canary\n").unwrap();
    std::fs::write(&ca, include_str!("tls/ca.pem")).unwrap();
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let options = |host: &str, more: &str| {
        format!(
            "connector = 'postgres', host = '{host}', port = {}, user = 'app', database = 'postgres', password_file = '{}'{more}",
            server.port,
            password.display()
        )
    };
    let secure = format!(", tls = 'require', tls_ca = '{}'", ca.display());
    exec(&instance, &format!("CREATE SINK s FROM totals WITH ({})", options("localhost", &secure))).await;
    // The same by a secret, which an owner other than its maker may use once it was granted.
    exec(&instance, "CREATE SECRET app_password AS 'wrong canary'; CREATE ROLE sue LOGIN; GRANT CREATE ON SCHEMA public TO sue")
        .await;
    exec(&instance, "GRANT SELECT ON totals TO sue; GRANT USAGE ON SECRET app_password TO sue").await;
    let by_secret = options("localhost", &format!("{secure}, table = 'q'"))
        .replace(&format!("password_file = '{}'", password.display()), "password = SECRET app_password");
    exec(&instance, &format!("CREATE SINK named FROM totals WITH ({by_secret})")).await;
    exec(&instance, "ALTER SINK named SET (existing = 'replace')").await;
    // Without TLS the server does not let it in, and by a bundle that does not know the authority it is not trusted.
    exec(&instance, &format!("CREATE SINK open FROM totals WITH ({}, table = 'o')", options("localhost", ""))).await;
    exec(&instance, &format!("CREATE SINK other FROM totals WITH ({}, table = 'p')", options("localhost", ", tls = 'require'")))
        .await;
    let runner = run(&instance);
    exec(&instance, "INSERT INTO orders VALUES (1, 'a', 1)").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"]);
    let wrong = until(&instance, "named", |s| s.error.as_ref().is_some_and(|e| e.contains("28P01"))).await;
    assert!(!format!("{wrong:?}").contains("canary"), "{wrong:?}");
    exec(&instance, "ALTER SECRET app_password AS 'canary'").await;
    caught_up(&instance, "named").await;
    assert_eq!(there(&client, "SELECT who FROM q").await, ["a"]);
    for shown in ["SHOW CREATE SINK named", "SHOW SINKS", "SHOW SECRETS"] {
        let shown = rows(&instance, shown).await.join("\n");
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(rows(&instance, "SHOW CREATE SINK named").await[0].contains("password = SECRET public.app_password"));
    until(&instance, "open", |s| s.error.as_ref().is_some_and(|e| e.contains("28000"))).await;
    until(&instance, "other", |s| s.error.as_ref().is_some_and(|e| e.contains("certificate") || e.contains("tls_ca"))).await;
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_and_secrets_are_kept() {
    let (server, dir) = (Server::new().await, tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    exec(&instance, "CREATE ROLE sue LOGIN; GRANT CREATE ON SCHEMA public TO sue").await;
    let as_sue = |sql: String| {
        let options = regauge_views::SessionOptions { user: "sue".to_owned(), ..Default::default() };
        let mut session = instance.session(options).unwrap();
        async move { session.execute(&sql).await.map(|_| ()) }
    };
    let error = as_sue(sink("s", "totals", &server, "")).await.unwrap_err();
    assert_eq!(error.sqlstate, "42501", "{error:?}");
    exec(&instance, "GRANT SELECT ON totals TO sue").await;
    let error = as_sue(sink("s", "totals", &server, ", password_file = '/etc/hostname'")).await.unwrap_err();
    assert_eq!(error.sqlstate, "42501", "{error:?}");
    let error = try_exec(&instance, &sink("s", "totals", &server, ", password = 'canary'")).await.err().unwrap();
    assert!(!format!("{error:?}").contains("canary"));
    as_sue(sink("s", "totals", &server, "")).await.unwrap();
    let runner = run(&instance);
    caught_up(&instance, "s").await;
    // What is taken back holds no longer.
    exec(&instance, "REVOKE SELECT ON totals FROM sue; INSERT INTO orders VALUES (1, 'a', 1)").await;
    until(&instance, "s", |s| s.error.as_ref().is_some_and(|e| e.contains("permission denied"))).await;
    let client = server.client().await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, [""; 0]);
    let error = try_exec(&instance, "DROP ROLE sue").await.err().unwrap();
    assert!(error.detail.unwrap_or_default().contains("sink s"));
    exec(&instance, "GRANT SELECT ON totals TO sue").await;
    caught_up(&instance, "s").await;
    assert_eq!(there(&client, "SELECT who FROM totals").await, ["a"]);
    let _ = status(&instance, "s");
    runner.stop().await;
}
