//! Pages, as a person reads them: what was decided, why, how sure, what was measured.

use askama::Template;
use jiff::Timestamp;
use policies::Report;
use policies::report::{ArmReport, CountsReport};
use policies::units::{percent, spell};
use questions::overriding::Fields;

use crate::journal::Listed;

/// Renders the list of questions.
pub(super) fn list(listed: &[Listed]) -> Result<String, askama::Error> {
    ListPage { listed }.render()
}

/// Renders one question.
pub(super) fn evaluation(
    report: &Report,
    accepted_unix_millis: u64,
    live: bool,
) -> Result<String, askama::Error> {
    let arms = [("green", &report.green), ("blue", &report.blue)];
    let arms = arms.into_iter().filter_map(|(name, arm)| Some((name, arm.as_ref()?))).collect();
    EvaluationPage { report, accepted: when(accepted_unix_millis), arms, live }.render()
}

/// Renders the form by which a question is overridden, with what was written before and why that was not taken.
pub(super) fn overriding(
    report: &Report,
    fields: &Fields,
    fault: Option<&str>,
) -> Result<String, askama::Error> {
    OverridePage { report, fields, fault }.render()
}

#[derive(Template)]
#[template(path = "override.html")]
struct OverridePage<'a> {
    report: &'a Report,
    fields: &'a Fields,
    fault: Option<&'a str>,
}

impl OverridePage<'_> {
    fn watching(&self) -> bool {
        self.report.phase == policies::Phase::Watching
    }

    /// What can be wanted now: its name, its title, what comes of it.
    fn actions(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        if self.watching() {
            let end =
                ("continue", "End the watch", "the release goes on, and is not judged any more");
            let stop = ("rollback", "Roll back", "the deployment is stopped with rollback");
            return [Some(end), self.report.can_be_rolled_back.then_some(stop)]
                .into_iter()
                .flatten()
                .collect();
        }
        let hold = ("hold", "Hold", "nothing is decided until the hold ends; measuring goes on");
        let mut actions = vec![hold];
        if self.report.held.is_some() {
            actions.push(("release", "Release", "the hold ends, and the evidence decides again"));
        }
        actions.push(("continue", "Continue", "the release goes on at once, whatever is measured"));
        if self.report.can_be_rolled_back {
            actions.push(("rollback", "Roll back", "the release is taken back at once"));
        }
        actions
    }

    fn chosen(&self, name: &str) -> bool {
        self.fields.action == name
    }

    fn prose(&self, text: &str) -> String {
        prose(text)
    }

    fn took(&self) -> String {
        seconds(self.report.duration_seconds)
    }

    fn deadline(&self) -> String {
        seconds(self.report.deadline_seconds)
    }

    fn at_seconds(&self, at: &f64) -> String {
        seconds(*at)
    }
}

/// A time after the question.
fn seconds(seconds: f64) -> String {
    std::time::Duration::try_from_secs_f64(seconds).map_or_else(|_never| "–".to_owned(), spell)
}

#[derive(Template)]
#[template(path = "evaluations.html")]
struct ListPage<'a> {
    listed: &'a [Listed],
}

impl ListPage<'_> {
    fn when(&self, listed: &Listed) -> String {
        when(listed.accepted_unix_millis)
    }

    fn prose(&self, text: &str) -> String {
        prose(text)
    }
}

#[derive(Template)]
#[template(path = "evaluation.html")]
struct EvaluationPage<'a> {
    report: &'a Report,
    accepted: String,
    arms: Vec<(&'static str, &'a ArmReport)>,
    /// It changes by itself.
    live: bool,
}

impl EvaluationPage<'_> {
    /// The colour of the verdict band.
    fn mood(&self) -> &'static str {
        match (self.report.decision, self.report.basis) {
            (None, _) => "waiting",
            (Some("continue"), Some("proven")) => "good",
            (Some("rollback"), _) => "bad",
            (Some(_), _) => "unsure",
        }
    }

    fn verdict_mood(&self, verdict: &policies::Verdict) -> &'static str {
        match verdict {
            policies::Verdict::Kept => "good",
            policies::Verdict::Broken => "bad",
            policies::Verdict::Unknown => "unsure",
        }
    }

    fn prose(&self, text: &str) -> String {
        prose(text)
    }

    /// What the person on call should look at next, where gate knows.
    fn advice(&self) -> Option<&'static str> {
        Some(match (self.report.basis?, self.report.decision?) {
            ("proven", "rollback") => {
                "look at the targets below, and at their logs for the time of the probes."
            }
            ("condition", "rollback") => {
                "look at what the objective names: the targets in the load balancer, or the alarms."
            }
            ("undecided", _) => {
                "nothing is proven against the release. Raise the probe rate or the deadline, or allow more, and deploy again."
            }
            ("no-data", _) => {
                "look at the health of green's tasks and whether gate's security group may reach them."
            }
            ("gate-trouble", _) => {
                "mend what the reason names, or give gate more CPU; nothing is known about the release."
            }
            ("unresolved", _) => {
                "the release was not measured. Mend what the reason names; gate's permissions are in deploy/iam-policy.json."
            }
            ("unmatched" | "broken-policy", _) => {
                "the release was not measured. Run gate check on the policies and see which applies."
            }
            _ => return None,
        })
    }

    /// When to look again, while it is judged.
    fn expected(&self) -> Option<String> {
        let seconds = self.report.expected_seconds?;
        std::time::Duration::try_from_secs_f64(seconds.min(1e6)).ok().map(spell)
    }

    fn rate(&self, share: &f64) -> String {
        percent(*share)
    }

    fn took(&self) -> String {
        spell(std::time::Duration::from_secs_f64(self.report.duration_seconds))
    }

    fn deadline(&self) -> String {
        spell(std::time::Duration::from_secs_f64(self.report.deadline_seconds))
    }

    fn quantile(&self, counts: &CountsReport, which: &str) -> String {
        let Some(latency) = counts.latency_seconds else { return "–".to_owned() };
        let seconds = match which {
            "p50" => latency.p50,
            "p90" => latency.p90,
            "p99" => latency.p99,
            _ => latency.max,
        };
        spell(std::time::Duration::from_secs_f64(seconds))
    }

    /// `11 of 240 (4.6 %)`.
    fn bad(&self, counts: &CountsReport) -> String {
        if counts.judged == 0 {
            return "–".to_owned();
        }
        #[allow(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53")]
        let share = counts.bad as f64 / counts.judged as f64;
        format!("{} of {} ({})", counts.bad, counts.judged, percent(share))
    }

    /// `503 × 11, timeout × 2`.
    fn faults(&self, counts: &CountsReport) -> String {
        let statuses = counts.statuses.iter().map(|(status, count)| format!("{status} × {count}"));
        let others = counts.outcomes.iter().filter(|(name, _)| !matches!(**name, "ok" | "status"));
        let others = others.map(|(name, count)| format!("{name} × {count}"));
        let all: Vec<String> = statuses.chain(others).collect();
        if all.is_empty() { "–".to_owned() } else { all.join(", ") }
    }

    /// What was seen where an answer was not as it should be, most often first.
    fn saw(&self, counts: &CountsReport) -> Vec<String> {
        let mut saw: Vec<(&String, &u64)> = counts.unmet.iter().collect();
        saw.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        saw.into_iter().map(|(saw, count)| format!("{count} × {saw}")).collect()
    }

    fn health(&self, arm: &str, id: &str) -> String {
        let deployment = self.report.deployment.as_ref();
        let targets = deployment.map(|d| if arm == "green" { &d.green } else { &d.blue });
        let target = targets.and_then(|targets| targets.iter().find(|target| target.id == id));
        target.and_then(|target| target.health.clone()).unwrap_or_default()
    }

    fn at_seconds(&self, at: &f64) -> String {
        seconds(*at)
    }

    /// Seconds, for the timeline.
    fn at(&self, note: &policies::report::Note) -> String {
        note.at_millis.to_string()
    }
}

/// Names that reasons set in backticks for terminals, in quotes.
fn prose(text: &str) -> String {
    let mut open = false;
    text.chars()
        .map(|c| match c {
            '`' => {
                open = !open;
                if open { '“' } else { '”' }
            }
            c => c,
        })
        .collect()
}

/// `2026-11-20 16:00:05 UTC`.
fn when(unix_millis: u64) -> String {
    let millis = i64::try_from(unix_millis).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(millis) {
        Ok(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policies::deployment::Route;
    use policies::run::HOOK_LIMIT;
    use policies::sample::Invoked;
    use policies::{
        Answer, ArmTick, Deployment, Event, Moment, Outcome, PolicyInForce, Question, Run, Sample,
        Stage, Target, TargetTick, Tick,
    };

    const POLICY: &str =
        "gate: v1\nprobe: { lambda: {} }\nobjectives: [ { errors: { at-most: 1% } } ]\n";

    #[test]
    fn a_function_shows_its_cold_starts_and_what_was_seen_of_its_errors() {
        let question = Question {
            id: "d-1".to_owned(),
            limit: Some(HOOK_LIMIT),
            unmatched: Answer::Rollback,
            observe: false,
            watch_only: false,
        };
        let green = Target {
            id: "checkout:42".to_owned(),
            host: "checkout:42".to_owned(),
            port: 0,
            tls: true,
            route: Route::Function,
            health: None,
            name: None,
        };
        let deployment = Deployment {
            function: "checkout".to_owned(),
            stage: Stage::BeforeAllowTraffic,
            green: vec![green],
            ..Deployment::default()
        };
        let policy =
            PolicyInForce::Chosen { file: "f.policy.yaml".to_owned(), text: POLICY.to_owned() };
        let mut run = Run::new(question);
        run.step(Event::Resolved { deployment: Box::new(deployment), policy }, Moment::ZERO);
        let mut seen = TargetTick::default();
        seen.record(&Sample {
            outcome: Outcome::Expectation,
            unmet: Some("function error Unhandled: `<b>`".to_owned()),
            invoked: vec![Invoked {
                init: Some(Duration::from_millis(400)),
                max_memory_bytes: Some(45 << 20),
                ..Invoked::default()
            }],
            ..Sample::default()
        });
        let green = ArmTick { targets: [("checkout:42".to_owned(), seen)].into() };
        let tick = Box::new(Tick { green, ..Tick::default() });
        run.step(Event::Ticked { tick }, Moment::from_millis(2000));
        let still = super::evaluation(&run.report(), 0, false).unwrap();
        assert!(!still.contains("http-equiv"), "nobody judges it here\n{still}");
        let page = super::evaluation(&run.report(), 0, true).unwrap();
        let mut report = run.report();
        for offered in [true, false] {
            report.can_be_rolled_back &= offered;
            let form = super::overriding(&report, &super::Fields::default(), None).unwrap();
            assert!(form.contains("value=\"continue\""), "{form}");
            assert_eq!(form.contains("value=\"rollback\""), offered, "{form}");
        }
        for shown in [
            "http-equiv=\"refresh\"",
            "1 of 1 invocations cold, init p50 401",
            "at most 45 MB of memory",
            "1 × function error Unhandled: “&#60;b&#62;”",
            "<dt>deployment of</dt><dd>function checkout</dd>",
        ] {
            assert!(page.contains(shown), "{shown} is not in\n{page}");
        }
    }
}
