//! The answer that is good, and the first thing about another that is not.

use std::fmt::Write;
use std::time::Duration;

use super::compare::{Comparison, JsonPath, JsonSchema, Pattern};
use crate::reply::Reply;
use crate::sample::{Outcome, Phase};
use crate::units::exact;

/// Bytes of a sentence that says which expectation failed and what was seen.
pub const SEEN_MAX_BYTES: usize = 256;

/// A range of statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status.
    pub from: u16,
    /// Highest status.
    pub to: u16,
}

/// The answer that is good.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Statuses that are good; empty where the protocol has none.
    pub status: Vec<StatusRange>,
    /// Headers, names in lower case, and what must hold of each.
    pub headers: Vec<(String, Comparison)>,
    /// Each must stand in the body.
    pub text: Vec<String>,
    /// Each must match the body.
    pub regex: Vec<Pattern>,
    /// Places in a JSON body, and what must hold there.
    pub json: Vec<(JsonPath, Comparison)>,
    /// What a JSON body must be like.
    pub schema: Option<JsonSchema>,
    /// Least and most bytes of the body.
    pub size_bytes: (Option<u64>, Option<u64>),
    /// Most time of each phase; of the whole answer where none is named.
    pub within: Vec<(Option<Phase>, Duration)>,
    /// Least days to the end of the certificate's validity.
    pub certificate_days: Option<f64>,
}

impl Expect {
    /// Whether anything is asked of the body itself, so that it has to be kept.
    pub fn looks_at_body(&self) -> bool {
        !(self.text.is_empty()
            && self.regex.is_empty()
            && self.json.is_empty()
            && self.schema.is_none())
    }

    /// Whether an answer with this status is good.
    pub fn has_status(&self, status: u16) -> bool {
        self.status.is_empty()
            || self.status.iter().any(|range| (range.from..=range.to).contains(&status))
    }

    /// The first expectation that an answer does not meet: its outcome, and a sentence of at most
    /// [`SEEN_MAX_BYTES`] with what was seen.
    pub fn unmet(&self, reply: &Reply) -> Option<(Outcome, String)> {
        if let Some(status) = reply.status.filter(|status| !self.has_status(*status)) {
            return Some((Outcome::Status, format!("status {status}")));
        }
        let mut checks = self
            .headers
            .iter()
            .map(|(name, wanted)| header(reply, name, wanted))
            .chain([self.size(reply)])
            .chain(self.text.iter().map(|text| body(reply, &Comparison::Contains(text.clone()))))
            .chain(self.regex.iter().map(|regex| body(reply, &Comparison::Matches(regex.clone()))))
            .chain(self.json.iter().map(|(path, wanted)| json(reply, path, wanted)))
            .chain([self.shape(reply)])
            .chain(self.within.iter().map(|&(phase, most)| within(reply, phase, most)))
            .chain([self.certificate(reply)]);
        checks.find_map(|unmet| unmet).map(|sentence| (Outcome::Expectation, clipped(&sentence)))
    }

    fn size(&self, reply: &Reply) -> Option<String> {
        let (least, most) = self.size_bytes;
        let size = reply.size_bytes;
        if let Some(least) = least.filter(|least| size < *least) {
            return Some(format!("size is at least {least} bytes: saw {size}"));
        }
        most.filter(|most| size > *most)
            .map(|most| format!("size is at most {most} bytes: saw {size}"))
    }

    fn shape(&self, reply: &Reply) -> Option<String> {
        let schema = self.schema.as_ref()?;
        match reply.json() {
            Some(json) => {
                schema.violation(json).map(|violation| format!("json-schema: {violation}"))
            }
            None => Some(format!("json-schema: saw no JSON: {}", quoted(&reply.text()))),
        }
    }

    fn certificate(&self, reply: &Reply) -> Option<String> {
        let least = self.certificate_days?;
        match reply.certificate_days {
            Some(days) if days >= least => None,
            Some(days) => Some(format!("certificate-days is at least {least}: saw {days:.1}")),
            None => Some("certificate-days: there was no certificate".to_owned()),
        }
    }
}

fn header(reply: &Reply, name: &str, wanted: &Comparison) -> Option<String> {
    let found = reply.header(name);
    (!wanted.holds(found)).then(|| format!("header {name} {wanted}: saw {}", or_none(found)))
}

fn body(reply: &Reply, wanted: &Comparison) -> Option<String> {
    let text = reply.text();
    (!wanted.holds(Some(&text))).then(|| format!("body {wanted}: saw {}", quoted(&text)))
}

fn json(reply: &Reply, path: &JsonPath, wanted: &Comparison) -> Option<String> {
    let Some(json) = reply.json() else {
        return Some(format!("{} {wanted}: saw no JSON: {}", path.text(), quoted(&reply.text())));
    };
    let found = path.text_in(json);
    (!wanted.holds(found.as_deref()))
        .then(|| format!("{} {wanted}: saw {}", path.text(), or_none(found.as_deref())))
}

fn within(reply: &Reply, phase: Option<Phase>, most: Duration) -> Option<String> {
    let took = reply.time(phase)?;
    let name = phase.map_or("total", Phase::name);
    (took > most).then(|| format!("{name} within {}: took {}", exact(most), exact(took)))
}

fn or_none(found: Option<&str>) -> String {
    found.map_or_else(|| "nothing".to_owned(), quoted)
}

/// As it can stand in a line of text: control characters escaped, quickly ended.
pub fn quoted(text: &str) -> String {
    let mut line = String::from("`");
    for character in text.chars().take(SEEN_MAX_BYTES) {
        if character.is_control() {
            // Writing to a string does not fail.
            let _infallible = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('`');
    line
}

/// At most [`SEEN_MAX_BYTES`], cut between characters.
pub fn clipped(sentence: &str) -> String {
    if sentence.len() <= SEEN_MAX_BYTES {
        return sentence.to_owned();
    }
    const MORE: &str = "…";
    let cut = sentence.floor_char_boundary(SEEN_MAX_BYTES - MORE.len());
    let (kept, _) = sentence.split_at(cut);
    format!("{kept}{MORE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Phases;

    fn reply(status: u16, body: &str) -> Reply {
        let mut phases = Phases::default();
        phases.set(Phase::Wait, Duration::from_millis(30));
        let mut reply = Reply::new(Some(status), body.as_bytes().to_vec());
        reply.headers = vec![("content-type".to_owned(), "text/html".to_owned())];
        reply.certificate_days = Some(3.04);
        reply.phases = phases;
        reply.total = Duration::from_millis(40);
        reply
    }

    fn check(expect: Expect, body: &str, unmet: Option<&str>) {
        let expect = Expect { status: vec![StatusRange { from: 200, to: 299 }], ..expect };
        let found = expect.unmet(&reply(200, body)).map(|(_, sentence)| sentence);
        assert_eq!(found.as_deref(), unmet);
    }

    #[test]
    fn the_first_expectation_that_fails_is_named_with_what_was_seen() {
        let none = Expect::default;
        let json = |path: &str, wanted| Expect {
            json: vec![(JsonPath::new(path).unwrap(), wanted)],
            ..Expect::default()
        };
        check(none(), "", None);
        let is_json = Comparison::Equals("application/json".into());
        let headers = vec![("content-type".to_owned(), is_json)];
        check(
            Expect { headers, ..none() },
            "",
            Some("header content-type is `application/json`: saw `text/html`"),
        );
        let headers = vec![("x-id".to_owned(), Comparison::Present(true))];
        check(Expect { headers, ..none() }, "", Some("header x-id is there: saw nothing"));
        let sized = |least, most| Expect { size_bytes: (least, most), ..none() };
        check(sized(Some(2), None), "a", Some("size is at least 2 bytes: saw 1"));
        check(sized(None, Some(1)), "ab", Some("size is at most 1 bytes: saw 2"));
        check(sized(Some(2), Some(2)), "ab", None);
        let text = vec!["hello".to_owned(), "world".to_owned()];
        check(Expect { text, ..none() }, "hello\n", Some("body contains `world`: saw `hello\\n`"));
        let regex = vec![Pattern::new("^[0-9]+$").unwrap()];
        check(Expect { regex, ..none() }, "x", Some("body matches /^[0-9]+$/: saw `x`"));
        check(
            json("$.a", Comparison::AtLeast(2.0)),
            r#"{"a":1}"#,
            Some("$.a is at least 2: saw `1`"),
        );
        check(json("$.a", Comparison::Present(true)), "{}", Some("$.a is there: saw nothing"));
        check(
            json("$.a", Comparison::Present(true)),
            "<html>",
            Some("$.a is there: saw no JSON: `<html>`"),
        );
        let schema = JsonSchema::new(r#"{"type":"array"}"#).unwrap();
        check(
            Expect { schema: Some(schema), ..none() },
            "{}",
            Some("json-schema: {} is not of type \"array\""),
        );
        let within =
            |phase, most| Expect { within: vec![(phase, Duration::from_millis(most))], ..none() };
        check(within(Some(Phase::Wait), 30), "", None);
        check(within(Some(Phase::Wait), 29), "", Some("wait within 29 ms: took 30 ms"));
        check(within(None, 39), "", Some("total within 39 ms: took 40 ms"));
        check(within(Some(Phase::Tls), 1), "", None);
        check(
            Expect { certificate_days: Some(14.0), ..none() },
            "",
            Some("certificate-days is at least 14: saw 3.0"),
        );
    }

    #[test]
    fn a_status_is_looked_at_first_and_has_an_outcome_of_its_own() {
        let expect = Expect {
            status: vec![StatusRange { from: 200, to: 299 }],
            text: vec!["x".to_owned()],
            ..Expect::default()
        };
        assert_eq!(expect.unmet(&reply(503, "")), Some((Outcome::Status, "status 503".to_owned())));
        assert_eq!(expect.unmet(&reply(204, "")).unwrap().0, Outcome::Expectation);
    }

    #[test]
    fn what_was_seen_is_never_longer_than_its_limit() {
        let expect = Expect { text: vec!["y".to_owned()], ..Expect::default() };
        for body in ["x".repeat(100_000), "ä".repeat(1000), "\0".repeat(1000)] {
            let (_, sentence) = expect.unmet(&reply(200, &body)).unwrap();
            assert!(sentence.len() <= SEEN_MAX_BYTES, "{}", sentence.len());
            assert!(!sentence.contains('\0'));
        }
    }
}
