//! Bytes and bits of bytea, and bytea where most functions take text: `substr`, `overlay`, `position`, `btrim` and its kin, `||`. Bytes are
//! counted from 1, in `get_byte` and `get_bit` from 0; bits of a byte from the least.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use super::bytes::{binary, rows_bytes};
use super::error::{EvalError, EvalResult};
use super::forms::{K, builtin};
use super::udf::Args;

fn outside(what: &str, n: i64, len: usize) -> EvalError {
    let end = i64::try_from(len).unwrap_or(i64::MAX) - 1;
    EvalError::new("2202E", format!("{what} {n} out of valid range, 0..{end}"))
}

fn within(n: i64, len: usize) -> EvalResult<usize> {
    usize::try_from(n).ok().filter(|at| *at < len).ok_or_else(|| outside("index", n, len))
}

builtin!(GET_BYTE, "get_byte", [], &[(&[K::Bytes, K::Int], K::Int)], false, |a| {
    let ((b, sb), (n, sn)) = (binary(a, 0)?, a.lanes::<Int32Type>(1)?);
    a.rows::<Int32Type>(|i| {
        let bytes = b.value(i * sb);
        Ok(bytes[within(n[i * sn].into(), bytes.len())?].into())
    })
});
builtin!(SET_BYTE, "set_byte", [], &[(&[K::Bytes, K::Int, K::Int], K::Bytes)], false, |a| {
    let ((b, sb), (n, sn), (v, sv)) = (binary(a, 0)?, a.lanes::<Int32Type>(1)?, a.lanes::<Int32Type>(2)?);
    rows_bytes(a, |i| {
        let mut bytes = b.value(i * sb).to_vec();
        let at = within(n[i * sn].into(), bytes.len())?;
        bytes[at] = v[i * sv].to_le_bytes()[0];
        Ok(bytes)
    })
});
builtin!(GET_BIT, "get_bit", [], &[(&[K::Bytes, K::Big], K::Int)], false, |a| {
    let ((b, sb), (n, sn)) = (binary(a, 0)?, a.lanes::<Int64Type>(1)?);
    a.rows::<Int32Type>(|i| {
        let bytes = b.value(i * sb);
        let at = within(n[i * sn], bytes.len().saturating_mul(8))?;
        Ok((bytes[at / 8] >> (at % 8) & 1).into())
    })
});
builtin!(SET_BIT, "set_bit", [], &[(&[K::Bytes, K::Big, K::Int], K::Bytes)], false, |a| {
    let ((b, sb), (n, sn), (v, sv)) = (binary(a, 0)?, a.lanes::<Int64Type>(1)?, a.lanes::<Int32Type>(2)?);
    rows_bytes(a, |i| {
        let mut bytes = b.value(i * sb).to_vec();
        let at = within(n[i * sn], bytes.len().saturating_mul(8))?;
        match v[i * sv] {
            0 => bytes[at / 8] &= !(1 << (at % 8)),
            1 => bytes[at / 8] |= 1 << (at % 8),
            _ => return Err(EvalError::new("22023", "new bit must be 0 or 1")),
        }
        Ok(bytes)
    })
});
builtin!(BIT_COUNT, "bit_count", [], &[(&[K::Bytes], K::Big)], true, |a| {
    let (b, s) = binary(a, 0)?;
    a.rows::<Int64Type>(|i| Ok(b.value(i * s).iter().map(|b| i64::from(b.count_ones())).sum()))
});
builtin!(CONVERT_FROM, "convert_from", [], &[(&[K::Bytes, K::Text], K::Text)], false, |a| {
    let ((b, sb), (of, so)) = (binary(a, 0)?, a.texts(1)?);
    a.rows_text(|i, out| {
        out.push_str(decoded(b.value(i * sb), of.value(i * so))?);
        Ok(())
    })
});
builtin!(CONVERT_TO, "convert_to", [], &[(&[K::Text, K::Text], K::Bytes)], false, |a| {
    let ((t, st), (of, so)) = (a.texts(0)?, a.texts(1)?);
    rows_bytes(a, |i| {
        utf8(of.value(i * so))?;
        Ok(t.value(i * st).as_bytes().to_vec())
    })
});

/// UTF8 is the only encoding here.
fn utf8(name: &str) -> EvalResult<()> {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    match plain.as_str() {
        "utf8" | "unicode" => Ok(()),
        "latin1" | "sqlascii" | "win1252" | "euccn" | "eucjp" | "latin9" | "iso88591" => {
            Err(EvalError::new("0A000", format!("encoding {name} is not offered: UTF8 is")))
        }
        _ => Err(EvalError::new("22023", format!("invalid encoding name \"{name}\""))),
    }
}

fn decoded<'a>(bytes: &'a [u8], encoding: &str) -> EvalResult<&'a str> {
    utf8(encoding)?;
    let wrong = |at: usize| {
        let shown: Vec<String> = bytes[at..].iter().take(1).map(|b| format!("0x{b:02x}")).collect();
        EvalError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")))
    };
    let text = std::str::from_utf8(bytes).map_err(|e| wrong(e.valid_up_to()))?;
    match bytes.iter().position(|b| *b == 0) {
        Some(at) => Err(wrong(at)),
        None => Ok(text),
    }
}

/// `length(bytea, encoding)`
pub(super) fn length_in(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((b, sb), (of, so)) = (binary(a, 0)?, a.texts(1)?);
    a.rows::<Int32Type>(|i| {
        let n = decoded(b.value(i * sb), of.value(i * so))?.chars().count();
        i32::try_from(n).map_err(|_| EvalError::out_of_range("integer"))
    })
}

/// Is the first argument bytea?
pub(super) fn is_bytes(a: &Args<'_>) -> bool {
    a.cols.first().is_some_and(|c| *c.array.data_type() == DataType::Binary)
}

/// `substr(b, from [, n])`
pub(super) fn substr(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((b, sb), (from, sf)) = (binary(a, 0)?, a.lanes::<Int32Type>(1)?);
    let n = if a.cols.len() > 2 { Some(a.lanes::<Int32Type>(2)?) } else { None };
    rows_bytes(a, |i| {
        let bytes = b.value(i * sb);
        let from = i64::from(from[i * sf]) - 1;
        let end = match n {
            Some((n, sn)) if n[i * sn] < 0 => return Err(EvalError::new("22011", "negative substring length not allowed")),
            Some((n, sn)) => from + i64::from(n[i * sn]),
            None => i64::MAX,
        };
        Ok(part(bytes, from, end).to_vec())
    })
}

/// The bytes from one place to another, as far as there are any.
fn part(bytes: &[u8], from: i64, end: i64) -> &[u8] {
    let place = |n: i64| usize::try_from(n.max(0)).unwrap_or(usize::MAX).min(bytes.len());
    let (from, end) = (place(from), place(end));
    &bytes[from..end.max(from)]
}

/// `overlay(b placing p from n [for m])`
pub(super) fn overlay(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((b, sb), (p, sp), (from, sf)) = (binary(a, 0)?, binary(a, 1)?, a.lanes::<Int32Type>(2)?);
    let n = if a.cols.len() > 3 { Some(a.lanes::<Int32Type>(3)?) } else { None };
    rows_bytes(a, |i| {
        let (bytes, new) = (b.value(i * sb), p.value(i * sp));
        let from = i64::from(from[i * sf]);
        if from <= 0 {
            return Err(EvalError::new("22011", "negative substring length not allowed"));
        }
        let n = n.map_or(i64::try_from(new.len()).unwrap_or(i64::MAX), |(n, sn)| n[i * sn].into());
        Ok([part(bytes, 0, from - 1), new, part(bytes, from - 1 + n, i64::MAX)].concat())
    })
}

/// `position(p in b)`: strpos's order of arguments.
pub(super) fn position(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((b, sb), (p, sp)) = (binary(a, 0)?, binary(a, 1)?);
    a.rows::<Int32Type>(|i| {
        let (bytes, wanted) = (b.value(i * sb), p.value(i * sp));
        let at = if wanted.is_empty() { Some(0) } else { bytes.windows(wanted.len()).position(|w| w == wanted) };
        i32::try_from(at.map_or(0, |at| at + 1)).map_err(|_| EvalError::out_of_range("integer"))
    })
}

/// `btrim(b, these)` and its kin.
pub(super) fn trim(a: &Args<'_>, start: bool, end: bool) -> EvalResult<ArrayRef> {
    let ((b, sb), (these, st)) = (binary(a, 0)?, binary(a, 1)?);
    rows_bytes(a, |i| {
        let (mut bytes, these) = (b.value(i * sb), these.value(i * st));
        while let [first, rest @ ..] = bytes
            && start
            && these.contains(first)
        {
            bytes = rest;
        }
        while let [rest @ .., last] = bytes
            && end
            && these.contains(last)
        {
            bytes = rest;
        }
        Ok(bytes.to_vec())
    })
}

/// `a || b`
pub(super) fn concat(a: &Args<'_>) -> EvalResult<ArrayRef> {
    let ((l, sl), (r, sr)) = (binary(a, 0)?, binary(a, 1)?);
    debug_assert!(l.len() <= a.n.max(1) && r.len() <= a.n.max(1));
    rows_bytes(a, |i| Ok([l.value(i * sl), r.value(i * sr)].concat()))
}
