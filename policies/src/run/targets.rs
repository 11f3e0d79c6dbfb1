//! What is probed: the targets a deployment names, by the route its policy wants, or those the policy names.

use super::{RESOLVE_GRACE, Run};
use crate::deployment::{Arm, Deployment, HEALTHY, INITIAL, Route, Target};
use crate::policy::{Policy, Via};

impl Run {
    /// Where the deployment names no green, the policy's own targets are probed, to the end. A service, or a
    /// function, is given the time first that its own take to register.
    pub(super) fn choose_targets(&mut self) {
        let (Some(deployment), Some((_, policy))) = (&self.deployment, &self.policy) else {
            return;
        };
        let registers = !deployment.service.is_empty() || !deployment.function.is_empty();
        let waited = self.lasting_since.map(|since| self.now.since(since));
        let may_come = registers && waited.is_none_or(|waited| waited < RESOLVE_GRACE);
        self.names_targets =
            deployment.green.is_empty() && !policy.targets.green.is_empty() && !may_come;
    }

    /// Green and blue as they are probed.
    pub(super) fn arms(
        &self,
        deployment: &Deployment,
        policy: &Policy,
    ) -> (Vec<Target>, Vec<Target>) {
        if self.names_targets {
            return (policy.targets.green.clone(), policy.targets.blue.clone());
        }
        let routed = |arm| routed(deployment, arm, policy.probe.via);
        (routed(Arm::Green), routed(Arm::Blue))
    }

    /// Why the policy's probes cannot be made of what the deployment has: functions are invoked, addresses
    /// are not.
    pub(super) fn mismatch(&self, policy: &Policy) -> Option<String> {
        let script = &policy.probe.script;
        let mut green = self.deployment.iter().flat_map(|deployment| &deployment.green);
        let other = green.find(|target| (target.route == Route::Function) != script.invokes())?;
        Some(if script.invokes() {
            format!(
                "the policy invokes functions (`lambda`), and {} is an address; write `http`, `grpc` or another protocol, or name the functions it is for in `applies-to`",
                other.id
            )
        } else {
            format!(
                "the policy probes by `{}`, and {} is a version of a Lambda function, which has no address; write `probe: {{ lambda: {{}} }}`, or a policy with `applies-to: {{ function: … }}`",
                script.protocol(),
                other.id
            )
        })
    }
}

/// What there is to say of a policy that names targets.
pub(super) fn chosen(policy: &Policy, names_targets: bool) -> Option<String> {
    let (green, blue) = (policy.targets.green.len(), policy.targets.blue.len());
    if names_targets {
        return Some(format!(
            "the deployment names no target: probing the policy's {green} green and {blue} blue"
        ));
    }
    let text = "the policy's `targets` are left alone: the deployment names its own";
    (green > 0).then(|| text.to_owned())
}

/// The targets of an arm on the route the policy wants. `Auto` takes tasks where there are any.
fn routed(deployment: &Deployment, arm: Arm, via: Via) -> Vec<Target> {
    let targets = deployment.arm(arm);
    // Both arms take the same route, or they would not be comparable: green says which.
    let tasks = deployment.green.iter().any(|target| target.route == Route::Task);
    let wanted = |route: Route| match (via, route) {
        (_, Route::Url | Route::Function) | (Via::Both, _) => true,
        (Via::Auto, Route::Task) | (Via::Tasks, Route::Task) => true,
        (Via::Auto, Route::Listener) => !tasks,
        (Via::Listener, Route::Listener) => true,
        (Via::Tasks, Route::Listener) | (Via::Listener, Route::Task) => false,
    };
    // Where the load balancer sends traffic to others of the group, one that joins gets none until it was called
    // healthy once: while it boots, nobody is refused by it.
    let serves = targets.iter().any(|target| target.health_state() == Some(HEALTHY));
    let boots = |target: &Target| serves && target.health_state() == Some(INITIAL);
    let probed = targets.iter().filter(|target| wanted(target.route) && !boots(target));
    probed.cloned().collect()
}

/// Whether green is there to be measured: of tasks that the load balancer looks at, one is healthy.
pub(super) fn is_any_up(green: &[Target]) -> bool {
    green.iter().any(|target| target.health_state().is_none_or(|state| state == HEALTHY))
}
