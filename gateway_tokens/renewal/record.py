"""What is remembered between sweeps, and where. Advisory: without it counts of failures start anew, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from gateway_tokens.errors import AzureFacts, AzureUnavailable
from gateway_tokens.logs import log_line

_TRIES = 5


class Blob(Protocol):
    """A guarded text for every instance of the app."""

    async def read(self) -> tuple[str | None, str]:
        """The text, None when there is none, and its ETag. Raises AzureError."""

    async def write(self, text: str, etag: str) -> bool:
        """Replace what was read with that ETag; False when somebody wrote in between. Raises AzureError."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is remembered of a failing row, because the failing location may not be able to."""

    failures: int
    last_failure: datetime
    outcome: str
    code: str
    at_risk: bool


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """What is remembered between sweeps. Advisory: without it counts of failures start anew, and nothing is lost."""

    started_at: datetime | None = None
    completed_at: datetime | None = None
    counts: dict[str, int] = field(default_factory=dict)
    risk_begins: datetime | None = None
    troubles: dict[str, Trouble] = field(default_factory=dict)
    # When each gateway's last event was acted upon, and which gateways (`service/gateway`) the last sweep kept.
    reactions: dict[str, datetime] = field(default_factory=dict)
    gateways: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As a JSON object with times as ISO 8601 text."""
        return {
            "startedAt": _text(self.started_at),
            "completedAt": _text(self.completed_at),
            "counts": self.counts,
            "riskBegins": _text(self.risk_begins),
            "troubles": {
                name: [
                    t.failures,
                    _text(t.last_failure),
                    t.outcome,
                    t.code,
                    t.at_risk,
                ]
                for name, t in self.troubles.items()
            },
            "reactions": {name: _text(at) for name, at in self.reactions.items()},
            "gateways": self.gateways,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SweepRecord:
        """Read what `as_json` wrote. Raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            _moment(document["startedAt"]),
            _moment(document["completedAt"]),
            dict(document["counts"]),
            _moment(document["riskBegins"]),
            {
                name: Trouble(int(n), _aware(at), str(outcome), str(code), bool(risk))
                for name, (n, at, outcome, code, risk) in document["troubles"].items()
            },
            {name: _aware(at) for name, at in document["reactions"].items()},
            tuple(str(name) for name in document.get("gateways", ())),
        )


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    return _aware(text) if text else None


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment


class Sweeps(Protocol):
    """The record of the last sweep, for every instance of the app."""

    async def load(self) -> SweepRecord:
        """The record; an empty one when there is none or it cannot be understood. Raises AzureError."""

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        """Replace the record by what `change` makes of it. Raises AzureError."""


class SweepStore:
    """Keeps the record in a blob; without one, for an estate that delivers no token anywhere, nothing is kept."""

    def __init__(self, blob: Blob | None) -> None:
        self._blob = blob
        self._turn = asyncio.Lock()  # a burst of events in one worker would use up all tries against itself

    async def load(self) -> SweepRecord:
        """The record; an empty one when there is none or it cannot be understood. Raises AzureError."""
        return _understood((await self._blob.read())[0]) if self._blob else SweepRecord()

    async def update(self, change: Callable[[SweepRecord], SweepRecord]) -> None:
        """Change the record; started over when somebody else wrote in between. Raises AzureError."""
        if self._blob is None:
            return
        async with self._turn:
            for _ in range(_TRIES):
                text, etag = await self._blob.read()
                if await self._blob.write(json.dumps(change(_understood(text)).as_json()), etag):
                    return
        raise AzureUnavailable("Writing the sweep record", AzureFacts(code="WrittenByOthersAllTheTime"))


def _understood(text: str | None) -> SweepRecord:
    try:
        return SweepRecord() if text is None else SweepRecord.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        # A later version's, or somebody's scribble: the next write replaces it.
        log_line("sweep.record_not_understood")
        return SweepRecord()
