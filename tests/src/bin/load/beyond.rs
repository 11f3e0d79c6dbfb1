//! More questions than gate takes: it says so, by HTTP and by leaving them on the queue, and keeps what it took.

use std::time::Duration;

use ::tests::eventually;

use crate::place::{Most, Place};
use crate::post;

/// As in `gate/src/app/questions.rs`.
pub const RUNS_MAX: usize = 1000;
/// Hooks by HTTP beyond that, and messages beyond that.
pub const BEYOND: usize = 60;
pub const MESSAGES: usize = 20;
/// Hooks at once: fewer than gate takes connections.
const AT_ONCE: usize = 100;
/// The runs take half a minute, and what is left on the queue comes again after half a minute.
const ANSWERED_WITHIN: Duration = Duration::from_secs(330);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Beyond {
    pub accepted: usize,
    pub refused_with_retry_after: usize,
    pub accepted_answered: usize,
    /// Messages that were still on the queue when gate was full.
    pub left_on_the_queue: usize,
    pub messages_answered: usize,
    pub held: Most,
}

/// Asks until gate is full, and then more.
pub async fn run(place: &mut Place) -> Beyond {
    let looking = place.look();
    let mut accepted = Vec::new();
    let (mut refused, mut with_retry_after) = (0, 0);
    let at = place.gate.at(8080);
    let all: Vec<String> = (0..RUNS_MAX + BEYOND).map(|_| place.deploy("beyond", false)).collect();
    for some in all.chunks(AT_ONCE) {
        let mut sending = Vec::new();
        for deployment in some {
            let (at, body) = (at.clone(), place.cloud.hook(deployment));
            sending.push(tokio::spawn(
                async move { post::post(post::connect(&at).await, &body).await },
            ));
        }
        for (sent, deployment) in sending.into_iter().zip(some) {
            match sent.await.expect("it is sent") {
                Some(told) if told.status == 202 => accepted.push(deployment.clone()),
                Some(told) if told.status == 503 => {
                    refused += 1;
                    with_retry_after += usize::from(told.retry_after);
                }
                told => panic!("{deployment}: {told:?}"),
            }
        }
    }
    let messages: Vec<String> = (0..MESSAGES).map(|_| place.deploy("beyond", false)).collect();
    for deployment in &messages {
        place.cloud.send(&place.cloud.hook(deployment));
    }
    // All were received and given back: gate says so of each.
    let metric = "gate_questions_total{kind=\"codedeploy-hook\",outcome=\"full\"}";
    let refusals = refused + MESSAGES;
    let seen = eventually(Duration::from_secs(25), async || {
        let metrics = place.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(metric)).map(str::trim);
        (line?.parse::<usize>().ok()? >= refusals).then_some(())
    });
    assert!(seen.await.is_some(), "the messages are not refused: {}", place.metrics().await);
    let left_on_the_queue = place.cloud.queued();
    let accepted_answered = place.answered(&accepted, ANSWERED_WITHIN).await;
    let messages_answered = place.answered(&messages, ANSWERED_WITHIN).await;
    Beyond {
        accepted: accepted.len(),
        refused_with_retry_after: with_retry_after,
        accepted_answered,
        left_on_the_queue,
        messages_answered,
        held: looking.end(),
    }
}
