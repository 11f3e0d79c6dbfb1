//! What a policy's probes refer to, read and held still: secrets, files, the credentials gate runs with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read;
use std::sync::Arc;

use policies::plan::{BODY_MAX_BYTES, Call, HeaderValue, Headers, Script, Sign};
use policies::{Blame, Policy, Trouble};
use probes::{Lookup, Order, Signer};
use tokio::task::JoinSet;

use super::Vault;
use super::vault::Secret;
use crate::invoke::WithFunctions;

/// Every secret of one script as it was at one moment. Debug output has none of them.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct References {
    texts: Arc<BTreeMap<String, Result<Secret, Trouble>>>,
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.texts.keys()).finish()
    }
}

impl References {
    /// Reads them all, at once.
    pub(crate) async fn of(script: &Script, vault: &Vault) -> Self {
        let mut reading = JoinSet::new();
        for reference in references(script) {
            let (vault, reference) = (vault.clone(), reference.to_owned());
            reading.spawn(async move {
                let text = vault.read(&reference).await;
                (reference, text)
            });
        }
        Self { texts: Arc::new(reading.join_all().await.into_iter().collect()) }
    }

    /// The first of them that could not be read.
    fn failure(&self) -> Option<&Trouble> {
        self.texts.values().find_map(|text| text.as_ref().err())
    }
}

impl Lookup for References {
    fn text(&self, reference: &str) -> Result<String, String> {
        match self.texts.get(reference) {
            Some(Ok(secret)) => Ok(secret.text().to_owned()),
            Some(Err(trouble)) => Err(trouble.what.clone()),
            None => Err(format!("`{reference}` was not read")),
        }
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let most = BODY_MAX_BYTES as u64 + 1;
        let read = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        Ok(bytes)
    }

    fn sigv4(&self, service: &str, region: &str) -> Result<Arc<dyn Signer>, String> {
        Ok(crate::aws::signer(service, region))
    }
}

/// Everything that a script refers to as a secret, each once.
pub(super) fn references(script: &Script) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut of = |headers| found.extend(secrets(headers));
    of(&script.green_headers);
    for step in script.scenarios.iter().flat_map(|scenario| &scenario.steps) {
        match &step.call {
            Call::Http(http) => of(&http.headers),
            Call::Grpc(grpc) => of(&grpc.headers),
            Call::WebSocket(socket) => of(&socket.headers),
            Call::Tcp | Call::Tls { .. } | Call::Lambda(_) => {}
        }
    }
    found.extend(script.tls.roots.as_deref());
    if let Some((chain, key)) = &script.tls.certificate {
        found.extend([chain.as_str(), key.as_str()]);
    }
    if let Some(Sign::Hmac { key, .. }) = &script.sign {
        found.insert(key);
    }
    found
}

fn secrets(headers: &Headers) -> impl Iterator<Item = &str> {
    headers.iter().filter_map(|(_, value)| match value {
        HeaderValue::Secret { reference, .. } => Some(reference.as_str()),
        HeaderValue::Literal(_) => None,
    })
}

/// Whether a policy's probes can be sent: its secrets are there and its headers are sound.
///
/// # Errors
/// What cannot be sent, why, and whether trying again may help.
pub(crate) async fn sendable(policy: &Policy, vault: &Vault) -> Result<(), Trouble> {
    let plan = policy.plan(0, 0, Vec::new(), Vec::new());
    let references = References::of(&policy.probe.script, vault).await;
    let order = Order::new(plan, &WithFunctions::to_check(&references));
    order.map(drop).map_err(|error| {
        let (blame, lasting) = references
            .failure()
            .map_or((Blame::User, true), |failure| (failure.blame, failure.lasting));
        Trouble { blame, lasting, what: error.to_string() }
    })
}
