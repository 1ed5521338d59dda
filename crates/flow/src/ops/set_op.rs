//! INTERSECT and EXCEPT, with and without ALL: one pair of counts a distinct row, one from each input.
//!
//! ```text
//! f(l, r):   intersect all  min(l, r)      except all  max(l - r, 0)      without all: 1 where l > 0 and r > 0  (r = 0)
//! ```
//! The output's multiplicity of a row is f of its two counts, so the change of an epoch is f at its end minus f at its start,
//! sent at its end. Equality and canonical form are those of DISTINCT.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use regauge_plan::flowplan::SetOpKind;
use regauge_state::{GroupIndex, Segments, canonical_keys};
use regauge_types::Delta;
use regauge_types::hash::{BUCKETS, hash_columns};

use super::dirty::Dirty;
use super::parts::{ROWS_MAX, Touched, diffs_of, emit, schema_of};
use crate::image::{Home, Image, Step, changed, forget, gone_keys, int64, of_bucket, table, types_of};
use crate::operator::{Finish, FlowError, Mine, OpStats, Operator, Out, Routing};

/// See the module's header.
pub struct SetOp {
    kind: SetOpKind,
    all: bool,
    n_columns: usize,
    index: GroupIndex,
    counts: Segments<[i64; 2]>,
    touched: Touched,
    dirty: Dirty,
    /// f at the epoch's start; parallel to `touched`.
    before: Vec<i64>,
    schema: SchemaRef,
    stats: OpStats,
}

impl SetOp {
    /// For rows of these types on both inputs.
    pub fn new(kind: SetOpKind, all: bool, types: &[DataType]) -> Result<Self, FlowError> {
        Ok(SetOp {
            kind,
            all,
            n_columns: types.len(),
            index: GroupIndex::new(types)?,
            counts: Segments::default(),
            touched: Touched::default(),
            dirty: Dirty::default(),
            before: Vec::new(),
            schema: schema_of(types),
            stats: OpStats::default(),
        })
    }

    fn multiplicity(kind: SetOpKind, all: bool, [left, right]: [i64; 2]) -> i64 {
        match (kind, all) {
            (SetOpKind::Intersect, true) => left.min(right).max(0),
            (SetOpKind::Intersect, false) => i64::from(left > 0 && right > 0),
            (SetOpKind::Except, true) => (left.max(0) - right.max(0)).max(0),
            (SetOpKind::Except, false) => i64::from(left > 0 && right <= 0),
        }
    }
}

impl Operator for SetOp {
    fn push(&mut self, input: usize, delta: Delta, _out: &mut Out) -> Result<(), FlowError> {
        let n = delta.n_rows();
        self.stats.rows_in += n as u64;
        self.stats.touched += n as u64;
        let columns = canonical_keys(delta.rows.columns());
        let hashes = hash_columns(&columns, n)?;
        let mut ids = Vec::new();
        self.index.intern(&columns, &hashes, &mut ids, &mut Vec::new())?;
        self.counts.grow(self.index.n_ids(), [0; 2]);
        let diffs = diffs_of(&delta);
        for (row, id) in ids.iter().enumerate() {
            let counts = &mut self.counts[*id as usize];
            if self.touched.mark(*id) {
                self.before.push(Self::multiplicity(self.kind, self.all, *counts));
            }
            counts[input] += diffs.map_or(1, |d| d[row]);
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
            let counts = self.counts[*id as usize];
            if let Some(multiplicity) = counts.into_iter().find(|c| *c < 0) {
                return Err(FlowError::Negative { operator: "set operation", multiplicity });
            }
            let diff = Self::multiplicity(self.kind, self.all, counts) - before;
            if diff != 0 {
                changed.push(*id);
                diffs.push(diff);
            }
        }
        self.stats.rows_out += changed.len() as u64;
        emit(out, &self.schema, self.index.keys(&changed)?, changed.len(), Some(diffs))?;
        self.dirty.mark(ids.iter().copied());
        let gone: Vec<u32> = ids.into_iter().filter(|id| self.counts[*id as usize] == [0; 2]).collect();
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
            let mut tables = image.read();
            let (columns, n) = tables.table(&types_of(&self.schema))?;
            let [left, right] = tables.numbers()?;
            let mut ids = Vec::new();
            self.index.intern(&columns, &hash_columns(&columns, n)?, &mut ids, &mut Vec::new())?;
            self.counts.grow(self.index.n_ids(), [0; 2]);
            for (id, (l, r)) in ids.iter().zip(left.into_iter().zip(right)) {
                let counts = &mut self.counts[*id as usize];
                (counts[0], counts[1]) = (counts[0] + l, counts[1] + r);
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
            to.push(Image::new(0, bucket, self.tables(&ids)?));
        }
        Ok(())
    }

    fn save_changes(&mut self, to: &mut Vec<Image>) -> Result<(), FlowError> {
        let (ids, gone) = self.dirty.take();
        gone_keys(0, gone, to)?;
        for (of, ids) in changed(&ids, self.index.n_groups(), |bucket| self.index.bucket(bucket)) {
            to.push(Image { of, ..Image::change(0, Step::Changed, self.tables(&ids)?) });
        }
        Ok(())
    }

    fn restore_changes(&mut self, images: &[&Image], mine: &Mine<'_>) -> Result<(), FlowError> {
        for image in images {
            let mut tables = image.read();
            let (columns, n) = tables.table(&types_of(&self.schema))?;
            let sides = if image.step == Step::Gone { [vec![0; n], vec![0; n]] } else { tables.numbers()? };
            let hashes = hash_columns(&columns, n)?;
            let (mut ids, mut left) = (Vec::new(), vec![]);
            self.index.intern(&columns, &hashes, &mut ids, &mut Vec::new())?;
            self.counts.grow(self.index.n_ids(), [0; 2]);
            for (at, (id, hash)) in ids.iter().zip(hashes).enumerate() {
                let counts = if mine(hash) { [sides[0][at], sides[1][at]] } else { [0; 2] };
                self.counts[*id as usize] = counts;
                left.extend((counts == [0; 2]).then_some(*id));
            }
            forget(&mut self.index, left)?;
        }
        Ok(())
    }
}

impl SetOp {
    fn tables(&self, ids: &[u32]) -> Result<Vec<RecordBatch>, FlowError> {
        let side = |i: usize| int64(ids.iter().map(move |id| self.counts[*id as usize][i]));
        Ok(vec![table(self.index.keys(ids)?, ids.len())?, table(vec![side(0), side(1)], ids.len())?])
    }
}
