//! Every text that psql 15 and SQLAlchemy 2.1 were seen to send to PostgreSQL 15 plans and runs here.

use crate::common::{attempt, filled, lines, run, site, texts};
use arrow::{
    array::{ArrayRef, StringArray},
    compute::cast,
};
use regauge_views::{Response, Session};

async fn all_run(file: &'static str, least: usize) {
    let (_site, mut session) = site().await;
    let texts = texts(file);
    assert!(texts.len() >= least, "{} texts", texts.len());
    let mut failures = vec![];
    for (name, text) in texts {
        let text = filled(&mut session, text).await;
        if let Err(error) = attempt(&mut session, &text).await {
            failures.push(format!("{name}: {error}\n{text}\n"));
            attempt(&mut session, "ROLLBACK").await.unwrap();
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_psql_runs() {
    all_run(include_str!("texts/psql15.sql"), 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_sqlalchemy_runs() {
    all_run(include_str!("texts/sqlalchemy_psycopg2.sql"), 30).await;
}

/// Prepares a text with types left open, and runs it with values in PostgreSQL's text form.
async fn with_parameters(session: &mut Session, text: &str, values: &[String]) -> Result<Vec<String>, regauge_views::Error> {
    let prepared = session.prepare(text, &vec![None; values.len()]).await?;
    let value = |(v, ty): (&String, _)| -> ArrayRef { cast(&StringArray::from(vec![v.as_str()]), ty).unwrap() };
    let values: Vec<ArrayRef> = values.iter().zip(&prepared.params).map(value).collect();
    let Response::Rows(rows) = session.run(&prepared, &values).await? else { panic!("no rows: {text}") };
    assert_eq!(Some(&rows.schema), prepared.columns.as_ref(), "{text}");
    Ok(lines(&rows.collect().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_of_sqlalchemy_with_parameters_runs() {
    let (_site, mut session) = site().await;
    let texts = texts(include_str!("texts/sqlalchemy_psycopg.sql"));
    assert!(texts.len() >= 25, "{} texts", texts.len());
    let mut failures = vec![];
    for (name, text) in texts {
        let (no, values) = name.split_once(' ').unwrap();
        let values: Vec<String> = serde_json::from_str(&filled(&mut session, values).await).unwrap();
        if let Err(error) = with_parameters(&mut session, text, &values).await {
            failures.push(format!("{no}: {error}\n{text}\n"));
        }
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Texts that DBeaver, pgjdbc, Npgsql, asyncpg, Grafana and others are known to send, written down from their sources.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_other_clients_run() {
    all_run(include_str!("texts/others.sql"), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drivers_say_on_connecting_is_understood() {
    let (_site, mut s) = site().await;
    let says = [
        ("show standard_conforming_strings", "on"),
        ("show transaction isolation level", "repeatable read"),
        ("SHOW TRANSACTION_ISOLATION", "repeatable read"),
        ("SHOW server_version", "16.6"),
        ("SHOW server_encoding", "UTF8"),
        ("SHOW search_path", "\"$user\", public"),
        ("SHOW max_identifier_length", "63"),
        ("SHOW TIME ZONE", "UTC"),
        ("SHOW timezone", "UTC"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET"),
        ("BEGIN READ ONLY", "BEGIN"),
        ("SAVEPOINT \"_pg3_1\"", "SAVEPOINT"),
        ("RELEASE \"_pg3_1\"", "RELEASE"),
        ("COMMIT", "COMMIT"),
        ("START TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE", "BEGIN"),
        ("ROLLBACK", "ROLLBACK"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("UNLISTEN *", "UNLISTEN"),
        ("RESET ALL", "RESET"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("SET extra_float_digits = 3", "SET"),
        ("SET application_name = 'PostgreSQL JDBC Driver'", "SET"),
        ("SET client_encoding TO 'UTF8'", "SET"),
        ("SET datestyle TO 'ISO'", "SET"),
        ("SET statement_timeout = 0", "SET"),
        ("SET lock_timeout = 0", "SET"),
        ("SET idle_in_transaction_session_timeout = 0", "SET"),
        ("SET standard_conforming_strings = on", "SET"),
    ];
    for (sql, answer) in says {
        assert_eq!(run(&mut s, sql).await, [answer], "{sql}");
    }
}
