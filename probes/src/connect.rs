//! From a target to a connection: resolve, connect, TLS, each timed, each with its own way to fail.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policies::Target;
use policies::address::is_forbidden;
use policies::plan::HttpVersion;
use policies::sample::{Outcome, Phase, Phases};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::trust::Trust;
use crate::wire::Wire;

/// A connection, ready to be used.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) wire: Wire,
    /// Whether the target chose HTTP/2 by ALPN.
    pub(crate) chose_two: bool,
    /// Days to the end of the first validity in the chain that ends.
    pub(crate) certificate_days: Option<f64>,
}

/// Connects to `target` before `deadline`, with TLS for `server_name` where the target speaks it or where
/// `tls` asks for it, and a version of HTTP offered where one is to be spoken. Phases are noted as far as it got.
pub(crate) async fn dial(
    trust: &Trust,
    target: &Target,
    (server_name, tls): (&str, bool),
    version: Option<HttpVersion>,
    deadline: Instant,
    phases: &mut Phases,
) -> Result<Dialled, Outcome> {
    let stream = connect(target, deadline, phases).await?;
    if !tls {
        return Ok(Dialled { wire: Wire::plain(stream), chose_two: false, certificate_days: None });
    }
    let connector = trust.connector(version).ok_or(Outcome::NotSent)?;
    let name = server_name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(name).map_err(|_invalid| Outcome::Tls)?;
    let began = Instant::now();
    let shaken = timeout_at(deadline, connector.connect(name, stream)).await;
    phases.set(Phase::Tls, began.elapsed());
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let broke = [
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::ConnectionAborted,
                io::ErrorKind::BrokenPipe,
                io::ErrorKind::UnexpectedEof,
            ];
            return Err(if broke.contains(&error.kind()) { Outcome::Reset } else { Outcome::Tls });
        }
        Err(_elapsed) => return Err(Outcome::Timeout),
    };
    let (_, session) = stream.get_ref();
    let chose_two = session.alpn_protocol() == Some(b"h2");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ends = session.peer_certificates().unwrap_or_default().iter();
    let days = ends.filter_map(|certificate| days_to_expiry(certificate, now));
    let certificate_days = days.reduce(f64::min);
    Ok(Dialled { wire: Wire::tls(stream), chose_two, certificate_days })
}

/// What a connection that broke counts as.
pub(crate) fn broken(error: &io::Error) -> Outcome {
    let garbled = [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
    if error.kind() == io::ErrorKind::FileTooLarge {
        // Our own limit of what is read for one exchange.
        Outcome::TooLarge
    } else if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        // In TLS 1.3 a target refuses a certificate of ours only after the handshake.
        Outcome::Tls
    } else if garbled.contains(&error.kind()) {
        Outcome::Protocol
    } else {
        Outcome::Reset
    }
}

/// A TCP connection. A name with several addresses is tried in their order, without a race.
pub(crate) async fn connect(
    target: &Target,
    deadline: Instant,
    phases: &mut Phases,
) -> Result<TcpStream, Outcome> {
    let asked = Instant::now();
    let addresses = allowed(resolve(target, deadline, phases).await?)?;
    let began = Instant::now();
    let connected = timeout_at(deadline, TcpStream::connect(addresses.as_slice())).await;
    phases.set(Phase::Connect, began.elapsed());
    let stream = match connected {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(refused(&error)),
        // Most of its time had gone before the target had a turn.
        Err(_elapsed) if began - asked > began.elapsed() => return Err(Outcome::Dns),
        Err(_elapsed) => return Err(Outcome::ConnectTimeout),
    };
    match stream.set_nodelay(true) {
        Ok(()) => Ok(stream),
        Err(error) => Err(refused(&error)),
    }
}

/// Names that are looked up at a time, by all probers of the process.
const LOOKUPS_MAX: usize = 64;
static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// The addresses of a target. A name that does not resolve in time is not the target's fault.
async fn resolve(
    target: &Target,
    deadline: Instant,
    phases: &mut Phases,
) -> Result<Vec<SocketAddr>, Outcome> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let began = Instant::now();
    let found = timeout_at(deadline, async {
        // Each takes a thread for as long as it lasts, given up or not.
        let _place = LOOKUPS.acquire().await.map_err(io::Error::other)?;
        lookup_host((target.host.as_str(), target.port)).await
    })
    .await;
    phases.set(Phase::Resolve, began.elapsed());
    match found {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) | Err(_) => Err(Outcome::Dns),
    }
}

/// Leaves out what is never probed, whatever name stands for it, and however it was led to: each connection goes this
/// way. Decided on the very addresses that are connected to, so that a second lookup cannot change them.
fn allowed(found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Outcome> {
    let answered = !found.is_empty();
    let allowed: Vec<SocketAddr> =
        found.into_iter().filter(|address| !is_forbidden(address.ip())).collect();
    if answered && allowed.is_empty() { Err(Outcome::Forbidden) } else { Ok(allowed) }
}

/// Days from `now`, since the Unix epoch, to the end of a certificate's validity.
fn days_to_expiry(certificate: &[u8], now: Duration) -> Option<f64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let ends = certificate.validity().not_after.timestamp();
    let seconds = ends.saturating_sub(i64::try_from(now.as_secs()).ok()?);
    #[allow(clippy::cast_precision_loss, reason = "seconds of a validity stay far below 2^52")]
    let days = seconds as f64 / 86_400.0;
    Some(days)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_name_stands_for_only_what_may_be_probed_is_left() {
        let check = |found: &[&str], expected: Result<&[&str], Outcome>| {
            let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let expected = expected.map(parsed);
            assert_eq!(allowed(parsed(found)), expected, "{found:?}");
        };
        check(&["10.0.0.1:80", "[::1]:80"], Ok(&["10.0.0.1:80", "[::1]:80"]));
        check(&["169.254.169.254:80", "10.0.0.1:80"], Ok(&["10.0.0.1:80"]));
        for address in [
            "169.254.169.254:80",
            "169.254.170.2:80",
            "[::ffff:169.254.169.254]:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "0.0.0.0:80",
            "[::]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
        ] {
            check(&[address], Err(Outcome::Forbidden));
        }
        check(&[], Ok(&[]));
    }
}
