//! The catalog as a fold: `decide` turns a wish into events or refuses it, `apply` takes one event in.
//!
//! Both are pure. `apply` is what a restart runs over topic 0, so it must accept every event that `decide` ever gave; an event
//! that does not fit is corruption, not a user's error. Cost of either: logarithmic in the number of relations, times the
//! columns of the one concerned; DROP .. CASCADE visits every relation per level.

use super::{
    Catalog, Column, ColumnSpec, DefinitionSpec, Event, Kind, Name, ObjectId, PUBLIC, Relation, VersionSpec, WatermarkSpec,
    diverted, late,
};
use crate::error::{Error, Result, sqlstate as code};
use regauge_types::{ErrorKind, Lsn, VersionNo};
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
    },
    Stream {
        name: Name,
        columns: Vec<Column>,
        partition_by: Vec<usize>,
        partitions: u32,
        watermark: Option<WatermarkSpec>,
        options: BTreeMap<String, String>,
    },
    View {
        name: Name,
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
}

/// An event that does not fit the catalog it is applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("catalog event does not fit: {why} event={event}")]
pub struct FoldError {
    why: &'static str,
    event: String,
}

/// The events that fulfil a wish, or why not.
pub fn decide(catalog: &Catalog, wish: Wish) -> Result<Vec<Event>> {
    match wish {
        Wish::Table { name, columns, key, options } => {
            free(catalog, &name)?;
            let topic = catalog.last_topic + 1;
            Ok(vec![Event::TableCreated { topic, name, columns: specs(&columns)?, key, options }])
        }
        Wish::Stream { name, columns, partition_by, partitions, watermark, options } => {
            free(catalog, &name)?;
            let (topic, columns) = (catalog.last_topic + 1, specs(&columns)?);
            Ok(vec![Event::StreamCreated { topic, name, columns, partition_by, partitions, watermark, options }])
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
        Wish::Drop { objects, cascade } => drops(catalog, &objects, cascade),
    }
}

fn free(catalog: &Catalog, name: &Name) -> Result<()> {
    if name.schema != PUBLIC {
        let message = format!("relations cannot be created in schema \"{}\"", name.schema);
        return Err(
            Error::invalid(code::INVALID_SCHEMA, message).hint(format!("leave the schema out, or write {PUBLIC}.{}", name.name))
        );
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

fn specs(columns: &[Column]) -> Result<Vec<ColumnSpec>> {
    let mut seen = BTreeSet::new();
    for column in columns {
        if !seen.insert(&column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(Error::invalid(code::DUPLICATE_COLUMN, message));
        }
    }
    Ok(columns.iter().map(ColumnSpec::of).collect())
}

/// Dependants go first, so that every prefix of the events leaves no view without what it reads.
fn drops(catalog: &Catalog, objects: &[ObjectId], cascade: bool) -> Result<Vec<Event>> {
    let wanted: BTreeSet<ObjectId> = objects.iter().copied().collect();
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut stack: Vec<(ObjectId, bool)> = objects.iter().rev().map(|id| (*id, false)).collect();
    while let Some((id, children_done)) = stack.pop() {
        let Some(relation) = catalog.get(id) else { continue };
        if children_done {
            order.push(Event::Dropped { object: id, name: relation.name.clone() });
            continue;
        }
        if !seen.insert(id) {
            continue;
        }
        stack.push((id, true));
        if let Some(whole) = relation.depends_on().filter_map(|of| catalog.get(of)).find(|of| is_of(relation, of))
            && !seen.contains(&whole.id)
            && !wanted.contains(&whole.id)
        {
            return Err(belongs(relation, whole));
        }
        for dependant in catalog.dependants(id) {
            if !cascade && !wanted.contains(&dependant.id) && !is_of(dependant, relation) {
                return Err(in_use(relation, dependant));
            }
            stack.push((dependant.id, false));
        }
    }
    Ok(order)
}

/// Whether a relation was made with another and goes with it.
fn is_of(relation: &Relation, of: &Relation) -> bool {
    diverted::is_of(relation, of) || late::is_of(relation, of)
}

fn in_use(relation: &Relation, dependant: &Relation) -> Error {
    let message = format!("cannot drop {} {} because other objects depend on it", relation.kind_name(), relation.name);
    Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
        .detail(format!("{} {} depends on {} {}", dependant.kind_name(), dependant.name, relation.kind_name(), relation.name))
        .hint("use DROP ... CASCADE to drop the dependent objects too")
}

fn belongs(relation: &Relation, whole: &Relation) -> Error {
    let message = format!("cannot drop view {} because materialized view {} requires it", relation.name, whole.name);
    Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
        .hint(format!("DROP MATERIALIZED VIEW {} drops both", whole.name))
}

impl Catalog {
    /// Takes in the events of one commit. On error the catalog is as far as it came: the caller throws it away.
    pub fn apply_all(&mut self, lsn: Lsn, events: &[Event]) -> Result<(), FoldError> {
        events.iter().try_for_each(|event| self.apply(event))?;
        self.changed = self.changed.max(lsn);
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), FoldError> {
        let misfit = |why| FoldError { why, event: format!("{event:?}") };
        let columns = |specs: &[ColumnSpec]| {
            specs.iter().map(ColumnSpec::column).collect::<Option<Vec<_>>>().ok_or_else(|| misfit("unknown type"))
        };
        match event {
            Event::TableCreated { topic, name, columns: specs, key, options } => {
                let (id, kind) = (ObjectId::Topic(*topic), Kind::Table { key: key.clone() });
                let columns = columns(specs)?;
                if key.is_empty() || key.iter().any(|k| *k >= columns.len()) {
                    return Err(misfit("key is no column"));
                }
                self.add(Relation { id, name: name.clone(), columns, options: options.clone(), kind }).map_err(misfit)
            }
            Event::StreamCreated { topic, name, columns: specs, partition_by, partitions, watermark, options } => {
                let kind = Kind::Stream {
                    partition_by: partition_by.clone(),
                    partitions: *partitions,
                    watermark: watermark.as_ref().map(WatermarkSpec::watermark),
                };
                let (id, columns) = (ObjectId::Topic(*topic), columns(specs)?);
                self.add(Relation { id, name: name.clone(), columns, options: options.clone(), kind }).map_err(misfit)
            }
            Event::ViewCreated { view, name, columns: specs, definition } => {
                let kind = Kind::View { definition: definition.definition() };
                let (id, columns) = (ObjectId::View(*view), columns(specs)?);
                self.add(Relation { id, name: name.clone(), columns, options: BTreeMap::new(), kind }).map_err(misfit)
            }
            Event::MaterializedViewCreated { view, name } => {
                let kind = Kind::Materialized { versions: BTreeMap::new(), routed: VersionNo(0) };
                let (id, columns) = (ObjectId::View(*view), Vec::new());
                self.add(Relation { id, name: name.clone(), columns, options: BTreeMap::new(), kind }).map_err(misfit)
            }
            Event::VersionAdded { view, version, spec } => {
                let no = VersionNo(*version);
                let added = spec.version(no).ok_or_else(|| misfit("version is malformed"))?;
                self.versions(*view, |versions, _| match versions.insert(no, Arc::new(added)) {
                    None => Ok(()),
                    Some(_) => Err("version exists"),
                })
                .map_err(misfit)
            }
            Event::Routed { view, version } => self
                .versions(*view, |versions, routed| {
                    *routed = VersionNo(*version);
                    if versions.contains_key(routed) { Ok(()) } else { Err("no such version") }
                })
                .map_err(misfit),
            Event::VersionRetired { view, version } => self
                .versions(*view, |versions, routed| match versions.remove(&VersionNo(*version)) {
                    Some(_) if *routed != VersionNo(*version) => Ok(()),
                    _ => Err("version is routed to or not there"),
                })
                .map_err(misfit),
            Event::Dropped { object, .. } => {
                let gone = self.relations.remove(object).ok_or_else(|| misfit("no such relation"))?;
                self.names.remove(&gone.name);
                Ok(())
            }
        }
    }

    fn add(&mut self, relation: Relation) -> Result<(), &'static str> {
        let id = relation.id;
        match id {
            ObjectId::Topic(no) if no == self.last_topic + 1 => self.last_topic = no,
            ObjectId::View(no) if no == self.last_view + 1 => self.last_view = no,
            _ => return Err("identity is not the next one"),
        }
        if self.names.insert(relation.name.clone(), id).is_some() {
            return Err("name is taken");
        }
        self.relations.insert(id, Arc::new(relation));
        Ok(())
    }

    fn versions(
        &mut self,
        view: u32,
        change: impl FnOnce(&mut BTreeMap<VersionNo, Arc<super::Version>>, &mut VersionNo) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let relation = self.relations.get_mut(&ObjectId::View(view)).ok_or("no such view")?;
        let relation = Arc::make_mut(relation);
        let Kind::Materialized { versions, routed } = &mut relation.kind else {
            return Err("view has no versions");
        };
        change(versions, routed)?;
        if let Some(version) = versions.get(routed) {
            relation.columns = version.columns.clone();
            relation.options = version.options.clone();
        }
        Ok(())
    }
}
