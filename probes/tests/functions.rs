//! Functions, invoked by somebody who knows how: what is timed, what is judged, what is bounded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{TIMEOUT, came_to, plan, tick_of};
use hyper::body::Bytes;
use policies::deployment::Route;
use policies::plan::BODY_MAX_BYTES;
use policies::sample::Invoked;
use policies::{Outcome, Target, TargetTick};
use probes::{Invocation, Invoker, Invoking, Lookup, Order, OrderError};
use tokio::time::Instant;

/// A function that takes its time, and says what it took.
#[derive(Debug)]
struct Function {
    takes: Duration,
    returns: Vec<u8>,
    report: Option<Invoked>,
    events: Mutex<BTreeSet<Bytes>>,
}

impl Function {
    fn new(takes: Duration, returns: &[u8], report: Option<Invoked>) -> Arc<Self> {
        Arc::new(Self { takes, returns: returns.to_vec(), report, events: Mutex::default() })
    }
}

impl Invoker for Function {
    fn invoke<'a>(&'a self, function: &'a str, event: Bytes, _: Instant) -> Invoking<'a> {
        Box::pin(async move {
            assert_eq!(function, "arn:checkout:42");
            self.events.lock().unwrap().insert(event);
            tokio::time::sleep(self.takes).await;
            Invocation { result: Ok(self.returns.clone()), report: self.report }
        })
    }
}

struct Here(Arc<Function>);

impl Lookup for Here {
    fn text(&self, _: &str) -> Result<String, String> {
        Err("no secrets here".to_owned())
    }

    fn invoker(&self) -> Result<Arc<dyn Invoker>, String> {
        Ok(Arc::<Function>::clone(&self.0))
    }
}

fn version() -> Target {
    Target {
        id: "checkout:42".to_owned(),
        host: "arn:checkout:42".to_owned(),
        port: 0,
        tls: true,
        route: Route::Function,
        health: None,
    }
}

async fn probed(probe: &str, function: &Arc<Function>) -> TargetTick {
    let lookup = Here(Arc::clone(function));
    tick_of(Order::new(plan(probe, vec![version()], Vec::new()), &lookup).unwrap()).await
}

const COLD: Duration = Duration::from_millis(120);

fn report(init: Option<Duration>) -> Option<Invoked> {
    Some(Invoked { init, reported: Some(Duration::from_millis(1)), ..Invoked::default() })
}

#[tokio::test]
async fn a_start_is_in_the_wall_time_and_not_in_the_latency_that_is_judged() {
    let whole = "{ lambda: { expect: { within: { total: 100ms } } } }";
    let cold = Function::new(COLD, b"{}", report(Some(COLD - Duration::from_millis(10))));
    let tick = probed(whole, &cold).await;
    came_to(&tick, Outcome::Ok);
    assert_eq!(tick.slower_than(Duration::from_millis(100)), 0, "{tick:?}");
    let sums = tick.invocations.unwrap();
    assert_eq!(sums.wall.above(Duration::from_millis(100)), sums.wall.count());
    assert_eq!((sums.count, sums.cold), (10, 10));
    // Without a start, or with one that nobody waited for, all of it counts.
    for init in [None, Some(Duration::from_secs(3))] {
        let tick = probed(whole, &Function::new(COLD, b"{}", report(init))).await;
        came_to(&tick, Outcome::Expectation);
        assert_eq!(tick.slower_than(Duration::from_millis(100)), tick.judged(), "{tick:?}");
    }
}

#[tokio::test]
async fn a_function_that_does_not_come_back_has_timed_out() {
    let tick = probed("{ lambda: {} }", &Function::new(2 * TIMEOUT, b"{}", None)).await;
    came_to(&tick, Outcome::Timeout);
    assert!(tick.invocations.is_none(), "nothing is known of it: {tick:?}");
}

#[tokio::test]
async fn what_it_returns_is_bounded() {
    let large = Function::new(Duration::ZERO, &vec![b'x'; BODY_MAX_BYTES + 1], None);
    came_to(&probed("{ lambda: {} }", &large).await, Outcome::TooLarge);
}

#[tokio::test]
async fn values_stand_in_events_and_come_from_what_was_returned() {
    let function = Function::new(Duration::ZERO, br#"{"id":"o-7"}"#, report(None));
    let steps = r#"{ scenarios: [ { name: order, steps: [
        { name: make, lambda: { payload: '{"make":"${number}"}' }, take: { id: { json: $.id } } },
        { name: read, lambda: { payload: '{"read":"${id}"}' } } ] } ] }"#;
    let tick = probed(steps, &function).await;
    came_to(&tick, Outcome::Ok);
    assert_eq!(tick.invocations.unwrap().count, 20, "each step is one");
    assert_eq!(tick.signals["order/read"].invocations.as_ref().unwrap().count, 10);
    let events = function.events.lock().unwrap();
    assert!(events.contains(&b"{\"read\":\"o-7\"}"[..]), "{events:?}");
    assert!(events.len() > 10, "each probe has a number of its own: {events:?}");
}

#[test]
fn without_somebody_who_can_invoke_it_there_is_no_order() {
    let nobody = |_: &str| Err("no secrets here".to_owned());
    let order = Order::new(plan("{ lambda: {} }", vec![version()], Vec::new()), &nobody);
    assert!(matches!(order, Err(OrderError::Function { .. })), "{order:?}");
}
