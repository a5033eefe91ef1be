"""The messages host and worker exchange, as plain classes instead of generated gRPC ones; what the worker says back as values."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

_KINDS = ("http", "string", "bytes", "json")


class Message(SimpleNamespace):
    """Any message that only carries its fields."""


class TypedData:
    """One value of one kind; the worker asks which, and relies on AttributeError for every other name."""

    def __init__(self, **value: object) -> None:
        vars(self).update(value)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - gRPC's own name
        return next((kind for kind in _KINDS if kind in vars(self)), None)


class ParameterBinding(Message):
    """One argument of an invocation."""

    def WhichOneof(self, _group: str) -> str:  # noqa: N802 - gRPC's own name
        return "data"


class BindingInfo(Message):
    undefined = 0
    out = 1
    inout = 2


class StatusResult(Message):
    Failure = 0
    Success = 1


# What the worker builds its messages from.
PROTOS = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=ParameterBinding,
    BindingInfo=BindingInfo,
    StatusResult=StatusResult,
    **dict.fromkeys(
        (
            "FunctionMetadataResponse",
            "InvocationResponse",
            "RpcException",
            "RpcFunctionMetadata",
            "RpcHttp",
            "RpcRetryOptions",
            "WorkerInitResponse",
            "WorkerMetadata",
        ),
        Message,
    ),
)


def http_data(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    route: Mapping[str, str],
    body: bytes,
) -> TypedData:
    """An HTTP request; the host sends header names in lower case and an empty body as nothing."""
    return TypedData(
        http=Message(
            method=method,
            url=url,
            headers={name.lower(): value for name, value in headers.items()},
            query=dict(query),
            params=dict(route),
            body=TypedData(bytes=body) if body else TypedData(),
        )
    )


def timer_data(*, past_due: bool) -> TypedData:
    """A timer's occurrence."""
    return TypedData(
        json=json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": None, "IsPastDue": past_due})
    )


def queue_metadata(dequeue_count: int) -> dict[str, TypedData]:
    """What comes beside a queue message's body."""
    now = datetime.now(UTC)
    return {
        "Id": TypedData(string=str(uuid.uuid4())),
        "PopReceipt": TypedData(string="receipt"),
        "DequeueCount": TypedData(json=str(dequeue_count)),
        "InsertionTime": TypedData(json=json.dumps(now.isoformat())),
        "ExpirationTime": TypedData(json=json.dumps((now + timedelta(days=7)).isoformat())),
        "NextVisibleTime": TypedData(json=json.dumps((now + timedelta(minutes=10)).isoformat())),
    }


def invocation(function_id: str, argument: ParameterBinding, metadata: Mapping[str, TypedData]) -> Message:
    """One invocation request, the first and only attempt."""
    request = Message(
        invocation_id=str(uuid.uuid4()),
        function_id=function_id,
        input_data=[argument],
        trigger_metadata=dict(metadata),
        trace_context=Message(trace_parent="", trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )
    return Message(request=Message(invocation_request=request), properties={})


def worker_init(app_root: str) -> Message:
    """The request that makes the worker index an app."""
    request = Message(capabilities={}, function_app_directory=app_root)
    return Message(
        request=Message(worker_init_request=request), properties={"host": "127.0.0.1", "protos": PROTOS}
    )


class IndexingError(Exception):
    """The worker refused the app; the message is the worker's own."""


class InvocationError(Exception):
    """An HTTP function failed, which the host answers with an empty 500; the message is what telemetry receives."""

    def __init__(self, exception_text: str, stack_trace: str) -> None:
        super().__init__(exception_text)
        self.stack_trace = stack_trace


class HttpAnswer(NamedTuple):
    """What an HTTP function answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    messages: tuple[str, ...] = ()  # what the function wrote to its queue


class Result(NamedTuple):
    """How an invocation ended; on failure, both texts that go to the host and on to telemetry."""

    ok: bool
    exception_text: str = ""
    stack_trace: str = ""
    messages: tuple[str, ...] = ()  # what the function wrote to its queue


@dataclass(frozen=True)
class FunctionMetadata:
    """One function as the host gets to know it: parsed raw bindings, and retry options (None without a policy)."""

    name: str
    function_id: str
    raw_bindings: list[dict[str, Any]]
    retry_options: dict[str, Any] | None

    @property
    def trigger(self) -> dict[str, Any]:
        """The raw binding that is the trigger."""
        return next(binding for binding in self.raw_bindings if binding["type"].endswith("Trigger"))


def function_metadata(found: Message) -> FunctionMetadata:
    """The worker's listing of one function, parsed."""
    raw_bindings = [json.loads(binding) for binding in found.raw_bindings]
    retry_options = None if found.retry_options is None else vars(found.retry_options)
    return FunctionMetadata(found.name, found.function_id, raw_bindings, retry_options)


def http_answer(response: Message) -> HttpAnswer:
    """What the host would send. Raises InvocationError."""
    result = response.result
    if result.status != result.Success:
        raise InvocationError(result.exception.message, result.exception.stack_trace)
    http = vars(response.return_value)["http"]
    return HttpAnswer(
        int(http.status_code),
        {k.lower(): v for k, v in http.headers.items()},
        http.body.bytes,
        _messages(response),
    )


def invocation_result(response: Message) -> Result:
    """How an invocation without an answer ended."""
    if response.result.status == response.result.Success:
        return Result(ok=True, messages=_messages(response))
    exception = response.result.exception
    return Result(ok=False, exception_text=exception.message, stack_trace=exception.stack_trace)


def _messages(response: Message) -> tuple[str, ...]:
    """What the host would put into the queue, a message for each text."""
    written = [vars(output.data).get("json") for output in getattr(response, "output_data", None) or ()]
    return tuple(text for value in written if value for text in json.loads(value))
