//! The page: what was expected and came out, every load as a table, and how it was measured.

mod method;
mod tables;

use std::fmt::Write;

use crate::expected::{self, Expected};
use crate::markdown::{header, noisy, row};
use crate::measure::Survey;
use crate::scenario::Scenario;
use crate::tool::Tool;

/// The whole page.
pub fn page(survey: &Survey) -> String {
    let mut page = method::opening(survey);
    page.push_str("\n![CPU, jitter and what a stop of the server looks like](probe.svg)\n");
    page.push_str("\n## What was expected, and came out\n");
    expectations(&mut page, &expected::all(survey));
    floor(&mut page, survey);
    tables::ratios(&mut page, survey);
    tables::steady(&mut page, survey);
    tables::freeze(&mut page, survey);
    tables::full(&mut page, survey);
    tables::sidecars(&mut page, survey);
    method::closing(&mut page, survey);
    page
}

fn expectations(page: &mut String, all: &[Expected]) {
    header(page, &["of gate", "expected", "median (rounds)", "came out"]);
    for expected in all {
        let held = match expected.held {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        row(page, [&expected.what, &expected.limit, &expected.measured, held]);
    }
}

/// Nothing that is measured beside this can be better: a busy machine is not gate's fault, nor its excuse.
fn floor(page: &mut String, survey: &Survey) {
    let jitter = survey.figure(Scenario::Steady1000, Tool::Reference, expected::jitter);
    if jitter.is_some() {
        let _ = writeln!(
            page,
            "\nThe machine's own jitter p99 meanwhile, that of a loop that sleeps at 1,000/s: {} µs.",
            noisy(jitter, 1e6)
        );
    }
}

/// What is printed where the page goes into a file.
pub fn summary(survey: &Survey) -> String {
    let mut said = String::new();
    expectations(&mut said, &expected::all(survey));
    floor(&mut said, survey);
    let absent: Vec<String> = method::absent(survey).collect();
    if !absent.is_empty() {
        let _ = writeln!(said, "\nNot measured: {}.", absent.join("; "));
    }
    said
}
