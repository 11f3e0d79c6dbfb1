//! One run's probing: sends on schedule, closes ticks in order, hands them over.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use policies::tick::Recorder;
use policies::{Arm, Sample, Target, Tick};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::order::{Order, Pace};
use crate::pacer::{Alarm, Pacer};
use crate::pool::Pool;
use crate::pulse::Pulse;
use crate::scenario::{Flight, fly, not_sent};
use crate::schedule::{Due, Schedule};
use crate::throttle::Throttle;

/// A probe this far behind its due time is not sent: the burst that would catch up says nothing.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Places beyond rate times time-out, for probes that end a little after their time.
const PLACES_SPARE: f64 = 64.0;
/// Ticks that may wait for the run to take them: more than two minutes.
const TICKS_WAITING_MAX: usize = 64;
/// Ticks beyond those that may be over without being taken.
const READY_MAX: usize = 64;
/// How often it is looked whether somebody took one.
const TAKE_EVERY: Duration = Duration::from_millis(100);

/// Probing under way. Dropping it stops it.
#[derive(Debug)]
pub struct Session {
    orders: watch::Sender<Arc<Order>>,
    ticks: mpsc::Receiver<Closed>,
    /// When the newest tick that was taken was over by its schedule.
    over: Option<Instant>,
    task: AbortHandle,
}

/// What all sessions of a prober share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) pacer: Pacer,
    pub(crate) pulse: Arc<Pulse>,
}

impl Session {
    pub(crate) fn begin(runtime: &tokio::runtime::Handle, common: Common, order: Order) -> Self {
        let (orders, receiver) = watch::channel(Arc::new(order));
        let (sender, ticks) = mpsc::channel(TICKS_WAITING_MAX);
        let task = runtime.spawn(Probing::new(common, receiver).run(sender)).abort_handle();
        Self { orders, ticks, over: None, task }
    }

    /// Probes by this order from the next tick on. Rate, seed and tick stay those of the first.
    pub fn change(&self, order: Order) {
        self.orders.send_replace(Arc::new(order));
    }

    /// The next complete tick, in order; `None` once probing has ended. Cancel safe.
    pub async fn tick(&mut self) -> Option<Tick> {
        let (tick, over) = self.ticks.recv().await?;
        self.over = Some(over);
        Some(tick)
    }

    /// How long ago the tick that was taken last was over by its schedule: the wait for its last answers, and whatever
    /// gate itself added to that.
    pub fn lateness(&self) -> Duration {
        self.over.map_or(Duration::ZERO, |over| over.elapsed())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A tick, and when it was over by its schedule.
type Closed = (Tick, Instant);

/// Everything due in one tick, some of it still under way.
struct Open {
    index: u64,
    /// When it is over by its schedule.
    end: Instant,
    under_way: usize,
    /// All of it is sent.
    is_over: bool,
    green: Recorder,
    blue: Option<Recorder>,
    throttled_millis: u32,
}

/// A probe that came back: the tick it was due in, who was asked, what came of it.
type Landed = (u64, Arm, Arc<Target>, Sample);

struct Probing {
    pulse: Arc<Pulse>,
    alarm: Alarm,
    orders: watch::Receiver<Arc<Order>>,
    order: Arc<Order>,
    green: Vec<Arc<Target>>,
    blue: Vec<Arc<Target>>,
    pool: Arc<Pool>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// Those that wait for another's answer.
    queue: VecDeque<(u64, Flight)>,
    open: VecDeque<Open>,
    places: usize,
    throttle: Throttle,
    /// Probes sent without a schedule.
    sent: u64,
}

impl Probing {
    fn new(common: Common, orders: watch::Receiver<Arc<Order>>) -> Self {
        let order = orders.borrow().clone();
        let places = places(&order);
        Self {
            pulse: common.pulse,
            alarm: common.pacer.alarm(),
            orders,
            order,
            green: Vec::new(),
            blue: Vec::new(),
            pool: Arc::new(Pool::default()),
            flights: FuturesUnordered::new(),
            queue: VecDeque::new(),
            open: VecDeque::new(),
            places,
            throttle: Throttle::new(),
            sent: 0,
        }
    }

    async fn run(mut self, ticks: mpsc::Sender<Closed>) {
        let plan = &self.order.plan;
        let schedule = Schedule::new(plan.rate.clone(), plan.seed, plan.tick);
        let first = plan.first_tick;
        let start = Instant::now();
        let offset = schedule.start_of(first);
        // A schedule goes on after a restart where it would have been.
        let instant = |at: Duration| start + at.saturating_sub(offset);
        for index in first.. {
            // While nobody takes what is ready, nothing is sent; what was due then is counted as not sent.
            while self.open.iter().take_while(|open| open.is_ready()).count() >= READY_MAX {
                if self.wait((Instant::now() + TAKE_EVERY, None), &ticks).await.is_none() {
                    return;
                }
            }
            let end = instant(schedule.start_of(index.saturating_add(1)));
            self.begin_tick(index, end);
            let mut dues = schedule.tick(index).peekable();
            loop {
                let now = Instant::now();
                match self.order.pace {
                    Pace::Open | Pace::Bounded { .. } => {
                        while let Some(due) = dues.next_if(|due| instant(due.at) <= now) {
                            self.send_pair(index, due, instant(due.at), now);
                        }
                    }
                    Pace::Closed { connections } => self.fill(index, connections, now),
                }
                let next = dues.peek().filter(|_| !self.is_closed());
                if next.is_none() && now >= end {
                    break;
                }
                let then = next.map(|due| instant(schedule.due(due.number.saturating_add(1))));
                let at = next.map_or(end, |due| instant(due.at));
                if self.wait((at, then), &ticks).await.is_none() {
                    return;
                }
            }
            if let Some(open) = self.open.back_mut() {
                open.is_over = true;
                open.throttled_millis = self.throttle.take_millis();
            }
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.order.pace, Pace::Closed { .. })
    }

    fn begin_tick(&mut self, index: u64, end: Instant) {
        if self.orders.has_changed().unwrap_or(false) || self.green.is_empty() {
            self.order = self.orders.borrow_and_update().clone();
            let plan = &self.order.plan;
            self.green = plan.green.iter().cloned().map(Arc::new).collect();
            self.blue = plan.blue.iter().cloned().map(Arc::new).collect();
            let there =
                |id: &str| self.green.iter().chain(&self.blue).any(|target| target.id == id);
            self.pool.keep(there);
        }
        let mixed = self.order.plan.script.connections.is_mixed();
        let recorder = || Recorder::new(self.order.signals.to_vec()).mixed(mixed);
        self.open.push_back(Open {
            index,
            end,
            under_way: 0,
            is_over: false,
            green: recorder(),
            blue: (!self.blue.is_empty()).then(recorder),
            throttled_millis: 0,
        });
    }

    /// Waits until `at`, or until something came back or is to be handed over. `None` once nobody takes it.
    async fn wait(
        &mut self,
        (at, then): (Instant, Option<Instant>),
        ticks: &mpsc::Sender<Closed>,
    ) -> Option<()> {
        let ready = self.open.front().is_some_and(Open::is_ready);
        tokio::select! {
            biased;
            () = poll_fn(|context| self.alarm.poll(context, at, then)) => {}
            Some(landed) = self.flights.next(), if !self.flights.is_empty() => {
                self.land(landed);
                // Others may have come back in the same moment.
                while let Some(Some(landed)) = self.flights.next().now_or_never() {
                    self.land(landed);
                }
                self.launch_waiting();
            }
            permit = ticks.reserve(), if ready => {
                let permit = permit.ok()?;
                permit.send(self.open.pop_front()?.close());
            }
        }
        Some(())
    }

    fn send_pair(&mut self, index: u64, due: Due, at: Instant, now: Instant) {
        let mut pair = [Arm::Green, Arm::Blue];
        // Neither arm always goes first.
        if due.number % 2 == 1 {
            pair.reverse();
        }
        for arm in pair {
            let targets = if arm == Arm::Green { &self.green } else { &self.blue };
            let Some(target) = pick(targets, due.number) else { continue };
            let (number, handled, launched) = (due.number, now, now);
            let flight = Flight { number, arm, target, due: at, handled, launched };
            if let Some(open) = self.open.back_mut() {
                open.under_way += 1;
            }
            self.send(index, flight);
        }
    }

    fn send(&mut self, index: u64, flight: Flight) {
        let under_way = self.flights.len() + self.queue.len();
        if under_way >= self.places || flight.handled > flight.due + BEHIND_MAX {
            let sample = not_sent(flight.due, None);
            self.land((index, flight.arm, flight.target, sample));
            return;
        }
        if let Pace::Bounded { connections } = self.order.pace
            && self.flights.len() >= connections
        {
            self.queue.push_back((index, flight));
            return;
        }
        self.launch(index, flight);
    }

    fn launch(&mut self, index: u64, flight: Flight) {
        let order = Arc::clone(&self.order);
        let (pool, pulse) = (Arc::clone(&self.pool), Arc::clone(&self.pulse));
        self.flights.push(Box::pin(async move {
            let sample = fly(&order, &flight, &pool, &pulse).await;
            (index, flight.arm, flight.target, sample)
        }));
    }

    /// Lets go of those that waited for another's answer, as many as there is room for.
    fn launch_waiting(&mut self) {
        let Pace::Bounded { connections } = self.order.pace else { return };
        while self.flights.len() < connections {
            let Some((index, flight)) = self.queue.pop_front() else { return };
            self.launch(index, Flight { launched: Instant::now(), ..flight });
        }
    }

    /// Keeps so many probes under way.
    fn fill(&mut self, index: u64, connections: usize, now: Instant) {
        while self.flights.len() < connections.min(self.places) {
            let number = self.sent;
            let Some(target) = pick(&self.green, number) else { return };
            let Some(open) = self.open.back_mut() else { return };
            open.under_way += 1;
            self.sent += 1;
            let (arm, due) = (Arm::Green, now);
            self.launch(index, Flight { number, arm, target, due, handled: due, launched: due });
        }
    }

    fn land(&mut self, (index, arm, target, sample): Landed) {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else { return };
        open.under_way = open.under_way.saturating_sub(1);
        let recorder = if arm == Arm::Green { Some(&mut open.green) } else { open.blue.as_mut() };
        if let Some(recorder) = recorder {
            recorder.record(&target.id, &sample);
        }
    }
}

impl Open {
    fn is_ready(&self) -> bool {
        self.is_over && self.under_way == 0
    }

    fn close(self) -> Closed {
        let tick = Tick {
            index: self.index,
            green: self.green.close(),
            blue: self.blue.map(Recorder::close),
            throttled_millis: self.throttled_millis,
        };
        (tick, self.end)
    }
}

/// Targets take turns.
fn pick(targets: &[Arc<Target>], number: u64) -> Option<Arc<Target>> {
    let turn = number.checked_rem(targets.len() as u64)?;
    targets.get(usize::try_from(turn).ok()?).cloned()
}

/// Probes that may be under way or waiting.
fn places(order: &Order) -> usize {
    let rate = order.plan.rate.peak_per_second();
    let in_flight = rate * order.plan.timeout.as_secs_f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "policies keep rate times time-out at 10,000 at most"
    )]
    let places = (2.0 * in_flight + PLACES_SPARE).ceil() as usize;
    places
}
