//! The catalog as the planner of views asks for it.

use super::{Catalog, Kind, Relation};
use crate::{error::Result, read::names::Scope};
use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast;
use regauge_plan::{
    FlowPlan, PlanOptions, SourceId,
    catalog::{CatalogView, RelationInfo, RelationKind},
    parse::RelationName,
};
use std::sync::Arc;

struct Lookup<'a> {
    catalog: &'a Catalog,
    search_path: &'a [String],
}

impl CatalogView for Lookup<'_> {
    fn relation(&self, name: &RelationName) -> Option<RelationInfo> {
        let relation = self.catalog.resolve(name.schema.as_deref(), &name.name, self.search_path)?;
        info(self.catalog, relation, name.version)
    }
}

fn info(catalog: &Catalog, relation: &Relation, version: Option<u32>) -> Option<RelationInfo> {
    let topic = relation.topic().map(SourceId::Topic);
    let of = |id, kind, append_only, key| RelationInfo {
        id,
        kind,
        schema: relation.schema(),
        append_only,
        key,
        view_sql: None,
        watermark: None,
    };
    Some(match &relation.kind {
        Kind::Table { key } => of(topic?, RelationKind::Table, false, (!key.is_empty()).then(|| key.clone())),
        Kind::Stream { .. } => {
            let watermark = crate::event_time::layout::clock(relation).map(|clock| clock.column);
            RelationInfo { watermark, ..of(topic?, RelationKind::Stream, true, None) }
        }
        Kind::View { definition } => {
            let id = SourceId::Version(relation.view()?, regauge_types::VersionNo(0));
            // Who reads it may have another search path.
            let query = crate::syntax::query(&definition.sql).ok()?;
            let sql = super::retext::qualified(&query, catalog, &definition.search_path).ok()?.to_string();
            RelationInfo { view_sql: Some(sql), ..of(id, RelationKind::View, false, None) }
        }
        Kind::Materialized { versions, routed } => {
            let no = version.map_or(*routed, regauge_types::VersionNo);
            let version = versions.get(&no)?;
            let append_only = FlowPlan::from_bytes(&version.plan).ok()?.root_node()?.append_only;
            let id = SourceId::Version(relation.view()?, no);
            // A version's columns are known by their positions.
            let fields: Vec<Field> = version.columns.iter().map(|c| Field::new(&c.name, c.ty.clone(), true)).collect();
            let schema = Arc::new(Schema::new(fields));
            RelationInfo { schema, ..of(id, RelationKind::MaterializedView, append_only, version.key.clone()) }
        }
    })
}

/// Plans a materialized view of a query.
pub fn plan(catalog: &Catalog, scope: &Scope, query: &ast::Query, options: &PlanOptions) -> Result<FlowPlan> {
    let lookup = Lookup { catalog, search_path: &scope.search_path };
    Ok(regauge_plan::plan_view(query, &lookup, options)?)
}
