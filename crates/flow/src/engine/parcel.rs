//! What travels between stages: a delta and its address, by pointer within a process and as Arrow IPC between processes.
//!
//! A parcel counts as one record for timely's progress, whatever its rows; it is split before it is sent ([`super::spread`]), so the
//! [`Post`] only looks at the address. Bytes are made and read by the stages, not by timely's threads: bad bytes fail one flow.
//! Each parcel that stays in the process holds a [`Ticket`] until its rows were taken in, which bounds what a worker has in flight.
//! Not bounded: what waits in timely's buffers on the way to another process.
//!
//! | bytes | |
//! |---|---|
//! | 8 | 0 rows, 1 the reason of a failure (its text follows; [`super::alarm`]) |
//! | 8, 8 | node, input |
//! | 8, 8 | number of rows, 1 if there are diffs |
//! | rest | Arrow IPC stream of one batch, diffs as the last column; nothing without columns; padded to 8 |

use super::EngineError;
use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::ipc::{reader::StreamDecoder, writer::StreamWriter};
use regauge_types::{Delta, Diffs};
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use timely::{
    Accountable,
    bytes::arc::Bytes,
    communication::Push,
    dataflow::channels::{ContainerBytes, Message, pushers::exchange::Distributor},
    progress::Stamp,
    scheduling::SyncActivator,
};

/// Parcels of one worker's flow that may be in flight before its source waits; each has at most 8,192 rows.
const IN_FLIGHT_MAX: usize = 64;

/// See the module's header.
#[derive(Clone, Default)]
pub(super) struct Parcel(Option<Box<Load>>);

#[derive(Clone)]
struct Load {
    to: usize,
    content: Content,
    _ticket: Option<Ticket>,
}

/// What is in a parcel.
#[derive(Clone)]
pub(super) enum Content {
    /// Rows for an input of a node.
    Rows { node: usize, input: usize, delta: Delta },
    /// The flow failed where this comes from.
    Failed(String),
    /// One of the two, not read yet.
    Bytes(Vec<u8>),
}

impl Parcel {
    pub fn new(to: usize, content: Content, ticket: Option<Ticket>) -> Parcel {
        Parcel(Some(Box::new(Load { to, content, _ticket: ticket })))
    }

    /// Takes the content out; the ticket ends with the parcel.
    pub fn content(&self) -> Option<&Content> {
        self.0.as_ref().map(|load| &load.content)
    }
}

impl Accountable for Parcel {
    fn record_count(&self) -> i64 {
        i64::from(self.0.is_some())
    }
}

impl Content {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let head = |kind: u64, rest: [usize; 4]| {
            let words = std::iter::once(kind).chain(rest.into_iter().map(|n| n as u64));
            words.flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
        };
        let mut bytes = match self {
            Content::Bytes(bytes) => return Ok(bytes.clone()),
            Content::Failed(why) => [head(1, [0, 0, why.len(), 0]), why.as_bytes().to_vec()].concat(),
            Content::Rows { node, input, delta } => {
                let each = match &delta.diffs {
                    Diffs::Ones => None,
                    Diffs::Each(diffs) => Some(diffs),
                };
                let mut bytes = head(0, [*node, *input, delta.n_rows(), usize::from(each.is_some())]);
                let batch = match each {
                    None => delta.rows.clone(),
                    Some(diffs) => {
                        let mut fields: Vec<_> = delta.rows.schema().fields().iter().cloned().collect();
                        fields.push(Arc::new(Field::new("diff", DataType::Int64, false)));
                        let mut columns = delta.rows.columns().to_vec();
                        columns.push(Arc::new(diffs.clone()));
                        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?
                    }
                };
                if batch.num_columns() > 0 {
                    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
                    writer.write(&batch)?;
                    writer.finish()?;
                }
                bytes
            }
        };
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }

    /// From bytes of another process.
    pub fn decode(bytes: &[u8]) -> Result<Content, EngineError> {
        let broken = || EngineError::Parcel("bytes of another process cannot be read".into());
        let word = |i: usize| {
            let bytes: [u8; 8] = bytes.get(i * 8..i * 8 + 8)?.try_into().ok()?;
            usize::try_from(u64::from_le_bytes(bytes)).ok()
        };
        let words: Option<Vec<usize>> = (0..5).map(word).collect();
        let [kind, node, input, n, each] = words.ok_or_else(broken)?[..] else { return Err(broken()) };
        let rest = &bytes[40..];
        if kind == 1 {
            let text = rest.get(..n).ok_or_else(broken)?;
            return Ok(Content::Failed(String::from_utf8_lossy(text).into_owned()));
        }
        let delta = if rest.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(n));
            Delta::ones(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).map_err(broken_by)?)
        } else {
            // a copy, which is aligned, and lets go of the slab that many parcels share
            let mut buffer = Buffer::from(rest);
            let batch = StreamDecoder::new().decode(&mut buffer).map_err(broken_by)?.ok_or_else(broken)?;
            if each == 0 { Delta::ones(batch) } else { with_diffs(batch).ok_or_else(broken)? }
        };
        if delta.n_rows() != n {
            return Err(broken());
        }
        Ok(Content::Rows { node, input, delta })
    }
}

fn broken_by(error: ArrowError) -> EngineError {
    EngineError::Parcel(error.to_string())
}

/// The last column is the diffs.
fn with_diffs(batch: RecordBatch) -> Option<Delta> {
    let n = batch.num_columns().checked_sub(1)?;
    let diffs = batch.column(n).as_primitive_opt::<Int64Type>().filter(|d| d.null_count() == 0)?.clone();
    let columns: Vec<usize> = (0..n).collect();
    Some(Delta::new(batch.project(&columns).ok()?, diffs))
}

impl ContainerBytes for Parcel {
    fn from_bytes(bytes: Bytes) -> Self {
        Parcel::new(0, Content::Bytes(bytes.to_vec()), None)
    }

    fn length_in_bytes(&self) -> usize {
        self.bytes().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        // a writer of timely's writes into memory that it measured before
        let _ = writer.write_all(&self.bytes());
    }
}

impl Parcel {
    /// Stages encode what goes to another process, so that this is a loan and never fails.
    fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self.content() {
            None => std::borrow::Cow::Borrowed(&[]),
            Some(Content::Bytes(bytes)) => std::borrow::Cow::Borrowed(bytes),
            Some(content) => {
                let failed = |e: ArrowError| Content::Failed(e.to_string()).encode().unwrap_or_default();
                std::borrow::Cow::Owned(content.encode().unwrap_or_else(failed))
            }
        }
    }
}

/// Carries parcels to their addresses.
pub(super) struct Post;

impl Distributor<Parcel> for Post {
    fn partition<T: Clone, P: Push<Message<T, Parcel>>>(&mut self, parcel: &mut Parcel, stamp: &Stamp<T>, pushers: &mut [P]) {
        if let Some(load) = &parcel.0 {
            let to = load.to;
            Message::push_at(parcel, stamp.clone(), &mut pushers[to]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Parcel>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// What one worker's part of a flow has in flight.
pub(super) struct Flight {
    n: AtomicUsize,
    waiting: AtomicBool,
    source: SyncActivator,
}

impl Flight {
    /// Wakes this source when there is room again.
    pub fn new(source: SyncActivator) -> Arc<Flight> {
        Arc::new(Flight { n: AtomicUsize::new(0), waiting: AtomicBool::new(false), source })
    }

    /// Whether the source must wait; it will be woken.
    pub fn is_full(&self) -> bool {
        if self.n.load(Ordering::SeqCst) < IN_FLIGHT_MAX {
            return false;
        }
        self.waiting.store(true, Ordering::SeqCst);
        // room may have come between the two lines above; then nobody would wake it
        self.n.load(Ordering::SeqCst) >= IN_FLIGHT_MAX
    }
}

/// One parcel in flight.
pub(super) struct Ticket(Arc<Flight>);

impl Ticket {
    pub fn new(flight: &Arc<Flight>) -> Ticket {
        flight.n.fetch_add(1, Ordering::SeqCst);
        Ticket(Arc::clone(flight))
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Ticket {
        Ticket::new(&self.0)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.0.n.fetch_sub(1, Ordering::SeqCst) - 1;
        if left <= IN_FLIGHT_MAX / 2 && self.0.waiting.swap(false, Ordering::SeqCst) {
            // the worker may be gone already
            let _ = self.0.source.activate();
        }
    }
}
