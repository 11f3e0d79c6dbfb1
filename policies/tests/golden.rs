//! The agreed vectors: every `ln E`, `ln F` and decision of kind `ratio`, to 1e-9.
//!
//! Computed from the definitions with 60-digit arithmetic by an independent program. The kinds
//! `relative`, `rank` and `all` are in the file for the engines that are still to come.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

use policies::evidence::{Accept, ErrorRates, Evidence, Leaning, Ratio, RatioLimits};
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/engine.jsonl");

#[test]
fn every_ratio_vector_agrees_with_independent_arithmetic() {
    let mut cases = 0;
    let mut steps = 0;
    for line in VECTORS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        if case["objective"]["kind"] == "ratio" {
            cases += 1;
            steps += check(&case);
        }
    }
    assert_eq!(cases, 39, "the file holds 39 cases of kind ratio");
    assert!(steps > 3000, "only {steps} steps were compared");
}

fn check(case: &Value) -> usize {
    let name = case["name"].as_str().unwrap();
    let objective = &case["objective"];
    let number = |key: &str, default: f64| objective[key].as_f64().unwrap_or(default);
    let whole = |key: &str, default: u64| objective[key].as_u64().unwrap_or(default);
    let limits = RatioLimits {
        horizon_ticks: whole("horizon_ticks", 300),
        bad_min: number("min_bad", 2.0),
        accept: if objective["accept"] == "tick" { Accept::Tick } else { Accept::Probe },
        first_weight: number("w1", 0.75),
        starts: whole("nr", 64),
        ..RatioLimits::new(number("p0", f64::NAN), number("p1", f64::NAN), number("m", 1.0), 0)
    };
    let rates =
        ErrorRates { false_rollback: number("alpha", 0.01), false_continue: number("beta", 0.01) };
    let ticks_min = whole("min_ticks", 0);
    let mut engine = Ratio::new(limits).unwrap();
    let mut decided = Leaning::Watch;
    let observations = case["observations"].as_array().unwrap();
    let expected = case["expected"].as_array().unwrap();
    assert_eq!(observations.len(), expected.len());
    for (seen, want) in observations.iter().zip(expected) {
        let at = format!("{name} t={}", want["t"]);
        let outcome = observe(&mut engine, seen);
        let Some(evidence) = outcome else {
            assert_eq!(want["error"], true, "{at}: refused {seen}");
            assert_eq!(spelled(decided), want["decision"], "{at}");
            continue;
        };
        assert!(want.get("error").is_none(), "{at}: took {seen}");
        same(&at, "logE", evidence.rollback, &want["logE"]);
        same(&at, "logF", evidence.keep, &want["logF"]);
        if decided == Leaning::Watch {
            decided = evidence.leaning(rates, engine.ticks() >= ticks_min);
        }
        assert_eq!(spelled(decided), want["decision"], "{at}");
    }
    observations.len()
}

/// `None` where the engine refuses, as it must for anything that is not a count.
fn observe(engine: &mut Ratio, seen: &Value) -> Option<Evidence> {
    let (bad, all) = (seen["k"].as_f64()?, seen["n"].as_f64()?);
    match seen.get("n_plan") {
        Some(planned) => engine.peek(bad, all, planned.as_f64()?).ok(),
        None => engine.step(bad, all).ok(),
    }
}

fn spelled(leaning: Leaning) -> &'static str {
    match leaning {
        Leaning::Rollback => "rollback",
        Leaning::Continue => "continue",
        Leaning::Watch => "watch",
    }
}

fn same(at: &str, what: &str, got: f64, want: &Value) {
    let want = match want.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => want.as_f64().unwrap(),
    };
    let agrees = got == want || (got - want).abs() <= 1e-9 * want.abs().max(1.0);
    assert!(agrees, "{at}: {what} is {got}, the vector says {want}");
}
