"""Manual approvals: the message that asks for one, and the answer."""

from __future__ import annotations

import datetime
import json
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from .machine import Machine
from .state import ActionRun, Pipeline, new_id, now

_BY = "codepipeline.amazonaws.com"


class Approvals:
    """Starts approval actions and takes their results."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.machine: Machine | None = None

    async def start(self, run: ActionRun) -> None:
        """Opens the request and tells the topic, when there is one."""
        # The token of PARALLEL mode is called externalExecutionId and nothing else shows it (PutApprovalResult).
        run.approval_token = run.external_id = new_id()
        topic = run.configuration.get("NotificationArn")
        if topic and self.machine:
            pipeline = run.execution.pipeline
            params = {
                "TopicArn": topic,
                "Subject": f"APPROVAL NEEDED: AWS CodePipeline {pipeline.name} for action {run.name}"[:100],
                "Message": json.dumps(_message(run, self.machine.timeout_seconds(run))),
            }
            try:
                await self._dispatch.ask("sns", "Publish", params, pipeline.region, _BY)
            except AwsError as error:
                run.fail("ConfigurationError", f"The notification could not be sent to {topic}: {error}")

    def answer(self, call: Call, pipeline: Pipeline, by: str) -> datetime.datetime:
        """PutApprovalResult, the pipeline being known."""
        params = call.params
        stage = next((one for one in pipeline.declared["stages"] if one["name"] == params["stageName"]), None)
        if stage is None:
            raise AwsError("StageNotFoundException", f"Pipeline {pipeline.name} has no stage {params['stageName']}")
        if all(one["name"] != params["actionName"] for one in stage["actions"]):
            raise AwsError("ActionNotFoundException", f"Stage {stage['name']} has no action {params['actionName']}")
        runs = pipeline.runs(stage["name"], params["actionName"])
        run = next((one for one in runs if one.approval_token == params["token"]), None)
        # "The approval request already received a response or has expired" (InvalidApprovalTokenException)
        if (
            run is None
            or run.expired
            or (run.status != "InProgress" and pipeline.mode != "PARALLEL" and run != runs[-1])
        ):
            raise AwsError("InvalidApprovalTokenException", "The approval token is not valid for an open request")
        if run.status != "InProgress":
            raise AwsError("ApprovalAlreadyCompletedException", "The approval has already been approved or rejected")
        approved = params["result"]["status"] == "Approved"
        run.end("Succeeded" if approved else "Failed", summary=params["result"]["summary"] or None, updated_by=by)
        return run.updated


def _message(run: ActionRun, seconds: float) -> dict[str, Any]:
    """By "JSON data format for manual approval notifications in CodePipeline"."""
    pipeline = run.execution.pipeline
    console = f"https://console.aws.amazon.com/codesuite/codepipeline/pipelines/{pipeline.name}/view"
    approval: dict[str, Any] = {
        "pipelineName": pipeline.name,
        "stageName": run.stage,
        "actionName": run.name,
        "token": run.approval_token,
        "expires": (now() + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%MZ"),
        "externalEntityLink": run.configuration.get("ExternalEntityLink"),
        "approvalReviewLink": (
            f"{console}?region={pipeline.region}#/{run.stage}/{run.name}/approve/{run.approval_token}"
        ),
        "customData": run.configuration.get("CustomData"),
    }
    if pipeline.mode == "PARALLEL":
        del approval["token"]
        approval["approvalReviewLink"] = f"{console}?region={pipeline.region}#/{run.stage}/{run.name}"
    return {
        "region": pipeline.region,
        "consoleLink": f"{console}?region={pipeline.region}",
        "approval": {key: value for key, value in approval.items() if value is not None},
    }
