//! The text of statements: read, and planned against relations that are there.

use super::{Target, site::Site};
use anyhow::Result;
use regauge_plan::parse::{ParseLimits, parse};

/// The handbook's statements are seeds.
const HANDBOOK: &str = include_str!("../../../../docs/sql.md");

const WORDS: &[&str] = &[
    "SELECT ",
    " FROM t ",
    " WHERE ",
    " GROUP BY ",
    " HAVING ",
    " ORDER BY ",
    " LIMIT ",
    " OFFSET ",
    " JOIN e ON ",
    " LEFT JOIN ",
    " LATERAL ",
    " UNION ALL ",
    " EXCEPT ",
    " WITH RECURSIVE r AS (",
    "INSERT INTO t VALUES ",
    "UPDATE t SET ",
    "DELETE FROM t ",
    "CREATE TABLE ",
    "CREATE MATERIALIZED VIEW ",
    "ALTER TABLE ",
    "DROP ",
    " OVER (PARTITION BY ",
    " ROWS BETWEEN ",
    " UNBOUNDED PRECEDING ",
    " CASE WHEN ",
    " END ",
    " BETWEEN ",
    " IN (",
    " EXISTS (",
    " NOT ",
    " NULL ",
    " IS DISTINCT FROM ",
    " LIKE ",
    " ESCAPE ",
    " SIMILAR TO ",
    "::int",
    "::text",
    "::numeric(38,10)",
    "::jsonb",
    "::interval",
    "::timestamptz",
    "::int[]",
    "ARRAY[",
    "ROW(",
    "count(*)",
    "sum(n)",
    "avg(",
    "string_agg(",
    "generate_series(1, 10)",
    "now()",
    "interval '1 day'",
    "'2026-01-01'",
    "1e400",
    "0x7f",
    "9223372036854775808",
    "-0.0",
    "$1",
    "$$",
    "E'\\x'",
    "U&'\\0061'",
    "--",
    "/*",
    "*/",
    ";",
    "(",
    ")",
    ",",
    "'",
    "\"",
    "->",
    "->>",
    "@>",
    "||",
    "::",
    " AT TIME ZONE ",
    " COLLATE ",
    " FILTER (WHERE ",
    " WITHIN GROUP (ORDER BY ",
    " GROUPING SETS ((), (n)) ",
    " CUBE (",
    " FETCH FIRST 1 ROW WITH TIES ",
    " FOR SYSTEM_TIME AS OF ",
    "id",
    "n",
    "s",
    "at",
    "every_type",
    "m",
    "e",
    "k",
    "v",
];

fn blocks() -> impl Iterator<Item = &'static str> {
    HANDBOOK.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next())
}

/// Reading only.
pub struct Text;

impl Target for Text {
    fn seeds(&self) -> Vec<Vec<u8>> {
        blocks().map(|block| block.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        WORDS
    }

    fn bytes_max(&self) -> usize {
        2 << 10
    }

    fn run(&mut self, input: &[u8]) {
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = parse(text, &ParseLimits::default());
        }
    }
}

/// Reading and planning, as a client that prepares a statement asks for; nothing is run.
pub struct Plan {
    site: Site,
}

impl Plan {
    pub fn new() -> Result<Plan> {
        Ok(Plan { site: Site::new()? })
    }
}

impl Target for Plan {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let own = [
            "SELECT n, count(*), sum(id) FILTER (WHERE s LIKE 'r%') FROM t GROUP BY n HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 3",
            "SELECT t.id, e.v, row_number() OVER (PARTITION BY n ORDER BY at) FROM t LEFT JOIN e ON t.id = e.k WHERE v > $1",
            "WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 9) SELECT * FROM r JOIN m ON m.n = r.i",
            "SELECT j -> 'a' ->> 0, a[1], ts + iv, n::numeric(10, 2) * 3, CASE WHEN b THEN t ELSE v END FROM every_type",
            "INSERT INTO t SELECT k, 1, note, now() FROM e WHERE k NOT IN (SELECT id FROM t) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
            "UPDATE t SET n = (SELECT max(c) FROM m) WHERE EXISTS (SELECT 1 FROM e WHERE e.k = t.id) RETURNING *",
        ];
        let single =
            blocks().flat_map(|block| block.split(";\n")).map(str::trim).filter(|sql| !sql.is_empty() && sql.len() < 600);
        own.into_iter().chain(single).map(|sql| sql.as_bytes().to_vec()).collect()
    }

    fn words(&self) -> &'static [&'static str] {
        WORDS
    }

    fn bytes_max(&self) -> usize {
        1 << 10
    }

    fn run(&mut self, input: &[u8]) {
        if let Ok(text) = std::str::from_utf8(input) {
            let _ = self.site.runtime.block_on(self.site.session.prepare(text, &[]));
        }
    }
}
