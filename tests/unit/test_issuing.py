"""Issuing: access before existence, the end and the key that were asked for, and a token that is checked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from gateway_tokens.access import Caller
from gateway_tokens.errors import (
    AccessDenied,
    AzureFacts,
    AzureNotFound,
    AzureThrottled,
    GatewayTokensError,
    NotFound,
    TokenUnusable,
)
from gateway_tokens.issuing import Issued, TokenRequest, issue_checked, issue_for
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType, ServiceId
from tests.unit.samples import NOW, SERVICE, document, estate, token

ISSUER = Caller(app_roles=frozenset({"Issue"}))
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Asked = tuple[ServiceId, str, KeyType, datetime]


@dataclass
class Azure:
    """Stands where Azure stands: issues what it is asked for, or what the test sets."""

    failure: GatewayTokensError | None = None
    gateway: str = ""
    late: timedelta = timedelta(0)
    asked: list[Asked] = field(default_factory=list)

    async def generate_token(
        self, service: ServiceId, gateway: str, key_type: KeyType, expiry: datetime
    ) -> GatewayToken:
        self.asked.append((service, gateway, key_type, expiry))
        if self.failure:
            raise self.failure
        return token(self.gateway or gateway, f"{expiry + self.late:%Y%m%d%H%M}")

    def names(self, service: ServiceId) -> AsyncIterator[str]:
        raise AssertionError(service)


def request(
    gateway: str = "edge-01",
    service: str = "contoso",
    *,
    key_type: KeyType | None = None,
    expiry: datetime | None = None,
    lifetime: timedelta | None = None,
) -> TokenRequest:
    return TokenRequest(GatewayRef(service, gateway), key_type, expiry, lifetime)


async def issue(
    asked: TokenRequest,
    azure: Azure | None = None,
    *,
    caller: Caller = ISSUER,
    ceiling: str | None = None,
    patterns: tuple[str, ...] = ("contoso/edge-*",),
    now: datetime = NOW,
) -> Issued:
    rules = document(
        **{"*": {}, "edge-7": {"lifetime": "P7D", "keyType": "secondary"}, "lab-*": {"lifetime": "P2D"}}
    )
    rule = {
        "caller": {"appRole": "Issue"},
        "gateways": list(patterns),
        "allow": ["issue"],
        "maxLifetime": ceiling,
    }
    return await issue_for(caller, asked, estate({**rules, "access": [rule]}), azure or Azure(), now)


async def test_the_token_is_for_the_gateway_with_key_and_expiry_as_asked() -> None:
    azure = Azure()
    issued = await issue(request(key_type=KeyType.SECONDARY, expiry=NOW + DAY), azure)
    assert azure.asked == [(ServiceId.parse(SERVICE), "edge-01", KeyType.SECONDARY, NOW + DAY)]
    assert issued == Issued(
        GatewayRef("contoso", "edge-01"),
        Ownership("contoso-apim/edge-01", KeyType.SECONDARY, NOW),
        issued.token,
    )
    assert (issued.token.gateway_id, issued.token.expiry) == ("edge-01", NOW + DAY)


async def test_the_service_is_named_as_declared_and_the_gateway_as_azure_names_it() -> None:
    issued = await issue(request("EDGE-01", "CONTOSO"), Azure(gateway="Edge-01"))
    assert issued.ref == GatewayRef("contoso", "Edge-01")


async def test_what_is_not_asked_for_comes_from_the_gateways_rule() -> None:
    issued = await issue(request("edge-7"))
    assert (issued.ownership.key_type, issued.token.expiry) == (KeyType.SECONDARY, NOW + 7 * DAY)


async def test_what_is_asked_for_comes_before_the_gateways_rule() -> None:
    issued = await issue(request("edge-7", key_type=KeyType.PRIMARY, lifetime=HOUR))
    assert (issued.ownership.key_type, issued.token.expiry) == (KeyType.PRIMARY, NOW + HOUR)


async def test_a_gateway_without_a_rule_gets_thirty_days_less_the_margin_with_the_primary_key() -> None:
    open_to_all = {"caller": {"appRole": "Issue"}, "gateways": ["*/*"], "allow": ["issue"]}
    issued = await issue_for(ISSUER, request(), estate({**document(), "access": [open_to_all]}), Azure(), NOW)
    assert (issued.ownership.key_type, issued.token.expiry) == (KeyType.PRIMARY, NOW + 30 * DAY - 5 * MINUTE)


async def test_an_expiry_is_cut_to_the_minute() -> None:
    issued = await issue(request(expiry=NOW + HOUR + 59 * SECOND))
    assert issued.token.expiry == NOW + HOUR


async def test_a_lifetime_counts_from_now_and_is_cut_to_the_minute() -> None:
    issued = await issue(request(lifetime=HOUR), now=NOW + 59 * SECOND)
    assert issued.token.expiry == NOW + HOUR


@pytest.mark.parametrize(
    ("ceiling", "ends_after"),
    [(None, 7 * DAY), ("P8D", 7 * DAY), ("P7D", 7 * DAY), ("P6D", 6 * DAY), ("PT1M", MINUTE)],
)
async def test_the_usual_lifetime_is_shortened_to_what_the_caller_may_have(
    ceiling: str | None, ends_after: timedelta
) -> None:
    issued = await issue(request("edge-7"), ceiling=ceiling)
    assert issued.token.expiry == NOW + ends_after


@pytest.mark.parametrize("asked", [request(lifetime=DAY), request(expiry=NOW + DAY)])
async def test_a_caller_may_ask_for_the_whole_of_its_ceiling(asked: TokenRequest) -> None:
    issued = await issue(asked, ceiling="P1D")
    assert issued.token.expiry == NOW + DAY


@pytest.mark.parametrize("asked", [request(lifetime=DAY + SECOND), request(expiry=NOW + DAY + MINUTE)])
async def test_more_than_the_ceiling_is_refused_and_never_shortened(asked: TokenRequest) -> None:
    azure = Azure()
    with pytest.raises(AccessDenied) as refused:
        await issue(asked, azure, ceiling="P1D")
    assert "limited to tokens of P1D" in str(refused.value)
    assert azure.asked == []


async def test_a_caller_without_a_rule_is_refused_before_azure_is_asked() -> None:
    azure = Azure()
    with pytest.raises(AccessDenied):
        await issue(request(), azure, caller=Caller())
    assert azure.asked == []


async def test_without_access_what_exists_and_what_does_not_are_alike() -> None:
    absent = Azure(failure=AzureNotFound("Issuing", AzureFacts(404)))
    said = set()
    for asked, azure in (
        (request("lab-1"), Azure()),
        (request("lab-1"), absent),
        (request("lab-1", "fabrikam"), Azure()),
    ):
        with pytest.raises(AccessDenied) as refused:
            await issue(asked, azure)
        said.add(str(refused.value).replace("fabrikam", "contoso"))
        assert azure.asked == []
    assert len(said) == 1


async def test_a_caller_with_access_hears_that_a_service_does_not_exist() -> None:
    with pytest.raises(NotFound) as missing:
        await issue(request("edge-1", "fabrikam"), patterns=("*/edge-*",))
    assert missing.value.resource == "fabrikam/edge-1"


async def test_a_caller_with_access_hears_that_a_gateway_does_not_exist() -> None:
    with pytest.raises(NotFound) as missing:
        await issue(request(), Azure(failure=AzureNotFound("Issuing", AzureFacts(404))))
    assert missing.value.resource == "contoso/edge-01"
    assert missing.value.__suppress_context__


@pytest.mark.parametrize("code", ["SubscriptionNotFound", "ResourceGroupNotFound"])
async def test_a_place_that_the_settings_name_wrongly_is_not_told_as_a_missing_gateway(code: str) -> None:
    with pytest.raises(AzureNotFound) as passed:
        await issue(request(), Azure(failure=AzureNotFound("Issuing", AzureFacts(404, code))))
    assert passed.value.facts.code == code


async def test_other_errors_of_azure_pass() -> None:
    throttled = AzureThrottled("Issuing", AzureFacts(429))
    with pytest.raises(AzureThrottled) as passed:
        await issue(request(), Azure(failure=throttled))
    assert passed.value is throttled


async def test_a_token_for_another_gateway_is_unusable() -> None:
    with pytest.raises(TokenUnusable, match="it is for another gateway"):
        await issue(request(), Azure(gateway="edge-02"))


@pytest.mark.parametrize("late", [MINUTE, -MINUTE])
async def test_a_token_that_ends_a_minute_off_is_unusable(late: timedelta) -> None:
    with pytest.raises(TokenUnusable, match=r"it expires at .*, asked for was 2026-03-02T12:00Z"):
        await issue(request(expiry=NOW + DAY), Azure(late=late))


async def test_a_token_whose_gateway_differs_in_case_is_the_one_asked_for() -> None:
    issued = await issue_checked(
        Azure(gateway="EDGE-01"), ServiceId.parse(SERVICE), "edge-01", KeyType.PRIMARY, NOW + DAY
    )
    assert issued.gateway_id == "EDGE-01"
