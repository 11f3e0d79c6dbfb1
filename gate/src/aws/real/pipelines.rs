//! CodePipeline by the official SDK.

use aws_sdk_codepipeline::types::{
    ActionExecutionStatus, ApprovalResult, ApprovalStatus, ExecutionDetails, FailureDetails,
    FailureType,
};

use super::super::pipelines::{
    ActionFacts, Approval, PipelineFacts, Pipelines, SUMMARY_MAX, WaitingApproval,
};
use super::super::{AwsError, Call, Reply};
use super::tries::turn;
use super::{PAGES_MAX, RealAws, absent, text};

/// A value that the SDK refuses to send.
fn refused(call: Call, subject: &str, error: &aws_sdk_codepipeline::error::BuildError) -> AwsError {
    AwsError {
        call,
        subject: subject.to_owned(),
        code: "NotSendable".to_owned(),
        message: error.to_string(),
        failure: super::Failure::Invalid,
    }
}

/// At most so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

impl Pipelines for RealAws {
    fn answer_approval<'a>(
        &'a self,
        approval: &'a Approval,
        approved: bool,
        summary: &'a str,
    ) -> Reply<'a, ()> {
        const CALL: Call = Call::PutApprovalResult;
        let status = if approved { ApprovalStatus::Approved } else { ApprovalStatus::Rejected };
        Box::pin(async move {
            let subject = approval.action.as_str();
            let result = ApprovalResult::builder()
                .summary(short(summary, SUMMARY_MAX))
                .status(status)
                .build()
                .map_err(|error| refused(CALL, subject, &error))?;
            let call = self
                .codepipeline
                .put_approval_result()
                .pipeline_name(&approval.pipeline)
                .stage_name(&approval.stage)
                .action_name(&approval.action)
                .result(result)
                .token(&approval.token);
            let reply = self.tell(CALL, subject, call.send()).await;
            let redact = |error: AwsError| AwsError {
                message: error.message.replace(&approval.token, "[token]"),
                ..error
            };
            reply.map(|_reply| ()).map_err(redact)
        })
    }

    fn waiting_approvals<'a>(&'a self, approval: &'a Approval) -> Reply<'a, Vec<WaitingApproval>> {
        Box::pin(async move {
            let call = self.codepipeline.list_action_executions().pipeline_name(&approval.pipeline);
            let (mut found, mut next) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(next.clone());
                let send = || call.clone().send();
                let page = self.ask(Call::ListActionExecutions, &approval.pipeline, send).await?;
                for detail in page.action_execution_details.unwrap_or_default() {
                    let here = detail.stage_name.as_deref() == Some(&approval.stage)
                        && detail.action_name.as_deref() == Some(&approval.action)
                        && detail.status == Some(ActionExecutionStatus::InProgress);
                    let token = detail
                        .output
                        .and_then(|output| output.execution_result)
                        .and_then(|result| result.external_execution_id);
                    if let (true, Some(token)) = (here, token) {
                        let execution_id = detail.pipeline_execution_id.unwrap_or_default();
                        found.push(WaitingApproval { execution_id, token });
                    }
                }
                if !turn(&mut next, page.next_token) {
                    break;
                }
            }
            Ok(found)
        })
    }

    fn answer_job<'a>(&'a self, job_id: &'a str, success: bool, summary: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            if success {
                let details = ExecutionDetails::builder().summary(short(summary, 2048)).build();
                let call = self
                    .codepipeline
                    .put_job_success_result()
                    .job_id(job_id)
                    .execution_details(details);
                let reply = self.tell(Call::PutJobSuccessResult, job_id, call.send()).await;
                return reply.map(|_reply| ());
            }
            const CALL: Call = Call::PutJobFailureResult;
            let details = FailureDetails::builder()
                .r#type(FailureType::JobFailed)
                .message(short(summary, 5000))
                .build()
                .map_err(|error| refused(CALL, job_id, &error))?;
            let call =
                self.codepipeline.put_job_failure_result().job_id(job_id).failure_details(details);
            self.tell(CALL, job_id, call.send()).await.map(|_reply| ())
        })
    }

    fn continue_job<'a>(&'a self, job_id: &'a str, token: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call =
                self.codepipeline.put_job_success_result().job_id(job_id).continuation_token(token);
            self.ask(Call::PutJobSuccessResult, job_id, || call.clone().send())
                .await
                .map(|_reply| ())
        })
    }

    fn pipeline<'a>(&'a self, name: &'a str) -> Reply<'a, PipelineFacts> {
        Box::pin(async move {
            let call = self.codepipeline.get_pipeline().name(name);
            let reply = self.ask(Call::GetPipeline, name, || call.clone().send()).await?;
            let found =
                reply.pipeline.ok_or_else(|| absent(Call::GetPipeline, name, "pipeline"))?;
            let mut actions = Vec::new();
            for stage in found.stages {
                for action in stage.actions {
                    let configuration = action.configuration.unwrap_or_default();
                    actions.push(ActionFacts {
                        stage: stage.name.clone(),
                        name: action.name,
                        provider: action.action_type_id.map(|id| id.provider).unwrap_or_default(),
                        configuration: configuration.into_iter().collect(),
                    });
                }
            }
            Ok(PipelineFacts { mode: text!(found.execution_mode).unwrap_or_default(), actions })
        })
    }
}
