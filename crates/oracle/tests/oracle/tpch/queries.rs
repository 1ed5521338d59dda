//! The 22 templates with parameters filled in.

use regauge_oracle::slt::Block;
use tpchgen::q_and_a::queries::query;

/// A template and what is put in the place of `:1`, `:2` ...
pub struct Query {
    number: i32,
    parameters: &'static [&'static str],
    /// Columns with quotients, whose number of digits PostgreSQL chooses by size.
    pub inexact: &'static [bool],
}

const fn exact(number: i32, parameters: &'static [&'static str]) -> Query {
    Query { number, parameters, inexact: &[] }
}

const fn quotient(number: i32, parameters: &'static [&'static str], inexact: &'static [bool]) -> Query {
    Query { number, parameters, inexact }
}

pub const ALL: &[Query] = &[
    quotient(1, &["90"], &[false, false, false, false, false, false, true, true, true, false]),
    exact(2, &["15", "BRASS", "EUROPE"]),
    exact(3, &["BUILDING", "1995-03-15"]),
    exact(4, &["1993-07-01"]),
    exact(5, &["ASIA", "1994-01-01"]),
    exact(6, &["1994-01-01", "0.06", "24"]),
    exact(7, &["FRANCE", "GERMANY"]),
    quotient(8, &["BRAZIL", "AMERICA", "ECONOMY ANODIZED STEEL"], &[false, true]),
    exact(9, &["green"]),
    exact(10, &["1993-10-01"]),
    exact(11, &["GERMANY", "0.0001"]),
    exact(12, &["MAIL", "SHIP", "1994-01-01"]),
    exact(13, &["special", "requests"]),
    quotient(14, &["1995-09-01"], &[true]),
    exact(15, &["1996-01-01"]),
    exact(16, &["Brand#45", "MEDIUM POLISHED", "49", "14", "23", "45", "19", "3", "36", "9"]),
    quotient(17, &["Brand#23", "MED BOX"], &[true]),
    exact(18, &["250"]),
    exact(19, &["Brand#12", "Brand#23", "Brand#34", "1", "10", "20"]),
    exact(20, &["b", "1994-01-01", "CANADA"]),
    exact(21, &["SAUDI ARABIA"]),
    exact(22, &["13", "31", "23", "29", "30", "18", "17"]),
];

impl Query {
    /// The view's name.
    pub fn name(&self) -> String {
        format!("q{:02}", self.number)
    }

    fn text(&self) -> String {
        let mut text = query(self.number).unwrap().replace("revenue:s", "revenue").replace("day (3)", "day");
        // From the last on: `:1` is the beginning of `:10`.
        for (i, parameter) in self.parameters.iter().enumerate().rev() {
            text = text.replace(&format!(":{}", i + 1), parameter);
        }
        text
    }

    /// The query as a view; query 15 is a view over another one.
    pub fn views(&self) -> Vec<Block> {
        let text = self.text();
        let view = |name: &str, sql: &str| Block::View { name: name.into(), sql: sql.trim().into(), postgres: None };
        let parts: Vec<&str> = text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [only] => vec![view(&self.name(), only)],
            [create, select, _drop] => {
                let (head, below) = create.split_once(" as").unwrap();
                let name = head.trim_start_matches("create view").trim();
                vec![view(name, below), view(&self.name(), select)]
            }
            other => panic!("a template of {} statements", other.len()),
        }
    }
}
