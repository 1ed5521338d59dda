//! DESCRIBE: a relation's columns.

use super::{Session, show::texts};
use crate::{
    catalog::{Kind, ty},
    error::Result,
    response::Response,
};
use regauge_plan::parse::RelationName;

impl Session {
    pub(super) fn describe(&self, name: &RelationName) -> Result<Response> {
        let scope = self.scope(None);
        let relation = scope.relation(name.schema.as_deref(), &name.name)?;
        let key: &[usize] = match &relation.kind {
            Kind::Table { key } => key,
            Kind::Materialized { .. } => relation.routed().and_then(|v| v.key.as_deref()).unwrap_or_default(),
            _ => &[],
        };
        let rows: Vec<_> = relation
            .columns
            .iter()
            .enumerate()
            .map(|(at, c)| {
                let ty = ty::written(&c.ty, c.chars_max);
                let not_null = c.not_null || matches!(relation.kind, Kind::Table { .. }) && key.contains(&at);
                let yes = |b: bool| Some(if b { "yes" } else { "no" }.to_owned());
                vec![Some(c.name.clone()), Some(ty), yes(!not_null), yes(key.contains(&at)), c.default.clone()]
            })
            .collect();
        texts(&["column", "type", "nullable", "key", "default"], &rows, "DESCRIBE")
    }
}
