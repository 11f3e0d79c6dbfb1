"""Lifecycle hooks: the Lambda function is asked with an execution id, and the answer comes by an API call or never."""

from __future__ import annotations

import base64
import json
import os
import time

from ..dispatch import Dispatch
from ..errors import AwsError
from ..settings import Settings
from .fleet import PRINCIPAL
from .model import Deployment, Event, HookRun
from .waiting import Failed, until

# AWSCodeDeployRoleForECSLimited and AWSCodeDeployRoleForLambda allow InvokeFunction on this prefix only.
_PREFIX = "CodeDeployHook_"
_ANSWERS = ("Succeeded", "Failed")
MAX_DELIVERIES = 100
_MAX_ANSWERS = 200


def execution_id() -> str:
    """Opaque, about 270 characters, in the form of those AWS hands out."""
    inner = {
        "encryptedData": base64.b64encode(os.urandom(96)).decode(),
        "ivParameterSpec": base64.b64encode(os.urandom(9)).decode(),
        "materialSetSerial": 1,
    }
    return base64.b64encode(json.dumps(inner, separators=(",", ":")).encode()).decode()


class Hooks:
    """Asks hooks and takes their answers."""

    def __init__(self, settings: Settings, dispatch: Dispatch) -> None:
        self._settings = settings
        self._dispatch = dispatch

    async def execute(self, deployment: Deployment, event: Event, function: str) -> None:
        """Returns when the hook said Succeeded; raises when it failed, never answered or cannot be asked."""
        run = HookRun(event.name, function, execution_id())
        deployment.hooks[run.execution_id] = run
        try:
            await self.deliver(deployment, run)
        except AwsError as error:
            # Our reading: what CodeDeploy's role may not invoke, or does not exist, fails the event at once.
            run.status = "Failed"
            raise self._failed(
                event, "UnknownError", f"The Lambda function {function} cannot be invoked: {error}"
            ) from None
        # What the function returns, or whether it crashes, is of no interest: only the API call counts.
        answered = await until(deployment, run.answered, self._settings.hook_limit)
        if not answered:
            run.status = "TimedOut"
            raise self._failed(event, "ScriptTimedOut", f"No answer to {event.name} within the time limit")
        if run.status == "Failed":
            raise self._failed(event, "UnknownError", f"The hook of {event.name} answered Failed")

    def _failed(self, event: Event, code: str, message: str) -> Failed:
        event.end("Failed", {"errorCode": code, "scriptName": "", "message": message, "logTail": ""})
        return Failed("HOOK_EXECUTION_FAILURE", f"One or more lifecycle event hooks failed: {message}"[:500])

    async def deliver(self, deployment: Deployment, run: HookRun) -> None:
        """Invokes the function with the whole of what AWS sends: two members."""
        name = run.function.rpartition(":")[2]
        if not name.startswith(_PREFIX):
            raise AwsError("AccessDeniedException", f"the service role may invoke {_PREFIX}* only, not {name}", 403)
        payload = {"DeploymentId": deployment.id, "LifecycleEventHookExecutionId": run.execution_id}
        await self._dispatch.ask(
            "lambda",
            "Invoke",
            {"FunctionName": run.function, "InvocationType": "Event", "Payload": json.dumps(payload).encode()},
            deployment.group.region,
            PRINCIPAL,
        )

    def answer(self, deployment: Deployment, execution: str | None, status: str | None, access_key: str) -> None:
        """PutLifecycleEventHookExecutionStatus; raises what the API raises, and keeps a record either way."""
        run = deployment.hooks.get(execution or "")
        try:
            if run is None:
                raise AwsError(
                    "InvalidLifecycleEventHookExecutionIdException", "The lifecycle event hook execution ID is invalid."
                )
            # "only Succeeded and Failed can be passed successfully" (API reference), whatever the enum says
            if status not in _ANSWERS:
                raise AwsError(
                    "InvalidLifecycleEventHookExecutionStatusException",
                    f"The lifecycle event hook execution status {status} is invalid: Succeeded or Failed is expected",
                )
            if run.status != "InProgress" or not deployment.active:
                raise AwsError(
                    "LifecycleEventAlreadyCompletedException",
                    "An attempt to return the status of an already completed lifecycle event occurred.",
                )
        except AwsError as error:
            self._record(run, status, access_key, error.code)
            raise
        self._record(run, status, access_key, None)
        run.status, run.answered_at = status, time.time()
        run.answered.set()

    @staticmethod
    def _record(run: HookRun | None, status: str | None, access_key: str, error: str | None) -> None:
        if run is not None and len(run.answers) < _MAX_ANSWERS:
            run.answers.append(
                {
                    "at": time.time(),
                    "status": status,
                    "access_key": access_key,
                    "accepted": error is None,
                    "error": error,
                }
            )
