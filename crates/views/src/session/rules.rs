//! What a row must fulfil beyond its types: columns that are computed, conditions that must not be false.
//!
//! ```text
//!   row ─▶ computed columns ─▶ NOT NULL, lengths ─▶ CHECK ─▶ key
//! ```
//! Expressions are planned as those of a query over the rows, so they mean what they mean there. Cost: nothing for relations
//! without them, else one small plan for each statement.

use super::{Session, rows, txn::Txn};
use crate::{
    catalog::{Column, Kind, Made, Relation, rights::Privileges},
    error::{Error, Result, sqlstate as code},
    read::planner,
    stack::within,
    syntax,
    table::writes::{first_null, fit_chars, missing},
};
use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use datafusion::sql::sqlparser::ast::{self, Visitor};
use regauge_plan::{batch::of_one_row, local::Zone, walk::Visit};
use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

impl Session {
    /// Rows with their computed columns, none of them against a condition.
    pub(super) async fn ruled(&mut self, txn: &mut Txn, relation: &Relation, rows: RecordBatch) -> Result<RecordBatch> {
        let rows = fit_chars(relation, rows)?;
        let computes = relation.columns.iter().any(|c| matches!(c.made, Made::Computed(_)));
        let rows =
            if computes && rows.num_rows() > 0 { fit_chars(relation, self.computed(txn, relation, &rows).await?)? } else { rows };
        let key: &[usize] = if let Kind::Table { key } = &relation.kind { key } else { &[] };
        if let Some((row, column)) = first_null(relation, key, &rows) {
            return Err(self.of_row(txn, relation, missing(relation, &column.name), &rows, row));
        }
        self.judge_checks(txn, relation, &rows).await?;
        Ok(rows)
    }

    /// An error with the row that it is about, if its reader may read it: it may hold what stood there before.
    fn of_row(&self, txn: &Txn, relation: &Relation, error: Error, rows: &RecordBatch, row: usize) -> Error {
        match self.who_at_all(Some(txn)).relation(relation, Privileges::SELECT) {
            Ok(()) => error.detail(format!("Failing row contains ({}).", shown(rows, row))),
            Err(_) => error,
        }
    }

    /// Rows with the values of their computed columns.
    pub(super) async fn computed(&mut self, txn: &mut Txn, relation: &Relation, rows: &RecordBatch) -> Result<RecordBatch> {
        let item = |c: &Column| match &c.made {
            Made::Computed(sql) => Ok(syntax::expr_as(syntax::expression(sql)?, &c.name)),
            _ => Ok(syntax::column_as(&relation.name.name, &c.name, &c.name)),
        };
        let items = relation.columns.iter().map(item).collect::<Result<Vec<_>>>()?;
        let own = HashMap::from([("__row".to_owned(), rows::provider(rows))]);
        let query = syntax::select(items, &over(relation), None)?;
        // What is kept is a function of the row, whatever zone its writer is in.
        let (schema, batches) = within(Zone::UTC, self.compute(txn, query, own, Some(&relation.schema()))).await?;
        rows::under(relation, &rows::one(&schema, &batches)?)
    }

    /// Refuses rows for which a condition is false; NULL is not false.
    pub(super) async fn judge_checks(&mut self, txn: &mut Txn, relation: &Relation, rows: &RecordBatch) -> Result<()> {
        let broken = self.broken_checks(txn, relation, rows).await?;
        broken.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Every row for which a condition is false, with what is to be said of it.
    pub(super) async fn broken_checks(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        rows: &RecordBatch,
    ) -> Result<Vec<(usize, Error)>> {
        if relation.checks.is_empty() || rows.num_rows() == 0 {
            return Ok(vec![]);
        }
        // PostgreSQL judges in the order of their names.
        let mut checks: Vec<_> = relation.checks.iter().collect();
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        let items = checks
            .iter()
            .enumerate()
            .map(|(at, c)| Ok(syntax::expr_as(syntax::expression(&c.sql)?, &format!("__check{at}"))))
            .collect::<Result<Vec<_>>>()?;
        let own = HashMap::from([("__row".to_owned(), rows::provider(rows))]);
        let fields: Vec<Field> =
            (0..checks.len()).map(|at| Field::new(format!("__check{at}"), DataType::Boolean, true)).collect();
        let query = syntax::select(items, &over(relation), None)?;
        let (schema, batches) = self.compute(txn, query, own, Some(&Arc::new(Schema::new(fields)))).await?;
        let answers = rows::one(&schema, &batches)?;
        let breaks = |row: usize, at: usize| {
            let column = answers.column(at).as_boolean_opt()?;
            (!column.is_null(row) && !column.value(row)).then_some(at)
        };
        let mut broken = vec![];
        for row in 0..answers.num_rows() {
            if let Some(check) = (0..checks.len()).find_map(|at| breaks(row, at)).and_then(|at| checks.get(at)) {
                let message =
                    format!("new row for relation \"{}\" violates check constraint \"{}\"", relation.name.name, check.name);
                let error = Error::invalid(code::CHECK, message).hint(format!("the condition is {}", check.sql));
                let error = error.of_constraint(&relation.name, &check.name);
                broken.push((row, self.of_row(txn, relation, error, rows, row)));
            }
        }
        Ok(broken)
    }

    /// Refuses expressions that cannot be rules: of another type, with queries in them, that depend on the moment.
    pub(super) async fn judge_rules(&mut self, txn: &mut Txn, relation: &Relation) -> Result<()> {
        let empty = RecordBatch::new_empty(relation.schema());
        for check in &relation.checks {
            let expr = syntax::expression(&check.sql)?;
            plain(&expr, "check constraint")?;
            of_one_row(&expr, "check constraints").map_err(Error::from)?;
            let ty = self.type_of_rule(txn, relation, &empty, expr).await?.0;
            if ty != DataType::Boolean && ty != DataType::Null {
                let message = format!("argument of CHECK must be type boolean, not type {}", crate::catalog::ty::name(&ty));
                return Err(Error::invalid(code::DATATYPE_MISMATCH, message));
            }
        }
        for column in &relation.columns {
            let Some(default) = column.default.as_deref().filter(|_| column.made == Made::Given) else { continue };
            let value = syntax::expression(default)?;
            of_one_row(&value, "DEFAULT expressions").map_err(Error::from)?;
            for other in &relation.columns {
                if crate::catalog::retext::reads_column(default, &other.name)? {
                    return Err(Error::unsupported("cannot use column reference in DEFAULT expression")
                        .hint("a column of others is GENERATED ALWAYS AS (..) STORED"));
                }
            }
            let value = syntax::assigned(value, &column.ty, &column.name)?;
            self.type_of_rule(txn, relation, &empty, value).await.map_err(|e| match e.sqlstate {
                code::DATATYPE_MISMATCH => Error { message: e.message.replace("but expression", "but default expression"), ..e },
                _ => e,
            })?;
        }
        for column in &relation.columns {
            let Made::Computed(sql) = &column.made else { continue };
            let expr = syntax::expression(sql)?;
            plain(&expr, "column generation expression")?;
            of_one_row(&expr, "column generation expressions").map_err(Error::from)?;
            for other in relation.columns.iter().filter(|c| matches!(c.made, Made::Computed(_))) {
                if crate::catalog::retext::reads_column(sql, &other.name)? {
                    let message = format!("cannot use generated column \"{}\" in column generation expression", other.name);
                    return Err(
                        Error::invalid("42P17", message).detail("A generated column cannot reference another generated column.")
                    );
                }
            }
            let (_, immutable) = self.type_of_rule(txn, relation, &empty, syntax::cast_to(expr, &column.ty)?).await?;
            if !immutable {
                return Err(Error::invalid("42P17", "generation expression is not immutable")
                    .hint("it may read this row's columns, and nothing that changes"));
            }
        }
        Ok(())
    }

    async fn type_of_rule(
        &mut self,
        txn: &Txn,
        relation: &Relation,
        empty: &RecordBatch,
        expr: ast::Expr,
    ) -> Result<(DataType, bool)> {
        let mut scope = self.scope(Some(txn));
        scope.own.insert("__row".to_owned(), rows::provider(empty));
        let immutable = !moves(&expr);
        let query = syntax::select(vec![syntax::expr_as(expr, "__rule")], &over(relation), None)?;
        let plan = Box::pin(self.core.planner.plan(query, scope)).await?;
        let ty = plan.schema().fields().first().map_or(DataType::Null, |f| f.data_type().clone());
        Ok((ty, immutable && planner::volatile_functions(&plan).is_empty()))
    }
}

fn over(relation: &Relation) -> String {
    format!("\"__row\" AS {}", syntax::quote(&relation.name.name))
}

/// A row's values as PostgreSQL's details show them: long ones are cut.
fn shown(rows: &RecordBatch, row: usize) -> String {
    let value = |c: &arrow::array::ArrayRef| match c.is_null(row) {
        true => "null".to_owned(),
        false => regauge_plan::functions::cast::text_column(&c.slice(row, 1))
            .ok()
            .and_then(|t| Some(cut(t.as_string_opt::<i32>()?.value(0))))
            .unwrap_or_else(|| "?".to_owned()),
    };
    rows.columns().iter().map(value).collect::<Vec<_>>().join(", ")
}

fn cut(value: &str) -> String {
    const BYTES_MAX: usize = 64;
    match value.char_indices().find(|(at, c)| at + c.len_utf8() > BYTES_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// Words that are functions of the moment without parentheses.
fn moves(expr: &ast::Expr) -> bool {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            let names = [
                "current_timestamp",
                "current_date",
                "current_time",
                "localtimestamp",
                "localtime",
                "now",
                "statement_timestamp",
            ];
            match e {
                ast::Expr::Function(f) if names.contains(&f.name.to_string().to_lowercase().as_str()) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut V).is_break()
}

fn plain(expr: &ast::Expr, what: &str) -> Result<()> {
    struct V;
    impl Visitor for V {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    if expr.visit(&mut V).is_break() {
        return Err(Error::unsupported(format!("cannot use subquery in {what}")).hint("a rule reads its own row"));
    }
    Ok(())
}
