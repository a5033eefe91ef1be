"""The tree of errors as its docstring draws it, and what errors say; docs/errors.md has each code and its status."""

import re
from collections.abc import Iterator

import pytest

from gateway_tokens import errors
from gateway_tokens.errors import AzureFacts, Fault, GatewayTokensError


def tree(
    kind: type[GatewayTokensError] = GatewayTokensError, parent: str = ""
) -> Iterator[tuple[str, str, str]]:
    """Each public class as parent, name and code; a private class stands for its parent."""
    if not kind.__name__.startswith("_"):
        yield parent, kind.__name__, kind.code if parent else ""
        parent = kind.__name__
    for child in kind.__subclasses__():
        yield from tree(child, parent)


def drawn() -> Iterator[tuple[str, str, str]]:
    """The tree of the docstring, in the same form."""
    parents = {-1: ""}
    rows = re.findall(r"^([│├└─ ]*)(\w+)(?: +([a-z_]+) {2,}.*)?$", errors.__doc__ or "", re.MULTILINE)
    for indent, name, code in rows:
        if code or name == "GatewayTokensError":
            depth = len(indent) // 4
            parents[depth] = name
            yield parents[depth - 1], name, code


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert sorted(drawn()) == sorted(tree())


@pytest.mark.parametrize("kind", [errors.SettingsInvalid, errors.RequestInvalid])
def test_faults_are_kept_and_all_told(kind: type[errors.SettingsInvalid | errors.RequestInvalid]) -> None:
    error = kind([Fault("a.b", "required"), Fault("c", "unknown field")])
    assert error.faults == (Fault("a.b", "required"), Fault("c", "unknown field"))
    assert str(error).endswith("invalid: a.b: required; c: unknown field")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.AccessDenied("issue", "contoso/edge-01"), ".*'issue' on 'contoso/edge-01'.*"),
        (errors.NotFound("contoso/edge-01"), ".*GET services/{service}/gateways.*"),
        (errors.AzureUnavailable("Issuing", AzureFacts()), r"Issuing failed: no answer\. .*"),
        (errors.NotOwned("vault/secrets/a", "somebody else's"), "vault/secrets/a: somebody else's"),
    ],
    ids=["the missing permission", "where names are listed", "that no answer came", "the location"],
)
def test_an_error_says_what_its_reader_needs(error: GatewayTokensError, said: str) -> None:
    assert re.fullmatch(said, str(error))


def test_access_denied_says_the_detail_that_it_was_given() -> None:
    assert str(errors.AccessDenied("issue", "contoso/edge-01", "Ask for less.")) == "Ask for less."


def test_an_azure_error_says_operation_status_code_and_request_id_and_never_azures_message() -> None:
    facts = AzureFacts(409, "Conflict", "message that may quote a body", request_id="r-1")
    advice = (
        "Azure found a name or value in the request invalid. Correct it in the request or in the settings."
    )
    said = f"Issuing failed: 409 Conflict. {advice} (request id r-1)"
    assert str(errors.AzureRejected("Issuing", facts)) == said


@pytest.mark.parametrize(
    ("action", "role"),
    [
        ("Microsoft.ApiManagement/service/gateways/read", "Gateway token issuer"),
        ("Microsoft.KeyVault/vaults/secrets/setSecret/action", "Gateway token secret writer"),
        (
            "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
            "Storage Blob Data Owner",
        ),
        (
            "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action",
            "Gateway token cluster reader",
        ),
        ("get secrets", ""),
    ],
)
def test_a_forbidden_operation_names_action_and_scope_and_the_role_that_grants_it(
    action: str, role: str
) -> None:
    error = errors.AzureForbidden("Doing it", AzureFacts(403), action, "/subscriptions/1")
    assert (error.action, error.scope, error.role) == (action, "/subscriptions/1", role)
    assert f"'{action}' at '/subscriptions/1'" in str(error)
    assert (f"such as '{role}'" in str(error)) is bool(role)
