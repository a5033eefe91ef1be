"""Whether stored tokens are alive: once a day Azure is asked for each again.

A token is a function of gateway, key and expiry, so another answer means that the key was regenerated or the gateway
made anew. When many differ at once, it may be the answers that changed: nothing is renewed for them, and a person
decides.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.logs import log_line, log_unexpected
from gateway_tokens.tokens import Clock, GatewayRef

from .gateway import GatewayRun
from .reader import ASK_AGAIN_AFTER
from .report import CHECK_STOPPED, Failure, Outcome, Row
from .rows import Observed, Proof, Reason
from .service import ServiceRun, log_row

MOST_ASKED = 1000
# So many gateways may differ at once, or a tenth of those asked about.
FEW, SHARE = 3, 0.1
_AT_ONCE = 16
_NEVER = datetime.min.replace(tzinfo=UTC)
_NOT_ASKED = frozenset({Reason.PAUSED, Reason.TAKEN_OVER})
_STOPPED = (
    "Azure answers with other tokens for many gateways at once, so nothing is renewed for it. If keys were regenerated, "
    "POST renewals with `force`. If the form of Azure's answers changed, set `checkAlive` to false in the settings."
)


@dataclass(frozen=True, slots=True)
class Question:
    """A stored token that Azure is to be asked about, and when it was last asked."""

    service: ServiceRun
    run: GatewayRun
    observed: Observed
    row: Row

    @property
    def last_asked(self) -> datetime:
        """When Azure last answered with this very token: when it was asked about it, or when it issued it to this app."""
        ownership = self.observed.ownership
        issued_at = ownership.issued_at if ownership and not ownership.taken_over else _NEVER
        return max((self.row.asked and self.row.asked.at) or _NEVER, issued_at)

    @property
    def ref(self) -> GatewayRef:
        """Whose token it is."""
        return self.row.id.ref


class AliveCheck:
    """The check of one run: `collect` as services end, then `carry_out`."""

    def __init__(self, clock: Clock, pause: timedelta) -> None:
        self._clock, self._pause = clock, pause
        self._questions: list[Question] = []

    def collect(self, service: ServiceRun) -> None:
        """Keep what a service has to ask: the oldest first, no more in all than a run asks."""
        before = self._clock() - ASK_AGAIN_AFTER
        questions = [
            Question(service, run, observed, row)
            for run, observed in service.fresh
            if (row := service.rows[observed.id]).decision.reason not in _NOT_ASKED and observed.ownership
        ]
        due = [question for question in questions if question.last_asked < before]
        self._questions = heapq.nsmallest(MOST_ASKED, [*self._questions, *due], key=lambda q: q.last_asked)
        service.fresh.clear()

    async def carry_out(self) -> dict[ServiceRun, list[Row]]:
        """Ask, and renew what is dead unless too much differs; the rows that changed, by their service."""
        free = asyncio.Semaphore(_AT_ONCE)
        verdicts = await asyncio.gather(*(_ask(question, free) for question in self._questions))
        asked = [(q, verdict) for q, verdict in zip(self._questions, verdicts, strict=True) if verdict]
        dead = [question for question, verdict in asked if verdict is not _ALIVE]
        stopped = is_stopped(
            len({q.ref for q, _ in asked}),
            len({q.ref for q in dead}),
            steady=all(verdict is not _UNSTEADY for verdict in verdicts),
        )
        if asked:
            _log(len(asked), dead, stopped=stopped)
        now, changed = self._clock(), dict[ServiceRun, list[Row]]()
        for question, verdict in asked:
            if verdict is _ALIVE:
                row = _alive(question, now)
                if row.outcome is not question.row.outcome:
                    log_row(row, now)
                _keep(changed, question.service, row)
        # Told until the next check but one: each run of the schedule asks again.
        failure = Failure(CHECK_STOPPED, _STOPPED, now + 2 * self._pause) if stopped else None
        ends = await asyncio.gather(*(_end(question, failure) for question in dead))
        for question, row in zip(dead, ends, strict=True):
            _keep(changed, question.service, question.service.finish(row))
        return changed


def is_stopped(asked: int, dead: int, *, steady: bool) -> bool:
    """Whether so many gateways differ, of those asked about, that it is not believed; or answers do not repeat."""
    return not steady or (dead > FEW and dead > asked * SHARE)


_ALIVE, _DEAD, _UNSTEADY = "alive", "dead", "unsteady"


async def _ask(question: Question, free: asyncio.Semaphore) -> str:
    """Azure's verdict on a stored token; nothing when it could not be had, which the next run makes up for."""
    token, key_type = question.observed.token, question.observed.key_type
    if token is None or key_type is None:
        return ""
    async with free:
        try:
            answer = await question.run.issue(token.expiry, key_type)
            if answer == token:
                return _ALIVE
            return _DEAD if await question.run.issue(token.expiry, key_type) == answer else _UNSTEADY
        except GatewayTokensError:
            return ""
        except Exception as error:  # noqa: BLE001 - one question must not end the others
            log_unexpected(error, str(question.row.id))
            return ""


async def _end(question: Question, failure: Failure | None) -> Row:
    """The row of a dead token. While it is not replaced it is not noted as asked, so that the next run asks again."""
    if failure:
        return replace(question.row, outcome=Outcome.UNVERIFIED, failure=failure)
    return await question.run.reconcile(replace(question.observed, proof=Proof(None)))


def _alive(question: Question, now: datetime) -> Row:
    row, value = question.row, question.observed.value
    if row.code == CHECK_STOPPED:
        row = replace(row, outcome=Outcome.FRESH, failure=None, failing_since=None)
    return replace(row, asked=Proof(question.observed.key_type, now, value.fingerprint if value else ""))


def _keep(changed: dict[ServiceRun, list[Row]], service: ServiceRun, row: Row) -> None:
    service.rows[row.id] = row
    changed.setdefault(service, []).append(row)


def _log(asked: int, dead: Iterable[Question], *, stopped: bool) -> None:
    names = sorted({str(question.ref) for question in dead})
    gateways = ", ".join(names[:20])
    if stopped:
        log_line(
            "alive.stopped",
            logging.ERROR,
            asked=asked,
            dead=len(names),
            gateways=gateways,
            code=CHECK_STOPPED,
            error=_STOPPED,
        )
    else:
        log_line("alive.checked", asked=asked, dead=len(names), gateways=gateways)
