"""What is remembered between sweeps. Advisory: without it counts of failures start anew, and nothing is lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is remembered of a failing row, because the failing place may not be able to."""

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
