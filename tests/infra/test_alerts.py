"""The alert rules: what they look for, and that each looks in the documented lines."""

from __future__ import annotations

import ast
import re

import pytest

from gateway_tokens.report import NEW_FAILURE
from tests.infra.digests import ROOT, read, resources


def lines_of_the_code() -> dict[str, set[str]]:
    """The events that the code writes, each with the fields that it names."""
    lines: dict[str, set[str]] = {}
    for file in (ROOT / "gateway_tokens").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "log_line":
                event = ast.literal_eval(node.args[0])
                lines.setdefault(event, set()).update(k.arg for k in node.keywords if k.arg)
    return lines


LINES = lines_of_the_code()


def queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in read("alerts")["queries"]:
        if line.startswith("  "):
            found[next(reversed(found))] += f"\n{line.strip()}"
        else:
            found[line.partition(":")[0].removeprefix("gateway-tokens-")] = ""
    return found


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


def test_a_rule_wakes_somebody_for_every_outcome_that_somebody_should_hear_of() -> None:
    outcomes = re.findall(r"in \((.+?)\)", queries()["renewal-failed"])

    assert set(re.findall(r'"(\w+)"', outcomes[0])) == NEW_FAILURE


def test_a_sweep_of_a_part_of_the_estate_does_not_end_the_silence() -> None:
    assert 'event == "sweep.completed" and tobool(line.complete) |' in queries()["sweep-missing"]


def test_silence_is_a_count_of_nothing_so_that_no_lines_at_all_raise_it() -> None:
    assert queries()["sweep-missing"].endswith("| summarize completed = count() | where completed == 0")


@pytest.mark.parametrize("name", queries())
def test_a_rule_sees_this_app_only_in_a_workspace_that_many_share(name: str) -> None:
    assert re.search(r'_ResourceId =~ "/subscriptions/\S+/components/appi"', queries()[name])


def test_the_rules_are_made_only_when_somebody_is_to_be_told() -> None:
    assert resources("existing", "scheduledQueryRules")
    assert not resources("every-destination", "scheduledQueryRules")
