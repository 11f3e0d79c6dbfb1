//! Reasons in words that a tired person understands.

use std::time::Duration;

use crate::decision::{Answer, Basis};
use crate::deployment::Arm;
use crate::event::Trouble;
use crate::judge::Judge;
use crate::moment::Moment;
use crate::policy::Policy;
use crate::report::sentence;
use crate::units::{percent, spell};
use crate::verdict::{odds, odds_needed};

/// Rollback, proven.
pub(super) fn broken(judge: &Judge, policy: &Policy) -> String {
    let Some(worst) = judge.worst() else { return "an objective is broken".to_owned() };
    let (kind, faults) = (worst.objective.signal.of_bad(), faults_of_green(judge));
    format!(
        "`{}` is broken: {} of {} probes of green {kind}{faults}; evidence {} that more than {} are (rollback at {})",
        worst.objective.name,
        worst.bad,
        worst.total,
        odds(judge.evidence().rollback),
        percent(worst.objective.acceptable),
        odds_needed(policy.decide.rates.false_rollback),
    )
}

/// Continue, proven.
pub(super) fn kept(judge: &Judge, policy: &Policy, seen: Duration) -> String {
    let parts: Vec<String> = judge
        .objectives()
        .iter()
        .map(|judged| {
            format!("`{}`: {} of {} probes bad", judged.objective.name, judged.bad, judged.total)
        })
        .collect();
    format!(
        "every objective is kept after {}: {}; evidence at least {} (continue at {})",
        spell(seen),
        parts.join(", "),
        odds(judge.evidence().keep),
        odds_needed(policy.decide.rates.false_continue),
    )
}

/// Neither proven by the deadline.
pub(super) fn undecided(
    judge: &Judge,
    policy: &Policy,
    basis: Basis,
    now: Moment,
    (judged_ticks, trouble_ticks): (u64, u64),
    answer: Answer,
) -> String {
    let after = spell(now.since(Moment::ZERO));
    let rule = format!("answering {answer} by the policy's `undecided` rule");
    if basis == Basis::GateTrouble {
        return format!(
            "not proven: gate itself could not measure in {trouble_ticks} of {} ticks (short of CPU or sockets), which says nothing about the release; {rule}",
            judged_ticks + trouble_ticks
        );
    }
    let aside = match judge.set_aside() {
        0 => String::new(),
        count => format!(
            "; {count} probes were set aside because blue could not be reached either: look at the way from gate to the targets"
        ),
    };
    let least = judge.least_sure().map_or_else(String::new, |judged| {
        format!("; least sure of `{}`: {}", judged.objective.name, sentence(judged))
    });
    format!(
        "not proven after {after} (rollback needs {}, continue {}){least}{aside}; {rule}",
        odds_needed(policy.decide.rates.false_rollback),
        odds_needed(policy.decide.rates.false_continue),
    )
}

/// Green fell silent.
pub(super) fn no_data(judge: &Judge, silent: Duration, answer: Answer) -> String {
    let faults = faults_of_green(judge);
    format!(
        "no data: no probe of green finished for {}{faults}; answering {answer} by the policy's `no-data` rule",
        spell(silent)
    )
}

/// ` (11 × status 503, 2 × timeout)`, or nothing.
fn faults_of_green(judge: &Judge) -> String {
    let faults = judge.arm(Arm::Green).total.faults();
    if faults.is_empty() { faults } else { format!(" ({faults})") }
}

/// Green has nothing to probe.
pub(super) fn no_targets(waited: Duration, answer: Answer) -> String {
    format!(
        "no data: green has no target to probe on the route the policy wants, after looking for {}; answering {answer} by the policy's `no-data` rule",
        spell(waited)
    )
}

/// The deployment could not be resolved.
pub(super) fn unresolved(trouble: Option<&Trouble>, now: Moment, answer: Answer) -> String {
    let cause = trouble.map_or("AWS did not answer", |trouble| trouble.what.as_str());
    format!(
        "the deployment could not be resolved in {}: {cause}; answering {answer} by the setting `unmatched`",
        spell(now.since(Moment::ZERO))
    )
}
