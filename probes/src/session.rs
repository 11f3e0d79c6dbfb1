//! One run's probing: sends on schedule, closes ticks in order, hands them over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use policies::{Arm, ArmTick, Sample, Target, Tick};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::connect::Dialer;
use crate::http;
use crate::order::Order;
use crate::schedule::Schedule;

/// A probe this far behind its due time is not sent: the burst that would catch up says nothing.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Places beyond rate times time-out, for probes that end a little after their time.
const PLACES_SPARE: f64 = 64.0;
/// Ticks that may wait for the run to take them: more than two minutes.
const TICKS_WAITING_MAX: usize = 64;

/// Probing under way. Dropping it stops it.
#[derive(Debug)]
pub struct Session {
    orders: watch::Sender<Arc<Order>>,
    ticks: mpsc::Receiver<Tick>,
    task: AbortHandle,
}

impl Session {
    pub(crate) fn begin(runtime: &tokio::runtime::Handle, dialer: Dialer, order: Order) -> Self {
        let (orders, receiver) = watch::channel(Arc::new(order));
        let (sender, ticks) = mpsc::channel(TICKS_WAITING_MAX);
        let task = runtime.spawn(run(dialer, receiver, sender)).abort_handle();
        Self { orders, ticks, task }
    }

    /// Probes by this order from the next tick on.
    pub fn change(&self, order: Order) {
        self.orders.send_replace(Arc::new(order));
    }

    /// The next complete tick, in order; `None` once probing has ended. Cancel safe.
    pub async fn tick(&mut self) -> Option<Tick> {
        self.ticks.recv().await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Everything sent in one tick, some of it still under way.
struct Open {
    index: u64,
    has_blue: bool,
    probes: JoinSet<(Arm, Arc<Target>, Sample)>,
}

async fn run(dialer: Dialer, orders: watch::Receiver<Arc<Order>>, ticks: mpsc::Sender<Tick>) {
    let first = orders.borrow().clone();
    let schedule = Schedule::new(first.plan.rate_per_second, first.plan.seed, first.plan.tick);
    let places = Arc::new(Semaphore::new(places(&first)));
    let start = Instant::now();
    let (open, waiting) = mpsc::channel(TICKS_WAITING_MAX);
    // Closing waits for stragglers; sending must not wait for closing.
    let mut closing = JoinSet::new();
    closing.spawn(close_in_order(waiting, ticks));
    for round in 0.. {
        let order = orders.borrow().clone();
        let green: Vec<Arc<Target>> = order.plan.green.iter().cloned().map(Arc::new).collect();
        let blue: Vec<Arc<Target>> = order.plan.blue.iter().cloned().map(Arc::new).collect();
        let mut tick = Open {
            index: first.plan.first_tick + u64::from(round),
            has_blue: !blue.is_empty(),
            probes: JoinSet::new(),
        };
        for due in schedule.tick(round) {
            let at = start + due.at;
            sleep_until(at).await;
            let mut pair = [(Arm::Green, &green), (Arm::Blue, &blue)];
            // Neither arm always goes first.
            if due.number % 2 == 1 {
                pair.reverse();
            }
            for (arm, targets) in pair {
                let Some(target) = pick(targets, due.number) else { continue };
                send(&mut tick.probes, &dialer, &order, &places, (arm, target), at);
            }
        }
        sleep_until(start + first.plan.tick * (round + 1)).await;
        if open.send(tick).await.is_err() {
            return;
        }
    }
}

/// Targets take turns.
fn pick(targets: &[Arc<Target>], number: u64) -> Option<Arc<Target>> {
    let turn = number.checked_rem(targets.len() as u64)?;
    targets.get(usize::try_from(turn).ok()?).cloned()
}

fn send(
    probes: &mut JoinSet<(Arm, Arc<Target>, Sample)>,
    dialer: &Dialer,
    order: &Arc<Order>,
    places: &Arc<Semaphore>,
    (arm, target): (Arm, Arc<Target>),
    due: Instant,
) {
    let place = Arc::clone(places).try_acquire_owned().ok();
    let (dialer, order) = (dialer.clone(), Arc::clone(order));
    probes.spawn(async move {
        let sample = match place {
            Some(_place) if due.elapsed() <= BEHIND_MAX => {
                http::probe(&dialer, &order, &target, due).await
            }
            _ => http::not_sent(due),
        };
        (arm, target, sample)
    });
}

async fn close_in_order(mut waiting: mpsc::Receiver<Open>, ticks: mpsc::Sender<Tick>) {
    while let Some(mut open) = waiting.recv().await {
        let mut tick = Tick { index: open.index, ..Tick::default() };
        let mut blue = ArmTick { targets: BTreeMap::new() };
        while let Some(finished) = open.probes.join_next().await {
            let Ok((arm, target, sample)) = finished else { continue };
            let arm = if arm == Arm::Green { &mut tick.green } else { &mut blue };
            arm.targets.entry(target.id.clone()).or_default().record(&sample);
        }
        tick.blue = open.has_blue.then_some(blue);
        if ticks.send(tick).await.is_err() {
            return;
        }
    }
}

fn places(order: &Order) -> usize {
    let in_flight = order.plan.rate_per_second * order.plan.timeout.as_secs_f64();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "policies keep rate times time-out at 10,000 at most"
    )]
    let places = (2.0 * in_flight + PLACES_SPARE).ceil() as usize;
    places
}
