//! The baton: all threads of this process run one at a time, in an order that a seed decides, on a clock that is only a number.
//!
//! ```text
//!   code of regauge, timely, tokio ─▶ locks, condition variables, parking, channels ─▶ futex ┐
//!                                     threads: create, join, end, sleep, yield               ├─▶ [`interpose`] ─▶ who goes on, drawn
//!                                     the disk of the simulation: each call                  ┘
//! ```
//! Whoever has the baton runs until it waits, wakes somebody, starts a thread, yields or calls the disk; there the seed decides who goes on.
//! When all wait, time jumps to the next deadline; when all wait and nobody has one, that is a deadlock, which is reported and ends the run.
//!
//! Invariant: the state here is touched by the holder of the baton only, and a thread that ends has really gone before the next one goes on
//! (its stack and its arena come back in a known order). So a run is a function of its seed, as far as addresses are: [`crate::alone`]
//! sees to that. Not explored: orders of two threads between two such points, and what a processor reorders.

mod interpose;
mod real;

use std::{
    cell::{Cell, UnsafeCell},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

/// How a run is stepped.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Decides everything.
    pub seed: u64,
    /// How often of 1000 the holder is made to hand on although it could go on.
    pub hand_on: u64,
    /// How often of 1000 a deadline passes although somebody could go on: a slow machine.
    pub late: u64,
    /// Decisions after which the run is taken to go round in circles.
    pub steps_max: u64,
    /// Whether each decision is told on standard error.
    pub told: bool,
}

/// Virtual nanoseconds after which a run is taken to wait for what never comes: runs last seconds.
const PATIENCE_NS: u64 = 2_000_000_000_000;
/// Virtual nanoseconds that a jump over a deadline may be wide while somebody could go on.
const LATE_NS: u64 = 300_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Waits for a wake-up of an address, or for a moment.
    Waiting {
        at: usize,
        until: Option<u64>,
    },
    Joining(usize),
    /// Its machine was stopped: it never goes on.
    Stopped,
    Gone,
}

struct Task {
    name: String,
    machine: u32,
    state: State,
    /// Order among those who wait for the same address.
    turn: u64,
    timed_out: bool,
    baton: Box<AtomicU32>,
    thread: libc::pthread_t,
    /// Rounds of destructors of thread-locals that have passed.
    ending: u32,
}

struct Table {
    tasks: Vec<Task>,
    /// Those that are neither gone nor stopped, in order: a run has thousands of tasks in its time, and some forty at a time.
    live: Vec<usize>,
    pace: Pace,
    random: u64,
    now_ns: u64,
    steps: u64,
    turn: u64,
    trace: u64,
    holder: usize,
    /// Machine that a thread started by task 1 (the world) belongs to.
    next_machine: u32,
    /// Threads whose last word is said, for the next holder to see off.
    ended: Vec<libc::pthread_t>,
    /// The machine stops at this step.
    stop_at: Option<u64>,
    stopped: bool,
}

struct Shared(UnsafeCell<Option<Table>>);
// SAFETY: only the holder of the baton looks inside, and it is handed on with release and acquire.
unsafe impl Sync for Shared {}

static TABLE: Shared = Shared(UnsafeCell::new(None));
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// What the world waits for: a machine that stopped, or a wish of it.
static EVENT: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static ME: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The number of the task that runs here, if this thread is one.
fn me() -> Option<usize> {
    if !ACTIVE.load(Ordering::Relaxed) {
        return None;
    }
    ME.try_with(Cell::get).ok().filter(|me| *me != usize::MAX)
}

/// The table; only for the holder of the baton, and never across a hand-over.
#[allow(clippy::mut_from_ref, reason = "one holder")]
fn table() -> &'static mut Table {
    // SAFETY: see `Shared`; each use ends before the baton is handed on.
    unsafe { (*TABLE.0.get()).as_mut().expect("the baton is not in use") }
}

/// The state of a random sequence (splitmix64), stepped.
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Table {
    fn below(&mut self, n: u64) -> u64 {
        splitmix(&mut self.random) % n.max(1)
    }

    fn note(&mut self, word: u64) {
        self.trace = (self.trace.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    /// Who goes on; `me` as well if it is ready. Who gives way goes on only when nobody else can.
    fn choose(&mut self, me: usize, gives_way: bool) -> usize {
        self.steps += 1;
        self.now_ns += 500 + self.steps % 7 * 300;
        if self.steps > self.pace.steps_max {
            give_up("the run goes round in circles", self);
        }
        if self.now_ns > PATIENCE_NS {
            give_up("somebody waits for what never comes", self);
        }
        if self.pace.late > 0 && self.below(1000) < self.pace.late {
            let horizon = self.now_ns + LATE_NS;
            self.pass_deadline(horizon);
        }
        loop {
            let ready = self.live.iter().filter(|at| self.tasks[**at].state == State::Ready).count() as u64;
            if ready == 0 {
                if !self.pass_deadline(u64::MAX) {
                    give_up("deadlock: everybody waits for ever", self);
                }
                continue;
            }
            let mine = self.tasks[me].state == State::Ready;
            let others = ready - u64::from(mine);
            let stays = mine && (others == 0 || (!gives_way && self.below(1000) >= self.pace.hand_on));
            let nth = if stays { None } else { Some(self.below(others)) };
            let chosen = nth.map_or(me, |nth| {
                let ready = |at: &usize| *at != me && self.tasks[*at].state == State::Ready;
                self.live.iter().copied().filter(ready).nth(nth as usize).unwrap_or(me)
            });
            self.note(chosen as u64);
            return chosen;
        }
    }

    /// A task's last state.
    fn end(&mut self, task: usize, state: State) {
        self.tasks[task].state = state;
        self.live.retain(|at| *at != task);
    }

    /// The earliest deadline passes, if there is one up to then.
    fn pass_deadline(&mut self, up_to: u64) -> bool {
        let until = |t: &Task| match t.state {
            State::Waiting { until: Some(until), .. } if until <= up_to => Some(until),
            _ => None,
        };
        let first = self.live.iter().filter_map(|at| Some((until(&self.tasks[*at])?, self.tasks[*at].turn, *at))).min();
        let Some((until, _, at)) = first else { return false };
        self.now_ns = self.now_ns.max(until);
        let task = &mut self.tasks[at];
        (task.state, task.timed_out) = (State::Ready, true);
        true
    }
}

/// Something is wrong with all threads together: says so, with who waits, and ends the process.
fn give_up(why: &str, table: &Table) -> ! {
    eprintln!("{why} steps={} now_ms={}", table.steps, table.now_ns / 1_000_000);
    for (at, task) in table.tasks.iter().enumerate().filter(|(_, t)| !matches!(t.state, State::Gone | State::Stopped)) {
        eprintln!("  thread {at} {:?} machine={} {:?}", task.name, task.machine, task.state);
    }
    println!("violation: liveness: {why}");
    end_process(3)
}

/// Ends the process without a word to anybody's destructors: stopped threads hold what they hold.
pub fn end_process(code: i32) -> ! {
    use std::io::Write;
    let _ = std::io::stdout().flush();
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Gives the baton to whom the seed chooses, and comes back when it is this task's turn.
fn switch(me: usize) {
    go(me, false);
}

fn give_way(me: usize) {
    go(me, true);
}

fn go(me: usize, gives_way: bool) {
    let chosen = table().choose(me, gives_way);
    if table().pace.told {
        let t = table();
        eprintln!("{} {} {} -> {} {}", t.steps, t.now_ns, t.tasks[me].name, t.tasks[chosen].name, t.trace);
    }
    if chosen == me {
        return check_stop(me);
    }
    let mine: *const AtomicU32 = &*table().tasks[me].baton;
    hand_to(chosen);
    // SAFETY: the box lives as long as the table, which is never dropped.
    wait_for_baton(unsafe { &*mine });
    see_off();
    check_stop(me);
}

fn hand_to(chosen: usize) {
    let table = table();
    table.holder = chosen;
    let baton: *const AtomicU32 = &*table.tasks[chosen].baton;
    // SAFETY: as above; nothing of the table is used after the store.
    let baton = unsafe { &*baton };
    baton.store(1, Ordering::Release);
    real::wake(baton);
}

fn wait_for_baton(baton: &AtomicU32) {
    while baton.swap(0, Ordering::Acquire) == 0 {
        real::wait(baton, 0);
    }
}

/// Waits until threads that have ended are really gone.
fn see_off() {
    for thread in std::mem::take(&mut table().ended) {
        real::join(thread);
    }
}

/// Stops the machine if this is the step at which it is to stop.
fn check_stop(me: usize) {
    let t = table();
    if t.tasks[me].machine == 0 || t.stopped || t.stop_at.is_none_or(|at| t.steps < at) {
        return;
    }
    stop_machine(t.tasks[me].machine);
}

/// A moment at which another thread may go on. `what` goes into the trace.
pub fn point(what: u64) {
    if let Some(me) = me() {
        table().note(what);
        switch(me);
    }
}

/// Puts a word into the trace.
pub fn note(word: u64) {
    if me().is_some() {
        table().note(word);
    }
}

/// The trace so far, as one number, and the number of decisions.
pub fn trace() -> (u64, u64) {
    (table().trace, table().steps)
}

/// Nanoseconds since the run began.
pub fn now_ns() -> u64 {
    me().map_or(0, |_| table().now_ns)
}

/// A hash of a text for the trace.
pub fn word(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Threads that the world starts from now on belong to this machine; it stops, if at all, so many steps from now.
pub fn begin_machine(machine: u32, stop_in: Option<u64>) {
    let t = table();
    (t.next_machine, t.stopped, t.stop_at) = (machine, false, stop_in.map(|n| t.steps + n));
}

/// All threads of a machine stop where they are, for ever. Does not come back if the caller is one of them.
pub fn stop_machine(machine: u32) {
    let t = table();
    t.stopped = true;
    t.note(word(b"stop"));
    for at in t.live.clone() {
        if t.tasks[at].machine == machine {
            t.end(at, State::Stopped);
        }
    }
    signal();
    if let Some(me) = me() {
        switch(me);
    }
}

/// Whether the machine was stopped.
pub fn is_stopped() -> bool {
    table().stopped
}

/// The caller's machine.
pub fn machine() -> u32 {
    me().map_or(0, |me| table().tasks[me].machine)
}

/// Tells the world that something happened.
pub fn signal() {
    EVENT.fetch_add(1, Ordering::SeqCst);
    wake(EVENT.as_ptr() as usize, u32::MAX);
}

/// The world waits until `done`, asking each time that something happened.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    loop {
        let seen = EVENT.load(Ordering::SeqCst);
        if done() {
            return;
        }
        if let Some(me) = me() {
            wait(me, EVENT.as_ptr(), seen, None);
        }
    }
}

/// Whether it was woken (or need not wait); false when the time was up.
fn wait(me: usize, word: *const u32, expected: u32, until: Option<u64>) -> Waited {
    // SAFETY: the caller of a futex gives an address that can be read; nobody writes it while we hold the baton.
    let found = unsafe { AtomicU32::from_ptr(word.cast_mut()) }.load(Ordering::SeqCst);
    if found != expected {
        return Waited::NotNeeded;
    }
    sleep_at(me, word as usize, until)
}

fn sleep_at(me: usize, at: usize, until: Option<u64>) -> Waited {
    let t = table();
    t.turn += 1;
    let turn = t.turn;
    let task = &mut t.tasks[me];
    (task.state, task.turn, task.timed_out) = (State::Waiting { at, until }, turn, false);
    switch(me);
    if table().tasks[me].timed_out { Waited::TimeUp } else { Waited::Woken }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Woken,
    TimeUp,
    NotNeeded,
}

/// Makes up to `n` that wait for an address ready, the first first.
fn wake(at: usize, n: u32) -> u32 {
    let t = table();
    let mut woken = 0;
    while woken < n {
        let waits = |i: &usize| matches!(t.tasks[*i].state, State::Waiting { at: a, .. } if a == at);
        let first = t.live.iter().copied().filter(waits).min_by_key(|i| t.tasks[*i].turn);
        let Some(first) = first else { break };
        t.tasks[first].state = State::Ready;
        woken += 1;
    }
    woken
}

/// Runs `body` and all threads that it starts under one seed; comes back when it ends.
pub fn run(pace: Pace, body: impl FnOnce() + Send + 'static) {
    real::prepare();
    let task = |name: &str| Task {
        name: name.to_owned(),
        machine: 0,
        state: State::Ready,
        turn: 0,
        timed_out: false,
        baton: Box::new(AtomicU32::new(0)),
        thread: 0,
        ending: 0,
    };
    let table = Table {
        tasks: vec![task("main")],
        live: vec![0],
        pace,
        random: pace.seed,
        now_ns: 0,
        steps: 0,
        turn: 0,
        trace: 0,
        holder: 0,
        next_machine: 0,
        ended: vec![],
        stop_at: None,
        stopped: false,
    };
    // SAFETY: nobody else is active yet.
    unsafe { *TABLE.0.get() = Some(table) };
    ME.with(|me| me.set(0));
    ACTIVE.store(true, Ordering::SeqCst);
    // its own thread: the stack of the first one begins where the environment's text ends
    let world = std::thread::Builder::new().name("world".to_owned()).stack_size(64 << 20).spawn(body);
    if let Ok(world) = world
        && world.join().is_err()
    {
        println!("violation: harness: the world panicked");
        end_process(4);
    }
}
