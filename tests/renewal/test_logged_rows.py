"""Which rows a run logs: every one that is not simply fresh, and a fresh one when that is news; the others are summed."""

from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any

import pytest

from gateway_tokens.renewal.report import BAD, Outcome, Row, Seen, ServiceReport
from gateway_tokens.renewal.rows import Action, Decision, Reason, RowId
from tests.renewal_estate import CONTOSO, DAY, EDGE, HOUR, NOW, OUTAGE, Estate, a_token, contoso, kept, lines

HOME = "contoso-edge-01"


def logging_all(estate: Estate) -> Estate:
    estate.app = replace(estate.app, settings=replace(estate.app.settings, log_fresh_rows=True))
    return estate


async def logged(estate: Estate, caplog: pytest.LogCaptureFixture, hours: int = 1) -> list[str]:
    """The outcomes of the rows that the next run logs."""
    caplog.clear()
    estate.clock.now += hours * HOUR
    await estate.run()
    return [line["outcome"] for line in lines(caplog, "run.row")]


async def test_a_fresh_row_is_logged_when_it_is_first_seen_and_not_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    estate = contoso()
    estate.deliver(HOME, a_token(NOW + 25 * DAY))
    assert [await logged(estate, caplog) for _ in range(3)] == [["fresh"], [], []]


async def test_a_row_that_failed_is_logged_in_every_run_and_once_when_it_is_fresh_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    estate = contoso()
    location = estate.deliver(HOME, a_token(NOW + 25 * DAY))
    await logged(estate, caplog)
    location.failing["read"] = OUTAGE
    assert [await logged(estate, caplog) for _ in range(2)] == [["failed"], ["failed"]]
    location.failing.clear()
    assert [await logged(estate, caplog) for _ in range(2)] == [["fresh"], []]


async def test_a_renewed_row_is_logged_as_fresh_once(caplog: pytest.LogCaptureFixture) -> None:
    estate = contoso()
    assert [await logged(estate, caplog) for _ in range(3)] == [["renewed"], ["fresh"], []]


async def test_when_the_report_is_lost_every_row_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    estate = contoso()
    estate.deliver(HOME, a_token(NOW + 25 * DAY))
    await logged(estate, caplog)
    estate.reports.texts.clear()
    assert [await logged(estate, caplog) for _ in range(2)] == [["fresh"], []]


def test_a_row_that_is_or_was_at_risk_or_was_taken_over_does_not_stay_fresh() -> None:
    def fresh(at_risk_from: datetime) -> Row:
        seen = Seen(NOW + 9 * DAY, NOW + 8 * DAY, at_risk_from)
        decision = Decision(Action.KEEP, Reason.FRESH, "")
        return Row(RowId(EDGE, HOME), decision, seen, outcome=Outcome.FRESH, at=NOW)

    at_risk, well, now = fresh(NOW), fresh(NOW + 8 * DAY), NOW + HOUR
    taken_over = replace(well, decision=replace(well.decision, reason=Reason.TAKEN_OVER))
    for before, row, stays in (
        (well, well, True),
        (taken_over, well, True),
        (well, taken_over, False),
        (at_risk, well, False),
        (well, at_risk, False),
    ):
        assert ServiceReport(rows={str(row.id): before}).stays_fresh(row, now) is stays


async def test_with_the_setting_every_fresh_row_is_logged_in_every_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    estate = logging_all(contoso())
    estate.deliver(HOME, a_token(NOW + 25 * DAY))
    assert [await logged(estate, caplog) for _ in range(3)] == [["fresh"]] * 3


async def test_a_service_is_summed_with_the_days_on_which_its_tokens_are_due_and_expire(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = {"resourceId": str(CONTOSO), "gateways": {"*": kept()}}
    estate = Estate({"contoso": service}, {CONTOSO: ["edge-01", "edge-02", "edge-03"]})
    for number, days in ((1, 25), (2, 25), (3, 20)):
        name = f"edge-{number:02}"
        estate.deliver(f"contoso-{name}", a_token(NOW + days * DAY, name), f"contoso-apim/{name}")
    estate.location("contoso-edge-02").failing["read"] = OUTAGE
    for hour in range(2):
        await logged(estate, caplog)
        (line,) = lines(caplog, "service.completed")
        assert (line["service"], line["whole"], line["rows"], line["fresh"]) == ("contoso", True, 3, 2), hour
        assert line["expiryByDay"] == {"2026-03-21": 1, "2026-03-26": 1}
        assert line["earliestExpiry"] == "2026-03-21T12:00:00Z"
        assert line["earliestDue"][:10] == min(line["dueByDay"])
        assert sum(line["dueByDay"].values()) == 2


def alerting(rows: list[dict[str, Any]]) -> set[str]:
    """The rows whose last line is a failure or a risk, as the alerts decide."""
    last = {line["destination"]: line for line in rows}
    return {name for name, line in last.items() if line["outcome"] in BAD or line["atRisk"]}


@pytest.mark.parametrize("seed", range(2))
async def test_the_last_lines_of_rows_alert_as_they_do_when_every_row_is_logged(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Random outages of four rows over forty days, some of them long enough for a risk."""
    names = [f"edge-{n:02}" for n in range(4)]
    alerts: list[list[set[str]]] = []
    counts = []
    for all_rows in (True, False):
        service = {"resourceId": str(CONTOSO), "gateways": {"*": kept()}}
        estate = Estate({"contoso": service}, {CONTOSO: names})
        if all_rows:
            logging_all(estate)
        caplog.clear()
        weather, told = Random(seed), []  # noqa: S311 - nothing here is a secret
        for _ in range(80):
            name = weather.choice(names)
            verb = weather.choice(["read", "write", ""])
            estate.location(f"contoso-{name}").failing = {verb: OUTAGE} if verb else {}
            estate.clock.now += 12 * HOUR
            await estate.run()
            told.append(alerting(lines(caplog, "run.row")))
        alerts.append(told)
        counts.append(len(lines(caplog, "run.row")))
    assert alerts[0] == alerts[1]
    assert any(alerts[0])
    assert counts[1] < counts[0]
