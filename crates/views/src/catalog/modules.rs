//! WebAssembly modules that the catalog keeps: those that a function or the text or plan of something names by its hash.
//!
//! A module's bytes come in once, with the first function that is an export of it, in the row's binary column. Who has taken a function
//! in (a view, a DEFAULT, a CHECK) names the module in its text, so a module stays as long as somebody names it and is forgotten after
//! that. Invariant: an event that names a module which is not here does not fit. Cost: texts are searched only when something
//! was dropped or replaced, and only while there are modules.

use super::{Catalog, ColumnSpec, Event, Kind, Made, Relation};
use regauge_plan::wasm::{self, Module};
use std::{collections::BTreeSet, sync::Arc};

/// Digits of a hash.
const HASH: usize = 64;

impl Catalog {
    /// A module by its hash.
    #[must_use]
    pub fn module(&self, hash: &str) -> Option<&Arc<Module>> {
        self.modules.get(hash)
    }

    /// All modules, by their hashes.
    pub fn modules(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.modules.values()
    }

    /// After the events of a commit: what they name is here, and what nobody names any more is not.
    pub(super) fn settle_modules(&mut self, events: &[Event]) -> Result<(), &'static str> {
        if events.iter().any(|event| texts(event).into_iter().flat_map(named).any(|hash| !self.modules.contains_key(hash))) {
            return Err("a WebAssembly module is not here");
        }
        let leaves = |e: &Event| {
            matches!(
                e,
                Event::Dropped { .. }
                    | Event::FunctionCreated { .. }
                    | Event::FunctionDropped { .. }
                    | Event::ViewReplaced { .. }
                    | Event::VersionRetired { .. }
                    | Event::Altered { .. }
            )
        };
        if self.modules.is_empty() || !events.iter().any(leaves) {
            return Ok(());
        }
        let mut unused: BTreeSet<String> = self.modules.keys().cloned().collect();
        let mut see = |text: &str| unused.retain(|hash| !text.contains(hash.as_str()));
        self.functions().for_each(|f| see(&f.spec.body));
        self.relations().for_each(|r| of_relation(r, &mut see));
        self.modules.retain(|hash, _| !unused.contains(hash));
        Ok(())
    }
}

fn of_relation(relation: &Relation, see: &mut dyn FnMut(&str)) {
    for column in &relation.columns {
        column.default.iter().for_each(|sql| see(sql));
        if let Made::Computed(sql) = &column.made {
            see(sql);
        }
    }
    relation.checks.iter().for_each(|check| see(&check.sql));
    match &relation.kind {
        Kind::View { definition } => see(&definition.sql),
        Kind::Materialized { versions, .. } => {
            for version in versions.values() {
                see(&version.definition.sql);
                // A plain view that it reads may have named the module, and be another by now.
                see(&String::from_utf8_lossy(&version.plan));
            }
        }
        Kind::Stream { watermark: Some(watermark), .. } => see(&watermark.sql),
        Kind::Table { .. } | Kind::Stream { .. } => {}
    }
}

/// Texts of an event in which calls may stand.
fn texts(event: &Event) -> Vec<&str> {
    match event {
        Event::TableCreated { columns, checks, .. }
        | Event::StreamCreated { columns, checks, .. }
        | Event::Altered { columns, checks, .. } => {
            columns.iter().flat_map(of_column).chain(checks.iter().map(|c| c.sql.as_str())).collect()
        }
        Event::ViewCreated { definition, .. } | Event::ViewReplaced { definition, .. } => vec![&definition.sql],
        Event::VersionAdded { spec, .. } => vec![&spec.definition.sql],
        Event::Redefined { sql, .. } => vec![sql],
        Event::FunctionCreated { spec, .. } => vec![&spec.body],
        _ => vec![],
    }
}

fn of_column(column: &ColumnSpec) -> Vec<&str> {
    let computed = if let Made::Computed(sql) = &column.made { Some(sql.as_str()) } else { None };
    column.default.as_deref().into_iter().chain(computed).collect()
}

/// Hashes of the modules that a text in SQL calls.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(wasm::NAME).filter_map(|(at, name)| {
        let rest = text.get(at + name.len()..)?;
        let start = rest.find('\'')? + 1;
        let hash = rest.get(start..start + HASH)?;
        hash.bytes().all(|b| b.is_ascii_hexdigit()).then_some(hash)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_texts() {
        let hash = "0123456789abcdef".repeat(4);
        let text =
            format!("SELECT regauge_wasm('{hash}', 'f', 'strict', x), regauge_wasm_fold ( '{hash}' ), regauge_wasm('short')");
        assert_eq!(named(&text).collect::<Vec<_>>(), [hash.as_str(), hash.as_str()]);
    }
}
