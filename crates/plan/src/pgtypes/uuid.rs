//! uuid: 16 bytes, and its text in and out.

use crate::functions::error::{EvalError, EvalResult};

/// 32 digits to the base of 16, a hyphen behind any four of them or none, braces around it or none.
///
/// # Errors
/// 22P02.
pub fn parse(text: &str) -> EvalResult<[u8; 16]> {
    read(text.as_bytes()).ok_or_else(|| EvalError::invalid_text("uuid", text))
}

fn read(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        [b'{', ..] | [.., b'}'] => return None,
        bare => bare,
    };
    let mut out = [0; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        let [high, low, more @ ..] = rest else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = match more {
            [b'-', behind @ ..] if i % 2 == 1 && i < 15 => behind,
            more => more,
        };
    }
    rest.is_empty().then_some(out)
}

fn digit(c: u8) -> Option<u8> {
    char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Appends the usual form, `8-4-4-4-12`.
pub fn write(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_that_postgres_reads_is_read() {
        let mut usual = String::new();
        write(&mut usual, &parse("a0eebc999c0b4ef8bb6d6bb9bd380a11").unwrap());
        assert_eq!(usual, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        for same in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(parse(same).unwrap(), parse(&usual).unwrap(), "{same}");
        }
        for bad in [
            "",
            "{",
            "a0eebc99",
            &usual[1..],
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1-1",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "é",
        ] {
            assert_eq!(parse(bad).unwrap_err().sqlstate, "22P02", "{bad}");
        }
        assert!(parse(&format!("{usual}-")).is_err() && parse(&format!(" {usual}")).is_err());
    }
}
