//! The prober as a run sees it: begun by an order, and ticks come of it.

use std::fmt;
use std::time::Duration;

use policies::Tick;
use probes::{Order, Prober, Session};

use super::Doing;

/// Makes probes.
pub(crate) trait Probing: Send + Sync + fmt::Debug {
    /// Begins to probe.
    fn begin(&self, order: Order) -> Box<dyn Ticks>;
}

/// Probing under way. Dropping it stops it.
pub(crate) trait Ticks: Send + Sync {
    /// Probes by this order from the next tick on.
    fn change(&self, order: Order);
    /// The next complete tick, in order; `None` once probing has ended. Cancel safe.
    fn tick(&mut self) -> Doing<'_, Option<Tick>>;
    /// How long ago the tick that was taken last was over by its schedule.
    fn lateness(&self) -> Duration {
        Duration::ZERO
    }
}

impl Probing for Prober {
    fn begin(&self, order: Order) -> Box<dyn Ticks> {
        Box::new(Self::begin(self, order))
    }
}

impl Ticks for Session {
    fn change(&self, order: Order) {
        Self::change(self, order);
    }

    fn tick(&mut self) -> Doing<'_, Option<Tick>> {
        Box::pin(Self::tick(self))
    }

    fn lateness(&self) -> Duration {
        Self::lateness(self)
    }
}
