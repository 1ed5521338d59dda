//! What an operator keeps between epochs, as tables: the form in which state leaves an operator and enters another one.
//!
//! ```text
//!   operator ──save──▶ [image: part 0, bucket 7][image: part 0, bucket 9] ..   ──restore──▶ fresh operators, of any number of workers
//! ```
//! An image holds rows of one bucket of the frozen hash, so it belongs to exactly one worker whatever their number ([`owned`]); what every
//! worker knows (a clock, watermarks) is an image for all. Images add up: an operator is restored from any set of them, in any order, and
//! each is read by itself.
//!
//! Changes since earlier images are images, too ([`Step`]): keys that are gone, and keys with what is there now. They hold whatever was there
//! before, so what they are put on may have been copied while the operator went on, as long as the changes reach back to when the
//! copying began (the idea is that of moving a virtual machine while it runs: Clark et al., Live Migration, 2005).
//!
//! Invariants: an image is a function of its bucket's state (ids and slots do not appear in it); what it holds is Arrow columns of types
//! that the plan fixes, keys in the frozen encoding, sums in bytes of their own with a fixed form. Whoever reads one checks its types,
//! so an image of another operator is an error and not a panic. It does not know files, epochs, or why it is taken.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, UInt32Type};
use regauge_state::{Bits, GroupIndex};
use regauge_types::hash::{self, hash_columns};

use crate::operator::FlowError;
use crate::ops::dirty::Gone;
use crate::ops::parts::{batch, schema_of};

/// Rows, or groups, of one image: bounds what is copied at once, and the offsets of text.
pub(crate) const IMAGE_ROWS: usize = 65_536;

/// As many changes are sorted by bucket: some hundred for each, for a block has bytes of its own.
const SORTED_IDS: usize = 65_536;

/// Changes are sorted where they are at least this part of what there is.
const SORTED_PART: usize = 8;

/// Whose an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Of {
    /// The owner of this bucket of the frozen hash.
    Bucket(u8),
    /// Every worker's.
    All,
}

/// What an image says of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Nothing: it adds to them.
    Whole,
    /// Entries of these keys are gone.
    Gone,
    /// Entries of these keys are like this now, whatever they were.
    Changed,
}

/// See the module's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Which table of the operator's it is; its own numbering.
    pub part: u32,
    /// Whose; few changes are not sorted by bucket, their keys tell.
    pub of: Of,
    /// Whether it adds to those before it or replaces something in them.
    pub step: Step,
    /// Tables, in an order that the operator knows.
    pub tables: Vec<RecordBatch>,
}

/// Where an operator that works on any worker has its rows: those of one hash of these columns are on one worker.
pub type Home = Option<Vec<usize>>;

/// The images of a node that a worker owns; `one` is the worker that has a node that is global, `None` for one that is not.
pub fn owned<'a, I: IntoIterator<Item = &'a Image>>(
    images: I,
    one: Option<usize>,
    me: usize,
    peers: usize,
) -> impl Iterator<Item = &'a Image> + use<'a, I> {
    images.into_iter().filter(move |image| match (one, image.of) {
        (Some(one), _) => one == me,
        (None, Of::All) => true,
        (None, Of::Bucket(bucket)) => hash::worker(u64::from(bucket) << 56, peers) == me,
    })
}

impl Image {
    /// Of one bucket (0..256).
    pub(crate) fn new(part: u32, bucket: usize, tables: Vec<RecordBatch>) -> Image {
        let bucket = u8::try_from(bucket).expect("there are 256 buckets");
        Image { part, of: Of::Bucket(bucket), step: Step::Whole, tables }
    }

    /// What changed, of any bucket.
    pub(crate) fn change(part: u32, step: Step, tables: Vec<RecordBatch>) -> Image {
        Image { part, of: Of::All, step, tables }
    }

    /// Whether it may have something of a bucket among these.
    pub(crate) fn is_within(&self, buckets: &std::ops::Range<usize>) -> bool {
        self.bucket().is_none_or(|bucket| buckets.contains(&bucket.into()))
    }

    /// Its bucket, if it is of one.
    pub(crate) fn bucket(&self) -> Option<u8> {
        if let Of::Bucket(bucket) = self.of { Some(bucket) } else { None }
    }

    /// Reads its tables.
    pub(crate) fn read(&self) -> Tables<'_> {
        Tables { image: self, next: 0 }
    }
}

/// Rows of one table and their number.
pub(crate) type Table = (Vec<ArrayRef>, usize);

/// Rows of groups: the place of each row's group, columns, numbers.
pub(crate) type Placed = (Vec<u32>, Vec<ArrayRef>, Vec<i64>);

/// Reads the tables of an image in order.
pub(crate) struct Tables<'a> {
    image: &'a Image,
    next: usize,
}

impl Tables<'_> {
    /// The next table, which has columns of these types.
    pub(crate) fn table(&mut self, types: &[DataType]) -> Result<Table, FlowError> {
        let broken = |why: &str| FlowError::Image(format!("{why} part={} table={}", self.image.part, self.next));
        let rows = self.image.tables.get(self.next).ok_or_else(|| broken("an image ends early"))?;
        let found = rows.columns().iter().map(|c| c.data_type());
        let is_such = if types.is_empty() { rows.num_columns() == 1 } else { found.eq(types.iter()) };
        if !is_such {
            return Err(broken(&format!("an image has columns of other types, not {types:?}")));
        }
        self.next += 1;
        Ok((if types.is_empty() { vec![] } else { rows.columns().to_vec() }, rows.num_rows()))
    }

    /// The next table, of these types and a last column of numbers.
    pub(crate) fn numbered(&mut self, types: &[DataType]) -> Result<(Vec<ArrayRef>, Vec<i64>), FlowError> {
        let types: Vec<DataType> = types.iter().cloned().chain([DataType::Int64]).collect();
        let (mut columns, _) = self.table(&types)?;
        let numbers = numbers(columns.pop())?;
        Ok((columns, numbers))
    }

    /// The next table, of these types alone, each a number.
    pub(crate) fn numbers<const N: usize>(&mut self) -> Result<[Vec<i64>; N], FlowError> {
        let (columns, _) = self.table(&vec![DataType::Int64; N])?;
        let all = columns.into_iter().map(|c| numbers(Some(c))).collect::<Result<Vec<_>, _>>()?;
        all.try_into().map_err(|_| FlowError::Image("columns are missing".into()))
    }

    /// The next table: byte strings.
    pub(crate) fn bytes(&mut self) -> Result<BinaryArray, FlowError> {
        let (columns, _) = self.table(&[DataType::Binary])?;
        columns.first().map(|c| c.as_binary::<i32>().clone()).ok_or_else(|| FlowError::Image("columns are missing".into()))
    }

    /// The next table: which place each row belongs to, below `n`, then columns of these types, then numbers.
    pub(crate) fn placed(&mut self, n: usize, types: &[DataType]) -> Result<Placed, FlowError> {
        let types: Vec<DataType> = [DataType::UInt32].into_iter().chain(types.iter().cloned()).collect();
        let (mut columns, numbers) = self.numbered(&types)?;
        let places = columns.remove(0).as_primitive::<UInt32Type>().clone();
        if places.null_count() > 0 || places.values().iter().any(|p| *p as usize >= n) {
            return Err(FlowError::Image(format!("a place beyond its groups n={n}")));
        }
        Ok((places.values().to_vec(), columns, numbers))
    }
}

fn numbers(column: Option<ArrayRef>) -> Result<Vec<i64>, FlowError> {
    let column = column.filter(|c| c.null_count() == 0 && c.data_type() == &DataType::Int64);
    let column = column.ok_or_else(|| FlowError::Image("numbers are missing".into()))?;
    Ok(column.as_primitive::<Int64Type>().values().to_vec())
}

/// A table; one without columns has a column of nothing, so that it keeps its number of rows.
pub(crate) fn table(columns: Vec<ArrayRef>, n: usize) -> Result<RecordBatch, FlowError> {
    let columns = if columns.is_empty() { vec![int64(std::iter::repeat_n(0, n))] } else { columns };
    let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
    batch(&schema_of(&types), columns, n)
}

/// A column of numbers.
pub(crate) fn int64(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A column of places.
pub(crate) fn places(values: Vec<u32>) -> ArrayRef {
    Arc::new(UInt32Array::from(values))
}

/// A table of byte strings.
pub(crate) fn bytes_table<B: AsRef<[u8]>>(values: impl Iterator<Item = B>) -> Result<RecordBatch, FlowError> {
    let array = BinaryArray::from_iter_values(values);
    let n = array.len();
    table(vec![Arc::new(array)], n)
}

/// The types of a schema's columns.
pub(crate) fn types_of(schema: &SchemaRef) -> Vec<DataType> {
    schema.fields().iter().map(|f| f.data_type().clone()).collect()
}

/// Rows at these slots, with a number each, as images of the buckets that the columns `by` hash into.
pub(crate) fn rows_by_bucket(
    part: u32,
    rows: &[(u32, i64)],
    gather: impl Fn(&[u32]) -> Vec<ArrayRef>,
    by: &[usize],
    to: &mut Vec<Image>,
) -> Result<(), FlowError> {
    let mut of: Vec<Vec<(u32, i64)>> = vec![vec![]; hash::BUCKETS];
    for some in rows.chunks(IMAGE_ROWS) {
        let columns = gather(&some.iter().map(|(slot, _)| *slot).collect::<Vec<u32>>());
        let keys: Vec<ArrayRef> = by.iter().filter_map(|c| columns.get(*c).cloned()).collect();
        for (row, hash) in some.iter().zip(hash_columns(&keys, some.len())?) {
            of[hash::bucket(hash)].push(*row);
        }
    }
    for (bucket, rows) in of.into_iter().enumerate() {
        for some in rows.chunks(IMAGE_ROWS) {
            let mut columns = gather(&some.iter().map(|(slot, _)| *slot).collect::<Vec<u32>>());
            columns.push(int64(some.iter().map(|(_, n)| *n)));
            to.push(Image::new(part, bucket, vec![table(columns, some.len())?]));
        }
    }
    Ok(())
}

/// The ids that an index has in each bucket, in pieces of an image.
pub(crate) fn by_bucket(index: &GroupIndex) -> impl Iterator<Item = (usize, Vec<u32>)> + '_ {
    (0..hash::BUCKETS).flat_map(|bucket| of_bucket(index, bucket))
}

/// The same of one bucket.
pub(crate) fn of_bucket(index: &GroupIndex, bucket: usize) -> Vec<(usize, Vec<u32>)> {
    let ids = index.bucket(bucket);
    ids.chunks(IMAGE_ROWS).map(|ids| (bucket, ids.to_vec())).collect()
}

/// Changed entries of so many, a piece for each image: whose they are, and their ids. Where they are many, and a good part of all, they are sorted by
/// bucket, of which `bucket` has the ids: then who needs some buckets need not look at the others' changes. Cost: the changes; no more than
/// [`SORTED_PART`] times as many entries are walked.
pub(crate) fn changed(ids: &[u32], n_entries: usize, bucket: impl Fn(usize) -> Vec<u32>) -> Vec<(Of, Vec<u32>)> {
    let unsorted = || ids.chunks(IMAGE_ROWS).map(|ids| (Of::All, ids.to_vec())).collect();
    if ids.len() < SORTED_IDS || ids.len().saturating_mul(SORTED_PART) < n_entries {
        return unsorted();
    }
    let mut marked = Bits::default();
    for id in ids {
        marked.insert(*id);
    }
    let mut pieces = Vec::new();
    for no in 0..=u8::MAX {
        let mut ids = bucket(no.into());
        ids.retain(|id| marked.has(*id));
        pieces.extend(ids.chunks(IMAGE_ROWS).map(|ids| (Of::Bucket(no), ids.to_vec())));
    }
    let is_whole = pieces.iter().map(|(_, ids)| ids.len()).sum::<usize>() == ids.len();
    debug_assert!(is_whole, "an id is of one bucket");
    if is_whole { pieces } else { unsorted() }
}

/// Takes groups out of an index; a key may have gone more than once since the last save.
pub(crate) fn forget(index: &mut GroupIndex, mut ids: Vec<u32>) -> Result<(), FlowError> {
    ids.sort_unstable();
    ids.dedup();
    Ok(index.forget(&ids)?)
}

/// Keys that are gone, in pieces of an image.
pub(crate) fn gone_keys(part: u32, gone: Gone, to: &mut Vec<Image>) -> Result<(), FlowError> {
    let (mut waiting, mut n_waiting): (Gone, usize) = (vec![], 0);
    let mut put = |some: &mut Gone| -> Result<(), FlowError> {
        let n = some.iter().map(|(_, n)| n).sum();
        let n_columns = some.first().map_or(0, |(columns, _)| columns.len());
        let of = |c: usize| some.iter().map(|(columns, _)| columns[c].as_ref()).collect::<Vec<_>>();
        let columns = (0..n_columns).map(|c| concat(&of(c))).collect::<Result<Vec<_>, _>>()?;
        some.clear();
        to.push(Image::change(part, Step::Gone, vec![table(columns, n)?]));
        Ok(())
    };
    for some in gone {
        n_waiting += some.1;
        waiting.push(some);
        if n_waiting >= IMAGE_ROWS {
            put(&mut waiting)?;
            n_waiting = 0;
        }
    }
    if waiting.is_empty() { Ok(()) } else { put(&mut waiting) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn many_changes_are_sorted_by_bucket_and_each_is_there_once() {
        let mut index = GroupIndex::new(&[DataType::Int64]).unwrap();
        let keys: Vec<ArrayRef> = vec![int64(0..200_000)];
        let hashes = hash_columns(&keys, 200_000).unwrap();
        let mut ids = vec![];
        index.intern(&keys, &hashes, &mut ids, &mut vec![]).unwrap();
        let of = |some: &[u32], n: usize| changed(some, n, |bucket| index.bucket(bucket));
        let every: Vec<u32> = ids.iter().copied().step_by(2).collect();
        let pieces = of(&every, 200_000);
        let there: BTreeSet<u32> = pieces.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        assert_eq!(pieces.iter().map(|(_, ids)| ids.len()).sum::<usize>(), every.len());
        assert_eq!(there, every.iter().copied().collect());
        for (of, some) in &pieces {
            let Of::Bucket(bucket) = of else { panic!("{} ids are of no bucket", some.len()) };
            assert!(some.iter().all(|id| hash::bucket(hashes[*id as usize]) == usize::from(*bucket)));
        }
        // few, or few of what there is
        for pieces in [of(&every[..SORTED_IDS - 1], 200_000), of(&every, 9 * every.len())] {
            assert!(pieces.iter().all(|(of, ids)| *of == Of::All && ids.len() <= IMAGE_ROWS));
        }
        assert!(of(&[], 0).is_empty());
    }
}
