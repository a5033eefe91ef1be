"""The whole-tree proof: no token, key or access token reaches a log, an exception, a repr or an error body.

Every flow runs against the emulator with every logger of the process at DEBUG, the SDK's and aiohttp's among them.
What is searched: each record's message, arguments, attributes and traceback; each exception's text, attributes and
chain; each answer but the one that is meant to hold the token.
"""

import io
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
from gateway_tokens.formats import SecretName, TokenFormat, env_file, kubernetes_secret
from gateway_tokens.issuing import Issued
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import GatewayRef, GatewayToken, KeyType
from tests import estate, front_door
from tests.callers import bearer
from tests.front_door import Answer

FUNCTION_KEY = "sample-function-key-that-must-not-show"
EXPIRY = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
JSON = {"Content-Type": "application/json"}


class Heard(logging.Handler):
    """Keeps what every logger says, as an exporter of the fullest kind would ship it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []
        self.loggers: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.loggers.add(record.name)
        self.said.append(logging.Formatter("%(name)s %(message)s").format(record))
        self.said.append(repr(vars(record)))


class Detector:
    """Knows the secrets, and finds them in whatever it is shown."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.heard = Heard()
        self._more: set[str] = {FUNCTION_KEY}

    def secrets(self) -> set[str]:
        """Every secret there is by now: keys, signatures of what they sign, access tokens, function keys."""
        gateways = [
            gateway
            for service in self._emulator.azure.services.values()
            for gateway in service.gateways.values()
        ]
        keys = {key for gateway in gateways for key in gateway.keys.values()}
        minutes = [EXPIRY + timedelta(minutes=late) for late in range(-1, 3)]
        minutes += [minute + timedelta(days=29) - timedelta(minutes=5) for minute in minutes]
        tokens = {
            gateway.token(kind, minute) for gateway in gateways for kind in gateway.keys for minute in minutes
        }
        bearers = set(self._emulator.azure.bearers) | {self._emulator.azure.identity_header}
        return keys | {signature_of(token) for token in tokens} | bearers | self._more

    def keep_secret(self, value: str) -> None:
        """Look for this as well."""
        self._more.add(value)

    def found_in(self, *texts: str) -> list[str]:
        """The texts, cut short, that hold a secret or a telling part of one."""
        telling = {part for secret in self.secrets() for part in (secret[:16], secret[-16:])}
        return [text[:200] for text in texts if any(part in text for part in telling)]

    def assert_silent(self, *more: str) -> None:
        """Nothing was logged, and nothing of this says, what must not show."""
        assert self.found_in(*self.heard.said, *more) == []


def signature_of(token: str) -> str:
    return token.split("&")[2]


def told(error: BaseException) -> list[str]:
    """All that an exception can tell: its text, its attributes, its formatted chain."""
    return [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]


@pytest.fixture
async def detector(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Detector]:
    estate.populate(emulator)
    for name in ("SIGN_IN", "AZURE_CREDENTIAL", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in estate.environment(emulator).items():
        monkeypatch.setenv(name, value)
    await gateway_app.forget()
    detector = Detector(emulator)
    with at_debug(detector.heard):
        yield detector
    await gateway_app.forget()


class at_debug:  # noqa: N801 - reads as a statement
    """Within, every logger of the process speaks at DEBUG to this listener, whatever its own level.

    All but azure-identity's: its warnings quote the identity endpoint's answer, so the app pins it above them.
    """

    def __init__(self, listener: logging.Handler) -> None:
        self._listener = listener
        names = [
            "",
            *logging.root.manager.loggerDict,
            "azure",
            "aiohttp.client",
            "gateway_tokens",
        ]
        self._loggers = [logging.getLogger(name) for name in names if not name.startswith("azure.identity")]
        self._levels = [(logger, logger.level, logger.disabled) for logger in self._loggers]

    def __enter__(self) -> None:
        logging.root.addHandler(self._listener)
        for logger in self._loggers:
            logger.setLevel(logging.DEBUG)
            logger.disabled = False

    def __exit__(self, *_: object) -> None:
        logging.root.removeHandler(self._listener)
        for logger, level, disabled in self._levels:
            logger.setLevel(level)
            logger.disabled = disabled


def said_by(answer: Answer) -> list[str]:
    return [answer.get_body().decode(), repr(dict(answer.headers)), repr(answer)]


def lasting(**fault: Any) -> Fault:  # noqa: ANN401 - a fault's own fields
    return Fault(**{"host": "arm", "times": None, **fault})


SOME_TOKEN = f"edge-01&{EXPIRY:%Y%m%d%H%M}&" + "Sm9obkRvZVNlY3JldFNpZ25hdHVyZTEyMzQ1Njc4OTA" * 2 + "=="
HOLDING = f'{{"value": "{SOME_TOKEN}"}}'
FAULTS: dict[str, dict[str, Any]] = {
    "none": {"times": 0},
    "dropped": {"kind": "drop"},
    "dropped after the work": {"kind": "drop_after"},
    "truncated": {"kind": "truncate"},
    "200 cut off within the token": {"status": 200, "headers": JSON, "body": HOLDING[:-40]},
    "200 that is no JSON": {"status": 200, "headers": JSON, "body": SOME_TOKEN},
    "200 in text": {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": HOLDING},
    "200 in HTML": {"status": 200, "headers": {"Content-Type": "text/html"}, "body": f"<p>{SOME_TOKEN}"},
    "200 in XML": {"status": 200, "headers": {"Content-Type": "application/xml"}, "body": f"<p>{SOME_TOKEN}"},
    "200 in a list": {"status": 200, "headers": JSON, "body": f"[{HOLDING}]"},
    "200 in an object": {"status": 200, "headers": JSON, "body": f'{{"value": {HOLDING}}}'},
    "200 with a part too many": {"status": 200, "headers": JSON, "body": HOLDING.replace("==", "&x")},
    "200 that is not base64": {"status": 200, "headers": JSON, "body": HOLDING.replace("==", "=!")},
    "200 for another gateway": {
        "status": 200,
        "headers": JSON,
        "body": HOLDING.replace("edge-01", "edge-09"),
    },
    "200 that is not UTF-8": {"status": 200, "headers": JSON, "body": HOLDING.encode() + b"\xff"},
    "201": {"status": 201, "headers": JSON, "body": HOLDING},
    "401": {"status": 401, "headers": JSON, "body": HOLDING},
    "403": {
        "status": 403,
        "headers": JSON,
        "body": json.dumps({"error": {"code": "c", "message": SOME_TOKEN}}),
    },
    "404": {
        "status": 404,
        "headers": JSON,
        "body": json.dumps({"error": {"code": "c", "message": SOME_TOKEN}}),
    },
    "418": {"status": 418, "headers": JSON, "body": SOME_TOKEN},
    "429": {"status": 429, "headers": {**JSON, "Retry-After": "3600"}, "body": HOLDING},
    "500": {"status": 500, "headers": JSON, "body": SOME_TOKEN},
    "502 in HTML": {"status": 502, "headers": {"Content-Type": "text/html"}, "body": f"<p>{SOME_TOKEN}"},
}


@pytest.mark.parametrize("form", [None, *TokenFormat])
async def test_an_issued_token_shows_nowhere_but_in_its_answer(detector: Detector, form: str | None) -> None:
    answer = await front_door.generate_token(
        headers={"x-functions-key": FUNCTION_KEY}, form=form, body={"lifetime": "P1D"}
    )
    assert answer.status_code == 200
    assert detector.found_in(answer.get_body().decode())
    detector.assert_silent(repr(answer), repr(dict(answer.headers)))


@pytest.mark.parametrize(
    "claims", [{}, {"exp": 1}, {"aud": "other"}, {"azp": "other"}, {"tid": "other"}], ids=str
)
async def test_a_callers_bearer_token_shows_nowhere(
    detector: Detector, emulator: Emulator, claims: dict[str, Any]
) -> None:
    headers = bearer(emulator, **claims)
    detector.keep_secret(headers["Authorization"].rpartition(".")[2])
    answer = await front_door.list_gateways(headers=headers)
    assert answer.status_code in {401, 403}
    assert emulator.azure.called("login")
    detector.assert_silent(*said_by(answer))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_azure_answers_nothing_shows(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    detector.keep_secret(signature_of(SOME_TOKEN))
    emulator.azure.faults.add(lasting(**fault))
    answer = await front_door.generate_token(headers={"x-functions-key": FUNCTION_KEY})
    detector.assert_silent(*(said_by(answer) if answer.status_code != 200 else [repr(answer)]))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_whatever_azure_answers_no_exception_tells(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    detector.keep_secret(signature_of(SOME_TOKEN))
    emulator.azure.faults.add(lasting(**fault))
    azure = AzureAccess(read_settings(estate.environment(emulator)))
    try:
        token = await ArmGateways(azure, azure.budget).generate_token(
            estate.CONTOSO, "edge-01", KeyType.PRIMARY, EXPIRY
        )
        detector.assert_silent(repr(token), str(token), f"{token.value}", f"{token.value!r}")
    except GatewayTokensError as error:
        detector.assert_silent(*told(error))
    finally:
        await azure.close()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_the_read_paths_show_nothing(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    detector.keep_secret(signature_of(SOME_TOKEN))
    emulator.azure.faults.add(lasting(**fault))
    answers = [await front_door.list_gateways(), await front_door.health()]
    detector.assert_silent(*(said for answer in answers for said in said_by(answer)))


ACCESS_TOKEN = "eyJ0eXAiOiJKV1Qi.QWNjZXNzVG9rZW5UaGF0TXVzdE5vdFNob3c.c2lnbmF0dXJlMTIzNDU2Nzg5"
GRANT = f'{{"access_token": "{ACCESS_TOKEN}", "expires_on": "9999999999", "resource": "r"}}'
GRANTS: dict[str, dict[str, Any]] = {
    "400": {"status": 400, "headers": JSON, "body": '{"message": "no such identity"}'},
    "200 cut off": {"status": 200, "headers": JSON, "body": GRANT[:-60]},
    "200 in text": {"status": 200, "headers": {"Content-Type": "text/plain"}, "body": GRANT},
    "200 in HTML": {"status": 200, "headers": {"Content-Type": "text/html"}, "body": f"<p>{GRANT}"},
    "200 that is no JSON": {"status": 200, "headers": JSON, "body": ACCESS_TOKEN},
    "200 without an expiry": {
        "status": 200,
        "headers": JSON,
        "body": f'{{"access_token": "{ACCESS_TOKEN}", "resource": "r"}}',
    },
    "200 with an expiry that is none": {
        "status": 200,
        "headers": JSON,
        "body": GRANT.replace("9999999999", "x"),
    },
    "a token that ARM refuses": {"status": 200, "headers": JSON, "body": GRANT},
}


@pytest.mark.parametrize("fault", GRANTS.values(), ids=GRANTS)
async def test_whatever_the_identity_answers_nothing_shows(
    detector: Detector, emulator: Emulator, fault: dict[str, Any]
) -> None:
    detector.keep_secret(ACCESS_TOKEN)
    emulator.azure.faults.add(lasting(host="identity", **fault))
    answers = [await front_door.generate_token(), await front_door.health()]
    assert answers[0].status_code >= 500
    detector.assert_silent(*(said for answer in answers for said in said_by(answer)))


async def test_refusals_and_bad_requests_show_nothing_of_the_callers_secrets(detector: Detector) -> None:
    answers = [
        await front_door.generate_token("lab-01", headers={"x-functions-key": FUNCTION_KEY}),
        await front_door.generate_token(
            headers={"Authorization": f"Bearer {FUNCTION_KEY}"}, body={"keyType": FUNCTION_KEY}
        ),
        await front_door.generate_token(query={"code": FUNCTION_KEY, "format": FUNCTION_KEY}),
        await front_door.generate_token(body=FUNCTION_KEY.encode()),
    ]
    detector.assert_silent(*(said for answer in answers for said in said_by(answer)))


async def test_no_value_that_holds_a_token_prints_it(detector: Detector) -> None:
    answer = await front_door.generate_token(body={"lifetime": "P1D"})
    token = GatewayToken.parse(front_door.document(answer)["value"])
    ownership = Ownership("contoso-apim/edge-01", KeyType.PRIMARY, EXPIRY)
    holders: list[object] = [
        token,
        token.value,
        token.header_value(),
        env_file(token),
        kubernetes_secret(token, ownership, SecretName()),
        Issued(GatewayRef("contoso", "edge-01"), ownership, token),
    ]
    detector.assert_silent(*(text for stored in holders for text in (repr(stored), str(stored), f"{stored}")))


async def test_the_settings_and_what_is_made_of_them_print_no_secret(
    detector: Detector, emulator: Emulator
) -> None:
    await front_door.generate_token()
    app = gateway_app.current()
    detector.assert_silent(repr(app), repr(app.settings), repr(vars(app.gateways)))
    assert emulator.azure.bearers


# The detector itself


async def test_the_loggers_that_could_leak_are_heard(detector: Detector) -> None:
    await front_door.generate_token()
    assert {"gateway_tokens", "azure.core.pipeline.policies.http_logging_policy"} <= detector.heard.loggers
    # Pinned above the warnings that quote the identity endpoint's answer.
    assert logging.getLogger("azure.identity").level == logging.ERROR


@pytest.fixture
def leak(detector: Detector) -> str:
    detector.keep_secret(signature_of(SOME_TOKEN))
    return SOME_TOKEN


async def test_a_seeded_leak_is_found_in_a_message(detector: Detector, leak: str) -> None:
    logging.getLogger("some.library").debug("the answer was %s", leak)
    with pytest.raises(AssertionError):
        detector.assert_silent()


async def test_a_seeded_leak_is_found_in_an_attribute_of_a_record(detector: Detector, leak: str) -> None:
    logging.getLogger("gateway_tokens").info("issued", extra={"token": leak})
    with pytest.raises(AssertionError):
        detector.assert_silent()


async def test_a_seeded_leak_is_found_in_the_chain_of_a_logged_exception(
    detector: Detector, leak: str
) -> None:
    error = RuntimeError("harmless")
    error.__cause__ = ValueError(leak)
    logging.getLogger("gateway_tokens").error("failed", exc_info=error)
    with pytest.raises(AssertionError):
        detector.assert_silent()


async def test_a_seeded_leak_is_found_when_only_half_of_the_signature_shows(
    detector: Detector, leak: str
) -> None:
    with pytest.raises(AssertionError):
        detector.assert_silent(leak[: len(leak) // 2])


async def test_a_seeded_leak_is_found_in_the_sdks_own_exception(
    detector: Detector, emulator: Emulator, leak: str
) -> None:
    # What the shell keeps from passing on: the SDK's exceptions quote the body.
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - the leak needs it, nothing else here

    emulator.azure.faults.add(lasting(status=200, headers=JSON, body=leak))
    azure = AzureAccess(read_settings(estate.environment(emulator)))
    contoso = estate.CONTOSO
    client = azure.api_management(contoso.subscription_id)
    with pytest.raises(AzureError) as error:
        await client.gateway.generate_token(
            contoso.resource_group, contoso.name, "edge-01", io.BytesIO(b"{}")
        )
    await azure.close()
    with pytest.raises(AssertionError):
        detector.assert_silent(*told(error.value))
