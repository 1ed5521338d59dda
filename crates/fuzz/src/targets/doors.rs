//! What clients send: tokens, messages of the Postgres wire, COPY, records in NDJSON.

use super::{Target, site::Site};
use anyhow::Result;
use regauge_serve::records::{self, Format};
use regauge_types::{CausalToken, DataSetId, Hlc, Lsn, TokenKey};
use regauge_views::Response;

/// A causal token: nobody makes one without the key.
pub struct Token {
    key: TokenKey,
    minted: CausalToken,
}

impl Token {
    pub fn new() -> Token {
        let minted = CausalToken { data_set: DataSetId([7; 16]), incarnation: 1, lsn: Lsn(900), hlc: Hlc(1 << 40) };
        Token { key: TokenKey::derive(b"nobody knows this"), minted }
    }
}

impl Target for Token {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![self.minted.encode(&self.key).into_bytes(), self.minted.encode(&TokenKey::derive(b"another")).into_bytes()]
    }

    fn bytes_max(&self) -> usize {
        200
    }

    fn run(&mut self, input: &[u8]) {
        let Ok(text) = std::str::from_utf8(input) else { return };
        if let Ok(token) = CausalToken::decode(text, &self.key) {
            assert_eq!(token, self.minted, "a forged token was taken");
        }
    }
}

/// Messages of a client that was let in.
pub struct Pgwire {
    runtime: tokio::runtime::Runtime,
}

impl Pgwire {
    pub fn new() -> Result<Pgwire> {
        Ok(Pgwire { runtime: tokio::runtime::Builder::new_current_thread().build()? })
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).unwrap_or(4);
    [&[kind][..], &len.to_be_bytes(), body].concat()
}

impl Target for Pgwire {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let parse = message(b'P', b"s\0SELECT $1::int, $2\0\0\x02\0\0\0\x17\0\0\0\x19");
        let bind = message(b'B', b"p\0s\0\0\x02\0\x01\0\0\0\x02\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\x01\0\x01");
        let rest = [message(b'D', b"Sp\0"), message(b'E', b"p\0\0\0\0\x05"), message(b'C', b"Ss\0"), message(b'S', b"")].concat();
        let copy = [message(b'd', b"1\t2\n"), message(b'c', b""), message(b'f', b"why\0"), message(b'H', b"")].concat();
        vec![
            message(b'Q', b"SELECT 1; SELECT 2\0"),
            [parse, bind, rest].concat(),
            copy,
            [message(b'p', b"md5\0"), message(b'F', b"\0\0\0\x01"), message(b'X', b"")].concat(),
        ]
    }

    fn run(&mut self, input: &[u8]) {
        self.runtime.block_on(regauge_serve::pg::probe::messages(input));
    }
}

/// How the bytes of a COPY may be written.
const FORMATS: &[&str] = &[
    "COPY every_type FROM STDIN",
    "COPY every_type FROM STDIN WITH (FORMAT csv)",
    "COPY every_type FROM STDIN WITH (FORMAT csv, HEADER true, NULL 'none', DELIMITER ';')",
    "COPY t (id, s) FROM STDIN WITH (DELIMITER '|', NULL '')",
    "COPY e FROM STDIN WITH (FORMAT csv, QUOTE '''', ESCAPE '\\')",
];

/// The bytes of a COPY; the first one says in which format, the second where they are cut in two.
pub struct Copy {
    site: Site,
}

impl Copy {
    pub fn new() -> Result<Copy> {
        Ok(Copy { site: Site::new()? })
    }
}

impl Target for Copy {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let line = "t\t1\t2\t3\t1.5\t-2e10\t12.5000\ttext\\n\tvar\t\\\\xdead\t2026-01-01\t12:00:00\t2026-01-01 10:00:00\t\
                    2026-01-01 10:00:00+02\t1 day 02:00:00\t0f0e0d0c-0b0a-0908-0706-050403020100\t{\"a\": [1, null]}\t{1,NULL}\t{a,\"b c\"}\n";
        let csv =
            line.trim_end().replace('"', "\"\"").split('\t').map(|cell| format!("\"{cell}\"")).collect::<Vec<_>>().join(",");
        [
            (0, line.to_owned()),
            (1, csv.clone()),
            (2, csv.replace(',', ";")),
            (3, "1|one\n2|\n\\.\n".to_owned()),
            (4, "1,2.5,'it''s'\n".to_owned()),
        ]
        .iter()
        .map(|(format, text)| [&[*format, 9][..], text.as_bytes()].concat())
        .collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "\\N",
            "\\.",
            "\n",
            "\r\n",
            "\t",
            "\"",
            "\"\"",
            ",",
            "\\x",
            "NaN",
            "Infinity",
            "-infinity",
            "9223372036854775808",
            "1e400",
            "{",
            "}",
            "\\\\",
            "none",
        ]
    }

    fn run(&mut self, input: &[u8]) {
        let Some(([format, cut], bytes)) = input.split_first_chunk::<2>() else { return };
        let sql = FORMATS[usize::from(*format) % FORMATS.len()];
        let responses = self.site.runtime.block_on(self.site.session.execute(sql));
        for response in responses.into_iter().flatten() {
            if let Response::CopyIn(mut copy) = response {
                let cut = usize::from(*cut).min(bytes.len());
                if copy.push(&bytes[..cut]).and_then(|()| copy.push(&bytes[cut..])).is_ok() {
                    let _ = copy.into_intake();
                }
            }
        }
    }
}

/// Records in NDJSON.
pub struct Ndjson {
    site: Site,
}

impl Ndjson {
    pub fn new() -> Result<Ndjson> {
        Ok(Ndjson { site: Site::new()? })
    }
}

impl Target for Ndjson {
    fn seeds(&self) -> Vec<Vec<u8>> {
        [
            "{\"b\": true, \"i2\": 1, \"i4\": -2, \"i8\": 9007199254740993, \"r\": 1.5, \"d\": 1e300, \"n\": \"12.3400\", \"t\": \"te\\u00fcxt\"}\n{}\n",
            "{\"by\": \"\\\\xdead\", \"da\": \"2026-01-01\", \"ti\": \"12:00\", \"ts\": \"2026-01-01T00:00:00\", \"tz\": \"2026-01-01T00:00:00Z\"}\n",
            "{\"iv\": \"1 day\", \"u\": \"0f0e0d0c-0b0a-0908-0706-050403020100\", \"j\": {\"a\": [1, {\"b\": null}]}, \"a\": [1, null], \"ta\": [\"x\"]}\r\n\n",
        ]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
    }

    fn words(&self) -> &'static [&'static str] {
        &[
            "{",
            "}",
            "[",
            "]",
            "\"",
            "null",
            "true",
            "1e999",
            "-0",
            "\\u0000",
            "\\ud800",
            "\"t\":",
            "\"a\":",
            "\"j\":",
            "\n",
            ",",
            "123456789012345678901234567890",
        ]
    }

    fn run(&mut self, input: &[u8]) {
        let bytes = bytes::Bytes::copy_from_slice(input);
        let _ = self.site.runtime.block_on(records::read(&mut self.site.session, "every_type", Format::Ndjson, bytes, None));
    }
}
