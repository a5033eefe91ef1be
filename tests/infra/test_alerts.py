"""The alert rules: what they look for, and that each looks in the documented lines."""

from __future__ import annotations

import ast
import json
import operator
import re
from typing import Any

import pytest

from gateway_tokens.renewal.report import BAD
from tests.infra.digests import INFRA, ROOT, alert_rules, read, resources


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


ROWS = ("token-expires-within-a-day", "token-expires-within-three-days", "renewal-failed")


def rules() -> dict[str, tuple[dict[str, Any], str]]:
    """Each rule's criterion and query."""
    criteria: dict[str, dict[str, Any]] = {}
    queries: dict[str, str] = {}
    for line in read("alerts")["queries"]:
        if line.startswith("  "):
            queries[next(reversed(queries))] += f"{line.strip()}\n"
        else:
            name, _, criterion = line.removeprefix("gateway-tokens-").partition(": ")
            criteria[name], queries[name] = json.loads(criterion), ""
    return {name: (criterion, queries[name]) for name, criterion in criteria.items()}


RULES = rules()


def dimensions(name: str) -> list[str]:
    return [one["name"] for one in RULES[name][0]["dimensions"]]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_looks_for_events_and_fields_that_the_app_writes(name: str) -> None:
    query = RULES[name][1]
    events = re.findall(r'event == "([^"]+)"', query)
    fields = set(re.findall(r"line\.(\w+)", query)) - {"event"}

    assert events
    assert set(events) <= LINES.keys()
    assert fields <= set().union(*(LINES[event] for event in events))


@pytest.mark.parametrize("name", RULES)
def test_a_rule_sees_this_app_only_in_a_workspace_that_many_share(name: str) -> None:
    tables = re.findall(
        r"App(?:Traces|Requests) \| where _ResourceId =~ \"/subscriptions/\S+/components/appi\"",
        RULES[name][1],
    )

    assert len(tables) == len(re.findall(r"App(?:Traces|Requests)", RULES[name][1]))
    assert tables


@pytest.mark.parametrize("name", ROWS)
def test_each_failing_row_is_an_alert_of_its_own(name: str) -> None:
    assert dimensions(name) == ["service", "gateway", "destination"]


@pytest.mark.parametrize("name", ROWS)
def test_the_last_line_of_a_row_decides(name: str) -> None:
    assert "| summarize arg_max(TimeGenerated, line) by service, gateway, destination\n" in RULES[name][1]


@pytest.mark.parametrize("name", ROWS)
def test_a_rule_for_rows_measures_the_hours_left_and_brings_the_error(name: str) -> None:
    criterion, query = RULES[name]

    assert (criterion["metricMeasureColumn"], criterion["timeAggregation"]) == ("hoursLeft", "Minimum")
    assert "error = tostring(line.error)" in query


@pytest.mark.parametrize("name", ROWS)
def test_a_rule_for_rows_wakes_somebody_for_every_outcome_that_somebody_should_hear_of_and_for_risk(
    name: str,
) -> None:
    outcomes = re.findall(r"where outcome in \((.+?)\) or atRisk\n", RULES[name][1])

    assert set(re.findall(r'"(\w+)"', outcomes[0])) == BAD


@pytest.mark.parametrize(
    ("hours", "name"),
    [
        (-5, "token-expires-within-a-day"),
        (23.9, "token-expires-within-a-day"),
        (24, "token-expires-within-three-days"),
        (71.9, "token-expires-within-three-days"),
        (72, "renewal-failed"),
        (9999, "renewal-failed"),
    ],
)
def test_a_row_is_in_one_rule_by_the_hours_left(hours: float, name: str) -> None:
    conditions = {
        rule: re.findall(r"hoursLeft (<|>=) (\d+)", RULES[rule][1].splitlines()[-1]) for rule in ROWS
    }
    holds = {"<": operator.lt, ">=": operator.ge}

    fired = [rule for rule in ROWS if all(holds[sign](hours, int(bound)) for sign, bound in conditions[rule])]

    assert fired == [name]
    assert hours < RULES[name][0]["threshold"]


def test_the_nearer_the_end_the_more_severe() -> None:
    told = resources("alerts", "scheduledQueryRules")

    assert [told[f"gateway-tokens-{name}"]["severity"] for name in ROWS] == ["0", "1", "2"]


def test_silence_is_told_for_each_subscription_of_the_estate() -> None:
    query = RULES["no-run"][1]

    assert dimensions("no-run") == ["subscription"]
    assert (
        'datatable(subscription: string) ["11111111-1111-1111-1111-111111111111", "aaaaaaaa-2222-2222-2222-222222222222"]'
        in query
    )
    assert query.endswith("| where subscription !in (covered)\n| where anyCovered or not(anyInvocation)\n")


def test_silence_is_asked_for_the_hours_that_the_parameter_names_within_what_a_rule_sees() -> None:
    assert RULES["no-run"][1].count("ago(7h)") == 2
    assert resources("alerts", "scheduledQueryRules")["gateway-tokens-no-run"]["windowSize"] == "P1D"


def test_the_function_whose_invocations_count_exists() -> None:
    (name,) = re.findall(r'OperationName == "(\w+)"', RULES["no-run"][1])

    assert f"async def {name}(" in (ROOT / "function_app.py").read_text()


def test_the_names_of_events_are_in_one_place() -> None:
    module = (INFRA / "modules" / "alerts.bicep").read_text()
    used = {event for _, query in RULES.values() for event in re.findall(r'event == "([^"]+)"', query)}

    assert {event: module.count(event) for event in used} == dict.fromkeys(used, 1)


def test_refusals_by_the_platform_are_counted_by_its_own_metrics() -> None:
    told = resources("alerts", "metricAlerts").values()

    assert {one["metricName"] for one in told} == {"Http401", "Http403"}


def test_a_mail_address_makes_an_action_group_and_everything_is_told_to_all_groups() -> None:
    (group,) = resources("alerts", "actionGroups").values()

    assert group["emailAddress"] == "platform-team@contoso.example"
    for one in resources("alerts", "scheduledQueryRules").values():
        assert one["actionGroups"].count("/actionGroups/") == 2


def test_without_somebody_to_tell_a_deployment_is_refused_unless_it_says_so() -> None:
    assert [line for line in read("refused-empty-lists")["refused"] if "nobody would be told" in line]
    assert not alert_rules("every-destination")


def test_a_whole_deployment_has_every_rule_of_the_module() -> None:
    told = {**resources("alerts", "scheduledQueryRules"), **resources("alerts", "metricAlerts")}

    assert alert_rules("existing") == {name: one["severity"] for name, one in told.items()}
