//! A test script read, not run: what it demands of the answer, what it keeps, and what it does besides.

use std::collections::BTreeMap;

use super::super::text::short;
use super::chain::{conditions, demands};
use super::compare::Demand;
use super::tokens::{Kind, SCRIPT_MAX_BYTES, Token, inside, source, split, statements, tokens};
use super::value::{About, Names, about, after};

/// How deep callbacks are followed.
const DEPTH_MAX: usize = 16;

/// What came of a script.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) demands: Vec<Demand>,
    /// Variables it sets, in order.
    pub(super) sets: Vec<(String, Set)>,
    /// Why some of it is left out.
    pub(super) left_out: Vec<String>,
}

/// What a variable is set to.
#[derive(Debug, PartialEq)]
pub(super) enum Set {
    Taken(About),
    Literal(String),
    /// Something that only running the script would tell.
    Computed,
}

/// Where a statement stands: what it does counts always, only sometimes, or many times.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    OnCondition,
    Repeatedly,
}

const SETTERS: [&str; 6] = [
    "pm.environment.set",
    "pm.collectionVariables.set",
    "pm.globals.set",
    "pm.variables.set",
    "postman.setEnvironmentVariable",
    "postman.setGlobalVariable",
];
/// Spellings that belong to an assertion.
const ASSERTIONS: [&str; 8] =
    ["pm.expect", "pm.test", "pm.response.to", "tests[", "tests.", "assert", "chai.", "xml2Json("];
/// Spellings that change what a run does.
const FLOW: [&str; 5] = [
    "postman.setNextRequest",
    "pm.execution.setNextRequest",
    "pm.execution.skipRequest",
    "pm.sendRequest",
    "pm.visualizer",
];

/// Reads one script; `known` says whether a variable has a value.
pub(super) fn read(text: &str, known: impl Fn(&str) -> bool) -> Script {
    let mut reading = Reading {
        text,
        known: &known,
        names: Names::new(),
        truths: BTreeMap::new(),
        script: Script::default(),
    };
    if text.len() > SCRIPT_MAX_BYTES {
        reading.leave(&format!("a script of {} bytes; at most {SCRIPT_MAX_BYTES}", text.len()));
    } else if let Some(tokens) = tokens(text) {
        reading.block(&tokens, When::Always, 0);
    } else {
        reading.leave("a script that cannot be read as JavaScript");
    }
    reading.script
}

struct Reading<'s> {
    text: &'s str,
    known: &'s dyn Fn(&str) -> bool,
    names: Names,
    /// Names that a script gave to comparisons.
    truths: BTreeMap<String, Vec<Demand>>,
    script: Script,
}

impl Reading<'_> {
    fn leave(&mut self, why: &str) {
        self.script.left_out.push(why.to_owned());
    }

    /// Lists a statement that is not carried over.
    fn leave_statement(&mut self, statement: &[Token<'_>], why: &str) {
        let shown = short(source(self.text, statement));
        self.leave(&format!("`{shown}`: {why}"));
    }

    fn block(&mut self, tokens: &[Token<'_>], when: When, deep: usize) {
        for statement in statements(tokens) {
            if deep > DEPTH_MAX {
                self.leave_statement(statement, "nested too deep");
            } else {
                self.statement(statement, when, deep);
            }
        }
    }

    fn statement(&mut self, statement: &[Token<'_>], when: When, deep: usize) {
        let Some(first) = statement.first() else { return };
        if let Some(within) = callback(statement) {
            return self.block(within, when, deep + 1);
        }
        match first.source {
            "if" | "try" if first.kind == Kind::Word => {
                return self.branches(statement, when, deep);
            }
            "for" | "while" | "do" | "switch" | "function" | "class"
                if first.kind == Kind::Word =>
            {
                return self.repeated(statement, deep);
            }
            "const" | "let" | "var" if first.kind == Kind::Word => {
                return self.named(statement.get(1..).unwrap_or_default());
            }
            _ => {}
        }
        if let Some(call) = SETTERS.iter().find_map(|setter| after(statement, setter)) {
            return self.set(statement, call, when);
        }
        if let [name, equals, value @ ..] = statement
            && name.kind == Kind::Word
            && equals.is("=")
        {
            return self.name(name.source, value);
        }
        let spelled: String = statement.iter().map(|token| token.source).collect();
        let demanded = match statement {
            [tests, dot, _, equals, of @ ..]
                if tests.is("tests") && dot.is(".") && equals.is("=") =>
            {
                self.conditions(of)
            }
            [tests, open, ..] if tests.is("tests") && open.is("[") => {
                let value = inside(statement, 1).and_then(|(_, close)| statement.get(close + 1..));
                let value = value.and_then(|rest| rest.split_first());
                value.filter(|(sign, _)| sign.is("=")).and_then(|(_, of)| self.conditions(of))
            }
            _ => demands(statement, &self.names),
        };
        let asserts = ASSERTIONS.iter().any(|spelling| spelled.contains(spelling));
        match demanded {
            Some(demands) if when == When::Always => self.script.demands.extend(demands),
            Some(_) if when == When::OnCondition => {
                self.leave_statement(statement, "it holds only on a condition");
            }
            Some(_) => self.leave_statement(statement, "it is in a loop or a function"),
            None if FLOW.iter().any(|spelling| spelled.contains(spelling)) => {
                self.leave_statement(statement, "scripts are not run");
            }
            None if asserts => self.leave_statement(statement, "no plain comparison of the answer"),
            None => {}
        }
    }

    /// `const a = …`, `const { a, b } = …`, `var a = …, b = …`.
    fn named(&mut self, rest: &[Token<'_>]) {
        for declared in split(rest, ",") {
            match declared {
                [open, ..] if open.is("{") => {
                    let Some((keys, close)) = inside(declared, 0) else { continue };
                    let value = declared.get(close + 2..).unwrap_or_default();
                    let of = about(value, &self.names);
                    for key in split(keys, ",") {
                        let (Some(About::Json(path)), [key, renamed @ ..]) = (&of, key) else {
                            continue;
                        };
                        let name = renamed.last().unwrap_or(key).source.to_owned();
                        let mut path = path.clone();
                        path.push(super::super::schema::Into::Key(key.source.to_owned()));
                        self.names.insert(name, About::Json(path));
                    }
                }
                [name, equals, value @ ..] if equals.is("=") => self.name(name.source, value),
                _ => {}
            }
        }
    }

    fn name(&mut self, name: &str, value: &[Token<'_>]) {
        match conditions(value, &self.names) {
            Some(demands) => self.truths.insert(name.to_owned(), demands),
            None => self.truths.remove(name),
        };
        match about(value, &self.names) {
            Some(of) => self.names.insert(name.to_owned(), of),
            // What it stood for before it no longer does.
            None => self.names.remove(name),
        };
    }

    fn conditions(&self, tokens: &[Token<'_>]) -> Option<Vec<Demand>> {
        let named = match tokens {
            [name] => self.truths.get(name.source).cloned(),
            _ => None,
        };
        named.or_else(|| conditions(tokens, &self.names))
    }

    /// `pm.environment.set("name", value)`.
    fn set(&mut self, statement: &[Token<'_>], call: &[Token<'_>], when: When) {
        let Some((arguments, _)) = inside(call, 0) else { return };
        let parts = split(arguments, ",");
        let [name, value] = parts.as_slice() else {
            return self.leave_statement(statement, "no plain variable and value");
        };
        let Some(About::Literal(serde_json::Value::String(name))) = about(name, &self.names) else {
            return self.leave_statement(statement, "the variable's name is computed");
        };
        let set = match about(value, &self.names) {
            Some(of @ (About::Json(_) | About::Header(_))) if when != When::Repeatedly => {
                Set::Taken(of)
            }
            Some(About::Literal(value)) if when == When::Always => {
                Set::Literal(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            }
            _ => {
                self.leave_statement(statement, "its value is computed, and scripts are not run");
                Set::Computed
            }
        };
        self.script.sets.push((name, set));
    }

    /// `if (…) {…} else {…}` and `try {…} catch {…}`.
    fn branches(&mut self, statement: &[Token<'_>], when: When, deep: usize) {
        let when = match when {
            When::Always if self.holds(statement) => When::Always,
            When::Always | When::OnCondition => When::OnCondition,
            When::Repeatedly => When::Repeatedly,
        };
        let condition = statement.get(1).is_some_and(|open| open.is("("));
        let mut at =
            if condition { inside(statement, 1).map_or(1, |(_, close)| close + 1) } else { 1 };
        while let Some(token) = statement.get(at) {
            if token.is("{")
                && let Some((within, close)) = inside(statement, at)
            {
                self.block(within, when, deep + 1);
                at = close + 1;
            } else if token.is("else") || token.is("finally") {
                at += 1;
            } else if token.is("catch") || token.is("if") {
                at += 1;
                if statement.get(at).is_some_and(|open| open.is("(")) {
                    at = inside(statement, at).map_or(at + 1, |(_, close)| close + 1);
                }
            } else {
                // One statement without braces.
                let rest = statement.get(at..).unwrap_or_default();
                let end = rest.iter().position(|token| token.is("else")).unwrap_or(rest.len());
                self.block(rest.get(..end).unwrap_or_default(), when, deep + 1);
                at += end.max(1);
            }
        }
    }

    /// Whether the only branch of this always counts: `if (!(environment.x)) {…}` of an `x` that has no
    /// value, or a condition that was demanded before, so that without it the probe has failed anyway.
    fn holds(&self, statement: &[Token<'_>]) -> bool {
        let Some((condition, close)) = inside(statement, 1) else { return false };
        let alone = inside(statement, close + 1).is_some_and(|(_, end)| end + 1 == statement.len());
        let words: Vec<&str> = condition.iter().map(|token| token.source).collect();
        let name = match words.as_slice() {
            ["!", "(", "environment", ".", name, ")"] | ["!", "environment", ".", name] => name,
            _ => {
                let demands = self.conditions(condition).unwrap_or_default();
                let said = demands.iter().all(|demand| self.script.demands.contains(demand));
                return alone && said && !demands.is_empty();
            }
        };
        alone && !(self.known)(name)
    }

    /// Loops and functions: each statement in them is read, and none is taken as plain.
    fn repeated(&mut self, statement: &[Token<'_>], deep: usize) {
        let open = statement.iter().position(|token| token.is("{"));
        match open.and_then(|open| inside(statement, open)) {
            Some((within, _)) => self.block(within, When::Repeatedly, deep + 1),
            None => {
                let spelled: String = statement.iter().map(|token| token.source).collect();
                if ASSERTIONS.iter().any(|spelling| spelled.contains(spelling)) {
                    self.leave_statement(statement, "it is in a loop or a function");
                }
            }
        }
    }
}

/// The body of `pm.test("…", function () {…})`, however the function is written.
fn callback<'t, 'a>(statement: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let call = after(statement, "pm.test")?;
    let (arguments, _) = inside(call, 0)?;
    let function = split(arguments, ",").len().checked_sub(1)?;
    // The last argument may hold commas of its own; the first is a text.
    let first = split(arguments, ",").first()?.len();
    let function = arguments.get(first + 1..).filter(|_| function > 0)?;
    let arrow = function.iter().position(|token| token.is("=>"));
    let start = match arrow {
        Some(arrow) => arrow + 1,
        None => function.iter().position(|token| token.is("{"))?,
    };
    if function.get(start)?.is("{") {
        return inside(function, start).map(|(within, _)| within);
    }
    function.get(start..)
}
