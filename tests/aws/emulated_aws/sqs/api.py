"""The SQS operations a consumer lives by; the messages themselves are moto's.

moto keeps waiting for a client that has hung up and hands it the next message, gives a message to two consumers that
ask at once, and lets old receipt handles extend and delete: other queues than those a consumer has to live with.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from .receipts import Receipts

_MAX_WAIT_SECONDS = 20
_LOOK_SECONDS = 0.25  # how often a waiting consumer looks for what becomes visible by itself
_STIRRING = {"sqs": ("SendMessage", "ChangeMessageVisibility", "StartMessageMoveTask"), "sns": ("Publish",),
             "events": ("PutEvents",)}  # fmt: skip


class Sqs:
    """Handlers in front of moto's."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._receipts = Receipts()
        self._news = asyncio.Event()
        self._receiving = asyncio.Lock()
        dispatch.register("sqs", self)

    def stir(self, service: str, operation: str) -> None:
        """Wakes waiting consumers when something may have been sent."""
        if operation.startswith(_STIRRING.get(service, ("-",))):
            self._news.set()
            self._news = asyncio.Event()

    async def ReceiveMessage(self, call: Call) -> dict[str, Any]:
        params = call.params
        wait, visibility = params.get("WaitTimeSeconds"), params.get("VisibilityTimeout")
        if wait is None or visibility is None:
            asked = {
                "QueueUrl": params["QueueUrl"],
                "AttributeNames": ["ReceiveMessageWaitTimeSeconds", "VisibilityTimeout"],
            }
            found = await self._dispatch.moto(call, asked, "GetQueueAttributes")
            wait = int(found["Attributes"]["ReceiveMessageWaitTimeSeconds"]) if wait is None else wait
            visibility = int(found["Attributes"]["VisibilityTimeout"]) if visibility is None else visibility
        if not 0 <= wait <= _MAX_WAIT_SECONDS:
            raise AwsError(
                "InvalidParameterValue",
                f"Value {wait} for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.",
            )
        until = time.monotonic() + wait
        while True:
            news = self._news
            async with self._receiving:
                if call.gone():  # who hung up must not take a message along
                    return {}
                result = await self._dispatch.moto(call, params | {"WaitTimeSeconds": 0})
            for message in result.get("Messages", []):
                self._receipts.give(message["MessageId"], message["ReceiptHandle"], visibility)
            left = until - time.monotonic()
            if result.get("Messages") or left <= 0:
                return result
            try:
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await news.wait()
            except TimeoutError:
                pass

    async def ChangeMessageVisibility(self, call: Call) -> dict[str, Any]:
        handle = call.params["ReceiptHandle"]
        if not self._receipts.in_flight(handle):
            raise AwsError("MessageNotInflight", "The message referred to isn't in flight.")
        result = await self._dispatch.moto(call)
        self._receipts.extend(handle, call.params["VisibilityTimeout"])
        return result

    async def ChangeMessageVisibilityBatch(self, call: Call) -> dict[str, Any]:
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        _distinct(call.params["Entries"])
        for entry in call.params["Entries"]:
            one = {"QueueUrl": call.params["QueueUrl"]} | {k: v for k, v in entry.items() if k != "Id"}
            try:
                if not self._receipts.in_flight(entry["ReceiptHandle"]):
                    raise AwsError("MessageNotInflight", "The message referred to isn't in flight.")
                await self._dispatch.moto(call, {"VisibilityTimeout": 0} | one, "ChangeMessageVisibility")
                self._receipts.extend(entry["ReceiptHandle"], entry.get("VisibilityTimeout", 0))
                done.append({"Id": entry["Id"]})
            except AwsError as error:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
        return {"Successful": done, "Failed": failed}

    async def DeleteMessage(self, call: Call) -> dict[str, Any]:
        # "Even if the request succeeds ... you must use the most recently received receipt handle" (DeleteMessage)
        if self._receipts.superseded(call.params["ReceiptHandle"]):
            return {}
        return await self._dispatch.moto(call)

    async def DeleteMessageBatch(self, call: Call) -> dict[str, Any]:
        entries = call.params["Entries"]
        _distinct(entries)
        old = [one["Id"] for one in entries if self._receipts.superseded(one["ReceiptHandle"])]
        rest = [one for one in entries if one["Id"] not in old]
        result = {"Successful": [], "Failed": []}
        if rest:
            result |= await self._dispatch.moto(call, call.params | {"Entries": rest})
        result["Successful"] = [{"Id": one} for one in old] + result["Successful"]
        return result


def _distinct(entries: list[dict[str, Any]]) -> None:
    if not entries:
        raise AwsError("EmptyBatchRequest", "The batch request doesn't contain any entries.")
    if len(entries) > 10:
        raise AwsError("TooManyEntriesInBatchRequest", "The batch request contains more than 10 entries.")
    if len({one["Id"] for one in entries}) != len(entries):
        raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id.")
