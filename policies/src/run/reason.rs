//! Reasons in words that a tired person understands.

use std::time::Duration;

use crate::decision::Answer;
use crate::deployment::Arm;
use crate::event::Trouble;
use crate::judge::{Judge, Judged, Missing, Sentence, Silence, aside, say, sentence};
use crate::moment::Moment;
use crate::policy::Policy;
use crate::units::spell;
use crate::verdict::{Verdict, odds, odds_needed};

/// Rollback, proven or by a condition.
pub(super) fn broken(judge: &Judge, judged: &Judged) -> String {
    broken_by(judge, judged, &judge.arm(Arm::Green).total.faults())
}

/// The same where what went wrong was counted elsewhere.
pub(super) fn broken_by(judge: &Judge, judged: &Judged, faults: &str) -> String {
    let name = &judged.objective.name;
    let Sentence { seen, against, .. } = say(judged);
    let faults = match judged.objective.measure.patience() {
        None if !faults.is_empty() => format!(": {faults}"),
        None | Some(_) => String::new(),
    };
    let Some(against) = against else {
        return format!("`{name}` is broken: {seen}{faults}");
    };
    // Objectives share the error rate: what decides is the evidence of all of them together.
    let together = match judge.objectives().len() {
        0 | 1 => String::new(),
        _ => format!("; together {}", odds(judge.evidence().rollback)),
    };
    let needed = odds_needed(judge.rates().false_rollback);
    format!(
        "`{name}` is broken: {seen}{faults}; evidence {against}{together} (rollback at {needed})"
    )
}

/// Continue, proven.
pub(super) fn kept(
    judge: &Judge,
    policy: &Policy,
    seen: Duration,
    (now, silence): (Moment, Silence),
) -> String {
    let deciding = judge.objectives().iter().filter(|judged| !judged.objective.observe);
    let parts: Vec<String> = deciding
        .map(|judged| {
            let (name, measure) = (&judged.objective.name, &judged.objective.measure);
            if judge.excused(judged, now, silence) {
                format!("`{name}` has no data and is let go of")
            } else if measure.is_condition() {
                format!("`{name}` holds")
            } else if measure.can_continue() {
                format!("`{name}`: {} of {} bad{}", judged.bad, judged.total, aside(judged))
            } else {
                format!("`{name}` has no veto")
            }
        })
        .collect();
    let beside =
        if judge.blue_is_broken() { "; blue is broken too, and green is no worse" } else { "" };
    format!(
        "every objective is kept after {}: {}{beside}; evidence at least {} (continue at {})",
        spell(seen),
        parts.join(", "),
        odds(judge.standing_evidence(now, silence).keep),
        odds_needed(policy.decide.rates.false_continue),
    )
}

/// Gate itself could not measure. `unsent` is why probes could not be sent, where that was seen.
pub(super) fn gate_trouble(
    (judged_ticks, trouble_ticks): (u64, u64),
    unsent: Option<&str>,
    answer: Answer,
) -> String {
    format!(
        "not proven: gate itself could not measure in {trouble_ticks} of {} ticks ({}), which says nothing about the release; {}",
        judged_ticks + trouble_ticks,
        unsent.unwrap_or("short of CPU or sockets"),
        undecided_rule(answer)
    )
}

fn undecided_rule(answer: Answer) -> String {
    format!("answering {answer} by the policy's `undecided` rule")
}

/// Neither proven by the deadline.
pub(super) fn undecided(judge: &Judge, policy: &Policy, now: Moment, answer: Answer) -> String {
    let after = spell(now.since(Moment::ZERO));
    let rule = undecided_rule(answer);
    let aside = match judge.set_aside() {
        0 => String::new(),
        count => format!(
            "; {count} probes were set aside because blue could not be reached either: look at the way from gate to the targets"
        ),
    };
    let least = judge.least_sure().map_or_else(String::new, |judged| {
        format!("; least sure of `{}`: {}", judged.objective.name, sentence(judged))
    });
    let deciding = judge.objectives().iter().filter(|judged| !judged.objective.observe);
    let waiting: Vec<String> = deciding
        .filter(|judged| judged.objective.measure.is_condition())
        .filter(|judged| judged.verdict() != Verdict::Kept)
        .map(|judged| format!("; `{}` does not hold: {}", judged.objective.name, sentence(judged)))
        .collect();
    let beside = if judge.blue_is_broken() {
        "; blue is broken too, and green is proven neither better nor worse"
    } else {
        ""
    };
    format!(
        "not proven after {after} (rollback needs {}, continue {}){least}{beside}{}{aside}; {rule}",
        odds_needed(policy.decide.rates.false_rollback),
        odds_needed(policy.decide.rates.false_continue),
        waiting.concat(),
    )
}

/// There is no data.
pub(super) fn no_data(
    judge: &Judge,
    judged: &Judged,
    (what, time): (Missing, Duration),
    answer: Answer,
) -> String {
    let (name, time) = (&judged.objective.name, spell(time));
    let missing = match what {
        Missing::Green => {
            format!("no probe of green finished for {time}{}", faults_of_green(judge))
        }
        Missing::Blue => format!("nothing of blue to compare with for {time}, for `{name}`"),
        Missing::Reading => format!("nothing was read for `{name}` for {time}"),
    };
    let whose = if judged.objective.no_data.is_some() { "its own" } else { "the policy's" };
    format!("no data: {missing}; answering {answer} by {whose} `no-data` rule")
}

/// `: 11 × status 503, 2 × timeout`, or nothing.
fn faults_of_green(judge: &Judge) -> String {
    let faults = judge.arm(Arm::Green).total.faults();
    if faults.is_empty() { faults } else { format!(": {faults}") }
}

/// Green has nothing to probe; `nameless` where nothing but a policy could name it.
pub(super) fn no_targets(waited: Duration, answer: Answer, nameless: bool) -> String {
    let what = if nameless {
        "neither the deployment nor the policy names a target to probe (write `targets: { green: [ URL ] }`)"
    } else {
        "green has no target to probe on the route the policy wants"
    };
    format!(
        "no data: {what}, after looking for {}; answering {answer} by the policy's `no-data` rule",
        spell(waited)
    )
}

/// Its time was up before a tick: the deployment was resolved too late, most likely.
pub(super) fn unmeasured(trouble: Option<&Trouble>, now: Moment, answer: Answer) -> String {
    let cause = trouble.map_or_else(String::new, |trouble| format!("; before, {}", trouble.what));
    format!(
        "nothing was measured in {}: not one tick of probes ended by then{cause}; {}",
        spell(now.since(Moment::ZERO)),
        undecided_rule(answer)
    )
}

/// The deployment could not be resolved.
pub(super) fn unresolved(trouble: Option<&Trouble>, now: Moment, answer: Answer) -> String {
    let cause = trouble.map_or(
        "nothing was heard of it, for AWS did not answer or too many others came first",
        |trouble| trouble.what.as_str(),
    );
    format!(
        "the deployment could not be resolved in {}: {cause}; answering {answer} by the setting `unmatched`",
        spell(now.since(Moment::ZERO))
    )
}
