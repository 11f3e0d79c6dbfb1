//! Texts with `{{variables}}`, filled with what is known before a run.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Variable;
use super::super::document::Header;
use super::super::text::{Part, encode, literal, short};
use super::request::Turned;

/// Variables within the values of variables.
const NESTED_MAX: usize = 8;
/// Characters one text may grow to.
const FILLED_MAX: usize = 64 * 1024;

/// What is known of a variable.
#[derive(Clone, Debug)]
pub(super) enum Known {
    Value(Variable),
    /// A step takes it from its answer, and calls it so.
    Taken {
        by: usize,
        name: String,
    },
    /// A script computes it; where.
    Computed(String),
    /// A request that is left out would take it.
    Lost(String),
}

/// Part of a filled text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// A value that a policy fills in.
    Value(String),
    /// A variable whose value must not be written down.
    Secret(String),
}

/// A filled text.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled(pub(super) Vec<Piece>);

/// The variables of a collection at one of its requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) known: BTreeMap<String, Known>,
    /// Environment variables that stand for secrets, and what the file says in place of each.
    pub(super) secrets: BTreeMap<String, String>,
}

/// Which requests' values a text uses, and what else is to be said of it.
#[derive(Debug, Default)]
pub(super) struct Uses {
    pub(super) requests: BTreeSet<usize>,
    pub(super) notes: BTreeSet<String>,
}

impl Filled {
    /// As a policy writes it in a header or a body.
    pub(super) fn text(&self) -> String {
        self.write(literal)
    }

    /// As a policy writes it in a path.
    pub(super) fn url(&self, part: Part) -> String {
        self.write(|text| encode(text, part))
    }

    fn write(&self, text: impl Fn(&str) -> String) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(plain) => text(plain),
            Piece::Value(name) => format!("${{{name}}}"),
            Piece::Secret(_) => String::new(),
        });
        pieces.collect()
    }

    /// The text where nothing has to be filled in by a policy.
    pub(super) fn plain(&self) -> Option<String> {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Value(_) | Piece::Secret(_) => None,
        });
        pieces.collect()
    }

    /// The first variable in it that is secret.
    pub(super) fn secret(&self) -> Option<&str> {
        self.0.iter().find_map(|piece| match piece {
            Piece::Secret(name) => Some(name.as_str()),
            Piece::Text(_) | Piece::Value(_) => None,
        })
    }
}

/// Why a text cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    Unknown(String),
    Other(String),
}

impl Unfilled {
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Unknown(name) => format!(
                "the variable `{}` has no value; give it by --var or --environment",
                short(name)
            ),
            Self::Other(reason) => reason.clone(),
        }
    }
}

impl Scope {
    /// Whether a variable has a value before the run.
    pub(super) fn has(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    pub(super) fn fill(&self, raw: &str, uses: &mut Uses) -> Result<Filled, Unfilled> {
        let mut filled = Filled::default();
        self.fill_into(raw, uses, &mut filled, 0)?;
        Ok(filled)
    }

    fn fill_into(
        &self,
        raw: &str,
        uses: &mut Uses,
        filled: &mut Filled,
        nested: usize,
    ) -> Result<(), Unfilled> {
        let mut rest = raw;
        while let Some((before, name, after)) = next(rest) {
            filled.0.push(Piece::Text(before.to_owned()));
            rest = after;
            if let Some(dynamic) = name.strip_prefix('$') {
                filled.0.extend(dynamic_value(dynamic, uses)?);
                continue;
            }
            match self.known.get(name) {
                None => return Err(Unfilled::Unknown(name.to_owned())),
                Some(Known::Computed(place)) => {
                    let reason = format!(
                        "the variable `{}` is computed by the script of {place}, and scripts are not run",
                        short(name)
                    );
                    return Err(Unfilled::Other(reason));
                }
                Some(Known::Lost(place)) => {
                    let reason = format!("it uses what `{place}` takes, which is left out");
                    return Err(Unfilled::Other(reason));
                }
                Some(Known::Taken { by, name }) => {
                    uses.requests.insert(*by);
                    filled.0.push(Piece::Value(name.clone()));
                }
                Some(Known::Value(variable)) if variable.secret => {
                    filled.0.push(Piece::Secret(name.to_owned()));
                }
                Some(Known::Value(variable)) if nested < NESTED_MAX => {
                    self.fill_into(&variable.value, uses, filled, nested + 1)?;
                }
                Some(Known::Value(_)) => {
                    let reason = format!("the variable `{}` refers to itself", short(name));
                    return Err(Unfilled::Other(reason));
                }
            }
            let size: usize = filled.0.iter().map(Piece::size).sum();
            if size > FILLED_MAX {
                return Err(Unfilled::Other(format!("it is longer than {FILLED_MAX} characters")));
            }
        }
        filled.0.push(Piece::Text(rest.to_owned()));
        Ok(())
    }
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Value(_) | Self::Secret(_) => 0,
        }
    }
}

impl Scope {
    /// Two secrets of one header are two environment variables; each is told once.
    pub(super) fn tell_apart(&mut self, turned: &mut Turned) {
        for (header, variable, raw) in std::mem::take(&mut turned.secrets) {
            let mut own = variable.clone();
            let mut number = 1_u32;
            while self.secrets.get(&own).is_some_and(|other| *other != raw) {
                number += 1;
                own = format!("{variable}_{number}");
            }
            self.secrets.insert(own.clone(), raw);
            for (name, value) in &mut turned.step.headers {
                if let Header::Secret { variable, .. } = value
                    && *name == header
                {
                    variable.clone_from(&own);
                }
            }
        }
    }
}

/// The first `{{name}}`: what is before it, the name, what is after it.
pub(super) fn next(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text.get(from..)?.find("{{").map(|at| at + from) {
        let inner = text.get(open + 2..)?;
        let close = inner.find("}}")?;
        let name = inner.get(..close)?;
        // JSON within JSON is no variable.
        if !name.contains(['{', '"', '\n']) && !name.trim().is_empty() {
            return Some((text.get(..open)?, name.trim(), inner.get(close + 2..)?));
        }
        from = open + 1;
    }
    None
}

/// Postman's own variables that a policy has a counterpart of.
fn dynamic_value(name: &str, uses: &mut Uses) -> Result<Vec<Piece>, Unfilled> {
    let (value, is) = match name {
        "guid" | "randomUUID" => ("unique", "32 hex digits without dashes"),
        "randomInt" | "timestamp" => ("number", "the number of the probe"),
        "randomAlphaNumeric" | "randomPassword" | "randomUserName" | "randomFirstName"
        | "randomLastName" | "randomFullName" | "randomWord" | "randomLoremWord" => {
            ("unique", "32 hex digits")
        }
        "randomEmail" => {
            uses.notes.insert("`{{$randomEmail}}` is `${unique}@example.com` now".to_owned());
            let domain = Piece::Text("@example.com".to_owned());
            return Ok(vec![Piece::Value("unique".to_owned()), domain]);
        }
        other => {
            let reason = format!("`{{{{${}}}}}` has no counterpart", short(other));
            return Err(Unfilled::Other(reason));
        }
    };
    uses.notes.insert(format!("`{{{{${name}}}}}` is `${{{value}}}` now: {is}"));
    Ok(vec![Piece::Value(value.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(raw: &str, expected: Expect) {
        let plain = |value: &str| Known::Value(Variable { value: value.to_owned(), secret: false });
        let known = [
            ("host", plain("https://x.example")),
            ("base", plain("{{host}}/v1")),
            ("loop", plain("{{loop}}")),
            ("price", plain("$5")),
            ("key", Known::Value(Variable { value: "k".into(), secret: true })),
            ("token", Known::Taken { by: 0, name: "token".into() }),
            ("sum", Known::Computed("Login".into())),
        ];
        let known = known.into_iter().map(|(name, known)| (name.to_owned(), known)).collect();
        let filled = Scope { known, secrets: BTreeMap::new() }.fill(raw, &mut Uses::default());
        let shown = match filled {
            Ok(filled) => {
                filled.secret().map_or_else(|| filled.text(), |name| format!("secret {name}"))
            }
            Err(unfilled) => unfilled.reason(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn variables_are_filled_as_far_as_they_are_known() {
        check("{{base}}/a", expect!["https://x.example/v1/a"]);
        check("{{ token }}!{{price}}", expect!["${token}!$$5"]);
        check(r#"{"a":{"b":{{$randomInt}}}}"#, expect![[r#"{"a":{"b":${number}}}"#]]);
        check(r#"{"a":{"b":{}}}"#, expect![[r#"{"a":{"b":{}}}"#]]);
        check("{{key}}", expect!["secret key"]);
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        check("{{x}}", expect!["the variable `x` has no value; give it by --var or --environment"]);
        check("{{loop}}", expect!["the variable `loop` refers to itself"]);
        check(
            "{{sum}}",
            expect![
                "the variable `sum` is computed by the script of Login, and scripts are not run"
            ],
        );
        check("{{$randomColor}}", expect!["`{{$randomColor}}` has no counterpart"]);
    }
}
