//! The shape of a policy document: every key, its form, its default and what it means, in one table.
//!
//! The checker takes the keys it knows from here, `gate schema` is printed from here, and the docs are
//! held to it, so that the three cannot differ.

mod probe;
mod table;

pub(super) use probe::*;
pub(super) use table::*;

/// A map of the document.
#[derive(Debug)]
pub(super) struct Shape {
    /// How faults call it: ``a policy``, `` `probe` ``.
    pub(super) what: &'static str,
    /// What it is for.
    pub(super) about: &'static str,
    pub(super) keys: &'static [KeyShape],
    /// What must be there of its keys, beside those that must be there each.
    pub(super) needs: Needs,
}

/// What must be there of the keys of a map.
#[derive(Debug)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// Exactly one key, which says of what kind it is.
    OneKey,
    /// One of these sets of keys, and not another.
    One(&'static [&'static [&'static str]]),
    /// At least one of these sets of keys.
    Any(&'static [&'static [&'static str]]),
}

/// One key of a map.
#[derive(Debug)]
pub(super) struct KeyShape {
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// Where it must be there: how to write it.
    pub(super) required: Option<&'static str>,
    /// What is taken where it is absent, as a person would write it; empty where that is nothing.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) about: &'static str,
}

/// The form of a value.
#[derive(Debug)]
pub(super) enum Form {
    /// `500ms`, `2s`, `10m`.
    Duration,
    /// `0.5%`, from 0 to below 100 %.
    Share,
    /// `100%`, above 0 and at most 100 %.
    Part,
    /// `+20%`.
    More,
    /// `-20%`.
    Less,
    /// `20/s`.
    Rate,
    /// `64KiB`.
    Size,
    /// `p99`.
    Quantile,
    /// A number above 0.
    Number,
    /// A whole number, 0 included.
    Whole,
    /// `true` or `false`.
    Bool,
    /// Any text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A map of this shape.
    Map(&'static Shape),
    /// A map with free keys.
    MapOf(&'static Form),
    /// A list.
    List(&'static Form),
    /// One, or a list.
    Some(&'static Form),
    /// One of several forms.
    Either(&'static [Form]),
    /// Where another key is there, the first form; else the second.
    Beside(&'static str, &'static Form, &'static Form),
}

impl Shape {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static KeyShape> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Every key of every map, with what faults call the map; in the order of the table.
pub(super) fn keys() -> Vec<(&'static str, &'static KeyShape)> {
    let mut found: Vec<(&'static str, &'static KeyShape)> = Vec::new();
    let mut maps = vec![&POLICY];
    while let Some(map) = maps.pop() {
        found.extend(map.keys.iter().map(|key| (map.what, key)));
        maps.extend(map.keys.iter().rev().filter_map(|key| key.form.map()));
    }
    found
}

impl Form {
    /// The map in it, if there is one.
    fn map(&self) -> Option<&'static Shape> {
        match self {
            Self::Map(map) => Some(map),
            Self::MapOf(form) | Self::List(form) | Self::Some(form) => form.map(),
            Self::Either(forms) => forms.iter().find_map(Self::map),
            Self::Beside(_, form, other) => form.map().or_else(|| other.map()),
            Self::Duration
            | Self::Share
            | Self::Part
            | Self::More
            | Self::Less
            | Self::Rate
            | Self::Size
            | Self::Quantile
            | Self::Number
            | Self::Whole
            | Self::Bool
            | Self::Text
            | Self::Words(_) => None,
        }
    }
}

/// A key that may be absent.
const fn key(
    name: &'static str,
    form: Form,
    default: &'static str,
    about: &'static str,
) -> KeyShape {
    KeyShape { name, form, required: None, default, about }
}

/// A key that must be there.
const fn must(name: &'static str, form: Form, how: &'static str, about: &'static str) -> KeyShape {
    KeyShape { name, form, required: Some(how), default: "", about }
}
