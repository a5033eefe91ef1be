"""The timer's sweep and the queue's messages: both fail loudly, and only after their work is done."""

import base64
import json
import logging
from pathlib import Path

import pytest

from gateway_tokens.errors import AzureUnavailable, EventInvalid, SettingsInvalid, SweepFailed
from gateway_tokens.renewal.background import MOST_DEQUEUES, Background
from gateway_tokens.renewal.parts import App
from tests.renewal_estate import CONTOSO, DAY, NOW, OUTAGE, Estate, a_token, contoso, lines


def an_event(gateway: str = "edge-01") -> dict[str, object]:
    return {
        "source": str(CONTOSO),
        "subject": f"/gateways/{gateway}/pod-1",
        "type": "Microsoft.ApiManagement.GatewayTokenExpired",
        "time": NOW.isoformat(),
        "data": {"tokenInfo": {"expiredAtUtc": NOW.isoformat()}},
    }


def background(estate: Estate) -> Background:
    return Background(lambda: estate.app)


class TestTheTimer:
    async def test_returns_nothing_when_all_went_well(self) -> None:
        estate = contoso()
        await background(estate).sweep()
        assert estate.locations["contoso-edge-01"].value

    async def test_turns_red_with_the_counts_after_the_record_is_saved(self) -> None:
        estate = contoso("a", "b", "c")
        estate.location("b").failing = {"write": OUTAGE}
        with pytest.raises(SweepFailed, match="1 of 3 rows failed") as caught:
            await background(estate).sweep()
        assert (caught.value.failed, caught.value.total) == (1, 3)
        assert estate.sweeps.record.completed_at == NOW
        assert set(estate.sweeps.record.troubles) == {"contoso/edge-01 -> https://memory.example/secrets/b"}

    async def test_turns_red_when_the_record_cannot_be_saved(self) -> None:
        estate = contoso()
        estate.sweeps.failing = {"update": OUTAGE}
        with pytest.raises(AzureUnavailable):
            await background(estate).sweep()

    async def test_is_red_at_every_sweep_while_a_row_fails(self) -> None:
        estate = contoso("a")
        estate.deliver("a", a_token(NOW + 9 * DAY)).failing = {"write": OUTAGE}
        timer = background(estate)
        for _ in range(3):
            with pytest.raises(SweepFailed):
                await timer.sweep()
            estate.clock.now += DAY / 24

    async def test_marks_the_lines_of_a_run_as_one(self, caplog: pytest.LogCaptureFixture) -> None:
        timer = background(contoso())
        with caplog.at_level(logging.INFO):
            await timer.sweep()
            await timer.sweep()
        # The first run issues the token, row by row, in sum and by subscription; the second one finds it fresh.
        found = [line["correlationId"] for line in lines(caplog)]
        assert (len(found), len(set(found))) == (7, 2)

    async def test_says_what_is_wrong_with_the_settings(self) -> None:
        def broken() -> App:
            raise SettingsInvalid([])

        with pytest.raises(SettingsInvalid):
            await Background(broken).sweep()


class TestTheQueue:
    @pytest.mark.parametrize("encoded", [False, True])
    async def test_takes_a_message_as_it_comes(self, encoded: bool) -> None:  # noqa: FBT001 - a table's column
        estate = contoso()
        body = json.dumps(an_event()).encode()
        await background(estate).take(base64.b64encode(body) if encoded else body, 1)
        assert estate.locations["contoso-edge-01"].value

    async def test_takes_every_event_of_a_message(self, caplog: pytest.LogCaptureFixture) -> None:
        body = json.dumps([an_event("lab-01"), an_event(), an_event("lab-02")]).encode()
        with caplog.at_level(logging.INFO):
            await background(contoso()).take(body, 1)
        assert [line["gateway"] for line in lines(caplog) if line["event"].startswith("event.")] == [
            "lab-01",
            "edge-01",
            "lab-02",
        ]

    async def test_rejects_what_it_cannot_read_with_a_line_that_says_why_and_how_often(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO), pytest.raises(EventInvalid):
            await background(contoso()).take(b"{}", 4)
        (line,) = lines(caplog)
        assert line.pop("correlationId")
        assert line == {
            "event": "event.rejected",
            "level": "ERROR",
            "reason": "it has no type",
            "dequeueCount": 4,
        }

    @pytest.mark.parametrize("body", [b"{}", None], ids=["unreadable", "its work fails"])
    @pytest.mark.parametrize(("dequeued", "poisoned"), [(4, 0), (5, 1)])
    async def test_the_last_try_of_a_message_that_fails_has_a_line_that_says_so(
        self, caplog: pytest.LogCaptureFixture, body: bytes | None, dequeued: int, poisoned: int
    ) -> None:
        estate = contoso()
        estate.sweeps.failing = {"update": OUTAGE}
        with pytest.raises((EventInvalid, AzureUnavailable)):
            await background(estate).take(body or json.dumps(an_event()).encode(), dequeued)
        found = lines(caplog, "event.poisoned")
        assert len(found) == poisoned
        assert all(line["error"] and line["code"] and line["level"] == "ERROR" for line in found)

    def test_the_last_try_is_the_hosts(self) -> None:
        host = json.loads((Path(__file__).parents[2] / "host.json").read_text())
        assert host["extensions"]["queues"]["maxDequeueCount"] == MOST_DEQUEUES

    async def test_does_not_repeat_a_message_because_a_row_failed(self) -> None:
        estate = contoso()
        estate.location("contoso-edge-01").failing = {"write": OUTAGE}
        await background(estate).take(json.dumps(an_event()).encode(), 1)
        assert len(estate.sweeps.record.troubles) == 1
