//! Everything that the commit section needs to know, as of one lsn: topics, next offsets, producers, the last lsn and clock.
//!
//! It is a function of the journal's prefix. Each journal file begins with it (a `State` frame), so that recovery reads one file and files below can go; the
//! archive keeps it in its manifest for the same reason. A change gives back how to undo it, for commits that were ordered and then found no room on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use regauge_types::{Hlc, Lsn, SchemaId, TopicId};

use crate::LogError;
use crate::format::body::RawBody;
use crate::format::schema::{put_schema, put_topic, take_schema, take_topic};
use crate::format::wire::{Input, Malformed, put_len, put_u64};
use crate::ledger::{Ledger, Tally};
use crate::model::{Definition, Placed, ProducerSeq, Skip};
use crate::producers::{self, Bounds, Producers};
use crate::topics::{Topic, Topics};

const VERSION: u8 = 2;
/// Without what was skipped, and by whom.
const VERSION_WITHOUT_LEDGER: u8 = 1;

/// The log's state after a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct LogState {
    /// The last commit.
    pub lsn: Lsn,
    /// Its clock.
    pub hlc: Hlc,
    /// All topics.
    pub topics: Topics,
    /// All producers that are remembered.
    pub producers: Producers,
    /// By topic, the next offset of each partition.
    offsets: BTreeMap<TopicId, Vec<u64>>,
    /// By topic, records that were skipped; none where there are none.
    skipped: BTreeMap<TopicId, u64>,
}

/// How to take one change back. In reverse order only.
#[derive(Debug)]
pub enum Undo {
    /// A topic was put.
    Topic(TopicId, Option<Arc<Topic>>),
    /// Offsets were given out; this was the next one before.
    Offset(TopicId, u32, u64),
    /// A producer's append was recorded.
    Producer(producers::Undo),
    /// Records that a producer sent again were counted.
    Skipped(String, Skip),
    /// The last lsn and clock before.
    Last(Lsn, Hlc),
}

impl LogState {
    /// Before the first commit.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            lsn: Lsn::ZERO,
            hlc: Hlc::ZERO,
            topics: Topics::default(),
            producers: Producers::new(bounds),
            offsets: BTreeMap::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// What came of the records that were consumed, up to this state.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let topic = |(id, offsets): (&TopicId, &Vec<u64>)| {
            let stored = offsets.iter().fold(0u64, |sum, next| sum.saturating_add(*next));
            (*id, Tally { stored, skipped: self.skipped.get(id).copied().unwrap_or(0) })
        };
        Ledger { lsn: self.lsn, topics: self.offsets.iter().map(topic).collect(), producers: self.producers.tallies() }
    }

    /// Counts records of an append that its producer had stored before.
    pub fn skip(&mut self, producer: &ProducerSeq, skips: &[Skip], undo: &mut Vec<Undo>) {
        for skip in skips {
            let n = self.skipped.entry(skip.topic).or_default();
            *n = n.saturating_add(skip.n_rows);
            self.producers.skip(&producer.id, skip);
            undo.push(Undo::Skipped(producer.id.clone(), skip.clone()));
        }
    }

    /// Applies a definition, or changes nothing.
    pub fn define(&mut self, definition: &Definition, undo: &mut Vec<Undo>) -> Result<(), LogError> {
        let topic = self.topics.decide(definition)?;
        let (id, partitions) = (topic.spec.id, topic.spec.partitions);
        undo.push(Undo::Topic(id, self.topics.put(topic)));
        self.offsets.entry(id).or_insert_with(|| vec![0; partitions as usize]);
        Ok(())
    }

    /// The next offset of a partition; `None` if there is no such partition.
    #[must_use]
    pub fn next_offset(&self, topic: TopicId, partition: u32) -> Option<u64> {
        self.offsets.get(&topic)?.get(partition as usize).copied()
    }

    /// Gives out `n_rows` offsets; `None`, and nothing changed, if there is no such partition.
    pub fn place(&mut self, topic: TopicId, partition: u32, n_rows: u64, undo: &mut Vec<Undo>) -> Option<Placed> {
        let next = self.offsets.get_mut(&topic)?.get_mut(partition as usize)?;
        let first_offset = *next;
        *next = first_offset.checked_add(n_rows)?;
        undo.push(Undo::Offset(topic, partition, first_offset));
        Some(Placed { topic, partition, first_offset, n_rows })
    }

    /// Ends a commit: its lsn, clock and producer are now the last ones.
    pub fn finish(&mut self, lsn: Lsn, hlc: Hlc, producer: Option<&ProducerSeq>, placed: &[Placed], undo: &mut Vec<Undo>) {
        if let Some(seq) = producer {
            undo.push(Undo::Producer(self.producers.record(seq, lsn, hlc, placed.to_vec())));
        }
        undo.push(Undo::Last(self.lsn, self.hlc));
        (self.lsn, self.hlc) = (lsn, hlc);
    }

    /// Takes changes back, latest first.
    pub fn undo(&mut self, changes: Vec<Undo>) {
        for change in changes.into_iter().rev() {
            match change {
                Undo::Topic(id, before) => {
                    if before.is_none() {
                        self.offsets.remove(&id);
                    }
                    self.topics.restore(id, before);
                }
                Undo::Offset(topic, partition, first) => {
                    if let Some(next) = self.offsets.get_mut(&topic).and_then(|o| o.get_mut(partition as usize)) {
                        *next = first;
                    }
                }
                Undo::Producer(undo) => self.producers.undo(undo),
                Undo::Skipped(producer, skip) => {
                    let left = self.skipped.get(&skip.topic).map_or(0, |n| n.saturating_sub(skip.n_rows));
                    if left == 0 {
                        self.skipped.remove(&skip.topic)
                    } else {
                        self.skipped.insert(skip.topic, left)
                    };
                    self.producers.unskip(&producer, &skip);
                }
                Undo::Last(lsn, hlc) => (self.lsn, self.hlc) = (lsn, hlc),
            }
        }
    }

    /// Follows a commit read back from the journal. An error means that the commit cannot follow this state: the state is then of no use.
    pub fn replay(&mut self, lsn: Lsn, hlc: Hlc, body: &RawBody<&[u8]>) -> Result<(), Malformed> {
        let mut undo = Vec::new();
        for definition in &body.define {
            self.define(definition, &mut undo).map_err(|e| Malformed::new(e.to_string()))?;
        }
        let mut placed = Vec::with_capacity(body.parts.len());
        for part in &body.parts {
            let at = self.place(part.topic, part.partition, part.n_rows, &mut undo);
            match at {
                Some(p) if p.first_offset == part.first_offset => placed.push(p),
                other => {
                    let expected = other.map(|p| p.first_offset);
                    return Err(Malformed::new(format!(
                        "offsets do not follow topic={} partition={} expected={expected:?} found={}",
                        part.topic, part.partition, part.first_offset
                    )));
                }
            }
        }
        match &body.producer {
            Some(producer) if !body.skips.is_empty() => {
                if let Some(skip) = body.skips.iter().find(|skip| !self.offsets.contains_key(&skip.topic)) {
                    return Err(Malformed::new(format!("records of an unknown topic are skipped topic={}", skip.topic)));
                }
                self.skip(producer, &body.skips, &mut undo);
                self.finish(lsn, hlc, None, &placed, &mut undo);
            }
            producer => self.finish(lsn, hlc, producer.as_ref(), &placed, &mut undo),
        }
        Ok(())
    }

    /// The state's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_u64(&mut out, self.lsn.0);
        put_u64(&mut out, self.hlc.0);
        put_len(&mut out, self.topics.iter().count());
        for topic in self.topics.iter() {
            put_topic(&mut out, &topic.spec);
            out.push(u8::from(topic.dropped));
            put_len(&mut out, topic.schemas.len());
            for (id, schema) in &topic.schemas {
                put_u64(&mut out, u64::from(id.0));
                put_schema(&mut out, schema);
            }
            let offsets = self.offsets.get(&topic.spec.id).map_or(&[][..], Vec::as_slice);
            put_len(&mut out, offsets.len());
            offsets.iter().for_each(|next| put_u64(&mut out, *next));
            put_u64(&mut out, self.skipped.get(&topic.spec.id).copied().unwrap_or(0));
        }
        self.producers.put(&mut out);
        out
    }

    /// The newest version of its bytes that is read.
    pub const SUPPORTED: u32 = VERSION as u32;

    /// The version of a state that a newer release wrote.
    #[must_use]
    pub fn newer(bytes: &[u8]) -> Option<u32> {
        bytes.first().copied().filter(|version| *version > VERSION).map(u32::from)
    }

    /// Reads what [`LogState::to_bytes`] wrote. `bounds` are those of now.
    pub fn from_bytes(bytes: &[u8], bounds: Bounds) -> Result<Self, Malformed> {
        let mut input = Input::new(bytes);
        let has_ledger = match input.u8()? {
            VERSION => true,
            VERSION_WITHOUT_LEDGER => false,
            other => return Err(Malformed::new(format!("unknown version of the log state version={other} supported={VERSION}"))),
        };
        let mut state = Self::new(bounds);
        (state.lsn, state.hlc) = (Lsn(input.u64()?), Hlc(input.u64()?));
        for _ in 0..input.count()? {
            let spec = take_topic(&mut input)?;
            let dropped = input.u8()? != 0;
            let schemas = (0..input.count()?)
                .map(|_| Ok((SchemaId(input.u32()?), take_schema(&mut input)?)))
                .collect::<Result<BTreeMap<_, _>, Malformed>>()?;
            let offsets = (0..input.count()?).map(|_| input.u64()).collect::<Result<Vec<_>, _>>()?;
            if offsets.len() as u64 != u64::from(spec.partitions) || !schemas.contains_key(&spec.schema_id) {
                return Err(Malformed::new(format!("topic contradicts itself topic={}", spec.id)));
            }
            match if has_ledger { input.u64()? } else { 0 } {
                0 => {}
                skipped => drop(state.skipped.insert(spec.id, skipped)),
            }
            state.offsets.insert(spec.id, offsets);
            state.topics.put(Topic { spec, dropped, schemas });
        }
        state.producers = Producers::take(&mut input, bounds, has_ledger)?;
        input.end()?;
        Ok(state)
    }
}
