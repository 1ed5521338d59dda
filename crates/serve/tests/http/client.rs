//! A server of its own for each test, and as much of an HTTP client as the tests need.

use regauge_serve::http::{HttpOptions, serve};
use regauge_views::{Config, Instance};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub struct Server {
    pub address: SocketAddr,
    pub instance: Instance,
    stop: CancellationToken,
    task: JoinHandle<()>,
    dir: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(HttpOptions::default()).await
    }

    pub async fn with(options: HttpOptions) -> Server {
        Server::over(tempfile::tempdir().unwrap(), options).await
    }

    pub async fn over(dir: tempfile::TempDir, options: HttpOptions) -> Server {
        // a machine may be slow
        Server::patient(dir, options, Duration::from_secs(120)).await
    }

    /// Waits so long for what a token has seen.
    pub async fn patient(dir: tempfile::TempDir, options: HttpOptions, causal_timeout: Duration) -> Server {
        Server::opened(dir, options, |config| config.limits.causal_timeout = causal_timeout).await
    }

    pub async fn opened(dir: tempfile::TempDir, options: HttpOptions, change: impl FnOnce(&mut Config)) -> Server {
        let mut config = Config::new(dir.path());
        change(&mut config);
        let instance = Instance::open(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(instance.clone(), listener, options, stop.clone()));
        Server { address, instance, stop, task, dir }
    }

    /// Stops; gives the folder back.
    pub async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.task.await.unwrap();
        drop(self.instance);
        self.dir
    }

    pub async fn sql(&self, sql: &str) -> Answer {
        self.post("/v1/sql", &[], serde_json::json!({ "sql": sql }).to_string().as_bytes()).await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![];
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("content-type")) {
            all.push(("content-type", if path.ends_with("/records") { "application/x-ndjson" } else { "application/json" }));
        }
        all.extend_from_slice(headers);
        self.request("POST", path, &all, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"").await
    }

    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, headers, body).await;
        let mut bytes = vec![];
        tokio::time::timeout(Duration::from_secs(180), stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
        Answer::parse(&bytes)
    }

    /// Sends a request whose answer the caller reads.
    pub async fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        if !headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("host")) {
            head += &format!("host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        // A server that refuses early closes while we still write.
        let _ = stream.write_all(body).await;
        stream
    }
}

/// An answer, its body with chunks joined.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut body = &bytes[end + 4..];
        let mut whole = vec![];
        if head.to_lowercase().contains("transfer-encoding: chunked") {
            while let Some(at) = body.windows(2).position(|w| w == b"\r\n") {
                let len = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
                whole.extend_from_slice(&body[at + 2..at + 2 + len]);
                body = &body[at + 4 + len..];
            }
        } else {
            whole = body.to_vec();
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::from_utf8(whole).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|l| l.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    pub fn token(&self) -> &str {
        self.header("regauge-token").unwrap_or_else(|| panic!("no token: {self:?}"))
    }

    /// The rows of the last statement.
    pub fn rows(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["results"].as_array().unwrap().last().unwrap()["rows"].clone()
    }

    pub fn fails(&self, status: u16, code: &str) -> Value {
        let json = self.json();
        assert_eq!((self.status, json["code"].as_str()), (status, Some(code)), "{self:?}");
        json
    }
}
