//! Gate's own rule: the very `Run` that answers CodeDeploy, fed with ticks of counts.

use policies::deployment::Route;
use policies::{
    Answer, ArmTick, Basis, Deployment, Event, Moment, Outcome, Phase, PolicyInForce, Question,
    Run, Stage, Target, TargetTick, Tick,
};

use crate::data::{Counts, TICK_SECONDS};
use crate::policy::Policy;

/// How a run ended for gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Rolled back on evidence, at this second.
    RolledBack(u32),
    /// Continued on evidence, at this second.
    Continued(u32),
    /// Neither was proven by the deadline, or by the end of the simulation.
    NotProven,
}

impl Ending {
    /// When it was rolled back on evidence.
    pub fn rolled_back(&self) -> Option<u32> {
        match self {
            Self::RolledBack(seconds) => Some(*seconds),
            Self::Continued(_) | Self::NotProven => None,
        }
    }

    /// When it was let through on evidence.
    pub fn continued(&self) -> Option<u32> {
        match self {
            Self::Continued(seconds) => Some(*seconds),
            Self::RolledBack(_) | Self::NotProven => None,
        }
    }
}

/// A run of gate.
#[derive(Debug)]
pub struct Gate {
    run: Run,
    sees_blue: bool,
}

const GREEN: &str = "10.0.0.2:80";
const BLUE: &str = "10.0.0.1:80";

impl Gate {
    /// A run that has just begun to judge by this policy.
    ///
    /// # Panics
    /// Where the policy has a fault: a simulation of anything else would be worth nothing.
    pub fn start(policy: &Policy) -> Self {
        let unmatched = Answer::Rollback;
        let question = Question {
            id: "bench".into(),
            limit: None,
            unmatched,
            observe: false,
            watch_only: false,
        };
        let mut run = Run::new(question);
        let in_force =
            PolicyInForce::Chosen { file: "bench.policy.yaml".into(), text: policy.text.clone() };
        let deployment = Box::new(deployment(policy.sees_blue));
        run.step(Event::Resolved { deployment, policy: in_force }, Moment::ZERO);
        assert!(
            run.phase() == Phase::Judging,
            "the policy is not judged by: {:?}\n{}",
            run.decision(),
            policy.text
        );
        Self { run, sees_blue: policy.sees_blue }
    }

    /// Takes the counts of tick number `index`; how the run ended, if it did.
    pub fn tick(&mut self, index: u32, green: Counts, blue: Counts) -> Option<Ending> {
        self.take(index, target(green), target(blue))
    }

    /// Takes what the targets did in tick number `index`; how the run ended, if it did.
    ///
    /// # Panics
    /// Where the decision rests on anything but the evidence or the lack of it.
    pub fn take(&mut self, index: u32, green: TargetTick, blue: TargetTick) -> Option<Ending> {
        let arm = |id: &str, tick| ArmTick { targets: [(id.to_owned(), tick)].into() };
        let tick = Tick {
            index: u64::from(index),
            green: arm(GREEN, green),
            blue: self.sees_blue.then(|| arm(BLUE, blue)),
            ..Tick::default()
        };
        let seconds = (index + 1) * TICK_SECONDS;
        let closed = Moment::from_millis(u64::from(seconds) * 1000);
        self.run.step(Event::Ticked { tick: Box::new(tick) }, closed);
        let decision = self.run.decision()?;
        Some(match (decision.answer, decision.basis) {
            (Answer::Rollback, Basis::Proven) => Ending::RolledBack(seconds),
            (Answer::Continue, Basis::Proven) => Ending::Continued(seconds),
            (_, Basis::Undecided) => Ending::NotProven,
            _ => panic!("a decision that no simulated release can cause: {decision:?}"),
        })
    }
}

/// Bad probes are statuses: a connection refused would be set aside where blue refuses too.
fn target(counts: Counts) -> TargetTick {
    let outcomes = [(Outcome::Ok, counts.all - counts.bad), (Outcome::Status, counts.bad)];
    let outcomes = outcomes.into_iter().filter(|(_, count)| *count > 0).collect();
    TargetTick { due: counts.all, outcomes, ..TargetTick::default() }
}

fn deployment(has_blue: bool) -> Deployment {
    let target = |id: &str| Target {
        id: id.into(),
        host: id.trim_end_matches(":80").into(),
        port: 80,
        tls: false,
        route: Route::Task,
        health: None,
        name: None,
    };
    Deployment {
        id: "d-bench".into(),
        application: "web".into(),
        group: "web-group".into(),
        service: "prod:web".into(),
        function: String::new(),
        pipeline: String::new(),
        stage: Stage::AfterAllowTestTraffic,
        is_rollback: false,
        rolls_back_on_failure: true,
        green: vec![target(GREEN)],
        blue: if has_blue { vec![target(BLUE)] } else { Vec::new() },
        ..Deployment::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(objective: &str) -> Policy {
        let text = format!(
            "gate: v1\nprobe: {{ http: {{ path: / }} }}\nobjectives: [ {{ errors: {{ {objective} }} }} ]\n"
        );
        Policy { name: "gate".into(), text, sees_blue: false }
    }

    #[test]
    fn an_outage_is_rolled_back_and_a_clean_release_continues() {
        let all = 40;
        for (bad, ending) in [(40, Ending::RolledBack(4)), (0, Ending::Continued(60))] {
            let mut gate = Gate::start(&policy("at-most: 0.5%"));
            let counts = Counts { bad, all };
            let end = (0..300).find_map(|index| gate.tick(index, counts, Counts::default()));
            assert_eq!(end, Some(ending));
        }
    }

    #[test]
    #[should_panic(expected = "unknown key `at-mots`")]
    fn a_policy_with_a_fault_stops_the_simulation() {
        Gate::start(&policy("at-mots: 0.5%"));
    }
}
