//! The part of the page about what only blue explains: how gate's runs ended, proven and not.

use crate::figures::{Share, time_by};
use crate::markdown::{capital, header, pair, row, words};
use crate::ours::Ending;
use crate::peers::NAMES;
use crate::survey::{Survey, peer_rolled_back};

/// Columns of [`endings`].
const ENDINGS: [&str; 5] =
    ["continued, %", "after, s", "rolled back, proven, %", "after, s", "not proven, %"];

/// Releases that any limit on green alone gets wrong.
pub fn errors(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## Releases that only blue explains\n\n\
        The right answer is to continue everywhere. Objective: at most 1 % errors, 20 probes a second. An outage falls\n\
        on both arms at a random time, and gate is made to watch all ten minutes. `Rolled back, proven` is a wrong\n\
        answer given as a proof; `not proven` is neither way by the deadline, said so, and rolled back by the default\n\
        rule `undecided: rollback`. Seconds are median / 95th percentile of the runs that ended so.\n\n\
        Every policy here has blue probed, so absolute objectives know of a broken blue too: see fix-forward in\n\
        [statistics.md](../statistics.md).\n",
    );
    header(page, words(&[&["arms", "gate"], &ENDINGS[..]].concat()));
    for (title, of) in &survey.beside_blue {
        for (name, runs) in of.policies.iter().zip(&of.gate) {
            let name = name.trim_start_matches("gate, ").to_owned();
            row(page, [capital(title), name].into_iter().chain(endings(runs)));
        }
    }
    page.push_str("\nThe other rules on the same releases, % rolled back within ten minutes:\n");
    let titles = survey.beside_blue.iter().map(|(title, _)| title.clone());
    header(page, words(&["rule"]).into_iter().chain(titles));
    for (place, name) in NAMES.iter().enumerate() {
        let cells = survey.beside_blue.iter();
        let cells = cells.map(|(_, endings)| peer_rolled_back(&endings.peers[place]).to_string());
        row(page, [(*name).to_owned()].into_iter().chain(cells));
    }
}

/// Gate's answers on latency.
pub fn latency(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## Latency beside blue\n\n\
        Gate alone, `p99 versus blue at most +20 %`, no blue known before; latencies are lognormal (σ = 0.5). Up to 1.2\n\
        times is allowed. Seconds are median / 95th percentile of the runs that ended so.\n",
    );
    header(page, words(&[&["green", "probes/s"], &ENDINGS[..]].concat()));
    for (rate, kind, runs) in &survey.latency {
        let start = [capital(kind.title), rate.to_string()];
        row(page, start.into_iter().chain(endings(runs)));
    }
}

fn endings(runs: &[Ending]) -> Vec<String> {
    let of = |wanted: fn(&Ending) -> Option<u32>| {
        let times: Vec<Option<u32>> = runs.iter().map(wanted).filter(Option::is_some).collect();
        let share = Share { part: times.len() as u32, of: runs.len() as u32 };
        [share.to_string(), pair(time_by(&times, 0.5), time_by(&times, 0.95))]
    };
    let not_proven = Share::count(runs, |ending| *ending == Ending::NotProven);
    [of(Ending::continued), of(Ending::rolled_back)]
        .concat()
        .into_iter()
        .chain([not_proven.to_string()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proven_and_not_proven_are_told_apart() {
        let runs = [
            Ending::Continued(60),
            Ending::Continued(62),
            Ending::RolledBack(8),
            Ending::NotProven,
        ];
        assert_eq!(endings(&runs), ["50.00", "60 / 62", "25.00", "8 / 8", "25.00"]);
        assert_eq!(endings(&runs[3..]), ["0", "– / –", "0", "– / –", "100"]);
    }
}
