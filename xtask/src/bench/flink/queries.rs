//! The texts of `bench/flink/queries.sql`: a line `-- NAME` begins a query, what stands before the first is for people.

use anyhow::{Context, Result, bail};

/// Name and text, in the order of the file.
pub struct Queries(Vec<(String, String)>);

impl Queries {
    pub fn parse(file: &str) -> Result<Queries> {
        let mut all: Vec<(String, String)> = vec![];
        for line in file.lines() {
            let name =
                line.strip_prefix("-- ").filter(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()));
            if let Some(name) = name {
                if all.iter().any(|(known, _)| known == name) {
                    bail!("two queries of one name name={name}");
                }
                all.push((name.to_owned(), String::new()));
            } else if let Some((_, text)) = all.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        for (name, text) in &mut all {
            *text = text.trim().to_owned();
            if text.is_empty() {
                bail!("a query without a text name={name}");
            }
        }
        Ok(Queries(all))
    }

    pub fn text(&self, name: &str) -> Result<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str()).with_context(|| format!("no text for Flink query={name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_name_begins_a_query() {
        let all = Queries::parse("-- For people, of two words.\n\n-- q0\nSELECT a\nFROM b\n\n-- q1\nSELECT 1\n").unwrap();
        assert_eq!(all.text("q0").unwrap(), "SELECT a\nFROM b");
        assert_eq!(all.text("q1").unwrap(), "SELECT 1");
        assert!(all.text("q2").is_err());
    }

    #[test]
    fn no_query_is_silently_lost() {
        assert!(Queries::parse("-- q0\nSELECT 1\n-- q0\nSELECT 2\n").is_err());
        assert!(Queries::parse("-- q0\n-- q1\nSELECT 2\n").is_err());
    }

    #[test]
    fn every_query_of_the_tables_has_a_text() {
        let all = Queries::parse(include_str!("../../../../bench/flink/queries.sql")).unwrap();
        for name in super::super::super::QUERIES.iter().chain(&["join3"]) {
            assert!(all.text(name).unwrap().starts_with("SELECT "), "{name}");
        }
    }
}
