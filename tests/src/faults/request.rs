//! A request to AWS, as far as one in the middle has to understand it: which operation, in which protocol.

use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::answer::Answer;
use super::{Misdeed, Seen};

/// A request, whole.
#[derive(Debug)]
pub(super) struct Request {
    first: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    pub(super) operation: String,
    pub(super) access_key: String,
}

/// How a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// JSON 1.0 and 1.1: the operation is in a header.
    Json,
    /// Forms and XML.
    Query,
    /// Smithy RPC v2.
    Cbor,
    /// The operation is method and path.
    Rest,
}

impl Request {
    /// The next of a connection; `unread` is what was read too much.
    pub(super) async fn read(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Self> {
        let head_ends = loop {
            let end = unread.windows(4).position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end,
                None => more(stream, unread).await?,
            }
        };
        let head = String::from_utf8(unread.drain(..head_ends + 4).collect()).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let first = lines.next()?.to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<(String, String)> = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut request = Self {
            first,
            headers,
            body: Vec::new(),
            operation: String::new(),
            access_key: String::new(),
        };
        let length: usize =
            request.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        while unread.len() < length {
            more(stream, unread).await?;
        }
        request.body = unread.drain(..length).collect();
        request.operation = request.named();
        let signed =
            request.header("authorization").and_then(|signed| signed.split_once("Credential="));
        let key = signed.and_then(|(_, rest)| rest.split('/').next());
        request.access_key = key.unwrap_or_default().to_owned();
        Some(request)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Method and path, without the query.
    fn target(&self) -> (&str, &str) {
        let mut words = self.first.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().and_then(|target| target.split('?').next());
        (method, path.unwrap_or_default())
    }

    fn protocol(&self) -> Protocol {
        if self.header("smithy-protocol").is_some() {
            Protocol::Cbor
        } else if self.header("x-amz-target").is_some() {
            Protocol::Json
        } else if self.header("content-type").is_some_and(|kind| kind.contains("form")) {
            Protocol::Query
        } else {
            Protocol::Rest
        }
    }

    fn named(&self) -> String {
        let (method, path) = self.target();
        let last = path.rsplit('/').next().unwrap_or_default();
        let name = match self.protocol() {
            Protocol::Json => self.header("x-amz-target").and_then(|t| t.rsplit('.').next()),
            Protocol::Cbor => Some(last),
            Protocol::Query => {
                let form = std::str::from_utf8(&self.body).unwrap_or_default();
                form.split('&').find_map(|pair| pair.strip_prefix("Action="))
            }
            Protocol::Rest if path.contains("/aliases/") && method == "GET" => Some("GetAlias"),
            Protocol::Rest if last == "invocations" => Some("Invoke"),
            Protocol::Rest => Some("GetFunctionConfiguration"),
        };
        name.unwrap_or_default().to_owned()
    }

    /// That it came by now, and what goes wrong with it.
    pub(super) fn seen(&self, misdeed: Option<Misdeed>) -> Seen {
        let (operation, access_key) = (self.operation.clone(), self.access_key.clone());
        Seen { operation, access_key, at: Instant::now(), misdeed }
    }

    /// The token of the page that is asked for, in JSON.
    pub(super) fn token(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        // Of a table it is a key.
        let key = &body["ExclusiveStartKey"]["question"]["S"];
        body["nextToken"].as_str().or(key.as_str()).map(str::to_owned)
    }

    /// As it came, but for the end of the connection, which nobody signs.
    pub(super) fn forwarded(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("connection: close\r\n\r\n");
        [text.as_bytes(), &self.body].concat()
    }

    /// What its service calls throttling.
    pub(super) fn throttling(&self) -> &'static str {
        match self.protocol() {
            Protocol::Json | Protocol::Cbor => "ThrottlingException",
            Protocol::Query => "Throttling",
            Protocol::Rest => "TooManyRequestsException",
        }
    }

    /// An error of AWS's, as this protocol writes it.
    pub(super) fn refusal(&self, code: &str) -> Answer {
        let message = "Rate exceeded, or whatever else it is";
        let kind = self.header("content-type").unwrap_or("application/json");
        let json = || json!({ "__type": code, "message": message }).to_string().into_bytes();
        match self.protocol() {
            Protocol::Json => Answer::new(400, kind, json()),
            Protocol::Rest => {
                let status = if code.starts_with("TooMany") { 429 } else { 400 };
                Answer::new(status, "application/json", json()).with("x-amzn-errortype", code)
            }
            Protocol::Query => {
                let text = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
                );
                Answer::new(400, "text/xml", text.into_bytes())
            }
            Protocol::Cbor => {
                let mut body = vec![0xa2];
                for text in ["__type", code, "message", message] {
                    cbor_text(&mut body, text);
                }
                Answer::new(400, "application/cbor", body).with("smithy-protocol", "rpc-v2-cbor")
            }
        }
    }

    /// A success with nothing in it.
    pub(super) fn nothing(&self) -> Answer {
        let kind = self.header("content-type").unwrap_or("application/json");
        match self.protocol() {
            Protocol::Json | Protocol::Rest => Answer::new(200, kind, b"{}".to_vec()),
            Protocol::Query => {
                let name = &self.operation;
                let text = format!(
                    "<{name}Response><{name}Result></{name}Result><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></{name}Response>"
                );
                Answer::new(200, "text/xml", text.into_bytes())
            }
            Protocol::Cbor => Answer::new(200, "application/cbor", vec![0xa0])
                .with("smithy-protocol", "rpc-v2-cbor"),
        }
    }
}

/// A text of less than 256 bytes.
fn cbor_text(body: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).expect("a short text");
    match length {
        0..24 => body.push(0x60 + length),
        _ => body.extend([0x78, length]),
    }
    body.extend(text.as_bytes());
}

async fn more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(unread).await.ok()?;
    (read > 0).then_some(())
}
