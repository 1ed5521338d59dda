//! The doors of a running server: the Postgres wire, HTTP and sinks over one instance, and the run file that tells other commands of them.
//!
//! Ports are taken first ([`Bound::take`]), before a data folder is opened: a port in use leaves nothing behind, and clients that come
//! early wait in the queue. Closing tells clients, waits for what runs, and removes the run file.

use crate::{
    print,
    running::{Left, Running},
};
use anyhow::Context;
use regauge_serve::{
    http::HttpOptions,
    login::Logins,
    pg::{Options, Server},
    secret::{self, Passwords},
};
use regauge_types::Env;
use regauge_views::Instance;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Where to listen, and how.
pub struct Listen {
    /// For the Postgres wire.
    pub host: IpAddr,
    /// 0 takes a free one.
    pub pg_port: u16,
    /// 0 takes a free one.
    pub http_port: u16,
    /// Other names by which HTTP clients may call.
    pub http_hosts: Vec<String>,
    /// Of the Postgres wire.
    pub pg: Options,
}

/// Ports that are taken, and nobody behind them yet.
pub struct Bound {
    server: Server,
    listener: tokio::net::TcpListener,
    listen: Listen,
}

/// Doors that are open.
pub struct Doors {
    /// As other commands read it.
    pub running: Running,
    tls: bool,
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
    sinks: regauge_connect::Runner,
    left: Left,
}

impl Bound {
    /// Takes the ports.
    pub async fn take(listen: Listen) -> anyhow::Result<Bound> {
        let server = Server::bind(SocketAddr::new(listen.host, listen.pg_port), listen.pg.clone()).map_err(print::explain)?;
        let listener = http_listener(listen.host, listen.http_port).await?;
        Ok(Bound { server, listener, listen })
    }

    /// Lets clients in.
    pub fn open(self, instance: &Instance, data: &Path) -> anyhow::Result<Doors> {
        let Bound { server, listener, listen } = self;
        regauge_serve::pg_catalog::install(instance);
        let passwords = Passwords::open(&Env::real(), data).map_err(print::explain)?;
        let data = data.canonicalize().with_context(|| format!("cannot find the data folder data={}", data.display()))?;
        let passfile = data.join(passwords.passfile().file_name().unwrap_or_default());
        let pg = server.address().map_err(print::explain)?;
        let running = Running { pid: std::process::id(), pg, http: Some(listener.local_addr()?), passfile };
        let left = running.leave(&data)?;
        let stop = CancellationToken::new();
        let logins = Logins::new(instance.clone(), passwords.clone());
        let verify: regauge_serve::http::Verify = Arc::new(move |user, password| logins.verify(user, password));
        let options = HttpOptions { verify: Some(verify), hosts: listen.http_hosts, ..HttpOptions::default() };
        let http = tokio::spawn(regauge_serve::http::serve(instance.clone(), listener, options, stop.clone()));
        let wire = tokio::spawn(server.run(instance.clone(), passwords, stop.clone()));
        let sinks = regauge_connect::start(instance, stop.clone());
        Ok(Doors { running, tls: listen.pg.tls.is_some(), stop, tasks: [wire, http], sinks, left })
    }
}

impl Doors {
    /// A line for a shell that connects as it is.
    pub fn psql(&self) -> String {
        let host = match self.running.pg.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() => Ipv4Addr::LOCALHOST.to_string(),
            ip if ip.is_unspecified() => "::1".to_owned(),
            ip => ip.to_string(),
        };
        let mode = if self.tls { "PGSSLMODE=require " } else { "" };
        let (port, passfile) = (self.running.pg.port(), quoted(&self.running.passfile));
        format!("{mode}PGPASSFILE={passfile} psql -h {host} -p {port} -U {} regauge", secret::USER)
    }

    /// Closes them.
    pub async fn close(self) -> anyhow::Result<()> {
        self.stop.cancel();
        for task in self.tasks {
            task.await?;
        }
        self.sinks.stop().await;
        drop(self.left);
        Ok(())
    }
}

/// HTTP stays on this machine: it has no TLS of its own.
async fn http_listener(host: IpAddr, port: u16) -> anyhow::Result<tokio::net::TcpListener> {
    let host = if host.is_loopback() { host } else { Ipv4Addr::LOCALHOST.into() };
    let address = SocketAddr::new(host, port);
    tokio::net::TcpListener::bind(address).await.map_err(|e| {
        let hint = if e.kind() == std::io::ErrorKind::AddrInUse {
            "another server has the port: give --http-port, 0 for a free one"
        } else {
            "give another --http-port"
        };
        anyhow::anyhow!("cannot listen for HTTP: {e} address={address}\nhint: {hint}")
    })
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
