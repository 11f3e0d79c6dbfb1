//! Assertions of test scripts: chains like `pm.expect(x).to.eql(1)`, and the older `tests["…"] = …`.

use serde_json::{Value, json};

use super::super::document::Is;
use super::super::schema::{self, Into};
use super::super::text::escape;
use super::compare::{Demand, EQUAL, compared, denial, header_is_there};
use super::tokens::{Kind, Token, inside, split};
use super::value::{About, Names, about, after, literal};

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

struct Link<'t, 'a> {
    name: &'a str,
    arguments: Vec<&'t [Token<'a>]>,
    /// `not` stands somewhere before it: it holds for the rest of a chain.
    denied: bool,
}

impl Link<'_, '_> {
    fn compared(&self, subject: &About, names: &Names) -> Option<Demand> {
        let arguments = self.arguments.iter().map(|of| about(of, names));
        compared(subject, self.name, &arguments.collect::<Option<Vec<_>>>()?, self.denied)
    }

    /// `.true` or `.eql(true)`
    fn is_truth(&self) -> bool {
        match self.arguments.as_slice() {
            _ if self.denied => false,
            [] => self.name == "true",
            [value] => EQUAL.contains(&self.name) && literal(value) == Some(Value::Bool(true)),
            _ => false,
        }
    }
}

/// `.to.not.eql(1)` as its words that mean something, and whether it is denied.
fn links<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<Vec<Link<'t, 'a>>> {
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
            name => links.push(Link { name, arguments, denied }),
        }
    }
    rest.is_empty().then_some(links)
}

/// What `pm.expect(…)…` or `pm.response.to…` demands; `None` where it is not plain.
pub(super) fn demands(statement: &[Token<'_>], names: &Names) -> Option<Vec<Demand>> {
    if let Some(rest) = after(statement, "pm.response") {
        let links = links(rest)?;
        return links
            .iter()
            .map(|link| of_response(link))
            .collect::<Option<Vec<_>>>()
            .or_else(|| of_time(&links))
            .filter(|found| !found.is_empty());
    }
    let rest = after(statement, "pm.expect")?;
    let (within, close) = inside(rest, 0)?;
    // A second argument is only the message.
    let subject = split(within, ",").into_iter().next()?;
    let links = links(rest.get(close + 1..)?)?;
    let Some(mut about) = about(subject, names) else {
        // `pm.expect(a === b).to.be.true`
        let truth = links.len() == 1 && links.iter().all(Link::is_truth);
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
                found.push(Demand::Schema(denial(link.denied, schema::at(&path, fragment))));
                about = About::Json(path);
            }
            _ => found.push(link.compared(&about, names)?),
        }
    }
    (!found.is_empty()).then_some(found)
}

fn of_response(link: &Link<'_, '_>) -> Option<Demand> {
    let named = |name: &str| STATUSES.iter().find(|(known, _)| *known == name).map(|(_, of)| *of);
    let arguments: Option<Vec<Value>> = link.arguments.iter().map(|of| literal(of)).collect();
    match (link.name, arguments?.as_slice(), link.denied) {
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
fn of_time(links: &[Link<'_, '_>]) -> Option<Vec<Demand>> {
    match links {
        [time, limit] if time.name == "responseTime" => {
            limit.compared(&About::Time, &Names::new()).map(|demand| vec![demand])
        }
        _ => None,
    }
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
            let link = Link { name: "equal", arguments: vec![other], denied: false };
            return link.compared(&about(one, names)?, names);
        }
    }
    for (sign, name) in [("<=", "most"), (">=", "least"), ("<", "below"), (">", "above")] {
        if let [one, other] = split(tokens, sign).as_slice() {
            let link = Link { name, arguments: vec![other], denied: false };
            return link.compared(&about(one, names)?, names);
        }
    }
    if let [[Token { kind: Kind::Text(key), .. }], of] = split(tokens, "in").as_slice()
        && let About::Json(mut path) = about(of, names)?
    {
        path.push(Into::Key(key.clone()));
        return Some(Demand::Schema(schema::at(&path, json!({}))));
    }
    called(tokens, names).or_else(|| compared(&about(tokens, names)?, "ok", &[], false))
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
    let kind = |kind: &str| {
        let About::Json(path) = about(within, names)? else { return None };
        Some(Demand::Schema(schema::at(&path, json!({ "type": kind }))))
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
            compared(&About::Json(path), "include", &[About::Literal(value)], false)
        }
        (About::Regex(regex), "test", About::Json(path)) => {
            compared(&About::Json(path), "match", &[About::Regex(regex)], false)
        }
        (About::Regex(regex), "test", About::Body) => Some(Demand::Regex(regex)),
        _ => None,
    }
}
