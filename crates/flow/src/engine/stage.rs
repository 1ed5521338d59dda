//! The operators of one stage on one worker, epoch by epoch, by direct calls.
//!
//! Invariant: what a node sends is pushed to the nodes of the stage at once, and handed out for later stages; nodes are finished
//! in the plan's order, so a node is finished after all that sends to it. A call does bounded work: one delta carried through
//! the stage, or one slice of one node's end of epoch. It does not know epochs' numbers, timely, or other workers.

use super::{
    EngineError,
    layout::under,
    saving::{Given, NodeImages, Part},
    shape::{Shape, Wire},
    since::Since,
    spread::{Crew, Spreader},
};
use crate::image::{Home, Image};
use crate::operator::{Failed, Finish, FlowError, OpStats, Operator, Out};
use arrow::datatypes::SchemaRef;
use regauge_state::N_BUCKETS;
use regauge_state::trace::{Publisher, RowError};
use regauge_types::env::Clock;
use regauge_types::{Delta, Epoch};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Rows for a node of a later stage.
pub(super) struct Sent {
    pub port: usize,
    pub to: usize,
    pub node: usize,
    pub input: usize,
    pub delta: Delta,
}

/// What calls left to be done by the caller.
#[derive(Default)]
pub(super) struct Effects {
    pub sent: Vec<Sent>,
    pub errors: Vec<(RowError, i64)>,
    /// Rows pushed and sent, a measure of the work.
    pub n_rows: usize,
}

/// The published end of a plan.
pub(super) struct Output {
    pub publisher: Publisher,
    pub schema: SchemaRef,
    /// What was published since a save.
    pub since: Since,
}

struct Node {
    node: usize,
    /// None for a source and for the output.
    operator: Option<Box<dyn Operator>>,
    finished_here: bool,
    busy: Duration,
    wires: Vec<Wire>,
    home: Home,
    saved: Copied,
}

/// What of a node was saved.
enum Copied {
    Nothing,
    /// Whole, as it was after the save of this number, when the node had done so much: it does not remember changes.
    Whole(u64, [u64; 3]),
    /// It remembers changes; buckets below `next` are copied, between epochs.
    Walked {
        next: usize,
        images: Vec<Image>,
    },
    /// It remembers changes since the save of this number.
    Changes(u64),
}

impl Node {
    /// One more bucket; whether one was left.
    fn walk(&mut self) -> Result<bool, FlowError> {
        let Some(operator) = &mut self.operator else { return Ok(false) };
        if matches!(self.saved, Copied::Nothing) && operator.track() {
            self.saved = Copied::Walked { next: 0, images: vec![] };
        }
        let Copied::Walked { next, images } = &mut self.saved else { return Ok(false) };
        if *next == N_BUCKETS {
            return Ok(false);
        }
        operator.save_bucket(*next, images)?;
        *next += 1;
        Ok(true)
    }

    fn save(&mut self, no: u64, base: Option<u64>) -> Result<Option<Given>, FlowError> {
        let copied = std::mem::replace(&mut self.saved, Copied::Nothing);
        let Some(operator) = &mut self.operator else { return Ok(None) };
        let stats = operator.stats();
        let done = [stats.rows_in, stats.rows_out, stats.touched];
        match copied {
            Copied::Changes(of) if base == Some(of) => {
                let mut images = vec![];
                operator.save_changes(&mut images)?;
                self.saved = Copied::Changes(no);
                return Ok(Some(Given::Changes(images)));
            }
            Copied::Whole(of, had_done) if base == Some(of) && done == had_done => {
                self.saved = Copied::Whole(no, done);
                return Ok(Some(Given::Same));
            }
            // a walk is begun for the first save, and whoever asked for it has nothing of the node
            Copied::Walked { next, mut images } if base.is_none() => {
                (next..N_BUCKETS).try_for_each(|bucket| operator.save_bucket(bucket, &mut images))?;
                operator.save_changes(&mut images)?;
                self.saved = Copied::Changes(no);
                return Ok(Some(Given::Whole(images)));
            }
            _ => {}
        }
        if let Some(copied) = operator.copy()? {
            self.saved = Copied::Whole(no, done);
            return Ok(Some(Given::Copied(Arc::new(copied))));
        }
        let mut images = vec![];
        operator.save(&self.home, &mut images)?;
        self.saved = if operator.track() { Copied::Changes(no) } else { Copied::Whole(no, done) };
        Ok(Some(Given::Whole(images)))
    }
}

/// What failed in a node, as the trace keeps it.
fn errors_of(node: usize, failed: Vec<(Failed, i64)>) -> impl Iterator<Item = (RowError, i64)> {
    failed.into_iter().map(move |(f, diff)| (RowError::new(f.error.sqlstate, f.error.message, node, f.row), diff))
}

/// See the module's header.
pub(super) struct Stage {
    nodes: Vec<Node>,
    at: HashMap<usize, usize>,
    output_node: usize,
    output: Option<Output>,
    crew: Crew,
    spreader: Spreader,
    clock: Arc<dyn Clock>,
    closing: usize,
}

impl Stage {
    /// The stage `level` of a cut plan; operators by node, taken out of `operators`.
    pub fn new(
        shape: &Shape,
        level: usize,
        operators: &mut [Option<Box<dyn Operator>>],
        output: Option<Output>,
        crew: Crew,
        clock: Arc<dyn Clock>,
    ) -> Stage {
        let node = |node: &usize| Node {
            node: *node,
            operator: operators.get_mut(*node).and_then(Option::take),
            finished_here: !shape.on_one.get(*node).copied().unwrap_or(false) || crew.me == crew.one,
            busy: Duration::ZERO,
            wires: shape.wires[*node].clone(),
            home: shape.homes[*node].clone(),
            saved: Copied::Nothing,
        };
        let nodes: Vec<Node> = shape.stages[level].iter().map(node).collect();
        let at = nodes.iter().enumerate().map(|(i, n)| (n.node, i)).collect();
        let output_node = shape.wires.len() - 1;
        Stage { nodes, at, output_node, output, crew, spreader: Spreader::default(), clock, closing: 0 }
    }

    /// Rows of a source of this stage.
    pub fn push_source(&mut self, epoch: u64, node: usize, delta: Delta, fx: &mut Effects) -> Result<(), EngineError> {
        let mut work = vec![];
        self.forward(node, delta, &mut work, fx)?;
        self.carry(epoch, work, fx)
    }

    /// Rows for an input of a node of this stage.
    pub fn push(&mut self, epoch: u64, node: usize, input: usize, delta: Delta, fx: &mut Effects) -> Result<(), EngineError> {
        self.carry(epoch, vec![(node, input, delta)], fx)
    }

    /// The epoch has no more input: one slice of its end; true when all nodes are done.
    pub fn finish(&mut self, epoch: u64, fx: &mut Effects) -> Result<bool, EngineError> {
        while self.closing < self.nodes.len() {
            let node = &mut self.nodes[self.closing];
            let (name, mut more) = (node.node, false);
            if let Some(operator) = node.operator.as_mut().filter(|_| node.finished_here) {
                let (mut out, began) = (Out::default(), self.clock.steady());
                more = operator.finish(&mut out)? == Finish::More;
                node.busy += self.clock.steady().saturating_sub(began);
                self.absorb(epoch, name, out, fx)?;
            }
            if more {
                return Ok(false);
            }
            self.closing += 1;
        }
        self.closing = 0;
        Ok(true)
    }

    /// Ends the epoch in the published trace, if this stage has it.
    pub fn publish(&mut self, epoch: u64, errors: Vec<(RowError, i64)>) -> Result<bool, EngineError> {
        let Some(output) = &mut self.output else { return Ok(false) };
        if !errors.is_empty() {
            let none = Delta::empty(output.schema.clone());
            output.publisher.publish(Epoch(epoch), none, errors)?;
        }
        output.publisher.advance(Epoch(epoch))?;
        Ok(true)
    }

    /// What its operators keep, between epochs; `base` is the save before that the caller still has.
    pub fn save(&mut self, no: u64, base: Option<u64>) -> Result<Part, FlowError> {
        let began = self.clock.steady();
        let mut nodes = vec![];
        for node in self.nodes.iter_mut().filter(|n| n.finished_here) {
            let Some(given) = node.save(no, base)? else { continue };
            nodes.push(NodeImages { node: node.node, worker: self.crew.me, given });
        }
        let rows = match &mut self.output {
            Some(output) => Some(output.since.take(no, base)),
            None => None,
        };
        Ok(Part { nodes, rows, pause: (self.crew.me, self.clock.steady().saturating_sub(began)) })
    }

    /// The operators were filled with what the save of this number had: changes since it will do.
    pub fn goes_on_from(&mut self, no: u64) {
        for node in self.nodes.iter_mut().filter(|n| n.finished_here) {
            if node.operator.as_mut().is_some_and(|o| o.track()) {
                node.saved = Copied::Changes(no);
            }
        }
        if let Some(output) = &mut self.output {
            output.since.begin(no);
        }
    }

    /// Whoever asks for saves has none: copying begins anew.
    pub fn forget_saved(&mut self) {
        self.nodes.iter_mut().for_each(|n| n.saved = Copied::Nothing);
    }

    /// Copies one more bucket of one operator ahead of the first save; whether there are more.
    pub fn walk(&mut self) -> Result<bool, FlowError> {
        for node in self.nodes.iter_mut().filter(|n| n.finished_here) {
            if node.walk()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counters of its operators, by node.
    pub fn stats(&self) -> impl Iterator<Item = (usize, OpStats)> + '_ {
        self.nodes.iter().filter_map(|n| Some((n.node, OpStats { busy: n.busy, ..n.operator.as_ref()?.stats() })))
    }

    fn carry(&mut self, epoch: u64, mut work: Vec<(usize, usize, Delta)>, fx: &mut Effects) -> Result<(), EngineError> {
        while let Some((node, input, delta)) = work.pop() {
            fx.n_rows += delta.n_rows();
            if node == self.output_node {
                if let Some(output) = &mut self.output {
                    let places: Vec<usize> = (0..output.schema.fields().len()).collect();
                    let rows = under(&output.schema, &delta, &places)?;
                    output.since.note(&rows)?;
                    output.publisher.publish(Epoch(epoch), rows, vec![])?;
                }
                continue;
            }
            let Some(of_node) = self.at.get(&node).map(|i| &mut self.nodes[*i]) else { continue };
            let Some(operator) = of_node.operator.as_mut() else { continue };
            let (mut out, began) = (Out::default(), self.clock.steady());
            operator.push(input, delta, &mut out)?;
            of_node.busy += self.clock.steady().saturating_sub(began);
            fx.errors.extend(errors_of(node, out.errors));
            for delta in out.deltas {
                self.forward(node, delta, &mut work, fx)?;
            }
        }
        Ok(())
    }

    fn absorb(&mut self, epoch: u64, node: usize, out: Out, fx: &mut Effects) -> Result<(), EngineError> {
        fx.errors.extend(errors_of(node, out.errors));
        let mut work = vec![];
        for delta in out.deltas {
            self.forward(node, delta, &mut work, fx)?;
        }
        self.carry(epoch, work, fx)
    }

    /// What a node sent, to where its wires lead.
    fn forward(
        &mut self,
        node: usize,
        delta: Delta,
        work: &mut Vec<(usize, usize, Delta)>,
        fx: &mut Effects,
    ) -> Result<(), EngineError> {
        let Some(at) = self.at.get(&node) else { return Ok(()) };
        let wires = &self.nodes[*at].wires;
        let mut delta = Some(delta);
        for (i, wire) in wires.iter().enumerate() {
            let Some(delta) = (if i + 1 == wires.len() { delta.take() } else { delta.clone() }) else { continue };
            match wire {
                Wire::Here { node, input } => work.push((*node, *input, delta)),
                Wire::Sent { port, node, input, spread } => {
                    fx.n_rows += delta.n_rows();
                    for (to, delta) in self.spreader.split(delta, spread, self.crew)? {
                        fx.sent.push(Sent { port: *port, to, node: *node, input: *input, delta });
                    }
                }
            }
        }
        Ok(())
    }
}
