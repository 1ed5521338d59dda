//! What is attacked: each target reads bytes that come from outside, or from a disk.

mod doors;
mod files;
mod planted;
mod site;
mod sql;

use anyhow::Result;

/// Something that reads bytes.
pub trait Target {
    /// Inputs that it understands.
    fn seeds(&self) -> Vec<Vec<u8>>;

    /// Words of its language.
    fn words(&self) -> &'static [&'static str] {
        &[]
    }

    /// No input is longer.
    fn bytes_max(&self) -> usize {
        8 << 10
    }

    /// Makes right what a change broke and what would hide everything behind it: lengths, checksums.
    fn mend(&self, input: Vec<u8>) -> Vec<u8> {
        input
    }

    /// Whether what it reads with catches what a library asserts, and makes an error of it: then only what comes out is a panic.
    fn catches(&self) -> bool {
        false
    }

    /// Reads it. What comes of it does not matter, as long as something does.
    fn run(&mut self, input: &[u8]);
}

/// Their names.
pub const NAMES: &[&str] = &[
    "journal_frames",
    "rows",
    "log_state",
    "archive_manifest",
    "checkpoint_manifest",
    "run_file",
    "block",
    "token",
    "pgwire",
    "sql",
    "plan",
    "copy",
    "ndjson",
];

/// The target of a name.
pub fn make(name: &str) -> Result<Option<Box<dyn Target>>> {
    let made: Box<dyn Target> = match name {
        "journal_frames" => Box::new(files::Frames::new()?),
        "rows" => Box::new(files::Rows),
        "log_state" => Box::new(files::State::new()?),
        "archive_manifest" => Box::new(files::ArchiveManifest::new()?),
        "checkpoint_manifest" => Box::new(files::CheckpointManifest::new()?),
        "run_file" => Box::new(files::RunFile::new()?),
        "block" => Box::new(files::Block),
        "token" => Box::new(doors::Token::new()),
        "pgwire" => Box::new(doors::Pgwire::new()?),
        "sql" => Box::new(sql::Text),
        "plan" => Box::new(sql::Plan::new()?),
        "copy" => Box::new(doors::Copy::new()?),
        "ndjson" => Box::new(doors::Ndjson::new()?),
        name => match planted::Planted::named(name) {
            Some(planted) => Box::new(planted),
            None => return Ok(None),
        },
    };
    Ok(Some(made))
}
