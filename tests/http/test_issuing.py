"""Issuing: access before existence, and the end and the key that were asked for."""

from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.access import Caller
from gateway_tokens.errors import AccessDenied
from gateway_tokens.http.requests import TokenRequest
from gateway_tokens.http.tokens import Issued, issue_for
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, KeyType, ServiceId, stable_expiry
from tests.renewal_estate import DAY, HOUR, MINUTE, NOW, FakeGateways
from tests.samples import SERVICE, document, estate

SECOND = timedelta(seconds=1)
PRIMARY, SECONDARY = KeyType
RULES = document(**{"edge-7": {"lifetime": "P7D", "renewBefore": "P2D", "keyType": "secondary"}})


def azure() -> FakeGateways:
    return FakeGateways({ServiceId.parse(SERVICE): ["edge-01", "edge-7"]})


async def unasked(ref: GatewayRef, *_: object) -> KeyType:
    """The key in use, which matters to rules that rotate keys only: the tests of keys over HTTP have those."""
    raise AssertionError(ref)


async def issue(
    gateway: str = "edge-01",
    *,
    service: str = "contoso",
    api: FakeGateways | None = None,
    access: dict[str, Any] | None = None,
    after: timedelta = timedelta(0),
    **fields: Any,  # noqa: ANN401 - of the request
) -> Issued:
    request = TokenRequest(
        GatewayRef(service, gateway), **{"key_type": None, "expiry": None, "lifetime": None, **fields}
    )
    rule = {"caller": {"appRole": "Issue"}, "gateways": ["contoso/edge-*"], "allow": ["issue"]}
    settings, caller = (
        estate({**RULES, "access": [rule | (access or {})]}),
        Caller("", "", frozenset({"Issue"})),
    )
    return await issue_for(caller, request, settings, api or azure(), NOW + after, active_key=unasked)


async def test_the_token_is_for_the_gateway_as_declared_with_key_and_expiry_as_asked_cut_to_the_minute() -> (
    None
):
    api = azure()
    expiry = NOW + DAY + 59 * SECOND
    issued = await issue("edge-01", service="CONTOSO", api=api, key_type=SECONDARY, expiry=expiry)
    assert api.issued == [("edge-01", SECONDARY, NOW + DAY)]
    assert issued.ref == GatewayRef("contoso", "edge-01")
    assert (issued.token.gateway_id, issued.token.expiry) == ("edge-01", NOW + DAY)
    assert issued.ownership == Ownership("contoso-apim/edge-01", SECONDARY, NOW, NOW + DAY)
    assert (await issue(lifetime=HOUR, after=59 * SECOND)).token.expiry == NOW + HOUR


@pytest.mark.parametrize(
    ("gateway", "fields", "ceiling", "key_type", "ends_after"),
    [
        ("edge-7", {}, None, SECONDARY, 7 * DAY),
        ("edge-7", {"key_type": PRIMARY, "lifetime": HOUR}, None, PRIMARY, HOUR),
        ("edge-01", {}, None, PRIMARY, 30 * DAY - 5 * MINUTE),
        ("edge-7", {}, "P8D", SECONDARY, 7 * DAY),
        ("edge-7", {}, "P6D", SECONDARY, 6 * DAY),
        ("edge-7", {"lifetime": DAY}, "P1D", SECONDARY, DAY),
        ("edge-7", {"expiry": NOW + DAY}, "P1D", SECONDARY, DAY),
    ],
)
async def test_key_and_lifetime_come_from_the_request_else_from_the_gateways_rule_within_what_the_caller_may_have(
    gateway: str, fields: dict[str, Any], ceiling: str | None, key_type: KeyType, ends_after: timedelta
) -> None:
    issued = await issue(gateway, access={"maxLifetime": ceiling}, **fields)
    assert (issued.ownership.key_type, issued.token.expiry) == (key_type, NOW + ends_after)


@pytest.mark.parametrize(
    "fields",
    [{"lifetime": DAY + SECOND}, {"expiry": NOW + DAY + MINUTE}, {"lifetime": DAY + SECOND, "stable": True}],
)
async def test_more_than_the_caller_may_have_is_refused_and_never_shortened(fields: dict[str, Any]) -> None:
    api = azure()
    with pytest.raises(AccessDenied, match="limited to tokens of P1D"):
        await issue(api=api, access={"maxLifetime": "P1D"}, **fields)
    assert api.issued == []


@pytest.mark.parametrize(
    ("gateway", "fields", "ceiling", "lifetime", "window"),
    [
        ("edge-7", {}, None, 7 * DAY, 2 * DAY),
        ("EDGE-7", {"lifetime": 7 * DAY}, None, 7 * DAY, 2 * DAY),
        ("edge-7", {"lifetime": 6 * DAY}, None, 6 * DAY, 2 * DAY),
        ("edge-7", {"lifetime": 9 * DAY}, None, 9 * DAY, 3 * DAY),
        ("edge-7", {}, "P3D", 3 * DAY, DAY),
        ("edge-7", {}, "PT1M", MINUTE, 20 * SECOND),
        ("edge-01", {}, None, 30 * DAY, 10 * DAY),
    ],
    ids=["rule", "asked as the rule", "shorter", "longer", "limit", "shortest limit", "no rule"],
)
async def test_a_stable_token_ends_on_the_grid_of_gateway_lifetime_and_window(
    gateway: str, fields: dict[str, Any], ceiling: str | None, lifetime: timedelta, window: timedelta
) -> None:
    for after in (timedelta(0), 5 * DAY):
        issued = await issue(gateway, stable=True, access={"maxLifetime": ceiling}, after=after, **fields)
        owner = f"contoso-apim/{gateway.lower()}"
        assert issued.token.expiry == stable_expiry(lifetime, window, owner, NOW + after)
