//! HTTP to the server that holds a data folder: one connection, one request at a time.
//!
//! Just enough of HTTP/1.1 for our own server's answers, which say their length. A connection that broke is made anew by the caller.

use crate::running::Running;
use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::fmt::Write as _;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// More is no answer of ours.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const HEAD_LINES_MAX: usize = 100;

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    authorization: String,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Client {
    /// Connects to a running server, with the first user of its password file.
    pub async fn connect(running: &Running) -> anyhow::Result<Client> {
        let address = running.http.context("the server that holds the data folder does not speak HTTP")?;
        let (user, password) = running.login()?;
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot reach the server address={address}"))?;
        stream.set_nodelay(true)?;
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Ok(Client { stream: BufReader::new(stream), host: format!("localhost:{}", address.port()), authorization })
    }

    /// Sends a body and waits for the answer.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> anyhow::Result<Answer> {
        let mut head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\ncontent-length: {}\r\n",
            self.host,
            self.authorization,
            body.len()
        );
        for (name, value) in headers {
            ensure!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "value cannot be sent as a header {name}={value:?}");
            write!(head, "{name}: {value}\r\n")?;
        }
        head += "\r\n";
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the answer is not HTTP")?;
        let mut length = None;
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line().await?;
            if line.is_empty() {
                let length = length.context("the answer does not say its length")?;
                ensure!(length <= ANSWER_BYTES_MAX, "the answer is too long bytes={length}");
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body).await.context("the answer ended early")?;
                return Ok(Answer { status, body });
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse::<usize>().ok();
            }
        }
        bail!("the answer has too many headers")
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        let n = (&mut self.stream).take(64 << 10).read_until(b'\n', &mut line).await?;
        ensure!(n > 0 && line.ends_with(b"\n"), "the server closed the connection");
        Ok(String::from_utf8(line)?.trim_end().to_owned())
    }
}

/// A path's part, with what may not stand there escaped.
pub fn escaped(part: &str) -> String {
    let mut out = String::new();
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
