//! What a seed draws before anything runs: sizes, pace, and for each life of the machine its workers, its fault and its end.

use crate::baton::{Pace, splitmix};
use regauge_log::{
    ArchiveSettings, LogOptions,
    archive::{ArchiveOptions, BackgroundOptions},
    testing::{Fault, Keep},
};
use regauge_views::{Limits, checkpoint::CheckpointOptions};
use std::time::Duration;

/// Numbers from a seed.
#[derive(Clone, Debug)]
pub struct Draw(pub u64);

impl Draw {
    /// Below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        splitmix(&mut self.0) % n.max(1)
    }

    /// As [`Draw::below`], for what is counted with a sign.
    pub fn int(&mut self, n: i64) -> i64 {
        self.below(n.unsigned_abs()).cast_signed()
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap_or(0)]
    }

    /// From 1 to about `max`, small ones as likely as large ones.
    pub fn wide(&mut self, max: u64) -> u64 {
        let bits = u64::from(64 - max.leading_zeros());
        let up_to = 1 << (1 + self.below(bits.max(1)));
        1 + self.below(up_to.min(max))
    }
}

/// What goes wrong in a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The power goes within this call of the disk.
    Power(u64),
    /// The program is stopped at this step of its threads.
    Kill(u64),
    /// This call of the disk fails, or the first after it that can.
    Error(u64, bool),
    /// The disk is full for the second third of the work.
    Full,
    /// This sync of a journal file fails; the power goes at the end, and what was not synced is lost.
    JournalSync(u64),
    /// This write of a journal file fails.
    JournalWrite(u64),
}

/// How a life ends that was not ended by its trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The program closes what it has open.
    Close,
    /// It is stopped.
    Kill,
    /// The power goes.
    Power,
}

/// One opening of the data folder.
#[derive(Clone, Debug)]
pub struct Life {
    /// Threads of the engine.
    pub workers: usize,
    /// Checkpoints.
    pub checkpoints: CheckpointOptions,
    /// What goes wrong.
    pub trouble: Trouble,
    /// How it ends.
    pub end: End,
    /// What a power cut leaves.
    pub keep: Keep,
    /// Operations of each client.
    pub ops: u64,
    /// The last lives only read.
    pub last: bool,
    /// How far the wall clock is off, in milliseconds.
    pub clock_ms: i64,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How threads are stepped.
    pub pace: Pace,
    /// Clients.
    pub clients: usize,
    /// The log's sizes.
    pub log: LogOptions,
    /// Epochs' sizes.
    pub limits: Limits,
    /// Openings, in order, as many as the work needs; the last two of them only read.
    pub lives: Vec<Life>,
    /// Operations of clients that are wanted of it.
    pub ops: u64,
}

/// Openings within which the work must be done.
const LIVES_MAX: u64 = 200;
/// Lives at the end in which everything is read: with checkpoints and without.
pub const LAST: usize = 2;

impl Scenario {
    /// What a seed draws, with at least so many operations of clients.
    pub fn of(seed: u64, ops: u64, told: bool) -> Scenario {
        let mut draw = Draw(seed ^ 0x5eed_0000_0000_0000);
        let pace = Pace {
            seed: splitmix(&mut draw.0),
            hand_on: draw.pick(&[2, 20, 100, 300]),
            late: draw.pick(&[0, 0, 1, 5]),
            steps_max: 20_000_000,
            told,
        };
        let clients = 2 + draw.below(3);
        let n_lives = 3 + draw.below(3);
        let each = (ops / (n_lives * clients)).max(1);
        // most end before their share is done, so more of them follow until all of it is
        let mut lives: Vec<Life> = (0..LIVES_MAX).map(|_| Life::of(&mut draw, each)).collect();
        for enabled in [true, false] {
            let mut last = Life::of(&mut draw, 0);
            (last.trouble, last.end, last.last) = (Trouble::None, End::Close, true);
            last.checkpoints.enabled = enabled;
            lives.push(last);
        }
        let clients = usize::try_from(clients).unwrap_or(2);
        Scenario { pace, clients, log: log(&mut draw), limits: limits(&mut draw), lives, ops }
    }
}

impl Life {
    fn of(draw: &mut Draw, ops: u64) -> Life {
        let keep = match draw.below(5) {
            0 => Keep::All,
            1 => Keep::None,
            2 | 3 => Keep::Sectors(splitmix(&mut draw.0)),
            _ => Keep::Some(splitmix(&mut draw.0)),
        };
        let trouble = match draw.below(12) {
            0..4 => Trouble::Power(draw.wide(2_500)),
            4 | 5 => Trouble::Kill(draw.wide(20_000)),
            6 => Trouble::Error(draw.wide(2_500), false),
            7 => Trouble::Error(draw.wide(2_500), true),
            8 => Trouble::Full,
            9 => Trouble::JournalSync(draw.wide(60)),
            10 => Trouble::JournalWrite(draw.wide(60)),
            _ => Trouble::None,
        };
        let end = draw.pick(&[End::Close, End::Kill, End::Power]);
        // only a machine that goes down shows what a failed sync left
        let (end, keep) = if matches!(trouble, Trouble::JournalSync(_)) { (End::Power, Keep::None) } else { (end, keep) };
        Life {
            workers: draw.pick(&[1, 1, 2, 3, 4]),
            checkpoints: CheckpointOptions {
                enabled: !draw.one_in(4),
                every: Duration::from_millis(draw.pick(&[20, 200, 2_000])),
                log_bytes: draw.pick(&[2_000, 20_000, 200_000]),
            },
            trouble,
            end,
            keep,
            ops,
            last: false,
            clock_ms: if draw.one_in(3) { draw.int(7_200_000) - 3_600_000 } else { 0 },
        }
    }

    /// Whether statements may fail for what the disk does, beyond telling that there is no room.
    pub fn is_troubled(&self) -> bool {
        matches!(self.trouble, Trouble::Error(..) | Trouble::JournalSync(_) | Trouble::JournalWrite(_))
    }

    /// The call of a journal file that is to fail, and how many of them go well before.
    pub fn journal_fault(&self) -> Option<(&'static str, u64)> {
        match self.trouble {
            Trouble::JournalSync(n) => Some(("sync", n)),
            Trouble::JournalWrite(n) => Some(("write", n)),
            _ => None,
        }
    }

    /// The fault of the disk that is planned.
    pub fn fault(&self) -> Option<(u64, Fault)> {
        match self.trouble {
            Trouble::Power(call) => Some((call, Fault::Crash)),
            Trouble::Error(call, no_room) => Some((call, if no_room { Fault::Enospc } else { Fault::Eio })),
            _ => None,
        }
    }
}

fn log(draw: &mut Draw) -> LogOptions {
    LogOptions {
        journal_file_bytes: draw.pick(&[3_000, 20_000, 200_000]),
        tail_bytes: draw.pick(&[1_000, 10_000, 1 << 20]),
        small_rows: draw.pick(&[2, 64]),
        compress: draw.one_in(2),
        dedup_window: 4,
        mark_idle: draw.pick(&[None, Some(Duration::from_millis(5)), Some(Duration::from_millis(50))]),
        archive: ArchiveSettings {
            sizes: ArchiveOptions {
                row_group_rows: draw.pick(&[8, 64]),
                step_rows: draw.pick(&[30, 300]),
                manifests_kept: 3,
                ..ArchiveOptions::default()
            },
            background: Some(BackgroundOptions {
                trigger_bytes: draw.pick(&[2_000, 30_000]),
                trigger_rows: draw.pick(&[30, 300]),
                ..BackgroundOptions::default()
            }),
            ..ArchiveSettings::default()
        },
        ..LogOptions::default()
    }
}

fn limits(draw: &mut Draw) -> Limits {
    Limits {
        epoch_rows: draw.pick(&[3, 40, 65_536]),
        epochs_in_flight: draw.pick(&[1, 4, 16]),
        history_commits: draw.pick(&[3, 25, 512]),
        forget_every: draw.pick(&[1, 2, 16]),
        compact_every: draw.pick(&[3, 40, 4096]),
        ..Limits::default()
    }
}
