//! `gate plan`: what a policy can see, and how soon, before it guards anything.

use std::path::PathBuf;
use std::thread;

use clap::Args;
use policies::Policy;
use policies::forecast::{
    Outcomes, Runs, Scenario, TARGETS_MAX, judged_alone, scenarios, simulate,
};
use policies::policy::Measure;
use policies::units::{percent, spell};
use serde::Serialize;

use super::{OK, Output, USAGE, complain, good_policy, say, say_json};

/// Runs of a scenario; more than a hundred thousand show nothing new and take minutes.
const RUNS_MAX: u32 = 100_000;
/// A policy under which fewer healthy releases continue by themselves is refused.
const HEALTHY_CONTINUES_MIN: f64 = 0.95;
/// Target-ticks of all simulated runs: about half a minute on one processor. Above it fewer runs are made,
/// and said.
const WORK_MAX: u64 = 40_000_000;
/// With fewer runs a share says nothing.
const RUNS_MIN: u64 = 50;
/// Runs that look for the knob which would help.
const ADVICE_RUNS: u32 = 300;

/// Simulate a policy: how long a healthy release takes to pass, and how long faults take to be caught.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The policy.
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Where the simulation's generator begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulated runs of each scenario.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=i64::from(RUNS_MAX)))]
    runs: u32,
    /// Targets of green; an objective of each target depends on it.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=i64::from(TARGETS_MAX)))]
    targets: u32,
    /// How the forecast is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// The forecast as programs read it.
#[derive(Debug, Serialize)]
struct Report {
    policy: String,
    seed: u64,
    runs: u32,
    targets: u32,
    rate_per_second: f64,
    tick_seconds: f64,
    at_least_seconds: f64,
    deadline_seconds: f64,
    false_rollback: f64,
    false_continue: f64,
    scenarios: Vec<Outcomes>,
    /// Objectives that depend on real traffic, or do not decide: taken as kept.
    not_simulated: Vec<String>,
    /// Whether a healthy release continues by itself before the deadline, nearly always.
    decidable: bool,
    /// Which knob to turn where it does not.
    advice: Vec<String>,
}

impl Plan {
    pub(super) async fn run(self) -> u8 {
        match self.plan().await {
            Ok(report) => {
                match self.output {
                    Output::Text => text(&report),
                    Output::Json => say_json(&report),
                }
                if report.decidable { OK } else { USAGE }
            }
            Err(reason) => {
                complain(&format!("error: {reason}"));
                USAGE
            }
        }
    }

    async fn plan(&self) -> Result<Report, String> {
        let (file, policy) = good_policy(&self.policy).await?;
        let scenarios = scenarios(&policy);
        let number = self.affordable(&policy, scenarios.len())?;
        let targets = if by_target(&policy) { self.targets } else { 1 };
        let runs = Runs { number, seed: self.seed, targets };
        let simulated = all(&policy, &scenarios, runs);
        let healthy = simulated.first().map_or(0.0, |healthy| healthy.continues);
        let decidable = healthy >= HEALTHY_CONTINUES_MIN;
        let advice = if decidable { Vec::new() } else { advice(&policy, runs) };
        let alone = judged_alone(&policy);
        let not_simulated = policy
            .objectives
            .iter()
            .filter(|objective| !alone.objectives.contains(objective))
            .map(|objective| objective.name.clone())
            .collect();
        Ok(Report {
            policy: file.name,
            seed: self.seed,
            runs: number,
            targets: self.targets,
            rate_per_second: policy.probe.rate.settled_per_second(),
            tick_seconds: policy.decide.tick.as_secs_f64(),
            at_least_seconds: policy.decide.at_least.as_secs_f64(),
            deadline_seconds: policy.decide.deadline.as_secs_f64(),
            false_rollback: policy.decide.rates.false_rollback,
            false_continue: policy.decide.rates.false_continue,
            scenarios: simulated,
            not_simulated,
            decidable,
            advice,
        })
    }
}

/// Whether an objective looks at each target on its own; without one more targets only take longer.
fn by_target(policy: &Policy) -> bool {
    let by_target = |measure: &Measure| matches!(measure, Measure::EachTarget { .. });
    policy.objectives.iter().any(|objective| by_target(&objective.measure))
}

impl Plan {
    /// Runs of each scenario that stay within the work allowed.
    fn affordable(&self, policy: &Policy, scenarios: usize) -> Result<u32, String> {
        let targets = if by_target(policy) { u64::from(self.targets) } else { 1 };
        let scenarios = u64::try_from(scenarios).unwrap_or(u64::MAX);
        let run = policy.horizon_ticks().saturating_mul(scenarios).saturating_mul(targets).max(1);
        let most = WORK_MAX / run;
        if most < RUNS_MIN {
            return Err(format!(
                "a deadline of {} is {} ticks, too many to simulate {RUNS_MIN} runs of {scenarios} scenarios with {targets} targets; plan it with a shorter `decide.deadline` or fewer --targets",
                spell(policy.decide.deadline),
                policy.horizon_ticks(),
            ));
        }
        Ok(self.runs.min(u32::try_from(most).unwrap_or(u32::MAX)))
    }
}

/// Simulates the scenarios side by side, one thread a processor.
fn all(policy: &Policy, scenarios: &[Scenario], runs: Runs) -> Vec<Outcomes> {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut outcomes: Vec<(usize, Outcomes)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let mine = scenarios.iter().enumerate().skip(worker).step_by(threads);
                let simulated =
                    move || mine.map(|(i, s)| (i, simulate(policy, s, runs))).collect::<Vec<_>>();
                scope.spawn(simulated)
            })
            .collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    outcomes.sort_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The smallest turn of one knob that lets a healthy release pass.
fn advice(policy: &Policy, runs: Runs) -> Vec<String> {
    let runs = Runs { number: runs.number.min(ADVICE_RUNS), ..runs };
    let passes = |changed: &Policy| {
        let healthy = scenarios(changed).into_iter().next();
        healthy.is_some_and(|healthy| {
            simulate(changed, &healthy, runs).continues >= HEALTHY_CONTINUES_MIN
        })
    };
    let mut advice = Vec::new();
    for times in [2_u32, 4, 8, 16] {
        let mut longer = policy.clone();
        longer.decide.deadline *= times;
        if passes(&longer) {
            advice.push(format!("raise `decide.deadline` to {}", spell(longer.decide.deadline)));
            break;
        }
    }
    for times in [2.0, 4.0, 8.0, 16.0] {
        let mut faster = policy.clone();
        let rate = policy.probe.rate.settled_per_second() * times;
        faster.probe.rate = policies::plan::Rate::constant(rate);
        if passes(&faster) {
            advice.push(format!("raise `probe.rate` to {rate}/s"));
            break;
        }
    }
    if policy.decide.strict {
        advice.push("drop `decide.strict`".to_owned());
    }
    advice.push("allow more: a larger `at-most`, or an `unacceptable` further above it".to_owned());
    advice
}

fn text(report: &Report) {
    say(&format!(
        "{}: {}/s for each arm, ticks of {} s, at least {} s, at most {} s; {} simulated runs each, seed {}",
        report.policy,
        report.rate_per_second,
        report.tick_seconds,
        report.at_least_seconds,
        report.deadline_seconds,
        report.runs,
        report.seed
    ));
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut report.scenarios.iter().map(|outcome| outcome.name.chars().count()));
    say(&format!(
        "\n{:names$}  {:>9} {:>9} {:>9}  {:>8} {:>8} {:>9}",
        "green", "continue", "rollback", "undecided", "mean", "95 %", "limit"
    ));
    let mut aimed: Option<&str> = None;
    for outcome in &report.scenarios {
        let objective = outcome.objective.as_deref();
        if objective != aimed {
            say(&format!("aimed at `{}`", objective.unwrap_or_default()));
            aimed = objective;
        }
        let limit = outcome.limit_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.1} s"));
        say(&format!(
            "{:names$}  {:>9} {:>9} {:>9}  {:>8} {:>8} {limit:>9}",
            outcome.name,
            share(outcome.continues),
            share(outcome.rollback),
            share(outcome.undecided),
            format!("{:.1} s", outcome.expected_seconds),
            format!("{:.0} s", outcome.p95_seconds),
        ));
    }
    say("\nlimit: fewer seconds on average are impossible with these error rates (Wald).");
    if !report.not_simulated.is_empty() {
        say(&format!("taken as kept: {}", report.not_simulated.join(", ")));
    }
    let smallest = |at_one: bool| {
        let seen = report.scenarios.iter().filter(|outcome| {
            outcome.objective.is_some()
                && outcome.name.ends_with("one target") == at_one
                && outcome.rollback >= HEALTHY_CONTINUES_MIN
        });
        seen.min_by(|a, b| a.bad_share.total_cmp(&b.bad_share))
    };
    if let Some(seen) = smallest(false) {
        say(&format!("smallest of these caught in 95 of 100 releases: {}", seen.name));
    }
    if report.scenarios.iter().any(|outcome| outcome.name.ends_with("one target")) {
        say(&match smallest(true) {
            Some(seen) => format!(
                "smallest fault of one of {} targets caught in 95 of 100 releases: {}",
                report.targets,
                percent(seen.bad_share)
            ),
            None => format!(
                "a fault of one of {} targets is not caught in time, even a complete one",
                report.targets
            ),
        });
    }
    if !report.decidable {
        say("\nrefused: a healthy release would not continue by itself before the deadline.");
        for way in &report.advice {
            say(&format!("  - {way}"));
        }
    }
}

/// `99.9 %`, and never 100 % where a run did otherwise.
fn share(of: f64) -> String {
    let shown = (of * 1000.0).floor() / 10.0;
    if of > 0.0 && shown == 0.0 { "< 0.1 %".to_owned() } else { format!("{shown} %") }
}
