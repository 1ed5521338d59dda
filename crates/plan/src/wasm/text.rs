//! A module as a statement writes it: WebAssembly's text format, or the binary in hexadecimal or base64.

use super::MODULE_MAX;
use crate::error::PlanError;

/// What a binary module begins with.
const MAGIC: &[u8] = b"\0asm";

/// The binary module that a text stands for.
///
/// Errors: 42601 for text that is no module's, 54000 for one that is too large.
pub fn read(text: &str) -> Result<Vec<u8>, PlanError> {
    let trimmed = text.trim();
    let bytes = if let Some(hex) = trimmed.strip_prefix("\\x") {
        unhex(hex).ok_or_else(|| unreadable("invalid hexadecimal data", "'\\x0061736d..'"))?
    } else if trimmed.starts_with('(') || trimmed.starts_with(";;") {
        if trimmed.len() > 8 * MODULE_MAX {
            return Err(too_large(trimmed.len()));
        }
        wat::parse_str(trimmed).map_err(|e| unreadable(first_lines(&e.to_string()), "AS $$ (module ..) $$"))?
    } else {
        let bytes = unbase64(trimmed).filter(|bytes| bytes.starts_with(MAGIC));
        let forms = "AS $$ (module ..) $$, '\\x0061736d..', or base64";
        bytes.ok_or_else(|| unreadable("neither text format, hexadecimal nor base64", forms))?
    };
    if bytes.len() > MODULE_MAX {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes)
}

fn unreadable(what: impl std::fmt::Display, example: &str) -> PlanError {
    PlanError::invalid("42601", format!("the WebAssembly module cannot be read: {what}")).with_hint(format!("write {example}"))
}

fn too_large(bytes: usize) -> PlanError {
    PlanError::invalid("54000", format!("the WebAssembly module is too large: bytes={bytes} limit={MODULE_MAX}"))
        .with_hint("build it for size, and strip names and debug information")
}

/// The beginning of what a library says, on one line.
pub(super) fn first_lines(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).take(6).collect::<Vec<_>>().join(" ")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).map(digit).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn digit(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    let (mut bits, mut n, mut padding) = (0u32, 0, 0);
    for b in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        bits = bits << 6 | u32::from(six);
        n += 6;
        if n >= 8 {
            n -= 8;
            bytes.extend((bits >> n).to_be_bytes().last());
            bits &= (1 << n) - 1;
        }
    }
    (n < 6 && padding <= 2 && !bytes.is_empty()).then_some(bytes)
}
