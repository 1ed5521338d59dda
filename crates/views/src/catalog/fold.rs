//! The catalog as a fold: `decide` turns a wish into events or refuses it, [`super::apply`] takes one event in.
//!
//! Both are pure, and the second accepts every event that the first ever gave. Cost of either: logarithmic in the number of
//! relations, times the columns of the one concerned.

use super::{
    Catalog, Change, Check, Column, ColumnSpec, DefinitionSpec, Event, FunctionSpec, Index, Made, Name, ObjectId, PUBLIC,
    SequenceSpec, SinkSpec, VersionSpec, WatermarkSpec, alter, dead, diverted, drops::drops, late, secret,
};
use crate::error::{Error, Result, sqlstate as code};
use regauge_plan::wasm::Module;
use regauge_types::ErrorKind;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a statement wants of the catalog.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Wish {
    Table {
        name: Name,
        columns: Vec<Column>,
        key: Vec<usize>,
        options: BTreeMap<String, String>,
        checks: Vec<Check>,
        /// Sequences of its own: positions of the columns, and what is counted there.
        sequences: Vec<(usize, SequenceSpec)>,
    },
    Stream {
        name: Name,
        columns: Vec<Column>,
        partition_by: Vec<usize>,
        partitions: u32,
        watermark: Option<WatermarkSpec>,
        options: BTreeMap<String, String>,
        checks: Vec<Check>,
        sequences: Vec<(usize, SequenceSpec)>,
    },
    View {
        name: Name,
        columns: Vec<Column>,
        definition: DefinitionSpec,
    },
    /// CREATE OR REPLACE of a plain view that is there.
    ReplaceView {
        view: ObjectId,
        columns: Vec<Column>,
        definition: DefinitionSpec,
    },
    Materialized {
        name: Name,
        version: VersionSpec,
        /// Streams whose late records another view is to show.
        late: Vec<ObjectId>,
    },
    Drop {
        objects: Vec<ObjectId>,
        cascade: bool,
    },
    Schema {
        name: String,
    },
    DropSchema {
        name: String,
        cascade: bool,
    },
    Rename {
        object: ObjectId,
        to: Name,
    },
    Alter {
        object: ObjectId,
        change: Change,
    },
    Comment {
        object: ObjectId,
        column: Option<String>,
        text: Option<String>,
    },
    Sequence {
        name: Name,
        spec: SequenceSpec,
    },
    DropSequence {
        sequence: u32,
    },
    /// In the place of one with as many parameters, if there is one.
    Function {
        name: Name,
        spec: FunctionSpec,
        /// The WebAssembly module that it is an export of.
        module: Option<Arc<Module>>,
    },
    DropFunction {
        name: Name,
        params: usize,
    },
    Index {
        object: ObjectId,
        index: Index,
    },
    DropIndex {
        object: ObjectId,
        name: String,
    },
    Sink {
        name: Name,
        spec: SinkSpec,
    },
    AlterSink {
        sink: u32,
        spec: SinkSpec,
    },
    Pace {
        view: u32,
        rate: Option<u64>,
    },
    DropSink {
        sink: u32,
    },
    /// What becomes of a stream's bad records.
    OnError {
        stream: ObjectId,
        diverts: bool,
    },
    /// A secret, new or with another value.
    Secret {
        name: Name,
        file: String,
    },
    DropSecret {
        name: Name,
        cascade: bool,
    },
    Reserve {
        sequence: u32,
        last: Option<i64>,
    },
}

/// The events that fulfil a wish, or why not.
pub fn decide(catalog: &Catalog, wish: Wish) -> Result<Vec<Event>> {
    match wish {
        Wish::Table { name, mut columns, key, options, checks, sequences } => {
            free(catalog, &name)?;
            let topic = catalog.last_topic + 1;
            let mut events = counted(catalog, ObjectId::Topic(topic), &name, &mut columns, sequences)?;
            events.push(Event::TableCreated { topic, name, columns: specs(&columns)?, key, options, checks });
            Ok(events)
        }
        Wish::Stream { name, mut columns, partition_by, partitions, watermark, options, checks, sequences } => {
            free(catalog, &name)?;
            let topic = catalog.last_topic + 1;
            let mut events = counted(catalog, ObjectId::Topic(topic), &name, &mut columns, sequences)?;
            let columns = specs(&columns)?;
            let aside = options.get(dead::OPTION).is_some_and(|v| v == dead::DEAD_LETTER);
            let aside = aside.then(|| dead::made(topic + 1, topic, &name));
            if let Some(Event::StreamCreated { name, .. }) = &aside {
                free(catalog, name)?;
            }
            events.push(Event::StreamCreated { topic, name, columns, partition_by, partitions, watermark, options, checks });
            events.extend(aside);
            Ok(events)
        }
        Wish::View { name, columns, definition } => {
            free(catalog, &name)?;
            Ok(vec![Event::ViewCreated { view: catalog.last_view + 1, name, columns: specs(&columns)?, definition }])
        }
        Wish::Materialized { name, version, late: streams } => {
            free(catalog, &name)?;
            let view = catalog.last_view + 1;
            let diverts = version.options.get(diverted::OPTION).is_some_and(|v| v == diverted::DIVERT);
            let mut events = vec![
                Event::MaterializedViewCreated { view, name: name.clone() },
                Event::VersionAdded { view, version: 1, spec: version },
                Event::Routed { view, version: 1 },
            ];
            if diverts {
                let (aside, definition) = (diverted::name(&name), diverted::definition(ObjectId::View(view), &name));
                free(catalog, &aside)?;
                events.push(Event::ViewCreated { view: view + 1, name: aside, columns: diverted::columns(), definition });
            }
            if !streams.is_empty() {
                let (aside, (columns, definition)) = (late::name(&name), late::beside(catalog, ObjectId::View(view), &streams));
                free(catalog, &aside)?;
                events.push(Event::ViewCreated { view: view + 1 + u32::from(diverts), name: aside, columns, definition });
            }
            Ok(events)
        }
        Wish::ReplaceView { view, columns, definition } => alter::replace_view(catalog, view, &columns, definition),
        Wish::Drop { objects, cascade } => drops(catalog, &objects, cascade),
        Wish::Schema { name } => {
            if catalog.has_schema(&name) || SYSTEM_SCHEMAS.contains(&name.as_str()) {
                let message = format!("schema \"{name}\" already exists");
                return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_SCHEMA, message).hint("write IF NOT EXISTS"));
            }
            if name.starts_with("pg_") || name == diverted::SCHEMA {
                let message = format!("unacceptable schema name \"{name}\"");
                return Err(Error::invalid("42939", message).detail("The prefix \"pg_\" is reserved for system schemas."));
            }
            Ok(vec![Event::SchemaCreated { schema: name }])
        }
        Wish::DropSchema { name, cascade } => drop_schema(catalog, name, cascade),
        Wish::Rename { object, to } => alter::rename(catalog, object, to),
        Wish::Alter { object, change } => alter::change(catalog, object, change),
        Wish::Comment { object, column, text } => {
            let relation = catalog.get(object).ok_or_else(|| Error::internal("no such relation"))?;
            let column = match column {
                None => 0,
                Some(name) => {
                    let at = relation.position(&name).ok_or_else(|| Error::no_column(&name, &relation.name))?;
                    relation.columns[at].id.0
                }
            };
            Ok(vec![Event::Commented { object, column, text }])
        }
        Wish::Sequence { name, spec } => {
            free(catalog, &name)?;
            Ok(vec![Event::SequenceCreated { sequence: catalog.last_sequence + 1, name, spec }])
        }
        Wish::DropSequence { sequence } => drop_sequence(catalog, sequence),
        Wish::Function { name, spec, module } => {
            if !catalog.has_schema(&name.schema) {
                let message = format!("schema \"{}\" does not exist", name.schema);
                return Err(Error::new(ErrorKind::NotFound, code::INVALID_SCHEMA, message).hint("CREATE SCHEMA, or leave it out"));
            }
            spec.function(&name).map_err(|what| Error::internal(format!("function {name} cannot be stored: {what}")))?;
            let new = module.filter(|module| catalog.module(module.hash()).is_none());
            let added = new.map(|module| Event::ModuleAdded { hash: module.hash().to_owned(), module: Some(module) });
            Ok(added.into_iter().chain([Event::FunctionCreated { name, spec }]).collect())
        }
        Wish::Secret { name, file } => secret::set(catalog, name, file),
        Wish::DropSecret { name, cascade } => secret::drop(catalog, name, cascade),
        Wish::DropFunction { name, params } => Ok(vec![Event::FunctionDropped { name, params }]),
        Wish::Index { object, index } => {
            let relation = catalog.get(object).ok_or_else(|| Error::internal("no such relation"))?;
            free(catalog, &Name { name: index.name.clone(), schema: relation.name.schema.clone() })?;
            Ok(vec![Event::IndexCreated { object, index }])
        }
        Wish::DropIndex { object, name } => Ok(vec![Event::IndexDropped { object, name }]),
        Wish::Sink { name, spec } => {
            free(catalog, &name)?;
            Ok(vec![Event::SinkCreated { sink: catalog.last_sink + 1, name, spec }])
        }
        Wish::AlterSink { sink, spec } => Ok(vec![Event::SinkAltered { sink, spec }]),
        Wish::Pace { view, rate } => Ok(vec![Event::BackfillPaced { view, rate }]),
        Wish::OnError { stream, diverts } => dead::set(catalog, stream, diverts),
        Wish::DropSink { sink } => Ok(vec![Event::SinkDropped { sink }]),
        Wish::Reserve { sequence, last } => Ok(vec![Event::SequenceReserved { sequence, last }]),
    }
}

/// Schemas that are always there and are nobody's.
const SYSTEM_SCHEMAS: [&str; 3] = ["pg_catalog", "information_schema", "regauge"];

fn drop_schema(catalog: &Catalog, name: String, cascade: bool) -> Result<Vec<Event>> {
    if name == PUBLIC || !catalog.has_schema(&name) {
        let message = format!("cannot drop schema {name}: it is always there");
        return Err(Error::invalid(code::FEATURE_NOT_SUPPORTED, message).hint("drop the relations within it"));
    }
    let within: Vec<ObjectId> = catalog.relations().filter(|r| r.name.schema == name).map(|r| r.id).collect();
    let sequences: Vec<u32> = catalog.sequences().filter(|s| s.name.schema == name).map(|s| s.id).collect();
    if !cascade && let Some(first) = within.first().and_then(|id| catalog.get(*id)) {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .detail(format!("{} {} depends on schema {name}", first.kind_name(), first.name))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    // A sequence that stays would have no schema; one that belongs to a column goes with its relation.
    let free = sequences.into_iter().filter(|id| catalog.sequence(*id).is_some_and(|s| s.spec.owner.is_none()));
    let free: Vec<u32> = free.collect();
    if !cascade && !free.is_empty() {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let functions = catalog.functions().filter(|f| f.name.schema == name);
    let secrets: Vec<Name> = catalog.secrets().map(|(of, _)| of.clone()).filter(|of| of.schema == name).collect();
    let functions: Vec<Event> =
        functions.map(|f| Event::FunctionDropped { name: f.name.clone(), params: f.spec.params.len() }).collect();
    if !cascade && (!functions.is_empty() || !secrets.is_empty()) {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let uses_one = |sink: &super::Sink| sink.spec.secrets().any(|(_, secret)| secrets.contains(&secret));
    let mut sinks: Vec<u32> = catalog.sinks().filter(|s| s.name.schema == name || uses_one(s)).map(|s| s.id).collect();
    if !cascade && !sinks.is_empty() {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let mut events = drops(catalog, &within, cascade)?;
    sinks.retain(|id| !events.iter().any(|e| matches!(e, Event::SinkDropped { sink } if sink == id)));
    events.extend(sinks.into_iter().map(|sink| Event::SinkDropped { sink }));
    events.extend(functions);
    events.extend(secrets.into_iter().map(|name| Event::SecretDropped { name }));
    events.extend(free.into_iter().map(|sequence| Event::SequenceDropped { sequence }));
    events.push(Event::SchemaDropped { schema: name });
    Ok(events)
}

fn drop_sequence(catalog: &Catalog, sequence: u32) -> Result<Vec<Event>> {
    let of = catalog.sequence(sequence).ok_or_else(|| Error::internal("no such sequence"))?;
    if let Some((owner, _)) = of.spec.owner
        && let Some(relation) = catalog.get(owner)
    {
        let message = format!("cannot drop sequence {} because other objects depend on it", of.name);
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .detail(format!("a column of {} {} counts by it", relation.kind_name(), relation.name))
            .hint("drop the column or its relation"));
    }
    Ok(vec![Event::SequenceDropped { sequence }])
}

/// Sequences of columns, under PostgreSQL's names; the columns are told their ids.
fn counted(
    catalog: &Catalog,
    owner: ObjectId,
    of: &Name,
    columns: &mut [Column],
    sequences: Vec<(usize, SequenceSpec)>,
) -> Result<Vec<Event>> {
    let mut taken: Vec<String> = vec![of.name.clone()];
    let mut events = Vec::with_capacity(sequences.len());
    for (id, (at, spec)) in (catalog.last_sequence + 1..).zip(sequences) {
        let Some(column) = columns.get_mut(at) else { return Err(Error::internal("a sequence without a column")) };
        let first = format!("{}_{}_seq", of.name, column.name);
        let others = (1..).map(|n| format!("{first}{n}"));
        let is_free = |name: &String| !taken.contains(name) && free(catalog, &Name { name: name.clone(), ..of.clone() }).is_ok();
        let found = std::iter::once(first.clone()).chain(others).find(is_free);
        let name = found.unwrap_or(first);
        taken.push(name.clone());
        if let Made::Counted { sequence, .. } = &mut column.made {
            *sequence = id;
        }
        let spec = SequenceSpec { owner: Some((owner, column.id.0)), ..spec };
        events.push(Event::SequenceCreated { sequence: id, name: Name { name, ..of.clone() }, spec });
    }
    Ok(events)
}

/// Refuses a name that is taken, or whose schema is not there.
pub(super) fn free(catalog: &Catalog, name: &Name) -> Result<()> {
    if !catalog.has_schema(&name.schema) {
        let message = format!("schema \"{}\" does not exist", name.schema);
        let known = SYSTEM_SCHEMAS.contains(&name.schema.as_str());
        let message = if known { format!("permission denied for schema {}", name.schema) } else { message };
        let sqlstate = if known { "42501" } else { code::INVALID_SCHEMA };
        return Err(Error::invalid(sqlstate, message).hint(format!("CREATE SCHEMA {}, or leave the schema out", name.schema)));
    }
    if catalog.sequences().any(|s| s.name == *name) {
        let message = format!("relation \"{name}\" already exists");
        return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_TABLE, message).hint(format!("DROP SEQUENCE {name} first")));
    }
    if catalog.index_named(&name.schema, &name.name).is_some() {
        let message = format!("relation \"{name}\" already exists");
        return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_TABLE, message).hint(format!("DROP INDEX {name} first")));
    }
    if catalog.sinks().any(|s| s.name == *name) {
        let message = format!("relation \"{name}\" already exists");
        return Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_TABLE, message).hint(format!("DROP SINK {name} first")));
    }
    match catalog.find(name) {
        None => Ok(()),
        Some(there) => {
            let message = format!("relation \"{name}\" already exists");
            let hint = format!("write IF NOT EXISTS, or DROP {} {name} first", there.kind_name().to_uppercase());
            Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_TABLE, message).hint(hint))
        }
    }
}

pub(super) fn specs(columns: &[Column]) -> Result<Vec<ColumnSpec>> {
    let mut seen = BTreeSet::new();
    for column in columns {
        if !seen.insert(&column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::invalid(code::DUPLICATE_COLUMN, message));
        }
    }
    Ok(columns.iter().map(ColumnSpec::of).collect())
}
