"""The alert rules: what they look for, whom they tell, and how urgent each is. `test_queries` holds their queries to the app's lines."""

import json
import operator
import re
from typing import Any

import pytest

from gateway_tokens.renewal.report import BAD
from tests.infra.digests import ROOT, alert_rules, queries, read, resources

PREFIX = "gateway-tokens-"
ROWS = ("token-expires-within-a-day", "token-expires-within-three-days", "renewal-failed")
QUERIES = {name.removeprefix(PREFIX): query for name, query in queries("alerts").items()}
CRITERIA: dict[str, dict[str, Any]] = {
    name.removeprefix(PREFIX): json.loads(criterion)
    for name, _, criterion in (line.partition(": ") for line in read("alerts")["queries"] if line[0] != " ")
}
TOLD = {name.removeprefix(PREFIX): told for name, told in resources("alerts", "scheduledQueryRules").items()}
METRICS = resources("alerts", "metricAlerts")


def dimensions(name: str) -> list[str]:
    return [one["name"] for one in CRITERIA[name]["dimensions"]]


@pytest.mark.parametrize("name", ROWS)
def test_each_row_that_fails_or_is_at_risk_by_its_last_line_is_an_alert_of_its_own_with_its_error(
    name: str,
) -> None:
    criterion, query = CRITERIA[name], QUERIES[name]
    assert dimensions(name) == ["service", "gateway", "destination"]
    assert "| summarize arg_max(TimeGenerated, line) by service, gateway, destination\n" in query
    assert (criterion["metricMeasureColumn"], criterion["timeAggregation"]) == ("hoursLeft", "Minimum")
    assert TOLD[name]["severity"] == str(ROWS.index(name)), "the nearer the end, the more severe"
    assert "error = tostring(line.error)" in query
    (outcomes,) = re.findall(r"where outcome in \((.+?)\) or atRisk\n", query)
    assert set(re.findall(r'"(\w+)"', outcomes)) == BAD


@pytest.mark.parametrize(
    ("hours", "name"),
    [(23.9, ROWS[0]), (24, ROWS[1]), (71.9, ROWS[1]), (72, ROWS[2]), (9999, ROWS[2])],
)
def test_a_row_is_in_one_rule_by_the_hours_left(hours: float, name: str) -> None:
    holds = {"<": operator.lt, ">=": operator.ge}
    last = {rule: re.findall(r"hoursLeft (<|>=) (\d+)", QUERIES[rule].splitlines()[-1]) for rule in ROWS}
    assert [rule for rule in ROWS if all(holds[sign](hours, int(n)) for sign, n in last[rule])] == [name]
    assert hours < CRITERIA[name]["threshold"]


def test_silence_is_told_for_each_subscription_after_the_hours_that_the_parameter_names() -> None:
    query = QUERIES["no-run"]
    subscriptions = '"11111111-1111-1111-1111-111111111111", "aaaaaaaa-2222-2222-2222-222222222222"'
    assert dimensions("no-run") == ["subscription"]
    assert f"datatable(subscription: string) [{subscriptions}]" in query
    assert query.endswith("| where subscription !in (covered)\n| where anyCovered or not(anyInvocation)\n")
    assert query.count("ago(7h)") == 2
    assert TOLD["no-run"]["windowSize"] == "P1D"
    (name,) = re.findall(r'OperationName == "(\w+)"', query)
    assert f"async def {name}(" in (ROOT / "function_app.py").read_text()


def test_a_mail_address_makes_an_action_group_and_everything_is_told_to_all_groups() -> None:
    (group,) = resources("alerts", "actionGroups").values()
    assert group["emailAddress"] == "platform-team@contoso.example"
    assert {one["actionGroups"].count("/actionGroups/") for one in TOLD.values()} == {2}


def test_without_somebody_to_tell_a_deployment_is_refused_unless_it_says_so() -> None:
    assert [line for line in read("refused-empty-lists")["refused"] if "nobody would be told" in line]
    assert not alert_rules("every-destination")


def test_a_whole_deployment_has_every_rule_of_the_module_and_the_platforms_own_refusals_are_counted() -> None:
    assert {one["metricName"] for one in METRICS.values()} == {"Http401", "Http403"}
    told = {**resources("alerts", "scheduledQueryRules"), **METRICS}
    assert alert_rules("existing") == {name: one["severity"] for name, one in told.items()}
