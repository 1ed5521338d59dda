//! One POST over a connection of its own: HTTP/1.1, `connection: close`.
//!
//! Of the answer the status counts, and the beginning of its text is told when it is no success. It does not follow redirects, keeps no
//! connection, and reads no more of an answer than [`ANSWER_BYTES`].

use crate::{error::Fault, tls};
use http::Uri;
use regauge_types::Env;
use std::time::Duration;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

/// Of an answer, what is read at most.
const ANSWER_BYTES: usize = 16 << 10;
/// Of its text, what is told.
const TOLD: usize = 200;

fn refused(error: impl std::fmt::Display) -> Fault {
    Fault::Refused(error.to_string())
}

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub uri: Uri,
    /// Who may sign the server's certificate.
    pub tls_ca: Option<String>,
    /// A request takes no longer.
    pub timeout: Duration,
}

/// Sends it; fine if the answer is 2xx.
pub async fn post(env: &Env, place: &Place, key: &str, token: Option<&str>, body: &str) -> Result<(), Fault> {
    let sent = tokio::time::timeout(place.timeout, sent(env, place, key, token, body)).await;
    sent.map_err(|_| Fault::Refused(format!("no answer in time timeout_ms={}", place.timeout.as_millis())))?
}

async fn sent(env: &Env, place: &Place, key: &str, token: Option<&str>, body: &str) -> Result<(), Fault> {
    let secure = place.uri.scheme_str() == Some("https");
    let host = place.uri.host().ok_or_else(|| Fault::Hopeless("the url names no host".into()))?;
    let port = place.uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let authorization = match token {
        Some(token) if token.chars().any(char::is_control) => {
            return Err(Fault::Refused("the bearer token has characters that a header cannot have".into()));
        }
        Some(token) => format!("authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: regauge\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n\
         content-length: {}\r\nconnection: close\r\n{authorization}\r\n{body}",
        place.uri.path_and_query().map_or("/", |p| p.as_str()),
        place.uri.authority().map_or(host, |a| a.as_str()),
        body.len()
    );
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await.map_err(refused)?;
    if secure {
        let connector = tls::connector(env, place.tls_ca.as_deref())?;
        answered(tls::client(&connector, name, stream).await.map_err(refused)?, &request).await
    } else {
        answered(stream, &request).await
    }
}

async fn answered(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Result<(), Fault> {
    stream.write_all(request.as_bytes()).await.map_err(refused)?;
    stream.flush().await.map_err(refused)?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    let status = loop {
        if let Some(status) = status(&answer) {
            break status;
        }
        if answer.len() >= ANSWER_BYTES {
            return Err(refused("the receiver's answer is no HTTP"));
        }
        match stream.read(&mut part).await.map_err(refused)? {
            0 => return Err(refused("the receiver has closed the connection without an answer")),
            n => answer.extend_from_slice(&part[..n]),
        }
    };
    if (200..300).contains(&status) {
        return Ok(());
    }
    while answer.len() < ANSWER_BYTES {
        match stream.read(&mut part).await {
            Ok(n) if n > 0 => answer.extend_from_slice(&part[..n]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let text: String = text.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim()).chars().take(TOLD).collect();
    Err(Fault::Refused(format!("the receiver answers {status}: {text}")))
}

/// The status of an answer, once its head is whole; an interim answer (1xx) is passed over.
fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer);
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    if (100..200).contains(&status) { self::status(rest.as_bytes()) } else { Some(status) }
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn an_answer_counts_when_its_head_is_whole() {
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nx: y\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"), Some(204));
        assert_eq!(status(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\n\r\n"), Some(500));
        assert_eq!(status(b"SSH-2.0\r\n\r\n"), None);
    }
}
