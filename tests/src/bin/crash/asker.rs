//! Somebody who asks: by HTTP until it is acknowledged, as the relay does, or by the queue; now and then twice, and now
//! and then of a deployment that somebody else ends.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tests::cloud::Release;
use tests::seeded::Seeded;

use crate::ledger::{Kind, Question};
use crate::{Scene, hook};

/// The relay tries as often.
const AGAIN: Duration = Duration::from_millis(50);
/// Other hands, and second deliveries, come within this time.
const LATER: Duration = Duration::from_millis(2500);

/// One who asks one question after the other.
#[derive(Debug)]
pub struct Asker {
    scene: Arc<Scene>,
    seeded: Seeded,
}

impl Asker {
    pub fn new(scene: Arc<Scene>, seeded: Seeded) -> Self {
        Self { scene, seeded }
    }

    /// Until it is enough.
    pub async fn ask(mut self) {
        while !self.scene.ledger.is_enough() {
            self.question().await;
        }
    }

    async fn question(&mut self) {
        let scene = Arc::clone(&self.scene);
        let fails = self.seeded.once_in(2);
        let green = if fails { &scene.failing } else { &scene.healthy };
        let release = Release { application: "crash".into(), green: green.address, blue: None };
        let (deployment, _) = scene.cloud.deploy(release);
        let other_hands = match self.seeded.below(12) {
            0 => Some("Stopped"),
            1 => Some("Failed"),
            _ => None,
        };
        let kind = match (other_hands, fails) {
            (Some(_), fails) => Kind::EndedByOthers { fails },
            (None, true) => Kind::Failing,
            (None, false) => Kind::Healthy,
        };
        let by_queue = self.seeded.once_in(3);
        scene.ledger.add(Question { deployment: deployment.clone(), kind, by_queue });
        let body = scene.cloud.hook(&deployment);
        if by_queue {
            scene.cloud.send(&body);
        } else {
            self.until_acknowledged(&deployment, &body).await;
        }
        let ending = {
            let after = self.seeded.time(LATER);
            let scene = Arc::clone(&scene);
            let deployment = deployment.clone();
            async move {
                if let Some(status) = other_hands {
                    tokio::time::sleep(after).await;
                    scene.cloud.end(&deployment, status);
                }
            }
        };
        // Sooner or later it waits no more: CodeDeploy has a limit.
        tokio::join!(scene.cloud.over(&deployment), ending, self.twice(&body, by_queue));
    }

    /// While other hands end it this goes on too: the relay does not know.
    async fn until_acknowledged(&self, deployment: &str, body: &Value) {
        loop {
            let told = hook::post(&self.scene.hooks, body, &self.scene.snare).await;
            match told {
                Some(told) if told.status == 202 => return,
                Some(told) => assert_eq!(told.status, 503, "{deployment}"),
                None => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Delivers it again, up to three times: it must be known, whatever happened since.
    async fn twice(&mut self, body: &Value, by_queue: bool) {
        for _ in 0..self.seeded.below(8).saturating_sub(4) {
            tokio::time::sleep(self.seeded.time(LATER)).await;
            let told = hook::post(&self.scene.hooks, body, &self.scene.snare).await;
            // By the queue it may come after this.
            if !by_queue && told.is_some_and(|told| told.status == 202 && !told.joined) {
                self.scene.ledger.forgotten();
            }
        }
    }
}
