//! Where a load is put: one gate with an AWS and tasks of its own.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ::tests::cloud::{Cloud, Pace, Release, Target};
use ::tests::process::Holding;
use ::tests::{Gate, http};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::post::KEY;

/// Hooks wait as long as CodeDeploy has them wait.
const LIMIT: Duration = Duration::from_secs(3600);
/// How often it is looked what gate holds.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Pairs of tasks; releases take turns. Each has an address of its own, so that no pair of addresses runs out of ports.
const PAIRS: u8 = 100;
/// Chosen by the application.
const POLICIES: [(&str, &str); 3] = [
    (
        "burst",
        "
probe: { http: { path: / }, rate: 2/s }
objectives: [ { errors: { at-most: 10%, unacceptable: 60% } } ]
decide: { at-least: 6s, deadline: 3m }
",
    ),
    (
        "steady",
        "
probe: { http: { path: / }, rate: 20/s }
objectives: [ { errors: { at-most: 2% } }, { errors: { versus: blue } } ]
decide: { at-least: 60s, deadline: 4m }
",
    ),
    (
        "beyond",
        "
probe: { http: { path: / }, rate: 1/s }
objectives: [ { errors: { at-most: 10%, unacceptable: 60% } } ]
decide: { at-least: 30s, deadline: 5m, stall: 1s }
",
    ),
];

/// Gate, and all it talks to.
#[derive(Debug)]
pub struct Place {
    pub gate: Gate,
    pub cloud: Cloud,
    pairs: Vec<(Target, Target)>,
    deployed: usize,
}

impl Place {
    /// A gate that has just started.
    pub async fn new(program: Option<PathBuf>, quota_share: u32) -> Self {
        let pace = Pace { limit: LIMIT, queue_second: Duration::from_secs(1) };
        let cloud = Cloud::start(pace).await;
        let settings = format!("intake: {{ queue: \"{}\" }}\n", cloud.queue_url());
        let mut gate = Gate::new(&cloud.endpoint, "load")
            .settings(&settings)
            .env("GATE_LOG", "warn")
            .env("GATE_AWS_QUOTA_SHARE", &quota_share.to_string())
            .env("HOOK_KEY", KEY)
            .env("GATE_HOOKS_KEYS", "env:HOOK_KEY");
        for (application, policy) in POLICIES {
            let text = format!("gate: v1\napplies-to: {{ application: {application} }}{policy}");
            gate = gate.policy_named(&format!("{application}.policy.yaml"), &text);
        }
        if let Some(program) = program {
            gate = gate.program(program);
        }
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            let task = |arm| Target::start(Ipv4Addr::new(127, 240, arm, 1 + number).into(), false);
            pairs.push((task(0).await, task(1).await));
        }
        Self { gate: gate.start().await, cloud, pairs, deployed: 0 }
    }

    /// A healthy release; beside a blue one where that is asked for.
    pub fn deploy(&mut self, application: &str, beside_blue: bool) -> String {
        let (green, blue) = &self.pairs[self.deployed % self.pairs.len()];
        self.deployed += 1;
        let blue = beside_blue.then_some(blue.address);
        let release = Release { application: application.to_owned(), green: green.address, blue };
        self.cloud.deploy(release).0
    }

    /// What gate holds now.
    pub fn holding(&self) -> Holding {
        Holding::of(self.gate.pid()).expect("gate runs")
    }

    /// Begins to look what gate holds.
    pub fn look(&self) -> Looking {
        let pid = self.gate.pid();
        let (seen, most) = watch::channel(Most::default());
        let looking = tokio::spawn(async move {
            let (began, first) = (Instant::now(), Holding::of(pid).unwrap_or_default());
            let mut most = Most::default();
            while let Some(now) = Holding::of(pid) {
                most.rss = most.rss.max(now.rss);
                most.descriptors = most.descriptors.max(now.descriptors);
                most.cores = (now.cpu - first.cpu) / began.elapsed().as_secs_f64().max(0.001);
                seen.send_replace(most);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Looking { looking, most }
    }

    /// Waits until these deployments have their answers. How many have exactly one, and it is Continue, within this time.
    pub async fn answered(&self, deployments: &[String], within: Duration) -> usize {
        let began = Instant::now();
        loop {
            let waits = deployments.iter().any(|id| self.cloud.deployment(id).waits());
            if !waits || began.elapsed() > within {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let good = deployments.iter().filter(|id| {
            let deployment = self.cloud.deployment(id);
            let one = deployment.accepted().count() == 1 && deployment.answers.len() == 1;
            one && deployment.status == "Succeeded"
        });
        good.count()
    }

    /// What gate shows of its metrics.
    pub async fn metrics(&self) -> String {
        let shown = http::get(&format!("{}/metrics", self.gate.admin())).await;
        shown.expect("gate shows its metrics").text
    }
}

/// The most that gate held while it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Most {
    /// KiB.
    pub rss: u64,
    pub descriptors: u64,
    /// Processors that it used, on average.
    pub cores: f64,
}

/// Somebody who looks.
#[derive(Debug)]
pub struct Looking {
    looking: JoinHandle<()>,
    most: watch::Receiver<Most>,
}

impl Looking {
    /// What was seen.
    pub fn end(self) -> Most {
        self.looking.abort();
        *self.most.borrow()
    }
}
