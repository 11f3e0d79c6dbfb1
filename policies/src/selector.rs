//! Which series of a service's own metrics an objective means: `name{label="value", other=~"re"}`.
//!
//! Strict, and a part of what Prometheus's own selectors are, with the same meaning: a label that a series
//! does not have is empty, an expression must match the whole value. No functions and no ranges: gate takes
//! differences itself.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// No selector that people write by hand is longer.
const SELECTOR_BYTES_MAX: usize = 1024;
/// What one compiled expression may hold: thousands of states, and checking a policy stays quick.
const EXPRESSION_BYTES_MAX: usize = 256 * 1024;

/// Series of one metric.
#[derive(Clone)]
pub struct Selector {
    text: String,
    name: String,
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    compare: Compare,
    /// Whether a value that fits is wanted: `=` and `=~`; or one that does not: `!=` and `!~`.
    wanted: bool,
}

#[derive(Clone, Debug)]
enum Compare {
    Text(String),
    Expression(Regex),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Longer than any real one.
    #[error("a selector has at most {SELECTOR_BYTES_MAX} bytes, this one {0}")]
    TooLong(usize),
    /// It does not begin with a name, or something other than labels follows.
    #[error("`{0}` is not a metric")]
    NotAMetric(String),
    /// Something between the braces is no label name.
    #[error("`{0}` is not the name of a label")]
    Label(String),
    /// A label is compared in no known way.
    #[error("label `{0}` is compared by `=`, `!=`, `=~` or `!~`")]
    Compare(String),
    /// A value without its quotes.
    #[error("the value of label `{0}` is not between quotes")]
    Unquoted(String),
    /// A backslash before something that needs none.
    #[error("`\\{escaped}` in the value of label `{label}` means nothing")]
    Escape {
        /// Label whose value it is in.
        label: String,
        /// What follows the backslash.
        escaped: char,
    },
    /// An expression that cannot be compiled.
    #[error("`{expression}` is not a regular expression: {reason}")]
    Expression {
        /// As written.
        expression: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No comma or closing brace where one must be.
    #[error("the labels of `{0}` do not end in `}}`")]
    Unclosed(String),
    /// A part of a histogram where the whole is meant.
    #[error("`{part}` is a part of the histogram `{whole}`")]
    Part {
        /// As written.
        part: String,
        /// Its name without the ending.
        whole: String,
    },
    /// The bound of a bucket, which gate reads itself.
    #[error("`le` selects buckets of a histogram, which all are needed")]
    Bound,
}

impl Selector {
    /// Reads a selector of counters.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(SelectorError::TooLong(text.len()));
        }
        let whole = text.trim();
        let (name, mut rest) = word(whole, |b| b == b':');
        let not_a_metric = || SelectorError::NotAMetric(whole.to_owned());
        if name.is_empty() {
            return Err(not_a_metric());
        }
        rest = rest.trim_start();
        let mut matchers = Vec::new();
        if !rest.is_empty() {
            rest = rest.strip_prefix('{').ok_or_else(not_a_metric)?.trim_start();
            loop {
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                let matcher;
                (matcher, rest) = Matcher::parse(rest)?;
                matchers.push(matcher);
                rest = match rest.strip_prefix(',') {
                    Some(after) => after.trim_start(),
                    None if rest.starts_with('}') => rest,
                    None => return Err(SelectorError::Unclosed(whole.to_owned())),
                };
            }
            if !rest.is_empty() {
                return Err(not_a_metric());
            }
        }
        Ok(Self { text: whole.to_owned(), name: name.to_owned(), matchers })
    }

    /// Reads a selector of whole histograms.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse_histogram(text: &str) -> Result<Self, SelectorError> {
        let selector = Self::parse(text)?;
        for ending in ["_bucket", "_count", "_sum"] {
            if let Some(whole) = selector.name.strip_suffix(ending) {
                let (part, whole) = (selector.name.clone(), whole.to_owned());
                return Err(SelectorError::Part { part, whole });
            }
        }
        if selector.matchers.iter().any(|matcher| matcher.label == "le") {
            return Err(SelectorError::Bound);
        }
        Ok(selector)
    }

    /// Name of the metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a series of that name is meant; `label` looks a label up.
    pub fn fits<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = label(&matcher.label).unwrap_or("");
            let same = match &matcher.compare {
                Compare::Text(text) => text == value,
                Compare::Expression(expression) => expression.is_match(value),
            };
            same == matcher.wanted
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selector({})", self.text)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Matcher {
    /// One comparison and what follows it, without the blanks between.
    fn parse(text: &str) -> Result<(Self, &str), SelectorError> {
        let (label, rest) = word(text, |_| false);
        if label.is_empty() || label == "__name__" {
            let until = text.find(['=', '!', ',', '}']).unwrap_or(text.len());
            let wrong = text.get(..until).unwrap_or(text).trim_end();
            return Err(SelectorError::Label(wrong.to_owned()));
        }
        let rest = rest.trim_start();
        let compared =
            [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)]
                .into_iter()
                .find_map(|(sign, is_expression, wanted)| {
                    Some((is_expression, wanted, rest.strip_prefix(sign)?))
                });
        let Some((is_expression, wanted, rest)) = compared else {
            return Err(SelectorError::Compare(label.to_owned()));
        };
        let (value, rest) = quoted(label, rest.trim_start())?;
        let compare = if is_expression { expression(value)? } else { Compare::Text(value) };
        Ok((Self { label: label.to_owned(), compare, wanted }, rest.trim_start()))
    }
}

/// The longest beginning that is a name; empty where there is none.
fn word(text: &str, also: impl Fn(u8) -> bool) -> (&str, &str) {
    let belongs = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || also(b);
    let length = text.bytes().take_while(|b| belongs(*b)).count();
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return ("", text);
    }
    text.split_at_checked(length).unwrap_or(("", text))
}

/// A value between double or single quotes, and what follows.
fn quoted<'a>(label: &str, text: &'a str) -> Result<(String, &'a str), SelectorError> {
    let unquoted = || SelectorError::Unquoted(label.to_owned());
    let mut letters = text.chars();
    let quote = letters.next().filter(|first| ['"', '\''].contains(first)).ok_or_else(unquoted)?;
    let mut value = String::new();
    loop {
        let letter = letters.next().ok_or_else(unquoted)?;
        if letter == quote {
            return Ok((value, letters.as_str()));
        }
        value.push(match letter {
            '\\' => match letters.next().ok_or_else(unquoted)? {
                'n' => '\n',
                same @ ('\\' | '"' | '\'') => same,
                escaped => return Err(SelectorError::Escape { label: label.to_owned(), escaped }),
            },
            letter => letter,
        });
    }
}

/// Anchored at both ends, as Prometheus does it; `.` is any character there too.
fn expression(expression: String) -> Result<Compare, SelectorError> {
    // By itself first: `a)(b` must not become good by what is put around it.
    let compile = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.dot_matches_new_line(true).size_limit(EXPRESSION_BYTES_MAX).build()
    };
    let compiled = compile(&expression).and_then(|_good| compile(&format!("^(?:{expression})$")));
    match compiled {
        Ok(compiled) => Ok(Compare::Expression(compiled)),
        Err(error) => Err(SelectorError::Expression { expression, reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a selector says of `{code="500", path="/a\"b", host="x"}`.
    #[track_caller]
    fn check(text: &str, fits: bool) {
        let selector = Selector::parse(text).unwrap();
        let label = |name: &str| match name {
            "code" => Some("500"),
            "path" => Some("/a\"b"),
            "host" => Some("x\ny"),
            _ => None,
        };
        assert_eq!(selector.fits(label), fits, "{text}");
    }

    #[test]
    fn a_series_is_meant_by_all_its_labels() {
        check("hits", true);
        check("hits{}", true);
        check("job:hits_total:sum { }", true);
        check("hits{code=\"500\"}", true);
        check("hits{code='500',}", true);
        check("hits{ code = \"500\" , path != \"/\" }", true);
        check("hits{code=\"500\",path=\"/\"}", false);
        check("hits{code!=\"500\"}", false);
        check("hits{path=\"/a\\\"b\"}", true);
        check("hits{path='/a\"b'}", true);
    }

    #[test]
    fn an_expression_is_of_the_whole_value() {
        check("hits{code=~\"5..\"}", true);
        check("hits{code=~\"5\\\\d\\\\d\"}", true);
        check("hits{code=~\"5\"}", false);
        check("hits{code=~\"4|500|x\"}", true);
        check("hits{code=~\"5|0\"}", false);
        check("hits{code!~\"5..\"}", false);
        check("hits{code!~\"5\"}", true);
        check("hits{host=~\"x.y\"}", true);
    }

    #[test]
    fn a_label_that_is_not_there_is_empty() {
        check("hits{zone=\"\"}", true);
        check("hits{zone!=\"\"}", false);
        check("hits{zone=~\".*\"}", true);
        check("hits{zone=~\".+\"}", false);
        check("hits{zone!=\"a\"}", true);
    }

    #[track_caller]
    fn refuse(text: &str, because: &str) {
        let error = Selector::parse_histogram(text).unwrap_err().to_string();
        assert_eq!(error, because, "{text}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        refuse("", "`` is not a metric");
        refuse("5xx", "`5xx` is not a metric");
        refuse("{code=\"5\"}", "`{code=\"5\"}` is not a metric");
        refuse("rate(hits[1m])", "`rate(hits[1m])` is not a metric");
        refuse("hits{}[5m]", "`hits{}[5m]` is not a metric");
        refuse("hits{5=\"a\"}", "`5` is not the name of a label");
        refuse("hits{é=\"a\"}", "`é` is not the name of a label");
        refuse("hits{__name__=\"a\"}", "`__name__` is not the name of a label");
        refuse("hits{code}", "label `code` is compared by `=`, `!=`, `=~` or `!~`");
        refuse("hits{code>\"a\"}", "label `code` is compared by `=`, `!=`, `=~` or `!~`");
        refuse("hits{code=500}", "the value of label `code` is not between quotes");
        refuse("hits{code=\"500}", "the value of label `code` is not between quotes");
        refuse("hits{code=\"5\\", "the value of label `code` is not between quotes");
        refuse("hits{code=~\"\\d\"}", "`\\d` in the value of label `code` means nothing");
        refuse("hits{code=\"5\"", "the labels of `hits{code=\"5\"` do not end in `}`");
        refuse("hits{", "`` is not the name of a label");
        refuse("hits{,}", "`` is not the name of a label");
        refuse("hits_bucket", "`hits_bucket` is a part of the histogram `hits`");
        refuse("hits{le=\"1\"}", "`le` selects buckets of a histogram, which all are needed");
        refuse(&"a".repeat(1025), "a selector has at most 1024 bytes, this one 1025");
        for wrong in ["a)(b", "(", "a{5000}{5000}"] {
            let error = Selector::parse(&format!("hits{{code=~\"{wrong}\"}}")).unwrap_err();
            assert!(matches!(error, SelectorError::Expression { .. }), "{wrong}: {error}");
        }
    }
}
