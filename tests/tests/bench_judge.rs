//! The benchmark of the rules, on a sample: the same seed gives the same page, and the page says what
//! no seed would change.

use std::path::Path;
use std::process::{Command, Output};

use tests::place::Folder;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench-judge")).args(arguments).output().unwrap()
}

fn page(arguments: &[&str]) -> String {
    let output = bench(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The cells of the first row under `heading` that starts with these.
fn row<'a>(page: &'a str, heading: &str, start: &[&str]) -> Vec<&'a str> {
    let (_, below) = page.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`:\n{page}"));
    let rows = below.lines().filter(|line| line.starts_with("| "));
    rows.map(|line| line.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>())
        .find(|cells| cells.starts_with(start))
        .unwrap_or_else(|| panic!("no row {start:?} under `{heading}`:\n{page}"))
}

fn number(cell: &str) -> f64 {
    let number = cell.split([' ', '%']).next().unwrap();
    number.parse().unwrap_or_else(|_| panic!("`{cell}` is no number"))
}

#[test]
fn gate_rolls_back_few_healthy_releases_and_sees_faults_before_rules_of_minutes() {
    let page = page(&["--quick", "--seed", "1", "--output", "-"]);
    let first = ["independent, the whole budget", "0.1 %", "20"];

    // Rolled back in an hour at the limit, %: 1 promised, and 300 runs cannot tell 1 from 2.
    let gate = row(&page, "false rollbacks", &first);
    assert!(gate[4].ends_with(" of 300") && number(gate[5]) <= 3.0, "{gate:?}");
    let all = row(&page, "Every rule on the same runs", &first);
    let [gate, alarm, naive] = [3, 5, 14].map(|column| number(all[column]));
    assert!(gate <= 5.0 && alarm > 95.0 && naive > 70.0, "{all:?}");

    // Median seconds to see 5 % errors and the largest fault of the sample.
    let broken = "### At most 0.1 % (unacceptable 0.5 %), 20 probes a second\n";
    let header = row(&page, broken, &["rule"]);
    let column = header.iter().position(|cell| *cell == "5 %").unwrap();
    let seconds = |rule: &str| number(row(&page, broken, &[rule])[column]);
    assert!(seconds("**gate**") <= 10.0);
    assert!(seconds("CloudWatch 1 of 1, calibrated") >= 60.0);
    assert!(seconds("CloudWatch 3 of 3, calibrated") >= 180.0);
    assert!(seconds("Flagger, threshold 5") >= 360.0);

    // A limit on green alone cannot know that blue is worse. Gate continues, and says so as proven.
    let beside = "## Releases that only blue";
    let fix = row(&page, beside, &["CloudWatch 3 of 3"]);
    assert!(number(fix[3]) > 90.0, "{fix:?}");
    for policy in ["absolute objective", "versus blue", "both objectives"] {
        let fix = row(&page, beside, &["Blue 10 %, green 2 %", policy]);
        assert!(number(fix[2]) > 95.0, "{fix:?}");
    }
    // 1 % promised, and 100 runs cannot tell 1 from 4.
    let outage = row(&page, beside, &["Both arms 20 % for 20 s", "versus blue"]);
    let [continued, rolled_back, not_proven] = [2, 4, 6].map(|column| number(outage[column]));
    assert!(rolled_back <= 6.0, "{outage:?}");
    assert!((continued + rolled_back + not_proven - 100.0).abs() < 0.1, "{outage:?}");

    let slower = row(&page, "## Latency beside blue", &["1.5 times", "50"]);
    assert!(number(slower[4]) > 90.0, "{slower:?}");
}

#[test]
fn the_same_seed_writes_the_same_page_and_plot_into_a_folder() {
    let written = |name: &str, seed: &str| {
        let folder = Folder::new(name);
        let path = folder.path().to_str().unwrap();
        let output = bench(&["--runs", "10", "--seed", seed, "--output", path]);
        assert!(output.status.success() && output.stdout.is_empty());
        let read = |file: &str| std::fs::read_to_string(Path::new(path).join(file)).unwrap();
        let (page, plot) = (read("judge.md"), read("judge.svg"));
        assert!(page.contains("](judge.svg)") && page.contains("10 runs of an hour"), "{page}");
        assert!(plot.starts_with("<svg ") && plot.ends_with("</svg>\n"), "{plot}");
        (page.replace(&format!("seed {seed}"), ""), plot)
    };
    let first = written("bench-judge-first", "7");
    assert!(first == written("bench-judge-again", "7"), "two runs of one seed differ");
    assert!(first != written("bench-judge-other", "8"), "another seed changes nothing");
}
