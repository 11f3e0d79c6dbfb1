//! Where questions and evidence are kept, for how long, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::journal::Retention;

/// Where the journal is where nothing else is said.
const PATH: &str = "journal.db";
/// How long runs that are over are kept where nothing else is said: long enough to look back on a quarter.
const KEEP: &str = "90d";
/// How large the journal may grow where nothing else is said: some ten thousand runs.
const MAX_SIZE: &str = "1GiB";

/// Where questions and evidence are kept: on this machine, or where other gates keep theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournalSettings {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dynamodb: Option<SharedTable>,
    /// How long runs that are over are kept.
    pub(crate) keep: String,
    /// How large it may grow; the oldest runs that are over go first.
    #[serde(rename = "max-size")]
    pub(crate) max_size: String,
}

/// A table that several gates share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharedTable {
    /// Its name.
    pub(crate) table: String,
}

/// Part of a layer of settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournalLayer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dynamodb: Option<SharedTable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<String>,
    #[serde(default, rename = "max-size", skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<String>,
}

impl Default for JournalSettings {
    fn default() -> Self {
        let (keep, max_size) = (KEEP.to_owned(), MAX_SIZE.to_owned());
        Self { path: None, dynamodb: None, keep, max_size }
    }
}

impl JournalSettings {
    /// The file, where nothing else is said.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PATH.into())
    }

    pub(super) fn check(&self, faults: &mut Vec<String>) {
        if let (Some(path), Some(shared)) = (&self.path, &self.dynamodb) {
            faults.push(format!(
                "`journal.path: {}` and `journal.dynamodb.table: {}` are both set; one journal is kept",
                path.display(),
                shared.table
            ));
        }
        match age(&self.keep) {
            Ok(keep) if keep < Retention::KEEP_MIN => faults.push(format!(
                "`journal.keep: {}` is too short; a question that is delivered again must be known for a day",
                self.keep
            )),
            Ok(_long_enough) => {}
            Err(fault) => faults.push(format!("`journal.keep`: {fault}")),
        }
        if let Err(fault) = size(&self.max_size) {
            faults.push(format!("`journal.max-size`: {fault}"));
        }
    }

    /// What may be let go of.
    pub(crate) fn retention(&self) -> Retention {
        Retention { keep: age(&self.keep).ok(), max_bytes: size(&self.max_size).ok() }
    }
}

/// A whole number and its unit.
fn whole(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    Some((number.parse().ok()?, unit.trim()))
}

/// `12h`, `90d`, `4w`.
///
/// # Errors
/// How it should look.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is no age; write it like `12h`, `90d` or `4w`");
    let (number, unit) = whole(text).ok_or_else(refused)?;
    let hours: u64 = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 7 * 24,
        _ => return Err(refused()),
    };
    number.checked_mul(hours * 3600).map(Duration::from_secs).ok_or_else(refused)
}

/// `500MB`, `1GiB`.
///
/// # Errors
/// How it should look.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is no size; write it like `500MB` or `1GiB`");
    let (number, unit) = whole(text).ok_or_else(refused)?;
    let times: u64 = match unit.to_ascii_lowercase().as_str() {
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return Err(refused()),
    };
    number.checked_mul(times).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_whole_numbers_with_a_unit() {
        let day = 24 * 3600;
        for (text, seconds) in [
            ("12h", Some(day / 2)),
            ("90d", Some(90 * day)),
            ("2 w", Some(14 * day)),
            ("90", None),
            ("1.5d", None),
            ("-1d", None),
            ("d", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(age(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
        for (text, bytes) in [
            ("500MB", Some(500_000_000)),
            ("1GiB", Some(1 << 30)),
            ("8 kib", Some(8192)),
            ("1", None),
            ("1TB", None),
            ("", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
