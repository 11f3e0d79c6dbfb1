//! What was expected of gate before anything was measured, and whether it came out.

use crate::figures::Figure;
use crate::freeze::closed_form;
use crate::markdown::{noisy, number};
use crate::measure::{Measured, Survey};
use crate::outputs::QUANTILES;
use crate::scenario::Scenario;
use crate::sidecar::{Cost, Sidecars};
use crate::tool::Tool;

/// Jitter p99 at 1,000 a second, seconds.
const JITTER: f64 = 250e-6;
/// Beside the best peer's.
const JITTER_RATIO: f64 = 0.4;
/// CPU at a steady rate beside oha's.
const CPU_RATIO: f64 = 0.8;
/// Distance of a quantile from the closed form.
const FREEZE: f64 = 0.03;
/// How far the reported median may be above the true one, seconds: what a client adds of its own.
const BIAS: f64 = 200e-6;
/// CPU at full speed beside oha's.
const FULL_CPU_RATIO: f64 = 0.9;
/// Rate at full speed beside wrk's.
const FULL_RATE_RATIO: f64 = 0.7;
/// MiB of the engine, under any load.
const MEMORY: f64 = 6.0;
/// CPU of a sidecar beside blackbox_exporter's.
const SIDECAR_CPU_RATIO: f64 = 0.25;
/// Memory of a sidecar beside blackbox_exporter's.
const SIDECAR_MEMORY_RATIO: f64 = 1.0;

/// One expectation.
#[derive(Debug)]
pub struct Expected {
    pub what: String,
    pub limit: String,
    pub measured: String,
    /// `None`: nothing was measured.
    pub held: Option<bool>,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

fn expect(what: &str, limit: Limit, unit: (f64, &str), found: Option<Figure>) -> Expected {
    let (scale, unit) = unit;
    let (sign, bound) = match limit {
        Limit::AtMost(bound) => ("≤", bound),
        Limit::AtLeast(bound) => ("≥", bound),
    };
    Expected {
        what: what.to_owned(),
        limit: format!("{sign} {}{unit}", number(bound * scale)),
        measured: found.map_or_else(|| "not measured".to_owned(), |_| noisy(found, scale) + unit),
        held: found.map(|found| match limit {
            Limit::AtMost(bound) => found.median <= bound,
            Limit::AtLeast(bound) => found.median >= bound,
        }),
    }
}

/// All of them.
pub fn all(survey: &Survey) -> Vec<Expected> {
    use Limit::{AtLeast, AtMost};
    use Scenario::{Freeze, Full, Steady1000, Steady5000};
    let ours = |scenario, figure: fn(&Measured) -> Option<f64>| {
        survey.rounds(scenario, Tool::Gate, figure)
    };
    let ratio = |scenario, peer, figure: fn(&Measured) -> Option<f64>| {
        Figure::ratio(&ours(scenario, figure), &survey.rounds(scenario, peer, figure))
    };
    let one = |rounds: Vec<Option<f64>>| Figure::of(rounds.into_iter().flatten());
    let micro = (1e6, " µs");
    let plain = (1.0, "");
    let best = best_jitter(survey).and_then(|peer| ratio(Steady1000, peer, jitter));
    let mut all = vec![
        expect("1,000/s: jitter p99", AtMost(JITTER), micro, one(ours(Steady1000, jitter))),
        expect("1,000/s: jitter p99 ÷ the best peer's", AtMost(JITTER_RATIO), plain, best),
        expect("1,000/s: CPU ÷ oha's", AtMost(CPU_RATIO), plain, ratio(Steady1000, Tool::Oha, cpu)),
        expect("5,000/s: CPU ÷ oha's", AtMost(CPU_RATIO), plain, ratio(Steady5000, Tool::Oha, cpu)),
    ];
    for (place, name) in [(1, "p95"), (2, "p99"), (3, "p99.9")] {
        let truth = closed_form(QUANTILES[place]);
        let distance = survey.rounds(Freeze, Tool::Gate, |run| {
            Some((run.reported.latency[place]? / truth - 1.0).abs())
        });
        let what = format!("server that stops: {name} from the closed form, {:.0} ms", truth * 1e3);
        all.push(expect(&what, AtMost(FREEZE), (100.0, " %"), one(distance)));
    }
    all.push(expect(
        "server that stops: p50 reported − true",
        AtMost(BIAS),
        micro,
        one(ours(Freeze, |run| Some(run.reported.latency[0]? - run.truth[0]?))),
    ));
    let full_rate = ratio(Full, Tool::Wrk, |run| Some(run.rate));
    all.extend([
        expect(
            "full speed: CPU ÷ oha's",
            AtMost(FULL_CPU_RATIO),
            plain,
            ratio(Full, Tool::Oha, cpu),
        ),
        expect("full speed: rate ÷ wrk's", AtLeast(FULL_RATE_RATIO), plain, full_rate),
        expect("most memory under any load", AtMost(MEMORY), (1.0, " MiB"), most_memory(survey)),
    ]);
    let beside = |figure: fn(&Cost) -> f64| {
        let of = |which: fn(&Sidecars) -> &Result<Cost, String>| -> Vec<Option<f64>> {
            survey.sidecars.iter().map(|round| which(round).as_ref().ok().map(figure)).collect()
        };
        Figure::ratio(&of(|round| &round.gate), &of(|round| &round.blackbox))
    };
    let [cpu, memory] = [beside(|cost| cost.cpu), beside(|cost| cost.memory)];
    all.extend([
        expect("sidecar: CPU ÷ blackbox_exporter's", AtMost(SIDECAR_CPU_RATIO), plain, cpu),
        expect(
            "sidecar: memory ÷ blackbox_exporter's",
            AtMost(SIDECAR_MEMORY_RATIO),
            plain,
            memory,
        ),
    ]);
    all
}

/// CPU of a request.
pub fn cpu(run: &Measured) -> Option<f64> {
    Some(run.cpu)
}

/// Jitter p99.
pub fn jitter(run: &Measured) -> Option<f64> {
    Some(run.schedule?.jitter_p99)
}

/// The peer with the least jitter at 1,000 a second.
fn best_jitter(survey: &Survey) -> Option<Tool> {
    let peers = Tool::ALL.into_iter().filter(|tool| tool.is_peer());
    let jitters = peers
        .filter_map(|tool| Some((tool, survey.figure(Scenario::Steady1000, tool, jitter)?.median)));
    jitters.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(tool, _)| tool)
}

/// Of the load under which gate needed most.
fn most_memory(survey: &Survey) -> Option<Figure> {
    let loads = Scenario::ALL.into_iter();
    let loads = loads.filter_map(|load| survey.figure(load, Tool::Gate, |run| run.memory));
    loads.max_by(|a, b| a.median.total_cmp(&b.median))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_at_its_limit_holds() {
        for (limit, median, held) in [
            (Limit::AtMost(0.8), 0.8, true),
            (Limit::AtMost(0.8), 0.81, false),
            (Limit::AtLeast(0.7), 0.7, true),
            (Limit::AtLeast(0.7), 0.69, false),
        ] {
            let found = expect("", limit, (1.0, ""), Figure::of([median]));
            assert_eq!(found.held, Some(held), "{found:?}");
        }
        assert_eq!(expect("", Limit::AtMost(1.0), (1.0, ""), None).held, None);
    }
}
