//! Reads durable commits back from the files, in lsn order.
//!
//! A reader is told how far the journal was durable and never looks beyond; so it shares nothing with the writer but the list of files, and bytes that are being
//! written are none of its business. Every frame's checksum, number, chain and clock are verified before a row of it is decoded.

use std::path::PathBuf;
use std::sync::Arc;

use regauge_types::env::OpenMode;
use regauge_types::{Env, Hlc, Lsn, TopicId};

use super::file::Walk;
use super::files::Files;
use crate::LogError;
use crate::folder::Folder;
use crate::format::body::RawBody;
use crate::format::frame::{Header, Kind, Seed};
use crate::format::{payload, wire::Malformed};
use crate::model::{Commit, Definition, Part};
use crate::topics::Topics;

/// What all readers of a journal share.
#[derive(Clone)]
pub struct Source {
    /// Disk.
    pub env: Env,
    /// Where.
    pub folder: Folder,
    /// Which data set.
    pub seed: Seed,
    /// The files.
    pub files: Arc<Files>,
}

/// Reads commits with `after < lsn <= up_to`.
pub struct Reader {
    source: Source,
    /// Schemas of all that was defined; refreshed by the caller when it moves `up_to`.
    topics: Topics,
    topic: Option<TopicId>,
    last: Lsn,
    up_to: Lsn,
    at: Option<At>,
    /// The file in `at` has grown since.
    stale: bool,
    failed: bool,
}

/// A place in a file.
struct At {
    walk: Walk,
    /// The file's first lsn.
    file: u64,
    /// A frame from here on is worth telling where it is.
    tell_from: u64,
    path: PathBuf,
    /// The walk stops before this file's first lsn.
    next_file: Option<u64>,
    /// The frame before, if it was seen.
    previous: Option<(Header, u32)>,
}

impl Reader {
    /// `topics` must know every schema up to `up_to`. With `topic` only its parts are decoded.
    #[must_use]
    pub fn new(source: Source, topics: Topics, topic: Option<TopicId>, after: Lsn, up_to: Lsn) -> Self {
        Self { source, topics, topic, last: after, up_to, at: None, stale: false, failed: false }
    }

    /// The last commit that was passed.
    #[must_use]
    pub fn passed(&self) -> Lsn {
        self.last
    }

    /// Goes on to a later lsn, which is durable by now.
    pub fn extend(&mut self, up_to: Lsn, topics: Topics) {
        self.up_to = self.up_to.max(up_to);
        self.topics = topics;
        self.stale = true;
    }

    /// The next commit, `None` at `up_to`.
    pub fn read(&mut self) -> Result<Option<Commit>, LogError> {
        while self.last < self.up_to && !self.failed {
            match self.step() {
                Ok(Some(commit)) if self.topic.is_none() || !commit.parts.is_empty() => return Ok(Some(commit)),
                Ok(_) => {}
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Passes one frame. `None` for one that is no commit of the range.
    fn step(&mut self) -> Result<Option<Commit>, LogError> {
        let wanted = self.last.next();
        if self.at.as_ref().is_some_and(|at| at.next_file.is_none_or(|next| next <= wanted.0)) {
            // The file may have got a successor since.
            let next_file = self.source.files.find(wanted).map(|place| (place.file, place.next_file));
            if let (Some(at), Some((file, next_file))) = (&mut self.at, next_file) {
                if at.path == self.source.folder.journal_file(file) {
                    at.next_file = next_file;
                } else {
                    let previous = at.previous;
                    self.at = Some(open(&self.source, wanted, previous)?);
                }
            }
        }
        if self.at.is_none() {
            self.at = Some(open(&self.source, wanted, None)?);
        }
        let Some(at) = &mut self.at else {
            return Err(LogError::Internal { reason: "reader lost its place".to_owned() });
        };
        if std::mem::take(&mut self.stale) {
            at.walk.refresh().map_err(|e| e.into_corrupt(&at.path))?;
        }
        let position = at.walk.position();
        let Some(frame) = at.walk.step().map_err(|e| e.into_corrupt(&at.path))? else {
            return Err(LogError::corrupt(&at.path, position, format!("file ends before a durable commit lsn={wanted}")));
        };
        let (offset, header) = (frame.offset, frame.header);
        let corrupt = |reason: Malformed| LogError::corrupt(&at.path, offset, reason.0);
        check(&header, at.previous.as_ref(), wanted).map_err(corrupt)?;
        at.previous = Some((header, frame.crc));
        if header.kind == Kind::Commit && offset >= at.tell_from {
            at.tell_from = self.source.files.found(at.file, header.lsn, offset);
        }
        if header.kind == Kind::State || header.lsn < wanted.0 {
            return Ok(None);
        }
        self.last = wanted;
        let body = RawBody::read(frame.body, header.flags).map_err(corrupt)?;
        decode(&header, &body, &self.topics, self.topic).map(Some).map_err(corrupt)
    }
}

impl Iterator for Reader {
    type Item = Result<Commit, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn open(source: &Source, wanted: Lsn, previous: Option<(Header, u32)>) -> Result<At, LogError> {
    let place = source.files.find(wanted);
    let Some(place) = place else {
        return Err(LogError::Archived { after: Lsn(wanted.0 - 1), first: source.files.first() });
    };
    let path = source.folder.journal_file(place.file);
    let file = source.env.disk.open(&path, OpenMode::Read).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => LogError::corrupt(&path, 0, "journal file is missing"),
        _ => LogError::io("open", &path)(error),
    })?;
    let len = file.len().map_err(LogError::io("read", &path))?;
    let mut walk = Walk::open(file, &path, source.seed, place.file, len).map_err(|e| e.into_corrupt(&path))?;
    let previous = match place.offset {
        Some(offset) if previous.is_none() => {
            walk.seek(offset);
            None
        }
        _ => previous,
    };
    Ok(At { walk, file: place.file, tell_from: 0, path, next_file: place.next_file, previous })
}

/// Whether a frame stands where it may.
fn check(header: &Header, previous: Option<&(Header, u32)>, wanted: Lsn) -> Result<(), Malformed> {
    let out_of_order =
        || Malformed::new(format!("frames are out of order wanted={wanted} lsn={} kind={:?}", header.lsn, header.kind));
    let Some((before, crc)) = previous else {
        return if header.lsn <= wanted.0 { Ok(()) } else { Err(out_of_order()) };
    };
    let expected = match header.kind {
        Kind::Commit => before.lsn + 1,
        Kind::State => before.lsn,
    };
    if header.lsn != expected {
        return Err(out_of_order());
    }
    if header.previous != *crc {
        return Err(Malformed::new(format!("frame does not chain to the one before lsn={}", header.lsn)));
    }
    if header.run < before.run || header.hlc < before.hlc || (header.kind == Kind::Commit && header.hlc == before.hlc) {
        return Err(Malformed::new(format!("run or clock does not ascend lsn={}", header.lsn)));
    }
    Ok(())
}

/// Rows of a verified frame.
fn decode(header: &Header, body: &RawBody<&[u8]>, topics: &Topics, only: Option<TopicId>) -> Result<Commit, Malformed> {
    let schema_of = |topic, schema| {
        let defined_here = body.define.iter().rev().find_map(|definition| match definition {
            Definition::Topic(spec) if spec.id == topic && spec.schema_id == schema => Some(&spec.schema),
            Definition::Schema { topic: t, id, schema: s } if *t == topic && *id == schema => Some(s),
            _ => None,
        });
        defined_here
            .or_else(|| topics.schema(topic, schema))
            .ok_or_else(|| Malformed::new(format!("unknown schema topic={topic} schema={schema}")))
    };
    let parts = body
        .parts
        .iter()
        .filter(|part| only.is_none_or(|topic| topic == part.topic))
        .map(|part| {
            let rows = payload::decode(part.encoding, part.payload, schema_of(part.topic, part.schema_id)?, part.n_rows)?;
            Ok(Part {
                topic: part.topic,
                partition: part.partition,
                first_offset: part.first_offset,
                schema_id: part.schema_id,
                rows,
                cause: body.cause.clone(),
            })
        })
        .collect::<Result<_, Malformed>>()?;
    Ok(Commit { lsn: Lsn(header.lsn), hlc: Hlc(header.hlc), parts })
}
