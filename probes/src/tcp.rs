//! A TCP connection, opened and closed.

use std::future::Future;
use std::pin::Pin;

use policies::reply::Reply;

use crate::connect::connect;
use crate::probe::{Asked, Attempt, Probe};

/// Opens a connection and closes it.
#[derive(Debug)]
pub(crate) struct TcpProbe;

impl Probe for TcpProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let mut asked = Asked::new();
            let connected = connect(attempt.target, attempt.deadline, &mut asked.phases).await;
            asked.result = connected.map(|_stream| Reply::default()).map_err(Into::into);
            asked
        })
    }
}
