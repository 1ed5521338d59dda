//! Events taken into the catalog: what a restart runs over topic 0.
//!
//! It accepts every event that any release gave; an event that does not fit is corruption, not a user's error.

use super::{
    Catalog, ColumnSpec, Event, Function, Kind, Name, ObjectId, PUBLIC, Relation, RoleId, Sequence, Sink, WatermarkSpec,
    rights::Object,
};
use regauge_types::{Lsn, VersionNo};
use std::{collections::BTreeMap, sync::Arc};

/// An event that does not fit the catalog it is applied to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("catalog event does not fit: {why} event={event}")]
pub struct FoldError {
    why: &'static str,
    event: String,
}

impl Catalog {
    /// Takes in the events of one commit. On error the catalog is as far as it came: the caller throws it away.
    pub fn apply_all(&mut self, lsn: Lsn, events: &[Event]) -> Result<(), FoldError> {
        events.iter().try_for_each(|event| self.apply(event))?;
        let drops = |e: &Event| {
            matches!(
                e,
                Event::Dropped { .. }
                    | Event::SchemaDropped { .. }
                    | Event::SequenceDropped { .. }
                    | Event::FunctionDropped { .. }
                    | Event::SecretDropped { .. }
                    | Event::Altered { .. }
            )
        };
        if events.iter().any(drops) {
            self.forget_rights();
        }
        let names_modules = |why| FoldError { why, event: format!("commit={lsn:?}") };
        self.settle_modules(events).map_err(names_modules)?;
        // Numbers that a sequence reserves change nothing that anybody has planned with.
        if events.iter().any(|e| !matches!(e, Event::SequenceReserved { .. })) {
            self.changed = self.changed.max(lsn);
        }
        Ok(())
    }

    /// What is gone has no owner and no privileges any more.
    fn forget_rights(&mut self) {
        if self.rights.is_alone() {
            return;
        }
        let (relations, sequences, schemas, functions) = (&self.relations, &self.sequences, &self.schemas, &self.functions);
        let secrets = &self.secrets;
        let schema = |name: &str| name == PUBLIC || schemas.contains(name);
        let there = |object: &Object| match object {
            Object::Relation(id) => relations.contains_key(id),
            Object::Sequence(id) => sequences.contains_key(id),
            Object::Schema(name) => schema(name),
            Object::Database => true,
            Object::Secret(name) => secrets.contains_key(name),
            Object::Function { name, params } => {
                functions.get(name).is_some_and(|all| all.iter().any(|f| f.spec.params.len() == *params))
            }
        };
        Arc::make_mut(&mut self.rights).forget(there, schema);
    }

    fn apply(&mut self, event: &Event) -> Result<(), FoldError> {
        let misfit = |why| FoldError { why, event: format!("{event:?}") };
        let columns = |specs: &[ColumnSpec]| {
            specs.iter().map(ColumnSpec::column).collect::<Option<Vec<_>>>().ok_or_else(|| misfit("unknown type"))
        };
        match event {
            Event::TableCreated { topic, name, columns: specs, key, options, checks } => {
                let (id, kind) = (ObjectId::Topic(*topic), Kind::Table { key: key.clone() });
                let columns = columns(specs)?;
                if key.iter().any(|k| *k >= columns.len()) {
                    return Err(misfit("key is no column"));
                }
                let made = Relation { options: options.clone(), checks: checks.clone(), ..relation(id, name, columns, kind) };
                self.add(made).map_err(misfit)
            }
            Event::StreamCreated { topic, name, columns: specs, partition_by, partitions, watermark, options, checks } => {
                let kind = Kind::Stream {
                    partition_by: partition_by.clone(),
                    partitions: *partitions,
                    watermark: watermark.as_ref().map(WatermarkSpec::watermark),
                };
                let (id, columns) = (ObjectId::Topic(*topic), columns(specs)?);
                let made = Relation { options: options.clone(), checks: checks.clone(), ..relation(id, name, columns, kind) };
                self.add(made).map_err(misfit)
            }
            Event::ViewCreated { view, name, columns: specs, definition } => {
                let kind = Kind::View { definition: definition.definition() };
                let (id, columns) = (ObjectId::View(*view), columns(specs)?);
                self.add(relation(id, name, columns, kind)).map_err(misfit)
            }
            Event::MaterializedViewCreated { view, name } => {
                let kind = Kind::Materialized { versions: BTreeMap::new(), routed: VersionNo(0) };
                let (id, columns) = (ObjectId::View(*view), Vec::new());
                self.add(relation(id, name, columns, kind)).map_err(misfit)
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
                self.comments.retain(|(of, _), _| of != object);
                if let ObjectId::View(view) = object {
                    self.paces.remove(view);
                }
                self.indexes.remove(object);
                self.sequences.retain(|_, s| s.spec.owner.is_none_or(|(owner, _)| owner != *object));
                Ok(())
            }
            Event::SchemaCreated { schema } => match schema != PUBLIC && self.schemas.insert(schema.clone()) {
                true => Ok(()),
                false => Err(misfit("schema exists")),
            },
            Event::SchemaDropped { schema } => match self.schemas.remove(schema) {
                true if self.names.keys().all(|n| n.schema != *schema) => Ok(()),
                _ => Err(misfit("schema is not there, or not empty")),
            },
            Event::Renamed { object, name } => self.rename(*object, name).map_err(misfit),
            Event::Redefined { object, version, sql } => self.redefine(*object, *version, sql).map_err(misfit),
            Event::ViewReplaced { view, columns: specs, definition, .. } => {
                let columns = columns(specs)?;
                let relation = self.relations.get_mut(&ObjectId::View(*view)).ok_or_else(|| misfit("no such view"))?;
                let relation = Arc::make_mut(relation);
                if !matches!(relation.kind, Kind::View { .. }) {
                    return Err(misfit("view has versions"));
                }
                relation.columns = columns;
                relation.kind = Kind::View { definition: definition.definition() };
                Ok(())
            }
            Event::Altered { object, columns: specs, key: places, checks, watermark, schema_id, .. } => {
                let columns = columns(specs)?;
                if places.iter().any(|k| *k >= columns.len()) {
                    return Err(misfit("key is no column"));
                }
                let relation = self.relations.get_mut(object).ok_or_else(|| misfit("no such relation"))?;
                let relation = Arc::make_mut(relation);
                match &mut relation.kind {
                    Kind::Table { key } => key.clone_from(places),
                    Kind::Stream { partition_by, watermark: now, .. } => {
                        partition_by.clone_from(places);
                        *now = watermark.as_ref().map(WatermarkSpec::watermark);
                    }
                    Kind::View { .. } | Kind::Materialized { .. } => return Err(misfit("a view has no columns of its own")),
                }
                relation.columns = columns;
                relation.checks.clone_from(checks);
                relation.schema_id = *schema_id;
                relation.last_column = relation.columns.iter().map(|c| c.id.0).fold(relation.last_column, u32::max);
                let left: Vec<u32> = relation.columns.iter().map(|c| c.id.0).collect();
                self.comments.retain(|(of, column), _| of != object || *column == 0 || left.contains(column));
                let gone = |owner: Option<(ObjectId, u32)>| owner.is_some_and(|(of, id)| of == *object && !left.contains(&id));
                self.sequences.retain(|_, s| !gone(s.spec.owner));
                if let Some(indexes) = self.indexes.get_mut(object) {
                    indexes.retain(|index| index.all_columns().all(|column| left.contains(&column)));
                }
                Ok(())
            }
            Event::Commented { object, column, text } => {
                if !self.relations.contains_key(object) {
                    return Err(misfit("no such relation"));
                }
                match text {
                    Some(text) => drop(self.comments.insert((*object, *column), text.clone())),
                    None => drop(self.comments.remove(&(*object, *column))),
                }
                Ok(())
            }
            Event::SequenceCreated { sequence, name, spec } => {
                if self.sequences.contains_key(sequence) {
                    return Err(misfit("identity is taken"));
                }
                self.last_sequence = self.last_sequence.max(*sequence);
                let made = Sequence { id: *sequence, name: name.clone(), spec: spec.clone(), reserved: None, n_reserved: 0 };
                self.sequences.insert(*sequence, Arc::new(made));
                Ok(())
            }
            Event::SequenceDropped { sequence } => match self.sequences.remove(sequence) {
                Some(_) => Ok(()),
                None => Err(misfit("no such sequence")),
            },
            Event::SecretSet { name, file } => {
                self.secrets.insert(name.clone(), file.clone());
                Ok(())
            }
            Event::SecretDropped { name } => match self.secrets.remove(name) {
                Some(_) => Ok(()),
                None => Err(misfit("no such secret")),
            },
            Event::ModuleAdded { module, .. } => {
                let module = module.clone().ok_or_else(|| misfit("module without its bytes"))?;
                self.modules.insert(module.hash().to_owned(), module);
                Ok(())
            }
            Event::FunctionCreated { name, spec } => {
                let function = spec.function(name).map_err(misfit)?;
                let made = Arc::new(Function { name: name.clone(), spec: spec.clone(), function });
                let object = made.object();
                let there = self.functions.entry(name.clone()).or_default();
                let before = there.len();
                there.retain(|f| f.spec.params.len() != spec.params.len());
                if there.len() == before && spec.owner != RoleId::BOOTSTRAP {
                    Arc::make_mut(&mut self.rights).born(object, spec.owner);
                }
                there.push(made);
                there.sort_by_key(|f| f.spec.params.len());
                Ok(())
            }
            Event::FunctionDropped { name, params } => {
                let there = self.functions.get_mut(name).ok_or_else(|| misfit("no such function"))?;
                let before = there.len();
                there.retain(|f| f.spec.params.len() != *params);
                if there.len() == before {
                    return Err(misfit("no such function"));
                }
                if there.is_empty() {
                    self.functions.remove(name);
                }
                Ok(())
            }
            Event::SequenceReserved { sequence, last } => {
                let of = self.sequences.get_mut(sequence).ok_or_else(|| misfit("no such sequence"))?;
                let of = Arc::make_mut(of);
                of.reserved = *last;
                of.n_reserved += 1;
                Ok(())
            }
            Event::IndexCreated { object, index } => {
                let relation = self.get(*object).ok_or_else(|| misfit("no such relation"))?;
                let name = Name { name: index.name.clone(), schema: relation.name.schema.clone() };
                let there = |id: u32| relation.columns.iter().any(|c| c.id.0 == id);
                if !index.all_columns().all(there) {
                    return Err(misfit("an index of no column"));
                }
                if self.names.contains_key(&name) || self.index_named(&name.schema, &name.name).is_some() {
                    return Err(misfit("name is taken"));
                }
                self.indexes.entry(*object).or_default().push(Arc::new(index.clone()));
                Ok(())
            }
            Event::IndexDropped { object, name } => {
                let all = self.indexes.get_mut(object).ok_or_else(|| misfit("no such index"))?;
                let n = all.len();
                all.retain(|index| index.name != *name);
                if all.len() == n { Err(misfit("no such index")) } else { Ok(()) }
            }
            Event::SinkCreated { sink, name, spec } => {
                self.last_sink = self.last_sink.max(*sink);
                let made = Sink { id: *sink, name: name.clone(), spec: spec.clone(), n_altered: 0 };
                match self.sinks.insert(*sink, Arc::new(made)) {
                    None => Ok(()),
                    Some(_) => Err(misfit("identity is taken")),
                }
            }
            Event::SinkAltered { sink, spec } => {
                let of = Arc::make_mut(self.sinks.get_mut(sink).ok_or_else(|| misfit("no such sink"))?);
                of.spec = spec.clone();
                of.n_altered += 1;
                Ok(())
            }
            Event::SinkDropped { sink } => match self.sinks.remove(sink) {
                Some(_) => Ok(()),
                None => Err(misfit("no such sink")),
            },
            Event::BackfillPaced { view, rate } => {
                if self.get(ObjectId::View(*view)).is_none() {
                    return Err(misfit("no such view"));
                }
                match rate {
                    Some(rate) => drop(self.paces.insert(*view, *rate)),
                    None => drop(self.paces.remove(view)),
                }
                Ok(())
            }
            Event::OnErrorSet { topic, on_error } => {
                let stream = self.relations.get_mut(&ObjectId::Topic(*topic)).ok_or_else(|| misfit("no such stream"))?;
                Arc::make_mut(stream).options.insert(super::dead::OPTION.to_owned(), on_error.clone());
                Ok(())
            }
            Event::Rights { change } => Arc::make_mut(&mut self.rights).apply(change).map_err(misfit),
        }
    }

    fn add(&mut self, relation: Relation) -> Result<(), &'static str> {
        let id = relation.id;
        // Not always the next one: transactions may commit in another order than they began.
        if self.relations.contains_key(&id) {
            return Err("identity is taken");
        }
        match id {
            ObjectId::Topic(no) => self.last_topic = self.last_topic.max(no),
            ObjectId::View(no) => self.last_view = self.last_view.max(no),
        }
        if self.names.insert(relation.name.clone(), id).is_some() {
            return Err("name is taken");
        }
        self.relations.insert(id, Arc::new(relation));
        Ok(())
    }

    fn rename(&mut self, object: ObjectId, to: &Name) -> Result<(), &'static str> {
        let relation = self.relations.get_mut(&object).ok_or("no such relation")?;
        if self.names.get(to).is_some_and(|there| *there != object) {
            return Err("name is taken");
        }
        self.names.remove(&relation.name);
        Arc::make_mut(relation).name = to.clone();
        self.names.insert(to.clone(), object);
        Ok(())
    }

    fn redefine(&mut self, object: ObjectId, version: Option<u32>, sql: &str) -> Result<(), &'static str> {
        let relation = Arc::make_mut(self.relations.get_mut(&object).ok_or("no such view")?);
        match (&mut relation.kind, version) {
            (Kind::View { definition }, None) => definition.sql = sql.to_owned(),
            (Kind::Materialized { versions, .. }, Some(no)) => {
                let version = versions.get_mut(&VersionNo(no)).ok_or("no such version")?;
                Arc::make_mut(version).definition.sql = sql.to_owned();
            }
            _ => return Err("relation has no such definition"),
        }
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

fn relation(id: ObjectId, name: &Name, columns: Vec<super::Column>, kind: Kind) -> Relation {
    let last_column = columns.iter().map(|c| c.id.0).max().unwrap_or(0);
    Relation { id, name: name.clone(), columns, options: BTreeMap::new(), checks: vec![], schema_id: 1, last_column, kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Change, SequenceSpec, Wish, decide, decode, encode};

    /// As the first release wrote them: without the fields that came later.
    const OLD: [&str; 3] = [
        r#"{"event":"table_created","topic":1,"name":{"schema":"public","name":"t"},"columns":[{"id":1,"name":"id","type":"integer","not_null":true},{"id":2,"name":"n","type":"bigint"}],"key":[0],"options":{}}"#,
        r#"{"event":"stream_created","topic":2,"name":{"schema":"public","name":"e"},"columns":[{"id":1,"name":"k","type":"text"}],"partition_by":[0],"partitions":4,"watermark":null,"options":{}}"#,
        r#"{"event":"view_created","view":1,"name":{"schema":"public","name":"v"},"columns":[{"id":1,"name":"n","type":"bigint"}],"sql":"SELECT n FROM t","search_path":["public"],"time_zone":"UTC","depends_on":[{"topic":1}]}"#,
    ];

    fn old() -> Catalog {
        let events: Vec<Event> = OLD.iter().map(|body| serde_json::from_str(body).expect("an old event")).collect();
        let mut catalog = Catalog::default();
        catalog.apply_all(Lsn(3), &events).expect("old events fit");
        catalog
    }

    #[test]
    fn events_of_earlier_releases_still_fit() {
        let catalog = old();
        let table = catalog.find(&Name::public("t")).expect("the table");
        assert_eq!((table.checks.len(), table.schema_id, table.last_column), (0, 1, 2));
        assert_eq!(catalog.dependants(table.id).count(), 1);
    }

    #[test]
    fn what_is_decided_is_read_back_and_gives_the_same_catalog() {
        let mut direct = old();
        let mut read = old();
        let t = ObjectId::Topic(1);
        let spec = SequenceSpec::of(&Default::default(), "s").expect("sound");
        let wishes = [
            Wish::Schema { name: "a".to_owned() },
            Wish::Rename { object: t, to: Name { schema: "a".to_owned(), name: "u".to_owned() } },
            Wish::Alter { object: t, change: Change::RenameColumn { from: "n".to_owned(), to: "m".to_owned() } },
            Wish::Comment { object: t, column: Some("m".to_owned()), text: Some("how many".to_owned()) },
            Wish::Sequence { name: Name::public("s"), spec },
            Wish::Reserve { sequence: 1, last: Some(32) },
        ];
        for wish in wishes {
            let events = decide(&direct, wish).expect("granted");
            direct.apply_all(Lsn(4), &events).expect("fits");
            let events = decode(&encode(&events).expect("encodes")).expect("decodes");
            read.apply_all(Lsn(4), &events).expect("fits");
        }
        assert_eq!(direct, read);
        let view = direct.find(&Name::public("v")).expect("the view");
        let Kind::View { definition } = &view.kind else { panic!("a plain view") };
        assert_eq!(definition.sql, "SELECT n FROM (SELECT m AS n FROM a.u) AS t");
        assert_eq!(direct.sequence(1).and_then(|s| s.reserved), Some(32));
    }
}
