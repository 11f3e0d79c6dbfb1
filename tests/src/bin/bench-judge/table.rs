//! The page: what was simulated and what came out, in Markdown.

use std::fmt::Write;

use crate::beside;
use crate::figures::{Share, time_by};
use crate::markdown::{capital, grouped, header, pair, row, words};
use crate::ours::Ending;
use crate::peers::{CALIBRATED, NAMES};
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
        on evidence in the same time: a quick answer is worth little beside a large figure there. A late fault begins\n\
        on the minute, which suits the rules that look every minute; runs rolled back before it are not in its times,\n\
        and five minutes are left to see it, fewer than Flagger needs for five failures.\n\n\
        What compares with blue needs eight ticks, 16 s, at least, and bad probes of both to tell that green is no\n\
        worse: where a healthy release fails more often than the floor, but seldom, ten minutes can be too few.\n",
    );
    for set in &survey.faults {
        faults(&mut page, set);
    }
    beside::errors(&mut page, survey);
    beside::latency(&mut page, survey);
    thresholds(&mut page, survey);
    page
}

fn opening(page: &mut String, effort: Effort) {
    let _ = write!(
        page,
        "# Gate's rule beside others\n\n\
        Written by `make bench-judge` (seed {}; {} runs of an hour for gate, a quarter as many where nothing is\n\
        promised, in the first {} of which the other rules look at the same data; {} runs of ten minutes for every rule). The same seed gives the same page.\n\n\
        Gate is the real thing: the run that answers CodeDeploy, with a policy's text, fed with ticks of 2 s. It acts\n\
        when a tick closes. `gate` has the objective at the head of a table and probes green alone; `gate, versus blue`\n\
        has `errors: {{ versus: blue, floor: 0.1% }}` instead, beside a blue like the healthy release. The others see\n\
        the same probes summed over minutes, without the delay of any metric or poll: CloudWatch alarms, Argo Rollouts\n\
        and Flagger compare each minute's error rate with the objective; Kayenta's Mann-Whitney test compares green's\n\
        minutes with blue's, at every minute from the second, over a growing window; the naive rule compares the error\n\
        rate since the start with the objective, every 2 s. `Calibrated` alarms have the lowest threshold that rolls\n\
        back at most 1 % of the releases that use their whole budget, with independent errors, for an hour; it was\n\
        found on other random numbers. For an alarm to have it somebody must know the rate of requests and do this\n\
        sum.\n\n\
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
    page.push_str("\nEvery rule on the same runs, % rolled back in the hour:\n");
    let ours = names.unwrap_or_default().iter().cloned();
    let names = ours.chain(NAMES.iter().map(|&name| name.to_owned()));
    header(page, words(&["bad probes", "objective", "probes/s"]).into_iter().chain(names));
    for (hour, endings) in &survey.hours {
        let looked = endings.peers[0].len();
        let gate = endings.gate.iter().map(|runs| gate_rolled_back(&runs[..looked]).to_string());
        let peers = endings.peers.iter().map(|runs| peer_rolled_back(runs).to_string());
        row(page, hour_cells(hour).into_iter().chain(gate).chain(peers));
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
    page.push_str("\nOf the healthy releases\n");
    for (name, runs) in set.healthy.policies.iter().zip(&set.healthy.gate) {
        let times: Vec<Option<u32>> =
            runs.iter().map(Ending::continued).filter(Option::is_some).collect();
        let share = Share { part: times.len() as u32, of: runs.len() as u32 };
        let not_proven = Share::count(runs, |ending| *ending == Ending::NotProven);
        let after = pair(time_by(&times, 0.5), time_by(&times, 0.95));
        let _ = writeln!(
            page,
            "- {name} lets {share} % continue, after {after} s; {not_proven} % are not proven by the deadline."
        );
    }
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
