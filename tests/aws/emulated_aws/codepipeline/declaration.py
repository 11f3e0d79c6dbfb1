"""A pipeline's declaration: refused where AWS refuses it, completed where AWS completes it."""

from __future__ import annotations

import copy
from typing import Any

from ..errors import AwsError, not_emulated

_APPROVAL_KEYS = {"NotificationArn", "CustomData", "ExternalEntityLink"}
_LAMBDA_KEYS = {"FunctionName", "UserParameters"}
_MAX_ACTIONS = 50  # quota: actions in a stage
_CONDITIONS = ("blockers", "onFailure", "onSuccess", "beforeEntry")


def completed(given: dict[str, Any]) -> dict[str, Any]:
    """The declaration as GetPipeline shows it."""
    if given.get("triggers"):
        raise not_emulated("pipeline triggers")
    if ("artifactStore" in given) == ("artifactStores" in given):
        raise _structure("Exactly one of artifactStore and artifactStores must be specified")
    pipeline = copy.deepcopy(given)
    kind, mode = pipeline.setdefault("pipelineType", "V1"), pipeline.setdefault("executionMode", "SUPERSEDED")
    if kind != "V2" and mode != "SUPERSEDED":
        raise _structure(f"Execution mode {mode} is only for pipelines of type V2")
    if kind != "V2" and pipeline.get("variables"):
        raise _structure("Variables are only for pipelines of type V2")
    _stages(pipeline["stages"])
    return pipeline


def _stages(stages: list[dict[str, Any]]) -> None:
    if len(stages) < 2:
        raise _structure(f"Pipeline has {len(stages)} stage(s). There should be a minimum of 2 stages in a pipeline")
    names = [stage["name"] for stage in stages]
    if len(set(names)) != len(names):
        raise AwsError("InvalidStageDeclarationException", "Stage names must be unique within a pipeline")
    produced: set[str] = set()
    for number, stage in enumerate(stages):
        for member in _CONDITIONS:
            if stage.get(member):
                raise not_emulated(f"{member} of stages")
        actions = stage["actions"]
        if not 1 <= len(actions) <= _MAX_ACTIONS:
            raise AwsError("InvalidStageDeclarationException", f"A stage must have 1 to {_MAX_ACTIONS} actions")
        if len({action["name"] for action in actions}) != len(actions):
            raise _action(f"Action names must be unique within stage {stage['name']}")
        for action in actions:
            if (action["actionTypeId"]["category"] == "Source") != (number == 0):
                raise _structure("Pipeline must start with a stage of source actions, and only with one")
            _check(action)
        for action in sorted(actions, key=lambda one: one["runOrder"]):
            for artifact in action["inputArtifacts"]:
                if artifact["name"] not in produced:
                    raise _structure(f"Artifact {artifact['name']} is not the output of any earlier action")
            produced |= {artifact["name"] for artifact in action["outputArtifacts"]}


def _check(action: dict[str, Any]) -> None:
    for member, default in (("runOrder", 1), ("configuration", {}), ("inputArtifacts", []), ("outputArtifacts", [])):
        action.setdefault(member, default)
    kind = action["actionTypeId"]
    for member in ("commands", "environmentVariables", "outputVariables"):
        if member in action:
            raise not_emulated(f"actions with {member}")
    if kind["category"] == "Source":
        return
    what = (kind["category"], kind["owner"], kind["provider"])
    if what == ("Approval", "AWS", "Manual"):
        keys, needed = _APPROVAL_KEYS, set()
        if action["inputArtifacts"] or action["outputArtifacts"]:
            raise _action(f"Action {action['name']}: approvals have no artifacts")
    elif what == ("Invoke", "AWS", "Lambda"):
        keys, needed = _LAMBDA_KEYS, {"FunctionName"}
    else:
        raise not_emulated(f"actions of {'/'.join(what)}: only sources, Approval/AWS/Manual and Invoke/AWS/Lambda")
    if kind["version"] != "1":
        raise _action(f"ActionType ({'/'.join(what)}, version {kind['version']}) is not available")
    given = set(action["configuration"])
    if given - keys:
        raise _action(f"Action configuration for action '{action['name']}' contains unknown {sorted(given - keys)}")
    if needed - given:
        raise _action(f"Action configuration for action '{action['name']}' is missing {sorted(needed - given)}")


def _structure(message: str) -> AwsError:
    return AwsError("InvalidStructureException", message)


def _action(message: str) -> AwsError:
    return AwsError("InvalidActionDeclarationException", message)
