"""What the worker says back, as values a test can compare."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.worker_messages import Message


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
