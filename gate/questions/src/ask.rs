//! Who asks, and where the answer goes: every kind of question in one place.

use std::fmt;
use std::time::Duration;

use policies::Stage;
use policies::run::HOOK_LIMIT;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::signature;

/// The token that the answer to a question must carry: like a password, so never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A question as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asks.
    pub ask: Ask,
    /// In which region and account.
    #[serde(default)]
    pub place: Place,
    /// When it was asked, in milliseconds since 1970, where it was on its way for long enough to say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_unix_millis: Option<u64>,
}

impl Asked {
    /// A question that is asked now.
    pub const fn now(ask: Ask, place: Place) -> Self {
        Self { ask, place, asked_unix_millis: None }
    }

    /// From acceptance until whoever asks stops waiting, where that is known from the question alone.
    pub fn limit(&self, now_unix_millis: u64) -> Option<Duration> {
        let age = self.age(now_unix_millis);
        match &self.ask {
            Ask::CodedeployHook { .. } | Ask::PipelineJob { .. } => {
                Some(HOOK_LIMIT.saturating_sub(age))
            }
            Ask::EcsPause { expires_unix_millis: Some(at), .. }
            | Ask::Approval { expires_unix_millis: Some(at), .. } => {
                Some(Duration::from_millis(at.saturating_sub(now_unix_millis)))
            }
            Ask::Approval { expires_unix_millis: None, .. } => {
                Some(APPROVAL_LIMIT.saturating_sub(age))
            }
            Ask::EcsPause { expires_unix_millis: None, .. }
            | Ask::CodedeployReady { .. }
            | Ask::EcsHook { .. }
            | Ask::Watch { .. } => None,
        }
    }

    /// How long it was on its way.
    pub fn age(&self, now_unix_millis: u64) -> Duration {
        let asked = self.asked_unix_millis.unwrap_or(now_unix_millis);
        Duration::from_millis(now_unix_millis.saturating_sub(asked))
    }
}

/// How long a pipeline waits for an approval where nothing else is said.
//= https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals.html
const APPROVAL_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Ask {
    /// A lifecycle hook of CodeDeploy, on ECS or Lambda.
    CodedeployHook {
        /// `d-…`.
        deployment_id: String,
        /// What the answer must carry.
        execution_id: Token,
    },
    /// A CodeDeploy deployment in status `Ready`.
    CodedeployReady {
        /// `d-…`.
        deployment_id: String,
    },
    /// A pause of an ECS service deployment.
    EcsPause {
        /// Of the service deployment.
        deployment_arn: String,
        /// Which pause.
        hook_id: String,
        /// Where it pauses, where whoever reported it says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// When ECS stops waiting, in milliseconds since 1970, where that was said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_unix_millis: Option<u64>,
    },
    /// A Lambda hook of an ECS service deployment: it asks again until it is told.
    EcsHook {
        /// Of the service deployment.
        deployment_arn: String,
        /// ECS's id of this execution.
        execution_id: String,
        /// Where.
        stage: Stage,
    },
    /// A manual approval of a pipeline.
    Approval {
        /// Pipeline.
        pipeline: String,
        /// Its stage.
        stage: String,
        /// Its action.
        action: String,
        /// What the answer must carry.
        token: Token,
        /// The policy that `customData` names.
        policy: Option<String>,
        /// When the pipeline stops waiting, in milliseconds since 1970.
        expires_unix_millis: Option<u64>,
    },
    /// A Lambda action of a pipeline: it asks again until it is told.
    PipelineJob {
        /// Pipeline, where the job says so.
        pipeline: String,
        /// CodePipeline's id of the first job.
        job_id: String,
        /// The policy that `UserParameters` names.
        policy: Option<String>,
    },
    /// Nobody: a deployment has begun, and is watched.
    Watch {
        /// Which.
        of: Watched,
    },
}

/// A deployment that nobody asks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Watched {
    /// By CodeDeploy.
    CodeDeploy {
        /// `d-…`.
        deployment_id: String,
    },
    /// By ECS itself.
    Service {
        /// Of the service deployment.
        deployment_arn: String,
    },
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A deployment by CodeDeploy.
    CodeDeploy {
        /// `d-…`.
        id: String,
    },
    /// A deployment that ECS makes by itself.
    Service {
        /// Of the service deployment.
        arn: String,
        /// The pause that waits.
        hook_id: Option<String>,
        /// The stage, where whoever asks says so.
        stage: Option<Stage>,
    },
    /// An execution of a pipeline.
    Pipeline {
        /// Its name.
        pipeline: String,
        /// What asks.
        stage: Stage,
        /// The policy it names.
        policy: Option<String>,
    },
}

impl Subject {
    /// The deployment's id: what further questions of the same deployment have in common.
    pub fn id(&self) -> &str {
        match self {
            Self::CodeDeploy { id } => id,
            Self::Service { arn, .. } => arn.rsplit('/').next().unwrap_or(arn),
            Self::Pipeline { pipeline, .. } => pipeline,
        }
    }

    /// The policy it is judged by, where whoever asks names one.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Self::Pipeline { policy, .. } => policy.as_deref(),
            Self::CodeDeploy { .. } | Self::Service { .. } => None,
        }
    }
}

impl Ask {
    /// What it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Self::CodedeployHook { deployment_id, .. }
            | Self::CodedeployReady { deployment_id }
            | Self::Watch { of: Watched::CodeDeploy { deployment_id } } => {
                Subject::CodeDeploy { id: deployment_id.clone() }
            }
            Self::EcsPause { deployment_arn, hook_id, stage, .. } => Subject::Service {
                arn: deployment_arn.clone(),
                hook_id: Some(hook_id.clone()),
                stage: *stage,
            },
            Self::EcsHook { deployment_arn, stage, .. } => {
                Subject::Service { arn: deployment_arn.clone(), hook_id: None, stage: Some(*stage) }
            }
            Self::Watch { of: Watched::Service { deployment_arn } } => {
                Subject::Service { arn: deployment_arn.clone(), hook_id: None, stage: None }
            }
            Self::Approval { pipeline, policy, .. } => Subject::Pipeline {
                pipeline: pipeline.clone(),
                stage: Stage::Approval,
                policy: policy.clone(),
            },
            Self::PipelineJob { pipeline, policy, .. } => Subject::Pipeline {
                pipeline: pipeline.clone(),
                stage: Stage::Invoke,
                policy: policy.clone(),
            },
        }
    }

    /// The kind, for metrics and logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CodedeployHook { .. } => "codedeploy-hook",
            Self::CodedeployReady { .. } => "codedeploy-ready",
            Self::EcsPause { .. } => "ecs-pause",
            Self::EcsHook { .. } => "ecs-hook",
            Self::Approval { .. } => "approval",
            Self::PipelineJob { .. } => "pipeline-job",
            Self::Watch { .. } => "watch",
        }
    }

    /// Whether somebody waits for an answer.
    pub const fn waits(&self) -> bool {
        !matches!(self, Self::Watch { .. })
    }

    /// The same question has the same id, so that a second delivery joins the first. What may be a token is
    /// shown as a digest alone. Letters, digits, `-` and `_`: it is part of a URL.
    pub fn evaluation_id(&self) -> String {
        let subject = self.subject();
        let of: String = subject
            .id()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
            .take(ID_MAX)
            .collect();
        let of = if of.is_empty() { "job".to_owned() } else { of };
        match self {
            Self::CodedeployHook { execution_id, .. } => {
                format!("{of}-{}", digest(&execution_id.0))
            }
            Self::CodedeployReady { .. } => format!("{of}-ready"),
            Self::EcsPause { hook_id, .. } => format!("{of}-{}", digest(hook_id)),
            Self::EcsHook { execution_id, stage, .. } => {
                format!("{of}-{}", digest(&format!("{stage} {execution_id}")))
            }
            Self::Approval { stage, action, token, .. } => {
                format!("{of}-{}", digest(&format!("{stage} {action} {}", token.0)))
            }
            // Jobs do not say their pipeline: all have the same beginning.
            Self::PipelineJob { job_id, .. } => format!("{of}-{}", long_digest(job_id)),
            Self::Watch { .. } => format!("{of}-watch"),
        }
    }
}

/// Characters of a deployment's id in an evaluation's.
const ID_MAX: usize = 64;

/// Eight hex digits that stand for a token.
fn digest(text: &str) -> String {
    digest_of(text, 4)
}

/// Sixteen, where there are very many.
fn long_digest(text: &str) -> String {
    digest_of(text, 8)
}

fn digest_of(text: &str, bytes: usize) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    signature::hex(digest.as_ref().get(..bytes).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_question_has_the_same_id_and_shows_no_token() {
        let hook = |id: &str, token: &str| Ask::CodedeployHook {
            deployment_id: id.to_owned(),
            execution_id: Token(token.to_owned()),
        };
        assert_eq!(hook("d-1", "secret").evaluation_id(), hook("d-1", "secret").evaluation_id());
        assert_ne!(hook("d-1", "secret").evaluation_id(), hook("d-1", "other").evaluation_id());
        assert!(!hook("d-1", "secret").evaluation_id().contains("secret"));
        let arn = "arn:aws:ecs:eu-west-1:1:service-deployment/prod/web/0EYSiB0q".to_owned();
        let pause = Ask::EcsPause {
            deployment_arn: arn,
            hook_id: "ecs-pause-e7".to_owned(),
            stage: None,
            expires_unix_millis: None,
        };
        assert!(pause.evaluation_id().starts_with("0EYSiB0q-"), "{}", pause.evaluation_id());
        let approval = Ask::Approval {
            pipeline: "my pipeline/7".to_owned(),
            stage: "s".to_owned(),
            action: "a".to_owned(),
            token: Token("t".to_owned()),
            policy: None,
            expires_unix_millis: None,
        };
        assert!(approval.evaluation_id().starts_with("my-pipeline-7-"));
    }
}
