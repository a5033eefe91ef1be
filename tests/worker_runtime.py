"""Runs a function app in the real Functions worker runtime, the code that indexes and calls it in Azure."""

import importlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import azure_functions_runtime as runtime
from azure_functions_runtime import handle_event

from tests.worker_messages import (
    FunctionMetadata,
    HttpAnswer,
    IndexingError,
    Message,
    ParameterBinding,
    Result,
    TypedData,
    function_metadata,
    http_answer,
    http_data,
    invocation,
    invocation_result,
    queue_metadata,
    timer_data,
    worker_init,
)

_SCRIPT = "function_app"


class WorkerRuntime:
    """The worker with one app loaded.

    The runtime keeps its app in module state, so only one can be loaded at a time. After leaving, the same or another
    directory can be loaded: function_app.py runs afresh. The modules it imports do not: they stay as they are
    in `sys.modules`, with whatever they cached, so two apps that share a module name need two processes.
    """

    def __init__(self, functions: dict[str, FunctionMetadata]) -> None:
        self.functions = functions

    @classmethod
    @asynccontextmanager
    async def load(cls, app_root: Path) -> AsyncIterator["WorkerRuntime"]:
        """The worker after indexing the app. Raises IndexingError, and RuntimeError while another app is loaded."""
        if handle_event._metadata_result is not None:
            raise RuntimeError("The worker runtime already has an app; leave that one first.")
        with _importable(app_root), _worker_state():
            response = await runtime.worker_init_request(worker_init(str(app_root)))
            if response.result.status != response.result.Success:
                raise IndexingError(response.result.exception.message)
            listing = await runtime.functions_metadata_request(None)
            found = listing.function_metadata_results
            if found is None:
                raise IndexingError(f"There is no {_SCRIPT}.py, or it has no functions.")
            yield cls({metadata.name: function_metadata(metadata) for metadata in found})

    async def invoke_http(
        self,
        name: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> HttpAnswer:
        """Calls an HTTP function; `params` are the route's, the query is the address's. Raises InvocationError."""
        query = dict(parse_qsl(urlsplit(url).query))
        data = http_data(
            method=method, url=url, headers=headers or {}, query=query, route=params or {}, body=body
        )
        response = await self._invoke(name, data)
        return http_answer(response)

    async def invoke_timer(self, name: str, *, past_due: bool = False) -> Result:
        """Calls a timer function."""
        return invocation_result(await self._invoke(name, timer_data(past_due=past_due)))

    async def invoke_queue(self, name: str, body: str | bytes, dequeue_count: int = 1) -> Result:
        """Calls a queue function with the body as it is after the queue's own decoding."""
        data = TypedData(string=body) if isinstance(body, str) else TypedData(bytes=body)
        return invocation_result(await self._invoke(name, data, queue_metadata(dequeue_count)))

    async def _invoke(
        self, name: str, data: TypedData, metadata: Mapping[str, TypedData] | None = None
    ) -> Message:
        function = self.functions[name]
        argument = ParameterBinding(name=function.trigger["name"], data=data)
        response: Message = await runtime.invocation_request(
            invocation(function.function_id, argument, metadata or {})
        )
        return response


@contextmanager
def _importable(app_root: Path) -> Iterator[None]:
    before = sys.modules.pop(_SCRIPT, None)
    sys.path.insert(0, str(app_root))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(app_root))
        sys.modules.pop(_SCRIPT, None)
        if before is not None:
            sys.modules[_SCRIPT] = before


@contextmanager
def _worker_state() -> Iterator[None]:
    runtime.start_threadpool_executor()
    try:
        yield
    finally:
        runtime.stop_threadpool_executor()
        handle_event._functions._functions.clear()
        handle_event._metadata_result = None
