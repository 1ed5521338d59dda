//! Rows of one query that are gone over step by step: on, and back where they are kept.
//!
//! ```text
//!      before │ 1 │ 2 │ 3 │ .. │ n │ behind          at = 0 .. n + 1: the row that it stands on
//! ```
//! Invariant: FETCH and MOVE end where PostgreSQL's `DoPortalRunFetch` does: on the last row they gave, or behind (before) all rows
//! where there were fewer than wanted. Cost: forward only, one batch in memory beside what the query needs; where rows are kept,
//! those that were read so far, within the memory of one query (53200).

use crate::{
    error::{Error, Result},
    response::RowStream,
};
use arrow::{array::RecordBatch, array::UInt32Array, compute::take_record_batch};
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use parking_lot::Mutex;
use regauge_plan::parse::Direction;

/// Rows with a place among them.
pub(super) struct Scroll {
    /// Behind a lock only because a session is shared between threads by reference.
    source: Mutex<RowStream>,
    /// The source has ended.
    ended: bool,
    /// What has been read: all of it where rows are kept, else what is left of the last batch.
    read: Vec<RecordBatch>,
    /// Rows in `read`, and the number of those before them that are gone.
    n_read: usize,
    n_gone: usize,
    /// Memory of rows that are kept.
    kept: Option<MemoryReservation>,
    /// It may go back.
    scroll: bool,
    /// Where it stands.
    at: usize,
}

/// What a step gave.
#[derive(Default)]
pub(super) struct Taken {
    pub batches: Vec<RecordBatch>,
    pub n_rows: usize,
}

impl Scroll {
    /// Over these rows, before the first one. With `kept` they are kept on its account.
    pub(super) fn new(source: RowStream, scroll: bool, kept: Option<MemoryReservation>) -> Scroll {
        let source = Mutex::new(source);
        Scroll { source, ended: false, read: vec![], n_read: 0, n_gone: 0, kept, scroll, at: 0 }
    }

    /// Whether it stands behind all rows.
    pub(super) fn is_behind(&self) -> bool {
        self.ended && self.at > self.n_gone + self.n_read
    }

    /// Reads all rows, so that nothing but they is held.
    pub(super) async fn read_all(&mut self) -> Result<()> {
        self.read_up_to(usize::MAX).await?;
        *self.source.get_mut() = futures::stream::empty().boxed();
        Ok(())
    }

    /// Goes there, and gives the rows that FETCH shows. With `blind` they are only counted.
    pub(super) async fn go(&mut self, direction: Direction, blind: bool) -> Result<Taken> {
        match direction {
            Direction::Forward(n) => self.forward(n.map_or(usize::MAX, many), blind).await,
            Direction::Backward(n) => self.backward(n.map_or(usize::MAX, many)),
            Direction::Relative(0) => self.again(blind),
            Direction::Relative(n) if n > 0 => self.one_on(many(n.unsigned_abs())).await,
            Direction::Relative(n) => self.one_back(many(n.unsigned_abs())),
            Direction::Absolute(n) if n >= 0 => {
                let n = many(n.unsigned_abs());
                if n > self.at {
                    return self.one_on(n - self.at).await;
                }
                if self.at > 0 {
                    self.need_scroll()?;
                }
                self.at = 0;
                if n == 0 { Ok(Taken::default()) } else { self.one_on(n).await }
            }
            Direction::Absolute(n) => {
                self.need_scroll()?;
                self.read_up_to(usize::MAX).await?;
                self.at = self.n_read + 1;
                self.one_back(many(n.unsigned_abs()))
            }
        }
    }

    /// The row that is `n` rows on.
    async fn one_on(&mut self, n: usize) -> Result<Taken> {
        self.forward(n - 1, true).await?;
        self.forward(1, false).await
    }

    /// The row that is `n` rows back.
    fn one_back(&mut self, n: usize) -> Result<Taken> {
        self.backward(n - 1)?;
        self.backward(1)
    }

    /// The row that it stands on.
    fn again(&mut self, blind: bool) -> Result<Taken> {
        let on_row = self.at > 0 && self.at <= self.n_gone + self.n_read;
        match (on_row, blind) {
            (false, _) => Ok(Taken::default()),
            (true, true) => Ok(Taken { batches: vec![], n_rows: 1 }),
            (true, false) => {
                self.need_scroll()?;
                Ok(self.slice(self.at - 1, self.at))
            }
        }
    }

    async fn forward(&mut self, n: usize, blind: bool) -> Result<Taken> {
        let wanted = self.at.saturating_add(n);
        if self.kept.is_some() {
            self.read_up_to(wanted).await?;
            let from = self.at.min(self.n_read);
            let to = wanted.min(self.n_read);
            self.at = if wanted > self.n_read { self.n_read + 1 } else { wanted };
            return Ok(if from < to { self.slice(from, to) } else { Taken::default() });
        }
        let mut taken = Taken::default();
        while taken.n_rows < n {
            if self.read.is_empty() && !self.pull().await? {
                break;
            }
            let Some(batch) = self.read.pop() else { break };
            let rows = batch.num_rows();
            let part = rows.min(n - taken.n_rows);
            if part < rows {
                self.read.push(batch.slice(part, rows - part));
            }
            self.n_read -= part;
            self.n_gone += part;
            taken.n_rows += part;
            if !blind {
                taken.batches.push(batch.slice(0, part));
            }
        }
        self.at = if taken.n_rows < n { self.n_gone + 1 } else { wanted };
        Ok(taken)
    }

    fn backward(&mut self, n: usize) -> Result<Taken> {
        if n == 0 {
            return Ok(Taken::default());
        }
        self.need_scroll()?;
        let (from, to) = (self.at.saturating_sub(n.saturating_add(1)), self.at.saturating_sub(1));
        self.at = self.at.saturating_sub(n);
        let rows = self.slice(from, to);
        let reversed = |batch: &RecordBatch| {
            let rows = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
            take_record_batch(batch, &UInt32Array::from_iter_values((0..rows).rev())).map_err(Error::arrow)
        };
        let batches = rows.batches.iter().rev().map(reversed).collect::<Result<Vec<_>>>()?;
        Ok(Taken { batches, n_rows: rows.n_rows })
    }

    fn need_scroll(&self) -> Result<()> {
        if self.scroll {
            return Ok(());
        }
        let error = Error::invalid("55000", "cursor can only scan forward");
        Err(error.hint("Declare it with SCROLL option to enable backward scan."))
    }

    /// Rows `from .. to` of those that are kept, counted from 0.
    fn slice(&self, from: usize, to: usize) -> Taken {
        let mut taken = Taken::default();
        let mut first = 0;
        for batch in &self.read {
            let rows = batch.num_rows();
            let (start, end) = (from.max(first), to.min(first + rows));
            if start < end {
                taken.batches.push(batch.slice(start - first, end - start));
                taken.n_rows += end - start;
            }
            first += rows;
        }
        taken
    }

    async fn read_up_to(&mut self, wanted: usize) -> Result<()> {
        while self.n_read < wanted && self.pull().await? {}
        Ok(())
    }

    /// Reads one batch more, if there is one.
    async fn pull(&mut self) -> Result<bool> {
        while !self.ended {
            let Some(batch) = self.source.get_mut().next().await else {
                self.ended = true;
                break;
            };
            let batch = batch?;
            if batch.num_rows() == 0 {
                continue;
            }
            if let Some(kept) = &mut self.kept {
                kept.try_grow(batch.get_array_memory_size()).map_err(Error::from_datafusion)?;
            }
            self.n_read += batch.num_rows();
            self.read.push(batch);
            return Ok(true);
        }
        Ok(false)
    }
}

/// As many as there may be.
fn many(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::{
        array::{AsArray, Int32Array},
        datatypes::Int32Type,
    };
    use std::sync::Arc;

    /// Rows 1 to n, in batches of these sizes.
    fn over(sizes: &[i32], scroll: bool) -> Scroll {
        let mut next = 1;
        let mut batch = |n: &i32| {
            let rows = Int32Array::from_iter_values(next..next + n);
            next += n;
            RecordBatch::try_from_iter([("n", Arc::new(rows) as _)]).map_err(Error::arrow)
        };
        let batches: Vec<_> = sizes.iter().map(&mut batch).collect();
        let pool: Arc<dyn datafusion::execution::memory_pool::MemoryPool> =
            Arc::new(datafusion::execution::memory_pool::GreedyMemoryPool::new(1 << 20));
        let account = datafusion::execution::memory_pool::MemoryConsumer::new("test").register(&pool);
        Scroll::new(futures::stream::iter(batches).boxed(), scroll, scroll.then_some(account))
    }

    async fn step(rows: &mut Scroll, direction: Direction) -> std::result::Result<Vec<i32>, String> {
        let taken = rows.go(direction, false).await.map_err(|e| e.sqlstate.to_owned())?;
        let values = |b: &RecordBatch| b.column(0).as_primitive::<Int32Type>().values().to_vec();
        let values: Vec<i32> = taken.batches.iter().flat_map(values).collect();
        assert_eq!(values.len(), taken.n_rows);
        Ok(values)
    }

    /// What PostgreSQL 15 answers to the same steps over `generate_series(1, 7)`.
    #[tokio::test]
    async fn every_direction_ends_where_postgres_ends() {
        use Direction::{Absolute, Backward, Forward, Relative};
        let mut rows = over(&[3, 0, 2, 2], true);
        let steps: [(Direction, &[i32]); 26] = [
            (Backward(Some(1)), &[]),
            (Relative(0), &[]),
            (Forward(Some(2)), &[1, 2]),
            (Relative(0), &[2]),
            (Backward(Some(1)), &[1]),
            (Backward(Some(1)), &[]),
            (Forward(Some(1)), &[1]),
            (Absolute(-1), &[7]),
            (Forward(Some(1)), &[]),
            (Backward(Some(3)), &[7, 6, 5]),
            (Relative(-2), &[3]),
            (Relative(3), &[6]),
            (Relative(9), &[]),
            (Relative(0), &[]),
            (Backward(None), &[7, 6, 5, 4, 3, 2, 1]),
            (Forward(Some(1)), &[1]),
            (Absolute(4), &[4]),
            (Absolute(4), &[4]),
            (Absolute(2), &[2]),
            (Absolute(-7), &[1]),
            (Absolute(-8), &[]),
            (Forward(Some(1)), &[1]),
            (Absolute(0), &[]),
            (Forward(None), &[1, 2, 3, 4, 5, 6, 7]),
            (Absolute(8), &[]),
            (Backward(Some(1)), &[7]),
        ];
        for (at, (direction, wanted)) in steps.into_iter().enumerate() {
            assert_eq!(step(&mut rows, direction).await.as_deref(), Ok(wanted), "step {at}: {direction:?}");
        }
    }

    #[tokio::test]
    async fn what_keeps_nothing_goes_forward_only() {
        use Direction::{Absolute, Backward, Forward, Relative};
        let mut rows = over(&[3, 4], false);
        assert_eq!(step(&mut rows, Forward(Some(2))).await.as_deref(), Ok(&[1, 2][..]));
        assert_eq!(step(&mut rows, Absolute(5)).await.as_deref(), Ok(&[5][..]));
        for back in [Backward(Some(1)), Relative(-1), Relative(0), Absolute(1), Absolute(-1)] {
            assert_eq!(step(&mut rows, back).await, Err("55000".to_owned()), "{back:?}");
        }
        assert!(!rows.is_behind());
        assert_eq!(step(&mut rows, Forward(Some(2))).await.as_deref(), Ok(&[6, 7][..]));
        assert!(!rows.is_behind(), "nobody has looked behind the last row");
        assert_eq!(step(&mut rows, Forward(None)).await.as_deref(), Ok(&[][..]));
        assert!(rows.is_behind());
    }
}
