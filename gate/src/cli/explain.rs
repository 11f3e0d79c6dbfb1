//! `gate explain`: why, in ten lines a tired person can read.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use policies::Stage;
use policies::replay::{Fell, recorded, replay};
use policies::report::{ArmReport, Report};
use policies::units::spell;
use policies::verdict::Verdict;

use super::{OK, USAGE, complain, say, story};
use crate::record::{self, Record};

/// Lines in all, so that it fits one look.
const LINES_MAX: usize = 10;
/// Objectives shown, the broken first.
const OBJECTIVES_SHOWN: usize = 3;

/// Say why a release was let through or taken back, in ten lines.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A record's file, or the id of an evaluation.
    #[arg(value_name = "RECORD|ID")]
    record: String,
    /// The journal that holds the evaluation.
    #[arg(long, env = "GATE_JOURNAL_PATH", value_name = "PATH")]
    journal: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(&self) -> u8 {
        let records = match record::read(&self.record, self.journal.as_deref()) {
            Ok(records) => records,
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let [record] = records.as_slice() else {
            complain(&format!(
                "error: {} holds {} records; explain one by its id: gate explain ID --journal {}",
                self.record,
                records.len(),
                self.record
            ));
            return USAGE;
        };
        for line in explain(record) {
            say(&line);
        }
        OK
    }
}

fn explain(record: &Record) -> Vec<String> {
    let facts = record.facts();
    let report = replay(record.question.clone(), &facts, None).report;
    let decided = recorded(&facts);
    let mut lines = vec![headline(record, &report, decided.as_ref().map(|(fell, _)| fell))];
    // What was written down is what was said, whatever this version would make of it.
    match &decided {
        Some((fell, _)) => {
            lines.push(format!("why: {}", fell.reason));
            if let Some(otherwise) = &fell.counterfactual {
                lines.push(format!("otherwise: it {otherwise}"));
            }
        }
        None => lines.push(format!("why: nothing was decided; it was {} then", report.phase)),
    }
    if let Some(said) = report.overrides.last() {
        let more = match report.overrides.len() {
            1 => String::new(),
            count => format!(" (the last of {count})"),
        };
        let at = spell(std::time::Duration::from_secs_f64(said.at_seconds.max(0.0)));
        let policies::report::OverrideReport { by, action, reason, .. } = said;
        lines.push(format!("said: {by}, {action} after {at}{more}: {reason}"));
    }
    let mut objectives: Vec<_> = report.objectives.iter().collect();
    objectives.sort_by_key(|objective| match objective.verdict {
        Verdict::Broken => 0,
        Verdict::Unknown => 1,
        Verdict::Kept => 2,
    });
    for objective in objectives.iter().take(OBJECTIVES_SHOWN) {
        let apart = if objective.observe { " (only observed)" } else { "" };
        let verdict = objective.verdict.to_string().to_lowercase();
        lines.push(format!("{verdict}{apart}: {}: {}", objective.name, objective.text));
    }
    for (name, arm) in [("green", &report.green), ("blue", &report.blue)] {
        if let Some(arm) = arm {
            lines.push(format!("{name}: {}", measured(arm)));
        }
    }
    if let Some(watch) = &report.watch {
        let veto = watch.veto.as_deref().or(watch.ended.as_deref()).unwrap_or("still watching");
        lines.push(format!("watch: {veto}"));
    }
    if let Some(delivery) = &report.delivery {
        lines.push(format!("answer: {delivery}"));
    }
    lines.truncate(LINES_MAX);
    lines
}

fn headline(record: &Record, report: &Report, decided: Option<&Fell>) -> String {
    let millis = i64::try_from(record.accepted_unix_millis).unwrap_or(i64::MAX);
    let asked = Timestamp::from_millisecond(millis)
        .map_or_else(|_out_of_range| String::new(), |time| format!(", asked {time:.0}"));
    let about = match &report.deployment {
        Some(d) if d.stage == Stage::Shell => "gate verify".to_owned(),
        Some(d) => format!("{} of {} at {}", d.id, d.names(), d.stage),
        None => record.deployment_id.clone(),
    };
    let Some(fell) = decided else { return format!("NO DECISION: {about}{asked}") };
    let took = spell(std::time::Duration::from_secs_f64(fell.seconds.max(0.0)));
    let answer = fell.decision.name().to_uppercase();
    format!("{answer} ({}) after {took}: {about}{asked}", fell.basis)
}

fn measured(arm: &ArmReport) -> String {
    let total = &arm.total;
    let latency = total.latency_seconds.map_or_else(String::new, |latency| {
        let spelled = |seconds: f64| spell(std::time::Duration::from_secs_f64(seconds));
        format!(", p50 {}, p99 {}", spelled(latency.p50), spelled(latency.p99))
    });
    let worst = arm.targets.iter().filter(|(_, counts)| counts.bad > 0);
    let worst = worst.max_by_key(|(_, counts)| counts.bad).filter(|_| arm.targets.len() > 1);
    let worst = worst.map_or_else(String::new, |(id, counts)| {
        format!("; worst target {id}: {} of {} bad", counts.bad, counts.judged)
    });
    // What is seen most often says most; the rest is on the page.
    let saw = total.unmet.iter().max_by_key(|(_, count)| **count);
    let saw = saw.map_or_else(String::new, |(saw, count)| format!("; {count} × {saw}"));
    let functions = total.invocations.as_ref();
    let functions =
        functions.map_or_else(String::new, |functions| format!("; {}", functions.text()));
    format!("{} of {} probes bad{latency}{functions}{worst}{saw}", total.bad, total.judged)
}
