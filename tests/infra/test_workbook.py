"""The workbook and its picture. `test_queries` holds its queries to the app's lines."""

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

from gateway_tokens.errors import AzureThrottled, TooManyRequests
from gateway_tokens.renewal.report import BAD, Outcome
from gateway_tokens.renewal.rows import Reason
from tests.infra.digests import ROOT, accepted, queries, read
from tools.workbook_picture import PARTS

QUERIES = queries("workbook")
STATES = "Tokens by state, at the last run of each subscription"
FAILING = "What fails or is at risk, since when, and the hours left"
DAYS = "Renewals and expiries of the next 30 days"


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
    alert = queries("alerts")["gateway-tokens-renewal-failed"]
    for part in (
        "run.row",
        "ago(7h)",
        "| summarize arg_max(TimeGenerated, line) by ",
        ' in ("failed", "not_reached") or ',
    ):
        assert part in alert
        assert part in QUERIES[FAILING]


def test_a_part_looks_back_over_the_chosen_time_or_over_two_days_for_the_state() -> None:
    lines = [line for line in read("workbook")["queries"] if "KqlItem" in line]
    told = [json.loads("{" + line.partition(": {")[2]) for line in lines]
    assert {(part.get("timeContextFromParameter"), str(part.get("timeContext"))) for part in told} == {
        ("Time", "None"),
        (None, "{'durationMs': 172800000}"),
    }


def test_the_workbook_is_made_unless_it_is_declined() -> None:
    made = {case for case in accepted() if "workbooks " in " ".join(read(case).get("resources", []))}
    assert {"defaults", "key-vault", "aks", "workbook"} <= made
    assert "every-destination" not in made


def test_the_picture_has_the_parts_of_the_workbook_in_its_order_and_says_what_it_is() -> None:
    text = (ROOT / "docs" / "workbook.svg").read_text("utf-8")
    said = [element.text for element in ET.fromstring(text).iter() if element.text]  # noqa: S314 - ours
    assert [part for part in said if part in PARTS] == list(QUERIES) == list(PARTS)
    assert any("rendering" in part for part in said)
    assert "127.0.0.1" not in text


def test_the_picture_shows_what_the_queries_ask_for() -> None:
    place = {"service": "contoso", "gateway": "edge-07", "destination": "https://memory.example/edge-07"}
    fresh: dict[str, Any] = {"event": "run.row", "reason": "expired", "atRisk": False, **place}
    bad = fresh | {"outcome": "failed", "hoursLeft": 7.5, "code": "azure_blocked", "error": "A lock."}
    assert PARTS[FAILING]([bad])[1] == [[7.5, "contoso/edge-07", "", "azure_blocked", "A lock."]]
    assert PARTS[FAILING]([bad, fresh | {"outcome": "fresh"}])[1] == []
    of_service = {"event": "service.completed", "service": "a", "whole": True, "dueByDay": {}}
    older = of_service | {"expiryByDay": {"2026-01-01": 9}}
    newer = of_service | {"dueByDay": {"2026-02-01": 2}, "expiryByDay": {"2026-02-11": 2}}
    shown = PARTS[DAYS]([older, newer, older | {"whole": False}])[1]
    assert [(day, due, end) for day, due, _, end, _ in shown] == [("2026-02-01", 2, 0), ("2026-02-11", 0, 2)]
