//! The statements that a target table understands: pure text.
//!
//! ```text
//!   Keyed    the relation's columns, unique by its key: upsert and delete by key
//!   Counted  the relation's columns, _regauge_row uuid primary key, _regauge_count bigint: equal rows are one row with a count
//!   Append   the relation's columns: rows only come
//! ```

use super::settings::{COUNT, ROW, Settings, UPSERT};
use arrow::datatypes::DataType;
use regauge_views::{catalog::ty, follow::Source};

/// How rows of the relation are rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By key.
    Keyed,
    /// By all they say, with a count.
    Counted,
    /// One after the other.
    Append,
}

/// A target table.
#[derive(Clone, Debug)]
pub struct Table {
    /// How.
    pub mode: Mode,
    /// Its name, quoted.
    pub name: String,
    /// Of the record, quoted.
    pub record: String,
    /// Columns: quoted name, type, and whether two of its values can be compared.
    columns: Vec<(String, String, bool)>,
    /// Positions of the key.
    key: Vec<usize>,
    /// None of the key's columns is ever NULL.
    solid: bool,
}

/// An identifier as PostgreSQL reads it.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Table {
    /// Of a source.
    #[must_use]
    pub fn new(settings: &Settings, source: &Source) -> Table {
        let columns = &source.relation.columns;
        let mode = match (&source.key, source.append_only) {
            (_, true) => Mode::Append,
            (Some(_), false) => Mode::Keyed,
            (None, false) => Mode::Counted,
        };
        let key = source.key.clone().unwrap_or_default();
        Table {
            mode,
            name: format!("{}.{}", quote(&settings.schema), quote(&settings.table)),
            record: format!("{}.{}", quote(&settings.schema), quote("regauge_sinks")),
            columns: columns.iter().map(|c| (quote(&c.name), ty::name(&c.ty), c.ty != DataType::Utf8View)).collect(),
            solid: key.iter().all(|at| columns.get(*at).is_some_and(|c| c.not_null)),
            key,
        }
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Columns of the table that we write.
    fn written(&self) -> String {
        match self.mode {
            Mode::Keyed | Mode::Append => self.names(),
            Mode::Counted => format!("{}, {ROW}, {COUNT}", self.names()),
        }
    }

    fn key_names(&self) -> Vec<&str> {
        self.key.iter().filter_map(|at| self.columns.get(*at)).map(|(name, ..)| name.as_str()).collect()
    }

    /// What the table is unique by; none: by nothing.
    fn unique(&self) -> Option<String> {
        match self.mode {
            Mode::Keyed => Some(self.key_names().join(", ")),
            Mode::Counted => Some(ROW.to_owned()),
            Mode::Append => None,
        }
    }

    /// Makes the table; `version` is the server's, in thousands.
    #[must_use]
    pub fn create(&self, version: u32) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(|(name, ty, _)| format!("{name} {ty}")).collect();
        match self.mode {
            Mode::Append => {}
            Mode::Counted => {
                parts.push(format!("{ROW} uuid PRIMARY KEY"));
                parts.push(format!("{COUNT} bigint NOT NULL"));
            }
            Mode::Keyed if self.solid || version < 15 => parts.push(format!("PRIMARY KEY ({})", self.key_names().join(", "))),
            // A group's key may be NULL, and NULL is one group.
            Mode::Keyed => parts.push(format!("UNIQUE NULLS NOT DISTINCT ({})", self.key_names().join(", "))),
        }
        format!("CREATE TABLE {} ({})", self.name, parts.join(", "))
    }

    /// Fails as the writes would, if columns, uniqueness or privileges do not fit; writes nothing.
    #[must_use]
    pub fn check(&self) -> String {
        let (written, conflict) = (self.written(), self.unique().map(|by| format!(" ON CONFLICT ({by}) DO NOTHING")));
        let conflict = conflict.unwrap_or_default();
        format!("EXPLAIN INSERT INTO {0} ({written}) SELECT {written} FROM {0} WHERE false{conflict}", self.name)
    }

    /// The stage of a transaction, in the table's own types.
    #[must_use]
    pub fn stage(&self) -> String {
        let extra = if self.mode == Mode::Keyed { format!(", true AS {UPSERT}") } else { String::new() };
        format!(
            "CREATE TEMPORARY TABLE regauge_stage ON COMMIT DROP AS SELECT {}{extra} FROM {} WITH NO DATA",
            self.written(),
            self.name
        )
    }

    /// Takes rows in.
    #[must_use]
    pub fn copy(&self) -> String {
        let (into, extra) = match self.mode {
            Mode::Append => (self.name.as_str(), String::new()),
            Mode::Keyed => ("pg_temp.regauge_stage", format!(", {UPSERT}")),
            Mode::Counted => ("pg_temp.regauge_stage", String::new()),
        };
        format!("COPY {into} ({}{extra}) FROM STDIN", self.written())
    }

    /// `t` and `s` have the same key; a key with a NULL in it cannot be joined by `=`, so those rows are a case of their own.
    fn same_key(&self, nulls: bool) -> String {
        let by: Vec<&str> = if self.mode == Mode::Counted { vec![ROW] } else { self.key_names() };
        let operator = if nulls { "IS NOT DISTINCT FROM" } else { "=" };
        by.iter().map(|k| format!("t.{k} {operator} s.{k}")).collect::<Vec<_>>().join(" AND ")
    }

    fn null_key(&self, alias: &str) -> String {
        let each: Vec<String> = self.key_names().iter().map(|k| format!("{alias}.{k} IS NULL")).collect();
        format!("({})", each.join(" OR "))
    }

    fn may_be_null(&self) -> bool {
        self.mode == Mode::Keyed && !self.solid
    }

    /// Rows of the stage go into the table over those of the same key.
    fn upsert(&self, only: &str) -> String {
        let (written, by) = (self.written(), self.unique().unwrap_or_default());
        let keys = self.key_names();
        let rest: Vec<&(String, String, bool)> = match self.mode {
            Mode::Keyed => self.columns.iter().filter(|(name, ..)| !keys.contains(&name.as_str())).collect(),
            _ => vec![],
        };
        let action = match self.mode {
            Mode::Counted => format!("DO UPDATE SET {COUNT} = excluded.{COUNT} WHERE t.{COUNT} <> excluded.{COUNT}"),
            _ if rest.is_empty() => "DO NOTHING".to_owned(),
            _ => {
                let set: Vec<String> = rest.iter().map(|(name, ..)| format!("{name} = excluded.{name}")).collect();
                let differ = |(name, _, comparable): &&(String, String, bool)| {
                    let cast = if *comparable { "" } else { "::text" };
                    format!("t.{name}{cast} IS DISTINCT FROM excluded.{name}{cast}")
                };
                let differ: Vec<String> = rest.iter().map(differ).collect();
                format!("DO UPDATE SET {} WHERE {}", set.join(", "), differ.join(" OR "))
            }
        };
        format!(
            "INSERT INTO {} AS t ({written}) SELECT {written} FROM pg_temp.regauge_stage{only} ON CONFLICT ({by}) {action}",
            self.name
        )
    }

    /// The table becomes what the stage holds.
    #[must_use]
    pub fn replace(&self) -> Vec<String> {
        if self.mode == Mode::Append {
            return vec![];
        }
        let without = |only: &str, nulls: bool| {
            let same = self.same_key(nulls);
            format!("DELETE FROM {} t WHERE {only}NOT EXISTS (SELECT FROM pg_temp.regauge_stage s WHERE {same})", self.name)
        };
        let mut all = if self.may_be_null() {
            let null = self.null_key("t");
            vec![without(&format!("NOT {null} AND "), false), without(&format!("{null} AND "), true)]
        } else {
            vec![without("", false)]
        };
        all.push(self.upsert(""));
        all
    }

    /// The table is emptied, before a whole is appended.
    #[must_use]
    pub fn empty(&self) -> String {
        format!("DELETE FROM {}", self.name)
    }

    /// The changes of the stage happen to the table.
    #[must_use]
    pub fn change(&self) -> Vec<String> {
        match self.mode {
            Mode::Append => vec![],
            Mode::Keyed => {
                let gone = |only: &str, nulls: bool| {
                    let same = self.same_key(nulls);
                    format!("DELETE FROM {} t USING pg_temp.regauge_stage s WHERE NOT s.{UPSERT} AND {only}{same}", self.name)
                };
                let mut all = vec![gone("", false)];
                if self.may_be_null() {
                    all.push(gone(&format!("{} AND ", self.null_key("s")), true));
                }
                all.push(self.upsert(&format!(" WHERE {UPSERT}")));
                all
            }
            Mode::Counted => {
                let (written, name) = (self.written(), &self.name);
                vec![
                    format!(
                        "INSERT INTO {name} AS t ({written}) SELECT {written} FROM pg_temp.regauge_stage ON CONFLICT ({ROW}) DO UPDATE \
                         SET {COUNT} = t.{COUNT} + excluded.{COUNT}"
                    ),
                    format!("DELETE FROM {name} t USING pg_temp.regauge_stage s WHERE t.{ROW} = s.{ROW} AND t.{COUNT} = 0"),
                ]
            }
        }
    }

    /// Rows that there are less than none of: somebody else has written to the table. None: that cannot be.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let of = format!("SELECT FROM {} t JOIN pg_temp.regauge_stage s USING ({ROW}) WHERE t.{COUNT} < 0 LIMIT 1", self.name);
        (self.mode == Mode::Counted).then_some(of)
    }
}

/// Makes the record.
#[must_use]
pub fn create_record(record: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {record} (sink text PRIMARY KEY, name text NOT NULL, target text NOT NULL, incarnation bigint NOT NULL, \
         version bigint, epoch bigint, n_rows bigint NOT NULL DEFAULT 0, committed_at timestamptz)"
    )
}

/// Fields of `COPY .. FROM STDIN`, one of them appended.
pub fn copy_field(text: Option<&str>, first: bool, out: &mut Vec<u8>) {
    if !first {
        out.push(b'\t');
    }
    let Some(text) = text else {
        out.extend(b"\\N");
        return;
    };
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_break_out() {
        assert_eq!(quote("a\"; DROP TABLE t; --"), "\"a\"\"; DROP TABLE t; --\"");
        let mut line = vec![];
        copy_field(Some("a\tb\\N\n"), true, &mut line);
        copy_field(None, false, &mut line);
        assert_eq!(line, b"a\\tb\\\\N\\n\t\\N");
    }
}
