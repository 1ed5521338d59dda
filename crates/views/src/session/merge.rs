//! MERGE: rows of a source, each beside the rows of a table that it matches, and for each the first clause that holds.
//!
//! ```text
//!   source ─▶ numbered rows ─┬─ ON ─▶ pairs     ─▶ WHEN MATCHED ..      ─▶ UPDATE, DELETE ┐
//!                            └─ the others      ─▶ WHEN NOT MATCHED ..  ─▶ INSERT         ┴▶ the table's head
//! ```
//! Invariant: the source is computed once, and every condition and value over rows as they were before the statement; nothing is written
//! before all of it is known. Deletes come first, then updates, then inserts, so that keys are judged at the end of the statement. A row that two
//! rows of the source would change is an error (21000). What is written is judged by key at commit, as of UPDATE and INSERT: of two sessions
//! that merge a key the second runs again over what the first has left. Cost: the source and the pairs are held in memory, and each clause is
//! a plan over those rows that no earlier clause has taken.

use super::{
    Session,
    insert::{NUMBER, check_assigned, is_windowed, named_columns, numbered, overridden, taken_only_by_default},
    prepare::{infer_assignments, placeholder},
    rows::{need_table, one, provider, under},
    txn::Txn,
    update::{old_columns, refuse_made},
    with::under_names,
};
use crate::{
    catalog::{Kind, Relation},
    error::{Error, Result, sqlstate as code},
    read::names::Scope,
    response::Response,
    syntax,
    table::writes::{Key, RowRef, keys_of, whole_rows},
};
use arrow::{
    array::{AsArray, RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::{DataType, Field, Int64Type, Schema},
};
use datafusion::sql::sqlparser::ast;
use regauge_plan::parse::{Insert, Merge, MergeAction, Overriding};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

/// The source's rows, within the statement's queries.
const SOURCE: &str = "__merged";
/// The table's rows that it matches.
const TARGET: &str = "__existing";

/// Rows of the table, each beside the row of the source that matches it.
struct Pairs {
    old: RecordBatch,
    source: RecordBatch,
}

/// What is to be written.
#[derive(Default)]
struct Changes {
    /// Places of pairs.
    deleted: Vec<u32>,
    /// Places of pairs, and the rows that they become.
    updated: Vec<u32>,
    after: Vec<RecordBatch>,
    inserted: Vec<RecordBatch>,
}

impl Session {
    pub(super) async fn merge(&mut self, txn: &mut Txn, merge: &Merge) -> Result<Response> {
        let relation = self.target(txn, &merge.table)?;
        need_table(&relation, "merge into")?;
        check(&relation, merge)?;
        let source = self.merged_source(txn, merge).await?;
        let (pairs, others) = self.paired(txn, &relation, merge, &source).await?;
        let mut changes = Changes::default();
        self.matched(txn, &relation, merge, &pairs, &mut changes).await?;
        self.not_matched(txn, &relation, merge, others, &mut changes).await?;
        self.apply_merge(txn, &relation, &pairs, changes).await
    }

    /// The rows of USING, once.
    async fn merged_source(&mut self, txn: &mut Txn, merge: &Merge) -> Result<RecordBatch> {
        let mut query = syntax::query("SELECT * FROM \"__merged\"")?;
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.from = vec![merge.source.clone()];
        }
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query, scope, None, None).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        under_names(&merge.source_name, &[], &one(&kept.plan.schema(), &batches)?)
    }

    /// The pairs that ON finds, and the rows of the source that are in none.
    async fn paired(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        merge: &Merge,
        source: &RecordBatch,
    ) -> Result<(Pairs, RecordBatch)> {
        let mut items = old_columns(relation, merge.name());
        items.push(syntax::column_as(&merge.source_name, NUMBER, NUMBER));
        let mut fields: Vec<Field> = relation.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(NUMBER, DataType::Int64, true));
        let output = Arc::new(Schema::new(fields));
        let with = syntax::query(&format!("SELECT 1 FROM \"{SOURCE}\" AS {}", syntax::quote(&merge.source_name)))?;
        let ast::SetExpr::Select(with) = *with.body else { return Err(Error::internal("template is no select")) };
        self.own.insert(SOURCE.to_owned(), provider(&numbered(source)?));
        let found = self.find(txn, relation, merge.name(), items, &with.from, Some(merge.on.clone()), &output, None).await;
        self.own.remove(SOURCE);
        let found = found?;
        let n = relation.columns.len();
        let of = places(found.column(n).as_primitive::<Int64Type>().values())?;
        let old = under(relation, &found.project(&(0..n).collect::<Vec<_>>()).map_err(Error::arrow)?)?;
        let within: HashSet<u32> = of.iter().copied().collect();
        let others = (0..u32_of(source.num_rows())?).filter(|at| !within.contains(at)).collect();
        Ok((Pairs { old, source: taken(source, of)? }, taken(source, others)?))
    }

    /// Clauses over pairs, in their order.
    async fn matched(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        merge: &Merge,
        pairs: &Pairs,
        changes: &mut Changes,
    ) -> Result<()> {
        let mut left: Vec<u32> = (0..u32_of(pairs.old.num_rows())?).collect();
        let (target, source) = (syntax::quote(merge.name()), syntax::quote(&merge.source_name));
        let from =
            format!("\"{TARGET}\" AS {target} JOIN \"{SOURCE}\" AS {source} ON {target}.\"{NUMBER}\" = {source}.\"{NUMBER}\"");
        for clause in merge.clauses.iter().filter(|c| c.matched) {
            let mut items = vec![syntax::column_as(merge.name(), NUMBER, NUMBER)];
            if let MergeAction::Update(assignments) = &clause.action {
                for column in &relation.columns {
                    items.push(match assignments.iter().find(|a| a.column == column.name) {
                        None => syntax::column_as(merge.name(), &column.name, &column.name),
                        Some(a) => syntax::expr_as(Session::value_for(column, a.value.clone())?, &column.name),
                    });
                }
            }
            let tables = [(TARGET, taken(&pairs.old, left.clone())?), (SOURCE, taken(&pairs.source, left.clone())?)];
            let query = syntax::select(items, &from, clause.condition.clone())?;
            let (at, after) = self.clause(txn, relation, query, &tables).await?;
            let chosen = at.iter().map(|at| left[*at as usize]).collect::<Vec<_>>();
            let gone: HashSet<u32> = chosen.iter().copied().collect();
            left.retain(|place| !gone.contains(place));
            match &clause.action {
                MergeAction::Delete => changes.deleted.extend(chosen),
                MergeAction::Update(_) => {
                    changes.updated.extend(chosen);
                    changes.after.extend(after);
                }
                MergeAction::Nothing | MergeAction::Insert { .. } => {}
            }
        }
        Ok(())
    }

    /// Clauses over rows of the source that match nothing, in their order.
    async fn not_matched(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        merge: &Merge,
        others: RecordBatch,
        changes: &mut Changes,
    ) -> Result<()> {
        let mut left: Vec<u32> = (0..u32_of(others.num_rows())?).collect();
        let from = format!("\"{SOURCE}\" AS {}", syntax::quote(&merge.source_name));
        for clause in merge.clauses.iter().filter(|c| !c.matched) {
            let mut items = vec![syntax::column_as(&merge.source_name, NUMBER, NUMBER)];
            if let MergeAction::Insert { columns, overriding, values } = &clause.action {
                let given = given(relation, merge, columns, *overriding, values.as_deref())?;
                for (column, value) in relation.columns.iter().zip(given) {
                    items.push(syntax::expr_as(Session::value_for(column, value)?, &column.name));
                }
            }
            let tables = [(SOURCE, taken(&others, left.clone())?)];
            let query = syntax::select(items, &from, clause.condition.clone())?;
            let (at, rows) = self.clause(txn, relation, query, &tables).await?;
            changes.inserted.extend(rows);
            let gone: HashSet<u32> = at.iter().map(|at| left[*at as usize]).collect();
            left.retain(|place| !gone.contains(place));
        }
        Ok(())
    }

    /// Which rows of the tables a clause takes, and what it makes of them if it writes any.
    async fn clause(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        query: ast::Query,
        tables: &[(&str, RecordBatch)],
    ) -> Result<(Vec<u32>, Option<RecordBatch>)> {
        let mut scope = self.scope(Some(txn));
        for (name, rows) in tables {
            scope.own.insert((*name).to_owned(), provider(&numbered(rows)?));
        }
        let writes = matches!(query.body.as_ref(), ast::SetExpr::Select(select) if select.projection.len() > 1);
        let mut fields = vec![Field::new(NUMBER, DataType::Int64, true)];
        if writes {
            fields.extend(relation.columns.iter().map(|column| Field::new(&column.name, column.ty.clone(), true)));
        }
        let output = Arc::new(Schema::new(fields));
        let kept = self.planned(txn, query, scope, None, Some(&output)).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        let found = one(&kept.plan.schema(), &batches)?;
        let at = places(found.column(0).as_primitive::<Int64Type>().values())?;
        if at.iter().collect::<HashSet<_>>().len() < at.len() {
            return Err(Error::unsupported("set-returning functions are not allowed in MERGE").hint("call them in USING"));
        }
        if !writes {
            return Ok((at, None));
        }
        let rows = found.project(&(1..found.num_columns()).collect::<Vec<_>>()).map_err(Error::arrow)?;
        let rows = self.ruled(txn, relation, under(relation, &rows)?).await?;
        Ok((at, Some(rows)))
    }

    async fn apply_merge(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        pairs: &Pairs,
        changes: Changes,
    ) -> Result<Response> {
        let Changes { deleted, updated, after, inserted } = changes;
        let mut n = deleted.len() + updated.len();
        let gone = taken(&pairs.old, deleted)?;
        let before = taken(&pairs.old, updated)?;
        once(relation, &[&gone, &before])?;
        for key in self.core.keys_standing(txn, relation, &gone)? {
            let standing = self.core.standing(txn, relation, &key)?;
            txn.writes(relation)?.put(key, || standing.snapshot, None);
        }
        if before.num_rows() > 0 {
            let before = Arc::new(before);
            let old: Vec<RowRef> = (0..before.num_rows()).map(|at| RowRef { batch: before.clone(), at }).collect();
            self.replace_rows(txn, relation, &old, &one(&relation.schema(), &after)?)?;
        }
        for rows in inserted.into_iter().filter(|rows| rows.num_rows() > 0) {
            n += rows.num_rows();
            self.core.append_rows(txn, relation, rows)?;
        }
        Ok(Response::command(format!("MERGE {n}")))
    }

    /// What a MERGE tells of the types of its parameters.
    pub(super) async fn infer_merge(&mut self, merge: &Merge, scope: Scope, types: &mut BTreeMap<usize, DataType>) {
        let Ok(relation) = scope.relation(merge.table.schema.as_deref(), &merge.table.name).cloned() else { return };
        let item = |e: &ast::Expr| ast::SelectItem::UnnamedExpr(e.clone());
        let (mut beside, mut alone) = (vec![item(&syntax::null())], vec![item(&syntax::null())]);
        for clause in &merge.clauses {
            match &clause.action {
                MergeAction::Update(assignments) => infer_assignments(assignments, &relation, types),
                MergeAction::Insert { columns, values: Some(values), .. } => {
                    let Ok(named) = named_columns(&relation, columns) else { return };
                    for (value, at) in values.iter().zip(named) {
                        if let Some(no) = placeholder(value) {
                            types.entry(no).or_insert_with(|| relation.columns[at].ty.clone());
                        }
                    }
                }
                _ => {}
            }
            let items = if clause.matched { &mut beside } else { &mut alone };
            items.extend(clause.expressions().map(item));
        }
        let table = format!(
            "{}.{} AS {}",
            syntax::quote(&relation.name.schema),
            syntax::quote(&relation.name.name),
            syntax::quote(merge.name())
        );
        for (items, on, table) in [(beside, Some(merge.on.clone()), Some(&table)), (alone, None, None)] {
            let Ok(mut query) = syntax::select(items, table.map_or("\"__merged\"", String::as_str), on) else { return };
            if let ast::SetExpr::Select(select) = query.body.as_mut() {
                if table.is_none() {
                    select.from.clear();
                }
                select.from.push(merge.source.clone());
            }
            let scope = self.scope(None);
            self.infer_query(&query, scope, types).await;
        }
    }
}

/// What needs no row to be seen.
fn check(relation: &Relation, merge: &Merge) -> Result<()> {
    for clause in &merge.clauses {
        if clause.expressions().any(is_windowed) {
            return Err(Error::invalid("42P20", "window functions are not allowed in MERGE").hint("compute them in USING"));
        }
        if let MergeAction::Update(assignments) = &clause.action {
            check_assigned(relation, assignments)?;
            refuse_made(relation, assignments)?;
        }
    }
    Ok(())
}

/// What INSERT gives each column of the table; `None` for DEFAULT.
fn given(
    relation: &Relation,
    merge: &Merge,
    columns: &[String],
    overriding: Option<Overriding>,
    values: Option<&[ast::Expr]>,
) -> Result<Vec<Option<ast::Expr>>> {
    let named = named_columns(relation, columns)?;
    let mut all = vec![None; relation.columns.len()];
    let Some(values) = values else { return Ok(all) };
    if values.len() > named.len() || values.len() < named.len() && !columns.is_empty() {
        let (more, less) =
            if values.len() > named.len() { ("expressions", "target columns") } else { ("target columns", "expressions") };
        return Err(Error::invalid(code::SYNTAX, format!("INSERT has more {more} than {less}")));
    }
    let mut source = syntax::query("VALUES (NULL)")?;
    if let ast::SetExpr::Values(rows) = source.body.as_mut()
        && let Some(row) = rows.rows.first_mut()
    {
        row.content = values.to_vec();
    }
    let insert = Insert {
        table: merge.table.clone(),
        alias: None,
        columns: columns.to_vec(),
        source: Some(Box::new(source)),
        on_conflict: None,
        returning: vec![],
        sequence: None,
        overriding,
    };
    let insert = overridden(&insert, relation, &named)?.unwrap_or(insert);
    taken_only_by_default(&insert, relation, &named)?;
    let source = insert.source.map(|source| *source.body);
    let Some(ast::SetExpr::Values(rows)) = source else { return Err(Error::internal("template is no VALUES")) };
    for (at, value) in named.into_iter().zip(rows.rows.into_iter().flat_map(|row| row.content)) {
        all[at] = (!syntax::is_default(&value)).then_some(value);
    }
    Ok(all)
}

/// Refuses to change a row twice.
fn once(relation: &Relation, changed: &[&RecordBatch]) -> Result<()> {
    let Kind::Table { key } = &relation.kind else { return Ok(()) };
    let keys_of = |rows: &RecordBatch| if key.is_empty() { whole_rows(rows) } else { keys_of(key, rows) };
    let mut seen: HashSet<Key> = HashSet::new();
    for rows in changed {
        for row in keys_of(rows)? {
            if seen.insert(row) {
                continue;
            }
            if key.is_empty() {
                // Copies of a row cannot be told apart behind ON.
                let message = format!("rows of \"{}\" that are alike are merged, and have no key", relation.name);
                return Err(Error::unsupported(message).hint("give the table a primary key"));
            }
            return Err(Error::invalid(code::CARDINALITY, "MERGE command cannot affect row a second time")
                .hint("let one row of the source at most match a row of the table"));
        }
    }
    Ok(())
}

fn taken(rows: &RecordBatch, places: Vec<u32>) -> Result<RecordBatch> {
    if rows.num_columns() == 0 {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(places.len()));
        return RecordBatch::try_new_with_options(rows.schema(), vec![], &options).map_err(Error::arrow);
    }
    take_record_batch(rows, &UInt32Array::from(places)).map_err(Error::arrow)
}

fn u32_of(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::invalid(code::LIMIT_EXCEEDED, format!("too many rows in one MERGE rows={n}")))
}

fn places(numbers: &[i64]) -> Result<Vec<u32>> {
    numbers.iter().map(|n| u32::try_from(*n).map_err(|_| Error::internal(format!("a row's number was lost n={n}")))).collect()
}
