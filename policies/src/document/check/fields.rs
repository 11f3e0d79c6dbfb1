//! The entries of one map, taken out one by one; what is left at the end is unknown.

use super::super::fault::FaultCode;
use super::super::shape::{Form, KeyShape, Shape};
use super::super::tree::{Key, Node, Place, Value};
use super::Faults;
use crate::units;

/// A name is taken for a misspelling if it is at least this similar (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// The entries of a map, held to its shape.
pub(super) struct Fields<'a> {
    shape: &'static Shape,
    entries: &'a [(Key, Node)],
    place: &'a Place,
}

impl<'a> Fields<'a> {
    /// The entries of `node`, which must be a map. Every fault in its keys is found here.
    pub(super) fn of(
        node: &'a Node,
        shape: &'static Shape,
        faults: &mut Faults<'_>,
    ) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null | Value::Bool(_) | Value::Scalar(_) | Value::List(_) => {
                let message = format!("{} is a map of keys and values", shape.what);
                let required = shape.keys.iter().find_map(|key| key.required);
                let help = required.map_or_else(|| knows(shape), str::to_owned);
                faults.add(FaultCode::G0004, &node.place, message, help);
                return None;
            }
        };
        let fields = Self { shape, entries, place: &node.place };
        let meant = fields.unknown(faults);
        for key in shape.keys {
            if let Some(help) = key.required
                && fields.optional(key.name).is_none()
                && !meant.contains(&key.name)
            {
                let message = format!("{} has no `{}`", shape.what, key.name);
                faults.add(FaultCode::G0003, &node.place, message, help);
            }
        }
        Some(fields)
    }

    /// The value of a key of the shape.
    pub(super) fn optional(&self, key: &str) -> Option<&'a Node> {
        debug_assert!(self.shape.key(key).is_some(), "{key} is no key of {}", self.shape.what);
        self.entries.iter().find(|(entry, _)| entry.name == key).map(|(_, node)| node)
    }

    /// The value of a key that only some shapes have.
    pub(super) fn given(&self, key: &str) -> Option<&'a Node> {
        self.shape.key(key).and_then(|_| self.optional(key))
    }

    /// The shape of the map that is the value of a key.
    pub(super) fn shape_of(&self, key: &str) -> Option<&'static Shape> {
        if let Form::Map(shape) = self.shape.key(key)?.form { Some(shape) } else { None }
    }

    /// Refuses a map that has none of these keys, or several. `None` then.
    pub(super) fn exactly_one(
        &self,
        what: &str,
        keys: &[&str],
        (node, how): (&Node, &str),
        faults: &mut Faults<'_>,
    ) -> Option<()> {
        let mut found = keys.iter().filter(|key| self.optional(key).is_some());
        match (found.next(), found.next()) {
            (Some(_), None) => Some(()),
            (Some(one), Some(other)) => {
                let message = format!("{what} has `{one}` and `{other}`");
                let help = "keep one of them";
                faults.add(FaultCode::G0008, self.place_of(other), message, help);
                None
            }
            (None, _) => {
                let unknown = self.present().any(|name| self.shape.key(name).is_none());
                // What is misspelt has been said already.
                if !unknown {
                    let message = format!("{what} has none of {}", keys.join(", "));
                    faults.add(FaultCode::G0003, &node.place, message, how);
                }
                None
            }
        }
    }

    /// Where a key stands, or the whole map where it does not.
    pub(super) fn place_of(&self, key: &str) -> &'a Place {
        let entry = self.entries.iter().find(|(entry, _)| entry.name == key);
        entry.map_or(self.place, |(entry, _)| &entry.place)
    }

    /// The keys that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = &'a str> {
        self.entries.iter().map(|(key, _)| key.name.as_str())
    }

    /// The value of a key, read by `read`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
        faults: &mut Faults<'_>,
    ) -> Option<(Place, T)> {
        let node = self.optional(key)?;
        self.read(key, node, read, faults)
    }

    fn read<T>(
        &self,
        key: &str,
        node: &Node,
        read: impl Fn(&str) -> Result<T, String>,
        faults: &mut Faults<'_>,
    ) -> Option<(Place, T)> {
        match read(&text(node, faults)?) {
            Ok(value) => Some((node.place.clone(), value)),
            Err(reason) => {
                // What is wrong; what to write.
                let (message, help) = reason.rsplit_once("; ").unwrap_or((&reason, ""));
                let about = || self.shape.key(key).map_or("", |key| key.about);
                let help = if help.is_empty() { about() } else { help };
                faults.add(FaultCode::G0004, &node.place, message, help);
                None
            }
        }
    }

    /// One of a few words, or the default where the key is absent.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &str,
        choices: &[(&str, T)],
        default: T,
        faults: &mut Faults<'_>,
    ) -> T {
        let Some(node) = self.optional(key) else { return default };
        let Some(word) = text(node, faults) else { return default };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
            return *value;
        }
        let message = format!("`{word}` is not a value of `{key}`");
        let help = words(&word, choices.iter().map(|(name, _)| *name));
        faults.add(FaultCode::G0004, &node.place, message, help);
        default
    }

    /// The weight of an objective, where its kind has one.
    pub(super) fn weight(&self, faults: &mut Faults<'_>) -> Option<(Place, f64)> {
        self.shape.key("weight")?;
        self.parsed("weight", units::number, faults)
    }

    /// Refuses what the shape does not have. The keys that were probably meant.
    fn unknown(&self, faults: &mut Faults<'_>) -> Vec<&'static str> {
        let mut meant = Vec::new();
        for (key, _) in self.entries {
            if self.shape.key(&key.name).is_some() {
                continue;
            }
            let free = self.shape.keys.iter().map(|key| key.name);
            let similar = similar(&key.name, free.filter(|name| self.optional(name).is_none()));
            meant.extend(similar);
            let help = similar.map_or_else(|| knows(self.shape), did_you_mean);
            faults.add(FaultCode::G0002, &key.place, format!("unknown key `{}`", key.name), help);
        }
        meant
    }
}

/// The keys of a map, for somebody who wrote another.
fn knows(shape: &Shape) -> String {
    if let [KeyShape { required: Some(how), .. }] = shape.keys {
        return (*how).to_owned();
    }
    let known: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
    format!("{} knows {}", shape.what, known.join(", "))
}

/// The name most similar to what was written, if any is.
fn similar<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &written.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .map(|(_, name)| name)
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// What to write instead of a word that is none of these.
pub(super) fn words<'n>(written: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match (similar(written, names.iter().copied()), names.as_slice()) {
        (Some(name), _) => did_you_mean(name),
        (None, [only]) => format!("write `{only}`"),
        (None, names) => format!("write one of {}", names.join(", ")),
    }
}

/// The text of a scalar.
pub(super) fn text(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    match &node.value {
        Value::Scalar(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null => {
            let help = "write it after the colon, or leave the key out";
            faults.add(FaultCode::G0004, &node.place, "a value is missing here", help);
            None
        }
        Value::List(_) | Value::Map(_) => {
            let message = "a single value is wanted here";
            faults.add(
                FaultCode::G0004,
                &node.place,
                message,
                "write it without brackets or braces",
            );
            None
        }
    }
}

/// The items of a list; anything else counts as a list of one.
pub(super) fn list(node: &Node) -> &[Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null | Value::Bool(_) | Value::Scalar(_) | Value::Map(_) => {
            std::slice::from_ref(node)
        }
    }
}

/// The entries of a map whose keys are free.
pub(super) fn entries<'a>(
    node: &'a Node,
    what: &str,
    how: &str,
    faults: &mut Faults<'_>,
) -> &'a [(Key, Node)] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Bool(_) | Value::Scalar(_) | Value::List(_) => {
            faults.add(FaultCode::G0004, &node.place, format!("{what} is a map"), how);
            &[]
        }
    }
}
