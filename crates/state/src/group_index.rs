//! From key columns to dense group ids and back: the group state of aggregates, distinct, set operations and top-k.
//!
//! ```text
//! table: key hash -> id        id:    0      1      2
//!                              keys:  i64 columns, or arrow-row bytes in a heap
//!                              hash:  u64 (to take an id out again, and to know its bucket)
//! ```
//!
//! Ids are dense, so what belongs to a group (counts, sums) stands in plain vectors indexed by id; a removed id is reused.
//! Keys are equal as PostgreSQL groups: NULL = NULL, NaN = NaN, 0.0 = -0.0; floats are stored in their canonical form and come
//! back so. Key columns that are all integers, dates or times take a path without encoding. The encoding is arrow-row's: fast, and it may
//! change between releases, so it never leaves memory.
//! Invariant: no two alive ids have equal keys. Cost: one table look-up a row, encoding once a batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};

use crate::bucket_table::BucketTable;
use crate::error::StateError;
use crate::heap::Heap;

#[derive(Debug)]
enum Keys {
    /// No key columns: one group.
    Nothing,
    /// One column that is an i64 or an i32 underneath.
    Integer {
        ty: DataType,
        values: Vec<i64>,
        null_id: Option<u32>,
    },
    /// Several such columns: for each id their values, then a bit for each that is NULL (whose value is 0).
    Integers {
        types: Vec<DataType>,
        values: Vec<i64>,
    },
    Rows {
        converter: RowConverter,
        heap: Heap,
    },
}

/// Most key columns of [`Keys::Integers`]: as many as there are bits for NULLs.
const INTEGERS_MAX: usize = 64;

/// A set of keys with dense ids.
#[derive(Debug)]
pub struct GroupIndex {
    keys: Keys,
    hashes: Vec<u64>,
    table: BucketTable,
    free: Vec<u32>,
}

/// The column with each NaN replaced by the one canonical NaN and -0.0 by 0.0; other types as they are.
pub fn canonical_floats(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => {
            let a = column.as_primitive::<Float64Type>();
            let odd = |v: f64| v.is_nan() || (v == 0.0 && v.is_sign_negative());
            if !a.values().iter().any(|v| odd(*v)) {
                return Arc::clone(column);
            }
            Arc::new(a.unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }))
        }
        DataType::Float32 => {
            let a = column.as_primitive::<Float32Type>();
            let odd = |v: f32| v.is_nan() || (v == 0.0 && v.is_sign_negative());
            if !a.values().iter().any(|v| odd(*v)) {
                return Arc::clone(column);
            }
            Arc::new(a.unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }))
        }
        _ => Arc::clone(column),
    }
}

/// Whether a lone key of this type takes the integer path.
fn is_integer_like(ty: &DataType) -> bool {
    matches!(ty, DataType::Int64 | DataType::Timestamp(..) | DataType::Time64(_) | DataType::Int32 | DataType::Date32)
}

/// The values of an integer-like column as i64, nulls apart.
fn integers(column: &ArrayRef) -> Result<Int64Array, StateError> {
    Ok(match column.data_type() {
        DataType::Int64 => column.as_primitive::<Int64Type>().clone(),
        DataType::Int32 => column.as_primitive::<Int32Type>().unary::<_, Int64Type>(i64::from),
        DataType::Date32 => column.as_primitive::<Date32Type>().unary::<_, Int64Type>(i64::from),
        _ => cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    })
}

/// Columns row by row, each row with the bits of its NULLs behind it.
fn flat(columns: &[ArrayRef], n_rows: usize) -> Result<Vec<i64>, StateError> {
    let width = columns.len() + 1;
    let mut flat = vec![0; n_rows * width];
    for (c, column) in columns.iter().enumerate() {
        let column = integers(column)?;
        if column.null_count() == 0 {
            flat.iter_mut().skip(c).step_by(width).zip(column.values()).for_each(|(to, v)| *to = *v);
            continue;
        }
        for (row, value) in column.iter().enumerate() {
            match value {
                Some(value) => flat[row * width + c] = value,
                None => flat[row * width + width - 1] |= 1 << c,
            }
        }
    }
    Ok(flat)
}

/// Integers as a column of an integer-like type.
fn column_of(values: impl Iterator<Item = Option<i64>>, ty: &DataType) -> Result<ArrayRef, StateError> {
    let array: ArrayRef = match ty {
        DataType::Int32 | DataType::Date32 => {
            Arc::new(values.map(|v| v.map(|v| i32::try_from(v).expect("the key came from an i32"))).collect::<Int32Array>())
        }
        _ => Arc::new(values.collect::<Int64Array>()),
    };
    Ok(if array.data_type() == ty { array } else { cast(&array, ty)? })
}

impl GroupIndex {
    /// An empty index over key columns of `types`.
    pub fn new(types: &[DataType]) -> Result<Self, StateError> {
        let keys = match types {
            [] => Keys::Nothing,
            [ty] if is_integer_like(ty) => Keys::Integer { ty: ty.clone(), values: Vec::new(), null_id: None },
            many if many.len() <= INTEGERS_MAX && many.iter().all(is_integer_like) => {
                Keys::Integers { types: many.to_vec(), values: Vec::new() }
            }
            _ => {
                let fields: Vec<SortField> = types.iter().cloned().map(SortField::new).collect();
                if !RowConverter::supports_fields(&fields) {
                    return Err(StateError::UnsupportedType { ty: types.first().cloned().unwrap_or(DataType::Null) });
                }
                Keys::Rows { converter: RowConverter::new(fields)?, heap: Heap::default() }
            }
        };
        Ok(GroupIndex { keys, hashes: Vec::new(), table: BucketTable::default(), free: Vec::new() })
    }

    /// Ids ever given out: one above the greatest.
    pub fn n_ids(&self) -> usize {
        self.hashes.len()
    }

    /// Groups alive.
    pub fn n_groups(&self) -> usize {
        self.hashes.len() - self.free.len()
    }

    /// The id of each row's key, made where it was not known; ids made are appended to `created`.
    /// `columns` are canonical ([`canonical_floats`]), `hashes` is the frozen hash of them, one a row.
    pub fn intern(
        &mut self,
        columns: &[ArrayRef],
        hashes: &[u64],
        ids: &mut Vec<u32>,
        created: &mut Vec<u32>,
    ) -> Result<(), StateError> {
        ids.reserve(hashes.len());
        let GroupIndex { keys, hashes: known, table, free } = self;
        if known.len() + hashes.len() >= u32::MAX as usize {
            return Err(StateError::Full { n_rows: known.len() });
        }
        let mut make = |known: &mut Vec<u64>, hash: u64| match free.pop() {
            Some(id) => {
                known[id as usize] = hash;
                id
            }
            None => {
                known.push(hash);
                u32::try_from(known.len() - 1).expect("checked above that ids fit")
            }
        };
        match keys {
            Keys::Nothing => {
                for hash in hashes {
                    let (id, new) = table.find_or_insert(*hash, |_| true, || make(known, *hash));
                    if new {
                        created.push(id);
                    }
                    ids.push(id);
                }
            }
            Keys::Integer { values, null_id, .. } => {
                let column = integers(&columns[0])?;
                let raw = column.values();
                for (row, hash) in hashes.iter().enumerate() {
                    if column.is_null(row) {
                        let (id, new) = table.find_or_insert(*hash, |id| *null_id == Some(id), || make(known, *hash));
                        if new {
                            created.push(id);
                            *null_id = Some(id);
                            put(values, id, 0);
                        }
                        ids.push(id);
                        continue;
                    }
                    let key = raw[row];
                    let (id, new) = table.find_or_insert(
                        *hash,
                        |id| values[id as usize] == key && *null_id != Some(id),
                        || make(known, *hash),
                    );
                    if new {
                        created.push(id);
                        put(values, id, key);
                    }
                    ids.push(id);
                }
            }
            Keys::Integers { types, values } => {
                let width = types.len() + 1;
                let flat = flat(columns, hashes.len())?;
                for (key, hash) in flat.chunks_exact(width).zip(hashes) {
                    let of = |values: &[i64], id: u32| values[id as usize * width..][..width] == *key;
                    let (id, new) = table.find_or_insert(*hash, |id| of(values, id), || make(known, *hash));
                    if new {
                        created.push(id);
                        let at = id as usize * width;
                        if at == values.len() {
                            values.extend_from_slice(key);
                        } else {
                            values[at..at + width].copy_from_slice(key);
                        }
                    }
                    ids.push(id);
                }
            }
            Keys::Rows { converter, heap } => {
                let rows = converter.convert_columns(columns)?;
                for (row, hash) in rows.iter().zip(hashes) {
                    let key = row.data();
                    let (id, new) = table.find_or_insert(*hash, |id| heap.get(id) == key, || make(known, *hash));
                    if new {
                        created.push(id);
                        heap.set(id, key);
                    }
                    ids.push(id);
                }
            }
        }
        Ok(())
    }

    /// The key columns of `ids`.
    pub fn keys(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, StateError> {
        match &self.keys {
            Keys::Nothing => Ok(Vec::new()),
            Keys::Integer { ty, values, null_id } => {
                let raw = ids.iter().map(|id| (*null_id != Some(*id)).then(|| values[*id as usize]));
                Ok(vec![column_of(raw, ty)?])
            }
            Keys::Integers { types, values } => {
                let width = types.len() + 1;
                let column = |(c, ty): (usize, &DataType)| {
                    let of = |id: &u32| {
                        let key = &values[*id as usize * width..][..width];
                        ((key[width - 1] >> c) & 1 == 0).then(|| key[c])
                    };
                    column_of(ids.iter().map(of), ty)
                };
                types.iter().enumerate().map(column).collect()
            }
            Keys::Rows { converter, heap } => {
                let parser = converter.parser();
                Ok(converter.convert_rows(ids.iter().map(|id| parser.parse(heap.get(*id))))?)
            }
        }
    }

    /// Takes a group out; its id will be given to another key.
    pub fn remove(&mut self, id: u32) {
        self.table.remove(self.hashes[id as usize], id);
        match &mut self.keys {
            Keys::Nothing | Keys::Integers { .. } => {}
            Keys::Integer { null_id, .. } => {
                if *null_id == Some(id) {
                    *null_id = None;
                }
            }
            Keys::Rows { heap, .. } => heap.clear(id),
        }
        self.free.push(id);
    }

    /// The groups of one bucket (0..256), ascending: what a checkpoint or a move of that bucket takes.
    pub fn bucket(&self, bucket: usize) -> Vec<u32> {
        let mut ids: Vec<u32> = self.table.ids(bucket).collect();
        ids.sort_unstable();
        ids
    }

    /// Bytes of memory held.
    pub fn n_bytes(&self) -> usize {
        let keys = match &self.keys {
            Keys::Nothing => 0,
            Keys::Integer { values, .. } | Keys::Integers { values, .. } => values.capacity() * 8,
            Keys::Rows { heap, .. } => heap.n_bytes(),
        };
        keys + self.hashes.capacity() * 8 + self.table.n_bytes() + self.free.capacity() * 4
    }
}

fn put(values: &mut Vec<i64>, id: u32, key: i64) {
    let at = id as usize;
    if at == values.len() { values.push(key) } else { values[at] = key }
}
