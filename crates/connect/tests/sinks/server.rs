//! A PostgreSQL server of a test's own, which can be stopped and started again as a target does.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio_postgres::{Client, NoTls};

pub struct Server {
    running: Option<Child>,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    pub port: u16,
    folder: tempfile::TempDir,
    /// Answers over TLS alone.
    secure: bool,
}

fn binaries() -> PathBuf {
    let whole = |dir: &Path| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    let given = std::env::var_os("REGAUGE_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let found = given.into_iter().chain(std::env::split_paths(&path)).chain(debian).find(|dir| whole(dir));
    found.expect("a PostgreSQL server: install postgresql, or set REGAUGE_POSTGRES_BIN")
}

/// PostgreSQL does not run as root.
fn unprivileged() -> Option<(u32, u32)> {
    let own = Command::new("id").arg("-u").output().unwrap();
    if own.stdout.trim_ascii() != b"0" {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let fields: Vec<&str> = users.lines().map(|l| l.split(':').collect()).find(|f: &Vec<&str>| f[0] == name)?;
        Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("a user postgres or nobody"))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
}

/// A port below those that the system hands out (32768 and up on Linux): nobody gets it by chance while the server is down. Tests that run at
/// the same time look for it at different places.
fn port() -> u16 {
    const FIRST: u16 = 20_000;
    const N: u16 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = std::process::id().wrapping_mul(61).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % u32::from(N);
    let all = (0..N).map(|n| FIRST + (n + u16::try_from(from).unwrap()) % N);
    all.into_iter().find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("a free port")
}

/// The test itself comes in by another role, without TLS.
const HBA: &str = "hostnossl all postgres 127.0.0.1/32 trust\nhostssl all app 127.0.0.1/32 scram-sha-256\n";

/// How long a start is waited for.
const START_MAX: Duration = Duration::from_secs(120);

impl Server {
    pub async fn new() -> Server {
        Server::made(None).await
    }

    /// One that knows a password, and takes it over TLS only; certificate and key in PEM.
    pub async fn secure(cert: &str, key: &str) -> Server {
        Server::made(Some((cert, key))).await
    }

    async fn made(secure: Option<(&str, &str)>) -> Server {
        let (bin, user) = (binaries(), unprivileged());
        let folder = tempfile::Builder::new().prefix("regauge-sinks-").tempdir().unwrap();
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let mut init = Command::new(bin.join("initdb"));
        init.arg("-D").arg(folder.path().join("data")).args(["-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8"]);
        init.arg("--no-sync").current_dir(folder.path()).stdin(Stdio::null());
        as_user(&mut init, user);
        let out = init.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        if let Some((cert, key)) = secure {
            let data = folder.path().join("data");
            for (name, text) in [("server.crt", cert), ("server.key", key), ("pg_hba.conf", HBA)] {
                let path = data.join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
                if let Some((uid, gid)) = user {
                    chown(&path, Some(uid), Some(gid)).unwrap();
                }
            }
        }
        let mut server = Server { running: None, bin, user, port: port(), folder, secure: secure.is_some() };
        // Between finding a port and listening on it another process may take it.
        for _ in 0..3 {
            match server.try_start().await {
                Ok(()) => return server,
                Err(why) => eprintln!("PostgreSQL is tried at another port: {why}"),
            }
            server.port = port();
        }
        panic!("PostgreSQL does not start");
    }

    /// Starts it again where it was. Who served the one before may be on their way out, and is waited for.
    pub async fn start(&mut self) {
        let begun = Instant::now();
        while let Err(why) = self.try_start().await {
            assert!(begun.elapsed() < START_MAX, "{why}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn try_start(&mut self) -> Result<(), String> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(self.bin.join("postgres"));
        command.arg("-D").arg(self.folder.path().join("data")).arg("-p").arg(self.port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "timezone=UTC", "jit=off"] {
            command.args(["-c", setting]);
        }
        if self.secure {
            command.args(["-c", "ssl=on"]);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        as_user(&mut command, self.user);
        let mut child = command.spawn().unwrap();
        let said = || fs::read_to_string(self.folder.path().join("log")).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < START_MAX {
            if let Some(status) = child.try_wait().unwrap() {
                return Err(format!("PostgreSQL ended by itself, {status}: {}", said()));
            }
            if self.answers().await {
                self.running = Some(child);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let why = format!("PostgreSQL does not answer: {}", said());
        self.running = Some(child);
        self.crash();
        Err(why)
    }

    /// Whether it is this one that answers at the port.
    async fn answers(&self) -> bool {
        let Ok(client) = self.try_client().await else { return false };
        let place = client.query_one("SHOW data_directory", &[]).await;
        place.is_ok_and(|row| Path::new(row.get::<_, &str>(0)) == self.folder.path().join("data"))
    }

    async fn try_client(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname("postgres");
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    pub async fn client(&self) -> Client {
        self.try_client().await.unwrap()
    }

    /// Ends it at once, as a crash does: what is not committed is gone.
    pub fn crash(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        let asked = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.crash();
    }
}
