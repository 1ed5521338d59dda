//! Secrets over sessions: who may make, use and see them, what a transaction leaves, and that no file of the folder has a value in it.
#![allow(clippy::disallowed_methods, reason = "a test looks at the files themselves")]

use crate::common::{Site, attempt, code, run, site, site_with_checkpoints};
use regauge_views::{Config, Instance, Session, SessionOptions, secrets::SecretKey};
use std::path::{Path, PathBuf};

/// What every value here holds.
const CANARY: &str = "xyzzy";

fn session(site: &Site, user: &str) -> Session {
    site.instance().session(SessionOptions { user: user.to_owned(), ..SessionOptions::default() }).unwrap()
}

async fn all(session: &mut Session, statements: &[&str]) {
    for sql in statements {
        run(session, sql).await;
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// Files of the folder that hold the text.
fn holding(dir: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    files(dir).into_iter().filter(|file| holds(&std::fs::read(file).unwrap())).collect()
}

/// How many values are kept.
fn kept(site: &Site) -> usize {
    let dir = site.dir.path().join("secrets");
    std::fs::read_dir(dir).map_or(0, |all| all.filter(|e| e.as_ref().unwrap().file_name() != "key").count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_in_no_file_and_a_dropped_one_is_gone() {
    let mut site = site_with_checkpoints(1);
    let mut root = site.session();
    all(
        &mut root,
        &[
            "CREATE SECRET pg AS 'xyzzy-1'",
            "CREATE SECRET IF NOT EXISTS pg AS 'xyzzy-2'",
            "CREATE SECRET hook AS $$xyzzy-3$$",
            "ALTER SECRET hook AS 'xyzzy-4'",
            "CREATE SCHEMA x",
            "CREATE SECRET x.\"In Side\" AS E'xyzzy-5'",
            "CREATE TABLE t (k int PRIMARY KEY)",
            "INSERT INTO t VALUES (1)",
        ],
    )
    .await;
    assert_eq!(kept(&site), 3);
    assert!(site.instance().checkpoint(std::time::Duration::from_secs(60)).unwrap());
    assert_eq!(holding(site.dir.path(), CANARY), Vec::<PathBuf>::new());
    // The names are there: it is the right folder that was looked through.
    assert!(!holding(site.dir.path(), "In Side").is_empty());
    let listed = ["public|hook|regauge", "public|pg|regauge", "x|In Side|regauge"];
    assert_eq!(run(&mut root, "SHOW SECRETS").await, listed);
    drop(root);
    site.reopen();
    let mut root = site.session();
    assert_eq!(run(&mut root, "SHOW SECRETS").await, listed);
    assert_eq!(code(&mut root, "DROP SECRET hook, nothing").await, "42704");
    all(&mut root, &["DROP SECRET IF EXISTS hook, nothing", "DROP SCHEMA x CASCADE"]).await;
    assert_eq!((kept(&site), run(&mut root, "SHOW SECRETS").await), (1, vec!["public|pg|regauge".to_owned()]));
    assert_eq!(holding(site.dir.path(), CANARY), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rolled_back_leaves_nothing_and_a_crash_leaves_nothing_for_long() {
    let mut site = site();
    let mut root = site.session();
    all(&mut root, &["BEGIN", "CREATE SECRET a AS 'xyzzy'", "SAVEPOINT s", "CREATE SECRET b AS 'xyzzy'", "ROLLBACK TO s"]).await;
    assert_eq!(run(&mut root, "DROP SECRET IF EXISTS b").await, ["DROP SECRET"]);
    assert_eq!(kept(&site), 0);
    run(&mut root, "ROLLBACK").await;
    assert_eq!(kept(&site), 0);
    all(&mut root, &["BEGIN", "CREATE SECRET a AS 'xyzzy 1'", "ALTER SECRET a AS 'xyzzy 2'", "COMMIT"]).await;
    assert_eq!(kept(&site), 1);
    all(&mut root, &["BEGIN", "ALTER SECRET a AS 'xyzzy 3'", "DROP SECRET a", "ROLLBACK"]).await;
    assert_eq!(kept(&site), 1);
    // Of two that create one name, one is told so, and its value is gone.
    let mut other = site.session();
    all(&mut other, &["BEGIN", "CREATE SECRET c AS 'xyzzy'"]).await;
    run(&mut root, "CREATE SECRET c AS 'xyzzy'").await;
    assert_eq!(code(&mut other, "COMMIT").await, "40001");
    assert_eq!(kept(&site), 2);
    // A file that a crash left between its writing and its commit.
    std::fs::write(site.dir.path().join("secrets").join("0".repeat(32)), b"left over").unwrap();
    drop((root, other));
    site.reopen();
    assert_eq!(kept(&site), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_private_and_without_it_nothing_is_told_or_lost() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = site();
    run(&mut site.session(), "CREATE SECRET a AS 'xyzzy'").await;
    let dir = site.dir.path().join("secrets");
    for file in files(&dir) {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    site.instance = None;
    std::fs::rename(dir.join("key"), site.dir.path().join("away")).unwrap();
    site.reopen();
    let mut root = site.session();
    // Another key is not made behind the back of who has values under the first.
    let error = attempt(&mut root, "CREATE SECRET b AS 'xyzzy'").await.expect_err("no key");
    assert!(error.sqlstate == "42704" && error.hint.as_ref().is_some_and(|h| h.contains("secrets/key")), "{error:?}");
    assert!(!format!("{error:?}").contains(CANARY));
    assert_eq!(run(&mut root, "SHOW SECRETS").await, ["public|a|regauge"]);
    drop(root);
    site.instance = None;
    // A key that is given takes its place, for values of its own.
    let given = SecretKey::parse(&"ab".repeat(32)).unwrap();
    assert!(SecretKey::parse("ab").is_none() && SecretKey::parse(&"zz".repeat(32)).is_none());
    let mut config = Config::new(site.dir.path()).workers(1);
    config.secret_key = Some(given);
    let instance = Instance::open(config).unwrap();
    let mut root = instance.session(SessionOptions::default()).unwrap();
    run(&mut root, "CREATE SECRET b AS 'xyzzy'").await;
    assert!(!dir.join("key").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_have_owners_and_one_privilege() {
    let site = site();
    let mut root = site.session();
    all(
        &mut root,
        &[
            "CREATE ROLE own LOGIN",
            "CREATE ROLE uses LOGIN",
            "CREATE ROLE idle LOGIN",
            "GRANT CREATE ON SCHEMA public TO own",
            "CREATE SCHEMA x",
        ],
    )
    .await;
    let (mut own, mut uses, mut none) = (session(&site, "own"), session(&site, "uses"), session(&site, "idle"));
    run(&mut own, "CREATE SECRET s AS 'xyzzy'").await;
    assert_eq!(code(&mut own, "CREATE SECRET x.s AS 'xyzzy'").await, "42501");
    assert_eq!(code(&mut own, "CREATE SECRET s AS 'xyzzy'").await, "42710");
    assert_eq!(code(&mut own, "CREATE SECRET nowhere.s AS 'xyzzy'").await, "3F000");
    run(&mut own, "GRANT USAGE ON SECRET s TO uses").await;
    assert_eq!(run(&mut uses, "SHOW SECRETS").await, ["public|s|own"]);
    assert_eq!(run(&mut none, "SHOW SECRETS").await, Vec::<String>::new());
    for other in [&mut uses, &mut none] {
        for sql in ["ALTER SECRET s AS 'xyzzy'", "DROP SECRET s", "ALTER SECRET s OWNER TO idle"] {
            let error = attempt(other, sql).await.expect_err(sql);
            assert!(error.sqlstate == "42501" && !format!("{error:?}").contains(CANARY), "{sql}: {error:?}");
        }
    }
    // Who has it without the option grants nothing by it, as in PostgreSQL.
    run(&mut uses, "GRANT USAGE ON SECRET s TO idle").await;
    assert_eq!(code(&mut none, "GRANT USAGE ON SECRET s TO idle").await, "42501");
    assert_eq!(run(&mut none, "SHOW SECRETS").await, Vec::<String>::new());
    assert_eq!(code(&mut own, "GRANT SELECT ON SECRET s TO idle").await, "0LP01");
    assert_eq!(code(&mut own, "GRANT USAGE ON SECRET nothing TO idle").await, "42704");
    run(&mut root, "ALTER SECRET s OWNER TO idle").await;
    run(&mut none, "ALTER SECRET s AS 'xyzzy new'").await;
    assert_eq!(code(&mut own, "DROP SECRET s").await, "42501");
    let detail = attempt(&mut root, "DROP ROLE idle").await.expect_err("it owns one").detail.unwrap();
    assert!(detail.contains("owner of secret s"), "{detail}");
    run(&mut root, "DROP OWNED BY idle").await;
    assert_eq!((kept(&site), run(&mut root, "SHOW SECRETS").await), (0, vec![]));
    // One that comes later under the name begins anew.
    run(&mut root, "CREATE SECRET s AS 'xyzzy'").await;
    assert_eq!(run(&mut uses, "SHOW SECRETS").await, Vec::<String>::new());
    assert_eq!(code(&mut root, "BEGIN READ ONLY; CREATE SECRET t AS 'xyzzy'").await, "25006");
    run(&mut root, "ROLLBACK").await;
    let long = format!("CREATE SECRET t AS '{}'", "x".repeat(70_000));
    assert_eq!(code(&mut root, &long).await, "54000");
}
