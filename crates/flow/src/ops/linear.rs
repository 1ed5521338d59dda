//! Operators without state or with constant output: union and constant rows.

use arrow::datatypes::{DataType, SchemaRef};
use regauge_types::Delta;

use super::parts::{batch, schema_of};
use crate::image::{Home, Image};
use crate::operator::{Finish, FlowError, OpStats, Operator, Out, Routing};

/// UNION ALL: multiplicities add up, so every input passes through.
pub struct Union {
    schema: SchemaRef,
    stats: OpStats,
}

impl Union {
    /// For inputs of these types.
    pub fn new(types: &[DataType]) -> Self {
        Union { schema: schema_of(types), stats: OpStats::default() }
    }
}

impl Operator for Union {
    fn push(&mut self, _input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        self.stats.rows_in += delta.n_rows() as u64;
        self.stats.rows_out += delta.n_rows() as u64;
        if !delta.is_empty() {
            let rows = batch(&self.schema, delta.rows.columns().to_vec(), delta.n_rows())?;
            out.emit(delta.with_rows(rows));
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

/// Constant rows: sent at the end of the first epoch, by the one instance that is finished (no inputs, routing `One`).
pub struct Constant {
    rows: Option<Delta>,
    stats: OpStats,
}

impl Constant {
    /// The rows of an `Op::Rows`, as a delta.
    pub fn new(rows: Delta) -> Self {
        Constant { rows: Some(rows), stats: OpStats::default() }
    }
}

impl Operator for Constant {
    fn push(&mut self, _input: usize, _delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        if let Some(rows) = self.rows.take().filter(|r| !r.is_empty()) {
            self.stats.rows_out += rows.n_rows() as u64;
            rows.chunks(super::parts::ROWS_MAX).for_each(|piece| out.emit(piece));
        }
        Ok(Finish::Done)
    }

    fn routing(&self, _input: usize) -> Routing {
        Routing::One
    }

    fn stats(&self) -> OpStats {
        self.stats.clone()
    }

    fn save(&self, _home: &Home, _to: &mut Vec<Image>) -> Result<(), FlowError> {
        Ok(())
    }

    /// What has finished an epoch has sent its rows.
    fn restore(&mut self, _images: &[&Image]) -> Result<(), FlowError> {
        self.rows = None;
        Ok(())
    }
}
