//! The body of an override, as JSON or from a form: what it says, and everything that is wrong with how it says it.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use crate::unread;

/// What may be in a body. A token in the body is for forms, which cannot send a header.
const FIELDS: [&str; 5] = ["action", "by", "reason", "for", "token"];
/// Characters of a name that somebody made up, in what is told of it.
const NAME_SHOWN_MAX: usize = 40;
/// Most faults that are told of: whoever sends more has not meant an override.
const FAULTS_MAX: usize = 20;

/// What was written into the fields of a request, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// What is wanted.
    pub action: String,
    /// Who says it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// How long a hold lasts.
    pub lasts: String,
}

/// A body that was read.
#[derive(Default)]
pub struct Read {
    /// What it says.
    pub fields: Fields,
    /// The token of a form.
    pub token: Option<String>,
    /// What is wrong with it.
    pub faults: Vec<String>,
    seen: Vec<String>,
}

impl fmt::Debug for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fields, token, faults, seen: _ } = self;
        let token = token.as_ref().map(|_hidden| "…");
        f.debug_struct("Read")
            .field("fields", fields)
            .field("token", &token)
            .field("faults", faults)
            .finish()
    }
}

/// What a page's form sends, or `curl -d`.
pub fn of_form(body: &[u8]) -> Read {
    let mut read = Read::default();
    for (name, value) in url::form_urlencoded::parse(body) {
        if read.is_first(&name) {
            read.put(&name, value.into_owned());
        }
    }
    // A browser sends what somebody filled in before choosing otherwise.
    if read.fields.action != "hold" {
        read.fields.lasts.clear();
    }
    read
}

/// One object of texts. A token belongs into a header, where fewer things write it down.
pub fn of_json(body: &[u8]) -> Read {
    let mut read = Read::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let told = json.deserialize_map(&mut read).and_then(|()| json.end());
    match told {
        Err(error) if error.is_data() => read.fault("the body is no JSON object".to_owned()),
        Err(error) => read.fault(format!("the body cannot be read: {}", unread(&error))),
        Ok(()) => {}
    }
    read
}

impl Read {
    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Said twice, it is not known which is meant.
    fn is_first(&mut self, name: &str) -> bool {
        let name = shortened(name);
        let first = !self.seen.contains(&name);
        if first && self.seen.len() < FAULTS_MAX {
            self.seen.push(name);
        } else if !first {
            self.fault(format!("`{name}` is said twice"));
        }
        first
    }

    fn put(&mut self, name: &str, value: String) {
        match name {
            "action" => self.fields.action = value,
            "by" => self.fields.by = value,
            "reason" => self.fields.reason = value,
            "for" => self.fields.lasts = value,
            "token" => self.token = Some(value),
            _ => self.fault(format!(
                "`{}` is unknown; there are `{}`",
                shortened(name),
                FIELDS.join("`, `")
            )),
        }
    }
}

/// Puts each pair of a JSON object where it belongs: a map would keep the last of two of one name.
impl<'de> Visitor<'de> for &mut Read {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<(), A::Error> {
        while let Some((name, value)) = pairs.next_entry::<String, Value>()? {
            if !self.is_first(&name) {
                continue;
            }
            match value {
                Value::String(value) if name != "token" => self.put(&name, value),
                Value::String(_) => {
                    let belongs = "`token` belongs into the header `Authorization: Bearer`";
                    self.fault(belongs.to_owned());
                }
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => self.fault(format!("`{}` is no text", shortened(&name))),
            }
        }
        Ok(())
    }
}

/// A name that somebody made up, fit to be told back.
fn shortened(name: &str) -> String {
    name.chars().take(NAME_SHOWN_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(read: &Read, action: &str, faults: &str) {
        assert_eq!(
            (read.fields.action.as_str(), read.faults.join("; ").as_str()),
            (action, faults)
        );
    }

    #[test]
    fn what_is_said_twice_is_no_guess() {
        let twice = br#"{"action": "hold", "action": "continue"}"#;
        check(&of_json(twice), "hold", "`action` is said twice");
        check(&of_form(b"action=hold&action=continue"), "hold", "`action` is said twice");
    }

    #[test]
    fn what_is_no_object_is_said_to_be_none_and_never_quoted() {
        check(&of_json(b"[\"secret\"]"), "", "the body is no JSON object");
        check(&of_json(b"\"secret\""), "", "the body is no JSON object");
        check(&of_json(b"secret"), "", "the body cannot be read: it is no JSON (line 1, column 1)");
        check(
            &of_json(br#"{"action": "hold""#),
            "hold",
            "the body cannot be read: it ends too early (line 1, column 17)",
        );
        check(
            &of_json(br#"{"action": "hold"} {"action": "continue"}"#),
            "hold",
            "the body cannot be read: it is no JSON (line 1, column 20)",
        );
    }

    #[test]
    fn a_body_of_a_thousand_names_is_not_told_of_a_thousand_times() {
        let many: Vec<String> = (0..1000).map(|name| format!("n{name}=1")).collect();
        assert_eq!(of_form(many.join("&").as_bytes()).faults.len(), FAULTS_MAX);
    }

    #[test]
    fn a_token_is_not_shown() {
        let read = of_form(b"action=hold&token=very-secret");
        assert_eq!(read.token.as_deref(), Some("very-secret"));
        assert!(!format!("{read:?}").contains("very-secret"));
    }
}
