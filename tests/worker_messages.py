"""The messages host and worker exchange, as plain classes instead of generated gRPC ones."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

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
