"""What was asked of the emulator: every call while recording is on, plain counters always."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Call:
    """One request. `status` is 0 until it is answered; `action` is the RBAC action that it needs, if any."""

    host: str
    instance: str
    method: str
    path: str
    query: str
    action: str
    at: datetime
    status: int = 0


@dataclass
class Counters:
    """Totals by host, by `host action`, and by `host status`; calls in flight now and at most, over all hosts."""

    hosts: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    peak: int = 0

    def begin(self, call: Call) -> None:
        """Count a call that arrived."""
        self.hosts[call.host] += 1
        self.actions[f"{call.host} {call.action or call.method}"] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def end(self, call: Call) -> None:
        """Count a call that was answered."""
        self.statuses[f"{call.host} {call.status}"] += 1
        self.in_flight -= 1

    def reset(self) -> None:
        """Forget everything but the calls in flight."""
        for counter in (self.hosts, self.actions, self.statuses):
            counter.clear()
        self.peak = self.in_flight
