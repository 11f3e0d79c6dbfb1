//! The agreed vectors: every `ln E`, `ln F` and decision of every engine and of their fold, to 1e-9.
//!
//! Computed from the definitions with 60-digit arithmetic by an independent program.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::indexing_slicing,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

use policies::evidence::{
    Accept, Direction, ErrorRates, Evidence, Leaning, Pairs, Part, Rank, RankLimits, Ratio,
    RatioLimits, Relative, RelativeLimits, fold,
};
use serde_json::Value;

const VECTORS: &str = include_str!("vectors/engine.jsonl");

#[test]
fn every_ratio_vector_agrees_with_independent_arithmetic() {
    check("ratio", 39, 3000);
}

#[test]
fn every_relative_vector_agrees_with_independent_arithmetic() {
    check("relative", 18, 1000);
}

#[test]
fn every_rank_vector_agrees_with_independent_arithmetic() {
    check("rank", 9, 200);
}

#[test]
fn every_vector_of_several_objectives_agrees_with_independent_arithmetic() {
    check("all", 8, 1000);
}

fn check(kind: &str, cases: usize, steps_min: usize) {
    let all = VECTORS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_kind: Vec<Value> = all.filter(|case| case["objective"]["kind"] == kind).collect();
    assert_eq!(of_kind.len(), cases, "cases of kind {kind}");
    let steps: usize = of_kind.iter().map(follow).sum();
    assert!(steps >= steps_min, "only {steps} steps were compared");
}

/// Follows one case to its end and returns its steps.
fn follow(case: &Value) -> usize {
    let name = case["name"].as_str().unwrap();
    let rates = ErrorRates {
        false_rollback: number(&case["objective"], "alpha", 0.01),
        false_continue: number(&case["objective"], "beta", 0.01),
    };
    let mut judge = Judge::new(&case["objective"]);
    let mut decided = Leaning::Watch;
    let observations = case["observations"].as_array().unwrap();
    let expected = case["expected"].as_array().unwrap();
    assert_eq!(observations.len(), expected.len());
    for (seen, want) in observations.iter().zip(expected) {
        let at = format!("{name} t={}", want["t"]);
        let Some(evidence) = judge.observe(seen) else {
            assert_eq!(want["error"], true, "{at}: refused {seen}");
            assert_eq!(spelled(decided), want["decision"], "{at}");
            continue;
        };
        assert!(want.get("error").is_none(), "{at}: took {seen}");
        same(&at, "logE", evidence.rollback, &want["logE"]);
        same(&at, "logF", evidence.keep, &want["logF"]);
        if decided == Leaning::Watch {
            decided = evidence.leaning(rates, judge.seen_enough());
        }
        assert_eq!(spelled(decided), want["decision"], "{at}");
    }
    observations.len()
}

/// An engine of any kind, or several folded, each with the ticks it must see.
enum Judge {
    Ratio(Ratio, u64),
    Relative(Relative, u64),
    Rank(Rank),
    All(Vec<(String, f64, Judge)>),
}

impl Judge {
    fn new(objective: &Value) -> Self {
        let ticks_min = whole(objective, "min_ticks", 0);
        match objective["kind"].as_str().unwrap() {
            "ratio" => Self::Ratio(Ratio::new(ratio(objective, "p0", "p1")).unwrap(), ticks_min),
            "relative" => {
                let limits = RelativeLimits {
                    odds_acceptable: number(objective, "or0", f64::NAN),
                    odds_unacceptable: number(objective, "or1", f64::NAN),
                    floor: ratio(objective, "floor0", "floor1"),
                };
                Self::Relative(Relative::new(limits).unwrap(), ticks_min)
            }
            "rank" => {
                let low = objective["direction"] == "low";
                let limits = RankLimits {
                    direction: if low { Direction::Low } else { Direction::High },
                    relative: number(objective, "rel", 0.0),
                    absolute: number(objective, "abs", 0.0),
                    horizon_points: whole(objective, "horizon_ticks", 300),
                    points_min: ticks_min,
                    first_weight: number(objective, "w1", 0.75),
                    starts: whole(objective, "nr", 64),
                };
                let baseline = objective["baseline"].as_array().unwrap().iter();
                let baseline: Vec<f64> = baseline.map(|point| point.as_f64().unwrap()).collect();
                Self::Rank(Rank::new(&baseline, limits).unwrap())
            }
            "all" => {
                let items = objective["items"].as_array().unwrap().iter();
                let part = |item: &Value| {
                    let id = item["id"].as_str().unwrap().to_owned();
                    (id, number(item, "weight", 1.0), Self::new(item))
                };
                Self::All(items.map(part).collect())
            }
            kind => panic!("no engine of kind {kind}"),
        }
    }

    /// `None` where the engine refuses, as it must for anything that is not a count.
    fn observe(&mut self, seen: &Value) -> Option<Evidence> {
        let count = |key: &str| seen[key].as_f64();
        match self {
            Self::Ratio(engine, _) => match seen.get("n_plan") {
                Some(planned) => engine.peek(count("k")?, count("n")?, planned.as_f64()?).ok(),
                None => engine.step(count("k")?, count("n")?).ok(),
            },
            Self::Relative(engine, _) => {
                let pairs = Pairs {
                    neither: count("n00")?,
                    green_only: count("n10")?,
                    blue_only: count("n01")?,
                    both: count("n11")?,
                };
                engine.step(pairs).ok()
            }
            Self::Rank(engine) => engine.step(count("v").unwrap_or(f64::NAN)).ok(),
            Self::All(items) => {
                let parts: Vec<Part> = items
                    .iter_mut()
                    .map(|(id, weight, judge)| {
                        let evidence = match seen["obs"].get(&*id) {
                            Some(seen) => judge.observe(seen)?,
                            None => judge.evidence(),
                        };
                        Some(Part { weight: *weight, evidence })
                    })
                    .collect::<Option<_>>()?;
                Some(fold(&parts))
            }
        }
    }

    fn evidence(&self) -> Evidence {
        match self {
            Self::Ratio(engine, _) => engine.evidence(),
            Self::Relative(engine, _) => engine.evidence(),
            Self::Rank(engine) => engine.evidence(),
            Self::All(_) => panic!("objectives of several do not nest"),
        }
    }

    fn seen_enough(&self) -> bool {
        match self {
            Self::Ratio(engine, ticks_min) => engine.ticks() >= *ticks_min,
            Self::Relative(engine, ticks_min) => engine.ticks() >= *ticks_min,
            // Its evidence to continue waits for them by itself.
            Self::Rank(_) => true,
            Self::All(items) => items.iter().all(|(.., judge)| judge.seen_enough()),
        }
    }
}

fn number(objective: &Value, key: &str, default: f64) -> f64 {
    objective[key].as_f64().unwrap_or(default)
}

fn whole(objective: &Value, key: &str, default: u64) -> u64 {
    objective[key].as_u64().unwrap_or(default)
}

fn ratio(objective: &Value, acceptable: &str, unacceptable: &str) -> RatioLimits {
    let (p0, p1) =
        (number(objective, acceptable, f64::NAN), number(objective, unacceptable, f64::NAN));
    RatioLimits {
        horizon_ticks: whole(objective, "horizon_ticks", 300),
        bad_min: number(objective, "min_bad", 2.0),
        accept: if objective["accept"] == "tick" { Accept::Tick } else { Accept::Probe },
        first_weight: number(objective, "w1", 0.75),
        starts: whole(objective, "nr", 64),
        ..RatioLimits::new(p0, p1, number(objective, "m", 1.0), 0)
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
