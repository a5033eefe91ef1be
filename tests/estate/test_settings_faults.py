"""Every kind of fault in the settings document has its path, and all are told together."""

import json
import re
from typing import Any

import pytest

from gateway_tokens.estate import faults
from gateway_tokens.estate.faults import read_estate
from tests.samples import (
    CLUSTER,
    DESIGN_EXAMPLE,
    KINDS,
    NO_DURATION,
    SERVICE,
    VAULT,
    document,
    faults_of,
)

RULE = "services.contoso.gateways.*"
OTHER_SERVICE = SERVICE.replace("contoso-apim", "fabrikam-apim")
KEY_VAULT = {"kind": "keyVault", "vault": VAULT}
KUBERNETES = {"kind": "kubernetes", "server": "https://k"}
ENTRA_CLUSTER = {"kind": "kubernetes", "cluster": CLUSTER}
MANAGED = "must be between one day (P1D) and 30 days (P30D)"
GRANTED = "must be between one minute (PT1M) and 30 days (P30D)"
WINDOW = "renewBefore must be longer than zero and shorter than lifetime"
MARGIN = "riskMargin must be longer than zero and shorter than renewBefore"
PLACEHOLDERS = "must be a name of letters, digits and hyphens, such as {gateway}-token, 127 characters at most; it may hold {service} and {gateway}"
KUBERNETES_NAME = (
    "must be a name of small letters, digits and inner hyphens, and of dots between these, such as {gateway}-token, "
    "253 characters at most; it may hold {service} and {gateway}"
)
NO_CLUSTER = "is neither a resource id nor a name in `clusters`"
NOBODY = "must name an appRole, objectId, clientId or functionKey: true"
NOT_ALONE = "functionKey must be alone: a caller who sends a bearer token is identified by the token only"
AT_LEAST = "must have at least 1 character"
NO_ENTRA = "has `cluster` and `signIn`: a cluster that does not use Entra needs `server`"
USE_DOCKER = "the kind file is not supported any more: see 'Docker' in docs/recipes.md"
USE_CONTAINER_APPS = (
    "the kind containerApp is not supported any more: "
    "see 'Container Apps with a Key Vault reference' in docs/recipes.md"
)


def vault(secret: str, address: str = VAULT) -> dict[str, Any]:
    return {"destinations": [{"kind": "keyVault", "vault": address, "secret": secret}]}


def destination(**fields: object) -> dict[str, Any]:
    return document(any_gateway={"destinations": [fields]})


def access(**changes: object) -> dict[str, Any]:
    rule = {"caller": {"appRole": "r"}, "gateways": ["contoso/*"], "allow": ["issue"], **changes}
    return {**document(any_gateway={}), "access": [rule]}


def two_services(contoso: dict[str, Any], fabrikam: dict[str, Any]) -> dict[str, Any]:
    return {
        "services": {
            "contoso": {"resourceId": SERVICE, "gateways": contoso},
            "fabrikam": {"resourceId": OTHER_SERVICE, "gateways": fabrikam},
        }
    }


def paths_of(value: object) -> list[str]:
    return [path for path, _ in faults_of(value)]


def test_a_document_at_its_boundaries_has_no_fault() -> None:
    rules: list[dict[str, Any]] = [
        {"lifetime": "P1D"},
        {"lifetime": "P30D"},
        {"lifetime": "P7D", "renewBefore": "P6DT23H59M59S"},
        {"renewBefore": "PT2S"},
        {"riskMargin": "P9DT23H59M59S"},
        {"riskMargin": "PT1S"},
        {"renewBefore": None, "riskMargin": None},
        {"destinations": [{**KEY_VAULT, "vault": VAULT + "/", "secret": "{gateway}" + "a" * 118}]},
        {"destinations": [{**KEY_VAULT, "vault": "https://" + "a" * 247, "form": "token", "adopt": True}]},
        {"destinations": [{**KEY_VAULT, "vault": "https://127.0.0.1:8443"}]},
        {"destinations": [{**ENTRA_CLUSTER, "layout": "envFrom"}]},
    ]
    for rule in rules:
        assert faults_of(document(any_gateway=rule)) == []
    for pattern in ("contoso/*", "CONTOSO/edge", "*/*", "con*/a", "contoso/" + "a" * 80):
        assert faults_of(access(gateways=[pattern], maxLifetime="PT1M")) == []
    assert faults_of(DESIGN_EXAMPLE) == []


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("", "GATEWAY_TOKENS", "is empty: a JSON object is expected"),
        ("[]", "GATEWAY_TOKENS", "must be an object"),
        ("{}", "services", "required"),
        ('{"services": {"a": {}}}', "services.a.resourceId", "required"),
        ('{"services": {}, "acess": []}', "acess", "unknown field. Did you mean 'access'?"),
    ],
)
def test_a_document_of_another_shape_is_a_fault(text: str, path: str, said: str) -> None:
    assert faults_of(text) == [(path, said)]


def test_names_and_patterns_follow_azures_patterns() -> None:
    for name in ("a", "A1", "a-1", "a" * 50):
        assert faults_of({"services": {name: {"resourceId": SERVICE}}}) == []
    for name in ("1a", "a-", "-a", "a b", "a_b", "", "a/b", "a*", "a" * 51, "a\n"):
        assert paths_of({"services": {name: {"resourceId": SERVICE}}}) == [f"services.{name}"]
    for pattern in ("*", "a" * 80, "A.b_c~d-*"):
        assert faults_of(document(**{pattern: {}})) == []
    for pattern in ("a b", "", "a/b", "a" * 81, "a?", "a\n"):
        assert paths_of(document(**{pattern: {}})) == [f"services.contoso.gateways.{pattern}"]
    for pattern in ("contoso", "contoso/", "/edge", "a/b/c", "contoso/a b", "contoso/" + "a" * 81, ""):
        assert paths_of(access(gateways=[pattern])) == ["access[0].gateways[0]"]


def test_a_resource_id_names_an_api_management_service() -> None:
    [(path, said)] = faults_of({"services": {"contoso": {"resourceId": SERVICE + "\n"}}})
    assert path == "services.contoso.resourceId"
    assert said.startswith("must be /subscriptions/{id}/")


@pytest.mark.parametrize(
    ("rule", "at", "said"),
    [
        ({"lifetime": "PT23H59M59S"}, ".lifetime", MANAGED),
        ({"lifetime": "P30DT1S"}, ".lifetime", MANAGED),
        ({"lifetime": "P1M"}, ".lifetime", NO_DURATION),
        ({"renewBefore": "P30D"}, "", WINDOW),
        ({"renewBefore": "P0D"}, "", WINDOW),
        ({"lifetime": "P7D", "renewBefore": "P7D"}, "", WINDOW),
        ({"riskMargin": "P10D"}, "", MARGIN),
        ({"riskMargin": "P0D"}, "", MARGIN),
        ({"renewBefore": "P4D", "riskMargin": "P4D"}, "", MARGIN),
        ({"renew": "false"}, ".renew", "must be true or false"),
        ({"keyType": "Primary"}, ".keyType", "must be 'primary' or 'secondary'"),
    ],
)
def test_a_faulty_rule_is_named_by_its_path(rule: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(document(any_gateway=rule)) == [(RULE + at, said)]


@pytest.mark.parametrize(
    ("fields", "at", "said"),
    [
        ({}, ".kind", "required"),
        (
            {"kind": "vault"},
            ".kind",
            f"must be one of {KINDS}",
        ),
        ({"kind": "keyVault"}, ".vault", "required"),
        ({**KEY_VAULT, "secret": "{gateways}"}, ".secret", PLACEHOLDERS),
        ({**KEY_VAULT, "secret": "{gateway"}, ".secret", PLACEHOLDERS),
        ({**KEY_VAULT, "secret": "gateway}"}, ".secret", PLACEHOLDERS),
        ({"kind": "kubernetes"}, "", "needs either `server` or `cluster`"),
        ({**ENTRA_CLUSTER, "server": "https://k"}, "", "needs either `server` or `cluster`"),
        ({**ENTRA_CLUSTER, "signIn": {"vault": VAULT, "secret": "sa"}}, "", NO_ENTRA),
        ({**KUBERNETES, "restart": {}}, ".restart.name", "required"),
        ({**KUBERNETES, "restart": "edge"}, ".restart", "must be an object"),
        ({**KUBERNETES, "restart": []}, ".restart", "must not be empty"),
        ({**KUBERNETES, "restart": [{"name": "a"}, {}]}, ".restart[1].name", "required"),
        ({**KUBERNETES, "secret": "-x"}, ".secret", KUBERNETES_NAME),
        ({"kind": "kubernetes", "cluster": "plant"}, ".cluster", NO_CLUSTER),
        ({"kind": "file"}, "", USE_DOCKER),
        ({"kind": "containerApp"}, "", USE_CONTAINER_APPS),
    ],
)
def test_a_faulty_destination_is_named_by_its_path(fields: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(destination(**fields)) == [(f"{RULE}.destinations[0]{at}", said)]


def test_a_value_that_breaks_its_pattern_is_named_by_its_path() -> None:
    addresses = ["http://a", f"{VAULT}/secrets", "https://user:word@a", "https://", f"{VAULT}\n"]
    for fields, field, values in (
        (KEY_VAULT, "vault", [*addresses, "https://" + "a" * 248]),
        (KEY_VAULT, "secret", ["", "{gateway}_token", "{gateway}" + "a" * 119]),
        (KEY_VAULT, "form", ["bare"]),
        (KUBERNETES, "namespace", ["Default", "-x", "x-", "a.b", "a" * 64]),
        (KUBERNETES, "secret", ["{gateway}_t", "-x", "a..b", "a.-b", ".a", "a-.b", "{x}", "a" * 254]),
        (KUBERNETES, "layout", ["Helm"]),
        ({"kind": "kubernetes"}, "cluster", [SERVICE]),
    ):
        for value in values:
            found = paths_of(destination(**{**fields, field: value}))
            assert found == [f"{RULE}.destinations[0].{field}"]
    restart = destination(**KUBERNETES, restart={"kind": "Pod", "name": "a"})
    assert paths_of(restart) == [f"{RULE}.destinations[0].restart.kind"]


@pytest.mark.parametrize(
    ("changes", "at", "said"),
    [
        ({"caller": {}}, ".caller", NOBODY),
        ({"caller": {"functionKey": False}}, ".caller", NOBODY),
        ({"caller": {"appRole": ""}}, ".caller.appRole", AT_LEAST),
        ({"caller": {"functionKey": True, "appRole": "r"}}, ".caller", NOT_ALONE),
        ({"caller": {"functionKey": True, "objectId": "o"}}, ".caller", NOT_ALONE),
        ({"caller": {"functionKey": True, "clientId": "c"}}, ".caller", NOT_ALONE),
        ({"gateways": []}, ".gateways", "must not be empty"),
        ({"gateways": ["fabrikam/*"]}, ".gateways[0]", "'fabrikam/*' matches no declared service"),
        ({"allow": []}, ".allow", "must not be empty"),
        ({"allow": ["Issue"]}, ".allow[0]", "must be 'issue', 'renew', 'read' or 'revoke'"),
        ({"maxLifetime": "PT59S"}, ".maxLifetime", GRANTED),
        ({"maxLifetime": "P30DT1S"}, ".maxLifetime", GRANTED),
    ],
)
def test_a_faulty_access_rule_is_named_by_its_path(changes: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(access(**changes)) == [(f"access[0]{at}", said)]


def test_access_to_a_service_that_is_faulty_itself_is_no_fault() -> None:
    declared: tuple[tuple[object, bool], ...] = (({"contoso": 5}, True), (["contoso"], False), ({}, False))
    for services, is_declared in declared:
        assert ("access[0].gateways[0]" in paths_of({**access(), "services": services})) is not is_declared


def test_services_that_differ_in_case_only_and_a_window_with_its_margin_are_told_as_well() -> None:
    twice = {"services": {"contoso": {"resourceId": SERVICE}, "Contoso": {"resourceId": OTHER_SERVICE}}}
    assert faults_of(twice) == [("services", "'contoso' and 'Contoso' differ in case only")]
    rule = {"renewBefore": "P40D", "riskMargin": "P50D"}
    assert faults_of(document(any_gateway=rule)) == [(RULE, WINDOW), (RULE, MARGIN)]


def test_faults_everywhere_are_told_together() -> None:
    broken = {
        "services": {
            "contoso": {"resourceId": "x", "gateways": {"*": {"lifetime": "P31D"}, "a*": {}, "*b": {}}},
            "fabrikam": {
                "resourceId": OTHER_SERVICE,
                "gateways": {"c": vault("same"), "d": vault("same"), "e": {"renew": 1}},
            },
        },
        "access": [{"caller": {}, "gateways": ["x/*"], "allow": []}],
        "more": 1,
    }
    assert paths_of(broken) == [
        "services.contoso.resourceId",
        "services.contoso.gateways.*.lifetime",
        "services.fabrikam.gateways.e.renew",
        "access[0].caller",
        "access[0].gateways[0]",
        "access[0].allow",
        "more",
        "services.contoso.gateways",
        "services.fabrikam.gateways.d.destinations[0]",
    ]


def test_two_patterns_that_match_the_same_names_equally_well_are_a_tie() -> None:
    for one, other in (("a*", "*b"), ("edge-01", "EDGE-01"), ("*", "**"), ("*a*", "b*")):
        said = f"'{one}' and '{other}' match the same names equally well: make one more literal"
        found = faults_of(document(**{one: {}, "edge-02": {}, other: {}}))
        assert found == [("services.contoso.gateways", said)]


def test_a_tie_between_pasted_tokens_names_neither() -> None:
    pasted = "edge-01&202601010000&c2lnbmF0dXJl"
    rules: dict[str, object] = {pasted: {}, pasted.upper(): {}}
    found = faults_of({"services": {pasted: {"resourceId": SERVICE, "gateways": rules}}})
    assert any("equally well" in message for _, message in found)
    assert not any("202601010000" in path + message for path, message in found)


def test_patterns_that_differ_in_weight_or_never_meet_are_no_tie() -> None:
    for one, other in (("a*", "b*"), ("a*", "*bc"), ("ab", "a*"), ("edge-01", "edge-02")):
        assert faults_of(document(**{one: {}, other: {}})) == []
    assert faults_of(two_services({"*": {}}, {"*": {}})) == []


FIXED, BY_SERVICE, BY_GATEWAY, BY_BOTH = map(vault, ("x", "{service}", "{gateway}", "{service}-{gateway}"))
ELSEWHERE = vault("x", "https://fabrikam.vault.azure.net")
SPELLED_DIFFERENTLY = vault("X", "https://CONTOSO.VAULT.AZURE.NET/")
TWICE, GATEWAY_TWICE = ({"destinations": rule["destinations"] * 2} for rule in (FIXED, BY_GATEWAY))
# The rules of two services, and of two rows that can write the same location the later and the earlier.
SHARED_PLACES: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "one gateway has a location twice": ({"a": TWICE}, {}, "contoso a 1", "contoso a 0"),
    "one pattern has its gateways' locations twice": ({"*": GATEWAY_TWICE}, {}, "contoso * 1", "contoso * 0"),
    "it is named after a service": ({"a": BY_SERVICE, "b": BY_SERVICE}, {}, "contoso b 0", "contoso a 0"),
    "two services have one location": ({"a": FIXED}, {"b": FIXED}, "fabrikam b 0", "contoso a 0"),
    "patterns of two services meet": ({"*": BY_GATEWAY}, {"a*": BY_GATEWAY}, "fabrikam a* 0", "contoso * 0"),
    "case and slash differ": ({"a": FIXED, "b": SPELLED_DIFFERENTLY}, {}, "contoso b 0", "contoso a 0"),
    "two services have locations named after them": ({"a": BY_SERVICE}, {"a": BY_SERVICE}, "", ""),
    "two patterns have locations named after gateways": ({"*": BY_GATEWAY, "a": BY_GATEWAY}, {}, "", ""),
    "patterns of two services never meet": ({"a-*": BY_GATEWAY}, {"b-*": BY_GATEWAY}, "", ""),
    "patterns have locations named after both": ({"*": BY_BOTH}, {"*": BY_BOTH}, "", ""),
    "the same secret is in two vaults": ({"a": FIXED, "b": ELSEWHERE}, {}, "", ""),
    "one of the gateways is not renewed": ({"a": FIXED, "b": {"renew": False, **FIXED}}, {}, "", ""),
}


def row(text: str) -> str:
    service, pattern, index = text.split()
    return f"services.{service}.gateways.{pattern}.destinations[{index}]"


@pytest.mark.parametrize(
    ("contoso", "fabrikam", "later", "earlier"), SHARED_PLACES.values(), ids=SHARED_PLACES
)
def test_two_rows_that_can_write_the_same_place_are_a_fault(
    contoso: dict[str, Any], fabrikam: dict[str, Any], later: str, earlier: str
) -> None:
    found = faults_of(two_services(contoso, fabrikam))
    if later:
        assert found == [(row(later), f"can write the same location as {row(earlier)}: set them apart")]
    else:
        assert found == []


def test_a_pattern_whose_gateways_would_all_write_one_place_is_a_fault() -> None:
    said = "every gateway of '*' would write the same location: add {gateway}"
    for secret in ("fixed", "{service}"):
        assert faults_of(document(any_gateway=vault(secret))) == [(f"{RULE}.destinations[0]", said)]


def restarting(*names: str, **fields: object) -> dict[str, Any]:
    """A rule that restarts the workloads of these names, `kind:name` unless a Deployment."""
    restart = [
        {"kind": kind or "Deployment", "name": name} for kind, _, name in (n.rpartition(":") for n in names)
    ]
    return {"destinations": [{**KUBERNETES, "secret": "{service}-{gateway}", "restart": restart, **fields}]}


EDGE, ANY = "Deployment default/edge in https://k", "Deployment default/{gateway} in https://k"


def test_a_workload_that_several_rows_restart_is_a_fault_that_names_it_and_both_rows() -> None:
    each, first = restarting("{gateway}"), row("contoso a 0")
    cases: tuple[tuple[dict[str, Any], dict[str, Any], str, str], ...] = (
        ({"*": restarting("edge")}, {}, "*", f"every gateway of '*' would restart {EDGE}: add {{gateway}}"),
        ({"a": restarting("edge", "edge")}, {}, "a", f"restarts {EDGE} twice: name it once"),
        (
            {"a": restarting("other", "edge"), "b": restarting("edge")},
            {},
            "b",
            f"can restart {EDGE}, as {first} can: let one row restart it",
        ),
        ({"a": each}, {"*": each}, "*", f"can restart {ANY}, as {first} can: let one row restart it"),
    )
    for contoso, fabrikam, pattern, said in cases:
        later = row(f"{'fabrikam' if fabrikam else 'contoso'} {pattern} 0")
        assert faults_of(two_services(contoso, fabrikam)) == [(later, said)]


def test_workloads_of_different_kinds_names_and_namespaces_are_apart() -> None:
    rules = {
        "a": restarting("edge", "StatefulSet:edge", "DaemonSet:edge", "Rollout:edge"),
        "b": restarting("edge", namespace="other"),
        "c": {**restarting("edge"), "renew": False},
        "d-*": restarting("{gateway}"),
        "e-*": restarting("{gateway}"),
    }
    assert faults_of(two_services(rules, {})) == []


def with_every(name: str, value: object) -> Any:  # noqa: ANN401 - JSON
    """The design's example with that value for every field of that name."""
    text = json.dumps(DESIGN_EXAMPLE)
    return json.loads(text, object_hook=lambda part: part | {name: value} if name in part else part)


def test_no_fault_shows_a_regular_expression() -> None:
    # Whatever its kind: a text that no pattern matches.
    names = set(re.findall(r'"([^"]+)":', json.dumps([DESIGN_EXAMPLE, KUBERNETES])))
    names |= {"server", "cluster", "namespace", "secret", "vault", "kind"}
    wrong = {"name": "_ ?", **dict.fromkeys(names, "_ ?")}
    rows: list[dict[str, object]] = [
        {**wrong, "kind": "keyVault"},
        {**wrong, "kind": "kubernetes", "restart": wrong, "signIn": wrong},
    ]
    for value in (
        *(destination(**fields) for fields in rows),
        access(gateways=["?"]),
        document(**{"?": {}}),
        {**document(), "clusters": {"A": {"server": "?"}}},
    ):
        messages = [message for _, message in faults_of(value)]
        assert messages
        assert not [message for message in messages if re.search(r"\[a-z|pattern '|\^", message)], messages


def test_a_misspelt_name_gets_a_hint_and_a_misplaced_one_is_told_as_such() -> None:
    for name, hint in (
        ("renewbefore", "unknown field. Did you mean 'renewBefore'?"),
        ("destination", "unknown field. Did you mean 'destinations'?"),
        ("namespace", "unknown field: 'namespace' belongs to another part"),
        ("xyz", "unknown field"),
    ):
        assert faults_of(document(any_gateway={name: 1})) == [(f"{RULE}.{name}", hint)]


def test_no_fault_repeats_a_wrong_value() -> None:
    names = set(re.findall(r'"([^"]+)":', json.dumps(DESIGN_EXAMPLE))) - {"appRole", "objectId"}  # any text
    for name in sorted(names):
        for value in ("GatewayKey tok-3n", ["tok-3n"], {"tok-3n": 5.5}, 555_666):
            found = faults_of(with_every(name, value))
            assert found
            assert not any(leak in said for _, said in found for leak in ("tok-3n", "5.5", "555666"))


def test_a_thousand_names_are_read_without_comparing_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(one: str, other: str) -> bool:
        compared.append(one + other)
        return False

    monkeypatch.setattr(faults, "overlap", counted)
    monkeypatch.setattr(faults._Row, "__eq__", lambda one, other: counted(one.path, other.path))
    rule = {"destinations": [{"kind": "keyVault", "vault": "https://a.vault.azure.net"}]}
    names = {f"edge-{number:04}": rule for number in range(1000)}
    read_estate(json.dumps(document(**names, any_gateway=rule)))
    assert len(compared) < 10
