"""Every kind of fault in the settings document has its path, and all are told together."""

import json
from typing import Any

import pytest

from gateway_tokens.estate import faults
from gateway_tokens.estate.faults import read_estate
from tests.unit.samples import DESIGN_EXAMPLE, SERVICE, SUBSCRIPTION, VAULT, document, faults_of

RULE = "services.contoso.gateways.*"
OTHER_SERVICE = SERVICE.replace("contoso-apim", "fabrikam-apim")
CLUSTER = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/r/providers/Microsoft.ContainerService/managedClusters/c"
)
DURATION = "must be an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as P30D"
MANAGED = "must be between one day (P1D) and 30 days (P30D)"
GRANTED = "must be between one minute (PT1M) and 30 days (P30D)"
WINDOW = "renewBefore must be longer than zero and shorter than lifetime"
MARGIN = "riskMargin must be longer than zero and shorter than renewBefore"
PLACEHOLDERS = "may hold the placeholders {service} and {gateway} only"


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


def test_the_designs_example_has_no_fault() -> None:
    assert faults_of(DESIGN_EXAMPLE) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ("GATEWAY_TOKENS", "is not JSON: Expecting value at line 1 column 1")),
        ("[]", ("GATEWAY_TOKENS", "must be an object")),
        ("null", ("GATEWAY_TOKENS", "must be an object")),
        ('"{}"', ("GATEWAY_TOKENS", "must be an object")),
        ("{}", ("services", "required")),
        ('{"services": {}, "services": {}}', ("GATEWAY_TOKENS", "'services' is given twice")),
        ('{"services": []}', ("services", "must be an object")),
        ('{"services": {"a": 5}}', ("services.a", "must be an object")),
        ('{"services": {"a": {}}}', ("services.a.resourceId", "required")),
        ('{"services": {}, "access": {}}', ("access", "must be an array")),
        ('{"services": {}, "acess": []}', ("acess", "unknown field")),
    ],
)
def test_a_document_of_another_shape_is_a_fault(text: str, fault: tuple[str, str]) -> None:
    assert faults_of(text) == [fault]


@pytest.mark.parametrize("name", ["1a", "a-", "-a", "a b", "a_b", "", "a/b", "a*", "a" * 51, "a\n"])
def test_a_services_name_follows_azures_pattern(name: str) -> None:
    assert [path for path, _ in faults_of({"services": {name: {"resourceId": SERVICE}}})] == [
        f"services.{name}.[key]"
    ]


@pytest.mark.parametrize("name", ["a", "A1", "a-1", "a" * 50])
def test_a_services_name_at_the_patterns_boundary_is_sound(name: str) -> None:
    assert faults_of({"services": {name: {"resourceId": SERVICE}}}) == []


@pytest.mark.parametrize("resource_id", ["contoso-apim", SERVICE + "/", SERVICE + "\n", ""])
def test_a_resource_id_names_an_api_management_service(resource_id: str) -> None:
    [(path, said)] = faults_of({"services": {"contoso": {"resourceId": resource_id}}})
    assert path == "services.contoso.resourceId"
    assert said.startswith("must be /subscriptions/{id}/")


@pytest.mark.parametrize("pattern", ["a b", "", "a/b", "a" * 81, "a?", "a\n"])
def test_a_gateway_pattern_holds_a_names_characters_and_stars(pattern: str) -> None:
    assert [path for path, _ in faults_of(document(**{pattern: {}}))] == [
        f"services.contoso.gateways.{pattern}.[key]"
    ]


@pytest.mark.parametrize("pattern", ["*", "a" * 80, "A.b_c~d-*"])
def test_a_gateway_pattern_at_its_boundary_is_sound(pattern: str) -> None:
    assert faults_of(document(**{pattern: {}})) == []


@pytest.mark.parametrize(
    ("rule", "at", "said"),
    [
        ({"lifetime": "PT23H59M59S"}, ".lifetime", MANAGED),
        ({"lifetime": "P30DT1S"}, ".lifetime", MANAGED),
        ({"lifetime": "P1M"}, ".lifetime", DURATION),
        ({"lifetime": 30}, ".lifetime", DURATION),
        ({"lifetime": True}, ".lifetime", DURATION),
        ({"renewBefore": "10"}, ".renewBefore", DURATION),
        ({"riskMargin": "10"}, ".riskMargin", DURATION),
        ({"renewBefore": "P30D"}, "", WINDOW),
        ({"renewBefore": "P0D"}, "", WINDOW),
        ({"lifetime": "P7D", "renewBefore": "P7D"}, "", WINDOW),
        ({"lifetime": "P7D", "renewBefore": "P8D"}, "", WINDOW),
        ({"riskMargin": "P10D"}, "", MARGIN),
        ({"riskMargin": "P0D"}, "", MARGIN),
        ({"renewBefore": "P4D", "riskMargin": "P4D"}, "", MARGIN),
        ({"renew": "false"}, ".renew", "must be true or false"),
        ({"keyType": "Primary"}, ".keyType", "input should be 'primary' or 'secondary'"),
        ({"renewbefore": "P1D"}, ".renewbefore", "unknown field"),
        ({"destinations": {}}, ".destinations", "must be an array"),
        ({"destinations": [7]}, ".destinations[0]", "must be an object"),
    ],
)
def test_a_faulty_rule_is_named_by_its_path(rule: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(document(any_gateway=rule)) == [(RULE + at, said)]


@pytest.mark.parametrize(
    "rule",
    [
        {"lifetime": "P1D"},
        {"lifetime": "P30D"},
        {"lifetime": "P7D", "renewBefore": "P6DT23H59M59S"},
        {"renewBefore": "PT2S"},
        {"riskMargin": "P9DT23H59M59S"},
        {"riskMargin": "PT1S"},
        {"renewBefore": None, "riskMargin": None},
    ],
)
def test_lifetime_window_and_margin_at_their_boundaries_are_sound(rule: dict[str, Any]) -> None:
    assert faults_of(document(any_gateway=rule)) == []


@pytest.mark.parametrize(
    ("fields", "at", "said"),
    [
        ({}, "", "kind: required"),
        ({"kind": "vault"}, "", "kind must be one of 'keyVault', 'kubernetes'"),
        ({"kind": "keyVault"}, ".vault", "required"),
        ({"kind": "keyVault", "vault": VAULT, "secrets": "x"}, ".secrets", "unknown field"),
        ({"kind": "keyVault", "vault": VAULT, "secret": "{gateways}"}, ".secret", PLACEHOLDERS),
        ({"kind": "keyVault", "vault": VAULT, "secret": "{gateway}-{}"}, ".secret", PLACEHOLDERS),
        ({"kind": "keyVault", "vault": VAULT, "secret": "{gateway"}, ".secret", PLACEHOLDERS),
        ({"kind": "keyVault", "vault": VAULT, "secret": "gateway}"}, ".secret", PLACEHOLDERS),
        ({"kind": "kubernetes"}, "", "needs either `server` or `cluster`"),
        (
            {"kind": "kubernetes", "server": "https://k", "cluster": CLUSTER},
            "",
            "needs either `server` or `cluster`",
        ),
        (
            {
                "kind": "kubernetes",
                "cluster": CLUSTER,
                "signIn": {"vault": "https://v.vault.azure.net", "secret": "sa"},
            },
            "",
            "has `cluster` and `signIn`: a cluster that does not use Entra needs `server`",
        ),
        ({"kind": "kubernetes", "server": "https://k", "restart": {}}, ".restart.name", "required"),
        (
            {"kind": "kubernetes", "server": "https://k", "signIn": {"vault": VAULT}},
            ".signIn.secret",
            "required",
        ),
        (
            {"kind": "containerApp", "resourceId": "x"},
            "",
            (
                "the kind containerApp is not supported any more: "
                "see 'Container Apps with a Key Vault reference' in docs/recipes.md"
            ),
        ),
        (
            {"kind": "file", "path": "/mnt/{gateway}.conf"},
            "",
            "the kind file is not supported any more: see 'Docker' in docs/recipes.md",
        ),
        ({"kind": "keyVault", "vault": VAULT, "secret": 5}, ".secret", "must be a string"),
    ],
)
def test_a_faulty_destination_is_named_by_its_path(fields: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(destination(**fields)) == [(f"{RULE}.destinations[0]{at}", said)]


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"kind": "keyVault", "vault": "http://contoso.vault.azure.net"}, ".vault"),
        ({"kind": "keyVault", "vault": "https://contoso.vault.azure.net/secrets"}, ".vault"),
        ({"kind": "keyVault", "vault": "https://user:word@contoso.vault.azure.net"}, ".vault"),
        ({"kind": "keyVault", "vault": "https://"}, ".vault"),
        ({"kind": "keyVault", "vault": VAULT + "\n"}, ".vault"),
        ({"kind": "keyVault", "vault": "https://" + "a" * 248}, ".vault"),
        ({"kind": "keyVault", "vault": VAULT, "secret": "{gateway}_token"}, ".secret"),
        ({"kind": "keyVault", "vault": VAULT, "secret": ""}, ".secret"),
        ({"kind": "keyVault", "vault": VAULT, "secret": "{gateway}" + "a" * 119}, ".secret"),
        ({"kind": "keyVault", "vault": VAULT, "form": "bare"}, ".form"),
        ({"kind": "kubernetes", "server": "https://k", "namespace": "Default"}, ".namespace"),
        ({"kind": "kubernetes", "server": "https://k", "secret": "{gateway}_t"}, ".secret"),
        ({"kind": "kubernetes", "server": "https://k", "layout": "Helm"}, ".layout"),
        (
            {"kind": "kubernetes", "server": "https://k", "restart": {"kind": "Pod", "name": "a"}},
            ".restart.kind",
        ),
        ({"kind": "kubernetes", "cluster": SERVICE}, ".cluster"),
    ],
)
def test_a_value_that_breaks_its_pattern_is_named_by_its_path(fields: dict[str, Any], at: str) -> None:
    assert [path for path, _ in faults_of(destination(**fields))] == [f"{RULE}.destinations[0]{at}"]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "keyVault", "vault": VAULT + "/", "secret": "{gateway}" + "a" * 118},
        {"kind": "keyVault", "vault": "https://" + "a" * 247, "form": "token", "adopt": True},
        {"kind": "keyVault", "vault": "https://127.0.0.1:8443"},
        {"kind": "kubernetes", "cluster": CLUSTER, "layout": "envFrom"},
    ],
)
def test_a_destination_at_its_boundary_is_sound(fields: dict[str, Any]) -> None:
    assert faults_of(destination(**fields)) == []


@pytest.mark.parametrize(
    ("changes", "at", "said"),
    [
        ({"caller": {}}, ".caller", "must name an appRole, objectId, clientId or functionKey: true"),
        (
            {"caller": {"functionKey": False}},
            ".caller",
            "must name an appRole, objectId, clientId or functionKey: true",
        ),
        (
            {"caller": {"functionKey": True, "appRole": "r"}},
            ".caller",
            "functionKey must be alone: a caller who sends a bearer token is known by the token only",
        ),
        ({"caller": {"role": "r"}}, ".caller.role", "unknown field"),
        ({"caller": {"appRole": 5}}, ".caller.appRole", "must be a string"),
        ({"caller": {"appRole": ["r"]}}, ".caller.appRole", "must be a string"),
        ({"gateways": []}, ".gateways", "must not be empty"),
        ({"gateways": "contoso/*"}, ".gateways", "must be an array"),
        ({"gateways": ["fabrikam/*"]}, ".gateways[0]", "'fabrikam/*' matches no declared service"),
        ({"allow": []}, ".allow", "must not be empty"),
        ({"allow": ["Issue"]}, ".allow[0]", "input should be 'issue', 'renew' or 'read'"),
        ({"maxLifetime": "PT59S"}, ".maxLifetime", GRANTED),
        ({"maxLifetime": "P30DT1S"}, ".maxLifetime", GRANTED),
        ({"maxLifetime": "P1M"}, ".maxLifetime", DURATION),
        ({"maxLifeTime": "P1D"}, ".maxLifeTime", "unknown field"),
    ],
)
def test_a_faulty_access_rule_is_named_by_its_path(changes: dict[str, Any], at: str, said: str) -> None:
    assert faults_of(access(**changes)) == [(f"access[0]{at}", said)]


@pytest.mark.parametrize(
    "pattern", ["contoso", "contoso/", "/edge", "a/b/c", "contoso/a b", "contoso/" + "a" * 81, ""]
)
def test_an_access_pattern_is_service_and_gateway(pattern: str) -> None:
    assert [path for path, _ in faults_of(access(gateways=[pattern]))] == ["access[0].gateways[0]"]


@pytest.mark.parametrize("trait", ["appRole", "objectId", "clientId"])
def test_a_trait_is_never_the_empty_text(trait: str) -> None:
    found = faults_of(access(caller={trait: ""}))
    assert [path for path, _ in found] == [f"access[0].caller.{trait}"]


@pytest.mark.parametrize("pattern", ["contoso/*", "CONTOSO/edge", "*/*", "con*/a", "contoso/" + "a" * 80])
def test_an_access_pattern_that_meets_a_declared_service_is_sound(pattern: str) -> None:
    assert faults_of(access(gateways=[pattern], maxLifetime="PT1M")) == []


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
    assert [path for path, _ in faults_of(broken)] == [
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


@pytest.mark.parametrize(("one", "other"), [("a*", "*b"), ("edge-01", "EDGE-01"), ("*", "**"), ("*a*", "b*")])
def test_two_patterns_that_match_the_same_names_equally_well_are_a_tie(one: str, other: str) -> None:
    assert faults_of(document(**{one: {}, other: {}})) == [
        (
            "services.contoso.gateways",
            f"'{one}' and '{other}' match the same names equally well: make one more literal",
        )
    ]


def test_a_tie_between_pasted_tokens_names_neither() -> None:
    pasted = "edge-01&202601010000&c2lnbmF0dXJl"
    rules: dict[str, object] = {pasted: {}, pasted.upper(): {}}
    found = faults_of({"services": {pasted: {"resourceId": SERVICE, "gateways": rules}}})
    assert any("equally well" in message for _, message in found)
    assert not any("202601010000" in path + message for path, message in found)


@pytest.mark.parametrize(
    ("one", "other"), [("a*", "b*"), ("a*", "*bc"), ("ab", "a*"), ("edge-01", "edge-02")]
)
def test_patterns_that_differ_in_weight_or_never_meet_are_no_tie(one: str, other: str) -> None:
    assert faults_of(document(**{one: {}, other: {}})) == []


def test_the_same_patterns_in_two_services_are_no_tie() -> None:
    assert faults_of(two_services({"*": {}}, {"*": {}})) == []


def test_services_that_differ_in_case_only_are_a_fault() -> None:
    twice = {"services": {"contoso": {"resourceId": SERVICE}, "Contoso": {"resourceId": OTHER_SERVICE}}}
    assert faults_of(twice) == [("services", "'contoso' and 'Contoso' differ in case only")]


def at(service: str, pattern: str, index: int = 0) -> str:
    return f"services.{service}.gateways.{pattern}.destinations[{index}]"


def met(later: str, earlier: str) -> list[tuple[str, str]]:
    return [(later, f"can write the same location as {earlier}: set them apart")]


def test_one_gateway_that_writes_a_place_twice_is_a_fault() -> None:
    twice = vault("a")["destinations"] * 2
    assert faults_of(document(edge={"destinations": twice})) == met(
        at("contoso", "edge", 1), at("contoso", "edge")
    )


def test_one_pattern_that_writes_its_gateways_places_twice_is_a_fault() -> None:
    twice = vault("{gateway}")["destinations"] * 2
    assert faults_of(document(any_gateway={"destinations": twice})) == met(
        at("contoso", "*", 1), at("contoso", "*")
    )


def test_two_gateways_of_one_service_in_one_fixed_place_are_a_fault() -> None:
    assert faults_of(document(a=vault("fixed"), b=vault("fixed"))) == met(
        at("contoso", "b"), at("contoso", "a")
    )


def test_two_gateways_of_one_service_in_a_place_named_after_the_service_are_a_fault() -> None:
    both = document(a=vault("{service}"), b=vault("{service}"))
    assert faults_of(both) == met(at("contoso", "b"), at("contoso", "a"))


def test_gateways_of_two_services_in_one_fixed_place_are_a_fault() -> None:
    both = two_services({"a": vault("fixed")}, {"b": vault("fixed")})
    assert faults_of(both) == met(at("fabrikam", "b"), at("contoso", "a"))


def test_gateways_of_two_services_in_places_named_after_the_services_are_sound() -> None:
    assert faults_of(two_services({"a": vault("{service}")}, {"a": vault("{service}")})) == []


def test_two_patterns_of_one_service_in_places_named_after_gateways_are_sound() -> None:
    assert faults_of(document(any_gateway=vault("{gateway}"), edge=vault("{gateway}"))) == []


def test_meeting_patterns_of_two_services_in_places_named_after_gateways_are_a_fault() -> None:
    both = two_services({"*": vault("{gateway}")}, {"edge-*": vault("{gateway}")})
    assert faults_of(both) == met(at("fabrikam", "edge-*"), at("contoso", "*"))


def test_patterns_of_two_services_that_never_meet_in_places_named_after_gateways_are_sound() -> None:
    assert faults_of(two_services({"a-*": vault("{gateway}")}, {"b-*": vault("{gateway}")})) == []


def test_patterns_of_two_services_in_places_named_after_both_are_sound() -> None:
    assert (
        faults_of(two_services({"*": vault("{service}-{gateway}")}, {"*": vault("{service}-{gateway}")}))
        == []
    )


def test_places_that_differ_in_case_or_a_final_slash_are_the_same() -> None:
    other = VAULT.upper().replace("HTTPS", "https") + "/"
    both = document(a=vault("Fixed"), b=vault("fixed", other))
    assert faults_of(both) == met(at("contoso", "b"), at("contoso", "a"))


def test_the_same_secret_in_two_vaults_is_sound() -> None:
    assert faults_of(document(a=vault("fixed"), b=vault("fixed", "https://fabrikam.vault.azure.net"))) == []


def test_gateways_that_are_left_alone_write_nowhere() -> None:
    assert faults_of(document(a=vault("fixed"), b={"renew": False, **vault("fixed")})) == []


@pytest.mark.parametrize("secret", ["fixed", "{service}"])
def test_a_pattern_whose_gateways_would_all_write_one_place_is_a_fault(secret: str) -> None:
    assert faults_of(document(any_gateway=vault(secret))) == [
        (at("contoso", "*"), "every gateway of '*' would write the same location: add {gateway}")
    ]


def test_an_exact_name_may_write_a_fixed_place() -> None:
    assert faults_of(document(edge=vault("fixed"))) == []


@pytest.mark.parametrize(
    "path",
    [
        ("services",),
        ("access",),
        ("services", "contoso"),
        ("services", "contoso", "resourceId"),
        ("services", "contoso", "gateways"),
        ("services", "contoso", "gateways", "*"),
        ("services", "contoso", "gateways", "*", "lifetime"),
        ("services", "contoso", "gateways", "*", "keyType"),
        ("services", "contoso", "gateways", "*", "destinations"),
        ("services", "contoso", "gateways", "lab-*", "renew"),
    ],
)
@pytest.mark.parametrize("value", ["GatewayKey tok-3n", ["tok-3n"], {"tok": 5.5}, 555_666])
def test_a_wrong_value_is_never_repeated(path: tuple[str, ...], value: object) -> None:
    broken = json.loads(json.dumps(DESIGN_EXAMPLE))
    part = broken
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    found = faults_of(broken)
    assert found
    assert not any(leak in said for _, said in found for leak in ("tok-3n", "5.5", "555666"))


def test_a_wrong_kind_is_not_repeated() -> None:
    assert not any("tok-3n" in said for _, said in faults_of(destination(kind="tok-3n")))


def test_a_name_ties_with_itself_in_another_case() -> None:
    rules: dict[str, Any] = {"Edge-01": {}, "edge-02": {}, "EDGE-01": {}}
    (fault,) = faults_of({"services": {"contoso": {"resourceId": SERVICE, "gateways": rules}}})
    assert fault == (
        "services.contoso.gateways",
        "'Edge-01' and 'EDGE-01' match the same names equally well: make one more literal",
    )


def test_a_thousand_names_are_read_without_comparing_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(one: str, other: str) -> bool:
        compared.append(one + other)
        return False

    monkeypatch.setattr(faults, "overlap", counted)
    destination = {"kind": "keyVault", "vault": "https://a.vault.azure.net"}
    names = {f"edge-{number:04}": {"destinations": [destination]} for number in range(1000)}
    read_estate(json.dumps(document(**names)))
    assert len(compared) < 10
