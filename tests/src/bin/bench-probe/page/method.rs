//! How it was measured, on what, and what is missing: around the tables.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::expected::{cpu, jitter};
use crate::measure::Survey;
use crate::scenario::Scenario;
use crate::sidecar::{Cost, Sidecars};
use crate::tool::Tool;

/// Above the tables.
pub fn opening(survey: &Survey) -> String {
    let mut page = "# Gate's prober beside others\n\n".to_owned();
    let quick = if survey.quick { " --quick, which tells nothing about time" } else { "" };
    let machine = &survey.machine;
    let rounds = if survey.rounds == 1 {
        "one round".to_owned()
    } else {
        format!("{} rounds, the tools in turn", survey.rounds)
    };
    let _ = write!(
        page,
        "Written by `make bench-probe`{quick} ({rounds}, {} min), after `make bench-probe-peers` installed the\n\
        others. Figures are medians of the rounds; in brackets from where to where they went. Use the ratios:\n\
        another machine has other figures.\n\n\
        {} core{} of {}, {:.0} GiB, Linux {}. Load average before each round and after the last: {}.\n",
        survey.seconds.div_ceil(60),
        machine.cores,
        if machine.cores == 1 { "" } else { "s" },
        machine.processor,
        machine.memory,
        machine.kernel,
        survey.loads.join(", "),
    );
    page.push_str(if survey.pinned {
        "The tools have core 0, the servers core 1.\n"
    } else {
        "**Tools and servers share a core**: there was no second one.\n"
    });
    let runs = survey.runs.values().flatten().flatten();
    page.push_str(if runs.clone().all(|run| run.by_kernel) {
        "\nThe server stamps each request with the time at which the kernel received it. "
    } else {
        "\n**The kernel gave no stamps**: an arrival is when the server read the request. "
    });
    page.push_str(
        "Lateness is the distance\n\
        from the grid of a constant rate, on which the earliest 0.1 % are on time; jitter that from the median\n\
        lateness; bunched are gaps below a tenth of the period. The first half second is left out. The truth is\n\
        the time from the kernel's stamp to the answer's end. CPU is user and system time of the whole process,\n\
        by the kernel; memory the most it had.\n",
    );
    page
}

/// Below them.
pub fn closing(page: &mut String, survey: &Survey) {
    page.push_str("\n## Versions, noise and what is missing\n\n");
    let found = survey.tools.iter().filter_map(|(tool, found)| {
        let version = &found.as_ref().ok()?.version;
        let named = matches!(tool, Tool::Reference | Tool::OhaUncorrected);
        (!named).then(|| format!("{} {version}", tool.program()))
    });
    let daemons =
        [("nginx", survey.nginx.as_ref()), ("blackbox_exporter", survey.blackbox.as_ref().ok())];
    let daemons =
        daemons.into_iter().filter_map(|(name, found)| Some(format!("{name} {}", found?.version)));
    let versions: Vec<String> = found.chain(daemons).collect();
    if !versions.is_empty() {
        let _ = writeln!(page, "Measured: {}.", versions.join(", "));
    }
    let absent: Vec<String> = absent(survey).collect();
    if !absent.is_empty() {
        let _ = writeln!(page, "Not measured: {}.", absent.join("; "));
    }
    noise(page, survey);
    page.push_str(
        "\n`a loop that sleeps` is one thread with one connection, asleep until the next request is due: it shows\n\
        what this machine's timer and loopback allow. autocannon reports whole milliseconds and no p95, hey four\n\
        digits of a second and no p99.9, wrk neither p95 nor p99.9. h2load's quantiles are those of its log of\n\
        requests. hey's and h2load's rates are those of each connection. Memory is read every 100 ms.\n",
    );
}

/// How far apart the rounds were, as a share of their median.
fn noise(page: &mut String, survey: &Survey) {
    if survey.rounds < 2 {
        page.push_str("One round has no noise to show.\n");
        return;
    }
    let spreads = |figure: fn(&crate::measure::Measured) -> Option<f64>| {
        let all = Scenario::ALL.into_iter().flat_map(|load| Tool::ALL.map(|tool| (load, tool)));
        let spreads =
            all.filter_map(|(load, tool)| Some(survey.figure(load, tool, figure)?.spread()));
        let mut spreads: Vec<f64> = spreads.collect();
        spreads.sort_by(f64::total_cmp);
        let at =
            |quantile| crate::figures::quantile(&spreads, quantile).unwrap_or_default() * 100.0;
        format!("{:.0} % (at most {:.0} %)", at(0.5), at(1.0))
    };
    let _ = writeln!(
        page,
        "Between the lowest and the highest round lie {} of the median in CPU, {} in jitter p99.",
        spreads(cpu),
        spreads(jitter),
    );
}

/// What is not in the tables, and why.
pub fn absent(survey: &Survey) -> impl Iterator<Item = String> {
    let tools = survey.tools.iter().filter_map(|(tool, found)| {
        let why = found.as_ref().err()?;
        Some(format!("{} ({why})", tool.name().trim_matches('*')))
    });
    let failed = survey.runs.iter().flat_map(|((load, tool), runs)| {
        runs.iter().filter_map(|run| run.as_ref().err()).map(move |why| {
            format!("{} at {} ({})", tool.name().trim_matches('*'), load.name(), without_paths(why))
        })
    });
    let sidecars = survey.sidecars.iter().flat_map(|round: &Sidecars| {
        [
            ("gate serve", &round.gate),
            ("gate serve, no target", &round.idle),
            ("blackbox_exporter", &round.blackbox),
        ]
    });
    let sidecars = sidecars.filter_map(|(name, cost): (&str, &Result<Cost, String>)| {
        Some(format!("{name} ({})", without_paths(cost.as_ref().err()?)))
    });
    let nginx = survey.nginx.is_none().then(|| "nginx (not installed)".to_owned());
    // Every round fails alike.
    let all: BTreeSet<String> = tools.chain(failed).chain(sidecars).chain(nginx).collect();
    all.into_iter()
}

/// What a program said, without the places of this machine, and in one line of a few words.
fn without_paths(said: &str) -> String {
    let words = said.split_whitespace().map(|word| if word.contains('/') { "…" } else { word });
    words.take(24).collect::<Vec<&str>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::without_paths;

    #[test]
    fn no_place_of_the_machine_gets_into_the_page() {
        let said = "exit status: 1: cannot read /home/me/gate.yaml:1:\n  it is no file";
        assert_eq!(without_paths(said), "exit status: 1: cannot read … it is no file");
    }
}
