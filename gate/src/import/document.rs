//! The policy that is being written: scenarios, steps, and what was left out.

use serde_json::Value;

use super::Remark;
use super::text::{scheme, variable};

/// A policy of scenarios.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    /// The file it came from.
    pub(super) from: String,
    pub(super) scenarios: Vec<Scenario>,
    pub(super) left_out: Vec<Remark>,
    pub(super) notes: Vec<Remark>,
}

/// Steps that one probe takes in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) cookies: bool,
    pub(super) steps: Vec<Step>,
}

/// One request, and what of its answer is good and is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) name: String,
    /// What it was in the file: every request of the file is the place of a step or of a remark.
    pub(super) place: String,
    pub(super) method: String,
    /// Path and query as the policy writes them: encoded, `${name}` for a value taken before.
    pub(super) path: String,
    pub(super) headers: Vec<(String, Header)>,
    pub(super) body: Option<String>,
    /// Redirects to follow.
    pub(super) redirects: u8,
    pub(super) expect: Expect,
    pub(super) take: Vec<(String, Take)>,
    /// A step of another scenario, there because later steps use what it takes.
    pub(super) copied: bool,
}

/// The value of a header, as the policy writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    Text(String),
    Secret { variable: String, prefix: &'static str },
}

/// What is good.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) status: Vec<String>,
    pub(super) headers: Vec<(String, Is)>,
    pub(super) text: Vec<String>,
    pub(super) regex: Vec<String>,
    pub(super) json: Vec<(String, Is)>,
    pub(super) json_schema: Option<Value>,
    /// Milliseconds from asking to the last byte.
    pub(super) within: Option<u64>,
}

/// How a value is compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Is {
    /// Text, a number, `true` or `null`.
    Equal(Value),
    Matches(String),
    /// It is there, whatever it is.
    Present,
}

/// Where a value to keep stands in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Take {
    Json(String),
    Header(String),
}

impl Header {
    /// A reference in place of a secret, and the word before it where that is none itself.
    pub(super) fn secret(name: &str, raw: &str) -> Self {
        let prefix = scheme(raw);
        let words: &[&str] = if prefix == "Basic " { &["basic", name] } else { &[name] };
        Self::Secret { variable: variable(words), prefix }
    }
}

impl Document {
    pub(super) fn leave_out(&mut self, place: &str, reason: impl Into<String>) {
        self.left_out.push(Remark { place: place.to_owned(), reason: reason.into() });
    }

    /// The same remark about several things is made once for each, and never twice for one.
    pub(super) fn note(&mut self, place: &str, reason: impl Into<String>) {
        let remark = Remark { place: place.to_owned(), reason: reason.into() };
        if !self.notes.contains(&remark) {
            self.notes.push(remark);
        }
    }
}

impl Expect {
    /// Whether the answer's body has to be looked at.
    pub(super) fn reads_body(&self) -> bool {
        !(self.text.is_empty()
            && self.regex.is_empty()
            && self.json.is_empty()
            && self.json_schema.is_none())
    }

    /// What the answer must have where several tests speak of its status: the last said holds.
    pub(super) fn status(&mut self, wanted: Vec<String>) {
        self.status = wanted;
    }

    /// Keeps the shorter of two times.
    pub(super) fn within(&mut self, milliseconds: u64) {
        self.within = Some(self.within.map_or(milliseconds, |before| before.min(milliseconds)));
    }
}
