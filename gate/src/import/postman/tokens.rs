//! A test script cut into words, so that plain statements can be recognised. Nothing is run.

/// Bytes of one script; tests that people write have a few hundred.
pub(super) const SCRIPT_MAX_BYTES: usize = 256 * 1024;

/// What a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    /// A text in quotes, or in backticks with nothing to fill in.
    Text(String),
    Number,
    /// A regular expression and its flags.
    Regex(String, String),
    Sign,
    /// A text in backticks with something to fill in.
    Template,
}

/// One word of a script, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) source: &'a str,
    pub(super) start: usize,
    pub(super) line: usize,
}

impl Token<'_> {
    pub(super) fn is(&self, spelled: &str) -> bool {
        self.source == spelled && matches!(self.kind, Kind::Word | Kind::Sign)
    }
}

/// Signs of more than one character, the longest first.
const SIGNS: [&str; 16] = [
    "===", "!==", "...", "=>", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "++", "--", "+=",
    "-=",
];

/// Cuts a script into words; `None` where it is no script or ends within a text.
pub(super) fn tokens(script: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(rest) = script.get(at..).filter(|rest| !rest.is_empty()) {
        let first = rest.chars().next()?;
        let (length, kind) = if first.is_whitespace() {
            (first.len_utf8(), None)
        } else if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (rest.find("*/")? + 2, None)
        } else if let '"' | '\'' | '`' = first {
            let (length, text) = quoted(rest, first)?;
            (length, Some(text.map_or(Kind::Template, Kind::Text)))
        } else if first == '/' && begins_regex(&tokens) {
            let (length, kind) = regex(rest)?;
            (length, Some(kind))
        } else if first.is_ascii_digit() {
            let end = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_');
            (rest.find(end).unwrap_or(rest.len()), Some(Kind::Number))
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
            (rest.find(end).unwrap_or(rest.len()), Some(Kind::Word))
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            (sign.map_or_else(|| first.len_utf8(), |sign| sign.len()), Some(Kind::Sign))
        };
        let source = rest.get(..length)?;
        if let Some(kind) = kind {
            tokens.push(Token { kind, source, start: at, line });
        }
        line += source.matches('\n').count();
        at += length;
    }
    Some(tokens)
}

/// The length of a quoted text, and what it says; `None` inside where something is filled in.
fn quoted(rest: &str, quote: char) -> Option<(usize, Option<String>)> {
    let mut text = String::new();
    let mut filled = false;
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((at + c.len_utf8(), (!filled).then_some(text))),
            '\\' => match chars.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                // Escapes by number are rare in tests, and not worth being wrong about.
                'u' | 'x' => filled = true,
                other => text.push(other),
            },
            '\n' if quote != '`' => return None,
            '$' if quote == '`' && chars.peek().is_some_and(|(_, next)| *next == '{') => {
                filled = true;
            }
            other => text.push(other),
        }
    }
    None
}

/// Whether a slash here begins a regular expression and does not divide.
fn begins_regex(before: &[Token<'_>]) -> bool {
    before.last().is_none_or(|token| match token.kind {
        Kind::Sign => ![")", "]", "}"].contains(&token.source),
        Kind::Word => token.source == "return",
        Kind::Text(_) | Kind::Number | Kind::Regex(..) | Kind::Template => false,
    })
}

fn regex(rest: &str) -> Option<(usize, Kind)> {
    let (mut class, mut escaped) = (false, false);
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => class = true,
            ']' => class = false,
            '\n' => return None,
            '/' if !class => {
                let after = rest.get(at + 1..)?;
                let flags = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
                let kind = Kind::Regex(rest.get(1..at)?.to_owned(), after.get(..flags)?.to_owned());
                return Some((at + 1 + flags, kind));
            }
            _ => {}
        }
    }
    None
}

/// How deep brackets are after this token.
fn depth(before: usize, token: &Token<'_>) -> usize {
    match token.source {
        "(" | "[" | "{" if token.kind == Kind::Sign => before + 1,
        ")" | "]" | "}" if token.kind == Kind::Sign => before.saturating_sub(1),
        _ => before,
    }
}

/// The statements of a block, without their semicolons.
pub(super) fn statements<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let controls = ["if", "for", "while", "switch", "try", "function", "do", "class"];
    let mut found = Vec::new();
    let (mut start, mut deep) = (0, 0);
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        deep = depth(deep, token);
        // A bracket that is never closed leaves one statement more, which is listed.
        if deep > 0 && next.is_some() {
            continue;
        }
        let first = tokens.get(start);
        let control = first.is_some_and(|first| controls.iter().any(|word| first.is(word)));
        let joined =
            next.is_some_and(|next| ["else", "catch", "finally"].iter().any(|word| next.is(word)));
        let ends = if token.is(";") {
            !(control && joined)
        } else if control {
            token.is("}") && !joined
        } else {
            next.is_none_or(|next| next.line > token_end(token) && breaks(token, next))
        };
        if ends || next.is_none() {
            let end = if token.is(";") { at } else { at + 1 };
            found.extend(tokens.get(start..end).filter(|statement| !statement.is_empty()));
            start = at + 1;
        }
    }
    found
}

/// The line a token ends on: a text in backticks may have several.
fn token_end(token: &Token<'_>) -> usize {
    token.line + token.source.matches('\n').count()
}

/// Whether a line break between these two ends a statement.
fn breaks(before: &Token<'_>, after: &Token<'_>) -> bool {
    let goes_on = |token: &Token<'_>, ends: &[&str]| {
        token.kind == Kind::Sign && !ends.contains(&token.source)
    };
    !goes_on(before, &[")", "]", "}", "++", "--"]) && !goes_on(after, &["{", "}", "!", "++", "--"])
}

/// The tokens between the bracket at `open` and its partner, and where that is.
pub(super) fn inside<'t, 'a>(
    tokens: &'t [Token<'a>],
    open: usize,
) -> Option<(&'t [Token<'a>], usize)> {
    let mut deep = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        deep = depth(deep, token);
        if deep == 0 {
            return Some((tokens.get(open + 1..at)?, at));
        }
    }
    None
}

/// Parts between this sign where no bracket is open.
pub(super) fn split<'t, 'a>(tokens: &'t [Token<'a>], sign: &str) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let (mut start, mut deep) = (0, 0);
    for (at, token) in tokens.iter().enumerate() {
        deep = depth(deep, token);
        if deep == 0 && token.is(sign) {
            parts.extend(tokens.get(start..at));
            start = at + 1;
        }
    }
    parts.extend(tokens.get(start..).filter(|rest| !rest.is_empty()));
    parts
}

/// The text of the script from the first to the last of these.
pub(super) fn source<'a>(script: &'a str, tokens: &[Token<'_>]) -> &'a str {
    let start = tokens.first().map_or(0, |token| token.start);
    let end = tokens.last().map_or(start, |token| token.start + token.source.len());
    script.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(script: &str, expected: Expect) {
        let shown = tokens(script).map_or_else(
            || "no script\n".to_owned(),
            |tokens| {
                let statements = statements(&tokens);
                let spelled = |token: &Token<'_>| token.source.replace('\n', "⏎");
                let lines = statements.into_iter().map(|statement| {
                    let words: Vec<_> = statement.iter().map(spelled).collect();
                    format!("{}\n", words.join(" "))
                });
                lines.collect()
            },
        );
        expected.assert_eq(&shown);
    }

    #[test]
    fn statements_end_at_semicolons_and_line_breaks() {
        check(
            "var a = 1\nlet b = a\n  .c // why\nf(b,\n  2); /* ; */ g()",
            expect![[r#"
                var a = 1
                let b = a . c
                f ( b , 2 )
                g ( )
            "#]],
        );
    }

    #[test]
    fn a_condition_and_its_branches_are_one_statement() {
        check(
            "if (a) { b(); } else { c() }\nd()\ntry { e } catch (x) {}",
            expect![[r#"
                if ( a ) { b ( ) ; } else { c ( ) }
                d ( )
                try { e } catch ( x ) { }
            "#]],
        );
    }

    #[test]
    fn texts_and_regular_expressions_are_one_word_each() {
        check(
            r"a('it\'s; b', /[/;]+/g, 4 / 2 / 1)",
            expect![[r#"
                a ( 'it\'s; b' , /[/;]+/g , 4 / 2 / 1 )
            "#]],
        );
        check(
            "a('never ends",
            expect![[r#"
            no script
        "#]],
        );
    }
}
