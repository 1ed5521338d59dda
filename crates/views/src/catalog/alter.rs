//! ALTER, RENAME and CREATE OR REPLACE VIEW: what changes of a relation, and what of those that read it.
//!
//! Invariant: whoever depends on the relation means the same afterwards. Plans go by ids and are not touched; texts name things,
//! and are written anew in the same commit ([`retext`]). A change after which a dependant could not mean the same is refused.
//! Cost: a parse for each dependant's text.

use super::{
    Catalog, Check, Column, Definition, DefinitionSpec, Event, Kind, Made, Name, ObjectId, Relation, SequenceSpec, WatermarkSpec,
    dead, diverted,
    drops::{drops, is_beside},
    fold::{free, specs},
    late, retext, ty,
};
use crate::error::{Error, Result, sqlstate as code};
use regauge_types::{ColumnId, ErrorKind};
use std::collections::BTreeMap;

/// A change of a table or stream.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Change {
    RenameColumn { from: String, to: String },
    Add { column: Column, sequence: Option<SequenceSpec> },
    Drop { column: String, cascade: bool },
    Default { column: String, default: Option<String> },
    NotNull { column: String, not_null: bool },
    AddCheck(Check),
    DropCheck(String),
}

/// Another name, for the relation and in all texts that name it.
pub(super) fn rename(catalog: &Catalog, object: ObjectId, to: Name) -> Result<Vec<Event>> {
    let relation = catalog.get(object).ok_or_else(|| Error::internal("no such relation"))?;
    stands_alone(catalog, relation)?;
    free(catalog, &to)?;
    let mut names = BTreeMap::from([(object, to.clone())]);
    let mut events = vec![Event::Renamed { object, name: to.clone() }];
    // Its text reads the streams, so it stays as it is.
    if let Some(beside) = catalog.dependants(object).find(|d| late::is_of(d, relation)) {
        let name = late::name(&to);
        free(catalog, &name)?;
        names.insert(beside.id, name.clone());
        events.push(Event::Renamed { object: beside.id, name });
    }
    if let Some(letters) = dead::beside(catalog, relation) {
        let name = dead::name(&to);
        free(catalog, &name)?;
        names.insert(letters.id, name.clone());
        events.push(Event::Renamed { object: letters.id, name });
    }
    let aside = catalog.dependants(object).find(|d| diverted::is_of(d, relation));
    if let Some(aside) = aside {
        let name = diverted::name(&to);
        free(catalog, &name)?;
        names.insert(aside.id, name.clone());
        events.push(Event::Renamed { object: aside.id, name });
        let sql = diverted::definition(object, &to).sql;
        events.push(Event::Redefined { object: aside.id, version: None, sql });
    }
    let touched = |r: &Relation| !names.contains_key(&r.id) && r.depends_on().any(|id| names.contains_key(&id));
    for dependant in catalog.relations().filter(|r| touched(r)) {
        let shows_late = catalog.relations().any(|of| late::is_of(dependant, of));
        redefine(dependant, &mut events, &mut |d| {
            // The view of late records says which stream a record is of, under the name that it has now.
            let said = if shows_late { late::restated(&d.sql, &relation.name, &to) } else { d.sql.clone() };
            retext::renamed(&said, catalog, &d.search_path, &names)
        })?;
    }
    Ok(events)
}

/// Refuses the view over the rows set aside of another: it goes with that one.
fn stands_alone(catalog: &Catalog, relation: &Relation) -> Result<()> {
    let Some(whole) = catalog.relations().find(|of| is_beside(relation, of)) else { return Ok(()) };
    let (kind, of) = (relation.kind_name(), whole.kind_name());
    let message = format!("{kind} {} belongs to {of} {}", relation.name, whole.name);
    Err(Error::invalid(code::DEPENDENT_OBJECTS, message).hint(format!(
        "ALTER {} {} RENAME TO renames both",
        of.to_uppercase(),
        whole.name
    )))
}

fn redefine(view: &Relation, events: &mut Vec<Event>, text: &mut dyn FnMut(&Definition) -> Result<Option<String>>) -> Result<()> {
    let object = view.id;
    match &view.kind {
        Kind::View { definition } => {
            events.extend(text(definition)?.map(|sql| Event::Redefined { object, version: None, sql }));
        }
        Kind::Materialized { versions, .. } => {
            for (no, version) in versions {
                let sql = text(&version.definition)?;
                events.extend(sql.map(|sql| Event::Redefined { object, version: Some(no.0), sql }));
            }
        }
        Kind::Table { .. } | Kind::Stream { .. } => {}
    }
    Ok(())
}

/// CREATE OR REPLACE VIEW: the columns that there are stay, in name, type and order; others may follow.
pub(super) fn replace_view(
    catalog: &Catalog,
    view: ObjectId,
    columns: &[Column],
    definition: DefinitionSpec,
) -> Result<Vec<Event>> {
    let relation = catalog.get(view).ok_or_else(|| Error::internal("no such view"))?;
    let ObjectId::View(id) = view else { return Err(Error::internal("a topic is no view")) };
    stands_alone(catalog, relation)?;
    let refuse = |message: String| Err(Error::invalid(code::INVALID_TABLE_DEFINITION, message));
    if columns.len() < relation.columns.len() {
        return refuse("cannot drop columns from view".to_owned());
    }
    for (old, new) in relation.columns.iter().zip(columns) {
        if old.name != new.name {
            return match refuse(format!("cannot change name of view column \"{}\" to \"{}\"", old.name, new.name)) {
                Err(e) => Err(e.hint("Use ALTER VIEW ... RENAME COLUMN ... to change name of view column instead.")),
                ok => ok,
            };
        }
        if old.ty != new.ty {
            let (from, to) = (ty::name(&old.ty), ty::name(&new.ty));
            return refuse(format!("cannot change data type of view column \"{}\" from {from} to {to}", old.name));
        }
    }
    let mut seen = vec![view];
    let mut next = definition.depends_on.clone();
    while let Some(id) = next.pop() {
        if id == view {
            let message = format!("infinite recursion detected in rules for relation \"{}\"", relation.name);
            return Err(Error::invalid("42P17", message).hint("a view cannot read itself"));
        }
        if !seen.contains(&id) {
            seen.push(id);
            next.extend(catalog.get(id).into_iter().flat_map(|r| r.depends_on().collect::<Vec<_>>()));
        }
    }
    // Plans were made with this view's text in it, and run on: replacing it would make the two disagree.
    if let Some(kept) = maintained_over(catalog, view) {
        let message = format!("cannot replace view {} because materialized view {} reads it", relation.name, kept.name);
        return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
            .hint(format!("drop {} first, or create a view of another name", kept.name)));
    }
    let more = columns.len() > relation.columns.len();
    let mut events = vec![Event::ViewReplaced { view: id, name: relation.name.clone(), columns: specs(columns)?, definition }];
    if more {
        let pairs: Vec<(String, String)> = relation.columns.iter().map(|c| (c.name.clone(), c.name.clone())).collect();
        let added: Vec<&str> = columns[relation.columns.len()..].iter().map(|c| c.name.as_str()).collect();
        for dependant in catalog.dependants(view) {
            redefine(dependant, &mut events, &mut |d| retext::pinned(&d.sql, catalog, &d.search_path, relation, &pairs, &added))?;
        }
    }
    Ok(events)
}

/// A materialized view that reads a plain view, perhaps through others.
fn maintained_over(catalog: &Catalog, view: ObjectId) -> Option<&Relation> {
    let mut seen = vec![view];
    let mut next = vec![view];
    while let Some(id) = next.pop() {
        for dependant in catalog.dependants(id) {
            match dependant.kind {
                Kind::Materialized { .. } => return Some(dependant),
                _ if seen.contains(&dependant.id) => {}
                _ => {
                    seen.push(dependant.id);
                    next.push(dependant.id);
                }
            }
        }
    }
    None
}

/// A relation's columns and what goes with them, on their way to an event.
struct Next<'a> {
    relation: &'a Relation,
    columns: Vec<Column>,
    key: Vec<usize>,
    checks: Vec<Check>,
    watermark: Option<WatermarkSpec>,
    schema_id: u32,
}

impl Next<'_> {
    fn event(self) -> Result<Event> {
        Ok(Event::Altered {
            object: self.relation.id,
            name: self.relation.name.clone(),
            columns: specs(&self.columns)?,
            key: self.key,
            checks: self.checks,
            watermark: self.watermark,
            schema_id: self.schema_id,
        })
    }
}

pub(super) fn change(catalog: &Catalog, object: ObjectId, change: Change) -> Result<Vec<Event>> {
    let relation = catalog.get(object).ok_or_else(|| Error::internal("no such relation"))?;
    let (key, watermark) = match &relation.kind {
        Kind::Table { key } => (key.clone(), None),
        Kind::Stream { partition_by, watermark, .. } => {
            let watermark = watermark.as_ref().map(|w| WatermarkSpec { column: w.column.0, sql: w.sql.clone() });
            (partition_by.clone(), watermark)
        }
        _ => return Err(Error::invalid(code::WRONG_OBJECT, format!("\"{}\" is not a table or stream", relation.name))),
    };
    if dead::of(relation).is_some() {
        stands_alone(catalog, relation)?;
    }
    let (columns, checks) = (relation.columns.clone(), relation.checks.clone());
    let mut next = Next { relation, columns, key, checks, watermark, schema_id: relation.schema_id };
    let place = |name: &str| relation.position(name).ok_or_else(|| Error::no_column(name, &relation.name));
    match change {
        Change::RenameColumn { from, to } => rename_column(catalog, next, place(&from)?, &to),
        Change::Add { column, sequence } => add_column(catalog, next, column, sequence),
        Change::Drop { column, cascade } => drop_column(catalog, next, place(&column)?, cascade),
        Change::Default { column, default } => {
            let column = &mut next.columns[place(&column)?];
            made_by_itself(column, &relation.name)?;
            column.default = default;
            Ok(vec![next.event()?])
        }
        Change::NotNull { column, not_null } => {
            let at = place(&column)?;
            let is_key = matches!(relation.kind, Kind::Table { .. }) && next.key.contains(&at);
            if is_key && !not_null {
                let message = format!("column \"{column}\" is in a primary key");
                return Err(Error::invalid(code::INVALID_TABLE_DEFINITION, message));
            }
            if !not_null && matches!(next.columns[at].made, Made::Counted { .. }) {
                let message = format!("column \"{column}\" of relation \"{}\" is an identity column", relation.name);
                return Err(Error::invalid("55000", message));
            }
            next.columns[at].not_null = not_null;
            Ok(vec![next.event()?])
        }
        Change::AddCheck(check) => {
            if next.checks.iter().any(|c| c.name == check.name) {
                let message = format!("constraint \"{}\" for relation \"{}\" already exists", check.name, relation.name);
                return Err(Error::new(ErrorKind::Conflict, "42710", message).hint("give it another name"));
            }
            next.checks.push(check);
            Ok(vec![next.event()?])
        }
        Change::DropCheck(name) => {
            let before = next.checks.len();
            next.checks.retain(|c| c.name != name);
            if next.checks.len() == before {
                let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", relation.name);
                return Err(Error::new(ErrorKind::NotFound, code::UNDEFINED_OBJECT, message)
                    .hint("CHECK constraints can be dropped; a primary key stays"));
            }
            Ok(vec![next.event()?])
        }
    }
}

fn made_by_itself(column: &Column, of: &Name) -> Result<()> {
    let what = match column.made {
        Made::Given => return Ok(()),
        Made::Computed(_) => "a generated column",
        Made::Counted { serial: true, .. } => "counted by its sequence",
        Made::Counted { .. } => "an identity column",
    };
    let message = format!("column \"{}\" of relation \"{of}\" is {what}", column.name);
    Err(Error::invalid(code::SYNTAX, message))
}

fn free_column(relation: &Relation, name: &str) -> Result<()> {
    if relation.position(name).is_none() {
        return regauge_plan::parse::column_name(name).map_err(Error::from);
    }
    let message = format!("column \"{name}\" of relation \"{}\" already exists", relation.name);
    Err(Error::new(ErrorKind::Conflict, code::DUPLICATE_COLUMN, message).hint("write another name"))
}

/// Dependants' texts after a change of columns: they read the columns that they knew.
fn pin(
    catalog: &Catalog,
    relation: &Relation,
    pairs: &[(String, String)],
    touched: &[&str],
    events: &mut Vec<Event>,
    spared: &dyn Fn(ObjectId) -> bool,
) -> Result<()> {
    for dependant in catalog.dependants(relation.id).filter(|d| !spared(d.id)) {
        redefine(dependant, events, &mut |d| retext::pinned(&d.sql, catalog, &d.search_path, relation, pairs, touched))?;
    }
    Ok(())
}

fn rename_column(catalog: &Catalog, mut next: Next<'_>, at: usize, to: &str) -> Result<Vec<Event>> {
    let relation = next.relation;
    free_column(relation, to)?;
    let from = relation.columns[at].name.clone();
    next.columns[at].name = to.to_owned();
    for check in &mut next.checks {
        check.sql = retext::column_renamed(&check.sql, &from, to)?;
    }
    for column in &mut next.columns {
        if let Made::Computed(sql) = &mut column.made {
            *sql = retext::column_renamed(sql, &from, to)?;
        }
    }
    if let Some(watermark) = next.watermark.as_mut().filter(|w| w.column == relation.columns[at].id.0) {
        watermark.sql = retext::column_renamed(&watermark.sql, &from, to)?;
    }
    next.schema_id += 1;
    let pairs: Vec<(String, String)> =
        next.columns.iter().zip(&relation.columns).map(|(now, then)| (now.name.clone(), then.name.clone())).collect();
    let mut events = vec![next.event()?];
    pin(catalog, relation, &pairs, &[&from, to], &mut events, &|_| false)?;
    Ok(events)
}

fn add_column(catalog: &Catalog, mut next: Next<'_>, mut column: Column, sequence: Option<SequenceSpec>) -> Result<Vec<Event>> {
    let relation = next.relation;
    free_column(relation, &column.name)?;
    column.id = ColumnId(relation.last_column + 1);
    let mut events = vec![];
    if let Some(spec) = sequence {
        let id = catalog.last_sequence + 1;
        let name = Name { name: format!("{}_{}_seq", relation.name.name, column.name), ..relation.name.clone() };
        free(catalog, &name)?;
        if let Made::Counted { sequence, .. } = &mut column.made {
            *sequence = id;
        }
        let spec = SequenceSpec { owner: Some((relation.id, column.id.0)), ..spec };
        events.push(Event::SequenceCreated { sequence: id, name, spec });
    }
    let name = column.name.clone();
    next.columns.push(column);
    next.schema_id += 1;
    events.push(next.event()?);
    let pairs: Vec<(String, String)> = relation.columns.iter().map(|c| (c.name.clone(), c.name.clone())).collect();
    pin(catalog, relation, &pairs, &[&name], &mut events, &|_| false)?;
    Ok(events)
}

fn drop_column(catalog: &Catalog, mut next: Next<'_>, at: usize, cascade: bool) -> Result<Vec<Event>> {
    let relation = next.relation;
    let (name, id) = (relation.columns[at].name.clone(), relation.columns[at].id);
    let refuse = |why: String, hint: &str| {
        let message = format!("cannot drop column {name} of {} {} because {why}", relation.kind_name(), relation.name);
        Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message).hint(hint))
    };
    if next.columns.len() == 1 {
        return refuse("it is the only one".to_owned(), "drop the relation");
    }
    if next.key.contains(&at) {
        let what =
            if matches!(relation.kind, Kind::Table { .. }) { "it is in the primary key" } else { "it chooses the partition" };
        return refuse(what.to_owned(), "create a relation without it and INSERT INTO it .. SELECT");
    }
    if matches!(relation.kind, Kind::Stream { .. }) && next.key.iter().any(|k| *k > at) {
        return refuse("columns that choose the partition stand behind it".to_owned(), "create a stream without it");
    }
    if next.watermark.as_ref().is_some_and(|w| w.column == id.0) {
        return refuse("the watermark is of it".to_owned(), "create a stream without it");
    }
    for column in &next.columns {
        if let Made::Computed(sql) = &column.made
            && column.id != id
            && retext::reads_column(sql, &name)?
        {
            return refuse(format!("column {} is computed from it", column.name), "drop that column first");
        }
    }
    // As in PostgreSQL a condition goes with a column that it reads alone.
    let mut kept = vec![];
    for check in std::mem::take(&mut next.checks) {
        if !retext::reads_column(&check.sql, &name)? {
            kept.push(check);
            continue;
        }
        let mut others = false;
        for column in next.columns.iter().filter(|c| c.id != id) {
            others |= retext::reads_column(&check.sql, &column.name)?;
        }
        if others && !cascade {
            return refuse(
                format!("constraint {} reads it", check.name),
                "use DROP ... CASCADE to drop the dependent objects too",
            );
        }
    }
    next.checks = kept;
    let mut readers = vec![];
    for dependant in catalog.dependants(relation.id) {
        if reads_column(catalog, dependant, relation, &name)? {
            readers.push(dependant.id);
        }
    }
    if !cascade && let Some(first) = readers.first().and_then(|id| catalog.get(*id)) {
        return match refuse("other objects depend on it".to_owned(), "use DROP ... CASCADE to drop the dependent objects too") {
            Err(e) => {
                let of = format!("column {name} of {} {}", relation.kind_name(), relation.name);
                Err(e.detail(format!("{} {} depends on {of}", first.kind_name(), first.name)))
            }
            ok => ok,
        };
    }
    let mut events = drops(catalog, &readers, cascade)?;
    next.columns.remove(at);
    next.key.iter_mut().filter(|k| **k > at).for_each(|k| *k -= 1);
    next.schema_id += 1;
    events.push(next.event()?);
    Ok(events)
}

/// Whether a view's text can read a column of this name. A name is taken for the column wherever it stands.
fn reads_column(catalog: &Catalog, view: &Relation, of: &Relation, column: &str) -> Result<bool> {
    let reads = |d: &Definition| retext::mentions(&d.sql, catalog, &d.search_path, of, column);
    match &view.kind {
        Kind::View { definition } => reads(definition),
        Kind::Materialized { versions, .. } => {
            for version in versions.values() {
                if reads(&version.definition)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Kind::Table { .. } | Kind::Stream { .. } => Ok(false),
    }
}
