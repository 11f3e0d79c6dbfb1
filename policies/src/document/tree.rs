//! A document as a tree that knows where everything stood.
//!
//! `serde-saphyr` is named here only: it is young, and this is the place to swap it.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::DOCUMENT_MAX_BYTES;
use super::fault::{Fault, FaultCode, FaultLevel};

/// Nodes a policy may have; the design's longest example has 60.
const NODES_MAX: usize = 10_000;
/// Levels a policy may nest.
const DEPTH_MAX: usize = 16;
/// Anchors and aliases a policy may use: enough to share a header block, too few for a bomb.
const ALIASES_MAX: usize = 32;
/// Bytes kept of the parser's message, which quotes the document: a key said twice may be all of it.
const MESSAGE_MAX_BYTES: usize = 240;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Where something stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) span: Range<usize>,
}

/// What stood there. Scalars keep their text: `2xx`, `0.5%` and `20/s` are for us to read.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// Reads one document within the limits.
pub(super) fn parse(file: &str, text: &str) -> Result<Node, Box<Fault>> {
    let refuse = |message: String, help: &str| {
        Box::new(Fault {
            code: FaultCode::G0001,
            level: FaultLevel::Error,
            file: file.to_owned(),
            line: 1,
            column: 1,
            message,
            help: help.to_owned(),
            span: 0..0,
        })
    };
    if text.len() > DOCUMENT_MAX_BYTES {
        return Err(refuse(
            format!("the file has {} bytes; a policy has at most {DOCUMENT_MAX_BYTES}", text.len()),
            "split it into one policy for each service",
        ));
    }
    if text.contains('\0') {
        return Err(refuse("the file is binary".to_owned(), "a policy is YAML text in UTF-8"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_depth: DEPTH_MAX,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_documents: 1,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(root) => Ok(node(root, text)),
        Err(error) => {
            let place = error.location().map(|location| place(&location, text));
            let mut fault = refuse(sentence(&error), "correct the YAML at this place");
            if let Some(place) = place {
                (fault.line, fault.column, fault.span) = (place.line, place.column, place.span);
            }
            Err(fault)
        }
    }
}

/// The parser's message without the place it repeats, short and safe to show in a terminal.
fn sentence(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text).trim_end_matches([':', ',', ' ']);
    let (kept, rest) = text.split_at(text.floor_char_boundary(MESSAGE_MAX_BYTES));
    let cut = if rest.is_empty() { "" } else { "…" };
    format!("{}{cut}", kept.replace(char::is_control, "\u{fffd}"))
}

fn place(location: &Location, text: &str) -> Place {
    let start = location.span().byte_offset().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let length = location.span().byte_len().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = start.min(text.len());
    // A span of nothing cannot be underlined: take the word it points at.
    let rest = text.get(start..).unwrap_or_default();
    let word = rest.find(|c: char| c.is_whitespace() || c == ',' || c == '}').unwrap_or(rest.len());
    let end = if length == 0 { start + word } else { (start + length).min(text.len()) };
    Place {
        line: usize::try_from(location.line()).unwrap_or(1),
        column: usize::try_from(location.column()).unwrap_or(1),
        span: start..end,
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let place = place(&raw.referenced, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Scalar(value) => Value::Scalar(value),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let at = self::place(&key.referenced, text);
                    (Key { name: key.value, place: at }, node(value, text))
                })
                .collect(),
        ),
    };
    Node { value, place }
}

enum Raw {
    Null,
    Bool(bool),
    Scalar(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
