//! Assertions of test scripts: chains like `pm.expect(x).to.eql(1)`, and the older `tests["…"] = …`.

use serde_json::{Value, json};

use super::super::document::Is;
use super::super::schema::{self, Into};
use super::super::text::escape;
use super::tokens::{Kind, Token, inside, split};
use super::value::{About, Names, about, after, literal};

/// What a test demands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand {
    Status(Vec<String>),
    Within(u64),
    Header(String, Is),
    Text(String),
    Regex(String),
    Json(String, Is),
    Schema(Value),
}

/// Words that only make a chain read like a sentence.
const FILLERS: [&str; 16] = [
    "to", "be", "been", "is", "that", "which", "and", "has", "have", "with", "at", "of", "same",
    "deep", "but", "own",
];
/// Reasons that stand for a status: `to.have.status("Created")`, `to.be.notFound`.
const STATUSES: [(&str, &str); 27] = [
    ("OK", "200"),
    ("Created", "201"),
    ("Accepted", "202"),
    ("No Content", "204"),
    ("Moved Permanently", "301"),
    ("Found", "302"),
    ("Not Modified", "304"),
    ("Bad Request", "400"),
    ("Unauthorized", "401"),
    ("Forbidden", "403"),
    ("Not Found", "404"),
    ("Conflict", "409"),
    ("Unprocessable Entity", "422"),
    ("Too Many Requests", "429"),
    ("ok", "200"),
    ("success", "2xx"),
    ("accepted", "202"),
    ("badRequest", "400"),
    ("unauthorized", "401"),
    ("forbidden", "403"),
    ("notFound", "404"),
    ("rateLimited", "429"),
    ("info", "1xx"),
    ("redirection", "3xx"),
    ("clientError", "4xx"),
    ("serverError", "5xx"),
    ("unprocessableEntity", "422"),
];

const EQUAL: [&str; 5] = ["equal", "equals", "eql", "eqls", "eq"];

struct Link<'t, 'a> {
    name: &'a str,
    arguments: Vec<&'t [Token<'a>]>,
}

impl Link<'_, '_> {
    /// `.true` or `.eql(true)`
    fn is_truth(&self) -> bool {
        match self.arguments.as_slice() {
            [] => self.name == "true",
            [value] => EQUAL.contains(&self.name) && literal(value) == Some(Value::Bool(true)),
            _ => false,
        }
    }
}

/// `.to.not.eql(1)` as its words that mean something, and whether it is denied.
fn links<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(bool, Vec<Link<'t, 'a>>)> {
    let mut rest = tokens;
    let (mut denied, mut links) = (false, Vec::new());
    while let [dot, name, more @ ..] = rest {
        if !dot.is(".") || name.kind != Kind::Word {
            return None;
        }
        rest = more;
        let mut arguments = Vec::new();
        if rest.first().is_some_and(|token| token.is("(")) {
            let (within, close) = inside(rest, 0)?;
            arguments = split(within, ",");
            rest = rest.get(close + 1..)?;
        }
        match name.source {
            "not" => denied = !denied,
            filler if arguments.is_empty() && FILLERS.contains(&filler) => {}
            name => links.push(Link { name, arguments }),
        }
    }
    rest.is_empty().then_some((denied, links))
}

/// What `pm.expect(…)…` or `pm.response.to…` demands; `None` where it is not plain.
pub(super) fn demands(statement: &[Token<'_>], names: &Names) -> Option<Vec<Demand>> {
    if let Some(rest) = after(statement, "pm.response") {
        let (denied, links) = links(rest)?;
        return links
            .iter()
            .map(|link| of_response(link, denied))
            .collect::<Option<Vec<_>>>()
            .or_else(|| of_time(&links, denied))
            .filter(|found| !found.is_empty());
    }
    let rest = after(statement, "pm.expect")?;
    let (within, close) = inside(rest, 0)?;
    // A second argument is only the message.
    let subject = split(within, ",").into_iter().next()?;
    let (denied, links) = links(rest.get(close + 1..)?)?;
    let Some(mut about) = about(subject, names) else {
        // `pm.expect(a === b).to.be.true`
        let truth = !denied && links.len() == 1 && links.iter().all(Link::is_truth);
        return conditions(subject, names).filter(|_| truth);
    };
    let mut found = Vec::new();
    for link in links {
        match (&about, link.name, link.arguments.as_slice()) {
            // `.to.have.property("a").that.equals(1)` goes on about the property.
            (About::Json(path), "property", [key, value @ ..]) => {
                let mut path = path.clone();
                path.push(Into::Key(literal(key)?.as_str()?.to_owned()));
                let fragment = match value {
                    [] => json!({}),
                    [value] => json!({ "const": literal(value)? }),
                    _ => return None,
                };
                found.push(Demand::Schema(denial(denied, schema::at(&path, fragment))));
                about = About::Json(path);
            }
            _ => found.push(compared(&about, &link, denied, names)?),
        }
    }
    (!found.is_empty()).then_some(found)
}

fn of_response(link: &Link<'_, '_>, denied: bool) -> Option<Demand> {
    let named = |name: &str| STATUSES.iter().find(|(known, _)| *known == name).map(|(_, of)| *of);
    let arguments: Option<Vec<Value>> = link.arguments.iter().map(|of| literal(of)).collect();
    match (link.name, arguments?.as_slice(), denied) {
        ("status", [Value::Number(status)], false) => {
            Some(Demand::Status(vec![status.to_string()]))
        }
        ("status", [Value::String(reason)], false) => {
            named(reason).map(|status| Demand::Status(vec![status.to_owned()]))
        }
        ("header", [Value::String(name)], false) => Some(header_is_there(name)),
        ("header", [Value::String(name), value @ Value::String(_)], false) => {
            Some(Demand::Header(name.to_ascii_lowercase(), Is::Equal(value.clone())))
        }
        ("jsonBody", [], false) | ("withBody", [], false) | ("body", [], false) => {
            Some(Demand::Regex(r"\S".to_owned()))
        }
        ("jsonBody", [Value::String(path)], denied) => {
            let path: Vec<Into> = path.split('.').map(|key| Into::Key(key.to_owned())).collect();
            Some(Demand::Schema(denial(denied, schema::at(&path, json!({})))))
        }
        ("jsonBody", [value @ Value::Object(_)], denied) => {
            Some(Demand::Schema(denial(denied, json!({ "const": value }))))
        }
        ("body", [Value::String(text)], false) => {
            Some(Demand::Regex(format!(r"\A{}\z", escape(text))))
        }
        ("json", [], false) => {
            Some(Demand::Header("content-type".to_owned(), Is::Matches("(?i)json".to_owned())))
        }
        ("error", [], true) => Some(Demand::Status(vec!["2xx".to_owned(), "3xx".to_owned()])),
        (name, [], false) => named(name).map(|status| Demand::Status(vec![status.to_owned()])),
        _ => None,
    }
}

/// `pm.response.to.have.responseTime.below(200)`.
fn of_time(links: &[Link<'_, '_>], denied: bool) -> Option<Vec<Demand>> {
    match links {
        [time, limit] if time.name == "responseTime" => {
            compared(&About::Time, limit, denied, &Names::new()).map(|demand| vec![demand])
        }
        _ => None,
    }
}

fn header_is_there(name: &str) -> Demand {
    Demand::Header(name.to_ascii_lowercase(), Is::Matches(String::new()))
}

fn denial(denied: bool, schema: Value) -> Value {
    if denied { json!({ "not": schema }) } else { schema }
}

/// One comparison of a chain.
fn compared(subject: &About, link: &Link<'_, '_>, denied: bool, names: &Names) -> Option<Demand> {
    let arguments: Option<Vec<About>> = link.arguments.iter().map(|of| about(of, names)).collect();
    let arguments = arguments?;
    let value = match arguments.as_slice() {
        [About::Literal(value)] => Some(value),
        _ => None,
    };
    let equal = EQUAL.contains(&link.name);
    let includes = ["include", "includes", "contain", "contains"].contains(&link.name);
    match subject {
        About::Status => status(link.name, equal, denied, &arguments),
        About::Time => {
            let strict = ["below", "lessThan", "lt"].contains(&link.name);
            let most = ["most", "lte", "lessThanOrEqual"].contains(&link.name);
            let limit = value?.as_f64().filter(|_| (strict || most) && !denied)?;
            milliseconds(limit).map(Demand::Within)
        }
        About::Body if denied => None,
        About::Body => match (link.name, value, arguments.as_slice()) {
            (_, Some(Value::String(text)), _) if includes => Some(Demand::Text(text.clone())),
            (_, Some(Value::String(text)), _) if equal => {
                Some(Demand::Regex(format!(r"\A{}\z", escape(text))))
            }
            ("match", _, [About::Regex(regex)]) => Some(Demand::Regex(regex.clone())),
            _ => None,
        },
        About::Header(name) => {
            let is = |is| Some(Demand::Header(name.to_ascii_lowercase(), is));
            match (link.name, value, arguments.as_slice()) {
                ("exist" | "ok", _, []) if !denied => Some(header_is_there(name)),
                ("undefined" | "null" | "empty", _, []) if denied => Some(header_is_there(name)),
                (_, Some(value @ Value::String(_)), _) if equal && !denied => {
                    is(Is::Equal(value.clone()))
                }
                (_, Some(Value::String(part)), _) if includes && !denied => {
                    is(Is::Matches(escape(part)))
                }
                ("match", _, [About::Regex(regex)]) if !denied => is(Is::Matches(regex.clone())),
                _ => None,
            }
        }
        About::Json(path) => json(path, link.name, equal, includes, denied, &arguments),
        About::Length(path) => length(path, link.name, equal, value?.as_i64()?).filter(|_| !denied),
        About::Literal(_) | About::Regex(_) | About::Variable(_) | About::Nothing => None,
    }
}

/// Whole milliseconds; a test allows at most an hour.
fn milliseconds(limit: f64) -> Option<u64> {
    format!("{:.0}", limit.floor()).parse().ok().filter(|ms| (1..=3_600_000).contains(ms))
}

fn status(name: &str, equal: bool, denied: bool, arguments: &[About]) -> Option<Demand> {
    let whole = |about: &About| match about {
        About::Literal(value) => value.as_i64(),
        _ => None,
    };
    let numbers: Option<Vec<i64>> = match arguments {
        [About::Literal(Value::Array(list))] => list.iter().map(Value::as_i64).collect(),
        arguments => arguments.iter().map(whole).collect(),
    };
    let wanted = match (name, numbers?.as_slice(), denied) {
        ("oneOf" | "equal", [], _) => return None,
        (_, [status], false) if equal => vec![status.to_string()],
        ("oneOf", statuses, false) => statuses.iter().map(ToString::to_string).collect(),
        ("within", [200, 299], false) => vec!["2xx".to_owned()],
        ("within", [200, 399], false) | ("below" | "lessThan", [400], false) => {
            vec!["2xx".to_owned(), "3xx".to_owned()]
        }
        ("below" | "lessThan", [300], false) => vec!["2xx".to_owned()],
        ("below" | "lessThan", [500], false) => {
            vec!["2xx".to_owned(), "3xx".to_owned(), "4xx".to_owned()]
        }
        _ => return None,
    };
    Some(Demand::Status(wanted))
}

/// A comparison of a value in JSON.
fn json(
    path: &[Into],
    name: &str,
    equal: bool,
    includes: bool,
    denied: bool,
    arguments: &[About],
) -> Option<Demand> {
    let at = |fragment| Some(Demand::Schema(denial(denied, schema::at(path, fragment))));
    // `not.be.null` is about a value that is there.
    let there = |fragment| Some(Demand::Schema(schema::at(path, fragment)));
    let not = |fragment: Value| if denied { json!({ "not": fragment }) } else { fragment };
    match (name, arguments) {
        (_, [About::Literal(value)]) if equal && !denied => equals(path, value),
        (_, [About::Literal(value)]) if equal => at(json!({ "const": value })),
        ("oneOf", [About::Literal(Value::Array(values))]) => at(json!({ "enum": values })),
        ("a" | "an", [About::Literal(Value::String(kind))]) => match kind.as_str() {
            "string" | "number" | "boolean" | "array" | "object" | "null" => {
                there(not(json!({ "type": kind })))
            }
            "undefined" => Some(Demand::Schema(denial(!denied, schema::at(path, json!({}))))),
            _ => None,
        },
        ("undefined" | "exist", []) => {
            let absent = denied == (name == "exist");
            let fragment =
                if name == "exist" { json!({ "not": { "type": "null" } }) } else { json!({}) };
            Some(Demand::Schema(denial(absent, schema::at(path, fragment))))
        }
        ("true", []) => there(not(json!({ "const": true }))),
        ("false", []) => there(not(json!({ "const": false }))),
        ("null", []) => there(not(json!({ "type": "null" }))),
        ("ok", []) => there(not(json!({ "not": { "enum": [null, false, 0, ""] } }))),
        ("empty", []) if denied => {
            there(json!({ "minLength": 1, "minItems": 1, "minProperties": 1 }))
        }
        ("empty", []) => there(json!({ "maxLength": 0, "maxItems": 0, "maxProperties": 0 })),
        ("match", [About::Regex(regex)]) if !denied => match schema::path(path) {
            Some(path) => Some(Demand::Json(path, Is::Matches(regex.clone()))),
            None => there(json!({ "type": "string", "pattern": regex })),
        },
        ("length" | "lengthOf", [About::Literal(size)]) if !denied => {
            length(path, "equal", true, size.as_i64()?)
        }
        ("above" | "greaterThan" | "gt", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "exclusiveMinimum": n })))
        }
        ("least" | "gte" | "greaterThanOrEqual", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "minimum": n })))
        }
        ("below" | "lessThan" | "lt", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "exclusiveMaximum": n })))
        }
        ("most" | "lte" | "lessThanOrEqual", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "maximum": n })))
        }
        ("within", [About::Literal(Value::Number(low)), About::Literal(Value::Number(high))]) => {
            there(not(json!({ "type": "number", "minimum": low, "maximum": high })))
        }
        // Of a text it is a part, of a list an element, of an object some of its entries.
        (_, [About::Literal(value @ Value::String(part))]) if includes => {
            there(not(json!({ "anyOf": [
            { "type": "string", "pattern": escape(part) },
            { "type": "array", "contains": { "const": value } },
        ] })))
        }
        (_, [About::Literal(value @ (Value::Number(_) | Value::Bool(_)))]) if includes => {
            there(not(json!({ "type": "array", "contains": { "const": value } })))
        }
        ("keys", keys) if !denied => {
            let keys: Option<Vec<&str>> = keys.iter().map(text).collect();
            there(json!({ "type": "object", "required": keys.filter(|keys| !keys.is_empty())? }))
        }
        _ => None,
    }
}

fn text(of: &About) -> Option<&str> {
    match of {
        About::Literal(value) => value.as_str(),
        _ => None,
    }
}

fn equals(path: &[Into], value: &Value) -> Option<Demand> {
    let scalar = !(value.is_array() || value.is_object());
    Some(match schema::path(path).filter(|_| scalar) {
        Some(path) => Demand::Json(path, Is::Equal(value.clone())),
        None => Demand::Schema(schema::at(path, json!({ "const": value }))),
    })
}

/// Texts have a length as lists do; what is meant of the other is ignored by a schema.
fn length(path: &[Into], name: &str, equal: bool, size: i64) -> Option<Demand> {
    let (low, high) = match name {
        _ if equal => (Some(size), Some(size)),
        "above" | "greaterThan" | "gt" => (Some(size + 1), None),
        "least" | "gte" | "greaterThanOrEqual" => (Some(size), None),
        "below" | "lessThan" | "lt" => (None, Some(size - 1)),
        "most" | "lte" | "lessThanOrEqual" => (None, Some(size)),
        _ => return None,
    };
    let mut fragment = serde_json::Map::new();
    for (limit, names) in [(low, ["minItems", "minLength"]), (high, ["maxItems", "maxLength"])] {
        if let Some(limit) = limit.filter(|limit| *limit >= 0) {
            fragment.extend(names.map(|name| (name.to_owned(), Value::from(limit))));
        }
    }
    fragment.insert("type".to_owned(), json!(["string", "array"]));
    Some(Demand::Schema(schema::at(path, Value::Object(fragment))))
}

/// What `tests["…"] = …` demands: conditions that all must hold.
pub(super) fn conditions(tokens: &[Token<'_>], names: &Names) -> Option<Vec<Demand>> {
    let found = split(tokens, "&&").into_iter().map(|part| condition(part, names));
    found.collect::<Option<Vec<_>>>().filter(|found| !found.is_empty())
}

fn condition(tokens: &[Token<'_>], names: &Names) -> Option<Demand> {
    let tokens = match inside(tokens, 0) {
        Some((within, close)) if close + 1 == tokens.len() && tokens.first()?.is("(") => within,
        _ => tokens,
    };
    for sign in ["===", "=="] {
        if let [one, other] = split(tokens, sign).as_slice() {
            let link = Link { name: "equal", arguments: vec![other] };
            return compared(&about(one, names)?, &link, false, names);
        }
    }
    for (sign, name) in [("<=", "most"), (">=", "least"), ("<", "below"), (">", "above")] {
        if let [one, other] = split(tokens, sign).as_slice() {
            let link = Link { name, arguments: vec![other] };
            return compared(&about(one, names)?, &link, false, names);
        }
    }
    if let [[Token { kind: Kind::Text(key), .. }], of] = split(tokens, "in").as_slice()
        && let About::Json(mut path) = about(of, names)?
    {
        path.push(Into::Key(key.clone()));
        return Some(Demand::Schema(schema::at(&path, json!({}))));
    }
    called(tokens, names).or_else(|| match about(tokens, names)? {
        About::Header(name) => Some(header_is_there(&name)),
        About::Json(path) => json(&path, "ok", false, false, false, &[]),
        _ => None,
    })
}

/// `x.hasOwnProperty("a")`, `responseBody.has("a")`, `Array.isArray(x)`, `/…/.test(x)`.
fn called(tokens: &[Token<'_>], names: &Names) -> Option<Demand> {
    let open = tokens.iter().rposition(|token| token.is("("))?;
    let (within, close) = inside(tokens, open)?;
    let [subject @ .., dot, method] = tokens.get(..open).filter(|_| close + 1 == tokens.len())?
    else {
        return None;
    };
    if !dot.is(".") {
        return None;
    }
    let kind = |kind: &str| match about(within, names)? {
        About::Json(path) => Some(Demand::Schema(schema::at(&path, json!({ "type": kind })))),
        _ => None,
    };
    if after(subject, "pm.response.headers").is_some_and(<[_]>::is_empty) && method.is("has") {
        return literal(within)?.as_str().map(header_is_there);
    }
    match (method.source, subject) {
        ("isArray", [array]) if array.is("Array") => return kind("array"),
        ("isInteger", [number]) if number.is("Number") => return kind("integer"),
        _ => {}
    }
    match (about(subject, names)?, method.source, about(within, names)?) {
        (About::Json(mut path), "hasOwnProperty" | "has", About::Literal(Value::String(key))) => {
            path.push(Into::Key(key));
            Some(Demand::Schema(schema::at(&path, json!({}))))
        }
        (About::Body, "has" | "includes", About::Literal(Value::String(text))) => {
            Some(Demand::Text(text))
        }
        (About::Header(name), "has" | "includes", About::Literal(Value::String(text))) => {
            Some(Demand::Header(name.to_ascii_lowercase(), Is::Matches(escape(&text))))
        }
        (About::Json(path), "includes", About::Literal(value @ Value::String(_))) => {
            json(&path, "include", false, true, false, &[About::Literal(value)])
        }
        (About::Regex(regex), "test", About::Json(path)) => {
            json(&path, "match", false, false, false, &[About::Regex(regex)])
        }
        (About::Regex(regex), "test", About::Body) => Some(Demand::Regex(regex)),
        _ => None,
    }
}
