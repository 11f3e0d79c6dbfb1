//! `make bench-judge`: gate's decision beside those of other systems, simulated on the same data.

mod beside;
mod data;
mod figures;
mod kayenta;
mod latency;
mod markdown;
mod ours;
mod peers;
mod plot;
mod policy;
mod profiles;
mod random;
mod simulate;
mod survey;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::place;

use simulate::Effort;
use survey::Survey;

/// Runs of ten minutes, and runs in which the other rules look, for each of gate's runs of an hour.
const FEWER: u32 = 10;

/// Simulates gate's rule beside those of other systems, and writes a page and a plot.
#[derive(Debug, Parser)]
#[command(name = "bench-judge")]
struct Arguments {
    /// Runs of an hour for each healthy profile; everything else gets a tenth.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..))]
    runs: u32,
    /// Names the random numbers: the same seed gives the same page.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A sample of the profiles in 300 runs, for a test.
    #[arg(long, conflicts_with = "runs")]
    quick: bool,
    /// Folder for `judge.md` and `judge.svg`, or `-` for the page alone on standard output.
    /// Without it: `docs/benchmarks` of the checkout.
    #[arg(long)]
    output: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let effort = if arguments.quick {
        Effort { seed: arguments.seed, hour_runs: 300, runs: 100 }
    } else {
        let runs = (arguments.runs / FEWER).max(1);
        Effort { seed: arguments.seed, hour_runs: arguments.runs, runs }
    };
    let start = Instant::now();
    let survey = Survey::run(effort, arguments.quick, |profile| {
        eprintln!("{:5} s  {profile}", start.elapsed().as_secs());
    });
    let page = table::page(&survey, effort);
    let folder = match arguments.output.as_deref() {
        Some("-") => {
            print!("{page}");
            return ExitCode::SUCCESS;
        }
        Some(folder) => PathBuf::from(folder),
        None => place::root().join("docs").join("benchmarks"),
    };
    let plot = plot::plot(&survey);
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join("judge.md"), page))
        .and_then(|()| std::fs::write(folder.join("judge.svg"), plot));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write to {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
