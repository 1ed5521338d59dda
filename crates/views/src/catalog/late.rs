//! `WITH (late = ..)`: what a materialized view makes of records that came after their stream's watermark had passed them.
//!
//! `correct` (usual): they count like any other, and the view corrects itself. `divert` and `drop` read every stream that has a watermark
//! WHERE NOT _late, which EXPLAIN shows; with `divert` the records left out are shown by `<view>_late`, a plain view that CREATE makes
//! beside it, in the same commit: it goes with it, and not without it. With `drop` they are counted, in `regauge.late`. Either way
//! they stay in the stream's topic. Not offered: materialized views over `<view>_late`, which knows partitions and offsets.

use super::{Catalog, Column, ColumnSpec, DefinitionSpec, Kind, Name, ObjectId, PUBLIC, Relation, Version};
use crate::{
    error::{Error, Result},
    event_time::layout,
    syntax::quote,
};
use arrow::datatypes::{DataType, TimeUnit};
use regauge_plan::{FlowPlan, SourceId};
use regauge_types::ColumnId;
use std::{collections::BTreeSet, sync::Arc};

/// The option.
pub const OPTION: &str = "late";
/// The option that says EMIT FINAL.
pub const EMIT: &str = "emit";

/// What is made of late records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// They count.
    Correct,
    /// They are shown elsewhere.
    Divert,
    /// They are counted.
    Drop,
}

impl Late {
    /// The option's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Late::Correct => "correct",
            Late::Divert => "divert",
            Late::Drop => "drop",
        }
    }

    /// Of a version.
    #[must_use]
    pub fn of(version: &Version) -> Late {
        option(version.options.get(OPTION).map(String::as_str)).unwrap_or(Late::Correct)
    }
}

/// What `late` said.
pub fn option(value: Option<&str>) -> Result<Late> {
    match value {
        None | Some("correct") => Ok(Late::Correct),
        Some("divert") => Ok(Late::Divert),
        Some("drop") => Ok(Late::Drop),
        Some(other) => Err(Error::unsupported(format!("late = '{other}' is not offered")).hint(
            "late = 'correct' counts late records, 'divert' sets them aside in <view>_late, 'drop' leaves them out and counts them",
        )),
    }
}

/// Streams with a watermark among what a query uses.
pub fn streams(catalog: &Catalog, uses: &BTreeSet<ObjectId>) -> Vec<ObjectId> {
    let has_clock = |id: &&ObjectId| catalog.get(**id).is_some_and(|r| layout::clock(r).is_some());
    uses.iter().filter(has_clock).copied().collect()
}

/// Those that a version reads.
#[must_use]
pub fn streams_of<'a>(catalog: &'a Catalog, version: &Version) -> Vec<&'a Arc<Relation>> {
    let Ok(plan) = FlowPlan::from_bytes(&version.plan) else { return vec![] };
    let topic = |id: SourceId| if let SourceId::Topic(topic) = id { Some(ObjectId::Topic(topic.0)) } else { None };
    let relations = plan.sources().into_iter().filter_map(topic).filter_map(|id| catalog.get(id));
    relations.filter(|r| layout::clock(r).is_some()).collect()
}

/// The name of the view over the records that a view leaves out.
pub fn name(view: &Name) -> Name {
    Name { schema: view.schema.clone(), name: format!("{}_late", view.name) }
}

/// Its columns and definition: which record, and its columns where there is one stream.
pub fn beside(catalog: &Catalog, view: ObjectId, streams: &[ObjectId]) -> (Vec<ColumnSpec>, DefinitionSpec) {
    let clock = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let fixed =
        [("_stream", DataType::Utf8), ("_partition", DataType::Int32), ("_offset", DataType::Int64), ("_commit_ts", clock)];
    let mut columns: Vec<(String, DataType)> = fixed.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect();
    let relations: Vec<&Arc<Relation>> = streams.iter().filter_map(|id| catalog.get(*id)).collect();
    let own: &[Column] = if let [one] = relations.as_slice() { &one.columns } else { &[] };
    columns.extend(own.iter().map(|c| (c.name.clone(), c.ty.clone())));
    let select = |r: &&Arc<Relation>| {
        let items: String = own.iter().map(|c| format!(", {}", quote(&c.name))).collect();
        let (stream, schema) = (r.name.to_string().replace('\'', "''"), quote(&r.name.schema));
        let from = format!("{schema}.{}", quote(&r.name.name));
        format!("SELECT CAST('{stream}' AS text) AS _stream, _partition, _offset, _commit_ts{items} FROM {from} WHERE _late")
    };
    let sql = relations.iter().map(select).collect::<Vec<_>>().join(" UNION ALL ");
    let column = |(id, (name, ty)): (u32, (String, DataType))| {
        ColumnSpec::of(&Column {
            id: ColumnId(id),
            name,
            ty,
            not_null: false,
            chars_max: None,
            default: None,
            made: super::Made::default(),
        })
    };
    let depends_on = std::iter::once(view).chain(streams.iter().copied()).collect();
    let definition = DefinitionSpec { sql, search_path: vec![PUBLIC.to_owned()], time_zone: "UTC".to_owned(), depends_on };
    ((1..).zip(columns).map(column).collect(), definition)
}

/// The text of such a view where a stream has got another name: what it says of a record is replaced, what it reads is not.
pub fn restated(sql: &str, from: &Name, to: &Name) -> String {
    let said = |name: &Name, ty: &str| format!("CAST('{}' AS {ty}) AS _stream", name.to_string().replace('\'', "''"));
    // As it was made, and as a text is that was written anew.
    ["text", "TEXT"].iter().fold(sql.to_owned(), |sql, ty| sql.replace(&said(from, ty), &said(to, ty)))
}

/// Whether a relation is the view over the records that another leaves out.
pub fn is_of(relation: &Relation, of: &Relation) -> bool {
    let Kind::View { definition } = &relation.kind else { return false };
    let diverts = of.routed().is_some_and(|version| Late::of(version) == Late::Divert);
    diverts && relation.name == name(&of.name) && definition.depends_on.first() == Some(&of.id)
}

/// One of these relations that shows what another relation leaves out.
pub fn among<'a>(catalog: &'a Catalog, ids: &BTreeSet<ObjectId>) -> Option<&'a Arc<Relation>> {
    let shows = |r: &&Arc<Relation>| r.depends_on().filter_map(|of| catalog.get(of)).any(|of| is_of(r, of));
    ids.iter().filter_map(|id| catalog.get(*id)).find(shows)
}
