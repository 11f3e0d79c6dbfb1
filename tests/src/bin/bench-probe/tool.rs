//! The tools: where they are, how each is asked for a load, and how its answer is read.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::tests::place;

use crate::outputs::{self, Reported};
use crate::scenario::Load;

/// A prober or load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Gate,
    Oha,
    /// Without `--latency-correction`: its default.
    OhaUncorrected,
    Wrk,
    H2load,
    Hey,
    Autocannon,
    /// A loop that sleeps: what the machine's timer and loopback allow.
    Reference,
}

/// A tool that was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub program: PathBuf,
    pub version: String,
}

impl Tool {
    pub const ALL: [Self; 8] = [
        Self::Gate,
        Self::Oha,
        Self::OhaUncorrected,
        Self::Wrk,
        Self::H2load,
        Self::Hey,
        Self::Autocannon,
        Self::Reference,
    ];

    /// Its executable.
    pub fn program(self) -> &'static str {
        match self {
            Self::Gate => "gate",
            Self::Oha | Self::OhaUncorrected => "oha",
            Self::Wrk => "wrk",
            Self::H2load => "h2load",
            Self::Hey => "hey",
            Self::Autocannon => "autocannon",
            Self::Reference => "reference",
        }
    }

    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gate => "**gate probe**",
            Self::Oha => "oha",
            Self::OhaUncorrected => "oha, uncorrected",
            Self::Reference => "a loop that sleeps",
            Self::Wrk | Self::H2load | Self::Hey | Self::Autocannon => self.program(),
        }
    }

    /// Whether it is something others use, and no part of this repository.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Gate | Self::Reference)
    }

    /// Where it is and which it is, or why it is not there.
    pub fn find(self, gate: &Path) -> Result<Found, String> {
        let program = match self {
            Self::Gate => gate.is_file().then(|| gate.to_owned()),
            Self::Reference => std::env::current_exe().ok(),
            _ => find(self.program()),
        };
        let program =
            program.ok_or(if self == Self::Gate { "not built" } else { "not installed" })?;
        let version = match self {
            Self::Gate => {
                let help = Command::new(&program).args(["probe", "--help"]).output();
                if !help.is_ok_and(|help| help.status.success()) {
                    return Err("this gate has no `gate probe`".to_owned());
                }
                version(&program, "--version")
            }
            Self::Wrk => version(&program, "-v"),
            Self::Hey => packaged("hey"),
            Self::Reference => Some(env!("CARGO_PKG_VERSION").to_owned()),
            _ => version(&program, "--version"),
        };
        Ok(Found { program, version: version.unwrap_or_else(|| "unknown".to_owned()) })
    }

    /// The arguments for a load; `log` is a file that it may write.
    pub fn arguments(self, load: &Load, address: &str, log: &Path) -> Vec<OsString> {
        let url = format!("http://{address}/");
        let connections = load.connections.to_string();
        let milliseconds = load.duration.as_millis();
        let duration = match milliseconds % 1000 {
            0 => format!("{}s", milliseconds / 1000),
            _ => format!("{milliseconds}ms"),
        };
        // Where the rate is that of one connection.
        let share = load.rate.map(|rate| f64::from(rate) / f64::from(load.connections));
        let share = share.map(|share| share.to_string());
        let rate = load.rate.map(|rate| rate.to_string());
        let mut arguments: Vec<&str> = Vec::new();
        let whole_seconds = load.duration.as_secs().max(1).to_string();
        let milliseconds = milliseconds.to_string();
        match self {
            Self::Gate => {
                arguments.extend(["probe", &url, "--duration", &duration, "--reuse"]);
                arguments.extend(["--connections", &connections, "--output", "json"]);
                arguments.extend(["--rate", rate.as_deref().unwrap_or("max")]);
            }
            Self::Oha | Self::OhaUncorrected => {
                arguments.extend(["-z", &duration, "-c", &connections]);
                arguments.extend(["--no-tui", "--output-format", "json"]);
                if let Some(rate) = &rate {
                    arguments.extend(["-q", rate]);
                    arguments.extend((self == Self::Oha).then_some("--latency-correction"));
                }
                arguments.push(&url);
            }
            Self::Wrk => {
                arguments.extend(["-t", "1", "-c", &connections, "--latency"]);
                arguments.extend(["-d", &whole_seconds, &url]);
            }
            Self::H2load => {
                arguments.extend(["--h1", "-t", "1", "-c", &connections, "-D", &duration]);
                if let (Some(share), Some(log)) = (&share, log.to_str()) {
                    arguments.extend(["--rps", share, "--log-file", log]);
                }
                arguments.push(&url);
            }
            Self::Hey => {
                arguments.extend(["-c", &connections, "-z", &duration]);
                if let Some(share) = &share {
                    arguments.extend(["-q", share]);
                }
                arguments.push(&url);
            }
            Self::Autocannon => {
                arguments.extend(["-j", "-c", &connections, "-d", &whole_seconds]);
                if let Some(rate) = &rate {
                    arguments.extend(["-R", rate]);
                }
                arguments.push(&url);
            }
            Self::Reference => {
                arguments.extend(["reference", address, "--milliseconds", &milliseconds]);
                arguments.extend(["--rate", rate.as_deref().unwrap_or("1")]);
            }
        }
        arguments.into_iter().map(OsString::from).collect()
    }

    /// What it says of a run.
    pub fn read(self, output: &str, log: &str) -> Result<Reported, String> {
        match self {
            Self::Gate | Self::Reference => outputs::gate(output),
            Self::Oha | Self::OhaUncorrected => outputs::oha(output),
            Self::Wrk => outputs::wrk(output),
            Self::H2load => outputs::h2load(output, log),
            Self::Hey => outputs::hey(output),
            Self::Autocannon => outputs::autocannon(output),
        }
    }
}

/// A program that `make bench-probe-peers` built, or one of the system.
pub fn find(program: &str) -> Option<PathBuf> {
    let peers = place::root().join("target").join("peers");
    let built = [peers.join("bin"), peers.join("node_modules").join(".bin")];
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are not in every user's path.
    let system = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let places = built.into_iter().chain(system).map(|folder| folder.join(program));
    places.into_iter().find(|place| place.is_file())
}

/// The first word with a digit that a program says of itself.
pub fn version(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    first_number(&String::from_utf8_lossy(&said))
}

/// The version of a Debian package: hey does not say its own.
fn packaged(package: &str) -> Option<String> {
    let output =
        Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]).output().ok()?;
    first_number(&String::from_utf8_lossy(&output.stdout))
}

fn first_number(text: &str) -> Option<String> {
    let words = text.split([' ', '/', '\n', ',']);
    let mut words = words.map(|word| word.trim_start_matches('v'));
    let word = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_version_is_the_first_number() {
        for (said, version) in [
            ("oha 1.16.0\n", "1.16.0"),
            ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012", "4.1.0-3+b2"),
            ("h2load nghttp2/1.52.0", "1.52.0"),
            ("autocannon v9.0.0\nnode v20.20.2", "9.0.0"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("blackbox_exporter, version 0.23.0 (branch: …", "0.23.0"),
        ] {
            assert_eq!(first_number(said).as_deref(), Some(version), "{said}");
        }
    }

    #[test]
    fn each_tool_is_asked_for_the_same_load_in_its_own_words() {
        let load = Scenario::Freeze.load(false);
        for (tool, line) in [
            (
                Tool::Gate,
                "probe http://a:1/ --duration 20s --reuse --connections 10 --output json --rate 1000",
            ),
            (
                Tool::Oha,
                "-z 20s -c 10 --no-tui --output-format json -q 1000 --latency-correction http://a:1/",
            ),
            (Tool::H2load, "--h1 -t 1 -c 10 -D 20s --rps 100 --log-file log http://a:1/"),
            (Tool::Hey, "-c 10 -z 20s -q 100 http://a:1/"),
            (Tool::Autocannon, "-j -c 10 -d 20 -R 1000 http://a:1/"),
            (Tool::Reference, "reference a:1 --milliseconds 20000 --rate 1000"),
        ] {
            let arguments = tool.arguments(&load, "a:1", Path::new("log"));
            assert_eq!(arguments.join(&OsString::from(" ")), line);
        }
        let full = Tool::Gate.arguments(&Scenario::Full.load(false), "a:1", Path::new("log"));
        assert_eq!(full.last(), Some(&OsString::from("max")));
    }
}
