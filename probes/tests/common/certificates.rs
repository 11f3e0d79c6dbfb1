//! Certificates made for one test: an authority, and what it signs.

#![allow(clippy::unwrap_used, dead_code, reason = "part of tests; not every test uses all of it")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Signs certificates.
pub(crate) struct Authority {
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate and its key, both in PEM.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate that nobody but its own key signed.
    pub(crate) fn of_its_own(names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let own = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Identity { chain: own.pem(), key: key.serialize_pem() }
    }

    /// Valid from tomorrow on.
    pub(crate) fn issue_for_later(&self, names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = (SystemTime::now() + DAY).into();
        params.not_after = (SystemTime::now() + 30 * DAY).into();
        let chain = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Identity { chain: chain.pem(), key: key.serialize_pem() }
    }

    /// For these names or addresses, valid from a month before so many days from now.
    pub(crate) fn issue(&self, names: &[&str], ends_in_days: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        // An hour more, so that whole days are what was asked for.
        let ends = DAY * ends_in_days.unsigned_abs();
        let hour = Duration::from_secs(3600);
        let now = SystemTime::now();
        let ends = if ends_in_days < 0 { now - ends + hour } else { now + ends + hour };
        params.not_before = (ends - 30 * DAY).min(now - DAY).into();
        params.not_after = ends.into();
        let chain = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        Identity { chain: chain.pem(), key: key.serialize_pem() }
    }
}

impl Identity {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain.map(Result::unwrap).collect(), key)
    }

    /// A server's side that shows this, chooses among these protocols, and asks for a certificate of
    /// `clients` where there is one.
    pub(crate) fn acceptor(&self, protocols: &[&str], clients: Option<&Authority>) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let (chain, key) = self.parts();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
