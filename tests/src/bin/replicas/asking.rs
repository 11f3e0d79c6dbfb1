//! Who asks: pipelines whose approvals wait, deployments by CodeDeploy whose hooks come by the queue, and deployments
//! by ECS that pause.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{EmulatedAws, Person, Service, Site, eventually, http, place};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::counting::{Counted, Said};

/// Pipelines with an approval; those called `bad-` have an environment that fails.
const PIPELINES: [&str; 5] = ["good-1", "good-2", "good-3", "bad-1", "good-parallel"];
/// What a question may take once nobody disturbs gate any more: a lease, a run, and more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(150);
/// Between two looks at what was asked.
const LOOK_EVERY: Duration = Duration::from_millis(700);
/// An approval waits so long, in minutes of the emulated AWS: ten of them are a minute.
const APPROVAL_MINUTES: &str = "40";

/// What pipelines release, of both kinds.
#[derive(Debug)]
pub(crate) struct Services {
    good: (Child, String),
    bad: (Child, String),
}

impl Services {
    pub(crate) async fn start() -> Self {
        Self { good: service("0%").await, bad: service("60%").await }
    }

    pub(crate) fn good(&self) -> String {
        format!("targets: {{ green: [\"{}\"] }}\n", self.good.1)
    }

    pub(crate) fn bad(&self) -> String {
        format!("targets: {{ green: [\"{}\"] }}\n", self.bad.1)
    }
}

async fn service(errors: &str) -> (Child, String) {
    let address = format!("{}:8080", place::address());
    let child = Command::new(place::binary("service"))
        .args(["--listen", &address, "--errors", errors])
        .kill_on_drop(true)
        .spawn()
        .expect("the service runs");
    let url = format!("http://{address}");
    let up = eventually(PATIENCE, async || http::get(&format!("{url}/healthz")).await);
    up.await.expect("the service answers");
    (child, url)
}

/// Everybody who asks.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    aws: &'a EmulatedAws,
    person: &'a Person,
    site: Site<'a>,
    service: Service<'a>,
}

impl<'a> Asked<'a> {
    pub(crate) async fn set_up(aws: &'a EmulatedAws, person: &'a Person, queue: &str) -> Self {
        let attributes = json!({ "QueueUrl": queue, "AttributeNames": ["QueueArn"] });
        let found = person.call("sqs", "GetQueueAttributes", attributes).await;
        let queue_arn = found["Attributes"]["QueueArn"].as_str().expect("an ARN").to_owned();
        for pipeline in PIPELINES {
            let policy = pipeline.split('-').next().expect("a kind");
            let mode = if pipeline.ends_with("parallel") { "PARALLEL" } else { "QUEUED" };
            let arguments = ["setup-pipeline", "--name", pipeline, "--policy-name", policy];
            let more = ["--mode", mode, "--approval-minutes", APPROVAL_MINUTES];
            let made = aws.scenario(&[&arguments[..], &more].concat()).await;
            let subscription = json!({
                "TopicArn": made["topic"], "Protocol": "sqs", "Endpoint": queue_arn,
            });
            person.call("sns", "Subscribe", subscription).await;
        }
        let site = aws.relayed_site("hooked", &format!("GATE_QUEUE={queue}"), &[], &[]).await;
        let more = ["--pause", "POST_TEST_TRAFFIC_SHIFT", "--events-queue", super::NAME];
        let service = aws.service("paused", &[], &more).await;
        Self { aws, person, site, service }
    }

    /// Asks until then, and waits until everything asked is over.
    pub(crate) async fn ask(&self, until: Instant) {
        let pipelines = async {
            let [first, second, third, bad, parallel] = PIPELINES;
            tokio::join!(
                self.release(first, 1, until),
                self.release(second, 1, until),
                self.release(third, 1, until),
                self.release(bad, 1, until),
                self.release(parallel, 4, until),
            );
        };
        let hooks = async {
            while Instant::now() < until {
                let id = self.site.deploy(&[]).await;
                self.over(until, async || {
                    let seen = self.aws.deployment(&id).await;
                    ["Succeeded", "Failed", "Stopped"].contains(&text(&seen["status"]))
                })
                .await;
            }
        };
        let pauses = async {
            let mut arn = self.service.first.clone();
            loop {
                self.over(until, async || {
                    let seen = self.aws.service_deployment(&arn).await;
                    !["PENDING", "IN_PROGRESS"].contains(&text(&seen["status"]))
                })
                .await;
                if Instant::now() >= until {
                    break;
                }
                arn = self.service.deploy(&[]).await;
            }
        };
        tokio::join!(pipelines, hooks, pauses);
    }

    /// Starts a pipeline again and again, with so many executions at once.
    async fn release(&self, pipeline: &str, at_once: usize, until: Instant) {
        while Instant::now() < until {
            let mut started = Vec::new();
            for _ in 0..at_once {
                let asked = json!({ "name": pipeline });
                let made = self.person.call("codepipeline", "StartPipelineExecution", asked).await;
                started.push(made["pipelineExecutionId"].clone());
            }
            for execution in started {
                self.over(until, async || {
                    let asked = json!({
                        "pipelineName": pipeline, "pipelineExecutionId": execution,
                    });
                    let found =
                        self.person.call("codepipeline", "GetPipelineExecution", asked).await;
                    found["pipelineExecution"]["status"] != "InProgress"
                })
                .await;
            }
        }
    }

    /// Waits until something is over, or nobody can hope for it any more: it is counted as lost then.
    async fn over(&self, until: Instant, is_over: impl AsyncFn() -> bool) {
        let latest = until.max(Instant::now()) + PATIENCE;
        while Instant::now() < latest && !is_over().await {
            sleep(LOOK_EVERY).await;
        }
    }

    /// What came of every question.
    pub(crate) async fn count(&self, said: &Said) -> Counted {
        let mut counted = Counted::default();
        for pipeline in PIPELINES {
            self.count_approvals(pipeline, said, &mut counted).await;
        }
        let url = format!("{}/_emulated/deployments?application=hooked", self.aws.endpoint);
        let found = http::get(&url).await.expect("the control API answers").json();
        for hook in list(&found["deployments"]).flat_map(|one| list(&one["hooks"])) {
            let accepted = list(&hook["answers"]).filter(|answer| answer["accepted"] == true);
            let accepted = accepted.count();
            if accepted != 1 {
                eprintln!("replicas: {hook:#}");
            }
            counted.count(accepted, list(&hook["answers"]).next().is_some());
        }
        let url = format!("{}/_emulated/service-deployments", self.aws.endpoint);
        let found = http::get(&url).await.expect("the control API answers").json();
        for hook in list(&found["service_deployments"]).flat_map(|one| list(&one["hooks"])) {
            let (accepted, refused) = said.about("ContinueServiceDeployment", text(&hook["id"]));
            if accepted != 1 {
                eprintln!("replicas: {accepted} answers accepted to {hook:#}");
            }
            counted.count(accepted, refused > 0);
        }
        counted
    }

    async fn count_approvals(&self, pipeline: &str, said: &Said, counted: &mut Counted) {
        let mut runs = Vec::new();
        let mut page = json!({ "pipelineName": pipeline, "maxResults": 100 });
        loop {
            let found =
                self.person.call("codepipeline", "ListActionExecutions", page.clone()).await;
            runs.extend(list(&found["actionExecutionDetails"]).cloned());
            match found["nextToken"].as_str() {
                Some(next) => page["nextToken"] = json!(next),
                None => break,
            }
        }
        let wanted = if pipeline.starts_with("good") { "Succeeded" } else { "Failed" };
        let (mut answered, mut others) = (0, 0);
        let name = format!("\"pipelineName\": \"{pipeline}\"");
        let (accepted, refused) = said.about("PutApprovalResult", &name);
        for run in runs.iter().filter(|run| run["actionName"] == "Gate") {
            let by = text(&run["updatedBy"]);
            let is_answered = by.contains("replica-") && run["status"] != "InProgress";
            if is_answered {
                answered += 1;
                others += usize::from(run["status"] != wanted);
            } else {
                eprintln!("replicas: {run:#}");
            }
            counted.count(usize::from(is_answered), refused > 0 && run["status"] == "Failed");
        }
        // The emulated AWS takes one answer for each token; were it to take two, there would be more than approvals.
        counted.twice += u64::try_from(accepted.saturating_sub(answered)).expect("a count");
        if pipeline.starts_with("bad") {
            counted.let_through += others;
        }
        eprintln!(
            "replicas: {pipeline}: {answered} answered, {refused} answers refused as second ones, {others} by the fallback"
        );
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
