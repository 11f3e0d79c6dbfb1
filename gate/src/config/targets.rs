//! Static targets, which a sidecar judges for ever: where they are, and by which policy.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use policies::document::DOCUMENT_MAX_BYTES;
use policies::run::Continuous;
use policies::{Policy, PolicyFile, Target, address};
use serde::{Deserialize, Serialize};

use crate::library::ENDING;
use crate::shell::{Vault, sendable};

/// Static targets of one gate: a sidecar has one container beside it, or a few.
const TARGETS_MAX: usize = 16;

/// One of `targets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSetting {
    /// Scheme, host and port.
    pub(crate) url: String,
    /// Name of a file in the policy folder, without `.policy.yaml`.
    pub(crate) policy: String,
    /// Whether `gate health` fails where it is Broken.
    #[serde(default)]
    pub(crate) guard: bool,
}

/// A static target with what it refers to looked up.
#[derive(Debug)]
pub(crate) struct StaticTarget {
    pub(crate) target: Target,
    pub(crate) judging: Continuous,
    pub(crate) guard: bool,
    /// What of the policy cannot be had here.
    pub(crate) warnings: Vec<String>,
}

/// Looks up everything the targets refer to; what is wrong with them is added to `faults`.
pub(super) async fn check(
    written: &[TargetSetting],
    folder: &Path,
    vault: &Vault,
    faults: &mut Vec<String>,
) -> Vec<StaticTarget> {
    if written.len() > TARGETS_MAX {
        faults.push(format!(
            "`targets`: {} of them, and at most {TARGETS_MAX} are judged by one gate",
            written.len()
        ));
    }
    // Each policy is read once, and what is wrong with it said once.
    let mut policies: BTreeMap<&str, Option<(PolicyFile, Policy)>> = BTreeMap::new();
    let mut seen: Vec<(String, u16)> = Vec::new();
    let mut targets = Vec::new();
    for (place, setting) in written.iter().take(TARGETS_MAX).enumerate() {
        let said = |what: &str| format!("`targets[{place}]`: {what}");
        let target = address::target(&setting.url).map_err(|fault| faults.push(said(&fault))).ok();
        if !policies.contains_key(setting.policy.as_str()) {
            let read = policy(folder, &setting.policy, vault).await;
            let read = read.map_err(|wrong| faults.extend(wrong.iter().map(|fault| said(fault))));
            policies.insert(&setting.policy, read.ok());
        }
        let Some(target) = target else { continue };
        let at = (target.host.clone(), target.port);
        if seen.contains(&at) {
            faults.push(said(&format!("`{}` is there twice", setting.url)));
            continue;
        }
        seen.push(at);
        let Some(Some((file, policy))) = policies.get(setting.policy.as_str()) else { continue };
        match Continuous::new(&file.name, policy.clone()) {
            Ok((judging, mut warnings)) => {
                warnings.extend(file.faults.iter().map(policies::Fault::one_line));
                let guard = setting.guard;
                targets.push(StaticTarget { target, judging, guard, warnings });
            }
            Err(error) => {
                faults.push(said(&format!("{}: {}", file.name, crate::cli::story(&error))));
            }
        }
    }
    targets
}

/// Reads a policy that must be good and whose probes can be sent.
async fn policy(
    folder: &Path,
    name: &str,
    vault: &Vault,
) -> Result<(PolicyFile, Policy), Vec<String>> {
    // A path would lead out of the folder.
    if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
        let fault =
            format!("`policy: {name}` is no name of a policy; write `NAME` for NAME{ENDING}");
        return Err(vec![fault]);
    }
    let path = folder.join(format!("{name}{ENDING}"));
    let text = read(&path).map_err(|error| {
        let missing = error.kind() == io::ErrorKind::NotFound;
        let what =
            if missing { "does not exist".to_owned() } else { format!("cannot be read: {error}") };
        vec![format!("`policy: {name}`: {} {what}", path.display())]
    })?;
    let mut file = PolicyFile::parse(&format!("{name}{ENDING}"), &text);
    let Some(policy) = file.policy.take() else {
        return Err(file.errors().map(policies::Fault::one_line).collect());
    };
    match sendable(&policy, vault).await {
        Ok(()) => Ok((file, policy)),
        Err(trouble) => Err(vec![format!("{}: {trouble}", file.name)]),
    }
}

/// Just enough of a too large policy for the check to refuse it.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DOCUMENT_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
