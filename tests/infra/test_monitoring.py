"""Alerts and workbook: they ask for what the app logs, of this app alone, in sound Kusto, and tell somebody in time."""

import json
import operator
import re
import shutil
import subprocess
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from gateway_tokens.errors import AzureThrottled, TooManyRequests
from gateway_tokens.renewal.rows import BAD, Outcome, Reason
from tests.docs.documentation_log_lines import log_lines
from tests.docs.documentation_reading import read_documents, snippets
from tests.infra.digests import ROOT, accepted, alert_rules, queries, read, resources
from tools.workbook_picture import PARTS

PACKAGE = ROOT / ".build" / "kusto" / "node_modules" / "@kusto" / "language-service-next"
INSTALL = "npm install --prefix .build/kusto @kusto/language-service-next@12.4.1"
NODE = shutil.which("node") or ""
WORKBOOK, QUERIES = queries("workbook"), queries("alerts") | queries("workbook")
ROWS = tuple(
    f"gateway-tokens-{name}"
    for name in ("token-expires-within-a-day", "token-expires-within-three-days", "renewal-failed")
)
NO_RUN = "gateway-tokens-no-run"
CRITERIA: dict[str, dict[str, Any]] = {
    name: json.loads(criterion)
    for name, _, criterion in (line.partition(": ") for line in read("alerts")["queries"] if line[0] != " ")
}
LOG_ALERTS, METRICS = resources("alerts", "scheduledQueryRules"), resources("alerts", "metricAlerts")
STATES = "Tokens by state, at the last run of each subscription"
FAILING = "What fails or is at risk, since when, and the hours left"
DAYS = "Renewals and expiries of the next 30 days"


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_events_of_this_app_alone_and_for_fields_that_one_of_them_has(name: str) -> None:
    lines, query = log_lines(), QUERIES[name]
    events = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', query))
    fields = set(re.findall(r"\bline\.(\w+)", query)) - {"event"}
    assert events
    assert events <= lines.keys()
    assert fields <= set().union(*(lines[event] for event in events))
    table = r"App(?:Traces|Requests)"  # in a workspace that many share
    alone = rf"{table} \| where _ResourceId =~ \"/subscriptions/\S+/components/appi\""
    assert len(re.findall(alone, query)) == len(re.findall(table, query)) > 0


def faults(*texts: str) -> list[list[str]]:
    command = [NODE, str(ROOT / "tests" / "infra" / "kusto.js"), str(PACKAGE)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    answers: list[list[str]] = json.loads(done.stdout)
    return answers


@pytest.mark.slow
@pytest.mark.skipif(
    not (NODE and PACKAGE.exists()), reason=f"the Kusto language service is not here: {INSTALL}"
)
def test_every_query_is_sound_to_microsofts_own_language_service_and_a_faulty_one_is_not() -> None:
    documents = [query for text in read_documents().values() for query in snippets(text, "kusto")]
    sound = [*QUERIES.values(), *documents]
    answers = faults(*sound, "AppTraces | wher Message has 'a'", "AppTraces | project Massage")
    assert {
        query: query_faults for query, query_faults in zip(sound, answers, strict=False) if query_faults
    } == {}
    assert len(sound) > len(documents) > 0
    assert all(answers[-2:])


def test_the_workflow_installs_the_language_service_before_it_tests() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert workflow.index(f"run: {INSTALL}\n") < workflow.index("run: make test\n")


def dimensions(name: str) -> list[str]:
    return [dimension["name"] for dimension in CRITERIA[name]["dimensions"]]


@pytest.mark.parametrize("name", ROWS)
def test_each_row_that_fails_or_is_at_risk_by_its_last_line_is_an_alert_of_its_own_with_its_error(
    name: str,
) -> None:
    criterion, query = CRITERIA[name], QUERIES[name]
    assert dimensions(name) == ["service", "gateway", "destination"]
    assert "| summarize arg_max(TimeGenerated, line) by service, gateway, destination\n" in query
    assert (criterion["metricMeasureColumn"], criterion["timeAggregation"]) == ("hoursLeft", "Minimum")
    assert LOG_ALERTS[name]["severity"] == str(ROWS.index(name)), "the nearer the end, the more severe"
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
    query = QUERIES[NO_RUN]
    subscriptions = '"11111111-1111-1111-1111-111111111111", "aaaaaaaa-2222-2222-2222-222222222222"'
    assert dimensions(NO_RUN) == ["subscription"]
    assert f"datatable(subscription: string) [{subscriptions}]" in query
    assert query.endswith("| where subscription !in (covered)\n| where anyCovered or not(anyInvocation)\n")
    assert query.count("ago(7h)") == 2
    assert LOG_ALERTS[NO_RUN]["windowSize"] == "P1D"
    (name,) = re.findall(r'OperationName == "(\w+)"', query)
    assert f"async def {name}(" in (ROOT / "function_app.py").read_text()


def test_without_somebody_to_tell_a_deployment_is_refused_unless_it_says_so() -> None:
    assert [line for line in read("refused-empty-lists")["refused"] if "nobody would be told" in line]
    assert not alert_rules("every-destination")


def test_a_whole_deployment_has_every_rule_of_the_module_and_the_platforms_own_refusals_are_counted() -> None:
    assert {alert["metricName"] for alert in METRICS.values()} == {"Http401", "Http403"}
    severities = {name: alert["severity"] for name, alert in (LOG_ALERTS | METRICS).items()}
    assert alert_rules("existing") == severities
    assert {alert["actionGroups"].count("/actionGroups/") for alert in LOG_ALERTS.values()} == {2}, (
        "not all are told"
    )


def quoted(title: str, after: str) -> set[str]:
    """The quoted words of the list that follows some text in a query."""
    return set(re.findall(r'"(\w+)"', QUERIES[title].partition(f"{after} (")[2].partition(")")[0]))


def test_the_words_that_queries_look_for_are_those_of_the_app() -> None:
    assert re.findall(r'"(\w+)", line\.\1\b', QUERIES[STATES]) == list(Outcome)
    assert quoted(FAILING, "outcome in") == BAD
    assert quoted("Restarts", "tostring(line.reason) in") <= set(Reason)
    throttled = quoted("Throttled by Azure or by the app", "tostring(line.code) in")
    assert throttled == {AzureThrottled.code, TooManyRequests.code}


def test_what_fails_is_decided_as_the_alerts_decide_it() -> None:
    for part in (
        "run.row",
        "ago(7h)",
        "| summarize arg_max(TimeGenerated, line) by ",
        ' in ("failed", "not_reached") or ',
    ):
        assert part in QUERIES[ROWS[-1]]
        assert part in QUERIES[FAILING]


def test_the_workbook_is_made_unless_it_is_declined() -> None:
    deploying = {case for case in accepted() if "workbooks " in " ".join(read(case).get("resources", []))}
    assert {"defaults", "key-vault", "aks", "workbook"} <= deploying
    assert "every-destination" not in deploying


def test_the_picture_has_the_parts_of_the_workbook_in_its_order_and_says_what_it_is() -> None:
    text = (ROOT / "docs" / "workbook.svg").read_text("utf-8")
    texts = [element.text for element in ET.fromstring(text).iter() if element.text]  # noqa: S314 - ours
    assert [part for part in texts if part in PARTS] == list(WORKBOOK) == list(PARTS)
    assert any("rendering" in part for part in texts)
    assert "127.0.0.1" not in text


def test_the_picture_shows_what_the_queries_ask_for() -> None:
    row = {"service": "contoso", "gateway": "edge-07", "destination": "https://memory.example/edge-07"}
    fresh: dict[str, Any] = {"event": "run.row", "reason": "expired", "atRisk": False, **row}
    bad = fresh | {"outcome": "failed", "hoursLeft": 7.5, "code": "azure_blocked", "error": "A lock."}
    assert PARTS[FAILING]([bad])[1] == [[7.5, "contoso/edge-07", "", "azure_blocked", "A lock."]]
    assert PARTS[FAILING]([bad, fresh | {"outcome": "fresh"}])[1] == []
    of_service = {"event": "service.completed", "service": "a", "whole": True, "dueByDay": {}}
    older = of_service | {"expiryByDay": {"2026-01-01": 9}}
    newer = of_service | {"dueByDay": {"2026-02-01": 2}, "expiryByDay": {"2026-02-11": 2}}
    shown = PARTS[DAYS]([older, newer, older | {"whole": False}])[1]
    assert [(day, due, end) for day, due, _, end, _ in shown] == [("2026-02-01", 2, 0), ("2026-02-11", 0, 2)]
