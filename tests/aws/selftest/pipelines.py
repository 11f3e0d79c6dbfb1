"""What the tests of CodePipeline share: a pipeline of three stages, and how to see and answer what it waits for."""

import uuid

import pytest
from botocore.exceptions import ClientError

from conftest import eventually

SOURCE = {"name": "Source", "actions": [{
    "name": "Checkout", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
    "configuration": {"S3Bucket": "b", "S3ObjectKey": "k"}, "outputArtifacts": [{"name": "code"}],
}]}  # fmt: skip


def approval(name="Gate", **configuration):
    kind = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
    return {"name": name, "actionTypeId": kind, "configuration": configuration}


def invoke(function, name="Verify", **extra):
    kind = {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"}
    return {"name": name, "actionTypeId": kind, "configuration": {"FunctionName": function}} | extra


class Pipe:
    """One pipeline: a source, the stage under test, and an end."""

    def __init__(self, emulator, *actions, mode="SUPERSEDED", **extra):
        self.client = emulator.loose("codepipeline")
        self.name = f"p{uuid.uuid4().hex[:8]}"
        last = {"name": "End", "actions": [approval("Last")]}
        self.declared = {
            "name": self.name, "roleArn": "arn:aws:iam::123456789012:role/pipeline", "pipelineType": "V2",
            "artifactStore": {"type": "S3", "location": "artifacts"}, "executionMode": mode,
            "stages": [SOURCE, {"name": "Check", "actions": list(actions)}, last], **extra,
        }  # fmt: skip
        self.client.create_pipeline(pipeline=self.declared)

    def start(self, **extra):
        return self.client.start_pipeline_execution(name=self.name, **extra)["pipelineExecutionId"]

    def status(self, execution):
        found = self.client.get_pipeline_execution(pipelineName=self.name, pipelineExecutionId=execution)
        return found["pipelineExecution"]["status"]

    def stage(self, name="Check"):
        (found,) = [
            one for one in self.client.get_pipeline_state(name=self.name)["stageStates"] if one["stageName"] == name
        ]
        return found

    def action(self, stage="Check", number=0):
        return self.stage(stage)["actionStates"][number].get("latestExecution", {})

    def runs(self, execution=None, action=None):
        chosen = {"filter": {"pipelineExecutionId": execution}} if execution else {}
        found = self.client.list_action_executions(pipelineName=self.name, **chosen)["actionExecutionDetails"]
        return [one for one in found if action in (None, one["actionName"])]

    def token(self, execution, stage="Check"):
        """The open approval's token, once the execution waits there."""
        return eventually(
            lambda: (
                self.stage(stage).get("latestExecution", {}).get("pipelineExecutionId") == execution
                and self.action(stage).get("token")
            )
        )

    def answer(self, token, status="Approved", summary="all good", stage="Check", action="Gate"):
        return self.client.put_approval_result(
            pipelineName=self.name, stageName=stage, actionName=action, token=token,
            result={"status": status, "summary": summary},
        )  # fmt: skip

    def delete(self):
        self.client.delete_pipeline(name=self.name)


def code(call, *arguments, **named):
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    return raised.value.response["Error"]["Code"]


def job(function, seen):
    """The newest job once there is another than so many."""
    events = eventually(lambda: len(function[1]()) > seen and function[1]())
    return events[-1]["CodePipeline.job"]
