//! What a role is shown: nothing of what it has no right on, whatever it asks; and what it has is told as PostgreSQL tells it.

use crate::common::{attempt, lines, run};
use regauge_views::{Config, Instance, Response, Session, SessionOptions};

struct House {
    _dir: tempfile::TempDir,
    instance: Instance,
}

impl House {
    async fn new() -> (House, Session) {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path()).workers(1);
        // a machine may be slow
        config.limits.causal_timeout = std::time::Duration::from_secs(120);
        let instance = Instance::open(config).unwrap();
        regauge_serve::pg_catalog::install(&instance);
        let house = House { _dir: dir, instance };
        let root = house.session("regauge");
        (house, root)
    }

    fn session(&self, user: &str) -> Session {
        self.instance.session(SessionOptions { user: user.to_owned(), ..SessionOptions::default() }).unwrap()
    }
}

/// Everything here is called or holds `plover`.
const HIDDEN: [&str; 14] = [
    "CREATE ROLE eve LOGIN",
    "CREATE ROLE bob LOGIN PASSWORD 'plover-password'",
    "CREATE SCHEMA plover_schema",
    "CREATE TABLE plover_schema.plover_inside (plover_k int PRIMARY KEY)",
    "CREATE TABLE plover (plover_id serial PRIMARY KEY, plover_text text DEFAULT 'plover', CONSTRAINT plover_check CHECK (plover_text <> 'x'))",
    "COMMENT ON TABLE plover IS 'plover'",
    "INSERT INTO plover (plover_text) VALUES ('plover-value')",
    "CREATE STREAM plover_stream (plover_at timestamptz, WATERMARK FOR plover_at AS plover_at - INTERVAL '1 second')",
    "CREATE VIEW plover_view AS SELECT plover_text AS t FROM plover",
    "CREATE MATERIALIZED VIEW plover_made WITH (on_error = 'divert') AS SELECT CAST(plover_text AS bigint) AS n FROM plover",
    "CREATE MATERIALIZED VIEW plover_failing AS SELECT CAST(plover_text AS bigint) AS n FROM plover",
    "CREATE SEQUENCE plover_sequence",
    "CREATE SECRET plover_secret AS 'wumpus-value'",
    "ALTER SECRET plover_secret AS 'wumpus-value-again'",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_system_relation_tells_a_role_of_what_it_has_no_right_on() {
    let (house, mut root) = House::new().await;
    for sql in HIDDEN {
        if let Err(error) = attempt(&mut root, sql).await {
            assert!(sql.contains("plover_failing") && error.sqlstate == "RG002", "{sql}: {error}");
        }
    }
    let names = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname IN ('pg_catalog', 'information_schema', 'regauge')";
    let relations = run(&mut root, names).await;
    assert!(relations.len() > 80, "{}", relations.len());
    let mut eve = house.session("eve");
    let (mut shown, mut refused) = (0, vec![]);
    for relation in &relations {
        let told = run(&mut root, &format!("SELECT * FROM {relation}")).await.join("\n");
        shown += usize::from(told.contains("plover"));
        // The value of a secret is told to nobody.
        assert!(!told.contains("wumpus"), "{relation} tells:\n{told}");
        match attempt(&mut eve, &format!("SELECT * FROM {relation}")).await {
            Ok(rows) => {
                // Names of roles are told to everybody, as in PostgreSQL; none is called so.
                assert!(!rows.join("\n").contains("plover"), "{relation} tells:\n{}", rows.join("\n"));
            }
            Err(error) => {
                assert_eq!(error.sqlstate, "42501", "{relation}: {error}");
                refused.push(relation.clone());
            }
        }
    }
    refused.sort();
    assert_eq!(refused, ["pg_catalog.pg_authid", "pg_catalog.pg_shadow"]);
    assert!(shown > 20, "the first superuser is told of it in {shown} relations");
    for sql in
        ["SHOW TABLES", "SHOW STREAMS", "SHOW VIEWS", "SHOW MATERIALIZED VIEWS", "SHOW OBJECTS", "SHOW SECRETS", "SHOW ALL"]
    {
        assert!(!run(&mut eve, sql).await.join("\n").contains("plover"), "{sql}");
    }
    let events = run(&mut root, "SELECT body FROM regauge.catalog_events").await.join("\n");
    assert!(events.contains("\"verifier\":\"..\"") && !events.contains("SCRAM-SHA-256") && !events.contains("plover-password"));
    let kept = run(&mut root, "SELECT rolpassword FROM pg_authid WHERE rolname = 'bob'").await;
    assert!(kept[0].starts_with("SCRAM-SHA-256$4096:"), "{kept:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_a_view_is_not_told_how_it_is_made_nor_which_row_failed() {
    let (house, mut root) = House::new().await;
    for sql in HIDDEN {
        let _ = attempt(&mut root, sql).await;
    }
    for sql in ["GRANT SELECT ON plover_view, plover_failing, plover_made TO eve", "GRANT USAGE ON SCHEMA plover_schema TO eve"] {
        run(&mut root, sql).await;
    }
    let mut eve = house.session("eve");
    assert_eq!(run(&mut eve, "SELECT * FROM plover_view").await, ["plover-value"]);
    let error = attempt(&mut eve, "SELECT * FROM plover_failing").await.expect_err("a row fails");
    let text = format!("{error:?}");
    assert!(error.sqlstate == "RG002" && !text.contains("plover-value") && !text.contains("invalid input"), "{text}");
    let told = attempt(&mut root, "SELECT * FROM plover_failing").await.expect_err("a row fails");
    assert!(told.to_string().contains("plover-value"), "{told}");
    for sql in [
        "SELECT definition FROM pg_views WHERE viewname = 'plover_view'",
        "SELECT pg_get_viewdef('plover_view')",
        "SELECT view_definition FROM information_schema.views WHERE table_name = 'plover_view'",
        "SELECT definition FROM regauge.views WHERE name = 'plover_view'",
        "SELECT definition FROM regauge.versions WHERE view = 'plover_failing'",
        "SELECT fingerprint FROM regauge.versions WHERE view = 'plover_failing'",
    ] {
        assert_eq!(run(&mut eve, sql).await, ["NULL"], "{sql}");
        assert_ne!(run(&mut root, sql).await, ["NULL"], "{sql}");
    }
    assert_eq!(run(&mut eve, "SELECT * FROM regauge.errors").await, Vec::<String>::new());
    assert_eq!(run(&mut eve, "SELECT * FROM regauge.operators").await, Vec::<String>::new());
    let error = run(&mut eve, "SELECT error FROM regauge.views WHERE name = 'plover_failing'").await;
    assert!(!error[0].contains("plover-value") && !error[0].contains("invalid"), "{error:?}");
    for (sql, sqlstate) in [
        ("EXPLAIN SELECT * FROM plover_view", "42501"),
        ("EXPLAIN MATERIALIZED VIEW plover_made", "42501"),
        ("SHOW CREATE VIEW plover_view", "42501"),
        ("SELECT * FROM plover_made_errors", "42501"),
        ("SELECT * FROM regauge_errors.plover_made", "42501"),
        ("SELECT * FROM plover_schema.plover_inside", "42501"),
        ("DESCRIBE plover", "42501"),
        ("SUBSCRIBE TO plover", "42501"),
        ("ADVANCE WATERMARK FOR plover_stream TO TIMESTAMPTZ '2026-01-01 00:00:00Z'", "42501"),
        ("COPY plover TO STDOUT", "42501"),
        ("COPY plover FROM STDIN", "42501"),
        ("CREATE VIEW mine AS SELECT * FROM plover", "42501"),
        ("CREATE MATERIALIZED VIEW mine AS SELECT * FROM plover", "42501"),
    ] {
        assert_eq!(attempt(&mut eve, sql).await.expect_err(sql).sqlstate, sqlstate, "{sql}");
    }
    // What a statement would be answered with is not told either.
    for sql in ["SELECT * FROM plover", "INSERT INTO plover VALUES ($1)", "UPDATE plover SET plover_text = $1"] {
        assert_eq!(eve.prepare(sql, &[]).await.expect_err(sql).sqlstate, "42501", "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_asked_about_in_the_words_of_postgres() {
    let (house, mut root) = House::new().await;
    for sql in [
        "CREATE ROLE grp",
        "CREATE ROLE alice LOGIN",
        "GRANT grp TO alice WITH ADMIN OPTION",
        "CREATE TABLE t (k int PRIMARY KEY)",
        "CREATE SEQUENCE s",
        "GRANT SELECT ON t TO grp WITH GRANT OPTION",
        "GRANT USAGE ON SEQUENCE s TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO grp",
        "CREATE TABLE later (k int PRIMARY KEY)",
    ] {
        run(&mut root, sql).await;
    }
    for (sql, answer) in [
        ("SELECT has_table_privilege('alice', 't', 'SELECT')", "true"),
        ("SELECT has_table_privilege('alice', 't', 'SELECT WITH GRANT OPTION')", "true"),
        ("SELECT has_table_privilege('alice', 't', 'INSERT')", "false"),
        ("SELECT has_table_privilege('alice', 't', 'INSERT, SELECT')", "true"),
        ("SELECT has_table_privilege('alice', 'pg_class', 'SELECT')", "true"),
        ("SELECT has_sequence_privilege('alice', 's', 'USAGE')", "true"),
        ("SELECT has_sequence_privilege('alice', 's', 'UPDATE')", "false"),
        ("SELECT has_schema_privilege('alice', 'public', 'USAGE')", "true"),
        ("SELECT has_schema_privilege('alice', 'public', 'CREATE')", "false"),
        ("SELECT has_database_privilege('alice', 'regauge', 'CONNECT')", "true"),
        ("SELECT has_database_privilege('alice', 'regauge', 'CREATE')", "false"),
        ("SELECT pg_has_role('alice', 'grp', 'MEMBER')", "true"),
        ("SELECT pg_has_role('grp', 'alice', 'USAGE')", "false"),
        ("SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 't'", "regauge=arwdDxt/regauge grp=r*/regauge"),
        ("SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 'later'", "regauge=arwdDxt/regauge grp=r/regauge"),
        ("SELECT array_to_string(nspacl, ' ') FROM pg_namespace WHERE nspname = 'public'", "regauge=UC/regauge =U/regauge"),
        ("SELECT array_to_string(defaclacl, ' ') FROM pg_default_acl", "regauge=arwdDxt/regauge grp=r/regauge"),
        ("SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper", "alice"),
        ("SELECT admin_option FROM pg_auth_members", "true"),
        (
            "SELECT grantee || ' ' || privilege_type || ' ' || is_grantable FROM information_schema.role_table_grants \
             WHERE table_name = 't' AND grantee = 'grp'",
            "grp SELECT YES",
        ),
    ] {
        assert_eq!(run(&mut root, sql).await, [answer], "{sql}");
    }
    let mut alice = house.session("alice");
    for (sql, answer) in [
        ("SELECT current_user", "alice"),
        ("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'", "2"),
        ("SELECT count(*) FROM information_schema.table_privileges WHERE table_name = 't'", "1"),
        ("SHOW is_superuser", "off"),
    ] {
        assert_eq!(run(&mut alice, sql).await, [answer], "{sql}");
    }
    run(&mut alice, "SET ROLE grp").await;
    assert_eq!(run(&mut alice, "SELECT current_user || ' ' || session_user").await, ["grp alice"]);
    run(&mut alice, "RESET ROLE").await;
    assert_eq!(attempt(&mut alice, "SET ROLE regauge").await.expect_err("no member").sqlstate, "42501");
    assert_eq!(attempt(&mut alice, "SET ROLE nobody").await.expect_err("no role").sqlstate, "22023");
    assert_eq!(attempt(&mut alice, "SET SESSION AUTHORIZATION regauge").await.expect_err("no superuser").sqlstate, "42501");
    let Response::Rows(rows) = alice.execute("SELECT * FROM t").await.unwrap().pop().unwrap() else { panic!("rows") };
    assert_eq!(lines(&rows.collect().await.unwrap()), Vec::<String>::new());
}
