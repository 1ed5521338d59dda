//! The handbook leaves nothing out: every function that SQL offers and every kind of statement that the parser takes stands in one of its
//! examples, which [`super::handbook`] runs.
//!
//! Kinds are told apart by matches without a wildcard: a statement that is added to the parser does not compile here before it has a name,
//! and then it wants an example.

use regauge_plan::parse::{Alter, Ddl, GrantOn, ObjectKind, ParseLimits, Rights, SinkDdl, Statement, parse};
use std::collections::BTreeSet;

const PAGES: [&str; 3] = [
    include_str!("../../../../docs/sql.md"),
    include_str!("../../../../docs/functions.md"),
    include_str!("../../../../docs/wasm.md"),
];
/// Its examples are run by a test of the crate that has connectors.
const SINKS_PAGE: &str = include_str!("../../../../docs/sinks.md");
/// It writes folders of the server's, so its one statement is run by the tests of backups.
const BACKUP_PAGE: &str = include_str!("../../../../docs/backup.md");

/// A match, and the list of all that it can answer.
macro_rules! kinds {
    ($name:ident, $all:ident, $of:ty, { $($pattern:pat $(if $guard:expr)? => $label:literal,)+ }) => {
        const $all: &[&str] = &[$($label),+];
        fn $name(of: &$of) -> &'static str {
            match of { $($pattern $(if $guard)? => $label,)+ }
        }
    };
}

/// What is told apart further.
const BELOW: &str = "";

kinds!(of_statement, STATEMENTS, Statement, {
    Statement::CreateTable(c) if c.stream => "CREATE STREAM",
    Statement::CreateTable(c) if c.query.is_some() => "CREATE TABLE .. AS",
    Statement::CreateTable(_) => "CREATE TABLE",
    Statement::CreateView(c) if c.materialized => "CREATE MATERIALIZED VIEW",
    Statement::CreateView(_) => "CREATE VIEW",
    Statement::Ddl(_) => "",
    Statement::Rights(_) => "",
    Statement::Drop { kind: ObjectKind::Table, .. } => "DROP TABLE",
    Statement::Drop { kind: ObjectKind::Stream, .. } => "DROP STREAM",
    Statement::Drop { kind: ObjectKind::View, .. } => "DROP VIEW",
    Statement::Drop { kind: ObjectKind::MaterializedView | ObjectKind::Any, .. } => "DROP MATERIALIZED VIEW",
    Statement::Insert(_) => "INSERT",
    Statement::Update(_) => "UPDATE",
    Statement::Delete(_) => "DELETE",
    Statement::Merge(_) => "MERGE",
    Statement::With(_) => "WITH around what writes",
    Statement::Copy(_) => "COPY FROM",
    Statement::CopyTo(_) => "COPY TO",
    Statement::Prepare { .. } => "PREPARE",
    Statement::Execute { .. } => "EXECUTE",
    Statement::Declare { .. } => "DECLARE",
    Statement::Fetch { moves: false, .. } => "FETCH",
    Statement::Fetch { .. } => "MOVE",
    Statement::Close { .. } => "CLOSE",
    Statement::Begin { .. } => "BEGIN",
    Statement::Commit => "COMMIT",
    Statement::Rollback => "ROLLBACK",
    Statement::Chain { .. } => "COMMIT AND CHAIN",
    Statement::Lock { .. } => "LOCK TABLE",
    Statement::Backup { .. } => "BACKUP",
    Statement::Listen { .. } => "LISTEN",
    Statement::Unlisten { .. } => "UNLISTEN",
    Statement::Notify { .. } => "NOTIFY",
    Statement::Nothing { .. } => "DISCARD PLANS",
    Statement::Savepoint { .. } => "SAVEPOINT",
    Statement::Release { .. } => "RELEASE",
    Statement::RollbackTo { .. } => "ROLLBACK TO",
    Statement::Query(_) => "SELECT",
    Statement::Subscribe(_) => "SUBSCRIBE",
    Statement::Flush => "FLUSH",
    Statement::Show { .. } => "SHOW",
    Statement::ShowSecrets => "SHOW SECRETS",
    Statement::ShowObjects { .. } => "SHOW TABLES",
    Statement::Set { .. } => "SET",
    Statement::Reset { .. } => "RESET",
    Statement::Describe { .. } => "DESCRIBE",
    Statement::ExplainView { .. } => "EXPLAIN MATERIALIZED VIEW",
    Statement::AdvanceWatermark { .. } => "ADVANCE WATERMARK",
    Statement::ExplainQuery { as_view: Some(_), .. } => "EXPLAIN CREATE MATERIALIZED VIEW",
    Statement::ExplainQuery { .. } => "EXPLAIN",
    Statement::ExplainChange(_) => "EXPLAIN of a change",
    Statement::Discard => "DISCARD",
    Statement::DiscardSequences => "DISCARD SEQUENCES",
    Statement::Deallocate { .. } => "DEALLOCATE",
});

kinds!(of_ddl, DDL, Ddl, {
    Ddl::CreateSchema { .. } => "CREATE SCHEMA",
    Ddl::DropSchema { .. } => "DROP SCHEMA",
    Ddl::Alter { .. } => "",
    Ddl::Comment { column: None, .. } => "COMMENT ON TABLE",
    Ddl::Comment { .. } => "COMMENT ON COLUMN",
    Ddl::ShowCreate { .. } => "SHOW CREATE",
    Ddl::Truncate { .. } => "TRUNCATE",
    Ddl::Refresh { .. } => "REFRESH",
    Ddl::CreateIndex(_) => "CREATE INDEX",
    Ddl::DropIndex { .. } => "DROP INDEX",
    Ddl::CreateSequence { .. } => "CREATE SEQUENCE",
    Ddl::CreateFunction(f) if f.aggregate => "CREATE AGGREGATE",
    Ddl::CreateFunction(_) => "CREATE FUNCTION",
    Ddl::DropFunction { aggregate: true, .. } => "DROP AGGREGATE",
    Ddl::DropFunction { .. } => "DROP FUNCTION",
    Ddl::Sink(_) => "",
    Ddl::RestartSequence { .. } => "ALTER SEQUENCE",
    Ddl::DropSequence { .. } => "DROP SEQUENCE",
});

kinds!(of_alter, ALTERS, Alter, {
    Alter::Rename(_) => "RENAME TO",
    Alter::SetSchema(_) => "SET SCHEMA",
    Alter::Owner(_) => "OWNER TO",
    Alter::RenameColumn { .. } => "RENAME COLUMN",
    Alter::AddColumn { .. } => "ADD COLUMN",
    Alter::DropColumn { .. } => "DROP COLUMN",
    Alter::Default { default: Some(_), .. } => "SET DEFAULT",
    Alter::Default { .. } => "DROP DEFAULT",
    Alter::NotNull { not_null: true, .. } => "SET NOT NULL",
    Alter::NotNull { .. } => "DROP NOT NULL",
    Alter::AddCheck(_) => "ADD CHECK",
    Alter::DropConstraint { .. } => "DROP CONSTRAINT",
    Alter::BackfillRate(_) => "SET (backfill_rate)",
    Alter::OnError(_) => "SET (on_error)",
});

kinds!(of_rights, RIGHTS, Rights, {
    Rights::CreateRole { .. } => "CREATE ROLE",
    Rights::AlterRole { .. } => "ALTER ROLE",
    Rights::RenameRole { .. } => "ALTER ROLE .. RENAME TO",
    Rights::DropRole { .. } => "DROP ROLE",
    Rights::Member { revoke: false, .. } => "GRANT of a role",
    Rights::Member { .. } => "REVOKE of a role",
    Rights::Grant { grant, .. } if grant.revoke => "REVOKE",
    Rights::Grant { .. } => "GRANT",
    Rights::Default { .. } => "ALTER DEFAULT PRIVILEGES",
    Rights::Reassign { .. } => "REASSIGN OWNED",
    Rights::DropOwned { .. } => "DROP OWNED",
    Rights::SetSecret { alter: false, .. } => "CREATE SECRET",
    Rights::SetSecret { .. } => "ALTER SECRET",
    Rights::DropSecret { .. } => "DROP SECRET",
    Rights::Owner { on: GrantOn::Schemas(_), .. } => "ALTER SCHEMA .. OWNER TO",
    Rights::Owner { on: GrantOn::Sequences(_), .. } => "ALTER SEQUENCE .. OWNER TO",
    Rights::Owner { on: GrantOn::Functions(_), .. } => "ALTER FUNCTION .. OWNER TO",
    Rights::Owner { .. } => "ALTER SECRET .. OWNER TO",
});

kinds!(of_sink, SINKS, SinkDdl, {
    SinkDdl::Create { .. } => "CREATE SINK",
    SinkDdl::Alter { .. } => "ALTER SINK",
    SinkDdl::Drop { .. } => "DROP SINK",
    SinkDdl::ShowCreate { .. } => "SHOW CREATE SINK",
    SinkDdl::Show => "SHOW SINKS",
});

/// All kinds of a statement.
fn kinds_of(statement: &Statement) -> Vec<&'static str> {
    let mut all = vec![of_statement(statement)];
    match statement {
        Statement::Ddl(ddl) => {
            all.push(of_ddl(ddl));
            match ddl.as_ref() {
                Ddl::Alter { actions, .. } => all.extend(actions.iter().map(of_alter)),
                Ddl::Sink(sink) => all.push(of_sink(sink)),
                _ => {}
            }
        }
        Statement::Rights(rights) => all.push(of_rights(rights)),
        _ => {}
    }
    all
}

/// The blocks of SQL of a page, in its words.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// The examples of a page: its blocks, and calls of its tables.
fn examples(page: &str) -> String {
    let calls = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `")).map(|(call, _)| call);
    let all: Vec<&str> = blocks(page).chain(calls).collect();
    all.join("\n").to_lowercase()
}

fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].trim_start().starts_with('(');
        after && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    })
}

#[test]
fn every_kind_of_statement_stands_in_an_example() {
    let mut seen = BTreeSet::new();
    for block in PAGES.iter().chain([&SINKS_PAGE, &BACKUP_PAGE]).flat_map(|page| blocks(page)) {
        for sql in block.split(";\n").filter(|sql| !sql.trim().is_empty()) {
            // Some examples show a mistake; the handbook's test tells those from others.
            let Ok(statements) = parse(sql, &ParseLimits::default()) else { continue };
            seen.extend(statements.iter().flat_map(kinds_of));
        }
    }
    let all: BTreeSet<&str> =
        [STATEMENTS, DDL, ALTERS, RIGHTS, SINKS].concat().into_iter().filter(|kind| *kind != BELOW).collect();
    assert!(all.len() > 90, "{}", all.len());
    let missing: Vec<&&str> = all.iter().filter(|kind| !seen.contains(*kind)).collect();
    assert!(missing.is_empty(), "no example has {missing:?}");
}

/// What is called like a function and is syntax, or has a meaning with OVER or in FROM only.
const FORMS: &[&str] = &[
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "unnest",
    "generate_series",
    "tumble",
    "hop",
    "session",
    "cumulate",
    "grouping",
    "extract",
    "position",
    "trim",
    "substring",
    "overlay",
    "nextval",
    "currval",
    "lastval",
    "setval",
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "json_each",
    "jsonb_each",
    "json_each_text",
    "jsonb_each_text",
    "json_object_keys",
    "jsonb_object_keys",
    "json_array_elements",
    "jsonb_array_elements",
    "json_array_elements_text",
    "jsonb_array_elements_text",
    "jsonb_path_query",
    "row_to_json",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "array_agg",
    "string_agg",
    "percentile_cont",
    "percentile_disc",
    "mode",
    "approx_count_distinct",
    "approx_distinct",
    "approx_percentile",
];

#[test]
fn every_function_stands_in_an_example() {
    let text = PAGES.map(examples).join("\n");
    let offered = regauge_plan::functions::offered();
    assert!(offered.len() > 150, "{}", offered.len());
    let all: BTreeSet<&str> = offered.iter().map(String::as_str).chain(FORMS.iter().copied()).collect();
    let missing: Vec<&str> = all.into_iter().filter(|name| !calls(&text, name)).collect();
    assert!(missing.is_empty(), "{} functions have no example: {missing:?}", missing.len());
}

#[test]
fn an_example_is_told_from_a_word_about_it() {
    let page = "`lower(x)` is a word about it\n```sql\nSELECT Upper (x);\n```\n| `rpad('a', 3)` | `a` |\n";
    let text = examples(page);
    assert!(calls(&text, "upper") && calls(&text, "rpad") && !calls(&text, "lower") && !calls(&text, "pad"));
    assert_eq!(
        kinds_of(&parse("ALTER TABLE t ADD COLUMN a INT, DROP COLUMN b", &ParseLimits::default()).unwrap()[0]),
        ["", "", "ADD COLUMN", "DROP COLUMN"]
    );
}
