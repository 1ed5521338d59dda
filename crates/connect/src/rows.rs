//! Changes of several epochs as what is left of them, in the relation's own columns.
//!
//! Cost: one map entry per row.

use crate::error::Fault;
use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array},
    compute::{cast, take_record_batch},
    datatypes::SchemaRef,
};
use regauge_types::{Delta, Lsn, key};
use std::collections::HashMap;

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(format!("rows cannot be prepared: {error}"))
}

/// Rows of a schema, whatever form of its types they come in.
pub fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Fault> {
    let columns = rows.columns().iter().zip(schema.fields());
    let columns = columns.map(|(c, f)| if c.data_type() == f.data_type() { Ok(c.clone()) } else { cast(c, f.data_type()) });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>().map_err(fault)?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(fault)
}

fn conformed(epochs: &[(Lsn, Delta)], schema: &SchemaRef) -> Result<Vec<Delta>, Fault> {
    epochs.iter().map(|(_, delta)| Ok(delta.with_rows(conform(&delta.rows, schema)?))).collect()
}

/// What is left of changes by key.
#[derive(Debug)]
pub struct Keyed {
    /// Rows that are there afterwards.
    pub upserts: RecordBatch,
    /// Rows whose keys are not.
    pub deletes: RecordBatch,
}

/// Of each key that the epochs touch, what it is in the end.
pub fn keyed(epochs: &[(Lsn, Delta)], schema: &SchemaRef, by: &[usize]) -> Result<Keyed, Fault> {
    let deltas = conformed(epochs, schema)?;
    let all = Delta::concat(schema, &deltas).map_err(fault)?;
    let columns: Vec<ArrayRef> = by.iter().map(|at| all.rows.column(*at).clone()).collect();
    let keys = key::encode(&columns, all.n_rows()).map_err(fault)?;
    let mut last: HashMap<&[u8], (u32, bool)> = HashMap::with_capacity(all.n_rows());
    let mut begin = 0;
    for delta in &deltas {
        let rows = begin..begin + delta.n_rows();
        begin = rows.end;
        // Within an epoch what goes, goes before what comes.
        for comes in [false, true] {
            for row in rows.clone().filter(|row| (all.diff(*row) > 0) == comes) {
                let at = u32::try_from(row).map_err(fault)?;
                last.insert(keys.get(row), (at, comes));
            }
        }
    }
    let mut kept: Vec<(u32, bool)> = last.into_values().collect();
    kept.sort_unstable();
    let of = |comes: bool| {
        let rows: Vec<u32> = kept.iter().filter(|(_, c)| *c == comes).map(|(row, _)| *row).collect();
        take_record_batch(&all.rows, &UInt32Array::from(rows)).map_err(fault)
    };
    Ok(Keyed { upserts: of(true)?, deletes: of(false)? })
}

/// Equal rows with the sum of what came and went, none of them zero.
pub fn counted(epochs: &[(Lsn, Delta)], schema: &SchemaRef) -> Result<Delta, Fault> {
    let all = Delta::concat(schema, &conformed(epochs, schema)?).map_err(fault)?;
    all.consolidate().map_err(fault)
}

/// Equal rows of a whole, counted.
pub fn counted_whole(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Delta, Fault> {
    let epochs: Vec<(Lsn, Delta)> = batches.iter().map(|rows| (Lsn::ZERO, Delta::ones(rows.clone()))).collect();
    counted(&epochs, schema)
}

/// A name for each row, by all that it says: a UUID out of the frozen encoding of its values.
pub fn row_names(rows: &RecordBatch) -> Result<Vec<String>, Fault> {
    let keys = key::encode(rows.columns(), rows.num_rows()).map_err(fault)?;
    let name = |bytes: &[u8]| {
        let hex = blake3::hash(bytes).to_hex();
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
    };
    Ok(keys.iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::{DataType, Field, Int64Type, Schema},
    };
    use std::sync::Arc;

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Int64, true)]))
    }

    fn delta(rows: &[(i64, i64, i64)]) -> Delta {
        let column = |f: fn(&(i64, i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(f))) as ArrayRef;
        let batch = RecordBatch::try_new(schema(), vec![column(|r| r.0), column(|r| r.1)]).expect("columns fit");
        Delta::new(batch, Int64Array::from_iter_values(rows.iter().map(|r| r.2)))
    }

    fn pairs(rows: &RecordBatch) -> Vec<(i64, i64)> {
        let column = |at: usize| rows.column(at).as_primitive::<Int64Type>().values().to_vec();
        column(0).into_iter().zip(column(1)).collect()
    }

    #[test]
    fn the_last_word_on_a_key_counts_whatever_order_an_epoch_has() {
        let first = delta(&[(1, 10, 1), (2, 20, 1), (3, 30, 1)]);
        let second = delta(&[(1, 11, 1), (1, 10, -1), (2, 20, -1)]);
        let net = keyed(&[(Lsn(1), first), (Lsn(2), second)], &schema(), &[0]).expect("nets");
        assert_eq!(pairs(&net.upserts), [(3, 30), (1, 11)]);
        assert_eq!(pairs(&net.deletes), [(2, 20)]);
    }

    #[test]
    fn equal_rows_are_summed_and_named_alike() {
        let net = counted(&[(Lsn(1), delta(&[(1, 1, 2), (2, 2, 1)])), (Lsn(2), delta(&[(2, 2, -1), (1, 1, 1)]))], &schema());
        let net = net.expect("nets");
        assert_eq!((pairs(&net.rows), net.diff(0)), (vec![(1, 1)], 3));
        let names = row_names(&delta(&[(1, 1, 1), (1, 2, 1), (1, 1, 5)]).rows).expect("names");
        assert_eq!(names[0], names[2]);
        assert_ne!(names[0], names[1]);
        assert_eq!(names[0].len(), 36);
    }
}
