"""Calls the app's functions as the Functions worker does, and the storage queues with the host's listeners on them."""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.functions as func
from azure.functions.queue import QueueMessage
from azure.functions.timer import TimerRequest

from emulator.host_app import QUEUE, HostedFunction, HostSettings

logger = logging.getLogger(__name__)
Enqueue = Callable[[str, str], None]
Pause = Callable[[float], Awaitable[None]]


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


@dataclass
class _Message:
    body: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    dequeue_count: int = 0


@dataclass
class _Queue:
    function: HostedFunction
    visible: deque[_Message] = field(default_factory=deque)
    running: int = 0


class Queues:
    """The queues that this app's functions listen to, with the numbers of host.json, which count for each function by itself.

    `poison` keeps the bodies that no try could take, by queue name. `pause` waits these seconds; it is how long a message
    stays unseen after a failed try.
    """

    def __init__(self, functions: Iterable[HostedFunction], settings: HostSettings, pause: Pause) -> None:
        listening = [function for function in functions if function.kind == QUEUE]
        self._queues = {str(function.trigger["queueName"]): _Queue(function) for function in listening}
        self._settings, self._pause = settings, pause
        self._tasks: set[asyncio.Task[None]] = set()
        self.poison: dict[str, list[str]] = {}

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue. Raises LookupError when nothing listens to it."""
        if queue not in self._queues:
            raise LookupError(f"No function of the app listens to the queue '{queue}'.")
        self._queues[queue].visible.append(_Message(body))
        self._start(self._fetch(self._queues[queue]))

    async def idle(self) -> None:
        """Return when every message was taken or is poison."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """End what runs. Messages that were not taken are lost."""
        for queue in self._queues.values():
            queue.visible.clear()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fetch(self, queue: _Queue) -> None:
        """Take a batch once no more than the threshold are running; so at most `batchSize` + `newBatchThreshold` run at once."""
        if queue.running > self._settings.new_batch_threshold:
            return
        for _ in range(min(self._settings.batch_size, len(queue.visible))):
            queue.running += 1
            self._start(self._try(queue, queue.visible.popleft()))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, queue: _Queue, message: _Message) -> None:
        message.dequeue_count += 1
        argument = queue_message(message.body, message.id, message.dequeue_count)
        try:
            await invoke(queue.function, argument, self.send)
        except Exception:  # noqa: BLE001 - whatever a function raises brings the message back; `invoke` logged it
            if message.dequeue_count < self._settings.max_dequeue_count:
                self._start(self._come_back(queue, message))
            else:
                self.poison.setdefault(str(queue.function.trigger["queueName"]), []).append(message.body)
        finally:
            queue.running -= 1
            self._start(self._fetch(queue))

    async def _come_back(self, queue: _Queue, message: _Message) -> None:
        await self._pause(self._settings.visibility_timeout)
        queue.visible.append(message)
        await self._fetch(queue)
