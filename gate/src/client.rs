//! A small HTTP client for gate's own conversations: the relay's and `gate health`'s. Probes have their own.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_rustls::builderstates::WantsSchemes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::{Instant, timeout_at};

/// The largest answer read: gate's own are a few hundred bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Sends requests, plain or by TLS with the machine's certificate authorities.
#[derive(Debug)]
pub(crate) struct Client {
    pooled: Pooled<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A request that came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no answer")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
}

impl Client {
    /// One that trusts the authorities in this PEM file, and no others.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn trusting(path: &Path) -> Result<Self, String> {
        let wrong = |what: String| format!("{}: {what}", path.display());
        let mut authorities = rustls::RootCertStore::empty();
        let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        for authority in read {
            let authority = authority.map_err(|error| wrong(error.to_string()))?;
            authorities.add(authority).map_err(|error| wrong(error.to_string()))?;
        }
        if authorities.is_empty() {
            return Err(wrong("it has no certificate in PEM".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(Self::of(HttpsConnectorBuilder::new().with_tls_config(config)))
    }

    pub(crate) fn new() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = HttpsConnectorBuilder::new();
        // Without certificate authorities plain HTTP must still work.
        let builder = match builder.with_provider_and_native_roots(provider) {
            Ok(builder) => builder,
            Err(error) => {
                tracing::warn!(%error, "no certificate authorities; only plain HTTP will work");
                HttpsConnectorBuilder::new().with_tls_config(no_authorities())
            }
        };
        Self::of(builder)
    }

    fn of(builder: HttpsConnectorBuilder<WantsSchemes>) -> Self {
        let connector = builder.https_or_http().enable_http1().build();
        Self { pooled: Pooled::builder(TokioExecutor::new()).build(connector) }
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let (status, body) = self.answered(request, timeout, ANSWER_MAX_BYTES).await?;
        Ok((status, body?))
    }

    /// The same where the status counts by itself, with a body of so many bytes at most.
    pub(crate) async fn answered(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
        max_bytes: usize,
    ) -> Result<(StatusCode, Result<Bytes, ClientError>), ClientError> {
        let end = Instant::now() + timeout;
        let too_slow = |_elapsed| ClientError::TooSlow(timeout);
        let head = timeout_at(end, self.pooled.request(request)).await.map_err(too_slow)?;
        let response = head.map_err(|error| ClientError::Unreachable(Box::new(error)))?;
        let status = response.status();
        let body = timeout_at(end, Limited::new(response.into_body(), max_bytes).collect()).await;
        let body = body.map_err(too_slow).and_then(|body| body.map_err(ClientError::Unreachable));
        Ok((status, body.map(http_body_util::Collected::to_bytes)))
    }
}

fn no_authorities() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
