//! What stands behind the interposed names: the C library's own functions, found by name once, before anything is interposed.

use std::{
    ffi::{CStr, c_char, c_int, c_long, c_void},
    mem::transmute,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU32, Ordering},
};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut c_void) -> c_int;
type Join = unsafe extern "C" fn(libc::pthread_t, *mut *mut c_void) -> c_int;
type Detach = unsafe extern "C" fn(libc::pthread_t) -> c_int;
type Name = unsafe extern "C" fn(libc::pthread_t, *const c_char) -> c_int;
type Syscall = unsafe extern "C" fn(c_long, ...) -> c_long;
type Time = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;
type Sleep = unsafe extern "C" fn(*const libc::timespec, *mut libc::timespec) -> c_int;
type SleepOn = unsafe extern "C" fn(libc::clockid_t, c_int, *const libc::timespec, *mut libc::timespec) -> c_int;
type Yield = unsafe extern "C" fn() -> c_int;
type Chance = unsafe extern "C" fn(*mut c_void, usize, libc::c_uint) -> isize;

macro_rules! real {
    ($($function:ident $name:literal $ty:ty;)*) => {
        $(
            #[doc = concat!("The C library's `", $name, "`.")]
            pub(super) fn $function() -> $ty {
                static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
                let found = find(&FOUND, concat!($name, "\0"));
                // SAFETY: the function of this name has this type.
                unsafe { transmute::<*mut c_void, $ty>(found) }
            }
        )*
        /// Finds all of them.
        pub(super) fn prepare() {
            $($function();)*
        }
    };
}

real! {
    create "pthread_create" Create;
    joiner "pthread_join" Join;
    detach "pthread_detach" Detach;
    set_name "pthread_setname_np" Name;
    syscall "syscall" Syscall;
    clock_gettime "clock_gettime" Time;
    nanosleep "nanosleep" Sleep;
    clock_nanosleep "clock_nanosleep" SleepOn;
    sched_yield "sched_yield" Yield;
    getrandom "getrandom" Chance;
}

fn find(found: &AtomicPtr<c_void>, name: &'static str) -> *mut c_void {
    let known = found.load(Ordering::Relaxed);
    if !known.is_null() {
        return known;
    }
    let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default();
    // SAFETY: a name that ends with zero.
    let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    if symbol.is_null() {
        // SAFETY: ends the process; nothing can be told before this.
        unsafe { libc::abort() }
    }
    found.store(symbol, Ordering::Relaxed);
    symbol
}

/// Waits while the word is `expected`, or comes back for no reason.
pub(super) fn wait(word: &AtomicU32, expected: u32) {
    let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call.
    unsafe { syscall()(libc::SYS_futex, word.as_ptr(), op, expected, ptr::null::<libc::timespec>()) };
}

/// Wakes who waits for the word.
pub(super) fn wake(word: &AtomicU32) {
    let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word outlives the call.
    unsafe { syscall()(libc::SYS_futex, word.as_ptr(), op, 1) };
}

/// Waits until a thread is gone.
pub(super) fn join(thread: libc::pthread_t) {
    // SAFETY: a thread that was created here and that nobody else joins or detaches.
    unsafe { joiner()(thread, ptr::null_mut()) };
}
