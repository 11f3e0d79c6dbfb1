//! A small HTTP client for gate's own conversations: the relay's and `gate health`'s. Probes have their own.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

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
        let connector = builder.https_or_http().enable_http1().build();
        Self { pooled: Pooled::builder(TokioExecutor::new()).build(connector) }
    }

    /// Sends one request and reads its whole answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let exchange = async {
            let unreachable = |error| ClientError::Unreachable(Box::new(error));
            let response = self.pooled.request(request).await.map_err(unreachable)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
            Ok((status, body.map_err(ClientError::Unreachable)?.to_bytes()))
        };
        let answered = tokio::time::timeout(timeout, exchange).await;
        answered.map_err(|_elapsed| ClientError::TooSlow(timeout))?
    }
}

fn no_authorities() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
