//! The thread that all probes run on.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::order::Order;
use crate::pacer::Pacer;
use crate::pulse::Pulse;
use crate::session::{Common, Session};

/// A thread with a runtime of its own. Dropping it ends all probing.
#[derive(Debug)]
pub struct Prober {
    runtime: Handle,
    common: Common,
    _stop: oneshot::Sender<()>,
}

/// The prober could not start.
#[derive(Debug, thiserror::Error)]
#[error("the probing thread could not be started")]
pub struct StartError(#[from] io::Error);

impl Prober {
    /// Starts the thread, and the one that wakes it.
    ///
    /// # Errors
    /// The operating system refuses a thread or a runtime.
    pub fn start() -> Result<Self, StartError> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let common = Common { pacer: Pacer::start()?, pulse: Pulse::new() };
        let pulse = Arc::clone(&common.pulse);
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("probes".to_owned()).spawn(move || {
            runtime.spawn(pulse.run());
            // Ends with an error when the sender is dropped: that is the signal.
            let _dropped = runtime.block_on(stopped);
        })?;
        Ok(Self { runtime: handle, common, _stop: stop })
    }

    /// Begins to probe by this order.
    pub fn begin(&self, order: Order) -> Session {
        Session::begin(&self.runtime, self.common.clone(), order)
    }
}
