//! Webhooks as a target: a receiver that tells repetitions by their key has the relation, whatever was killed and whatever it refused.

use super::common::{CHANGES_MAX, Dice, Knife, caught_up, exec, open, rows, run, run_cut, sink_id, until};
use parking_lot::Mutex;
use regauge_connect::http;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Default)]
struct Received {
    /// Bodies by key.
    bodies: HashMap<String, String>,
    /// Keys in the order of their first coming.
    order: Vec<String>,
    repeated: usize,
    authorization: Option<String>,
}

struct Receiver {
    port: u16,
    received: Arc<Mutex<Received>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers most of the time; refuses, or takes a request and hangs up without an answer, now and then.
async fn receiver(unruly: u64) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let received = Arc::new(Mutex::new(Received::default()));
    let shared = received.clone();
    let task = tokio::spawn(async move {
        let mut dice = Dice(9);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mood = if unruly == 0 { 9 } else { dice.roll(unruly) };
            tokio::spawn(one(stream, mood, shared.clone()));
        }
    });
    Receiver { port, received, task }
}

async fn one(mut stream: TcpStream, mood: u64, received: Arc<Mutex<Received>>) {
    let mut bytes = vec![];
    let mut part = [0; 4096];
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
        match stream.read(&mut part).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&part[..n]),
            _ => return,
        }
    };
    if mood == 0 {
        let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nnot now").await;
        return;
    }
    let key = head.lines().find_map(|l| l.strip_prefix("idempotency-key: ")).unwrap().to_owned();
    {
        let mut received = received.lock();
        received.authorization = head.lines().find_map(|l| l.strip_prefix("authorization: ")).map(str::to_owned);
        match received.bodies.get(&key) {
            Some(before) => {
                assert_eq!(*before, body, "one key, two bodies");
                received.repeated += 1;
            }
            None => {
                received.bodies.insert(key.clone(), body);
                received.order.push(key);
            }
        }
    }
    if mood != 1 {
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    }
}

/// What a receiver makes of it.
fn folded(received: &Received) -> Vec<String> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    let mut last = (0, 0);
    for key in &received.order {
        let body: serde_json::Value = serde_json::from_str(&received.bodies[key]).unwrap();
        let (epoch, part) = (body["epoch"].as_u64().unwrap(), body["part"].as_u64().unwrap());
        assert!((epoch, part) > last || epoch == last.0 && part == 0, "out of order: {key}");
        last = (epoch, part);
        if body["snapshot"] == true && part == 0 {
            sums.clear();
        }
        for row in body["rows"].as_array().unwrap() {
            let cells = row["row"].as_object().unwrap();
            let cell = |v: &serde_json::Value| match v {
                serde_json::Value::Null => "NULL".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let columns = ["who", "n"].map(|c| cell(&cells[c])).join("|");
            *sums.entry(columns).or_default() += row["diff"].as_i64().unwrap();
        }
    }
    assert!(sums.values().all(|n| *n >= 0), "a row is there less than never: {sums:?}");
    sums.into_iter().flat_map(|(row, n)| std::iter::repeat_n(row, usize::try_from(n).unwrap())).collect()
}

const SCHEMA: &str = "CREATE TABLE orders (id INT PRIMARY KEY, who TEXT, cents BIGINT); CREATE STREAM clicks (who TEXT, n INT);
    CREATE MATERIALIZED VIEW totals AS SELECT who, count(*) AS n FROM orders GROUP BY who";

async fn change(instance: &regauge_views::Instance, dice: &mut Dice) {
    let (id, who) = (dice.roll(30), dice.roll(5));
    let sql = match dice.roll(3) {
        0 => format!("DELETE FROM orders WHERE id = {id}; INSERT INTO clicks VALUES ('w{who}', {id})"),
        _ => format!("INSERT INTO orders VALUES ({id}, 'w{who}', {id}) ON CONFLICT (id) DO UPDATE SET who = 'w{who}'"),
    };
    exec(instance, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_and_refused_at_random_nothing_is_left_out() {
    let rounds: usize = std::env::var("REGAUGE_SINK_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let dir = tempfile::tempdir().unwrap();
    let mut instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let (totals, clicks) = (receiver(8).await, receiver(8).await);
    let all = [("totals", &totals), ("clicks", &clicks)];
    for (of, to) in all {
        let options = format!("connector = 'http', url = 'http://127.0.0.1:{}/hook', batch_rows = 2", to.port);
        exec(&instance, &format!("CREATE SINK s_{of} FROM {of} WITH ({options})")).await;
    }
    let mut dice = Dice(77);
    let mut killed = 0;
    for step in http::STEPS {
        for round in 0..rounds {
            let knife = Arc::new(Knife::default());
            change(&instance, &mut dice).await;
            let opening = ["loaded", "claimed"].contains(&step) || round % 2 == 0;
            if opening {
                knife.arm(step, usize::try_from(dice.roll(2)).unwrap());
            }
            let runner = run_cut(&instance, knife.clone());
            if !opening {
                for (of, _) in all {
                    caught_up(&instance, &format!("s_{of}")).await;
                }
                knife.arm(step, 0);
            }
            let ids: Vec<u32> = all.iter().map(|(of, _)| sink_id(&instance, &format!("s_{of}"))).collect();
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
            change(&instance, &mut dice).await;
            if dice.roll(4) == 0 {
                drop(instance);
                instance = open(dir.path());
            }
            let runner = run(&instance);
            for (of, to) in all {
                caught_up(&instance, &format!("s_{of}")).await;
                let here = rows(&instance, &format!("SELECT who, n FROM {of}")).await;
                assert_eq!(folded(&to.received.lock()), here, "{of} after a kill at {step}, round {round}");
            }
            runner.stop().await;
        }
    }
    let repeated = totals.received.lock().repeated + clicks.received.lock().repeated;
    println!("sink cut points, http: kills={killed} repeated_requests={repeated} left_out=0");
    assert!(repeated > 0, "nothing was ever repeated: the receiver was too kind");
    // Of a stream every record comes by itself: it is never sent whole again.
    let whole = |r: &Received| r.bodies.values().filter(|b| b.contains("\"snapshot\":true")).count();
    let first = clicks.received.lock().order.first().cloned().unwrap();
    let later = clicks
        .received
        .lock()
        .bodies
        .iter()
        .filter(|(k, b)| b.contains("\"snapshot\":true") && k.rsplit('/').nth(1) != first.rsplit('/').nth(1))
        .count();
    assert!(whole(&clicks.received.lock()) > 0 && later == 0, "a stream was sent whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_a_file_and_a_refusal_is_told() {
    let (dir, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let to = receiver(0).await;
    let file = secrets.path().join("token");
    let sql = format!(
        "CREATE SINK s FROM totals WITH (connector = 'http', url = 'http://127.0.0.1:{}/', bearer_file = '{}')",
        to.port,
        file.display()
    );
    exec(&instance, &sql).await;
    let runner = run(&instance);
    until(&instance, "s", |s| s.error.as_ref().is_some_and(|e| e.contains("bearer_file"))).await;
    std::fs::write(&file, "canary-token\n").unwrap();
    caught_up(&instance, "s").await;
    assert_eq!(to.received.lock().authorization.as_deref(), Some("Bearer canary-token"));
    for shown in ["SHOW CREATE SINK s", "SHOW SINKS"] {
        assert!(!rows(&instance, shown).await.join("").contains("canary"), "{shown}");
    }
    runner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_and_a_token_may_be_secrets_of_who_may_use_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut instance = open(dir.path());
    exec(&instance, SCHEMA).await;
    let to = receiver(0).await;
    exec(
        &instance,
        &format!("CREATE SECRET place AS 'http://127.0.0.1:{}/xyzzy-path'; CREATE SECRET token AS 'xyzzy-token'", to.port),
    )
    .await;
    exec(&instance, "CREATE ROLE sue LOGIN; GRANT CREATE ON SCHEMA public TO sue; GRANT SELECT ON totals TO sue").await;
    let as_sue = |instance: &regauge_views::Instance| {
        let options = regauge_views::SessionOptions { user: "sue".to_owned(), ..Default::default() };
        instance.session(options).unwrap()
    };
    let sql = "CREATE SINK s FROM totals WITH (connector = 'http', url = SECRET place, bearer = SECRET token)";
    let refused = as_sue(&instance).execute(sql).await.map(drop).unwrap_err();
    assert_eq!((refused.sqlstate, refused.message.as_str()), ("42501", "permission denied for secret token"));
    exec(&instance, "GRANT USAGE ON SECRET place, token TO sue").await;
    as_sue(&instance).execute(sql).await.map(drop).unwrap();
    for (wrong, sqlstate) in [
        ("CREATE SINK w FROM totals WITH (connector = 'http', url = SECRET nothing)", "42704"),
        ("CREATE SINK w FROM totals WITH (connector = 'http', url = SECRET a.b.c.d)", "42601"),
        ("CREATE SINK w FROM totals WITH (connector = 'http', url = 'http://h/', batch_rows = SECRET token)", "22023"),
        ("CREATE SINK w FROM totals WITH (connector = 'http', url = 'http://h/', bearer = 'xyzzy')", "22023"),
        (
            "CREATE SINK w FROM totals WITH (connector = 'http', url = 'http://h/', bearer = SECRET token, bearer_env = 'X')",
            "22023",
        ),
        ("DROP SECRET token", "2BP01"),
    ] {
        let error = super::common::try_exec(&instance, wrong).await.map(drop).expect_err(wrong);
        assert_eq!(error.sqlstate, sqlstate, "{wrong}: {error}");
        assert!(!format!("{error:?}").contains("xyzzy"), "{error:?}");
    }
    let runner = run(&instance);
    caught_up(&instance, "s").await;
    assert_eq!(to.received.lock().authorization.as_deref(), Some("Bearer xyzzy-token"));
    // What is taken back holds no longer.
    exec(&instance, "REVOKE USAGE ON SECRET token FROM sue; INSERT INTO orders VALUES (1, 'a', 1)").await;
    let stuck =
        until(&instance, "s", |s| s.error.as_ref().is_some_and(|e| e.contains("permission denied for secret token"))).await;
    assert!(!format!("{stuck:?}").contains("xyzzy"));
    exec(&instance, "GRANT USAGE ON SECRET token TO sue; ALTER SECRET token AS 'xyzzy-new'").await;
    caught_up(&instance, "s").await;
    assert_eq!(to.received.lock().authorization.as_deref(), Some("Bearer xyzzy-new"));
    let shown = rows(&instance, "SHOW CREATE SINK s").await.join("\n");
    assert!(shown.contains("url = SECRET public.place") && !shown.contains("xyzzy"), "{shown}");
    // It is kept, and what SHOW CREATE says makes the same sink.
    runner.stop().await;
    drop(instance);
    instance = open(dir.path());
    exec(&instance, "DROP SINK s").await;
    let create = shown.split_once('|').unwrap().1.to_owned();
    exec(&instance, &create).await;
    assert_eq!(rows(&instance, "SHOW CREATE SINK s").await.join("\n"), shown);
    exec(&instance, "DROP SECRET place, token CASCADE").await;
    assert_eq!(rows(&instance, "SHOW SINKS").await, Vec::<String>::new());
}
