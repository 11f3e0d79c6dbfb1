//! A signed hook over a connection that is open already, as a relay sends it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What hooks are signed with.
pub const KEY: &str = "load-key-load-key-load-key";
const PATH: &str = "/hooks/codedeploy";

/// What came of a hook.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: u16,
    pub retry_after: bool,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

/// Opens a connection.
pub async fn connect(at: &str) -> TcpStream {
    let stream = TcpStream::connect(at).await.expect("gate listens");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Sends a hook and reads the answer.
pub async fn post(mut stream: TcpStream, body: &Value) -> Option<Told> {
    let request = request(&body.to_string());
    let began = Instant::now();
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(Told {
        took: began.elapsed(),
        status: answer.split(' ').nth(1)?.parse().ok()?,
        retry_after: answer.to_ascii_lowercase().contains("\r\nretry-after: "),
    })
}

fn request(body: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    let now = since.as_secs();
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    let tag = hmac::sign(&key, format!("POST\n{PATH}\n{now}\n{body}").as_bytes());
    let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: gate\r\nconnection: close\r\nx-gate-timestamp: {now}\r\nx-gate-signature: v1={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
