//! A prober that is short of CPU says so, and does not blame its targets for it.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{GET, answering, order, plan, target};
use probes::Prober;
use tokio::runtime::Runtime;

/// In the child's environment: the address to probe.
const ADDRESS: &str = "LATENESS_ADDRESS";
const TICK: Duration = Duration::from_secs(1);
/// Of every 100 ms the child runs for 5, as under a quota of a twentieth of a core.
const ON: Duration = Duration::from_millis(5);
const OFF: Duration = Duration::from_millis(95);
/// Far above what the target takes, and below what the child stands still.
const SLOW: Duration = Duration::from_millis(60);
const TICKS: usize = 4;

/// The child: probes, and writes a line for each tick, the first when it begins.
fn child(address: &str) {
    Runtime::new().unwrap().block_on(async {
        let mut plan = plan(GET, vec![target(address.parse().unwrap(), false)], vec![]);
        (plan.tick, plan.timeout) = (TICK, TICK);
        let prober = Prober::start().unwrap();
        let mut session = prober.begin(order(plan));
        let mut out = std::io::stderr();
        writeln!(out, "tick 0 0 0 0 false").unwrap();
        loop {
            let tick = session.tick().await.unwrap();
            let all = tick.green.total();
            let trouble = tick.is_gates_trouble(TICK);
            let slow = all.slower_than(SLOW);
            let line = format!("tick {} {} {} {slow} {trouble}", all.due, all.late, all.judged());
            writeln!(out, "{line}").unwrap();
        }
    });
}

/// A child that is ended with the test, whichever way that goes.
struct Starved(Child);

impl Starved {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status();
        assert!(sent.unwrap().success(), "kill {signal}");
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// One tick, as the child tells it.
#[derive(Debug)]
struct Told {
    due: u64,
    late: u64,
    judged: u64,
    slow: u64,
    trouble: bool,
}

fn told(line: &str) -> Option<Told> {
    let mut words = line.strip_prefix("tick ")?.split(' ');
    let mut number = || words.next()?.parse().ok();
    let (due, late, judged, slow) = (number()?, number()?, number()?, number()?);
    Some(Told { due, late, judged, slow, trouble: words.next()? == "true" })
}

#[test]
fn a_starved_prober_counts_its_own_lateness_and_bears_no_evidence() {
    if let Ok(address) = std::env::var(ADDRESS) {
        child(&address);
    }
    let runtime = Runtime::new().unwrap();
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let address = runtime.block_on(answering(ok));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_starved_prober_counts_its_own_lateness_and_bears_no_evidence"])
        .arg("--nocapture")
        .env(ADDRESS, address.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let starved = Starved(child);
    let (sender, ticks) = mpsc::channel();
    thread::spawn(move || {
        for told in lines.map_while(Result::ok).filter_map(|line| told(&line)) {
            if sender.send(told).is_err() {
                return;
            }
        }
    });
    ticks.recv().unwrap();
    // The first tick began before the child was held up, and the last is still told by one that was.
    let mut seen: Vec<Told> = Vec::new();
    while seen.len() < TICKS + 1 {
        starved.signal("-STOP");
        thread::sleep(OFF);
        starved.signal("-CONT");
        thread::sleep(ON);
        seen.extend(ticks.try_iter());
    }
    let seen = &seen[1..];
    for told in seen {
        assert_eq!(told.due, 50, "open loop: {told:?}");
        assert!(told.trouble, "{told:?}");
    }
    let sum = |of: fn(&Told) -> u64| seen.iter().map(of).sum::<u64>();
    let (late, judged, slow) = (sum(|t| t.late), sum(|t| t.judged), sum(|t| t.slow));
    // What is due in the last 20 ms before the child goes on is sent in time.
    assert!(late * 2 > sum(|t| t.due), "{seen:?}");
    // The target was fast all the time: hardly a probe that is judged says otherwise.
    assert!(slow * 10 <= judged.max(10), "{slow} of {judged} look slow: {seen:?}");
}
