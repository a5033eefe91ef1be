"""Calls one function as the Functions worker does, with the objects the worker would make."""

import asyncio
import inspect
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions.queue import QueueMessage
from azure.functions.timer import TimerRequest

from emulator.host_app import HTTP, HostedFunction

logger = logging.getLogger(__name__)
_thread_local = threading.local()


class InvocationContext(func.Context):
    """The context of one invocation; this host neither traces nor retries."""

    def __init__(self, function: HostedFunction) -> None:
        self._function = function
        self._invocation_id = str(uuid.uuid4())

    @property
    def invocation_id(self) -> str:
        """A fresh GUID."""
        return self._invocation_id

    @property
    def thread_local_storage(self) -> Any:  # noqa: ANN401 - the base class asks for no type that exists
        """Where the worker keeps the invocation's id for threads of the app's own."""
        return _thread_local

    @property
    def function_name(self) -> str:
        """The function's name."""
        return self._function.name

    @property
    def function_directory(self) -> str:
        """The app's directory."""
        return str(self._function.directory)

    @property
    def trace_context(self) -> Any:  # noqa: ANN401 - the base class is abstract; its concrete twin is the worker's
        """No trace."""
        return SimpleNamespace(trace_parent="", trace_state="", attributes={})

    @property
    def retry_context(self) -> Any:  # noqa: ANN401 - the same
        """The first and only attempt."""
        return SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)


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


Enqueue = Callable[[str, str], None]


async def invoke(function: HostedFunction, argument: object, enqueue: Enqueue) -> object:
    """What the function returns. Raises, after logging it, what the function raises.

    A coroutine function runs on this loop, any other in a thread. Once it has ended well, `enqueue` gets a queue's name and
    each message that the function wrote to it.
    """
    context = InvocationContext(function)
    outputs = {name: (queue, Out()) for queue, name in function.outputs.items()}
    try:
        result = await _call(function, argument, context, {name: out for name, (_, out) in outputs.items()})
        for queue, out in outputs.values():
            for message in out.messages():
                enqueue(queue, message)
    except Exception:
        logger.exception("Executed 'Functions.%s' (Failed, Id=%s)", function.name, context.invocation_id)
        raise
    logger.info("Executed 'Functions.%s' (Succeeded, Id=%s)", function.name, context.invocation_id)
    return result


async def _call(
    function: HostedFunction, argument: object, context: InvocationContext, outputs: dict[str, Out]
) -> object:
    arguments = {function.trigger["name"]: argument, **outputs} | (
        {"context": context} if function.takes_context else {}
    )
    if inspect.iscoroutinefunction(function.call):
        result = await function.call(**arguments)
    else:
        result = await asyncio.to_thread(function.call, **arguments)
    if result is not None and function.kind != HTTP:
        raise RuntimeError(f"function '{function.name}' without a $return binding returned a non-None value")
    return result


def timer_request(*, past_due: bool) -> func.TimerRequest:
    """What a timer function receives."""
    return TimerRequest(past_due=past_due, schedule={"AdjustForDST": True})


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
