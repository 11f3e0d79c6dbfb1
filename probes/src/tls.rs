//! A TLS handshake, whole, with a certificate that is verified.

use std::future::Future;
use std::pin::Pin;

use policies::reply::Reply;

use crate::connect::dial;
use crate::exchange::Route;
use crate::probe::{Asked, Attempt, Probe};

/// Shakes hands and closes.
#[derive(Debug)]
pub(crate) struct TlsProbe {
    pub(crate) route: Route,
}

impl Probe for TlsProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let mut asked = Asked::new();
            let (trust, name) = (&self.route.trust, self.route.name(&attempt));
            // No protocol is offered: one that speaks another would refuse, not show its certificate.
            let version = None;
            let dialled = dial(
                trust,
                attempt.target,
                (name, true),
                version,
                attempt.deadline,
                &mut asked.phases,
            );
            asked.result = match dialled.await {
                Ok(dialled) => {
                    asked.certificate_days = dialled.certificate_days;
                    Ok(Reply::default())
                }
                Err(outcome) => Err(outcome.into()),
            };
            asked
        })
    }
}
