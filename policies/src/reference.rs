//! References to secrets: what is one, and what is said of what is none without telling what stands there.

/// The longest word before a `:` that is told back.
const KIND_MAX: usize = 20;
/// The kinds there are.
const KINDS: [&str; 4] = ["env", "file", "ssm", "secretsmanager"];

/// Whether this says where a text is found: `env:NAME`, `file:/path`, `ssm:/name`, `secretsmanager:name` or
/// `secretsmanager:name#key`.
pub fn is_reference(text: &str) -> bool {
    match text.split_once(':') {
        Some(("env" | "file" | "ssm", place)) => !place.is_empty(),
        Some(("secretsmanager", place)) => match place.split_once('#') {
            Some((id, key)) => !id.is_empty() && !key.is_empty(),
            None => !place.is_empty(),
        },
        _ => false,
    }
}

/// What is wrong with a text that is no reference. It is not quoted: somebody may have written the secret itself
/// there.
pub fn why_none(text: &str) -> String {
    let kind = text.split_once(':').map(|(kind, _)| kind);
    let plain = |kind: &&str| {
        (1..=KIND_MAX).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    match kind.filter(plain) {
        Some(kind) if KINDS.contains(&kind) => format!("what follows `{kind}:` is not whole"),
        Some(kind) => format!("`{kind}:` is no kind of reference"),
        None => "what stands there is no reference (not shown: it may be the secret itself)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert!(!is_reference(text), "{text}");
        assert_eq!(why_none(text), expected, "{text}");
    }

    #[test]
    fn what_is_no_reference_is_not_told_back() {
        let unsaid = "what stands there is no reference (not shown: it may be the secret itself)";
        for secret in ["hunter2", "S3cret:word", ":word", "", "word with spaces: x", "k3y:x"] {
            check(secret, unsaid);
        }
        check(&format!("{}:x", "k".repeat(KIND_MAX + 1)), unsaid);
        check("vault:word", "`vault:` is no kind of reference");
        check("ssm:", "what follows `ssm:` is not whole");
        check("secretsmanager:#word", "what follows `secretsmanager:` is not whole");
    }
}
