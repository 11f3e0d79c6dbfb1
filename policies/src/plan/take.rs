//! Values taken from one answer into the next request.

use super::compare::{JsonPath, Pattern};
use crate::reply::Reply;

/// The longest value taken: a token is far shorter.
const VALUE_MAX_BYTES: usize = 8 * 1024;

/// One value taken from an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    /// How later steps call it: `${name}`.
    pub name: String,
    /// Where it stands.
    pub source: Source,
}

/// Where a value stands in an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// At a path of a JSON body.
    Json(JsonPath),
    /// In a header of this name, in lower case.
    Header(String),
    /// In the body: the first group of the pattern, or all of it where it has none.
    Regex(Pattern),
}

impl Take {
    /// The value, if the answer has it and it can stand in a request.
    pub fn from(&self, reply: &Reply) -> Option<String> {
        let value = match &self.source {
            Source::Json(path) => path.text_in(reply.json()?)?,
            Source::Header(name) => reply.header(name)?.to_owned(),
            Source::Regex(pattern) => pattern.capture(&reply.text())?.to_owned(),
        };
        (value.len() <= VALUE_MAX_BYTES).then_some(value)
    }

    /// Where it was looked for, for people.
    pub fn place(&self) -> String {
        match &self.source {
            Source::Json(path) => path.text().to_owned(),
            Source::Header(name) => format!("header {name}"),
            Source::Regex(pattern) => format!("/{}/", pattern.text()),
        }
    }
}
