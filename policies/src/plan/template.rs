//! Text with places for values: `/basket/${token}`.

use std::collections::BTreeMap;

/// Values that are there without being taken from an answer: 32 hex digits new for each probe, and the
/// probe's number.
pub const BUILT_IN: [&str; 2] = ["unique", "number"];

/// Text with places for values taken from earlier answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(String),
}

/// Text that is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `${` without its `}`.
    #[error("`${{` without its `}}`")]
    Open,
    /// A name that is none.
    #[error("a name between `${{` and `}}` is lower-case letters, digits, `-` and `_`")]
    Name,
}

impl Template {
    /// Text without places: `$` is a dollar sign.
    pub fn literal(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// Reads `${name}` as a place and `$$` as a dollar sign; any other `$` stands for itself.
    ///
    /// # Errors
    /// A place that is not closed, or has no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(inner) = after.strip_prefix('{') {
                let (name, behind) = inner.split_once('}').ok_or(TemplateError::Open)?;
                let sound =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
                if name.is_empty() || name.len() > 40 || !name.chars().all(sound) {
                    return Err(TemplateError::Name);
                }
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(name.to_owned()));
                rest = behind;
            } else {
                plain.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The names of its places.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text, where it has no places.
    pub fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with its values in place. A value that is not there is empty: the checker has seen to it
    /// that an earlier step takes it, and a step whose value is not found fails.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(name) => values.get(name).cloned().unwrap_or_default(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The text as written, for reports: places stand as `${name}`.
    pub fn written(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Value(name) => format!("${{{name}}}"),
        };
        self.parts.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, TemplateError>) {
        let values = [("id".to_owned(), "7".to_owned()), ("a-b".to_owned(), "x".to_owned())].into();
        let filled = Template::parse(text).map(|template| template.fill(&values));
        assert_eq!(filled.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn values_stand_where_their_names_were() {
        check("/basket/${id}?x=${a-b}", Ok("/basket/7?x=x"));
        check("plain", Ok("plain"));
        check("", Ok(""));
        check("$5 and $$5 and $${id}", Ok("$5 and $5 and ${id}"));
        check("${none}", Ok(""));
        check("{id}", Ok("{id}"));
        check("${id", Err(TemplateError::Open));
        check("${}", Err(TemplateError::Name));
        check("${Id}", Err(TemplateError::Name));
    }
}
