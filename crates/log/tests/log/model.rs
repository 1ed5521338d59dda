//! The log against a `Vec`: random transactions, producers, definitions, reopenings; what is read is what the model says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use proptest::prelude::*;
use regauge_log::testing::{Keep, SimDisk};
use regauge_log::{Append, Committed, Definition, Log, LogError, LogOptions, Transaction};
use regauge_types::{Lsn, TopicId};

use crate::common::*;

#[derive(Debug, Clone)]
enum Step {
    /// Appends of (topic, number of rows), perhaps with a partition, perhaps by a producer.
    Append {
        parts: Vec<(u32, usize, Option<u32>)>,
        producer: Option<(u8, u64, i64)>,
    },
    Define(u32, u32),
    Drop(u32),
    Reopen,
    Crash(u64),
    Read {
        after: u64,
        n: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let rows = prop_oneof![4 => 0..5_usize, 1 => 60..90_usize];
    let part = (0..5_u32, rows, prop::option::weighted(0.2, 0..4_u32));
    let producer = (0..3_u8, 1..3_u64, -2..3_i64);
    prop_oneof![
        12 => (prop::collection::vec(part, 0..4), prop::option::of(producer)).prop_map(|(parts, producer)| Step::Append { parts, producer }),
        2 => (0..5_u32, 1..4_u32).prop_map(|(topic, partitions)| Step::Define(topic, partitions)),
        1 => (0..5_u32).prop_map(Step::Drop),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(Step::Crash),
        2 => (0..40_u64, 0..40_u64).prop_map(|(after, n)| Step::Read { after, n }),
    ]
}

#[derive(Default)]
struct Model {
    commits: Vec<(Committed, Vec<i64>)>,
    /// Partitions; 0 once dropped.
    topics: HashMap<u32, u32>,
    offsets: HashMap<(u32, u32), u64>,
    producers: HashMap<u8, (u64, Vec<Committed>)>,
    next_id: i64,
}

enum Expected {
    New,
    Duplicate(Committed),
    Refused(fn(&LogError) -> bool),
}

const WINDOW: usize = 3;

impl Model {
    fn expect(&self, parts: &[(u32, usize, Option<u32>)], producer: Option<(u8, u64, u64)>) -> Expected {
        if let Some((id, incarnation, sequence)) = producer {
            let (current, receipts) = self.producers.get(&id).cloned().unwrap_or_default();
            let next = if incarnation == current { receipts.len() as u64 } else { 0 };
            if incarnation < current {
                return Expected::Refused(|e| matches!(e, LogError::Fenced { .. }));
            } else if sequence > next {
                return Expected::Refused(|e| matches!(e, LogError::SequenceGap { .. }));
            } else if sequence < next {
                return match receipts.len() - (sequence as usize) <= WINDOW {
                    true => Expected::Duplicate(receipts[sequence as usize].clone()),
                    false => Expected::Refused(|e| matches!(e, LogError::BelowWindow { .. })),
                };
            }
        }
        for (topic, _, partition) in parts {
            match self.topics.get(topic) {
                None => return Expected::Refused(|e| matches!(e, LogError::UnknownTopic { .. })),
                Some(0) => return Expected::Refused(|e| matches!(e, LogError::DroppedTopic { .. })),
                Some(partitions) if partition.is_some_and(|p| p >= *partitions) => {
                    return Expected::Refused(|e| matches!(e, LogError::PartitionOutOfRange { .. }));
                }
                Some(_) => {}
            }
        }
        Expected::New
    }

    fn take(&mut self, receipt: Committed, mut ids: Vec<i64>) {
        assert_eq!(receipt.lsn, Lsn(self.commits.len() as u64 + 1));
        assert!(self.commits.last().is_none_or(|(before, _)| before.hlc < receipt.hlc));
        for placed in &receipt.placed {
            let next = self.offsets.entry((placed.topic.0, placed.partition)).or_default();
            assert_eq!(placed.first_offset, *next);
            *next += placed.n_rows;
        }
        ids.sort_unstable();
        assert_eq!(receipt.placed.iter().map(|p| p.n_rows as usize).sum::<usize>(), ids.len());
        self.commits.push((receipt, ids));
    }

    fn check(&self, log: &Log, after: u64, n: u64) {
        let commits: Vec<_> = log.source().read(Lsn(after), Lsn(after + n), None).unwrap().collect::<Result<_, _>>().unwrap();
        let expected: Vec<_> = self.commits.iter().skip(after as usize).take(n as usize).collect();
        assert_eq!(commits.len(), expected.len());
        commits.iter().zip(expected).for_each(|(commit, (receipt, ids))| assert_same(commit, receipt, ids));
    }
}

fn run(steps: Vec<Step>) {
    let disk = SimDisk::new(1);
    let options = LogOptions { journal_file_bytes: 3000, tail_bytes: 1500, dedup_window: WINDOW, small_rows: 50, ..quiet() };
    let mut log = open(&sim(&disk), options.clone()).unwrap();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Append { parts, producer } => {
                let producer = producer.map(|(id, incarnation, from_next)| {
                    let next = model
                        .producers
                        .get(&id)
                        .filter(|(current, _)| *current == incarnation)
                        .map_or(0, |(_, receipts)| receipts.len());
                    (id, incarnation, (next as i64 + from_next.min(1)).max(0) as u64)
                });
                let mut ids = Vec::new();
                let appends = parts
                    .iter()
                    .map(|(topic, n, partition)| {
                        let new: Vec<i64> = (0..*n as i64).map(|n| model.next_id + n).collect();
                        model.next_id += *n as i64;
                        ids.extend(&new);
                        Append { topic: TopicId(*topic), partition: *partition, rows: rows(&new) }
                    })
                    .collect();
                let mut txn = Transaction { appends, ..Transaction::default() };
                if let Some((id, incarnation, sequence)) = producer {
                    txn = by(txn, &format!("p{id}"), incarnation, sequence);
                }
                match (model.expect(&parts, producer), log.commit(txn)) {
                    (Expected::New, Ok(receipt)) => {
                        assert!(!receipt.duplicate);
                        model.take(receipt.clone(), ids);
                        if let Some((id, incarnation, sequence)) = producer {
                            let entry = model.producers.entry(id).or_default();
                            if entry.0 != incarnation {
                                *entry = (incarnation, Vec::new());
                            }
                            assert_eq!(entry.1.len() as u64, sequence);
                            entry.1.push(receipt);
                        }
                    }
                    (Expected::Duplicate(first), Ok(again)) => assert_eq!(again, Committed { duplicate: true, ..first }),
                    (Expected::Refused(is), Err(error)) => assert!(is(&error), "{error}"),
                    (_, outcome) => panic!("not expected: {outcome:?}"),
                }
            }
            Step::Define(id, partitions) => {
                let outcome = log.commit(define(&[topic(id, partitions)]));
                if let Entry::Vacant(free) = model.topics.entry(id) {
                    free.insert(partitions);
                    model.take(outcome.unwrap(), vec![]);
                } else {
                    assert!(matches!(outcome, Err(LogError::BadDefinition { .. })));
                }
            }
            Step::Drop(id) => {
                let outcome =
                    log.commit(Transaction { define: vec![Definition::DropTopic(TopicId(id))], ..Transaction::default() });
                match model.topics.get_mut(&id) {
                    None => assert!(matches!(outcome, Err(LogError::UnknownTopic { .. }))),
                    Some(0) => assert!(matches!(outcome, Err(LogError::DroppedTopic { .. }))),
                    Some(partitions) => {
                        *partitions = 0;
                        model.take(outcome.unwrap(), vec![]);
                    }
                }
            }
            Step::Reopen | Step::Crash(_) => {
                drop(log);
                if let Step::Crash(seed) = step {
                    disk.reboot(Keep::Sectors(seed));
                }
                log = open(&sim(&disk), options.clone()).unwrap();
            }
            Step::Read { after, n } => model.check(&log, after, n),
        }
    }
    model.check(&log, 0, u64::from(u32::MAX));
    let from_tail = tail_all(&log).unwrap();
    assert_eq!(from_tail, all(&log).unwrap());
    let mut live: Vec<u32> = model.topics.iter().filter(|(_, p)| **p > 0).map(|(id, _)| *id).collect();
    live.sort_unstable();
    assert_eq!(log.topics().iter().map(|t| t.id.0).collect::<Vec<_>>(), live);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vec_of_commits(steps in prop::collection::vec(step(), 1..80)) {
        run(steps);
    }
}
