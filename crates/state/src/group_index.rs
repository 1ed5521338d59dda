//! From key columns to dense group ids and back: the group state of aggregates, distinct, set operations and top-k.
//!
//! ```text
//! table: key hash -> id        id:    0      1      2
//!                              keys:  [ .. columns by slot ..  ]        (crate::Columns)
//! ```
//!
//! Ids are dense, so what belongs to a group (counts, sums) stands in plain vectors indexed by id; a removed id is reused.
//! Keys are equal as PostgreSQL groups: NULL = NULL, NaN = NaN, 0.0 = -0.0, `1 day` = `24 hours`; they are stored in the one form that
//! [`canonical_keys`] gives them, and come back so: who shows the form that a row had keeps that beside. A key is stored once, as its columns are; its hash only as the bits that the table keeps, so who takes a group out
//! gives its hash again.
//!
//! A batch goes in three passes, so that each is a plain loop over one thing: the table names for each row the first group whose
//! hash agrees, or makes one; new keys are copied in, column by column; the named groups' keys are compared, column by column. Rows
//! whose key differs after all (hashes agree in 40 bits) are looked up one by one. Idea: DataFusion's vectorised group values.
//! Invariant: no two alive ids have equal keys. Cost: one table look-up and one comparison a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use regauge_types::forms::canonical;
use regauge_types::hash::hash_columns;

use crate::bucket_table::BucketTable;
use crate::columns::Columns;
use crate::error::StateError;

/// A set of keys with dense ids.
#[derive(Debug)]
pub struct GroupIndex {
    keys: Columns,
    /// The key's columns by number, all of them.
    all: Vec<usize>,
    table: BucketTable,
}

/// The column with each NaN replaced by the one canonical NaN and -0.0 by 0.0; other types as they are.
pub fn canonical_floats(column: &ArrayRef) -> ArrayRef {
    if column.data_type().is_floating() { canonical(column) } else { Arc::clone(column) }
}

/// The columns as an index takes them: one form for each value, whatever its type.
pub fn canonical_keys<'a>(columns: impl IntoIterator<Item = &'a ArrayRef>) -> Vec<ArrayRef> {
    columns.into_iter().map(canonical).collect()
}

/// A position as usize is a position as u32: batches are short.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has fewer than 2^32 rows")
}

impl GroupIndex {
    /// An empty index over key columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        Ok(GroupIndex { keys: Columns::new(types)?, all: (0..types.len()).collect(), table: BucketTable::default() })
    }

    /// Ids ever given out: one above the greatest.
    pub fn n_ids(&self) -> usize {
        self.keys.n_slots()
    }

    /// Groups alive.
    pub fn n_groups(&self) -> usize {
        self.keys.n_alive()
    }

    /// The id of each row's key, made where it was not known; ids made are appended to `created`.
    /// `columns` are canonical ([`canonical_keys`]), `hashes` is the frozen hash of them, one a row.
    pub fn intern(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        ids: &mut Vec<u32>,
        created: &mut Vec<u32>,
    ) -> Result<(), StateError> {
        let (first_id, first_created) = (ids.len(), created.len());
        ids.reserve(hashes.len());
        if self.n_ids() + hashes.len() >= u32::MAX as usize {
            return Err(StateError::Full { n_rows: self.n_ids() });
        }
        let GroupIndex { keys, all, table } = self;
        table.warm(hashes.iter().copied());
        let mut make = || keys.reserve().expect("checked above that ids fit");
        let (mut new_rows, mut rows, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for (row, hash) in hashes.iter().enumerate() {
            let (id, is_new) = table.find_or_insert(*hash, |_| true, &mut make);
            ids.push(id);
            if is_new {
                created.push(id);
                new_rows.push(row_number(row));
            } else {
                rows.push(row_number(row));
                named.push(id);
            }
        }
        keys.write(&created[first_created..], columns, &new_rows);
        let mut same = vec![true; rows.len()];
        keys.retain_same_key(all, &named, columns, &rows, true, &mut same);
        for row in rows.iter().zip(&same).filter(|(_, same)| !**same).map(|(row, _)| *row) {
            let hash = hashes[row as usize];
            let id = match table.find(hash, |id| keys.same_bits(id, columns, row)) {
                Some(id) => id,
                None => {
                    let id = keys.reserve()?;
                    keys.write(&[id], columns, &[row]);
                    table.find_or_insert(hash, |_| false, || id);
                    created.push(id);
                    id
                }
            };
            ids[first_id + row as usize] = id;
        }
        Ok(())
    }

    /// The key columns of `ids`.
    pub fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        Ok(self.keys.gather(ids))
    }

    /// Takes groups out, each named once, by the hashes they came with; their ids will be given to other keys.
    pub fn remove(&mut self, ids: &[u32], hashes: &[u64]) {
        self.table.warm(hashes.iter().copied());
        for (id, hash) in ids.iter().zip(hashes) {
            let stood = self.table.remove(*hash, *id);
            debug_assert!(stood, "a group goes by the hash that it came with");
            self.keys.remove(*id);
        }
    }

    /// As [`GroupIndex::remove`], for groups that came with the frozen hash of their keys.
    pub fn forget(&mut self, ids: &[u32]) -> Result<(), StateError> {
        if !ids.is_empty() {
            self.remove(ids, &hash_columns(&self.keys.gather(ids), ids.len())?);
        }
        Ok(())
    }

    /// The groups of one bucket (0..256), ascending: what a checkpoint or a move of that bucket takes.
    pub fn bucket(&self, bucket: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = self.table.ids(bucket).collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        self.keys.n_bytes() + self.table.n_bytes()
    }
}
