//! Who may override a question: tokens of people, by reference.

use serde::{Deserialize, Serialize};

/// Tokens of one gate: a team, or each of its people.
const TOKENS_MAX: usize = 100;

/// The settings of overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OverrideSettings {
    /// Tokens that people show; any of them will do, so that they can be rotated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<TokenReference>,
}

/// A token, by reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenReference {
    /// `env:NAME`, `file:PATH`, `ssm:NAME` or `secretsmanager:ID`.
    pub(crate) secret: String,
    /// Whose it is, where it is one person's: who shows it speaks by this name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// Finds what is wrong with them; whether the secrets can be read is looked at apart.
pub(super) fn check(settings: &OverrideSettings, faults: &mut Vec<String>) {
    if settings.tokens.len() > TOKENS_MAX {
        faults.push(format!(
            "`overrides.tokens` has {} entries, and at most {TOKENS_MAX}",
            settings.tokens.len()
        ));
    }
    for (place, token) in settings.tokens.iter().enumerate() {
        let Some(name) = &token.name else { continue };
        // By the same rule as a name in a request, so that it can be put in its place.
        if let Err(told) = policies::Override::new("continue", name, "a reason", None) {
            let told = told.join("; ").replace("`by`", "its `name`");
            faults.push(format!("`overrides.tokens[{place}]`: {told}"));
        }
    }
}
