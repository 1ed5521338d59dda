//! Functions of bytea: digests, and bytes to text and back by `encode` and `decode`.

use arrow::array::{ArrayRef, AsArray, BinaryArray, BinaryBuilder};

use super::arith::boxed;
use super::digest;
use super::error::{EvalError, EvalResult};
use super::forms::{Form, K, builtin};
use super::udf::Args;

const OF_BYTES: &[Form] = &[(&[K::Bytes], K::Bytes)];

builtin!(MD5, "md5", [], &[(&[K::Text], K::Text), (&[K::Bytes], K::Text)], true, |a| {
    let hex = |bytes: &[u8], out: &mut String| bytes.iter().for_each(|b| push_hex(*b, out));
    if let Ok((texts, s)) = a.texts(0) {
        return a.rows_text(|i, out| {
            hex(&digest::md5(texts.value(i * s).as_bytes()), out);
            Ok(())
        });
    }
    let (bytes, s) = binary(a, 0)?;
    a.rows_text(|i, out| {
        hex(&digest::md5(bytes.value(i * s)), out);
        Ok(())
    })
});
builtin!(SHA224, "sha224", [], OF_BYTES, true, |a| bytes_of(a, |b| Ok(digest::sha256(b, 28))));
builtin!(SHA256, "sha256", [], OF_BYTES, true, |a| bytes_of(a, |b| Ok(digest::sha256(b, 32))));
builtin!(SHA384, "sha384", [], OF_BYTES, true, |a| bytes_of(a, |b| Ok(digest::sha512(b, 48))));
builtin!(SHA512, "sha512", [], OF_BYTES, true, |a| bytes_of(a, |b| Ok(digest::sha512(b, 64))));

/// An argument of bytea and its step.
pub(super) fn binary<'a>(a: &'a Args<'_>, at: usize) -> EvalResult<(&'a BinaryArray, usize)> {
    let col = a.col(at)?;
    let array = col.array.as_binary_opt::<i32>();
    let array = array.ok_or_else(|| EvalError::internal(format!("argument {at} has type {}", col.array.data_type())))?;
    Ok((array, col.step))
}

fn bytes_of(a: &Args<'_>, f: impl Fn(&[u8]) -> EvalResult<Vec<u8>>) -> EvalResult<ArrayRef> {
    let (bytes, s) = binary(a, 0)?;
    rows_bytes(a, |i| f(bytes.value(i * s)))
}

/// A strict function to bytea, row by row.
pub(super) fn rows_bytes(a: &Args<'_>, f: impl Fn(usize) -> EvalResult<Vec<u8>>) -> EvalResult<ArrayRef> {
    let nulls = a.nulls();
    let mut out = BinaryBuilder::new();
    for i in 0..a.n {
        if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            out.append_value(f(i)?);
        } else {
            out.append_null();
        }
    }
    Ok(boxed(out.finish()))
}

fn push_hex(b: u8, out: &mut String) {
    for half in [b >> 4, b & 15] {
        out.extend(char::from_digit(half.into(), 16));
    }
}

#[derive(Clone, Copy)]
enum Format {
    Hex,
    Base64,
    Escape,
}

fn format_of(name: &str) -> EvalResult<Format> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "hex" => Format::Hex,
        "base64" => Format::Base64,
        "escape" => Format::Escape,
        _ => return Err(EvalError::new("22023", format!("unrecognized encoding: \"{name}\""))),
    })
}

builtin!(ENCODE, "encode", [], &[(&[K::Bytes, K::Text], K::Text)], false, |a| {
    let ((bytes, sb), (format, sf)) = (binary(a, 0)?, a.texts(1)?);
    a.rows_text(|i, out| {
        let bytes = bytes.value(i * sb);
        match format_of(format.value(i * sf))? {
            Format::Hex => bytes.iter().for_each(|b| push_hex(*b, out)),
            Format::Base64 => base64(bytes, out),
            Format::Escape => bytes.iter().for_each(|b| match b {
                b'\\' => out.push_str("\\\\"),
                0 | 128.. => out.push_str(&format!("\\{b:03o}")),
                b => out.push(char::from(*b)),
            }),
        }
        Ok(())
    })
});
builtin!(DECODE, "decode", [], &[(&[K::Text, K::Text], K::Bytes)], false, |a| {
    let ((text, st), (format, sf)) = (a.texts(0)?, a.texts(1)?);
    rows_bytes(a, |i| {
        let text = text.value(i * st);
        match format_of(format.value(i * sf))? {
            Format::Hex => unhex(text),
            Format::Base64 => unbase64(text),
            Format::Escape => unescape(text),
        }
    })
});

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Lines of 76 characters, as PostgreSQL writes them.
fn base64(bytes: &[u8], out: &mut String) {
    let mut column = 0;
    for three in bytes.chunks(3) {
        let at = |i: usize| usize::from(three.get(i).copied().unwrap_or(0));
        let v = at(0) << 16 | at(1) << 8 | at(2);
        if column == 76 {
            out.push('\n');
            column = 0;
        }
        for i in 0..4 {
            let digit = char::from(DIGITS[v >> (18 - 6 * i) & 63]);
            out.push(if i > three.len() { '=' } else { digit });
        }
        column += 4;
    }
}

fn bad(what: &str) -> EvalError {
    EvalError::new("22023", what)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn unhex(text: &str) -> EvalResult<Vec<u8>> {
    let mut digits = vec![];
    for c in text.chars().filter(|c| !is_space(*c)) {
        let digit = c.to_digit(16).and_then(|d| u8::try_from(d).ok());
        digits.push(digit.ok_or_else(|| bad(&format!("invalid hexadecimal digit: \"{c}\"")))?);
    }
    if digits.len() % 2 != 0 {
        return Err(bad("invalid hexadecimal data: odd number of digits"));
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn unbase64(text: &str) -> EvalResult<Vec<u8>> {
    let (mut out, mut v, mut n, mut ended) = (vec![], 0u32, 0, 0);
    for c in text.chars().filter(|c| !is_space(*c)) {
        let digit = DIGITS.iter().position(|d| char::from(*d) == c);
        let digit = match digit {
            Some(digit) if ended == 0 => u32::try_from(digit).unwrap_or(0),
            None if c == '=' && (n >= 2 || ended > 0) => {
                ended += 1;
                0
            }
            None if c != '=' => return Err(bad(&format!("invalid symbol \"{c}\" found while decoding base64 sequence"))),
            _ => return Err(bad("unexpected \"=\" while decoding base64 sequence")),
        };
        (v, n) = (v << 6 | digit, n + 1);
        if n == 4 {
            out.extend(&v.to_be_bytes()[1..4 - ended.min(2)]);
            (v, n) = (0, 0);
        }
    }
    if n != 0 {
        return Err(bad("invalid base64 end sequence"));
    }
    Ok(out)
}

fn unescape(text: &str) -> EvalResult<Vec<u8>> {
    let wrong = || EvalError::new("22P02", "invalid input syntax for type bytea");
    let mut out = vec![];
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match bytes.next() {
            Some(b'\\') => out.push(b'\\'),
            Some(a @ b'0'..=b'3') => {
                let mut digit = || bytes.next().filter(|b| (b'0'..=b'7').contains(b)).map(|b| b - b'0').ok_or_else(wrong);
                let (b, c) = (digit()?, digit()?);
                out.push((a - b'0') << 6 | b << 3 | c);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(out)
}
