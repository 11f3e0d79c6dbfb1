"""How pipelines, executions and actions look in responses."""

from __future__ import annotations

from typing import Any

from .state import ActionRun, Execution, Pipeline


def state(pipeline: Pipeline) -> dict[str, Any]:
    """GetPipelineState."""
    return {
        "pipelineName": pipeline.name,
        "pipelineVersion": pipeline.declared["version"],
        "created": pipeline.created,
        "updated": pipeline.created,
        "stageStates": [_stage(pipeline, stage) for stage in pipeline.declared["stages"]],
    }


def _stage(pipeline: Pipeline, stage: dict[str, Any]) -> dict[str, Any]:
    name = stage["name"]
    described: dict[str, Any] = {
        "stageName": name,
        "inboundTransitionState": {"enabled": True},
        "actionStates": [_action(pipeline, name, action["name"]) for action in stage["actions"]],
    }
    if pipeline.mode == "PARALLEL":  # executions side by side have no common state
        return described
    entered = [one for one in pipeline.executions.values() if name in one.stages]
    if entered:
        latest = pipeline.occupied.get(name) or max(entered, key=lambda one: _entry(one, name))
        described["latestExecution"] = {
            "pipelineExecutionId": latest.id,
            "status": latest.stages.get(name, "InProgress"),
        }
    inbound = [
        {"pipelineExecutionId": one.id, "status": "InProgress"}
        for one in pipeline.executions.values()
        if one.waiting_for == name
    ]
    if inbound:
        described |= {"inboundExecution": inbound[-1], "inboundExecutions": inbound}
    return described


def _entry(execution: Execution, stage: str) -> Any:
    return max((run.started for run in execution.actions if run.stage == stage), default=execution.started)


def _action(pipeline: Pipeline, stage: str, action: str) -> dict[str, Any]:
    described: dict[str, Any] = {"actionName": action}
    runs = pipeline.runs(stage, action)
    if not runs or pipeline.mode == "PARALLEL":
        return described
    run = runs[-1]
    described["latestExecution"] = _present({
        "actionExecutionId": run.id, "status": run.status, "summary": run.summary, "lastStatusChange": run.updated,
        "lastUpdatedBy": run.updated_by, "externalExecutionId": run.external_id, "percentComplete": run.percent,
        "errorDetails": run.error, "token": run.approval_token if run.status == "InProgress" else None,
    })  # fmt: skip
    return described


def action_execution(run: ActionRun) -> dict[str, Any]:
    """ActionExecutionDetail."""
    result = _present({
        "externalExecutionId": run.external_id, "externalExecutionSummary": run.summary, "errorDetails": run.error,
    })  # fmt: skip
    return _present({
        "pipelineExecutionId": run.execution.id,
        "actionExecutionId": run.id,
        "pipelineVersion": run.execution.pipeline.declared["version"],
        "stageName": run.stage,
        "actionName": run.name,
        "startTime": run.started,
        "lastUpdateTime": run.updated,
        "updatedBy": run.updated_by,
        "status": run.status,
        "input": _present({
            "actionTypeId": run.declared["actionTypeId"], "configuration": run.declared["configuration"],
            "resolvedConfiguration": run.configuration, "region": run.execution.pipeline.region,
            "inputArtifacts": [{"name": one["name"]} for one in run.declared["inputArtifacts"]],
            "namespace": run.declared.get("namespace"),
        }),
        "output": {
            "outputArtifacts": [{"name": one["name"]} for one in run.declared["outputArtifacts"]],
            "executionResult": result, "outputVariables": run.variables,
        },
    })  # fmt: skip


def execution(one: Execution) -> dict[str, Any]:
    """PipelineExecution."""
    return _common(one) | {
        "pipelineName": one.pipeline.name,
        "pipelineVersion": one.pipeline.declared["version"],
        "artifactRevisions": [],
        "variables": [{"name": name, "resolvedValue": value} for name, value in one.variables.items()],
    }


def summary(one: Execution) -> dict[str, Any]:
    """PipelineExecutionSummary."""
    return _common(one) | {"startTime": one.started, "lastUpdateTime": one.updated, "sourceRevisions": []}


def _common(one: Execution) -> dict[str, Any]:
    return {
        "pipelineExecutionId": one.id,
        "status": one.status,
        "trigger": {"triggerType": "StartPipelineExecution", "triggerDetail": one.started_by},
        "executionMode": one.pipeline.mode,
        "executionType": "STANDARD",
    }


def _present(members: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in members.items() if value is not None}
