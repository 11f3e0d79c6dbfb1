//! `gate verify`: the same run as the daemon's, asked for by a shell.

mod asked;

use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use policies::address::target;
use policies::policy::{During, Measure, Objective};
use policies::run::{HOOK_LIMIT, limit_for};
use policies::{
    Answer, Decision, Delivery, Deployment, Event, Moment, Policy, PolicyInForce, Question, Report,
    Run, Stage, Target,
};
use probes::{Invoker, Prober};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::asked::{Found, asked_by};
use super::{
    NOT_PROVEN, Output, USAGE, complain, good_policy, only_addresses, rendered, say,
    serve::stop_on_signal, story,
};
use crate::aws::OnDemand;
use crate::clock::unix_millis;
use crate::journal::Entry;
use crate::record::Record;
use crate::shell::{Case, Conduct, Conducted, Doing, Vault, Written, conduct, sendable};
use crate::signals::Sources;
use crate::telemetry::{self, Metrics};

/// Without a terminal, a line of progress this often: enough to see it live, little enough for the
/// 2 KB of output that CodeDeploy's agent keeps.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Bytes of the reason that are printed. The agent keeps whole lines, as many of the last as fit into 2 KB: a
/// line that does not fit by itself takes all others with it.
//= https://github.com/aws/aws-codedeploy-agent/blob/master/lib/instance_agent/plugins/codedeploy/hook_executor.rb
const REASON_MAX_BYTES: usize = 1600;

/// Judge a URL from a shell: exit 0 to continue, 1 to roll back, 3 if not proven.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The policy to judge by.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The candidate: scheme, host and port; the policy names the path. May be given several times. Without it,
    /// the policy's own `targets`.
    #[arg(long, value_name = "URL", conflicts_with = "deployment")]
    green: Vec<String>,
    /// The baseline to probe beside it.
    #[arg(long, value_name = "URL", conflicts_with = "deployment")]
    blue: Vec<String>,
    /// Judge a deployment that is under way instead: `d-…` of CodeDeploy, or the ARN of an ECS service
    /// deployment. Its green and blue are found as the daemon finds them.
    #[arg(long, value_name = "ID")]
    deployment: Option<String>,
    /// Decide by then, whatever the policy's deadline.
    #[arg(long, value_name = "DURATION", value_parser = policies::units::duration)]
    deadline: Option<Duration>,
    /// Write a record of the run there, for `gate explain` and `gate replay`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A shell that waits.
#[derive(Debug)]
struct ShellCase {
    deployment: Deployment,
    /// Where the deployment is looked up instead.
    found: Option<Found>,
    policy: PolicyInForce,
    /// What happened, where a record is wanted.
    entries: Option<Mutex<Vec<(Moment, Entry)>>>,
}

impl ShellCase {
    fn note(&self, at: Moment, entry: impl FnOnce() -> Entry) {
        if let Some(entries) = &self.entries {
            entries.lock().unwrap_or_else(PoisonError::into_inner).push((at, entry()));
        }
    }
}

impl Case for ShellCase {
    fn resolve(&self) -> Doing<'_, Event> {
        let policy = self.policy.clone();
        Box::pin(async move {
            match &self.found {
                Some(found) => found.resolve(policy).await,
                None => {
                    let deployment = Box::new(self.deployment.clone());
                    Event::Resolved { deployment, policy }
                }
            }
        })
    }

    fn sources(&self) -> Option<Sources> {
        self.found.as_ref().map(Found::sources)
    }

    fn invoker(&self) -> Doing<'_, Option<Arc<dyn Invoker>>> {
        Box::pin(async { self.found.as_ref().map(Found::invoker) })
    }

    fn deliver<'a>(&'a self, _: &'a Decision, _stop_deployment: bool) -> Doing<'a, Event> {
        Box::pin(async { Event::Delivered { delivery: Delivery::Confirmed } })
    }

    fn veto(&self) -> Doing<'_, Event> {
        // Nobody watches on in a shell: the answer ends it.
        Box::pin(async { Event::Delivered { delivery: Delivery::Confirmed } })
    }

    fn record<'a>(&'a self, at: Moment, fact: &'a Event) -> Doing<'a, Written> {
        self.note(at, || Entry::Fact { fact: fact.clone() });
        Box::pin(async { Written::OnDisk })
    }

    fn decided<'a>(
        &'a self,
        at: Moment,
        decision: &'a Decision,
        _latest: Option<Moment>,
    ) -> Doing<'a, ()> {
        self.note(at, || Entry::Decided { decision: decision.clone() });
        Box::pin(async {})
    }

    fn closed(&self) -> Doing<'_, ()> {
        Box::pin(async {})
    }
}

impl Verify {
    pub(super) async fn run(self) -> u8 {
        let telemetry = telemetry::init(true);
        let code = match self.verify().await {
            Ok(code) => code,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                USAGE
            }
        };
        drop(tokio::task::spawn_blocking(|| telemetry.flush()).await);
        code
    }

    async fn verify(&self) -> Result<u8, String> {
        let metrics = Arc::new(Metrics::new().map_err(|error| story(&error))?);
        let aws = OnDemand::new(None, Vec::new(), Arc::clone(&metrics));
        let vault = Vault::new(aws.clone(), Arc::clone(&metrics));
        let case = Arc::new(self.case(&vault, &aws).await?);
        let question = Question {
            id: format!("verify-{}", std::process::id()),
            limit: limit(case.deployment.stage, self.deadline),
            unmatched: Answer::Rollback,
            observe: false,
            watch_only: false,
        };
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
        let run = Run::new(question.clone());
        let first = run.start();
        let conducted = Conducted::new(run, unix_millis());
        let conducting = Conduct {
            case: Arc::<ShellCase>::clone(&case),
            prober: Arc::new(Prober::start().map_err(|error| story(&error))?),
            vault,
            metrics,
            stop,
            lost: CancellationToken::new(),
            origin: Instant::now(),
        };
        let showing = tokio::spawn(progress(conducted.clone()));
        conduct(conducted.clone(), conducting, first).await;
        showing.abort();
        if stderr().is_terminal() {
            complain("");
        }
        let (report, decision) = {
            let run = conducted.lock();
            (run.report(), run.decision().cloned())
        };
        if let Some(path) = &self.record {
            write_record(path, question, conducted.accepted_unix_millis, &case)?;
        }
        self.print(&report)?;
        Ok(decision.map_or(NOT_PROVEN, |decision| decision.exit_code()))
    }

    async fn case(&self, vault: &Vault, aws: &OnDemand) -> Result<ShellCase, String> {
        let (file, policy) = good_policy(&self.policy).await?;
        let found = match &self.deployment {
            Some(id) => Some(Found::new(id, aws).await?),
            None => None,
        };
        if found.is_none() {
            only_addresses(&self.policy, &policy)?;
        }
        if !file.faults.is_empty() {
            complain(&rendered(&file));
        }
        let mut faults = Vec::new();
        let mut targets = |urls: &[String]| -> Vec<Target> {
            let parsed = urls.iter().map(|url| target(url));
            parsed.filter_map(|target| target.map_err(|fault| faults.push(fault)).ok()).collect()
        };
        let (green, blue) = (targets(&self.green), targets(&self.blue));
        if found.is_none() {
            for note in without_data(&policy) {
                complain(&note);
            }
        }
        if found.is_none() && green.is_empty() && policy.targets.green.is_empty() {
            let help = "write `--green http://127.0.0.1:8080`, `--deployment d-…`, or `targets` in the policy";
            faults.push(format!("there is nothing to judge; {help}"));
        }
        faults.extend(sendable(&policy, vault).await.err().map(|trouble| trouble.what));
        if !faults.is_empty() {
            return Err(faults.join("\nerror: "));
        }
        let deployment = Deployment { green, blue, ..asked_by(aws).await };
        let policy = PolicyInForce::Chosen { file: file.name, text: file.text };
        Ok(ShellCase {
            deployment,
            found,
            policy,
            entries: self.record.is_some().then(Mutex::default),
        })
    }

    fn print(&self, report: &Report) -> Result<(), String> {
        if self.output == Output::Json {
            let mut value = serde_json::to_value(report).map_err(|error| error.to_string())?;
            if report.decision.is_none()
                && let Some(object) = value.as_object_mut()
            {
                object.insert("decision".to_owned(), Answer::Rollback.name().into());
                let (basis, reason) = undecided(report);
                object.insert("basis".to_owned(), basis.into());
                object.insert("reason".to_owned(), reason.into());
            }
            say(&format!("{value:#}"));
            return Ok(());
        }
        for objective in &report.objectives {
            let apart = if objective.observe { " (only observed)" } else { "" };
            say(&format!("{:7} {}{apart}: {}", objective.verdict, objective.name, objective.text));
        }
        if let Some(otherwise) = &report.counterfactual {
            say(&format!("otherwise: it {otherwise}"));
        }
        say(&format!("decision: {}", report.decision.unwrap_or(Answer::Rollback.name())));
        let reason = report.reason.as_deref().unwrap_or_else(|| undecided(report).1);
        say(&format!("reason: {}", clipped(reason)));
        Ok(())
    }
}

/// How long whoever started this waits, as far as that is known: CodeDeploy's agent waits at most as long for the scripts of
/// an event as CodeDeploy does for a hook. What the `timeout` of the script's own is, it does not say.
//= https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
fn limit(stage: Stage, deadline: Option<Duration>) -> Option<Duration> {
    // The run answers a margin before the limit; a deadline is meant to the second.
    let asked = deadline.map(limit_for);
    if stage == Stage::Shell { asked } else { Some(asked.unwrap_or(HOOK_LIMIT).min(HOOK_LIMIT)) }
}

/// Why there is no decision: what it rests on, and the reason.
fn undecided(report: &Report) -> (&'static str, &str) {
    match &report.delivery {
        Some(Delivery::TooLate { reason }) => ("ended", reason),
        Some(Delivery::Confirmed | Delivery::AlreadyCompleted | Delivery::Stopped) | None => {
            ("interrupted", INTERRUPTED)
        }
    }
}

/// As much of a reason as CodeDeploy's agent keeps of a line.
fn clipped(reason: &str) -> String {
    if reason.len() <= REASON_MAX_BYTES {
        return reason.to_owned();
    }
    let kept = reason.floor_char_boundary(REASON_MAX_BYTES);
    format!("{}... (whole with --output json)", reason.get(..kept).unwrap_or_default())
}

/// What has no data where nothing but URLs is reached, said before it is waited for.
fn without_data(policy: &Policy) -> Vec<String> {
    let asks_aws = policy.observed(During::Question);
    let has_none = |objective: &&Objective| {
        matches!(objective.measure, Measure::HealthyTargets { .. })
            || asks_aws.iter().any(|observed| observed.objective == objective.name)
    };
    let note = |objective: &Objective| {
        let rule = match (objective.observe, objective.no_data.unwrap_or(policy.decide.no_data)) {
            (true, _) => "it is only observed".to_owned(),
            (false, answer) => format!("its `no-data` rule is {answer}"),
        };
        format!(
            "note: `{}` has no data here, because `gate verify` reaches URLs and asks no AWS; {rule}",
            objective.name
        )
    };
    policy.judged_during(During::Question).filter(has_none).map(note).collect()
}

fn write_record(
    path: &Path,
    question: Question,
    accepted_unix_millis: u64,
    case: &ShellCase,
) -> Result<(), String> {
    let entries = case.entries.as_ref().map(|entries| {
        std::mem::take(&mut *entries.lock().unwrap_or_else(PoisonError::into_inner))
    });
    let entries = entries.unwrap_or_default();
    let record = Record::new(question, "verify".to_owned(), accepted_unix_millis, entries);
    let json = serde_json::to_vec(&record).map_err(|error| error.to_string())?;
    std::fs::write(path, json)
        .map_err(|error| format!("the record {} cannot be written: {error}", path.display()))
}

const INTERRUPTED: &str = "interrupted before anything was proven";

async fn progress(conducted: Conducted) {
    let mut changes = conducted.changes();
    let terminal = stderr().is_terminal();
    let mut shown: Option<Instant> = None;
    while changes.changed().await.is_ok() {
        if !terminal && shown.is_some_and(|at| at.elapsed() < PROGRESS_EVERY) {
            continue;
        }
        shown = Some(Instant::now());
        let line = line(&conducted.lock().report());
        if terminal {
            drop(write!(stderr(), "\r\x1b[K{line}"));
        } else {
            complain(&line);
        }
    }
}

/// `12 s judging: green 240 probes, 3 bad, p99 12 ms; evidence rollback 3:1, continue 1:40`.
pub(super) fn line(report: &Report) -> String {
    let green = report.green.as_ref().map(|arm| &arm.total);
    let (probes, bad) = green.map_or((0, 0), |total| (total.judged, total.bad));
    let p99 = green
        .and_then(|total| total.latency_seconds)
        .map_or(Duration::ZERO, |latency| Duration::from_secs_f64(latency.p99));
    let point = report.series.last();
    let odds = |log: Option<f64>| policies::verdict::odds(log.unwrap_or(0.0));
    format!(
        "{:.0} s {}: green {probes} probes, {bad} bad, p99 {}; evidence rollback {}, continue {}",
        report.duration_seconds,
        report.phase,
        policies::units::spell(p99),
        odds(point.map(|point| point.log_rollback)),
        odds(point.map(|point| point.log_continue)),
    )
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_reason_is_cut_to_what_the_agent_keeps_of_a_line() {
        assert_eq!(clipped("kept"), "kept");
        let whole = "é".repeat(REASON_MAX_BYTES / 2);
        assert_eq!(clipped(&whole), whole);
        let cut = clipped(&format!("x{whole}"));
        assert!(cut.ends_with("é... (whole with --output json)"), "{cut}");
        assert!(cut.len() < REASON_MAX_BYTES + 40);
    }

    #[test]
    fn an_event_of_codedeploys_agent_is_answered_before_the_agent_stops_waiting() {
        let check = |stage: Stage, asked: Option<u64>, decided_by: Option<u64>| {
            let limit = limit(stage, asked.map(Duration::from_secs));
            let answered = limit.map(|limit| (limit - policies::run::margin(limit)).as_secs());
            assert_eq!(answered, decided_by, "{stage:?} {asked:?}");
        };
        check(Stage::Shell, None, None);
        check(Stage::Shell, Some(7200), Some(7200));
        check(Stage::ValidateService, None, Some(3480));
        check(Stage::ValidateService, Some(600), Some(600));
        check(Stage::ValidateService, Some(7200), Some(3480));
    }

    #[test]
    fn what_asks_aws_is_named_before_it_is_waited_for() {
        let text = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - healthy-targets: { at-least: 100%, no-data: continue }
  - alarms: { names: [red] }
  - stopped-tasks: { at-most: 0, observe: true }
  - cloudwatch: { metric: Errors, of: Invocations, at-most: 1%, during: watch }
watch: {}
";
        let policy = policies::PolicyFile::parse("a.policy.yaml", text).policy.unwrap();
        expect![[r#"
            note: `healthy targets at least 100 %` has no data here, because `gate verify` reaches URLs and asks no AWS; its `no-data` rule is continue
            note: `alarms red` has no data here, because `gate verify` reaches URLs and asks no AWS; its `no-data` rule is rollback
            note: `stopped tasks at most 0` has no data here, because `gate verify` reaches URLs and asks no AWS; it is only observed"#]].assert_eq(&without_data(&policy).join("\n"));
    }
}
