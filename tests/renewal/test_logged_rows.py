"""Which rows a run logs: every one that is not simply fresh, and a fresh one when that is news; the others are summed."""

from dataclasses import replace
from datetime import datetime

import pytest

from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rows import Action, Decision, Outcome, Reason, Row, RowId, Seen
from tests.renewal_estate import (
    DAY,
    EDGE,
    HOME,
    HOUR,
    NOW,
    OUTAGE,
    Estate,
    Log,
    a_token,
    contoso,
    fleet,
    lines,
)


def logging_all(estate: Estate) -> Estate:
    estate.app = replace(estate.app, settings=replace(estate.app.settings, log_fresh_rows=True))
    return estate


async def logged(estate: Estate, caplog: Log, runs: int) -> list[list[str]]:
    """The outcomes of the rows that each of the next runs logs."""
    found = []
    for _ in range(runs):
        caplog.clear()
        await estate.run(HOUR)
        found.append([line["outcome"] for line in lines(caplog, "run.row")])
    return found


async def test_a_row_that_failed_is_logged_in_every_run_and_a_fresh_one_once(
    caplog: Log,
) -> None:
    estate = contoso()
    assert await logged(estate, caplog, 3) == [["renewed"], ["fresh"], []]
    estate.location(HOME).failing["read"] = OUTAGE
    assert await logged(estate, caplog, 2) == [["failed"], ["failed"]]
    estate.location(HOME).failing.clear()
    assert await logged(estate, caplog, 2) == [["fresh"], []]
    estate.reports.texts.clear()
    assert await logged(estate, caplog, 2) == [["fresh"], []]
    assert await logged(logging_all(estate), caplog, 2) == [["fresh"]] * 2


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


async def test_a_service_is_summed_with_the_days_on_which_its_tokens_are_due_and_expire(
    caplog: Log,
) -> None:
    estate = fleet(3)
    for number, days in enumerate((25, 25, 20)):
        name = f"edge-{number:03}"
        estate.deliver(f"contoso-{name}", a_token(NOW + days * DAY, name))
    estate.location("contoso-edge-001").failing["read"] = OUTAGE
    await estate.run()
    caplog.clear()
    await estate.run(HOUR)
    (line,) = lines(caplog, "service.completed")
    assert (line["service"], line["whole"], line["rows"], line["fresh"]) == ("contoso", True, 3, 2)
    assert line["expiryByDay"] == {"2026-03-21": 1, "2026-03-26": 1}
    assert line["earliestExpiry"] == "2026-03-21T12:00:00Z"
    assert line["earliestDue"][:10] == min(line["dueByDay"])
    assert sum(line["dueByDay"].values()) == 2


class TestWhatCannotBeSeen:
    async def test_is_judged_by_the_expiry_that_was_last_seen_there(self, caplog: Log) -> None:
        estate = contoso()
        await estate.run()
        estate.locations[HOME].failing = {"read": OUTAGE}
        for days, risk in ((2, False), (22, False), (2, True)):
            caplog.clear()
            await estate.run(days * DAY)
            (row,) = lines(caplog, "run.row")
            assert (row["outcome"], row["atRisk"]) == ("failed", risk)
            left = (NOW + 30 * DAY - HOUR - estate.clock.now).total_seconds() / 3600
            assert (row["failingSince"], row["hoursLeft"]) == ("2026-03-03T12:00:00Z", left)

    @pytest.mark.parametrize(("failing", "risk"), [("read", False), ("write", True)])
    async def test_is_at_risk_only_where_no_token_is_and_none_can_be_given(
        self, caplog: Log, failing: str, *, risk: bool
    ) -> None:
        estate = contoso()
        estate.location(HOME).failing = {failing: OUTAGE}
        await estate.run()
        assert [row["atRisk"] for row in lines(caplog, "run.row")] == [risk]
