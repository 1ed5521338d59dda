//! `*` and `t.*` as the columns that they stand for, in PostgreSQL's order: what a join merges first, then the rest of its left side,
//! then of its right one. Beside columns that are written out it is then known which names repeat.
//! What `EXCLUDE (a, b)` or `EXCEPT (a, b)` behind it name is left out, as DuckDB and BigQuery have it.

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use super::shape::{Relation, Shape};
use crate::error::PlanError;
use crate::parse::fold;

/// Rewrites a select list over this shape.
///
/// # Errors
/// 42703 for a column to leave out that is not there.
pub(super) fn expand(s: &mut Select, shape: &Shape) -> Result<(), PlanError> {
    if shape.columns.is_empty() {
        return Ok(());
    }
    let mut items = Vec::with_capacity(s.projection.len());
    for item in std::mem::take(&mut s.projection) {
        match &item {
            SelectItem::Wildcard(options) => match without(options) {
                Some(out) => {
                    are_there(&out, shape.columns.iter().map(|c| c.name.as_str()))?;
                    items.extend(shape.columns.iter().filter(|c| !out.contains(&c.name)).map(|c| c.item()));
                }
                None => items.push(item),
            },
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let parts: Option<Vec<&Ident>> = name.0.iter().map(|p| p.as_ident()).collect();
                match parts.and_then(|parts| relation(shape, &parts)).zip(without(options)) {
                    Some((of, out)) => {
                        are_there(&out, of.columns.iter().map(String::as_str))?;
                        let columns = of.columns.iter().filter(|c| !out.contains(*c));
                        items.extend(columns.map(|c| SelectItem::UnnamedExpr(of.column(c))));
                    }
                    None => items.push(item),
                }
            }
            _ => items.push(item),
        }
    }
    s.projection = items;
    Ok(())
}

/// The columns to leave out; `None` for options that are others.
fn without(options: &WildcardAdditionalOptions) -> Option<Vec<String>> {
    let rest = WildcardAdditionalOptions { opt_exclude: None, opt_except: None, ..options.clone() };
    if rest != WildcardAdditionalOptions::default() {
        return None;
    }
    let mut out = vec![];
    if let Some(exclude) = &options.opt_exclude {
        let names = match exclude {
            ExcludeSelectItem::Single(one) => std::slice::from_ref(one),
            ExcludeSelectItem::Multiple(all) => all.as_slice(),
        };
        for name in names {
            out.push(fold(name.0.last()?.as_ident()?));
        }
    }
    if let Some(except) = &options.opt_except {
        out.extend(std::iter::once(&except.first_element).chain(&except.additional_elements).map(fold));
    }
    Some(out)
}

fn are_there<'a>(out: &[String], columns: impl Iterator<Item = &'a str> + Clone) -> Result<(), PlanError> {
    match out.iter().find(|name| !columns.clone().any(|column| column == **name)) {
        None => Ok(()),
        Some(name) => {
            let hint = format!("the columns are {}", columns.collect::<Vec<_>>().join(", "));
            Err(PlanError::invalid("42703", format!("column \"{name}\" does not exist")).with_hint(hint))
        }
    }
}

/// The one relation of that name.
fn relation<'a>(shape: &'a Shape, parts: &[&Ident]) -> Option<&'a Relation> {
    let name = fold(parts.last()?);
    let mut named = shape.relations.iter().filter(|r| r.name == name);
    let first = named.next()?;
    named.next().is_none().then_some(first)
}
