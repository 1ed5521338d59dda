//! `*` and `t.*` as the columns that they stand for, in PostgreSQL's order: what a join merges first, then the rest of its left side,
//! then of its right one. Beside columns that are written out it is then known which names repeat.

use datafusion::sql::sqlparser::ast::{Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions};

use super::shape::{Relation, Shape};
use crate::parse::fold;

/// Rewrites a select list over this shape.
pub(super) fn expand(s: &mut Select, shape: &Shape) {
    if shape.columns.is_empty() {
        return;
    }
    let plain = |options: &WildcardAdditionalOptions| *options == WildcardAdditionalOptions::default();
    let mut items = Vec::with_capacity(s.projection.len());
    for item in std::mem::take(&mut s.projection) {
        match &item {
            SelectItem::Wildcard(options) if plain(options) => items.extend(shape.columns.iter().map(|c| c.item())),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) if plain(options) => {
                let parts: Option<Vec<&Ident>> = name.0.iter().map(|p| p.as_ident()).collect();
                match parts.and_then(|parts| relation(shape, &parts)) {
                    Some(of) => items.extend(of.columns.iter().map(|c| SelectItem::UnnamedExpr(of.column(c)))),
                    None => items.push(item),
                }
            }
            _ => items.push(item),
        }
    }
    s.projection = items;
}

/// The one relation of that name.
fn relation<'a>(shape: &'a Shape, parts: &[&Ident]) -> Option<&'a Relation> {
    let name = fold(parts.last()?);
    let mut named = shape.relations.iter().filter(|r| r.name == name);
    let first = named.next()?;
    named.next().is_none().then_some(first)
}
