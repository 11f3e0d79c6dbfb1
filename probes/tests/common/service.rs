//! A well-behaved HTTP service, of either version, with TLS or without.

#![allow(clippy::unwrap_used, dead_code, reason = "part of tests; not every test uses all of it")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::server;

pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// An answer of this status and body.
pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = BodyExt::boxed(Full::new(body.into()));
    Response::builder().status(status).body(body).unwrap()
}

/// Speaks one version of HTTP over a connection until it is closed.
pub(crate) async fn speak<S, F>(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    two: bool,
    serve: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answered = serve(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let io = TokioIo::new(io);
    // How the client ends a connection is its own affair.
    if two {
        let _ended = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ended = http1::Builder::new().serve_connection(io, service).await;
    }
}

/// A service in the clear.
pub(crate) async fn serving<S, F>(two: bool, serve: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    server(move |stream| speak(stream, two, serve.clone())).await
}

/// A service behind TLS, which speaks what ALPN chose.
pub(crate) async fn serving_tls<S, F>(acceptor: TlsAcceptor, serve: S) -> SocketAddr
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let acceptor = Arc::new(acceptor);
    server(move |stream| {
        let (acceptor, serve) = (Arc::clone(&acceptor), serve.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            speak(stream, two, serve).await;
        }
    })
    .await
}
