//! Sessions: files of statements, sent one by one to PostgreSQL and to a served instance over one connection each, and the texts or the
//! SQLSTATEs that come back compared. See `tests/sessions/README.md`.

use crate::wire::served;
use regauge_oracle::postgres::{Server, connect};
use tokio_postgres::{Client, SimpleQueryMessage};

/// What a statement answers: rows of texts, how many rows its tag counts, or the SQLSTATE.
#[derive(Debug, PartialEq)]
enum Answer {
    Rows(Vec<Vec<Option<String>>>),
    Done(u64),
    Failed(String),
}

async fn ask(client: &Client, sql: &str) -> Answer {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => {
            let code = error.code().unwrap_or_else(|| panic!("{sql}: {error:?}"));
            return Answer::Failed(code.code().to_owned());
        }
    };
    let mut rows = None;
    let mut done = 0;
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => rows = Some(vec![]),
            SimpleQueryMessage::Row(row) => {
                let texts = (0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect();
                rows.get_or_insert_with(Vec::new).push(texts);
            }
            SimpleQueryMessage::CommandComplete(n) => done = n,
            _ => {}
        }
    }
    rows.map_or(Answer::Done(done), Answer::Rows)
}

async fn judged(file: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sessions").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let server = Server::start().await.unwrap();
    let (theirs, ours) = (connect(server.port()).await.unwrap(), served().await);
    let (mut differences, mut n) = (vec![], 0);
    for sql in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("--")) {
        let (a, b) = (ask(&theirs, sql).await, ask(&ours.client, sql).await);
        n += 1;
        if a != b {
            differences.push(format!("{sql}\n  PostgreSQL {a:?}\n  regauge    {b:?}"));
        }
    }
    assert!(n > 10, "{file} holds too few statements to say anything");
    assert!(differences.is_empty(), "{} of {n} differ\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn moments_are_of_the_sessions_zone() {
    judged("zones.sql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_taken_and_shown() {
    judged("settings.sql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_change_their_session_or_wait_answer_alike() {
    judged("calls.sql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_with_modifiers_round_and_refuse() {
    judged("columns.sql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_locks_and_chains_answer_alike() {
    judged("writes.sql").await;
}

/// Statements that have a word at each place where a name may stand; the word is spelt `%`, and between quotes `"%"`.
const PLACES: &[&[&str]] = &[
    &[
        "CREATE TABLE c (% int, id int PRIMARY KEY)",
        "INSERT INTO c (%, id) VALUES (1, 1)",
        "UPDATE c SET % = 2 WHERE % = 1",
        "DELETE FROM c WHERE % = 2 RETURNING %",
    ],
    &[
        "CREATE TABLE % (a int PRIMARY KEY)",
        "INSERT INTO % VALUES (1)",
        "SELECT a FROM %",
        "UPDATE % SET a = 2",
        "DELETE FROM %",
        "DROP TABLE %",
    ],
    &["SELECT % FROM (SELECT 1 AS \"%\") s"],
    &["SELECT 1, % FROM (SELECT 1 AS \"%\") s WHERE % = 1 GROUP BY % ORDER BY %"],
    &["SELECT DISTINCT max(%) FROM (SELECT 1 AS \"%\") s"],
    &["SELECT s.% FROM (SELECT 1 AS \"%\") s"],
    &["SELECT 1 AS %"],
    &["SELECT 1 %"],
    &["SELECT s.a % FROM (SELECT 1 AS a) s"],
    &["SELECT 1 FROM (SELECT 1 AS a) % WHERE true"],
    &["SELECT \"%\".a FROM (SELECT 1 AS a) AS %"],
    &["SELECT %.a FROM (SELECT 1 AS a) AS \"%\""],
    &["SELECT \"%\" FROM (SELECT 1) AS s (%)"],
    &["WITH % AS (SELECT 1 AS a) SELECT a FROM %"],
];

/// Words of PostgreSQL that are no names here, by the statement that has them: words that begin an expression, that are operators, and
/// that begin another clause.
const NOT_YET: &[(&str, &[&str])] = &[
    ("SELECT 1, % FROM (SELECT 1 AS \"%\") s WHERE % = 1 GROUP BY % ORDER BY %", &["interval"]),
    ("SELECT 1 %", &["and", "between", "collate", "ilike", "in", "is", "like", "operator", "or", "similar"]),
    (
        "SELECT s.a % FROM (SELECT 1 AS a) s",
        &["and", "between", "collate", "ilike", "in", "is", "like", "operator", "or", "similar"],
    ),
    ("SELECT 1 FROM (SELECT 1 AS a) % WHERE true", &["set"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn words_are_names_where_postgres_takes_them() {
    let server = Server::start().await.unwrap();
    let (theirs, ours) = (connect(server.port()).await.unwrap(), served().await);
    let Answer::Rows(words) = ask(&theirs, "SELECT word, catcode FROM pg_get_keywords() ORDER BY word").await else {
        panic!("no words")
    };
    let mut words: Vec<(String, String)> = words
        .into_iter()
        .map(|row| {
            let mut row = row.into_iter().map(Option::unwrap_or_default);
            (row.next().unwrap_or_default(), row.next().unwrap_or_default())
        })
        .collect();
    assert!(words.len() > 400);
    // Words of other dialects, which are no words at all to PostgreSQL.
    words.extend(
        ["top", "minus", "sort", "qualify", "pivot", "sample", "anti", "semi", "settings", "format"]
            .map(|w| (w.to_owned(), "U".to_owned())),
    );
    let mut differences = vec![];
    for place in PLACES {
        let made = place[0].starts_with("CREATE");
        // Reserved words name nothing that is made; as labels they are tried.
        for (word, _) in words.iter().filter(|(_, kind)| !made || matches!(kind.as_str(), "U" | "C")) {
            let mut outcomes = vec![];
            for client in [&theirs, &ours.client] {
                let mut outcome = true;
                for sql in *place {
                    outcome &= !matches!(ask(client, &sql.replace('%', word)).await, Answer::Failed(_));
                    if !outcome {
                        break;
                    }
                }
                for sql in ["DROP TABLE IF EXISTS c", "DROP TABLE IF EXISTS \"%\""].iter().filter(|_| made) {
                    ask(client, &sql.replace('%', word)).await;
                }
                outcomes.push(outcome);
            }
            let known = NOT_YET.iter().any(|(sql, words)| *sql == place[0] && words.contains(&word.as_str()));
            // What PostgreSQL reserves may be a name here.
            if outcomes[0] && !outcomes[1] && !known {
                differences.push(format!("{word}: only PostgreSQL takes {}", place[0].replace('%', word)));
            }
            assert!(!(known && outcomes[1]), "{word} is taken now: {}", place[0]);
        }
    }
    assert!(differences.is_empty(), "{}\n{}", differences.len(), differences.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn intervals_are_read_as_the_standard_has_them() {
    judged("intervals.sql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arrays_stand_beside_open_literals() {
    judged("arrays.sql").await;
}
