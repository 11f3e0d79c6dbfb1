//! An objective in one sentence for a person: what was seen, what it proves, how sure that is.

use super::Judged;
use super::judged::Engine;
use crate::evidence::interval;
use crate::evidence::numerics::count;
use crate::policy::{Counted, Limits, Measure, Versus, objective::quantile_name};
use crate::units::{percent, spell};
use crate::verdict::{odds, odds_needed};

/// Confidence of the interval shown beside a share.
const CONFIDENCE_ALPHA: f64 = 0.01;
/// Samples around which the interval is narrowest: about a minute at the default rate.
const INTERVAL_SAMPLES: f64 = 1000.0;

/// What there is to say of an objective.
pub(crate) struct Sentence {
    /// What was seen: `37 of 812 probes bad (4.6 %, at any time 2.7-7 % with 99 % confidence)`.
    pub(crate) seen: String,
    /// What it proves against it: `412:1 that more than 1 % are`.
    pub(crate) against: Option<String>,
    /// What it proves for it: `1:20 that fewer than 2 % are`.
    pub(crate) kept: Option<String>,
}

/// All of it in one line, with the odds at which this objective alone rolls back.
pub(crate) fn sentence(judged: &Judged) -> String {
    let Sentence { seen, against, kept } = say(judged);
    let Some(against) = against else { return seen };
    let share = judged.suspect().map_or(1.0, |suspect| suspect.share);
    let needed = odds_needed(judged.setting().rates.false_rollback * judged.share * share);
    let kept = kept.map_or_else(String::new, |kept| format!(", {kept}"));
    format!("{seen}; evidence {against} (rollback at {needed}){kept}")
}

pub(crate) fn say(judged: &Judged) -> Sentence {
    let evidence = judged.evidence();
    let worse = |what: &str| Some(format!("{} that {what}", odds(evidence.rollback)));
    let only = |seen: String| Sentence { seen, against: None, kept: None };
    match (&judged.engine, &judged.objective.measure) {
        (Engine::Condition(condition), _) => only(match condition.failing_for() {
            Some(time) if !time.is_zero() => {
                format!("{}; for {} now", condition.seen, spell(time))
            }
            Some(_) | None => condition.seen.clone(),
        }),
        (Engine::Series { rank: None, .. }, _) => only("no baseline yet".to_owned()),
        (Engine::Series { rank: Some(_), .. }, _) => Sentence {
            seen: format!("{} points", judged.total),
            against: worse("they are worse than the baseline"),
            kept: None,
        },
        (Engine::Versus(_), Measure::Versus { versus, .. }) if judged.total == 0 => {
            only(match versus {
                Versus::Errors => "no pair of probes judged yet".to_owned(),
                Versus::Latency { .. } => "too few probes of blue to compare with yet".to_owned(),
            })
        }
        (Engine::Versus(engine), Measure::Versus { versus, .. }) => {
            let kind = match (versus, engine.bounds_micros) {
                (Versus::Latency { .. }, Some((_, u64::MAX))) => {
                    "without an answer (as are too many of blue)".to_owned()
                }
                (Versus::Latency { quantile, .. }, Some((green, blue))) => format!(
                    "slower than {} (blue's {} is {})",
                    micros(green),
                    quantile_name(*quantile),
                    micros(blue)
                ),
                _ => "bad".to_owned(),
            };
            let (bad, all) = engine.blue;
            Sentence {
                seen: format!(
                    "{} of {} probes of green {kind}, {bad} of {all} of blue",
                    judged.bad, judged.total
                ),
                against: worse("green is worse"),
                kept: Some(format!("{} that it is not", odds(evidence.keep))),
            }
        }
        (Engine::Each(_), Measure::EachTarget { signal, limits }) => match judged.suspect() {
            None => only("no probe judged yet".to_owned()),
            Some(suspect) if suspect.bad == 0 => {
                only(format!("no target with a bad probe in {}", judged.total))
            }
            Some(suspect) => Sentence {
                seen: format!(
                    "most suspect is {}: {} of {} probes {}",
                    suspect.id,
                    suspect.bad,
                    suspect.all,
                    signal.of_bad()
                ),
                against: Some(format!(
                    "{} that more than {} are",
                    odds(suspect.log_rollback),
                    percent(limits.acceptable)
                )),
                kept: None,
            },
        },
        (_, Measure::Counts { limits, counted: Counted::Sidecars(signal), .. }) => {
            share(judged, "probes", &signal.of_bad(), *limits)
        }
        (_, Measure::Counts { limits, .. }) => share(judged, "events", "bad", *limits),
        (_, Measure::Share { signal, limits }) => {
            share(judged, "probes", &signal.of_bad(), *limits)
        }
        _ => only(String::new()),
    }
}

fn share(judged: &Judged, what: &str, kind: &str, limits: Limits) -> Sentence {
    let (bad, total) = (judged.bad, judged.total);
    if total == 0 {
        let seen = format!("no {} judged yet", what.trim_end_matches('s'));
        return Sentence { seen, against: None, kept: None };
    }
    let range = interval_of(judged).map_or_else(String::new, |(lower, upper)| {
        let lower = percent(lower);
        let lower = lower.trim_end_matches(" %");
        format!(", at any time {lower}-{} with 99 % confidence", percent(upper))
    });
    let seen = percent(count(bad) / count(total));
    let aside = aside(judged);
    let seen = format!("{bad} of {total} {what} {kind} ({seen}{range}){aside}");
    let evidence = judged.evidence();
    if judged.blue_is_broken() {
        return Sentence {
            seen,
            against: Some(format!(
                "{} that green is worse than blue, which is broken too",
                odds(evidence.rollback)
            )),
            kept: Some(format!("{} that it is not", odds(evidence.keep))),
        };
    }
    let that = |odds: String, than: &str, limit: f64| {
        format!("{odds} that {than} than {} are", percent(limit))
    };
    Sentence {
        seen,
        against: Some(that(odds(evidence.rollback), "more", limits.acceptable)),
        kept: Some(that(odds(evidence.keep), "fewer", limits.unacceptable)),
    }
}

/// `, 3 ticks beside a broken blue set aside`, or nothing.
pub(crate) fn aside(judged: &Judged) -> String {
    match judged.aside_ticks() {
        0 => String::new(),
        1 => ", 1 tick beside a broken blue set aside".to_owned(),
        ticks => format!(", {ticks} ticks beside a broken blue set aside"),
    }
}

/// Where the share of bad events lies at any time with 99 % confidence (statistics.md §8).
pub(crate) fn interval_of(judged: &Judged) -> Option<(f64, f64)> {
    let (bad, all) = (count(judged.bad), count(judged.total));
    let range = interval::share(bad, all, CONFIDENCE_ALPHA, INTERVAL_SAMPLES, CONFIDENCE_ALPHA);
    range.ok().filter(|_| judged.total > 0)
}

fn micros(micros: u64) -> String {
    spell(std::time::Duration::from_micros(micros))
}
