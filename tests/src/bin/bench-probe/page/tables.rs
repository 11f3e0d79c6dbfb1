//! One table for each load.

use std::fmt::Write;

use crate::expected::{cpu, jitter};
use crate::figures::Figure;
use crate::freeze::closed_form;
use crate::markdown::{NOTHING, header, median, noisy, number, pair, row};
use crate::measure::{Measured, Survey};
use crate::outputs::QUANTILES;
use crate::scenario::Scenario;
use crate::sidecar::{Cost, Sidecars};
use crate::tool::Tool;

const MICRO: f64 = 1e6;
const MILLI: f64 = 1e3;

/// Tools that have a run under this load.
fn measured(survey: &Survey, scenario: Scenario) -> Vec<Tool> {
    let tools = Tool::ALL.into_iter();
    tools.filter(|tool| survey.figure(scenario, *tool, cpu).is_some()).collect()
}

/// Gate's figures divided by each peer's.
pub fn ratios(page: &mut String, survey: &Survey) {
    use Scenario::{Full, Steady1000, Steady5000};
    let memory = |run: &Measured| run.memory;
    let rate = |run: &Measured| Some(run.rate);
    page.push_str(
        "\nGate's medians divided by each peer's; below 1 gate needs less, but for the rate.\n",
    );
    let columns = ["gate ÷", "CPU 1,000/s", "CPU 5,000/s", "jitter p99 1,000/s", "memory 1,000/s"];
    header(page, &[&columns[..], &["CPU full speed", "rate full speed"]].concat());
    for peer in Tool::ALL.into_iter().filter(|tool| tool.is_peer()) {
        let ratio = |scenario, figure: &dyn Fn(&Measured) -> Option<f64>| {
            let rounds = |tool| survey.rounds(scenario, tool, figure);
            median(Figure::ratio(&rounds(Tool::Gate), &rounds(peer)), 1.0)
        };
        let cells = [
            ratio(Steady1000, &cpu),
            ratio(Steady5000, &cpu),
            ratio(Steady1000, &jitter),
            ratio(Steady1000, &memory),
            ratio(Full, &cpu),
            ratio(Full, &rate),
        ];
        if cells.iter().any(|cell| cell != NOTHING) {
            row(page, [vec![peer.name().to_owned()], cells.into()].concat());
        }
    }
}

/// The three constant rates on a server that never stops.
pub fn steady(page: &mut String, survey: &Survey) {
    for (scenario, heading, about) in [
        (
            Scenario::Steady1000,
            "1,000 requests a second",
            "An answer takes no time: what a tool reports beyond the truth is its own.",
        ),
        (Scenario::Steady5000, "5,000 requests a second", ""),
        (
            Scenario::Dist,
            "1,000 requests a second, answers of 2 ms at p50 and 20 ms at p99",
            "The delays are lognormal, and the same for every tool.",
        ),
    ] {
        let _ = write!(page, "\n## {heading}\n");
        if !about.is_empty() {
            let _ = write!(page, "\n{about}\n");
        }
        header(
            page,
            &[
                "tool",
                "CPU s/100k requests",
                "memory MiB",
                "achieved/s",
                "late p50 / p99 µs",
                "jitter p50 / p99 µs",
                "bunched %",
                "p50 reported / true µs",
                "p99 reported / true µs",
                "p99.9 reported / true µs",
            ],
        );
        for tool in measured(survey, scenario) {
            row(page, steady_row(survey, scenario, tool));
        }
        own_error(page, survey, scenario);
    }
}

fn steady_row(survey: &Survey, scenario: Scenario, tool: Tool) -> Vec<String> {
    let figure = |figure: &dyn Fn(&Measured) -> Option<f64>| survey.figure(scenario, tool, figure);
    let latency = |place: usize| {
        let reported = figure(&|run| run.reported.latency[place]);
        pair(reported, figure(&|run| run.truth[place]), MICRO)
    };
    let late =
        [figure(&|run| Some(run.schedule?.late_p50)), figure(&|run| Some(run.schedule?.late_p99))];
    let p50 = figure(&|run| Some(run.schedule?.jitter_p50));
    vec![
        tool.name().to_owned(),
        noisy(figure(&cpu), 1.0),
        median(figure(&|run| run.memory), 1.0),
        median(figure(&|run| Some(run.rate)), 1.0),
        pair(late[0], late[1], MICRO),
        format!("{} / {}", median(p50, MICRO), noisy(figure(&jitter), MICRO)),
        median(figure(&|run| Some(run.schedule?.bunched)), 100.0),
        latency(0),
        latency(2),
        latency(3),
    ]
}

/// Only gate says how late it was itself: beside what the server saw.
fn own_error(page: &mut String, survey: &Survey, scenario: Scenario) {
    let error = |place: usize| {
        survey.figure(scenario, Tool::Gate, |run| run.reported.schedule_error[place])
    };
    if let (Some(p50), Some(p99)) = (error(0), error(1)) {
        let (p50, p99) = (number(p50.median * MICRO), number(p99.median * MICRO));
        let _ = write!(
            page,
            "\nGate says of itself that it sent {p50} µs late at p50 and {p99} µs at p99.\n"
        );
    }
}

/// The server that stops.
pub fn freeze(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## A server that stops for 200 ms every 2 s\n\n\
        1,000 requests a second for 20 s, over 10 connections. Nobody who sends at a constant rate can be\n\
        luckier than P(latency > x) = (200 ms − x) / 2 s. A tool that waits for a free connection and counts\n\
        from there omits most of the stop. Jitter tells whether the requests arrived at a constant rate or\n\
        queued in the tool.\n",
    );
    header(
        page,
        &[
            "tool",
            "achieved/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "p99.9 ms",
            "p95 of the closed form %",
            "p50 reported / true µs",
            "jitter p99 of arrivals µs",
        ],
    );
    let exact = QUANTILES.map(|asked| number(closed_form(asked) * MILLI));
    let start = ["the closed form".to_owned(), number(1000.0)];
    let end = ["100".to_owned(), NOTHING.to_owned(), "0.000".to_owned()];
    row(page, start.into_iter().chain(exact).chain(end));
    for tool in measured(survey, Scenario::Freeze) {
        let figure = |figure: &dyn Fn(&Measured) -> Option<f64>| {
            survey.figure(Scenario::Freeze, tool, figure)
        };
        let latency = |place: usize| figure(&|run| run.reported.latency[place]);
        let share = figure(&|run| Some(run.reported.latency[1]? / closed_form(QUANTILES[1])));
        let start = [tool.name().to_owned(), median(figure(&|run| Some(run.rate)), 1.0)];
        let quantiles = (0..QUANTILES.len()).map(|place| median(latency(place), MILLI));
        let end = [
            median(share, 100.0),
            pair(latency(0), figure(&|run| run.truth[0]), MICRO),
            noisy(figure(&jitter), MICRO),
        ];
        row(page, start.into_iter().chain(quantiles).chain(end));
    }
}

/// As fast as 32 connections allow.
pub fn full(page: &mut String, survey: &Survey) {
    let server = match &survey.nginx {
        Some(found) => format!("nginx {}, one process", found.version),
        None => "the truth server, for want of nginx".to_owned(),
    };
    let _ = write!(page, "\n## Full speed, 32 connections\n\nThe server is {server}.\n");
    header(
        page,
        &["tool", "requests/s", "CPU s/100k requests", "memory MiB", "p50 / p99 reported µs"],
    );
    for tool in measured(survey, Scenario::Full) {
        let figure =
            |figure: &dyn Fn(&Measured) -> Option<f64>| survey.figure(Scenario::Full, tool, figure);
        let [p50, p99] = [0, 2].map(|place| figure(&|run| run.reported.latency[place]));
        row(
            page,
            [
                tool.name().to_owned(),
                noisy(figure(&|run| Some(run.rate)), 1.0),
                noisy(figure(&cpu), 1.0),
                median(figure(&|run| run.memory), 1.0),
                pair(p50, p99, MICRO),
            ],
        );
    }
}

/// One target, once a second.
pub fn sidecars(page: &mut String, survey: &Survey) {
    page.push_str(
        "\n## One target, once a second\n\n\
        A fresh connection for each probe. Gate is the whole daemon, journal and judgement included;\n\
        blackbox_exporter also needs a Prometheus that asks it, which is not counted.\n",
    );
    header(page, &["daemon", "CPU ms/s", "memory MiB", "requests/s at the target"]);
    type Which = fn(&Sidecars) -> &Result<Cost, String>;
    let daemons: [(&str, Which); 3] = [
        ("**gate serve**, one target", |round| &round.gate),
        ("**gate serve**, no target", |round| &round.idle),
        ("blackbox_exporter", |round| &round.blackbox),
    ];
    for (name, which) in daemons {
        let costs = || survey.sidecars.iter().filter_map(|round| which(round).as_ref().ok());
        if costs().next().is_some() {
            let cells = [
                noisy(Figure::of(costs().map(|cost| cost.cpu)), 1.0),
                noisy(Figure::of(costs().map(|cost| cost.memory)), 1.0),
                median(Figure::of(costs().map(|cost| cost.probes)), 1.0),
            ];
            row(page, [name.to_owned()].into_iter().chain(cells));
        }
    }
}
