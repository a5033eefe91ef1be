"""Reconcile one gateway's tokens with its rule: read, plan, issue, check, write, read back, ask for the restart.

Rows are independent: one that fails leaves its neighbours alone. A gateway's due rows share one new token. Whatever
interrupts it, the next run sees in the destination itself what is left to do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

from gateway_tokens.errors import NotFound, NotOwned, NotPickedUp, NotRestarted, NotVerified, WriteConflict
from gateway_tokens.estate.destination import DestinationSettings
from gateway_tokens.logs import log_issued, log_line
from gateway_tokens.stored import Ownership, Running, StoredToken
from gateway_tokens.tokens import GatewayToken, KeyType, renewal_expiry

from .reader import GatewayReader
from .rows import Action, Failure, Observed, Outcome, Proof, Reason, Row

# How long after the old token's expiry it is told that a gateway runs it.
_TELL_FOR = timedelta(days=1)
# How a row ended for which nothing was to be done.
_OUTCOMES = {
    Reason.PAUSED: Outcome.PAUSED,
    Reason.RESTARTING: Outcome.RESTARTING,
    Reason.RESTART_UNVERIFIED: Outcome.UNVERIFIED,
}


@dataclass(eq=False)
class GatewayRun(GatewayReader):
    """One gateway on its way through a run. Nothing here raises for what happens to a row: it is in the row."""

    _tokens: dict[KeyType, asyncio.Task[GatewayToken]] = field(default_factory=dict, init=False)

    async def reconcile(self, observed: Observed) -> Row:
        """The row brought up to date, or why not. What somebody else changed since it was read is planned anew, once."""
        row = await self._carried_out(observed)
        retried = row.code in {WriteConflict.code, NotVerified.code}
        if not retried or row.renewed or row.decision.action is Action.REFUSE:
            return row
        again, observed_again = await self.read(observed.settings)
        if observed_again is None:
            return again
        if observed_again.token == observed.token:
            # Azure's answer holds for the token that it was about.
            observed_again = replace(observed_again, proof=observed.proof)
        return await self._carried_out(observed_again)

    async def _carried_out(self, observed: Observed) -> Row:
        row = self.unread(observed.settings)
        try:
            row = self.row(observed)
            if row.decision.action is Action.PROVE:
                observed = await self._proved(observed)
                row = self.row(observed)
            row = self.slots.let(row)
            return await self._carry_out(row, observed)
        except NotFound as error:
            gone = replace(row.decision, reason=Reason.GATEWAY_GONE, message=str(error))
            return replace(row, outcome=Outcome.GONE, decision=gone)
        except Exception as error:  # noqa: BLE001 - a row that fails must not stop its neighbours
            return self.failed(row, error)

    async def _proved(self, observed: Observed) -> Observed:
        """The row with Azure's proof of its token: the key that signs it, or none. Raises AzureError, TokenUnusable."""
        token, value = observed.token, observed.value
        if token is None or value is None:
            return observed
        signing, first = None, observed.wanted_key
        for key_type in (first, *(key for key in KeyType if key is not first)):
            if await self.issue(token.expiry, key_type) == token:
                signing = key_type
                break
        return replace(observed, proof=Proof(signing, self.options.app.clock(), value.fingerprint))

    async def _carry_out(self, row: Row, observed: Observed) -> Row:
        """What the plan asks for. Raises what keeps it from being done."""
        match row.decision.action:
            case Action.REFUSE:
                conflict = row.decision.reason is Reason.WRITE_CONFLICT
                raise (WriteConflict if conflict else NotOwned)(row.id.location, f"{row.decision.message}.")
            case Action.RENEW:
                return await self._renew(row, observed)
            case Action.REWRITE:
                return await self._rewrite(row, observed)
            case Action.TAKE_OVER:
                return await self._take_over(row, observed)
            case Action.RESTART if observed.stored:
                return await self._asked_to_restart(row, observed.settings, observed.stored)
            case _:
                return self._judged(row)

    def _judged(self, row: Row) -> Row:
        """A row for which nothing is to be done now."""
        decision = row.decision
        if decision.reason is Reason.NOT_RESTARTED:
            message = f"{decision.message.rstrip('.')}. The Secret holds the new token."
            raise NotRestarted(row.id.location, message)
        if decision.reason is Reason.NOT_PICKED_UP:
            expiry = self.options.demand.expires_before
            failure = Failure(NotPickedUp.code, decision.message, expiry and expiry + _TELL_FOR)
            return replace(row, outcome=Outcome.FAILED, failure=failure)
        usual = Outcome.WAITING if decision.action is Action.WAIT else Outcome.FRESH
        return replace(row, outcome=_OUTCOMES.get(decision.reason, usual))

    async def _renew(self, row: Row, observed: Observed) -> Row:
        key_type, ours, stored = observed.wanted_key, observed.ownership, observed.stored
        token = await self._issued(key_type)
        ownership = Ownership(self.gateway.owner, key_type, self.options.app.clock(), token.expiry)
        if ours and ours.key_type is key_type and not ours.taken_over:
            ownership = replace(ownership, key_since=ours.key_since, regenerated_at=ours.regenerated_at)
        # Without rotation callers may name the other key, so only under it is it true that one key signs.
        rotates = self.gateway.rule.rotate_keys is not None
        ownership = replace(ownership, key_since=ownership.signs_since if rotates else None)
        holds_it = ours and (ours.owner, ours.key_type) == (ownership.owner, ownership.key_type)
        if holds_it and stored and stored.exact and stored.token == token:
            return replace(row, outcome=Outcome.UNCHANGED)
        return await self._delivered(row, observed, token, ownership)

    async def _rewrite(self, row: Row, observed: Observed) -> Row:
        """Deliver the token that was issued before: in the right form, or in the place of an older one."""
        token, ownership = observed.token, observed.stored and observed.stored.ownership
        if not ownership or not token:
            raise AssertionError("nothing was issued before")
        conflict = row.decision.reason is Reason.WRITE_CONFLICT
        if conflict:
            token = await self.issue(ownership.expiry, ownership.key_type)
        done = await self._delivered(row, observed, token, replace(ownership, restart_asked=""))
        if conflict and done.failure is None:
            # Delivered, and a failure all the same: it goes on until one of the writers stops.
            return self.failed(done, WriteConflict(row.id.location, f"{row.decision.message}."))
        return done

    async def _delivered(
        self, row: Row, observed: Observed, token: GatewayToken, ownership: Ownership
    ) -> Row:
        async with self.at(observed.settings) as destination:
            await destination.write(token, _in_place(row, observed, ownership), observed.stored)
            stored = await destination.read()
        if stored is None or stored.token != token or not stored.exact:
            message = "the value that was read back is not the token that was written"
            raise NotVerified(row.id.location, message)
        if row.decision.reason in {Reason.KEY_DUE, Reason.REVOKED}:
            log_line(
                "key.switched",
                caller=self.options.caller,
                service=row.id.ref.service,
                gateway=row.id.ref.gateway,
                destination=row.id.location,
                keyType=ownership.key_type,
                reason=row.decision.reason,
                fingerprint=token.fingerprint,
            )
        old, seen = row.seen.expiry if row.seen else None, self.seen(row.id, stored)
        row = replace(row, outcome=Outcome.RENEWED, renewed=True, old_expiry=old, seen=seen)
        due = stored.restart is not None and stored.restart.running is Running.OLD
        return await self._asked_to_restart(row, observed.settings, stored) if due else row

    async def _take_over(self, row: Row, observed: Observed) -> Row:
        stored, token, proof = observed.stored, observed.token, observed.proof
        if not stored or not stored.value or not token or not proof or not proof.key_type:
            raise AssertionError("only a proved token is taken over")
        now = self.options.app.clock()
        ownership = Ownership(self.gateway.owner, proof.key_type, now, token.expiry, taken_over=True)
        async with self.at(observed.settings) as destination:
            await destination.write_ownership(ownership, stored)
        owned = replace(stored, ownership=ownership.of(stored.value))
        return replace(row, outcome=Outcome.FRESH, seen=self.seen(row.id, owned))

    async def _asked_to_restart(self, row: Row, settings: DestinationSettings, stored: StoredToken) -> Row:
        try:
            await self.options.app.destination(settings, self.gateway.ref).restart(stored)
        except Exception as error:  # noqa: BLE001 - whatever it was, the token is delivered
            return self.failed(row, error)
        return replace(row, outcome=Outcome.RESTARTING)

    async def _issued(self, key_type: KeyType) -> GatewayToken:
        """The gateway's new token, issued once for all its rows."""
        if key_type not in self._tokens:
            self._tokens[key_type] = asyncio.ensure_future(self._issue(key_type))
        return await asyncio.shield(self._tokens[key_type])

    async def _issue(self, key_type: KeyType) -> GatewayToken:
        expiry = renewal_expiry(self.gateway.rule.lifetime, self.options.demand.asked_at)
        token = await self.issue(expiry, key_type)
        log_issued(self.gateway.ref, key_type, token, self.options.caller)
        return token


def not_reached(row: Row) -> Row:
    """The row of a run whose time was over before it."""
    failure = Failure("not_reached", "The run's time was over. The next run tries it.")
    return replace(row, outcome=Outcome.NOT_REACHED, failure=failure)


def _in_place(row: Row, observed: Observed, ownership: Ownership) -> Ownership:
    """The ownership with what a workload runs until it restarts, as far as it is known, and whether the restart can wait."""
    before, older = observed.ownership, observed.stored.replaced if observed.stored else None
    if before is None or before.taken_over:  # nobody knows what pods run beside somebody else's value
        return replace(ownership, replaced_expiry=None, urgent=row.decision.urgent)
    urgent = row.decision.urgent or (older is not None and before.urgent)
    return replace(ownership, replaced_expiry=min(before.expiry, older or before.expiry), urgent=urgent)
