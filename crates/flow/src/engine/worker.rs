//! The thread of one version.
//!
//! Invariant: its inputs stand at `at`, and its trace shows exactly what the plan makes of them there. What it reads of another
//! version is pinned at `at`, so that the changes after it are there when they are asked for. Errors of a version that it reads
//! are errors of its own, until they are retracted there.

use super::{
    Counters, EngineError, History, NodeStats,
    layout::{Layout, under},
    queue::{Fed, Queue},
};
use crate::ops::Serial;
use arrow::datatypes::SchemaRef;
use regauge_plan::flowplan::{FlowPlan, SourceId};
use regauge_state::trace::{Pin, Publisher, TraceReader};
use regauge_types::{Delta, Epoch, TopicId};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

/// How long a wait for another version lasts before it is looked whether this one shall stop.
const LOOK: Duration = Duration::from_millis(50);

/// One source, read by one node or several.
pub(super) struct Input {
    pub from: Origin,
    pub nodes: Vec<Layout>,
}

pub(super) enum Origin {
    Topic { topic: TopicId, past: Option<Arc<dyn History>> },
    Trace { reader: TraceReader, pin: Pin },
}

pub(super) struct Worker {
    pub serial: Serial,
    pub plan: FlowPlan,
    pub schema: SchemaRef,
    pub inputs: Vec<Input>,
    pub publisher: Publisher,
    pub queue: Arc<Queue>,
    pub counters: Counters,
    pub at: Epoch,
}

/// What an epoch brings to the sources.
#[derive(Default)]
struct Taken {
    rows: Vec<(SourceId, Delta)>,
    errors: Vec<(String, i64)>,
}

impl Worker {
    /// Runs until the queue is closed or something fails, then tells readers why.
    pub fn run_to_the_end(mut self, reader: &TraceReader) {
        let why = match catch_unwind(AssertUnwindSafe(|| self.run())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => {
                let message =
                    panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                Some(format!("version panicked: {}", message.unwrap_or("no message")))
            }
        };
        if let Some(why) = why.filter(|_| !self.queue.is_closed()) {
            tracing::error!(%why, at = %self.at, "version fails");
            reader.fail(&why);
        }
        self.queue.close();
    }

    fn run(&mut self) -> Result<(), EngineError> {
        let Some(taken) = self.past()? else { return Ok(()) };
        self.step(self.at, taken)?;
        while let Some(fed) = self.queue.pop() {
            let epoch = fed.0;
            let Some(taken) = self.take(fed)? else { return Ok(()) };
            self.step(epoch, taken)?;
        }
        Ok(())
    }

    /// Everything up to `at`; none when told to stop.
    fn past(&mut self) -> Result<Option<Taken>, EngineError> {
        let mut taken = Taken::default();
        for input in &mut self.inputs {
            match &mut input.from {
                Origin::Topic { past, .. } => {
                    let Some(past) = past.take() else { continue };
                    for delta in past.open(0, 1) {
                        if self.queue.is_closed() {
                            return Ok(None);
                        }
                        let delta = delta.map_err(EngineError::Past)?;
                        for node in &input.nodes {
                            taken.rows.push((node.id, node.of_topic(&delta)?));
                        }
                    }
                }
                Origin::Trace { reader, .. } => {
                    if !reach(reader, self.at, &self.queue)? {
                        return Ok(None);
                    }
                    let snapshot = reader.snapshot(self.at).map_err(EngineError::Upstream)?;
                    for piece in snapshot.pieces() {
                        for node in &input.nodes {
                            taken.rows.push((node.id, node.of_version(piece)?));
                        }
                    }
                    taken.errors.extend_from_slice(snapshot.errors());
                }
            }
        }
        Ok(Some(taken))
    }

    /// What came after `at` up to the epoch; none when told to stop.
    fn take(&mut self, (epoch, deltas): Fed) -> Result<Option<Taken>, EngineError> {
        let mut taken = Taken::default();
        for input in &mut self.inputs {
            match &mut input.from {
                Origin::Topic { topic, .. } => {
                    for (_, delta) in deltas.iter().filter(|(t, _)| t == topic) {
                        for node in &input.nodes {
                            taken.rows.push((node.id, node.of_topic(delta)?));
                        }
                    }
                }
                Origin::Trace { reader, pin } => {
                    if !reach(reader, epoch, &self.queue)? {
                        return Ok(None);
                    }
                    for change in reader.changes(self.at, epoch).map_err(EngineError::Upstream)? {
                        for node in &input.nodes {
                            taken.rows.push((node.id, node.of_version(&change.rows)?));
                        }
                        taken.errors.extend(change.errors);
                    }
                    pin.advance(epoch);
                }
            }
        }
        Ok(Some(taken))
    }

    /// Runs the operators and publishes what they send.
    fn step(&mut self, epoch: Epoch, taken: Taken) -> Result<(), EngineError> {
        let step = self.serial.step(&taken.rows)?;
        let places: Vec<usize> = (0..self.schema.fields().len()).collect();
        for delta in &step.deltas {
            self.publisher.publish(epoch, under(&self.schema, delta, &places)?, vec![])?;
        }
        let mut errors = taken.errors;
        errors.extend(step.errors.into_iter().map(|(error, n)| (error.message, n)));
        if !errors.is_empty() {
            self.publisher.publish(epoch, Delta::empty(Arc::clone(&self.schema)), errors)?;
        }
        *self.counters.lock() = self.count();
        self.publisher.advance(epoch)?;
        self.at = epoch;
        Ok(())
    }

    fn count(&self) -> Vec<NodeStats> {
        let of = |(node, stats)| NodeStats { node, op: name(&self.plan, node), stats };
        (0..self.plan.nodes.len()).filter_map(|node| Some((node, self.serial.stats(node)?))).map(of).collect()
    }
}

/// Waits until another version is complete up to an epoch; false when told to stop.
fn reach(reader: &TraceReader, epoch: Epoch, queue: &Queue) -> Result<bool, EngineError> {
    while !queue.is_closed() {
        if reader.wait(epoch, LOOK).map_err(EngineError::Upstream)? >= epoch {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The operator's name: the first word of its text.
fn name(plan: &FlowPlan, node: usize) -> String {
    let text = plan.nodes.get(node).map(|n| format!("{:?}", n.op)).unwrap_or_default();
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}
