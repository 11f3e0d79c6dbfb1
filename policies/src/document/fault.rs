//! What is wrong with a policy: code, place, reason, and a way out.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use serde::Serialize;

/// Faults shown with their excerpts: each costs a walk through the document, and nobody reads a thousand.
const SHOWN_MAX: usize = 50;

/// The rule a document breaks. The name is stable: tools may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum FaultCode {
    /// Not YAML, too large, or beyond the parser's limits.
    G0001,
    /// A key gate does not know.
    G0002,
    /// A key that must be there is not.
    G0003,
    /// A value of the wrong kind, form or range.
    G0004,
    /// A document version this gate does not speak.
    G0005,
    /// The same objective twice.
    G0006,
    /// Cannot be decided before the deadline.
    G0007,
    /// Values that contradict each other.
    G0008,
    /// Known and accepted, but not performed by this version of gate: a warning.
    G0009,
    /// Matches deployments as well as another policy does.
    G0010,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultLevel {
    /// The document is refused.
    Error,
    /// The document stands, but something in it will not do what its author may think.
    Warning,
}

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The rule.
    pub code: FaultCode,
    /// Whether the document is refused for it.
    pub level: FaultLevel,
    /// File it is in.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// Bytes of the document it is about.
    #[serde(skip)]
    pub span: Range<usize>,
    /// What stands there may be a secret, which no excerpt shows.
    #[serde(skip)]
    pub hidden: bool,
}

impl Fault {
    /// Whether the document is refused for it.
    pub fn is_error(&self) -> bool {
        self.level == FaultLevel::Error
    }

    /// `file:line:column: message`, for records and answers.
    pub fn one_line(&self) -> String {
        format!("{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

/// The first faults with their excerpts, in the style of rustc, and how many more there are. `text` is the
/// document they are about.
pub fn render(faults: &[Fault], text: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let text = &without_hidden(faults, text);
    let mut rendered = String::new();
    for fault in faults.iter().take(SHOWN_MAX) {
        let id = format!("{:?}", fault.code);
        let span = fault.span.start.min(text.len())..fault.span.end.min(text.len());
        let snippet: Snippet<'_, annotate_snippets::Annotation<'_>> =
            Snippet::source(text).path(&fault.file).annotation(AnnotationKind::Primary.span(span));
        let level = if fault.is_error() { Level::ERROR } else { Level::WARNING };
        let title = level.primary_title(fault.message.as_str()).id(id);
        let group: Group<'_> = title.element(snippet).element(Level::HELP.message(&fault.help));
        rendered.push_str(&renderer.render(&[group]));
        rendered.push_str("\n\n");
    }
    let more = faults.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        rendered.push_str(&format!("{more} more faults are not shown\n\n"));
    }
    rendered
}

/// The document with what may be a secret blotted out; every place in it stays where it is.
fn without_hidden(faults: &[Fault], text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for fault in faults.iter().filter(|fault| fault.hidden) {
        let hidden = bytes.get_mut(fault.span.clone()).unwrap_or_default();
        hidden.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
