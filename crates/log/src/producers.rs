//! Who wrote what lately, so that a retry is recognised (promise I2).
//!
//! ```text
//!  producer ─▶ incarnation 7 │ sequences  ... 41 │ 42 43 44 45 │ 46 next
//!                            │  refused: too old │ remembered  │
//! ```
//!
//! Rules, in the order in which they are asked:
//! * an incarnation lower than the one seen is fenced; a higher one replaces it and begins at sequence 0;
//! * a remembered sequence is a duplicate: the first receipt again, whatever the rows (the name is trusted, contents are not compared);
//! * an older one is refused, never guessed;
//! * the next one is new; a gap is refused, because the lost one may still come, and storing it later would break the order.
//!
//! Bounded: `window` receipts a producer, `producers_max` producers. To remember another one, the producer silent for the longest is forgotten if it was silent
//! for `idle_ms`; otherwise the newcomer is refused. What is not promised: a producer that retries its sequence 0 after more than `idle_ms` may be stored twice.
//! The table is a function of the journal: every commit carries its producer, so recovery rebuilds it.

use std::collections::{BTreeMap, VecDeque};

use regauge_types::{Hlc, Lsn, TopicId};

use crate::LogError;
use crate::format::wire::{Input, Malformed, put_bytes, put_len, put_u64};
use crate::ledger::{ProducerTally, Tally};
use crate::model::{Committed, Placed, ProducerSeq, Skip};

/// Longest id of a producer, in bytes.
pub const ID_LEN_MAX: usize = 255;

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Receipts a producer; at least 1.
    pub window: usize,
    /// Producers; at least 1.
    pub producers_max: usize,
    /// A producer that is silent for this long may be forgotten when there are too many.
    pub idle_ms: u64,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    incarnation: u64,
    /// The next sequence; `recent` holds those just before it.
    next: u64,
    recent: VecDeque<Receipt>,
    /// By topic, what it stored and what it sent again, in all its incarnations.
    tallies: BTreeMap<TopicId, Tally>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Receipt {
    lsn: Lsn,
    hlc: Hlc,
    placed: Vec<Placed>,
}

/// What a producer's append is.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be stored.
    New,
    /// Stored before; this is its receipt.
    Duplicate(Committed),
}

/// Takes back a [`Producers::record`]. In the reverse order of the recordings only.
#[derive(Debug)]
pub struct Undo {
    id: String,
    /// The producer as it was, where it was replaced; otherwise its last receipt is taken off.
    replaced: Option<Option<Producer>>,
    dropped_receipt: Option<Receipt>,
    forgotten: Option<(String, Producer)>,
}

/// All producers that are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producers {
    bounds: Bounds,
    by_id: BTreeMap<String, Producer>,
}

impl Producer {
    fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.recent.len() as u64)
    }

    fn count(&mut self, placed: &[Placed]) {
        for placed in placed {
            let tally = self.tallies.entry(placed.topic).or_default();
            tally.stored = tally.stored.saturating_add(placed.n_rows);
        }
    }

    fn uncount(&mut self, placed: &[Placed]) {
        for placed in placed {
            self.take_off(placed.topic, Tally { stored: placed.n_rows, skipped: 0 });
        }
    }

    /// Nothing is kept of a topic that counts nothing: states are compared.
    fn take_off(&mut self, topic: TopicId, less: Tally) {
        let Some(tally) = self.tallies.get_mut(&topic) else { return };
        tally.stored = tally.stored.saturating_sub(less.stored);
        tally.skipped = tally.skipped.saturating_sub(less.skipped);
        if *tally == Tally::default() {
            self.tallies.remove(&topic);
        }
    }

    fn last_hlc(&self) -> Hlc {
        self.recent.back().map_or(Hlc::ZERO, |r| r.hlc)
    }
}

impl Producers {
    /// Nobody yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds: Bounds { window: bounds.window.max(1), producers_max: bounds.producers_max.max(1), ..bounds },
            by_id: BTreeMap::new(),
        }
    }

    /// What this append is, at wall time `now_ms`. Changes nothing.
    pub fn check(&self, seq: &ProducerSeq, now_ms: u64) -> Result<Verdict, LogError> {
        if seq.id.is_empty() || seq.id.len() > ID_LEN_MAX {
            return Err(LogError::BadTransaction {
                reason: format!("producer id must have 1 to {ID_LEN_MAX} bytes len={}", seq.id.len()),
            });
        }
        let known = self.by_id.get(&seq.id);
        if known.is_none() && self.by_id.len() >= self.bounds.producers_max {
            let idle_since = self.by_id.values().map(|p| p.last_hlc().ms()).min().unwrap_or(now_ms);
            if now_ms.saturating_sub(idle_since) < self.bounds.idle_ms {
                return Err(LogError::ProducersFull { max: self.bounds.producers_max });
            }
        }
        let same = known.filter(|p| p.incarnation >= seq.incarnation);
        if let Some(fence) = same.filter(|p| p.incarnation > seq.incarnation) {
            return Err(LogError::Fenced { producer: seq.id.clone(), incarnation: seq.incarnation, current: fence.incarnation });
        }
        let expected = same.map_or(0, |p| p.next);
        if seq.sequence >= expected {
            return if seq.sequence == expected {
                Ok(Verdict::New)
            } else {
                Err(LogError::SequenceGap { producer: seq.id.clone(), expected, got: seq.sequence })
            };
        }
        let oldest = same.map_or(0, Producer::oldest);
        let receipt = seq.sequence.checked_sub(oldest).and_then(|at| same?.recent.get(usize::try_from(at).ok()?));
        match receipt {
            Some(r) => Ok(Verdict::Duplicate(Committed { lsn: r.lsn, hlc: r.hlc, placed: r.placed.clone(), duplicate: true })),
            None => Err(LogError::BelowWindow { producer: seq.id.clone(), sequence: seq.sequence, oldest }),
        }
    }

    /// Remembers the receipt of an append that [`Producers::check`] found new. At recovery, where the bounds may have become
    /// smaller since, nothing is refused: the longest silent is forgotten.
    pub fn record(&mut self, seq: &ProducerSeq, lsn: Lsn, hlc: Hlc, placed: Vec<Placed>) -> Undo {
        let receipt = Receipt { lsn, hlc, placed };
        let mut undo = Undo { id: seq.id.clone(), replaced: None, dropped_receipt: None, forgotten: None };
        match self.by_id.get_mut(&seq.id).filter(|p| p.incarnation == seq.incarnation) {
            Some(producer) => {
                if producer.recent.len() >= self.bounds.window {
                    undo.dropped_receipt = producer.recent.pop_front();
                }
                producer.count(&receipt.placed);
                producer.recent.push_back(receipt);
                producer.next = seq.sequence.saturating_add(1);
            }
            None => {
                if !self.by_id.contains_key(&seq.id) && self.by_id.len() >= self.bounds.producers_max {
                    let silent = self.by_id.iter().min_by_key(|(_, p)| p.last_hlc()).map(|(id, _)| id.clone());
                    undo.forgotten = silent.and_then(|id| self.by_id.remove_entry(&id));
                }
                let mut producer = Producer {
                    incarnation: seq.incarnation,
                    next: seq.sequence.saturating_add(1),
                    recent: VecDeque::new(),
                    tallies: self.by_id.get(&seq.id).map(|before| before.tallies.clone()).unwrap_or_default(),
                };
                producer.count(&receipt.placed);
                producer.recent.push_back(receipt);
                undo.replaced = Some(self.by_id.insert(seq.id.clone(), producer));
            }
        }
        undo
    }

    /// Takes back the latest recording that was not taken back yet.
    pub fn undo(&mut self, undo: Undo) {
        match undo.replaced {
            Some(Some(before)) => {
                self.by_id.insert(undo.id, before);
            }
            Some(None) => {
                self.by_id.remove(&undo.id);
            }
            None => {
                if let Some(producer) = self.by_id.get_mut(&undo.id) {
                    if let Some(receipt) = producer.recent.pop_back() {
                        producer.uncount(&receipt.placed);
                    }
                    producer.next = producer.next.saturating_sub(1);
                    if let Some(receipt) = undo.dropped_receipt {
                        producer.recent.push_front(receipt);
                    }
                }
            }
        }
        self.by_id.extend(undo.forgotten);
    }

    /// Counts records of an append that was stored before. A producer that is not remembered any more has no tally.
    pub fn skip(&mut self, id: &str, skip: &Skip) {
        if let Some(producer) = self.by_id.get_mut(id) {
            let tally = producer.tallies.entry(skip.topic).or_default();
            tally.skipped = tally.skipped.saturating_add(skip.n_rows);
        }
    }

    /// Takes back a [`Producers::skip`].
    pub fn unskip(&mut self, id: &str, skip: &Skip) {
        if let Some(producer) = self.by_id.get_mut(id) {
            producer.take_off(skip.topic, Tally { stored: 0, skipped: skip.n_rows });
        }
    }

    /// What each one sent.
    #[must_use]
    pub fn tallies(&self) -> Vec<ProducerTally> {
        let of = |(id, p): (&String, &Producer)| ProducerTally {
            id: id.clone(),
            incarnation: p.incarnation,
            next: p.next,
            topics: p.tallies.clone(),
        };
        self.by_id.iter().map(of).collect()
    }

    /// Appends all producers.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_len(out, self.by_id.len());
        for (id, producer) in &self.by_id {
            put_bytes(out, id.as_bytes());
            put_u64(out, producer.incarnation);
            put_u64(out, producer.next);
            put_len(out, producer.recent.len());
            for receipt in &producer.recent {
                put_u64(out, receipt.lsn.0);
                put_u64(out, receipt.hlc.0);
                put_len(out, receipt.placed.len());
                for placed in &receipt.placed {
                    put_u64(out, u64::from(placed.topic.0));
                    put_u64(out, u64::from(placed.partition));
                    put_u64(out, placed.first_offset);
                    put_u64(out, placed.n_rows);
                }
            }
            put_len(out, producer.tallies.len());
            for (topic, tally) in &producer.tallies {
                put_u64(out, u64::from(topic.0));
                put_u64(out, tally.stored);
                put_u64(out, tally.skipped);
            }
        }
    }

    /// Reads what [`Producers::put`] wrote; without tallies as earlier releases did.
    pub fn take(input: &mut Input<'_>, bounds: Bounds, has_tallies: bool) -> Result<Self, Malformed> {
        let mut out = Self::new(bounds);
        for _ in 0..input.count()? {
            let id = input.text()?.to_owned();
            let (incarnation, next) = (input.u64()?, input.u64()?);
            let mut recent = VecDeque::new();
            for _ in 0..input.count()? {
                let (lsn, hlc) = (Lsn(input.u64()?), Hlc(input.u64()?));
                let placed = (0..input.count()?)
                    .map(|_| {
                        Ok(Placed {
                            topic: TopicId(input.u32()?),
                            partition: input.u32()?,
                            first_offset: input.u64()?,
                            n_rows: input.u64()?,
                        })
                    })
                    .collect::<Result<_, Malformed>>()?;
                recent.push_back(Receipt { lsn, hlc, placed });
            }
            let mut tallies = BTreeMap::new();
            for _ in 0..if has_tallies { input.count()? } else { 0 } {
                let topic = TopicId(input.u32()?);
                tallies.insert(topic, Tally { stored: input.u64()?, skipped: input.u64()? });
            }
            if recent.len() as u64 > next {
                return Err(Malformed::new("a producer has more receipts than sequences"));
            }
            while recent.len() > out.bounds.window {
                recent.pop_front();
            }
            out.by_id.insert(id, Producer { incarnation, next, recent, tallies });
        }
        Ok(out)
    }
}
