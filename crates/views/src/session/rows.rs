//! Rows on their way into a relation: full width, right types, constraints of their own, then into the transaction.

use super::{Session, txn::Txn};
use crate::{
    catalog::{Kind, Relation},
    core::Core,
    error::{Error, Result, sqlstate as code},
    event_time,
    read::relation::{RelationTable, Source},
    response::{Response, Rows},
    syntax,
    table::writes::{COPY_BYTES, Key, RowRef, check_bytes, check_not_null, duplicate, whole_rows},
};
use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array},
    compute::{CastOptions, cast_with_options, concat_batches},
    datatypes::{DataType, Field, SchemaRef},
};
use datafusion::{catalog::TableProvider, sql::sqlparser::ast};
use regauge_log::Append;
use regauge_types::{ErrorKind, Lsn};
use std::{collections::HashMap, sync::Arc};

/// Rows in a relation's own columns, found by name; columns that are not there are NULL.
pub(super) fn by_name(relation: &Relation, rows: &RecordBatch) -> Result<RecordBatch> {
    if let Some(extra) = rows.schema().fields().iter().find(|f| relation.position(f.name()).is_none()) {
        return Err(Error::no_column(extra.name(), &relation.name));
    }
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    let column = |c: &crate::catalog::Column| match rows.column_by_name(&c.name) {
        None => Ok(new_null_array(&c.ty, rows.num_rows())),
        Some(array) if array.data_type() == &c.ty => Ok(array.clone()),
        Some(array) => cast_with_options(array, &c.ty, &options)
            .map_err(|e| Error::invalid(code::INVALID_TEXT, e.to_string()).detail(format!("column={}", c.name))),
    };
    let columns = relation.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(relation.schema(), columns, &options).map_err(Error::arrow)
}

/// Batches of one schema as one.
pub(super) fn one(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    match batches {
        [one] => Ok(one.clone()),
        many => concat_batches(schema, many).map_err(Error::arrow),
    }
}

/// The same columns under a relation's own fields, column ids included.
pub(super) fn under(relation: &Relation, rows: &RecordBatch) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let schema = relation.schema();
    let columns =
        rows.columns().iter().zip(schema.fields()).map(|(column, field)| scaled(column, field)).collect::<Result<_>>()?;
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(Error::arrow)
}

/// An exact number with the digits that its column keeps: a cast to `numeric` without a scale leaves it the digits that it has.
pub(super) fn scaled(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    match (column.data_type(), field.data_type()) {
        (DataType::Decimal128(p, s), DataType::Decimal128(to_p, to_s)) if (p, s) != (to_p, to_s) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let refused = |what: &str| Error::invalid(code::NUMERIC_OUT_OF_RANGE, format!("{what} column=\"{}\"", field.name()));
            let kept = cast_with_options(column, field.data_type(), &options).map_err(|_| refused("numeric field overflow"))?;
            let lost = s > to_s && cast_with_options(&kept, column.data_type(), &options).map_or(true, |back| &back != column);
            if lost {
                let error = refused(&format!("numeric keeps {to_s} digits behind the point"));
                return Err(error.hint("round() it"));
            }
            Ok(kept)
        }
        _ => Ok(column.clone()),
    }
}

/// What a key held before a write, and whether the transaction itself wrote it.
pub(super) struct Standing {
    /// The row that the snapshot has.
    pub(super) snapshot: Option<RowRef>,
    /// The row that the transaction sees.
    pub(super) now: Option<RowRef>,
}

impl Core {
    /// Where a key stands for a transaction. Its snapshot is taken if it has none.
    pub(super) fn standing(&self, txn: &mut Txn, relation: &Arc<Relation>, key: &Key) -> Result<Standing> {
        let at = self.snapshot(txn);
        let snapshot = relation.topic().and_then(|t| self.judged.head(t)).and_then(|head| head.read().get(key, at).cloned());
        let own = txn.writes(relation)?.own(key).map(|row| row.cloned());
        Ok(Standing { now: own.unwrap_or_else(|| snapshot.clone()), snapshot })
    }

    /// Keys of rows that the transaction sees in a table, one for each row given: of rows that are alike each has one copy's.
    pub(super) fn keys_standing(&self, txn: &mut Txn, relation: &Arc<Relation>, rows: &RecordBatch) -> Result<Vec<Key>> {
        if !txn.writes(relation)?.repeats() {
            return txn.writes(relation)?.keys(rows);
        }
        let at = self.snapshot(txn);
        let head = relation.topic().and_then(|t| self.judged.head(t));
        let writes = txn.writes(relation)?;
        let mut own: HashMap<&[u8], Vec<Key>> = HashMap::new();
        for change in writes.changes().iter().filter(|c| c.before.is_none() && c.after.is_some()) {
            let end = change.key.len().saturating_sub(COPY_BYTES);
            own.entry(&change.key[..end]).or_default().push(change.key.clone());
        }
        let mut left: HashMap<Key, Vec<Key>> = HashMap::new();
        let standing = |row: &Key| {
            let mut copies = head.as_ref().map(|h| h.read().alike(row, at)).unwrap_or_default();
            copies.retain(|key| !matches!(writes.own(key), Some(None)));
            copies.extend(own.get(&**row).into_iter().flatten().cloned());
            copies
        };
        whole_rows(rows)?
            .into_iter()
            .map(|row| {
                let copies = left.entry(row.clone()).or_insert_with(|| standing(&row));
                copies.pop().ok_or_else(|| Error::internal("a row was found that is not there"))
            })
            .collect()
    }

    /// The commit that a write rests on: the transaction's snapshot.
    pub(super) fn latest(&self, txn: &mut Txn) -> Lsn {
        self.snapshot(txn)
    }

    fn snapshot(&self, txn: &mut Txn) -> Lsn {
        let explicit = txn.mode == super::txn::Mode::Explicit || txn.before.is_some();
        let at_least = txn.at_least;
        let choose = || if explicit { self.versions.boundary().max(at_least) } else { self.judged.last() };
        txn.snapshot.get_or_insert_with(|| self.pin(choose)).at()
    }

    /// Appends to a stream, or inserts into a table where a taken key is an error. `rows` are in the relation's columns.
    pub(super) fn append_rows(&self, txn: &mut Txn, relation: &Arc<Relation>, rows: RecordBatch) -> Result<()> {
        check_bytes(&rows, self.config.limits.row_bytes)?;
        match &relation.kind {
            Kind::Stream { .. } => {
                let (topic, n) = (relation.topic(), rows.num_rows());
                self.append_stream(txn, relation, rows)?;
                topic.into_iter().for_each(|topic| txn.consume(topic, n));
                Ok(())
            }
            Kind::Table { .. } => {
                relation.topic().into_iter().for_each(|topic| txn.consume(topic, rows.num_rows()));
                txn.writes(relation)?.check_rows(&rows)?;
                let keys = txn.writes(relation)?.keys(&rows)?;
                let batch = Arc::new(rows);
                for (at, key) in keys.into_iter().enumerate() {
                    let standing = self.standing(txn, relation, &key)?;
                    let row = RowRef { batch: batch.clone(), at };
                    if standing.now.is_some() {
                        return Err(duplicate(relation, Some(&row)));
                    }
                    txn.writes(relation)?.put(key, || standing.snapshot, Some(row));
                }
                Ok(())
            }
            Kind::View { .. } | Kind::Materialized { .. } => Err(not_writable(relation)),
        }
    }

    /// Records that the caller has counted.
    pub(super) fn append_stream(&self, txn: &mut Txn, relation: &Arc<Relation>, rows: RecordBatch) -> Result<()> {
        super::sift::written_by_doors(relation)?;
        check_not_null(relation, &[], &rows)?;
        let topic = relation.topic().ok_or_else(|| Error::internal("stream without a topic"))?;
        if rows.num_rows() > 0 {
            let rows = event_time::layout::records(relation, rows)?;
            txn.appends.push(Append { topic, partition: None, rows });
        }
        Ok(())
    }
}

/// Writing to what is computed.
pub(super) fn not_writable(relation: &Relation) -> Error {
    let message = format!("cannot write to {} \"{}\"", relation.kind_name(), relation.name);
    Error::new(ErrorKind::Invalid, code::WRONG_OBJECT, message).hint("write to the tables and streams that it reads")
}

/// A table, or why the statement cannot have it.
pub(super) fn need_table(relation: &Relation, what: &str) -> Result<()> {
    match relation.kind {
        Kind::Table { .. } => Ok(()),
        Kind::Stream { .. } => {
            let message = format!("cannot {what} stream \"{}\": streams are append only", relation.name);
            Err(Error::invalid(code::WRONG_OBJECT, message).hint("append a correcting record, or use a table with a primary key"))
        }
        _ => Err(not_writable(relation)),
    }
}

/// A relation that holds these rows, for a query over them.
pub(super) fn provider(rows: &RecordBatch) -> Arc<dyn TableProvider> {
    Arc::new(RelationTable::new(Source::Rows(Arc::new(vec![rows.clone()])), rows.schema()))
}

/// The same of batches that are computed one after the other; there is one at least.
pub(super) fn provider_of(batches: Vec<RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    let schema = batches.first().map(RecordBatch::schema).ok_or_else(|| Error::internal("a relation without batches"))?;
    Ok(Arc::new(RelationTable::new(Source::Rows(Arc::new(batches)), schema)))
}

impl Session {
    /// RETURNING over the rows that a statement wrote (or removed), or the command's tag.
    pub(super) async fn returning(
        &mut self,
        txn: &mut Txn,
        items: &[ast::SelectItem],
        relation: &Relation,
        alias: Option<&str>,
        rows: &RecordBatch,
        tag: &str,
    ) -> Result<Response> {
        if items.is_empty() {
            return Ok(Response::command(format!("{tag} {}", rows.num_rows())));
        }
        self.core.planner.rows_alone(items)?;
        let name = alias.unwrap_or(&relation.name.name);
        let query = syntax::select(items.to_vec(), &format!("\"__written\" AS {}", syntax::quote(name)), None)?;
        let own = HashMap::from([("__written".to_owned(), provider(rows))]);
        // A query among the items reads the tables as they were before the statement.
        let kept = txn.returns.take();
        let swapped = kept.is_some() && txn.before.is_none();
        if swapped {
            txn.before = kept;
        }
        let answer = self.compute(txn, query, own, None).await;
        if swapped {
            txn.before = None;
        }
        let (schema, batches) = answer?;
        Ok(Response::Rows(Rows::ready(schema, batches, tag)))
    }

    /// The expression that a column takes when a row does not name it.
    pub(super) fn default_of(column: &crate::catalog::Column) -> Result<ast::Expr> {
        column.absent().as_deref().map_or_else(|| Ok(syntax::null()), syntax::expression)
    }

    /// What a statement gives a column; `None` for DEFAULT.
    pub(super) fn value_for(column: &crate::catalog::Column, value: Option<ast::Expr>) -> Result<ast::Expr> {
        match value {
            Some(value) => syntax::assigned(value, &column.ty, &column.name),
            None => syntax::cast_to(Session::default_of(column)?, &column.ty),
        }
    }

    /// The same for rows that were there before the column was.
    pub(super) fn source_of(column: &crate::catalog::Column) -> Result<ast::Expr> {
        match &column.made {
            crate::catalog::Made::Computed(sql) => syntax::expression(sql),
            _ => Session::default_of(column),
        }
    }
}
