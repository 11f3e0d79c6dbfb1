//! Secrets by reference: looked up when needed, never logged, recorded or shown.

use std::fs;
use std::io::Read;

use std::sync::Arc;

use policies::Policy;
use policies::plan::BODY_MAX_BYTES;
use probes::{Lookup, Order, OrderError, Signer};

use crate::invoke::WithFunctions;

/// The largest secret; a key or a token is far smaller.
const SECRET_MAX_BYTES: u64 = 16 * 1024;

/// Looks up `env:NAME` or `file:PATH`. Trailing line ends are not part of the secret.
///
/// # Errors
/// Why it could not be read; never what is in it.
pub(crate) fn secret(reference: &str) -> Result<String, String> {
    let text = match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_absent| format!("environment variable `{name}` is not set"))?,
        Some(("file", path)) => {
            let mut text = String::new();
            let read = |text: &mut String| {
                fs::File::open(path)?.take(SECRET_MAX_BYTES + 1).read_to_string(text)
            };
            read(&mut text).map_err(|error| format!("`{path}` cannot be read: {error}"))?;
            text
        }
        _ => return Err(format!("`{reference}` is no reference; write `env:NAME` or `file:PATH`")),
    };
    if text.len() as u64 > SECRET_MAX_BYTES {
        return Err(format!("`{reference}` is larger than {SECRET_MAX_BYTES} bytes"));
    }
    // Editors and shells leave a line end that nobody means.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(format!("`{reference}` is empty")) } else { Ok(text.to_owned()) }
}

/// What policies refer to: secrets, files, the credentials gate runs with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct References;

impl Lookup for References {
    fn text(&self, reference: &str) -> Result<String, String> {
        secret(reference)
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let most = BODY_MAX_BYTES as u64 + 1;
        let read = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        Ok(bytes)
    }

    fn sigv4(&self, service: &str, region: &str) -> Result<Arc<dyn Signer>, String> {
        Ok(crate::aws::signer(service, region))
    }
}

/// Whether a policy's probes can be sent: its secrets are there and its headers are sound.
///
/// # Errors
/// The header that cannot be sent, and why.
pub(crate) fn sendable(policy: &Policy) -> Result<(), OrderError> {
    let plan = policy.plan(0, 0, Vec::new(), Vec::new());
    Order::new(plan, &WithFunctions::to_check(&References)).map(|_order| ())
}
