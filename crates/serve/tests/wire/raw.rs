//! A client that sends what it is told to, also what no client should.

use crate::common::Site;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Raw {
    pub socket: TcpStream,
}

/// An answer: its letter and its body.
pub type Answer = (u8, Vec<u8>);

impl Raw {
    /// A socket that has said nothing yet.
    pub async fn new(site: &Site) -> Raw {
        Raw { socket: TcpStream::connect(site.address).await.unwrap() }
    }

    /// One that was let in and is told that the server is ready.
    pub async fn admitted(site: &Site) -> Raw {
        let mut raw = Raw::new(site).await;
        raw.send(&startup(&[("user", "regauge"), ("database", "regauge")])).await;
        assert_eq!(raw.answer().await.unwrap().0, b'R');
        let mut scram = ScramSha256::new(site.password().as_bytes(), ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        let length = u32::try_from(first.len()).unwrap().to_be_bytes();
        raw.send(&message(b'p', &[b"SCRAM-SHA-256\0", &length[..], &first].concat())).await;
        scram.update(&raw.answer().await.unwrap().1[4..]).unwrap();
        raw.send(&message(b'p', scram.message())).await;
        scram.finish(&raw.answer().await.unwrap().1[4..]).unwrap();
        raw.until_ready().await;
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed is seen by what it answered.
        let _ = self.socket.write_all(bytes).await;
    }

    /// The next answer; `None` when the server has closed.
    pub async fn answer(&mut self) -> Option<Answer> {
        let read = async {
            let mut head = [0; 5];
            self.socket.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            let mut body = vec![0; usize::try_from(length).unwrap() - 4];
            self.socket.read_exact(&mut body).await.ok()?;
            Some((head[0], body))
        };
        tokio::time::timeout(Duration::from_secs(180), read).await.expect("the server neither answers nor closes")
    }

    /// Answers up to ReadyForQuery, with it.
    pub async fn until_ready(&mut self) -> Vec<Answer> {
        let mut answers = vec![];
        loop {
            let answer = self.answer().await.expect("the server has closed");
            let ready = answer.0 == b'Z';
            answers.push(answer);
            if ready {
                return answers;
            }
        }
    }

    /// The letters of the answers up to ReadyForQuery.
    pub async fn letters(&mut self) -> String {
        self.until_ready().await.iter().map(|(letter, _)| char::from(*letter)).collect()
    }

    /// The SQLSTATE of the error that ends the connection.
    pub async fn last_words(&mut self) -> String {
        let (letter, body) = self.answer().await.expect("an error");
        assert_eq!(letter, b'E');
        assert_eq!(self.answer().await, None);
        field(&body, b'C')
    }
}

/// A field of an error.
pub fn field(body: &[u8], letter: u8) -> String {
    let fields = body.split(|b| *b == 0);
    let found = fields.filter(|f| f.first() == Some(&letter)).map(|f| String::from_utf8_lossy(&f[1..]).into_owned()).next();
    found.unwrap_or_default()
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A portal of a statement without parameters, answers in text.
pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &rows_max.to_be_bytes()].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = (3u32 << 16).to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], &body].concat()
}
