//! An answer of AWS, and what can be done to it.

use serde_json::Value;

/// What nobody has heard of.
const UNHEARD_OF: &str = "SOMETHING_NEW";

/// An answer, whole.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Bytes that are said to come, and do not.
    missing: usize,
}

impl Answer {
    pub(super) fn new(status: u16, kind: &str, body: Vec<u8>) -> Self {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Self { status, headers, body, missing: 0 }
    }

    /// What a proxy or a load balancer says in place of AWS.
    pub(super) fn page(status: u16) -> Self {
        Self::new(status, "text/html", b"<html><h1>Something is wrong</h1></html>".to_vec())
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What was read to the end of a connection.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head_ends = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (head, body) =
            (std::str::from_utf8(&bytes[..head_ends]).ok()?, &bytes[head_ends + 4..]);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let left_out = ["content-length", "connection", "transfer-encoding"];
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, _)| !left_out.contains(&name.as_str()));
        Some(Self { status, headers: headers.collect(), body: body.to_vec(), missing: 0 })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Spoilt\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n", self.body.len() + self.missing));
        [text.as_bytes(), &self.body].concat()
    }

    pub(super) fn longer_than_it_is(mut self) -> Self {
        self.missing = self.body.len() - self.body.len() / 2 + 1;
        self.body.truncate(self.body.len() / 2);
        self
    }

    pub(super) fn garbage(mut self) -> Self {
        self.body = b"\xff\xfe<{]not of any protocol\x00".to_vec();
        self
    }

    pub(super) fn unknown(mut self, keys: &[&str]) -> Self {
        self.change(
            |value| each_key(value, keys, &|found| *found = Value::from(UNHEARD_OF)),
            |text| keys.iter().fold(text, |text, key| element(&text, key, Some(UNHEARD_OF))),
        );
        self
    }

    pub(super) fn without(mut self, keys: &[&str]) -> Self {
        self.change(
            |value| drop_keys(value, keys),
            |text| keys.iter().fold(text, |text, key| element(&text, key, None)),
        );
        self
    }

    /// A first page that has none of it.
    pub(super) fn empty_page(&self, token: &str) -> Self {
        let mut page = self.clone();
        let mut value: Value = serde_json::from_slice(&self.body).expect("a list in JSON");
        for list in value.as_object_mut().expect("an object").values_mut() {
            if list.is_array() {
                *list = Value::Array(Vec::new());
            }
        }
        value["nextToken"] = Value::from(token);
        page.body = value.to_string().into_bytes();
        page
    }

    /// Items of a table on pages of so many, each but the last with the key that leads to the next.
    pub(super) fn pages(&self, size: usize, key: impl Fn(usize) -> Value) -> Vec<Self> {
        let value: Value = serde_json::from_slice(&self.body).expect("an answer in JSON");
        let items = value["Items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let last = items.len().div_ceil(size).saturating_sub(1);
        let page = |(number, items): (usize, &[Value])| {
            let mut page = value.clone();
            page["Items"] = items.into();
            page["Count"] = items.len().into();
            if number < last {
                page["LastEvaluatedKey"] = key(number);
            }
            Self { body: page.to_string().into_bytes(), ..self.clone() }
        };
        items.chunks(size).enumerate().map(page).collect()
    }

    /// Changes what it says: in JSON, or else in XML.
    fn change(&mut self, json: impl FnOnce(&mut Value), xml: impl FnOnce(String) -> String) {
        if let Ok(mut value) = serde_json::from_slice::<Value>(&self.body) {
            json(&mut value);
            self.body = value.to_string().into_bytes();
        } else {
            let text = String::from_utf8(self.body.clone()).expect("JSON or XML");
            self.body = xml(text).into_bytes();
        }
    }
}

fn each_key(value: &mut Value, keys: &[&str], change: &impl Fn(&mut Value)) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                if keys.contains(&key.as_str()) && member.is_string() {
                    change(member);
                }
                each_key(member, keys, change);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_key(item, keys, change)),
        _ => {}
    }
}

fn drop_keys(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| !keys.contains(&key.as_str()));
            members.values_mut().for_each(|member| drop_keys(member, keys));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| drop_keys(item, keys)),
        _ => {}
    }
}

/// Every element of this name with another text in it, or without it.
fn element(text: &str, name: &str, other: Option<&str>) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut changed = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(&open) {
        let (_inside, after) = after.split_once(&close).expect("an element ends");
        changed.push_str(before);
        if let Some(other) = other {
            changed.push_str(&format!("{open}{other}{close}"));
        }
        rest = after;
    }
    changed + rest
}
