//! A document as a tree that knows where everything stood.
//!
//! `serde-saphyr` is named here only: it is young, and this is the place to swap it.

use std::fmt;
use std::ops::Range;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Location, Spanned};

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
            hidden: false,
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
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(root) => {
            let mut root = node(root, text);
            if matches!(root.value, Value::Null) {
                root.place = Place { line: 1, column: 1, span: 0..0 };
            }
            Ok(root)
        }
        Err(error) => {
            let place = error.location().map(|location| place(&location, text));
            let (message, help) = sentence(&error);
            let mut fault = refuse(message, help);
            if let Some(place) = place {
                (fault.line, fault.column, fault.span) = (place.line, place.column, place.span);
            }
            Err(fault)
        }
    }
}

/// Text that quotes a document, short and safe to show in a terminal.
fn short(text: &str) -> String {
    let (kept, rest) = text.split_at(text.floor_char_boundary(MESSAGE_MAX_BYTES));
    let cut = if rest.is_empty() { "" } else { "…" };
    format!("{}{cut}", kept.replace(char::is_control, "\u{fffd}"))
}

/// What is wrong in our words, else in the parser's without the place it repeats; and a way out.
#[allow(clippy::wildcard_enum_match_arm, reason = "most of its errors cannot come of a tree")]
fn sentence(error: &Error) -> (String, &'static str) {
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or_default();
            (format!("the key `{}` is there twice", short(key)), "remove one, or put both into one")
        }
        Error::UnknownAnchor { .. } => (
            "this alias is of an anchor that is not there".to_owned(),
            "write `&name` before what it repeats",
        ),
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            ("a file holds one policy".to_owned(), "write each policy into a file of its own")
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            (format!("nested more than {DEPTH_MAX} deep"), "close what was opened before")
        }
        Error::Budget {
            breach: BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. },
            ..
        } => (format!("more than {ALIASES_MAX} aliases or anchors"), "write out what they repeat"),
        Error::Budget { .. } => (
            format!("more than {NODES_MAX} keys and values"),
            "split it into one policy for each service",
        ),
        _ => {
            let text = error.without_snippet().to_string();
            let text = text.lines().next().unwrap_or_default();
            let end = text.rfind(" at line ").unwrap_or(text.len());
            let text = text.get(..end).unwrap_or(text).trim_end_matches([':', ',', ' ']);
            (format!("not YAML: {}", short(text)), "correct the YAML at or just before this place")
        }
    }
}

fn place(location: &Location, text: &str) -> Place {
    let (line, column) = (whole(location.line()), whole(location.column()));
    let start = location.span().byte_offset().and_then(|at| usize::try_from(at).ok());
    let length = location.span().byte_len().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = start.unwrap_or_else(|| offset(text, line, column)).min(text.len());
    // A span of nothing cannot be underlined: take the word it points at.
    let rest = text.get(start..).unwrap_or_default();
    let word = rest.find(|c: char| c.is_whitespace() || c == ',' || c == '}').unwrap_or(rest.len());
    let end = if length == 0 { start + word } else { (start + length).min(text.len()) };
    Place { line, column, span: start..end }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).max(1)
}

/// The byte at a line and a column.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let of_line = text.get(before..).unwrap_or_default();
    before + of_line.char_indices().nth(column - 1).map_or(of_line.len(), |(at, _)| at)
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    let mut place = place(&raw.referenced, text);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value),
        Raw::Scalar(value) => Value::Scalar(value),
        // `1.10` and `007` are what was written, not what YAML makes of them.
        Raw::Number(value) => {
            let written = text.get(self::place(&raw.defined, text).span).unwrap_or_default();
            Value::Scalar(if written.is_empty() { value } else { written.to_owned() })
        }
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(entries.into_iter().map(|of| entry(of, text)).collect()),
    };
    if let Value::Map(entries) = &value
        && let Some((first, _)) = entries.first()
    {
        place = first.place.clone();
    }
    Node { value, place }
}

/// A key and its value. A map, a list or nothing is pointed at by its key: its own place is a brace or
/// empty.
fn entry((key, value): (Spanned<String>, Spanned<Raw>), text: &str) -> (Key, Node) {
    let at = place(&key.referenced, text);
    let mut value = node(value, text);
    if !matches!(value.value, Value::Bool(_) | Value::Scalar(_)) {
        value.place = at.clone();
    }
    (Key { name: key.value, place: at }, value)
}

enum Raw {
    Null,
    Bool(bool),
    Scalar(String),
    Number(String),
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
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Number(value.to_string()))
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
