//! The catalogue as clients ask for it: psql's `\d` family, and SQLAlchemy's inspector over psycopg.

use crate::server::{Server, shown, start, text};
use std::{
    io::Write,
    process::{Output, Stdio},
};

const SETUP: &str = "CREATE TABLE friends (user_id bigint, friend_id bigint, note varchar(20) DEFAULT 'x', weight numeric(10,2), \
                     PRIMARY KEY (user_id, friend_id)); \
                     CREATE STREAM messages (sender bigint NOT NULL, body text, sent_at timestamptz); \
                     CREATE VIEW v AS SELECT sender, count(*) AS n FROM messages GROUP BY sender; \
                     CREATE MATERIALIZED VIEW mv AS SELECT sender, count(*) AS n FROM messages GROUP BY sender;";

fn psql(server: &Server, script: &str) -> Output {
    let mut child = server
        .client("psql")
        .args(["-X", "-q", "-P", "footer=off"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot run psql: `cargo xtask test` installs it, or install the package postgresql-client");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Lines without blanks at their ends.
fn trimmed(output: &Output) -> String {
    text(&output.stdout).lines().map(str::trim_end).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn psql_describes_relations_as_it_does_on_postgres() {
    let server = start();
    let made = psql(&server, SETUP);
    assert!(made.status.success() && made.stderr.is_empty(), "{}", shown(&made));
    let list = psql(&server, "\\d\n\\di\n");
    let expected = "                List of relations
 Schema |   Name   |       Type        |  Owner
--------+----------+-------------------+---------
 public | friends  | table             | regauge
 public | messages | table             | regauge
 public | mv       | materialized view | regauge
 public | v        | view              | regauge
                 List of relations
 Schema |     Name     | Type  |  Owner  |  Table
--------+--------------+-------+---------+---------
 public | friends_pkey | index | regauge | friends";
    assert_eq!(trimmed(&list), expected, "{}", shown(&list));
    let table = psql(&server, "\\d friends\n");
    let expected = "                       Table \"public.friends\"
  Column   |         Type          | Collation | Nullable | Default
-----------+-----------------------+-----------+----------+---------
 user_id   | bigint                |           | not null |
 friend_id | bigint                |           | not null |
 note      | character varying(20) |           |          | 'x'
 weight    | numeric(10,2)         |           |          |
Indexes:
    \"friends_pkey\" PRIMARY KEY, btree (user_id, friend_id)";
    assert_eq!(trimmed(&table), expected, "{}", shown(&table));
    let view = psql(&server, "\\d+ mv\n");
    assert!(
        trimmed(&view).contains("View definition:\n SELECT sender, count(*) AS n FROM messages GROUP BY sender;"),
        "{}",
        shown(&view)
    );
}

#[test]
fn psql_shows_rules_sequences_comments_and_schemas() {
    let server = start();
    let made = psql(
        &server,
        "CREATE SCHEMA sales; CREATE TABLE orders (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n INT CHECK (n > 0), s SERIAL, \
         twice INT GENERATED ALWAYS AS (n * 2) STORED); \
         COMMENT ON TABLE orders IS 'what was sold'; COMMENT ON COLUMN orders.n IS 'how many'; \
         CREATE VIEW sales.v AS SELECT n FROM orders; ALTER TABLE orders RENAME TO sold;",
    );
    assert!(made.status.success() && made.stderr.is_empty(), "{}", shown(&made));
    let table = psql(&server, "\\d+ sold\n");
    for part in [
        "generated always as identity",
        "nextval('orders_s_seq'::regclass)",
        "generated always as (n * 2) stored",
        "how many",
        "Check constraints:\n    \"orders_n_check\" CHECK (n > 0)",
    ] {
        assert!(trimmed(&table).contains(part), "{part}\n{}", shown(&table));
    }
    let listed = psql(&server, "\\dn\n\\ds\n\\dt+\n\\d+ sales.v\n");
    for part in ["sales", "orders_id_seq | sequence", "orders_s_seq  | sequence", "what was sold", "FROM sold AS orders"] {
        assert!(trimmed(&listed).contains(part), "{part}\n{}", shown(&listed));
    }
}

#[test]
fn no_command_of_psqls_d_family_fails() {
    let server = start();
    assert!(psql(&server, SETUP).status.success());
    let commands = [
        "d+",
        "dt",
        "dt+",
        "dv",
        "dv+",
        "dm",
        "dm+",
        "di+",
        "dn",
        "dn+",
        "df",
        "df+",
        "du",
        "du+",
        "dg",
        "l",
        "l+",
        "d+ friends",
        "d v",
        "d+ v",
        "d mv",
        "d f*",
        "d messages",
        "d pg_class",
        "d information_schema.columns",
        "d regauge.versions",
        "dp",
        "dT",
        "dT+",
        "ds",
        "dx",
        "db",
        "dD",
        "dC",
        "dS",
        "dy",
        "do",
        "da",
        "dE",
        "dO",
        "dc",
        "dAc",
        "dP",
        "drds",
        "des",
        "dew",
        "dL",
        "dF",
        "ddp",
        "dRp",
        "dconfig",
        "dX",
        "sv v",
    ];
    let script: String = commands.iter().map(|c| format!("\\{c}\n")).collect();
    let output = psql(&server, &script);
    assert!(output.status.success(), "{}", shown(&output));
    // `\dRp` and its like say on standard error that they found nothing; what failed says ERROR.
    assert!(!text(&output.stderr).contains("ERROR"), "{}", text(&output.stderr));
}

#[test]
fn sqlalchemy_reflects_what_there_is() {
    let server = start();
    let made = psql(&server, SETUP);
    assert!(made.status.success(), "{}", shown(&made));
    crate::python::run(&server, "sqlalchemy_catalog.py");
}
