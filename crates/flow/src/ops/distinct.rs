//! DISTINCT: every row with a positive multiplicity, once.
//!
//! State: one count a distinct row. An append-only input needs none: a row is handed on when it is first seen, within the epoch.
//! Otherwise rows that crossed zero, seen from the epoch's start to its end, go out at its end. Rows are equal as PostgreSQL
//! groups (NULL = NULL, NaN = NaN, 0.0 = -0.0, `1 day` = `24 hours`) and go out in canonical form, so that what is retracted is what was sent.

mod spilled;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_state::{GroupIndex, Segments, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::{BUCKETS, hash_columns};

use super::dirty::Dirty;
use super::parts::{ROWS_MAX, Touched, diffs_of, emit, schema_of};
use crate::image::{Home, Image, Step, changed, forget, gone_keys, int64, of_bucket, table, types_of};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};

/// See the module's header.
pub struct Distinct {
    n_columns: usize,
    index: GroupIndex,
    append_only: bool,
    counts: Segments<i64>,
    touched: Touched,
    dirty: Dirty,
    /// Whether the row stood in the output at the epoch's start; parallel to `touched`.
    before: Vec<bool>,
    schema: SchemaRef,
    stats: OpStats,
}

impl Distinct {
    /// For rows of these types.
    pub fn new(types: &[DataType], append_only: bool) -> Result<Self, FlowError> {
        Ok(Distinct {
            n_columns: types.len(),
            index: GroupIndex::new(types)?,
            append_only,
            counts: Segments::default(),
            touched: Touched::default(),
            dirty: Dirty::default(),
            before: Vec::new(),
            schema: schema_of(types),
            stats: OpStats::default(),
        })
    }
}

impl Operator for Distinct {
    fn push(&mut self, _input: usize, delta: Delta, out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        let columns = canonical_keys(delta.rows.columns());
        let hashes = hash_columns(&columns, n)?;
        let (mut ids, mut created) = (Vec::new(), Vec::new());
        self.index.intern(&columns, &hashes, &mut ids, &mut created)?;
        self.stats.touched += n as u64;
        if self.append_only {
            self.stats.rows_out += created.len() as u64;
            self.dirty.mark(created.iter().copied());
            return emit(out, &self.schema, self.index.keys(&created)?, created.len(), None);
        }
        self.counts.grow(self.index.n_ids(), 0);
        let diffs = diffs_of(&delta);
        for (row, id) in ids.iter().enumerate() {
            let count = &mut self.counts[*id as usize];
            if self.touched.mark(*id) {
                self.before.push(*count > 0);
            }
            *count += diffs.map_or(1, |d| d[row]);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Out) -> Result<Finish, FlowError> {
        let (at, ids) = self.touched.next(ROWS_MAX);
        if ids.is_empty() {
            self.before.clear();
            return Ok(Finish::Done);
        }
        let (mut changed, mut diffs) = (Vec::new(), Vec::new());
        for (id, before) in ids.iter().zip(&self.before[at..]) {
            let count = self.counts[*id as usize];
            if count < 0 {
                return Err(FlowError::Negative { operator: "distinct", multiplicity: count });
            }
            let diff = i64::from(count > 0) - i64::from(*before);
            if diff != 0 {
                changed.push(*id);
                diffs.push(diff);
            }
        }
        self.stats.rows_out += changed.len() as u64;
        emit(out, &self.schema, self.index.keys(&changed)?, changed.len(), Some(diffs))?;
        self.dirty.mark(ids.iter().copied());
        let gone: Vec<u32> = ids.into_iter().filter(|id| self.counts[*id as usize] == 0).collect();
        self.dirty.gone(&gone, || self.index.keys(&gone))?;
        self.index.forget(&gone)?;
        Ok(Finish::More)
    }

    fn routing(&self, _input: usize) -> Routing {
        Routing::Hash((0..self.n_columns).collect())
    }

    fn stats(&self) -> OpStats {
        OpStats {
            state_rows: self.index.n_groups() as u64,
            state_bytes: (self.index.n_bytes() + self.counts.n_bytes() + self.touched.n_bytes() + self.dirty.n_bytes()) as u64,
            ..self.stats.clone()
        }
    }

    fn save(&self, _home: &Home, to: &mut Vec<Image>) -> Result<(), FlowError> {
        (0..BUCKETS).try_for_each(|bucket| self.save_bucket(bucket, to))
    }

    fn restore(&mut self, images: &[&Image]) -> Result<(), FlowError> {
        for image in images {
            let (columns, counts) = image.read().numbered(&types_of(&self.schema))?;
            let mut ids = Vec::new();
            self.index.intern(&columns, &hash_columns(&columns, counts.len())?, &mut ids, &mut Vec::new())?;
            if !self.append_only {
                self.counts.grow(self.index.n_ids(), 0);
                ids.iter().zip(counts).for_each(|(id, n)| self.counts[*id as usize] += n);
            }
        }
        Ok(())
    }

    fn track(&mut self) -> bool {
        self.dirty.start();
        true
    }

    fn save_bucket(&self, bucket: usize, to: &mut Vec<Image>) -> Result<(), FlowError> {
        for (bucket, ids) in of_bucket(&self.index, bucket) {
            to.push(Image::new(0, bucket, vec![self.table(&ids)?]));
        }
        Ok(())
    }

    fn save_changes(&mut self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let (ids, gone) = self.dirty.take();
        gone_keys(0, gone, to)?;
        for (of, ids) in changed(&ids, self.index.n_groups(), |bucket| self.index.bucket(bucket)) {
            to.push(Image { of, ..Image::change(0, Step::Changed, vec![self.table(&ids)?]) });
        }
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        for image in images {
            let mut tables = image.read();
            let (columns, counts) = if image.step == Step::Gone {
                let (columns, n) = tables.table(&types_of(&self.schema))?;
                (columns, vec![0; n])
            } else {
                tables.numbered(&types_of(&self.schema))?
            };
            let hashes = hash_columns(&columns, counts.len())?;
            let mut ids = Vec::new();
            self.index.intern(&columns, &hashes, &mut ids, &mut Vec::new())?;
            self.counts.grow(self.index.n_ids(), 0);
            let mut left = vec![];
            for ((id, n), hash) in ids.iter().zip(counts).zip(hashes) {
                let n = if mine(hash) { n } else { 0 };
                self.counts[*id as usize] = n;
                left.extend((n == 0).then_some(*id));
            }
            forget(&mut self.index, left)?;
        }
        Ok(())
    }
}

impl Distinct {
    fn table(&self, ids: &[u32]) -> Result<RecordBatch, FlowError> {
        let mut columns = self.index.keys(ids)?;
        columns.push(int64(ids.iter().map(|id| if self.append_only { 1 } else { self.counts[*id as usize] })));
        table(columns, ids.len())
    }
}
