//! Documents as policies.

use policies::PolicyFile;
use policies::document::{FaultCode, render};
use policies::judge::Judge;

/// Any bytes are a policy or have faults, never both; faults can be shown; a policy can be judged by.
pub fn policy(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = PolicyFile::parse("p", &text);
    let refused = file.errors().next().is_some();
    assert_eq!(file.policy.is_some(), !refused, "{:?}", file.faults);
    for fault in &file.faults {
        assert!(!fault.message.is_empty() && !fault.help.is_empty(), "{fault:?}");
        assert!(fault.line > 0 && fault.column > 0, "{fault:?}");
        let short = fault.code != FaultCode::G0001 || fault.message.len() <= 300;
        assert!(short, "{} bytes of message", fault.message.len());
    }
    for colour in [false, true] {
        let rendered = render(&file.faults, &text, colour);
        assert_eq!(rendered.is_empty(), file.faults.is_empty());
    }
    if let Some(policy) = &file.policy {
        let judge = Judge::of_question(policy, policies::Moment::ZERO);
        assert!(judge.is_ok(), "{judge:?}");
    }
}
