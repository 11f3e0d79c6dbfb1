//! Secrets of this process by reference: read when needed, known for a while, read afresh, never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policies::{Blame, Trouble};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::trouble;
use crate::aws::{OnDemand, Place};
use crate::telemetry::Metrics;

/// What AWS keeps is known for so long before it is read again; what is on this machine is read each time.
pub(crate) const SECRET_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// A secret that cannot be read again keeps its last value for so long after it was read: longer than the
/// longest question waits.
pub(crate) const SECRET_KEPT_FOR: Duration = Duration::from_secs(3600);
/// AWS is not asked again for a secret so soon after it could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// One read with everything it takes, reaching AWS included.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// The largest secret; a key or a token is far smaller.
const SECRET_MAX_BYTES: u64 = 16 * 1024;
/// Secrets known at a time; beyond it the one unused for longest is read anew when it is next needed.
const SECRETS_MAX: usize = 1000;

/// A secret. It is never printed, and wiped from memory when the last who knows it goes.
#[derive(Clone)]
pub(crate) struct Secret(Arc<SecretString>);

impl Secret {
    /// What it is: for requests and signatures alone.
    pub(crate) fn text(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Environment(String),
    File(String),
    Parameter(String),
    /// The whole of it, or one key where it is a JSON object.
    Manager {
        id: String,
        key: Option<String>,
    },
}

impl Source {
    fn parse(reference: &str) -> Option<Self> {
        let (kind, place) = reference.split_once(':')?;
        let place = Some(place.to_owned()).filter(|place| !place.is_empty())?;
        Some(match kind {
            "env" => Self::Environment(place),
            "file" => Self::File(place),
            "ssm" => Self::Parameter(place),
            "secretsmanager" => match place.split_once('#') {
                None => Self::Manager { id: place, key: None },
                Some((id, key)) if !id.is_empty() && !key.is_empty() => {
                    Self::Manager { id: id.to_owned(), key: Some(key.to_owned()) }
                }
                Some(_) => return None,
            },
            _ => return None,
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Environment(_) => "env",
            Self::File(_) => "file",
            Self::Parameter(_) => "ssm",
            Self::Manager { .. } => "secretsmanager",
        }
    }

    const fn is_local(&self) -> bool {
        matches!(self, Self::Environment(_) | Self::File(_))
    }
}

/// Every secret this process refers to. Debug output has none of them.
#[derive(Clone)]
pub(crate) struct Vault {
    aws: OnDemand,
    metrics: Arc<Metrics>,
    known: Arc<Mutex<BTreeMap<String, Entry>>>,
}

/// When it was last asked for, and what is known.
struct Entry {
    used: Instant,
    known: Arc<tokio::sync::Mutex<Known>>,
}

/// What is known of one secret.
#[derive(Default)]
struct Known {
    value: Option<(Secret, Instant)>,
    /// The last read failed, then and so.
    failed: Option<(Instant, Trouble)>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

impl Vault {
    pub(crate) fn new(aws: OnDemand, metrics: Arc<Metrics>) -> Self {
        Self { aws, metrics, known: Arc::default() }
    }

    /// AWS as this vault reaches it.
    pub(crate) fn aws(&self) -> &OnDemand {
        &self.aws
    }

    /// The secret behind `env:NAME`, `file:PATH`, `ssm:NAME`, `secretsmanager:ID` or `secretsmanager:ID#KEY`.
    /// Trailing line ends are not part of it.
    ///
    /// # Errors
    /// Why it cannot be read, whose fault that is and whether trying again may help; never what is in it.
    pub(crate) async fn read(&self, reference: &str) -> Result<Secret, Trouble> {
        self.read_within(reference, SECRET_LIFETIME).await
    }

    /// The same, read no longer than `age` ago.
    ///
    /// # Errors
    /// As of [`Vault::read`].
    pub(crate) async fn read_within(
        &self,
        reference: &str,
        age: Duration,
    ) -> Result<Secret, Trouble> {
        let source = source(reference)?;
        let entry = self.entry(reference);
        // Whoever needs the same one meanwhile waits for this read instead of making another.
        let mut known = entry.lock().await;
        let now = now();
        if !source.is_local() {
            let fresh = known.value.as_ref().filter(|(_, read)| now.duration_since(*read) < age);
            if let Some((secret, _)) = fresh {
                return Ok(secret.clone());
            }
            if let Some((at, failure)) = &known.failed
                && now.duration_since(*at) < RETRY_AFTER
            {
                return known.kept(now).ok_or_else(|| failure.clone());
            }
        }
        let read = timeout(READ_TIMEOUT, self.fetch(&source, reference)).await;
        let read = read.unwrap_or_else(|_elapsed| {
            let what = format!("`{reference}` was not read within {} s", READ_TIMEOUT.as_secs());
            Err(Trouble { blame: Blame::Aws, lasting: false, what })
        });
        let counted = |outcome| self.metrics.secret(source.name(), outcome);
        match read {
            Ok(text) => {
                counted("read");
                let secret = Secret(Arc::new(SecretString::from(text)));
                if known.value.as_ref().is_some_and(|(before, _)| *before != secret) {
                    info!(reference, "a secret has changed");
                }
                *known = Known { value: Some((secret.clone(), now)), failed: None };
                Ok(secret)
            }
            Err(failure) => {
                let kept = known.kept(now);
                known.failed = Some((now, failure.clone()));
                if let Some(secret) = kept {
                    counted("kept");
                    let reason = &failure.what;
                    warn!(
                        reference,
                        reason, "a secret cannot be read again; keeping its last value"
                    );
                    return Ok(secret);
                }
                counted("failed");
                known.value = None;
                Err(failure)
            }
        }
    }

    fn entry(&self, reference: &str) -> Arc<tokio::sync::Mutex<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let used = now();
        if let Some(entry) = known.get_mut(reference) {
            entry.used = used;
            return Arc::clone(&entry.known);
        }
        if known.len() >= SECRETS_MAX {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(reference, _)| reference.clone()) {
                known.remove(&oldest);
            }
        }
        let entry = Entry { used, known: Arc::default() };
        let state = Arc::clone(&entry.known);
        known.insert(reference.to_owned(), entry);
        state
    }

    async fn fetch(&self, source: &Source, reference: &str) -> Result<String, Trouble> {
        // Wiped in between: only what is returned is kept.
        let text = Zeroizing::new(match source {
            Source::Environment(name) => std::env::var(name)
                .map_err(|_absent| users(format!("environment variable `{name}` is not set")))?,
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || file(&path)).await;
                read.unwrap_or_else(|_ended| Err(users(format!("`{reference}` was not read"))))?
            }
            Source::Parameter(name) => {
                let aws = self.aws.clouds().await.at(&place_of(name)).await;
                aws.parameter(name).await.map_err(|error| trouble(&error))?
            }
            Source::Manager { id, key } => {
                let aws = self.aws.clouds().await.at(&place_of(id)).await;
                let text = aws.secret(id).await.map_err(|error| trouble(&error))?;
                match key {
                    None => text,
                    Some(key) => value_of(&text, key).map_err(|why| {
                        users(format!("`{reference}` cannot be taken from the secret: {why}"))
                    })?,
                }
            }
        });
        if text.len() as u64 > SECRET_MAX_BYTES {
            return Err(users(format!("`{reference}` is larger than {SECRET_MAX_BYTES} bytes")));
        }
        // Editors and shells leave a line end that nobody means.
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(users(format!("`{reference}` is empty")));
        }
        Ok(text.to_owned())
    }
}

impl Known {
    /// The last value, while it may still be used.
    fn kept(&self, now: Instant) -> Option<Secret> {
        let (secret, read) = self.value.as_ref()?;
        (now.duration_since(*read) < SECRET_KEPT_FOR).then(|| secret.clone())
    }
}

fn source(reference: &str) -> Result<Source, Trouble> {
    Source::parse(reference).ok_or_else(|| {
        let why = policies::reference::why_none(reference);
        users(format!("{why}; write `env:NAME`, `file:PATH`, `ssm:NAME` or `secretsmanager:NAME`"))
    })
}

/// Whether trying again may help, once it could not be read: what AWS keeps may come back.
pub(crate) fn is_kept_by_aws(reference: &str) -> bool {
    Source::parse(reference).is_some_and(|source| !source.is_local())
}

/// Where AWS is asked: in gate's own region and account, or in those of an ARN.
fn place_of(id: &str) -> Place {
    if id.starts_with("arn:") { Place::of_arn(id) } else { Place::default() }
}

fn file(path: &str) -> Result<String, Trouble> {
    let mut text = String::new();
    let read =
        |text: &mut String| File::open(path)?.take(SECRET_MAX_BYTES + 1).read_to_string(text);
    read(&mut text).map_err(|error| users(format!("`{path}` cannot be read: {error}")))?;
    Ok(text)
}

/// One value of a JSON object; what cannot be told is said without quoting it.
fn value_of(text: &str, key: &str) -> Result<String, &'static str> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_quotes| "it is no JSON object")?;
    match object.get(key) {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
            Ok(value.to_string())
        }
        Some(_) => Err("what stands at this key is no text"),
        None => Err("it has no such key"),
    }
}

/// Trouble that somebody has to mend.
fn users(what: String) -> Trouble {
    Trouble { blame: Blame::User, lasting: true, what }
}

/// The time that ages are counted by.
#[cfg(not(test))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
pub(crate) use tests::now;

#[cfg(test)]
pub(crate) mod tests;
