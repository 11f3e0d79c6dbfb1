//! The page: what was simulated and what came out, in Markdown.

use std::fmt::Write;

use crate::figures::{Share, time_by};
use crate::markdown::{capital, grouped, header, row, words};
use crate::ours::Ending;
use crate::peers::{CALIBRATED, NAMES};
use crate::policy::VERSUS_BLUE;
use crate::profiles::{Hour, percent};
use crate::simulate::{Effort, Endings};
use crate::survey::{
    Detection, FALSE_ROLLBACK, FaultSet, Survey, gate_rolled_back, peer_rolled_back,
};

/// The page.
pub fn page(survey: &Survey, effort: Effort) -> String {
    let mut page = String::new();
    opening(&mut page, effort);
    hours(&mut page, survey);
    page.push_str(
        "\n## A broken release: time to roll back\n\n\
        Seconds to the rollback, median / 95th percentile of all runs; a run that does not roll back counts as\n\
        longer than any other, `–` is beyond ten minutes. In brackets the share of runs that missed the fault:\n\
        for gate those that continued, and those not proven either way by the deadline, which a policy rolls back\n\
        by default. `healthy` is the share of runs of a release at a quarter of its budget that was rolled back\n\
        in the same time: a quick answer is worth little beside a large figure there. A late fault begins on the\n\
        minute, which suits the rules that look every minute; runs rolled back before it are not in its times, and\n\
        five minutes are left to see it, fewer than Flagger needs for five failures.\n",
    );
    for set in &survey.faults {
        faults(&mut page, set);
    }
    beside_blue(&mut page, survey);
    latency(&mut page, survey);
    thresholds(&mut page, survey);
    page
}

fn opening(page: &mut String, effort: Effort) {
    let _ = write!(
        page,
        "# Gate's rule beside others\n\n\
        Written by `make bench-judge` (seed {}; {} runs of an hour for gate, in the first {} of which the other\n\
        rules look at the same data; {} runs of ten minutes for every rule). The same seed gives the same page.\n\n\
        Gate is the real thing: the run that answers CodeDeploy, with a policy's text, fed with ticks of 2 s. It acts\n\
        when a tick closes. The others see the same probes summed over minutes, without the delay of any metric or\n\
        poll: CloudWatch alarms, Argo Rollouts and Flagger compare each minute's error rate with the objective;\n\
        Kayenta's Mann-Whitney test compares green's minutes with blue's, at every minute from the second, over a\n\
        growing window; the naive rule compares the error rate since the start with the objective, every 2 s.\n\
        `Calibrated` alarms have the lowest threshold that rolls back at most 1 % of the releases that use their\n\
        whole budget, with independent errors, for an hour; it was found on other random numbers. For an alarm to\n\
        have it somebody must know the rate of requests and do this sum.\n\n\
        ![Time to roll back, and false rollbacks over an hour](judge.svg)\n",
        effort.seed,
        grouped(effort.hour_runs),
        grouped(effort.runs),
        grouped(effort.runs),
    );
}

fn hours(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## A healthy release, looked at for an hour: false rollbacks\n\n\
        In a stall every probe is bad; stalls arrive at random and last exponentially long. The promise of at most\n\
        1 % covers independent bad probes up to the whole budget, and stalls of at most 0.4 s on average (a fifth of\n\
        a tick) up to half of it. The limit is exact (Clopper and Pearson), wrong once in a hundred.\n",
    );
    let names = survey.hours.first().map(|(_, endings)| endings.policies.as_slice());
    for (place, name) in names.unwrap_or_default().iter().enumerate() {
        if place > 0 {
            let _ =
                writeln!(page, "\nThe same releases beside a blue like them, judged by {name}:");
        }
        promise(page, survey, place);
    }
    page.push_str("\nThe other rules on the same releases, % rolled back in the hour:\n");
    let names = NAMES.iter().map(|&name| name.to_owned());
    header(page, words(&["bad probes", "objective", "probes/s", "gate"]).into_iter().chain(names));
    for (hour, endings) in &survey.hours {
        let looked = endings.peers[0].len();
        let gate = gate_rolled_back(&endings.gate[0][..looked]).to_string();
        let peers = endings.peers.iter().map(|runs| peer_rolled_back(runs).to_string());
        row(page, hour_cells(hour).into_iter().chain([gate]).chain(peers));
    }
}

fn hour_cells(hour: &Hour) -> [String; 3] {
    let profile = &hour.profile;
    [hour.badness.clone(), percent(profile.objective.acceptable), profile.rate.to_string()]
}

/// How often one policy of gate rolled back, and whether that is what was promised.
fn promise(page: &mut String, survey: &Survey, place: usize) {
    let counted = ["promised", "rolled back", "%", "99 % upper limit, %"];
    header(page, words(&[&["bad probes", "objective", "probes/s"], &counted[..]].concat()));
    let (mut inside, mut broken) = (0, Vec::new());
    for (hour, endings) in &survey.hours {
        let share = gate_rolled_back(&endings.gate[place]);
        if hour.inside {
            inside += 1;
            if share.upper_limit() >= 100.0 * FALSE_ROLLBACK {
                let [badness, objective, rate] = hour_cells(hour);
                broken.push(format!("{badness} ({objective}, {rate}/s)"));
            }
        }
        let counted = [
            if hour.inside { "yes" } else { "no" }.to_owned(),
            format!("{} of {}", grouped(share.part), grouped(share.of)),
            share.to_string(),
            format!("{:.3}", share.upper_limit()),
        ];
        row(page, hour_cells(hour).into_iter().chain(counted));
    }
    let _ = write!(
        page,
        "\nThe upper limit is below 1 % in {} of the {inside} profiles the promise covers",
        inside - broken.len()
    );
    let _ = match broken.as_slice() {
        [] => writeln!(page, "."),
        broken => writeln!(page, ", and not in: {}.", broken.join("; ")),
    };
}

fn faults(page: &mut String, set: &FaultSet) {
    let _ = writeln!(page, "\n### {}", capital(&set.faults.title));
    let columns = set.broken.iter().map(|(fault, _)| percent(*fault));
    header(page, words(&["rule", "healthy"]).into_iter().chain(columns));
    let from = set.faults.from_seconds;
    for (place, name) in set.healthy.policies.iter().enumerate() {
        let healthy = format!("{} %", gate_rolled_back(&set.healthy.gate[place]));
        let cells =
            set.broken.iter().map(|(_, runs)| cell(Detection::of_gate(&runs.gate[place], from)));
        row(page, [format!("**{name}**"), healthy].into_iter().chain(cells));
    }
    for (place, name) in NAMES.iter().enumerate() {
        let healthy = format!("{} %", peer_rolled_back(&set.healthy.peers[place]));
        let cells =
            set.broken.iter().map(|(_, runs)| cell(Detection::of_peer(&runs.peers[place], from)));
        row(page, [(*name).to_owned(), healthy].into_iter().chain(cells));
    }
    let gains = set.broken.iter().map(|(_, runs)| gain(runs, from));
    row(page, words(&["calibrated alarm's median : gate's", ""]).into_iter().chain(gains));
    continued(page, set);
}

/// How often gate's median goes into that of the faster calibrated alarm, never rounded up.
fn gain(runs: &Endings, from_seconds: u32) -> String {
    let gate = Detection::of_gate(&runs.gate[0], from_seconds).median;
    let alarms =
        CALIBRATED.map(|place| Detection::of_peer(&runs.peers[place], from_seconds).median);
    match (gate, alarms.into_iter().flatten().min()) {
        (Some(gate), Some(alarm)) => {
            format!("{:.1}", (10.0 * f64::from(alarm) / f64::from(gate)).floor() / 10.0)
        }
        _ => "–".to_owned(),
    }
}

/// When a healthy release may go on: the others have nothing that says so before their ten minutes are over.
fn continued(page: &mut String, set: &FaultSet) {
    if set.faults.from_seconds > 0 {
        return;
    }
    let runs = &set.healthy.gate[0];
    let times: Vec<Option<u32>> = runs
        .iter()
        .map(|ending| match ending {
            Ending::Continued(seconds) => Some(*seconds),
            Ending::RolledBack(_) | Ending::NotProven => None,
        })
        .collect();
    let _ = writeln!(
        page,
        "\nGate lets {} % of the healthy releases continue, after {} s; {} % are not proven by the deadline.",
        Share::count(&times, Option::is_some),
        pair(time_by(&times, 0.5), time_by(&times, 0.95)),
        Share::count(runs, |ending| *ending == Ending::NotProven),
    );
}

fn pair(median: Option<u32>, p95: Option<u32>) -> String {
    let show = |time: Option<u32>| time.map_or_else(|| "–".to_owned(), |time| time.to_string());
    format!("{} / {}", show(median), show(p95))
}

fn cell(found: Detection) -> String {
    let mut cell = pair(found.median, found.p95);
    let mut notes = Vec::new();
    let continued = Share { part: found.missed.part - found.not_proven.part, ..found.missed };
    if continued.part > 0 {
        notes.push(format!("{continued} % missed"));
    }
    if found.not_proven.part > 0 {
        notes.push(format!("{} % not proven", found.not_proven));
    }
    if !notes.is_empty() {
        let _ = write!(cell, " ({})", notes.join(", "));
    }
    cell
}

fn beside_blue(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## Releases that only blue explains\n\n\
        % rolled back within ten minutes; the right answer is to continue everywhere. Objective: at most 1 % errors,\n\
        20 probes a second. The outage falls on both arms at a random time, and gate is made to watch all ten minutes.\n\
        In brackets the share not proven either way by the deadline.\n",
    );
    let titles = survey.beside_blue.iter().map(|(title, _)| title.clone());
    header(page, words(&["rule"]).into_iter().chain(titles));
    let names = survey.beside_blue.first().map(|(_, endings)| endings.policies.as_slice());
    for (place, name) in names.unwrap_or_default().iter().enumerate() {
        let cells = survey.beside_blue.iter().map(|(_, endings)| {
            let runs = &endings.gate[place];
            let not_proven = Share::count(runs, |ending| *ending == Ending::NotProven);
            let rolled_back = gate_rolled_back(runs);
            match not_proven.part {
                0 => rolled_back.to_string(),
                _ => format!("{rolled_back} ({not_proven} not proven)"),
            }
        });
        row(page, [format!("**{name}**")].into_iter().chain(cells));
    }
    for (place, name) in NAMES.iter().enumerate() {
        let cells = survey.beside_blue.iter();
        let cells = cells.map(|(_, endings)| peer_rolled_back(&endings.peers[place]).to_string());
        row(page, [(*name).to_owned()].into_iter().chain(cells));
    }
    if !VERSUS_BLUE {
        page.push_str("\nPolicies of this version have absolute objectives alone; `versus: blue` is to come.\n");
    }
}

fn latency(page: &mut String, survey: &Survey) {
    if survey.latency.is_empty() {
        return;
    }
    page.push_str(
        "\n## Latency beside blue\n\n\
        Gate alone, `p99 versus blue at most +20 %`, no blue known before; latencies are lognormal (σ = 0.5). Seconds\n\
        are median / 95th percentile over all runs.\n",
    );
    let shares = ["rolled back, %", "after, s", "continued, %", "after, s", "not proven, %"];
    header(page, words(&[&["green", "probes/s"], &shares[..]].concat()));
    for (rate, kind, runs) in &survey.latency {
        let of = |wanted: fn(&Ending) -> Option<u32>| {
            let times: Vec<Option<u32>> = runs.iter().map(wanted).collect();
            let share = Share::count(&times, Option::is_some).to_string();
            [share, pair(time_by(&times, 0.5), time_by(&times, 0.95))]
        };
        let rolled_back = of(|ending| match ending {
            Ending::RolledBack(seconds) => Some(*seconds),
            Ending::Continued(_) | Ending::NotProven => None,
        });
        let continued = of(|ending| match ending {
            Ending::Continued(seconds) => Some(*seconds),
            Ending::RolledBack(_) | Ending::NotProven => None,
        });
        let not_proven = Share::count(runs, |ending| *ending == Ending::NotProven).to_string();
        let start = [kind.title.to_owned(), rate.to_string()];
        row(page, start.into_iter().chain(rolled_back).chain(continued).chain([not_proven]));
    }
}

fn thresholds(page: &mut String, survey: &Survey) {
    page.push_str("\n## Calibrated thresholds\n\nError rate of a minute above which the alarm's period breaches.\n");
    header(page, words(&["objective", "probes/s", "1 of 1", "3 of 3"]));
    for (objective, rate, calibrated) in &survey.calibrated {
        let shown = |share: f64| format!("{:.3} %", 100.0 * share);
        row(
            page,
            [
                percent(objective.acceptable),
                rate.to_string(),
                shown(calibrated.one),
                shown(calibrated.three),
            ],
        );
    }
}
