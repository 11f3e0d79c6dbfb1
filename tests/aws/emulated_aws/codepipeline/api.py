"""The CodePipeline operations we serve."""

from __future__ import annotations

from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import Settings
from ..sts.sessions import Sessions
from . import views
from .approvals import Approvals
from .declaration import completed
from .jobs import Jobs
from .machine import Machine
from .state import Execution, Pipeline

_MAX_PIPELINES = 1000
_MAX_RUNNING = 50  # quota: concurrent executions of a pipeline in QUEUED or PARALLEL mode
_MAX_KEPT = 2000


class CodePipeline:
    """Pipelines of every region."""

    def __init__(self, settings: Settings, dispatch: Dispatch, sessions: Sessions) -> None:
        self._sessions = sessions
        self._pipelines: dict[tuple[str, str], Pipeline] = {}
        self._approvals = Approvals(dispatch)
        self._jobs = Jobs(settings, dispatch)
        self._machine = Machine(settings, {"Approval": self._approvals.start, "Invoke": self._jobs.start})
        self._approvals.machine = self._machine
        dispatch.register("codepipeline", self)
        dispatch.register("codepipeline", self._jobs)

    async def close(self) -> None:
        """Ends every execution."""
        self._jobs.close()
        for pipeline in self._pipelines.values():
            _cancel(pipeline)

    # === pipelines ===

    async def CreatePipeline(self, call: Call) -> dict[str, Any]:
        given = call.params["pipeline"]
        key = call.region, given["name"]
        if key in self._pipelines:
            raise AwsError("PipelineNameInUseException", f"A pipeline with the name '{given['name']}' already exists")
        if len(self._pipelines) >= _MAX_PIPELINES:
            raise AwsError("LimitExceededException", f"at most {_MAX_PIPELINES} pipelines")
        declared = completed(given) | {"version": 1}
        self._pipelines[key] = Pipeline(call.region, declared)
        return {"pipeline": declared, "tags": call.params.get("tags", [])}

    async def GetPipeline(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipeline(call, "name")
        if call.params.get("version", 1) != 1:
            raise AwsError("PipelineVersionNotFoundException", f"Pipeline {pipeline.name} has version 1 only")
        times = {"pipelineArn": pipeline.arn, "created": pipeline.created, "updated": pipeline.created}
        return {"pipeline": pipeline.declared, "metadata": times}

    async def ListPipelines(self, call: Call) -> dict[str, Any]:
        found = [one for (region, _), one in sorted(self._pipelines.items()) if region == call.region]
        page, token = _page(call, found, 1000)
        listed = [
            {"name": one.name, "version": 1, "pipelineType": one.declared["pipelineType"], "executionMode": one.mode,
             "created": one.created, "updated": one.created}
            for one in page
        ]  # fmt: skip
        return {"pipelines": listed} | token

    async def DeletePipeline(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipelines.pop((call.region, call.params["name"]), None)
        if pipeline:  # deleting what is not there succeeds
            _cancel(pipeline)
        return {}

    async def GetPipelineState(self, call: Call) -> dict[str, Any]:
        return views.state(self._pipeline(call, "name"))

    def _pipeline(self, call: Call, member: str = "pipelineName") -> Pipeline:
        name = call.params[member]
        found = self._pipelines.get((call.region, name))
        if found is None:
            raise AwsError("PipelineNotFoundException", f"Account does not have a pipeline with name '{name}'")
        return found

    # === executions ===

    async def StartPipelineExecution(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipeline(call, "name")
        if call.params.get("sourceRevisions"):
            raise not_emulated("source revision overrides")
        running = sum(one.status == "InProgress" for one in pipeline.executions.values())
        if pipeline.mode != "SUPERSEDED" and running >= _MAX_RUNNING:
            raise AwsError(
                "ConcurrentPipelineExecutionsLimitExceededException", f"at most {_MAX_RUNNING} executions at a time"
            )
        execution = Execution(
            pipeline, self._sessions.arn(call.access_key, call.session_token), _variables(pipeline, call.params)
        )
        pipeline.executions[execution.id] = execution
        over = [one for one in pipeline.executions.values() if one.status != "InProgress"]
        for old in over[: max(len(pipeline.executions) - _MAX_KEPT, 0)]:
            del pipeline.executions[old.id]
        self._machine.start(execution)
        return {"pipelineExecutionId": execution.id}

    async def GetPipelineExecution(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipeline(call)
        return {"pipelineExecution": views.execution(_execution(pipeline, call.params["pipelineExecutionId"]))}

    async def ListPipelineExecutions(self, call: Call) -> dict[str, Any]:
        found = list(reversed(self._pipeline(call).executions.values()))
        wanted = call.params.get("filter", {}).get("succeededInStage", {}).get("stageName")
        if wanted:
            found = [one for one in found if one.stages.get(wanted) == "Succeeded"]
        page, token = _page(call, found, 100)
        return {"pipelineExecutionSummaries": [views.summary(one) for one in page]} | token

    async def ListActionExecutions(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipeline(call)
        chosen = call.params.get("filter", {})
        only = chosen.get("pipelineExecutionId") or chosen.get("latestInPipelineExecution", {}).get(
            "pipelineExecutionId"
        )
        executions = [_execution(pipeline, only)] if only else list(pipeline.executions.values())
        runs = sorted((run for one in executions for run in one.actions), key=lambda run: run.started, reverse=True)
        page, token = _page(call, runs, 100)
        return {"actionExecutionDetails": [views.action_execution(run) for run in page]} | token

    # === approvals ===

    async def PutApprovalResult(self, call: Call) -> dict[str, Any]:
        pipeline = self._pipeline(call)
        return {
            "approvedAt": self._approvals.answer(
                call, pipeline, self._sessions.arn(call.access_key, call.session_token)
            )
        }


def _cancel(pipeline: Pipeline) -> None:
    for execution in pipeline.executions.values():
        for run in execution.actions:
            run.end("Abandoned")
        if execution.task:
            execution.task.cancel()


def _execution(pipeline: Pipeline, wanted: str) -> Execution:
    if wanted not in pipeline.executions:
        raise AwsError("PipelineExecutionNotFoundException", f"Pipeline {pipeline.name} has no execution {wanted}")
    return pipeline.executions[wanted]


def _variables(pipeline: Pipeline, params: dict[str, Any]) -> dict[str, str]:
    declared = {one["name"]: one.get("defaultValue") for one in pipeline.declared.get("variables", [])}
    for one in params.get("variables", []):
        if one["name"] not in declared:
            raise AwsError("ValidationException", f"Pipeline {pipeline.name} declares no variable {one['name']}")
        declared[one["name"]] = one["value"]
    missing = [name for name, value in declared.items() if value is None]
    if missing:
        raise AwsError("ValidationException", f"The variable {missing[0]} has no default value and must be given")
    return {name: value for name, value in declared.items() if value is not None}


def _page(call: Call, found: list[Any], most: int) -> tuple[list[Any], dict[str, str]]:
    """So many from where the token says, and the next token when there are more."""
    token = call.params.get("nextToken", "0")
    if not token.isdigit() or (token != "0" and int(token) >= len(found)):
        raise AwsError("InvalidNextTokenException", "The next token was specified in an invalid format")
    end = int(token) + call.params.get("maxResults", most)
    return found[int(token) : end], {"nextToken": str(end)} if end < len(found) else {}
