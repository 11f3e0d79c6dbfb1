//! CodeDeploy: deployments on ECS that wait at a hook, and the answers they were given.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Release;
use super::balancing::{LISTENER, group_name};
use super::wire::Reply;

/// What CodeDeploy calls an answer to a hook that is over.
const OVER: &str = "LifecycleEventAlreadyCompletedException";

/// An answer that gate sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `Succeeded` or `Failed`.
    pub status: String,
    /// The hook had waited so long.
    pub after: Duration,
    /// It was the first, and in time.
    pub accepted: bool,
    /// Its reply was not withheld.
    pub replied: bool,
    /// The access key it was signed with.
    pub by: String,
    /// Which of gate's lives it is from.
    pub life: u64,
}

/// A deployment with its hook.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The hook's id.
    pub execution: String,
    /// When it began to ask.
    pub asked: Instant,
    /// Every answer, in order.
    pub answers: Vec<Answer>,
    /// `InProgress` until it ends.
    pub status: &'static str,
    release: Release,
}

impl Deployment {
    /// Answers that were accepted.
    pub fn accepted(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.accepted)
    }

    /// Whether it waits for an answer, by now.
    pub fn waits(&self) -> bool {
        self.status == "InProgress"
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Deployments {
    limit: Duration,
    all: HashMap<String, Deployment>,
    pub(super) life: u64,
}

impl Deployments {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, all: HashMap::new(), life: 0 }
    }

    pub(super) fn begin(&mut self, release: Release) -> (String, String) {
        let number = self.all.len() + 1;
        let id = format!("d-{number:09}");
        let execution = format!("execution-{number}");
        let deployment = Deployment {
            execution: execution.clone(),
            asked: Instant::now(),
            answers: Vec::new(),
            status: "InProgress",
            release,
        };
        self.all.insert(id.clone(), deployment);
        (id, execution)
    }

    pub(super) fn of(&mut self, id: &str) -> Option<&Deployment> {
        let limit = self.limit;
        let deployment = self.all.get_mut(id)?;
        if deployment.waits() && deployment.asked.elapsed() > limit {
            deployment.status = "Failed";
        }
        Some(deployment)
    }

    pub(super) fn end(&mut self, id: &str, status: &'static str) {
        let deployment = self.all.get_mut(id).filter(|deployment| deployment.waits());
        if let Some(deployment) = deployment {
            deployment.status = status;
        }
    }

    /// The reply to this answer never comes.
    pub(super) fn withheld(&mut self, input: &Value) {
        let id = input["deploymentId"].as_str().unwrap_or_default();
        let last = self.all.get_mut(id).and_then(|deployment| deployment.answers.last_mut());
        if let Some(answer) = last {
            answer.replied = false;
        }
    }

    pub(super) fn call(&mut self, (operation, by): (&str, &str), input: &Value) -> Option<Reply> {
        let id = input["deploymentId"].as_str().unwrap_or_default();
        Some(match operation {
            "GetDeploymentConfig" => Reply::Json(json!({ "deploymentConfigInfo": {
                "deploymentConfigName": input["deploymentConfigName"],
                "computePlatform": "ECS",
                "trafficRoutingConfig": { "type": "AllAtOnce" },
            } })),
            "GetDeployment" | "ListDeploymentTargets" | "BatchGetDeploymentTargets" => {
                let Some(deployment) = self.of(id) else {
                    return Some(Reply::Refused("DeploymentDoesNotExistException"));
                };
                Reply::Json(match operation {
                    "GetDeployment" => info(id, deployment),
                    "ListDeploymentTargets" => json!({ "targetIds": ["prod:web"] }),
                    _ => targets(id, deployment),
                })
            }
            "PutLifecycleEventHookExecutionStatus" => self.answer((id, by), input),
            "StopDeployment" => match self.of(id).map(|found| found.waits()) {
                Some(true) => {
                    self.end(id, "Stopped");
                    Reply::Json(json!({ "status": "Succeeded" }))
                }
                Some(false) => Reply::Refused("DeploymentAlreadyCompletedException"),
                None => Reply::Refused("DeploymentDoesNotExistException"),
            },
            _ => return None,
        })
    }

    fn answer(&mut self, (id, by): (&str, &str), input: &Value) -> Reply {
        let (life, execution) = (self.life, &input["lifecycleEventHookExecutionId"]);
        let status = input["status"].as_str().unwrap_or_default();
        if !["Succeeded", "Failed"].contains(&status) {
            return Reply::Refused("InvalidLifecycleEventHookExecutionStatusException");
        }
        let Some(accepted) = self.of(id).map(Deployment::waits) else {
            return Reply::Refused("DeploymentDoesNotExistException");
        };
        let deployment = self.all.get_mut(id).expect("it was just found");
        if *execution != *deployment.execution {
            return Reply::Refused("InvalidLifecycleEventHookExecutionIdException");
        }
        deployment.answers.push(Answer {
            status: status.to_owned(),
            after: deployment.asked.elapsed(),
            accepted,
            replied: true,
            by: by.to_owned(),
            life,
        });
        if !accepted {
            return Reply::Refused(OVER);
        }
        deployment.status = if status == "Succeeded" { "Succeeded" } else { "Failed" };
        Reply::Json(json!({ "lifecycleEventHookExecutionId": execution }))
    }
}

fn info(id: &str, deployment: &Deployment) -> Value {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = since.saturating_sub(deployment.asked.elapsed());
    json!({ "deploymentInfo": {
        "applicationName": deployment.release.application,
        "deploymentGroupName": "all",
        "deploymentConfigName": "CodeDeployDefault.ECSAllAtOnce",
        "deploymentId": id,
        "computePlatform": "ECS",
        "status": deployment.status,
        "creator": "user",
        "createTime": began.as_secs(),
        "autoRollbackConfiguration": { "enabled": true, "events": ["DEPLOYMENT_FAILURE"] },
        "loadBalancerInfo": { "targetGroupPairInfoList": [{
            "targetGroups": [{ "name": "green" }],
            "prodTrafficRoute": { "listenerArns": [LISTENER] },
        }] },
    } })
}

fn targets(id: &str, deployment: &Deployment) -> Value {
    let set = |label: &str, address| {
        json!({
            "identifer": format!("ecs-svc/{label}"),
            "desiredCount": 1, "pendingCount": 0, "runningCount": 1,
            "status": "ACTIVE", "trafficWeight": 0.0,
            "targetGroup": { "name": group_name(address) },
            "taskSetLabel": label,
        })
    };
    let mut sets = vec![set("Green", deployment.release.green)];
    sets.extend(deployment.release.blue.map(|blue| set("Blue", blue)));
    let events = json!([{ "lifecycleEventName": "AfterAllowTestTraffic", "status": "InProgress" }]);
    json!({ "deploymentTargets": [{
        "deploymentTargetType": "ECSTarget",
        "ecsTarget": {
            "deploymentId": id, "targetId": "prod:web", "status": "InProgress",
            "lifecycleEvents": events, "taskSetsInfo": sets,
        },
    }] })
}
