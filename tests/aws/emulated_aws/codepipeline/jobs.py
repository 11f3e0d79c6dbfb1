"""Lambda invoke actions: the job a function is given, and the result it puts."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from ..settings import ACCOUNT, Settings
from .state import ActionRun, new_id

_BY = "codepipeline.amazonaws.com"
_AGAIN_SECONDS = 30.0  # AWS seconds until a continuation token calls the function again; our reading
_MAX_JOBS = 5000
_MAX_VARIABLES = 122_880  # quota: bytes of output variables per action


@dataclasses.dataclass
class Job:
    """One invocation's job; a continued action gets another."""

    run: ActionRun
    done: bool = False
    id: str = dataclasses.field(default_factory=new_id)


class Jobs:
    """Starts invoke actions and takes their results."""

    def __init__(self, settings: Settings, dispatch: Dispatch) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._jobs: dict[str, Job] = {}
        self._later: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """No function is called again."""
        for one in self._later:
            one.cancel()

    async def start(self, run: ActionRun) -> None:
        """The first invocation."""
        await self._invoke(run, None)

    async def _invoke(self, run: ActionRun, token: str | None) -> None:
        job = Job(run)
        self._jobs[job.id] = job
        if len(self._jobs) > _MAX_JOBS:
            del self._jobs[next(iter(self._jobs))]
        region = run.execution.pipeline.region
        params = {
            "FunctionName": run.configuration["FunctionName"],
            "InvocationType": "Event",
            "Payload": json.dumps(_event(job, token)).encode(),
        }
        try:
            await self._dispatch.ask("lambda", "Invoke", params, region, _BY)
        except AwsError as error:
            job.done = True
            code = "ConfigurationError" if error.code == "ResourceNotFoundException" else "JobFailed"
            run.fail(code, f"Unable to invoke function {params['FunctionName']}: {error.message}")

    async def _continue(self, run: ActionRun, token: str) -> None:
        await asyncio.sleep(self._settings.scaled(_AGAIN_SECONDS))
        if run.status == "InProgress":
            await self._invoke(run, token)

    async def PutJobSuccessResult(self, call: Call) -> dict[str, Any]:
        params = call.params
        token, variables = params.get("continuationToken"), params.get("outputVariables", {})
        if token and variables:
            raise AwsError("ValidationException", "outputVariables cannot be given with a continuationToken")
        if sum(len(k.encode()) + len(v.encode()) for k, v in variables.items()) > _MAX_VARIABLES:
            raise AwsError("OutputVariablesSizeExceededException", f"outputVariables exceed {_MAX_VARIABLES} bytes")
        job = self._open(params["jobId"])
        job.done = True
        details = params.get("executionDetails", {})
        names = {"summary": "summary", "externalExecutionId": "external_id", "percentComplete": "percent"}
        changes = {names[key]: value for key, value in details.items()}
        if token:
            job.run.touch(**changes)
            later = asyncio.create_task(self._continue(job.run, token))
            self._later.add(later)
            later.add_done_callback(self._later.discard)
        else:
            job.run.end("Succeeded", variables=variables, **changes)
        return {}

    async def PutJobFailureResult(self, call: Call) -> dict[str, Any]:
        job = self._open(call.params["jobId"])
        job.done = True
        details = call.params["failureDetails"]
        changes = {"external_id": details["externalExecutionId"]} if "externalExecutionId" in details else {}
        job.run.fail(details["type"], details["message"], **changes)
        return {}

    def _open(self, job_id: str) -> Job:
        job = self._jobs.get(job_id)
        if job is None:
            raise AwsError("JobNotFoundException", f"No job exists with id {job_id}")
        if job.done or job.run.status != "InProgress":
            raise AwsError("InvalidJobStateException", f"Job {job_id} is no longer in progress")
        return job


def _event(job: Job, token: str | None) -> dict[str, Any]:
    """By "Example JSON event" in "Invoke an AWS Lambda function in a pipeline"."""
    run = job.run
    store = run.execution.pipeline.declared.get("artifactStore") or {}

    def artifacts(kind: str) -> list[dict[str, Any]]:
        return [
            {
                "name": one["name"],
                "revision": None,
                "location": {
                    "type": "S3",
                    "s3Location": {
                        "bucketName": store.get("location", "artifacts"),
                        "objectKey": f"{run.execution.pipeline.name[:20]}/{one['name'][:10]}/{run.execution.id[:7]}",
                    },
                },
            }
            for one in run.declared[kind]
        ]

    data: dict[str, Any] = {
        "actionConfiguration": {"configuration": run.configuration},
        "inputArtifacts": artifacts("inputArtifacts"),
        "outputArtifacts": artifacts("outputArtifacts"),
        # Good for nothing here, and recognisable: whoever finds one in a log has found a leak.
        "artifactCredentials": {
            "accessKeyId": f"ASIAARTIFACT{job.id[:8].upper()}",
            "secretAccessKey": f"artifact-secret-{job.id}",
            "sessionToken": f"artifact-session-{job.id}",
        },
    }
    if token:
        data["continuationToken"] = token
    return {"CodePipeline.job": {"id": job.id, "accountId": ACCOUNT, "data": data}}
