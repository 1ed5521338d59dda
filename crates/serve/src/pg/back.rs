//! What the server says, written straight into the output buffer. Knows the layout of messages and nothing of when they are sent.

use super::types::Shape;
use bytes::{BufMut, BytesMut};
use regauge_views::{Error, Note, TransactionStatus, error::sqlstate, response::Notice};

/// How bad an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement ends.
    Error,
    /// The connection ends.
    Fatal,
}

/// Writes a message: letter, length, body.
pub fn message(out: &mut BytesMut, kind: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(kind);
    sized(out, true, body);
}

/// Writes a part with its length before it, which counts its own four bytes or does not.
pub fn sized(out: &mut BytesMut, itself: bool, body: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    body(out);
    let len = out.len() - at - if itself { 0 } else { 4 };
    // No part is near 4 GiB: rows are bounded when they are written.
    out[at..at + 4].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// A text with its NUL; one within would end it.
pub fn text(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().map(|b| if b == 0 { b'?' } else { b }));
    out.put_u8(0);
}

/// A message of one letter.
pub fn bare(out: &mut BytesMut, kind: u8) {
    message(out, kind, |_| {});
}

/// An error.
pub fn error(out: &mut BytesMut, severity: Severity, error: &Error) {
    let word = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    report(out, b'E', word, error);
}

/// A word for people.
pub fn notice(out: &mut BytesMut, message: &str) {
    report(out, b'N', "NOTICE", &Error::invalid(sqlstate::SUCCESSFUL, message));
}

/// The same of an answer, which may be a warning.
pub fn said(out: &mut BytesMut, notice: &Notice) {
    let word = if notice.is_warning() { "WARNING" } else { "NOTICE" };
    report(out, b'N', word, &Error::invalid(notice.sqlstate, notice.message.as_str()));
}

fn report(out: &mut BytesMut, kind: u8, severity: &str, error: &Error) {
    message(out, kind, |out| {
        let mut field = |letter: u8, value: &str| {
            out.put_u8(letter);
            text(out, value);
        };
        field(b'S', severity);
        field(b'V', severity);
        field(b'C', error.sqlstate);
        field(b'M', &error.message);
        // a notice asks for nothing
        let hint = if kind == b'E' { error.advice() } else { error.hint.as_deref() };
        for (letter, value) in [(b'D', error.detail.as_deref()), (b'H', hint)] {
            if let Some(value) = value {
                field(letter, value);
            }
        }
        if let Some(position) = error.position {
            field(b'P', &position.to_string());
        }
        if let Some(subject) = &error.subject {
            field(b's', &subject.relation.schema);
            field(b't', &subject.relation.name);
            for (letter, value) in [(b'c', &subject.column), (b'n', &subject.constraint)] {
                if let Some(value) = value {
                    field(letter, value);
                }
            }
        }
        out.put_u8(0);
    });
}

/// The server waits.
pub fn ready(out: &mut BytesMut, status: TransactionStatus) {
    let letter = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::Active => b'T',
        TransactionStatus::Failed => b'E',
    };
    message(out, b'Z', |out| out.put_u8(letter));
}

/// A statement is done.
pub fn complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| text(out, tag));
}

/// A setting.
pub fn parameter(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        text(out, name);
        text(out, value);
    });
}

/// Columns.
pub fn columns(out: &mut BytesMut, shapes: &[Shape]) {
    message(out, b'T', |out| {
        out.put_u16(count(shapes.len()));
        for shape in shapes {
            text(out, &shape.name);
            out.put_u32(0);
            out.put_u16(0);
            out.put_u32(shape.ty.oid());
            out.put_i16(shape.ty.size());
            out.put_i32(shape.modifier);
            out.put_u16(u16::from(shape.binary));
        }
    });
}

/// Types of parameters.
pub fn parameters(out: &mut BytesMut, oids: &[u32]) {
    message(out, b't', |out| {
        out.put_u16(count(oids.len()));
        oids.iter().for_each(|oid| out.put_u32(*oid));
    });
}

/// A note of NOTIFY.
pub fn note(out: &mut BytesMut, note: &Note) {
    message(out, b'A', |out| {
        out.put_i32(note.pid);
        text(out, &note.channel);
        text(out, &note.payload);
    });
}

/// Send rows.
pub fn copy_in(out: &mut BytesMut, n_columns: usize, binary: bool) {
    message(out, b'G', |out| {
        out.put_u8(u8::from(binary));
        out.put_u16(count(n_columns));
        (0..n_columns).for_each(|_| out.put_u16(u16::from(binary)));
    });
}

/// Rows of a COPY follow.
pub fn copy_out(out: &mut BytesMut, n_columns: usize, binary: bool) {
    message(out, b'H', |out| {
        out.put_u8(u8::from(binary));
        out.put_u16(count(n_columns));
        (0..n_columns).for_each(|_| out.put_u16(u16::from(binary)));
    });
}

/// A piece of a COPY.
pub fn copy_data(out: &mut BytesMut, bytes: &[u8]) {
    message(out, b'd', |out| out.put_slice(bytes));
}

/// What authentication says: its step, and what belongs to it.
pub fn authentication(out: &mut BytesMut, step: u32, data: &[u8]) {
    message(out, b'R', |out| {
        out.put_u32(step);
        out.put_slice(data);
    });
}

/// How a later connection names this one to cancel it.
pub fn key(out: &mut BytesMut, pid: i32, secret: i32) {
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_i32(secret);
    });
}

/// The newest protocol that is spoken here, 3.0, and what was not understood.
pub fn negotiate(out: &mut BytesMut, unknown: &[String]) {
    message(out, b'v', |out| {
        out.put_u32(super::startup::PROTOCOL_3_0);
        out.put_u32(u32::from(count(unknown.len())));
        unknown.iter().for_each(|name| text(out, name));
    });
}

/// Counts of the protocol have 16 bits; plans with more columns are refused before.
fn count(n: usize) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}
