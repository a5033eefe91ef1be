"""What holds on every route: who is let in, what a query may hold, and the form of answers."""

import re
from typing import Any

import pytest

from emulator.faults import Fault
from emulator.host_invocation import Out
from gateway_tokens import app as gateway_app
from gateway_tokens.access import Permission
from gateway_tokens.formats import TokenFormat
from tests.callers import SIGN_IN_MODE, bearer, rule
from tests.http.renewal_app import RenewalApp
from tests.http_calls import ROUTES, Answer, call, code_of, document, generate_token, health, text

KNOWN = {"service": "contoso", "gatewayId": "edge-01", "run": "one"}
LEAK = {"keyType": "primary", "reason": "a leak"}
CALLS = [
    *((name, {}) for name in ROUTES if name != "generate_token_in_format"),
    *(("generate_token_in_format", {"format": str(token_format)}) for token_format in TokenFormat),
]
NEEDED = {
    "generate_token": Permission.ISSUE,
    "generate_token_in_format": Permission.ISSUE,
    "list_gateways": Permission.READ,
    "plan_renewals": Permission.READ,
    "show_run": Permission.READ,
    "renew_gateway": Permission.RENEW,
    "run_renewals": Permission.RENEW,
    "revoke_key": Permission.REVOKE,
}
GUARDED = [(name, more) for name, more in CALLS if name in NEEDED]


async def sent(name: str, more: dict[str, str], **how: Any) -> Answer:  # noqa: ANN401 - headers, query and path
    """The route's answer to a request that is as it should be but for what is given."""
    path = {part: value for part, value in KNOWN.items() if f"{{{part}}}" in ROUTES[name]}
    out = [Out()] if name == "run_renewals" else []
    return await call(name, LEAK if name == "revoke_key" else None, *out, **path | more | how)


@pytest.mark.usefixtures("estate")
async def test_a_function_key_may_come_in_the_query_as_the_host_takes_it_and_is_not_checked_again() -> None:
    for name, more in CALLS:
        status = (await sent(name, more)).status_code
        assert status < 400 or name == "health"
        for key in ("code", "Code"):
            assert (await sent(name, more, query={key: "sample-key"})).status_code == status


@pytest.mark.usefixtures("estate")
async def test_an_unknown_query_parameter_is_refused_by_its_name() -> None:
    for name, more in CALLS:
        for value in ("envFile", ""):
            answer = await sent(name, more, query={"fromat": value})
            assert code_of(answer) == (400, "request_invalid")
            assert document(answer)["faults"] == [{"path": "fromat", "message": "unknown query parameter"}]


async def test_a_caller_who_signs_in_may_do_what_a_rule_allows_and_nobody_else_is_told_what_a_call_takes(
    estate: RenewalApp,
) -> None:
    access = [rule("*/*", allow=(permission,), appRole=permission) for permission in Permission]
    estate.configure(*access, **SIGN_IN_MODE)
    for headers in ({}, {"x-functions-key": "k"}, {"authorization": "Bearer odd"}):
        for name, more in GUARDED:
            answer = await sent(name, more, headers=headers, query={"fromat": "x"})
            assert code_of(answer) == (401, "sign_in_required")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert estate.emulator.azure.called("arm") == []
    for name, more in GUARDED:
        headers = bearer(estate.emulator, NEEDED[name])
        assert (await sent(name, more, headers=headers)).status_code < 300


async def test_a_caller_without_the_permission_is_told_which_and_cannot_tell_what_exists(
    estate: RenewalApp,
) -> None:
    def without(answer: Answer, *names: str) -> tuple[str, dict[str, str]]:
        """What an answer says apart from the names asked for and its correlation id."""
        shown = text(answer)
        for name in (*names, answer.headers["x-correlation-id"]):
            shown = shown.replace(name, "*")
        return shown, {**answer.headers, "x-correlation-id": ""}

    for permission in Permission:
        estate.configure(rule("*/*", allow=[other for other in Permission if other != permission]))
        await gateway_app.forget()
        for name, more in GUARDED:
            if NEEDED[name] != permission:
                continue
            answers = []
            for service, gateway in (("contoso", "edge-01"), ("contoso", "edge-99"), ("nowhere", "edge-01")):
                named = {"service": service, "gatewayId": gateway} if "{gatewayId}" in ROUTES[name] else {}
                named |= {"service": service} if "{service}" in ROUTES[name] else {}
                answer = await sent(name, more, **named)
                assert code_of(answer) == (403, "access_denied")
                assert f"'{permission}'" in document(answer)["detail"]
                answers.append(without(answer, service, gateway))
            assert answers[0] == answers[1] == answers[2]
    # Nothing was looked up: the time taken tells nothing either.
    assert estate.emulator.azure.calls == []


async def test_no_answer_may_be_kept_and_every_error_is_a_problem_document_of_rfc_9457(
    estate: RenewalApp,
) -> None:
    answers = [await sent(name, more, query=query) for name, more in CALLS for query in ({}, {"x": "y"})]
    estate.emulator.azure.faults.add(Fault(host="arm", times=None, status=418))
    answers += [await generate_token(), await generate_token(service="nowhere")]
    assert {answer.status_code for answer in answers} == {200, 202, 400, 404, 502, 503}
    for answer in answers:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if answer.mimetype == "application/problem+json":
            body = document(answer)
            assert all(body[name] for name in ("title", "detail"))
            assert body["type"] == f"urn:gateway-tokens:problem:{body['code']}"
            assert body["status"] == answer.status_code
            assert body["correlationId"] == answer.headers["x-correlation-id"]
        else:
            assert answer.status_code < 400 or "problems" in document(answer)
    assert len({answer.headers["x-correlation-id"] for answer in answers}) == len(answers)


@pytest.mark.usefixtures("estate")
async def test_the_callers_own_correlation_id_is_kept_unless_it_may_harm_the_log() -> None:
    for given in ("run-17.a_B", "a" * 64):
        answer = await generate_token("edge-99", headers={"X-Correlation-Id": given})
        assert answer.headers["x-correlation-id"] == document(answer)["correlationId"] == given
    for harmful in ("", " ", "a b", "a\r\nSet-Cookie: b=c", "é", '{"event": "x"}', "a" * 65, "\x00"):
        answer = await health(headers={"x-correlation-id": harmful})
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-correlation-id"])
