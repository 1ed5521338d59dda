//! The workers of this process: started, told, stopped.
//!
//! Commands go to all of them under one lock, so all get them in one order. One worker is a thread of the environment; several,
//! and the network threads of a cluster, are timely's own, because its allocators cannot be built on a thread of ours.

use super::{
    EngineError,
    vertex::said,
    worker::{self, Command, Seat},
};
use parking_lot::Mutex;
use regauge_types::env::{Env, Joining};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread::Thread,
};
use timely::{
    CommunicationConfig,
    communication::{Allocator, WorkerGuards, allocator, initialize_from},
};

/// The processes that run the same flows.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// This one's place among them.
    pub process: usize,
    /// `host:port` of each, itself included.
    pub addresses: Vec<String>,
}

enum Threads {
    Ours(Box<dyn Joining>),
    Timely(WorkerGuards<()>),
}

struct Member {
    commands: Sender<Command>,
    thread: Thread,
}

/// See the module's header.
pub(super) struct Workers {
    n: usize,
    peers: usize,
    first: usize,
    members: Mutex<Vec<Member>>,
    threads: Mutex<Option<Threads>>,
}

impl Workers {
    /// Starts them; in a cluster this waits until all processes are there.
    pub fn start(n: usize, cluster: Option<Cluster>, env: &Env) -> Result<Workers, EngineError> {
        let n = n.max(1);
        let cluster = cluster.filter(|c| c.addresses.len() > 1);
        let (processes, process) = cluster.as_ref().map_or((1, 0), |c| (c.addresses.len(), c.process));
        let first = n * process;
        let (mut senders, mut seats) = (vec![], vec![]);
        for _ in 0..n {
            let (sender, commands) = channel();
            seats.push(Some(Seat { commands, clock: Arc::clone(&env.clock), threads: n }));
            senders.push(sender);
        }
        let (started, starts) = channel();
        let seats = Mutex::new(seats);
        let body = move |allocator: Allocator| {
            let at = allocator.index() - first;
            // a statement of its own: the lock must not be held while the worker runs
            let seat = seats.lock().get_mut(at).and_then(Option::take);
            if let Some(seat) = seat {
                worker::run(allocator, seat, |thread| drop(started.send((at, thread))));
            }
        };
        let threads = if n * processes == 1 {
            let body = move || body(Allocator::Thread(allocator::Thread::default()));
            Threads::Ours(env.threads.spawn("regauge-flow", Box::new(body)).map_err(EngineError::Thread)?)
        } else {
            let setup = match cluster {
                Some(Cluster { process, addresses }) => {
                    CommunicationConfig::Cluster { threads: n, process, addresses, report: false, zerocopy: false }
                }
                None => CommunicationConfig::Process(n),
            };
            let (builders, network) = setup.try_build().map_err(EngineError::Workers)?;
            Threads::Timely(initialize_from(builders, network, body).map_err(EngineError::Workers)?)
        };
        let mut handles: Vec<(usize, Thread)> = starts.iter().take(n).collect();
        if handles.len() < n {
            return Err(EngineError::Workers("a worker ended before it began".into()));
        }
        handles.sort_by_key(|(at, _)| *at);
        let members = senders.into_iter().zip(handles).map(|(commands, (_, thread))| Member { commands, thread }).collect();
        Ok(Workers { n, peers: n * processes, first, members: Mutex::new(members), threads: Mutex::new(Some(threads)) })
    }

    /// Those of this process.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Those of all processes.
    pub fn peers(&self) -> usize {
        self.peers
    }

    /// The first of this process among all.
    pub fn first(&self) -> usize {
        self.first
    }

    /// A command for each.
    pub fn tell_all(&self, commands: impl Iterator<Item = Command>) {
        for (member, command) in self.members.lock().iter().zip(commands) {
            // a worker that panicked is gone, and failed its flows as it went
            let _ = member.commands.send(command);
            member.thread.unpark();
        }
    }

    /// Ends their threads and waits for them; in a cluster, until the other processes stop, too.
    pub fn stop(&self) {
        self.tell_all((0..self.n).map(|_| Command::Stop));
        let threads = self.threads.lock().take();
        match threads {
            None => {}
            Some(Threads::Ours(thread)) => {
                if let Err(panic) = thread.join() {
                    tracing::error!(%panic, "a worker panicked");
                }
            }
            Some(Threads::Timely(guards)) => {
                // what guards the network panics when one of its threads did, which is a process that broke off
                match catch_unwind(AssertUnwindSafe(|| guards.join())) {
                    Ok(ended) => ended.iter().filter_map(|e| e.as_ref().err()).for_each(|panic| {
                        tracing::error!(%panic, "a worker panicked");
                    }),
                    Err(panic) => tracing::warn!(panic = said(&*panic), "a process of the cluster broke off"),
                }
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}
