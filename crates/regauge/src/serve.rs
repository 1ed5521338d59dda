//! `regauge serve`: takes the ports, opens the data folder, says how to connect, and serves until it is told to stop.
//!
//! SIGTERM and Ctrl-C cancel what runs, tell clients, and end with exit code 0; nothing acknowledged depends on it. A fault after which views
//! would stand still for ever ends it, too, with exit code 1: why that is better than to go on says `regauge_views::driver::end`.

use crate::{
    allocator,
    doors::{Bound, Doors, Listen},
    folder, print,
};
use anyhow::{Context, bail};
use clap::Args;
use regauge_serve::pg::{Options, Tls};
use regauge_types::Env;
use regauge_views::Config;
use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
pub struct ServeArgs {
    /// The data folder; made if need be.
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// The address to listen on. Beyond this machine it needs --tls-cert and --tls-key.
    #[arg(long, default_value = "127.0.0.1", value_parser = host)]
    host: IpAddr,
    /// The port of the Postgres wire; 0 takes a free one.
    #[arg(long, default_value_t = 5433)]
    pg_port: u16,
    /// The port of HTTP; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Another name by which HTTP clients may call this server, such as that of a proxy before it.
    #[arg(long)]
    http_host: Vec<String>,
    /// A certificate in PEM, followed by those that signed it.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Threads of the engine.
    #[arg(long, default_value_t = folder::cores())]
    workers: usize,
    /// Keep checkpoints of views and tables, one after so many milliseconds or 256 MiB of log if anything was written, and open from the
    /// last one. 0 keeps and uses none.
    #[arg(long, default_value_t = 60_000)]
    checkpoint_every_ms: u64,
    /// A file that only its owner may read, with 64 digits of hexadecimal: the key of the values of SECRETs, in the place of the one in
    /// the data folder. REGAUGE_SECRET_KEY_FILE names it for every command.
    #[arg(long)]
    secret_key_file: Option<PathBuf>,
    /// Memory that views may hold, such as 512MiB or 8GiB; what is beyond goes to the disk. As much as they need unless given.
    #[arg(long, value_parser = bytes)]
    memory: Option<usize>,
    /// How many commits back, at least, SELECT .. AS OF EPOCH reads. What tables and views had meanwhile is kept in memory, and each epoch
    /// that changed a view costs its readers a little.
    #[arg(long, default_value_t = regauge_views::HISTORY_COMMITS)]
    history_commits: u64,
    /// Sessions read whatever any client was told to be written before the statement began: for clients that write over one connection and
    /// read over another and hand on no token. Each may say otherwise by `SET regauge.linearizable`.
    #[arg(long)]
    linearizable: bool,
    /// Connections at once.
    #[arg(long, default_value_t = 100)]
    max_connections: usize,
}

fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "an IP address, such as 127.0.0.1 or 0.0.0.0".to_owned()),
    }
}

/// A number of bytes: a number, then nothing, KiB, MiB or GiB.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: usize = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("a number of bytes, such as 512MiB or 8GiB".to_owned()),
    };
    let n = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit));
    let n = n.ok_or_else(|| "a number of bytes, such as 512MiB or 8GiB".to_owned())?;
    if n < MEMORY_MIN { Err(format!("at least {} MiB", MEMORY_MIN >> 20)) } else { Ok(n) }
}

/// What a server's views may hold at least: below this, blocks on their way to the disk and back are more than the state.
const MEMORY_MIN: usize = 16 << 20;

pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    serve(args, Env::real(), || drop(std::thread::spawn(end_by_force))).await
}

/// How long what runs has to end in once nothing more will come of it.
const LAST: Duration = Duration::from_secs(10);

/// Ends the process, whatever holds up its end.
fn end_by_force() {
    std::thread::sleep(LAST);
    eprintln!("error: the server has not ended within {} s after its fault and is cut off", LAST.as_secs());
    std::process::exit(1);
}

/// Serves until it is told to stop, or until nothing more will come of it: then `on_fault` is called first.
async fn serve(args: ServeArgs, env: Env, on_fault: impl FnOnce() + Send) -> anyhow::Result<()> {
    let tls = tls(&args)?;
    if !args.host.is_loopback() && tls.is_none() {
        bail!(
            "connections from beyond this machine need TLS host={}\nhint: give --tls-cert and --tls-key, or listen on 127.0.0.1",
            args.host
        );
    }
    let options =
        Options { connections_max: args.max_connections.max(1), tls_only: !args.host.is_loopback(), tls, ..Options::default() };
    let secured = options.tls.is_some();
    let listen = Listen {
        host: args.host,
        pg_port: args.pg_port,
        http_port: args.http_port,
        http_hosts: args.http_host.clone(),
        pg: options,
    };
    let bound = Bound::take(listen).await?;
    // Told to stop while the folder is read, it must not miss it.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if args.workers == 0 {
        bail!("--workers 0 leaves nobody to keep the views up to date; leave it out, or write 1 or more");
    }
    let mut config = Config::new(&args.data).workers(args.workers);
    config.env = env;
    config.secret_key = args.secret_key_file.as_deref().map(folder::secret_key).transpose()?;
    config.checkpoints.enabled = args.checkpoint_every_ms > 0;
    config.checkpoints.every = Duration::from_millis(args.checkpoint_every_ms);
    config.memory_bytes = args.memory;
    config.limits.history_commits = args.history_commits;
    config.limits.linearizable = args.linearizable;
    let instance = folder::open_with(config).await?;
    let doors = bound.open(&instance, &args.data)?;
    welcome(&args.data, &doors, secured);
    let mut idle = tokio::time::interval(allocator::EVERY);
    let fault = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            fault = instance.until_failed() => break Some(fault),
            _ = idle.tick() => allocator::give_back(),
        }
    };
    if let Some(fault) = fault {
        on_fault();
        // Clients are told, if that still works.
        let _ = tokio::time::timeout(LAST, doors.close()).await;
        return Err(print::explain(fault));
    }
    tracing::info!("stopping");
    doors.close().await?;
    tracing::info!("stopped");
    Ok(())
}

fn tls(args: &ServeArgs) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read file={}", path.display()));
    Tls::from_pem(&read(cert)?, &read(key)?).map(Some).map_err(print::explain)
}

/// What listens where, and a line that connects as it is printed.
fn welcome(data: &Path, doors: &Doors, tls: bool) {
    let running = &doors.running;
    println!("regauge {} serves {}", env!("CARGO_PKG_VERSION"), data.display());
    println!("postgres listens on {}{}", running.pg, if tls { " (TLS)" } else { "" });
    if let Some(http) = running.http {
        println!("http listens on {http}: http://localhost:{}/", http.port());
    }
    println!("connect with:");
    println!("  {}", doors.psql());
    tracing::info!(pid = running.pid, pg = %running.pg, tls, "serving");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::running::Running;
    use regauge_types::env::Clock;
    use std::{
        io::{Read, Write},
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    /// A clock that the thread which closes epochs cannot read any more, once it is told so.
    struct Broken {
        real: Arc<dyn Clock>,
        now: AtomicBool,
    }

    impl Clock for Broken {
        fn wall_ms(&self) -> u64 {
            self.real.wall_ms()
        }
        fn steady(&self) -> Duration {
            let is_driver = std::thread::current().name() == Some("regauge-epochs");
            assert!(!(is_driver && self.now.load(Ordering::SeqCst)), "planted");
            self.real.steady()
        }
        fn sleep(&self, time: Duration) {
            self.real.sleep(time);
        }
    }

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        args: ServeArgs,
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_whose_views_would_stand_still_ends_with_an_error_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Broken { real: Env::real().clock, now: AtomicBool::new(false) });
        let data = dir.path().to_str().unwrap();
        for broken in [true, false] {
            clock.now.store(false, Ordering::SeqCst);
            let arguments = ["serve", "--data", data, "--pg-port", "0", "--http-port", "0", "--workers", "1"];
            let args = <Only as clap::Parser>::parse_from(arguments).args;
            let (env, told) = (Env { clock: clock.clone(), ..Env::real() }, Arc::new(AtomicBool::new(false)));
            let tell = told.clone();
            let mut server = tokio::spawn(serve(args, env, move || tell.store(true, Ordering::SeqCst)));
            let mut found = None;
            for _ in 0..6_000 {
                found = Running::find(dir.path());
                if found.is_some() || server.is_finished() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let mut http = std::net::TcpStream::connect(found.unwrap().http.unwrap()).unwrap();
            http.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            http.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            if !broken {
                server.abort();
                break;
            }
            clock.now.store(true, Ordering::SeqCst);
            let ended =
                tokio::time::timeout(Duration::from_secs(120), &mut server).await.expect("it goes on as if nothing had happened");
            let error = ended.unwrap().unwrap_err().to_string();
            assert!(error.contains("57P02") || error.contains("views stand still"), "{error}");
            assert!(told.load(Ordering::SeqCst) && Running::find(dir.path()).is_none());
        }
    }
}
