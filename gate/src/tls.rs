//! TLS of the hooks' listener: a certificate and its key from files, read again when they change.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::telemetry::Metrics;

/// The files are looked at this often: whoever renews a certificate need not tell gate.
const FILES_EVERY: Duration = Duration::from_secs(60);
/// Time for a client to finish its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest file read; a chain of four certificates has 8 KiB.
const FILE_MAX_BYTES: u64 = 256 * 1024;

/// Where the certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSettings {
    /// PEM: the certificate, and the chain behind it.
    pub(crate) certificate: PathBuf,
    /// PEM: the private key.
    pub(crate) key: PathBuf,
}

/// TLS 1.2 and 1.3 with the certificate in force. Debug output has nothing of the key.
#[derive(Clone)]
pub(crate) struct Tls {
    settings: TlsSettings,
    in_force: Arc<RwLock<InForce>>,
}

struct InForce {
    config: Arc<ServerConfig>,
    /// Of both files, as they were read.
    digest: [u8; 32],
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// What is wrong with them; never what is in the key.
    pub(crate) fn open(settings: &TlsSettings) -> Result<Self, String> {
        let in_force = read(settings, None)?.ok_or("nothing was read")?;
        Ok(Self { settings: settings.clone(), in_force: Arc::new(RwLock::new(in_force)) })
    }

    /// Shakes hands with a client that has connected. `None` where it does not, in time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let config = {
            let in_force = self.in_force.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&in_force.config)
        };
        match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                None
            }
            Err(_elapsed) => None,
        }
    }

    /// Looks at the files again until gate stops.
    pub(crate) async fn watch(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(FILES_EVERY) => {}
            }
            let this = self.clone();
            let looked = tokio::task::spawn_blocking(move || this.look_again()).await;
            match looked {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    info!(certificate = %self.settings.certificate.display(), "a new certificate is in force");
                }
                Ok(Err(reason)) => {
                    metrics.lost("certificate");
                    error!(
                        reason,
                        "the new certificate cannot be used; the one before stays in force"
                    );
                }
                // Only when the runtime ends.
                Err(_ended) => return,
            }
        }
    }

    /// Takes up files that have changed. True if they have, and are in force now.
    fn look_again(&self) -> Result<bool, String> {
        let known = self.in_force.read().unwrap_or_else(PoisonError::into_inner).digest;
        let Some(new) = read(&self.settings, Some(known))? else { return Ok(false) };
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }
}

/// Reads both files; `None` if they are those that are known.
fn read(settings: &TlsSettings, known: Option<[u8; 32]>) -> Result<Option<InForce>, String> {
    let TlsSettings { certificate, key } = settings;
    let (chain, secret) = (bytes(certificate)?, bytes(key)?);
    let mut together = [0; 32];
    let of_chain = digest(&SHA256, &chain);
    let both = [of_chain.as_ref(), digest(&SHA256, &secret).as_ref()].concat();
    together.copy_from_slice(digest(&SHA256, &both).as_ref());
    if known == Some(together) {
        return Ok(None);
    }
    let wrong = |path: &PathBuf, what: &str| format!("{}: {what}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(certificate, &error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "it has no certificate in PEM"));
    }
    // What is wrong with a key is told without quoting it.
    let secret = PrivateKeyDer::from_pem_slice(&secret)
        .map_err(|_quotes| wrong(key, "it has no private key in PEM"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = builder.with_no_client_auth().with_single_cert(chain, secret);
    let mut config =
        config.map_err(|error| wrong(key, &format!("it does not fit the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(InForce { config: Arc::new(config), digest: together }))
}

/// A file, wiped from memory after use.
fn bytes(path: &PathBuf) -> Result<Zeroizing<Vec<u8>>, String> {
    use std::io::Read;
    let mut bytes = Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(path);
    opened
        .and_then(|file| file.take(FILE_MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    /// A certificate that signs itself, and its key.
    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gate.internal".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn new_files_are_taken_up_and_broken_ones_leave_the_old_in_force() {
        let folder = std::env::temp_dir().join(format!("gate-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let settings =
            TlsSettings { certificate: folder.join("tls.pem"), key: folder.join("tls.key") };
        let write = |(certificate, key): &(String, String)| {
            std::fs::write(&settings.certificate, certificate).unwrap();
            std::fs::write(&settings.key, key).unwrap();
        };
        let (first, second) = (made(), made());
        write(&first);
        let tls = Tls::open(&settings).unwrap();
        let in_force = || tls.in_force.read().unwrap().digest;
        let before = in_force();
        assert_eq!(tls.look_again(), Ok(false));
        // A key of another certificate, halfway through a renewal, and what is no key at all.
        for broken in [(second.0.clone(), first.1), (second.0.clone(), "no key".to_owned())] {
            write(&broken);
            let reason = tls.look_again().unwrap_err();
            assert!(reason.contains("tls.key: it "), "{reason}");
            assert_eq!(in_force(), before);
        }
        write(&second);
        assert_eq!(tls.look_again(), Ok(true));
        assert_ne!(in_force(), before);
        let shown = format!("{tls:?}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
        std::fs::remove_file(&settings.key).unwrap();
        assert!(Tls::open(&settings).unwrap_err().contains("cannot be read"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
