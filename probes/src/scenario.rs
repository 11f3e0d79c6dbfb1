//! One probe from its due time to its sample: all the steps of its scenario.

use std::sync::Arc;
use std::time::{Duration, Instant};

use policies::plan::{BUILT_IN, Scenario, Step};
use policies::sample::{Outcome, Sample};
use policies::{Arm, Target};

use crate::cookies::Jar;
use crate::order::{Order, Ready, SECRET_MIN_BYTES};
use crate::pool::Pool;
use crate::probe::{Asked, Attempt, Values};
use crate::pulse::Pulse;

/// A probe on its way.
#[derive(Clone, Debug)]
pub(crate) struct Flight {
    pub(crate) number: u64,
    pub(crate) arm: Arm,
    pub(crate) target: Arc<Target>,
    /// When it was due.
    pub(crate) due: Instant,
    /// When the prober came to it.
    pub(crate) handled: Instant,
    /// When it was let go: later than `handled` where it waited for another's answer.
    pub(crate) launched: Instant,
}

/// A probe that was never sent.
pub(crate) fn not_sent(due: Instant, saw: Option<String>) -> Sample {
    let held = due.elapsed();
    Sample { held, latency: held, outcome: Outcome::NotSent, unmet: saw, ..Sample::default() }
}

/// Makes the probe; always comes back by its due time plus the time-out.
pub(crate) async fn fly(order: &Order, flight: &Flight, pool: &Pool, pulse: &Arc<Pulse>) -> Sample {
    let script = &order.plan.script;
    let seed = order.plan.seed;
    let chosen = script.scenario(seed, flight.number);
    let Some((scenario, ready)) =
        chosen.and_then(|(place, scenario)| Some((scenario, order.scenarios.get(place)?)))
    else {
        return not_sent(flight.due, None);
    };
    let beat = pulse.begin();
    let began = Instant::now();
    let late = flight.handled.saturating_duration_since(flight.due)
        + began.saturating_duration_since(flight.launched);
    let deadline = flight.due.max(flight.handled) + order.plan.timeout;
    let jar = scenario.cookies.then(Jar::default);
    let mut values = Values::new();
    if ready.has_places {
        values.insert("number".to_owned(), flight.number.to_string());
        values.insert("unique".to_owned(), unique(seed, flight.number, flight.arm));
    }
    let run = Run { order, flight, pool, deadline: deadline.into(), jar: jar.as_ref() };
    let mut sample = run.steps(scenario, ready, &mut values, (began, late)).await;
    sample.disturbed |= sample.is_disturbed_by(beat.stalled(Instant::now()));
    if let Some(place) = ready.signal {
        let whole = Sample { parts: Vec::new(), ..sample.clone() };
        sample.parts.push((place, whole));
    }
    if sample.disturbed {
        sample.parts.iter_mut().for_each(|(_, part)| part.disturbed = true);
    }
    sample
}

/// What the steps of one probe share.
struct Run<'a> {
    order: &'a Order,
    flight: &'a Flight,
    pool: &'a Pool,
    deadline: tokio::time::Instant,
    jar: Option<&'a Jar>,
}

impl Run<'_> {
    async fn steps(
        &self,
        scenario: &Scenario,
        ready: &Ready,
        values: &mut Values,
        (began, mut late): (Instant, Duration),
    ) -> Sample {
        let due = self.flight.due;
        let mut whole = Sample::default();
        let script = &self.order.plan.script;
        let may_reuse = script.may_reuse(self.order.plan.seed, self.flight.number);
        // Starts of functions, which are shown and not judged.
        let mut startups = Duration::ZERO;
        for (number, (step, ready)) in scenario.steps.iter().zip(&ready.steps).enumerate() {
            let attempt = Attempt {
                target: &self.flight.target,
                arm: self.flight.arm,
                deadline: self.deadline,
                values,
                may_reuse,
                pool: self.pool,
                jar: self.jar,
            };
            let step_began = Instant::now();
            let asked = ready.probe.ask(attempt).await;
            let done = Instant::now();
            let mut own = asked.own;
            if number == 0 {
                // What was done before it was sent, such as signing, was gate's own time.
                late += asked.began.into_std().saturating_duration_since(began);
            } else {
                own += asked.began.into_std().saturating_duration_since(step_began);
            }
            let startup = asked.invoked.map_or(Duration::ZERO, |of| of.startup());
            startups += startup;
            let mut part = self.judge(step, asked, (step_began, done), values);
            // In the middle of it gate's own time cannot be told from the target's.
            part.disturbed = part.is_disturbed_by(own);
            whole.disturbed |= part.disturbed;
            whole.phases.add(&part.phases);
            whole.invoked.extend(&part.invoked);
            whole.outcome = part.outcome;
            whole.status = part.status;
            whole.unmet.clone_from(&part.unmet);
            // A scenario is as new as its first connection, and stale where any was.
            whole.reused = if number == 0 { part.reused } else { whole.reused };
            whole.stale |= part.stale;
            whole.certificate_days = match (whole.certificate_days, part.certificate_days) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            };
            let failed = part.outcome != Outcome::Ok;
            if let Some(place) = ready.signal {
                // The first step is due when the probe is; a later one when the one before it is done.
                let part = if number == 0 {
                    let latency = done.saturating_duration_since(due).saturating_sub(startup);
                    Sample { held: late, latency, ..part }
                } else {
                    part
                };
                if let (true, Some(unmet)) = (failed, &part.unmet) {
                    whole.unmet = Some(named(&step.name, unmet));
                } else if failed {
                    whole.unmet = Some(named(&step.name, part.outcome.name()));
                }
                whole.parts.push((place, part));
            }
            if failed {
                break;
            }
        }
        whole.held = late;
        whole.latency = due.elapsed().saturating_sub(startups);
        whole
    }

    /// What was seen, without secrets and without what steps took: often that is a token.
    fn redacted(&self, seen: String, values: &Values) -> String {
        let taken = values.iter().filter(|(name, _)| !BUILT_IN.contains(&name.as_str()));
        let taken = taken.map(|(_, value)| value).filter(|value| value.len() >= SECRET_MIN_BYTES);
        taken.fold(self.order.redacted(seen), |seen, value| seen.replace(value.as_str(), "***"))
    }

    /// What one step came to, and what it gives to the next.
    fn judge(
        &self,
        step: &Step,
        asked: Asked,
        (began, done): (Instant, Instant),
        values: &mut Values,
    ) -> Sample {
        let startup = asked.invoked.map_or(Duration::ZERO, |of| of.startup());
        let mut sample = Sample {
            latency: done.saturating_duration_since(began).saturating_sub(startup),
            phases: asked.phases,
            reused: asked.reused,
            stale: asked.stale,
            certificate_days: asked.certificate_days.map(whole_days),
            invoked: asked.invoked.into_iter().collect(),
            ..Sample::default()
        };
        let mut reply = match asked.result {
            Ok(reply) => reply,
            Err(lost) => {
                sample.outcome = lost.outcome;
                sample.unmet = lost.saw.map(|saw| self.redacted(saw, values));
                return sample;
            }
        };
        sample.status = reply.status;
        reply.phases = asked.phases;
        let total = done.saturating_duration_since(asked.began.into_std());
        reply.total = total.saturating_sub(startup);
        reply.certificate_days = asked.certificate_days;
        if let Some((outcome, sentence)) = step.expect.unmet(&reply) {
            sample.outcome = outcome;
            // A status is counted by its number; what else was seen has to be said.
            sample.unmet = (outcome != Outcome::Status).then(|| self.redacted(sentence, values));
            return sample;
        }
        for take in &step.take {
            match take.from(&reply) {
                Some(value) => {
                    values.insert(take.name.clone(), value);
                }
                None => {
                    sample.outcome = Outcome::Expectation;
                    let sentence = format!("take {}: nothing at {}", take.name, take.place());
                    sample.unmet = Some(sentence);
                    return sample;
                }
            }
        }
        sample
    }
}

fn named(step: &str, what: &str) -> String {
    let sentence = format!("{step}: {what}");
    let end = sentence.floor_char_boundary(policies::plan::SEEN_MAX_BYTES);
    sentence.split_at(end).0.to_owned()
}

fn whole_days(days: f64) -> i32 {
    #[allow(clippy::cast_possible_truncation, reason = "clamped to what fits")]
    let days = days.floor().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32;
    days
}

/// Thirty-two hex digits that no other probe of this evaluation has (`SplitMix64`, Steele et al. 2014).
fn unique(seed: u64, number: u64, arm: Arm) -> String {
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let lane = if arm == Arm::Green { 1 } else { 2 };
    let (high, low) = (mix(seed ^ mix(lane)), mix(number.wrapping_mul(2).wrapping_add(lane)));
    format!("{high:016x}{low:016x}")
}
