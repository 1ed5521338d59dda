//! Roles over the Postgres wire: who is let in, as whom, and what it is told.

use crate::common::{Site, code, rows, site, sqlstate};
use tokio_postgres::{Client, NoTls};

async fn login(site: &Site, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = site.config();
    let (client, connection) = config.user(user).password(password).connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn refused(site: &Site, user: &str, password: &str) -> String {
    match login(site, user, password).await {
        Ok(_) => panic!("{user} was let in"),
        Err(error) => sqlstate(&error),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_comes_in_by_its_password_and_by_no_other() {
    let mut site = site().await;
    let root = site.client().await;
    root.batch_execute(
        "CREATE ROLE alice LOGIN PASSWORD 'first'; CREATE ROLE nologin PASSWORD 'x'; CREATE ROLE bare LOGIN; \
         CREATE ROLE late LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'; CREATE ROLE soon LOGIN PASSWORD 'x' VALID UNTIL '2999-01-01'",
    )
    .await
    .unwrap();
    let alice = login(&site, "alice", "first").await.unwrap();
    assert_eq!(rows(&alice, "SELECT current_user || ' ' || session_user").await, ["alice alice"]);
    assert_eq!(rows(&alice, "SHOW is_superuser").await, ["off"]);
    login(&site, "soon", "x").await.unwrap();
    let first = site.password();
    for (user, password) in
        [("alice", "second"), ("alice", ""), ("alice", &first), ("nologin", "x"), ("bare", "x"), ("late", "x"), ("nobody", "x")]
    {
        assert_eq!(refused(&site, user, password).await, "28P01", "{user}");
    }
    // Its own, as psql's \password sends it: the verifier, not the password.
    alice.batch_execute("ALTER ROLE alice PASSWORD 'second'").await.unwrap();
    assert_eq!(refused(&site, "alice", "first").await, "28P01");
    login(&site, "alice", "second").await.unwrap();
    let verifier = rows(&root, "SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'").await.remove(0);
    root.batch_execute(&format!("CREATE USER copy PASSWORD '{verifier}'")).await.unwrap();
    login(&site, "copy", "second").await.unwrap();
    // Nothing of it is lost with the process, and no file holds the password.
    drop((root, alice));
    site.stop.cancel();
    site.serving.take().unwrap().await.unwrap();
    let mut files = vec![site.dir.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|w| w == b"second"), "{} holds the password", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_roles_see_what_each_may() {
    let site = site().await;
    let root = site.client().await;
    root.batch_execute(
        "CREATE ROLE alice LOGIN PASSWORD 'a'; CREATE ROLE bob LOGIN PASSWORD 'b'; GRANT CREATE ON SCHEMA public TO alice",
    )
    .await
    .unwrap();
    let (alice, bob) = (login(&site, "alice", "a").await.unwrap(), login(&site, "bob", "b").await.unwrap());
    for sql in ["CREATE TABLE orders (id int PRIMARY KEY, amount int)", "INSERT INTO orders VALUES (1, 10), (2, 20)"] {
        alice.batch_execute(sql).await.unwrap();
    }
    alice.batch_execute("CREATE MATERIALIZED VIEW total AS SELECT sum(amount) AS n FROM orders").await.unwrap();
    for sql in [
        "SELECT * FROM orders",
        "INSERT INTO orders VALUES (3, 3)",
        "SELECT * FROM total",
        "DROP TABLE orders",
        "COPY orders TO STDOUT",
        "GRANT SELECT ON orders TO bob",
    ] {
        assert_eq!(code(&bob, sql).await, "42501", "{sql}");
    }
    alice.batch_execute("GRANT SELECT ON total TO bob").await.unwrap();
    assert_eq!(rows(&bob, "SELECT n FROM total").await, ["30"]);
    let asked = bob.query_one("SELECT n FROM total WHERE n > $1", &[&1_i64]).await.unwrap();
    assert_eq!(asked.get::<_, i64>(0), 30);
    assert_eq!(rows(&bob, "SELECT relname FROM pg_class WHERE relname IN ('orders', 'total')").await, ["total"]);
    let error = bob.simple_query("SELECT * FROM orders").await.unwrap_err();
    let told = error.as_db_error().unwrap();
    assert_eq!(told.message(), "permission denied for table orders");
    assert!(told.hint().is_some());
    alice.batch_execute("REVOKE SELECT ON total FROM bob").await.unwrap();
    assert_eq!(code(&bob, "SELECT n FROM total").await, "42501");
    assert_eq!(rows(&bob, "SHOW MATERIALIZED VIEWS").await, Vec::<String>::new());
    assert_eq!(code(&root, "DROP ROLE alice").await, "2BP01");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_taken_is_told_to_who_may_read_it() {
    let site = site().await;
    let root = site.client().await;
    root.batch_execute(
        "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (5); CREATE ROLE w LOGIN PASSWORD 'x'; GRANT INSERT ON t TO w",
    )
    .await
    .unwrap();
    let writer = login(&site, "w", "x").await.unwrap();
    for sql in ["INSERT INTO t VALUES (5)", "BEGIN; INSERT INTO t VALUES (5)", "INSERT INTO t VALUES (6), (6)"] {
        let told = |error: tokio_postgres::Error| {
            let error = error.as_db_error().expect("of the server").clone();
            assert_eq!((error.code().code(), error.constraint()), ("23505", Some("t_pkey")), "{sql}");
            error.detail().map(str::to_owned)
        };
        assert_eq!(told(writer.batch_execute(sql).await.unwrap_err()), None, "{sql}");
        assert!(told(root.batch_execute(sql).await.unwrap_err()).is_some_and(|d| d.starts_with("Key (id)=(")), "{sql}");
        for client in [&writer, &root] {
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    }
    root.batch_execute("GRANT SELECT ON t TO w").await.unwrap();
    let error = writer.batch_execute("INSERT INTO t VALUES (5)").await.unwrap_err();
    assert_eq!(error.as_db_error().and_then(|e| e.detail()), Some("Key (id)=(5) already exists."));
}
