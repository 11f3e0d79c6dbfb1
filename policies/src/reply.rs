//! What a target answered, as far as a policy may ask about it.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::sample::{Phase, Phases};

/// An answer. What it holds is bounded by whoever read it.
#[derive(Debug, Default)]
pub struct Reply {
    /// HTTP status, or gRPC code.
    pub status: Option<u16>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Uncompressed; empty where nothing looks at it.
    pub body: Vec<u8>,
    /// Bytes of the body as it came.
    pub size_bytes: u64,
    /// Days to the end of the certificate's validity, negative after it.
    pub certificate_days: Option<f64>,
    /// How long each phase took.
    pub phases: Phases,
    /// From the send to the last byte.
    pub total: Duration,
    json: OnceLock<Option<Value>>,
}

impl Reply {
    /// An answer with a body and a status, and nothing else yet.
    pub fn new(status: Option<u16>, body: Vec<u8>) -> Self {
        let size_bytes = body.len() as u64;
        Self { status, body, size_bytes, ..Self::default() }
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body as JSON, read once.
    pub fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| serde_json::from_slice(&self.body).ok()).as_ref()
    }

    /// How long a phase took; all of it where none is named.
    pub fn time(&self, phase: Option<Phase>) -> Option<Duration> {
        phase.map_or(Some(self.total), |phase| self.phases.get(phase))
    }
}
