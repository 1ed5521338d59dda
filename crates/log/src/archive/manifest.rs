//! The manifest: what the archive consists of. Publishing one is the only commit point of the archive.
//!
//! Invariant: segments are sorted by (topic, partition, first offset); within a partition they follow each other without a
//! gap or an overlap, in offsets and in lsns; none holds an lsn above `archived`. [`Manifest::decode`] checks all of it,
//! so whoever holds a `Manifest` may rely on it.
//! Cost: each run writes the whole list again, about 120 bytes a segment. It does not know what a segment looks like inside.
//!
//! Bytes: `docs/formats.md`, "Archive manifest".

use super::objects::{corrupt, segment_path};
use crate::error::LogError;
use bytes::Bytes;
use object_store::path::Path;
use regauge_types::{DataSetId, Hlc, Lsn, SchemaId, TopicId};

const MAGIC: [u8; 4] = *b"RGMF";
const VERSION: u32 = 1;
/// magic, version, length of the payload, crc of the three and the payload.
const HEADER_BYTES: usize = 4 + 4 + 8 + 4;
/// The largest manifest that is read: four million segments, far beyond use, yet an allocation that a machine survives.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 512 << 20;

/// One Parquet object: rows of one partition in one schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Whose rows.
    pub topic: TopicId,
    /// Whose rows.
    pub partition: u32,
    /// The schema of all its rows.
    pub schema_id: SchemaId,
    /// Offsets are `first_offset .. first_offset + rows`, dense.
    pub first_offset: u64,
    /// At least 1.
    pub rows: u64,
    /// Of the first row.
    pub first_lsn: Lsn,
    /// Of the last row.
    pub last_lsn: Lsn,
    /// Of the first row.
    pub first_hlc: Hlc,
    /// Of the last row.
    pub last_hlc: Hlc,
    /// Length of the object.
    pub bytes: u64,
    /// CRC-32C of the object.
    pub crc: u32,
    /// Length of the Parquet footer: everything after the last row group.
    pub footer_bytes: u64,
    /// CRC-32C of the footer. The footer holds the CRC of each column chunk, so a reader of few columns verifies all it reads.
    pub footer_crc: u32,
    /// Part of the object's name.
    pub nonce: u64,
}

impl SegmentInfo {
    /// The object's name.
    #[must_use]
    pub fn path(&self) -> Path {
        segment_path(self.topic, self.partition, self.first_offset, self.nonce)
    }

    /// The offset after the last row.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.first_offset + self.rows
    }
}

/// What the journal wants to find again when its files below `lsn` are gone: producers, topics. Opaque here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// The state is the one after this commit.
    pub lsn: Lsn,
    /// In the journal's own encoding, with its own version.
    pub bytes: Bytes,
}

/// A schema that a topic has or had, in the log's encoding of schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaEntry {
    /// Whose.
    pub topic: TopicId,
    /// Which.
    pub id: SchemaId,
    /// Arrow's IPC schema message.
    pub bytes: Bytes,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Counts publications, from 1; 0 is the empty archive, which has no object.
    pub number: u64,
    /// Whose log it is.
    pub data_set: DataSetId,
    /// Every commit up to here is in the segments.
    pub archived: Lsn,
    /// The newest state whose lsn is not above `archived`.
    pub state: JournalState,
    /// Every schema the log knew, by (topic, order of definition).
    pub schemas: Vec<SchemaEntry>,
    /// See the module.
    pub segments: Vec<SegmentInfo>,
}

impl Manifest {
    /// The archive before its first publication.
    #[must_use]
    pub fn empty(data_set: DataSetId) -> Manifest {
        Manifest {
            number: 0,
            data_set,
            archived: Lsn::ZERO,
            state: JournalState::default(),
            schemas: Vec::new(),
            segments: Vec::new(),
        }
    }

    /// All segments of a topic, by (partition, offset).
    #[must_use]
    pub fn topic(&self, topic: TopicId) -> &[SegmentInfo] {
        let from = self.segments.partition_point(|s| s.topic < topic);
        let to = self.segments.partition_point(|s| s.topic <= topic);
        self.segments.get(from..to).unwrap_or_default()
    }

    /// All segments of a partition, by offset.
    #[must_use]
    pub fn partition(&self, topic: TopicId, partition: u32) -> &[SegmentInfo] {
        let of_topic = self.topic(topic);
        let from = of_topic.partition_point(|s| s.partition < partition);
        let to = of_topic.partition_point(|s| s.partition <= partition);
        of_topic.get(from..to).unwrap_or_default()
    }

    /// The offset after the last archived row of a partition.
    #[must_use]
    pub fn end_offset(&self, topic: TopicId, partition: u32) -> u64 {
        self.partition(topic, partition).last().map_or(0, SegmentInfo::end_offset)
    }

    /// Rows in all segments.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.segments.iter().map(|s| s.rows).sum()
    }

    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut payload = Vec::with_capacity(256 + self.segments.len() * SEGMENT_BYTES);
        let mut put = |bytes: &[u8]| payload.extend_from_slice(bytes);
        put(&self.data_set.0);
        put(&self.number.to_le_bytes());
        put(&self.archived.0.to_le_bytes());
        put(&self.state.lsn.0.to_le_bytes());
        put(&(self.state.bytes.len() as u64).to_le_bytes());
        put(&self.state.bytes);
        put(&(self.schemas.len() as u64).to_le_bytes());
        for schema in &self.schemas {
            put(&schema.topic.0.to_le_bytes());
            put(&schema.id.0.to_le_bytes());
            put(&(schema.bytes.len() as u64).to_le_bytes());
            put(&schema.bytes);
        }
        put(&(self.segments.len() as u64).to_le_bytes());
        for s in &self.segments {
            put(&s.topic.0.to_le_bytes());
            put(&s.partition.to_le_bytes());
            put(&s.schema_id.0.to_le_bytes());
            for word in [s.first_offset, s.rows, s.first_lsn.0, s.last_lsn.0, s.first_hlc.0, s.last_hlc.0, s.bytes] {
                put(&word.to_le_bytes());
            }
            put(&s.crc.to_le_bytes());
            put(&s.footer_bytes.to_le_bytes());
            put(&s.footer_crc.to_le_bytes());
            put(&s.nonce.to_le_bytes());
        }
        let mut framed = Vec::with_capacity(HEADER_BYTES + payload.len());
        framed.extend_from_slice(&MAGIC);
        framed.extend_from_slice(&VERSION.to_le_bytes());
        framed.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        let crc = frame_crc(&framed, &payload);
        framed.extend_from_slice(&crc.to_le_bytes());
        framed.extend_from_slice(&payload);
        framed.into()
    }

    /// Reads an object's bytes. Any damage is `Corrupt` with the offset where it showed: an object becomes visible whole or
    /// not at all, so there is no such thing as a torn manifest.
    pub fn decode(object: &Path, bytes: &Bytes) -> Result<Manifest, LogError> {
        let mut input = Input { object, bytes, at: 0 };
        let manifest = input.frame().and_then(|()| input.manifest())?;
        manifest.check().map_err(|what| corrupt(object, 0, what))?;
        Ok(manifest)
    }

    /// The invariant of the module.
    pub(crate) fn check(&self) -> Result<(), String> {
        let sound = |s: &SegmentInfo| {
            s.rows > 0
                && s.first_offset.checked_add(s.rows).is_some_and(|end| i64::try_from(end).is_ok())
                && s.first_lsn <= s.last_lsn
                && s.last_lsn <= self.archived
                && s.first_hlc <= s.last_hlc
                && s.footer_bytes >= 12
                && s.footer_bytes < s.bytes
        };
        if let Some(bad) = self.segments.iter().find(|s| !sound(s)) {
            return Err(format!("impossible segment object={}", bad.path()));
        }
        for pair in self.segments.windows(2) {
            let [a, b] = pair else { continue };
            let follows = match (a.topic, a.partition).cmp(&(b.topic, b.partition)) {
                std::cmp::Ordering::Less => true,
                // A schema may change within one commit.
                std::cmp::Ordering::Equal => a.end_offset() == b.first_offset && a.last_lsn <= b.first_lsn,
                std::cmp::Ordering::Greater => false,
            };
            if !follows {
                return Err(format!("segments do not follow each other object={} after={}", b.path(), a.path()));
            }
        }
        if self.state.lsn > self.archived {
            return Err(format!("state is ahead of the segments state_lsn={} archived={}", self.state.lsn, self.archived));
        }
        Ok(())
    }
}

/// Encoded length of a [`SegmentInfo`]: bounds the number of them that a payload can hold.
const SEGMENT_BYTES: usize = 3 * 4 + 7 * 8 + 4 + 8 + 4 + 8;

fn frame_crc(header: &[u8], payload: &[u8]) -> u32 {
    let mut crc = super::crc::Crc::default();
    crc.update(header);
    crc.update(payload);
    crc.finish()
}

/// A reader that cannot run past its end.
struct Input<'a> {
    object: &'a Path,
    bytes: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn bad(&self, what: &str) -> LogError {
        corrupt(self.object, self.at as u64, what)
    }

    fn take(&mut self, n: usize) -> Result<Bytes, LogError> {
        let end =
            self.at.checked_add(n).filter(|end| *end <= self.bytes.len()).ok_or_else(|| self.bad("manifest ends too early"))?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LogError> {
        let taken = self.take(N)?;
        taken[..].try_into().map_err(|_| self.bad("manifest ends too early"))
    }

    fn u32(&mut self) -> Result<u32, LogError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, LogError> {
        self.array().map(u64::from_le_bytes)
    }

    fn blob(&mut self) -> Result<Bytes, LogError> {
        let len = self.u64()?;
        let len = usize::try_from(len).map_err(|_| self.bad("impossible length"))?;
        // Its own copy: a slice would keep the whole object's bytes for as long as the state lives.
        self.take(len).map(|taken| Bytes::copy_from_slice(&taken))
    }

    /// A number of things of at least `bytes_min` each, not above what can follow.
    fn count(&mut self, bytes_min: usize) -> Result<usize, LogError> {
        let count = self.u64()?;
        let left = self.bytes.len() - self.at;
        usize::try_from(count).ok().filter(|n| *n <= left / bytes_min).ok_or_else(|| self.bad("impossible count"))
    }

    fn frame(&mut self) -> Result<(), LogError> {
        if self.array()? != MAGIC {
            return Err(corrupt(self.object, 0, "not a manifest"));
        }
        let version = self.u32()?;
        let len = self.u64()?;
        let header = self.bytes.slice(..self.at);
        let crc = self.u32()?;
        let payload = self.bytes.slice(self.at..);
        if payload.len() as u64 != len {
            return Err(self.bad("manifest has the wrong length"));
        }
        if frame_crc(&header, &payload) != crc {
            return Err(self.bad("manifest does not match its checksum"));
        }
        // After the checksum: a flipped bit must not look like a newer release.
        if version != VERSION {
            return Err(LogError::NewerFormat { path: self.object.as_ref().into(), found: version, supported: VERSION });
        }
        Ok(())
    }

    fn manifest(&mut self) -> Result<Manifest, LogError> {
        let data_set = DataSetId(self.array()?);
        let number = self.u64()?;
        let archived = Lsn(self.u64()?);
        let state = JournalState { lsn: Lsn(self.u64()?), bytes: self.blob()? };
        let n_schemas = self.count(4 + 4 + 8)?;
        let mut schemas = Vec::with_capacity(n_schemas);
        for _ in 0..n_schemas {
            schemas.push(SchemaEntry { topic: TopicId(self.u32()?), id: SchemaId(self.u32()?), bytes: self.blob()? });
        }
        let n_segments = self.count(SEGMENT_BYTES)?;
        let mut segments = Vec::with_capacity(n_segments);
        for _ in 0..n_segments {
            segments.push(self.segment()?);
        }
        if self.at != self.bytes.len() {
            return Err(self.bad("bytes after the manifest's end"));
        }
        Ok(Manifest { number, data_set, archived, state, schemas, segments })
    }

    fn segment(&mut self) -> Result<SegmentInfo, LogError> {
        Ok(SegmentInfo {
            topic: TopicId(self.u32()?),
            partition: self.u32()?,
            schema_id: SchemaId(self.u32()?),
            first_offset: self.u64()?,
            rows: self.u64()?,
            first_lsn: Lsn(self.u64()?),
            last_lsn: Lsn(self.u64()?),
            first_hlc: Hlc(self.u64()?),
            last_hlc: Hlc(self.u64()?),
            bytes: self.u64()?,
            crc: self.u32()?,
            footer_bytes: self.u64()?,
            footer_crc: self.u32()?,
            nonce: self.u64()?,
        })
    }
}
