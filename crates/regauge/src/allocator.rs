//! The allocator, and giving back what is free.
//!
//! Operators allocate many small columns from several threads; the system's allocator shows in profiles there. Without transparent
//! huge pages (a feature of the dependency): clearing and gathering them was up to half of a rebuild's CPU time.
//!
//! mimalloc keeps freed memory for a second, so that a busy process does not ask the kernel for it again and again, and gives it back when
//! somebody allocates after that. A server that has become idle allocates nothing, and would keep for ever what its last work freed:
//! that is why it calls [`give_back`] from time to time.

use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often an idle server gives back; an interval without anything to give costs some microseconds.
pub const EVERY: Duration = Duration::from_secs(2);

unsafe extern "C" {
    /// Of the library that the allocator is: frees pages that have nothing in them; without `force` only what was free for a second.
    safe fn mi_collect(force: bool);
}

/// Gives memory that was free for a second back to the kernel.
pub fn give_back() {
    mi_collect(false);
}
