//! UPDATE .. FROM and DELETE .. USING: a table joined with others. A row of the table is changed once.
//!
//! Where a row has several partners PostgreSQL takes any of them; here it is the first that the join gives. RETURNING offers the
//! table's own columns.

use crate::{
    catalog::{Kind, Relation},
    error::{Error, Result},
    table::writes::{keys_of, whole_rows},
};
use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
};
use datafusion::sql::sqlparser::ast::{self, Visitor};
use regauge_plan::walk::Visit;
use std::{collections::HashSet, ops::ControlFlow};

/// Of rows that begin with the table's columns, the first for each row of the table.
pub(super) fn first_of_each(relation: &Relation, found: &RecordBatch) -> Result<RecordBatch> {
    let Kind::Table { key } = &relation.kind else { return Ok(found.clone()) };
    let columns: Vec<usize> = (0..relation.columns.len()).collect();
    let own = found.project(&columns).map_err(Error::arrow)?;
    if key.is_empty() {
        // Copies of a row cannot be told apart behind a join.
        let rows = whole_rows(&own)?;
        let distinct: HashSet<_> = rows.iter().collect();
        if distinct.len() < rows.len() {
            let error = Error::unsupported(format!("rows of \"{}\" have several partners and no key", relation.name));
            return Err(error.hint("give the table a primary key, or write WHERE EXISTS (..)"));
        }
        return Ok(found.clone());
    }
    let mut seen = HashSet::new();
    let keys = keys_of(key, &own)?;
    let first: Vec<u32> = (0u32..).zip(keys).filter_map(|(at, key)| seen.insert(key).then_some(at)).collect();
    take_record_batch(found, &UInt32Array::from(first)).map_err(Error::arrow)
}

/// Whether RETURNING names something else than the table.
pub(super) fn returns_more(relation: &Relation, alias: Option<&str>, items: &[ast::SelectItem]) -> bool {
    struct V<'a>(&'a str, &'a Relation);
    impl Visitor for V<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let fold = |i: &ast::Ident| if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() };
            match e {
                ast::Expr::CompoundIdentifier(parts) if parts.first().is_some_and(|p| fold(p) != self.0) => {
                    ControlFlow::Break(())
                }
                ast::Expr::Identifier(i) if self.1.position(&fold(i)).is_none() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let name = alias.unwrap_or(&relation.name.name);
    items.iter().any(|item| matches!(item, ast::SelectItem::Wildcard(_)) || item.visit(&mut V(name, relation)).is_break())
}

/// What RETURNING does not offer.
pub(super) fn refused(what: &str) -> Error {
    Error::unsupported(format!("RETURNING of {what} offers the table's own columns"))
        .hint("name them, or t.* for all; read the others with a SELECT")
}
