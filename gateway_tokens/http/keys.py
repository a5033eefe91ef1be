"""The route that ends every token of one of a gateway's keys, and the key in use for those who ask for a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import azure.functions as func

from gateway_tokens.access import Permission, Scope
from gateway_tokens.azure.clients import Cost
from gateway_tokens.errors import AzureFacts, AzureUnavailable
from gateway_tokens.estate.schema import GatewayRule, ManagedGateway
from gateway_tokens.parts import App
from gateway_tokens.renewal.gateway import GatewayRun
from gateway_tokens.renewal.places import Places
from gateway_tokens.renewal.report import Outcome, ServiceReport
from gateway_tokens.renewal.revoke import Revocation, Revoked, revoke
from gateway_tokens.renewal.rows import Demand
from gateway_tokens.renewal.run import load_report, options_of
from gateway_tokens.tokens import KeyType

from .answers import answered, json_answer, problem
from .renewals import found, shown
from .requests import caller_of, query_of, read_revocation

_PULLED = "No destination holds a token of this gateway: its hosts take up a new token when they ask next."


class KeyApi:
    """Routes over an app that is built on first use; `open_app` raises SettingsInvalid."""

    def __init__(self, open_app: Callable[[], App]) -> None:
        self._open_app = open_app

    @answered
    async def revoke(self, request: func.HttpRequest) -> func.HttpResponse:
        """Deliver tokens of the other key everywhere, then regenerate the one that is named."""
        app = self._open_app()
        caller = await caller_of(app, request)
        ref, body = read_revocation(request.route_params, query_of(request), request.get_body())
        Scope(app.settings.estate.access, caller, Permission.REVOKE).require(ref)
        gateway = await found(app, ref)
        await app.callers_budget.spend(gateway.service.subscription_id, Cost.WRITE)
        wanted = Revocation(body.key_type, body.reason, body.immediately, body.dry_run)
        revoked = await revoke(app, gateway, wanted, str(caller))
        document = _document(app, gateway.rule, wanted, revoked)
        return problem(revoked.stopped, report=document) if revoked.stopped else json_answer(document)


async def active_key(app: App, gateway: ManagedGateway) -> KeyType:
    """The key in use of a gateway, as its destinations tell. Raises AzureUnavailable when none of them can be read."""
    options = options_of(app, Demand(app.clock()), "caller")
    report = await load_report(app, gateway.ref.service)
    run = GatewayRun(gateway, options, report, Places(app.clock()))
    if not any(await run.read_all()):
        raise AzureUnavailable(f"Reading which key '{gateway.ref}' uses", AzureFacts())
    return run.key_state().active


def _document(app: App, rule: GatewayRule, wanted: Revocation, revoked: Revoked) -> dict[str, Any]:
    rows = [shown(row, ServiceReport(), app.clock()) for row in revoked.rows]
    message = "" if rule.destinations else _PULLED
    if rule.key_type is wanted.key_type:
        message = f"The rule names the {rule.key_type} key, so the next run moves back to it. Change `keyType` to keep away from it."
    late = any(row.outcome is Outcome.NOT_REACHED for row in revoked.rows)
    return {
        "keyType": wanted.key_type,
        "regenerated": not (wanted.dry_run or revoked.stopped),
        "dryRun": wanted.dry_run,
        "timeWasOver": late,
        "destinations": rows,
        "message": message or None,
    }
