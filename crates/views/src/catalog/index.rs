//! Indexes as the catalog has them: a name, and which columns of a relation are asked for by it.
//!
//! Rows are found by keys, and views keep what they ask for by themselves; so an index is a wish that is known and listed, and changes no
//! answer. It is its relation's: it lives in its schema, and goes with it or with one of its columns.

use super::{Catalog, ObjectId, Relation};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name; no relation of the schema has it.
    pub name: String,
    /// `btree` or `hash`.
    pub method: String,
    /// By what, in order.
    pub columns: Vec<IndexColumn>,
    /// Columns beside those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<u32>,
}

/// A column that an index is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// Its id.
    pub column: u32,
    /// The greatest first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub descending: bool,
    /// NULLs first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nulls_first: bool,
}

impl Index {
    /// All its columns.
    pub fn all_columns(&self) -> impl Iterator<Item = u32> + '_ {
        self.columns.iter().map(|c| c.column).chain(self.include.iter().copied())
    }

    /// Its columns as CREATE INDEX would say them.
    #[must_use]
    pub fn shown(&self, of: &Relation, quote: &dyn Fn(&str) -> String) -> String {
        let name = |id: u32| of.columns.iter().find(|c| c.id.0 == id).map_or_else(String::new, |c| quote(&c.name));
        let by = self.columns.iter().map(|c| {
            let mut text = name(c.column);
            text.push_str(if c.descending { " DESC" } else { "" });
            text.push_str(match (c.descending, c.nulls_first) {
                (true, false) => " NULLS LAST",
                (false, true) => " NULLS FIRST",
                _ => "",
            });
            text
        });
        let by = by.collect::<Vec<_>>().join(", ");
        let include = self.include.iter().map(|id| name(*id)).collect::<Vec<_>>().join(", ");
        let include = if include.is_empty() { include } else { format!(" INCLUDE ({include})") };
        format!("USING {} ({by}){include}", self.method)
    }
}

impl Catalog {
    /// Indexes of a relation, in the order in which they were made.
    pub fn indexes_of(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Index>> {
        self.indexes.get(&id).into_iter().flatten()
    }

    /// The relation of an index.
    #[must_use]
    pub fn index_named(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        let has = |id: &ObjectId| self.indexes_of(*id).any(|index| index.name == name);
        self.indexes.keys().filter(|id| has(id)).filter_map(|id| self.get(*id)).find(|r| r.name.schema == schema)
    }

    /// The relation of an index by a name that may lack its schema.
    #[must_use]
    pub fn resolve_index(&self, schema: Option<&str>, name: &str, search_path: &[String]) -> Option<&Arc<Relation>> {
        match schema {
            Some(schema) => self.index_named(schema, name),
            None => search_path.iter().find_map(|schema| self.index_named(schema, name)),
        }
    }
}
