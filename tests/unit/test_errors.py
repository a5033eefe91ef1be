"""What errors say; docs/errors.md has each code and its status."""

import re

import pytest

from gateway_tokens import errors
from gateway_tokens.errors import ROLES, AzureFacts, Fault, GatewayTokensError

LOCATION = "contoso/edge-01"


def test_faults_are_kept_and_all_told() -> None:
    error = errors.RequestInvalid([Fault("a.b", "required"), Fault("c", "unknown field")])
    assert error.faults == (Fault("a.b", "required"), Fault("c", "unknown field"))
    assert str(error) == f"{error.text}: a.b: required; c: unknown field"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.EventInvalid("it has no {type}"), r".*event: it has no \{type\}\."),
        (errors.WrongPython("3.12", "3.11"), ".*built for Python 3.12, but Python 3.11 runs.*to 3.12."),
        (errors.AccessDenied("issue", LOCATION), f".*'issue' on '{LOCATION}'.*"),
        (errors.AccessDenied("issue", LOCATION, "Ask for less."), "Ask for less."),
        (errors.NotFound(LOCATION), f"'{LOCATION}'.*GET services/{{service}}/gateways."),
        (errors.NotManaged(LOCATION), f"'{LOCATION}' has no destination.*"),
        (
            errors.KeyNotActive(LOCATION, "secondary"),
            f".*'{LOCATION}'.*its secondary key.*`keyType` secondary.*",
        ),
        (errors.TooManyRequests(6), ".*Try again after 6 seconds."),
        (errors.RenewalFailed(1, 3), "1 of 3 rows failed.*"),
        (errors.RevokeStopped("primary", ["a", "b"]), "The primary key was not regenerated: 2 locations .*"),
        (errors.TokenUnusable("it is empty"), ".*token: it is empty. Nothing was delivered."),
        (errors.AzureUnavailable("Issuing", AzureFacts()), r"Issuing failed: no answer\. .*"),
        (errors.NotOwned("vault/secrets/a", "somebody else's"), "vault/secrets/a: somebody else's"),
    ],
    ids=lambda value: value.code if isinstance(value, GatewayTokensError) else "",
)
def test_an_error_says_what_its_reader_needs(error: GatewayTokensError, text: str) -> None:
    assert re.fullmatch(text, str(error))
    assert repr(error) == f"{type(error).__name__}({str(error)!r})"


def test_an_azure_error_says_operation_status_code_and_request_id_and_never_azures_message() -> None:
    error = errors.AzureRejected("Issuing", AzureFacts(409, "Conflict", "may quote a body", request_id="r-1"))
    text = f"Issuing failed: 409 Conflict. {errors.AzureRejected.advice} (request id r-1)"
    assert (str(error), error.args) == (text, (text,))


def test_a_forbidden_operation_names_action_and_scope_and_the_role_that_grants_it() -> None:
    for role, actions in (*ROLES.items(), ("", ["get secrets"])):
        error = errors.AzureForbidden("Doing it", AzureFacts(403), actions[0], "/subscriptions/1")
        assert (error.action, error.scope) == (actions[0], "/subscriptions/1")
        assert f"'{actions[0]}' at '/subscriptions/1'" in str(error)
        assert (f"such as '{error.role}'" in str(error)) is bool(role)
        assert actions[0] in ROLES.get(error.role, ["get secrets"])
