//! CodePipeline in our words.

use super::Reply;

/// The most characters of an approval's summary.
//= https://docs.aws.amazon.com/codepipeline/latest/APIReference/API_ApprovalResult.html
pub(crate) const SUMMARY_MAX: usize = 512;

/// The calls gate makes of CodePipeline.
pub(crate) trait Pipelines {
    /// Answers a manual approval. One try: the run decides about the next.
    fn answer_approval<'a>(
        &'a self,
        approval: &'a Approval,
        approved: bool,
        summary: &'a str,
    ) -> Reply<'a, ()>;
    /// Tokens of the approvals that wait at an action, by their pipeline execution.
    fn waiting_approvals<'a>(&'a self, approval: &'a Approval) -> Reply<'a, Vec<WaitingApproval>>;
    /// Answers a Lambda action.
    fn answer_job<'a>(&'a self, job_id: &'a str, success: bool, summary: &'a str) -> Reply<'a, ()>;
    /// Has a Lambda action invoked again later.
    fn continue_job<'a>(&'a self, job_id: &'a str, token: &'a str) -> Reply<'a, ()>;
    /// Actions of a pipeline: stage, action, provider.
    fn pipeline<'a>(&'a self, name: &'a str) -> Reply<'a, PipelineFacts>;
}

/// A manual approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approval {
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) action: String,
    /// The token that the answer must carry.
    pub(crate) token: String,
}

/// An approval that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WaitingApproval {
    pub(crate) execution_id: String,
    pub(crate) token: String,
}

/// What is set up for a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PipelineFacts {
    /// `QUEUED`, `SUPERSEDED` or `PARALLEL`.
    pub(crate) mode: String,
    pub(crate) actions: Vec<ActionFacts>,
}

/// An action of a pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ActionFacts {
    pub(crate) stage: String,
    pub(crate) name: String,
    /// `Manual`, `Lambda`, ...
    pub(crate) provider: String,
    pub(crate) configuration: Vec<(String, String)>,
}
