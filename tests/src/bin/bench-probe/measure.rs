//! The survey: every tool under every load, in turn, several times over.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use tests::place::Folder;

use crate::figures::Figure;
use crate::grid::{Schedule, achieved};
use crate::machine::{Machine, load_average};
use crate::nginx::Nginx;
use crate::outputs::{QUANTILES, Reported};
use crate::process;
use crate::scenario::Scenario;
use crate::sidecar::{self, Sidecars};
use crate::tool::{self, Found, Tool};
use crate::truth::{Records, Truth};

/// Seconds at the start of a run that its schedule does not count: connections are made.
const WARM_UP: f64 = 0.5;
/// The same where a whole run takes half a second.
const QUICK_WARM_UP: f64 = 0.1;

/// One run of one tool.
#[derive(Clone, Debug)]
pub struct Measured {
    /// CPU seconds for 100,000 requests.
    pub cpu: f64,
    /// The most memory it had, MiB.
    pub memory: Option<f64>,
    /// Requests a second.
    pub rate: f64,
    pub schedule: Option<Schedule>,
    pub reported: Reported,
    /// Seconds in the server, at [`QUANTILES`].
    pub truth: [Option<f64>; 4],
    /// Whether the kernel stamped every arrival.
    pub by_kernel: bool,
}

/// Everything that was found out.
#[derive(Debug)]
pub struct Survey {
    pub quick: bool,
    pub rounds: u32,
    /// Whether tools and servers had a core each.
    pub pinned: bool,
    pub machine: Machine,
    pub tools: Vec<(Tool, Result<Found, String>)>,
    pub nginx: Option<Found>,
    pub runs: BTreeMap<(Scenario, Tool), Vec<Result<Measured, String>>>,
    pub blackbox: Result<Found, String>,
    pub sidecars: Vec<Sidecars>,
    /// The load average before each round and after the last.
    pub loads: Vec<String>,
    pub seconds: u64,
}

impl Survey {
    /// Measures the tools that are asked for and there.
    pub fn run(
        gate: &Path,
        rounds: u32,
        quick: bool,
        asked: &dyn Fn(Tool) -> bool,
    ) -> Result<Self, String> {
        let start = Instant::now();
        let look = |tool: Tool| match asked(tool) {
            true => tool.find(gate),
            false => Err("not asked for".to_owned()),
        };
        let daemon = |name: &str, flag| {
            let program = tool::find(name).ok_or("not installed")?;
            let version = tool::version(&program, flag).unwrap_or_else(|| "unknown".to_owned());
            Ok(Found { program, version })
        };
        let blackbox = match quick {
            true => Err("not asked for".to_owned()),
            false => daemon("prometheus-blackbox-exporter", "--version"),
        };
        let mut survey = Self {
            quick,
            rounds,
            // Before everything that is started.
            pinned: process::pin(),
            machine: Machine::here(),
            tools: Tool::ALL.map(|tool| (tool, look(tool))).into(),
            nginx: daemon("nginx", "-v").ok(),
            runs: BTreeMap::new(),
            blackbox,
            sidecars: Vec::new(),
            loads: vec![load_average()],
            seconds: 0,
        };
        for round in 1..=rounds {
            for scenario in Scenario::ALL {
                survey.measure(scenario, &|tool| {
                    let seconds = start.elapsed().as_secs();
                    eprintln!("{seconds:5} s  round {round}, {}: {}", scenario.name(), tool.name());
                })?;
            }
            eprintln!("{:5} s  round {round}, sidecars", start.elapsed().as_secs());
            let sidecars = sidecar::measure(survey.pinned, quick, gate, &survey.blackbox)?;
            survey.sidecars.push(sidecars);
            survey.loads.push(load_average());
        }
        survey.seconds = start.elapsed().as_secs();
        Ok(survey)
    }

    fn measure(&mut self, scenario: Scenario, tell: &dyn Fn(Tool)) -> Result<(), String> {
        for (tool, found) in &self.tools {
            let (tool, Ok(found)) = (*tool, found) else { continue };
            if scenario.takes(tool) {
                tell(tool);
                let folder = Folder::new("bench-probe");
                let nginx = self.nginx.as_ref().filter(|_| scenario == Scenario::Full);
                let run = Run { scenario, quick: self.quick, pinned: self.pinned, nginx };
                let measured = run.of(tool, found, folder.path());
                if let Err(error) = &measured {
                    eprintln!("         {}: {error}", tool.name());
                }
                self.runs.entry((scenario, tool)).or_default().push(measured);
            }
        }
        Ok(())
    }

    /// A figure of each round.
    pub fn rounds(
        &self,
        scenario: Scenario,
        tool: Tool,
        figure: impl Fn(&Measured) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let runs = self.runs.get(&(scenario, tool)).map_or(&[][..], Vec::as_slice);
        runs.iter().map(|run| run.as_ref().ok().and_then(&figure)).collect()
    }

    /// Its median and noise.
    pub fn figure(
        &self,
        scenario: Scenario,
        tool: Tool,
        figure: impl Fn(&Measured) -> Option<f64>,
    ) -> Option<Figure> {
        Figure::of(self.rounds(scenario, tool, figure).into_iter().flatten())
    }
}

/// What one run needs to know.
struct Run<'a> {
    scenario: Scenario,
    quick: bool,
    pinned: bool,
    nginx: Option<&'a Found>,
}

impl Run<'_> {
    fn of(&self, tool: Tool, found: &Found, folder: &Path) -> Result<Measured, String> {
        let load = self.scenario.load(self.quick);
        let log = folder.join("requests.log");
        let ask = |address: &str| {
            let arguments = tool.arguments(&load, address, &log);
            process::run(self.pinned, &found.program, &arguments, load.duration, folder)
        };
        let (ended, records) = match self.nginx {
            Some(nginx) => {
                let nginx = Nginx::start(&nginx.program, folder)?;
                (ask(&nginx.address)?, None)
            }
            None => {
                let truth = Truth::start(self.scenario.mode())?;
                (ask(&truth.address)?, Some(truth.end()?))
            }
        };
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let reported = tool.read(&ended.output, &log)?;
        let count = match &records {
            Some(records) => records.count(),
            None => reported.good.unwrap_or_default(),
        };
        if count == 0 {
            return Err("sent nothing".to_owned());
        }
        let arrivals = records.as_ref().map(Records::arrivals).unwrap_or_default();
        let warm_up = if self.quick { QUICK_WARM_UP } else { WARM_UP };
        // nginx keeps no records: there the tool's word counts.
        let rate = achieved(&arrivals).or(reported.rate).ok_or("has no rate")?;
        Ok(Measured {
            cpu: ended.cpu / count as f64 * 1e5,
            memory: ended.memory.map(|kib| kib as f64 / 1024.0),
            rate,
            schedule: load.rate.and_then(|rate| Schedule::of(&arrivals, rate, warm_up)),
            reported,
            truth: records.as_ref().map_or([None; 4], |records| records.residence(QUANTILES)),
            by_kernel: records.as_ref().is_none_or(Records::by_kernel),
        })
    }
}
