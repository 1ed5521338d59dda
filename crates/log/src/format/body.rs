//! The body of a commit frame: definitions, producer, cause, parts.
//!
//! ```text
//! [definitions: count, each]  if flag 1      [producer: id, incarnation, sequence]  if flag 2      [cause: bytes]  if flag 4
//! parts: count, each: topic, partition, first offset, schema, number of rows, encoding (1 byte), payload (bytes)
//! ```
//!
//! The head and the parts' places are decoded without looking at any payload: recovery needs no more. The same walk serves a reader who wants one topic.

use bytes::Bytes;
use regauge_types::{SchemaId, TopicId};

use super::schema::{put_definition, take_definition};
use super::wire::{Input, Malformed, put_bytes, put_len, put_u64};
use crate::model::{Definition, ProducerSeq};

const DEFINES: u8 = 1;
const PRODUCER: u8 = 2;
const CAUSE: u8 = 4;

/// A part as it stands in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPart<'a> {
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
    pub payload: &'a [u8],
}

/// A commit's body.
#[derive(Debug, Clone, PartialEq)]
pub struct RawBody<'a> {
    /// Definitions, which hold for the parts too.
    pub define: Vec<Definition>,
    /// Who wrote it.
    pub producer: Option<ProducerSeq>,
    /// What the writer had seen.
    pub cause: Option<Bytes>,
    /// The rows.
    pub parts: Vec<RawPart<'a>>,
}

impl RawBody<'_> {
    /// Appends the body's bytes; returns the flags for the frame's header.
    #[must_use = "the flags belong into the header"]
    pub fn write(&self, out: &mut Vec<u8>) -> u8 {
        let mut flags = 0;
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
        put_len(out, self.parts.len());
        for part in &self.parts {
            put_u64(out, u64::from(part.topic.0));
            put_u64(out, u64::from(part.partition));
            put_u64(out, part.first_offset);
            put_u64(out, u64::from(part.schema_id.0));
            put_u64(out, part.n_rows);
            out.push(part.encoding);
            put_bytes(out, part.payload);
        }
        flags
    }
}

impl<'a> RawBody<'a> {
    /// Reads a body whose checksum was verified.
    pub fn read(bytes: &'a [u8], flags: u8) -> Result<Self, Malformed> {
        if flags & !(DEFINES | PRODUCER | CAUSE) != 0 {
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
        Ok(Self { define, producer, cause, parts })
    }
}
