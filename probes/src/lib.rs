//! Makes requests at a known rate, over real sockets, and returns ticks of samples.
//!
//! Open loop: when a probe is due depends on the plan alone, never on how the target answers, so a
//! target that stalls is not spared. Latency counts from the due time. Everything runs on one thread
//! of its own, so that neither a scrape nor an AWS call delays a probe.

mod connect;
mod http;
mod order;
mod runner;
pub mod schedule;
pub mod scrape;
mod session;

pub use order::{Order, OrderError};
pub use runner::{Prober, StartError};
pub use session::Session;
