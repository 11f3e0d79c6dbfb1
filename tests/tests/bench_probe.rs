//! The benchmark of probers, in half seconds: the tool works. It promises nothing about time, which is the
//! machine's.

use std::path::Path;
use std::process::Command;

use tests::place::Folder;

/// What it prints, and its page.
fn bench(arguments: &[&str]) -> (String, String, Folder) {
    let folder = Folder::new("bench-probe-test");
    let output = Command::new(env!("CARGO_BIN_EXE_bench-probe"))
        .args(["--quick", "--output"])
        .arg(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.path().join("probe.md")).unwrap();
    (String::from_utf8(output.stdout).unwrap(), page, folder)
}

/// The cells of the first row under `heading` that starts with this.
fn row<'a>(page: &'a str, heading: &str, start: &str) -> Option<Vec<&'a str>> {
    let (_, below) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`:\n{page}"));
    let rows = below.split("\n## ").next().unwrap().lines();
    let mut rows = rows.map(|line| line.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>());
    rows.find(|cells| cells[0] == start)
}

/// A cell's number; `2 / 3` is both.
fn number(cell: &str, place: usize) -> f64 {
    let number = cell.split(" / ").nth(place).unwrap().replace(',', "");
    number.parse().unwrap_or_else(|_| panic!("`{cell}` is no number"))
}

#[test]
fn a_page_and_a_plot_say_what_the_server_saw_and_what_was_not_there() {
    let (said, page, folder) = bench(&["--tools", "reference", "--gate", "no-such-gate"]);
    for rate in ["1,000 requests a second", "5,000 requests a second"] {
        let cells = row(&page, &format!("\n## {rate}\n"), "a loop that sleeps").unwrap();
        // CPU, memory, the rate, lateness, and the latency that it reports beside the true one.
        for cell in [1, 2, 3] {
            assert!(number(cells[cell].split(' ').next().unwrap(), 0) > 0.0, "{cells:?}");
        }
        for (cell, place) in [(4, 0), (4, 1), (7, 0), (7, 1), (8, 0), (8, 1)] {
            assert!(number(cells[cell], place) >= 0.0, "{cells:?}");
        }
    }
    let stops = "\n## A server that stops";
    let [p50, p95, p99, tail] =
        [2, 3, 4, 5].map(|cell| row(&page, stops, "the closed form").unwrap()[cell]);
    assert_eq!([p50, p95, p99, tail], ["0.000", "100", "180", "198"]);
    assert!(row(&page, stops, "a loop that sleeps").is_some(), "{page}");
    // Not there, and not dropped silently: everything else is either measured or named.
    assert!(page.contains("gate probe (not asked for)"), "{page}");
    for absent in ["oha", "wrk", "h2load", "hey", "autocannon", "blackbox_exporter"] {
        assert!(said.contains(&format!("{absent} (not asked for)")), "{said}");
    }
    assert!(said.contains("| 1,000/s: jitter p99 | ≤ 250 µs | not measured | – |"), "{said}");
    assert!(said.contains("The machine's own jitter p99 meanwhile"), "{said}");
    let plot = std::fs::read_to_string(folder.path().join("probe.svg")).unwrap();
    assert!(page.contains("](probe.svg)") && plot.starts_with("<svg "), "{plot}");
    assert!(plot.contains("a loop that sleeps") && plot.ends_with("</svg>\n"), "{plot}");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_str().unwrap();
    assert!(!page.contains(here) && !plot.contains(here), "{page}");
}

#[test]
fn a_gate_without_a_prober_is_said_to_have_none() {
    let (said, _, _) = bench(&["--tools", "gate", "--gate", "/bin/false"]);
    assert!(said.contains("gate probe (this gate has no `gate probe`)"), "{said}");
}
