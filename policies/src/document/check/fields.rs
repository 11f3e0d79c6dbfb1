//! The entries of one map, taken out one by one; what is left at the end is unknown.

use super::super::fault::FaultCode;
use super::super::tree::{Key, Node, Place, Value};
use super::Faults;

/// A name is taken for a misspelling if it is at least this similar (Jaro-Winkler, 0 to 1).
const SIMILAR: f64 = 0.8;

/// The entries of a map and which of them were asked for.
pub(super) struct Fields<'a> {
    what: &'a str,
    entries: &'a [(Key, Node)],
    place: &'a Place,
    known: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The entries of `node`, which must be a map.
    pub(super) fn of(node: &'a Node, what: &'a str, faults: &mut Faults<'_>) -> Option<Self> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null | Value::Bool(_) | Value::Scalar(_) | Value::List(_) => {
                let message = format!("{what} is a map of keys and values");
                faults.add(FaultCode::G0004, &node.place, message, "write `key: value` pairs");
                return None;
            }
        };
        Some(Self { what, entries, place: &node.place, known: Vec::new() })
    }

    /// The value of a key that may be absent.
    pub(super) fn optional(&mut self, key: &str) -> Option<&'a Node> {
        self.known.push(key.to_owned());
        self.entries.iter().find(|(entry, _)| entry.name == key).map(|(_, node)| node)
    }

    /// The value of a key that must be there.
    pub(super) fn required(
        &mut self,
        key: &str,
        help: &str,
        faults: &mut Faults<'_>,
    ) -> Option<&'a Node> {
        let found = self.optional(key);
        if found.is_none() {
            let message = format!("{} has no `{key}`", self.what);
            faults.add(FaultCode::G0003, self.place, message, help);
        }
        found
    }

    /// The value of a key, read by `read`.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
        faults: &mut Faults<'_>,
    ) -> Option<(Place, T)> {
        let node = self.optional(key)?;
        self.read(key, node, read, faults)
    }

    /// As [`Fields::parsed`], for a key that must be there.
    pub(super) fn required_parsed<T>(
        &mut self,
        key: &str,
        help: &str,
        read: impl Fn(&str) -> Result<T, String>,
        faults: &mut Faults<'_>,
    ) -> Option<(Place, T)> {
        let node = self.required(key, help, faults)?;
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
                let help = format!("correct `{key}` of {}", self.what);
                faults.add(FaultCode::G0004, &node.place, reason, help);
                None
            }
        }
    }

    /// One of a few words, or the default where the key is absent.
    pub(super) fn choice<T: Copy>(
        &mut self,
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
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{word}` is not a value of `{key}`");
        faults.add(FaultCode::G0004, &node.place, message, format!("one of {}", names.join(", ")));
        default
    }

    /// Refuses keys of the design that this version does not have yet. True if there were any.
    pub(super) fn later(&mut self, keys: &[&str], faults: &mut Faults<'_>) -> bool {
        let mut found = false;
        for key in keys {
            if self.optional(key).is_some() {
                let place = self
                    .entries
                    .iter()
                    .find(|(entry, _)| entry.name == *key)
                    .map(|(entry, _)| &entry.place);
                let message = format!("`{key}` is not part of this version of gate");
                faults.add(
                    FaultCode::G0009,
                    place.unwrap_or(self.place),
                    message,
                    "remove it: gate does not pretend to check what it cannot",
                );
                found = true;
            }
        }
        found
    }

    /// Refuses what nobody asked for. True if there was any.
    pub(super) fn finish(self, faults: &mut Faults<'_>) -> bool {
        let mut found = false;
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.name)) {
            let similar = self
                .known
                .iter()
                .map(|known| (strsim::jaro_winkler(known, &key.name), known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(similarity, _)| *similarity >= SIMILAR);
            let help = match similar {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("{} knows {}", self.what, self.known.join(", ")),
            };
            faults.add(FaultCode::G0002, &key.place, format!("unknown key `{}`", key.name), help);
            found = true;
        }
        found
    }
}

/// The text of a scalar.
pub(super) fn text(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    match &node.value {
        Value::Scalar(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::List(_) | Value::Map(_) => {
            faults.add(
                FaultCode::G0004,
                &node.place,
                "a single value is wanted here",
                "write it after the colon",
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
