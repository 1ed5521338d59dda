//! The order and the identity of jsonb values, which are stored as their canonical text (`LargeUtf8`).
//!
//! ```text
//!   value  := 10 null · 20 text 00 · 30 number · 40 false · 41 true · 60 count raw value* · 70 count (text 00 value)*
//!   number := 80 zero · c0 exponent digits 00 · 40 the same inverted, below zero         count, exponent: 4 bytes, big-endian
//! ```
//! PostgreSQL's order: objects above arrays above booleans above numbers above texts above null; containers by their count first; a
//! value that stands alone counts as an array of one, below the array of it (and so above the empty array). Numbers are compared as
//! numbers: `1.0` and `1` are one value, told apart by their texts only. Cost: one pass. Text that is not canonical (nobody stores
//! any) still gets some key, and nothing panics.

use std::borrow::Cow;

/// Deeper than any value that was let in; what is deeper compares equal.
const DEPTH_MAX: usize = 4096;

/// Appends bytes that compare as the values do.
pub fn put_order(text: &str, out: &mut Vec<u8>) {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
    match text.as_bytes().first() {
        Some(b'{' | b'[') => reader.value(out, 0),
        _ => {
            out.extend_from_slice(&[0x60, 0, 0, 0, 1, 0]);
            reader.value(out, 0);
        }
    }
}

/// The text with every number at its shortest: equal values have one.
#[must_use]
pub fn normal(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'.') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                let number = &text[at..end];
                if number.contains('.') {
                    out.push_str(&text[kept..at]);
                    out.push_str(number.trim_end_matches('0').trim_end_matches('.'));
                    kept = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// Behind the string that begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn number_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && matches!(bytes[at], b'-' | b'.' | b'0'..=b'9') {
        at += 1;
    }
    at
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b',' | b':') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) {
        if depth > DEPTH_MAX {
            self.at = self.bytes.len();
            return;
        }
        match self.peek() {
            None => {}
            Some(b'"') => {
                out.push(0x20);
                self.text(out);
            }
            Some(b't') => self.word(4, 0x41, out),
            Some(b'f') => self.word(5, 0x40, out),
            Some(b'-' | b'0'..=b'9') => {
                out.push(0x30);
                let end = number_end(self.bytes, self.at);
                put_number(&self.bytes[self.at..end], out);
                self.at = end;
            }
            Some(open @ (b'{' | b'[')) => self.container(open, out, depth),
            Some(_) => self.word(4, 0x10, out),
        }
    }

    fn word(&mut self, len: usize, tag: u8, out: &mut Vec<u8>) {
        out.push(tag);
        self.at = (self.at + len).min(self.bytes.len());
    }

    fn container(&mut self, open: u8, out: &mut Vec<u8>, depth: usize) {
        let object = open == b'{';
        out.push(if object { 0x70 } else { 0x60 });
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        if !object {
            out.push(1);
        }
        self.at += 1;
        let mut count = 0_u32;
        loop {
            match self.peek() {
                None => break,
                Some(b'}' | b']') => {
                    self.at += 1;
                    break;
                }
                Some(b'"') if object => self.text(out),
                Some(_) if object => {
                    self.at = self.bytes.len();
                    break;
                }
                Some(_) => {}
            }
            self.value(out, depth + 1);
            count = count.saturating_add(1);
        }
        out[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
    }

    /// A string without its escapes, ended by 00, which no text of ours holds.
    fn text(&mut self, out: &mut Vec<u8>) {
        let end = string_end(self.bytes, self.at);
        let raw = self.bytes.get(self.at + 1..end.saturating_sub(1)).unwrap_or(&[]);
        self.at = end;
        let mut at = 0;
        while at < raw.len() {
            if raw[at] != b'\\' {
                out.push(raw[at]);
                at += 1;
                continue;
            }
            let code = raw.get(at + 1).copied().unwrap_or(b'\\');
            at += 2;
            out.push(match code {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'b' => 0x08,
                b'f' => 0x0c,
                // the canonical text escapes control characters only by number
                b'u' => {
                    let digits = raw.get(at..at + 4).and_then(|d| std::str::from_utf8(d).ok());
                    at += 4;
                    digits.and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(0x1f)
                }
                other => other,
            });
        }
        out.push(0);
    }
}

fn put_number(text: &[u8], out: &mut Vec<u8>) {
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
    let significant = |b: &u8| (b'1'..=b'9').contains(b);
    let (Some(first), Some(last)) = (digits.iter().position(significant), digits.iter().rposition(significant)) else {
        return out.push(0x80);
    };
    // 0.1 has the exponent 0, 1 has 1, 0.01 has -1
    let exponent = if first < point {
        i32::try_from(point - first).unwrap_or(i32::MAX)
    } else {
        -i32::try_from(first - point - 1).unwrap_or(i32::MAX)
    };
    out.push(if negative { 0x40 } else { 0xc0 });
    let start = out.len();
    out.extend_from_slice(&(exponent ^ i32::MIN).to_be_bytes());
    out.extend(digits[first..=last].iter().filter(|b| **b != b'.'));
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|b| *b = !*b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<u8> {
        let mut out = vec![];
        put_order(text, &mut out);
        out
    }

    #[test]
    fn values_stand_in_postgres_order() {
        // as a real server sorts them
        let ordered = [
            "[]",
            "null",
            "\"\"",
            "\"B\"",
            "\"a\"",
            "\"a\\n\"",
            "\"ab\"",
            "-100",
            "-9.5",
            "-9",
            "-0.05",
            "0",
            "0.001",
            "0.01",
            "0.1",
            "1",
            "1.5",
            "2",
            "10",
            "100",
            "false",
            "true",
            "[null]",
            "[1]",
            "[[]]",
            "[{}]",
            "[0, 0]",
            "{}",
            "{\"a\": 1}",
            "{\"a\": 2}",
            "{\"b\": 0}",
            "{\"a\": 1, \"b\": 0}",
        ];
        for pair in ordered.windows(2) {
            assert!(key(pair[0]) < key(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn numbers_are_one_value_whatever_zeros_follow() {
        for (a, b) in [("1.0", "1"), ("[10.50, 2]", "[10.5, 2.00]"), ("-3.00", "-3"), ("{\"a.0\": 0.0}", "{\"a.0\": 0}")] {
            assert_eq!(key(a), key(b));
            assert_eq!(normal(a), normal(b));
        }
        assert_eq!(normal("\"1.0\""), "\"1.0\"");
        assert_ne!(normal("100"), normal("1"));
    }

    #[test]
    fn whatever_the_text_nothing_panics() {
        for bad in ["", "[", "{", "{\"", "\"\\", "\"\\u12", "{1:2}", "-", ".", "[[[[", "{\"a\"", "tru", "\u{e9}"] {
            key(bad);
            let _ = normal(bad);
        }
        key(&"[".repeat(100_000));
    }
}
