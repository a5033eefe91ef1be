"""Calls the app's functions as the Functions worker does, and the storage queues with the host's listeners on them."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
from azure.functions.queue import QueueMessage
from azure.functions.timer import TimerRequest

from emulator.host_app import QUEUE, HostedFunction

logger = logging.getLogger(__name__)
Enqueue = Callable[[str, str], None]


class Out(func.Out[Any]):
    """What a function writes to a queue."""

    def __init__(self) -> None:
        self._value: Any = None

    def set(self, value: Any) -> None:  # noqa: ANN401 - the base class says so
        """Keep the value until the function has ended."""
        self._value = value

    def get(self) -> Any:  # noqa: ANN401 - the same
        """What was set."""
        return self._value

    def messages(self) -> list[str]:
        """The messages, as the host would put them into the queue."""
        value = self._value
        return [] if value is None else [value] if isinstance(value, str) else [str(text) for text in value]


async def invoke(function: HostedFunction, argument: object, enqueue: Enqueue) -> object:
    """What the function returns. Raises, after logging it, what the function raises.

    Once it has ended well, `enqueue` gets a queue's name and each message that the function wrote to it.
    """
    outputs = {name: (queue, Out()) for queue, name in function.outputs.items()}
    try:
        arguments = {name: out for name, (_, out) in outputs.items()}
        result = await function.call(**{function.trigger["name"]: argument}, **arguments)
        for queue, out in outputs.values():
            for message in out.messages():
                enqueue(queue, message)
    except Exception:
        logger.exception("Executed 'Functions.%s' (Failed)", function.name)
        raise
    logger.info("Executed 'Functions.%s' (Succeeded)", function.name)
    return result


def timer_request() -> func.TimerRequest:
    """What a timer function receives."""
    return TimerRequest(past_due=False, schedule={"AdjustForDST": True})


def queue_message(body: str | bytes, message_id: str, dequeue_count: int) -> func.QueueMessage:
    """What a queue function receives on this attempt; `body` is the text after the queue's own decoding."""
    now = datetime.now(UTC)
    return QueueMessage(  # type: ignore[no-untyped-call]
        id=message_id,
        body=body,
        dequeue_count=dequeue_count,
        insertion_time=now,
        expiration_time=now + timedelta(days=7),
        time_next_visible=now + timedelta(minutes=10),
        pop_receipt=str(uuid.uuid4()),
    )


class Queues:
    """The queues that this app's functions listen to. A message is taken at once, and once: tries are the real host's business."""

    def __init__(self, functions: Iterable[HostedFunction]) -> None:
        listening = [function for function in functions if function.kind == QUEUE]
        self._functions = {str(function.trigger["queueName"]): function for function in listening}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue. Raises LookupError when nothing listens to it."""
        if queue not in self._functions:
            raise LookupError(f"No function of the app listens to the queue '{queue}'.")
        task = asyncio.create_task(self._take(self._functions[queue], body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Return when every message was taken."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, function: HostedFunction, body: str) -> None:
        with suppress(Exception):  # whatever it is, `invoke` logged it
            await invoke(function, queue_message(body, str(uuid.uuid4()), 1), self.send)
