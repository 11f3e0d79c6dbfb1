//! Who is let in: a request signed by a known key, lately, and for the first time.

use axum::http::HeaderMap;
use tracing::{error, warn};

use crate::app::Gate;
use crate::config::Key;
use crate::signature::{self, VALID_SECONDS};

/// Why a signed request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// No known key signed it lately.
    Unsigned,
    /// A request bore this signature before.
    Replayed,
    /// That it was let in could not be written down.
    Unwritten,
}

impl Shut {
    /// Its name in metrics.
    pub(crate) const fn outcome(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Replayed => "replayed",
            Self::Unwritten => "unwritten",
        }
    }
}

/// Whether a request says that it is signed.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key(signature::SIGNATURE)
}

/// Lets a request in whose signature is good and new. That it was let in is on disk before it acts, so that the
/// same request is refused after a restart too.
pub(crate) async fn admit(
    gate: &Gate,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Shut> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = (header(signature::TIMESTAMP), header(signature::SIGNATURE));
    let now = gate.clock.unix_millis() / 1000;
    let check = |keys: &[Key]| signature::verify(keys, ("POST", path), signed, body, now);
    let (tag, timestamp) = gate.keys.admit(check).await.map_err(|reason| {
        warn!(%reason, path, "a request was refused");
        Shut::Unsigned
    })?;
    match gate.is_first(&tag, timestamp.saturating_add(VALID_SECONDS)).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            warn!(path, timestamp, "a request was refused: its signature was used before");
            Err(Shut::Replayed)
        }
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "a signature could not be noted");
            Err(Shut::Unwritten)
        }
    }
}
