//! The statement layer: each form is read into what it means, or refused.

use arrow::datatypes::{DataType, TimeUnit};
use regauge_plan::parse::{Copy, CreateTable, MergeAction, ObjectKind, Overriding, Subscribe, Watermark};
use regauge_plan::{Datum, ParseLimits, PlanError, RelationName, Statement, constant, parse};

fn all(sql: &str) -> Result<Vec<Statement>, PlanError> {
    parse(sql, &ParseLimits::default())
}

fn one(sql: &str) -> Statement {
    let mut s = all(sql).unwrap_or_else(|e| panic!("{sql}: {e} [{:?}]", e.hint()));
    assert_eq!(s.len(), 1, "{sql}");
    s.remove(0)
}

fn table(sql: &str) -> CreateTable {
    match one(sql) {
        Statement::CreateTable(t) => *t,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_table_has_typed_columns_and_a_key() {
    let t = table(
        "CREATE TABLE IF NOT EXISTS public.Friends (user_id BIGINT, \"Friend\" INT NOT NULL DEFAULT 7, note VARCHAR(9), n NUMERIC(10,2), PRIMARY KEY (user_id, \"Friend\"))",
    );
    let name = RelationName { schema: Some("public".to_owned()), ..RelationName::bare("friends") };
    assert_eq!((t.name, t.if_not_exists, t.stream), (name, true, false));
    assert_eq!(t.primary_key, [0, 1]);
    let names: Vec<_> = t.columns.iter().map(|c| (c.name.as_str(), c.not_null)).collect();
    assert_eq!(names, [("user_id", true), ("Friend", true), ("note", false), ("n", false)]);
    assert_eq!((t.columns[2].chars_max, &t.columns[3].ty), (Some(9), &DataType::Decimal128(10, 2)));
    let default = constant(t.columns[1].default.as_ref().unwrap(), &DataType::Int32).unwrap();
    assert_eq!(default.datum, Datum::Int(7));
}

#[test]
fn a_stream_has_a_watermark_and_partitions() {
    let t = table(
        "CREATE STREAM messages (sender BIGINT, body TEXT, sent_at TIMESTAMPTZ, WATERMARK FOR sent_at AS sent_at - INTERVAL '5 seconds') PARTITION BY (sender) WITH (partitions = 8)",
    );
    assert!(t.stream && t.primary_key.is_empty());
    assert_eq!(t.watermark, Some(Watermark { column: 2, delay_us: 5_000_000 }));
    assert_eq!(t.partition_by, [0]);
    assert_eq!(t.options, [("partitions".to_owned(), "8".to_owned())]);
    assert_eq!(t.columns[2].ty, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert!(table("CREATE TABLE s (a INT) APPEND ONLY").stream);
}

#[test]
fn a_view_has_options_columns_and_its_query() {
    let Statement::CreateView(v) =
        one("CREATE MATERIALIZED VIEW IF NOT EXISTS v (x) WITH (async, on_error = 'divert') AS SELECT a FROM t")
    else {
        panic!()
    };
    assert!(v.materialized && v.if_not_exists);
    assert_eq!(v.columns, ["x"]);
    assert_eq!(v.options, [("async".to_owned(), "true".to_owned()), ("on_error".to_owned(), "divert".to_owned())]);
    assert_eq!(v.query_sql, "SELECT a FROM t");
}

#[test]
fn changes_are_read() {
    let Statement::Insert(i) = one(
        "INSERT INTO t AS x (a, b) VALUES (1, DEFAULT) ON CONFLICT (a) DO UPDATE SET b = excluded.b WHERE x.b > 1 RETURNING a, b AS c",
    ) else {
        panic!()
    };
    assert_eq!((i.columns.len(), i.returning.len(), i.alias.as_deref()), (2, 2, Some("x")));
    let c = i.on_conflict.unwrap();
    assert_eq!((c.columns, c.update.unwrap().0.len()), (vec!["a".to_owned()], 1));
    let Statement::Update(u) = one("UPDATE t SET n = n + 1, m = DEFAULT WHERE id = 3 RETURNING *") else { panic!() };
    assert!(u.assignments[0].value.is_some() && u.assignments[1].value.is_none());
    let Statement::Delete(d) = one("DELETE FROM t AS x WHERE x.id = 3") else { panic!() };
    assert_eq!(d.alias.as_deref(), Some("x"));
    assert!(matches!(one("INSERT INTO t SELECT * FROM u ON CONFLICT DO NOTHING"), Statement::Insert(_)));
}

#[test]
fn merge_is_read_with_all_its_clauses() {
    let merge = |sql| match one(sql) {
        Statement::Merge(m) => *m,
        other => panic!("{other:?}"),
    };
    let m = merge(
        "MERGE INTO s.t AS x USING u ON x.a = u.a \
         WHEN MATCHED AND u.b IS DISTINCT FROM 1 OR u.c THEN UPDATE SET b = u.b, c = DEFAULT WHEN MATCHED THEN DELETE \
         WHEN NOT MATCHED AND u.b > 1 THEN INSERT (a, b) OVERRIDING USER VALUE VALUES (u.a, DEFAULT) \
         WHEN NOT MATCHED AND u.b > 0 THEN DO NOTHING WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    );
    assert_eq!((m.name(), m.source_name.as_str(), m.table.schema.as_deref()), ("x", "u", Some("s")));
    assert_eq!(m.clauses.iter().map(|c| c.matched).collect::<Vec<_>>(), [true, true, false, false, false]);
    assert_eq!(m.clauses[0].expressions().count(), 2);
    assert_eq!(m.clauses[0].condition.as_ref().unwrap().to_string(), "u.b IS DISTINCT FROM 1 OR u.c");
    let MergeAction::Insert { columns, overriding, values } = &m.clauses[2].action else { panic!() };
    assert_eq!((columns.len(), *overriding, values.as_ref().map(Vec::len)), (2, Some(Overriding::User), Some(2)));
    assert_eq!(m.clauses[3].action, MergeAction::Nothing);
    assert!(matches!(&m.clauses[4].action, MergeAction::Insert { values: None, .. }));
    let Statement::With(with) =
        one("WITH u AS (SELECT 1 AS a), merge AS (SELECT 2) MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE")
    else {
        panic!()
    };
    assert_eq!((with.parts.len(), matches!(with.body, Statement::Merge(_))), (2, true));
    // The word is a name elsewhere.
    assert!(matches!(one("WITH merge AS (SELECT 1 AS merge) SELECT merge FROM merge"), Statement::Query(_)));
    for (sql, sqlstate) in [
        ("MERGE t USING u ON true WHEN MATCHED THEN DELETE", "42601"),
        ("MERGE INTO t USING (SELECT 1) ON true WHEN MATCHED THEN DELETE", "42601"),
        ("MERGE INTO t USING u JOIN v ON u.a = v.a ON true WHEN MATCHED THEN DELETE", "0A000"),
        ("MERGE INTO t USING u ON true WHEN NOT MATCHED BY SOURCE THEN DELETE", "42601"),
        ("MERGE INTO t USING u ON true WHEN NOT MATCHED THEN UPDATE SET a = 1", "42601"),
        ("MERGE INTO t USING u ON true WHEN NOT MATCHED THEN INSERT VALUES (1), (2)", "42601"),
    ] {
        assert_eq!(parse(sql, &ParseLimits::default()).unwrap_err().sqlstate(), sqlstate, "{sql}");
    }
}

#[test]
fn copy_reads_both_forms_of_options() {
    let copy = |sql| match one(sql) {
        Statement::Copy(c) => *c,
        other => panic!("{other:?}"),
    };
    let text = copy("COPY t FROM STDIN");
    assert_eq!((text.csv, text.delimiter, text.null.as_str()), (false, '\t', "\\N"));
    let csv = Copy {
        table: RelationName::bare("t"),
        columns: vec!["a".into(), "b".into()],
        csv: true,
        binary: false,
        header: true,
        delimiter: ';',
        null: "-".into(),
        quote: '"',
        on_error: None,
    };
    assert_eq!(copy("COPY t (a, b) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL '-')"), csv);
    assert_eq!(copy("COPY t (a, b) FROM STDIN WITH CSV HEADER DELIMITER AS ';' NULL '-'"), csv);
    for sql in ["COPY t FROM STDIN (FORMAT binary)", "COPY t FROM STDIN WITH (FORMAT 'binary')", "COPY t FROM STDIN BINARY"] {
        let binary = copy(sql);
        assert!(binary.binary && !binary.csv, "{sql}");
    }
}

#[test]
fn a_limit_stands_before_a_locking_clause_or_behind_it() {
    for (before, behind) in [
        ("SELECT a FROM t LIMIT 1 FOR UPDATE SKIP LOCKED", "SELECT a FROM t FOR UPDATE SKIP LOCKED LIMIT 1"),
        (
            "SELECT a FROM t ORDER BY a LIMIT 1 + 1 OFFSET (2) FOR UPDATE OF t NOWAIT; SELECT 1",
            "SELECT a FROM t ORDER BY a FOR NO KEY UPDATE OF t NOWAIT LIMIT 1 + 1 OFFSET (2); SELECT 1",
        ),
        (
            "UPDATE t SET a = 1 WHERE b = (SELECT b FROM t FETCH FIRST 2 ROWS ONLY FOR SHARE FOR UPDATE OF t) RETURNING a",
            "UPDATE t SET a = 1 WHERE b = (SELECT b FROM t FOR KEY SHARE FOR UPDATE OF t FETCH FIRST 2 ROWS ONLY) RETURNING a",
        ),
        (
            "INSERT INTO u SELECT a FROM t LIMIT 1 FOR UPDATE ON CONFLICT DO NOTHING",
            "INSERT INTO u SELECT a FROM t FOR UPDATE LIMIT 1 ON CONFLICT DO NOTHING",
        ),
    ] {
        assert_eq!(all(before).expect(before), all(behind).expect(behind), "{behind}");
    }
    assert!(all("SELECT a FROM t LIMIT 1 FOR UPDATE LIMIT 2").is_err());
}

#[test]
fn session_statements_are_read() {
    assert_eq!(one("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"), Statement::Begin { read_only: Some(true) });
    assert_eq!(one("START TRANSACTION"), Statement::Begin { read_only: None });
    assert_eq!(one("BEGIN READ WRITE"), Statement::Begin { read_only: Some(false) });
    assert_eq!(one("END"), Statement::Commit);
    assert_eq!(one("ABORT WORK"), Statement::Rollback);
    let name = || "a".to_owned();
    assert_eq!(one("SAVEPOINT a"), Statement::Savepoint { name: name() });
    assert_eq!(one("RELEASE SAVEPOINT A"), Statement::Release { name: name() });
    assert_eq!(one("RELEASE a"), Statement::Release { name: name() });
    assert_eq!(one("ROLLBACK TO a"), Statement::RollbackTo { name: name() });
    assert_eq!(one("ROLLBACK WORK TO SAVEPOINT a"), Statement::RollbackTo { name: name() });
    assert_eq!(one("SHOW MATERIALIZED VIEWS"), Statement::ShowObjects { kind: ObjectKind::MaterializedView });
    assert_eq!(one("SHOW regauge.token"), Statement::Show { name: "regauge.token".into() });
    let set = |local, name: &str, value: Option<&str>| Statement::Set { local, name: name.into(), value: value.map(Into::into) };
    assert_eq!(one("SET LOCAL regauge.user = 'u42'"), set(true, "regauge.user", Some("u42")));
    assert_eq!(one("SET search_path TO a, public"), set(false, "search_path", Some("a, public")));
    assert_eq!(one("SET TIME ZONE 'UTC'"), set(false, "timezone", Some("UTC")));
    assert_eq!(one("SET extra_float_digits = DEFAULT"), set(false, "extra_float_digits", None));
    let level = Some("repeatable read");
    let lasting = one("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED");
    assert_eq!(lasting, set(false, "default_transaction_isolation", level));
    assert_eq!(one("SET TRANSACTION READ ONLY"), set(true, "transaction_read_only", Some("on")));
    let lasting = one("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE");
    assert_eq!(lasting, set(false, "default_transaction_read_only", Some("off")));
    assert_eq!(one("DISCARD SEQUENCES"), Statement::DiscardSequences);
    assert_eq!(one("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"), set(true, "transaction_isolation", level));
    assert_eq!(one("RESET ALL"), Statement::Reset { name: None });
    assert_eq!(one("DEALLOCATE ALL"), Statement::Deallocate { name: None });
    assert_eq!(one("LISTEN News"), Statement::Listen { channel: "news".into() });
    assert_eq!(one("UNLISTEN \"News\""), Statement::Unlisten { channel: Some("News".into()) });
    assert_eq!(one("UNLISTEN *"), Statement::Unlisten { channel: None });
    assert_eq!(one("NOTIFY news"), Statement::Notify { channel: "news".into(), payload: String::new() });
    assert_eq!(one("NOTIFY news, 'it''s'"), Statement::Notify { channel: "news".into(), payload: "it's".into() });
    assert_eq!(one("DISCARD ALL"), Statement::Discard);
    assert_eq!(one("FLUSH"), Statement::Flush);
    assert_eq!(
        one("DESCRIBE v@2"),
        Statement::Describe { name: RelationName { schema: None, name: "v".into(), version: Some(2) } }
    );
    assert_eq!(
        one("EXPLAIN ANALYZE MATERIALIZED VIEW v"),
        Statement::ExplainView { name: RelationName::bare("v"), analyze: true }
    );
    let after = Subscribe { name: RelationName::bare("v"), snapshot: false, progress: true, after: Some("tok".into()) };
    assert_eq!(one("SUBSCRIBE TO v WITH (progress) AFTER 'tok'"), Statement::Subscribe(after));
    let drop = Statement::Drop {
        kind: ObjectKind::View,
        names: vec![RelationName::bare("a"), RelationName::bare("b")],
        if_exists: true,
        cascade: true,
    };
    assert_eq!(one("DROP VIEW IF EXISTS a, b CASCADE"), drop);
    assert_eq!(all(" ; SELECT 1;; SELECT 2 ;").unwrap().len(), 2);
    assert_eq!(all("-- nothing").unwrap().len(), 0);
}

#[test]
fn other_statements_are_refused_with_what_to_write_instead() {
    let table = [
        ("BEGIN ISOLATION LEVEL SERIALIZABLE", "0A000", "REPEATABLE READ"),
        ("CREATE STREAM t (a INT PRIMARY KEY)", "0A000", "table"),
        ("CREATE TABLE t (a INT PRIMARY KEY, a INT)", "42701", ""),
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT, PRIMARY KEY (b))", "42P16", ""),
        ("CREATE TABLE t (a MONEY PRIMARY KEY)", "0A000", "jsonb"),
        ("CREATE TABLE t (a NUMERIC(50, 2) PRIMARY KEY)", "0A000", "precision"),
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT UNIQUE)", "0A000", ""),
        ("CREATE TABLE t (a INT PRIMARY KEY, _op INT)", "42939", "another"),
        ("CREATE TEMP TABLE t (a INT)", "0A000", "ordinary table"),
        ("CREATE TABLE t (a INT GENERATED ALWAYS AS (1))", "42601", ""),
        ("CREATE TABLE t (a TEXT GENERATED ALWAYS AS IDENTITY)", "22023", ""),
        ("CREATE TABLE t (a SERIAL DEFAULT 1)", "42601", "one of"),
        ("CREATE UNIQUE INDEX i ON t (a)", "0A000", "primary key"),
        ("ALTER TABLE t ALTER COLUMN b TYPE INT", "0A000", "SET DEFAULT"),
        ("ALTER VIEW t ADD COLUMN b INT", "0A000", "CREATE OR REPLACE"),
        ("CREATE VIEW v AS SELECT 1 EMIT FINAL", "0A000", "CREATE MATERIALIZED VIEW"),
        ("ADVANCE WATERMARK FOR s", "42601", ""),
        ("ADVANCE WATERMARK FOR s PARTITION -1 TO '2026-01-01'", "42601", ""),
        ("COPY t TO '/tmp/t'", "0A000", "STDOUT"),
        ("DECLARE c BINARY CURSOR FOR SELECT 1", "0A000", "protocol"),
        ("FETCH ABSOLUTE FROM c", "42601", ""),
        ("FETCH - FROM c", "42601", ""),
        ("FETCH 1.5 FROM c", "42601", ""),
        ("PREPARE p AS CREATE TABLE t (a INT)", "42601", ""),
        ("COPY t FROM '/etc/passwd'", "0A000", "STDIN"),
        ("INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", "42601", "ON CONFLICT (id)"),
        ("SELECT 1 SELECT 2", "42601", ""),
        ("HELLO", "42601", ""),
        ("LISTEN", "42601", ""),
        ("NOTIFY news 'x'", "42601", ""),
        ("COPY t FROM STDIN (FORMAT binary, DELIMITER ',')", "42601", ""),
        ("COPY t FROM STDIN (FORMAT binary, HEADER)", "0A000", ""),
        ("COPY t FROM STDIN (FORMAT parquet)", "0A000", "binary"),
        ("SELECT 'abc", "42601", ""),
    ];
    for (sql, sqlstate, hint) in table {
        let e = all(sql).expect_err(sql);
        assert_eq!(e.sqlstate(), sqlstate, "{sql}: {e}");
        assert!(e.hint().unwrap_or_default().contains(hint), "{sql}: {e} {:?}", e.hint());
    }
}

#[test]
fn a_fetch_says_where_the_cursor_goes() {
    use regauge_plan::parse::Direction::{self, Absolute, Backward, Forward, Relative};
    let table: [(&str, Direction); 18] = [
        ("c", Forward(Some(1))),
        ("FROM c", Forward(Some(1))),
        ("NEXT c", Forward(Some(1))),
        ("PRIOR IN c", Backward(Some(1))),
        ("FIRST FROM c", Absolute(1)),
        ("LAST c", Absolute(-1)),
        ("ABSOLUTE -3 c", Absolute(-3)),
        ("RELATIVE 0 FROM c", Relative(0)),
        ("RELATIVE -2 c", Relative(-2)),
        ("7 c", Forward(Some(7))),
        ("-7 c", Backward(Some(7))),
        ("0 c", Relative(0)),
        ("ALL c", Forward(None)),
        ("FORWARD c", Forward(Some(1))),
        ("FORWARD ALL FROM c", Forward(None)),
        ("BACKWARD c", Backward(Some(1))),
        ("BACKWARD -2 c", Forward(Some(2))),
        ("BACKWARD ALL FROM c", Backward(None)),
    ];
    for (text, wanted) in table {
        for verb in ["FETCH", "MOVE"] {
            let statements = all(&format!("{verb} {text}")).unwrap();
            let [Statement::Fetch { name, direction, moves }] = statements.as_slice() else { panic!("{text}") };
            assert_eq!((name.as_str(), *direction, *moves), ("c", wanted, verb == "MOVE"), "{text}");
        }
    }
    // a cursor may be called as a direction is
    let statements = all("FETCH first").unwrap();
    assert!(matches!(statements.as_slice(), [Statement::Fetch { name, direction: Forward(Some(1)), .. }] if name == "first"));
}
