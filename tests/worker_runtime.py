"""Runs the app in the real Functions worker runtime, the code that indexes and calls it in Azure.

The host's messages are plain objects in place of the generated gRPC classes.
"""

import importlib
import json
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event

ROOT = Path(__file__).resolve().parents[1]
_SCRIPT = "function_app"


class Message(SimpleNamespace):
    """Any message that only carries its fields."""

    undefined, out, inout = range(3)  # of BindingInfo
    Failure, Success = range(2)  # of StatusResult


class TypedData:
    """One value of one kind; the worker asks which, and relies on AttributeError for every other name."""

    def __init__(self, **value: object) -> None:
        vars(self).update(value)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - gRPC's own name
        return next((kind for kind in ("http", "string", "bytes", "json") if kind in vars(self)), None)


class ParameterBinding(Message):
    """One argument of an invocation."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - gRPC's own name
        return "data"


# What the worker builds its messages from.
PLAIN = (
    "BindingInfo FunctionMetadataResponse InvocationResponse RpcException RpcFunctionMetadata RpcHttp "
    "RpcRetryOptions StatusResult WorkerInitResponse WorkerMetadata"
)
PROTOS = SimpleNamespace(
    TypedData=TypedData, ParameterBinding=ParameterBinding, **dict.fromkeys(PLAIN.split(), Message)
)


class InvocationError(Exception):
    """A function failed; the message is what telemetry receives. The host answers a call with an empty 500."""


class Answer(NamedTuple):
    """What an HTTP function answered, with header names in lower case, and wrote to its queue."""

    status: int
    headers: dict[str, str]
    body: bytes
    messages: tuple[str, ...]


class WorkerRuntime:
    """The worker with the app loaded.

    `functions` are the bindings of each, the trigger first; `retried` those with a retry policy of their own.

    The runtime keeps its app in module state, so only one can be loaded at a time. Every load runs function_app.py
    afresh; the modules that it imports stay as they are.
    """

    def __init__(self, listed: list[Message]) -> None:
        self.retried = [function.name for function in listed if function.retry_options is not None]
        self._ids = {function.name: function.function_id for function in listed}
        self.functions: dict[str, list[dict[str, Any]]] = {
            function.name: sorted(
                map(json.loads, function.raw_bindings), key=lambda it: "Trigger" not in it["type"]
            )
            for function in listed
        }

    async def call(
        self,
        name: str,
        method: str,
        address: str,
        *,
        headers: Mapping[str, str] | None = None,
        route: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Calls an HTTP function at the address under the prefix. The host sends an empty body as nothing."""
        url = f"http://localhost/api/{address}"
        request = Message(
            method=method,
            url=url,
            headers={header.lower(): value for header, value in (headers or {}).items()},
            query=dict(parse_qsl(urlsplit(url).query)),
            params=dict(route or {}),
            body=TypedData(bytes=body) if body else TypedData(),
        )
        response = await self._invoke(name, TypedData(http=request))
        http = vars(response.return_value)["http"]
        lower = {header.lower(): value for header, value in http.headers.items()}
        return Answer(int(http.status_code), lower, http.body.bytes, _messages(response))

    async def fire(self, name: str) -> tuple[str, ...]:
        """Calls a timer function; what it wrote to its queue."""
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": False}
        return _messages(await self._invoke(name, TypedData(json=json.dumps(timer))))

    async def bring(self, name: str, body: str | bytes, dequeue_count: int = 1) -> None:
        """Calls a queue function with the body as it is after the queue's own decoding."""
        now = datetime.now(UTC)
        times = {"InsertionTime": now, "ExpirationTime": now + timedelta(7), "NextVisibleTime": now}
        metadata = {
            "Id": TypedData(string=str(uuid.uuid4())),
            "PopReceipt": TypedData(string="receipt"),
            "DequeueCount": TypedData(json=str(dequeue_count)),
            **{named: TypedData(json=json.dumps(at.isoformat())) for named, at in times.items()},
        }
        data = TypedData(string=body) if isinstance(body, str) else TypedData(bytes=body)
        await self._invoke(name, data, metadata)

    async def _invoke(
        self, name: str, data: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> Message:
        """The response to a first and only attempt. Raises InvocationError."""
        request = Message(
            invocation_id=str(uuid.uuid4()),
            function_id=self._ids[name],
            input_data=[ParameterBinding(name=self.functions[name][0]["name"], data=data)],
            trigger_metadata=dict(metadata or {}),
            trace_context=Message(trace_parent="", trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        message = Message(request=Message(invocation_request=request), properties={})
        response: Message = await runtime.invocation_request(message)
        if response.result.status != Message.Success:
            raise InvocationError(response.result.exception.message)
        return response


def _messages(response: Message) -> tuple[str, ...]:
    """What the host would put into the queue, a message for each text."""
    written = [vars(output.data).get("json") for output in getattr(response, "output_data", None) or ()]
    return tuple(text for value in written if value for text in json.loads(value))


@asynccontextmanager
async def worker_runtime() -> AsyncIterator[WorkerRuntime]:
    """The worker after indexing the app."""
    request = Message(capabilities={}, function_app_directory=str(ROOT))
    properties = {"host": "127.0.0.1", "protos": PROTOS}
    with _loaded():
        started = Message(request=Message(worker_init_request=request), properties=properties)
        response = await runtime.worker_init_request(started)
        assert response.result.status == Message.Success, response.result.exception.message
        listing = await runtime.functions_metadata_request(None)
        yield WorkerRuntime(listing.function_metadata_results)


@contextmanager
def _loaded() -> Iterator[None]:
    before = sys.modules.pop(_SCRIPT, None)
    sys.path.insert(0, str(ROOT))
    importlib.invalidate_caches()
    runtime.start_threadpool_executor()
    try:
        yield
    finally:
        runtime.stop_threadpool_executor()
        handle_event._functions._functions.clear()
        handle_event._metadata_result = None
        sys.path.remove(str(ROOT))
        sys.modules.pop(_SCRIPT, None)
        if before is not None:
            sys.modules[_SCRIPT] = before
