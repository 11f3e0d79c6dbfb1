//! `gate override`: a person holds a waiting question, lets it go on, or takes the release back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, StatusCode, Uri};
use policies::units::spell;
use serde_json::{Value, json};

use super::{FAILED, NOT_PROVEN, OK, USAGE, complain, say, story};
use crate::client::{Client, ClientError};
use crate::clock::unix_millis;
use crate::config::{self, Key, Layer, Settings};
use crate::shell::Vault;
use crate::signature;
use crate::telemetry::Metrics;

/// The daemon answers once the override is on disk: two seconds at most, as many again for a secret, and half a minute where
/// another gate judges.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// The largest answer: all that is known of a question.
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// What is said where gate did not say what became of it.
const UNKNOWN: &str = "it is not known whether it was taken: look at its page";

/// Hold a waiting question, release it, let it go on, or roll it back. Exit 0 if that was taken, 1 if it is too
/// late for it, 2 if it was wrong or not allowed, 3 if the daemon was not reached.
#[derive(Debug, Args)]
pub(super) struct Override {
    /// Id of the evaluation, as pages and logs show it.
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    action: Action,
    /// Who says it. May be left out where the token is one person's.
    #[arg(long, value_name = "NAME", default_value = "")]
    by: String,
    /// Why: it stands in the record, and in what AWS is told.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long to hold; 30 minutes where nothing is said, and never longer than the question waits.
    #[arg(long = "for", value_name = "DURATION", requires = "hold")]
    lasts: Option<String>,
    /// Where the daemon is; unsaid, where its settings say that it serves operators.
    #[arg(long, value_name = "URL", env = "GATE_URL")]
    url: Option<String>,
    /// A token of `overrides.tokens`, by reference: `env:NAME`, `file:PATH`, `ssm:NAME` or `secretsmanager:ID`.
    /// Unsaid, the first one that the settings name is shown, or it is signed by the first of `hooks.keys`.
    #[arg(long, value_name = "REFERENCE", env = "GATE_OVERRIDE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A key of `hooks.keys` to sign by where no token is named, by reference.
    #[arg(long, value_name = "REFERENCE", env = "GATE_HOOK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// PEM file of the authorities that alone are trusted for `https`, where they are your own.
    #[arg(long, value_name = "FILE", env = "GATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Settings file of the daemon.
    #[arg(long, value_name = "FILE", env = "GATE_CONFIG")]
    config: Option<PathBuf>,
    /// Profile of the settings file.
    #[arg(long, value_name = "NAME", env = "GATE_PROFILE")]
    profile: Option<String>,
}

/// One of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Action {
    /// Decide nothing for a while.
    #[arg(long)]
    hold: bool,
    /// End a hold.
    #[arg(long)]
    release: bool,
    /// Let the release go on; of one that has its answer, end the watch.
    #[arg(long = "continue")]
    goes_on: bool,
    /// Take the release back.
    #[arg(long)]
    rollback: bool,
}

impl Action {
    const fn name(&self) -> &'static str {
        match self {
            Self { hold: true, .. } => "hold",
            Self { release: true, .. } => "release",
            Self { goes_on: true, .. } => "continue",
            _ => "rollback",
        }
    }
}

/// How the daemon is to know who asks.
enum Proof {
    Bearer(String),
    Signed(Key),
}

impl Override {
    pub(super) async fn run(self) -> u8 {
        match Box::pin(self.send()).await {
            Ok(code) => code,
            Err((code, reason)) => {
                complain(&format!("error: {reason}"));
                code
            }
        }
    }

    async fn send(&self) -> Result<u8, (u8, String)> {
        let usage = |reason: String| (USAGE, reason);
        let read =
            config::layered(self.config.as_deref(), self.profile.as_deref(), Layer::default());
        let (settings, _) = read.map_err(|error| usage(error.to_string()))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if self.id.is_empty() || !self.id.chars().all(is_plain) {
            return Err(usage(format!("`{}` is no id of an evaluation", self.id)));
        }
        let path = format!("/evaluations/{}/override", self.id);
        let url = self.url(&settings);
        let uri = format!("{url}{path}");
        if uri.parse::<Uri>().ok().is_none_or(|uri| uri.scheme().is_none()) {
            return Err(usage(format!("`{url}` is no address; write `http://gate.internal:8080`")));
        }
        let proof = self.proof(&settings).await.map_err(usage)?;
        let mut said = json!({ "action": self.action.name(), "reason": self.reason });
        if let Some(said) = said.as_object_mut() {
            let more =
                [("by", Some(&self.by).filter(|by| !by.is_empty())), ("for", self.lasts.as_ref())];
            for (name, value) in more {
                if let Some(value) = value {
                    said.insert(name.to_owned(), Value::String(value.clone()));
                }
            }
        }
        let body = said.to_string().into_bytes();
        let request = Request::post(&uri).header(CONTENT_TYPE, "application/json");
        let request = match proof {
            Proof::Bearer(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            Proof::Signed(key) => {
                let now = unix_millis() / 1000;
                let signed = signature::sign(&key, "POST", &path, now, &body);
                request
                    .header(signature::TIMESTAMP, now.to_string())
                    .header(signature::SIGNATURE, signed)
            }
        };
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| usage(error.to_string()))?;
        let client = self.ca_file.as_deref().map_or_else(|| Ok(Client::new()), Client::trusting);
        let client = client.map_err(usage)?;
        let answered = client.answered(request, ANSWER_TIMEOUT, ANSWER_MAX_BYTES).await;
        let (status, text) = match answered {
            Ok((status, Ok(text))) => (status, text),
            // It is said once it is in force, whatever becomes of the rest.
            Ok((status, Err(_))) if status.is_success() => {
                say(&format!(
                    "taken: the state of {} could not be read: look at its page",
                    self.id
                ));
                return Ok(OK);
            }
            Ok((status, Err(_))) => (status, Bytes::new()),
            Err(error @ ClientError::TooSlow(_)) => {
                return Err((NOT_PROVEN, format!("{uri}: {}; {UNKNOWN}", story(&error))));
            }
            Err(error) => return Err((NOT_PROVEN, format!("{uri}: {}", story(&error)))),
        };
        if status == StatusCode::REQUEST_TIMEOUT {
            return Err((NOT_PROVEN, format!("{} from {uri}: {UNKNOWN}", status.as_u16())));
        }
        let told: Value = serde_json::from_slice(&text).unwrap_or_default();
        if status.is_success() && told.get("id").is_some() {
            if status == StatusCode::ACCEPTED {
                complain(
                    "warning: gate's disk does not take it yet: it counts, unless gate ends before",
                );
            }
            say(&self.taken(&told));
            return Ok(OK);
        }
        let why = told.get("error").and_then(Value::as_str).unwrap_or("what answers is not gate");
        let code = match status {
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => FAILED,
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => USAGE,
            _ => NOT_PROVEN,
        };
        let status = status.as_u16();
        // What a daemon that shares its journal says of an override for another one.
        let known = why.starts_with("not ");
        let why = if known {
            format!("{why} ({status})")
        } else {
            format!("not taken ({status}): {why}")
        };
        Err((code, why))
    }

    /// Operators' own address: there, no certificate of another name stands in the way.
    fn url(&self, settings: &Settings) -> String {
        if let Some(url) = &self.url {
            return url.trim_end_matches('/').to_owned();
        }
        let address = &settings.admin.listen;
        let address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
        format!("http://{address}")
    }

    async fn proof(&self, settings: &Settings) -> Result<Proof, String> {
        let first_token = settings.overrides.tokens.first().map(|token| token.secret.clone());
        let first_key = settings.hooks.keys.first().map(|key| key.secret.clone());
        let (reference, signs) = match (&self.token, &self.key, first_token, first_key) {
            (Some(token), ..) => (token.clone(), false),
            (None, Some(key), ..) => (key.clone(), true),
            (None, None, Some(token), _) => (token, false),
            (None, None, None, Some(key)) => (key, true),
            (None, None, None, None) => {
                return Err(
                    "nothing to show: give --token or --key, or the daemon's settings by --config"
                        .to_owned(),
                );
            }
        };
        let metrics = Arc::new(Metrics::new().map_err(|error| story(&error))?);
        let aws = settings.aws.reach(Arc::clone(&metrics));
        let secret = Vault::new(aws, metrics).read(&reference).await;
        let secret = secret.map_err(|trouble| trouble.what)?;
        if signs {
            return Key::new(secret.text().as_bytes().to_vec()).map(Proof::Signed);
        }
        Ok(Proof::Bearer(secret.text().to_owned()))
    }

    /// What has become of the question, in one line.
    fn taken(&self, told: &Value) -> String {
        let text = |name: &str| told.get(name).and_then(Value::as_str);
        let id = &self.id;
        if let Some(decision) = text("decision") {
            let reason = text("reason").unwrap_or_default();
            return format!("taken: {id} is answered {decision}: {reason}");
        }
        let held = told.get("held");
        let until = held.and_then(|held| held.get("until_seconds")).and_then(Value::as_f64);
        let now = told.get("duration_seconds").and_then(Value::as_f64).unwrap_or_default();
        let left = until.and_then(|until| Duration::try_from_secs_f64(until - now).ok());
        match left {
            Some(left) => format!("taken: {id} is held for {}", spell(left)),
            None => format!("taken: {id} is {}", text("phase").unwrap_or("under way")),
        }
    }
}
