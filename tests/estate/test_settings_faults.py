"""Every kind of fault in the settings document has its path, all are told together, and editors see what a schema can say."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from gateway_tokens.estate import faults
from gateway_tokens.estate.faults import read_estate
from tests.samples import CLUSTER, DESIGN_EXAMPLE, KINDS, SERVICE, VAULT, document, faults_of
from tools.schema import PATH

RULE = "services.contoso.gateways.*"
AT = f"{RULE}.destinations[0]"
FILLED_IN = SERVICE.replace("apim-rg", "{service}")
OTHER_SERVICE = SERVICE.replace("contoso-apim", "fabrikam-apim")
KEY_VAULT = {"kind": "keyVault", "vault": VAULT}
KUBERNETES = {"kind": "kubernetes", "server": "https://k"}
ENTRA_CLUSTER = {"kind": "kubernetes", "cluster": CLUSTER}
MANAGED = "must be between one day (P1D) and 30 days (P30D)"
GRANTED = "must be between one minute (PT1M) and 30 days (P30D)"
WINDOW = "renewBefore must be longer than zero and shorter than lifetime"
MARGIN = "riskMargin must be longer than zero and shorter than renewBefore"
KUBERNETES_NAME = (
    "must be a name of small letters, digits and inner hyphens, and of dots between these, such as {gateway}-token, "
    "253 characters at most; it may hold {service} and {gateway}"
)
NO_CLUSTER = "is neither a resource id nor a name in `clusters`"
NOBODY = "must name an appRole, objectId, clientId or functionKey: true"
NOT_ALONE = "functionKey must be alone: a caller who sends a bearer token is identified by the token only"
NO_SERVICE = "'fabrikam/*' matches no declared service"
ONE_ADDRESS = "needs either `server` or `cluster`"
NO_ENTRA = "has `cluster` and `signIn`: a cluster that does not use Entra needs `server`"
NOT_SUPPORTED = "the kind file is not supported any more: see 'Docker' in docs/recipes.md"
ONE_CASE = "'contoso' and 'Contoso' differ in case only"
# What lies between the parts of a document, or in the length of a duration: no schema says it.
BEYOND_A_SCHEMA = {MANAGED, GRANTED, WINDOW, MARGIN, NO_CLUSTER, NOBODY, NOT_ALONE, NO_SERVICE, ONE_CASE}
BEYOND_A_SCHEMA |= {ONE_ADDRESS, NO_ENTRA}
EDITOR = Draft202012Validator(json.loads(PATH.read_text()))


def rule(**fields: object) -> dict[str, Any]:
    return document(any_gateway=fields)


def destination(**fields: object) -> dict[str, Any]:
    return rule(destinations=[fields])


def in_vault(**fields: object) -> dict[str, Any]:
    return destination(**{**KEY_VAULT, **fields})


def in_cluster(**fields: object) -> dict[str, Any]:
    return destination(**{**KUBERNETES, **fields})


def access(**changes: object) -> dict[str, Any]:
    opening = {"caller": {"appRole": "r"}, "gateways": ["contoso/*"], "allow": ["issue"], **changes}
    return {**document(any_gateway={}), "access": [opening]}


def services(**resource_ids: str) -> dict[str, Any]:
    return {"services": {name: {"resourceId": resource_id} for name, resource_id in resource_ids.items()}}


def two_services(contoso: dict[str, Any], fabrikam: dict[str, Any]) -> dict[str, Any]:
    both = services(contoso=SERVICE, fabrikam=OTHER_SERVICE)
    both["services"]["contoso"]["gateways"] = contoso
    both["services"]["fabrikam"]["gateways"] = fabrikam
    return both


def paths_of(value: object) -> list[str]:
    return [path for path, _ in faults_of(value)]


@pytest.mark.parametrize(
    "value",
    [
        services(**dict.fromkeys(["a", "A1", "a-1", "a" * 50], SERVICE)),
        document(**{"*": {}, "a" * 80: {}, "A.b_c~d-*": {}}),
        rule(lifetime="P1D"),
        rule(lifetime="P30D"),
        rule(lifetime="P7D", renewBefore="P6DT23H59M59S"),
        rule(renewBefore="PT2S"),
        rule(riskMargin="P9DT23H59M59S"),
        rule(riskMargin="PT1S"),
        rule(renewBefore=None, riskMargin=None),
        in_vault(vault=VAULT + "/", secret="{gateway}" + "a" * 118),
        in_vault(vault="https://" + "a" * 247, form="token", adopt=True),
        in_vault(vault="https://127.0.0.1:8443"),
        destination(**ENTRA_CLUSTER, layout="envFrom"),
        in_cluster(restart=[{"name": "edge-{gateway}"}]),
        in_cluster(secret="x", namespace="{gateway}"),
        in_cluster(secret="x", server="https://{gateway}"),
        access(gateways=["contoso/*", "CONTOSO/edge", "*/*", "con*/a", "contoso/" + "a" * 80]),
        access(maxLifetime="PT1M"),
        {"$schema": "./gateway-tokens.schema.json", **DESIGN_EXAMPLE},
    ],
)
def test_a_document_at_its_boundaries_has_no_fault(value: object) -> None:
    assert faults_of(value) == []
    assert EDITOR.is_valid(value)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ([], "GATEWAY_TOKENS", "must be an object"),
        ({}, "services", "required"),
        ({"services": {}, "acess": []}, "acess", "unknown field. Did you mean 'access'?"),
        (services(contoso=SERVICE, Contoso=OTHER_SERVICE), "services", ONE_CASE),
        (rule(lifetime="PT23H59M59S"), f"{RULE}.lifetime", MANAGED),
        (rule(lifetime="P30DT1S"), f"{RULE}.lifetime", MANAGED),
        (rule(renewBefore="P30D"), RULE, WINDOW),
        (rule(renewBefore="P0D"), RULE, WINDOW),
        (rule(riskMargin="P10D"), RULE, MARGIN),
        (rule(riskMargin="P0D"), RULE, MARGIN),
        (rule(keyType="Primary"), f"{RULE}.keyType", "must be 'primary' or 'secondary'"),
        (rule(renewbefore=1), f"{RULE}.renewbefore", "unknown field. Did you mean 'renewBefore'?"),
        (rule(namespace=1), f"{RULE}.namespace", "unknown field: 'namespace' belongs to another part"),
        (rule(xyz=1), f"{RULE}.xyz", "unknown field"),
        (destination(), f"{AT}.kind", "required"),
        (destination(kind="vault"), f"{AT}.kind", f"must be one of {KINDS}"),
        (destination(kind="file"), AT, NOT_SUPPORTED),
        (in_cluster(secret="-x"), f"{AT}.secret", KUBERNETES_NAME),
        (destination(kind="kubernetes"), AT, ONE_ADDRESS),
        (destination(**ENTRA_CLUSTER, server="https://k"), AT, ONE_ADDRESS),
        (destination(**ENTRA_CLUSTER, signIn={"vault": VAULT, "secret": "sa"}), AT, NO_ENTRA),
        (destination(kind="kubernetes", cluster="plant"), f"{AT}.cluster", NO_CLUSTER),
        (in_cluster(restart={}), f"{AT}.restart.name", "required"),
        (in_cluster(restart="edge"), f"{AT}.restart", "must be an object"),
        (in_cluster(restart=[]), f"{AT}.restart", "must not be empty"),
        (in_cluster(restart=[{"name": "a"}, {}]), f"{AT}.restart[1].name", "required"),
        (access(caller={}), "access[0].caller", NOBODY),
        (access(caller={"functionKey": False}), "access[0].caller", NOBODY),
        (access(caller={"appRole": ""}), "access[0].caller.appRole", "must have at least 1 character"),
        (access(caller={"functionKey": True, "appRole": "r"}), "access[0].caller", NOT_ALONE),
        (access(gateways=[]), "access[0].gateways", "must not be empty"),
        (access(gateways=["fabrikam/*"]), "access[0].gateways[0]", NO_SERVICE),
        (access(allow=[]), "access[0].allow", "must not be empty"),
        (access(allow=["Issue"]), "access[0].allow[0]", "must be 'issue', 'renew', 'read' or 'revoke'"),
        (access(maxLifetime="PT59S"), "access[0].maxLifetime", GRANTED),
        (access(maxLifetime="P30DT1S"), "access[0].maxLifetime", GRANTED),
    ],
)
def test_a_fault_is_named_by_its_path(value: object, path: str, message: str) -> None:
    assert faults_of(value) == [(path, message)]
    assert EDITOR.is_valid(value) is (message in BEYOND_A_SCHEMA)


# A document with a gap, where its value stands, and what does not fit there.
FORMS: list[tuple[dict[str, Any], str, list[str]]] = [
    (services(**{"?": SERVICE}), "services.{}", ["1a", "a-", "-a", "a b", "a_b", "", "a/b", "a*", "a" * 51]),
    (document(**{"?": {}}), "services.contoso.gateways.{}", ["a b", "", "a/b", "a" * 81, "a?"]),
    ({**document(), "clusters": {"?": {"server": "https://k"}}}, "clusters.{}", ["A", "a" * 81]),
    (access(gateways=["?"]), "access[0].gateways[0]", ["contoso/", "/edge", "a/b/c", "contoso/" + "a" * 81]),
    (
        services(contoso="?"),
        "services.contoso.resourceId",
        [f"{SERVICE}/", f"{SERVICE} ", CLUSTER, FILLED_IN],
    ),
    (in_vault(vault="?"), f"{AT}.vault", ["http://a", f"{VAULT}/b", "https://u:w@a", "https://" + "a" * 248]),
    (
        in_vault(secret="?"),
        f"{AT}.secret",
        ["", "{gateway}_a", "{gateway", "gateway}", "{gateways}", "{gateway}" + "a" * 119],
    ),
    (in_vault(form="?"), f"{AT}.form", ["bare"]),
    (in_cluster(server="?"), f"{AT}.server", ["http://k", "https://k/a b"]),
    (in_cluster(namespace="?"), f"{AT}.namespace", ["Default", "-{gateway}", "x-", "a.b", "a" * 64]),
    (
        in_cluster(secret="?"),
        f"{AT}.secret",
        ["{gateway}_t", "-x", "a..b", "a.-b", ".a", "a-.b", "{x}", "a" * 254],
    ),
    (in_cluster(layout="?"), f"{AT}.layout", ["Helm"]),
    (in_cluster(signIn={"vault": "?", "secret": "sa"}), f"{AT}.signIn.vault", ["https://"]),
    (in_cluster(restart={"kind": "?", "name": "a"}), f"{AT}.restart.kind", ["Pod"]),
    (in_cluster(restart={"name": "?"}), f"{AT}.restart.name", ["Edge_01"]),
    (destination(kind="kubernetes", cluster="?"), f"{AT}.cluster", [SERVICE, "/subscriptions/1"]),
]


@pytest.mark.parametrize(("gap", "path", "values"), FORMS)
def test_what_breaks_its_form_is_a_fault_to_the_app_and_to_editors(
    gap: dict[str, Any], path: str, values: list[str]
) -> None:
    for value in values:
        filled = json.loads(json.dumps(gap).replace('"?"', json.dumps(value)))
        ((where, message),) = faults_of(filled)
        assert where == path.format(value)
        assert not re.search(r"\[a-z|pattern '|\^", message), "shows a regular expression"
        assert not EDITOR.is_valid(filled)


def test_a_line_break_is_no_part_of_a_name_or_an_address() -> None:
    # To Python's own patterns `$` fits before a last line break.
    for value, path in (
        (services(**{"a\n": SERVICE}), "services.a\n"),
        (document(**{"a\n": {}}), "services.contoso.gateways.a\n"),
        (services(contoso=SERVICE + "\n"), "services.contoso.resourceId"),
        (in_vault(vault=f"{VAULT}\n"), f"{AT}.vault"),
    ):
        assert paths_of(value) == [path]


def example_with(fields: dict[str, object], beside: str) -> Any:  # noqa: ANN401 - JSON
    """The design's example with these fields in every part that has a field of that name."""
    text = json.dumps(DESIGN_EXAMPLE)
    return json.loads(text, object_hook=lambda part: part | fields if beside in part else part)


@pytest.mark.parametrize("beside", ["services", "resourceId", "lifetime", "kind", "allow", "appRole"])
def test_an_unknown_field_is_a_fault_wherever_it_is_to_the_app_and_to_editors(beside: str) -> None:
    broken = example_with({"unknwon": 1}, beside)
    assert faults_of(broken)
    assert not EDITOR.is_valid(broken)


def test_no_fault_repeats_a_wrong_value() -> None:
    names = set(re.findall(r'"([^"]+)":', json.dumps(DESIGN_EXAMPLE))) - {"appRole", "objectId"}  # any text
    for name in sorted(names):
        for value in ("GatewayKey tok-3n", ["tok-3n"], {"tok-3n": 5.5}, 555_666):
            faults = faults_of(example_with({name: value}, name))
            assert faults
            assert not any(leak in text for _, text in faults for leak in ("tok-3n", "5.5", "555666"))


def test_access_to_a_service_that_is_faulty_itself_is_no_fault() -> None:
    declared: tuple[tuple[object, bool], ...] = (({"contoso": 5}, True), (["contoso"], False), ({}, False))
    for declaring, is_declared in declared:
        assert ("access[0].gateways[0]" in paths_of({**access(), "services": declaring})) is not is_declared


def vault(secret: str, address: str = VAULT) -> dict[str, Any]:
    return {"destinations": [{"kind": "keyVault", "vault": address, "secret": secret}]}


def test_faults_everywhere_are_told_together() -> None:
    fabrikam = {
        "c": vault("same"),
        "d": vault("same"),
        "e": {"renew": 1},
        "f": {"renewBefore": "P40D", "riskMargin": "P50D"},
        "g": {},
    }
    broken = two_services({"*": {"lifetime": "P31D"}, "a*": {}, "*b": {}}, fabrikam)
    broken["services"]["contoso"]["resourceId"] = "x"
    broken |= {"access": [{"caller": {}, "gateways": ["x/*"], "allow": []}], "more": 1}
    assert paths_of({**broken, "defaults": vault("inherited")}) == [
        "services.contoso.resourceId",
        "services.contoso.gateways.*.lifetime",
        "services.fabrikam.gateways.e.renew",
        *("access[0].caller", "access[0].gateways[0]", "access[0].allow"),
        "more",
        "services.contoso.gateways",
        *["services.fabrikam.gateways.f"] * len((WINDOW, MARGIN)),
        "services.fabrikam.gateways.d.destinations[0]",
        "services.fabrikam.gateways.g.destinations[0]",
    ]


def test_two_patterns_that_match_the_same_names_equally_well_are_a_tie() -> None:
    for pattern, other in (("a*", "*b"), ("edge-01", "EDGE-01"), ("*", "**"), ("*a*", "b*")):
        message = f"'{pattern}' and '{other}' match the same names equally well: make one more literal"
        ties = faults_of(document(**{pattern: {}, "edge-02": {}, other: {}}))
        assert ties == [("services.contoso.gateways", message)]
    for pattern, other in (("a*", "b*"), ("a*", "*bc"), ("ab", "a*"), ("edge-01", "edge-02")):
        assert faults_of(document(**{pattern: {}, other: {}})) == []
    assert faults_of(two_services({"*": {}}, {"*": {}})) == []


def test_a_tie_between_pasted_tokens_names_neither() -> None:
    pasted = "edge-01&202601010000&c2lnbmF0dXJl"
    tied: dict[str, object] = {pasted: {}, pasted.upper(): {}}
    faults = faults_of({"services": {pasted: {"resourceId": SERVICE, "gateways": tied}}})
    assert any("equally well" in message for _, message in faults)
    assert not any("202601010000" in path + message for path, message in faults)


def restarting(*names: str, **fields: object) -> dict[str, Any]:
    """A rule that restarts the workloads of these names, `kind:name` unless a Deployment."""
    parts = (name.rpartition(":") for name in names)
    restart = [{"kind": kind or "Deployment", "name": name} for kind, _, name in parts]
    return {"destinations": [{**KUBERNETES, "secret": "{service}-{gateway}", "restart": restart, **fields}]}


FIXED, BY_SERVICE, BY_GATEWAY, BY_BOTH = map(vault, ("x", "{service}", "{gateway}", "{service}-{gateway}"))
ELSEWHERE = vault("x", "https://fabrikam.vault.azure.net")
SPELLED_DIFFERENTLY = vault("X", "https://CONTOSO.VAULT.AZURE.NET/")
TWICE, GATEWAY_TWICE = ({"destinations": rule_of["destinations"] * 2} for rule_of in (FIXED, BY_GATEWAY))
EACH, EDGE, NOTHING = restarting("{gateway}"), "Deployment default/edge in https://k", ("", "")
A0 = "services.contoso.gateways.a.destinations[0]"
SAME, SAME_AS_ANY = (
    f"can write the same location as {row}: set them apart" for row in (A0, A0.replace(".a.", ".*."))
)
ALL = "every gateway of '*' would write the same location: add {gateway}"
ALL_RESTART = f"every gateway of '*' would restart {EDGE}: add {{gateway}}"
RESTARTED_TWICE = f"restarts {EDGE} twice: name it once"
RESTARTED = f"can restart {EDGE}, as {A0} can: let one row restart it"
EDGE_TWICE = {"a": restarting("other", "edge"), "b": restarting("edge")}
APART = {
    "a": restarting("edge", "StatefulSet:edge", "DaemonSet:edge", "Rollout:edge"),
    "b": restarting("edge", namespace="b"),
    "c": restarting("edge") | {"renew": False},
}
# The rules of two services, and the later of two rows that can write one location or restart one workload.
SHARED: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, str]]] = {
    "one gateway has it twice": ({"a": TWICE}, {}, ("contoso a 1", SAME)),
    "one pattern has it twice": ({"*": GATEWAY_TWICE}, {}, ("contoso * 1", SAME_AS_ANY)),
    "named after a service": ({"a": BY_SERVICE, "b": BY_SERVICE}, {}, ("contoso b 0", SAME)),
    "filled in and written out": ({"a": BY_SERVICE, "b": vault("contoso")}, {}, ("contoso b 0", SAME)),
    "two services": ({"a": FIXED}, {"b": FIXED}, ("fabrikam b 0", SAME)),
    "patterns that meet": ({"*": BY_GATEWAY}, {"a*": BY_GATEWAY}, ("fabrikam a* 0", SAME_AS_ANY)),
    "case and slash": ({"a": FIXED, "b": SPELLED_DIFFERENTLY}, {}, ("contoso b 0", SAME)),
    "one pattern, one name": ({"*": FIXED}, {}, ("contoso * 0", ALL)),
    "one pattern, its service": ({"*": BY_SERVICE}, {}, ("contoso * 0", ALL)),
    "one pattern, one workload": ({"*": restarting("edge")}, {}, ("contoso * 0", ALL_RESTART)),
    "a workload twice": ({"a": restarting("edge", "edge")}, {}, ("contoso a 0", RESTARTED_TWICE)),
    "two rows, one workload": (EDGE_TWICE, {}, ("contoso b 0", RESTARTED)),
    "workloads of patterns that meet": (
        {"a": EACH},
        {"*": EACH},
        ("fabrikam * 0", RESTARTED.replace("/edge ", "/{gateway} ")),
    ),
    "named after two services": ({"a": BY_SERVICE}, {"a": BY_SERVICE}, NOTHING),
    "named after gateways": ({"*": BY_GATEWAY, "a": BY_GATEWAY}, {}, NOTHING),
    "patterns that never meet": ({"a-*": BY_GATEWAY}, {"b-*": BY_GATEWAY}, NOTHING),
    "named after both": ({"*": BY_BOTH}, {"*": BY_BOTH}, NOTHING),
    "two vaults": ({"a": FIXED, "b": ELSEWHERE}, {}, NOTHING),
    "not renewed": ({"a": FIXED, "b": {"renew": False, **FIXED}}, {}, NOTHING),
    "workloads of other kinds and namespaces": (APART, {}, NOTHING),
    "workloads of patterns of one service": ({"d-*": EACH, "e-*": EACH}, {}, NOTHING),
}


@pytest.mark.parametrize(("contoso", "fabrikam", "fault"), SHARED.values(), ids=SHARED)
def test_two_rows_that_can_write_one_location_or_restart_one_workload_are_a_fault(
    contoso: dict[str, Any], fabrikam: dict[str, Any], fault: tuple[str, str]
) -> None:
    row, message = fault
    faults_found = faults_of(two_services(contoso, fabrikam))
    if row:
        service, pattern, index = row.split()
        assert faults_found == [(f"services.{service}.gateways.{pattern}.destinations[{index}]", message)]
    else:
        assert faults_found == []


def test_a_thousand_names_are_read_without_comparing_each_with_each(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(rule_of: str, other: str) -> bool:
        compared.append(rule_of + other)
        return False

    monkeypatch.setattr(faults, "overlap", counted)
    monkeypatch.setattr(faults._Row, "__eq__", lambda rule_of, other: counted(rule_of.path, other.path))
    delivered = {"destinations": [KEY_VAULT]}
    names = {f"edge-{number:04}": delivered for number in range(1000)}
    read_estate(json.dumps(document(**names, any_gateway=delivered)))
    assert len(compared) < 10
