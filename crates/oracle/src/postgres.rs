//! A PostgreSQL server of our own: a fresh cluster in a temporary folder on a free loopback port,
//! gone when the value is dropped, also by a panic. Locale C and time zone UTC, as regauge promises.
//!
//! Not durable (fsync off) and open to every local user for the seconds that it lives: it holds only
//! random rows. If this process is killed with SIGKILL the server stays; nothing else leaks.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A machine under load needs a while for the first connection.
const START_MAX: Duration = Duration::from_secs(60);

/// A running server; stopped on drop.
pub struct Server {
    // Fields drop in this order: the server first, then its folder.
    _running: Running,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When there are no server binaries (`cargo xtask test` installs them), or it does not start;
    /// the message ends with the server's own log.
    pub async fn start() -> Result<Self> {
        let bin = binaries().context(
            "no PostgreSQL server found: `cargo xtask test` installs it, or install the package \
             postgresql, or set REGAUGE_POSTGRES_BIN to the folder with initdb and postgres",
        )?;
        let user = unprivileged()?;
        let folder = tempfile::Builder::new().prefix("regauge-oracle-").tempdir()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        init(&bin, folder.path(), user)?;
        // Between finding a free port and listening on it another process may take it: try again.
        let mut tries_left = 3;
        loop {
            tries_left -= 1;
            let port = free_port()?;
            let child = spawn(&bin, folder.path(), port, user)?;
            let mut running = Running(child);
            match wait_ready(&mut running, port, folder.path()).await {
                Ok(()) => {
                    return Ok(Self { _running: running, port, _folder: folder });
                }
                Err(error) if tries_left == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The server process; asked to stop and waited for on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: it frees its shared memory, which SIGKILL
        // would leave behind. By the pid of our own child, never by name.
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-QUIT", &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

async fn wait_ready(running: &mut Running, port: u16, folder: &Path) -> Result<()> {
    let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let start = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait()? {
            bail!("PostgreSQL stopped at once, {status}: {}", log());
        }
        match connect(port).await {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > START_MAX => {
                return Err(error.context(format!("PostgreSQL log: {}", log())));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A number that no other caller in this process gets: for names.
#[must_use]
pub fn unique() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A new connection to the server on this port.
///
/// # Errors
/// When the server refuses it.
pub async fn connect(port: u16) -> Result<Client> {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname("postgres")
        .connect_timeout(Duration::from_secs(60))
        .connect(NoTls)
        .await
        .context("cannot connect to PostgreSQL")?;
    // Ends by itself when the client is dropped; an error shows at the client's next call.
    tokio::spawn(connection);
    Ok(client)
}

/// The folder with the server's programs: from the environment, PATH, or Debian's place.
fn binaries() -> Option<PathBuf> {
    let complete = |dir: &Path| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    if let Some(dir) = std::env::var_os("REGAUGE_POSTGRES_BIN").map(PathBuf::from) {
        return complete(&dir).then_some(dir);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(dir) = std::env::split_paths(&path).find(|dir| complete(dir)) {
        return Some(dir);
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .map(|(version, dir)| (version, dir.join("bin")))
        .filter(|(_, dir)| complete(dir))
        .max()?;
    Some(newest.1)
}

/// PostgreSQL refuses to run as root: then the ids of `postgres`, or of `nobody`.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    let own = Command::new("id").arg("-u").output().context("cannot run id")?;
    if own.stdout.trim_ascii() != b"0" {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    found.map(Some).context("running as root, and there is neither a user postgres nor nobody")
}

fn init(bin: &Path, folder: &Path, user: Option<(u32, u32)>) -> Result<()> {
    let mut command = Command::new(bin.join("initdb"));
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-U", "postgres", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"])
        .current_dir(folder)
        .stdin(Stdio::null());
    as_user(&mut command, user);
    let out = command.output().context("cannot run initdb")?;
    if !out.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(())
}

fn spawn(bin: &Path, folder: &Path, port: u16, user: Option<(u32, u32)>) -> Result<Child> {
    let log = std::fs::File::create(folder.join("log"))?;
    let mut command = Command::new(bin.join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "timezone=UTC",
        "log_timezone=UTC",
        "max_connections=50",
        // The oracle's queries are tiny: compiling them costs more than running them.
        "jit=off",
        "max_parallel_workers_per_gather=0",
        "autovacuum=off",
        // Without statistics a nested loop over two large sides would be chosen now and then.
        "enable_nestloop=off",
    ] {
        command.args(["-c", setting]);
    }
    command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    as_user(&mut command, user);
    command.spawn().context("cannot run postgres")
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
