//! `gate stat`: the decision engines over JSON lines, for other programs (statistics.md §9).
//!
//! An `objective` line chooses the engine; every line after it is an observation. One line out for each
//! line in.

use std::io::{self, BufRead, Read};

use clap::Args;
use policies::evidence::sprt::Sprt;
use policies::evidence::{
    Accept, Direction, ErrorRates, Evidence, Leaning, Pairs, Part, Rank, RankLimits, Ratio,
    RatioLimits, Relative, RelativeLimits, fold, interval,
};
use serde_json::{Map, Value, json};

use super::{OK, USAGE, complain, say};

/// The longest line read: a baseline of two weeks of minutes.
const LINE_MAX_BYTES: u64 = 1024 * 1024;
/// Objectives folded into one decision.
const ITEMS_MAX: usize = 64;
/// Shares asked of a plain sequential test at once.
const SHARES_MAX: usize = 100;

/// Run the decision engines over JSON lines from standard input.
#[derive(Debug, Args)]
pub(super) struct Stat {}

impl Stat {
    pub(super) fn run(&self) -> u8 {
        let mut session = Session::default();
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            match input.by_ref().take(LINE_MAX_BYTES + 1).read_line(&mut line) {
                Ok(0) => return OK,
                Ok(_) if line.len() as u64 > LINE_MAX_BYTES => {
                    complain(&format!("error: a line has more than {LINE_MAX_BYTES} bytes"));
                    return USAGE;
                }
                Ok(_) => say(&session.line(&line).to_string()),
                Err(error) => {
                    complain(&format!("error: standard input cannot be read: {error}"));
                    return USAGE;
                }
            }
        }
    }
}

/// The objective in force and what was decided.
#[derive(Default)]
struct Session {
    objective: Option<Objective>,
    seen: u64,
}

struct Objective {
    engine: Engine,
    rates: ErrorRates,
    decided: Leaning,
}

#[derive(Clone)]
enum Engine {
    Ratio(Ratio, u64),
    Relative(Box<Relative>, u64),
    Rank(Rank, u64),
    All(Vec<Item>),
}

#[derive(Clone)]
struct Item {
    id: String,
    weight: f64,
    engine: Engine,
}

type Refusal = String;

impl Session {
    fn line(&mut self, line: &str) -> Value {
        let value: Value = match serde_json::from_str(line) {
            Ok(value) => value,
            Err(error) => return self.refused(&format!("not JSON: {error}")),
        };
        let answer = match value.get("type").and_then(Value::as_str) {
            Some("objective") => self.begin(&value),
            Some("cs") => confidence(&value),
            Some("sprt_oc") => sprt(&value),
            Some(other) => Err(format!("`{other}` is no type of line: objective, cs, sprt_oc")),
            None => return self.observe(&value),
        };
        answer.unwrap_or_else(|reason| json!({ "error": reason }))
    }

    fn begin(&mut self, spec: &Value) -> Result<Value, Refusal> {
        let rates = ErrorRates {
            false_rollback: rate(spec, "alpha")?,
            false_continue: rate(spec, "beta")?,
        };
        let engine = Engine::new(spec)?;
        self.objective = Some(Objective { engine, rates, decided: Leaning::Watch });
        self.seen = 0;
        Ok(json!({ "ready": spec.get("id").cloned().unwrap_or(Value::Null) }))
    }

    fn observe(&mut self, seen: &Value) -> Value {
        self.seen += 1;
        let Some(objective) = &mut self.objective else {
            return json!({ "t": self.seen, "error": "no objective yet", "decision": "watch" });
        };
        // A refused observation leaves the state untouched, whichever part of it was wrong.
        let mut engine = objective.engine.clone();
        let (evidence, keep) = match engine.step(seen) {
            Ok(evidence) => evidence,
            Err(reason) => return self.refused_observation(&reason),
        };
        if keep {
            objective.engine = engine;
        }
        if objective.decided == Leaning::Watch {
            objective.decided = evidence.leaning(objective.rates, objective.engine.enough());
        }
        json!({
            "t": self.seen,
            "logE": number(evidence.rollback),
            "logF": number(evidence.keep),
            "decision": spelled(objective.decided),
        })
    }

    fn refused(&mut self, reason: &str) -> Value {
        self.seen += 1;
        self.refused_observation(reason)
    }

    fn refused_observation(&self, reason: &str) -> Value {
        let decided = self.objective.as_ref().map_or(Leaning::Watch, |objective| objective.decided);
        json!({ "t": self.seen, "error": reason, "decision": spelled(decided) })
    }
}

impl Engine {
    fn new(spec: &Value) -> Result<Self, Refusal> {
        let refused = |reason: policies::evidence::Refused| reason.to_string();
        let ticks_min = whole(spec, "min_ticks", 0)?;
        Ok(match spec.get("kind").and_then(Value::as_str) {
            Some("ratio") => {
                let limits = ratio_limits(spec, "p0", "p1")?;
                Self::Ratio(Ratio::new(limits).map_err(refused)?, ticks_min)
            }
            Some("relative") => {
                let limits = RelativeLimits {
                    odds_acceptable: required(spec, "or0")?,
                    odds_unacceptable: required(spec, "or1")?,
                    floor: ratio_limits(spec, "floor0", "floor1")?,
                };
                Self::Relative(Box::new(Relative::new(limits).map_err(refused)?), ticks_min)
            }
            Some("rank") => {
                let baseline = spec.get("baseline").and_then(Value::as_array);
                let baseline: Option<Vec<f64>> =
                    baseline.and_then(|points| points.iter().map(Value::as_f64).collect());
                let baseline = baseline.ok_or("`baseline` is a list of numbers")?;
                let defaults = RankLimits::default();
                let limits = RankLimits {
                    direction: match spec.get("direction").and_then(Value::as_str) {
                        None | Some("high") => Direction::High,
                        Some("low") => Direction::Low,
                        Some(other) => return Err(format!("`{other}` is neither high nor low")),
                    },
                    relative: optional(spec, "rel", 0.0)?,
                    absolute: optional(spec, "abs", 0.0)?,
                    horizon_points: whole(spec, "horizon_ticks", defaults.horizon_points)?,
                    points_min: ticks_min,
                    first_weight: optional(spec, "w1", defaults.first_weight)?,
                    starts: whole(spec, "nr", defaults.starts)?,
                };
                Self::Rank(Rank::new(&baseline, limits).map_err(refused)?, ticks_min)
            }
            Some("all") => {
                let items = spec.get("items").and_then(Value::as_array);
                let items = items.filter(|items| (1..=ITEMS_MAX).contains(&items.len()));
                let items =
                    items.ok_or_else(|| format!("`items` is a list of 1 to {ITEMS_MAX}"))?;
                Self::All(items.iter().map(Item::new).collect::<Result<_, _>>()?)
            }
            _ => return Err("`kind` is one of ratio, relative, rank, all".to_owned()),
        })
    }

    /// Takes an observation. False beside the evidence where nothing is to be kept: it was a peek.
    fn step(&mut self, seen: &Value) -> Result<(Evidence, bool), Refusal> {
        let refused = |reason: policies::evidence::Refused| reason.to_string();
        match self {
            Self::Ratio(engine, _) => {
                let (bad, all) = (required(seen, "k")?, required(seen, "n")?);
                if seen.get("n_plan").is_some() {
                    let planned = required(seen, "n_plan")?;
                    return Ok((engine.peek(bad, all, planned).map_err(refused)?, false));
                }
                Ok((engine.step(bad, all).map_err(refused)?, true))
            }
            Self::Relative(engine, _) => {
                let pairs = Pairs {
                    neither: required(seen, "n00")?,
                    green_only: required(seen, "n10")?,
                    blue_only: required(seen, "n01")?,
                    both: required(seen, "n11")?,
                };
                Ok((engine.step(pairs).map_err(refused)?, true))
            }
            Self::Rank(engine, _) => {
                let point = match seen.get("v") {
                    Some(Value::Null) => f64::NAN,
                    Some(_) => required(seen, "v")?,
                    None => return Err("`v` is missing".to_owned()),
                };
                Ok((engine.step(point).map_err(refused)?, true))
            }
            Self::All(items) => {
                let parts = seen.get("obs").and_then(Value::as_object);
                step_all(items, parts.ok_or("`obs` is a map of observations")?)
            }
        }
    }

    fn evidence(&self) -> Evidence {
        match self {
            Self::Ratio(engine, _) => engine.evidence(),
            Self::Relative(engine, _) => engine.evidence(),
            Self::Rank(engine, _) => engine.evidence(),
            Self::All(items) => fold(&parts(items)),
        }
    }

    /// Whether enough was seen to continue; of several, by each.
    fn enough(&self) -> bool {
        match self {
            Self::Ratio(engine, least) => engine.ticks() >= *least,
            Self::Relative(engine, least) => engine.ticks() >= *least,
            Self::Rank(engine, least) => engine.points() >= *least,
            Self::All(items) => items.iter().all(|item| item.engine.enough()),
        }
    }
}

impl Item {
    fn new(spec: &Value) -> Result<Self, Refusal> {
        let id = spec.get("id").and_then(Value::as_str).ok_or("an item needs an `id`")?;
        let weight = optional(spec, "weight", 1.0)?;
        if !(weight > 0.0 && weight.is_finite()) {
            return Err(format!("`weight` of {id} must be positive"));
        }
        Ok(Self { id: id.to_owned(), weight, engine: Engine::new(spec)? })
    }
}

/// Steps each item that has an observation, and lets observations of no item be: a stream may carry more
/// than one policy judges. A peek of one is a peek of that one alone.
fn step_all(items: &mut [Item], seen: &Map<String, Value>) -> Result<(Evidence, bool), Refusal> {
    let mut shown = parts(items);
    for (item, part) in items.iter_mut().zip(&mut shown) {
        let Some(seen) = seen.get(&item.id) else { continue };
        let mut engine = item.engine.clone();
        let (evidence, keep) =
            engine.step(seen).map_err(|reason| format!("{}: {reason}", item.id))?;
        part.evidence = evidence;
        if keep {
            item.engine = engine;
        }
    }
    Ok((fold(&shown), true))
}

fn parts(items: &[Item]) -> Vec<Part> {
    let part = |item: &Item| Part { weight: item.weight, evidence: item.engine.evidence() };
    items.iter().map(part).collect()
}

fn ratio_limits(spec: &Value, p0: &str, p1: &str) -> Result<RatioLimits, Refusal> {
    let per_tick = optional(spec, "m", 1.0)?;
    let defaults = RatioLimits::new(required(spec, p0)?, required(spec, p1)?, per_tick, 0);
    Ok(RatioLimits {
        horizon_ticks: whole(spec, "horizon_ticks", 300)?,
        bad_min: optional(spec, "min_bad", 2.0)?,
        accept: match spec.get("accept").and_then(Value::as_str) {
            None | Some("probe") => Accept::Probe,
            Some("tick") => Accept::Tick,
            Some(other) => return Err(format!("`{other}` is neither probe nor tick")),
        },
        first_weight: optional(spec, "w1", defaults.first_weight)?,
        starts: whole(spec, "nr", defaults.starts)?,
        ..defaults
    })
}

fn confidence(spec: &Value) -> Result<Value, Refusal> {
    let (bad, all) = (required(spec, "k")?, required(spec, "n")?);
    let (alpha, count) = (rate(spec, "alpha")?, required(spec, "t_opt")?);
    let share = interval::share(bad, all, alpha, count, rate(spec, "alpha_opt")?);
    let (lower, upper) = share.map_err(|refused| refused.to_string())?;
    Ok(json!({ "lower": lower, "upper": upper }))
}

fn sprt(spec: &Value) -> Result<Value, Refusal> {
    let test = Sprt {
        acceptable: required(spec, "p0")?,
        unacceptable: required(spec, "p1")?,
        log_low: required(spec, "log_lo")?,
        log_high: required(spec, "log_hi")?,
    };
    let shares = spec.get("ps").and_then(Value::as_array);
    let shares: Option<Vec<f64>> = shares.and_then(|ps| ps.iter().map(Value::as_f64).collect());
    let shares = shares.filter(|shares| shares.len() <= SHARES_MAX);
    let shares = shares.ok_or_else(|| format!("`ps` is a list of at most {SHARES_MAX} numbers"))?;
    let walks = shares.into_iter().map(|p| test.at(p).map_err(|refused| refused.to_string()));
    let walks: Vec<_> = walks.collect::<Result<_, _>>()?;
    let column = |of: fn(&policies::evidence::sprt::Characteristics) -> f64| -> Vec<f64> {
        walks.iter().map(of).collect()
    };
    Ok(json!({
        "rollback": column(|walk| walk.rollback),
        "accept": column(|walk| walk.accept),
        "asn": column(|walk| walk.probes),
    }))
}

fn required(spec: &Value, key: &str) -> Result<f64, Refusal> {
    spec.get(key)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("`{key}` is a number that is needed"))
}

fn optional(spec: &Value, key: &str, default: f64) -> Result<f64, Refusal> {
    if spec.get(key).is_some() { required(spec, key) } else { Ok(default) }
}

fn whole(spec: &Value, key: &str, default: u64) -> Result<u64, Refusal> {
    match spec.get(key) {
        None => Ok(default),
        Some(value) => value.as_u64().ok_or_else(|| format!("`{key}` is a whole number")),
    }
}

/// A rate of errors, 1 % where none is named.
fn rate(spec: &Value, key: &str) -> Result<f64, Refusal> {
    let rate = optional(spec, key, 0.01)?;
    if rate > 0.0 && rate < 1.0 { Ok(rate) } else { Err(format!("`{key}` is between 0 and 1")) }
}

/// JSON has no infinity.
fn number(log: f64) -> Value {
    if log == f64::INFINITY {
        "inf".into()
    } else if log == f64::NEG_INFINITY {
        "-inf".into()
    } else {
        log.into()
    }
}

const fn spelled(leaning: Leaning) -> &'static str {
    match leaning {
        Leaning::Rollback => "rollback",
        Leaning::Continue => "continue",
        Leaning::Watch => "watch",
    }
}
