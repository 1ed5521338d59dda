//! The end of a driver that panics.
//!
//! The driver is where log, catalog and versions meet: when it panics, an invariant of ours does not hold, and nobody knows which of what it
//! had in hand is still right. To begin it anew within the process would rest on that; to go on without it leaves a server that takes
//! writes and shows views that stand still for ever, which no client can tell from a quiet day. TigerBeetle's answer is to stop: assertions stay
//! on in production, a broken one ends the process, and a process that begins again rests on nothing but its disk. Here the start-up is
//! the recovery (I11) and nothing acknowledged is in memory only (I1), so stopping costs seconds and lies to nobody. So:
//!
//! - whoever waits for an epoch, or reads views, is told at once ([`Versions::ended`]), with 57P02, PostgreSQL's code for the same thing;
//! - `/healthz` says so, so that nobody is sent here any more;
//! - `regauge serve` ends with an exit code that is not 0, and whoever supervises it starts it again. A program that embeds an instance decides
//!   for itself: it is told by [`crate::Instance::until_failed`].
//!
//! Not here: a version that panics (it fails alone, `flow`), a checkpoint that does (the last one stands), a statement that does.

use super::Driver;
use crate::{
    error::{Error, sqlstate as code},
    version::Versions,
};
use regauge_types::ErrorKind;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// Runs a driver until it is told to stop. One that panics is told of before the panic goes on: whoever joins its thread gets it.
pub fn run(driver: Driver, versions: &Versions) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| driver.run())) {
        // What it says may be about rows: it is for the log, and for nobody who asks.
        let text = text(panic.as_ref());
        tracing::error!(panic = text, "the epoch driver has panicked: no view moves any more until the folder is opened again");
        versions.end(ended());
        resume_unwind(panic);
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

fn ended() -> Error {
    let message = "views stand still: the thread that closes epochs has ended by a fault of regauge";
    Error::new(ErrorKind::Unavailable, code::CRASHED, message).hint(
        "start the server again: that is the recovery, and nothing that was acknowledged is lost; its log tells what happened",
    )
}
