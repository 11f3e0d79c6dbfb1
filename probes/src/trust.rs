//! Whom TLS trusts and what it shows of itself: read once, always verified.

use std::sync::{Arc, OnceLock};

use policies::plan::{ClientTls, HttpVersion};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::order::{Lookup, OrderError};

/// Certificates of one file of roots or one chain.
const CERTIFICATES_MAX: usize = 1000;

/// The TLS settings of one order; connectors are made when the first is needed.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Instead of the machine's.
    roots: Option<Arc<RootCertStore>>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    connectors: [OnceLock<Option<Arc<ClientConfig>>>; 4],
}

impl Trust {
    /// Reads what a policy refers to.
    ///
    /// # Errors
    /// What cannot be read, or is no certificate or key.
    pub(crate) fn new(written: &ClientTls, lookup: &dyn Lookup) -> Result<Self, OrderError> {
        let read = |what: &'static str, reference: &str| {
            let told = |reason| OrderError::Tls { what, reason };
            lookup.text(reference).map_err(told)
        };
        let roots = match &written.roots {
            None => None,
            Some(reference) => {
                let chain = certificates("roots", &read("roots", reference)?)?;
                let mut roots = RootCertStore::empty();
                let (_, refused) = roots.add_parsable_certificates(chain);
                if roots.is_empty() || refused > 0 {
                    let reason = format!("{refused} of its certificates are none of an authority");
                    return Err(OrderError::Tls { what: "roots", reason });
                }
                Some(Arc::new(roots))
            }
        };
        let identity = match &written.certificate {
            None => None,
            Some((chain, key)) => {
                let chain = certificates("certificate", &read("certificate", chain)?)?;
                let key = PrivateKeyDer::from_pem_slice(read("key", key)?.as_bytes());
                // What is wrong with a key is not said: a message may quote it.
                let key = key.map_err(|_unread| OrderError::Tls {
                    what: "key",
                    reason: "it is no private key in PEM".to_owned(),
                })?;
                Some((chain, key))
            }
        };
        let trust = Self { roots, identity, connectors: Default::default() };
        if trust.identity.is_some() && trust.config(None).is_none() {
            let reason = "the key does not belong to the certificate".to_owned();
            return Err(OrderError::Tls { what: "key", reason });
        }
        Ok(trust)
    }

    /// A connector that offers a version of HTTP, or no protocol at all. `None` where there is nobody to trust.
    pub(crate) fn connector(&self, version: Option<HttpVersion>) -> Option<TlsConnector> {
        self.config(version).map(TlsConnector::from)
    }

    fn config(&self, version: Option<HttpVersion>) -> Option<Arc<ClientConfig>> {
        let (place, protocols): (_, &[&[u8]]) = match version {
            Some(HttpVersion::One) => (0, &[b"http/1.1"]),
            Some(HttpVersion::Two) => (1, &[b"h2"]),
            Some(HttpVersion::Auto) => (2, &[b"h2", b"http/1.1"]),
            None => (3, &[]),
        };
        self.connectors.get(place)?.get_or_init(|| self.build(protocols)).clone()
    }

    fn build(&self, protocols: &[&[u8]]) -> Option<Arc<ClientConfig>> {
        let roots = self.roots.clone().or_else(machines)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .inspect_err(|error| tracing::error!(%error, "TLS is unusable"))
            .ok()?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .inspect_err(|error| tracing::error!(%error, "the client certificate is unusable"))
                .ok()?,
        };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        // A resumed session shows no certificate: each handshake is whole, as a new customer's is.
        config.resumption = Resumption::disabled();
        Some(Arc::new(config))
    }
}

/// Everybody the machine trusts; read when the first TLS target is probed. `None` where that is nobody:
/// every handshake would fail, which says nothing about the target.
fn machines() -> Option<Arc<RootCertStore>> {
    static MACHINES: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let found = MACHINES.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (_, refused) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::warn!(refused, "no certificate authority found; TLS targets cannot be probed");
            return None;
        }
        Some(Arc::new(roots))
    });
    found.clone()
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, OrderError> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).take(CERTIFICATES_MAX).collect();
    let refused = |reason: String| OrderError::Tls { what, reason };
    let chain = chain.map_err(|error| refused(format!("it is no certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(refused("it has no certificate in PEM".to_owned()));
    }
    Ok(chain)
}
