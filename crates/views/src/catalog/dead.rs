//! `WITH (on_error = 'dead_letter')`: bad records of a stream are stored beside it, in `<stream>_dead`, in the commit of their good neighbours.
//!
//! `<stream>_dead` is a stream of its own, with a topic of its own, so whatever reads streams reads it. It is made in the commit that makes the
//! option; it goes, and is renamed, with its stream, and not without it. Invariant: only the doors write to it, and its rights are its
//! stream's: it has no owner and no privileges of its own, [`object`] says whose count. It does not know what makes a record bad.

use super::{Catalog, Column, ColumnSpec, Event, Kind, Name, ObjectId, Relation, rights::Object};
use crate::error::{Error, Result, sqlstate as code};
use arrow::datatypes::DataType;
use regauge_types::ColumnId;
use std::{collections::BTreeMap, sync::Arc};

/// The option.
pub const OPTION: &str = "on_error";
/// Its value for storing bad records.
pub const DEAD_LETTER: &str = "dead_letter";
/// Its usual value.
pub const FAIL: &str = "fail";
/// What a stream of dead letters has in the place of options: the topic that they were for.
const OF: &str = "dead_letters_of";

/// Columns of a dead letter, see `docs/sql.md`.
const COLUMNS: [(&str, DataType); 11] = [
    ("record", DataType::Utf8),
    ("record_bytes", DataType::Binary),
    ("sqlstate", DataType::Utf8),
    ("message", DataType::Utf8),
    ("column_name", DataType::Utf8),
    ("source", DataType::Utf8),
    ("format", DataType::Utf8),
    ("position", DataType::Int64),
    ("producer", DataType::Utf8),
    ("incarnation", DataType::Int64),
    ("sequence", DataType::Int64),
];

/// What `on_error` said: whether bad records are stored.
pub fn option(value: &str) -> Result<bool> {
    match value {
        FAIL | "stop" => Ok(false),
        DEAD_LETTER => Ok(true),
        other => Err(Error::unsupported(format!("on_error = '{other}' is not offered for records"))
            .hint("on_error = 'fail' refuses what brings a bad record, 'dead_letter' stores it in <stream>_dead; none is dropped in silence")),
    }
}

/// Whether a stream's bad records are stored, unless a request says otherwise.
#[must_use]
pub fn diverts(relation: &Relation) -> bool {
    relation.options.get(OPTION).is_some_and(|v| v == DEAD_LETTER)
}

/// The stream that a stream of dead letters belongs to.
#[must_use]
pub fn of(relation: &Relation) -> Option<ObjectId> {
    relation.options.get(OF).and_then(|topic| topic.parse().ok()).map(ObjectId::Topic)
}

/// The name of the stream of a stream's dead letters.
#[must_use]
pub fn name(stream: &Name) -> Name {
    Name { schema: stream.schema.clone(), name: format!("{}_dead", stream.name) }
}

/// The stream of a stream's dead letters, if it has one.
#[must_use]
pub fn beside<'a>(catalog: &'a Catalog, stream: &Relation) -> Option<&'a Arc<Relation>> {
    catalog.find(&name(&stream.name)).filter(|dead| is_of(dead, stream))
}

/// Whether a relation is the stream of another's dead letters.
#[must_use]
pub fn is_of(relation: &Relation, stream: &Relation) -> bool {
    of(relation) == Some(stream.id)
}

/// Whose owner and privileges count for a relation.
#[must_use]
pub fn object(relation: &Relation) -> Object {
    Object::Relation(of(relation).unwrap_or(relation.id))
}

/// The event that makes the stream of a stream's dead letters.
pub(super) fn made(topic: u32, stream: u32, of: &Name) -> Event {
    let column = |(id, (name, ty)): (u32, (&str, DataType))| ColumnSpec::of(&Column::plain(ColumnId(id), name.to_owned(), ty));
    Event::StreamCreated {
        topic,
        name: name(of),
        columns: (1..).zip(COLUMNS).map(column).collect(),
        partition_by: vec![],
        partitions: 1,
        watermark: None,
        options: BTreeMap::from([(OF.to_owned(), stream.to_string())]),
        checks: vec![],
    }
}

/// Whether an event makes such a stream: it gets no owner and no privileges.
pub(super) fn makes(event: &Event) -> bool {
    matches!(event, Event::StreamCreated { options, .. } if options.contains_key(OF))
}

/// ALTER STREAM .. SET (on_error = ..). Letters that are there stay when it is put back to `fail`.
pub(super) fn set(catalog: &Catalog, object: ObjectId, diverts: bool) -> Result<Vec<Event>> {
    let relation = catalog.get(object).ok_or_else(|| Error::internal("no such relation"))?;
    let (Kind::Stream { .. }, ObjectId::Topic(topic), None) = (&relation.kind, object, of(relation)) else {
        let message = format!("\"{}\" is not a stream that records are written to", relation.name);
        return Err(Error::invalid(code::WRONG_OBJECT, message).hint("on_error is an option of streams"));
    };
    let on_error = if diverts { DEAD_LETTER } else { FAIL };
    let mut events = vec![Event::OnErrorSet { topic, on_error: on_error.to_owned() }];
    if diverts && beside(catalog, relation).is_none() {
        super::fold::free(catalog, &name(&relation.name))?;
        events.push(made(catalog.last_topic + 1, topic, &relation.name));
    }
    Ok(events)
}

/// Refuses GRANT, REVOKE and OWNER TO.
pub fn no_rights_of_its_own(relation: &Relation) -> Result<()> {
    if of(relation).is_none() {
        return Ok(());
    }
    let message = format!("{} \"{}\" has no owner and no privileges of its own", relation.kind_name(), relation.name);
    Err(Error::invalid(code::WRONG_OBJECT, message).hint("they are those of the stream that its dead letters were for"))
}
