//! The Postgres wire: a listener, and a task for each connection.
//!
//! ```text
//!   accept ─▶ startup (TLS, SCRAM, session) ─▶ connection: simple and extended queries, COPY, SUBSCRIBE ─▶ rows, batch by batch
//! ```
//! Invariant: a connection touches only its own session; a slow, hostile or dead client holds up its own task. Limits: sockets that
//! are not let in yet, connections, bytes per message. It does not know SQL: texts go to the session as they came.

mod back;
mod connection;
mod copy;
mod decode;
mod encode;
mod extended;
mod frame;
mod message;
mod place;
pub mod probe;
mod registry;
mod rows;
mod scram;
mod startup;
mod types;

use crate::{login::Logins, secret::Passwords};
use pgwire::tokio::tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use regauge_types::{Env, ErrorKind};
use regauge_views::{Error, Instance, Result, error::sqlstate as code};
use registry::Registry;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How a server is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections that have a session at once.
    pub connections_max: usize,
    /// Bytes of one statement's text.
    pub statement_bytes: usize,
    /// Certificate and key; without, connections are plain.
    pub tls: Option<Tls>,
    /// Plain connections are refused.
    pub tls_only: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { connections_max: 100, statement_bytes: 16 << 20, tls: None, tls_only: false }
    }
}

/// A certificate with its key, ready to be used.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    /// What channels are bound by.
    end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// From PEM: the certificate, followed by those that signed it, and its private key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls> {
        let bad = |what: &str, why: String| {
            Error::invalid(code::INVALID_PARAMETER, format!("cannot use the {what}: {why}")).hint("both are PEM files")
        };
        let chain = CertificateDer::pem_slice_iter(certificates).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| bad("certificate", e.to_string()))?;
        if chain.is_empty() {
            return Err(bad("certificate", "the file holds none".to_owned()));
        }
        let end_point = chain.first().and_then(|certificate| scram::end_point(certificate));
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad("private key", e.to_string()))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let config = config.map_err(|e| bad("certificate and private key", e.to_string()))?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
    }
}

/// What the connections of a server share.
struct Door {
    instance: Instance,
    logins: Logins,
    registry: Registry,
    tls: Option<Tls>,
    tls_only: bool,
    statement_bytes: usize,
    stop: CancellationToken,
}

/// A server whose port is taken and that does not answer yet.
pub struct Server {
    listener: TcpListener,
    options: Options,
}

/// How long connections may take to end when the server does.
const PARTING: Duration = Duration::from_secs(5);

impl Server {
    /// Takes a port; 0 for one that is free.
    pub fn bind(address: SocketAddr, options: Options) -> Result<Server> {
        if !address.ip().is_loopback() && (options.tls.is_none() || !options.tls_only) {
            let message = format!("connections from beyond this machine need TLS address={address}");
            return Err(
                Error::invalid(code::INVALID_PARAMETER, message).hint("give --tls-cert and --tls-key, or listen on 127.0.0.1")
            );
        }
        let listener = listen(address).map_err(|e| {
            let message = format!("cannot listen: {e} address={address}");
            let error = Error::new(ErrorKind::Unavailable, code::IO, message);
            match e.kind() {
                io::ErrorKind::AddrInUse => {
                    error.hint("another program has the port: stop it, or choose another port (0 takes a free one)")
                }
                io::ErrorKind::PermissionDenied => error.hint("ports below 1024 are for root: choose another"),
                _ => error,
            }
        })?;
        Ok(Server { listener, options })
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(|e| Error::new(ErrorKind::Internal, code::IO, e.to_string()))
    }

    /// Answers until it is told to stop; then statements are cancelled and clients told.
    pub async fn run(self, instance: Instance, passwords: Passwords, stop: CancellationToken) {
        let Options { connections_max, statement_bytes, tls, tls_only } = self.options;
        if let Ok(address) = self.listener.local_addr() {
            instance.tell("port", address.port().to_string());
            instance.tell("listen_addresses", address.ip().to_string());
        }
        instance.tell("max_connections", connections_max.to_string());
        instance.tell("ssl", if tls.is_some() { "on" } else { "off" });
        let registry = Registry::new(Env::real(), connections_max);
        let logins = Logins::new(instance.clone(), passwords);
        let door = Arc::new(Door { instance, logins, registry, tls, tls_only, statement_bytes, stop: stop.clone() });
        // Sockets beyond this wait in the operating system's queue.
        let sockets = Arc::new(Semaphore::new(connections_max + 64));
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let permit = sockets.clone().acquire_owned().await;
                (self.listener.accept().await, permit)
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a connection panicked");
                    }
                }
                (accepted, permit) = accepted => match accepted {
                    Ok((socket, peer)) => {
                        let _ = socket.set_nodelay(true);
                        let door = door.clone();
                        connections.spawn(async move {
                            let _permit = permit;
                            connection::serve(door, Box::new(socket), peer).await;
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: others may end meanwhile.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(self.listener);
        door.registry.cancel_all();
        let parted = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(PARTING, parted).await.is_err() {
            tracing::warn!(n = connections.len(), "connections did not end in time");
        }
        connections.shutdown().await;
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it: a client whose machine is gone does not hold its place for ever.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
