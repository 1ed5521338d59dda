//! CREATE TABLE (LIKE t ..): the columns of another relation, and what INCLUDING names of their rules, taken once: later changes of the one are
//! none of the other's. Names, types, lengths and NOT NULL are always taken; comments are not.

use super::{Session, txn::Txn};
use crate::{
    catalog::{Catalog, Column, Kind, Made, retext::identifier},
    error::Result,
    syntax,
};
use regauge_plan::parse::{self, Check, ColumnSpec, CreateTable, Like, LikePart, SequenceSpec};

impl Session {
    /// The same statement with all columns written out.
    pub(super) fn alike(&self, txn: &Txn, create: &CreateTable) -> Result<CreateTable> {
        let (mut columns, mut checks, mut key) = (create.columns.clone(), create.checks.clone(), create.key.clone());
        // From the back, so that the places of those before hold.
        for like in create.likes.iter().rev() {
            let source = self.target(txn, &like.table)?;
            let copies = source.columns.iter().map(|c| spec(&txn.catalog, c, like)).collect::<Result<Vec<_>>>()?;
            columns.splice(like.at..like.at, copies);
            if like.takes(LikePart::Constraints) {
                for check in &source.checks {
                    let condition = syntax::expression(&check.sql)?;
                    checks.push(Check { name: Some(check.name.clone()), column: None, condition });
                }
            }
            if let Kind::Table { key: of } = &source.kind
                && !of.is_empty()
                && like.takes(LikePart::Indexes)
            {
                let names = of.iter().map(|at| source.columns[*at].name.clone()).collect();
                if key.replace(names).is_some() {
                    return Err(parse::two_keys().into());
                }
            }
        }
        let (columns, primary_key) = parse::finish_columns(columns, key)?;
        Ok(CreateTable { columns, primary_key, checks, likes: vec![], key: None, ..create.clone() })
    }
}

fn spec(catalog: &Catalog, column: &Column, like: &Like) -> Result<ColumnSpec> {
    let mut spec = ColumnSpec {
        name: column.name.clone(),
        ty: column.ty.clone(),
        chars_max: column.chars_max,
        not_null: column.not_null,
        default: None,
        made: parse::Made::Given,
    };
    match &column.made {
        Made::Given if like.takes(LikePart::Defaults) => {
            spec.default = column.default.as_deref().map(syntax::expression).transpose()?;
        }
        Made::Computed(sql) if like.takes(LikePart::Generated) => {
            spec.made = parse::Made::Computed(syntax::expression(sql)?);
        }
        // As in PostgreSQL both tables count by one sequence.
        Made::Counted { sequence, serial: true, .. } if like.takes(LikePart::Defaults) => {
            if let Some(s) = catalog.sequence(*sequence) {
                let name = format!("{}.{}", identifier(&s.name.schema), identifier(&s.name.name)).replace('\'', "''");
                spec.default = Some(syntax::expression(&format!("nextval('{name}')"))?);
            }
        }
        Made::Counted { sequence, always, serial: false } if like.takes(LikePart::Identity) => {
            let of = catalog.sequence(*sequence).map(|s| &s.spec);
            let of = of.map_or_else(SequenceSpec::default, |s| SequenceSpec {
                increment: Some(s.increment),
                min: Some(s.min),
                max: Some(s.max),
                start: Some(s.start),
                cycle: s.cycle,
                bits: Some(s.bits),
            });
            spec.made = parse::Made::Counted { always: *always, serial: false, spec: of };
        }
        _ => {}
    }
    Ok(spec)
}
