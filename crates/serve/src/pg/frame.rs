//! Bytes to messages and back: one client's socket with its two buffers.
//!
//! ```text
//!   socket ─▶ input ─▶ frame: kind, body     a length is believed only as its bytes arrive; beyond a limit they are thrown away
//!   output ─▶ socket                         written when 64 KiB are full, or when the client is to see what is there
//! ```
//! Invariant: neither buffer grows with what a client claims or with how slowly it reads: reading is bounded by the frame's limit,
//! and who writes waits. pgwire's own decoders are not used here: they read past a message's end and panic on a truncated one.

use bytes::{Buf, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection's bytes, plain or through TLS.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Output is written to the socket beyond this.
const OUTPUT_BYTES: usize = 64 << 10;
/// Input is read in pieces of this.
const READ_BYTES: usize = 16 << 10;
/// No message is longer, as in PostgreSQL: who claims it does not speak the protocol.
const FRAME_BYTES_MAX: usize = 0x3fff_ffff;

/// A message as it came.
#[derive(Debug)]
pub struct Frame {
    /// Its letter.
    pub kind: u8,
    /// What follows the length.
    pub body: Bytes,
}

/// Why no message came.
#[derive(Debug)]
pub enum Fault {
    /// The client is gone.
    Gone,
    /// It does not speak the protocol: nothing that follows can be understood.
    Violation(String),
    /// A message beyond the limit, read to its end and thrown away.
    TooLarge {
        /// Its letter.
        kind: u8,
        /// Its bytes.
        len: usize,
    },
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Fault {
        Fault::Gone
    }
}

/// One client's socket.
pub struct Wire {
    io: Box<dyn Io>,
    input: BytesMut,
    /// Messages that wait to be written.
    pub output: BytesMut,
}

impl Wire {
    /// Nothing read yet.
    #[must_use]
    pub fn new(io: Box<dyn Io>) -> Wire {
        Wire { io, input: BytesMut::with_capacity(READ_BYTES), output: BytesMut::with_capacity(READ_BYTES) }
    }

    /// The socket, to speak TLS over it; `None` when the client has already sent more, which is then not encrypted and cannot be
    /// trusted.
    #[must_use]
    pub fn into_io(self) -> Option<Box<dyn Io>> {
        self.input.is_empty().then_some(self.io)
    }

    /// Bytes that were read and not yet taken.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.input.len()
    }

    /// Reads more.
    pub async fn fill(&mut self) -> Result<(), Fault> {
        self.input.reserve(READ_BYTES);
        if self.io.read_buf(&mut self.input).await? == 0 { Err(Fault::Gone) } else { Ok(()) }
    }

    async fn need(&mut self, bytes: usize) -> Result<(), Fault> {
        while self.input.len() < bytes {
            self.fill().await?;
        }
        Ok(())
    }

    /// The letter of the next message, which stays where it is.
    pub async fn peek(&mut self) -> Result<u8, Fault> {
        self.need(1).await?;
        Ok(self.input[0])
    }

    /// The next message, if `limit` lets its kind be as long as it is.
    pub async fn frame(&mut self, limit: impl Fn(u8) -> Option<usize>) -> Result<Frame, Fault> {
        self.need(1).await?;
        let kind = self.input[0];
        // A letter that is none is judged before its length: random bytes would have us wait for a gigabyte.
        let limit = limit(kind).ok_or_else(|| Fault::Violation(format!("invalid frontend message type {kind}")))?;
        self.need(5).await?;
        let claimed = u32::from_be_bytes([self.input[1], self.input[2], self.input[3], self.input[4]]);
        let len = usize::try_from(claimed).unwrap_or(usize::MAX);
        if !(4..=FRAME_BYTES_MAX).contains(&len) {
            return Err(Fault::Violation("invalid message length".to_owned()));
        }
        self.input.advance(5);
        let len = len - 4;
        if len > limit {
            self.discard(len).await?;
            return Err(Fault::TooLarge { kind, len });
        }
        self.need(len).await?;
        Ok(Frame { kind, body: self.input.split_to(len).freeze() })
    }

    /// The first message, which has no letter.
    pub async fn startup(&mut self, limit: usize) -> Result<Bytes, Fault> {
        self.need(4).await?;
        let len = usize::try_from(u32::from_be_bytes([self.input[0], self.input[1], self.input[2], self.input[3]]));
        let len = len.ok().filter(|len| (8..=limit).contains(len));
        let len = len.ok_or_else(|| Fault::Violation("invalid length of startup packet".to_owned()))?;
        self.need(len).await?;
        self.input.advance(4);
        Ok(self.input.split_to(len - 4).freeze())
    }

    async fn discard(&mut self, mut len: usize) -> Result<(), Fault> {
        loop {
            let here = len.min(self.input.len());
            self.input.advance(here);
            len -= here;
            if len == 0 {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    /// Writes what waits, if it is much.
    pub async fn relieve(&mut self) -> Result<(), Fault> {
        if self.output.len() >= OUTPUT_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes what waits.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        if !self.output.is_empty() {
            self.io.write_all(&self.output).await?;
            self.output.clear();
            // One wide row does not hold its memory for ever.
            if self.output.capacity() > 4 * OUTPUT_BYTES {
                self.output = BytesMut::with_capacity(OUTPUT_BYTES);
            }
        }
        self.io.flush().await?;
        Ok(())
    }

    /// Writes what waits and says that nothing follows.
    pub async fn close(&mut self) {
        if self.flush().await.is_ok() {
            let _ = self.io.shutdown().await;
        }
    }
}
