//! CREATE and DROP: a wish to the catalog, and what it means to the log, in one commit.
//!
//! A definition's text is kept so that it means the same to every reader: names are written whole, unless `public` is all that
//! there is to look in.

use super::{Session, txn::Txn};
use crate::{
    catalog::{
        Check, Column, DefinitionSpec, Event, Kind, Made, Name, ObjectId, PUBLIC, Relation, SequenceSpec, VersionSpec,
        WatermarkSpec, Wish, dead, diverted, hex,
        late::{self, Late},
        recursion, retext, schema_of, ty,
    },
    error::{Error, Result, sqlstate as code},
    event_time,
    read::names::Scope,
    response::Response,
    table::layout,
};
use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::sql::sqlparser::ast;
use regauge_log::{Definition, TopicSpec};
use regauge_plan::{
    FlowPlan, PlanOptions,
    parse::{self, ColumnSpec, CreateTable, CreateView, ObjectKind, RelationName},
};
use regauge_types::{ColumnId, SchemaId, TopicId, VersionNo, ViewId};
use std::{collections::BTreeMap, sync::Arc};

/// Partitions that one topic may have.
const PARTITIONS_MAX: u32 = 4096;

impl Session {
    pub(super) async fn create_table(&mut self, txn: &mut Txn, create: &CreateTable) -> Result<Response> {
        let kind = if create.stream { "STREAM" } else { "TABLE" };
        let name = self.new_name(txn, &create.name)?;
        if create.if_not_exists && txn.catalog.find(&name).is_some() {
            return Ok(Response::noticed(format!("CREATE {kind}"), format!("relation \"{name}\" already exists, skipping")));
        }
        if let Some((query, with_data)) = &create.query {
            return Box::pin(self.create_table_as(txn, create, name, query, *with_data)).await;
        }
        let whole = if create.likes.is_empty() { None } else { Some(self.alike(txn, create)?) };
        let create = whole.as_ref().unwrap_or(create);
        let columns: Vec<Column> = (1..).zip(&create.columns).map(|(id, c)| column(ColumnId(id), c)).collect();
        for c in &columns {
            if ty::parse(&ty::name(&c.ty)).as_ref() != Some(&c.ty) {
                return Err(Error::unsupported(format!("type of column \"{}\" cannot be stored", c.name)));
            }
        }
        let sequences = sequences(&create.columns)?;
        let checks = named_checks(&name, &create.columns, &create.checks, &[]);
        let (mut options, mut kept) = (options(&create.options), BTreeMap::new());
        if !create.stream && options.contains_key(dead::OPTION) {
            let error = Error::unsupported("on_error is an option of streams");
            return Err(error.hint("a table refuses what brings a bad row; CREATE STREAM s (..) WITH (on_error = 'dead_letter')"));
        }
        let partitions = match options.remove("partitions") {
            None if create.stream => self.core.config.limits.stream_partitions,
            None => 1,
            Some(text) => partitions(&text)?,
        };
        if !create.stream && partitions != 1 {
            return Err(
                Error::unsupported("a table has one partition").hint("leave partitions out; only streams are partitioned")
            );
        }
        if let Some(on_error) = options.remove(dead::OPTION).filter(|_| create.stream)
            && dead::option(&on_error)?
        {
            kept.insert(dead::OPTION.to_owned(), dead::DEAD_LETTER.to_owned());
        }
        if let Some(unknown) = options.keys().next() {
            let hint = if create.stream {
                "a stream takes WITH (partitions = n, on_error = 'fail' or 'dead_letter')"
            } else {
                "a table takes no options"
            };
            return Err(Error::invalid(code::INVALID_PARAMETER, format!("unknown option \"{unknown}\"")).hint(hint));
        }
        let wish = if create.stream {
            let watermark = create.watermark.as_ref().and_then(|w| {
                let of = columns.get(w.column)?;
                let sql = format!("{} - INTERVAL '{} microseconds'", crate::syntax::quote(&of.name), w.delay_us);
                Some(WatermarkSpec { column: of.id.0, sql })
            });
            let partition_by = create.partition_by.clone();
            let options = kept;
            Wish::Stream { name, columns, partition_by, partitions, watermark, options, checks, sequences }
        } else {
            Wish::Table { name, columns, key: create.primary_key.clone(), options, checks, sequences }
        };
        let relation = self.define_topics(txn, wish)?;
        if let Some(relation) = relation {
            Box::pin(self.judge_rules(txn, &relation)).await?;
        }
        Ok(Response::command(format!("CREATE {kind}")))
    }

    /// A wish for a table or stream, and its topic. Streams of dead letters come after their own.
    pub(super) fn define_topics(&self, txn: &mut Txn, wish: Wish) -> Result<Option<Arc<Relation>>> {
        let mut made = None;
        for event in txn.wish(wish)? {
            if let Some(spec) = self.topic_spec(txn, &event) {
                made = made.or_else(|| txn.catalog.get(ObjectId::Topic(spec.id.0)).cloned());
                txn.defines.push(Definition::Topic(spec));
            }
        }
        Ok(made)
    }

    /// CREATE TABLE .. AS: the query's rows as they are now, in a table of their types.
    async fn create_table_as(
        &mut self,
        txn: &mut Txn,
        create: &CreateTable,
        name: Name,
        query: &ast::Query,
        with_data: bool,
    ) -> Result<Response> {
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query.clone(), scope, None, None).await?;
        let planned = crate::read::planner::shown(&kept.plan.schema());
        let outputs = planned.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        let names: Vec<String> = create.columns.iter().map(|c| c.name.clone()).collect();
        let columns = output_columns(outputs, &names)?;
        for column in &columns {
            parse::column_name(&column.name)?;
        }
        let target = schema_of(&columns);
        let (options, checks, sequences) = (BTreeMap::new(), vec![], vec![]);
        let wish = if create.stream {
            let partitions = self.core.config.limits.stream_partitions;
            Wish::Stream { name, columns, partition_by: vec![], partitions, watermark: None, options, checks, sequences }
        } else {
            Wish::Table { name, columns, key: vec![], options, checks, sequences }
        };
        let relation = self.define_topics(txn, wish)?;
        if !with_data {
            return Ok(Response::command("CREATE TABLE AS"));
        }
        let relation = relation.ok_or_else(|| Error::internal("the table was not made"))?;
        let batches = self.collect(txn, &kept).await?;
        let rows = super::rows::one(&kept.plan.schema(), &batches)?;
        let columns = rows.columns().iter().zip(target.fields());
        let cast = columns
            .map(|(c, f)| if c.data_type() == f.data_type() { Ok(c.clone()) } else { arrow::compute::cast(c, f.data_type()) });
        let cast = cast.collect::<std::result::Result<Vec<_>, _>>().map_err(Error::arrow)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(relation.schema(), cast, &options).map_err(Error::arrow)?;
        let n = rows.num_rows();
        self.core.append_rows(txn, &relation, rows)?;
        Ok(Response::command(format!("SELECT {n}")))
    }

    pub(super) async fn create_view(&mut self, txn: &mut Txn, create: &CreateView) -> Result<Response> {
        let name = self.new_name(txn, &create.name)?;
        let tag = if create.materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
        let mut replaced = None;
        if let Some(there) = txn.catalog.find(&name) {
            if create.if_not_exists {
                return Ok(Response::noticed(tag, format!("relation \"{name}\" already exists, skipping")));
            }
            if create.or_replace && !matches!(there.kind, Kind::View { .. }) {
                return Err(Error::invalid(code::WRONG_OBJECT, format!("\"{name}\" is not a view"))
                    .hint(format!("DROP {} {name} first", there.kind_name().to_uppercase())));
            }
            replaced = create.or_replace.then_some(there.id);
        }
        let scope = Scope { system_columns: false, ..self.scope(Some(txn)) };
        let depends_on: Vec<ObjectId> = {
            let mut ids: Vec<ObjectId> = self.core.planner.names(&create.query, &scope)?.iter().map(|r| r.id).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        let sql = match scope.search_path == [PUBLIC.to_owned()] {
            true => create.query_sql.clone(),
            false => retext::qualified(&create.query, &txn.catalog, &scope.search_path)?.to_string(),
        };
        let time_zone = if create.materialized { "UTC".to_owned() } else { scope.time_zone.clone() };
        let definition = DefinitionSpec { sql, search_path: scope.search_path.clone(), time_zone, depends_on };
        if create.materialized {
            self.create_materialized(txn, create, definition)?;
            return Ok(match self.zone().is_utc() {
                true => Response::command(tag),
                false => Response::noticed(tag, "a materialized view counts in UTC, whatever TimeZone its readers have"),
            });
        }
        let plan = self.core.planner.plan_view(create.query.as_ref().clone(), scope).await?;
        let fields = plan.schema().fields();
        let shown = regauge_plan::batch::shown_names(fields.iter().map(|f| f.name().as_str()));
        let fields = shown.into_iter().zip(fields.iter().map(|f| f.data_type().clone()));
        let columns = output_columns(fields.collect(), &create.columns)?;
        match replaced {
            Some(view) => {
                let events = txn.wish(Wish::ReplaceView { view, columns, definition })?;
                self.verify(txn, &events).await?;
            }
            None => drop(txn.wish(Wish::View { name, columns, definition })?),
        }
        Ok(Response::command(tag))
    }

    /// What a materialized view is to be, and the plan that it gets.
    pub(super) fn plan_created(&self, txn: &Txn, create: &CreateView) -> Result<(Created, FlowPlan)> {
        let mut given = options(&create.options);
        let wait = given.remove("async").is_none_or(|v| v == "false" || v == "off");
        let diverts = diverted::option(given.remove(diverted::OPTION).as_deref())?;
        let late = late::option(given.remove(late::OPTION).as_deref())?;
        let recursion = recursion::option(&mut given)?;
        let rate = given.remove("backfill_rate").map(|text| regauge_plan::parse::rate(&text)).transpose()?.flatten();
        if let Some(unknown) = given.keys().next() {
            let error = Error::invalid(code::INVALID_PARAMETER, format!("unknown option \"{unknown}\""));
            return Err(error.hint(
                "a materialized view takes WITH (async, on_error = 'fail' or 'divert', late = 'correct', 'divert' or 'drop', \
                 recursion_steps = n, recursion_rows = n, backfill_rate = n)",
            ));
        }
        let scope = self.scope(Some(txn));
        let uses = self.core.planner.uses(&create.query, &scope)?;
        let aside = |what: &str, aside: &Relation| {
            let message = format!("a materialized view cannot read \"{}\", which shows {what}", aside.name);
            Error::unsupported(message).hint("read it with SELECT, or make a plain view")
        };
        if let Some(errors) = diverted::among(&txn.catalog, &uses) {
            return Err(aside("rows that failed", errors));
        }
        if let Some(left_out) = late::among(&txn.catalog, &uses) {
            return Err(aside("records that came late", left_out).hint("read the stream WHERE _late"));
        }
        let streams = late::streams(&txn.catalog, &uses);
        if late != Late::Correct && streams.is_empty() {
            let message = format!("late = '{}' is for views over streams that have a watermark", late.name());
            return Err(Error::unsupported(message).hint("CREATE STREAM s (.., WATERMARK FOR ts AS ts - INTERVAL '5 seconds')"));
        }
        let wished = PlanOptions {
            without_late: late != Late::Correct,
            emit_final: create.emit_final,
            recursion,
            columns: create.columns.clone(),
        };
        let plan = crate::catalog::lookup::plan(&txn.catalog, &scope, &create.query, &wished)?;
        let mut options = BTreeMap::new();
        if diverts {
            options.insert(diverted::OPTION.to_owned(), diverted::DIVERT.to_owned());
        }
        if late != Late::Correct {
            options.insert(late::OPTION.to_owned(), late.name().to_owned());
        }
        if create.emit_final {
            options.insert(late::EMIT.to_owned(), "final".to_owned());
        }
        let late = if late == Late::Divert { streams } else { vec![] };
        Ok((Created { options, wait, late, rate }, plan))
    }

    fn create_materialized(&mut self, txn: &mut Txn, create: &CreateView, definition: DefinitionSpec) -> Result<()> {
        self.core.versions.flows().ready()?;
        let (Created { options, wait, late, rate }, plan) = self.plan_created(txn, create)?;
        let outputs = plan.output.iter().map(|c| (c.name.clone(), c.ty.clone())).collect();
        let columns = output_columns(outputs, &create.columns)?;
        let version = VersionSpec {
            definition,
            columns: columns.iter().map(crate::catalog::ColumnSpec::of).collect(),
            key: plan.key.clone(),
            fingerprint: hex(&plan.fingerprint().0),
            options,
            plan: plan.to_bytes(),
        };
        let name = self.new_name(txn, &create.name)?;
        for event in txn.wish(Wish::Materialized { name, version, late })? {
            if let Event::VersionAdded { view, version, .. } = event {
                txn.created.push((ViewId(view), VersionNo(version), wait));
                if rate.is_some() {
                    txn.wish(Wish::Pace { view, rate })?;
                }
            }
        }
        Ok(())
    }

    /// A new relation's topic, as the log is told of it. Names in the log are for people and unique: one that a renamed relation
    /// left there is told apart by the id.
    fn topic_spec(&self, txn: &Txn, event: &Event) -> Option<TopicSpec> {
        let id = match event {
            Event::TableCreated { topic, .. } | Event::StreamCreated { topic, .. } => *topic,
            _ => return None,
        };
        let relation: &Arc<Relation> = txn.catalog.get(ObjectId::Topic(id))?;
        let (schema, partition_by, partitions) = match &relation.kind {
            Kind::Stream { partition_by, partitions, .. } => {
                (event_time::layout::topic_schema(relation), partition_by.clone(), *partitions)
            }
            _ => (layout::topic_schema(&relation.columns), vec![], 1),
        };
        let plain = format!("{}.{}", relation.name.schema, relation.name.name);
        let here = self.core.log.topics().iter().any(|t| t.name == plain)
            || txn.defines.iter().any(|d| matches!(d, Definition::Topic(spec) if spec.name == plain));
        let name = if here { format!("{plain}#{id}") } else { plain };
        Some(TopicSpec { id: TopicId(id), name, partitions, partition_by, schema_id: SchemaId(1), schema })
    }

    pub(super) fn drop_objects(
        &mut self,
        txn: &mut Txn,
        kind: ObjectKind,
        names: &[RelationName],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Response> {
        let tag = format!("DROP {}", kind_words(kind));
        let mut objects = Vec::new();
        let mut notices = Vec::new();
        for name in names {
            let found =
                txn.catalog.resolve(name.schema.as_deref(), &name.name, &self.path(&txn.catalog, &self.who_at_all(Some(txn))));
            match found {
                None if if_exists => {
                    notices.push(format!("{} \"{name}\" does not exist, skipping", kind_words(kind).to_lowercase()))
                }
                None => {
                    let message = format!("{} \"{name}\" does not exist", kind_words(kind).to_lowercase());
                    return Err(Error { message, ..Error::no_relation(name) }.hint("DROP ... IF EXISTS takes no notice"));
                }
                Some(relation) if !is_kind(relation, kind) => {
                    let message = format!("\"{name}\" is not a {}", kind_words(kind).to_lowercase());
                    let hint = format!("DROP {} {name}", relation.kind_name().to_uppercase());
                    return Err(Error::invalid(code::WRONG_OBJECT, message).hint(hint));
                }
                Some(relation) => objects.push(relation.id),
            }
        }
        for event in txn.wish(Wish::Drop { objects, cascade })? {
            self.forget(txn, &event, &mut notices, names);
        }
        Ok(Response::told(tag, notices))
    }

    /// What a dropped relation leaves in the transaction: nothing.
    pub(super) fn forget(&self, txn: &mut Txn, event: &Event, notices: &mut Vec<String>, named: &[RelationName]) {
        if let Event::SinkDropped { sink } = event
            && let Some(sink) = txn.base.sinks().find(|s| s.id == *sink)
        {
            notices.push(format!("drop cascades to sink {}", sink.name));
        }
        let Event::Dropped { object, name } = event else { return };
        if !named.iter().any(|n| n.name == name.name) {
            notices.push(format!("drop cascades to {name}"));
        }
        match object {
            ObjectId::View(view) => txn.created.retain(|(v, ..)| v.0 != *view),
            ObjectId::Topic(id) => {
                let topic = TopicId(*id);
                txn.tables.remove(&topic);
                txn.appends.retain(|a| a.topic != topic);
                txn.consumed.remove(&topic);
                let before = txn.defines.len();
                txn.defines.retain(|d| !matches!(d, Definition::Topic(spec) if spec.id == topic));
                if txn.defines.len() == before {
                    txn.defines.push(Definition::DropTopic(topic));
                } else {
                    // Created and dropped by the same transaction: the log never hears of it, and its id is used up all the same.
                    tracing::debug!(%topic, "topic was created and dropped in one transaction");
                }
            }
        }
    }
}

/// What a table's own sequences count, by the positions of its columns.
pub(super) fn sequences(columns: &[ColumnSpec]) -> Result<Vec<(usize, SequenceSpec)>> {
    let of = |(at, c): (usize, &ColumnSpec)| match &c.made {
        parse::Made::Counted { spec, .. } => Some(SequenceSpec::of(spec, &format!("{}_seq", c.name)).map(|spec| (at, spec))),
        _ => None,
    };
    columns.iter().enumerate().filter_map(of).collect()
}

/// Conditions under names: as given, or as PostgreSQL finds them: `t_c_check`, `t_check`, `t_check1`.
pub(super) fn named_checks(of: &Name, columns: &[ColumnSpec], checks: &[parse::Check], taken: &[Check]) -> Vec<Check> {
    let mut all: Vec<Check> = vec![];
    for check in checks {
        let sql = super::zoned::condition(&check.condition, columns);
        let read: Vec<&str> =
            columns.iter().map(|c| c.name.as_str()).filter(|c| retext::reads_column(&sql, c).unwrap_or(false)).collect();
        // PostgreSQL names a condition after its column wherever it stands, if it reads one alone.
        let alone = if let [one] = read.as_slice() { Some(*one) } else { None };
        let column = check.column.as_deref().or(alone);
        let first = column.map_or_else(|| format!("{}_check", of.name), |c| format!("{}_{c}_check", of.name));
        let others = (1..).map(|n| format!("{first}{n}"));
        let is_free = |name: &String| {
            !taken.iter().chain(&all).any(|c| c.name == *name) && !checks.iter().any(|c| c.name.as_ref() == Some(name))
        };
        let found = || std::iter::once(first.clone()).chain(others).find(is_free);
        let name = check.name.clone().or_else(found).unwrap_or_else(|| first.clone());
        all.push(Check { name, sql });
    }
    all
}

/// What CREATE MATERIALIZED VIEW said besides the query.
pub(super) struct Created {
    options: BTreeMap<String, String>,
    wait: bool,
    /// Streams whose late records are set aside.
    late: Vec<ObjectId>,
    /// Rows a second of its history.
    rate: Option<u64>,
}

pub(super) fn column(id: ColumnId, spec: &ColumnSpec) -> Column {
    Column {
        id,
        name: spec.name.clone(),
        ty: spec.ty.clone(),
        not_null: spec.not_null,
        chars_max: spec.chars_max,
        default: spec.default.as_ref().map(|e| super::zoned::default(e, &spec.ty)),
        made: match &spec.made {
            parse::Made::Given => Made::Given,
            parse::Made::Computed(e) => Made::Computed(e.to_string()),
            parse::Made::Counted { always, serial, .. } => Made::Counted { sequence: 0, always: *always, serial: *serial },
        },
    }
}

fn options(given: &[(String, String)]) -> BTreeMap<String, String> {
    given.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect()
}

fn partitions(text: &str) -> Result<u32> {
    text.parse().ok().filter(|n| (1..=PARTITIONS_MAX).contains(n)).ok_or_else(|| {
        Error::invalid(
            code::INVALID_PARAMETER,
            format!("partitions is not a number from 1 to {PARTITIONS_MAX} partitions={text}"),
        )
    })
}

/// Columns of a view from its query's output, the first ones renamed.
fn output_columns(outputs: Vec<(String, arrow::datatypes::DataType)>, names: &[String]) -> Result<Vec<Column>> {
    if names.len() > outputs.len() {
        let message =
            format!("CREATE VIEW specifies more column names than columns names={} columns={}", names.len(), outputs.len());
        return Err(Error::invalid(code::SYNTAX, message));
    }
    (1..)
        .zip(outputs)
        .enumerate()
        .map(|(at, (id, (name, ty)))| {
            let name = names.get(at).cloned().unwrap_or(name);
            // A column of unknown type (a bare NULL or string) is text, as in PostgreSQL.
            let ty = if ty == arrow::datatypes::DataType::Null { arrow::datatypes::DataType::Utf8 } else { ty };
            if ty::parse(&ty::name(&ty)).as_ref() != Some(&ty) {
                return Err(Error::unsupported(format!("column \"{name}\" has a type without a name in SQL type={ty}"))
                    .hint("add a cast"));
            }
            Ok(Column::plain(ColumnId(id), name, ty))
        })
        .collect()
}

pub(super) fn is_kind(relation: &Relation, kind: ObjectKind) -> bool {
    match kind {
        ObjectKind::Any => true,
        ObjectKind::Table => matches!(relation.kind, Kind::Table { .. }),
        ObjectKind::Stream => matches!(relation.kind, Kind::Stream { .. }),
        ObjectKind::View => matches!(relation.kind, Kind::View { .. }),
        ObjectKind::MaterializedView => matches!(relation.kind, Kind::Materialized { .. }),
    }
}

pub(super) fn kind_words(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "TABLE",
        ObjectKind::Stream => "STREAM",
        ObjectKind::View => "VIEW",
        ObjectKind::MaterializedView => "MATERIALIZED VIEW",
        ObjectKind::Any => "RELATION",
    }
}
