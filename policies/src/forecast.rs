//! What a policy can see, and how soon: simulated runs of its own judge, with a fixed generator and a seed.

mod scenario;

use std::time::Duration;

use rand_distr::{Binomial, Distribution};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;
use serde::Serialize;

use crate::decision::Answer;
use crate::evidence::numerics::{divergence, whole};
use crate::judge::{Judge, Silence, Standing};
use crate::moment::Moment;
use crate::policy::{Limits, Policy};
use crate::sample::Outcome;
use crate::tick::{ArmTick, TargetTick, Tick};

pub use scenario::{Fault, Scenario, judged_alone, scenarios};

/// Targets of green in a simulation; more would only be slower.
pub const TARGETS_MAX: u32 = 100;

/// What came of many simulated runs of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcomes {
    /// What was simulated.
    pub name: String,
    /// The objective a fault is aimed at; `None` for a healthy release.
    pub objective: Option<String>,
    /// Share of green's probes, or of one target's, that were bad in it.
    pub bad_share: f64,
    /// Share of runs that ended in Continue.
    #[serde(rename = "continue")]
    pub continues: f64,
    /// Share of runs that ended in Rollback, proven.
    pub rollback: f64,
    /// Share of runs that proved neither before the deadline.
    pub undecided: f64,
    /// Mean time from acceptance to the decision, or to the deadline.
    pub expected_seconds: f64,
    /// 95 % of the runs had ended by then.
    pub p95_seconds: f64,
    /// No rule with these error rates can be faster on average (Wald); `None` between the two limits, or
    /// where there is none.
    pub limit_seconds: Option<f64>,
}

/// How many runs to simulate, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Runs of each scenario.
    pub number: u32,
    /// Where the generator begins.
    pub seed: u64,
    /// Targets of green.
    pub targets: u32,
}

/// Simulates one scenario. The same policy, scenario and runs give the same outcomes on any machine.
pub fn simulate(policy: &Policy, scenario: &Scenario, runs: Runs) -> Outcomes {
    let policy = &judged_alone(policy);
    let mut seconds: Vec<f64> = Vec::new();
    let (mut continues, mut rollback) = (0_u32, 0_u32);
    for number in 0..runs.number {
        // Runs differ by their stream, so that each is the same however many there are.
        let mut dice = Pcg64Mcg::seed_from_u64(runs.seed ^ (u64::from(number) << 24));
        let (answer, time) = one_run(policy, scenario, runs.targets, &mut dice);
        continues += u32::from(answer == Some(Answer::Continue));
        rollback += u32::from(answer == Some(Answer::Rollback));
        seconds.push(time);
    }
    seconds.sort_by(f64::total_cmp);
    let all = f64::from(runs.number.max(1));
    let at = usize::try_from(runs.number.saturating_mul(95).div_ceil(100).saturating_sub(1));
    Outcomes {
        name: scenario.name.clone(),
        objective: scenario.objective.clone(),
        bad_share: scenario.bad_share,
        continues: f64::from(continues) / all,
        rollback: f64::from(rollback) / all,
        undecided: f64::from(runs.number - continues - rollback) / all,
        expected_seconds: seconds.iter().sum::<f64>() / all,
        p95_seconds: at.ok().and_then(|at| seconds.get(at)).copied().unwrap_or(0.0),
        limit_seconds: scenario.limit_seconds(policy),
    }
}

impl Scenario {
    /// The physical limit: of a fault that of the objective it is aimed at, of a healthy release the longest
    /// of those that must each be proven.
    fn limit_seconds(&self, policy: &Policy) -> Option<f64> {
        let limits = self.limits.iter().filter_map(|(share, limits)| wald(policy, *limits, *share));
        limits.max_by(f64::total_cmp)
    }
}

/// Fewest seconds of probing that any test with these error rates needs on average (Wald 1945).
fn wald(policy: &Policy, limits: Limits, share: f64) -> Option<f64> {
    let rates = policy.decide.rates;
    let (alpha, beta) = (rates.false_rollback, rates.false_continue);
    let probes = if share >= limits.unacceptable {
        divergence(1.0 - beta, alpha) / divergence(share, limits.acceptable)
    } else if share <= limits.acceptable {
        divergence(1.0 - alpha, beta) / divergence(share, limits.unacceptable)
    } else {
        return None;
    };
    let seconds = probes / policy.probe.rate.settled_per_second();
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

/// The answer, if one was proven, and the seconds it took.
fn one_run(
    policy: &Policy,
    scenario: &Scenario,
    targets: u32,
    dice: &mut Pcg64Mcg,
) -> (Option<Answer>, f64) {
    let (tick, deadline) = (policy.decide.tick, policy.decide.deadline);
    let Ok(judge) = Judge::of_question(policy, Moment::ZERO) else {
        return (None, deadline.as_secs_f64());
    };
    let there = usize::try_from(targets).unwrap_or(usize::MAX);
    let mut judge = judge.without_numbers().of_targets(there);
    let mut probes = Due { per_tick: policy.probes_per_tick(), carried: 0.0 };
    let silence = Silence { green: Duration::ZERO, blue: Some(Duration::ZERO) };
    let (mut now, mut judged) = (Duration::ZERO, Duration::ZERO);
    let mut index = 0;
    while now + tick <= deadline {
        now += tick;
        let due = probes.next();
        let drawn = Tick {
            index,
            green: scenario.green(due, targets.clamp(1, TARGETS_MAX), dice),
            blue: Some(scenario.blue(due, dice)),
            ..Tick::default()
        };
        index += 1;
        if now <= policy.probe.warm_up {
            judge.warm_up(&drawn);
            continue;
        }
        let at = Moment::ZERO.after(now);
        judge.take(&drawn, at);
        // As the run counts it: from the first judged sample.
        if due > 0 || !judged.is_zero() {
            judged += tick;
        }
        match judge.standing(at, silence, judged >= policy.decide.at_least) {
            Standing::Continue => return (Some(Answer::Continue), now.as_secs_f64()),
            Standing::Rollback { .. } => return (Some(Answer::Rollback), now.as_secs_f64()),
            Standing::Watch | Standing::NoData { .. } => {}
        }
    }
    (None, deadline.as_secs_f64())
}

/// Probes due in each tick: at a low rate most ticks have none.
struct Due {
    per_tick: f64,
    carried: f64,
}

impl Due {
    fn next(&mut self) -> u32 {
        self.carried += self.per_tick;
        let due = self.carried.floor();
        self.carried -= due;
        u32::try_from(whole(due)).unwrap_or(u32::MAX)
    }
}

impl Scenario {
    fn green(&self, due: u32, targets: u32, dice: &mut Pcg64Mcg) -> ArmTick {
        let mut arm = ArmTick::default();
        let mut left = due;
        for target in 0..targets {
            let share = left / (targets - target);
            left -= share;
            let fault = match self.fault {
                Fault::OneTarget(fault) if target == 0 => Some(fault),
                Fault::OneTarget(_) | Fault::None => None,
                Fault::All(fault) => Some(fault),
            };
            let id = format!("green-{target}");
            arm.targets.insert(id, self.target(share, fault, dice));
        }
        arm
    }

    fn blue(&self, due: u32, dice: &mut Pcg64Mcg) -> ArmTick {
        ArmTick { targets: [("blue".to_owned(), self.target(due, None, dice))].into() }
    }

    fn target(
        &self,
        due: u32,
        fault: Option<crate::policy::Signal>,
        dice: &mut Pcg64Mcg,
    ) -> TargetTick {
        use crate::policy::Signal;
        let errors = match fault {
            Some(Signal::Errors) => self.bad_share,
            Some(Signal::SlowerThan(_)) | None => self.healthy_errors,
        };
        let slow = match fault {
            Some(Signal::SlowerThan(_)) => self.bad_share,
            Some(Signal::Errors) | None => self.healthy_slow,
        };
        let bad = draw(due, errors, dice);
        let late = draw(due, slow, dice);
        let mut tick = TargetTick { due, ..TargetTick::default() };
        for (outcome, number) in [(Outcome::Ok, due - bad), (Outcome::Status, bad)] {
            if number > 0 {
                tick.outcomes.insert(outcome, number);
            }
        }
        tick.latency.record_many(self.fast, due - late);
        tick.latency.record_many(self.slow, late);
        tick
    }
}

/// How many of `of` happen, each with this chance.
fn draw(of: u32, chance: f64, dice: &mut Pcg64Mcg) -> u32 {
    let drawn = Binomial::new(u64::from(of), chance.clamp(0.0, 1.0));
    let drawn = drawn.map_or(0, |binomial| binomial.sample(dice));
    u32::try_from(drawn).unwrap_or(of).min(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PolicyFile;

    const RUNS: Runs = Runs { number: 300, seed: 1, targets: 1 };

    fn policy(rest: &str) -> Policy {
        let text = format!("gate: v1\nprobe: {{ http: {{ path: / }} }}\n{rest}");
        PolicyFile::parse("p", &text).policy.unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_forecast_and_another_seed_another() {
        let policy = policy("objectives: [ { errors: { at-most: 1% } } ]\n");
        let fault = &scenarios(&policy)[1];
        let one = simulate(&policy, fault, RUNS);
        assert_eq!(one, simulate(&policy, fault, RUNS));
        assert_ne!(one, simulate(&policy, fault, Runs { seed: 2, ..RUNS }));
    }

    #[test]
    fn a_healthy_release_continues_and_an_outage_is_seen_within_two_ticks() {
        let policy = policy(
            "objectives: [ { errors: { at-most: 1% } }, { latency: { quantile: p99, at-most: 250ms } } ]\n",
        );
        let all = scenarios(&policy);
        let healthy = simulate(&policy, &all[0], RUNS);
        assert!(healthy.continues > 0.98 && healthy.p95_seconds < 80.0, "{healthy:?}");
        for outage in all.iter().filter(|scenario| scenario.bad_share > 0.99) {
            let seen = simulate(&policy, outage, RUNS);
            assert!(seen.rollback > 0.999 && seen.p95_seconds <= 4.0, "{seen:?}");
        }
    }

    #[test]
    fn no_forecast_beats_the_physical_limit() {
        let policy =
            policy("objectives: [ { errors: { at-most: 1% } } ]\ndecide: { at-least: 1s }\n");
        for scenario in scenarios(&policy) {
            let seen = simulate(&policy, &scenario, RUNS);
            let limit = seen.limit_seconds.unwrap();
            assert!(seen.expected_seconds > limit, "{seen:?}");
        }
    }

    #[test]
    fn one_bad_target_of_many_is_seen_by_an_objective_of_each_target() {
        let policy = policy(
            "objectives: [ { errors: { at-most: 5% } }, { each-target: { errors: { at-most: 10% } } } ]\n",
        );
        let runs = Runs { targets: 20, ..RUNS };
        let of_one =
            scenarios(&policy).into_iter().find(|s| matches!(s.fault, Fault::OneTarget(_)));
        let seen = simulate(&policy, &of_one.unwrap(), runs);
        assert!(seen.rollback > 0.9, "{seen:?}");
    }
}
