//! Every kind of question in every case: what the modules `matrix_…` have in common.
//!
//! tests/README.md has the whole table, with the tests of other modules in it. What cannot be, and so is not there:
//!
//! | kind | case | why not |
//! |---|---|---|
//! | CodeDeploy on ECS, by hook or READY | first deployment | a service has its blue task set before CodeDeploy can deploy to it |
//! | CodeDeploy on Lambda | first deployment | the alias has a version before it can be deployed to; the same version twice is refused |
//! | READY | rollback deployment | rollbacks do not wait; their START is in the row of watches |
//! | pause of ECS | rollback deployment | ECS allows no pause at the two stages that a rollback goes through |
//! | approval, job | first deployment | there is no blue, other than one that the policy names |
//! | approval, job | rollback deployment | a pipeline rolls back by another execution, which asks as any other does |

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::{AWS, LIMIT};

/// Quickly content, and quickly convinced of the opposite.
pub(crate) const QUICK: &str = "
gate: v1
probe: { http: { path: /shop }, rate: 40/s }
objectives: [ { errors: { at-most: 10%, unacceptable: 30% } } ]
decide: { at-least: 2s, deadline: 2m }
";

/// What a release breaks [`QUICK`] by.
pub(crate) const FAULTY: [&str; 2] = ["--errors", "60%"];

/// Tries of each call that are throttled. Of a read the SDK makes one more by itself; of an answer, the run does.
const THROTTLED: u64 = 2;

/// What befalls a question on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Befalls {
    /// Nothing can be measured: there is no target.
    NoTargets,
    /// The first tries of every call are throttled.
    Throttling,
    /// It is delivered again while it is judged.
    Twice,
    /// A person answers it before gate does, and what asked goes on.
    Answered,
    /// A person stops the deployment while it is judged.
    Stopped,
}

impl Befalls {
    /// `quick`, or what judges for as long as a test needs to come in between.
    pub(crate) fn policy(self, quick: &str) -> String {
        match self {
            Self::Stopped => patient(quick),
            Self::Twice => unhurried(quick),
            Self::NoTargets | Self::Throttling | Self::Answered => quick.to_owned(),
        }
    }
}

/// A policy that judges for long enough that something can befall it meanwhile, on a busy machine too.
pub(crate) fn unhurried(quick: &str) -> String {
    quick.replace("at-least: 2s", "at-least: 8s")
}

/// A policy that judges on for longer than any test looks, even where green is taken away meanwhile.
pub(crate) fn patient(quick: &str) -> String {
    let patient = quick.replace("at-least: 2s, deadline: 2m", "at-least: 2m, deadline: 10m");
    patient.replace("at-most: 10%, unacceptable: 30%", "at-most: 95%, unacceptable: 99%")
}

/// A policy that says so where there is no data.
pub(crate) fn lenient(quick: &str) -> String {
    quick.replace("decide: {", "decide: { no-data: continue,")
}

/// A gate that takes its questions from a queue.
pub(crate) fn queue(url: &str) -> String {
    format!("intake: {{ queue: \"{url}\" }}\n")
}

/// Throttles the first tries of every call that this access key makes.
pub(crate) async fn throttle(access_key: &str) {
    AWS.fault(json!({
        "access_key": access_key, "error": "ThrottlingException", "message": "Rate exceeded",
        "count": THROTTLED, "each": true,
    }))
    .await;
}

/// Checks that no call got through without having been throttled, and that one answer did.
pub(crate) async fn check_throttled(access_key: &str, answer: Option<&str>) {
    // How often each call went through, and how often it did not.
    let tries = async || {
        let mut tries = std::collections::BTreeMap::<String, [u64; 2]>::new();
        for call in AWS.all_requests(access_key).await {
            let throttled = call["error"] == "ThrottlingException";
            let operation = call["operation"].as_str().unwrap().to_owned();
            tries.entry(operation).or_default()[usize::from(throttled)] += 1;
        }
        tries
    };
    // What comes after the answer, the message that is let go of, may still be tried.
    let all = eventually(LIMIT, async || {
        let tries = tries().await;
        tries.values().all(|[_, throttled]| *throttled == THROTTLED).then_some(tries)
    });
    let Some(tries) = all.await else { panic!("{access_key}: {:?}", tries().await) };
    if let Some(answer) = answer {
        assert_eq!(tries.get(answer).map(|[through, _]| *through), Some(1), "{tries:?}");
    }
}

/// Lets somebody else act first: gate's answer is held up until `by_hand` is through.
pub(crate) async fn answer_before(gate_key: &str, answer: &str, by_hand: impl AsyncFnOnce()) {
    let fault = AWS.fault(json!({
        "operation": answer, "access_key": gate_key, "error": "ThrottlingException",
    }));
    let fault = fault.await;
    let held = eventually(LIMIT, async || AWS.requests(answer, gate_key).await.pop());
    held.await.unwrap_or_else(|| panic!("{gate_key} does not answer"));
    by_hand().await;
    AWS.heal(&fault).await;
}

/// Checks that an answer which came second was tried, and let go at the first refusal, if not by looking before.
pub(crate) async fn check_let_go(access_key: &str, answer: &str) {
    let tries = AWS.requests(answer, access_key).await;
    let heard = tries.iter().filter(|call| call["error"] != "ThrottlingException");
    let heard: Vec<_> = heard.map(|call| &call["error"]).collect();
    let refused = heard.iter().all(|error| error.is_string());
    assert!(!tries.is_empty() && heard.len() <= 1 && refused, "{tries:#?}");
}

/// How many calls of an operation were accepted, and how many were not.
pub(crate) async fn calls(operation: &str, access_key: &str) -> (usize, usize) {
    let all = AWS.requests(operation, access_key).await;
    let accepted = all.iter().filter(|call| call["error"].is_null()).count();
    (accepted, all.len() - accepted)
}

/// All evaluations of a deployment, whole, the oldest first.
pub(crate) async fn questions(gate: &Gate, deployment: &str) -> Vec<Value> {
    let mut found = Vec::new();
    for listed in gate.evaluations().await.iter().rev() {
        if listed["deployment_id"] == deployment {
            let url = format!("{}/evaluations/{}", gate.url(), listed["id"].as_str().unwrap());
            found.push(tests::http::get(&url).await.unwrap().json());
        }
    }
    found
}

/// The deployment's newest question that somebody asked, or its watch where nobody did.
async fn question(gate: &Gate, deployment: &str, watch: bool) -> Option<Value> {
    let mut all = questions(gate, deployment).await.into_iter().rev();
    all.find(|seen| seen["id"].as_str().unwrap().ends_with("-watch") == watch)
}

/// Waits until a question of the deployment is judged.
pub(crate) async fn judging(gate: &Gate, deployment: &str) -> Value {
    let judging = eventually(LIMIT, async || {
        question(gate, deployment, false).await.filter(|seen| seen["phase"] == "judging")
    });
    judging.await.unwrap_or_else(|| panic!("{deployment} is not judged: {}", gate.logged()))
}

/// Waits until the deployment's newest question is over.
pub(crate) async fn outcome(gate: &Gate, deployment: &str) -> Value {
    over(gate, deployment, false).await
}

/// Waits until the watch of a deployment that nobody asks about is over.
pub(crate) async fn watched(gate: &Gate, deployment: &str) -> Value {
    over(gate, deployment, true).await
}

async fn over(gate: &Gate, deployment: &str, watch: bool) -> Value {
    let over = eventually(LIMIT, async || {
        question(gate, deployment, watch).await.filter(|seen| seen["phase"] == "done")
    });
    over.await.unwrap_or_else(|| panic!("{deployment} is not over: {}", gate.logged()))
}

/// Decision, basis and delivery of an outcome; `none` for what is not there.
pub(crate) fn told(outcome: &Value) -> [&str; 3] {
    let found = [&outcome["decision"], &outcome["basis"], &outcome["delivery"]["delivery"]];
    found.map(|value| value.as_str().unwrap_or("none"))
}

/// Waits until a gate's metrics have this line.
pub(crate) async fn check_metric(gate: &Gate, line: &str) {
    let metrics =
        async || tests::http::get(&format!("{}/metrics", gate.admin())).await.unwrap().text;
    // A message that was sent a moment ago may still be on its way.
    let there = eventually(LIMIT, async || metrics().await.contains(line).then_some(()));
    assert!(there.await.is_some(), "{line} is not in {}", metrics().await);
}

/// Stage and basis of each question of a deployment.
pub(crate) fn stages(questions: &[Value]) -> Vec<(&str, &str)> {
    questions
        .iter()
        .map(|seen| {
            let stage = seen["deployment"]["stage"].as_str().unwrap_or("none");
            (stage, seen["basis"].as_str().unwrap_or("none"))
        })
        .collect()
}
