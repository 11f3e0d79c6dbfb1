//! Two daemons with a journal each are told of one hook: AWS takes one answer, and both come to an end.

use std::time::Duration;

use tests::cloud::Release;
use tests::seeded::Seeded;
use tests::{Gate, eventually, http};

use crate::hook::Snare;
use crate::ledger::{Kind, Question};
use crate::{LIMIT, POLICY, Scene, hook};

/// Races.
const RACES: u32 = 6;
/// A release is judged within this time, most often.
const JUDGED: Duration = Duration::from_millis(1500);

/// Races; in every second one of them, one daemon is killed and started again.
pub async fn run(scene: &Scene, seeded: &mut Seeded) {
    let daemon = |name| Gate::new(&scene.cloud.endpoint, name).policy(POLICY);
    let mut gates = [daemon("first").start().await, daemon("second").start().await];
    for race in 0..RACES {
        let fails = seeded.once_in(2);
        let green = if fails { &scene.failing } else { &scene.healthy };
        let release = Release { application: "race".into(), green: green.address, blue: None };
        let (deployment, _) = scene.cloud.deploy(release);
        let kind = if fails { Kind::Failing } else { Kind::Healthy };
        let body = scene.cloud.hook(&deployment);
        let question = Question { deployment: deployment.clone(), kind, by_queue: false };
        scene.ledger.add(question);
        let mut asked = Vec::new();
        for gate in &gates {
            let told = hook::post(&gate.at(8080), &body, &Snare::default()).await;
            asked.push(told.expect("gate takes it").evaluation);
        }
        if race % 2 == 1 {
            tokio::time::sleep(seeded.time(JUDGED)).await;
            let [first, _] = &mut gates;
            first.kill();
            scene.cloud.new_life();
            first.restart().await;
        }
        for (gate, id) in gates.iter().zip(&asked) {
            let url = format!("{}/evaluations/{id}", gate.url());
            let over = eventually(LIMIT, async || {
                http::get(&url).await.filter(|shown| shown.json()["phase"] == "done")
            });
            let shown = over.await.unwrap_or_else(|| panic!("no end: {}", gate.logged()));
            let delivery = shown.json()["delivery"]["delivery"].clone();
            eprintln!("race {race}: {delivery}");
        }
    }
}
