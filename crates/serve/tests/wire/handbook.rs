//! `docs/sql.md`, `docs/functions.md` and `docs/wasm.md`, run: each block of SQL gives the block of text after it, and each row of a table of calls what it says.

use crate::common::{Site, site, sqlstate};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use std::time::Duration;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const PAGE: &str = include_str!("../../../../docs/sql.md");
const FUNCTIONS_PAGE: &str = include_str!("../../../../docs/functions.md");
const WASM_PAGE: &str = include_str!("../../../../docs/wasm.md");

/// What a block is answered with: the rows of its last statement, or the error. Statements end where a line ends with `;`; each is
/// sent by itself, because several in one message are one transaction. Data of COPY .. FROM STDIN follows up to `\\.`, as in psql. Of a
/// SUBSCRIBE as many rows are waited for as are `wanted`. `:epoch` is what SHOW regauge.epoch gave last.
async fn answer(client: &Client, block: &str, wanted: usize) -> String {
    let (mut rest, mut lines) = (block, Ok(vec![]));
    let mut epoch = String::new();
    while !rest.trim().is_empty() {
        let (sql, after) = rest.split_once(";\n").unwrap_or((rest, ""));
        rest = after;
        let sql = &sql.replace(":epoch", &epoch);
        let words = sql.trim().to_uppercase();
        lines = if words.starts_with("COPY") && words.contains("FROM STDIN") {
            let (data, after) = rest.split_once("\\.\n").expect("data of COPY ends");
            rest = after;
            copied_in(client, sql, data).await
        } else if words.starts_with("COPY") && words.contains("TO STDOUT") {
            copied_out(client, sql).await
        } else if words.starts_with("SUBSCRIBE") {
            subscribed(client, sql, wanted).await
        } else {
            client.simple_query(sql).await.map(|messages| messages.iter().filter_map(line).collect())
        };
        if let (true, Ok([shown])) = (words == "SHOW REGAUGE.EPOCH", lines.as_deref()) {
            epoch.clone_from(shown);
        }
        if let Err(error) = &lines {
            return format!("ERROR {}", sqlstate(error));
        }
    }
    lines.unwrap_or_default().join("\n")
}

async fn copied_in(client: &Client, sql: &str, data: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    pin_mut!(sink);
    sink.send(Bytes::copy_from_slice(data.as_bytes())).await?;
    sink.finish().await?;
    Ok(vec![])
}

async fn copied_out(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let parts: Vec<Bytes> = client.copy_out(sql).await?.try_collect().await?;
    Ok(String::from_utf8_lossy(&parts.concat()).lines().map(str::to_owned).collect())
}

/// The first rows of a subscription, whose epochs depend on what happened before.
async fn subscribed(client: &Client, sql: &str, wanted: usize) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query_raw(sql).await?;
    pin_mut!(messages);
    let mut lines = vec![];
    while lines.len() < wanted {
        let next = tokio::time::timeout(Duration::from_secs(60), messages.next()).await.expect("a row in time");
        let Some(message) = next else { break };
        if let Some(row) = line(&message?) {
            let (_, columns) = row.split_once('|').expect("an epoch before the columns");
            lines.push(format!("..|{columns}"));
        }
    }
    client.cancel_token().cancel_query(NoTls).await?;
    while let Some(Ok(_)) = messages.next().await {}
    Ok(lines)
}

fn line(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else { return None };
    let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
    Some(values.join("|"))
}

/// A part of the page: a block with what it must give, if anything is said, or a call.
enum Part {
    Block { sql: String, gives: Option<String> },
    Call { expr: String, gives: String },
}

/// The parts of a section, in their order.
fn parts(section: &str) -> Vec<Part> {
    let mut parts = vec![];
    let mut fence: Option<(&str, String)> = None;
    for line in section.lines() {
        match (&mut fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some((language, String::new())),
            (Some((language, text)), Some(_)) => {
                let text = std::mem::take(text);
                match (*language, parts.last_mut()) {
                    ("sql", _) => parts.push(Part::Block { sql: text, gives: None }),
                    ("text", Some(Part::Block { gives: gives @ None, .. })) => *gives = Some(text.trim_end().to_owned()),
                    ("synopsis" | "toml" | "rust" | "sh", _) => {}
                    (other, _) => panic!("a block of `{other}` that belongs to nothing: {text}"),
                }
                fence = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {
                if let Some((expr, gives)) = call(line) {
                    parts.push(Part::Call { expr, gives });
                }
            }
        }
    }
    assert!(fence.is_none(), "a block has no end: {section}");
    parts
}

/// "| `expr` | `value` |", a pipe within written `\|`.
fn call(line: &str) -> Option<(String, String)> {
    let (expr, gives) = line.strip_prefix("| `")?.strip_suffix("` |")?.split_once("` | `")?;
    Some((expr.replace("\\|", "|"), gives.replace("\\|", "|")))
}

async fn differences(site: &Site, title: &str, section: &str) -> Vec<String> {
    let client = site.client().await;
    let mut differ = vec![];
    for part in parts(section) {
        let (sql, gives) = match part {
            Part::Block { sql, gives } => (sql, gives),
            Part::Call { expr, gives } => (format!("SELECT {expr}"), Some(gives)),
        };
        let wanted = gives.as_ref().map_or(0, |gives| gives.lines().count());
        let got = answer(&client, &sql, wanted).await;
        match gives {
            Some(gives) if gives == got => {}
            Some(gives) => differ.push(format!("{title}: {sql}\n  page says:\n{gives}\n  it gives:\n{got}")),
            None if got.starts_with("ERROR") => differ.push(format!("{title}: {sql}\n  it gives {got}")),
            None => {}
        }
    }
    differ
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_page_gives_what_the_page_says() {
    let (mut differ, mut n) = (vec![], 0);
    for section in [PAGE, FUNCTIONS_PAGE].iter().flat_map(|page| page.split("\n## ").skip(1)) {
        let (title, text) = section.split_once('\n').unwrap();
        let site = site().await;
        n += parts(text).len();
        differ.extend(differences(&site, title, text).await);
    }
    assert!(n > 60, "the page has only {n} examples: its form may not have been understood");
    assert!(differ.is_empty(), "{} of {n} differ\n{}", differ.len(), differ.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_page_on_webassembly_gives_what_it_says() {
    let site = site().await;
    let differ = differences(&site, "WebAssembly", WASM_PAGE).await;
    let n = parts(WASM_PAGE).iter().filter(|part| matches!(part, Part::Block { gives: Some(_), .. })).count();
    assert!(n == 2 && differ.is_empty(), "n={n}\n{}", differ.join("\n"));
}

#[test]
fn the_form_of_the_page_is_understood() {
    let page = "words\n```sql\nSELECT 1;\n```\n```text\n1\n```\n| call | gives |\n|---|---|\n| `'a' \\|\\| 'b'` | `ab` |\n";
    let parts = parts(page);
    assert!(matches!(&parts[0], Part::Block { sql, gives: Some(gives) } if sql == "SELECT 1;\n" && gives == "1"));
    assert!(matches!(&parts[1], Part::Call { expr, gives } if expr == "'a' || 'b'" && gives == "ab"));
    assert_eq!(parts.len(), 2);
}
