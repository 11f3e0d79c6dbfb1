//! `gate replay`: recorded runs once more, or by another policy: what it would have done.

use std::path::PathBuf;

use clap::Args;
use policies::replay::{Fell, over, policy_of, recorded, replay};
use policies::report::Report as RunReport;
use policies::units::spell;
use policies::verdict::odds;
use policies::{Answer, Policy};
use serde::Serialize;

use super::{FAILED, OK, Output, USAGE, complain, good_policy, say, say_json, story};
use crate::record::{self, Record};

/// Ticks printed of one record: the first and the last of them.
const TICKS_SHOWN: usize = 20;

/// Replay records: the same decision at the same tick, or what another policy would have done.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Records' files, folders of `*.record.json`, journals, or ids of evaluations.
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<String>,
    /// Judge by this policy instead of the recorded one.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The journal that holds evaluations named by their id.
    #[arg(long, env = "GATE_JOURNAL_PATH", value_name = "PATH")]
    journal: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// All records as programs read them.
#[derive(Debug, Serialize)]
struct Report {
    policy: Option<String>,
    records: Vec<Once>,
    summary: Summary,
}

/// One record once more.
#[derive(Debug, Serialize)]
struct Once {
    id: String,
    application: String,
    /// What was decided then.
    recorded: Option<Fell>,
    /// What is decided now; `None` where the record ends before.
    replayed: Option<Fell>,
    /// Why the replayed watch stops the deployment, where it does.
    veto: Option<String>,
    /// The same answer on the same basis at the same tick.
    same: bool,
    /// The same to the last letter of the reason.
    identical: bool,
    ticks: Vec<TickOnce>,
}

/// Evidence after one tick, then and now.
#[derive(Debug, Serialize)]
struct TickOnce {
    tick: u64,
    recorded: Option<Logs>,
    replayed: Option<Logs>,
}

/// Logarithms of the evidence, capped at ±1e9.
#[derive(Clone, Copy, Debug, Serialize)]
struct Logs {
    log_rollback: f64,
    log_continue: f64,
}

/// How many of them came to what.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Summary {
    records: usize,
    rolled_back_then: usize,
    rolls_back: usize,
    continues: usize,
    undecided: usize,
    differ: usize,
}

impl Replay {
    pub(super) async fn run(self) -> u8 {
        let report = match self.replay().await {
            Ok(report) => report,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                return USAGE;
            }
        };
        match self.output {
            Output::Json => say_json(&report),
            Output::Text => text(&report),
        }
        // By the same policy a difference is a fault of gate's; by another it is what was asked for.
        if report.policy.is_none() && report.summary.differ > 0 { FAILED } else { OK }
    }

    async fn replay(&self) -> Result<Report, String> {
        let other = match &self.policy {
            Some(path) => {
                let (file, policy) = good_policy(path).await?;
                Some((file.name, policy))
            }
            None => None,
        };
        let mut records = Vec::new();
        for named in &self.records {
            let read = record::read(named, self.journal.as_deref());
            records.extend(read.map_err(|error| story(&error))?);
        }
        let records: Vec<Once> =
            records.iter().map(|record| once(record, other.as_ref())).collect();
        let summary = summary(&records);
        Ok(Report { policy: other.map(|(name, _)| name), records, summary })
    }
}

fn once(record: &Record, other: Option<&(String, Policy)>) -> Once {
    let facts = record.facts();
    let then = recorded(&facts);
    let before = replay(record.question.clone(), &facts, None);
    let instead = other.and_then(|(name, policy)| {
        // A run that was never judged has nothing that another policy could judge.
        Some((name.clone(), over(&policy_of(&facts)?, policy)))
    });
    let now = instead.map(|instead| replay(record.question.clone(), &facts, Some(instead)));
    let now = now.as_ref().unwrap_or(&before);
    let (then, decision) =
        then.map_or((None, None), |(fell, decision)| (Some(fell), Some(decision)));
    let heart = |fell: &Option<Fell>| fell.as_ref().map(|f| (f.decision, f.basis, f.tick));
    let same = heart(&then) == heart(&now.fell);
    Once {
        id: record.question.id.clone(),
        application: now
            .report
            .deployment
            .as_ref()
            .map_or_else(String::new, |d| d.application.clone()),
        same,
        identical: same && decision == now.decision,
        ticks: ticks(&before.report, &now.report),
        veto: now.report.watch.as_ref().and_then(|watch| watch.veto.clone()),
        recorded: then,
        replayed: now.fell.clone(),
    }
}

/// Evidence tick by tick, in the order of the ticks.
fn ticks(then: &RunReport, now: &RunReport) -> Vec<TickOnce> {
    let logs = |report: &RunReport, tick: u64| {
        let point = report.series.iter().find(|point| point.tick == tick)?;
        Some(Logs { log_rollback: point.log_rollback, log_continue: point.log_continue })
    };
    let mut indices: Vec<u64> =
        then.series.iter().chain(&now.series).map(|point| point.tick).collect();
    indices.sort_unstable();
    indices.dedup();
    let line = |tick| TickOnce { tick, recorded: logs(then, tick), replayed: logs(now, tick) };
    indices.into_iter().map(line).collect()
}

fn summary(records: &[Once]) -> Summary {
    let rolled =
        |fell: &Option<Fell>| fell.as_ref().is_some_and(|fell| fell.decision == Answer::Rollback);
    let count = |wanted: &dyn Fn(&Once) -> bool| records.iter().filter(|once| wanted(once)).count();
    Summary {
        records: records.len(),
        rolled_back_then: count(&|once| rolled(&once.recorded)),
        rolls_back: count(&|once| rolled(&once.replayed)),
        continues: count(&|once| once.replayed.is_some() && !rolled(&once.replayed)),
        undecided: count(&|once| once.replayed.is_none()),
        differ: count(&|once| !once.same),
    }
}

fn text(report: &Report) {
    if let [once] = report.records.as_slice() {
        one(once);
    } else {
        table(&report.records);
    }
    let Summary { records, rolled_back_then, rolls_back, undecided, differ, .. } = report.summary;
    match &report.policy {
        Some(policy) => {
            let open = match undecided {
                0 => String::new(),
                open => format!("; {open} undecided when their records end"),
            };
            say(&format!(
                "\n{policy} would have rolled back {rolls_back} of {records} (recorded: {rolled_back_then}){open}"
            ));
        }
        None if differ == 0 => {
            let none = report.records.iter().filter(|once| once.recorded.is_none()).count();
            let none = if none > 0 {
                format!("; {none} of them without a decision")
            } else {
                String::new()
            };
            say(&format!("\n{records} of {records}: the same decision at the same tick{none}"));
        }
        None => say(&format!("\n{differ} of {records} differ from their record")),
    }
}

fn table(records: &[Once]) {
    let width = records.iter().map(|once| once.id.len()).max().unwrap_or(0);
    say(&format!("{:width$}  {:28}  {:28}", "evaluation", "recorded", "replayed"));
    for once in records {
        let differs = if once.same { "" } else { "  *" };
        say(&format!(
            "{:width$}  {:28}  {:28}{differs}",
            once.id,
            told(once.recorded.as_ref()),
            told(once.replayed.as_ref())
        ));
    }
}

fn one(once: &Once) {
    let (few, all) = (TICKS_SHOWN / 2, once.ticks.len());
    say(&format!("{:>6}  {:>22}  {:>22}", "tick", "recorded E, F", "replayed E, F"));
    for (place, line) in once.ticks.iter().enumerate() {
        if all > TICKS_SHOWN && place == few {
            say(&format!("{:>6}", "…"));
        }
        if all > TICKS_SHOWN && (few..all - few).contains(&place) {
            continue;
        }
        let logs = |logs: Option<Logs>| {
            logs.map_or_else(
                || "-".to_owned(),
                |logs| format!("{}, {}", odds(logs.log_rollback), odds(logs.log_continue)),
            )
        };
        say(&format!("{:>6}  {:>22}  {:>22}", line.tick, logs(line.recorded), logs(line.replayed)));
    }
    if let Some(veto) = &once.veto {
        say(&format!("veto: {veto}"));
    }
    for (name, fell) in [("recorded", &once.recorded), ("replayed", &once.replayed)] {
        say(&format!("{name}: {}", told(fell.as_ref())));
        if let Some(fell) = fell {
            say(&format!("  {}", fell.reason));
        }
    }
}

/// `rollback (proven) at tick 7`.
fn told(fell: Option<&Fell>) -> String {
    let Some(fell) = fell else { return "undecided".to_owned() };
    let when = match fell.tick {
        Some(tick) => format!("at tick {tick}"),
        None => format!("after {}", spell(std::time::Duration::from_secs_f64(fell.seconds))),
    };
    format!("{} ({}) {when}", fell.decision, fell.basis)
}
