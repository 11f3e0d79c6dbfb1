//! `gate`: may this release take traffic?

mod app;
mod aws;
mod cli;
mod client;
mod clock;
mod config;
mod crash;
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
#[cfg(test)]
mod simulation;
mod telemetry;
mod tls;
mod web;

use std::process::ExitCode;

use questions::{ask, signature};

fn main() -> ExitCode {
    cli::main()
}
