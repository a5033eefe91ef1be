"""Issuing: access before existence, the end and the key that were asked for, and a token that is checked."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway_tokens import errors
from gateway_tokens.access import Caller
from gateway_tokens.errors import AzureFacts, AzureNotFound
from gateway_tokens.estate.schema import ManagedGateway
from gateway_tokens.http.requests import TokenRequest
from gateway_tokens.http.tokens import Issued, issue_for
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, KeyType, ServiceId, stable_expiry
from tests.renewal_estate import DAY, HOUR, MINUTE, NOW, FakeGateways, a_token
from tests.samples import SERVICE, document, estate

ISSUER = Caller(app_roles=frozenset({"Issue"}))
SECOND = timedelta(seconds=1)


def azure(
    answer: datetime | None = None, gateway: str = "edge-01", failure: Exception | None = None
) -> FakeGateways:
    """API Management, which answers as asked, with a token that ends at `answer`, or with a failure."""
    gateways = FakeGateways({ServiceId.parse(SERVICE): ["edge-01", "edge-7"]})
    gateways.answer = a_token(answer, gateway) if answer else None
    gateways.refused = {"edge-01": failure} if failure else {}
    return gateways


def request(gateway: str = "edge-01", service: str = "contoso", **asked: Any) -> TokenRequest:  # noqa: ANN401
    nothing = {"key_type": None, "expiry": None, "lifetime": None}
    return TokenRequest(GatewayRef(service, gateway), **(nothing | asked))


async def issue(
    asked: TokenRequest,
    api: FakeGateways | None = None,
    *,
    caller: Caller = ISSUER,
    now: datetime = NOW,
    **access: object,
) -> Issued:
    rules = document(**{"edge-7": {"lifetime": "P7D", "renewBefore": "P2D", "keyType": "secondary"}})
    rule = {"caller": {"appRole": "Issue"}, "gateways": ["contoso/edge-*"], "allow": ["issue"], **access}
    settings, gateways = estate({**rules, "access": [rule]}), api or azure()
    return await issue_for(caller, asked, settings, gateways, now, active_key=unasked)


async def unasked(gateway: ManagedGateway) -> KeyType:
    """The key in use, which matters to rules that rotate keys only: test_keys.py of the functions has those."""
    raise AssertionError(gateway)


async def test_the_token_is_for_the_gateway_with_key_and_expiry_as_asked() -> None:
    gateways = azure()
    issued = await issue(request(key_type=KeyType.SECONDARY, expiry=NOW + DAY), gateways)
    assert gateways.issued == [("edge-01", KeyType.SECONDARY, NOW + DAY)]
    assert (issued.token.gateway_id, issued.token.expiry) == ("edge-01", NOW + DAY)
    assert issued.ownership == Ownership("contoso-apim/edge-01", KeyType.SECONDARY, NOW, NOW + DAY)


async def test_the_service_is_named_as_declared_and_the_gateway_as_azure_names_it() -> None:
    issued = await issue(request("EDGE-01", "CONTOSO", lifetime=DAY), azure(NOW + DAY, "Edge-01"))
    assert issued.ref == GatewayRef("contoso", "Edge-01")


@pytest.mark.parametrize(
    ("asked", "key_type", "ends_after"),
    [
        (request("edge-7"), KeyType.SECONDARY, 7 * DAY),
        (request("edge-7", key_type=KeyType.PRIMARY, lifetime=HOUR), KeyType.PRIMARY, HOUR),
        (request("edge-01"), KeyType.PRIMARY, 30 * DAY - 5 * MINUTE),
    ],
    ids=[
        "the rule decides",
        "the request comes before the rule",
        "a gateway without a rule has the defaults",
    ],
)
async def test_key_and_lifetime_come_from_the_request_or_else_from_the_gateways_rule(
    asked: TokenRequest, key_type: KeyType, ends_after: timedelta
) -> None:
    issued = await issue(asked)
    assert (issued.ownership.key_type, issued.token.expiry) == (key_type, NOW + ends_after)


async def test_the_expiry_is_cut_to_the_minute() -> None:
    assert (await issue(request(expiry=NOW + HOUR + 59 * SECOND))).token.expiry == NOW + HOUR
    assert (await issue(request(lifetime=HOUR), now=NOW + 59 * SECOND)).token.expiry == NOW + HOUR


@pytest.mark.parametrize(
    ("ceiling", "ends_after"),
    [(None, 7 * DAY), ("P8D", 7 * DAY), ("P7D", 7 * DAY), ("P6D", 6 * DAY), ("PT1M", MINUTE)],
)
async def test_the_usual_lifetime_is_shortened_to_what_the_caller_may_have(
    ceiling: str | None, ends_after: timedelta
) -> None:
    assert (await issue(request("edge-7"), maxLifetime=ceiling)).token.expiry == NOW + ends_after


async def test_a_caller_gets_the_whole_of_its_ceiling_and_is_refused_more_which_is_never_shortened() -> None:
    for asked in (request(lifetime=DAY), request(expiry=NOW + DAY)):
        assert (await issue(asked, maxLifetime="P1D")).token.expiry == NOW + DAY
    gateways, more = azure(), DAY + SECOND
    for asked in (
        request(lifetime=more),
        request(expiry=NOW + DAY + MINUTE),
        request(lifetime=more, stable=True),
    ):
        with pytest.raises(errors.AccessDenied, match="limited to tokens of P1D"):
            await issue(asked, gateways, maxLifetime="P1D")
    assert gateways.issued == []


async def test_a_caller_without_access_cannot_tell_what_exists() -> None:
    said = set()
    for service in ("contoso", "fabrikam"):
        gateways = azure()
        with pytest.raises(errors.AccessDenied) as refused:
            await issue(request("edge-01", service), gateways, caller=Caller())
        said.add(str(refused.value).replace("fabrikam", "contoso"))
        assert gateways.issued == []
    assert len(said) == 1


async def test_a_caller_with_access_hears_that_a_service_or_a_gateway_does_not_exist() -> None:
    with pytest.raises(errors.NotFound) as missing:
        await issue(request("edge-1", "fabrikam"), gateways=["*/edge-*"])
    assert missing.value.resource == "fabrikam/edge-1"
    with pytest.raises(errors.NotFound) as missing:
        await issue(request(), azure(failure=AzureNotFound("Issuing", AzureFacts(404))))
    assert missing.value.resource == "contoso/edge-01"
    assert missing.value.__suppress_context__


async def test_azure_errors_that_are_about_no_gateway_are_raised_unchanged() -> None:
    for error in (
        AzureNotFound("Issuing", AzureFacts(404, "SubscriptionNotFound")),
        AzureNotFound("Issuing", AzureFacts(404, "ResourceGroupNotFound")),
        errors.AzureThrottled("Issuing", AzureFacts(429)),
    ):
        with pytest.raises(errors.AzureError) as passed:
            await issue(request(), azure(failure=error))
        assert passed.value is error


@pytest.mark.parametrize(
    ("gateway", "asked", "access", "lifetime", "window"),
    [
        ("edge-7", {}, {}, 7 * DAY, 2 * DAY),
        ("edge-7", {"lifetime": 7 * DAY}, {}, 7 * DAY, 2 * DAY),
        ("edge-7", {"lifetime": 6 * DAY}, {}, 6 * DAY, 2 * DAY),
        ("edge-7", {"lifetime": 9 * DAY}, {}, 9 * DAY, 3 * DAY),
        ("edge-7", {}, {"maxLifetime": "P3D"}, 3 * DAY, DAY),
        ("edge-7", {}, {"maxLifetime": "PT1M"}, MINUTE, 20 * SECOND),
        ("edge-01", {}, {}, 30 * DAY, 10 * DAY),
    ],
    ids=[
        "the rule decides",
        "the rule's lifetime asked for",
        "a shorter one",
        "a longer one",
        "a limit of access",
        "the shortest limit of access",
        "no rule",
    ],
)
async def test_a_stable_token_ends_on_the_grid_of_gateway_lifetime_and_window(
    gateway: str, asked: dict[str, Any], access: dict[str, Any], lifetime: timedelta, window: timedelta
) -> None:
    for now in (NOW, NOW + 5 * DAY):
        issued = await issue(request(gateway, stable=True, **asked), now=now, **access)
        assert issued.token.expiry == stable_expiry(lifetime, window, f"contoso-apim/{gateway}", now)


async def test_a_stable_token_is_the_same_whoever_asks_however_the_names_are_spelt() -> None:
    token = (await issue(request("edge-7", stable=True))).token
    again = await issue(request("EDGE-7", "CONTOSO", stable=True), now=NOW + 10 * SECOND)
    assert again.token.expiry == token.expiry


async def test_a_token_for_another_gateway_or_that_ends_a_minute_off_is_unusable() -> None:
    with pytest.raises(errors.TokenUnusable, match="it is for another gateway"):
        await issue(request(expiry=NOW + DAY), azure(NOW + DAY, "edge-02"))
    for late in (MINUTE, -MINUTE):
        with pytest.raises(errors.TokenUnusable, match=r"it expires at .*, and not at 2026-03-02T12:00Z"):
            await issue(request(expiry=NOW + DAY), azure(NOW + DAY + late))
