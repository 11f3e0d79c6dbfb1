//! Requests that carry a signature.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use policies::plan::Sign;

use crate::order::{Lookup, OrderError};

/// A request about to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// `https://host/path?query`.
    pub url: &'a str,
    /// Headers that are signed with it.
    pub headers: &'a [(String, String)],
    /// What is sent with it.
    pub body: &'a [u8],
}

/// Headers that carry a signature, or why there is none.
pub type Signing<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<(String, String)>, String>> + Send + 'a>>;

/// Signs requests with credentials that only the shell knows.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The headers to add. The reason of a failure never holds a secret.
    fn sign<'a>(&'a self, request: Unsigned<'a>) -> Signing<'a>;
}

/// The signer of an order.
pub(crate) fn signer(sign: &Sign, lookup: &dyn Lookup) -> Result<Arc<dyn Signer>, OrderError> {
    match sign {
        Sign::SigV4 { service, region } => {
            lookup.sigv4(service, region).map_err(|reason| OrderError::Sign { reason })
        }
        Sign::Hmac { header, key } => {
            let key = lookup.text(key).map_err(|reason| OrderError::Sign { reason })?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            Ok(Arc::new(Keyed { header: header.clone(), key }))
        }
    }
}

/// HMAC-SHA-256 in hex over `METHOD\nPATH\nTIMESTAMP\nBODY`.
#[derive(Debug)]
struct Keyed {
    header: String,
    key: hmac::Key,
}

impl Signer for Keyed {
    fn sign<'a>(&'a self, request: Unsigned<'a>) -> Signing<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let headers = self.headers(&request, now);
        Box::pin(async move { Ok(headers) })
    }
}

impl Keyed {
    fn headers(&self, request: &Unsigned<'_>, now: u64) -> Vec<(String, String)> {
        let behind_scheme = request.url.split_once("://").map_or(request.url, |(_, rest)| rest);
        let path = behind_scheme.find('/').and_then(|at| behind_scheme.get(at..)).unwrap_or("/");
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{}\n{path}\n{now}\n", request.method).as_bytes());
        context.update(request.body);
        let hex: String =
            context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        vec![(self.header.clone(), hex), (format!("{}-timestamp", self.header), now.to_string())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_hash_covers_method_path_time_and_body() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let keyed = Keyed { header: "x-signature".to_owned(), key };
        let sign = |method, url, body: &'static str, now| {
            let request = Unsigned { method, url, headers: &[], body: body.as_bytes() };
            keyed.headers(&request, now)
        };
        let signed = sign("POST", "http://a/b?c=1", "body", 1_700_000_000);
        // printf 'POST\n/b?c=1\n1700000000\nbody' | openssl dgst -sha256 -hmac key
        let hex = "fd83aea5812d077975f24c978eeac8f3c66972e22901e4c892ac41ae944d58c8";
        assert_eq!(signed[0], ("x-signature".to_owned(), hex.to_owned()));
        assert_eq!(signed[1], ("x-signature-timestamp".to_owned(), "1700000000".to_owned()));
        for other in [
            sign("GET", "http://a/b?c=1", "body", 1_700_000_000),
            sign("POST", "http://a/b?c=2", "body", 1_700_000_000),
            sign("POST", "http://a/b?c=1", "bodY", 1_700_000_000),
            sign("POST", "http://a/b?c=1", "body", 1_700_000_001),
        ] {
            assert_ne!(other[0], signed[0]);
        }
    }
}
