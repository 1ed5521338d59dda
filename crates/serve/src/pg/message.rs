//! What clients say, read strictly: every count and length is checked against the bytes that are there, and a message must end
//! where it says. Cost: one pass; texts are copied, values of Bind are not.

use super::frame::Frame;
use bytes::{Buf, Bytes};
use regauge_views::{Error, Result, error::sqlstate as code};

/// A message.
#[derive(Debug)]
pub enum Front {
    /// Statements.
    Query(String),
    /// A statement to prepare.
    Parse {
        /// Its name; empty for the one without.
        name: String,
        /// Its text.
        sql: String,
        /// Types that the client knows; 0 where it does not.
        oids: Vec<u32>,
    },
    /// A statement with its values.
    Bind(Bind),
    /// What a statement or a portal gives.
    Describe(Target),
    /// Runs a portal.
    Execute {
        /// Its name.
        portal: String,
        /// At most so many rows; 0 for all.
        rows_max: usize,
    },
    /// Forgets a statement or a portal.
    Close(Target),
    /// The end of a row of messages.
    Sync,
    /// Send what is there.
    Flush,
    /// Bytes of a COPY.
    CopyData(Bytes),
    /// All were sent.
    CopyDone,
    /// They will not be sent.
    CopyFail(String),
    /// Good-bye.
    Terminate,
}

/// A statement with its values.
#[derive(Debug)]
pub struct Bind {
    /// Of the portal.
    pub portal: String,
    /// Of the statement.
    pub statement: String,
    /// 0 text, 1 binary; none for text, one for all, or one each.
    pub formats: Vec<i16>,
    /// `None` is NULL.
    pub values: Vec<Option<Bytes>>,
    /// The same of the answer's columns.
    pub results: Vec<i16>,
}

/// A statement or a portal.
#[derive(Debug)]
pub enum Target {
    /// By name.
    Statement(String),
    /// By name.
    Portal(String),
}

/// Letters of the messages that a client may send after it was let in, with how many bytes each may have.
#[must_use]
pub fn bytes_max(kind: u8, statement_bytes: usize) -> Option<usize> {
    match kind {
        b'Q' => Some(statement_bytes + 1),
        // Beside the statement: a name and the types of 65,535 parameters.
        b'P' => Some(statement_bytes + (512 << 10)),
        b'B' | b'd' => Some(BIND_BYTES_MAX),
        b'C' | b'D' | b'E' | b'f' => Some(64 << 10),
        b'c' | b'H' | b'S' | b'X' => Some(0),
        b'F' | b'p' => Some(64 << 10),
        _ => None,
    }
}

/// Values of one Bind, and one piece of a COPY: eight rows of the largest size.
const BIND_BYTES_MAX: usize = 64 << 20;

/// Reads a message.
pub fn read(frame: Frame) -> Result<Front> {
    let mut body = Body(frame.body);
    let front = match frame.kind {
        b'Q' => Front::Query(body.text()?),
        b'P' => {
            let (name, sql) = (body.text()?, body.text()?);
            let n = usize::from(body.u16()?);
            Front::Parse { name, sql, oids: (0..n).map(|_| body.u32()).collect::<Result<_>>()? }
        }
        b'B' => Front::Bind(bind(&mut body)?),
        b'D' => Front::Describe(target(&mut body)?),
        b'C' => Front::Close(target(&mut body)?),
        b'E' => {
            let portal = body.text()?;
            // A negative number asks for all rows, as 0 does.
            Front::Execute { portal, rows_max: usize::try_from(body.i32()?).unwrap_or(0) }
        }
        b'S' => Front::Sync,
        b'H' => Front::Flush,
        b'd' => return Ok(Front::CopyData(body.0)),
        b'c' => Front::CopyDone,
        b'f' => Front::CopyFail(body.text()?),
        b'X' => Front::Terminate,
        b'F' => return Err(Error::unsupported("fastpath function calls are not offered").hint("SELECT the function")),
        _ => return Err(violation("unexpected message type")),
    };
    if body.0.has_remaining() { Err(violation("invalid message format")) } else { Ok(front) }
}

fn bind(body: &mut Body) -> Result<Bind> {
    let (portal, statement) = (body.text()?, body.text()?);
    let formats = codes(body)?;
    let n = usize::from(body.u16()?);
    let values = (0..n).map(|_| value(body)).collect::<Result<_>>()?;
    Ok(Bind { portal, statement, formats, values, results: codes(body)? })
}

fn codes(body: &mut Body) -> Result<Vec<i16>> {
    let n = usize::from(body.u16()?);
    let code = |body: &mut Body| match body.u16()? {
        0 => Ok(0),
        1 => Ok(1),
        other => Err(Error::invalid(code::INVALID_PARAMETER, format!("unsupported format code: {other}"))),
    };
    (0..n).map(|_| code(body)).collect()
}

fn value(body: &mut Body) -> Result<Option<Bytes>> {
    match body.i32()? {
        -1 => Ok(None),
        len => match usize::try_from(len) {
            Ok(len) => body.bytes(len).map(Some),
            Err(_) => Err(violation("invalid argument size in bind message")),
        },
    }
}

fn target(body: &mut Body) -> Result<Target> {
    match body.bytes(1)?[0] {
        b'S' => Ok(Target::Statement(body.text()?)),
        b'P' => Ok(Target::Portal(body.text()?)),
        _ => Err(violation("invalid message subtype")),
    }
}

/// The protocol was not kept.
#[must_use]
pub fn violation(message: impl Into<String>) -> Error {
    Error::invalid(code::PROTOCOL_VIOLATION, message)
}

/// What is left of a message.
pub struct Body(pub Bytes);

impl Body {
    fn bytes(&mut self, len: usize) -> Result<Bytes> {
        if len > self.0.len() { Err(violation("insufficient data left in message")) } else { Ok(self.0.split_to(len)) }
    }

    fn u16(&mut self) -> Result<u16> {
        self.bytes(2).map(|mut b| b.get_u16())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32> {
        self.bytes(4).map(|mut b| b.get_u32())
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32> {
        self.bytes(4).map(|mut b| b.get_i32())
    }

    /// A text up to its NUL.
    pub fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|b| *b == 0).ok_or_else(|| violation("invalid string in message"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        utf8(&text).map(str::to_owned)
    }
}

/// Bytes as text.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let wrong: Vec<String> = bytes[e.valid_up_to()..].iter().take(4).map(|b| format!("0x{b:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", wrong.join(" "));
        Error::invalid(code::NOT_IN_REPERTOIRE, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(kind: u8, body: &[u8]) -> Result<Front> {
        read(Frame { kind, body: Bytes::copy_from_slice(body) })
    }

    #[test]
    fn every_truncation_of_a_message_is_an_error() {
        let bind = b"portal\0statement\0\x00\x01\x00\x01\x00\x02\x00\x00\x00\x03abc\xff\xff\xff\xff\x00\x01\x00\x00";
        let parse = b"name\0select $1\0\x00\x02\x00\x00\x00\x17\x00\x00\x00\x00";
        for (kind, whole) in
            [(b'B', &bind[..]), (b'P', &parse[..]), (b'E', b"p\0\x00\x00\x00\x05"), (b'D', b"Sname\0"), (b'Q', b"x\0")]
        {
            assert!(read_bytes(kind, whole).is_ok(), "{}", char::from(kind));
            for len in 0..whole.len() {
                let error = read_bytes(kind, &whole[..len]).expect_err("truncated");
                assert_eq!(error.sqlstate, code::PROTOCOL_VIOLATION, "{} {len}", char::from(kind));
            }
            assert!(read_bytes(kind, &[whole, b"\0"].concat()).is_err(), "too long");
        }
    }

    #[test]
    fn lengths_and_codes_that_cannot_be_are_errors() {
        assert!(read_bytes(b'B', b"\0\0\x00\x00\xff\xff").is_err());
        assert!(read_bytes(b'B', b"\0\0\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00").is_err());
        assert!(read_bytes(b'B', b"\0\0\x00\x01\x00\x02\x00\x00\x00\x00").is_err());
        assert_eq!(read_bytes(b'Q', b"\xff\xfe\0").expect_err("no text").sqlstate, code::NOT_IN_REPERTOIRE);
    }
}
