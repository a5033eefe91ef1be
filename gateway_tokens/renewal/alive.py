"""Whether stored tokens are alive: once a day Azure is asked for each again.

A token is a function of gateway, key and expiry, so another answer means that the key was regenerated or the gateway
made anew. When many differ at once, it may be the answers that changed: nothing is renewed for them, and a person
decides.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.logs import log_line, log_unexpected
from gateway_tokens.parts import App
from gateway_tokens.tokens import GatewayRef

from .gateway import GatewayRun
from .reader import ASK_AGAIN_AFTER
from .rows import CHECK_STOPPED, Failure, Observed, Outcome, Proof, Reason, Row
from .service import ServiceRun, log_row

MOST_ASKED = 1000
# So many gateways may differ at once, or a tenth of those asked about.
FEW, SHARE = 3, 0.1
_AT_ONCE = 16
_NEVER = datetime.min.replace(tzinfo=UTC)
_NOT_ASKED = frozenset({Reason.PAUSED, Reason.OWNED_BY_ANOTHER, Reason.NOT_OWNED, Reason.TAKEN_OVER})
_STOPPED = (
    "Azure answers with other tokens for many gateways at once, so nothing is renewed for it. If keys were regenerated, "
    "POST renewals with `force`. If the form of Azure's answers changed, set `checkAlive` to false in the settings."
)


@dataclass(frozen=True, slots=True)
class _Question:
    """A stored token that Azure is to be asked about."""

    service: ServiceRun
    run: GatewayRun
    observed: Observed
    row: Row

    @property
    def last_asked(self) -> datetime:
        """When Azure last answered with this very token: when it was asked about it, or when it issued it to this app."""
        ours, proof = self.observed.ownership, self.row.proof
        issued_at = ours.issued_at if ours and not ours.taken_over else _NEVER
        return max(issued_at, (proof and proof.at) or _NEVER)

    async def verdict(self, free: asyncio.Semaphore) -> str:
        """Azure's verdict; nothing when it could not be had, which the next run makes up for."""
        token, key_type = self.observed.token, self.observed.key_type
        if token is None or key_type is None:
            return ""
        async with free:
            try:
                answer = await self.run.issue(token.expiry, key_type)
                if answer == token:
                    return _ALIVE
                return _DEAD if await self.run.issue(token.expiry, key_type) == answer else _UNSTEADY
            except GatewayTokensError:
                return ""
            except Exception as error:  # noqa: BLE001 - one question must not end the others
                log_unexpected(error, str(self.row.id))
                return ""


_ALIVE, _DEAD, _UNSTEADY = "alive", "dead", "unsteady"


class AliveCheck:
    """The check of one run: `collect` as services end, then `carry_out`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._questions: list[_Question] = []

    def collect(self, service: ServiceRun) -> None:
        """Keep what a service has to ask: the oldest first, no more in all than a run asks."""
        before = self._app.clock() - ASK_AGAIN_AFTER
        questions = [_Question(service, run, row, service.rows[row.id]) for run, row in service.fresh]
        due = [
            question
            for question in questions
            if question.observed.ownership and question.row.decision.reason not in _NOT_ASKED
            if question.last_asked < before
        ]
        self._questions = heapq.nsmallest(MOST_ASKED, [*self._questions, *due], key=lambda q: q.last_asked)
        service.fresh.clear()

    async def carry_out(self) -> dict[ServiceRun, list[Row]]:
        """Ask, and renew what is dead unless too much differs; the rows that changed, by their service."""
        free = asyncio.Semaphore(_AT_ONCE)
        verdicts = await asyncio.gather(*(question.verdict(free) for question in self._questions))
        answers = [(q, verdict) for q, verdict in zip(self._questions, verdicts, strict=True) if verdict]
        dead = [question for question, verdict in answers if verdict is not _ALIVE]
        gateways = {question.row.id.ref for question in dead}
        stopped = is_stopped(
            len({question.row.id.ref for question, _ in answers}),
            len(gateways),
            steady=_UNSTEADY not in verdicts,
        )
        if answers:
            _log(len(answers), gateways, stopped=stopped)
        changed = defaultdict[ServiceRun, list[Row]](list)
        for question, verdict in answers:
            if verdict is _ALIVE:
                changed[question.service].append(self._alive(question))
        # Told until the next check but one: each run of the schedule asks again.
        until = self._app.clock() + 2 * self._app.pause
        failure = Failure(CHECK_STOPPED, _STOPPED, until) if stopped else None
        ends = await asyncio.gather(*(_end(question, failure) for question in dead))
        for question, row in zip(dead, ends, strict=True):
            changed[question.service].append(question.service.finish(row))
        return changed

    def _alive(self, question: _Question) -> Row:
        """The row, noted as asked about; a check that is well takes back what a stopped one told."""
        row, value, now = question.row, question.observed.value, self._app.clock()
        row = replace(row, proof=Proof(question.observed.key_type, now, value.fingerprint if value else ""))
        if row.code == CHECK_STOPPED:
            row = replace(row, outcome=Outcome.FRESH, failure=None, failing_since=None)
            log_row(row, now)
        question.service.rows[row.id] = row
        return row


def is_stopped(checked: int, dead: int, *, steady: bool) -> bool:
    """Whether so many gateways differ, of those asked about, that it is not believed; or answers do not repeat."""
    return not steady or (dead > FEW and dead > checked * SHARE)


async def _end(question: _Question, failure: Failure | None) -> Row:
    """The row of a dead token. While it is not replaced it is not noted as asked about, so that the next run asks again."""
    if failure:
        return replace(question.row, outcome=Outcome.UNVERIFIED, failure=failure)
    return await question.run.reconcile(replace(question.observed, proof=Proof(None)))


def _log(checked: int, dead: set[GatewayRef], *, stopped: bool) -> None:
    gateways = ", ".join(sorted(map(str, dead))[:20])
    if stopped:
        log_line(
            "alive.stopped",
            logging.ERROR,
            asked=checked,
            dead=len(dead),
            gateways=gateways,
            code=CHECK_STOPPED,
            error=_STOPPED,
        )
    else:
        log_line("alive.checked", asked=checked, dead=len(dead), gateways=gateways)
