//! `gate doctor`: what would keep a deployment from being judged, answered or rolled back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::{Instant, timeout};

use super::{FAILED, OK, Output, USAGE, complain, say, say_json, story};
use crate::aws::Place;
use crate::config::{self, ConfigError, Layer, Settings};
use crate::doctor::{Notes, Patient, Report, Visit, examine};
use crate::library::Library;
use crate::shell::Vault;
use crate::telemetry::Metrics;

/// Calls that wait for each other: how a group is set up, its last deployment, what is asked about that.
const CALLS_IN_A_ROW: u32 = 4;
/// For one connection to a target.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Look at a deployment's set-up and say what would go wrong: why it matters, and the exact way out. Changes
/// nothing.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Doctor {
    #[command(subcommand)]
    patient: PatientArgs,
    /// Settings file of the daemon.
    #[arg(long, value_name = "FILE", env = "GATE_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Profile of the settings file to lay over it.
    #[arg(long, value_name = "NAME", env = "GATE_PROFILE", global = true)]
    profile: Option<String>,
    /// Folder of `*.policy.yaml`.
    #[arg(long, value_name = "FOLDER", global = true)]
    policies: Option<PathBuf>,
    /// Name of the Lambda function that hands questions over.
    #[arg(long, value_name = "FUNCTION", global = true)]
    relay: Option<String>,
    /// URL of the running daemon, to see whether it answers.
    #[arg(long, value_name = "URL", global = true)]
    gate: Option<String>,
    /// For everything; what is not known by then is untested.
    #[arg(long, value_name = "DURATION", default_value = "30s", global = true, value_parser = policies::units::duration)]
    timeout: Duration,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Output,
}

const EXIT_CODES: &str =
    "Exit codes: 0 no error was found, 1 errors were found, 2 usage or configuration.
Run it where the daemon runs, with its role: what is reached and allowed is that of this machine.";

#[derive(Clone, Debug, Subcommand)]
enum PatientArgs {
    /// A CodeDeploy deployment group, of whatever platform.
    #[command(alias = "lambda")]
    Codedeploy {
        /// Name of the application.
        application: String,
        /// Name of the deployment group.
        group: String,
    },
    /// An ECS service that deploys by itself: blue/green, linear, canary.
    Ecs {
        /// Name of the cluster.
        cluster: String,
        /// Name of the service.
        service: String,
    },
    /// A Lambda function behind an alias, before CodeDeploy deploys it for the first time.
    Function {
        /// Name of the function.
        name: String,
        /// Name of the alias that callers use.
        alias: String,
    },
    /// A pipeline with manual approvals or Lambda actions.
    Pipeline {
        /// Its name.
        name: String,
    },
}

impl From<PatientArgs> for Patient {
    fn from(args: PatientArgs) -> Self {
        match args {
            PatientArgs::Codedeploy { application, group } => Self::Group { application, group },
            PatientArgs::Ecs { cluster, service } => Self::Service { cluster, service },
            PatientArgs::Function { name, alias } => Self::Function { name, alias },
            PatientArgs::Pipeline { name } => Self::Pipeline { name },
        }
    }
}

impl Doctor {
    pub(super) async fn run(self) -> u8 {
        let until = Instant::now() + self.timeout;
        let visit = match Box::pin(self.visit(until)).await {
            Ok(visit) => visit,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                return USAGE;
            }
        };
        let report = Box::pin(examine(&visit)).await;
        match self.output {
            Output::Json => say_json(&report),
            Output::Text => say(&report.text()),
        }
        code(&report)
    }

    async fn visit(&self, until: Instant) -> Result<Visit, String> {
        let layer = || Layer { policies: self.policies.clone(), ..Layer::default() };
        let (config, profile) = (self.config.as_deref(), self.profile.as_deref());
        // What the settings refer to, such as a key, may be where the daemon runs and not here.
        let (settings, faults) =
            config::layered(config, profile, layer()).map_err(|error| error.to_string())?;
        if !faults.is_empty() {
            return Err(ConfigError(faults).to_string());
        }
        let metrics = Arc::new(Metrics::new().map_err(|error| story(&error))?);
        let on_demand = settings.aws.reach(Arc::clone(&metrics));
        let clouds = on_demand.clouds().await;
        let vault = Vault::new(on_demand, metrics);
        let settings_faults = match config {
            Some(_) => Box::pin(self.settings_faults(layer(), vault.clone())).await,
            None => Vec::new(),
        };
        let patient = Patient::from(self.patient.clone());
        let place = place(&patient, &settings);
        Ok(Visit {
            aws: clouds.at(&place).await,
            clouds,
            library: Library::new(settings.policies.clone()),
            settings_are_named: config.is_some(),
            policies_are_named: config.is_some() || self.policies.is_some(),
            settings_faults,
            vault,
            patient,
            has_endpoint: has_endpoint(&settings),
            relay: self.relay.clone(),
            gate: self.gate.clone(),
            until,
            call_within: self.timeout / CALLS_IN_A_ROW,
            connect_within: CONNECT_WITHIN.min(self.timeout / CALLS_IN_A_ROW),
            notes: Notes::default(),
            settings,
        })
    }
}

impl Doctor {
    /// What `gate serve` would not start with here.
    async fn settings_faults(&self, layer: Layer, vault: Vault) -> Vec<String> {
        let (config, profile) = (self.config.as_deref(), self.profile.as_deref());
        let loading = config::load(config, profile, layer, |_settings| vault);
        match timeout(self.timeout / CALLS_IN_A_ROW, Box::pin(loading)).await {
            Ok(Ok(_checked)) => Vec::new(),
            Ok(Err(ConfigError(faults))) => faults,
            Err(_elapsed) => vec!["`hooks.keys`: they could not be read in time".to_owned()],
        }
    }
}

/// Whether AWS is looked for elsewhere than at its own endpoints.
fn has_endpoint(settings: &Settings) -> bool {
    let elsewhere = |(name, _): (std::ffi::OsString, _)| {
        name.to_str().is_some_and(|name| name.starts_with("AWS_ENDPOINT_URL"))
    };
    settings.aws.endpoint.is_some() || std::env::vars_os().any(elsewhere)
}

/// Warnings, and what was not tested, are no errors.
fn code(report: &Report) -> u8 {
    if report.summary.errors == 0 { OK } else { FAILED }
}

/// Where the patient is: where `intake.poll` looks for it, else where gate is.
fn place(patient: &Patient, settings: &Settings) -> Place {
    let polled = settings.intake.poll.iter().find(|polled| match patient {
        Patient::Group { application, group } => {
            polled.application.as_ref() == Some(application) && polled.group.as_ref() == Some(group)
        }
        Patient::Service { cluster, service } => {
            polled.cluster.as_ref() == Some(cluster) && polled.service.as_ref() == Some(service)
        }
        Patient::Function { .. } | Patient::Pipeline { .. } => false,
    });
    polled.map_or_else(Place::default, |polled| Place {
        region: polled.region.clone(),
        account: polled.account.clone(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;
    use crate::config::Polled;
    use crate::doctor::Summary;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        doctor: Doctor,
    }

    fn patient(line: &str) -> Result<Patient, ErrorKind> {
        let parsed = Line::try_parse_from(line.split(' '));
        parsed.map(|line| line.doctor.patient.into()).map_err(|error| error.kind())
    }

    #[test]
    fn a_line_names_one_patient_and_options_stand_on_either_side() {
        let group = Patient::Group { application: "web".into(), group: "prod".into() };
        assert_eq!(patient("doctor codedeploy web prod --output json"), Ok(group.clone()));
        assert_eq!(patient("doctor --timeout 5s lambda web prod"), Ok(group));
        let service = Patient::Service { cluster: "prod".into(), service: "web".into() };
        assert_eq!(patient("doctor ecs prod web --relay x"), Ok(service));
        let function = Patient::Function { name: "sum".into(), alias: "live".into() };
        assert_eq!(patient("doctor function sum live"), Ok(function));
        assert_eq!(patient("doctor pipeline web"), Ok(Patient::Pipeline { name: "web".into() }));
        assert_eq!(patient("doctor ecs prod"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(patient("doctor"), Err(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand));
    }

    #[test]
    fn only_errors_fail() {
        let report = |errors, warnings, untested| Report {
            subject: String::new(),
            findings: Vec::new(),
            summary: Summary { ok: 1, warnings, errors, untested },
        };
        assert_eq!(code(&report(0, 2, 3)), OK);
        assert_eq!(code(&report(1, 0, 0)), FAILED);
    }

    #[test]
    fn a_patient_is_where_the_daemon_looks_for_it() {
        let mut settings = Settings::default();
        settings.intake.poll = vec![Polled {
            cluster: Some("prod".into()),
            service: Some("web".into()),
            region: Some("eu-central-1".into()),
            ..Polled::default()
        }];
        let service =
            |service: &str| Patient::Service { cluster: "prod".into(), service: service.into() };
        assert_eq!(place(&service("web"), &settings).region.as_deref(), Some("eu-central-1"));
        assert_eq!(place(&service("api"), &settings), Place::default());
    }
}
