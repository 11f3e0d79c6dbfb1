//! `make replicas`: three gates on one queue and one table, killed, paused and stopped at random, while pipelines,
//! CodeDeploy and ECS ask. Every question must be answered once and in time, and some by a gate that took them over.

mod asking;
mod counting;
mod harassing;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand_pcg::Pcg32;
use serde_json::json;
use tests::{EmulatedAws, Gate, Person};

use asking::Asked;

/// Gates at once.
const REPLICAS: usize = 3;
/// From so long on a run must show a question that one gate began and another went on with.
const HANDED_OVER_FROM: Duration = Duration::from_secs(60);
/// The table, and the queue.
const NAME: &str = "replicas";

/// Healthy, or it fails 60 % of its requests.
fn policy(applies: &str, targets: &str) -> String {
    format!(
        "
gate: v1
applies-to: {applies}
probe: {{ http: {{ path: /shop }}, rate: 10/s }}
{targets}objectives:
  - errors: {{ at-most: 5% }}
decide: {{ at-least: 12s, deadline: 100s }}
"
    )
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty());
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[tokio::main]
async fn main() -> ExitCode {
    let (seconds, seed) = (setting("SECONDS", 180), setting("SEED", 1));
    eprintln!("replicas: {seconds} s, SEED={seed}");
    let aws = EmulatedAws::start(&["--hook-limit-seconds", "240"]);
    let person = Person::of(&aws.endpoint);
    person.make_table(NAME).await;
    let queue = aws.queue(NAME).await;
    let services = asking::Services::start().await;
    let mut gates = Vec::new();
    for number in 0..REPLICAS {
        let gate = Gate::new(&aws.endpoint, &format!("replica-{number}"))
            .shared(NAME)
            .policy_named("good.policy.yaml", &policy("{ pipeline: good-* }", &services.good()))
            .policy_named("bad.policy.yaml", &policy("{ pipeline: bad-* }", &services.bad()))
            .policy_named("hook.policy.yaml", &policy("{ application: hooked }", ""))
            .policy_named("pause.policy.yaml", &policy("{ service: paused-service }", ""))
            .settings(&format!("intake: {{ queue: \"{queue}\" }}\n"));
        gates.push(gate.start().await);
    }
    let mut gates: [Gate; REPLICAS] = gates.try_into().expect("as many as were started");
    let asked = Asked::set_up(&aws, &person, &queue).await;

    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let answers = counting::Answers::gather(&aws.endpoint, REPLICAS);
    let [first, second, third] = gates.each_mut();
    let done = tokio::join!(
        harassing::harass(first, Pcg32::new(seed, 1), until),
        harassing::harass(second, Pcg32::new(seed, 2), until),
        harassing::harass(third, Pcg32::new(seed, 3), until),
        asked.ask(until),
    );
    eprintln!("replicas: everything asked is over after {} s: {done:?}", began.elapsed().as_secs());

    let mut well = true;
    for gate in &gates {
        if gate.logged().contains("panicked") {
            eprintln!("replicas: a gate panicked");
            well = false;
        }
    }
    let answers = answers.end().await;
    match answers.contradicted() {
        Ok(none) if none.is_empty() => {}
        Ok(some) => {
            eprintln!("replicas: gates said different things to one question: {some:#?}");
            well = false;
        }
        Err(unread) => {
            eprintln!("replicas: an answer cannot be read: {unread}");
            well = false;
        }
    }
    let counted = asked.count(&answers).await;
    if counted.let_through > 0 {
        eprintln!("replicas: {} releases that fail were let through", counted.let_through);
    }
    let table = counting::table(&aws.endpoint, NAME).await;
    eprintln!("replicas: {table}");
    let handed_over = table["handed_over"].as_u64().unwrap_or(0);
    if Duration::from_secs(seconds) >= HANDED_OVER_FROM && handed_over == 0 {
        eprintln!("replicas: no question was taken over with evidence before and after");
        well = false;
    }
    if table["decided_twice"] != json!(0) {
        eprintln!("replicas: two decisions were written of one question");
        well = false;
    }
    println!("{counted}");
    let well = well && counted.is_right();
    if !well {
        for gate in &gates {
            eprintln!("{}", gate.logged());
        }
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
