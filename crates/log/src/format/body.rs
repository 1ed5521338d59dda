//! The body of a commit frame: definitions, producer, cause, parts.
//!
//! ```text
//! [definitions: count, each]  if flag 1      [producer: id, incarnation, sequence]  if flag 2      [cause: bytes]  if flag 4
//! [skips: count, each: topic, number of records]  if flag 8: the producer's append was stored before
//! parts: count, each: topic, partition, first offset, schema, number of rows, encoding (1 byte), payload (bytes)
//! ```
//!
//! The head and the parts' places are decoded without looking at any payload: recovery needs no more. The same walk serves a reader who wants one topic.
//! A payload that is written stays in the pieces that its encoder made: its bytes are copied once, into the frame.

use arrow::buffer::Buffer;
use bytes::Bytes;
use regauge_types::{SchemaId, TopicId};

use super::schema::{put_definition, take_definition};
use super::wire::{Input, Malformed, put_bytes, put_len, put_u64};
use crate::model::{Definition, ProducerSeq, Skip};

const DEFINES: u8 = 1;
const PRODUCER: u8 = 2;
const CAUSE: u8 = 4;
const SKIPS: u8 = 8;

/// The bytes of a part's rows: in one place when read, in many when written.
pub trait Payload {
    /// How many.
    fn n_bytes(&self) -> usize;
    /// Appends them.
    fn put(&self, out: &mut Vec<u8>);
}

impl Payload for &[u8] {
    fn n_bytes(&self) -> usize {
        self.len()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}

impl Payload for &[Buffer] {
    fn n_bytes(&self) -> usize {
        self.iter().map(Buffer::len).sum()
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|piece| out.extend_from_slice(piece));
    }
}

/// A part as it stands in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPart<P> {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// Offset of the first row.
    pub first_offset: u64,
    /// Schema of the rows.
    pub schema_id: SchemaId,
    /// Number of rows.
    pub n_rows: u64,
    /// How the payload is encoded; see `payload`.
    pub encoding: u8,
    /// The rows.
    pub payload: P,
}

/// A commit's body.
#[derive(Debug, Clone, PartialEq)]
pub struct RawBody<P> {
    /// Definitions, which hold for the parts too.
    pub define: Vec<Definition>,
    /// Who wrote it.
    pub producer: Option<ProducerSeq>,
    /// What the writer had seen.
    pub cause: Option<Bytes>,
    /// What of the producer's append, which was stored before, came again.
    pub skips: Vec<Skip>,
    /// The rows.
    pub parts: Vec<RawPart<P>>,
}

/// More than the numbers in front of a part's payload take.
const PART_HEAD_BYTES: usize = 64;

impl<P: Payload> RawBody<P> {
    /// Appends the body's bytes; returns the flags for the frame's header.
    #[must_use = "the flags belong into the header"]
    pub fn write(&self, out: &mut Vec<u8>) -> u8 {
        let mut flags = 0;
        out.reserve(self.parts.iter().map(|part| PART_HEAD_BYTES + part.payload.n_bytes()).sum());
        if !self.define.is_empty() {
            flags |= DEFINES;
            put_len(out, self.define.len());
            self.define.iter().for_each(|definition| put_definition(out, definition));
        }
        if let Some(producer) = &self.producer {
            flags |= PRODUCER;
            put_bytes(out, producer.id.as_bytes());
            put_u64(out, producer.incarnation);
            put_u64(out, producer.sequence);
        }
        if let Some(cause) = &self.cause {
            flags |= CAUSE;
            put_bytes(out, cause);
        }
        if !self.skips.is_empty() {
            flags |= SKIPS;
            put_len(out, self.skips.len());
            for skip in &self.skips {
                put_u64(out, u64::from(skip.topic.0));
                put_u64(out, skip.n_rows);
            }
        }
        put_len(out, self.parts.len());
        for part in &self.parts {
            put_u64(out, u64::from(part.topic.0));
            put_u64(out, u64::from(part.partition));
            put_u64(out, part.first_offset);
            put_u64(out, u64::from(part.schema_id.0));
            put_u64(out, part.n_rows);
            out.push(part.encoding);
            put_len(out, part.payload.n_bytes());
            part.payload.put(out);
        }
        flags
    }
}

impl<'a> RawBody<&'a [u8]> {
    /// Reads a body whose checksum was verified.
    pub fn read(bytes: &'a [u8], flags: u8) -> Result<Self, Malformed> {
        if flags & !(DEFINES | PRODUCER | CAUSE | SKIPS) != 0 {
            return Err(Malformed::new(format!("unknown flags of a commit flags={flags}")));
        }
        let mut input = Input::new(bytes);
        let define = if flags & DEFINES == 0 {
            Vec::new()
        } else {
            (0..input.count()?).map(|_| take_definition(&mut input)).collect::<Result<_, _>>()?
        };
        let producer = if flags & PRODUCER == 0 {
            None
        } else {
            Some(ProducerSeq { id: input.text()?.to_owned(), incarnation: input.u64()?, sequence: input.u64()? })
        };
        let cause = if flags & CAUSE == 0 { None } else { Some(Bytes::copy_from_slice(input.bytes()?)) };
        let skips: Vec<Skip> = if flags & SKIPS == 0 {
            Vec::new()
        } else {
            (0..input.count()?)
                .map(|_| Ok(Skip { topic: TopicId(input.u32()?), n_rows: input.u64()? }))
                .collect::<Result<_, Malformed>>()?
        };
        if flags & SKIPS != 0 && (skips.is_empty() || producer.is_none()) {
            return Err(Malformed::new("records are skipped that nobody sent"));
        }
        let parts = (0..input.count()?)
            .map(|_| {
                Ok(RawPart {
                    topic: TopicId(input.u32()?),
                    partition: input.u32()?,
                    first_offset: input.u64()?,
                    schema_id: SchemaId(input.u32()?),
                    n_rows: input.u64()?,
                    encoding: input.u8()?,
                    payload: input.bytes()?,
                })
            })
            .collect::<Result<_, Malformed>>()?;
        input.end()?;
        Ok(Self { define, producer, cause, skips, parts })
    }
}
