//! Postman collections (v2.0 and v2.1), as Newman runs them.
//!
//! A folder becomes a scenario, a request a step. A run of Newman has one memory for all folders; a
//! scenario remembers only what its own steps take, so a step that uses what a request of another folder
//! took has that request copied in front of it.

mod chain;
mod compare;
mod request;
mod script;
mod template;
#[cfg(test)]
mod tests;
mod tokens;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use policies::plan::SCENARIOS_MAX;
use serde_json::Value;

use super::document::{Document, Expect, Scenario, Step, Take};
use super::schema;
use super::text::{name, short};
use super::{Remark, Variable};
use compare::Demand;
use request::Turned;
use script::{Script, Set};
use template::{Known, Scope};
use value::About;

/// Folders within folders.
const DEPTH_MAX: usize = 32;
/// Requests of a collection; far above what a policy holds, so that each can be listed.
const REQUESTS_MAX: usize = 10_000;
/// Redirects that Newman follows.
const REDIRECTS: u8 = 10;

/// One request with what its folders say of it.
struct Found<'a> {
    place: String,
    /// The names of its folders.
    folder: String,
    item: &'a Value,
    auth: Option<&'a Value>,
    /// Scripts of the collection, its folders and itself.
    before: Vec<(String, String)>,
    tests: Vec<(String, String)>,
}

/// A request as a step, or why not.
struct Became {
    folder: String,
    place: String,
    origin: String,
    step: Result<Step, String>,
    /// Requests whose values it uses.
    uses: BTreeSet<usize>,
    left_out: Vec<Remark>,
    notes: Vec<Remark>,
}

pub(super) fn read(
    text: &str,
    given: &BTreeMap<String, Variable>,
) -> Result<Document, Vec<String>> {
    let json: Value =
        serde_json::from_str(text).map_err(|error| vec![format!("not JSON: {error}")])?;
    // The API of Postman wraps a collection.
    let collection = json.get("collection").unwrap_or(&json);
    let Some(items) = collection.get("item").and_then(Value::as_array) else {
        let version_1 = collection.get("requests").is_some();
        return Err(vec![if version_1 {
            "a collection of format v1: export it as v2.1".to_owned()
        } else {
            "no collection of Postman: it has no list `item`".to_owned()
        }]);
    };
    let mut found = Vec::new();
    let top = Inherited::default().with(collection, "collection");
    walk(items, &top, 0, &mut found)?;
    let mut scope = Scope::default();
    for (name, variable) in listed(collection).filter(|(_, variable)| !variable.value.is_empty()) {
        scope.known.insert(name, Known::Value(variable));
    }
    for (name, variable) in given {
        scope.known.insert(name.clone(), Known::Value(variable.clone()));
    }
    let mut names = BTreeSet::from(["unique".to_owned(), "number".to_owned()]);
    let became: Vec<Became> = found
        .iter()
        .enumerate()
        .map(|(place, found)| turn(place, found, &mut scope, &mut names))
        .collect();
    Ok(assemble(became, collection))
}

/// One entry of a list of variables.
pub(super) fn variable(entry: &Value) -> Option<(String, Variable)> {
    let off = entry.get("enabled") == Some(&Value::Bool(false))
        || entry.get("disabled") == Some(&Value::Bool(true));
    let name = entry.get("key").or_else(|| entry.get("id"))?.as_str()?;
    let value = request::text(entry.get("value")?);
    let secret = entry.get("type").and_then(Value::as_str) == Some("secret");
    (!off && !name.is_empty()).then(|| (name.to_owned(), Variable { value, secret }))
}

fn listed(of: &Value) -> impl Iterator<Item = (String, Variable)> {
    of.get("variable").and_then(Value::as_array).into_iter().flatten().filter_map(variable)
}

/// What a collection and its folders say of the requests in them.
#[derive(Clone, Default)]
struct Inherited<'a> {
    folders: Vec<String>,
    auth: Option<&'a Value>,
    before: Vec<(String, String)>,
    tests: Vec<(String, String)>,
}

impl<'a> Inherited<'a> {
    fn with(&self, of: &'a Value, place: &str) -> Self {
        let mut with = self.clone();
        with.auth = of.get("auth").filter(|auth| !auth.is_null()).or(self.auth);
        let events = match of.get("event") {
            Some(Value::Array(events)) => events.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        };
        for event in events.iter().filter(|event| event.get("disabled") != Some(&Value::Bool(true)))
        {
            let script = match event.pointer("/script/exec").or_else(|| event.get("script")) {
                Some(Value::Array(lines)) => {
                    lines.iter().map(request::text).collect::<Vec<_>>().join("\n")
                }
                Some(Value::String(text)) => text.clone(),
                _ => continue,
            };
            match event.get("listen").and_then(Value::as_str) {
                Some("test") => with.tests.push((place.to_owned(), script)),
                Some("prerequest") => with.before.push((place.to_owned(), script)),
                _ => {}
            }
        }
        with
    }
}

fn walk<'a>(
    items: &'a [Value],
    inherited: &Inherited<'a>,
    deep: usize,
    found: &mut Vec<Found<'a>>,
) -> Result<(), Vec<String>> {
    if deep > DEPTH_MAX {
        return Err(vec![format!("folders nested more than {DEPTH_MAX} deep")]);
    }
    for (number, item) in items.iter().enumerate() {
        let title = item.get("name").and_then(Value::as_str).map(short);
        let title = title.unwrap_or_else(|| format!("item {}", number + 1));
        let mut place = inherited.folders.clone();
        place.push(title);
        let path = place.join(" / ");
        let mut inner = inherited.with(item, &path);
        if let Some(items) = item.get("item").and_then(Value::as_array) {
            inner.folders = place;
            walk(items, &inner, deep + 1, found)?;
            continue;
        }
        if found.len() >= REQUESTS_MAX {
            return Err(vec![format!("more than {REQUESTS_MAX} requests")]);
        }
        let auth = item.pointer("/request/auth").filter(|auth| !auth.is_null()).or(inner.auth);
        found.push(Found {
            folder: inherited.folders.join(" / "),
            // Two requests may have one name.
            place: if found.iter().any(|other| other.place == path) {
                format!("{path} (request {})", found.len() + 1)
            } else {
                path
            },
            item,
            auth,
            before: inner.before,
            tests: inner.tests,
        });
    }
    Ok(())
}

/// Turns a request into a step, and keeps what its scripts set for the requests after it.
fn turn(
    number: usize,
    found: &Found<'_>,
    scope: &mut Scope,
    names: &mut BTreeSet<String>,
) -> Became {
    let place = &found.place;
    let mut left_out = Vec::new();
    for (of, script) in &found.before {
        let read = script::read(script, |name| scope.has(name));
        let of = format!("{of}: pre-request script");
        left_out.extend(request::remarks(&of, read.left_out));
        for (name, set) in read.sets {
            let known = match set {
                Set::Literal(value) => Known::Value(Variable { value, secret: false }),
                Set::Taken(_) | Set::Computed => Known::Computed(of.clone()),
            };
            scope.known.insert(name, known);
        }
    }
    let request = found.item.get("request").unwrap_or(&Value::Null);
    let turned = if request.is_null() {
        Err("it has no request".to_owned())
    } else {
        let keep = found.item.pointer("/protocolProfileBehavior/disableBodyPruning");
        request::turn(request, found.auth, scope, keep == Some(&Value::Bool(true)))
    };
    let mut tests = Script::default();
    for (of, script) in &found.tests {
        let read = script::read(script, |name| scope.has(name));
        left_out.extend(request::remarks(&format!("{of}: test script"), read.left_out));
        tests.demands.extend(read.demands);
        tests.sets.extend(read.sets);
    }
    let mut turned = turned.map(|mut turned| {
        scope.tell_apart(&mut turned);
        turned.step.name = found.item.get("name").map(request::text).unwrap_or_default();
        turned.step.place.clone_from(place);
        let off = found.item.pointer("/protocolProfileBehavior/followRedirects");
        let redirects = if off == Some(&Value::Bool(false)) { 0 } else { REDIRECTS };
        demand(&mut turned.step.expect, std::mem::take(&mut tests.demands));
        let expected = turned.step.expect.status.iter().any(|status| status.starts_with('3'));
        turned.step.redirects = if expected { 0 } else { redirects };
        turned
    });
    for (variable, set) in tests.sets {
        let known = match (set, &mut turned) {
            (Set::Literal(value), _) => Known::Value(Variable { value, secret: false }),
            (Set::Taken(of), Ok(turned)) => match take(&of) {
                Some(from) => {
                    let name = name(&variable, "value", names);
                    turned.step.take.push((name.clone(), from));
                    Known::Taken { by: number, name }
                }
                None => Known::Computed(place.clone()),
            },
            (Set::Taken(_), Err(_)) => Known::Lost(place.clone()),
            (Set::Computed, _) => Known::Computed(place.clone()),
        };
        scope.known.insert(variable, known);
    }
    let (origin, step, uses, notes) = match turned {
        Ok(Turned { step, origin, left_out: lost, notes, uses, .. }) => {
            left_out.extend(request::remarks(place, lost));
            let notes = notes.into_iter().chain(uses.notes).collect();
            (origin, Ok(step), uses.requests, request::remarks(place, notes).collect())
        }
        Err(reason) => (String::new(), Err(reason), BTreeSet::new(), Vec::new()),
    };
    Became {
        folder: found.folder.clone(),
        place: place.clone(),
        origin,
        step,
        uses,
        left_out,
        notes,
    }
}

fn take(of: &About) -> Option<Take> {
    if let About::Header(name) = of {
        return Some(Take::Header(name.to_ascii_lowercase()));
    }
    let About::Json(path) = of else { return None };
    schema::path(path).map(Take::Json)
}

/// Adds what tests demand to what a step expects.
fn demand(expect: &mut Expect, demands: Vec<Demand>) {
    for demand in demands {
        match demand {
            Demand::Status(wanted) => expect.status(wanted),
            Demand::Within(milliseconds) => expect.within(milliseconds),
            Demand::Header(name, is) => match expect.headers.iter_mut().find(|(of, _)| *of == name)
            {
                // That it is there is said already by whatever else is said of it.
                Some((_, _known)) if is == super::document::Is::Present => {}
                Some((_, known)) => *known = is,
                None => expect.headers.push((name, is)),
            },
            Demand::Text(text) if !expect.text.contains(&text) => expect.text.push(text),
            Demand::Regex(regex) if !expect.regex.contains(&regex) => expect.regex.push(regex),
            Demand::Text(_) | Demand::Regex(_) => {}
            Demand::Json(path, is) => match expect.json.iter_mut().find(|(of, _)| *of == path) {
                Some((_, known)) => *known = is,
                None => expect.json.push((path, is)),
            },
            Demand::Schema(schema) => {
                expect.json_schema = Some(schema::both(expect.json_schema.take(), schema));
            }
        }
    }
}

/// Puts steps into scenarios, and in front of them those whose values they use.
fn assemble(mut became: Vec<Became>, collection: &Value) -> Document {
    let mut document = Document::default();
    one_target(&mut became, &mut document);
    usable(&mut became);
    let title = collection.pointer("/info/name").or_else(|| collection.get("name"));
    let title = title.and_then(Value::as_str).unwrap_or("collection");
    let mut folders: Vec<&str> = Vec::new();
    for one in &became {
        if !folders.contains(&one.folder.as_str()) {
            folders.push(&one.folder);
        }
    }
    let apart = if folders.len() > SCENARIOS_MAX { SCENARIOS_MAX - 1 } else { folders.len() };
    let (mine, others) = folders.split_at(apart.min(folders.len()));
    let mut groups: Vec<(&str, Vec<&str>)> = mine.iter().map(|of| (*of, vec![*of])).collect();
    if !others.is_empty() {
        groups.push(("others", others.to_vec()));
    }
    let mut names = BTreeSet::new();
    for (group, folders) in groups {
        let own: BTreeSet<usize> = became
            .iter()
            .enumerate()
            .filter(|(_, one)| one.step.is_ok() && folders.contains(&one.folder.as_str()))
            .map(|(number, _)| number)
            .collect();
        let all = with_needed(&own, &became);
        let title = if group.is_empty() { title } else { group };
        let mut scenario =
            Scenario { name: String::new(), cookies: all.len() > 1, steps: Vec::new() };
        let mut steps = BTreeSet::new();
        let used = used(&all, &became);
        for number in &all {
            let Some(Ok(step)) = became.get(*number).map(|one| &one.step) else { continue };
            let mut step = step.clone();
            step.name = name(&step.name, "step", &mut steps);
            step.copied = !own.contains(number);
            step.take.retain(|(name, _)| used.contains(&format!("${{{name}}}")));
            scenario.steps.push(step);
        }
        if !scenario.steps.is_empty() {
            scenario.name = name(title, "scenario", &mut names);
            document.scenarios.push(scenario);
        }
    }
    for one in became {
        if let Err(reason) = one.step {
            document.leave_out(&one.place, reason);
        } else {
            for note in one.notes {
                document.note(&note.place, note.reason);
            }
        }
        for remark in one.left_out {
            if !document.left_out.contains(&remark) {
                document.left_out.push(remark);
            }
        }
    }
    document
}

/// Gate probes one target: the host of most requests. Those of other hosts are left out.
fn one_target(became: &mut [Became], document: &mut Document) {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for one in became.iter().filter(|one| one.step.is_ok()) {
        match counts.iter_mut().find(|(origin, _)| *origin == one.origin) {
            Some((_, count)) => *count += 1,
            None => counts.push((one.origin.clone(), 1)),
        }
    }
    // Of equals the first: `max_by_key` would take the last.
    let most = counts.iter().rev().max_by_key(|(_, count)| *count).cloned();
    let Some((target, _)) = most else { return };
    document.note("policy", format!("the target takes the place of `{}`", short(&target)));
    for one in became.iter_mut().filter(|one| one.step.is_ok() && one.origin != target) {
        one.step = Err(format!(
            "it asks `{}`, and gate probes one target, here in place of `{}`",
            short(&one.origin),
            short(&target)
        ));
    }
}

/// A step that uses what a request takes goes with it where that is left out.
fn usable(became: &mut [Became]) {
    for number in 0..became.len() {
        let Some(one) = became.get(number) else { continue };
        let missing = one.uses.iter().filter_map(|needed| became.get(*needed));
        let missing = missing.filter(|needed| needed.step.is_err()).map(|needed| &needed.place);
        let missing = missing.min().cloned();
        if let (Some(place), Some(one)) = (missing, became.get_mut(number))
            && one.step.is_ok()
        {
            one.step = Err(format!("it uses what `{place}` takes, which is left out"));
        }
    }
}

/// These and all whose values they use, in the order of the collection.
fn with_needed(own: &BTreeSet<usize>, became: &[Became]) -> BTreeSet<usize> {
    let mut all = own.clone();
    let mut left: Vec<usize> = own.iter().copied().collect();
    while let Some(number) = left.pop() {
        for needed in became.get(number).map(|one| &one.uses).into_iter().flatten() {
            if all.insert(*needed) {
                left.push(*needed);
            }
        }
    }
    all
}

/// Everything the steps of a scenario send, in which taken values are named.
fn used(all: &BTreeSet<usize>, became: &[Became]) -> String {
    let mut sent = String::new();
    for step in all.iter().filter_map(|number| became.get(*number)?.step.as_ref().ok()) {
        sent.push_str(&step.path);
        sent.push_str(step.body.as_deref().unwrap_or_default());
        for (_, value) in &step.headers {
            if let super::document::Header::Text(text) = value {
                sent.push_str(text);
            }
        }
    }
    sent
}
