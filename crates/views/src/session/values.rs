//! INSERT .. VALUES of many rows: only what must be computed is planned.
//!
//! ```text
//!   (1, 'a', now()), (2, 'b', now()) ─▶ columns of literals, read as their types     1, 2 | a, b
//!                                       the rest, if all rows say the same            SELECT now() over as many rows
//!                                       the rest, if they do not                      VALUES of those columns alone
//! ```
//! A plan costs as much as all of its expressions, and VALUES has one for each cell: a batch of an object mapper, ten thousand cells and a
//! `now()` or DEFAULT in each row, took seconds to plan. Invariant: the rows are those that the whole VALUES gives, in its order. Cost: a
//! pass over the cells, and one expression for each column whose cells are alike.

use super::{
    Session,
    insert::fill_values,
    rows::{one, provider},
    txn::Txn,
};
use crate::{
    catalog::Relation,
    error::{Error, Result},
    syntax,
};
use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    datatypes::{DataType, Field, Schema},
};
use datafusion::{
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, Visitor},
};
use regauge_plan::walk::Visit;
use std::{ops::ControlFlow, sync::Arc};

/// What the rows are under that are alike.
const ALIKE: &str = "__alike";

/// The rows of a VALUES and nothing around it, each as wide as what is named.
pub(super) fn plain_rows<'a>(query: &'a ast::Query, named: &[usize]) -> Option<&'a ast::Values> {
    let ast::SetExpr::Values(values) = query.body.as_ref() else { return None };
    let more = query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some();
    let fits = !values.rows.is_empty() && values.rows.iter().all(|row| row.len() == named.len());
    (!more && fits).then_some(values)
}

/// A column of literals that fit their type.
pub(super) fn literals(values: &ast::Values, i: usize, ty: &DataType) -> Option<ArrayRef> {
    let cells = values.rows.iter().map(|row| regauge_plan::literal(&row[i], ty)?.to_scalar());
    ScalarValue::iter_to_array(cells.collect::<Option<Vec<_>>>()?).ok()
}

impl Session {
    /// Rows of which some columns need no plan, or all rows the same one; `None` where the VALUES is to be planned as it is.
    pub(super) async fn mixed_rows(
        &mut self,
        txn: &mut Txn,
        query: &ast::Query,
        relation: &Relation,
        named: &[usize],
    ) -> Result<Option<RecordBatch>> {
        let Some(values) = plain_rows(query, named).filter(|v| v.rows.len() > 1) else { return Ok(None) };
        let columns = named.iter().map(|at| &relation.columns[*at]);
        let mut arrays: Vec<Option<ArrayRef>> = columns.clone().enumerate().map(|(i, c)| literals(values, i, &c.ty)).collect();
        let open: Vec<usize> = (0..named.len()).filter(|i| arrays[*i].is_none()).collect();
        let alike = alike(values, &open);
        if !alike && open.len() == named.len() {
            return Ok(None);
        }
        let names: Vec<usize> = open.iter().map(|i| named[*i]).collect();
        let computed = match alike {
            true => self.once(txn, relation, values, &open, &names).await?,
            false => self.rest(txn, relation, query, &open, &names).await?,
        };
        for (i, array) in open.iter().zip(computed.columns()) {
            arrays[*i] = Some(array.clone());
        }
        let arrays = arrays.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Error::internal("a column was lost"))?;
        let fields: Vec<Field> =
            columns.zip(&arrays).map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true)).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map(Some).map_err(Error::arrow)
    }

    /// What is the same in each row, as a query over as many rows.
    async fn once(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        values: &ast::Values,
        open: &[usize],
        names: &[usize],
    ) -> Result<RecordBatch> {
        let first = values.rows.first().ok_or_else(|| Error::internal("VALUES without rows"))?;
        let item = |(n, (i, at)): (usize, (&usize, &usize))| {
            let column = &relation.columns[*at];
            let cell = (!syntax::is_default(&first[*i])).then(|| first[*i].clone());
            Ok(syntax::expr_as(Session::value_for(column, cell)?, &format!("__c{n}")))
        };
        let items = open.iter().zip(names).enumerate().map(item).collect::<Result<_>>()?;
        let query = syntax::select(items, &syntax::quote(ALIKE), None)?;
        let rows: ArrayRef = Arc::new(BooleanArray::from(vec![true; values.rows.len()]));
        let rows = RecordBatch::try_from_iter([("__row", rows)]).map_err(Error::arrow)?;
        let mut scope = self.scope(Some(txn));
        scope.own.insert(ALIKE.to_owned(), provider(&rows));
        let kept = self.planned(txn, query, scope, None, None).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        one(&kept.plan.schema(), &batches)
    }

    /// What is no literal, as a VALUES of its own.
    async fn rest(
        &mut self,
        txn: &mut Txn,
        relation: &Relation,
        query: &ast::Query,
        open: &[usize],
        names: &[usize],
    ) -> Result<RecordBatch> {
        let mut query = query.clone();
        if let ast::SetExpr::Values(values) = query.body.as_mut() {
            for row in &mut values.rows {
                let mut i = 0..row.len();
                row.retain(|_| i.next().is_some_and(|i| open.contains(&i)));
            }
        }
        fill_values(&mut query, relation, names)?;
        let scope = self.scope(Some(txn));
        let kept = self.planned(txn, query, scope, None, None).await?;
        let batches = self.collect_in_order(txn, &kept).await?;
        one(&kept.plan.schema(), &batches)
    }
}

/// Whether all rows have the same to be computed, and it names no column, asks nothing, and gives each row one value: over other rows it
/// means the same.
fn alike(values: &ast::Values, open: &[usize]) -> bool {
    struct Names;
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, e: &ast::Expr) -> ControlFlow<()> {
            match e {
                ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_) if !syntax::is_default(e) => ControlFlow::Break(()),
                ast::Expr::Function(f) if !of_one_row(f) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let shown = |row: &[ast::Expr]| open.iter().map(|i| row[*i].to_string()).collect::<Vec<_>>();
    let Some(first) = values.rows.first() else { return false };
    let sound = open.iter().all(|i| first[*i].visit(&mut Names).is_continue());
    let known = shown(first);
    sound && values.rows.iter().skip(1).all(|row| shown(row) == known)
}

/// Whether a call is of a function that we know to give one value for one row: aggregates, windows and rows out of rows are refused, or mean
/// another thing, in VALUES and over many rows.
fn of_one_row(call: &ast::Function) -> bool {
    let plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty() && call.null_treatment.is_none();
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.to_lowercase());
    plain && call.name.0.len() == 1 && name.is_some_and(|name| regauge_plan::functions::is_scalar(&name))
}
