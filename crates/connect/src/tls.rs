//! TLS towards a target: who may sign its certificate is a file of PEM, the system's bundle unless one is named.
//!
//! A certificate must name the host that was asked for; there is no way to go without that.

use crate::error::Fault;
use regauge_types::Env;
use std::{path::Path, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// Where systems keep those that they trust.
const BUNDLES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// A bundle is no larger.
const BYTES_MAX: u64 = 8 << 20;

/// Makes connections secure.
pub fn connector(env: &Env, ca: Option<&str>) -> Result<TlsConnector, Fault> {
    let bytes = match ca {
        Some(path) => env.disk.read_all(Path::new(path), BYTES_MAX),
        None => {
            let found = BUNDLES.iter().find(|path| env.disk.exists(Path::new(path)).unwrap_or(false));
            found.map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), |path| env.disk.read_all(Path::new(path), BYTES_MAX))
        }
    };
    let bytes = bytes.map_err(|e| Fault::Refused(format!("cannot read who may sign certificates: {}; set tls_ca", e.kind())))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok));
    if added == 0 {
        return Err(Fault::Refused("the file of option \"tls_ca\" holds no certificate in PEM".into()));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A secure connection to a host of this name.
pub async fn client<S>(connector: &TlsConnector, name: &str, stream: S) -> std::io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
    connector.connect(name, stream).await
}
