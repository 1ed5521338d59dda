//! WITH around INSERT, UPDATE, DELETE and MERGE: the parts run in the order of the text, each over what was there before the statement.
//!
//! ```text
//!   part 1 ─▶ its rows, under its name ─▶ part 2 ─▶ .. ─▶ body
//!   reads:   the transaction's writes as they were      (Txn::before)
//!   writes:  the transaction's writes as they are
//! ```
//! Invariant: a part runs once whether or not somebody reads its rows, as in PostgreSQL; one that only reads and is not named later
//! does not run. A row that an earlier part has changed is left alone by UPDATE and DELETE. Cost: the rows of each part are
//! held, within the memory of one query each.

use super::{Session, rows, txn::Txn};
use crate::{
    catalog::Relation,
    error::{Error, Result, sqlstate as code},
    read::planner,
    response::{Response, Rows},
    table::writes::{RowRef, keys_of},
};
use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::{Field, Schema, SchemaRef},
};
use regauge_plan::walk::Visit;

use futures::TryStreamExt;
use regauge_plan::parse::{Part, Statement, With};
use std::{ops::ControlFlow, sync::Arc};

impl Session {
    pub(super) async fn with(&mut self, txn: &mut Txn, with: &With) -> Result<Response> {
        for statement in with.parts.iter().map(|p| &p.work).chain([&with.body]) {
            if let Some(name) = target_of(statement).filter(|t| with.parts.iter().any(|p| p.name == **t)) {
                let message = format!("relation \"{name}\" cannot be the target of a modifying statement");
                return Err(Error::invalid(code::SYNTAX, message).hint("it is the name of a WITH query: give that another one"));
            }
        }
        txn.before = Some(txn.tables.clone());
        txn.locks = with.parts.iter().map(|p| &p.work).chain([&with.body]).any(|s| !matches!(s, Statement::Query(_)));
        for (at, part) in with.parts.iter().enumerate() {
            let later = || with.parts.iter().skip(at + 1).map(|p| &p.work).chain([&with.body]).any(|s| names(s, &part.name));
            if matches!(part.work, Statement::Query(_)) && !later() {
                continue;
            }
            let response = self.one_part(txn, &part.work).await?;
            let response = self.whole(response).await?;
            if let Response::Rows(Rows { schema, stream, .. }) = response {
                let batches: Vec<RecordBatch> = stream.try_collect().await?;
                let rows = under_names(&part.name, &part.columns, &rows::one(&schema, &relabelled(&schema, batches)?)?)?;
                self.own.insert(part.name.clone(), rows::provider(&rows));
            } else if later() {
                return Err(no_rows(part));
            }
        }
        // Rows that fail take back what the parts have written, so they are all there before it is committed.
        let response = self.one_part(txn, &with.body).await?;
        let response = self.whole(response).await?;
        self.own.clear();
        Ok(response)
    }

    async fn one_part(&mut self, txn: &mut Txn, statement: &Statement) -> Result<Response> {
        match statement {
            Statement::Query(query) => Box::pin(self.select(txn, query, None)).await,
            Statement::Insert(insert) => Box::pin(self.insert(txn, insert)).await,
            Statement::Update(update) => Box::pin(self.update(txn, update, None)).await,
            Statement::Delete(delete) => Box::pin(self.delete(txn, delete, None)).await,
            Statement::Merge(merge) => Box::pin(self.merge(txn, merge)).await,
            other => Err(Error::internal(format!("no part of WITH statement={other:?}"))),
        }
    }

    /// Knows what a part gives, without running it: for statements that are prepared.
    pub(super) fn knows(&mut self, part: &Part, columns: Option<SchemaRef>) -> Result<()> {
        if let Some(schema) = columns {
            let rows = under_names(&part.name, &part.columns, &RecordBatch::new_empty(schema))?;
            self.own.insert(part.name.clone(), rows::provider(&rows));
        }
        Ok(())
    }

    /// Whether an earlier part of the statement has written the row that a key has.
    pub(super) fn written_here(&self, txn: &Txn, relation: &Relation, key: &[u8], now: &RowRef) -> bool {
        let Some(before) = &txn.before else { return false };
        let is = |row: Option<Option<&RowRef>>| {
            row.flatten().is_some_and(|row| Arc::ptr_eq(&row.batch, &now.batch) && row.at == now.at)
        };
        let topic = relation.topic().unwrap_or_default();
        let was = before.get(&topic).is_some_and(|t| is(t.own(key)));
        !was && txn.tables.get(&topic).is_some_and(|t| is(t.own(key)))
    }

    /// Of rows that UPDATE or DELETE has found, those that no earlier part of the statement has changed.
    pub(super) fn untouched(&self, txn: &mut Txn, relation: &Arc<Relation>, found: RecordBatch) -> Result<RecordBatch> {
        let topic = relation.topic().unwrap_or_default();
        let Some(before) = txn.before.as_ref().map(|tables| tables.get(&topic).cloned()) else { return Ok(found) };
        let now = txn.tables.get(&topic).cloned();
        let same = match (&before, &now) {
            (None, None) => true,
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            _ => false,
        };
        if same {
            return Ok(found);
        }
        let crate::catalog::Kind::Table { key } = &relation.kind else { return Ok(found) };
        if key.is_empty() {
            let message = format!("rows of \"{}\" are changed twice in one statement, and have no key", relation.name);
            return Err(Error::unsupported(message).hint("give the table a primary key, or write two statements"));
        }
        let columns: Vec<usize> = (0..relation.columns.len()).collect();
        let keys = keys_of(key, &found.project(&columns).map_err(Error::arrow)?)?;
        let row = |tables: &Option<Arc<crate::table::writes::TableWrites>>, key: &[u8]| {
            let row = tables.as_ref().and_then(|t| t.own(key));
            row.map(|row| row.map(|RowRef { batch, at }| (Arc::as_ptr(batch), *at)))
        };
        let keep: BooleanArray = keys.iter().map(|key| Some(row(&before, key) == row(&now, key))).collect();
        filter_record_batch(&found, &keep).map_err(Error::arrow)
    }
}

/// Batches under the names that readers see.
fn relabelled(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>> {
    let one = |b: RecordBatch| {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(b.num_rows()));
        RecordBatch::try_new_with_options(schema.clone(), b.columns().to_vec(), &options).map_err(Error::arrow)
    };
    batches.into_iter().map(one).collect()
}

/// Rows of a query that is called `name`, under the names that it gives its first columns.
pub(super) fn under_names(name: &str, columns: &[String], rows: &RecordBatch) -> Result<RecordBatch> {
    let (n, given) = (rows.num_columns(), columns.len());
    if given > n {
        let message = format!("WITH query \"{name}\" has {n} columns available but {given} columns specified");
        return Err(Error::invalid("42P10", message));
    }
    let shown = planner::shown(&rows.schema());
    let named = |(at, field): (usize, &Arc<Field>)| columns.get(at).unwrap_or(field.name()).clone();
    let names = regauge_plan::batch::told_apart(shown.fields().iter().enumerate().map(named).collect());
    let field = |(name, field): (String, &Arc<Field>)| Field::new(name, field.data_type().clone(), true);
    let schema: SchemaRef = Arc::new(Schema::new(names.into_iter().zip(shown.fields()).map(field).collect::<Vec<_>>()));
    relabelled(&schema, vec![rows.clone()])?.pop().ok_or_else(|| Error::internal("a batch was lost"))
}

fn no_rows(part: &Part) -> Error {
    let message = format!("WITH query \"{}\" does not have a RETURNING clause", part.name);
    Error::unsupported(message).hint("write RETURNING, or leave its name out")
}

fn target_of(statement: &Statement) -> Option<&String> {
    let table = match statement {
        Statement::Insert(insert) => &insert.table,
        Statement::Update(update) => &update.table,
        Statement::Delete(delete) => &delete.table,
        Statement::Merge(merge) => &merge.table,
        _ => return None,
    };
    table.schema.is_none().then_some(&table.name)
}

/// Whether a statement names a relation anywhere; too often is harmless.
fn names(statement: &Statement, name: &str) -> bool {
    struct V<'a>(&'a str);
    impl datafusion::sql::sqlparser::ast::Visitor for V<'_> {
        type Break = ();
        fn pre_visit_relation(&mut self, found: &datafusion::sql::sqlparser::ast::ObjectName) -> ControlFlow<()> {
            let last = found.0.last().and_then(|part| part.as_ident()).map(regauge_plan::parse::fold);
            if last.as_deref() == Some(self.0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut v = V(name);
    match statement {
        Statement::Query(query) => query.visit(&mut v).is_break(),
        Statement::Insert(i) => {
            let update = i.on_conflict.as_ref().and_then(|c| c.update.as_ref());
            i.source.visit(&mut v).is_break()
                || i.returning.visit(&mut v).is_break()
                || update.is_some_and(|(list, condition)| {
                    list.iter().any(|a| a.value.visit(&mut v).is_break()) || condition.visit(&mut v).is_break()
                })
        }
        Statement::Update(u) => {
            u.assignments.iter().any(|a| a.value.visit(&mut v).is_break())
                || u.from.visit(&mut v).is_break()
                || u.selection.visit(&mut v).is_break()
                || u.returning.visit(&mut v).is_break()
        }
        Statement::Merge(m) => {
            m.source.visit(&mut v).is_break()
                || m.on.visit(&mut v).is_break()
                || m.clauses.iter().any(|c| c.expressions().any(|e| e.visit(&mut v).is_break()))
        }
        Statement::Delete(d) => {
            d.using.visit(&mut v).is_break() || d.selection.visit(&mut v).is_break() || d.returning.visit(&mut v).is_break()
        }
        _ => false,
    }
}
