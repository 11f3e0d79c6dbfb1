//! `make bench-probe`: gate's prober beside those that packages provide, against a server that knows the truth.

mod expected;
mod figures;
mod freeze;
mod grid;
mod http;
mod machine;
mod markdown;
mod measure;
mod nginx;
mod outputs;
mod page;
mod plot;
mod process;
mod reference;
mod scenario;
mod sidecar;
mod stamps;
mod tool;
mod truth;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tests::place;

use measure::Survey;
use tool::Tool;
use truth::Mode;

/// Runs gate's prober and its peers in turn, and writes a page and a plot.
#[derive(Debug, Parser)]
#[command(name = "bench-probe")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// How often everything is repeated, the tools in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Half seconds instead of ten, one round, gate and the reference alone, for a test.
    #[arg(long)]
    quick: bool,
    /// Only these, by the name of the program: `gate,oha,wrk`.
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// The gate to measure. Without it: the one of the release profile.
    #[arg(long)]
    gate: Option<PathBuf>,
    /// Folder for `probe.md` and `probe.svg`, or `-` for the page alone on standard output.
    /// Without it: `docs/benchmarks` of the checkout.
    #[arg(long)]
    output: Option<String>,
}

/// What runs as processes of their own, so that their CPU is theirs.
#[derive(Debug, Subcommand)]
enum Part {
    /// The server that stamps arrivals: its address is printed, its records when standard input ends.
    Truth {
        #[arg(value_enum)]
        mode: Mode,
    },
    /// The least a prober can be: one thread that sleeps until a request is due.
    Reference {
        address: SocketAddr,
        #[arg(long)]
        rate: u32,
        #[arg(long)]
        milliseconds: u64,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match &arguments.part {
        Some(Part::Truth { mode }) => truth::serve(*mode).map_err(|error| error.to_string()),
        Some(Part::Reference { address, rate, milliseconds }) => {
            reference::run(*address, *rate, Duration::from_millis(*milliseconds))
                .map_err(|error| format!("cannot reach {address}: {error}"))
        }
        None => bench(&arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> Result<(), String> {
    let asked = |tool: Tool| match arguments.tools.as_slice() {
        [] => !arguments.quick || matches!(tool, Tool::Gate | Tool::Reference),
        names => names.iter().any(|name| name == tool.program()),
    };
    let gate = arguments.gate.clone().unwrap_or_else(released);
    let rounds = if arguments.quick { 1 } else { arguments.rounds };
    let survey = Survey::run(&gate, rounds, arguments.quick, &asked)?;
    let page = page::page(&survey);
    let written = match arguments.output.as_deref() {
        Some("-") => std::io::stdout().write_all(page.as_bytes()),
        folder => {
            print!("{}", page::summary(&survey));
            let docs = || place::root().join("docs").join("benchmarks");
            let folder = folder.map_or_else(docs, PathBuf::from);
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(folder.join("probe.md"), page))
                .and_then(|()| std::fs::write(folder.join("probe.svg"), plot::plot(&survey)))
        }
    };
    written.map_err(|error| format!("cannot write the page: {error}"))
}

/// What `cargo build --release` leaves beside the profile this is built with.
fn released() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    let target = here.ancestors().nth(2).unwrap_or(&here);
    target.join("release").join("gate")
}
