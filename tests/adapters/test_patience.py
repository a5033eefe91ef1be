"""The retry policy: patient with Azure, bounded for the caller. Time is injected; nothing sleeps for real."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineContext, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy
from azure.core.rest import HttpRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_tokens.errors import AzureThrottled
from gateway_tokens.patience import (
    CONNECT_TIMEOUT,
    INTERACTIVE_PATIENCE,
    MOST_TRIES,
    READ_TIMEOUT,
    SWEEP_PATIENCE,
    PatientRetry,
    patience,
)
from tests.fake_time import FakeTime

PLATFORM_CUT_OFF = 230.0


class Said(NamedTuple):
    """One answer of the wire."""

    status: int = 200
    headers: Mapping[str, str] = {}


class Wire(AsyncHTTPPolicy[Any, Any]):
    """Plays a script, its last line for ever; `sent` are the moments at which requests arrived."""

    def __init__(self, time: FakeTime, script: Iterable[Said | Exception]) -> None:
        super().__init__()
        self._time, self._script = time, list(script)
        self.sent: list[float] = []

    async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        self.sent.append(self._time.now)
        said = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(said, Exception):
            raise said
        return PipelineResponse(
            request.http_request,
            SimpleNamespace(status_code=said.status, headers=said.headers),
            PipelineContext(None),
        )


class Client:
    """One client's pipeline over a scripted wire."""

    def __init__(self, *script: Said | Exception) -> None:
        self.time = FakeTime()
        self.began = self.time.now
        self.wire = Wire(self.time, script)
        retry = PatientRetry(self.time.monotonic, self.time.sleep)
        retry.next = self.wire
        self._retry = retry

    async def send(self) -> int:
        """Send one request; return the final status."""
        request = PipelineRequest(HttpRequest("POST", "https://azure"), PipelineContext(None))
        response = await self._retry.send(request)
        return int(response.http_response.status_code)

    @property
    def sent_at(self) -> list[float]:
        """The seconds after the start at which requests arrived."""
        return [moment - self.began for moment in self.wire.sent]


def throttled(retry_after: object = None) -> Said:
    return Said(429, {} if retry_after is None else {"Retry-After": str(retry_after)})


@pytest.mark.parametrize("status", [200, 201, 204, 301, 400, 401, 403, 404, 409, 412, 501])
async def test_an_answer_that_waiting_will_not_better_is_final_at_once(status: int) -> None:
    client = Client(Said(status))
    assert await client.send() == status
    assert client.sent_at == [0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_failure_is_tried_again(status: int) -> None:
    client = Client(Said(status), Said(200))
    assert await client.send() == 200
    assert len(client.wire.sent) == 2


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("no connection"),
        ServiceResponseError("dropped"),
        IncompleteReadError("cut off"),
    ],
    ids=["no connection", "dropped before the answer", "dropped within the answer"],
)
async def test_a_dropped_connection_is_tried_again(error: Exception) -> None:
    client = Client(error, Said(200))
    assert await client.send() == 200


async def test_a_connection_that_keeps_dropping_raises_the_last_error_after_the_most_tries() -> None:
    client = Client(ServiceRequestError("first"), ServiceResponseError("last"))
    with pytest.raises(ServiceResponseError, match=r"^last$"):
        await client.send()
    assert len(client.wire.sent) == MOST_TRIES


async def test_a_failing_sign_in_is_not_tried_again() -> None:
    client = Client(ClientAuthenticationError("no identity"))
    with pytest.raises(ClientAuthenticationError):
        await client.send()
    assert len(client.wire.sent) == 1


async def test_a_failing_service_is_tried_four_times_and_its_last_answer_returned() -> None:
    client = Client(Said(500), Said(502), Said(503), Said(504), Said(200))
    assert await client.send() == 504
    assert len(client.wire.sent) == MOST_TRIES == 4


async def test_without_retry_after_each_pause_is_about_twice_the_one_before() -> None:
    client = Client(Said(503))
    await client.send()
    assert [round(pause / usual, 1) for pause, usual in zip(client.time.slept, (0.5, 1, 2), strict=True)] == [
        pytest.approx(1, abs=0.2)
    ] * 3


async def test_clients_that_failed_together_do_not_come_back_together() -> None:
    clients = [Client(Said(503)) for _ in range(5)]
    for client in clients:
        await client.send()
    assert len({client.time.slept[0] for client in clients}) == 5


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("seconds", [1, 17, 59])
async def test_retry_after_in_seconds_is_waited_out_exactly(status: int, seconds: int) -> None:
    client = Client(Said(status, {"Retry-After": str(seconds)}), Said(200))
    assert await client.send() == 200
    assert client.sent_at == [0, seconds]


async def test_retry_after_as_a_date_is_waited_out() -> None:
    at = datetime.now(UTC) + timedelta(seconds=30)
    client = Client(throttled(format_datetime(at, usegmt=True)), Said(200))
    assert await client.send() == 200
    # The header has whole seconds, and some real time passes until it is read.
    assert client.sent_at[1] == pytest.approx(29.5, abs=1.5)


@pytest.mark.parametrize("header", ["soon", "", "-5", "nan", "-inf", "Tue, 99 Foo 2026", "1;2", "0"])
async def test_a_retry_after_that_means_nothing_falls_back_to_the_usual_pause(header: str) -> None:
    client = Client(throttled(header), Said(200))
    assert await client.send() == 200
    assert client.sent_at == [0, pytest.approx(0.5, abs=0.11)]


@pytest.mark.parametrize("header", ["60", "3600", "1e999", "inf"])
async def test_a_retry_after_beyond_patience_is_final_at_once(header: str) -> None:
    client = Client(throttled(header), Said(200))
    assert await client.send() == 429
    assert (client.sent_at, client.time.slept) == ([0], [])


async def test_throttling_without_retry_after_is_tried_until_patience_ends() -> None:
    client = Client(throttled())
    assert await client.send() == 429
    assert len(client.wire.sent) > MOST_TRIES
    assert INTERACTIVE_PATIENCE - 10 < client.time.now - client.began < INTERACTIVE_PATIENCE


async def test_nothing_is_sent_before_retry_after_has_run_out_not_even_by_another_request() -> None:
    client = Client(throttled(30), Said(200))
    with patience(10):
        assert await client.send() == 429
    assert await client.send() == 200
    assert client.sent_at == [0, 30]


async def test_a_request_that_cannot_have_its_turn_in_time_is_refused_without_being_sent() -> None:
    client = Client(throttled(30), Said(200))
    with patience(10):
        await client.send()
    with patience(30), pytest.raises(AzureThrottled) as refused:
        await client.send()
    assert refused.value.facts.retry_after == 30
    assert client.sent_at == [0]


async def test_a_request_whose_turn_comes_just_in_time_is_sent() -> None:
    client = Client(throttled(30), Said(200))
    with patience(10):
        await client.send()
    with patience(30.1):
        assert await client.send() == 200


async def test_throttling_of_one_client_does_not_hold_up_another() -> None:
    slow, quick = Client(throttled(30), Said(200)), Client(Said(200))
    with patience(10):
        await slow.send()
        assert await quick.send() == 200
    assert quick.time.slept == []


async def test_a_failing_service_does_not_hold_up_other_requests() -> None:
    client = Client(Said(503, {"Retry-After": "30"}), Said(200))
    with patience(10):
        assert await client.send() == 503
    assert await client.send() == 200
    assert client.sent_at == [0, 0]


async def test_an_answer_that_never_comes_is_cut_off_when_patience_ends() -> None:
    class Silent(AsyncHTTPPolicy[Any, Any]):
        async def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:  # noqa: ARG002
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

    time = FakeTime()
    retry = PatientRetry(time.monotonic, time.sleep)
    retry.next = Silent()
    with patience(0.01), pytest.raises(ServiceResponseError, match="no answer in time"):
        await asyncio.wait_for(
            retry.send(PipelineRequest(HttpRequest("GET", "https://azure"), PipelineContext(None))), 5
        )


_WIRE = st.lists(
    st.one_of(
        st.builds(
            Said,
            st.sampled_from([200, 404, 429, 500, 502, 503]),
            st.one_of(
                st.just({}),
                st.integers(-1, 400).map(lambda s: {"Retry-After": str(s)}),
                st.just({"Retry-After": "x"}),
            ),
        ),
        st.builds(ServiceResponseError, st.just("dropped")),
    ),
    min_size=1,
    max_size=8,
)


@given(script=_WIRE, seconds=st.floats(0.1, 300))
@settings(max_examples=80, derandomize=True, deadline=None)
def test_no_request_waits_longer_than_patience_and_none_is_sent_after_it(
    script: list[Said | Exception], seconds: float
) -> None:
    client = Client(*script)

    async def send() -> None:
        with patience(seconds), contextlib.suppress(ServiceResponseError):
            await client.send()

    asyncio.run(send())
    assert client.time.now - client.began < seconds
    assert all(moment < seconds for moment in client.sent_at)


def test_a_caller_gets_an_answer_long_before_the_platform_cuts_the_call_off() -> None:
    assert INTERACTIVE_PATIENCE + CONNECT_TIMEOUT + READ_TIMEOUT < PLATFORM_CUT_OFF / 2


async def test_patience_lasts_within_its_block_only() -> None:
    client = Client(throttled(100), Said(200))
    with patience(SWEEP_PATIENCE):
        assert await client.send() == 200
    client = Client(throttled(100), Said(200))
    assert await client.send() == 429


async def test_patience_is_each_tasks_own() -> None:
    hurried, usual = Client(throttled(30), Said(200)), Client(throttled(30), Said(200))

    async def in_a_hurry() -> int:
        with patience(10):
            return await hurried.send()

    first, second = await asyncio.gather(in_a_hurry(), usual.send())
    assert (first, second) == (429, 200)
