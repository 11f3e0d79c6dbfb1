//! `gate`: may this release take traffic?

mod app;
mod ask;
mod aws;
mod cli;
mod client;
mod config;
mod doctor;
mod import;
mod intake;
mod invoke;
mod jitter;
mod journal;
mod library;
mod own_task;
mod record;
mod resolve;
mod server;
mod shell;
mod sidecar;
mod signals;
mod signature;
mod telemetry;
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
