//! What operators see: metrics, traces, logs.

mod metrics;
mod traces;

pub(crate) use metrics::Metrics;
pub(crate) use traces::init;
