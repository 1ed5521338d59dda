//! COPY .. WITH (FORMAT binary): bytes become tuples of fields; what a field says is known by the protocol, whose values they are.
//!
//! ```text
//!   PGCOPY \n 0xff \r \n 0 | flags u32 | n u32, n bytes | { n_fields i16 { len i32, len bytes } .. } .. | -1 i16
//!   11 bytes                 bit 16: oids, refused        a length of -1 is NULL                        the end, which may be missing
//! ```
//! The layout is PostgreSQL's (its manual, COPY, "Binary Format"). Invariant: bytes that are no such file are an error with the number of the
//! tuple, and nothing behind them is read: where a tuple ends is known from itself only. Cost: the bytes of one tuple beyond what has
//! come; fields are views of them.

use crate::error::{Error, Result, sqlstate as code};
use arrow::{array::ArrayRef, datatypes::DataType};
use bytes::{Buf, Bytes, BytesMut};

/// How such a file begins.
pub const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// A value of a type by its receive function, NULL for none: an array of one element.
pub type Receive = fn(&DataType, Option<&Bytes>) -> Result<ArrayRef>;

/// A tuple as it came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tuple {
    pub fields: Vec<Option<Bytes>>,
    /// All of it, its number of fields first.
    pub bytes: Bytes,
}

/// Cuts bytes into tuples.
#[derive(Debug)]
pub(super) struct Tuples {
    pending: BytesMut,
    /// The head was read.
    begun: bool,
    /// The end was read.
    ended: bool,
    /// Bytes that one tuple, or the head, may have.
    bytes_max: usize,
    /// Fields that each has.
    n_fields: usize,
    /// What is known of the tuple at hand: its number of fields, the places of those whose lengths have come, and where the next length is.
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    n: usize,
    places: Vec<Option<(usize, usize)>>,
    at: usize,
}

impl Tuples {
    /// Of values of at most so many bytes, and so many of them a row.
    pub fn new(bytes_max: usize, n_fields: usize) -> Tuples {
        Tuples { pending: BytesMut::new(), begun: false, ended: false, bytes_max, n_fields, part: None }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.ended && !bytes.is_empty() {
            return Err(behind());
        }
        if self.pending.len() > self.bytes_max {
            let message = format!("a row is too long bytes_max={}", self.bytes_max);
            return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("is it the binary format?"));
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole tuple; `None` when more bytes are needed, and with `end` when there is none.
    pub fn next(&mut self, end: bool) -> Result<Option<Tuple>> {
        if !self.begun {
            match head(&self.pending)? {
                Some(len) => self.pending.advance(len),
                None if end => return Err(cut_off()),
                None => return Ok(None),
            }
            self.begun = true;
        }
        if self.ended || self.pending.is_empty() {
            return Ok(None);
        }
        match self.found()? {
            Found::Part if end => Err(cut_off()),
            Found::Part => Ok(None),
            Found::End => {
                self.ended = true;
                if self.pending.len() > 2 { Err(behind()) } else { Ok(None) }
            }
            Found::Tuple { places, len } => {
                let bytes = self.pending.split_to(len).freeze();
                let fields = places.into_iter().map(|place| place.map(|(from, to)| bytes.slice(from..to))).collect();
                Ok(Some(Tuple { fields, bytes }))
            }
        }
    }

    /// Goes on where the last bytes broke off: a tuple that comes in many pieces is looked through once.
    fn found(&mut self) -> Result<Found> {
        let mut part = match self.part.take() {
            Some(part) => part,
            None => match self.head_of_tuple()? {
                Head::Part => return Ok(Found::Part),
                Head::End => return Ok(Found::End),
                Head::Fields(n) => Part { n, places: Vec::with_capacity(n), at: 2 },
            },
        };
        while part.places.len() < part.n {
            let Some(len) = int32(&self.pending, part.at) else {
                self.part = Some(part);
                return Ok(Found::Part);
            };
            part.at += 4;
            match usize::try_from(len) {
                Ok(len) if len > self.bytes_max => {
                    let message = format!("a value is too long bytes={len} bytes_max={}", self.bytes_max);
                    return Err(Error::invalid(code::LIMIT_EXCEEDED, message).hint("is it the binary format?"));
                }
                Ok(len) => {
                    part.places.push(Some((part.at, part.at + len)));
                    part.at += len;
                }
                Err(_) if len == -1 => part.places.push(None),
                Err(_) => return Err(Error::invalid(code::BAD_COPY, "invalid field size")),
            }
        }
        if part.at <= self.pending.len() {
            return Ok(Found::Tuple { places: part.places, len: part.at });
        }
        self.part = Some(part);
        Ok(Found::Part)
    }

    fn head_of_tuple(&self) -> Result<Head> {
        let Some(n) = int16(&self.pending, 0) else { return Ok(Head::Part) };
        match usize::try_from(n) {
            Ok(n) if n > self.n_fields => {
                Err(Error::invalid(code::BAD_COPY, format!("row field count is {n}, expected {}", self.n_fields)))
            }
            Ok(n) => Ok(Head::Fields(n)),
            Err(_) if n == -1 => Ok(Head::End),
            Err(_) => Err(Error::invalid(code::BAD_COPY, format!("row field count is {n}: less than none"))),
        }
    }
}

/// What a tuple begins with.
enum Head {
    /// Less than that.
    Part,
    /// The word that there are no more.
    End,
    /// So many fields.
    Fields(usize),
}

/// What the bytes at hand begin with.
enum Found {
    /// A tuple of which more bytes are to come.
    Part,
    /// The word that there are no more.
    End,
    /// A tuple of this length, its fields by their places.
    Tuple { places: Vec<Option<(usize, usize)>>, len: usize },
}

/// The length of the head, if it is there.
fn head(bytes: &[u8]) -> Result<Option<usize>> {
    let seen = bytes.len().min(SIGNATURE.len());
    if bytes[..seen] != SIGNATURE[..seen] {
        return Err(
            Error::invalid(code::BAD_COPY, "COPY file signature not recognized").hint("for text write FORMAT csv or text")
        );
    }
    let (Some(flags), Some(more)) = (int32(bytes, SIGNATURE.len()), int32(bytes, SIGNATURE.len() + 4)) else { return Ok(None) };
    if flags & (1 << 16) != 0 {
        return Err(Error::invalid(code::BAD_COPY, "invalid COPY file header (WITH OIDS)"));
    }
    if flags >> 16 != 0 {
        return Err(Error::invalid(code::BAD_COPY, "unrecognized critical flags in COPY file header"));
    }
    let more = usize::try_from(more).map_err(|_| Error::invalid(code::BAD_COPY, "invalid COPY file header (missing length)"))?;
    let len = SIGNATURE.len() + 8 + more;
    Ok((len <= bytes.len()).then_some(len))
}

fn int16(bytes: &[u8], at: usize) -> Option<i16> {
    bytes.get(at..at + 2)?.try_into().ok().map(i16::from_be_bytes)
}

fn int32(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes)
}

fn cut_off() -> Error {
    Error::invalid(code::BAD_COPY, "unexpected EOF in COPY data")
}

fn behind() -> Error {
    Error::invalid(code::BAD_COPY, "received copy data after EOF marker")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tuples: &[&[Option<&[u8]>]], end: bool) -> Vec<u8> {
        let mut out = [&SIGNATURE[..], &[0; 8]].concat();
        for fields in tuples {
            out.extend(i16::try_from(fields.len()).unwrap().to_be_bytes());
            for field in *fields {
                out.extend(field.map_or(-1, |f| i32::try_from(f.len()).unwrap()).to_be_bytes());
                out.extend(field.unwrap_or_default());
            }
        }
        if end {
            out.extend((-1i16).to_be_bytes());
        }
        out
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Vec<Option<Bytes>>>> {
        let (mut tuples, mut all) = (Tuples::new(100, 100), vec![]);
        for piece in bytes.chunks(piece) {
            tuples.take(piece)?;
            while let Some(tuple) = tuples.next(false)? {
                all.push(tuple.fields);
            }
        }
        while let Some(tuple) = tuples.next(true)? {
            all.push(tuple.fields);
        }
        Ok(all)
    }

    #[test]
    fn tuples_come_in_pieces_of_any_size_with_an_end_or_without() {
        let expected = vec![vec![Some(Bytes::from_static(b"ab")), None, Some(Bytes::new())], vec![]];
        for end in [true, false] {
            let bytes = file(&[&[Some(b"ab"), None, Some(b"")], &[]], end);
            for piece in [1, 2, 7, 1000] {
                assert_eq!(read(&bytes, piece).unwrap(), expected, "{piece} {end}");
            }
        }
    }

    #[test]
    fn a_tuple_that_comes_in_pieces_is_looked_through_once() {
        let mut tuples = Tuples::new(2000, 200);
        let bytes = file(&[&[Some(b"a".as_slice()); 200]], false);
        let mut whole = None;
        for piece in bytes.chunks(1) {
            tuples.take(piece).unwrap();
            whole = tuples.next(false).unwrap();
            // A length and a byte each: of the bytes at hand all lengths are known, and where the next one is looked for is behind them.
            let n = (tuples.pending.len().saturating_sub(2) + 1) / 5;
            let part = tuples.part.as_ref().map_or((0, 2), |part| (part.places.len(), part.at));
            assert!(!tuples.begun || part == (n, 2 + 5 * n), "{part:?} of {}", tuples.pending.len());
        }
        assert_eq!(whole.map(|tuple| tuple.fields.len()), Some(200));
        assert_eq!(tuples.next(true).unwrap(), None);
    }

    #[test]
    fn what_is_no_such_file_is_refused_wherever_it_breaks() {
        let good = file(&[&[Some(b"ab"), None]], false);
        for len in 0..good.len() {
            let whole = len == SIGNATURE.len() + 8;
            let read = read(&good[..len], 3);
            assert!(if whole { read.unwrap().is_empty() } else { read.unwrap_err().sqlstate == "22P04" }, "{len}");
        }
        let mut wrong: Vec<Vec<u8>> = vec![b"1\t2\n".to_vec(), b"PGCOPY\n\xff\r\n\x01\0\0\0\0\0\0\0\0".to_vec()];
        wrong.push([&SIGNATURE[..], &[0, 1, 0, 0, 0, 0, 0, 0]].concat());
        wrong.push([&SIGNATURE[..], &[0, 2, 0, 0, 0, 0, 0, 0]].concat());
        wrong.push([&SIGNATURE[..], &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat());
        wrong.push([file(&[], true), vec![0]].concat());
        wrong.push([file(&[], false), vec![0xff, 0xfe]].concat());
        wrong.push([file(&[], false), vec![0, 1, 0xff, 0xff, 0xff, 0xfe]].concat());
        for bytes in wrong {
            for piece in [1, 1000] {
                assert_eq!(read(&bytes, piece).unwrap_err().sqlstate, "22P04", "{bytes:?}");
            }
        }
        let long = [file(&[], false), vec![0, 1, 0x7f, 0xff, 0xff, 0xff]].concat();
        assert_eq!(read(&long, 9).unwrap_err().sqlstate, "54000");
    }
}
