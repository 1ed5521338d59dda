//! UPDATE: the rows that the condition finds, with new values for some columns, judged by key at commit.
//!
//! It is a query over the table at the transaction's snapshot with its own writes over it: old columns first, then the new
//! values, cast to their columns' types. A condition on the whole key reads one row.

use super::{
    Session,
    insert::{check_assigned, refuse_windows},
    rows,
    txn::Txn,
};
use crate::{
    catalog::{Made, Relation},
    error::{Error, Result},
    response::Response,
    syntax,
    table::writes::RowRef,
};
use arrow::{
    array::RecordBatch,
    datatypes::{Field, Schema, SchemaRef},
};
use datafusion::sql::sqlparser::ast;
use regauge_plan::parse::{Assignment, Update};
use std::sync::Arc;

impl Session {
    pub(super) async fn update(&mut self, txn: &mut Txn, update: &Update, text: Option<&str>) -> Result<Response> {
        let relation = self.target(txn, &update.table)?;
        txn.keep_for(&update.returning);
        rows::need_table(&relation, "update")?;
        check_assigned(&relation, &update.assignments)?;
        refuse_windows(&update.assignments)?;
        refuse_made(&relation, &update.assignments)?;
        let assigned = relation
            .columns
            .iter()
            .enumerate()
            .filter_map(|(at, column)| update.assignments.iter().find(|a| a.column == column.name).map(|a| (at, a)));
        let assigned: Vec<_> = assigned.collect();
        let name = update.alias.as_deref().unwrap_or(&relation.name.name);
        let mut items = old_columns(&relation, name);
        let mut fields: Vec<Field> = relation.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        for (at, assignment) in &assigned {
            let column = &relation.columns[*at];
            let value = Session::value_for(column, assignment.value.clone())?;
            items.push(syntax::expr_as(value, &format!("__new{at}")));
            fields.push(Field::new(format!("__new{at}"), column.ty.clone(), true));
        }
        let beside = self.beside(txn, &relation, name, &update.from, &update.returning).await?;
        if let Some(beside) = &beside {
            items.extend(beside.more.iter().cloned());
            fields.extend(beside.fields.iter().cloned());
        }
        let output: SchemaRef = Arc::new(Schema::new(fields));
        let found = self.find(txn, &relation, name, items, &update.from, update.selection.clone(), &output, text).await?;
        let found = if update.from.is_empty() { found } else { super::joined::first_of_each(&relation, &found)? };
        let old =
            rows::under(&relation, &found.project(&(0..relation.columns.len()).collect::<Vec<_>>()).map_err(Error::arrow)?)?;
        let mut columns = old.columns().to_vec();
        for (i, (at, _)) in assigned.iter().enumerate() {
            columns[*at] = found.column(relation.columns.len() + i).clone();
        }
        let columns = columns.iter().zip(relation.schema().fields()).map(|(c, f)| rows::scaled(c, f)).collect::<Result<_>>()?;
        let new = RecordBatch::try_new(relation.schema(), columns).map_err(Error::arrow)?;
        let new = self.ruled(txn, &relation, new).await?;
        let old = Arc::new(old);
        let old: Vec<RowRef> = (0..old.num_rows()).map(|at| RowRef { batch: old.clone(), at }).collect();
        self.replace_rows(txn, &relation, &old, &new)?;
        let alias = update.alias.as_deref();
        if let Some(beside) = &beside {
            let written = beside.rows(&new, &found, relation.columns.len() + assigned.len())?;
            return self.returning(txn, &beside.items, &relation, alias, &written, "UPDATE").await;
        }
        self.returning(txn, &update.returning, &relation, alias, &new, "UPDATE").await
    }

    /// The rows of a table that a condition finds, as one batch of these items.
    #[allow(clippy::too_many_arguments, reason = "one caller per statement kind, each argument is another part of the query")]
    pub(super) async fn find(
        &mut self,
        txn: &mut Txn,
        relation: &Arc<Relation>,
        name: &str,
        items: Vec<ast::SelectItem>,
        with: &[ast::TableWithJoins],
        selection: Option<ast::Expr>,
        output: &SchemaRef,
        text: Option<&str>,
    ) -> Result<RecordBatch> {
        let mut scope = self.scope(Some(txn));
        // What the statement needs of the table was judged before: SELECT where it reads the table's columns, and not else.
        Arc::make_mut(&mut scope.who).judged.insert(relation.id);
        let kept = match self.kept(text, txn, &scope) {
            Some(kept) => kept,
            None => {
                let schema = syntax::quote(&relation.name.schema);
                let from = format!("{schema}.{} AS {}", syntax::quote(&relation.name.name), syntax::quote(name));
                let mut query = syntax::select(items, &from, selection)?;
                if let ast::SetExpr::Select(select) = query.body.as_mut() {
                    select.from.extend(with.iter().cloned());
                }
                self.planned(txn, query, scope, text, Some(output)).await?
            }
        };
        let batches = self.collect(txn, &kept).await?;
        self.untouched(txn, relation, rows::one(&kept.plan.schema(), &batches)?)
    }
}

/// Refuses values for columns that are computed, or counted ALWAYS.
///
/// # Errors
/// 428C9.
pub(super) fn refuse_made(relation: &Relation, assignments: &[Assignment]) -> Result<()> {
    for assignment in assignments.iter().filter(|a| a.value.is_some()) {
        let made = relation.columns.iter().find(|c| c.name == assignment.column).map(|c| &c.made);
        let detail = match made {
            Some(Made::Computed(_)) => "is a generated column",
            Some(Made::Counted { always: true, .. }) => "is an identity column defined as GENERATED ALWAYS",
            _ => continue,
        };
        let column = &assignment.column;
        return Err(Error::invalid("428C9", format!("column \"{column}\" can only be updated to DEFAULT"))
            .detail(format!("Column \"{column}\" {detail}.")));
    }
    Ok(())
}

/// A table's columns as they are, for the head of a query's items.
pub(super) fn old_columns(relation: &Relation, name: &str) -> Vec<ast::SelectItem> {
    relation.columns.iter().map(|c| syntax::column_as(name, &c.name, &c.name)).collect()
}
