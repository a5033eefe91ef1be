"""The alert rules: what they look for, and that each looks in the documented lines."""

from __future__ import annotations

import re

import pytest

from tests.infra.bicep_tree import declarations, read_sources
from tests.infra.bicep_values import Scope, value_of

MODULE = "modules/alerts.bicep"
SOURCE = {MODULE: read_sources()[MODULE]}
# The events that the app writes, and the fields of each that the rules may use.
LINES = {
    "sweep.row": {"service", "gateway", "destination", "reason", "outcome", "error"},
    "sweep.completed": {"rows", "renewed", "restarted", "fresh", "failed", "atRisk", "seconds"},
    "token.refused": set[str](),
    "gateway.not_picked_up": set[str](),
}


def queries() -> dict[str, str]:
    scope = Scope({"componentId": "/c", "sweepSilence": "PT3H", "refusedCalls": 20})
    for variable in declarations(SOURCE, "var"):
        scope = scope.with_values(**{variable.name: value_of(variable.value, scope)})
    return {rule["name"]: rule["query"] for rule in scope.values["rules"]}


def test_there_is_a_rule_for_failures_silence_risk_and_refusals() -> None:
    assert set(queries()) == {"renewal-failed", "sweep-missing", "token-at-risk", "calls-refused"}


@pytest.mark.parametrize("name", queries())
def test_a_rule_looks_for_events_and_fields_that_the_app_writes(name: str) -> None:
    query = queries()[name]
    events = re.findall(r'event == "([^"]+)"', query)
    fields = set(re.findall(r"line\.(\w+)", query)) - {"event"}

    assert events
    assert set(events) <= LINES.keys()
    assert fields <= set().union(*(LINES[event] for event in events))


def test_silence_is_a_count_of_nothing_so_that_no_lines_at_all_raise_it() -> None:
    assert queries()["sweep-missing"].endswith("| summarize completed = count() | where completed == 0")


@pytest.mark.parametrize("name", queries())
def test_a_rule_sees_this_app_only_in_a_workspace_that_many_share(name: str) -> None:
    assert '_ResourceId =~ "/c"' in queries()[name]


def test_the_rules_are_made_only_when_somebody_is_to_be_told() -> None:
    alerts = next(
        d for d in declarations({"main.bicep": read_sources()["main.bicep"]}, "module") if d.name == "alerts"
    )

    assert "= if (actionGroupId != null)" in (alerts.node.text or b"").decode()
