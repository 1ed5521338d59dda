//! The 22 templates of the specification (crate `tpchgen`) with its validation parameters (clause 2.4), as PostgreSQL and DuckDB both read them.

use anyhow::Context;
use tpchgen::q_and_a::queries::query;

/// What stands for `:1`, `:2` .. in template 1, 2 ..
const PARAMETERS: [&[&str]; 22] = [
    &["90"],
    &["15", "BRASS", "EUROPE"],
    &["BUILDING", "1995-03-15"],
    &["1993-07-01"],
    &["ASIA", "1994-01-01"],
    &["1994-01-01", "0.06", "24"],
    &["FRANCE", "GERMANY"],
    &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"],
    &["green"],
    &["1993-10-01"],
    &["GERMANY", "0.0001"],
    &["MAIL", "SHIP", "1994-01-01"],
    &["special", "requests"],
    &["1995-09-01"],
    &["1996-01-01"],
    &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"],
    &["Brand#23", "MED BOX"],
    &["300"],
    &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"],
    &["forest", "1994-01-01", "CANADA"],
    &["SAUDI ARABIA"],
    &["13", "31", "23", "29", "30", "18", "17"],
];

/// A view and its query; query 15 is two.
pub struct View {
    pub name: String,
    /// The name with those of the columns, where the template gives them.
    pub head: String,
    pub sql: String,
}

/// All views, each after those that it reads.
pub fn views() -> anyhow::Result<Vec<View>> {
    let mut views = vec![];
    for (number, parameters) in (1..).zip(PARAMETERS) {
        let template = query(number).with_context(|| format!("no template for query={number}"))?;
        let mut text = template.replace("revenue:s", "revenue").replace("day (3)", "day");
        // From the last on: `:1` is the beginning of `:10`.
        for (at, parameter) in parameters.iter().enumerate().rev() {
            text = text.replace(&format!(":{}", at + 1), parameter);
        }
        let name = format!("q{number:02}");
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("drop")) {
            match part.strip_prefix("create view ") {
                Some(created) => {
                    let (head, sql) = created.split_once(" as").context("a view without a query")?;
                    let head = head.trim().to_owned();
                    let name = head.split(' ').next().unwrap_or(&head).to_owned();
                    views.push(View { name, head, sql: sql.trim().to_owned() });
                }
                None => views.push(View { name: name.clone(), head: name.clone(), sql: part.to_owned() }),
            }
        }
    }
    Ok(views)
}
