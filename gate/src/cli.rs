//! The command line: one file for each command.

mod check;
mod doctor;
mod explain;
mod health;
mod import;
mod journal;
mod overrides;
mod plan;
mod probe;
mod relay;
mod replay;
mod schema;
mod serve;
mod stat;
mod verify;
mod wait;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use policies::document::render;
use policies::{Policy, PolicyFile};

use crate::library::read_text;

/// A health gate for deployments on AWS: finds the green side, probes it, judges, and answers.
#[derive(Debug, Parser)]
#[command(name = "gate", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 continue, or done; 1 rollback proven, or unhealthy; 2 usage or configuration; 3 not proven.
Logs go to standard error; GATE_LOG=debug shows more.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: take hooks, judge, answer.
    Serve(serve::Serve),
    /// Judge a URL from a shell: exit 0 to continue, 1 to roll back, 3 if not proven.
    Verify(verify::Verify),
    /// Follow a deployment to its end: exit 0 if it succeeded, 1 if it failed or was rolled back.
    Wait(wait::Wait),
    /// Look at a deployment's set-up and say what would go wrong, and the way out.
    Doctor(doctor::Doctor),
    /// Check policy files and show every fault in them.
    Check(check::Check),
    /// Probe a URL, or as a policy does, and print percentiles by phase and outcome.
    Probe(probe::Probe),
    /// Simulate a policy: how soon a healthy release passes and faults are caught.
    Plan(plan::Plan),
    /// Hold a waiting question, release it, let it go on, or roll it back, as a person.
    Override(Box<overrides::Override>),
    /// Say why a release was let through or taken back, in ten lines.
    Explain(explain::Explain),
    /// Replay records: the same decision, or what another policy would have done.
    Replay(replay::Replay),
    /// Write a policy from tests you have: a Postman collection, a Pact file, an OpenAPI document.
    Import(import::Import),
    /// Print the JSON Schema of a policy, for editors.
    Schema(schema::Schema),
    /// Look after a journal: check it, export what is in it, let go of what is old.
    Journal(journal::Journal),
    /// Run as the Lambda function that hooks and actions invoke, and forward them to the daemon.
    Relay(relay::Relay),
    /// Ask a running daemon whether it is alive; for container health checks.
    Health(health::Health),
    /// Run the decision engines over JSON lines from standard input; for other programs.
    Stat(stat::Stat),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Done, or continue.
const OK: u8 = 0;
/// Unhealthy, or rollback proven.
const FAILED: u8 = 1;
/// Usage or configuration.
const USAGE: u8 = 2;
/// Nothing was proven.
const NOT_PROVEN: u8 = 3;

/// Parses the command line and runs its command.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(shown) => {
            // Help and version are no errors; everything else is usage.
            let code = if shown.use_stderr() { USAGE } else { OK };
            drop(shown.print());
            return ExitCode::from(code);
        }
    };
    let code = match cli.command {
        Command::Serve(serve) => with_runtime(serve.run()),
        Command::Verify(verify) => with_runtime(verify.run()),
        Command::Wait(wait) => with_runtime(wait.run()),
        Command::Doctor(doctor) => with_runtime(doctor.run()),
        Command::Check(check) => with_runtime(check.run()),
        Command::Relay(relay) => with_runtime(relay.run()),
        Command::Health(health) => with_runtime(health.run()),
        Command::Probe(probe) => with_runtime(probe.run()),
        Command::Plan(plan) => with_runtime(plan.run()),
        Command::Override(overrides) => with_runtime(overrides.run()),
        Command::Explain(explain) => explain.run(),
        Command::Replay(replay) => with_runtime(replay.run()),
        Command::Import(import) => import.run(),
        Command::Journal(journal) => journal.run(),
        Command::Schema(schema) => schema.run(),
        Command::Stat(stat) => stat.run(),
    };
    ExitCode::from(code)
}

/// Two workers: hooks, runs and AWS calls wait far more than they work, and probes have their own thread.
fn with_runtime(command: impl Future<Output = u8>) -> u8 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            // Exporters and the like must not hold up the exit.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            code
        }
        Err(error) => {
            complain(&format!("the runtime cannot be started: {error}"));
            USAGE
        }
    }
}

/// Writes a line to standard output. A closed pipe is the reader's choice, not an error.
fn say(line: &str) {
    drop(writeln!(io::stdout().lock(), "{line}"));
}

/// Writes a value to standard output, for programs.
fn say_json(value: &impl serde::Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(json) => say(&json),
        Err(error) => complain(&format!("error: {error}")),
    }
}

/// Reads a policy that a command cannot do without: its file, warnings included, and itself.
///
/// # Errors
/// It cannot be read, or every fault of it.
async fn good_policy(path: &Path) -> Result<(PolicyFile, Policy), String> {
    let name = path.display().to_string();
    let text = read_text(path).await.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let mut file = PolicyFile::parse(&name, &text);
    match file.policy.take() {
        Some(policy) => Ok((file, policy)),
        None => Err(format!("{name} is not a good policy\n\n{}", rendered(&file))),
    }
}

/// Refuses a policy that invokes functions, where all there is are URLs.
///
/// # Errors
/// It does.
fn only_addresses(path: &Path, policy: &Policy) -> Result<(), String> {
    if policy.probe.script.invokes() {
        return Err(format!(
            "{} invokes Lambda functions (`lambda`), and a URL is none: such a policy judges deployments of functions that ask `gate serve`; `gate check` and `gate plan` try it out here",
            path.display()
        ));
    }
    Ok(())
}

/// The faults of a file for standard error.
fn rendered(file: &PolicyFile) -> String {
    render(&file.faults, &file.text, io::stderr().is_terminal()).trim_end().to_owned()
}

/// Writes a line to standard error.
fn complain(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}

/// An error with its chain of causes in one line: each `Display` names the attempt, never its cause.
pub(crate) fn story(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
