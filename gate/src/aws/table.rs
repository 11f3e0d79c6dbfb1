//! DynamoDB in our words: items of one table, each written on a condition.

use std::collections::BTreeMap;
use std::fmt;

use super::Reply;

/// The partition key of the table: a text.
pub(crate) const QUESTION: &str = "question";
/// The sort key of the table: a number.
pub(crate) const ENTRY: &str = "entry";

/// The calls gate makes of the table that several gates share.
pub(crate) trait Table: Send + Sync + fmt::Debug {
    /// What the table is like.
    fn shape<'a>(&'a self, table: &'a str) -> Reply<'a, Shape>;
    /// Puts an item where there is none with its key. False if there is one, be it by an earlier try of this call
    /// whose answer was lost.
    fn put_new<'a>(&'a self, table: &'a str, item: &'a Item) -> Reply<'a, bool>;
    /// Changes an item, or makes it. False if it is not as expected.
    fn change<'a>(&'a self, table: &'a str, change: &'a Change) -> Reply<'a, bool>;
    /// One item, as the newest write left it.
    fn item<'a>(&'a self, table: &'a str, key: &'a Key) -> Reply<'a, Option<Item>>;
    /// Every item of a question in order, as the newest write left them.
    fn question<'a>(&'a self, table: &'a str, question: &'a str) -> Reply<'a, Vec<Item>>;
    /// The newest items of a partition, that with the greatest number first, as the newest write left them.
    fn newest<'a>(&'a self, table: &'a str, question: &'a str, most: u32) -> Reply<'a, Vec<Item>>;
    /// Items that an index holds, which may be behind by a moment.
    fn indexed<'a>(&'a self, table: &'a str, asked: &'a Indexed) -> Reply<'a, Vec<Item>>;
}

/// What an attribute holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    Bytes(Vec<u8>),
}

impl fmt::Debug for Value {
    /// Texts hold the tokens that answers must carry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{} characters", text.len()),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Where an item is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) question: String,
    pub(crate) entry: u64,
}

impl Key {
    pub(crate) fn new(question: &str, entry: u64) -> Self {
        Self { question: question.to_owned(), entry }
    }
}

/// An item: its key, and its other attributes by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) values: BTreeMap<String, Value>,
}

impl Item {
    pub(crate) fn new(key: Key) -> Self {
        Self { key, values: BTreeMap::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Value::Text(text)) => Some(text),
            Some(Value::Number(_) | Value::Bytes(_)) | None => None,
        }
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.values.get(name) {
            Some(Value::Number(number)) => Some(*number),
            Some(Value::Text(_) | Value::Bytes(_)) | None => None,
        }
    }
}

/// What an attribute must be for a change.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Is(&'static str, Value),
    Present(&'static str),
    Absent(&'static str),
}

/// A change of one item.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) expected: Vec<Expected>,
    pub(crate) set: Vec<(&'static str, Value)>,
    pub(crate) remove: Vec<&'static str>,
}

/// What is asked of an index.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    /// Its name, and its partition key's.
    pub(crate) index: &'static str,
    /// The partition.
    pub(crate) of: &'static str,
    pub(crate) newest_first: bool,
    pub(crate) most: u32,
}

/// What a table is like, as far as gate cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Whether it can be written to.
    pub(crate) active: bool,
    /// Its keys with their types (`S`, `N`), the partition's first.
    pub(crate) keys: Vec<(String, String)>,
    /// Its indexes by name.
    pub(crate) indexes: BTreeMap<String, Index>,
}

/// What an index is like, as far as gate cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// The names of its keys, the partition's first.
    pub(crate) keys: Vec<String>,
    /// The other attributes that it carries; `None` where those are all.
    pub(crate) attributes: Option<Vec<String>>,
}
