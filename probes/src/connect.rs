//! From a target to a connection: resolve, connect, TLS, each with its own way to fail.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use policies::Target;
use policies::sample::Outcome;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

/// A connection of either kind.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Opens connections; holds what all of them share.
#[derive(Clone)]
pub(crate) struct Dialer {
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Dialer {
    /// A dialer that trusts the machine's certificate authorities.
    pub(crate) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (trusted, refused) = roots.add_parsable_certificates(found.certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
            .inspect_err(|error| tracing::error!(%error, "TLS is unusable"))
            .ok()
            // With nobody to trust every handshake would fail, which says nothing about the target.
            .filter(|_config| trusted > 0);
        if tls.is_none() {
            tracing::warn!(refused, "no certificate authority found; TLS targets cannot be probed");
        }
        Self { tls: tls.map(|config| TlsConnector::from(Arc::new(config))) }
    }

    /// Connects to `target` before `deadline`, with TLS for `server_name` where the target speaks it.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        server_name: &str,
        deadline: Instant,
    ) -> Result<Box<dyn Connection>, Outcome> {
        let addresses = resolve(target, deadline).await?;
        let stream = match timeout_at(deadline, TcpStream::connect(addresses.as_slice())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(refused(&error)),
            Err(_elapsed) => return Err(Outcome::ConnectTimeout),
        };
        if let Err(error) = stream.set_nodelay(true) {
            return Err(refused(&error));
        }
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let connector = self.tls.as_ref().ok_or(Outcome::NotSent)?;
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_invalid| Outcome::Tls)?;
        match timeout_at(deadline, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => {
                let broke = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
                Err(if broke.contains(&error.kind()) { Outcome::Reset } else { Outcome::Tls })
            }
            Err(_elapsed) => Err(Outcome::Timeout),
        }
    }
}

/// The addresses of a target. A name that does not resolve in time is not the target's fault.
async fn resolve(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, Outcome> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    match timeout_at(deadline, lookup_host((target.host.as_str(), target.port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) | Err(_) => Err(Outcome::Dns),
    }
}

/// Ways of `connect` to fail, and whose fault each is.
const REFUSALS: [(io::ErrorKind, Outcome); 12] = {
    use io::ErrorKind;
    [
        (ErrorKind::ConnectionRefused, Outcome::Refused),
        (ErrorKind::ConnectionReset, Outcome::Reset),
        (ErrorKind::ConnectionAborted, Outcome::Reset),
        (ErrorKind::NotConnected, Outcome::Reset),
        (ErrorKind::TimedOut, Outcome::ConnectTimeout),
        (ErrorKind::HostUnreachable, Outcome::Unreachable),
        (ErrorKind::NetworkUnreachable, Outcome::Unreachable),
        (ErrorKind::NetworkDown, Outcome::Unreachable),
        // Out of ports or memory: gate's own trouble, never the target's.
        (ErrorKind::AddrNotAvailable, Outcome::NotSent),
        (ErrorKind::AddrInUse, Outcome::NotSent),
        (ErrorKind::OutOfMemory, Outcome::NotSent),
        (ErrorKind::PermissionDenied, Outcome::NotSent),
    ]
};

/// What a failed `connect` comes to. What is not in the table (out of files, say) is this process's own
/// trouble.
fn refused(error: &io::Error) -> Outcome {
    let known = REFUSALS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or(Outcome::NotSent, |(_, outcome)| *outcome)
}
