//! A small HTTP server of a test's own on loopback, which answers as badly as the test wants.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request's body is no longer than this.
const BODY_MAX_BYTES: usize = 1024 * 1024;

/// How an [`Endpoint`] answers, whatever it is asked.
#[derive(Clone, Debug)]
pub enum Manner {
    /// With this status and this text.
    Says(u16, String),
    /// Never.
    Hangs,
}

/// What an [`Endpoint`] was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Method and path.
    pub what: String,
    /// The body.
    pub body: String,
}

#[derive(Debug)]
struct Shared {
    manner: Manner,
    asked: Vec<Asked>,
}

/// A server that is gone with its handle.
#[derive(Debug)]
pub struct Endpoint {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Mutex<Shared>>,
    serving: JoinHandle<()>,
}

impl Endpoint {
    /// Serves on a free port.
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let shared = Arc::new(Mutex::new(Shared { manner, asked: Vec::new() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is dropped");
        });
        Self { url, shared, serving }
    }

    /// Answers otherwise from now on.
    pub fn now(&self, manner: Manner) {
        lock(&self.shared).manner = manner;
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared).asked.clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Mutex<Shared>>>, request: Request) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    let body = axum::body::to_bytes(request.into_body(), BODY_MAX_BYTES).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body).into_owned();
    let manner = {
        let mut shared = lock(&shared);
        shared.asked.push(Asked { what, body });
        shared.manner.clone()
    };
    match manner {
        Manner::Says(status, text) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, text).into_response()
        }
        Manner::Hangs => std::future::pending().await,
    }
}
