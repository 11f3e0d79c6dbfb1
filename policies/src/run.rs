//! The life of a question: facts in, actions out.

mod answering;
mod continuous;
mod judging;
mod late;
mod observing;
mod overriding;
mod reason;
mod recent;
mod targets;
mod timeline;
mod view;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::{Answer, Basis, Decision};
use crate::deployment::{Arm, Deployment};
use crate::document::PolicyFile;
use crate::event::{Action, Delivery, Event, PolicyInForce, Trouble};
use crate::judge::{Judge, Silence};
use crate::moment::Moment;
use crate::phase::Phase;
use crate::plan::Plan;
use crate::policy::{DEADLINE_DEFAULT, Policy};
use crate::report::changes;
use overriding::Overriding;
use timeline::Timeline;
use watching::Watching;

pub use continuous::{Continuous, Snapshot, State, Unjudgeable};
pub use recent::RECENT_SPAN;

/// "3600 seconds until a deployment lifecycle event fails if not completed".
//= https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
pub const HOOK_LIMIT: Duration = Duration::from_secs(3600);
/// Answers are given this long before the platform stops waiting: time for a few minutes of throttling.
pub const MARGIN: Duration = Duration::from_secs(120);
/// Where the platform waits for less than ten minutes, the margin is this part of it.
const MARGIN_PART: u32 = 5;
/// Replaced and scaled tasks join and leave within this time.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(10);
/// Trouble that trying again is unlikely to mend is tried again this long: IAM changes take seconds to
/// spread, and fresh targets to register.
pub const RESOLVE_GRACE: Duration = Duration::from_secs(20);
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(8);

/// Something that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Id of the evaluation: the same question delivered again has the same one.
    pub id: String,
    /// From acceptance until whoever asks stops waiting; `None` where nobody does.
    pub limit: Option<Duration>,
    /// What to say where no policy can be found.
    pub unmatched: Answer,
    /// Judge and record, but always let the deployment continue.
    pub observe: bool,
    /// Nobody asks: the deployment is watched from the moment there is a green.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watch_only: bool,
}

/// The time before the end of a limit at which an answer is given.
pub fn margin(limit: Duration) -> Duration {
    MARGIN.min(limit / MARGIN_PART)
}

/// The limit that has an answer given exactly by this deadline.
pub fn limit_for(deadline: Duration) -> Duration {
    (deadline * MARGIN_PART / (MARGIN_PART - 1)).min(deadline + MARGIN)
}

/// One run of the gate for one question.
#[derive(Debug)]
pub struct Run {
    question: Question,
    phase: Phase,
    now: Moment,
    deployment: Option<Deployment>,
    policy: Option<(String, Policy)>,
    judge: Option<Judge>,
    failures: u32,
    lasting_since: Option<Moment>,
    /// When whoever asks stops waiting, as the deployment says.
    waits_until: Option<Moment>,
    /// The limit is over by gate's moments, which may be wrong: since when it is being found out who waits all the
    /// same.
    asks_who_waits: Option<Moment>,
    trouble: Option<Trouble>,
    next_tick: u64,
    warm_up_ticks: u64,
    judged_ticks: u64,
    silence: Silence,
    trouble_ticks: u64,
    /// Why probes could not be sent when gate could not measure last, where that was seen.
    unsent: Option<String>,
    decision: Option<Decision>,
    decided_at: Moment,
    delivery: Option<Delivery>,
    watching: Option<Watching>,
    /// A further question of the deployment judges from its beginning on, so that there is no watch here.
    taken_over: bool,
    /// The deployment ended while its answer was on its way: there is nothing left to watch.
    over: bool,
    /// Probed is what the policy names, from the first tick to the last: the deployment named nothing.
    names_targets: bool,
    /// A resolution is on its way, so that there is never more than one.
    resolving: bool,
    /// When green was first seen with real traffic.
    traffic_since: Option<Moment>,
    /// Of objectives over periods: when the newest that was read began, in milliseconds from acceptance.
    newest_readings: BTreeMap<String, i64>,
    /// Judges instead of the policy that was in force: for a replay.
    instead: Option<(String, Policy)>,
    overriding: Overriding,
    timeline: Timeline,
}

impl Run {
    /// A run that has just been accepted.
    pub fn new(question: Question) -> Self {
        Self {
            question,
            phase: Phase::Resolving,
            now: Moment::ZERO,
            deployment: None,
            policy: None,
            judge: None,
            failures: 0,
            lasting_since: None,
            waits_until: None,
            asks_who_waits: None,
            trouble: None,
            next_tick: 0,
            warm_up_ticks: 0,
            judged_ticks: 0,
            silence: Silence::default(),
            trouble_ticks: 0,
            unsent: None,
            decision: None,
            decided_at: Moment::ZERO,
            delivery: None,
            watching: None,
            taken_over: false,
            over: false,
            names_targets: false,
            resolving: true,
            traffic_since: None,
            newest_readings: BTreeMap::new(),
            instead: None,
            overriding: Overriding::default(),
            timeline: Timeline::default(),
        }
    }

    /// A run for a replay: whatever policy a record names, this one judges.
    pub fn judged_by(question: Question, file: String, policy: Policy) -> Self {
        Self { instead: Some((file, policy)), ..Self::new(question) }
    }

    /// What to do first.
    pub fn start(&self) -> Vec<Action> {
        vec![Action::WakeAt(self.deadline()), Action::Resolve { after: Duration::ZERO }]
    }

    /// Takes a fact and says what to do about it. Time never runs backwards here, whatever clocks do.
    pub fn step(&mut self, event: Event, at: Moment) -> Vec<Action> {
        self.now = self.now.max(at);
        self.taken_over |= event == Event::TakenOver;
        // What was on its way is lost with a restart.
        self.resolving &= !matches!(
            event,
            Event::Resolved { .. }
                | Event::Unchanged
                | Event::Unresolved { .. }
                | Event::Ended { .. }
                | Event::Resumed
        );
        self.observe(&event);
        self.look_at_hold();
        let actions = self.happens(event);
        self.resolving |= actions.iter().any(|action| matches!(action, Action::Resolve { .. }));
        actions
    }

    fn happens(&mut self, event: Event) -> Vec<Action> {
        match (self.phase, event) {
            (Phase::Done, _) => Vec::new(),
            (Phase::Answering, Event::Delivered { delivery }) => self.delivered(delivery),
            (Phase::Answering, Event::Undelivered { trouble }) => self.undelivered(trouble),
            (Phase::Answering, Event::Resumed) => {
                self.asks_who_waits = self.late_by().map(|_late| self.now);
                self.timeline.note(self.now, "gate restarted; sending the answer again");
                self.answer(Duration::ZERO)
            }
            (Phase::Answering, Event::Ended { .. }) => {
                self.over = true;
                Vec::new()
            }
            (
                Phase::Answering,
                Event::Resolved { .. }
                | Event::Unchanged
                | Event::Unresolved { .. }
                | Event::Ticked { .. }
                | Event::Read { .. }
                | Event::Woke
                | Event::Overridden { .. }
                | Event::TakenOver,
            ) => Vec::new(),
            (Phase::Watching | Phase::Vetoing, event) => self.answered(event),
            (Phase::Resolving | Phase::WarmUp | Phase::Judging, event) => self.undecided(event),
        }
    }

    /// Everything that can happen before the decision.
    fn undecided(&mut self, event: Event) -> Vec<Action> {
        if self.late_by().is_some() {
            return self.too_late(event);
        }
        // A tick that closes at the very deadline still counts; anything else comes too late.
        let past = self.now >= self.deadline();
        match event {
            Event::Ended { status } => self.ended(&status),
            Event::Ticked { tick } => self.ticked(&tick),
            // However late it is found out: a rollback is never gated.
            Event::Resolved { deployment, policy } if !past || deployment.is_rollback => {
                self.resolved(*deployment, policy)
            }
            Event::Resolved { .. } => self.out_of_time(),
            Event::Unchanged
            | Event::Unresolved { .. }
            | Event::Read { .. }
            | Event::Woke
            | Event::Resumed
            | Event::TakenOver
            | Event::Overridden { .. }
            | Event::Delivered { .. }
            | Event::Undelivered { .. }
                if past =>
            {
                self.out_of_time()
            }
            Event::Unchanged => self.unchanged(),
            Event::Unresolved { trouble } => self.unresolved(trouble),
            Event::Read { reading } => self.read(&reading),
            Event::Woke => {
                let after_hold = self.after_hold();
                std::iter::once(Action::WakeAt(self.deadline())).chain(after_hold).collect()
            }
            Event::Overridden { said } => self.overridden(said),
            Event::Resumed => self.resumed(),
            Event::TakenOver if self.question.watch_only => {
                self.end_watch("a question of the deployment took over".to_owned())
            }
            // Each question of a deployment is answered; only its watch can be taken over.
            Event::TakenOver | Event::Delivered { .. } | Event::Undelivered { .. } => Vec::new(),
        }
    }

    fn resolved(&mut self, deployment: Deployment, policy: PolicyInForce) -> Vec<Action> {
        if self.phase != Phase::Resolving {
            if deployment.is_rollback {
                // It goes back by other hands while it is judged: what is measured now is no longer the release.
                return self.ended("being rolled back");
            }
            return self.resolved_again(deployment);
        }
        if self.deployment.as_ref() != Some(&deployment) {
            self.note_resolved(&deployment);
        }
        let (is_rollback, stage) = (deployment.is_rollback, deployment.stage);
        self.waits(&deployment);
        self.deployment = Some(deployment);
        if is_rollback {
            let reason = "the deployment is itself a rollback, which is never gated";
            return self.decide(Answer::Continue, Basis::RollbackDeployment, reason.to_owned());
        }
        if !stage.measurable() {
            if self.question.watch_only {
                return self.look_again();
            }
            let reason = format!("nothing to measure yet at {stage}: there is no green");
            return self.decide(Answer::Continue, Basis::NothingToMeasure, reason);
        }
        if let Some((file, policy)) = self.instead.clone() {
            return self.begin(file, policy);
        }
        match policy {
            PolicyInForce::Chosen { file, text } => {
                let parsed = PolicyFile::parse(&file, &text);
                match parsed.policy {
                    Some(policy) => self.begin(file, policy),
                    None => self.broken(&one_line_each(&parsed.faults)),
                }
            }
            PolicyInForce::Unmatched => {
                let reason = self.fallback_to_unmatched("no policy applies to this deployment");
                self.decide(self.question.unmatched, Basis::Unmatched, reason)
            }
            PolicyInForce::Tied { files } => {
                let what = format!("these policies apply equally well: {}", files.join(", "));
                let reason = self.fallback_to_unmatched(&what);
                self.decide(self.question.unmatched, Basis::Unmatched, reason)
            }
            PolicyInForce::Broken { faults } => self.broken(&faults.join("; ")),
        }
    }

    fn note_resolved(&mut self, deployment: &Deployment) {
        let text = format!(
            "resolved: {}, stage {}, {} green and {} blue targets",
            deployment.names(),
            deployment.stage,
            deployment.green.len(),
            deployment.blue.len()
        );
        self.timeline.note(self.now, text);
        for warning in &deployment.warnings {
            self.timeline.note(self.now, format!("warning: {warning}"));
        }
    }

    fn begin(&mut self, file: String, policy: Policy) -> Vec<Action> {
        let only = self.deployment.as_ref().and_then(|deployment| deployment.only_speaks.as_ref());
        if let Some(version) = only.filter(|_| policy.probe.script.speaks_http1()) {
            // Every probe would fail, and prove what is not so.
            return self.broken(&format!(
                "{file}: green's target group speaks {version} alone, and the policy probes by HTTP/1.1; write `grpc` or `http: {{ version: 2 }}`"
            ));
        }
        if let Some(what) = self.mismatch(&policy) {
            return self.broken(&format!("{file}: {what}"));
        }
        let judge = match Judge::of_question(&policy, self.now) {
            Ok(judge) => judge,
            Err(refused) => return self.broken(&format!("{file}: {refused}")),
        };
        self.policy = Some((file, policy));
        self.choose_targets();
        let deadline = Action::WakeAt(self.deadline());
        let Some(plan) = self.plan().filter(|plan| !plan.green.is_empty()) else {
            return if self.question.watch_only {
                self.look_again()
            } else {
                self.no_targets(deadline)
            };
        };
        if self.question.watch_only && !targets::is_any_up(&plan.green) {
            // Nobody asked, so nobody says that green is ready: what boots refuses connections.
            return self.look_again();
        }
        if let Some((file, policy)) = &self.policy {
            self.timeline.note(self.now, format!("judged by {file}"));
            if let Some(note) = targets::chosen(policy, self.names_targets) {
                self.timeline.note(self.now, note);
            }
            let ticks =
                policy.probe.warm_up.as_millis().div_ceil(policy.decide.tick.as_millis().max(1));
            self.warm_up_ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        }
        self.judge = Some(judge.of_targets(plan.green.len()));
        self.nothing_meanwhile();
        self.silence = Silence::of(!plan.blue.is_empty());
        if self.question.watch_only {
            let watched = self.begin_watch();
            return watched.unwrap_or_else(|| self.end_watch("the policy has no `watch`".into()));
        }
        self.look_at_health();
        self.phase = if self.warm_up_ticks > 0 { Phase::WarmUp } else { Phase::Judging };
        vec![deadline, Action::Probe(plan.into()), Action::Resolve { after: RESOLVE_EVERY }]
    }

    /// Takes note of how long whoever asks waits. Said once: what is said later is shorter by the time between.
    fn waits(&mut self, deployment: &Deployment) {
        if let (None, Some(waits)) = (self.waits_until, deployment.waits_seconds) {
            self.waits_until = Some(self.now.after(Duration::from_secs(waits)));
        }
    }

    /// There is no green to watch yet: it will come.
    fn look_again(&self) -> Vec<Action> {
        vec![Action::Resolve { after: RESOLVE_EVERY }]
    }

    /// Green has nothing to probe: tasks may still be registering, so look again for a while.
    fn no_targets(&mut self, deadline: Action) -> Vec<Action> {
        let since = *self.lasting_since.get_or_insert(self.now);
        if self.now.since(since) < RESOLVE_GRACE {
            self.failures = self.failures.saturating_add(1);
            return vec![deadline, Action::Resolve { after: self.backoff() }];
        }
        self.give_up_on_targets()
    }

    fn give_up_on_targets(&mut self) -> Vec<Action> {
        let answer =
            self.policy.as_ref().map_or(self.question.unmatched, |(_, p)| p.decide.no_data);
        let since = self.lasting_since.unwrap_or(Moment::ZERO);
        let nameless = |d: &Deployment| d.service.is_empty() && d.function.is_empty();
        let nameless = self.deployment.as_ref().is_some_and(nameless);
        let reason = reason::no_targets(self.now.since(since), answer, nameless);
        self.decide(answer, Basis::NoData, reason)
    }

    fn resolved_again(&mut self, deployment: Deployment) -> Vec<Action> {
        let before = self.deadline();
        self.waits(&deployment);
        let sooner = self.phase < Phase::Answering && self.deadline() < before;
        let mut actions = Vec::from_iter(sooner.then(|| Action::WakeAt(self.deadline())));
        if let Some(before) = &self.deployment {
            for arm in [Arm::Green, Arm::Blue] {
                if let Some(text) = changes(arm.name(), before.arm(arm), deployment.arm(arm)) {
                    self.timeline.note(self.now, text);
                }
            }
            let probed = self.probed();
            self.deployment = Some(deployment);
            self.look_at_health();
            if probed != self.probed() {
                actions.extend(self.plan().map(|plan| Action::Probe(Box::new(plan))));
            }
        }
        actions.push(Action::Resolve { after: RESOLVE_EVERY });
        actions
    }

    /// What is probed of both arms.
    fn probed(&self) -> Option<[BTreeSet<String>; 2]> {
        let (deployment, (_, policy)) = (self.deployment.as_ref()?, self.policy.as_ref()?);
        let (green, blue) = self.arms(deployment, policy);
        Some([green, blue].map(|arm| arm.into_iter().map(|target| target.id).collect()))
    }

    /// The load balancer was asked again and said the same.
    fn unchanged(&mut self) -> Vec<Action> {
        self.look_at_health();
        vec![Action::Resolve { after: RESOLVE_EVERY }]
    }

    fn unresolved(&mut self, trouble: Trouble) -> Vec<Action> {
        if self.trouble.as_ref() != Some(&trouble) {
            self.timeline.note(self.now, format!("not resolved: {trouble}"));
        }
        let lasting = trouble.lasting;
        self.trouble = Some(trouble);
        if !lasting {
            // The grace is for lasting trouble in a row; an outage must not use it up.
            self.lasting_since = None;
        }
        if self.phase != Phase::Resolving {
            // Probing goes on with the targets known.
            return vec![Action::Resolve { after: RESOLVE_EVERY }];
        }
        if lasting && self.now.since(*self.lasting_since.get_or_insert(self.now)) >= RESOLVE_GRACE {
            return self.give_up_resolving();
        }
        self.failures = self.failures.saturating_add(1);
        vec![Action::Resolve { after: self.backoff() }]
    }

    fn give_up_resolving(&mut self) -> Vec<Action> {
        if self.question.watch_only {
            let why = self.trouble.as_ref().map_or("it was never resolved", |t| t.what.as_str());
            return self.end_watch(format!("the deployment could not be resolved: {why}"));
        }
        let answer = self.question.unmatched;
        let reason = reason::unresolved(self.trouble.as_ref(), self.now, answer);
        self.decide(answer, Basis::Unresolved, reason)
    }

    fn broken(&mut self, faults: &str) -> Vec<Action> {
        let reason = self
            .fallback_to_unmatched(&format!("the policy for this deployment is broken: {faults}"));
        self.decide(self.question.unmatched, Basis::BrokenPolicy, reason)
    }

    fn fallback_to_unmatched(&self, what: &str) -> String {
        if self.question.watch_only {
            return what.to_owned();
        }
        format!("{what}; answering {} by the setting `unmatched`", self.question.unmatched)
    }

    fn resumed(&mut self) -> Vec<Action> {
        self.lasting_since = None;
        // Said from that moment on: what is said next holds, however wrong the moments of a restart are.
        self.waits_until = None;
        self.timeline.note(self.now, "gate restarted; resuming with the evidence on disk");
        let mut actions = vec![Action::WakeAt(self.deadline())];
        actions.extend(self.wake_for_hold());
        if self.phase != Phase::Resolving {
            actions.extend(self.plan().map(|plan| Action::Probe(Box::new(plan))));
        }
        actions.push(Action::Resolve { after: Duration::ZERO });
        actions
    }

    /// Doubles from 250 ms to 8 s with each failure.
    fn backoff(&self) -> Duration {
        RETRY_FIRST.saturating_mul(1 << self.failures.saturating_sub(1).min(5)).min(RETRY_MAX)
    }

    fn deadline(&self) -> Moment {
        if self.question.watch_only {
            return Moment::ZERO.after(watching::WATCH_MAX);
        }
        let wanted = self.policy.as_ref().map_or(DEADLINE_DEFAULT, |(_, p)| p.decide.deadline);
        let held = self.held_until().unwrap_or(Moment::ZERO).since(Moment::ZERO);
        let wanted = wanted.max(held);
        let wanted = Moment::ZERO.after(wanted);
        self.answers_by().map_or(wanted, |by| wanted.min(by))
    }

    /// From acceptance until whoever asks stops waiting.
    fn limit(&self) -> Option<Duration> {
        let said = self.waits_until.map(|until| until.since(Moment::ZERO));
        [self.question.limit, said].into_iter().flatten().min()
    }

    fn plan(&self) -> Option<Plan> {
        let (deployment, (_, policy)) = (self.deployment.as_ref()?, self.policy.as_ref()?);
        let (green, blue) = self.arms(deployment, policy);
        let plan = policy.plan(seed(&self.question.id), self.next_tick, green, blue);
        Some(Plan { observed: policy.observed(self.judges_during()), ..plan })
    }

    /// Where the run is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The decision, once there is one.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_ref()
    }

    /// What the question is about, once resolved.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.deployment.as_ref()
    }
}

/// All faults of a document in one line.
fn one_line_each(faults: &[crate::document::Fault]) -> String {
    faults.iter().map(crate::document::Fault::one_line).collect::<Vec<_>>().join("; ")
}

/// A number from an id (FNV-1a), so that two runs do not probe in step and a replay probes alike.
fn seed(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
