"""Lifecycle hooks of service deployments: pauses wait for an API call, a function's return value is its answer."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from ...dispatch import Dispatch
from ...errors import AwsError
from ...settings import Settings
from ..runner import PRINCIPAL
from .model import Deployment, HookRun, RollBack, token
from .news import News
from .waiting import pause, until

_CALL_BACK_SECONDS = 30.0
_MAX_INVOCATIONS = 200  # remembered per hook
_SHIFTS = {"TEST_TRAFFIC_SHIFT": "test", "PRODUCTION_TRAFFIC_SHIFT": "production"}


class Hooks:
    """Asks the hooks of a stage, all at once; all must pass."""

    def __init__(self, settings: Settings, dispatch: Dispatch, news: News) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._news = news
        self._invocations: set[asyncio.Task[Any]] = set()

    async def stage(self, deployment: Deployment, stage: str, rolling_back: bool = False) -> None:
        """Returns when every hook of the stage passed; raises RollBack as soon as one did not."""
        if deployment.verdict and not rolling_back:
            raise deployment.verdict
        wanted = [
            one
            for one in deployment.config.get("lifecycleHooks", [])
            if stage in one["lifecycleStages"] and not (rolling_back and one["targetType"] == "PAUSE")
        ]
        runs = [self._run(stage, one) for one in wanted]
        deployment.hooks += runs
        jobs = [asyncio.create_task(self._execute(deployment, run, rolling_back)) for run in runs]
        try:
            for job in asyncio.as_completed(jobs):
                await job
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            for run in runs:
                if run.open:  # another hook decided, or somebody stopped the deployment
                    await self._end(deployment, run, "FAILED")

    def _run(self, stage: str, config: dict[str, Any]) -> HookRun:
        pausing = config["targetType"] == "PAUSE"
        timeout = config["timeoutConfiguration"]
        return HookRun(
            id=f"ecs-pause-{token(32)}" if pausing else f"ecs-lambda-{token(32)}",
            type=config["targetType"],
            stage=stage,
            config=config,
            status="AWAITING_ACTION" if pausing else "IN_PROGRESS",
            expires=time.time() + self._settings.scaled(timeout["timeoutInMinutes"] * 60),
            timeout_action=timeout["action"],
        )

    async def _execute(self, deployment: Deployment, run: HookRun, rolling_back: bool) -> None:
        await self._news.hook(deployment, run, f"HOOK_{run.status}")
        if run.type == "PAUSE":
            await self._pause(deployment, run)
        else:
            await self._function(deployment, run, rolling_back)

    async def _end(self, deployment: Deployment, run: HookRun, status: str) -> None:
        run.status = status
        deployment.touch()
        await self._news.hook(deployment, run, f"HOOK_{status}")

    # === pauses ===

    async def _pause(self, deployment: Deployment, run: HookRun) -> None:
        if not await until(deployment, run.answered, max(0.0, run.expires - time.time())):
            await self._timed_out(deployment, run)
            return
        # the status was set by the call that answered: another one must not be accepted meanwhile
        await self._news.hook(deployment, run, f"HOOK_{run.status}")
        if run.status == "FAILED":
            raise RollBack(f"Lifecycle hook {run.id} at {run.stage} was rolled back by ContinueServiceDeployment.")

    @staticmethod
    def answer(deployment: Deployment, hook_id: str, action: str) -> None:
        """ContinueServiceDeployment; raises what the API raises."""
        run = next((one for one in deployment.hooks if one.id == hook_id), None)
        if run is None or run.type != "PAUSE":
            raise AwsError("InvalidParameterException", f"The hook {hook_id[:100]} is not a hook of this deployment.")
        if run.status != "AWAITING_ACTION" or deployment.status != "IN_PROGRESS":
            raise AwsError("InvalidParameterException", f"The hook {hook_id} is not awaiting action: {run.status}.")
        run.status = "SUCCEEDED" if action == "CONTINUE" else "FAILED"
        if action == "ROLLBACK":
            deployment.status = "ROLLBACK_REQUESTED"
        deployment.touch()
        run.answered.set()

    async def _timed_out(self, deployment: Deployment, run: HookRun) -> None:
        await self._end(deployment, run, "TIMED_OUT")
        if run.timeout_action == "ROLLBACK":
            raise RollBack(f"Lifecycle hook {run.id} at {run.stage} timed out.")

    # === functions ===

    async def _function(self, deployment: Deployment, run: HookRun, rolling_back: bool) -> None:
        details = dict(run.config.get("hookDetails", {}))
        while True:
            left = run.expires - time.time()
            if left <= 0:
                await self._timed_out(deployment, run)
                return
            # never cancelled: an invocation runs to its end, whoever still wants to know
            job = asyncio.create_task(self._invoke(deployment, run, details))
            self._invocations.add(job)
            finished = asyncio.Event()
            job.add_done_callback(self._invocations.discard)
            job.add_done_callback(lambda _, event=finished: event.set())
            # a rollback is not interrupted by what started it
            if not await until(None if rolling_back else deployment, finished, left):
                await self._timed_out(deployment, run)
                return
            answer, problem = job.result()
            status = answer.get("hookStatus")
            delay = answer.get("callBackDelay", _CALL_BACK_SECONDS)
            if problem is None and status not in ("SUCCEEDED", "FAILED", "IN_PROGRESS"):
                problem = f"returned no valid hookStatus: {status!r}"
            if problem is None and (isinstance(delay, bool) or not isinstance(delay, (int, float)) or delay < 0):
                problem = f"returned no valid callBackDelay: {delay!r}"
            if problem or status == "FAILED":
                await self._end(deployment, run, "FAILED")
                raise RollBack(f"Lifecycle hook {run.config['hookTargetArn']} at {run.stage} {problem or 'failed'}.")
            if status == "SUCCEEDED":
                await self._end(deployment, run, "SUCCEEDED")
                return
            if isinstance(answer.get("hookDetails"), dict):
                details |= answer["hookDetails"]
            wait = min(self._settings.scaled(delay, 0.05), max(0.0, run.expires - time.time()))
            await pause(None if rolling_back else deployment, wait)

    async def _invoke(
        self, deployment: Deployment, run: HookRun, details: dict[str, Any]
    ) -> tuple[dict[str, Any], str | None]:
        """The function's answer, and what was wrong with it."""
        payload = self._payload(deployment, run, details)
        entry: dict[str, Any] = {"at": time.time(), "payload": payload, "answer": None, "error": None}
        if len(run.invocations) < _MAX_INVOCATIONS:
            run.invocations.append(entry)
        asked = {
            "FunctionName": run.config["hookTargetArn"],
            "InvocationType": "RequestResponse",
            "Payload": json.dumps(payload).encode(),
        }
        try:
            answer = await self._dispatch.ask("lambda", "Invoke", asked, deployment.service.region, PRINCIPAL)
        except AwsError as error:
            entry["error"] = str(error)
            return {}, f"cannot be invoked: {error}"
        try:
            entry["answer"] = json.loads(answer.body)
        except ValueError:
            entry["answer"] = None
        if "X-Amz-Function-Error" in answer.headers:
            entry["error"] = answer.headers["X-Amz-Function-Error"]
            return {}, "ended with a function error"
        return (entry["answer"], None) if isinstance(entry["answer"], dict) else ({}, "returned no JSON object")

    def _payload(self, deployment: Deployment, run: HookRun, details: dict[str, Any]) -> dict[str, Any]:
        weights: dict[str, dict[str, float]] = {"test": {}, "production": {}}
        kind = _SHIFTS.get(run.stage)
        if kind:  # as in AWS's examples, the maps of all other stages are empty
            weights[kind] = {
                arn: round(value) if value == round(value) else value
                for arn, value in getattr(deployment, kind).items()
            }
        execution = {
            "serviceArn": deployment.service.arn,
            "targetServiceRevisionArn": deployment.target.arn,
            "testTrafficWeights": weights["test"],
            "productionTrafficWeights": weights["production"],
        }
        outside = {
            "executionId": run.execution_id,
            "lifecycleStage": run.stage,
            "resourceArn": deployment.arn,
            "hookDetails": dict(details),
        }
        if self._settings.flat_hook_payload:
            return outside | execution
        return outside | {"executionDetails": execution}
