//! A process whose addresses, processors and environment are the same each time: what a run is a function of, besides its seed.
//!
//! Hash maps of some libraries take their seeds from addresses, and locks are told apart by them. So a run has a process of its own, on one
//! processor, without randomised addresses, and with an empty environment (its text lies at the end of the stack). Where the system does not
//! allow that, it is said, and a seed may not give the same trace twice.

use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;

/// Set in a process that is ready.
const READY: &str = "REGAUGE_SIM_ALONE";

/// Comes back in a process that is ready, at once or as a new program in the place of this one.
pub fn make(cpu: usize) -> Result<()> {
    if std::env::var_os(READY).is_some() {
        return Ok(());
    }
    // SAFETY: asks for, then sets, a flag of this process.
    unsafe {
        let now = libc::personality(0xffff_ffff);
        if now == -1
            || libc::personality(
                libc::c_ulong::from(now.cast_unsigned()) | libc::c_ulong::from(libc::ADDR_NO_RANDOMIZE.cast_unsigned()),
            ) == -1
        {
            eprintln!("addresses cannot be fixed here: the same seed may not give the same trace");
        }
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
    let program = std::env::current_exe().context("who am I")?;
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).env_clear().env(READY, "1").exec();
    Err(error).context("cannot begin anew")
}
