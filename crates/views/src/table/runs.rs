//! Rows of a table where they stand: stretches of neighbouring rows of the batches that they came in.
//!
//! ```text
//!   rows in the order of their keys   a0 a1 a2 b7 b8 a3      runs   a[0..3]  b[7..9]  a[3..4]
//! ```
//! What was loaded in the order of its keys is a few long runs, and a column of those is a few copies of memory; what was written row by
//! row is as many runs as rows, and then a column is put together value by value. Columns are copied only when they are asked for, so
//! whoever needs two of sixteen, or one row of a thousand, pays for that. Invariant: rows keep the order in which they were added. All
//! batches have the same columns (see [`super::head::Head`]). It does not know keys or commits.

use super::writes::RowRef;
use crate::error::{Error, Result};
use arrow::{
    array::{Array, ArrayRef, MutableArrayData, RecordBatch, RecordBatchOptions, make_array, new_empty_array},
    buffer::BooleanBuffer,
    compute::interleave,
    datatypes::{DataType, SchemaRef},
};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Where runs are shorter than this on average, columns are put together value by value.
const RUN_ROWS_MIN: usize = 4;

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    batches: Vec<Arc<RecordBatch>>,
    /// Of each batch its address, for as long as it is held here.
    places: HashMap<usize, usize>,
    runs: Vec<(usize, Range<usize>)>,
    n_rows: usize,
}

impl Runs {
    /// Rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The batches that rows are of.
    pub fn batches(&self) -> impl Iterator<Item = &Arc<RecordBatch>> {
        self.batches.iter()
    }

    /// Adds a row behind the others.
    pub fn push(&mut self, row: &RowRef) {
        self.n_rows += 1;
        if let Some((batch, run)) = self.runs.last_mut()
            && run.end == row.at
            && Arc::ptr_eq(&self.batches[*batch], &row.batch)
        {
            run.end += 1;
            return;
        }
        let batches = &mut self.batches;
        let batch = *self.places.entry(Arc::as_ptr(&row.batch).addr()).or_insert_with(|| {
            batches.push(row.batch.clone());
            batches.len() - 1
        });
        self.runs.push((batch, row.at..row.at + 1));
    }

    /// The rows for which a bit is set.
    #[must_use]
    pub fn filter(&self, keep: &BooleanBuffer) -> Runs {
        let mut runs: Vec<(usize, Range<usize>)> = vec![];
        let mut first = 0;
        for (batch, run) in &self.runs {
            let kept = keep.slice(first, run.len());
            runs.extend(kept.set_slices().map(|(from, to)| (*batch, run.start + from..run.start + to)));
            first += run.len();
        }
        Runs { batches: self.batches.clone(), places: self.places.clone(), runs, n_rows: keep.count_set_bits() }
    }

    /// Columns by their positions, under these fields. A copy: it does not keep the batches.
    pub fn columns(&self, schema: &SchemaRef, positions: &[usize]) -> Result<RecordBatch> {
        let types = schema.fields().iter().map(|f| f.data_type());
        let columns = positions.iter().zip(types).map(|(at, ty)| self.column(*at, ty)).collect::<Result<Vec<_>>>()?;
        self.batch(schema, columns)
    }

    /// The same to be looked at and let go: rows that stand together are not copied, and keep their batch.
    pub fn lent(&self, schema: &SchemaRef, positions: &[usize]) -> Result<RecordBatch> {
        let [(batch, run)] = self.runs.as_slice() else { return self.columns(schema, positions) };
        let column = |at: &usize| self.batches[*batch].column(*at).slice(run.start, run.len());
        self.batch(schema, positions.iter().map(column).collect())
    }

    /// All columns.
    pub fn all(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        self.columns(schema, &(0..schema.fields().len()).collect::<Vec<_>>())
    }

    fn batch(&self, schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.n_rows));
        RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(Error::arrow)
    }

    fn column(&self, at: usize, ty: &DataType) -> Result<ArrayRef> {
        if self.runs.is_empty() {
            return Ok(new_empty_array(ty));
        }
        if self.n_rows < self.runs.len() * RUN_ROWS_MIN {
            let arrays: Vec<&dyn Array> = self.batches.iter().map(|b| b.column(at).as_ref()).collect();
            let rows = self.runs.iter().flat_map(|(batch, run)| run.clone().map(|row| (*batch, row)));
            return interleave(&arrays, &rows.collect::<Vec<_>>()).map_err(Error::arrow);
        }
        let data: Vec<_> = self.batches.iter().map(|b| b.column(at).to_data()).collect();
        let mut column = MutableArrayData::new(data.iter().collect(), false, self.n_rows);
        for (batch, run) in &self.runs {
            column.try_extend(*batch, run.start, run.end).map_err(Error::arrow)?;
        }
        Ok(make_array(column.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, UInt32Array};
    use arrow::compute::take_record_batch;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    fn batch(from: i64, n: i64) -> Arc<RecordBatch> {
        let numbers: Int64Array = (from..from + n).map(|i| (i % 7 != 0).then_some(i)).collect();
        let texts: StringArray = (from..from + n).map(|i| (i % 5 != 0).then(|| format!("row {i}"))).collect();
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        Arc::new(RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(numbers), Arc::new(texts)]).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

        /// Stretches of any length out of three batches, against taking each row by itself.
        #[test]
        fn rows_come_back_in_the_order_in_which_they_were_added(
            stretches in proptest::collection::vec((0usize..3, 0usize..90, 1usize..10), 0..30),
            modulus in 1usize..5,
        ) {
            let batches = [batch(0, 100), batch(100, 100), batch(200, 100)];
            let all = arrow::compute::concat_batches(&batches[0].schema(), batches.iter().map(AsRef::as_ref)).unwrap();
            let rows: Vec<(usize, usize)> = stretches.into_iter().flat_map(|(b, from, n)| (from..from + n).map(move |at| (b, at))).collect();
            let mut runs = Runs::default();
            rows.iter().for_each(|(b, at)| runs.push(&RowRef { batch: batches[*b].clone(), at: *at }));
            let expected = |keep: &dyn Fn(usize) -> bool| {
                let kept = rows.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, (b, at))| u32::try_from(b * 100 + at).unwrap());
                take_record_batch(&all, &UInt32Array::from(kept.collect::<Vec<u32>>())).unwrap()
            };
            prop_assert_eq!(runs.n_rows(), rows.len());
            prop_assert_eq!(runs.all(&all.schema()).unwrap(), expected(&|_| true));
            prop_assert_eq!(runs.lent(&all.schema(), &[0, 1]).unwrap(), expected(&|_| true));
            let keep: BooleanBuffer = (0..rows.len()).map(|i| i % modulus == 0).collect();
            let some = runs.filter(&keep).filter(&BooleanBuffer::new_set(keep.count_set_bits()));
            prop_assert_eq!(some.all(&all.schema()).unwrap(), expected(&|i| i % modulus == 0));
            let text = Arc::new(all.schema().project(&[1]).unwrap());
            prop_assert_eq!(some.columns(&text, &[1]).unwrap(), expected(&|i| i % modulus == 0).project(&[1]).unwrap());
        }
    }
}
