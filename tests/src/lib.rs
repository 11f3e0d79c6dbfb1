//! Harness of the end-to-end tests: the real binary, the emulated AWS, real services, on loopback.
//!
//! Everything is a process with its own address and is gone when its handle is. Nothing sleeps for luck:
//! [`eventually`] waits for a condition, with a limit.

pub mod agent;
pub mod aws;
pub mod cloud;
pub mod endpoint;
pub mod faults;
pub mod gate;
pub mod http;
pub mod person;
pub mod place;
pub mod process;
mod secrets;
pub mod seeded;

pub use aws::{EmulatedAws, Function, Service, Site};
pub use cloud::Cloud;
pub use endpoint::{Endpoint, Manner};
pub use faults::{Faults, Misdeed, Rule};
pub use gate::Gate;
pub use person::Person;
pub use secrets::check_said;

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` finds something, at most `limit`; `None` then.
pub async fn eventually<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
