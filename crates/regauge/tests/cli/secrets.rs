//! A secret's value is looked for everywhere that a server can put it: its log at the finest level, every file of the folder, every answer
//! of its relations, errors, and what `regauge inspect` prints.

use crate::server::Server;
use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const CANARY: &str = "xyzzy-plugh";

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

fn tells(text: &[u8]) -> bool {
    text.windows(CANARY.len()).any(|w| w == CANARY.as_bytes())
}

#[test]
fn a_server_tells_the_value_of_a_secret_nowhere() {
    let (dir, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, key) = (aside.path().join("log"), aside.path().join("key"));
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regauge"));
        command.args(["serve", "--pg-port", "0", "--http-port", "0", "--checkpoint-every-ms", "50", "--data"]).arg(dir.path());
        command.arg("--secret-key-file").arg(&key).env("RUST_LOG", "trace").stderr(Stdio::piped());
        command
    };
    // A key that others can read is none.
    let refused = command().stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("can be read by others"), "{said}");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::spawn_logged(command(), |_| dir.path().to_owned(), &log);
    let mut answers: Vec<String> = vec![];
    let mut told = |sql: &str| {
        let (_, body) = server.post("/v1/sql", &[], serde_json::json!({ "sql": sql }).to_string().as_bytes()).unwrap();
        answers.push(format!("{sql:.20}: {body}"));
        body
    };
    let create = format!("CREATE SECRET s AS '{CANARY}'");
    assert!(told(&create).to_string().contains("CREATE SECRET"));
    // Mistakes, of the text and of the moment.
    for sql in [
        create.clone(),
        format!("CREATE SECRET t AS '{CANARY}"),
        format!("CREATE SECRET t AS {CANARY}"),
        format!("CREATE SECRET t AS 'it's {CANARY}'"),
        format!("CREATE SECRET no.t AS '{CANARY}'"),
        format!("ALTER SECRET nothing AS '{CANARY}'"),
        format!("EXPLAIN CREATE SECRET t AS '{CANARY}'"),
        format!("PREPARE p AS CREATE SECRET t AS '{CANARY}'"),
        format!("CREATE TABLE k (a int); CREATE SECRET t AS '{CANARY}'; SELECT 1 / 0"),
        format!("BEGIN; CREATE SECRET t AS '{CANARY}'; ROLLBACK"),
    ] {
        told(&sql);
    }
    told("CREATE TABLE o (k int PRIMARY KEY); INSERT INTO o VALUES (1)");
    // Nobody listens there: the sink tries and fails, and says so in the log.
    told("CREATE SINK k FROM o WITH (connector = 'http', url = 'http://127.0.0.1:9/', bearer = SECRET s)");
    told(
        "CREATE SINK k2 FROM o WITH (connector = 'postgres', host = '127.0.0.1', port = 9, user = 'u', database = 'd', password = SECRET s)",
    );
    told(&format!("ALTER SECRET s AS '{CANARY} two'"));
    let sinks = std::time::Instant::now();
    while !server.sql("SELECT count(error)::text FROM regauge.sinks").to_string().contains('2') {
        assert!(sinks.elapsed().as_secs() < 60, "the sinks never failed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut told = |sql: &str| {
        let (_, body) = server.post("/v1/sql", &[], serde_json::json!({ "sql": sql }).to_string().as_bytes()).unwrap();
        answers.push(format!("{sql}: {body}"));
        body
    };
    let names = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname IN ('pg_catalog', 'information_schema', 'regauge')";
    let relations = told(names);
    let relations: Vec<String> =
        relations["results"][0]["rows"].as_array().unwrap().iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
    assert!(relations.len() > 80, "{}", relations.len());
    for relation in &relations {
        told(&format!("SELECT * FROM {relation}"));
    }
    for sql in ["SHOW SECRETS", "SHOW SINKS", "SHOW CREATE SINK k", "SHOW ALL", "SHOW OBJECTS"] {
        told(sql);
    }
    let inspected =
        Command::new(env!("CARGO_BIN_EXE_regauge")).args(["inspect", "catalog", "--data"]).arg(dir.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("secret s"), "{}", String::from_utf8_lossy(&inspected.stdout));
    assert!(!tells(&inspected.stdout));
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(server.stop(), Some(0));
    for answer in &answers {
        assert!(!tells(answer.as_bytes()), "{answer}");
    }
    assert!(answers.iter().any(|a| a.contains("\"public\",\"s\",\"regauge\"")), "it is listed by name");
    let all = files(dir.path());
    assert!(all.iter().any(|f| f.parent().is_some_and(|p| p.ends_with("secrets"))), "its value is kept");
    assert!(!dir.path().join("secrets/key").exists(), "the key is elsewhere");
    for file in all {
        assert!(!tells(&std::fs::read(&file).unwrap()), "{} has it", file.display());
    }
    let log = std::fs::read(&log).unwrap();
    assert!(log.len() > 1000, "the log was written: {} bytes", log.len());
    assert!(!tells(&log), "the log tells");
}
