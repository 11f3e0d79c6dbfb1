//! Functions: invoked by whoever has the credentials, timed and judged as every other probe is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::Bytes;
use policies::plan::BODY_MAX_BYTES;
use policies::reply::Reply;
use policies::sample::{Invoked, Outcome};
use tokio::time::{Instant, timeout_at};

use crate::order::Text;
use crate::probe::{Asked, Attempt, Lost, Probe};

/// Invokes functions with credentials that only the shell knows.
pub trait Invoker: fmt::Debug + Send + Sync {
    /// Invokes a function once, without a retry. What comes back after the deadline is not waited for.
    fn invoke<'a>(&'a self, function: &'a str, event: Bytes, deadline: Instant) -> Invoking<'a>;
}

/// An invocation under way.
pub type Invoking<'a> = Pin<Box<dyn Future<Output = Invocation> + Send + 'a>>;

/// What came of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// What the function returned, or why it returned nothing.
    pub result: Result<Vec<u8>, Lost>,
    /// What the platform reports of it, where it ran. The wall time is measured here.
    pub report: Option<Invoked>,
}

/// A function, ready to be invoked.
pub(crate) struct FunctionProbe {
    pub(crate) invoker: Arc<dyn Invoker>,
    pub(crate) event: Text,
}

impl fmt::Debug for FunctionProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionProbe").field("invoker", &self.invoker).finish_non_exhaustive()
    }
}

impl Probe for FunctionProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let event = self.event.fill(attempt.values);
            let mut asked = Asked::new();
            let invoking = self.invoker.invoke(&attempt.target.host, event, attempt.deadline);
            let Ok(invocation) = timeout_at(attempt.deadline, invoking).await else {
                asked.result = Err(Outcome::Timeout.into());
                return asked;
            };
            let wall = asked.began.elapsed();
            asked.invoked = invocation.report.map(|report| Invoked { wall, ..report });
            asked.result = invocation.result.and_then(|returned| {
                let mut hold = attempt.pool.hold(attempt.arm);
                if returned.len() > BODY_MAX_BYTES || !hold.grow_to(returned.len()) {
                    return Err(Outcome::TooLarge.into());
                }
                Ok(Reply::new(None, returned))
            });
            asked
        })
    }
}
