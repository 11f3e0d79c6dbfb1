//! Text as a policy writes it: names, encoded paths, `$$`, references to secrets.

use std::collections::BTreeSet;

use policies::plan::OWN_HEADERS;

/// Characters of a name of a scenario or a step.
const NAME_MAX: usize = 40;
/// Characters shown of something that a file says.
const SHOWN_MAX: usize = 120;

/// A name of `a-z 0-9 -`, unlike those taken before; it is taken then.
pub(super) fn name(of: &str, fallback: &str, taken: &mut BTreeSet<String>) -> String {
    let slug = slug(of);
    let slug = if slug.is_empty() { fallback.to_owned() } else { slug };
    let mut name = slug.clone();
    let mut number = 1_u32;
    while !taken.insert(name.clone()) {
        number += 1;
        let ending = format!("-{number}");
        let kept: String = slug.chars().take(NAME_MAX - ending.len()).collect();
        name = format!("{}{ending}", kept.trim_end_matches('-'));
    }
    name
}

/// `Create an Order` and `createAnOrder` are `create-an-order`.
fn slug(of: &str) -> String {
    let mut slug = String::new();
    let mut small = false;
    for c in of.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && small {
                slug.push('-');
            }
            small = c.is_ascii_lowercase() || c.is_ascii_digit();
            slug.push(c.to_ascii_lowercase());
        } else {
            small = false;
            if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
    }
    let slug: String = slug.chars().take(NAME_MAX).collect();
    slug.trim_matches('-').to_owned()
}

/// Text in which nothing stands for something else.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Part of a URL that percent-encoding must not touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A path, slashes and what is encoded already included.
    Path,
    /// A query, `&` and `=` included.
    Query,
    /// One value: every character that means something in a URL is encoded.
    Value,
}

/// Percent-encodes what may not stand there; what is encoded already stays. `$` is doubled as in [`literal`].
pub(super) fn encode(text: &str, part: Part) -> String {
    let kept: &[u8] = match part {
        Part::Path => b"-._~!&'()*+,;=:@/",
        Part::Query => b"-._~!&'()*+,;=:@/?",
        Part::Value => b"-._~",
    };
    let bytes = text.as_bytes();
    let mut encoded = String::with_capacity(text.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let hex = |ahead: usize| bytes.get(at + ahead).is_some_and(u8::is_ascii_hexdigit);
        let done = byte == b'%' && part != Part::Value && hex(1) && hex(2);
        if byte == b'$' && part != Part::Value {
            encoded.push_str("$$");
        } else if done || byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A regular expression that matches this text alone.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~/".contains(c) && c != '/' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Something a file says, short and safe to show in a terminal.
pub(super) fn short(text: &str) -> String {
    let one_line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (kept, rest) = one_line.split_at(one_line.floor_char_boundary(SHOWN_MAX));
    let cut = if rest.is_empty() { "" } else { "…" };
    format!("{}{cut}", kept.replace(char::is_control, "\u{fffd}"))
}

/// Refuses a query with what lets somebody in, unless it is taken from an answer.
///
/// # Errors
/// It would stand in the policy in clear.
pub(super) fn no_secret_in(query: &str) -> Result<(), String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut said = pairs.filter(|(_, value)| !value.is_empty() && !value.starts_with("${"));
    match said.find(|(name, _)| is_secret(name)) {
        Some((name, _)) => Err(format!(
            "`{}` of its query is secret, and would stand in the policy in clear",
            short(name)
        )),
        None => Ok(()),
    }
}

/// Headers, and parameters of a query, whose value lets somebody in.
pub(super) fn is_secret(header: &str) -> bool {
    let name = header.to_ascii_lowercase().replace('_', "-");
    let parts = ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"];
    // A token against forged requests is worth nothing by itself, and is taken from an answer.
    parts.iter().any(|part| name.contains(part)) && !name.contains("csrf") && !name.contains("xsrf")
}

/// Words before a secret in a header: they are no secret themselves.
const SCHEMES: [&str; 6] = ["Bearer ", "Basic ", "Token ", "token ", "ApiKey ", "JWT "];

/// The word that the value of a header begins with, and a space.
pub(super) fn scheme(value: &str) -> &'static str {
    SCHEMES.into_iter().find(|scheme| value.starts_with(scheme)).unwrap_or_default()
}

/// `authorization` of `Orders` is in the environment as `ORDERS_AUTHORIZATION`.
pub(super) fn variable(words: &[&str]) -> String {
    let name = words.iter().map(|word| slug(word)).filter(|word| !word.is_empty());
    let name = name.collect::<Vec<_>>().join("_").replace('-', "_").to_ascii_uppercase();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Headers that gate or the connection set.
pub(super) fn is_gates_own(header: &str) -> bool {
    OWN_HEADERS.contains(&header.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_unlike_each_other() {
        let mut taken = BTreeSet::new();
        let mut check = |of: &str, expected: &str| {
            assert_eq!(name(of, "step", &mut taken), expected, "{of}");
        };
        check("Create an Order", "create-an-order");
        check("createAnOrder", "create-an-order-2");
        check("GET /orders/{id}", "get-orders-id");
        check("  --  ", "step");
        check("日本", "step-2");
        let long = "a very long name of a request that somebody wrote into a title";
        check(long, "a-very-long-name-of-a-request-that-someb");
        check(long, "a-very-long-name-of-a-request-that-som-2");
    }

    #[test]
    fn a_url_holds_only_what_a_url_may_hold() {
        let check = |text: &str, part: Part, expected: &str| {
            assert_eq!(encode(text, part), expected, "{text} as {part:?}");
        };
        check("/a b/%20/é/100%", Part::Path, "/a%20b/%20/%C3%A9/100%25");
        check("q=a b&r=$5", Part::Query, "q=a%20b&r=$$5");
        check("a/b&c=d$", Part::Value, "a%2Fb%26c%3Dd%24");
        check("{x}", Part::Path, "%7Bx%7D");
    }

    #[test]
    fn an_escaped_text_matches_itself_alone() {
        assert_eq!(escape("a.b (c) [1] $2/3"), r"a\.b \(c\) \[1\] \$2/3");
    }
}
