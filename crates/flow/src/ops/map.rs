//! Filter and projection: linear, stateless, one pass over each batch.
//!
//! Invariant: a row that goes in with diff d comes out as its image with diff d, or as an error with diff d, or not at all;
//! nothing depends on other rows. The filter runs first and alone; columns are computed only for rows that passed. Of several
//! failing columns the leftmost gives the error, so a row makes one error entry at most.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::eval::{Predicate, Program, compile, compile_predicate};
use regauge_plan::scalar::Scalar;
use regauge_types::Delta;

use super::parts::{batch, schema_of};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};
use crate::show;

/// See the module's header.
pub struct Map {
    filter: Option<Predicate>,
    exprs: Option<Vec<Program>>,
    schema: SchemaRef,
    stats: OpStats,
}

impl Map {
    /// Compiles the expressions of an `Op::Map` over an input of these types.
    pub fn new(
        filter: Option<&Scalar>,
        exprs: Option<&[Scalar]>,
        input: &[DataType],
        output: &[DataType],
    ) -> Result<Self, FlowError> {
        let filter = filter.map(|f| compile_predicate(f, input)).transpose()?;
        let exprs = exprs.map(|list| list.iter().map(|e| compile(e, input)).collect::<Result<Vec<_>, _>>()).transpose()?;
        Ok(Map { filter, exprs, schema: schema_of(output), stats: OpStats::default() })
    }
}

impl Operator for Map {
    fn push(&mut self, _input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        self.stats.rows_in += delta.n_rows() as u64;
        let mut delta = delta;
        if let Some(filter) = &self.filter {
            let selected = filter.select(&delta.rows);
            for (row, error) in selected.errors {
                out.error(error, show::row("row", delta.rows.columns(), row), delta.diff(row));
            }
            if selected.rows.count_set_bits() < delta.n_rows() {
                delta = delta.filter(&BooleanArray::new(selected.rows, None))?;
            }
        }
        if delta.is_empty() {
            return Ok(());
        }
        let Some(exprs) = &self.exprs else {
            let rows = batch(&self.schema, delta.rows.columns().to_vec(), delta.n_rows())?;
            self.stats.rows_out += delta.n_rows() as u64;
            out.emit(delta.with_rows(rows));
            return Ok(());
        };
        let mut failed = BTreeMap::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let evaluated = expr.eval(&delta.rows);
            columns.push(evaluated.values);
            for (row, error) in evaluated.errors {
                failed.entry(row).or_insert(error);
            }
        }
        let rows = batch(&self.schema, columns, delta.n_rows())?;
        let mut projected = delta.with_rows(rows);
        if !failed.is_empty() {
            let keep: BooleanArray = (0..delta.n_rows()).map(|row| Some(!failed.contains_key(&row))).collect();
            for (row, error) in failed {
                out.error(error, show::row("row", delta.rows.columns(), row), delta.diff(row));
            }
            projected = projected.filter(&keep)?;
        }
        self.stats.rows_out += projected.n_rows() as u64;
        if !projected.is_empty() {
            out.emit(projected);
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Out) -> Result<Finish, FlowError> {
        Ok(Finish::Done)
    }

    fn routing(&self, _input: usize) -> Routing {
        Routing::Any
    }

    fn stats(&self) -> OpStats {
        self.stats.clone()
    }

    fn save(&self, _home: &Home, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Ok(())
    }

    fn restore(&mut self, _images: &[&Image]) -> Result<(), FlowError> {
        Ok(())
    }
}
