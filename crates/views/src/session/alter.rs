//! ALTER, COMMENT, SCHEMA, TRUNCATE: a wish to the catalog, what it means to the log and to the rows, in one commit.
//!
//! ```text
//!   rename            events only: texts of dependants are written anew, and looked at before anything is committed
//!   columns           events, and the topic's next schema; old records are read under it by column id
//!   ADD .. DEFAULT    a table's rows get the value in the same commit; a stream's old records show NULL
//!   SET NOT NULL, CHECK   judged over the rows, which nobody else may change until the commit
//! ```
//! A transaction that goes on after it has changed a table's columns has all rows of the table among its own writes, under the new columns
//! ([`TableWrites::carried`]): those that nothing was said of are not written. Cost: all rows, for who asks for more than the change.
//! Not offered: a column change of a stream to which the transaction has written.

use super::{
    Session,
    ddl::{column, is_kind, kind_words, named_checks, sequences},
    rows,
    txn::Txn,
};
use crate::{
    catalog::{Change, Event, Kind, Made, Name, ObjectId, Relation, SequenceSpec, Wish, dead, ty},
    error::{Error, Result, sqlstate as code},
    response::Response,
    syntax,
    table::{
        head::by_ids,
        layout,
        writes::{Key, RowRef, TableWrites, check_not_null},
    },
};
use regauge_log::Definition;
use regauge_plan::parse::{Alter, Ddl, ObjectKind, RelationName};
use regauge_types::{ColumnId, ErrorKind, SchemaId, TopicId};
use std::sync::Arc;

impl Session {
    pub(super) async fn ddl(&mut self, txn: &mut Txn, ddl: &Ddl) -> Result<Response> {
        match ddl {
            Ddl::CreateSchema { name, if_not_exists, owner } => {
                if *if_not_exists && txn.catalog.has_schema(name) {
                    let notice = format!("schema \"{name}\" already exists, skipping");
                    return Ok(Response::noticed("CREATE SCHEMA", notice));
                }
                txn.wish(Wish::Schema { name: name.clone() })?;
                if let Some(owner) = owner {
                    self.give_schema(txn, name, owner)?;
                }
                Ok(Response::command("CREATE SCHEMA"))
            }
            Ddl::DropSchema { names, if_exists, cascade } => self.drop_schemas(txn, names, *if_exists, *cascade),
            Ddl::Alter { kind, if_exists, name, actions } => self.alter(txn, *kind, *if_exists, name, actions).await,
            Ddl::Comment { kind, name, column, text } => {
                let relation = self.of_kind(txn, *kind, name)?;
                let (column, text) = (column.clone(), text.clone());
                txn.wish(Wish::Comment { object: relation.id, column, text })?;
                Ok(Response::command("COMMENT"))
            }
            Ddl::ShowCreate { kind, name } => {
                let relation = self.of_kind(txn, *kind, name)?;
                super::show_create::show(&txn.catalog, &relation)
            }
            Ddl::Truncate { names, restart } => self.truncate(txn, names, *restart),
            Ddl::Refresh { name } => {
                self.of_kind(txn, ObjectKind::MaterializedView, name)?;
                let notice = "a materialized view is always up to date: nothing to do";
                Ok(Response::noticed("REFRESH MATERIALIZED VIEW", notice))
            }
            Ddl::CreateSequence { name, if_not_exists, spec } => {
                let name = self.new_name(txn, name)?;
                if *if_not_exists && txn.catalog.sequences().any(|s| s.name == name) {
                    let notice = format!("relation \"{name}\" already exists, skipping");
                    return Ok(Response::noticed("CREATE SEQUENCE", notice));
                }
                let spec = SequenceSpec::of(spec, &name.name)?;
                txn.wish(Wish::Sequence { name, spec })?;
                Ok(Response::command("CREATE SEQUENCE"))
            }
            Ddl::CreateIndex(create) => self.create_index(txn, create),
            Ddl::DropIndex { names, if_exists } => self.drop_indexes(txn, names, *if_exists),
            Ddl::Sink(sink) => self.sink(txn, sink),
            Ddl::CreateFunction(create) => Box::pin(self.create_function(txn, create)).await,
            Ddl::DropFunction { functions, if_exists, aggregate } => self.drop_functions(txn, functions, *if_exists, *aggregate),
            Ddl::RestartSequence { name, if_exists, with } => {
                let path = self.path(&txn.catalog, &self.who_at_all(Some(txn)));
                let found = txn.catalog.resolve_sequence(name.schema.as_deref(), &name.name, &path);
                let Some(found) = found.map(|s| (s.id, s.spec.clone())) else {
                    return match if_exists {
                        true => Ok(Response::noticed("ALTER SEQUENCE", format!("sequence \"{name}\" does not exist, skipping"))),
                        false => Err(Error::no_relation(name).hint("ALTER SEQUENCE IF EXISTS takes no notice")),
                    };
                };
                let (sequence, spec) = found;
                if let Some(value) = with.filter(|value| !(spec.min..=spec.max).contains(value)) {
                    let (word, bound) =
                        if value < spec.min { ("less than MINVALUE", spec.min) } else { ("greater than MAXVALUE", spec.max) };
                    return Err(Error::invalid("22023", format!("RESTART value ({value}) cannot be {word} ({bound})")));
                }
                self.begin_anew(txn, sequence, with.and_then(|value| value.checked_sub(spec.increment)))?;
                Ok(Response::command("ALTER SEQUENCE"))
            }
            Ddl::DropSequence { names, if_exists, .. } => {
                let mut notices = vec![];
                for name in names {
                    let found = txn.catalog.resolve_sequence(
                        name.schema.as_deref(),
                        &name.name,
                        &self.path(&txn.catalog, &self.who_at_all(Some(txn))),
                    );
                    match found.map(|s| s.id) {
                        Some(sequence) => drop(txn.wish(Wish::DropSequence { sequence })?),
                        None if *if_exists => notices.push(format!("sequence \"{name}\" does not exist, skipping")),
                        None => return Err(Error::no_relation(name).hint("DROP SEQUENCE IF EXISTS takes no notice")),
                    }
                }
                Ok(Response::told("DROP SEQUENCE", notices))
            }
        }
    }

    fn drop_schemas(&mut self, txn: &mut Txn, names: &[String], if_exists: bool, cascade: bool) -> Result<Response> {
        let mut notices = vec![];
        for name in names {
            if !txn.catalog.has_schema(name) {
                let message = format!("schema \"{name}\" does not exist");
                if !if_exists {
                    return Err(Error::new(ErrorKind::NotFound, code::INVALID_SCHEMA, message).hint("\\dn lists schemas"));
                }
                notices.push(format!("{message}, skipping"));
                continue;
            }
            for event in txn.wish(Wish::DropSchema { name: name.clone(), cascade })? {
                self.forget(txn, &event, &mut notices, &[]);
            }
        }
        Ok(Response::told("DROP SCHEMA", notices))
    }

    /// A relation that must be of a kind. ALTER TABLE and COMMENT ON TABLE are of tables; SHOW CREATE too.
    fn of_kind(&self, txn: &Txn, kind: ObjectKind, name: &RelationName) -> Result<Arc<Relation>> {
        let relation = self.target(txn, name)?;
        if !is_kind(&relation, kind) {
            let words = kind_words(kind).to_lowercase();
            let hint = format!("it is a {}", relation.kind_name());
            return Err(Error::invalid(code::WRONG_OBJECT, format!("\"{name}\" is not a {words}")).hint(hint));
        }
        Ok(relation)
    }

    async fn alter(
        &mut self,
        txn: &mut Txn,
        kind: ObjectKind,
        if_exists: bool,
        name: &RelationName,
        actions: &[Alter],
    ) -> Result<Response> {
        let tag = format!("ALTER {}", kind_words(kind));
        let renames = actions.iter().all(|a| {
            matches!(a, Alter::Rename(_) | Alter::SetSchema(_) | Alter::Owner(_) | Alter::BackfillRate(_) | Alter::OnError(_))
        });
        // As in PostgreSQL ALTER TABLE gives any relation another name.
        let kind = if renames && kind == ObjectKind::Table { ObjectKind::Any } else { kind };
        let known =
            txn.catalog.resolve(name.schema.as_deref(), &name.name, &self.path(&txn.catalog, &self.who_at_all(Some(txn))));
        if if_exists && known.is_none() {
            return Ok(Response::noticed(tag, format!("relation \"{name}\" does not exist, skipping")));
        }
        let before = self.of_kind(txn, kind, name)?;
        let id = before.id;
        let mut notices = vec![];
        let mut work = Work::default();
        // A default says nothing of rows that are there.
        let defaults = actions.iter().all(|a| matches!(a, Alter::Default { .. }));
        if !renames && !defaults {
            untouched(txn, &before)?;
        }
        for action in actions {
            let relation = txn.catalog.get(id).cloned().ok_or_else(|| Error::internal("relation is gone"))?;
            match action {
                Alter::Rename(to) => {
                    let to = Name { name: to.clone(), ..relation.name.clone() };
                    self.rename(txn, id, to).await?;
                }
                Alter::Owner(to) => self.give(txn, id, to)?,
                Alter::BackfillRate(rate) => {
                    let view = relation.view().ok_or_else(|| Error::internal("a rate of what has no history"))?;
                    txn.wish(Wish::Pace { view: view.0, rate: *rate })?;
                }
                Alter::OnError(value) => {
                    let diverts = dead::option(value)?;
                    self.define_topics(txn, Wish::OnError { stream: id, diverts })?;
                }
                Alter::SetSchema(schema) if *schema == relation.name.schema => {}
                Alter::SetSchema(schema) => {
                    let to = Name { schema: schema.clone(), ..relation.name.clone() };
                    self.rename(txn, id, to).await?;
                }
                _ => self.alter_columns(txn, &relation, action, &mut notices, &mut work).await?,
            }
        }
        if !renames {
            self.finish_columns(txn, &before, work).await?;
        }
        Ok(Response::told(tag, notices))
    }

    async fn rename(&mut self, txn: &mut Txn, object: ObjectId, to: Name) -> Result<()> {
        let events = txn.wish(Wish::Rename { object, to })?;
        self.verify(txn, &events).await
    }

    /// Looks at texts that were written anew: each plain view must give the columns that it gave.
    pub(super) async fn verify(&mut self, txn: &Txn, events: &[Event]) -> Result<()> {
        for event in events {
            let Event::Redefined { object, version: None, .. } = event else { continue };
            let Some(view) = txn.catalog.get(*object).cloned() else { continue };
            let Kind::View { definition } = &view.kind else { continue };
            // The view is its owner's: whether it still means the same is asked in nobody's name.
            let scope = self.scope(Some(txn));
            let mut scope = scope.of_definition(&view, definition);
            scope.who = Arc::default();
            let same = match self.core.planner.plan_text(&definition.sql, scope).await {
                Ok(plan) => {
                    let types = plan.schema().fields().iter().map(|f| f.data_type().clone());
                    types.zip(&view.columns).all(|(now, then)| now == then.ty || now == arrow::datatypes::DataType::Null)
                        && plan.schema().fields().len() == view.columns.len()
                }
                Err(error) => {
                    tracing::debug!(%error, view = %view.name, "a definition cannot be written anew");
                    false
                }
            };
            if !same {
                let message = format!("view {} cannot be kept under the new names", view.name);
                return Err(Error::new(ErrorKind::Conflict, code::DEPENDENT_OBJECTS, message)
                    .hint(format!("drop {} first and create it anew afterwards", view.name)));
            }
        }
        Ok(())
    }

    async fn alter_columns(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        action: &Alter,
        notices: &mut Vec<String>,
        work: &mut Work,
    ) -> Result<()> {
        let change = match action {
            Alter::RenameColumn { from, to } => Change::RenameColumn { from: from.clone(), to: to.clone() },
            Alter::AddColumn { column: spec, if_not_exists } => {
                if *if_not_exists && relation.position(&spec.name).is_some() {
                    let of = format!("column \"{}\" of relation \"{}\"", spec.name, relation.name);
                    notices.push(format!("{of} already exists, skipping"));
                    return Ok(());
                }
                let new = column(ColumnId(0), spec);
                if ty::parse(&ty::name(&new.ty)).as_ref() != Some(&new.ty) {
                    return Err(Error::unsupported(format!("type of column \"{}\" cannot be stored", new.name)));
                }
                let stream = matches!(relation.kind, Kind::Stream { .. });
                if stream && (new.not_null || matches!(new.made, Made::Computed(_))) {
                    let message = format!("column \"{}\" would have no value in records that are there", new.name);
                    return Err(Error::unsupported(message).hint("a column added to a stream may be NULL"));
                }
                let fill = (new.default.is_some() || new.made != Made::Given).then(|| new.name.clone());
                work.judged |= new.not_null && fill.is_none();
                work.fills.extend(fill);
                let sequence = sequences(std::slice::from_ref(spec))?.pop().map(|(_, spec)| spec);
                Change::Add { column: new, sequence }
            }
            Alter::DropColumn { column, if_exists, .. } if *if_exists && relation.position(column).is_none() => {
                notices.push(format!("column \"{column}\" of relation \"{}\" does not exist, skipping", relation.name));
                return Ok(());
            }
            Alter::DropColumn { column, cascade, .. } => Change::Drop { column: column.clone(), cascade: *cascade },
            Alter::Default { column, default } => {
                let ty = relation.position(column).map_or(arrow::datatypes::DataType::Null, |at| relation.columns[at].ty.clone());
                let default = default.as_ref().map(|e| super::zoned::default(e, &ty));
                Change::Default { column: column.clone(), default }
            }
            Alter::NotNull { column, not_null } => {
                if *not_null && matches!(relation.kind, Kind::Stream { .. }) {
                    let error =
                        Error::unsupported("SET NOT NULL is not offered for streams: records that are there stay as they are");
                    return Err(error.hint("ALTER STREAM .. ADD CHECK (column IS NOT NULL) holds for what comes"));
                }
                work.judged |= *not_null;
                Change::NotNull { column: column.clone(), not_null: *not_null }
            }
            Alter::AddCheck(check) => {
                work.judged = true;
                let columns: Vec<_> = relation.columns.iter().map(named_only).collect();
                let check = named_checks(&relation.name, &columns, std::slice::from_ref(check), &relation.checks).pop();
                Change::AddCheck(check.ok_or_else(|| Error::internal("a check without a name"))?)
            }
            Alter::DropConstraint { name, if_exists } => {
                if *if_exists && !relation.checks.iter().any(|c| c.name == *name) {
                    let of = format!("constraint \"{name}\" of relation \"{}\"", relation.name);
                    notices.push(format!("{of} does not exist, skipping"));
                    return Ok(());
                }
                Change::DropCheck(name.clone())
            }
            Alter::Rename(_) | Alter::SetSchema(_) | Alter::Owner(_) | Alter::BackfillRate(_) | Alter::OnError(_) => {
                return Ok(());
            }
        };
        let events = txn.wish(Wish::Alter { object: relation.id, change })?;
        for event in &events {
            self.forget(txn, event, notices, &[]);
        }
        self.verify(txn, &events).await?;
        Ok(())
    }

    /// What changed columns mean to the log and to the rows that are there.
    async fn finish_columns(&mut self, txn: &mut Txn, before: &Arc<Relation>, work: Work) -> Result<()> {
        let topic = before.topic().ok_or_else(|| rows::not_writable(before))?;
        let after = txn.catalog.get(before.id).cloned().ok_or_else(|| Error::internal("relation is gone"))?;
        self.judge_rules(txn, &after).await?;
        let here = txn.defines.iter().position(|d| matches!(d, Definition::Topic(spec) if spec.id == topic));
        if after.schema_id != before.schema_id {
            let schema = match after.kind {
                Kind::Table { .. } => layout::topic_schema(&after.columns),
                _ => crate::event_time::layout::topic_schema(&after),
            };
            let again = |d: &&mut Definition| matches!(d, Definition::Schema { topic: of, .. } if *of == topic);
            match here.and_then(|at| txn.defines.get_mut(at)) {
                Some(Definition::Topic(spec)) => spec.schema = schema,
                _ => {
                    let next = Definition::Schema { topic, id: SchemaId(after.schema_id), schema };
                    match txn.defines.iter_mut().find(again) {
                        Some(one) => *one = next,
                        None => txn.defines.push(next),
                    }
                }
            }
        }
        if matches!(after.kind, Kind::Stream { .. }) {
            return Ok(());
        }
        if !work.fills.is_empty() || work.judged {
            self.rows_under(txn, before, &after, &work.fills).await?;
        }
        if after.schema() != before.schema() {
            txn.altered.insert(topic);
        }
        if txn.tables.contains_key(&topic) {
            self.carry(txn, &after)?;
        }
        Ok(())
    }

    /// Tables whose columns the transaction has changed, for what it does next.
    pub(super) fn carry_altered(&self, txn: &mut Txn) -> Result<()> {
        for topic in txn.altered.clone() {
            if let Some(table) = txn.catalog.get(ObjectId::Topic(topic.0)).cloned() {
                self.carry(txn, &table)?;
            }
        }
        Ok(())
    }

    fn carry(&self, txn: &mut Txn, table: &Arc<Relation>) -> Result<()> {
        let Some(topic) = table.topic().filter(|_| !txn.has_carried(table)) else { return Ok(()) };
        let at = self.core.latest(txn);
        let own = txn.tables.remove(&topic);
        let head = self.core.judged.head(topic);
        let head = head.as_ref().map(|head| head.read());
        let snapshot = head.iter().flat_map(|head| head.rows(at));
        let carried = TableWrites::carried(own.as_deref(), table, snapshot)?;
        drop(head);
        txn.tables.insert(topic, Arc::new(carried));
        Ok(())
    }

    /// The rows of a table as the transaction sees them.
    fn rows_seen(&self, txn: &mut Txn, topic: TopicId) -> Vec<(Key, RowRef)> {
        let at = self.core.latest(txn);
        let own = txn.tables.get(&topic);
        let mine = own.iter().flat_map(|own| own.changes()).filter_map(|c| Some((c.key.clone(), c.after.clone()?)));
        let mut all: Vec<(Key, RowRef)> = mine.collect();
        if let Some(head) = self.core.judged.head(topic) {
            let head = head.read();
            let beside = head.rows(at).filter(|(key, _)| own.is_none_or(|own| own.own(key).is_none()));
            all.extend(beside.map(|(key, row)| (key.clone(), row.clone())));
        }
        all
    }

    /// A table's rows with a column more, or judged by what holds from now on.
    async fn rows_under(&mut self, txn: &mut Txn, before: &Arc<Relation>, after: &Arc<Relation>, fills: &[String]) -> Result<()> {
        let topic = before.topic().ok_or_else(|| Error::internal("table without a topic"))?;
        if self.core.judged.head(topic).is_some() {
            txn.frozen.insert(topic);
        }
        let all = self.rows_seen(txn, topic);
        if all.is_empty() {
            return Ok(());
        }
        let old = crate::table::writes::gather(&before.schema(), all.iter().map(|(_, row)| Some(row)))?;
        let wide = by_ids(&old, &after.schema()).map_err(Error::arrow)?;
        let key: &[usize] = if let Kind::Table { key } = &after.kind { key } else { &[] };
        if fills.is_empty() {
            check_not_null(after, key, &wide).map_err(|e| present(e, after))?;
            return self.judge_checks(txn, after, &wide).await.map_err(|e| broken(e, after));
        }
        let own = std::collections::HashMap::from([("__row".to_owned(), rows::provider(&wide))]);
        let items = after
            .columns
            .iter()
            .map(|c| match fills.contains(&c.name) {
                true => Ok(syntax::expr_as(syntax::cast_to(Session::source_of(c)?, &c.ty)?, &c.name)),
                false => Ok(syntax::column_as(&after.name.name, &c.name, &c.name)),
            })
            .collect::<Result<Vec<_>>>()?;
        let from = format!("\"__row\" AS {}", syntax::quote(&after.name.name));
        let query = syntax::select(items, &from, None)?;
        let (schema, batches) = self.compute(txn, query, own, Some(&after.schema())).await?;
        let new = rows::under(after, &rows::one(&schema, &batches)?)?;
        check_not_null(after, key, &new).map_err(|e| present(e, after))?;
        self.judge_checks(txn, after, &new).await.map_err(|e| broken(e, after))?;
        self.carry(txn, after)?;
        let Some(writes) = txn.tables.get_mut(&topic).map(Arc::make_mut) else { return Ok(()) };
        if writes.repeats() {
            writes.all_anew(&new)?;
            return Ok(());
        }
        let new = Arc::new(new);
        for (at, (key, _)) in all.into_iter().enumerate() {
            writes.put(key, || None, Some(RowRef { batch: new.clone(), at }));
        }
        Ok(())
    }

    fn truncate(&mut self, txn: &mut Txn, names: &[RelationName], restart: bool) -> Result<Response> {
        for name in names {
            let relation = self.target(txn, name)?;
            rows::need_table(&relation, "truncate")?;
            let topic = relation.topic().ok_or_else(|| Error::internal("table without a topic"))?;
            let at = self.core.latest(txn);
            let standing: Vec<(Key, RowRef)> = match self.core.judged.head(topic) {
                Some(head) => head.read().rows(at).map(|(key, row)| (key.clone(), row.clone())).collect(),
                None => vec![],
            };
            let writes = txn.writes(&relation)?;
            let own: Vec<Key> = writes.changes().iter().filter(|c| c.after.is_some()).map(|c| c.key.clone()).collect();
            for (key, row) in standing {
                writes.put(key, || Some(row), None);
            }
            own.into_iter().for_each(|key| writes.put(key, || None, None));
            if restart {
                let counted = |c: &crate::catalog::Column| match c.made {
                    Made::Counted { sequence, .. } => Some(sequence),
                    _ => None,
                };
                for sequence in relation.columns.iter().filter_map(counted) {
                    self.begin_anew(txn, sequence, None)?;
                }
            }
        }
        Ok(Response::command("TRUNCATE TABLE"))
    }

    /// A sequence goes on behind `last`, for the transaction at once and for others once it is committed.
    fn begin_anew(&self, txn: &mut Txn, sequence: u32, last: Option<i64>) -> Result<()> {
        txn.wish(Wish::Reserve { sequence, last })?;
        if let Some(sequence) = txn.catalog.sequence(sequence) {
            self.counted.begin_anew(sequence);
        }
        Ok(())
    }
}

/// What a statement's changes ask of the rows that are there.
#[derive(Default)]
struct Work {
    /// Columns that get their value.
    fills: Vec<String>,
    /// Something holds from now on that did not before.
    judged: bool,
}

/// Refuses a stream that the transaction has written to.
fn untouched(txn: &Txn, relation: &Relation) -> Result<()> {
    let topic = relation.topic().ok_or_else(|| rows::not_writable(relation))?;
    if txn.appends.iter().any(|a| a.topic == topic) {
        let message = format!("cannot alter \"{}\": this transaction has written to it", relation.name);
        return Err(Error::invalid(code::IN_USE, message).hint("COMMIT first"));
    }
    Ok(())
}

fn named_only(c: &crate::catalog::Column) -> regauge_plan::parse::ColumnSpec {
    regauge_plan::parse::ColumnSpec {
        name: c.name.clone(),
        ty: c.ty.clone(),
        chars_max: None,
        not_null: false,
        default: None,
        made: regauge_plan::parse::Made::Given,
    }
}

/// A row that is there has NULL where it may not: PostgreSQL's words for it.
fn present(error: Error, of: &Relation) -> Error {
    match error.column().map(str::to_owned) {
        Some(column) if error.sqlstate == code::NOT_NULL => {
            Error { message: format!("column \"{column}\" of relation \"{}\" contains null values", of.name.name), ..error }
        }
        _ => error,
    }
}

/// A row that is there breaks a condition: PostgreSQL's words for it.
fn broken(error: Error, of: &Relation) -> Error {
    match error.constraint().map(str::to_owned) {
        Some(check) if error.sqlstate == code::CHECK => {
            let message = format!("check constraint \"{check}\" of relation \"{}\" is violated by some row", of.name.name);
            Error { message, detail: None, ..error }
        }
        _ => error,
    }
}
