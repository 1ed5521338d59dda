//! Names of the C library that this program answers to itself, so that waiting, waking, threads, time and chance of everything that is
//! linked into it, timely and tokio included, go through the baton. A thread that is no task of a run gets the C library's answer.
//!
//! The linker takes a name that the program defines before it asks the shared C library. `syscall` is called with a variable number of
//! arguments; taking seven words reads at most what a caller left in registers and above its frame, and only those that the call has are used.

use super::{
    State, Task, Waited, hand_to, me, point, real, see_off, sleep_at, splitmix, switch, table, wait, wait_for_baton, wake, word,
};
use std::{
    ffi::{CStr, c_char, c_int, c_long, c_uint, c_void},
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// What threads are called that the baton knows: no pointer, so that nobody takes it for the C library's.
const OURS: libc::pthread_t = 0x7e67_0000_0000_0000;
/// The C library calls destructors of thread-locals four times at most; ours comes last.
const ROUNDS: u32 = 3;
/// When a run begins, in seconds since 1970: 2026-01-01.
const BEGINNING_S: u64 = 1_767_225_600;
/// What the steady clock says when a run begins, in seconds: some time may be taken from any moment.
const STEADY_S: u64 = 100_000;
/// What one look at the clock costs, in virtual nanoseconds.
const LOOK_NS: u64 = 100;

struct Birth {
    start: Start,
    arg: *mut c_void,
    task: usize,
    baton: *const AtomicU32,
}

fn fail(errno: c_int) {
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() = errno };
}

fn ns_of(time: &libc::timespec) -> u64 {
    time.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.unsigned_abs())
}

fn key() -> libc::pthread_key_t {
    static KEY: AtomicU32 = AtomicU32::new(u32::MAX);
    let known = KEY.load(Ordering::Relaxed);
    if known != u32::MAX {
        return known;
    }
    let mut made = 0;
    // SAFETY: a place for the key, and a destructor of the right type.
    unsafe { libc::pthread_key_create(&raw mut made, Some(ending)) };
    KEY.store(made, Ordering::Relaxed);
    made
}

/// # Safety
/// As `pthread_create`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_create(
    native: *mut libc::pthread_t,
    attr: *const libc::pthread_attr_t,
    start: Start,
    arg: *mut c_void,
) -> c_int {
    let Some(parent) = me() else {
        // SAFETY: the caller's arguments.
        return unsafe { real::create()(native, attr, start, arg) };
    };
    key();
    let t = table();
    let task = t.tasks.len();
    // the world is task 1: what it starts belongs to the machine that it said
    let machine = if parent == 1 { t.next_machine } else { t.tasks[parent].machine };
    t.tasks.push(Task {
        name: "thread".to_owned(),
        machine,
        state: State::Ready,
        turn: 0,
        timed_out: false,
        baton: Box::new(AtomicU32::new(0)),
        thread: 0,
        ending: 0,
    });
    t.live.push(task);
    let baton: *const AtomicU32 = &*t.tasks[task].baton;
    let birth = Box::into_raw(Box::new(Birth { start, arg, task, baton }));
    let mut thread = 0;
    // SAFETY: the caller's attributes; the birth is the new thread's.
    let made = unsafe { real::create()(&raw mut thread, attr, born, birth.cast()) };
    let t = table();
    if made != 0 {
        t.end(task, State::Gone);
        return made;
    }
    t.tasks[task].thread = thread;
    // SAFETY: the caller's place for the name.
    unsafe { *native = OURS + task as libc::pthread_t };
    point(word(b"create"));
    0
}

extern "C" fn born(birth: *mut c_void) -> *mut c_void {
    let birth: *mut Birth = birth.cast();
    // SAFETY: made by `pthread_create` for this thread alone. It is freed only with the baton in hand: freeing touches the heap. The
    // baton's box is never moved nor dropped.
    let (task, baton) = unsafe { ((*birth).task, &*(*birth).baton) };
    super::ME.with(|me| me.set(task));
    wait_for_baton(baton);
    see_off();
    // SAFETY: as above.
    let Birth { start, arg, .. } = *unsafe { Box::from_raw(birth) };
    // SAFETY: our key; any value but null.
    unsafe { libc::pthread_setspecific(key(), ptr::without_provenance(task + 1)) };
    start(arg)
}

/// Runs as the last destructor of a thread: it has nothing more to do, and hands the baton on.
extern "C" fn ending(value: *mut c_void) {
    let Some(me) = me() else { return };
    let t = table();
    t.tasks[me].ending += 1;
    if t.tasks[me].ending < ROUNDS {
        // SAFETY: our key; the same value, for another round.
        unsafe { libc::pthread_setspecific(key(), value) };
        return;
    }
    t.end(me, State::Gone);
    t.ended.push(t.tasks[me].thread);
    for at in &t.live {
        let task = &mut t.tasks[*at];
        if task.state == State::Joining(me) {
            task.state = State::Ready;
        }
    }
    let chosen = t.choose(me, false);
    hand_to(chosen);
}

/// # Safety
/// As `pthread_join`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_join(thread: libc::pthread_t, value: *mut *mut c_void) -> c_int {
    let (Some(me), Some(task)) = (me(), ours(thread)) else {
        // SAFETY: the caller's arguments.
        return unsafe { real::joiner()(thread, value) };
    };
    while table().tasks[task].state != State::Gone {
        table().tasks[me].state = State::Joining(task);
        switch(me);
    }
    0
}

fn ours(thread: libc::pthread_t) -> Option<usize> {
    usize::try_from(thread.checked_sub(OURS)?).ok().filter(|task| *task < 1 << 32)
}

/// # Safety
/// As `pthread_detach`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_detach(thread: libc::pthread_t) -> c_int {
    // each of ours is seen off when it ends, whoever asks for it
    match (me(), ours(thread)) {
        (Some(_), Some(_)) => 0,
        // SAFETY: the caller's argument.
        _ => unsafe { real::detach()(thread) },
    }
}

/// # Safety
/// As `pthread_setname_np`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_setname_np(thread: libc::pthread_t, name: *const c_char) -> c_int {
    // a thread names itself
    if let Some(me) = me() {
        // SAFETY: a text that ends with zero.
        let name = unsafe { CStr::from_ptr(name) };
        table().tasks[me].name = name.to_string_lossy().into_owned();
    }
    // SAFETY: the caller's arguments.
    unsafe { real::set_name()(thread, name) }
}

/// # Safety
/// As `syscall`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long {
    match (me(), number) {
        // SAFETY: the caller's arguments to futex: word, operation, value, time, second word, mask.
        (Some(me), libc::SYS_futex) => unsafe { futex(me, a as *const u32, b as c_int, c as u32, d as *const libc::timespec) },
        (Some(_), libc::SYS_getrandom) => {
            chance(a as *mut u8, b as usize);
            b
        }
        // SAFETY: the caller's arguments.
        _ => unsafe { real::syscall()(number, a, b, c, d, e, f) },
    }
}

unsafe fn futex(me: usize, word: *const u32, op: c_int, value: u32, time: *const libc::timespec) -> c_long {
    // SAFETY: null, or the caller's time; looked at only where the operation has one.
    let time = || unsafe { time.as_ref() }.map(ns_of);
    let waited = match op & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) {
        libc::FUTEX_WAIT => wait(me, word, value, time().map(|t| t.saturating_add(table().now_ns))),
        libc::FUTEX_WAIT_BITSET => {
            let beginning = if op & libc::FUTEX_CLOCK_REALTIME == 0 { STEADY_S } else { BEGINNING_S };
            wait(me, word, value, time().map(|t| t.saturating_sub(beginning * 1_000_000_000)))
        }
        libc::FUTEX_WAKE => {
            let woken = wake(word as usize, value);
            if woken > 0 {
                point(0x77);
            }
            return c_long::from(woken);
        }
        _ => {
            fail(libc::ENOSYS);
            return -1;
        }
    };
    match waited {
        Waited::Woken => 0,
        Waited::TimeUp => {
            fail(libc::ETIMEDOUT);
            -1
        }
        Waited::NotNeeded => {
            fail(libc::EAGAIN);
            -1
        }
    }
}

fn chance(to: *mut u8, n: usize) {
    // SAFETY: the caller's buffer.
    let to = unsafe { std::slice::from_raw_parts_mut(to, n) };
    for chunk in to.chunks_mut(8) {
        let word = splitmix(&mut table().random).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// # Safety
/// As `getrandom`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(to: *mut c_void, n: usize, flags: c_uint) -> isize {
    if me().is_none() {
        // SAFETY: the caller's arguments.
        return unsafe { real::getrandom()(to, n, flags) };
    }
    if n > 0 {
        chance(to.cast(), n);
    }
    n.cast_signed()
}

/// # Safety
/// As `clock_gettime`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    if me().is_none() {
        // SAFETY: the caller's arguments.
        return unsafe { real::clock_gettime()(clock, time) };
    }
    let t = table();
    t.now_ns += LOOK_NS;
    let beginning = if clock == libc::CLOCK_REALTIME { BEGINNING_S } else { STEADY_S };
    let (s, ns) = (beginning + t.now_ns / 1_000_000_000, t.now_ns % 1_000_000_000);
    // SAFETY: the caller's place for a time.
    unsafe { *time = libc::timespec { tv_sec: s.cast_signed(), tv_nsec: ns.cast_signed() } };
    0
}

/// # Safety
/// As `nanosleep`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> c_int {
    let Some(me) = me() else {
        // SAFETY: the caller's arguments.
        return unsafe { real::nanosleep()(time, left) };
    };
    // SAFETY: the caller's time.
    let until = table().now_ns + ns_of(unsafe { &*time });
    sleep_at(me, 0, Some(until));
    0
}

/// # Safety
/// As `clock_nanosleep`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_nanosleep(
    clock: libc::clockid_t,
    flags: c_int,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    let Some(me) = me() else {
        // SAFETY: the caller's arguments.
        return unsafe { real::clock_nanosleep()(clock, flags, time, left) };
    };
    // SAFETY: the caller's time.
    let ns = ns_of(unsafe { &*time });
    let beginning = if clock == libc::CLOCK_REALTIME { BEGINNING_S } else { STEADY_S };
    let relative = flags & libc::TIMER_ABSTIME == 0;
    let until = if relative { table().now_ns + ns } else { ns.saturating_sub(beginning * 1_000_000_000) };
    sleep_at(me, 0, Some(until));
    0
}

/// Who yields lets somebody else go on, if anybody can.
#[unsafe(no_mangle)]
pub extern "C" fn sched_yield() -> c_int {
    match me() {
        Some(me) => super::give_way(me),
        // SAFETY: no arguments.
        None => drop(unsafe { real::sched_yield()() }),
    }
    0
}
