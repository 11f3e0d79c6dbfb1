//! A plan made ready to send: headers with their secrets in place.

use std::fmt;

use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use policies::plan::{HeaderValue as Written, Plan};

/// Marks every probe, so that a service's own logs can tell it from a customer.
const AGENT: &str = concat!("gate/", env!("CARGO_PKG_VERSION"));

/// A plan with its request headers resolved. Debug output leaves the headers out: they may hold secrets.
#[derive(Clone)]
pub struct Order {
    /// What to probe and how often.
    pub plan: Plan,
    pub(crate) headers: HeaderMap,
    pub(crate) host: Option<HeaderValue>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// A header that cannot be sent. The value is never part of the message.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Its name is not a header name.
    #[error("`{0}` is not a header name")]
    Name(String),
    /// Its value has characters no header may have.
    #[error("the value of header `{0}` has characters no header may have")]
    Value(String),
    /// Its secret could not be read.
    #[error("the secret for header `{header}` could not be read: {reason}")]
    Secret {
        /// Header it is for.
        header: String,
        /// Why, without the secret.
        reason: String,
    },
}

impl Order {
    /// Makes a plan ready; `secret` looks a reference up.
    ///
    /// # Errors
    /// A header whose name, value or secret is unusable.
    pub fn new(
        plan: Plan,
        secret: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Self, OrderError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Each probe has a connection of its own, as a load balancer's health check does.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for (name, written) in &plan.request.headers {
            let value = match written {
                Written::Literal(text) => text.clone(),
                Written::Secret(reference) => secret(reference)
                    .map_err(|reason| OrderError::Secret { header: name.clone(), reason })?,
            };
            let key = HeaderName::try_from(name.as_str())
                .map_err(|_refused| OrderError::Name(name.clone()))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_refused| OrderError::Value(name.clone()))?;
            value.set_sensitive(matches!(written, Written::Secret(_)));
            headers.append(key, value);
        }
        let host = plan
            .request
            .host
            .as_ref()
            .map(|host| {
                HeaderValue::try_from(host.as_str())
                    .map_err(|_refused| OrderError::Value(HOST.to_string()))
            })
            .transpose()?;
        Ok(Self { plan, headers, host })
    }
}
