//! What scrapes one after the other amount to.

use std::fmt::Write as _;

use policies::PolicyFile;
use policies::reading::Seen;

use super::{SERIES_MAX, Scrapes, Wanted};

const POLICY: &str = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - metrics: { bad: 'hits_total{code=~\"5..\"}', of: hits_total, at-most: 1%, no-data: continue }
  - metrics: { histogram: 'took{job!=\"batch\"}', quantile: p99, at-most: 250ms, no-data: continue }
";

fn scrapes() -> Scrapes {
    let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.unwrap();
    Scrapes::new(Wanted::of(&policy.plan(0, 0, vec![], vec![]).counted).unwrap())
}

/// `bad/all` of the counters and `bound:count … all` of the histogram.
fn shown(scrapes: &mut Scrapes) -> String {
    let mut shown: Vec<String> = Vec::new();
    for reading in scrapes.readings(0) {
        assert!(reading.seen.is_sound(), "{reading:?}");
        shown.push(match reading.seen {
            Seen::Counts { bad, all } => format!("{bad}/{all}"),
            Seen::Buckets { cumulative, all } => {
                let bounds = cumulative.iter().map(|(bound, count)| format!("{bound}:{count} "));
                format!("{}{all}", bounds.collect::<String>())
            }
            Seen::Point { .. }
            | Seen::Baseline { .. }
            | Seen::Alarms { .. }
            | Seen::Stopped { .. } => "neither".to_owned(),
        });
    }
    shown.sort();
    shown.join(" & ")
}

/// What each second's answer of one target amounts to; `;` ends a line of an answer.
#[track_caller]
fn check(seconds: &[(&str, &str)]) {
    let mut scrapes = scrapes();
    for (second, (body, expected)) in seconds.iter().enumerate() {
        let body = body.replace(';', "\n");
        let read = scrapes.digest("a", body.as_bytes(), None);
        let shown = read.map_or_else(|error| error.to_string(), |()| shown(&mut scrapes));
        assert_eq!(&shown, expected, "second {second}");
    }
}

#[test]
fn counters_become_events_of_each_second() {
    check(&[
        ("hits_total{code=\"200\"} 100;hits_total{code=\"500\"} 7", ""),
        ("hits_total{code=\"200\"} 110;hits_total{code=\"500\"} 7", "0/10"),
        ("hits_total{code=\"200\"} 110;hits_total{code=\"500\"} 7", "0/0"),
        ("hits_total{code=\"500\"} 9;hits_total{code=\"200\"} 111", "2/3"),
    ]);
}

#[test]
fn the_first_error_of_a_release_is_seen() {
    check(&[
        ("hits_total{code=\"200\"} 100", ""),
        ("hits_total{code=\"200\"} 104;hits_total{code=\"503\"} 3", "3/7"),
        ("hits_total{code=\"200\"} 104;hits_total{code=\"503\"} 4", "1/1"),
    ]);
}

#[test]
fn a_service_that_has_counted_nothing_yet_counts_from_zero() {
    check(&[
        ("up 1", ""),
        ("up 1", ""),
        ("hits_total{code=\"500\"} 2;hits_total{code=\"200\"} 3", "2/5"),
    ]);
}

#[test]
fn a_process_that_began_again_counts_from_zero() {
    check(&[
        ("hits_total{code=\"200\"} 100;hits_total{code=\"500\"} 7", ""),
        ("hits_total{code=\"200\"} 4;hits_total{code=\"500\"} 1", "1/5"),
        // Its errors were 7 before it began again, so that 9 are 9 new ones.
        ("hits_total{code=\"200\"} 2", "0/2"),
        ("hits_total{code=\"200\"} 2;hits_total{code=\"500\"} 9", "9/9"),
    ]);
}

#[test]
fn a_series_that_comes_back_goes_on_where_it_was() {
    check(&[
        ("hits_total{code=\"200\"} 100;hits_total{code=\"500\"} 7", ""),
        ("hits_total{code=\"200\"} 101", "0/1"),
        ("up 1", ""),
        ("hits_total{code=\"200\"} 103;hits_total{code=\"500\"} 8", "1/3"),
    ]);
}

#[test]
fn an_answer_that_cannot_be_read_loses_nothing() {
    check(&[
        ("hits_total 100", ""),
        ("hits_total{ 104", "line 1, of `hits_total`, is no sample"),
        ("", "there is no metric in it"),
        ("hits_total 109", "0/9"),
    ]);
}

#[test]
fn a_number_that_no_counter_has_spoils_its_own_objective_alone() {
    for number in ["NaN", "-1", "+Inf", "1e300"] {
        let spoilt = format!("hits_total{{code=\"500\"}} {number};hits_total 103;took_count 5");
        check(&[
            ("hits_total 100;took_count 1", ""),
            (&spoilt, "4"),
            ("hits_total{code=\"500\"} 1;hits_total 105;took_count 5", "0 & 1/6"),
        ]);
    }
}

#[test]
fn a_gauge_is_no_counter() {
    check(&[
        ("# TYPE hits_total gauge;hits_total 100", ""),
        ("# TYPE hits_total gauge;hits_total 90", ""),
    ]);
}

#[test]
fn histograms_of_all_labels_add_up() {
    let one = "took_bucket{r=\"a\",le=\"0.1\"} 5;took_bucket{r=\"a\",le=\"0.25\"} 8;took_bucket{r=\"a\",le=\"+Inf\"} 9;took_sum{r=\"a\"} 1.5;took_count{r=\"a\"} 9";
    let batch = "took_bucket{job=\"batch\",le=\"0.1\"} 0;took_bucket{job=\"batch\",le=\"+Inf\"} 70";
    let more = "took_bucket{r=\"a\",le=\"0.1\"} 6;took_bucket{r=\"a\",le=\"0.25\"} 11;took_bucket{r=\"a\",le=\"+Inf\"} 14;took_count{r=\"a\"} 14";
    let other = "took_bucket{le=\"0.1\",r=\"b\"} 1;took_bucket{le=\"2.5e-1\",r=\"b\"} 1;took_bucket{le=\"+Inf\",r=\"b\"} 2";
    check(&[
        (one, ""),
        (&format!("{batch};{one}"), "0.1:0 0.25:0 0"),
        (&format!("{more};{batch};{other}"), "0.1:2 0.25:4 7"),
    ]);
}

#[test]
fn a_histogram_that_began_again_does_so_as_a_whole() {
    check(&[
        ("took_bucket{le=\"0.1\"} 50;took_bucket{le=\"+Inf\"} 52", ""),
        ("took_bucket{le=\"0.1\"} 3;took_bucket{le=\"+Inf\"} 60", "0.1:3 60"),
        ("took_bucket{le=\"0.2\"} 3;took_bucket{le=\"+Inf\"} 61", "1"),
    ]);
}

#[test]
fn a_histogram_without_a_whole_or_a_bound_is_none() {
    check(&[
        ("took_bucket{le=\"0.1\"} 50", ""),
        ("took_bucket{le=\"0.1\"} 51", ""),
        ("took_bucket{le=\"0.1\"} 51;took_bucket{le=\"x\"} 52;took_count 52", ""),
        ("took_bucket 51;took_count 52", ""),
        ("took_bucket{le=\"-Inf\"} 51;took_count 52", ""),
        ("took_count 52", ""),
        ("took_count 53", "1"),
    ]);
}

#[test]
fn no_more_events_are_bad_than_there_are() {
    let policy = POLICY.replace("of: hits_total,", "of: good_total,");
    let policy = PolicyFile::parse("p.policy.yaml", &policy).policy.unwrap();
    let mut scrapes = Scrapes::new(Wanted::of(&policy.plan(0, 0, vec![], vec![]).counted).unwrap());
    scrapes.digest("a", b"hits_total{code=\"500\"} 1\ngood_total 1", None).unwrap();
    scrapes.digest("a", b"hits_total{code=\"500\"} 9\ngood_total 4", None).unwrap();
    assert_eq!(shown(&mut scrapes), "3/3");
    let clamped: Vec<u64> = scrapes.notes().values().map(|notes| notes.clamped).collect();
    assert_eq!(clamped.iter().sum::<u64>(), 1);
}

#[test]
fn targets_add_up_and_those_gone_are_forgotten() {
    let mut scrapes = scrapes();
    let mut second = |targets: &[(&str, &str)], expected: &str| {
        scrapes.retain(|id| targets.iter().any(|(target, _)| *target == id));
        for (target, body) in targets {
            scrapes.digest(target, body.as_bytes(), None).unwrap();
        }
        assert_eq!(shown(&mut scrapes), expected);
    };
    second(&[("a", "hits_total 5"), ("b", "hits_total 50")], "");
    second(&[("a", "hits_total 6"), ("b", "hits_total 52"), ("c", "hits_total 9")], "0/3");
    second(&[("a", "hits_total 6")], "0/0");
    second(&[("a", "hits_total 7"), ("b", "hits_total 60")], "0/1");
}

/// Counters of so many paths, from the first on.
fn paths(first: usize, count: usize, value: u32) -> String {
    (first..first + count).fold(String::new(), |mut body, path| {
        writeln!(body, "hits_total{{path=\"/{path}\"}} {value}").unwrap();
        body
    })
}

#[test]
fn series_beyond_the_limit_are_counted_and_never_taken_for_new() {
    let mut scrapes = scrapes();
    let mut second = |body: &str, expected: &str, left_out: u64| {
        scrapes.digest("a", body.as_bytes(), None).unwrap();
        assert_eq!(shown(&mut scrapes), expected);
        assert_eq!(scrapes.notes().values().map(|notes| notes.left_out).sum::<u64>(), left_out);
    };
    second(&paths(0, SERIES_MAX + 5, 7), "", 5);
    second(&paths(0, SERIES_MAX + 5, 8), "0/1000", 10);
    // Ten are gone, and leave their places to the five and to five more, none of which counts what it counted before.
    second(&paths(10, SERIES_MAX, 9), "0/990", 20);
    second(&paths(10, SERIES_MAX, 10), "0/990", 20);
    second(&paths(10, SERIES_MAX, 11), "0/1000", 20);
}

#[test]
fn a_series_has_no_labels_without_end() {
    let mut scrapes = scrapes();
    let long = format!("hits_total{{a=\"{}\"}} 7\nhits_total 1\n", "x".repeat(3000));
    for expected in ["", "0/0"] {
        scrapes.digest("a", long.as_bytes(), None).unwrap();
        assert_eq!(shown(&mut scrapes), expected);
    }
}

#[test]
fn it_is_said_how_many_series_were_found() {
    let mut scrapes = scrapes();
    scrapes.digest("a", b"hits_total{code=\"200\"} 1\nhits_total{code=\"500\"} 1", None).unwrap();
    scrapes.digest("b", b"hits_total{code=\"200\"} 1\nhits_total{code=\"200\"} 2", None).unwrap();
    let notes = scrapes.notes();
    let notes = notes.iter().find(|(name, _)| name.starts_with("hits")).unwrap().1;
    assert_eq!((notes.bad_series, notes.all_series, notes.duplicates), (1, 3, 1));
}
