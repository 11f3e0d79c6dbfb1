//! A plain HTTP/1.1 client for loopback.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, as text.
    pub text: String,
    /// The Location header, if any.
    pub location: Option<String>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Whoever has not answered by then hangs: even the emulated AWS is faster on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends a request; `None` if nobody answers, or not in time.
pub async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    tokio::time::timeout(TIMEOUT, exchange(method, url, headers, body)).await.ok().flatten()
}

async fn exchange(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let uri: Uri = url.parse().expect("a URL");
    let authority = uri.authority().expect("a URL with a host").to_string();
    let stream = TcpStream::connect(&authority).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    let driving = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header("host", &authority);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    let response = sender.send_request(request).await.ok()?;
    let status = response.status().as_u16();
    let location =
        response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await.ok()?.to_bytes();
    driving.abort();
    Some(Answer { status, text: String::from_utf8_lossy(&body).into_owned(), location })
}

/// GET, as a program.
pub async fn get(url: &str) -> Option<Answer> {
    send("GET", url, &[("accept", "application/json")], "").await
}

/// Headers of a POST that is signed by this key, at this time in seconds since 1970.
pub fn signed(key: &str, path: &str, timestamp: u64, body: &str) -> [(&'static str, String); 3] {
    const SIGN: &str = "
import hmac, sys
print(hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), 'sha256').hexdigest())
";
    let message = format!("POST\n{path}\n{timestamp}\n{body}");
    let output = crate::place::python().args(["-c", SIGN, key, &message]).output();
    let tag = String::from_utf8(output.expect("python runs").stdout).expect("hexadecimal digits");
    [
        ("content-type", "application/json".to_owned()),
        ("x-gate-timestamp", timestamp.to_string()),
        ("x-gate-signature", format!("v1={}", tag.trim())),
    ]
}

/// POST of a JSON body.
pub async fn post(url: &str, body: &Value) -> Option<Answer> {
    send("POST", url, &[("content-type", "application/json")], &body.to_string()).await
}
