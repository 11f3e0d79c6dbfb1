//! `gate`: may this release take traffic?

mod address;
mod app;
mod ask;
mod aws;
mod cli;
mod client;
mod config;
mod doctor;
mod import;
mod intake;
mod journal;
mod library;
mod record;
mod resolve;
mod server;
mod shell;
mod sidecar;
mod signature;
mod telemetry;
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
