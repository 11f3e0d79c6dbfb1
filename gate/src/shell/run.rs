//! One run, from its first action to its last.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::units::spell;
use policies::{
    Action, Arm, Blame, Event, Moment, Override, Phase, Reading, Refusal, Run, Tick, Trouble,
};
use probes::Order;
use probes::scrape::Scraper;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info, info_span};

use super::{Case, Doing, Orders, Probing, Ticks, Vault, Written};
use crate::jitter::Jitter;
use crate::signals::{Signals, Wanted};
use crate::telemetry::Metrics;

/// Facts that may wait for the run; each comes from one task that waits for nothing else.
const FACTS_WAITING_MAX: usize = 16;
/// On a stop, an answer under way gets this long; ECS kills 30 s after SIGTERM.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What a run needs to be conducted.
#[derive(Debug)]
pub(crate) struct Conduct {
    pub(crate) case: Arc<dyn Case>,
    pub(crate) prober: Arc<dyn Probing>,
    pub(crate) vault: Vault,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
    /// Cancelled where the question is another gate's by now: nothing more is done or said.
    pub(crate) lost: CancellationToken,
    /// The instant the question was accepted.
    pub(crate) origin: Instant,
}

/// Overrides that may wait for the run; who comes after them waits.
const OVERRIDES_WAITING_MAX: usize = 16;

/// What became of an override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Overruled {
    /// It is on disk, and the run has taken it.
    Taken,
    /// The run has taken it, and it will be on disk once the disk lets it.
    Kept,
    /// It would change nothing.
    Refused(Refusal),
    /// It could not be written down, so it does not count.
    Unwritten,
    /// The run is not conducted any more.
    Gone,
}

/// What a person wants of a run, and whom to tell what became of it.
#[derive(Debug)]
struct Word {
    said: Override,
    told: oneshot::Sender<Overruled>,
}

/// Where facts and overrides wait for the run.
#[derive(Debug)]
struct Inbox {
    facts: mpsc::Receiver<Event>,
    overrides: mpsc::Receiver<Word>,
}

/// A run that others may look at while it is conducted.
#[derive(Clone, Debug)]
pub(crate) struct Conducted {
    run: Arc<Mutex<Run>>,
    changes: watch::Sender<u64>,
    /// Where facts for the run go, and where they wait until it is conducted.
    facts: mpsc::Sender<Event>,
    overrides: mpsc::Sender<Word>,
    inbox: Arc<Mutex<Option<Inbox>>>,
    /// When the question was accepted, in milliseconds since 1970.
    pub(crate) accepted_unix_millis: u64,
}

impl Conducted {
    pub(crate) fn new(run: Run, accepted_unix_millis: u64) -> Self {
        let (run, changes) = (Arc::new(Mutex::new(run)), watch::Sender::new(0));
        let (facts, waiting) = mpsc::channel(FACTS_WAITING_MAX);
        let (overrides, words) = mpsc::channel(OVERRIDES_WAITING_MAX);
        let inbox = Inbox { facts: waiting, overrides: words };
        let inbox = Arc::new(Mutex::new(Some(inbox)));
        Self { run, changes, facts, overrides, inbox, accepted_unix_millis }
    }

    /// The run as it stands. Held for as long as a step or a report takes: microseconds.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a fact from outside the run.
    pub(crate) async fn tell(&self, fact: Event) {
        // The run may be over already.
        drop(self.facts.send(fact).await);
    }

    /// Has a person's word taken: it is on disk and in force when this says so.
    pub(crate) async fn overrule(&self, said: Override) -> Overruled {
        let (told, answer) = oneshot::channel();
        if self.overrides.send(Word { said, told }).await.is_err() {
            return Overruled::Gone;
        }
        answer.await.unwrap_or(Overruled::Gone)
    }

    /// Sees a new number after each step.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn step(&self, fact: Event, at: Moment) -> Vec<Action> {
        let actions = self.lock().step(fact, at);
        self.changes.send_modify(|number| *number += 1);
        actions
    }
}

/// Conducts a run to its end, or until gate stops. `first` are the actions it begins with.
pub(crate) async fn conduct(conducted: Conducted, conduct: Conduct, first: Vec<Action>) {
    let inbox = conducted.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Conducted once: nobody has taken it before.
    let Some(inbox) = inbox else { return };
    let conductor = Conductor {
        orders: Orders::new(conduct.vault.clone()).of(Arc::clone(&conduct.case)),
        conducted,
        conduct,
        inbox,
        tasks: JoinSet::new(),
        session: None,
        scraper: None,
        signals: None,
        probing: Span::none(),
        jitter: Jitter::default(),
    };
    conductor.conduct(first).await;
}

struct Conductor {
    conducted: Conducted,
    conduct: Conduct,
    inbox: Inbox,
    tasks: JoinSet<()>,
    orders: Orders,
    session: Option<Box<dyn Ticks>>,
    scraper: Option<Scraper>,
    signals: Option<Signals>,
    probing: Span,
    jitter: Jitter,
}

impl Conductor {
    async fn conduct(mut self, first: Vec<Action>) {
        let lost = self.conduct.lost.clone();
        tokio::select! {
            biased;
            () = lost.cancelled() => {}
            () = self.until_over(first) => {}
        }
    }

    async fn until_over(&mut self, first: Vec<Action>) {
        if self.perform(first).await {
            return;
        }
        let stop = self.conduct.stop.clone();
        let mut stopping = std::pin::pin!(stopped_for(&stop, STOP_GRACE));
        loop {
            if stop.is_cancelled() && self.conducted.lock().phase().can_wait() {
                info!("stopped while judging; the next start resumes");
                return;
            }
            // In this order, so that a disk on which every write takes seconds, and ticks are always ready, does not
            // keep a deadline waiting.
            let fact = tokio::select! {
                biased;
                () = stop.cancelled(), if !stop.is_cancelled() => continue,
                () = &mut stopping => return,
                fact = self.inbox.facts.recv() => fact,
                Some(word) = self.inbox.overrides.recv() => {
                    if self.overrule(word).await {
                        return;
                    }
                    continue;
                }
                order = self.orders.ready() => {
                    self.conduct.case.probing();
                    self.probe(order);
                    continue;
                }
                tick = tick(&mut self.session) => tick.map(|tick| Event::Ticked { tick: Box::new(tick) }),
                readings = scraped(&mut self.scraper) => {
                    if readings.is_none() {
                        self.scraper = None;
                    }
                    if self.read(readings.unwrap_or_default()).await {
                        return;
                    }
                    continue;
                }
                readings = signalled(&mut self.signals) => {
                    if readings.is_none() {
                        self.signals = None;
                    }
                    if self.read(readings.unwrap_or_default()).await {
                        return;
                    }
                    continue;
                }
            };
            // Neither channel closes while this loop lives.
            let Some(fact) = fact else { return };
            if self.take(fact).await {
                return;
            }
        }
    }

    /// Takes what somebody else measured. True when the run is over.
    async fn read(&mut self, readings: Vec<Reading>) -> bool {
        for reading in readings {
            if self.take(Event::Read { reading: Box::new(reading) }).await {
                return true;
            }
        }
        false
    }

    /// Takes a fact: on disk first, then judged, then acted upon. True when the run is over.
    async fn take(&mut self, fact: Event) -> bool {
        let at = self.now();
        // What cannot be written is acted on all the same: silence would cost more than a gap.
        let _written = self.conduct.case.record(at, &fact).await;
        if self.conduct.lost.is_cancelled() {
            return true;
        }
        let answering = self.conducted.lock().phase() == Phase::Answering;
        let looked =
            matches!(fact, Event::Resolved { .. } | Event::Unchanged | Event::Unresolved { .. });
        let actions = self.judge(fact, at);
        if let Some(signals) = &self.signals {
            signals.traffic(self.conducted.lock().traffic_since());
        }
        if answering && self.conducted.lock().phase() == Phase::Watching {
            self.conduct.metrics.decided(&self.conducted.lock().report());
        }
        let over = self.perform(actions).await;
        if looked {
            // A secret may have been rotated since.
            self.orders.look_again();
        }
        over
    }

    /// Takes what a person wants, unless it would change nothing. True when the run is over.
    async fn overrule(&mut self, Word { said, told }: Word) -> bool {
        // Whoever sent it waits no more, and was told that it may not count: it must not, minutes later.
        if told.is_closed() {
            return false;
        }
        let at = self.now();
        let refusal = self.conducted.lock().refuses(&said, at);
        if let Some(refusal) = refusal {
            // Whoever asked may be gone; that changes nothing.
            drop(told.send(Overruled::Refused(refusal)));
            return false;
        }
        let fact = Event::Overridden { said };
        let taken = match self.conduct.case.record(at, &fact).await {
            Written::OnDisk => Overruled::Taken,
            Written::Kept => Overruled::Kept,
            // Another gate judges the question by now: that one may take it.
            Written::Dropped if self.conduct.lost.is_cancelled() => {
                drop(told.send(Overruled::Gone));
                return true;
            }
            Written::Dropped => {
                drop(told.send(Overruled::Unwritten));
                return false;
            }
        };
        let actions = self.judge(fact, at);
        drop(told.send(taken));
        self.perform(actions).await
    }

    fn judge(&self, fact: Event, at: Moment) -> Vec<Action> {
        let Event::Ticked { tick } = &fact else { return self.conducted.step(fact, at) };
        self.count(tick);
        if let Some(session) = &self.session {
            self.conduct.metrics.tick_came(session.lateness());
        }
        let span = info_span!("judge", tick = tick.index);
        span.in_scope(|| {
            let actions = self.conducted.step(fact, at);
            self.conduct.metrics.judged(&self.conducted.lock());
            actions
        })
    }

    fn count(&self, tick: &Tick) {
        self.conduct.metrics.probed(Arm::Green, &tick.green.total());
        if let Some(blue) = &tick.blue {
            self.conduct.metrics.probed(Arm::Blue, &blue.total());
        }
    }

    /// Does what the run says. True when it is over.
    async fn perform(&mut self, actions: Vec<Action>) -> bool {
        for action in actions {
            match action {
                Action::Resolve { after } => self.resolve(after),
                Action::WakeAt(moment) => self.wake_at(moment),
                Action::Probe(plan) => self.orders.make(*plan),
                Action::StopProbing => {
                    self.orders.stop();
                    self.session = None;
                    self.scraper = None;
                    self.signals = None;
                    self.probing = Span::none();
                }
                Action::Answer { decision, stop_deployment, after, until } => {
                    let (at, latest) = (self.now(), self.conducted.lock().answers_by());
                    let decided = self.conduct.case.decided(at, &decision, latest);
                    if is_put_down(&self.conduct, decided).await {
                        return true;
                    }
                    self.answer(*decision, stop_deployment, after, until);
                }
                Action::Veto { decision, after } => {
                    if is_put_down(&self.conduct, self.conduct.case.settled()).await {
                        return true;
                    }
                    let case = Arc::clone(&self.conduct.case);
                    let span = info_span!("veto", reason = decision.reason);
                    self.later(self.jitter.spread(after), async move {
                        case.veto().instrument(span).await
                    });
                }
                Action::Notify { topics } => {
                    let report = self.conducted.lock().report();
                    self.conduct.case.notify(&topics, &report);
                }
                Action::Close => {
                    self.conduct.case.closed().await;
                    let report = self.conducted.lock().report();
                    match report.watch {
                        Some(_) => self.conduct.metrics.watched(&report),
                        None => self.conduct.metrics.decided(&report),
                    }
                    return true;
                }
            }
        }
        false
    }

    fn probe(&mut self, order: Order) {
        match &self.scraper {
            Some(scraper) => scraper.change(&order),
            None => {
                let now = i64::try_from(self.now().as_millis()).unwrap_or(i64::MAX);
                self.scraper = Scraper::begin(&order, now);
            }
        }
        if self.signals.is_none()
            && let Some(sources) = self.conduct.case.sources()
        {
            let wanted = {
                let run = self.conducted.lock();
                Wanted::of(&run, &order.plan.observed, self.conduct.origin)
            };
            self.signals = Signals::begin(sources, wanted, Arc::clone(&self.conduct.metrics));
        }
        match &self.session {
            Some(session) => session.change(order),
            None => {
                let (green, blue) = (order.plan.green.len(), order.plan.blue.len());
                self.probing = info_span!("probe", green, blue);
                self.session = Some(self.conduct.prober.begin(order));
            }
        }
    }

    fn resolve(&mut self, after: Duration) {
        let case = Arc::clone(&self.conduct.case);
        // Spans begin with the work, not with the wait before it. Runs that failed together, or began together, do not
        // come back to AWS together.
        self.later(self.jitter.spread(after), async move {
            case.resolve().instrument(info_span!("resolve")).await
        });
    }

    fn wake_at(&mut self, moment: Moment) {
        let after = moment.since(self.now());
        self.later(after, async { Event::Woke });
    }

    fn answer(
        &mut self,
        decision: policies::Decision,
        stop: bool,
        after: Duration,
        until: Option<Moment>,
    ) {
        let case = Arc::clone(&self.conduct.case);
        let origin = self.conduct.origin;
        let delivering = async move {
            // Gate may have been suspended during the wait before another try.
            let now = moment_of(origin);
            if let Some(end) = until.filter(|end| now >= *end) {
                let late = spell(Duration::from_secs(now.since(end).as_secs()));
                let what = format!("gate came to it {late} after whoever asked stopped waiting");
                let trouble = Trouble { blame: Blame::Gate, lasting: false, what };
                return Event::Undelivered { trouble };
            }
            let (answer, basis) = (decision.answer.name(), decision.basis.name());
            let span = info_span!("answer", answer, basis);
            case.deliver(&decision, stop).instrument(span).await
        };
        self.later(self.jitter.spread(after), delivering);
    }

    /// Reports what `doing` comes to, after a wait.
    fn later(&mut self, after: Duration, doing: impl Future<Output = Event> + Send + 'static) {
        // Finished tasks are let go of here, so that a long run does not collect them.
        while self.tasks.try_join_next().is_some() {}
        let facts = self.conducted.facts.clone();
        let reporting = async move {
            tokio::time::sleep(after).await;
            let fact = doing.await;
            // The run may be over already.
            drop(facts.send(fact).await);
        };
        self.tasks.spawn(reporting.in_current_span());
    }

    fn now(&self) -> Moment {
        moment_of(self.conduct.origin)
    }
}

fn moment_of(origin: Instant) -> Moment {
    Moment::from_millis(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Waits until gate has been stopping for so long.
async fn stopped_for(stop: &CancellationToken, grace: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(grace).await;
}

/// Waits for the journal. True where the run is put down meanwhile: whoever takes it up goes by what is written.
async fn is_put_down(conduct: &Conduct, written: Doing<'_, ()>) -> bool {
    tokio::select! {
        () = written => conduct.lost.is_cancelled(),
        () = stopped_for(&conduct.stop, STOP_GRACE) => true,
    }
}

/// What AWS has of real traffic next, or never.
async fn signalled(signals: &mut Option<Signals>) -> Option<Vec<Reading>> {
    match signals {
        Some(signals) => signals.readings().await,
        None => std::future::pending().await,
    }
}

/// What the service itself counted in the next second, or never.
async fn scraped(scraper: &mut Option<Scraper>) -> Option<Vec<Reading>> {
    match scraper {
        Some(scraper) => scraper.readings().await,
        None => std::future::pending().await,
    }
}

/// The next tick of the session, or never.
async fn tick(session: &mut Option<Box<dyn Ticks>>) -> Option<Tick> {
    match session {
        Some(session) => session.tick().await,
        None => std::future::pending().await,
    }
}
