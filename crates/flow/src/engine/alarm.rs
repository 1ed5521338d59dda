//! A failure of a flow in one process is heard of in the others.
//!
//! ```text
//!   process 0, first worker:   bell ══ reason ══▶ ear   :process 1, first worker ─▶ Flow::end
//! ```
//! A way of its own beside the stages, because a failure may be met in the last stage, or at an epoch that nobody else has come to:
//! the bell holds a capability of the first epoch for as long as the dataflow lives, so it may send at any time, and an ear listens
//! without looking at frontiers. Guarantees: every process whose flow still runs ends it with the reason of whoever failed first; a
//! flow that is stopped or dropped rings nobody. Not promised: that a process which dies says so. Cost while all is well: two operators
//! that are never scheduled, in a cluster only.

use super::{
    EngineError,
    flow::Flow,
    parcel::{Content, Parcel, Post},
    spread::Crew,
};
use std::sync::Arc;
use timely::dataflow::{
    Scope,
    channels::{pact::DistributorPact, pushers::OutputSession},
    operators::generic::builder_rc::OperatorBuilder,
};

/// Builds both into a flow's dataflow; `threads` are the workers of each process.
pub(super) fn build(scope: Scope<'_, u64>, flow: &Arc<Flow>, crew: Crew, threads: usize) {
    if crew.peers == threads {
        return;
    }
    let mut bell = OperatorBuilder::new("bell".to_owned(), scope);
    let (mut out, rings) = bell.new_output::<Parcel>();
    let address = bell.operator_info().address;
    flow.add_source(scope.worker().sync_activator_for(address.to_vec()));
    // it may have failed before this
    scope.activator_for(address).activate();
    let rung = Arc::clone(flow);
    let is_first = |worker: &usize| worker.is_multiple_of(threads);
    let others = (0..crew.peers).filter(is_first).filter(|w| is_first(&crew.me) && w / threads != crew.me / threads);
    let mut others: Vec<usize> = others.collect();
    bell.build(move |caps| {
        move |_| {
            let (Some(cap), Some(why)) = (caps.first(), rung.failure()) else { return };
            let mut session: OutputSession<'_, u64, Parcel> = out.activate();
            for to in std::mem::take(&mut others) {
                if let Ok(bytes) = Content::Failed(why.clone()).encode() {
                    session.give(cap, &mut Parcel::new(to, Content::Bytes(bytes), None));
                }
            }
        }
    });
    let mut ear = OperatorBuilder::new("ear".to_owned(), scope);
    let mut input = ear.new_input(rings, DistributorPact(post as fn(usize) -> Post));
    let heard = Arc::clone(flow);
    ear.build(move |_| {
        move |_| {
            input.for_each(|_, parcel| {
                let parcel = std::mem::take(parcel);
                let Some(Content::Bytes(bytes)) = parcel.content() else { return };
                let why = match Content::decode(bytes) {
                    Ok(Content::Failed(why)) => EngineError::Elsewhere(why),
                    Ok(_) => EngineError::Elsewhere("no reason was given".to_owned()),
                    Err(error) => error,
                };
                tracing::error!(flow = heard.id, %why, "version fails");
                heard.end(&why.to_string());
            });
        }
    });
}

fn post(_peers: usize) -> Post {
    Post
}
