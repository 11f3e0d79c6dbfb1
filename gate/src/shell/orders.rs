//! Plans made ready to send beside the loop that probes: it never waits for a secret.

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use policies::plan::Plan;
use probes::{Order, OrderError};
use tracing::warn;

use super::secrets::references;
use super::{Case, References, Vault};
use crate::invoke::WithFunctions;

type Making = Pin<Box<dyn Future<Output = (References, Option<Result<Order, OrderError>>)> + Send>>;

/// The newest plan, and the order made of it.
pub(crate) struct Orders {
    vault: Vault,
    /// What the orders are for, where that may be functions.
    case: Option<Arc<dyn Case>>,
    plan: Option<Plan>,
    /// What the order under way was made with.
    sent: Option<References>,
    /// With these no order could be made: said once.
    refused: Option<References>,
    making: Option<Making>,
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orders").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Orders {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault, case: None, plan: None, sent: None, refused: None, making: None }
    }

    /// For a run of this case, whose targets may be functions.
    pub(crate) fn of(self, case: Arc<dyn Case>) -> Self {
        Self { case: Some(case), ..self }
    }

    /// Orders whose first is under way already.
    pub(crate) fn under_way(vault: Vault, plan: Plan, sent: References) -> Self {
        Self { plan: Some(plan), sent: Some(sent), ..Self::new(vault) }
    }

    /// Makes a plan ready, in place of the one before.
    pub(crate) fn make(&mut self, plan: Plan) {
        self.sent = None;
        self.plan = Some(plan);
        self.begin();
    }

    /// Looks whether a secret has changed, and makes the plan ready with what it is now. An order that
    /// cannot be made leaves the one under way as it is.
    pub(crate) fn look_again(&mut self) {
        if self.making.is_none() && (self.sent.is_none() || self.has_secrets()) {
            self.begin();
        }
    }

    /// Whether there is anything that could change.
    pub(crate) fn has_secrets(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| !references(&plan.script).is_empty())
    }

    /// Lets go of the plan.
    pub(crate) fn stop(&mut self) {
        (self.plan, self.sent, self.refused, self.making) = (None, None, None, None);
    }

    /// The next order to probe by. Cancel safe.
    pub(crate) async fn ready(&mut self) -> Order {
        loop {
            let Some(making) = &mut self.making else { return pending().await };
            let (with, made) = making.await;
            self.making = None;
            match made {
                // As it was.
                None => {}
                Some(Ok(order)) => {
                    (self.sent, self.refused) = (Some(with), None);
                    return order;
                }
                // Checked when the policy was picked; a secret that went away since leaves the run without
                // samples, which is a verdict of its own, until it can be read.
                Some(Err(error)) => {
                    if self.refused.as_ref() != Some(&with) {
                        warn!(%error, "cannot probe");
                    }
                    self.refused = Some(with);
                }
            }
        }
    }

    /// Puts a plan together with the secrets it refers to.
    fn begin(&mut self) {
        let Some(plan) = self.plan.clone() else { return };
        let (vault, sent) = (self.vault.clone(), self.sent.clone());
        let case = self.case.clone().filter(|_| plan.script.invokes());
        self.making = Some(Box::pin(async move {
            let with = References::of(&plan.script, &vault).await;
            if sent.as_ref() == Some(&with) {
                return (with, None);
            }
            let invoker = match case {
                Some(case) => case.invoker().await,
                None => None,
            };
            let made = Order::new(plan, &WithFunctions::new(&with, invoker));
            (with, Some(made))
        }));
    }
}

#[cfg(test)]
mod tests;
