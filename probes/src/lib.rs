//! Makes requests at a known rate, over real sockets, and returns ticks of samples.
//!
//! Open loop: when a probe is due depends on the plan alone, never on how the target answers, so a
//! target that stalls is not spared. Latency counts from the due time. Everything runs on one thread
//! of its own, so that neither a scrape nor an AWS call delays a probe; a second one, which sleeps
//! almost always, wakes it on the microsecond.

mod compress;
mod connect;
mod cookies;
mod exchange;
mod function;
mod grpc;
mod http;
mod order;
mod pacer;
mod pool;
mod probe;
mod pulse;
mod runner;
mod scenario;
pub mod schedule;
pub mod scrape;
mod session;
mod sign;
mod tcp;
mod throttle;
mod tls;
mod trust;
mod websocket;
mod wire;

pub use cookies::TALKATIVE;
pub use function::{Invocation, Invoker, Invoking};
pub use order::{Lookup, Order, OrderError, Pace};
pub use probe::{Asked, Attempt, Lost, Probe, Values};
pub use runner::{Prober, StartError};
pub use session::Session;
pub use sign::{Signer, Signing, Unsigned};
