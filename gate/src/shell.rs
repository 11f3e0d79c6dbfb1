//! The loop of one run: wait for a fact, write it down, let the run decide, do what it says.
//!
//! It never decides. What differs between AWS and a person at a terminal is behind [`Case`].

mod cloud;
mod notify;
mod orders;
mod outbox;
mod probing;
mod run;
mod secrets;
pub(crate) mod vault;

pub(crate) use cloud::{CloudCase, Memory, trouble};
pub(crate) use notify::Notifier;
pub(crate) use orders::Orders;
pub(crate) use outbox::{Backlog, ENTRY_LOST, Outbox, Written};
pub(crate) use probing::{Probing, Ticks};
pub(crate) use run::{Conduct, Conducted, Overruled, conduct};
pub(crate) use secrets::{References, sendable};
pub(crate) use vault::{SECRET_LIFETIME, Vault, is_kept_by_aws, now};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use policies::{Decision, Event, Moment, Report};
use probes::Invoker;

use crate::signals::Sources;

/// Work that ends in something for the run.
pub(crate) type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a run is about and how it reaches the world.
pub(crate) trait Case: Send + Sync + fmt::Debug {
    /// Finds out what the question is about.
    fn resolve(&self) -> Doing<'_, Event>;
    /// Where AWS's own signals of real traffic come from; `None` where no AWS is behind it.
    fn sources(&self) -> Option<Sources> {
        None
    }
    /// Told when probing begins.
    fn probing(&self) {}
    /// What invokes functions where the targets are; `None` where there are none.
    fn invoker(&self) -> Doing<'_, Option<Arc<dyn Invoker>>> {
        Box::pin(async { None })
    }
    /// Brings the answer to whoever asked. One try.
    fn deliver<'a>(&'a self, decision: &'a Decision, stop_deployment: bool) -> Doing<'a, Event>;
    /// Stops the deployment with rollback, though its question was answered. One try.
    fn veto(&self) -> Doing<'_, Event>;
    /// Tells these topics of what was just delivered, and waits for none of them.
    fn notify(&self, _topics: &[String], _report: &Report) {}
    /// Writes a fact down before it is acted on.
    fn record<'a>(&'a self, at: Moment, fact: &'a Event) -> Doing<'a, Written>;
    /// Writes the decision down before it is sent, which is at `latest` at the latest.
    fn decided<'a>(
        &'a self,
        at: Moment,
        decision: &'a Decision,
        latest: Option<Moment>,
    ) -> Doing<'a, ()>;
    /// Waits, and not for long, until what was recorded is written: where others may judge the same, it is found out by that
    /// whose the question is.
    fn settled(&self) -> Doing<'_, ()> {
        Box::pin(async {})
    }
    /// Notes that the run is over.
    fn closed(&self) -> Doing<'_, ()>;
}
