//! Tests that a team already has, written as a policy's scenarios.
//!
//! Each source is read by a pure function from its text to a [`Document`]: scenarios, and a line for
//! everything that did not become part of one. Nothing is run, fetched or guessed.

mod document;
mod fit;
mod openapi;
mod pact;
mod policy_text;
mod postman;
mod schema;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use policies::{Fault, PolicyFile};
use serde::Serialize;

use document::{Document, Header, Step};

/// The largest file read: the largest public API descriptions have about 12 MB.
pub(crate) const FILE_MAX_BYTES: usize = 16 * 1024 * 1024;
/// Variables given on the command line or in a file of an environment.
const VARIABLES_MAX: usize = 10_000;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postman,
    Pact,
    Openapi,
}

/// Something of the file that is not in the policy, or not as it was; and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Remark {
    pub(crate) place: String,
    pub(crate) reason: String,
}

/// What came of a file.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    pub(crate) policy: String,
    pub(crate) left_out: Vec<Remark>,
    /// What is in the policy, but wants a look.
    pub(crate) notes: Vec<Remark>,
    pub(crate) scenarios: usize,
    pub(crate) steps: usize,
}

/// Reads a file of this kind and writes the policy that does the same.
///
/// # Errors
/// Everything that makes the file unusable, each with its place.
pub(crate) fn import(
    kind: Kind,
    name: &str,
    text: &str,
    variables: &BTreeMap<String, Variable>,
) -> Result<Imported, Vec<String>> {
    let mut document = read(kind, text, variables)?;
    document.from = name.to_owned();
    fit::fit(&mut document);
    look_at(&mut document);
    let scenarios = document.scenarios.len();
    let steps = document.scenarios.iter().map(|scenario| scenario.steps.len()).sum();
    if steps == 0 {
        let mut why = vec!["nothing in it can become a step of a scenario".to_owned()];
        let shown = document.left_out.iter().take(MISTAKES_SHOWN);
        why.extend(shown.map(|remark| format!("{}: {}", remark.place, remark.reason)));
        let more = document.left_out.len().saturating_sub(MISTAKES_SHOWN);
        if more > 0 {
            why.push(format!("and {more} more like these"));
        }
        return Err(why);
    }
    let policy = policy_text::write(&document).map_err(|error| vec![error])?;
    // What `gate check` would refuse is not written.
    let checked = PolicyFile::parse("the policy of it", &policy);
    let faults: Vec<String> = checked.errors().map(Fault::one_line).collect();
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Imported { policy, left_out: document.left_out, notes: document.notes, scenarios, steps })
}

/// Says what of a policy wants a look before it is used.
fn look_at(document: &mut Document) {
    let steps: Vec<&Step> =
        document.scenarios.iter().flat_map(|scenario| &scenario.steps).collect();
    let safe = ["GET", "HEAD", "OPTIONS", "TRACE"];
    let changing = steps.iter().filter(|step| !safe.contains(&step.method.as_str())).count();
    let mut secrets: BTreeSet<(String, &str)> = BTreeSet::new();
    for (name, value) in steps.iter().flat_map(|step| &step.headers) {
        if let Header::Secret { variable, prefix } = value {
            let what = match *prefix {
                "" => String::new(),
                "Basic " => " (the Base64 of `user:password`)".to_owned(),
                prefix => format!(" (what comes after `{}`)", prefix.trim()),
            };
            secrets.insert((format!("the header `{name}`{what}"), variable));
        }
    }
    let secrets: Vec<String> = secrets
        .into_iter()
        .map(|(header, variable)| {
            format!(
                "{header} is read from the environment variable {variable}, and not from the file"
            )
        })
        .collect();
    for secret in secrets {
        document.note("policy", secret);
    }
    if changing > 0 {
        let reason = format!(
            "{changing} of its steps may change something, and each probe takes them, on blue as on green: choose `rate` with that in mind"
        );
        document.note("policy", reason);
    }
}

/// Reasons shown where nothing at all could be used.
const MISTAKES_SHOWN: usize = 50;

fn read(
    kind: Kind,
    text: &str,
    variables: &BTreeMap<String, Variable>,
) -> Result<Document, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match kind {
        Kind::Postman => postman::read(text, variables),
        Kind::Pact => pact::read(text),
        Kind::Openapi => openapi::read(text),
    }
}

/// The value of a variable that a collection uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) value: String,
    /// It must not be written into a policy.
    pub(crate) secret: bool,
}

/// The variables of an environment as Postman exports it.
///
/// # Errors
/// It is no such file.
pub(crate) fn environment(text: &str) -> Result<BTreeMap<String, Variable>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    let values = json.get("values").and_then(serde_json::Value::as_array);
    let values = values.ok_or("no environment of Postman: it has no list `values`")?;
    if values.len() > VARIABLES_MAX {
        return Err(format!("more than {VARIABLES_MAX} variables"));
    }
    Ok(values.iter().filter_map(postman::variable).collect())
}
