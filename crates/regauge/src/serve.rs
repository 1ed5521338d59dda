//! `regauge serve`: takes the ports, opens the data folder, says how to connect, and serves until it is told to stop.
//!
//! Ports are taken before the folder is opened: a port in use leaves nothing behind, and clients that come while the folder is read
//! wait in the queue. SIGTERM and Ctrl-C cancel what runs, tell clients, and end with exit code 0; nothing acknowledged depends on it.

use crate::{folder, print, running::Running};
use anyhow::{Context, bail};
use clap::Args;
use regauge_serve::{
    http::HttpOptions,
    pg::{Options, Server, Tls},
    secret::{self, Passwords},
};
use regauge_types::Env;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

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
    #[arg(long, default_value_t = 1)]
    workers: usize,
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

pub async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let tls = tls(&args)?;
    if !args.host.is_loopback() && tls.is_none() {
        bail!(
            "connections from beyond this machine need TLS host={}\nhint: give --tls-cert and --tls-key, or listen on 127.0.0.1",
            args.host
        );
    }
    let options =
        Options { connections_max: args.max_connections.max(1), tls_only: !args.host.is_loopback(), tls, ..Options::default() };
    let server = Server::bind(SocketAddr::new(args.host, args.pg_port), options.clone()).map_err(print::explain)?;
    let pg = server.address().map_err(print::explain)?;
    // Told to stop while the folder is read, it must not miss it.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = http_listener(&args).await?;
    let http = listener.local_addr()?;
    let instance = folder::open(&args.data, args.workers).await?;
    regauge_serve::pg_catalog::install(&instance);
    let passwords = Passwords::open(&Env::real(), &args.data).map_err(print::explain)?;
    let data = args.data.canonicalize().with_context(|| format!("cannot find the data folder data={}", args.data.display()))?;
    let passfile = data.join(passwords.passfile().file_name().unwrap_or_default());
    let running = Running { pid: std::process::id(), pg, http: Some(http), passfile };
    let left = running.leave(&data)?;
    welcome(&data, &running, options.tls.is_some());
    let stop = CancellationToken::new();
    let known = passwords.clone();
    let verify: regauge_serve::http::Verify = Arc::new(move |user, password| known.verify(user, password));
    let doors = HttpOptions { verify: Some(verify), hosts: args.http_host.clone(), ..HttpOptions::default() };
    let http = tokio::spawn(regauge_serve::http::serve(instance.clone(), listener, doors, stop.clone()));
    let serving = tokio::spawn(server.run(instance, passwords, stop.clone()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
    serving.await?;
    http.await?;
    drop(left);
    tracing::info!("stopped");
    Ok(())
}

/// HTTP stays on this machine: it has no TLS of its own.
async fn http_listener(args: &ServeArgs) -> anyhow::Result<tokio::net::TcpListener> {
    let host = if args.host.is_loopback() { args.host } else { Ipv4Addr::LOCALHOST.into() };
    let address = SocketAddr::new(host, args.http_port);
    tokio::net::TcpListener::bind(address).await.map_err(|e| {
        let hint = if e.kind() == std::io::ErrorKind::AddrInUse {
            "another server has the port: give --http-port, 0 for a free one"
        } else {
            "give another --http-port"
        };
        anyhow::anyhow!("cannot listen for HTTP: {e} address={address}\nhint: {hint}")
    })
}

fn tls(args: &ServeArgs) -> anyhow::Result<Option<Tls>> {
    let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read file={}", path.display()));
    Tls::from_pem(&read(cert)?, &read(key)?).map(Some).map_err(print::explain)
}

/// What listens where, and a line that connects as it is printed.
fn welcome(data: &Path, running: &Running, tls: bool) {
    let host = match running.pg.ip() {
        ip if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.to_string(),
        ip if ip.is_unspecified() => "::1".to_owned(),
        ip => ip.to_string(),
    };
    let mode = if tls { "PGSSLMODE=require " } else { "" };
    let user = secret::USER;
    println!("regauge {} serves {}", env!("CARGO_PKG_VERSION"), data.display());
    println!("postgres listens on {}{}", running.pg, if tls { " (TLS)" } else { "" });
    if let Some(http) = running.http {
        println!("http listens on {http}: http://localhost:{}/", http.port());
    }
    println!("connect with:");
    println!("  {mode}PGPASSFILE={} psql -h {host} -p {} -U {user} regauge", quoted(&running.passfile), running.pg.port());
    tracing::info!(pid = running.pid, pg = %running.pg, tls, "serving");
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | '=' | ',' | ':' | '@');
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_blanks_is_one_word_of_the_shell() {
        assert_eq!(quoted(Path::new("/a/b-c")), "/a/b-c");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
