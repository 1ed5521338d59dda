//! What comes into a flow on one worker: its share of the past as an epoch or some, then its share of each epoch that is fed.
//!
//! Invariant: the rows of an epoch are given out before the next one begins; of another version's trace the changes between the
//! epoch before and this one, once it is complete there. A piece has at most 8,192 rows. Nothing here waits: whoever has nothing
//! yet says so, and is woken.

use super::{
    EngineError,
    ahead::{Ahead, Next},
    flow::{Fed, From, Source},
};
use regauge_state::trace::{RowError, TraceError};
use regauge_types::{Delta, Epoch};
use std::{collections::VecDeque, sync::Arc};

const ROWS_MAX: usize = 8192;

/// What the sources have now.
pub(super) enum Turn {
    /// Rows of source nodes.
    Rows(Vec<(usize, Delta)>),
    /// Nothing yet.
    Wait,
    /// All of the epoch was given out.
    End,
}

/// See the module's header.
pub(super) struct Intake {
    sources: Vec<Source>,
    ahead: Option<Arc<Ahead>>,
    pieces: VecDeque<(usize, Delta)>,
    pub errors: Vec<(RowError, i64)>,
    /// Sources whose trace was not looked at for this epoch.
    behind: Vec<usize>,
    /// All before and with this epoch was taken in.
    at: Option<Epoch>,
}

impl Intake {
    /// `at` is what was taken in before, by whoever saved the state that this goes on from.
    pub fn new(sources: Vec<Source>, ahead: Option<Arc<Ahead>>, at: Option<Epoch>) -> Intake {
        Intake { sources, ahead, pieces: VecDeque::new(), errors: vec![], behind: vec![], at }
    }

    /// How many parts of the past the epoch has that is to begin; `None` while that is not known.
    pub fn n_parts(&self) -> Result<Option<usize>, EngineError> {
        self.ahead.as_ref().map_or(Ok(Some(1)), |ahead| ahead.begin())
    }

    /// An epoch begins, with what was fed of it.
    pub fn begin(&mut self, (_, deltas): Fed) {
        let is_trace = |s: &Source| matches!(s.from, From::Trace { .. });
        self.behind = (0..self.sources.len()).filter(|i| is_trace(&self.sources[*i])).collect();
        for (i, source) in self.sources.iter().enumerate() {
            let From::Topic(topic) = source.from else { continue };
            let rows = deltas.iter().filter(|(t, d)| *t == topic && !d.is_empty());
            self.pieces.extend(rows.map(|(_, delta)| (i, delta.clone())));
        }
    }

    /// What there is of an epoch.
    pub fn turn(&mut self, epoch: Epoch) -> Result<Turn, EngineError> {
        loop {
            if let Some((source, delta)) = self.pieces.pop_front() {
                return self.rows(source, delta).map(Turn::Rows);
            }
            if let Some(ahead) = &self.ahead {
                match ahead.next()? {
                    Next::Rows(source, delta) => self.pieces.push_back((source, delta)),
                    Next::Wait => return Ok(Turn::Wait),
                    Next::Cut if self.behind.is_empty() => {
                        self.at = Some(epoch);
                        return Ok(Turn::End);
                    }
                    Next::Cut => return Err(EngineError::Past("it is cut, and another version is read beside it".to_owned())),
                    Next::End => self.ahead = None,
                }
                continue;
            }
            let Some(i) = self.behind.last().copied() else {
                self.at = Some(epoch);
                return Ok(Turn::End);
            };
            if !self.follow(i, epoch)? {
                return Ok(Turn::Wait);
            }
            self.behind.pop();
        }
    }

    /// One piece, in the layout of each node that reads it.
    fn rows(&mut self, source: usize, delta: Delta) -> Result<Vec<(usize, Delta)>, EngineError> {
        let n = delta.n_rows();
        if n > ROWS_MAX {
            self.pieces.push_front((source, delta.slice(ROWS_MAX, n - ROWS_MAX)));
        }
        let piece = if n > ROWS_MAX { delta.slice(0, ROWS_MAX) } else { delta };
        let Source { from, nodes } = &self.sources[source];
        let of = |layout: &super::layout::Layout| match from {
            From::Topic(_) => layout.of_topic(&piece),
            From::Trace { .. } => layout.of_version(&piece),
        };
        nodes.iter().map(|(node, layout)| Ok((*node, of(layout)?))).collect()
    }

    /// Takes the changes of another version up to an epoch in; false while it is not complete there.
    fn follow(&mut self, source: usize, epoch: Epoch) -> Result<bool, EngineError> {
        let From::Trace { version, reader, shards, pin } = &mut self.sources[source].from else { return Ok(true) };
        if let Some(why) = reader.failure() {
            return Err(EngineError::Upstream(TraceError::Failed(why)));
        }
        if reader.upper() < epoch {
            return Ok(false);
        }
        for shard in shards.iter() {
            for change in reader.follow(*shard, self.at, epoch).map_err(EngineError::Upstream)? {
                if !change.rows.is_empty() {
                    self.pieces.push_back((source, change.rows));
                }
                self.errors.extend(change.errors.into_iter().map(|(e, n)| (e.seen_from_above(*version), n)));
            }
        }
        pin.advance(epoch);
        Ok(true)
    }
}
