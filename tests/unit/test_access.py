"""Access is closed unless a rule opens it, and a rule is about callers with every trait it names."""

from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.access import Caller, Scope
from gateway_tokens.errors import AccessDenied
from gateway_tokens.estate.schema import AccessRule, CallerMatch, Permission
from gateway_tokens.tokens import GatewayRef
from tests.unit.samples import DESIGN_EXAMPLE, document, estate

EDGE = GatewayRef("contoso", "edge-01")
ISSUER = Caller(object_id="o-1", client_id="c-1", app_roles=frozenset({"Issue"}))


def rules(*access: dict[str, Any]) -> tuple[AccessRule, ...]:
    """Rules as the document has them; `issue` on everything of contoso unless told otherwise."""
    usual = {"gateways": ["contoso/*"], "allow": ["issue"]}
    return estate({**document(), "access": [{**usual, **rule} for rule in access]}).access


def test_without_rules_nobody_may_do_anything() -> None:
    everybody = Caller("o", "c", frozenset({"Issue"}), function_key=True)
    assert not any(Scope((), everybody, permission).covers(EDGE) for permission in Permission)


@pytest.mark.parametrize(
    "trait", [{"appRole": "Issue"}, {"objectId": "o-1"}, {"clientId": "c-1"}, {"functionKey": True}]
)
def test_a_rule_opens_for_nobody(trait: dict[str, Any]) -> None:
    assert not Scope(rules({"caller": trait}), Caller(), Permission.ISSUE).covers(EDGE)


@pytest.mark.parametrize(
    ("trait", "caller"),
    [
        ({"appRole": "Issue"}, Caller(app_roles=frozenset({"Other", "Issue"}))),
        ({"objectId": "o-1"}, Caller(object_id="O-1")),
        ({"clientId": "C-1"}, Caller(client_id="c-1")),
        ({"functionKey": True}, Caller(function_key=True)),
    ],
)
def test_a_rule_opens_for_who_has_its_trait(trait: dict[str, Any], caller: Caller) -> None:
    assert Scope(rules({"caller": trait}), caller, Permission.ISSUE).covers(EDGE)


@pytest.mark.parametrize(
    ("trait", "caller"),
    [
        ({"appRole": "Issue"}, Caller("Issue", "Issue", frozenset({"issue", "Issue2"}))),
        ({"objectId": "o-1"}, Caller("o-11", "o-1", frozenset({"o-1"}))),
        ({"clientId": "c-1"}, Caller("c-1", "c-11", frozenset({"c-1"}))),
        ({"functionKey": True}, Caller("o-1", "c-1", frozenset({"Issue"}))),
    ],
)
def test_a_rule_stays_closed_for_who_has_something_like_it(trait: dict[str, Any], caller: Caller) -> None:
    assert not Scope(rules({"caller": trait}), caller, Permission.ISSUE).covers(EDGE)


@pytest.mark.parametrize(
    "lacking",
    [
        Caller("", "c-1", frozenset({"Issue"})),
        Caller("o-1", "", frozenset({"Issue"})),
        Caller("o-1", "c-1", frozenset()),
        Caller(function_key=True),
    ],
)
def test_every_trait_that_a_rule_names_must_hold(lacking: Caller) -> None:
    demanding = rules({"caller": {"appRole": "Issue", "objectId": "o-1", "clientId": "c-1"}})
    whole = Caller("o-1", "c-1", frozenset({"Issue"}))
    assert Scope(demanding, whole, Permission.ISSUE).covers(EDGE)
    assert not Scope(demanding, lacking, Permission.ISSUE).covers(EDGE)


def test_a_rule_that_says_no_function_key_does_not_ask_for_its_absence() -> None:
    opened = rules({"caller": {"appRole": "Issue", "functionKey": False}})
    assert Scope(opened, Caller(app_roles=frozenset({"Issue"}), function_key=True), Permission.ISSUE).covers(
        EDGE
    )


def test_a_rule_that_names_no_trait_would_open_for_nobody() -> None:
    nobody = CallerMatch.model_construct(app_role=None, object_id=None, client_id=None, function_key=False)
    rule = AccessRule.model_construct(
        caller=nobody, gateways=("*/*",), allow=frozenset(Permission), max_lifetime=None
    )
    assert not Scope([rule], Caller("o", "c", frozenset({"r"}), function_key=True), Permission.ISSUE).covers(
        EDGE
    )


@pytest.mark.parametrize("allowed", Permission)
@pytest.mark.parametrize("wanted", Permission)
def test_a_permission_opens_only_itself(allowed: Permission, wanted: Permission) -> None:
    opened = rules({"caller": {"appRole": "Issue"}, "allow": [allowed.value]})
    assert Scope(opened, ISSUER, wanted).covers(EDGE) is (allowed is wanted)


@pytest.mark.parametrize(
    ("pattern", "opens"),
    [
        ("contoso/edge-01", True),
        ("CONTOSO/EDGE-01", True),
        ("contoso/edge-*", True),
        ("*/*", True),
        ("*/edge-01", True),
        ("contoso/edge-0", False),
        ("contoso/lab-*", False),
        ("*/lab", False),
    ],
)
def test_a_rule_opens_the_gateways_that_its_patterns_name(pattern: str, opens: bool) -> None:  # noqa: FBT001
    opened = rules({"caller": {"appRole": "Issue"}, "gateways": [pattern]})
    assert Scope(opened, ISSUER, Permission.ISSUE).covers(EDGE) is opens


def test_any_of_several_patterns_opens() -> None:
    opened = rules({"caller": {"appRole": "Issue"}, "gateways": ["contoso/lab-*", "contoso/edge-*"]})
    assert Scope(opened, ISSUER, Permission.ISSUE).covers(EDGE)


def test_the_same_gateway_name_in_another_service_stays_closed() -> None:
    opened = rules({"caller": {"appRole": "Issue"}})
    assert not Scope(opened, ISSUER, Permission.ISSUE).covers(GatewayRef("fabrikam", "edge-01"))


def test_a_refusal_says_permission_and_gateway_and_nothing_of_the_rules() -> None:
    with pytest.raises(AccessDenied) as refused:
        Scope(rules({"caller": {"appRole": "Secret"}}), ISSUER, Permission.ISSUE).require(EDGE)
    assert (refused.value.permission, refused.value.resource) == ("issue", "contoso/edge-01")
    assert "Secret" not in str(refused.value)


def test_a_rule_without_ceiling_grants_thirty_days() -> None:
    opened = rules({"caller": {"appRole": "Issue"}})
    assert Scope(opened, ISSUER, Permission.ISSUE).require(EDGE) == timedelta(days=30)


def test_the_most_generous_of_several_matching_rules_counts() -> None:
    opened = rules(
        {"caller": {"appRole": "Issue"}, "maxLifetime": "PT1H"},
        {"caller": {"objectId": "o-1"}, "maxLifetime": "P1D"},
        {"caller": {"clientId": "c-1"}, "maxLifetime": "PT2H"},
    )
    assert Scope(opened, ISSUER, Permission.ISSUE).require(EDGE) == timedelta(days=1)


def test_rules_about_others_other_gateways_or_other_permissions_lend_no_lifetime() -> None:
    opened = rules(
        {"caller": {"appRole": "Issue"}, "maxLifetime": "PT1H"},
        {"caller": {"appRole": "Other"}},
        {"caller": {"appRole": "Issue"}, "gateways": ["contoso/lab-*"]},
        {"caller": {"appRole": "Issue"}, "allow": ["renew", "read"]},
    )
    assert Scope(opened, ISSUER, Permission.ISSUE).require(EDGE) == timedelta(hours=1)


@pytest.mark.parametrize("service", ["contoso", "CONTOSO", "*"])
def test_some_gateway_of_a_service_may_be_permitted(service: str) -> None:
    opened = rules({"caller": {"appRole": "Issue"}, "gateways": ["con*/edge"]})
    Scope(opened, ISSUER, Permission.ISSUE).require_some(service)


@pytest.mark.parametrize(
    ("rule", "permission", "service"),
    [
        ({"caller": {"appRole": "Issue"}}, Permission.ISSUE, "fabrikam"),
        ({"caller": {"appRole": "Issue"}}, Permission.READ, "contoso"),
        ({"caller": {"appRole": "Other"}}, Permission.ISSUE, "contoso"),
        ({"caller": {"appRole": "Other"}}, Permission.ISSUE, "*"),
    ],
)
def test_no_gateway_of_a_service_is_permitted(
    rule: dict[str, Any], permission: Permission, service: str
) -> None:
    with pytest.raises(AccessDenied) as refused:
        Scope(rules(rule), ISSUER, permission).require_some(service)
    assert refused.value.resource == f"{service}/*"


def test_the_designs_rules_open_what_they_say() -> None:
    access = estate(DESIGN_EXAMPLE).access
    issuer = Caller(app_roles=frozenset({"GatewayToken.Issue"}))
    operator = Caller(object_id="0D9C5A4E-8F53-4F0E-B5A5-7D1F3A0C9B11")
    key = Caller(function_key=True)
    assert Scope(access, issuer, Permission.ISSUE).require(EDGE) == timedelta(days=1)
    assert not Scope(access, issuer, Permission.ISSUE).covers(GatewayRef("contoso", "lab-1"))
    assert all(Scope(access, operator, permission).covers(EDGE) for permission in Permission)
    assert [p for p in Permission if Scope(access, key, p).covers(EDGE)] == [Permission.READ]


@pytest.mark.parametrize(
    ("caller", "said"),
    [
        (Caller(), "nobody"),
        (Caller(function_key=True), "function-key"),
        (Caller(object_id="o"), "object:o"),
        (Caller(client_id="c", function_key=True), "client:c"),
        (Caller("o", "c", frozenset({"r"})), "client:c object:o"),
    ],
)
def test_a_caller_is_named_by_the_ids_that_the_platform_vouches_for(caller: Caller, said: str) -> None:
    assert str(caller) == said
