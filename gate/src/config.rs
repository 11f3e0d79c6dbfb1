//! Settings of the daemon: defaults < `gate.yaml` < its profile < `GATE_*` < flags.
//!
//! The file is parsed typed first, so that a mistake has its line and column; figment only layers the
//! results. It is named here alone.

mod intake;
mod journal;
mod overrides;
mod targets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use figment::Figment;
use figment::providers::{Env, Serialized};
use policies::Answer;
use serde::{Deserialize, Serialize};

use crate::aws::OnDemand;
use crate::aws::budget::SHARE_PERCENT;
use crate::intake::{Keys, Tokens};
use crate::shell::Vault;
use crate::telemetry::Metrics;
use crate::tls::{Tls, TlsSettings};
pub(crate) use intake::{IntakeSettings, Polled};
pub(crate) use journal::{JournalLayer, JournalSettings, age, size};
pub(crate) use overrides::{OverrideSettings, TokenReference};
pub(crate) use questions::key::Key;
pub(crate) use targets::{StaticTarget, TargetSetting};

/// Where hooks arrive where nothing else is said.
const HOOKS_LISTEN: &str = "127.0.0.1:8080";
/// The largest share of AWS's published quotas: an account's can be raised to many times as much.
const QUOTA_SHARE_MAX: u32 = 10_000;
/// The largest settings file read.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// Environment variables and the settings they set. `GATE_HOOKS_KEYS` and
/// `GATE_OVERRIDES_TOKENS` are lists and read apart.
const VARIABLES: [(&str, &str); 12] = [
    ("GATE_POLICIES", "policies"),
    ("GATE_HOOKS_LISTEN", "hooks.listen"),
    ("GATE_ADMIN_LISTEN", "admin.listen"),
    ("GATE_JOURNAL_PATH", "journal.path"),
    ("GATE_JOURNAL_KEEP", "journal.keep"),
    ("GATE_JOURNAL_MAX_SIZE", "journal.max-size"),
    ("GATE_JOURNAL_TABLE", "journal.dynamodb.table"),
    ("GATE_MODE", "mode"),
    ("GATE_UNMATCHED", "unmatched"),
    ("GATE_AWS_ENDPOINT", "aws.endpoint"),
    ("GATE_AWS_QUOTA_SHARE", "aws.quota-share"),
    ("GATE_INTAKE_QUEUE", "intake.queue"),
];

/// The daemon's settings, complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Folder of `*.policy.yaml`.
    pub(crate) policies: PathBuf,
    pub(crate) hooks: Hooks,
    pub(crate) admin: Admin,
    pub(crate) journal: JournalSettings,
    pub(crate) aws: AwsSettings,
    /// Where questions are fetched from, beside what arrives by HTTP.
    #[serde(default)]
    pub(crate) intake: IntakeSettings,
    /// Who may override a question.
    #[serde(default)]
    pub(crate) overrides: OverrideSettings,
    pub(crate) mode: Mode,
    /// What to answer where no policy applies.
    pub(crate) unmatched: Answer,
    /// What a sidecar judges.
    #[serde(default)]
    pub(crate) targets: Vec<TargetSetting>,
}

/// Where hooks arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hooks {
    /// Unsaid, they arrive on loopback; beside static targets, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
    /// Keys that sign hook requests; any of them will do, so that they can be rotated.
    #[serde(default)]
    pub(crate) keys: Vec<KeyReference>,
    /// Unsaid, hooks arrive in plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsSettings>,
}

/// A key, by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyReference {
    /// `env:NAME`, `file:PATH`, `ssm:NAME` or `secretsmanager:ID`.
    pub(crate) secret: String,
}

/// Where operators and Prometheus look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: String,
}

/// How AWS is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AwsSettings {
    /// Instead of AWS's own endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// ARNs of roles of other accounts, one for each account that asks.
    #[serde(default, rename = "assume-role", skip_serializing_if = "Vec::is_empty")]
    pub(crate) assume_role: Vec<String>,
    /// Of the account's quotas gate takes so many percent; above 100 where AWS has raised them.
    #[serde(default, rename = "quota-share", skip_serializing_if = "Option::is_none")]
    pub(crate) quota_share: Option<u32>,
}

impl AwsSettings {
    /// AWS as these settings reach it.
    pub(crate) fn reach(&self, metrics: Arc<Metrics>) -> OnDemand {
        let (endpoint, roles) = (self.endpoint.clone(), self.assume_role.clone());
        OnDemand::new(endpoint, roles, metrics).sharing(self.quota_share.unwrap_or(SHARE_PERCENT))
    }
}

/// Whether answers follow the judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// They do.
    Decide,
    /// Judge and record, but always let the deployment continue.
    Observe,
}

impl Default for Settings {
    /// For one machine: loopback only, everything beside the process.
    fn default() -> Self {
        Self {
            policies: "policies".into(),
            hooks: Hooks { listen: None, keys: Vec::new(), tls: None },
            admin: Admin { listen: "127.0.0.1:9090".to_owned() },
            journal: JournalSettings::default(),
            aws: AwsSettings::default(),
            intake: IntakeSettings::default(),
            overrides: OverrideSettings::default(),
            mode: Mode::Decide,
            unmatched: Answer::Rollback,
            targets: Vec::new(),
        }
    }
}

/// A layer of settings: what it does not name, it leaves alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Layer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policies: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<HooksLayer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin: Option<AdminLayer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) journal: Option<JournalLayer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aws: Option<AwsSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) intake: Option<IntakeSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) overrides: Option<OverrideSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unmatched: Option<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) targets: Option<Vec<TargetSetting>>,
}

/// Part of a [`Layer`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HooksLayer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<KeyReference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsSettings>,
}

/// Part of a [`Layer`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminLayer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) listen: Option<String>,
}

/// `gate.yaml`: a layer, and layers by environment on top of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policies: Option<PathBuf>,
    hooks: Option<HooksLayer>,
    admin: Option<AdminLayer>,
    journal: Option<JournalLayer>,
    aws: Option<AwsSettings>,
    intake: Option<IntakeSettings>,
    overrides: Option<OverrideSettings>,
    mode: Option<Mode>,
    unmatched: Option<Answer>,
    targets: Option<Vec<TargetSetting>>,
    #[serde(default)]
    profiles: std::collections::BTreeMap<String, Layer>,
}

/// Everything wrong with the settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("the settings are unusable:\n{}", .0.iter().map(|fault| format!("  - {fault}")).collect::<Vec<_>>().join("\n"))]
pub(crate) struct ConfigError(pub(crate) Vec<String>);

/// Settings with what they refer to looked up.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) settings: Settings,
    /// `None` where nobody may ask: a sidecar that names no `hooks`.
    pub(crate) hooks_listen: Option<SocketAddr>,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) keys: Keys,
    pub(crate) tokens: Tokens,
    /// Of the hooks' listener, where it speaks TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) targets: Vec<StaticTarget>,
    /// What secrets are read by from here on.
    pub(crate) vault: Vault,
}

/// Layers the settings and checks them; every fault is reported at once. `vault` reads the secrets that
/// settings as these refer to.
pub(crate) async fn load(
    file: Option<&Path>,
    profile: Option<&str>,
    flags: Layer,
    vault: impl FnOnce(&Settings) -> Vault,
) -> Result<Checked, ConfigError> {
    let (settings, faults) = layered(file, profile, flags)?;
    let vault = vault(&settings);
    check(settings, vault, faults).await
}

/// The settings as they are layered, and what is wrong so far. Nothing they refer to is looked at.
pub(crate) fn layered(
    file: Option<&Path>,
    profile: Option<&str>,
    flags: Layer,
) -> Result<(Settings, Vec<String>), ConfigError> {
    let file = match file {
        Some(path) => read(path).map_err(|fault| ConfigError(vec![fault]))?,
        None => File::default(),
    };
    let mut faults = Vec::new();
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    let File {
        policies,
        hooks,
        admin,
        journal,
        aws,
        intake,
        overrides,
        mode,
        unmatched,
        targets,
        mut profiles,
    } = file;
    figment = figment.merge(Serialized::defaults(Layer {
        policies,
        hooks,
        admin,
        journal,
        aws,
        intake,
        overrides,
        mode,
        unmatched,
        targets,
    }));
    if let Some(name) = profile {
        match profiles.remove(name) {
            Some(layer) => figment = figment.merge(Serialized::defaults(layer)),
            None => faults.push(format!("profile `{name}` is not in the file's `profiles`")),
        }
    }
    figment = figment.merge(environment());
    if let Ok(keys) = std::env::var("GATE_HOOKS_KEYS") {
        let keys =
            keys.split(',').map(|key| KeyReference { secret: key.trim().to_owned() }).collect();
        let hooks = HooksLayer { keys: Some(keys), ..HooksLayer::default() };
        figment =
            figment.merge(Serialized::defaults(Layer { hooks: Some(hooks), ..Layer::default() }));
    }
    if let Ok(tokens) = std::env::var("GATE_OVERRIDES_TOKENS") {
        let tokens = tokens
            .split(',')
            .map(|token| TokenReference { secret: token.trim().to_owned(), name: None });
        let overrides = Some(OverrideSettings { tokens: tokens.collect() });
        figment = figment.merge(Serialized::defaults(Layer { overrides, ..Layer::default() }));
    }
    figment = figment.merge(Serialized::defaults(flags));
    match figment.extract::<Settings>() {
        Ok(settings) => Ok((settings, faults)),
        Err(errors) => {
            faults.extend(errors.into_iter().map(|error| error.to_string()));
            Err(ConfigError(faults))
        }
    }
}

fn environment() -> Env {
    Env::raw().filter_map(|name| {
        let setting = VARIABLES.iter().find(|(variable, _)| name == *variable);
        setting.map(|(_, setting)| (*setting).into())
    })
}

fn read(path: &Path) -> Result<File, String> {
    use std::io::Read;
    let name = path.display();
    let mut text = String::new();
    let read = |text: &mut String| {
        std::fs::File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_string(text)
    };
    read(&mut text).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("{name} is larger than {FILE_MAX_BYTES} bytes"));
    }
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
        format!("{name}{}: {error}", place.unwrap_or_default())
    })
}

async fn check(
    settings: Settings,
    vault: Vault,
    mut faults: Vec<String>,
) -> Result<Checked, ConfigError> {
    let mut address = |setting: &str, text: &str| {
        text.parse::<SocketAddr>()
            .inspect_err(|_invalid| {
                faults.push(format!(
                    "`{setting}: {text}` is no address; write it like `127.0.0.1:8080`"
                ));
            })
            .ok()
    };
    // A container has its ports in common with those it is beside: a sidecar takes none unasked.
    let fetches = settings.intake != IntakeSettings::default();
    let asked = settings.targets.is_empty() || settings.hooks.listen.is_some() || fetches;
    let hooks = settings.hooks.listen.as_deref().unwrap_or(HOOKS_LISTEN);
    let hooks_listen = asked.then(|| address("hooks.listen", hooks)).flatten();
    let admin_listen = address("admin.listen", &settings.admin.listen);
    let references = settings.hooks.keys.iter().map(|key| key.secret.clone()).collect();
    let keys = Keys::read("hooks.keys", vault.clone(), references, &mut faults).await;
    overrides::check(&settings.overrides, &mut faults);
    let tokens = Tokens::read(&vault, &settings.overrides.tokens, &mut faults).await;
    let tls = settings.hooks.tls.as_ref().and_then(|tls| {
        Tls::open(tls).map_err(|reason| faults.push(format!("`hooks.tls`: {reason}"))).ok()
    });
    if hooks_listen.is_some_and(|listen| !listen.ip().is_loopback())
        && settings.hooks.keys.is_empty()
    {
        faults.push(format!(
            "`hooks.listen: {hooks}` is not loopback and `hooks.keys` is empty: anybody who reaches it could ask; add a key or listen on 127.0.0.1"
        ));
    }
    if !settings.policies.is_dir() {
        faults.push(format!("`policies: {}` is no folder", settings.policies.display()));
    }
    if let Some(endpoint) = &settings.aws.endpoint
        && endpoint
            .parse::<axum::http::Uri>()
            .ok()
            .and_then(|uri| uri.host().map(str::len))
            .is_none()
    {
        faults.push(format!(
            "`aws.endpoint: {endpoint}` is no URL; write it like `http://127.0.0.1:4566`"
        ));
    }
    settings.journal.check(&mut faults);
    if let Some(share) = settings.aws.quota_share
        && !(1..=QUOTA_SHARE_MAX).contains(&share)
    {
        faults.push(format!(
            "`aws.quota-share: {share}` is not between 1 and {QUOTA_SHARE_MAX}; write percent of the account's quotas, such as 50"
        ));
    }
    intake::check(&settings.intake, &settings.aws.assume_role, &mut faults);
    let targets = targets::check(&settings.targets, &settings.policies, &vault, &mut faults).await;
    match admin_listen {
        Some(admin_listen) if faults.is_empty() => {
            Ok(Checked { settings, hooks_listen, admin_listen, keys, tokens, tls, targets, vault })
        }
        _ => Err(ConfigError(faults)),
    }
}

#[cfg(test)]
mod tests;
