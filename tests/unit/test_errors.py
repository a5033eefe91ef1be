"""The tree of errors: codes are stable, the docstring draws the real tree, every class has a status."""

import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from gateway_tokens import errors
from gateway_tokens.errors import AzureFacts, Fault, GatewayTokensError
from gateway_tokens.http.answers import STATUS

CODES = {
    "GatewayTokensError": "gateway_tokens_error",
    "SettingsInvalid": "settings_invalid",
    "WrongPython": "wrong_python",
    "RequestInvalid": "request_invalid",
    "SignInRequired": "sign_in_required",
    "AccessDenied": "access_denied",
    "NotFound": "not_found",
    "NotManaged": "not_managed",
    "EventInvalid": "event_invalid",
    "MessageInvalid": "message_invalid",
    "RenewalFailed": "renewal_failed",
    "TooManyRequests": "too_many_requests",
    "TokenUnusable": "token_unusable",
    "AzureError": "azure_error",
    "AzureForbidden": "azure_forbidden",
    "AzureRejected": "azure_rejected",
    "AzureBlocked": "azure_blocked",
    "AzureNotFound": "azure_not_found",
    "AzureThrottled": "azure_throttled",
    "AzureUnavailable": "azure_unavailable",
    "IdentityUnavailable": "identity_unavailable",
    "SigningKeysUnavailable": "signing_keys_unavailable",
    "DestinationError": "destination_error",
    "NotOwned": "not_owned",
    "DestinationBlocked": "destination_blocked",
    "WriteConflict": "write_conflict",
    "NotVerified": "not_verified",
    "SignInRefused": "sign_in_refused",
    "NotRestarted": "not_restarted",
    "NotPickedUp": "not_picked_up",
}
STATUSES = {
    "SettingsInvalid": 500,
    "WrongPython": 503,
    "RequestInvalid": 400,
    "SignInRequired": 401,
    "AccessDenied": 403,
    "NotFound": 404,
    "NotManaged": 409,
    "EventInvalid": 502,
    "MessageInvalid": 502,
    "RenewalFailed": 502,
    "TooManyRequests": 429,
    "TokenUnusable": 502,
    "AzureError": 502,
    "AzureForbidden": 502,
    "AzureRejected": 400,
    "AzureBlocked": 502,
    "AzureNotFound": 502,
    "AzureThrottled": 503,
    "AzureUnavailable": 503,
    "IdentityUnavailable": 503,
    "SigningKeysUnavailable": 503,
    "DestinationError": 502,
    "NotOwned": 502,
    "DestinationBlocked": 502,
    "WriteConflict": 502,
    "NotVerified": 502,
    "SignInRefused": 502,
    "NotRestarted": 502,
    "NotPickedUp": 502,
}


def tree(
    kind: type[GatewayTokensError] = GatewayTokensError, depth: int = 0
) -> Iterator[tuple[int, str, str]]:
    """Each public class as depth, name and code, parents first; a private class counts as its parent."""
    public = not kind.__name__.startswith("_")
    if public:
        yield depth, kind.__name__, kind.code
    for child in kind.__subclasses__():
        yield from tree(child, depth + public)


def drawn() -> list[tuple[int, str, str]]:
    """The tree of the docstring, as depth, name and code."""
    rows = re.findall(r"^([│├└─ ]*)(\w+)(?: +([a-z_]+) {2,}.*)?$", errors.__doc__ or "", re.MULTILINE)
    return [
        (len(indent) // 4, name, code) for indent, name, code in rows if code or name == "GatewayTokensError"
    ]


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    real = [(depth, name, code if depth else "") for depth, name, code in tree()]
    assert sorted(drawn()) == sorted(real)


def test_the_docstring_lists_children_under_their_parents() -> None:
    parents: dict[int, str] = {}
    for depth, name, _ in drawn():
        parents[depth] = name
        if depth:
            bases = {base.__name__ for base in getattr(errors, name).__mro__}
            assert parents[depth - 1] in bases


def test_codes_are_those_that_callers_know() -> None:
    assert {name: code for _, name, code in tree()} == CODES


def test_no_two_classes_share_a_code() -> None:
    codes = [code for _, _, code in tree()]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_every_class_has_its_status(name: str, status: int) -> None:
    kind = getattr(errors, name)
    assert next(STATUS[base] for base in kind.__mro__ if base in STATUS) == status


def test_no_class_was_left_without_a_status_here() -> None:
    assert {name for _, name, _ in tree()} == {"GatewayTokensError", *STATUSES}


def test_the_root_has_a_status_so_that_every_class_does() -> None:
    assert STATUS[GatewayTokensError] == HTTPStatus.BAD_GATEWAY


@pytest.mark.parametrize("kind", [errors.SettingsInvalid, errors.RequestInvalid])
def test_faults_are_kept_and_all_told(kind: type[errors.SettingsInvalid | errors.RequestInvalid]) -> None:
    error = kind([Fault("a.b", "required"), Fault("c", "unknown field")])
    assert error.faults == (Fault("a.b", "required"), Fault("c", "unknown field"))
    assert str(error).endswith("invalid: a.b: required; c: unknown field")


def test_access_denied_says_the_missing_permission_and_where() -> None:
    assert "'issue' on 'contoso/edge-01'" in str(errors.AccessDenied("issue", "contoso/edge-01"))


def test_access_denied_says_what_it_was_given_to_say() -> None:
    assert str(errors.AccessDenied("issue", "contoso/edge-01", "Ask for less.")) == "Ask for less."


def test_not_found_says_where_names_are_listed() -> None:
    assert "GET services/{service}/gateways" in str(errors.NotFound("contoso/edge-01"))


def test_an_azure_error_says_operation_status_code_and_request_id() -> None:
    facts = AzureFacts(409, "Conflict", "message that may quote a body", request_id="r-1")
    said = str(errors.AzureRejected("Issuing", facts))
    assert (
        said
        == "Issuing failed: 409 Conflict. Azure found the request invalid: a name or value that it does not allow. (request id r-1)"
    )


def test_an_azure_error_without_an_answer_says_so() -> None:
    assert str(errors.AzureUnavailable("Issuing", AzureFacts())).startswith("Issuing failed: no answer. ")


def test_a_forbidden_operation_names_the_action_and_scope_that_the_identity_lacks() -> None:
    error = errors.AzureForbidden(
        "Issuing", AzureFacts(403), "gateways/generateToken/action", "/subscriptions/1"
    )
    assert "'gateways/generateToken/action' at '/subscriptions/1'" in str(error)
    assert (error.action, error.scope) == ("gateways/generateToken/action", "/subscriptions/1")


@pytest.mark.parametrize(
    ("action", "role"),
    [
        ("Microsoft.ApiManagement/service/gateways/read", "Gateway token issuer"),
        ("Microsoft.KeyVault/vaults/secrets/setSecret/action", "Gateway token secret writer"),
        ("get secrets", ""),
    ],
)
def test_a_forbidden_operation_names_the_role_that_grants_it(action: str, role: str) -> None:
    error = errors.AzureForbidden("Doing it", AzureFacts(403), action, "/subscriptions/1")
    assert error.role == role
    assert (f"such as '{role}'" in str(error)) is bool(role)


def test_a_destination_error_says_the_place_first() -> None:
    assert str(errors.NotOwned("vault/secrets/a", "somebody else's")) == "vault/secrets/a: somebody else's"
