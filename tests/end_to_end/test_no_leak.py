"""No token, key or access token reaches a log, an exception, a repr or an error body.

Every flow runs against the emulator with every logger of the process at DEBUG, the SDK's and aiohttp's among them.
What is searched: each record's message, arguments, attributes and traceback; each exception's text, attributes and
chain; each answer but the one that is meant to hold the token.
"""

import json
import logging
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.azure.api_management import ArmGateways
from gateway_tokens.azure.clients import AzureAccess
from gateway_tokens.errors import GatewayTokensError
from gateway_tokens.estate.app_settings import read_settings
from gateway_tokens.formats import TokenFormat
from gateway_tokens.tokens import KeyType
from tests import http_calls
from tests.callers import bearer, rule
from tests.http.renewal_app import renewal_app
from tests.http_calls import Answer
from tests.renewal_estate import CONTOSO
from tests.served_estate import environment

pytestmark = pytest.mark.slow
FUNCTION_KEY = "sample-function-key-that-must-not-show"
WITH_KEY = {"x-functions-key": FUNCTION_KEY}
DAY = timedelta(days=1)
EXPIRY = (datetime.now(UTC) + DAY).replace(second=0, microsecond=0)
SOME_TOKEN = f"edge-01&{EXPIRY:%Y%m%d%H%M}&" + "Sm9obkRvZVNlY3JldFNpZ25hdHVyZTEyMzQ1Njc4OTA" * 2 + "=="
ACCESS_TOKEN = "eyJ0eXAiOiJKV1Qi.QWNjZXNzVG9rZW5UaGF0TXVzdE5vdFNob3c.c2lnbmF0dXJlMTIzNDU2Nzg5"
LIFETIMES = (DAY, 30 * DAY - timedelta(minutes=5))


class Detector:
    """Knows the secrets, and finds them in whatever it is shown."""

    def __init__(self, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
        self._azure, self._caplog = emulator.azure, caplog
        self.secrets = {FUNCTION_KEY, ACCESS_TOKEN, signature_of(SOME_TOKEN)}
        self.learn()

    def learn(self, *more: str) -> None:
        """Every secret there is by now: keys, signatures of what they sign, access tokens; and these."""
        gateways = [each for service in self._azure.services.values() for each in service.gateways.values()]
        minutes = [
            datetime.now(UTC) + lifetime + timedelta(minutes=late)
            for lifetime in LIFETIMES
            for late in range(-2, 2)
        ]
        tokens = [each.token(key, minute) for each in gateways for key in each.keys for minute in minutes]
        tokens += [
            version.value
            for vault in self._azure.vaults.values()
            for secret in vault.secrets.values()
            for version in secret.versions
        ]
        self.secrets |= {key for gateway in gateways for key in gateway.keys.values()}
        self.secrets |= {*map(signature_of, tokens), *self._azure.bearers, self._azure.identity_header, *more}

    def found_in(self, *texts: str) -> list[str]:
        """The texts, cut short, that hold a secret or a telling part of one."""
        self.learn()
        telling = {part for secret in self.secrets for part in (secret[:16], secret[-16:])}
        return [text[:200] for text in texts if any(part in text for part in telling)]

    def logged(self) -> list[str]:
        """What every logger said, as an exporter of the fullest kind would ship it."""
        shown = logging.Formatter("%(name)s %(message)s")
        return [
            text for record in self._caplog.records for text in (shown.format(record), repr(vars(record)))
        ]

    def assert_silent(self, *more: str) -> None:
        """Nothing was logged, and nothing of this says, what must not show."""
        assert self.found_in(*self.logged(), *more) == []


def signature_of(token: str) -> str:
    return token.split("&")[2]


def texts_of(error: BaseException) -> list[str]:
    """All that an exception can tell: its text, its attributes, its formatted chain."""
    return [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]


def said_by(*answers: Answer) -> list[str]:
    return [
        text
        for answer in answers
        for text in (http_calls.text(answer), repr(dict(answer.headers)), repr(answer))
    ]


@pytest.fixture
async def detector(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Detector]:
    """Every logger of the process speaks at DEBUG, whatever its own level.

    All but azure-identity's: its warnings quote the identity endpoint's answer, so the app pins it above them.
    """
    async with renewal_app(emulator, monkeypatch) as app:
        app.configure(rule("contoso/edge-*", allow=("issue", "read", "revoke")))
        gateway_app.current()  # sets the levels of its own
        for name in ("", *logging.root.manager.loggerDict, "aiohttp.client"):
            if not name.startswith("azure.identity"):
                caplog.set_level(logging.DEBUG, logger=name)
        yield Detector(emulator, caplog)


def answering(
    status: int, body: str | bytes, kind: str = "application/json", **headers: str
) -> dict[str, Any]:
    """A fault: this answer."""
    return {"status": status, "headers": {"Content-Type": kind, **headers}, "body": body}


HOLDING = f'{{"value": "{SOME_TOKEN}"}}'
QUOTING = json.dumps({"error": {"code": "c", "message": SOME_TOKEN}})
FAULTS: dict[str, dict[str, Any]] = {
    "none": {"times": 0},
    "dropped": {"kind": "drop"},
    "dropped after the work": {"kind": "drop_after"},
    "truncated": {"kind": "truncate"},
    "200 cut off within the token": answering(200, HOLDING[:-40]),
    "200 that is no JSON": answering(200, SOME_TOKEN),
    "200 in text": answering(200, HOLDING, "text/plain"),
    "200 in HTML": answering(200, f"<p>{SOME_TOKEN}", "text/html"),
    "200 in XML": answering(200, f"<p>{SOME_TOKEN}", "application/xml"),
    "200 in a list": answering(200, f"[{HOLDING}]"),
    "200 in an object": answering(200, f'{{"value": {HOLDING}}}'),
    "200 with a part too many": answering(200, HOLDING.replace("==", "&x")),
    "200 that is not base64": answering(200, HOLDING.replace("==", "=!")),
    "200 for another gateway": answering(200, HOLDING.replace("edge-01", "edge-09")),
    "200 that is not UTF-8": answering(200, HOLDING.encode() + b"\xff"),
    "201": answering(201, HOLDING),
    "401": answering(401, HOLDING),
    "403": answering(403, QUOTING),
    "404": answering(404, QUOTING),
    "418": answering(418, SOME_TOKEN),
    "429": answering(429, HOLDING, **{"Retry-After": "3600"}),
    "500": answering(500, SOME_TOKEN),
    "502 in HTML": answering(502, f"<p>{SOME_TOKEN}", "text/html"),
}


async def issued_or_refused(emulator: Emulator) -> list[str]:
    """All that a token, or the exception in place of one, can tell."""
    azure = AzureAccess(read_settings(environment(emulator)))
    try:
        gateways, expiry = ArmGateways(azure, azure.budget), datetime.now(UTC) + DAY
        token = await gateways.generate_token(CONTOSO, "edge-01", KeyType.PRIMARY, expiry)
    except GatewayTokensError as error:
        return texts_of(error)
    finally:
        await azure.close()
    return [repr(token), str(token), f"{token.value}", f"{token.value!r}"]


@pytest.mark.parametrize("form", [None, *TokenFormat])
async def test_an_issued_token_shows_only_in_its_answer(detector: Detector, form: str | None) -> None:
    answer = await http_calls.generate_token(headers=WITH_KEY, form=form, body={"lifetime": "P1D"})
    assert answer.status_code == 200
    assert detector.found_in(http_calls.text(answer))
    detector.assert_silent(repr(answer), repr(dict(answer.headers)))


@pytest.mark.parametrize(
    "claims", [{}, {"exp": 1}, {"aud": "other"}, {"azp": "other"}, {"tid": "other"}], ids=str
)
async def test_a_callers_bearer_token_shows_nowhere(
    detector: Detector, emulator: Emulator, claims: dict[str, Any]
) -> None:
    headers = bearer(emulator, **claims)
    detector.learn(headers["Authorization"].rpartition(".")[2])
    answer = await http_calls.list_gateways(headers=headers)
    assert answer.status_code in {401, 403}
    assert emulator.azure.called("login")
    detector.assert_silent(*said_by(answer))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_token_shows_whatever_azure_answers(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(**{"host": "arm", "times": None, **fault}))
    detector.assert_silent(*await issued_or_refused(emulator))
    issued = await http_calls.generate_token(headers=WITH_KEY)
    detector.assert_silent(*(said_by(issued) if issued.status_code != 200 else [repr(issued)]))
    await gateway_app.forget()  # what a refusal taught the budget: the next call must reach Azure
    detector.assert_silent(*said_by(await http_calls.list_gateways(), await http_calls.health()))


@pytest.mark.parametrize("immediately", [False, True])
@pytest.mark.parametrize("fault", ["none", "dropped after the work", "200 in text", "403", "500"])
async def test_no_token_or_key_shows_when_a_key_is_revoked(
    detector: Detector, emulator: Emulator, *, fault: str, immediately: bool
) -> None:
    path = "*/regenerateKey" if fault != "none" else "*"
    emulator.azure.faults.add(Fault(**{"host": "arm", "path": path, "times": None, **FAULTS[fault]}))
    answer = await http_calls.revoke(immediately=immediately)
    assert answer.status_code == 200 or fault != "none"
    assert emulator.azure.vault("contoso").secret("edge-01-token") or immediately
    detector.assert_silent(*said_by(answer))


GRANT = f'{{"access_token": "{ACCESS_TOKEN}", "expires_on": "9999999999", "resource": "r"}}'
GRANTS = {
    "400": answering(400, '{"message": "no such identity"}'),
    "200 cut off": answering(200, GRANT[:-60]),
    "200 in text": answering(200, GRANT, "text/plain"),
    "200 in HTML": answering(200, f"<p>{GRANT}", "text/html"),
    "200 that is no JSON": answering(200, ACCESS_TOKEN),
    "200 without an expiry": answering(200, GRANT.replace('"expires_on": "9999999999", ', "")),
    "200 with an expiry that is none": answering(200, GRANT.replace("9999999999", "x")),
    "a token that ARM refuses": answering(200, GRANT),
}


@pytest.mark.parametrize("fault", GRANTS.values(), ids=GRANTS)
async def test_no_access_token_shows_whatever_the_identity_endpoint_answers(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    emulator.azure.faults.add(Fault(host="identity", times=None, **fault))
    answers = [await http_calls.generate_token(), await http_calls.health()]
    assert answers[0].status_code >= 500
    detector.assert_silent(*said_by(*answers))


async def test_refusals_show_nothing_of_the_callers_secrets(detector: Detector) -> None:
    key = {"code": FUNCTION_KEY, "format": FUNCTION_KEY}
    answers = [
        await http_calls.generate_token("lab-01", headers=WITH_KEY),
        await http_calls.generate_token(headers={"Authorization": f"Bearer {FUNCTION_KEY}"}),
        await http_calls.generate_token(query=key, body={"keyType": FUNCTION_KEY}),
        await http_calls.generate_token(body=FUNCTION_KEY.encode()),
    ]
    assert {answer.status_code for answer in answers} == {400, 401, 403}
    detector.assert_silent(*said_by(*answers))


# What hears nothing, or finds nothing, would prove nothing.


@pytest.mark.usefixtures("detector")
async def test_the_loggers_that_could_leak_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    await http_calls.generate_token()
    heard = {record.name for record in caplog.records}
    assert {"gateway_tokens", "azure.core.pipeline.policies.http_logging_policy"} <= heard
    # Pinned above the warnings that quote the identity endpoint's answer.
    assert logging.getLogger("azure.identity").level == logging.ERROR


@pytest.mark.parametrize("where", ["message", "attribute", "half", "chain"])
async def test_a_leak_is_found(detector: Detector, where: str) -> None:
    secret = signature_of(SOME_TOKEN)
    error = RuntimeError("harmless")
    error.__cause__ = ValueError(secret if where == "chain" else "")
    shown = {"attribute": secret, "half": secret[: len(secret) // 2]}.get(where)
    message = secret if where == "message" else "harmless"
    logging.getLogger("some.library").debug(message, extra={"shown": shown}, exc_info=error)
    assert detector.found_in(*detector.logged())
