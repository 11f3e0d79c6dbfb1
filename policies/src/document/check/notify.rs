//! Who is told of a decision.

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::Node;
use super::Faults;
use super::fields::{self, Fields};

/// Topics of one policy: a topic has subscribers of its own.
const TOPICS_MAX: usize = 8;

/// The ARNs of the topics that are told.
pub(super) fn topics(node: &Node, faults: &mut Faults<'_>) -> Vec<String> {
    let written = fields::list(node);
    if written.len() > TOPICS_MAX {
        let message = format!("`notify` has at most {TOPICS_MAX} topics");
        let help = "let one topic tell the others' subscribers";
        faults.add(FaultCode::G0004, &node.place, message, help);
    }
    let mut topics = Vec::new();
    for node in written.iter().take(TOPICS_MAX) {
        let Some(fields) = Fields::of(node, &shape::NOTIFY, faults) else { continue };
        let Some(node) = fields.optional("sns") else { continue };
        let Some(arn) = fields::text(node, faults) else { continue };
        if !arn.starts_with("arn:") {
            let message = format!("`{arn}` is not the ARN of a topic");
            let help = "write `sns: \"arn:aws:sns:REGION:ACCOUNT:NAME\"`";
            faults.add(FaultCode::G0004, &node.place, message, help);
        } else if !is_topic(&arn) {
            // An example with its parts left out is a policy all the same.
            let message =
                format!("nobody is told: `{arn}` is not the whole ARN of a standard topic");
            let help = "write `arn:aws:sns:REGION:ACCOUNT:NAME`; a FIFO topic is not told";
            faults.warn(&node.place, message, help);
        } else if topics.contains(&arn) {
            let message = format!("`{arn}` is there twice");
            faults.add(FaultCode::G0008, &node.place, message, "remove one of them");
        } else {
            topics.push(arn);
        }
    }
    topics
}

/// Region and account say where it is told; the messages of a FIFO topic would need an order.
fn is_topic(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, partition, "sns", region, account, name] = parts.as_slice() else { return false };
    let word = |text: &&str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !text.is_empty() && text.bytes().all(sound)
    };
    [partition, region, name].into_iter().all(word)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
}
