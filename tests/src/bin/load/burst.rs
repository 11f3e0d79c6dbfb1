//! 500 hooks at the same moment, each over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Barrier;

use crate::figures::quantile;
use crate::place::{Most, Place};
use crate::post;

/// Hooks at once.
pub const HOOKS: usize = 500;
/// The burst's runs take seconds, on a busy machine more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(200);
/// Half of them may take so long at most, and so may 99 of 100.
pub const P99_MOST: Duration = Duration::from_millis(100);

/// What was measured.
#[derive(Clone, Debug)]
pub struct Burst {
    pub accepted: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub most: Duration,
    pub answered: usize,
    pub held: Most,
}

/// Sends them, and waits for their answers.
pub async fn run(place: &mut Place) -> Burst {
    let looking = place.look();
    let deployments: Vec<String> = (0..HOOKS).map(|_| place.deploy("burst", false)).collect();
    let together = Arc::new(Barrier::new(HOOKS));
    let at = place.gate.at(8080);
    let mut sending = Vec::new();
    for deployment in &deployments {
        let (stream, body) = (post::connect(&at).await, place.cloud.hook(deployment));
        let together = Arc::clone(&together);
        sending.push(tokio::spawn(async move {
            together.wait().await;
            post::post(stream, &body).await
        }));
    }
    let mut took = Vec::new();
    for sent in sending {
        let told = sent.await.expect("it is sent");
        took.extend(told.filter(|told| told.status == 202).map(|told| told.took));
    }
    took.sort();
    let answered = place.answered(&deployments, ANSWERED_WITHIN).await;
    Burst {
        accepted: took.len(),
        p50: quantile(&took, 0.5),
        p99: quantile(&took, 0.99),
        most: took.last().copied().unwrap_or_default(),
        answered,
        held: looking.end(),
    }
}
