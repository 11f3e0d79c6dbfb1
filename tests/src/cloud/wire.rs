//! The protocols: JSON 1.0 and 1.1 with the operation in a header, and the query protocol with answers in XML.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Shared, Stage, balancing, lock};

/// What an operation comes to.
pub(super) enum Reply {
    /// An object in JSON.
    Json(Value),
    /// What stands between the tags of the result.
    Xml(String),
    /// The code of an error of whoever called.
    Refused(&'static str),
}

pub(super) async fn serve(shared: Arc<Shared>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let serving = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let shared = Arc::clone(&shared);
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, std::convert::Infallible>(answer(shared, request).await) }
            });
            // Whoever called may be killed at any moment.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, serving)
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
    let json_operation = target.and_then(|target| target.split('.').nth(1)).map(str::to_owned);
    let signed = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let by = signed.and_then(|text| text.split("Credential=").nth(1)?.split('/').next());
    let by = by.unwrap_or_default().to_owned();
    let Ok(body) = request.into_body().collect().await else { return refused("RequestAborted") };
    let body = body.to_bytes();
    let form: BTreeMap<String, String> = match json_operation {
        Some(_) => BTreeMap::new(),
        None => url::form_urlencoded::parse(&body).into_owned().collect(),
    };
    let operation = json_operation.or_else(|| form.get("Action").cloned()).unwrap_or_default();
    if shared.springs(&operation, Stage::Asked) {
        shared.hold().await;
        return refused("ServiceUnavailableException");
    }
    let input: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let reply = perform(&shared, (&operation, &by), &input, &form).await;
    if shared.springs(&operation, Stage::Done) {
        lock(&shared.deployments).withheld(&input);
        shared.hold().await;
    }
    let response = match reply {
        Reply::Json(value) => response(200, "application/x-amz-json-1.1", value.to_string()),
        Reply::Xml(inside) => {
            let xml = format!(
                "<{operation}Response xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><{operation}Result>{inside}</{operation}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{operation}Response>"
            );
            response(200, "text/xml", xml)
        }
        Reply::Refused(code) => refused(code),
    };
    shared.springs(&operation, Stage::Replied);
    response
}

async fn perform(
    shared: &Shared,
    (operation, by): (&str, &str),
    input: &Value,
    form: &BTreeMap<String, String>,
) -> Reply {
    if let Some(reply) = lock(&shared.deployments).call((operation, by), input) {
        return reply;
    }
    if let Some(reply) = balancing::call(operation, form) {
        return reply;
    }
    match shared.queue.call(operation, input).await {
        Some(reply) => reply,
        None => Reply::Refused("UnknownOperationException"),
    }
}

fn refused(code: &str) -> Response<Full<Bytes>> {
    let body = json!({ "__type": code, "message": code }).to_string();
    response(400, "application/x-amz-json-1.1", body)
}

fn response(status: u16, kind: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", kind);
    response.body(Full::new(Bytes::from(body))).expect("a response")
}
