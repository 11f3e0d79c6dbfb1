//! What an expression of a test script is about: a place in the answer, or a value written down.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::super::schema::Into;
use super::tokens::{Kind, Token, inside, split};

/// What is known of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum About {
    Status,
    /// Milliseconds the answer took.
    Time,
    Body,
    Header(String),
    Json(Vec<Into>),
    /// The number of elements or characters of something in JSON.
    Length(Vec<Into>),
    Literal(Value),
    Regex(String),
    /// A variable of the collection.
    Variable(String),
    /// `undefined`.
    Nothing,
}

impl About {
    /// The value that is written down.
    pub(super) fn literal(&self) -> Option<&Value> {
        if let Self::Literal(value) = self { Some(value) } else { None }
    }
}

/// Names that a script gave to expressions.
pub(super) type Names = BTreeMap<String, About>;

/// Ways to write the same thing, newest first.
const STATUS: [&str; 2] = ["pm.response.code", "responseCode.code"];
const TIME: [&str; 2] = ["pm.response.responseTime", "responseTime"];
const BODY: [&str; 2] = ["pm.response.text()", "responseBody"];
const JSON: [&str; 3] =
    ["pm.response.json()", "JSON.parse(responseBody)", "JSON.parse(pm.response.text())"];
const HEADER: [&str; 2] = ["pm.response.headers.get", "postman.getResponseHeader"];
const VARIABLE: [&str; 6] = [
    "pm.environment.get",
    "pm.collectionVariables.get",
    "pm.globals.get",
    "pm.variables.get",
    "postman.getEnvironmentVariable",
    "postman.getGlobalVariable",
];

/// Tokens after a spelling like `pm.response.code`, if they begin so.
pub(super) fn after<'t, 'a>(tokens: &'t [Token<'a>], spelled: &str) -> Option<&'t [Token<'a>]> {
    let (mut rest, mut tokens) = (spelled, tokens);
    while !rest.is_empty() {
        let (first, others) = tokens.split_first()?;
        rest = rest.strip_prefix(first.source)?;
        tokens = others;
    }
    Some(tokens)
}

fn after_any<'t, 'a>(tokens: &'t [Token<'a>], spelled: &[&str]) -> Option<&'t [Token<'a>]> {
    spelled.iter().find_map(|spelled| after(tokens, spelled))
}

/// The only text in brackets that these begin with, and what follows.
fn named<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(String, &'t [Token<'a>])> {
    let open = tokens.first().filter(|token| token.is("("));
    let (within, close) = inside(tokens, open.map(|_| 0)?)?;
    match within {
        [Token { kind: Kind::Text(text), .. }] => Some((text.clone(), tokens.get(close + 1..)?)),
        _ => None,
    }
}

/// What an expression is about; `None` where it is not plain.
pub(super) fn about(tokens: &[Token<'_>], names: &Names) -> Option<About> {
    let tokens = unwrapped(tokens);
    if let Some(value) = literal(tokens) {
        return Some(About::Literal(value));
    }
    match tokens {
        [Token { kind: Kind::Regex(source, flags), .. }] => {
            return match flags.as_str() {
                "" | "g" => Some(About::Regex(source.clone())),
                "i" | "gi" | "ig" => Some(About::Regex(format!("(?i){source}"))),
                _ => None,
            };
        }
        [only] if only.is("undefined") => return Some(About::Nothing),
        _ => {}
    }
    if let Some(rest) = after_any(tokens, &HEADER) {
        let (name, rest) = named(rest)?;
        return rest.is_empty().then_some(About::Header(name));
    }
    if let Some(rest) = after_any(tokens, &VARIABLE) {
        let (name, rest) = named(rest)?;
        return rest.is_empty().then_some(About::Variable(name));
    }
    if let Some(rest) = after_any(tokens, &JSON) {
        return place(Vec::new(), rest);
    }
    for (spelled, what) in [(STATUS, About::Status), (TIME, About::Time), (BODY, About::Body)] {
        if after_any(tokens, &spelled).is_some_and(<[_]>::is_empty) {
            return Some(what);
        }
    }
    let (first, rest) = tokens.split_first()?;
    let known = names.get(first.source).filter(|_| first.kind == Kind::Word)?;
    if let About::Json(path) = known {
        return place(path.clone(), rest);
    }
    rest.is_empty().then(|| known.clone())
}

/// Without brackets around it, `await` before it, or `|| {}` after it.
fn unwrapped<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut tokens = tokens;
    while let Some(first) = tokens.first() {
        let or: Vec<_> = split(tokens, "||");
        let whole = inside(tokens, 0).filter(|(_, close)| close + 1 == tokens.len());
        tokens = match (first, or.as_slice(), whole) {
            (first, _, _) if first.is("await") => tokens.get(1..).unwrap_or_default(),
            (_, [one, other], _) if is_empty(other) => one,
            (first, _, Some((within, _))) if first.is("(") => within,
            _ => return tokens,
        };
    }
    tokens
}

fn is_empty(tokens: &[Token<'_>]) -> bool {
    literal(tokens).is_some_and(|value| {
        value == Value::Null
            || value == Value::String(String::new())
            || value == Value::Array(vec![])
            || value == Value::Object(Map::new())
    })
}

/// Follows `.a`, `?.a`, `["a"]` and `[0]` to the end.
fn place(mut path: Vec<Into>, mut rest: &[Token<'_>]) -> Option<About> {
    loop {
        match rest {
            [] => return Some(About::Json(path)),
            [dot, length] if (dot.is(".") || dot.is("?.")) && length.is("length") => {
                return Some(About::Length(path));
            }
            [_dot, call, open, ..] if call.kind == Kind::Word && open.is("(") => return None,
            [dot, key, more @ ..] if (dot.is(".") || dot.is("?.")) && key.kind == Kind::Word => {
                path.push(Into::Key(key.source.to_owned()));
                rest = more;
            }
            [open, Token { kind: Kind::Text(key), .. }, close, more @ ..]
                if open.is("[") && close.is("]") =>
            {
                path.push(Into::Key(key.clone()));
                rest = more;
            }
            [open, index, close, more @ ..]
                if open.is("[") && index.kind == Kind::Number && close.is("]") =>
            {
                path.push(Into::Index(index.source.parse().ok()?));
                rest = more;
            }
            _ => return None,
        }
    }
}

/// A value that is written down: text, numbers, lists and objects of them.
pub(super) fn literal(tokens: &[Token<'_>]) -> Option<Value> {
    match tokens {
        [Token { kind: Kind::Text(text), .. }] => Some(Value::String(text.clone())),
        [one] if one.is("true") => Some(Value::Bool(true)),
        [one] if one.is("false") => Some(Value::Bool(false)),
        [one] if one.is("null") => Some(Value::Null),
        [one] if one.kind == Kind::Number => number(one.source),
        [minus, one] if minus.is("-") && one.kind == Kind::Number => {
            number(&format!("-{}", one.source))
        }
        [open, .., close] if open.is("[") && close.is("]") => {
            let (within, end) = inside(tokens, 0)?;
            let items = split(within, ",").into_iter().map(literal);
            (end + 1 == tokens.len()).then(|| items.collect::<Option<Vec<_>>>())?.map(Value::Array)
        }
        [open, .., close] if open.is("{") && close.is("}") => {
            let (within, end) = inside(tokens, 0)?;
            let entries = split(within, ",").into_iter().map(|entry| match entry {
                [Token { kind: Kind::Text(key), .. }, colon, value @ ..] if colon.is(":") => {
                    Some((key.clone(), literal(value)?))
                }
                [key, colon, value @ ..] if key.kind == Kind::Word && colon.is(":") => {
                    Some((key.source.to_owned(), literal(value)?))
                }
                _ => None,
            });
            (end + 1 == tokens.len())
                .then(|| entries.collect::<Option<Map<_, _>>>())?
                .map(Value::Object)
        }
        _ => None,
    }
}

fn number(source: &str) -> Option<Value> {
    if let Ok(whole) = source.parse::<i64>() {
        return Some(Value::from(whole));
    }
    source.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}
