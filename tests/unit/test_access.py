"""Access is closed unless a rule opens it, and a rule is about callers with every trait it names."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway_tokens.access import AccessRule, Caller, CallerMatch, Permission, Scope
from gateway_tokens.errors import AccessDenied
from gateway_tokens.tokens import GatewayRef
from tests.samples import document, estate

EDGE = GatewayRef("contoso", "edge-01")
ISSUER = Caller(object_id="o-1", client_id="c-1", app_roles=frozenset({"Issue"}))
ISSUE = {"appRole": "Issue"}


def issuing(caller: Caller, *access: dict[str, Any]) -> Scope:
    """What the caller may issue by these rules of the document: all of contoso's gateways unless told otherwise."""
    usual = {"caller": ISSUE, "gateways": ["contoso/*"], "allow": ["issue"]}
    rules = estate({**document(), "access": [{**usual, **rule} for rule in access]}).access
    return Scope(rules, caller, Permission.ISSUE)


def test_without_rules_nobody_may_do_anything() -> None:
    everybody = Caller("o", "c", frozenset({"Issue"}), function_key=True)
    assert not any(Scope((), everybody, permission).covers(EDGE) for permission in Permission)


# A trait, who has it, and who has something like it.
TRAITS: list[tuple[dict[str, Any], Caller, Caller]] = [
    (ISSUE, Caller(app_roles=frozenset({"Other", "Issue"})), Caller("Issue", "Issue", frozenset({"issue"}))),
    ({"objectId": "o-1"}, Caller(object_id="O-1"), Caller("o-11", "o-1", frozenset({"o-1"}))),
    ({"clientId": "C-1"}, Caller(client_id="c-1"), Caller("c-1", "c-11", frozenset({"c-1"}))),
    ({"functionKey": True}, Caller(function_key=True), ISSUER),
    # It does not ask that there is no key.
    ({**ISSUE, "functionKey": False}, Caller(app_roles=frozenset({"Issue"}), function_key=True), Caller()),
]


def test_a_rule_opens_for_whoever_has_its_trait() -> None:
    for trait, holder, similar in TRAITS:
        assert issuing(holder, {"caller": trait}).covers(EDGE)
        for stranger in (similar, Caller()):
            assert not issuing(stranger, {"caller": trait}).covers(EDGE)


def test_every_trait_that_a_rule_names_must_hold() -> None:
    demanding = {"caller": {"appRole": "Issue", "objectId": "o-1", "clientId": "c-1"}}
    assert issuing(ISSUER, demanding).covers(EDGE)
    for lacking in ({"object_id": ""}, {"client_id": ""}, {"app_roles": frozenset[str]()}):
        assert not issuing(replace(ISSUER, **lacking), demanding).covers(EDGE)


def test_a_rule_that_names_no_trait_opens_for_nobody() -> None:
    nobody = CallerMatch.model_construct(app_role=None, object_id=None, client_id=None, function_key=False)
    rule = AccessRule.model_construct(
        caller=nobody, gateways=("*/*",), allow=frozenset(Permission), max_lifetime=None
    )
    everybody = Caller("o", "c", frozenset({"r"}), function_key=True)
    assert not Scope([rule], everybody, Permission.ISSUE).covers(EDGE)


def test_a_permission_opens_only_itself() -> None:
    for allowed in Permission:
        rules = issuing(ISSUER, {"allow": [allowed.value]}).rules
        assert [wanted for wanted in Permission if Scope(rules, ISSUER, wanted).covers(EDGE)] == [allowed]


def test_a_rule_opens_the_gateways_that_any_of_its_patterns_names() -> None:
    for pattern in ("CONTOSO/EDGE-01", "contoso/edge-*", "*/*"):
        assert issuing(ISSUER, {"gateways": ["contoso/lab-*", pattern]}).covers(EDGE)
    for pattern in ("contoso/edge-0", "*/lab"):
        assert not issuing(ISSUER, {"gateways": [pattern]}).covers(EDGE)
    assert not issuing(ISSUER, {}).covers(GatewayRef("fabrikam", "edge-01"))


def test_a_refusal_says_permission_and_gateway_and_nothing_of_the_rules() -> None:
    with pytest.raises(AccessDenied, match="'issue' on 'contoso/edge-01'") as refused:
        issuing(ISSUER, {"caller": {"appRole": "Secret"}}).require(EDGE)
    assert "Secret" not in str(refused.value)


def test_the_most_generous_of_several_matching_rules_counts() -> None:
    hour, two_hours = {"maxLifetime": "PT1H"}, {"caller": {"clientId": "c-1"}, "maxLifetime": "PT2H"}
    day = {"caller": {"objectId": "o-1"}, "maxLifetime": "P1D"}
    assert issuing(ISSUER, hour, day, two_hours).require(EDGE) == timedelta(days=1)
    assert issuing(ISSUER, hour, {}).require(EDGE) == timedelta(days=30)
    others = {"caller": {"appRole": "Other"}}, {"gateways": ["contoso/lab-*"]}, {"allow": ["renew", "read"]}
    assert issuing(ISSUER, hour, *others).require(EDGE) == timedelta(hours=1)


def test_some_gateway_of_a_service_is_permitted_if_a_pattern_can_name_one() -> None:
    for service in ("contoso", "CONTOSO", "*"):
        issuing(ISSUER, {"gateways": ["con*/edge"]}).require_some(service)
    other = {"caller": {"appRole": "Other"}}
    for rule, service in (({}, "fabrikam"), ({"allow": ["read"]}, "contoso"), (other, "*")):
        with pytest.raises(AccessDenied) as refused:
            issuing(ISSUER, rule).require_some(service)
        assert refused.value.resource == f"{service}/*"


def test_a_caller_is_named_by_the_ids_that_the_platform_vouches_for() -> None:
    assert str(Caller()) == "nobody"
    assert str(Caller(function_key=True)) == "function-key"
    assert str(Caller(object_id="o")) == "object:o"
    assert str(Caller(client_id="c", function_key=True)) == "client:c"
    assert str(Caller("o", "c", frozenset({"r"}))) == "client:c object:o"
