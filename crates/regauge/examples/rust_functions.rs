//! Functions in Rust that SQL calls: one for each row, one over columns, an aggregate; in views, and over a restart.
//!
//! `cargo run --example rust_functions [FOLDER]`
#![allow(clippy::print_stdout)]

use regauge::{
    Config, Database, HostFunction, HostValue, Result, aggregate,
    arrow::{
        array::{ArrayRef, AsArray, Float64Array},
        datatypes::Float64Type,
    },
    function,
};
use std::{path::Path, sync::Arc};

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "data".to_owned());
    run(Path::new(&folder)).await
}

/// `slug('Hello, World')` is `hello-world`.
pub fn slug() -> Result<HostFunction> {
    function("slug", "1").takes(&["text"]).returns("text").strict().rows(|row| {
        let [HostValue::Text(title)] = row else { return Err("one text".to_owned()) };
        let words = title.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase);
        Ok(HostValue::Text(words.collect::<Vec<_>>().join("-").into()))
    })
}

/// Degrees Fahrenheit of degrees Celsius, a column at a time.
pub fn fahrenheit() -> Result<HostFunction> {
    function("fahrenheit", "1").takes(&["double precision"]).returns("double precision").columns(|columns, _| {
        let celsius = columns[0].as_primitive::<Float64Type>();
        let all: Float64Array = celsius.iter().map(|c| c.map(|c| c * 1.8 + 32.0)).collect();
        Ok(Arc::new(all) as ArrayRef)
    })
}

/// The longest word, the first of those in the order of the alphabet.
pub fn longest() -> Result<HostFunction> {
    aggregate("longest", "1").takes(&["text"]).returns("text").strict().fold(
        || None::<String>,
        |longest, row| {
            let [HostValue::Text(word)] = row else { return Err("one text".to_owned()) };
            if longest.as_ref().is_none_or(|l| l.chars().count() < word.chars().count()) {
                *longest = Some(word.to_string());
            }
            Ok(())
        },
        |longest| Ok(longest.map_or(HostValue::Null, |l| HostValue::Text(l.into()))),
    )
}

/// The example, in `folder`.
pub async fn run(folder: &Path) -> Result<()> {
    // Given before the folder is opened, they are there for the views that call them.
    let db = Database::with_functions(Config::new(folder), vec![slug()?, fahrenheit()?, longest()?])?;
    let mut connection = db.connect()?;
    connection
        .batch(
            "CREATE TABLE IF NOT EXISTS posts (id INT PRIMARY KEY, title TEXT, celsius FLOAT8);
             CREATE MATERIALIZED VIEW IF NOT EXISTS pages AS
                 SELECT slug(title) AS page, max(fahrenheit(celsius)) AS hottest FROM posts GROUP BY slug(title);
             CREATE MATERIALIZED VIEW IF NOT EXISTS words AS
                 SELECT longest(w) AS longest FROM posts, unnest(string_to_array(title, ' ')) AS w;
             DELETE FROM posts;
             INSERT INTO posts VALUES (1, 'Hello, World', 20), (2, 'hello world!', 35.5), (3, 'Weather again', NULL)",
        )
        .await?;
    println!("{}", connection.query("SELECT * FROM pages ORDER BY page", &[]).await?);
    println!("{}", connection.query("SELECT * FROM words", &[]).await?);
    connection.batch("DELETE FROM posts WHERE id IN (2, 3)").await?;
    println!("{}", connection.query("SELECT * FROM pages ORDER BY page", &[]).await?);
    Ok(())
}
