//! Who may do what, judged by PostgreSQL: a matrix of role x verb x object, and random histories of GRANT and REVOKE.
//!
//! Both systems run the same statements as the same roles (SET SESSION AUTHORIZATION) and must answer with the same SQLSTATE; after
//! each step of a history the lists of privileges must be the same text.

use regauge_oracle::postgres::{Server, connect};
use regauge_views::{Config, Instance, Response, Session, SessionOptions};
use tokio_postgres::{Client, SimpleQueryMessage};

struct Both {
    theirs: Client,
    ours: Session,
    _server: Server,
    /// The last one to go would take the views' driver with it.
    _instance: Instance,
    _dir: tempfile::TempDir,
}

impl Both {
    async fn start() -> Both {
        let server = Server::start().await.unwrap();
        let theirs = connect(server.port()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::open(Config::new(dir.path()).workers(1)).unwrap();
        regauge_serve::pg_catalog::install(&instance);
        instance.sinks().register(std::sync::Arc::new(Anything));
        let ours = instance.session(SessionOptions::default()).unwrap();
        Both { theirs, ours, _server: server, _instance: instance, _dir: dir }
    }

    /// SQLSTATE of a statement in PostgreSQL and here.
    async fn codes(&mut self, sql: &str) -> (String, String) {
        let theirs = match self.theirs.simple_query(&as_server(sql)).await {
            Ok(_) => "00000".to_owned(),
            Err(e) => e.code().map_or_else(|| panic!("{sql}: {e}"), |c| c.code().to_owned()),
        };
        (
            theirs,
            match answer(&mut self.ours, sql).await {
                Ok(_) => "00000".to_owned(),
                Err(e) => e.sqlstate.to_owned(),
            },
        )
    }

    /// Statements that must go through in both.
    async fn run(&mut self, statements: &[&str]) {
        for sql in statements {
            assert_eq!(self.codes(sql).await, ("00000".to_owned(), "00000".to_owned()), "{sql}");
        }
    }

    /// A boolean, or the SQLSTATE, in both.
    async fn outcome(&mut self, sql: &str) -> (String, String) {
        let theirs = match self.theirs.simple_query(sql).await {
            Ok(messages) => messages
                .iter()
                .find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None })
                .map_or_else(String::new, |v| if v == "t" { "true".to_owned() } else { "false".to_owned() }),
            Err(e) => e.code().map_or_else(|| panic!("{sql}: {e}"), |c| c.code().to_owned()),
        };
        let ours = match answer(&mut self.ours, sql).await {
            Ok(rows) => rows.first().cloned().unwrap_or_default(),
            Err(e) => e.sqlstate.to_owned(),
        };
        (theirs, ours)
    }

    /// A value in both.
    async fn value(&mut self, sql: &str) -> (String, String) {
        let messages = self.theirs.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let row = messages.iter().find_map(|m| if let SimpleQueryMessage::Row(row) = m { row.get(0) } else { None });
        let theirs = row.unwrap_or_default().replace("postgres", "regauge");
        let ours = answer(&mut self.ours, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        (theirs, ours.first().cloned().unwrap_or_default())
    }
}

/// Takes every sink.
struct Anything;

impl regauge_views::sinks::Connectors for Anything {
    fn judge(
        &self,
        _: &regauge_views::catalog::Relation,
        _: &std::collections::BTreeMap<String, String>,
    ) -> Result<regauge_views::sinks::Judgement, regauge_views::Error> {
        Ok(regauge_views::sinks::Judgement::default())
    }
}

/// PostgreSQL has no secrets. What it has with an owner, USAGE and nothing else, and what is used by making something else, is a foreign
/// server.
fn as_server(sql: &str) -> String {
    let named = sql.replace("ON SECRET", "ON FOREIGN SERVER").replace(" SECRET ", " SERVER ");
    match sql {
        _ if sql.starts_with("CREATE SECRET") => "CREATE SERVER s FOREIGN DATA WRAPPER w".to_owned(),
        _ if sql.starts_with("CREATE SINK") => "CREATE FOREIGN TABLE k (k int) SERVER s".to_owned(),
        _ if sql.starts_with("ALTER SECRET s AS") => "ALTER SERVER s VERSION '2'".to_owned(),
        _ => named,
    }
}

/// The first column of a statement's rows.
async fn answer(session: &mut Session, sql: &str) -> Result<Vec<String>, regauge_views::Error> {
    let mut out = vec![];
    for response in session.execute(sql).await? {
        let Response::Rows(rows) = response else { continue };
        for batch in rows.collect().await? {
            let column = batch.column(0);
            out.extend((0..batch.num_rows()).map(|row| {
                if arrow::array::Array::is_null(column, row) {
                    String::new()
                } else {
                    arrow::util::display::array_value_to_string(column, row).unwrap()
                }
            }));
        }
    }
    Ok(out)
}

/// How a role came to what it has.
const WAYS: [&str; 11] = [
    "owner",
    "owner without its own",
    "granted",
    "granted with option",
    "member",
    "member that does not inherit",
    "member that does not inherit, after SET ROLE",
    "public",
    "none",
    "superuser",
    "revoked",
];

struct Kind {
    word: &'static str,
    create: &'static [&'static str],
    on: &'static str,
    grants: &'static [&'static str],
    verbs: &'static [&'static str],
}

const KINDS: [Kind; 8] = [
    Kind {
        word: "TABLE t",
        create: &["CREATE TABLE t (k int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 2)"],
        on: "t",
        grants: &[
            "SELECT",
            "INSERT",
            "UPDATE",
            "DELETE",
            "TRUNCATE",
            "SELECT, UPDATE",
            "INSERT, SELECT",
            "DELETE, SELECT",
            "ALL",
        ],
        verbs: &[
            "SELECT a FROM t",
            "SELECT count(*) FROM t",
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM t)",
            "WITH x AS (SELECT a FROM t) SELECT 1 FROM x",
            "DECLARE c CURSOR FOR SELECT a FROM t",
            "EXPLAIN SELECT a FROM t",
            "CREATE TABLE made AS SELECT a FROM t",
            "INSERT INTO t VALUES (100, 1)",
            "INSERT INTO t SELECT k + 50, 1 FROM other",
            "INSERT INTO other SELECT k + 50 FROM t",
            "INSERT INTO t VALUES (100, 1) RETURNING a",
            "INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING",
            "INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO NOTHING",
            "INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET a = 7",
            "INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET a = excluded.a",
            "UPDATE t SET a = 1",
            "UPDATE t SET a = a + 1",
            "UPDATE t SET a = 1 WHERE k = 1",
            "UPDATE t SET a = 1 RETURNING k",
            "UPDATE t SET a = (SELECT max(other.k) FROM other)",
            "UPDATE t SET a = other.k FROM other",
            "UPDATE t SET a = other.k FROM other WHERE other.k = t.k",
            "DELETE FROM t",
            "DELETE FROM t WHERE k = 1",
            "DELETE FROM t RETURNING k",
            "DELETE FROM t USING other WHERE other.k = t.k",
            "TRUNCATE t",
            "ALTER TABLE t RENAME TO t2",
            "ALTER TABLE t RENAME COLUMN a TO b",
            "ALTER TABLE t ADD COLUMN z int",
            "ALTER TABLE t OWNER TO nobody",
            "COMMENT ON TABLE t IS 'x'",
            "GRANT SELECT ON t TO nobody",
            "REVOKE SELECT ON t FROM nobody",
            "DROP TABLE t",
        ],
    },
    Kind {
        word: "VIEW v",
        create: &["CREATE TABLE base (k int PRIMARY KEY)", "CREATE VIEW v AS SELECT k FROM base"],
        on: "v",
        grants: &["SELECT", "UPDATE", "ALL"],
        verbs: &[
            "SELECT * FROM v",
            "SELECT * FROM base",
            "CREATE OR REPLACE VIEW v AS SELECT 1 AS k",
            "ALTER VIEW v RENAME TO w",
            "ALTER VIEW v OWNER TO nobody",
            "COMMENT ON VIEW v IS 'x'",
            "GRANT SELECT ON v TO nobody",
            "DROP VIEW v",
        ],
    },
    Kind {
        word: "MATERIALIZED VIEW m",
        create: &["CREATE TABLE base (k int PRIMARY KEY)", "CREATE MATERIALIZED VIEW m AS SELECT k FROM base"],
        on: "m",
        grants: &["SELECT", "DELETE", "ALL"],
        verbs: &[
            "SELECT * FROM m",
            "SELECT * FROM base",
            "REFRESH MATERIALIZED VIEW m",
            "ALTER MATERIALIZED VIEW m RENAME TO w",
            "COMMENT ON MATERIALIZED VIEW m IS 'x'",
            "GRANT SELECT ON m TO nobody",
            "DROP MATERIALIZED VIEW m",
        ],
    },
    Kind {
        word: "SEQUENCE s",
        create: &["CREATE SEQUENCE s"],
        on: "SEQUENCE s",
        grants: &["USAGE", "SELECT", "UPDATE", "ALL"],
        verbs: &[
            "SELECT nextval('s')",
            "SELECT setval('s', 5)",
            "ALTER SEQUENCE s OWNER TO nobody",
            "GRANT USAGE ON SEQUENCE s TO nobody",
            "DROP SEQUENCE s",
        ],
    },
    // Everybody may call it, unless that is taken back.
    Kind {
        word: "FUNCTION f",
        create: &["CREATE FUNCTION f(x int) RETURNS int LANGUAGE SQL IMMUTABLE AS 'SELECT x + 1'"],
        on: "FUNCTION f(int)",
        grants: &["EXECUTE", "ALL"],
        verbs: &[
            "SELECT f(1)",
            "SELECT k FROM other WHERE f(k) > 0",
            "INSERT INTO other VALUES (f(60))",
            "SELECT has_function_privilege('f(integer)', 'execute')",
            "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE SQL AS 'SELECT x + 2'",
            "GRANT EXECUTE ON FUNCTION f(int) TO nobody",
            "REVOKE EXECUTE ON FUNCTION f FROM nobody",
            "ALTER FUNCTION f(int) OWNER TO nobody",
            "DROP FUNCTION f(int)",
        ],
    },
    Kind {
        word: "FUNCTION f, not for everybody",
        create: &[
            "CREATE FUNCTION f(x int) RETURNS int LANGUAGE SQL IMMUTABLE AS 'SELECT x + 1'",
            "REVOKE ALL ON FUNCTION f(int) FROM PUBLIC",
        ],
        on: "FUNCTION f(int)",
        grants: &["EXECUTE", "ALL", "ALL PRIVILEGES"],
        verbs: &[
            "SELECT f(1)",
            "SELECT k FROM other WHERE f(k) > 0",
            "SELECT count(*) FROM other GROUP BY f(k)",
            "INSERT INTO other VALUES (f(60))",
            "UPDATE other SET k = f(k)",
            "DELETE FROM other WHERE f(k) = 0",
            "CREATE TABLE made AS SELECT f(1) AS x",
            "CREATE MATERIALIZED VIEW made AS SELECT f(k) AS x FROM other",
            "CREATE OR REPLACE FUNCTION f(x int) RETURNS int LANGUAGE SQL AS 'SELECT x + 2'",
            "GRANT EXECUTE ON FUNCTION f TO nobody",
            "REVOKE EXECUTE ON ROUTINE f(int) FROM nobody",
            "GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO nobody",
            "ALTER FUNCTION f(int) OWNER TO nobody",
            "DROP FUNCTION f(int)",
        ],
    },
    Kind {
        word: "SECRET s",
        create: &["CREATE SECRET s AS 'value'"],
        on: "SECRET s",
        grants: &["USAGE", "ALL"],
        verbs: &[
            "CREATE SINK k FROM other WITH (connector = 'any', password = SECRET s)",
            "ALTER SECRET s AS 'another'",
            "ALTER SECRET s OWNER TO nobody",
            "GRANT USAGE ON SECRET s TO nobody",
            "GRANT ALL ON SECRET s TO nobody WITH GRANT OPTION",
            "REVOKE USAGE ON SECRET s FROM nobody",
            "DROP SECRET s",
        ],
    },
    Kind {
        word: "SCHEMA x",
        create: &["CREATE TABLE x.inside (k int PRIMARY KEY)", "GRANT ALL ON x.inside TO PUBLIC"],
        on: "SCHEMA x",
        grants: &["USAGE", "CREATE", "ALL"],
        verbs: &[
            "SELECT * FROM x.inside",
            "INSERT INTO x.inside VALUES (1)",
            "CREATE TABLE x.other (k int PRIMARY KEY)",
            "CREATE VIEW x.v AS SELECT 1 AS k",
            "CREATE SEQUENCE x.s",
            "DROP TABLE x.inside",
            "GRANT USAGE ON SCHEMA x TO nobody",
            "ALTER SCHEMA x OWNER TO nobody",
            "DROP SCHEMA x CASCADE",
        ],
    },
];

/// How a role gets privileges on an object of `own`'s, and as whom the verbs are then run.
fn given(way: &str, privileges: &str, on: &str) -> (Vec<String>, Vec<String>) {
    let grant = |to: &str| format!("GRANT {privileges} ON {on} TO {to}");
    let session = |role: &str| vec![format!("SET SESSION AUTHORIZATION {role}")];
    match way {
        "owner" => (vec![], session("own")),
        "owner without its own" => (vec![format!("REVOKE {privileges} ON {on} FROM own")], session("own")),
        "granted" => (vec![grant("granted")], session("granted")),
        "granted with option" => (vec![format!("{} WITH GRANT OPTION", grant("granted"))], session("granted")),
        "member" => (vec![grant("grp")], session("member")),
        "member that does not inherit" => (vec![grant("grp")], session("apart")),
        "member that does not inherit, after SET ROLE" => {
            (vec![grant("grp")], vec!["SET SESSION AUTHORIZATION apart".to_owned(), "SET ROLE grp".to_owned()])
        }
        "public" => (vec![grant("PUBLIC")], session("nobody")),
        "none" => (vec![], session("nobody")),
        "superuser" => (vec![], session("super")),
        _ => (vec![grant("granted"), format!("REVOKE {privileges} ON {on} FROM granted")], session("granted")),
    }
}

const ROLES: [&str; 12] = [
    "CREATE ROLE own LOGIN",
    "CREATE ROLE granted LOGIN",
    "CREATE ROLE grp",
    "CREATE ROLE member LOGIN",
    "CREATE ROLE apart LOGIN NOINHERIT",
    "CREATE ROLE nobody LOGIN",
    "CREATE ROLE super SUPERUSER",
    "GRANT grp TO member",
    "GRANT grp TO apart",
    "CREATE TABLE other (k int PRIMARY KEY)",
    "INSERT INTO other VALUES (1)",
    "GRANT ALL ON other TO PUBLIC",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_what_it_may_in_postgres() {
    let mut both = Both::start().await;
    both.run(&ROLES).await;
    both.run(&["GRANT CREATE ON SCHEMA public TO own, granted, member, nobody, apart, grp"]).await;
    let wrapper = "CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO PUBLIC";
    both.theirs.simple_query(wrapper).await.unwrap();
    let (mut n, mut denied, mut differences) = (0, 0, vec![]);
    for kind in &KINDS {
        for privileges in kind.grants {
            for way in WAYS {
                let superuser = "RESET SESSION AUTHORIZATION";
                let mut setup: Vec<String> = vec![];
                if kind.word.starts_with("SCHEMA") {
                    setup.push("CREATE SCHEMA x AUTHORIZATION own".to_owned());
                }
                setup.push("SET SESSION AUTHORIZATION own".to_owned());
                setup.extend(kind.create.iter().map(|sql| (*sql).to_owned()));
                let (grants, wear) = given(way, privileges, kind.on);
                setup.extend(grants);
                setup.push(superuser.to_owned());
                let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
                both.run(&setup).await;
                for verb in kind.verbs {
                    let wear: Vec<&str> = wear.iter().map(String::as_str).collect();
                    both.run(&wear).await;
                    both.run(&["BEGIN"]).await;
                    let (theirs, ours) = both.codes(verb).await;
                    both.run(&["ROLLBACK", superuser]).await;
                    n += 1;
                    denied += usize::from(theirs == "42501");
                    if theirs != ours {
                        differences
                            .push(format!("{} · {privileges} · {way} · {verb}: PostgreSQL {theirs}, here {ours}", kind.word));
                    }
                }
                let drop: &[&str] = match kind.word {
                    "SCHEMA x" => &["DROP SCHEMA x CASCADE"],
                    "TABLE t" => &["DROP TABLE t"],
                    "SEQUENCE s" => &["DROP SEQUENCE s"],
                    "SECRET s" => &["DROP SECRET s"],
                    word if word.starts_with("FUNCTION f") => &["DROP FUNCTION f"],
                    _ => &["DROP TABLE base CASCADE"],
                };
                both.run(drop).await;
            }
        }
    }
    println!("{n} cases, {denied} denied, {} differ", differences.len());
    assert!(differences.is_empty(), "{} of {n} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(denied > n / 4 && denied < n, "the matrix says both yes and no: {denied} of {n} denied");
}

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        // Knuth's MMIX constants.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Steps of a history.
const STEPS: usize = 500;

const ACLS: [&str; 4] = [
    "SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 't'",
    "SELECT array_to_string(relacl, ' ') FROM pg_class WHERE relname = 's'",
    "SELECT array_to_string(nspacl, ' ') FROM pg_namespace WHERE nspname = 'x'",
    "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 't'",
];

const MEMBERS: &str = "SELECT array_to_string(array_agg(x ORDER BY x), ' ') FROM (SELECT pg_get_userbyid(roleid) || '<' || \
                       pg_get_userbyid(member) || admin_option::text AS x FROM pg_auth_members \
                       WHERE pg_get_userbyid(roleid) IN ('a', 'b', 'c', 'd')) AS m";

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_grants_leave_the_same_lists() {
    let mut both = Both::start().await;
    let roles = ["a", "b", "c", "d"];
    both.run(&[
        "CREATE ROLE a LOGIN",
        "CREATE ROLE b LOGIN",
        "CREATE ROLE c NOINHERIT",
        "CREATE ROLE d CREATEROLE",
        "CREATE TABLE t (k int PRIMARY KEY)",
        "CREATE SEQUENCE s",
        "CREATE SCHEMA x",
        "ALTER TABLE t OWNER TO a",
        "GRANT CREATE ON SCHEMA public TO a, b, c, d",
    ])
    .await;
    let mut chance = Chance(20_261_126);
    let (mut refused, mut history) = (0, vec![]);
    for step in 0..STEPS {
        let actor = chance.one(&["a", "a", "b", "c", "d", "super"]);
        let wear = if actor == "super" {
            "RESET SESSION AUTHORIZATION".to_owned()
        } else {
            format!("SET SESSION AUTHORIZATION {actor}")
        };
        let grantee = chance.one(&["a", "b", "c", "d", "PUBLIC"]);
        let (on, words) = match chance.below(4) {
            0 => ("SEQUENCE s", &["SELECT", "USAGE", "UPDATE", "ALL", "INSERT"][..]),
            1 => ("SCHEMA x", &["USAGE", "CREATE", "ALL", "SELECT"][..]),
            _ => ("t", &["SELECT", "INSERT", "UPDATE, DELETE", "SELECT, TRUNCATE", "ALL", "USAGE"][..]),
        };
        let word = chance.one(words);
        let sql = match chance.below(12) {
            0..=3 => format!("GRANT {word} ON {on} TO {grantee}"),
            4..=5 => format!("GRANT {word} ON {on} TO {grantee} WITH GRANT OPTION"),
            6..=7 => format!("REVOKE {word} ON {on} FROM {grantee}"),
            8 => format!("REVOKE {word} ON {on} FROM {grantee} CASCADE"),
            9 => format!("REVOKE GRANT OPTION FOR {word} ON {on} FROM {grantee}{}", chance.one(&["", " CASCADE"])),
            10 => match chance.below(3) {
                0 => format!("GRANT {} TO {}{}", chance.one(&roles), chance.one(&roles), chance.one(&["", " WITH ADMIN OPTION"])),
                1 => format!("REVOKE {} FROM {}", chance.one(&roles), chance.one(&roles)),
                _ => format!("REVOKE ADMIN OPTION FOR {} FROM {}", chance.one(&roles), chance.one(&roles)),
            },
            _ => format!("ALTER TABLE t OWNER TO {}", chance.one(&roles)),
        };
        both.run(&[&wear]).await;
        let (theirs, ours) = both.codes(&sql).await;
        both.run(&["RESET SESSION AUTHORIZATION"]).await;
        refused += usize::from(theirs != "00000");
        history.push(format!("{actor}: {sql} -- {theirs}"));
        let told = || history[history.len().saturating_sub(12)..].join("\n");
        assert_eq!(ours, theirs, "step {step}, {actor}: {sql}\n{}", told());
        for question in ACLS.iter().chain([&MEMBERS]) {
            let (theirs, ours) = both.value(question).await;
            assert_eq!(sorted(&ours), sorted(&theirs), "step {step}, after {actor}: {sql}\n{question}\n{}", told());
        }
    }
    assert!(refused > STEPS / 10 && refused < STEPS * 9 / 10, "{refused} of {STEPS} were refused");
}

/// Who holds a list's items does not depend on their order.
fn sorted(list: &str) -> Vec<&str> {
    let mut items: Vec<&str> = list.split(' ').collect();
    items.sort_unstable();
    items
}

const FUNCTION_ANSWERS: [&str; 7] = [
    "SELECT has_function_privilege('a', 'f(integer)', 'EXECUTE')",
    "SELECT has_function_privilege('b', 'public.f(int4)', 'execute')",
    "SELECT has_function_privilege('c', 'f(int)', 'EXECUTE WITH GRANT OPTION')",
    "SELECT has_function_privilege('b', 'f(integer)', 'EXECUTE WITH GRANT OPTION')",
    "SELECT has_function_privilege('c', 'f(int)', 'EXECUTE')",
    "SELECT has_function_privilege('a', 'made(integer)', 'EXECUTE')",
    "SELECT has_function_privilege('b', 'lower(text)', 'EXECUTE')",
];

#[tokio::test(flavor = "multi_thread")]
async fn histories_of_grants_on_functions_give_the_same_answers() {
    let mut both = Both::start().await;
    let make = "CREATE FUNCTION f(x int) RETURNS int LANGUAGE SQL AS 'SELECT x'";
    both.run(&[
        "CREATE ROLE a LOGIN",
        "CREATE ROLE b LOGIN",
        "CREATE ROLE c NOINHERIT",
        "GRANT b TO c",
        "GRANT CREATE ON SCHEMA public TO a, b, c",
        "SET SESSION AUTHORIZATION a",
        make,
        "RESET SESSION AUTHORIZATION",
        "CREATE FUNCTION made(x int) RETURNS int LANGUAGE SQL AS 'SELECT x'",
    ])
    .await;
    let mut chance = Chance(7);
    let (mut refused, mut history) = (0, vec![]);
    for step in 0..300 {
        let actor = chance.one(&["a", "a", "b", "c", "super"]);
        let wear = if actor == "super" {
            "RESET SESSION AUTHORIZATION".to_owned()
        } else {
            format!("SET SESSION AUTHORIZATION {actor}")
        };
        let grantee = chance.one(&["a", "b", "c", "PUBLIC"]);
        let of = chance.one(&["f(int)", "f", "made(integer)", "f(int), made(int)"]);
        let sql = match chance.below(12) {
            0..=2 => format!("GRANT EXECUTE ON FUNCTION {of} TO {grantee}{}", chance.one(&["", " WITH GRANT OPTION"])),
            3..=5 => format!(
                "REVOKE {} ON FUNCTION {of} FROM {grantee}{}",
                chance.one(&["EXECUTE", "ALL"]),
                chance.one(&["", " CASCADE"])
            ),
            6 => format!("REVOKE GRANT OPTION FOR ALL ON FUNCTION {of} FROM {grantee} CASCADE"),
            7 => format!("ALTER FUNCTION f(int) OWNER TO {}", chance.one(&["a", "b", "c"])),
            8 => {
                format!("ALTER DEFAULT PRIVILEGES {} EXECUTE ON FUNCTIONS TO_OR_FROM {grantee}", chance.one(&["GRANT", "REVOKE"]))
            }
            9 => "DROP FUNCTION made(int)".to_owned(),
            10 => make.replace("f(x", "made(x"),
            _ => format!("GRANT {} ON FUNCTION f(int) TO {grantee}", chance.one(&["SELECT", "USAGE", "EXECUTE"])),
        };
        let sql = sql.replace("TO_OR_FROM", if sql.contains("REVOKE") { "FROM" } else { "TO" });
        both.run(&[&wear]).await;
        let (theirs, ours) = both.codes(&sql).await;
        both.run(&["RESET SESSION AUTHORIZATION"]).await;
        refused += usize::from(theirs != "00000");
        history.push(format!("{actor}: {sql} -- {theirs}"));
        let told = || history[history.len().saturating_sub(12)..].join("\n");
        assert_eq!(ours, theirs, "step {step}, {actor}: {sql}\n{}", told());
        for question in FUNCTION_ANSWERS {
            let (theirs, ours) = both.outcome(question).await;
            assert_eq!(ours, theirs, "step {step}, after {actor}: {sql}\n{question}\n{}", told());
        }
    }
    assert!(refused > 30 && refused < 270, "{refused} of 300 were refused");
}
