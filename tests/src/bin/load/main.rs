//! `make load`: what 500 questions at once and 100 runs at once cost, and what is said beyond the limit; and `make soak`:
//! whether gate still holds what it held an hour ago.

mod beyond;
mod burst;
mod figures;
mod page;
mod place;
mod post;
mod soak;
mod steady;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use page::Page;
use place::Place;

/// Puts a load on gate and measures.
#[derive(Debug, Parser)]
struct Load {
    /// The build to measure; else that beside this program.
    #[arg(long, global = true)]
    gate: Option<PathBuf>,
    /// Said in the page of the build.
    #[arg(long, global = true, default_value = "debug")]
    build: String,
    /// Percent of AWS's quotas that gate may take. There is no AWS here, so that what is measured is gate and not how far
    /// the quotas of an account go: 50 shows that.
    #[arg(long, global = true, default_value_t = 10_000)]
    quota_share: u32,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A burst, many runs at once, and more than the limit.
    Bench {
        /// Where the figures are written, else only shown.
        #[arg(long)]
        page: Option<PathBuf>,
    },
    /// The same load for a long time.
    Soak {
        /// For how long.
        #[arg(long, env = "MINUTES", default_value_t = 60)]
        minutes: u64,
        /// Questions under way at once: fewer for a build that is not optimised.
        #[arg(long, env = "RUNS", default_value_t = 30)]
        runs: usize,
        /// Where what was held is written.
        #[arg(long)]
        page: Option<PathBuf>,
    },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let load = Load::parse();
    let place = || Place::new(load.gate.clone(), load.quota_share);
    let good = match &load.what {
        What::Bench { page } => {
            let began = Instant::now();
            let burst = burst::run(&mut place().await).await;
            eprintln!("{burst:#?}");
            let steady = steady::run(&mut place().await).await;
            eprintln!("{steady:#?}");
            let beyond = beyond::run(&mut place().await).await;
            eprintln!("{beyond:#?}");
            let written = Page {
                burst,
                steady,
                beyond,
                build: load.build,
                quota_share: load.quota_share,
                took: began.elapsed(),
            };
            print!("{written}");
            if let Some(path) = page {
                std::fs::write(path, written.to_string()).expect("the page can be written");
            }
            written.is_good()
        }
        What::Soak { minutes, runs, page } => {
            soak::run(&mut place().await, *minutes, *runs, page.as_deref()).await
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
