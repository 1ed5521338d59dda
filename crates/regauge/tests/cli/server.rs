//! `regauge serve` as a child on free ports, and a client of its HTTP door.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server, killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub http: SocketAddr,
    pub pg: SocketAddr,
    pub authorization: String,
}

impl Server {
    pub fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    pub fn start_with(data: &Path, args: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regauge"));
        command.args(["serve", "--pg-port", "0", "--http-port", "0"]).args(args).arg("--data").arg(data);
        Server::spawn(command, |_| data.to_owned())
    }

    /// Starts a command that becomes a server; `data` tells where its folder is to be seen from here.
    pub fn spawn(command: Command, data: impl Fn(u32) -> PathBuf) -> Server {
        Server::spawn_logged(command, data, Path::new("/dev/null"))
    }

    /// The same, its standard error in a file.
    pub fn spawn_logged(mut command: Command, data: impl Fn(u32) -> PathBuf, log: &Path) -> Server {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let pid = child.id();
        let data = &data(pid);
        let mut child = Some(child);
        let begun = Instant::now();
        loop {
            if let Some((http, pg)) = addresses(data, pid) {
                let passfile = std::fs::read_to_string(data.join("passfile")).unwrap();
                let password = passfile.trim_end().rsplit(':').next().unwrap();
                let authorization = format!("Basic {}", STANDARD.encode(format!("regauge:{password}")));
                return Server { child: child.take().unwrap(), http, pg, authorization };
            }
            if let Some(status) = child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the server ended by itself: {status}");
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the server did not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts one and kills it so long after, most often before it is up.
    pub fn killed_after(data: &Path, args: &[&str], after: Duration) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_regauge"));
        command.args(["serve", "--pg-port", "0", "--http-port", "0"]).args(args).arg("--data").arg(data);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(after);
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself while it came up: {ended:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn sql(&self, sql: &str) -> Value {
        let (status, body) = self.post("/v1/sql", &[], serde_json::json!({ "sql": sql }).to_string().as_bytes()).unwrap();
        assert_eq!(status, 200, "{sql}: {body}");
        body["results"].as_array().unwrap().last().unwrap()["rows"].clone()
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<(u16, Value)> {
        post(self.http, &self.authorization, path, headers, body)
    }

    /// SIGKILL: nothing of it runs after this.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How to connect over the Postgres wire.
pub fn wire(address: SocketAddr, authorization: &str) -> tokio_postgres::Config {
    let password = STANDARD.decode(authorization.trim_start_matches("Basic ")).unwrap();
    let password = String::from_utf8(password).unwrap().split_once(':').unwrap().1.to_owned();
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(address.port()).user("regauge").password(password).dbname("regauge");
    config
}

/// Numbers from a seed (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    /// The seed is REGAUGE_SEED, or 1.
    pub fn of_the_environment() -> Dice {
        Dice(std::env::var("REGAUGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1))
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// What the run file of this very process says.
fn addresses(data: &Path, pid: u32) -> Option<(SocketAddr, SocketAddr)> {
    let file: Value = serde_json::from_slice(&std::fs::read(data.join("serve.json")).ok()?).ok()?;
    if file["pid"] != pid {
        return None;
    }
    Some((file["http"].as_str()?.parse().ok()?, file["pg"].as_str()?.parse().ok()?))
}

/// One request on a connection of its own; an error when there was no whole answer.
pub fn post(
    address: SocketAddr,
    authorization: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<(u16, Value)> {
    let kind = if path.ends_with("records") { "application/x-ndjson" } else { "application/json" };
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {authorization}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n",
        body.len()
    );
    headers.iter().for_each(|(n, v)| head += &format!("{n}: {v}\r\n"));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(180)))?;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let early = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(early)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(early)?;
    Ok((status, serde_json::from_str(body).map_err(|_| early())?))
}
