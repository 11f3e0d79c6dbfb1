//! Matching rules of a Pact: which rule speaks of which place of a body.

use serde_json::{Map, Value};

/// One matcher, as the file says it.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    path: Vec<Part>,
    pub(super) written: String,
    pub(super) matchers: Vec<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Key(String),
    Index(usize),
    Any,
}

/// A step from the body to the place that is looked at.
#[derive(Clone, Debug)]
pub(super) enum At {
    Key(String),
    Index(usize),
    /// Each element of a list whose example has one.
    Each,
}

/// The rules for one part of an answer: `body`, `header` or `status`, in the shape of either version.
pub(super) fn rules(of: &Value, part: &str) -> Vec<Rule> {
    let Some(all) = of.get("matchingRules").and_then(Value::as_object) else { return Vec::new() };
    let flat = all.keys().any(|key| key.starts_with('$'));
    if flat {
        return all.iter().filter_map(|(path, matcher)| before_3(path, matcher, part)).collect();
    }
    let matchers = |rule: &Value| match rule.get("matchers").and_then(Value::as_array) {
        Some(matchers) => matchers.clone(),
        None => vec![rule.clone()],
    };
    match all.get(part) {
        // Of a status, and of a path: one rule without a place.
        Some(rule) if rule.get("matchers").is_some() => {
            vec![Rule { path: Vec::new(), written: part.to_owned(), matchers: matchers(rule) }]
        }
        Some(Value::Object(rules)) => rules
            .iter()
            .filter_map(|(path, rule)| {
                let parsed = match part {
                    "body" => parse(path)?,
                    _ => vec![Part::Key(path.to_ascii_lowercase())],
                };
                Some(Rule { path: parsed, written: path.clone(), matchers: matchers(rule) })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// `$.body.a` and `$.headers.x` of version 2.
fn before_3(path: &str, matcher: &Value, part: &str) -> Option<Rule> {
    let parsed = parse(path)?;
    let (first, rest) = parsed.split_first()?;
    let names = match part {
        "header" => ["header", "headers"],
        part => [part, part],
    };
    let of = matches!(first, Part::Key(key) if names.contains(&key.as_str()));
    let path = match part {
        "header" => rest
            .iter()
            .map(|part| match part {
                Part::Key(key) => Part::Key(key.to_ascii_lowercase()),
                Part::Index(_) | Part::Any => part.clone(),
            })
            .collect(),
        _ => rest.to_vec(),
    };
    of.then(|| Rule { path, written: path_text(matcher, &parsed), matchers: vec![matcher.clone()] })
}

fn path_text(_matcher: &Value, parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Key(key) => format!(".{key}"),
        Part::Index(index) => format!("[{index}]"),
        Part::Any => "[*]".to_owned(),
    };
    format!("${}", parts.iter().map(part).collect::<String>())
}

/// `$.a['b'][0][*].*`
fn parse(path: &str) -> Option<Vec<Part>> {
    let mut rest = path.trim().strip_prefix('$')?;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, more) = after.split_at(end);
            parts.push(if key == "*" { Part::Any } else { Part::Key(key.to_owned()) });
            rest = more;
        } else {
            let within = rest.strip_prefix('[')?;
            let quote = within.chars().next().filter(|c| *c == '\'' || *c == '"');
            let (key, more) = match quote {
                Some(quote) => within.get(1..)?.split_once(&format!("{quote}]"))?,
                None => within.split_once(']')?,
            };
            parts.push(match (quote, key) {
                (Some(_), key) => Part::Key(key.to_owned()),
                (None, "*") => Part::Any,
                (None, index) => Part::Index(index.parse().ok()?),
            });
            rest = more;
        }
    }
    Some(parts)
}

impl Rule {
    /// How well it speaks of this place: the better the larger; `None` if it does not.
    fn weight(&self, place: &[At]) -> Option<(u32, usize)> {
        if self.path.len() > place.len() || (self.path.len() < place.len() && !self.cascades()) {
            return None;
        }
        let mut exact = 1_u32;
        for (part, at) in self.path.iter().zip(place) {
            exact = exact.saturating_mul(match (part, at) {
                (Part::Key(one), At::Key(other)) if one == other => 2,
                (Part::Index(one), At::Index(other)) if one == other => 2,
                // Each element is like the first of the example.
                (Part::Index(0), At::Each) => 2,
                (Part::Any, _) => 1,
                _ => return None,
            });
        }
        Some((exact, self.path.len()))
    }

    /// A rule about types holds for all that is within.
    fn cascades(&self) -> bool {
        let kind = |matcher: &Value| match matcher.get("match").and_then(Value::as_str) {
            Some("type" | "equality") => true,
            Some(_) => false,
            None => matcher.get("min").or_else(|| matcher.get("max")).is_some(),
        };
        self.matchers.iter().any(kind)
    }

    /// Whether it is about exactly this place, or each within it.
    pub(super) fn is_at(&self, place: &[At]) -> bool {
        self.path.len() == place.len() && self.weight(place).is_some()
    }
}

/// The rule that speaks best of this place.
pub(super) fn best<'r>(rules: &'r [Rule], place: &[At]) -> Option<&'r Rule> {
    let weighed = rules.iter().filter_map(|rule| Some((rule.weight(place)?, rule)));
    weighed.max_by_key(|(weight, _)| *weight).map(|(_, rule)| rule)
}

/// Whether a rule speaks of every element of the list at this place.
pub(super) fn each(rules: &[Rule], place: &[At]) -> bool {
    let mut within = place.to_vec();
    within.push(At::Each);
    let any = |rule: &Rule| {
        rule.path.get(place.len()) == Some(&Part::Any)
            && rule.path.len() > place.len()
            && Rule { path: rule.path.iter().take(within.len()).cloned().collect(), ..rule.clone() }
                .weight(&within)
                .is_some()
    };
    rules.iter().any(any)
}

/// What a matcher is called; older files leave the name away.
pub(super) fn kind(matcher: &Value) -> &str {
    let fields = matcher.as_object();
    let has = |key: &str| fields.is_some_and(|fields: &Map<_, _>| fields.contains_key(key));
    match matcher.get("match").and_then(Value::as_str) {
        Some(kind) => kind,
        None if has("regex") => "regex",
        None if has("min") || has("max") => "type",
        None if has("timestamp") || has("datetime") => "timestamp",
        None if has("date") => "date",
        None if has("time") => "time",
        None => "unknown",
    }
}
