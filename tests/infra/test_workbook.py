"""The workbook: its queries ask for what the app logs and nothing else, and see this app alone."""

import json
import re
from xml.etree import ElementTree as ET

import pytest

from gateway_tokens.errors import AzureThrottled, TooManyRequests
from gateway_tokens.renewal.report import BAD, Outcome
from gateway_tokens.renewal.rows import Reason
from tests.infra.digests import accepted, queries, read
from tests.unit.documentation_reading import ROOT, codes, rows
from tools.workbook_picture import PARTS

# Lines of key rotation, until docs/logs.md has them.
LINES = {
    codes(row["Event"])[0]: set(codes(row["Fields"]))
    for row in rows((ROOT / "docs" / "logs.md").read_text(), "Event")
}
QUERIES = queries("workbook")
EVENT = re.compile(r'"([a-z_]+\.[a-z_]+)"')


def quoted(title: str, after: str) -> set[str]:
    """The quoted words of the list that follows some text in a query."""
    return set(re.findall(r'"(\w+)"', QUERIES[title].partition(f"{after} (")[2].partition(")")[0]))


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_asks_for_documented_events_and_for_fields_that_one_of_them_has(title: str) -> None:
    events = set(EVENT.findall(QUERIES[title]))
    fields = set(re.findall(r"\bline\.(\w+)", QUERIES[title])) - {"event"}
    assert events
    assert events <= LINES.keys()
    assert fields
    assert fields <= set().union(*(LINES[event] for event in events))


@pytest.mark.parametrize("title", QUERIES)
def test_a_query_sees_this_app_only_in_a_workspace_that_many_share(title: str) -> None:
    assert re.findall(
        r"AppTraces \| where _ResourceId =~ \"/subscriptions/\S+/components/appi\"", QUERIES[title]
    )
    assert QUERIES[title].count("AppTraces") == 1


def test_the_words_that_queries_look_for_are_those_of_the_app() -> None:
    states = QUERIES["Tokens by state, at the last run of each subscription"]
    failing = "What fails or is at risk, since when, and the hours left"
    throttled = "Throttled by Azure or by the app"
    assert re.findall(r'"(\w+)", line\.\1\b', states) == list(Outcome)
    assert quoted(failing, "outcome in") == BAD
    assert quoted("Restarts", "tostring(line.reason) in") <= set(Reason)
    assert quoted(throttled, "tostring(line.code) in") == {AzureThrottled.code, TooManyRequests.code}


def test_what_fails_is_decided_as_the_alerts_decide_it() -> None:
    shared = (
        "run.row",
        "ago(7h)",
        "| summarize arg_max(TimeGenerated, line) by ",
        ' in ("failed", "not_reached") or ',
    )
    alert = queries("alerts")["gateway-tokens-renewal-failed"]
    for part in shared:
        assert part in alert
        assert part in QUERIES["What fails or is at risk, since when, and the hours left"]


def test_a_part_looks_back_over_the_chosen_time_or_over_two_days_for_the_state() -> None:
    told = [
        json.loads("{" + line.partition(": {")[2])
        for line in read("workbook")["queries"]
        if "KqlItem" in line
    ]
    assert {(part.get("timeContextFromParameter"), str(part.get("timeContext"))) for part in told} == {
        ("Time", "None"),
        (None, "{'durationMs': 172800000}"),
    }


def test_the_workbook_is_made_unless_it_is_declined() -> None:
    made = {
        case for case in accepted() if any("workbooks " in line for line in read(case).get("resources", []))
    }
    assert {"defaults", "key-vault", "aks", "workbook"} <= made
    assert "every-destination" not in made


def row(**fields: object) -> dict[str, object]:
    place = {"service": "contoso", "gateway": "edge-07", "destination": "https://memory.example/edge-07"}
    return {"event": "run.row", "reason": "expired", "atRisk": False, **place, **fields}


def test_the_picture_has_the_parts_of_the_workbook_in_its_order_and_says_what_it_is() -> None:
    text = (ROOT / "docs" / "workbook.svg").read_text("utf-8")
    said = [element.text for element in ET.fromstring(text).iter() if element.text]  # noqa: S314 - ours
    assert [part for part in said if part in PARTS] == list(QUERIES) == list(PARTS)
    assert any("rendering" in part for part in said)
    assert "127.0.0.1" not in text


def test_the_picture_shows_what_the_queries_ask_for() -> None:
    failing = PARTS["What fails or is at risk, since when, and the hours left"]
    bad = {"outcome": "failed", "hoursLeft": 7.5, "code": "azure_blocked", "error": "A lock."}
    assert failing([row(**bad)])[1] == [[7.5, "contoso/edge-07", "", "azure_blocked", "A lock."]]
    assert failing([row(**bad), row(outcome="fresh")])[1] == []
    days = PARTS["Renewals and expiries of the next 30 days"]
    older = {
        "event": "service.completed",
        "service": "a",
        "whole": True,
        "dueByDay": {},
        "expiryByDay": {"2026-01-01": 9},
    }
    newer = older | {"dueByDay": {"2026-02-01": 2}, "expiryByDay": {"2026-02-11": 2}}
    partial = older | {"whole": False}
    assert [(day, due, end) for day, due, _, end, _ in days([older, newer, partial])[1]] == [
        ("2026-02-01", 2, 0),
        ("2026-02-11", 0, 2),
    ]
