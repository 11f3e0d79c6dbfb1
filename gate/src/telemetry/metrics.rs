//! Every metric gate exports, in one table. docs/metrics.md mirrors it; a test compares them.

mod table;

use std::time::Duration;

use policies::histogram::Interval;
use policies::judge::Judged;
use policies::run::Continuous;
use policies::tick::Invocations;
use policies::{Arm, Report, Run, TargetTick, Tick, Verdict};
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry,
    TextEncoder,
};
use table::Table;

/// Upper bounds, in seconds, of the exported latency buckets: the HDR histograms behind decisions are
/// far finer, these are for dashboards.
const LATENCY_BUCKETS: [f64; 13] =
    [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The same of gate's own lateness: a probe sent 20 ms late is not judged.
const LATENESS_BUCKETS: [f64; 8] = [0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 1.0];

/// The same of ticks, the shortest of which is 100 ms long and most are 2 s.
const TICK_LATENESS_BUCKETS: [f64; 10] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];

/// The table.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    questions: IntCounterVec,
    decisions: IntCounterVec,
    watches: IntCounterVec,
    evaluations_active: IntGauge,
    decision_seconds: HistogramVec,
    probes: IntCounterVec,
    probes_late: IntCounterVec,
    probe_latency: HistogramVec,
    tick_lateness: Histogram,
    invocations: Invoked,
    samples: GaugeVec,
    evidence: GaugeVec,
    aws_calls: IntCounterVec,
    aws_calls_delayed: IntCounterVec,
    cloudwatch_requested: IntCounter,
    readings_lost: IntCounterVec,
    secrets: IntCounterVec,
    notifications: IntCounterVec,
    overrides: IntCounterVec,
    lost: IntCounterVec,
    policy_faults: IntGauge,
    journal: JournalMetrics,
    targets: Targets,
}

/// Of the journal.
#[derive(Debug)]
struct JournalMetrics {
    writable: IntGauge,
    bytes: IntGauge,
    waiting: IntGauge,
    pruned: IntCounter,
}

/// What was reported of functions, by arm.
#[derive(Debug)]
struct Invoked {
    count: IntCounterVec,
    init: HistogramVec,
    reported: HistogramVec,
    billed: CounterVec,
    memory: GaugeVec,
}

/// Of static targets, each labelled by host and port: as many as the settings name.
#[derive(Debug)]
struct Targets {
    probes: IntCounterVec,
    late: IntCounterVec,
    latency: HistogramVec,
    lateness: HistogramVec,
    trouble: IntCounterVec,
    throttled: CounterVec,
    certificate: GaugeVec,
    verdict: GaugeVec,
    objective_verdict: GaugeVec,
    samples: GaugeVec,
    evidence: GaugeVec,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let table = Table(Registry::new());
        let decision_buckets =
            [5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
        Ok(Self {
            questions: table.counter(
                "gate_questions_total",
                "Questions delivered, by what became of them: accepted, joined, refused.",
                &["kind", "outcome"],
            )?,
            decisions: table.counter(
                "gate_decisions_total",
                "Runs that ended, by answer, by what it rests on, and by how its delivery ended.",
                &["application", "answer", "reason", "delivery"],
            )?,
            watches: table.counter(
                "gate_watches_total",
                "Watches after an answer that ended, by outcome: silence, veto, or observed for a veto not given.",
                &["application", "outcome"],
            )?,
            evaluations_active: table.gauge("gate_evaluations_active", "Runs under way.")?,
            decision_seconds: table.histogram(
                "gate_decision_duration_seconds",
                "From acceptance of a question to its decision.",
                &decision_buckets,
                &["answer"],
            )?,
            probes: table.counter(
                "gate_probes_total",
                "Probes sent in time, by arm and outcome.",
                &["arm", "outcome"],
            )?,
            probes_late: table.counter(
                "gate_probes_late_total",
                "Probes gate itself sent too late to judge, by arm.",
                &["arm"],
            )?,
            probe_latency: table.histogram(
                "gate_probe_latency_seconds",
                "From the due time of a probe to the end of its answer, by arm.",
                &LATENCY_BUCKETS,
                &["arm"],
            )?,
            tick_lateness: table.one_histogram(
                "gate_tick_lateness_seconds",
                "From the end of a tick by its schedule to its being judged, on disk by then: the last answers of its targets are waited for.",
                &TICK_LATENESS_BUCKETS,
            )?,
            invocations: Invoked::new(&table)?,
            samples: table.gauges(
                "gate_objective_samples",
                "Judged samples of the newest run, by application, objective and kind: bad, total.",
                &["application", "objective", "kind"],
            )?,
            evidence: table.gauges(
                "gate_objective_evidence_log",
                "Natural logarithm of the evidence of the newest run, by application, objective and direction: rollback, continue.",
                &["application", "objective", "direction"],
            )?,
            aws_calls: table.counter(
                "gate_aws_calls_total",
                "Calls to AWS with their retries, by operation and outcome: ok or the error code.",
                &["operation", "outcome"],
            )?,
            aws_calls_delayed: table.counter(
                "gate_aws_calls_delayed_total",
                "Tries of calls to AWS that waited for gate's share of a quota, by operation.",
                &["operation"],
            )?,
            cloudwatch_requested: table.count(
                "gate_cloudwatch_metrics_requested_total",
                "Metrics asked for by GetMetricData: what CloudWatch bills.",
            )?,
            readings_lost: table.counter(
                "gate_readings_lost_total",
                "Readings of an objective that were wanted and not had, by source and reason.",
                &["source", "reason"],
            )?,
            secrets: table.counter(
                "gate_secret_reads_total",
                "Reads of secrets, by where they are and by outcome: read, kept for the last value where a read failed, failed.",
                &["source", "outcome"],
            )?,
            notifications: table.counter(
                "gate_notifications_total",
                "Decisions and vetoes told to topics, by outcome: sent, failed, dropped.",
                &["outcome"],
            )?,
            overrides: table.counter(
                "gate_overrides_total",
                "Overrides by people, by action and by what became of them: taken, refused, unsigned and more.",
                &["action", "outcome"],
            )?,
            lost: table.counter(
                "gate_lost_total",
                "Things dropped because of a limit or a fault of gate, by what: journal-entry, journal-question, connection, timed-out-request and more.",
                &["what"],
            )?,
            policy_faults: table.gauge("gate_policy_faults", "Faults in the policy folder when it was last read at a start.")?,
            journal: JournalMetrics {
                writable: table.gauge("gate_journal_writable", "1 while questions can be written down; 0 while none is accepted.")?,
                bytes: table.gauge("gate_journal_bytes", "Bytes in use of the journal's file.")?,
                waiting: table.gauge("gate_journal_entries_waiting", "Entries that wait to be written down.")?,
                pruned: table.count("gate_journal_pruned_total", "Runs that were over, and let go of for their age or the journal's size.")?,
            },
            targets: Targets::new(&table)?,
            registry: table.0,
        })
    }

    /// The exposition text.
    pub(crate) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    pub(crate) fn question(&self, kind: &str, outcome: &str) {
        self.questions.with_label_values(&[kind, outcome]).inc();
    }

    pub(crate) fn opened(&self) {
        self.evaluations_active.inc();
    }

    pub(crate) fn left(&self) {
        self.evaluations_active.dec();
    }

    /// An answer is where it belongs, or its question is over.
    pub(crate) fn decided(&self, report: &Report) {
        let delivery = match &report.delivery {
            Some(policies::Delivery::Confirmed) => "confirmed",
            Some(policies::Delivery::AlreadyCompleted) => "already-completed",
            Some(policies::Delivery::Stopped) => "stopped",
            Some(policies::Delivery::TooLate { .. }) | None => "too-late",
        };
        let answer = report.decision.unwrap_or("none");
        let basis = report.basis.unwrap_or("ended-by-others");
        self.decisions.with_label_values(&[application(report), answer, basis, delivery]).inc();
        self.decision_seconds.with_label_values(&[answer]).observe(report.duration_seconds);
    }

    /// A watch is over.
    pub(crate) fn watched(&self, report: &Report) {
        let outcome = match &report.watch {
            Some(watch) if watch.veto.is_some() => "veto",
            Some(watch) if watch.would_have_vetoed => "observed",
            Some(_) | None => "silence",
        };
        self.watches.with_label_values(&[application(report), outcome]).inc();
    }

    pub(crate) fn probed(&self, arm: Arm, tick: &TargetTick) {
        count(&self.probes, arm.name(), tick);
        self.probes_late.with_label_values(&[arm.name()]).inc_by(u64::from(tick.late));
        observe(&self.probe_latency, arm.name(), &tick.latency);
        if let Some(invocations) = &tick.invocations {
            self.invocations.count(arm.name(), invocations);
        }
    }

    /// A tick of a run is on disk and about to be judged, so long after it was over by its schedule.
    pub(crate) fn tick_came(&self, late: Duration) {
        self.tick_lateness.observe(late.as_secs_f64());
    }

    /// A tick of a static target, after it was judged.
    pub(crate) fn watched_target(
        &self,
        target: &str,
        tick: &Tick,
        trouble: bool,
        judging: &Continuous,
    ) {
        let metrics = &self.targets;
        let total = tick.green.total();
        count(&metrics.probes, target, &total);
        metrics.late.with_label_values(&[target]).inc_by(u64::from(total.late));
        observe(&metrics.latency, target, &total.latency);
        observe(&metrics.lateness, target, &total.lateness);
        metrics.trouble.with_label_values(&[target]).inc_by(u64::from(trouble));
        let throttled = f64::from(tick.throttled_millis) / 1000.0;
        metrics.throttled.with_label_values(&[target]).inc_by(throttled);
        if let Some(days) = total.certificate_days {
            metrics.certificate.with_label_values(&[target]).set(f64::from(days));
        }
        metrics.verdict.with_label_values(&[target]).set(number(judging.state().verdict));
        for (judged, verdict) in judging.judged() {
            let name = judged.objective.name.as_str();
            metrics.objective_verdict.with_label_values(&[target, name]).set(number(verdict));
            set(&metrics.samples, &metrics.evidence, [target, name], judged);
        }
    }

    pub(crate) fn judged(&self, run: &Run) {
        let application = run.deployment().map_or("", policies::Deployment::label);
        for judged in run.judged() {
            let labels = [application, judged.objective.name.as_str()];
            set(&self.samples, &self.evidence, labels, judged);
        }
    }

    pub(crate) fn aws_call(&self, operation: &str, outcome: &str) {
        self.aws_calls.with_label_values(&[operation, outcome]).inc();
    }

    /// A try of a call waits for its token.
    pub(crate) fn aws_call_delayed(&self, operation: &str) {
        self.aws_calls_delayed.with_label_values(&[operation]).inc();
    }

    /// A secret was read, or not.
    pub(crate) fn secret(&self, source: &str, outcome: &str) {
        self.secrets.with_label_values(&[source, outcome]).inc();
    }

    /// A topic was told, or not.
    pub(crate) fn notification(&self, outcome: &str) {
        self.notifications.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn overridden(&self, action: &str, outcome: &str) {
        self.overrides.with_label_values(&[action, outcome]).inc();
    }

    pub(crate) fn lost(&self, what: &str) {
        self.lost_many(what, 1);
    }

    pub(crate) fn lost_many(&self, what: &str, many: u64) {
        self.lost.with_label_values(&[what]).inc_by(many);
    }

    /// How the journal is now.
    pub(crate) fn journal(&self, writable: bool, bytes: u64, waiting: usize) {
        self.journal.writable.set(writable.into());
        self.journal.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.journal.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Runs were let go of.
    pub(crate) fn pruned(&self, runs: u64) {
        self.journal.pruned.inc_by(runs);
    }

    /// So many metrics are asked for in one call.
    pub(crate) fn cloudwatch_requested(&self, metrics: usize) {
        self.cloudwatch_requested.inc_by(u64::try_from(metrics).unwrap_or(u64::MAX));
    }

    /// A reading that was wanted and not had.
    pub(crate) fn reading_lost(&self, source: &str, reason: &str) {
        self.readings_lost.with_label_values(&[source, reason]).inc();
    }

    pub(crate) fn policy_faults(&self, faults: usize) {
        self.policy_faults.set(i64::try_from(faults).unwrap_or(i64::MAX));
    }
}

impl Invoked {
    fn new(table: &Table) -> Result<Self, prometheus::Error> {
        Ok(Self {
            count: table.counter(
                "gate_invocations_total",
                "Invocations of functions that came back, by arm and start: cold, warm.",
                &["arm", "start"],
            )?,
            init: table.histogram(
                "gate_invocation_init_seconds",
                "Cold starts of functions, returns from a snapshot included, as Lambda reports them, by arm.",
                &LATENCY_BUCKETS,
                &["arm"],
            )?,
            reported: table.histogram(
                "gate_invocation_duration_seconds",
                "Functions' own time without their cold starts, as Lambda reports it, by arm.",
                &LATENCY_BUCKETS,
                &["arm"],
            )?,
            billed: table.seconds(
                "gate_invocation_billed_seconds_total",
                "Time of invocations that is paid for, as Lambda reports it, by arm.",
                &["arm"],
            )?,
            memory: table.gauges(
                "gate_invocation_max_memory_bytes",
                "Most memory an invocation of the newest tick used, as Lambda reports it, by arm.",
                &["arm"],
            )?,
        })
    }

    fn count(&self, arm: &str, seen: &Invocations) {
        let warm = seen.count.saturating_sub(seen.cold);
        for (start, count) in [("cold", seen.cold), ("warm", warm)] {
            self.count.with_label_values(&[arm, start]).inc_by(count.into());
        }
        observe(&self.init, arm, &seen.init);
        observe(&self.reported, arm, &seen.reported);
        self.billed.with_label_values(&[arm]).inc_by(seen.billed().as_secs_f64());
        if seen.max_memory_bytes > 0 {
            #[allow(clippy::cast_precision_loss, reason = "a terabyte at most")]
            self.memory.with_label_values(&[arm]).set(seen.max_memory_bytes as f64);
        }
    }
}

impl Targets {
    fn new(table: &Table) -> Result<Self, prometheus::Error> {
        Ok(Self {
            probes: table.counter(
                "gate_target_probes_total",
                "Probes of static targets, by outcome.",
                &["target", "outcome"],
            )?,
            late: table.counter(
                "gate_target_probes_late_total",
                "Probes of static targets that gate itself sent or read too late to judge.",
                &["target"],
            )?,
            latency: table.histogram(
                "gate_target_latency_seconds",
                "From the due time of a probe of a static target to the end of its answer.",
                &LATENCY_BUCKETS,
                &["target"],
            )?,
            lateness: table.histogram(
                "gate_target_lateness_seconds",
                "From the due time of a probe of a static target to its send: gate's own lateness.",
                &LATENESS_BUCKETS,
                &["target"],
            )?,
            trouble: table.counter(
                "gate_target_gate_trouble_ticks_total",
                "Ticks of static targets that gate itself could not measure, and that bear no evidence.",
                &["target"],
            )?,
            throttled: table.seconds(
                "gate_target_throttled_seconds_total",
                "Time in the ticks of a static target that the quota of gate's container kept it from its CPU.",
                &["target"],
            )?,
            certificate: table.gauges(
                "gate_target_certificate_days",
                "Days to the end of the validity of a static target's certificate.",
                &["target"],
            )?,
            verdict: table.gauges(
                "gate_target_verdict",
                "What is held of a static target: 1 Kept, 0 Unknown, -1 Broken.",
                &["target"],
            )?,
            objective_verdict: table.gauges(
                "gate_target_objective_verdict",
                "The same of each objective.",
                &["target", "objective"],
            )?,
            samples: table.gauges(
                "gate_target_objective_samples",
                "Judged samples of a static target in the window in force, by kind: bad, total.",
                &["target", "objective", "kind"],
            )?,
            evidence: table.gauges(
                "gate_target_objective_evidence_log",
                "Natural logarithm of the evidence of the window in force, by direction: rollback, continue.",
                &["target", "objective", "direction"],
            )?,
        })
    }
}

/// Outcomes that occurred.
fn count(probes: &IntCounterVec, label: &str, tick: &TargetTick) {
    for (outcome, &count) in &tick.outcomes {
        probes.with_label_values(&[label, outcome.name()]).inc_by(u64::from(count));
    }
}

fn observe(histogram: &HistogramVec, label: &str, seen: &Interval) {
    let histogram = histogram.with_label_values(&[label]);
    for (seconds, count) in seen.seconds() {
        for _ in 0..count {
            histogram.observe(seconds);
        }
    }
}

/// Counts and evidence of an objective.
fn set(samples: &GaugeVec, evidence: &GaugeVec, [of, objective]: [&str; 2], judged: &Judged) {
    #[allow(clippy::cast_precision_loss, reason = "sample counts stay far below 2^53")]
    for (kind, count) in [("bad", judged.bad), ("total", judged.total)] {
        samples.with_label_values(&[of, objective, kind]).set(count as f64);
    }
    let shown = judged.evidence().shown();
    evidence.with_label_values(&[of, objective, "rollback"]).set(shown.rollback);
    evidence.with_label_values(&[of, objective, "continue"]).set(shown.keep);
}

const fn number(verdict: Verdict) -> f64 {
    match verdict {
        Verdict::Kept => 1.0,
        Verdict::Unknown => 0.0,
        Verdict::Broken => -1.0,
    }
}

fn application(report: &Report) -> &str {
    report.deployment.as_ref().map_or("", policies::Deployment::label)
}
