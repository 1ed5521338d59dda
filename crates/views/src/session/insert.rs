//! INSERT: into a table judged against its head, into a stream as records.
//!
//! ```text
//!   source ─▶ cast to the named columns ─▶ defaults for the others ─▶ checks ─▶ per key: free? conflict? ─▶ writes ─▶ RETURNING
//! ```

use super::{
    Session,
    intake::{Intake, OnError},
    rows::{need_table, not_writable, one, provider, under},
    txn::Txn,
    values,
};
use crate::{
    catalog::{Column, Kind, Made, Relation, key_constraint},
    error::{Error, Result, sqlstate as code},
    response::Response,
    syntax,
    table::writes::{Key, RowRef, check_bytes, duplicate, gather},
};
use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    datatypes::{Field, Int64Type, Schema, SchemaRef},
};
use datafusion::sql::sqlparser::ast;
use regauge_plan::walk::Visit;
use regauge_plan::{
    functions::assign::{assignable, mismatch},
    parse::{Assignment, Insert, OnConflict, Overriding},
};
use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
};

impl Session {
    pub(super) async fn insert(&mut self, txn: &mut Txn, insert: &Insert) -> Result<Response> {
        let relation = self.target(txn, &insert.table)?;
        txn.keep_for(&insert.returning);
        let named = named_columns(&relation, &insert.columns)?;
        if insert.sequence.is_some()
            && !(matches!(relation.kind, Kind::Stream { .. }) && txn.mode == super::txn::Mode::Autocommit)
        {
            let error = Error::unsupported("WITH SEQUENCE is for single inserts into streams, outside transactions");
            return Err(error.hint("a table knows its keys: INSERT ... ON CONFLICT DO NOTHING"));
        }
        match &relation.kind {
            Kind::Stream { .. } if insert.on_conflict.is_some() => need_table(&relation, "use ON CONFLICT on")?,
            Kind::View { .. } | Kind::Materialized { .. } => return Err(not_writable(&relation)),
            _ => {}
        }
        let counted = overridden(insert, &relation, &named)?;
        let insert = counted.as_ref().unwrap_or(insert);
        taken_only_by_default(insert, &relation, &named)?;
        if let Some(conflict) = &insert.on_conflict {
            self.check_conflict(txn, &relation, conflict, insert.alias.as_deref()).await?;
        }
        let rows = self.insert_rows(txn, insert, &relation, &named).await?;
        if crate::catalog::dead::diverts(&relation) {
            let producer = self.producer_of(insert)?;
            let intake = Intake::of_rows(rows, OnError::DeadLetter, "insert");
            let sifted = self.sifted(txn, &relation, intake, producer.as_ref()).await?;
            self.core.append_sifted(txn, &relation, &sifted)?;
            let alias = insert.alias.as_deref();
            let answer = self.returning(txn, &insert.returning, &relation, alias, &sifted.rows, "INSERT 0").await?;
            return Ok(answer.with_notice(sifted.notice(&relation)));
        }
        let rows = self.ruled(txn, &relation, rows).await?;
        let written = match &insert.on_conflict {
            Some(conflict) => self.insert_on_conflict(txn, &relation, rows, conflict, insert.alias.as_deref()).await?,
            None => {
                self.core.append_rows(txn, &relation, rows.clone())?;
                rows
            }
        };
        self.returning(txn, &insert.returning, &relation, insert.alias.as_deref(), &written, "INSERT 0").await
    }

    /// The source's rows at full width.
    async fn insert_rows(&mut self, txn: &mut Txn, insert: &Insert, relation: &Relation, named: &[usize]) -> Result<RecordBatch> {
        let schema = relation.schema();
        let Some(source) = &insert.source else {
            let items = relation
                .columns
                .iter()
                .map(|c| Ok(syntax::expr_as(Session::value_for(c, None)?, &c.name)))
                .collect::<Result<_>>()?;
            let query = syntax::select(items, "(SELECT 1) AS \"__one\"", None)?;
            let (_, batches) = self.compute(txn, query, HashMap::new(), Some(&schema)).await?;
            return one_under(relation, &batches);
        };
        if let Some(given) = literal_rows(source, relation, named) {
            let targets = given.schema();
            return self.widen(txn, relation, named, &targets, given).await;
        }
        if let Some(given) = self.mixed_rows(txn, source, relation, named).await? {
            let fields = named.iter().map(|at| &relation.columns[*at]).map(|c| Field::new(&c.name, c.ty.clone(), true));
            let targets: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            return self.widen(txn, relation, named, &targets, given).await;
        }
        let mut source = source.as_ref().clone();
        fill_values(&mut source, relation, named)?;
        fill_items(&mut source, relation, named)?;
        let width = width_of(&source);
        if let Some(width) = width.filter(|w| *w != named.len()) {
            let (more, less) =
                if width > named.len() { ("expressions", "target columns") } else { ("target columns", "expressions") };
            // Without a column list fewer values than columns are fine: the rest takes its defaults.
            if width > named.len() || !insert.columns.is_empty() {
                return Err(Error::invalid(code::SYNTAX, format!("INSERT has more {more} than {less}")));
            }
        }
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, source, scope, None, None).await?;
        let width = kept.plan.schema().fields().len();
        if width > named.len() || width < named.len() && !insert.columns.is_empty() {
            let (more, less) =
                if width > named.len() { ("expressions", "target columns") } else { ("target columns", "expressions") };
            return Err(Error::invalid(code::SYNTAX, format!("INSERT has more {more} than {less}")));
        }
        let named = &named[..width];
        let targets: Vec<&Column> = named.iter().map(|at| &relation.columns[*at]).collect();
        let target_schema: SchemaRef =
            Arc::new(Schema::new(targets.iter().map(|c| Field::new(&c.name, c.ty.clone(), true)).collect::<Vec<_>>()));
        // Values were judged one by one; a column of NULLs alone has no type of its own.
        let queried = !matches!(insert.source.as_ref().map(|s| s.body.as_ref()), Some(ast::SetExpr::Values(_)));
        for (field, column) in kept.plan.schema().fields().iter().zip(&targets).filter(|_| queried) {
            let (from, to) = (field.data_type(), &column.ty);
            if *from != arrow::datatypes::DataType::Null && !assignable(from, to) {
                return Err(Error::from_eval(&mismatch(&column.name, to, from)).hint("cast the expression"));
            }
        }
        let batches = self.collect_in_order(txn, &kept).await?;
        let given = one(&kept.plan.schema(), &batches)?;
        self.widen(txn, relation, named, &target_schema, given).await
    }

    /// Casts what was given, and adds the other columns' defaults.
    async fn widen(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        named: &[usize],
        targets: &SchemaRef,
        given: RecordBatch,
    ) -> Result<RecordBatch> {
        let same = given.schema().fields().iter().zip(targets.fields()).all(|(a, b)| a.data_type() == b.data_type());
        let whole = named.len() == relation.columns.len() && named.iter().enumerate().all(|(i, at)| i == *at);
        if same && whole {
            return under(relation, &given);
        }
        let names: Vec<String> = (0..named.len()).map(|i| format!("__c{i}")).collect();
        let fields: Vec<Field> =
            given.schema().fields().iter().zip(&names).map(|(f, n)| Field::new(n, f.data_type().clone(), true)).collect();
        let given = RecordBatch::try_new(Arc::new(Schema::new(fields)), given.columns().to_vec()).map_err(Error::arrow)?;
        let item = |(at, column): (usize, &Column)| match named.iter().position(|n| *n == at) {
            Some(i) => Ok(syntax::column_as("__given", &names[i], &column.name)),
            None => Ok(syntax::expr_as(Session::value_for(column, None)?, &column.name)),
        };
        let items = relation.columns.iter().enumerate().map(item).collect::<Result<_>>()?;
        let query = syntax::select(items, "\"__given\"", None)?;
        let own = HashMap::from([("__given".to_owned(), provider(&given))]);
        let (_, batches) = self.compute(txn, query, own, Some(&relation.schema())).await?;
        one_under(relation, &batches)
    }

    /// Rows whose key is free go in; for the others DO NOTHING or DO UPDATE. Answers the rows as they are afterwards.
    async fn insert_on_conflict(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        rows: RecordBatch,
        conflict: &OnConflict,
        alias: Option<&str>,
    ) -> Result<RecordBatch> {
        check_bytes(&rows, self.core.config.limits.row_bytes)?;
        txn.writes(relation)?.check_rows(&rows)?;
        let keys = txn.writes(relation)?.keys(&rows)?;
        let batch = Arc::new(rows);
        let (mut fresh, mut taken): (Vec<RowRef>, Vec<(RowRef, RowRef)>) = (vec![], vec![]);
        let mut touched: HashSet<Key> = HashSet::new();
        for (at, key) in keys.into_iter().enumerate() {
            let row = RowRef { batch: batch.clone(), at };
            let standing = self.core.standing(txn, relation, &key)?;
            let first = touched.insert(key.clone());
            match (standing.now, &conflict.update) {
                (None, _) => {
                    txn.writes(relation)?.put(key, || standing.snapshot, Some(row.clone()));
                    fresh.push(row);
                }
                (Some(_), None) => {}
                (Some(now), Some(_)) if !first || self.written_here(txn, relation, &key, &now) => {
                    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                    return Err(Error::invalid(code::CARDINALITY, message).hint("give each key once in one INSERT"));
                }
                (Some(now), Some(_)) => taken.push((now, row)),
            }
        }
        let inserted = gather(&relation.schema(), fresh.iter().map(Some))?;
        let (Some((assignments, condition)), false) = (&conflict.update, taken.is_empty()) else { return Ok(inserted) };
        let (updated, numbers) = self.update_taken(txn, relation, &taken, assignments, condition.as_ref(), alias).await?;
        let written = one(&relation.schema(), &[inserted, updated])?;
        // in the order in which they were given, as RETURNING shows them
        let places: Vec<usize> = fresh.iter().map(|row| row.at).chain(numbers.iter().map(|n| taken[*n].1.at)).collect();
        let mut order: Vec<u64> = (0..).take(places.len()).collect();
        order.sort_by_key(|i| usize::try_from(*i).ok().and_then(|i| places.get(i)));
        arrow::compute::take_record_batch(&written, &arrow::array::UInt64Array::from(order)).map_err(Error::arrow)
    }

    /// Binds what DO UPDATE says, whether or not a row will conflict. What takes columns over as they are needs no plan.
    async fn check_conflict(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        conflict: &OnConflict,
        alias: Option<&str>,
    ) -> Result<()> {
        check_target(relation, conflict)?;
        let Some((assignments, condition)) = &conflict.update else { return Ok(()) };
        check_assigned(relation, assignments)?;
        refuse_windows(assignments)?;
        super::update::refuse_made(relation, assignments)?;
        let same = |a: &Assignment| matches!(&a.value, Some(ast::Expr::CompoundIdentifier(parts)) if takes_over(relation, &a.column, parts));
        if condition.is_none() && assignments.iter().all(same) {
            return Ok(());
        }
        let query = taken_query(relation, assignments, condition.as_ref(), alias)?;
        let nothing = numbered(&RecordBatch::new_empty(relation.schema()))?;
        let mut scope = self.scope(Some(txn));
        for name in ["__existing", "__excluded"] {
            scope.own.insert(name.to_owned(), provider(&nothing));
        }
        Box::pin(self.core.planner.plan(query, scope)).await.map(drop)
    }

    /// DO UPDATE: the existing rows beside the excluded ones. Answers the rows as they are afterwards, with the places of what they were
    /// among the taken ones.
    async fn update_taken(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        taken: &[(RowRef, RowRef)],
        assignments: &[Assignment],
        condition: Option<&ast::Expr>,
        alias: Option<&str>,
    ) -> Result<(RecordBatch, Vec<usize>)> {
        let schema = relation.schema();
        let existing = numbered(&gather(&schema, taken.iter().map(|(now, _)| Some(now)))?)?;
        let excluded = numbered(&gather(&schema, taken.iter().map(|(_, row)| Some(row)))?)?;
        let mut fields = vec![Field::new(NUMBER, arrow::datatypes::DataType::Int64, true)];
        fields.extend(relation.columns.iter().map(|column| Field::new(&column.name, column.ty.clone(), true)));
        let query = taken_query(relation, assignments, condition, alias)?;
        let own = HashMap::from([("__existing".to_owned(), provider(&existing)), ("__excluded".to_owned(), provider(&excluded))]);
        let output = Arc::new(Schema::new(fields));
        let (_, batches) = self.compute(txn, query, own, Some(&output)).await?;
        let updated = one(&output, &batches)?;
        let numbers = updated.column(0).as_primitive::<Int64Type>().clone();
        let updated = under(relation, &updated.project(&(1..updated.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow)?)?;
        let numbers: Vec<usize> = numbers.values().iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
        let pairs = numbers.iter().map(|n| taken[*n].0.clone()).collect::<Vec<_>>();
        let updated = self.ruled(txn, relation, updated).await?;
        self.replace_rows(txn, relation, &pairs, &updated)?;
        Ok((updated, numbers))
    }

    /// Puts new rows in the place of old ones, by position. Keys may change; a key that is taken afterwards is an error.
    pub(super) fn replace_rows(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        old: &[RowRef],
        new: &RecordBatch,
    ) -> Result<()> {
        check_bytes(new, self.core.config.limits.row_bytes)?;
        txn.writes(relation)?.check_rows(new)?;
        let old_rows = gather(&relation.schema(), old.iter().map(Some))?;
        let old_keys = self.core.keys_standing(txn, relation, &old_rows)?;
        let new_keys = txn.writes(relation)?.keys(new)?;
        for (old_key, new_key) in old_keys.iter().zip(&new_keys) {
            if old_key != new_key {
                let standing = self.core.standing(txn, relation, old_key)?;
                txn.writes(relation)?.put(old_key.clone(), || standing.snapshot, None);
            }
        }
        let batch = Arc::new(new.clone());
        for (at, (old_key, key)) in old_keys.into_iter().zip(new_keys).enumerate() {
            let row = RowRef { batch: batch.clone(), at };
            let standing = self.core.standing(txn, relation, &key)?;
            if old_key != key && standing.now.is_some() {
                return Err(duplicate(relation, Some(&row)));
            }
            txn.writes(relation)?.put(key, || standing.snapshot, Some(row));
        }
        Ok(())
    }
}

/// What rows of a statement are numbered by.
pub(super) const NUMBER: &str = "__n";

/// DO UPDATE as a query over the rows that stand and those that were given.
fn taken_query(
    relation: &Relation,
    assignments: &[Assignment],
    condition: Option<&ast::Expr>,
    alias: Option<&str>,
) -> Result<ast::Query> {
    let name = alias.unwrap_or(&relation.name.name);
    let mut items = vec![syntax::column_as(name, NUMBER, NUMBER)];
    for column in &relation.columns {
        let set = assignments.iter().rev().find(|a| a.column == column.name);
        items.push(match set {
            None => syntax::column_as(name, &column.name, &column.name),
            Some(a) => syntax::expr_as(Session::value_for(column, a.value.clone())?, &column.name),
        });
    }
    let from = format!(
        "\"__existing\" AS {name} JOIN \"__excluded\" AS \"excluded\" ON {name}.\"{NUMBER}\" = \"excluded\".\"{NUMBER}\"",
        name = syntax::quote(name)
    );
    syntax::select(items, &from, condition.cloned())
}

/// Whether a name is `excluded.column`, of a column that has the type of the one that takes it.
fn takes_over(relation: &Relation, column: &str, parts: &[ast::Ident]) -> bool {
    let [of, from] = parts else { return false };
    let ty = |name: &str| relation.columns.iter().find(|c| c.name == name).map(|c| &c.ty);
    let from = regauge_plan::parse::fold(from);
    regauge_plan::parse::fold(of) == "excluded" && ty(&from).is_some() && ty(&from) == ty(column)
}

/// Refuses window functions among assignments; within a query of their own they are fine.
///
/// # Errors
/// 42P20, 42803, 0A000.
pub(super) fn refuse_windows(assignments: &[Assignment]) -> Result<()> {
    let values = || assignments.iter().filter_map(|a| a.value.as_ref());
    if values().any(is_windowed) {
        return Err(Error::invalid("42P20", "window functions are not allowed in UPDATE")
            .hint("compute them in a query: UPDATE t SET .. FROM (SELECT .. OVER (..)) AS w WHERE .."));
    }
    values().try_for_each(|e| regauge_plan::batch::of_one_row(e, "UPDATE").map_err(Error::from))
}

/// Whether an expression has a window function outside of its queries.
pub(super) fn is_windowed(expr: &ast::Expr) -> bool {
    struct Windows(usize);
    impl ast::Visitor for Windows {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let over = self.0 == 0 && matches!(e, ast::Expr::Function(f) if f.over.is_some());
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    expr.visit(&mut Windows(0)).is_break()
}

/// Rows with their places, from 0.
pub(super) fn numbered(rows: &RecordBatch) -> Result<RecordBatch> {
    let mut fields: Vec<Field> = rows.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(NUMBER, arrow::datatypes::DataType::Int64, true));
    let n = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(0..n)));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(Error::arrow)
}

fn one_under(relation: &Relation, batches: &[RecordBatch]) -> Result<RecordBatch> {
    match batches.first() {
        None => Ok(RecordBatch::new_empty(relation.schema())),
        Some(first) => under(relation, &one(&first.schema(), batches)?),
    }
}

/// Positions of the named columns, all of them when none is named.
pub(super) fn named_columns(relation: &Relation, names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..relation.columns.len()).collect());
    }
    let mut seen = HashSet::new();
    let position = |name: &String| {
        if !seen.insert(name.clone()) {
            return Err(Error::invalid(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        relation.position(name).ok_or_else(|| Error::no_column(name, &relation.name))
    };
    names.iter().map(position).collect()
}

/// INSERT .. OVERRIDING USER VALUE with DEFAULT in the place of what is given for identity columns.
pub(super) fn overridden(insert: &Insert, relation: &Relation, named: &[usize]) -> Result<Option<Insert>> {
    if insert.overriding != Some(Overriding::User) {
        return Ok(None);
    }
    let mut insert = insert.clone();
    let Some(source) = insert.source.as_mut() else { return Ok(Some(insert)) };
    let ast::SetExpr::Values(values) = source.body.as_mut() else {
        let error = Error::unsupported("OVERRIDING USER VALUE before a query is not offered");
        return Err(error.hint("leave the identity column out"));
    };
    for (i, at) in named.iter().enumerate() {
        if matches!(relation.columns[*at].made, Made::Counted { serial: false, .. }) {
            let given = values.rows.iter_mut().filter_map(|row| row.get_mut(i));
            given.for_each(|value| *value = ast::Expr::Identifier(ast::Ident::new("DEFAULT")));
        }
    }
    Ok(Some(insert))
}

/// Columns that are computed, or counted ALWAYS, take no value but DEFAULT.
pub(super) fn taken_only_by_default(insert: &Insert, relation: &Relation, named: &[usize]) -> Result<()> {
    let Some(source) = &insert.source else { return Ok(()) };
    for (i, at) in named.iter().enumerate() {
        let Some(column) = relation.columns.get(*at) else { continue };
        let detail = match &column.made {
            Made::Computed(_) => "is a generated column",
            Made::Counted { always: true, .. } if insert.overriding != Some(Overriding::System) => {
                "is an identity column defined as GENERATED ALWAYS"
            }
            _ => continue,
        };
        let given = match source.body.as_ref() {
            ast::SetExpr::Values(values) => values.rows.iter().any(|row| row.get(i).is_some_and(|e| !syntax::is_default(e))),
            // A query that is narrower than the table leaves its last columns to their defaults.
            _ => !insert.columns.is_empty() || query_width(source).is_none_or(|width| width > i),
        };
        if given {
            let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
            return Err(Error::invalid("428C9", message)
                .detail(format!("Column \"{}\" {detail}.", column.name))
                .hint("leave the column out, or write DEFAULT"));
        }
    }
    Ok(())
}

/// How many columns a SELECT without `*` has.
fn query_width(query: &ast::Query) -> Option<usize> {
    let ast::SetExpr::Select(select) = query.body.as_ref() else { return None };
    let wild = |i: &ast::SelectItem| matches!(i, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..));
    (!select.projection.iter().any(wild)).then_some(select.projection.len())
}

/// Columns that an assignment names must exist, once.
pub(super) fn check_assigned(relation: &Relation, assignments: &[Assignment]) -> Result<()> {
    let names: Vec<String> = assignments.iter().map(|a| a.column.clone()).collect();
    named_columns(relation, &names).map(|_| ())
}

fn check_target(relation: &Relation, conflict: &OnConflict) -> Result<()> {
    need_table(relation, "use ON CONFLICT on")?;
    let Kind::Table { key } = &relation.kind else { return Ok(()) };
    if let Some(name) = &conflict.constraint {
        // The key's constraint has the name that PostgreSQL gives it.
        let own = key_constraint(&relation.name.name);
        if key.is_empty() || *name != own {
            let message = format!("constraint \"{name}\" for table \"{}\" does not exist", relation.name.name);
            let hint = if key.is_empty() { "the table has no primary key".to_owned() } else { format!("its key's is {own}") };
            return Err(Error::invalid("42704", message).hint(hint));
        }
        return Ok(());
    }
    if conflict.columns.is_empty() {
        return match conflict.update {
            None => Ok(()),
            Some(_) => Err(Error::invalid(code::SYNTAX, "ON CONFLICT DO UPDATE requires the key's columns")
                .hint("ON CONFLICT (key) DO UPDATE SET ...")),
        };
    }
    if let Some(name) = conflict.columns.iter().find(|name| relation.position(name).is_none()) {
        return Err(Error::no_column(name, &relation.name));
    }
    let mut wanted: Vec<&str> = key.iter().map(|at| relation.columns[*at].name.as_str()).collect();
    let mut given: Vec<&str> = conflict.columns.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    given.sort_unstable();
    if wanted == given {
        return Ok(());
    }
    let message = "there is no unique constraint matching the ON CONFLICT specification";
    Err(Error::invalid("42P10", message).hint(format!("the key of {} is ({})", relation.name, wanted.join(", "))))
}

/// The rows of a VALUES that holds nothing but literals that fit their columns: no plan is needed for them.
fn literal_rows(query: &ast::Query, relation: &Relation, named: &[usize]) -> Option<RecordBatch> {
    let values = values::plain_rows(query, named)?;
    let columns = named.iter().map(|at| &relation.columns[*at]);
    let arrays = columns.clone().enumerate().map(|(i, column)| values::literals(values, i, &column.ty));
    let arrays = arrays.collect::<Option<Vec<_>>>()?;
    let fields: Vec<Field> = columns.map(|column| Field::new(&column.name, column.ty.clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).ok()
}

/// How many columns a VALUES has.
fn width_of(query: &ast::Query) -> Option<usize> {
    match query.body.as_ref() {
        ast::SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        _ => None,
    }
}

/// The word DEFAULT within VALUES becomes the column's default. Each value is cast to its column by itself: rows of an INSERT
/// need no type in common.
pub(super) fn fill_values(query: &mut ast::Query, relation: &Relation, named: &[usize]) -> Result<()> {
    let ast::SetExpr::Values(values) = query.body.as_mut() else { return Ok(()) };
    let columns = named.iter().map(|at| &relation.columns[*at]);
    // One template for each column: there may be many rows.
    let calls = columns.map(|c| Ok((c, syntax::assigned(syntax::null(), &c.ty, &c.name)?))).collect::<Result<Vec<_>>>()?;
    for row in &mut values.rows {
        for (expr, (column, call)) in row.iter_mut().zip(&calls) {
            *expr = match syntax::is_default(expr) {
                true => Session::value_for(column, None)?,
                false => syntax::with_first(call.clone(), std::mem::replace(expr, syntax::null())),
            };
        }
    }
    Ok(())
}

/// A string among the items of a SELECT is read as its column's type.
fn fill_items(query: &mut ast::Query, relation: &Relation, named: &[usize]) -> Result<()> {
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Ok(()) };
    for (item, at) in select.projection.iter_mut().zip(named) {
        let column = &relation.columns[*at];
        match item {
            ast::SelectItem::UnnamedExpr(e) | ast::SelectItem::ExprWithAlias { expr: e, .. } if syntax::is_open(e) => {
                *e = syntax::assigned(std::mem::replace(e, syntax::null()), &column.ty, &column.name)?;
            }
            ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. } => {}
            // Behind a star nobody knows which column is meant.
            _ => return Ok(()),
        }
    }
    Ok(())
}
