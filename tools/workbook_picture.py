"""`python -m tools.workbook_picture`: draws docs/workbook.svg, a rendering of the workbook from the emulator's log lines.

The sample estate runs on the emulator, with some gateways more. Each part computes from the lines what its query asks for.
"""

import asyncio
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from emulator import sample
from emulator.command import serving
from emulator.demonstration import KEY, issue_one
from emulator.server import Emulator
from gateway_tokens.renewal.rows import BAD, Outcome

Line = dict[str, Any]
Table = tuple[Sequence[str], list[Sequence[object]]]

ROOT = Path(__file__).parents[1]
_WIDTH, _ROW, _LETTER = 1200, 17, 6.7
_MORE, _FREE_PORT = 40, 0
_BLOCK = "█"  # of a bar
_RESTARTS = {
    "restart_due",
    "restarting",
    "not_restarted",
    "restart_unverified",
    "waiting_for_workload",
    "not_picked_up",
}


def page(lines: Sequence[Line]) -> str:
    """The picture of these log lines, in the order in which they were written."""
    top, drawn = 78, []
    for titles in (
        [
            "Tokens by state, at the last run of each subscription",
            "Renewals and expiries of the next 30 days",
        ],
        ["What fails or is at risk, since when, and the hours left"],
        ["The last run of each subscription", "Seconds that runs took"],
        ["Restarts"],
        ["Rotations of keys"],
        ["Who issued what", "Throttled by Azure or by the app"],
    ):
        width = (_WIDTH - 20) // len(titles)
        parts = [
            _part(title, PARTS[title](lines), 10 + n * width, top, width - 10)
            for n, title in enumerate(titles)
        ]
        drawn += [text for text, _ in parts]
        top += max(height for _, height in parts) + 14
    head = (
        _text(16, 30, "gateway-tokens", "font-size='20' font-weight='600'"),
        _text(
            16,
            54,
            "A rendering of the workbook, drawn from the log lines of the sample estate on the emulator.",
        ),
    )
    style = "font-family='ui-monospace, Consolas, monospace' font-size='11' fill='#201f1e'"
    size = f"width='{_WIDTH}' height='{top}'"
    body = "\n".join([f"<rect {size} fill='#faf9f8'/>", *head, *drawn])
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} viewBox='0 0 {_WIDTH} {top}' {style}>\n{body}\n</svg>\n"


def _of(lines: Iterable[Line], *events: str) -> list[Line]:
    return [line for line in lines if line["event"] in events]


def _last(lines: Iterable[Line], *fields: str) -> list[Line]:
    """The last line for each value of the fields."""
    return list({tuple(line.get(field) for field in fields): line for line in lines}.values())


def _whole_runs(lines: Sequence[Line]) -> list[Line]:
    return [line for line in _of(lines, "run.completed") if line["whole"]]


def _states(lines: Sequence[Line]) -> Table:
    runs = _last(_whole_runs(lines), "subscription")
    counts = {name: sum(run[name] for run in runs) for name in Outcome}
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return ("state", "tokens", ""), [(name, n, _bar(n, max(counts.values()))) for name, n in ordered if n]


def _days(lines: Sequence[Line]) -> Table:
    due, expiry = Counter[str](), Counter[str]()
    for line in _last((line for line in _of(lines, "service.completed") if line["whole"]), "service"):
        due.update(line["dueByDay"])
        expiry.update(line["expiryByDay"])
    most = max([*due.values(), *expiry.values()], default=1)
    rows = [
        (day, due[day], _bar(due[day], most), expiry[day], _bar(expiry[day], most))
        for day in sorted(due | expiry)
    ]
    return ("day", "renewals", "", "expiries", ""), list(rows)


def _failing(lines: Sequence[Line]) -> Table:
    rows = _last(_of(lines, "run.row"), "service", "gateway", "destination")
    bad = [row for row in rows if row.get("outcome") in BAD or row["atRisk"]]
    fields = ("hoursLeft", "gateway", "failingSince", "code", "error")
    return ("hoursLeft", "gateway", "since", "code", "error"), [_cells(row, fields) for row in bad]


def _runs(lines: Sequence[Line]) -> Table:
    fields = ("subscription", "rows", "renewed", "failed", "atRisk", "seconds")
    return fields, [_cells(run, fields) for run in _last(_whole_runs(lines), "subscription")]


def _seconds(lines: Sequence[Line]) -> Table:
    runs = _whole_runs(lines)
    most = max((run["seconds"] for run in runs), default=1)
    return ("subscription", "seconds", ""), [
        (run["subscription"][:8], run["seconds"], _bar(run["seconds"], most)) for run in runs
    ]


def _restarts(lines: Sequence[Line]) -> Table:
    rows = [
        row
        for row in _of(lines, "run.row")
        if row.get("outcome") == "restarting" or row["reason"] in _RESTARTS
    ]
    counts = Counter((row["service"], row["gateway"], row["destination"], row["outcome"]) for row in rows)
    last = _last(rows, "service", "gateway", "destination", "outcome")
    fields = ("gateway", "outcome", "reason", "destination")
    ended = zip(last, counts.values(), strict=True)
    return ("runs", *fields), [(runs, *_cells(row, fields)) for row, runs in ended]


def _rotations(lines: Sequence[Line]) -> Table:
    fields = ("event", "gateway", "keyType", "reason", "caller", "destination")
    changes = _of(lines, "key.switched", "key.regenerated", "key.revoked", "key.not_regenerated")
    return fields, [_cells(line, fields) for line in changes]


def _issued(lines: Sequence[Line]) -> Table:
    issued = _of(lines, "token.issued")
    counts = Counter(
        (line["caller"], f"{line['service']}/{line['gateway']}", line["keyType"]) for line in issued
    )
    until = {f"{line['service']}/{line['gateway']}": line["expiry"] for line in issued}
    counted = [(*who, tokens, until[who[1]]) for who, tokens in reversed(counts.items())]
    return ("caller", "gateway", "key", "tokens", "until"), [*counted[:12]]


def _throttled(lines: Sequence[Line]) -> Table:
    codes = {"azure_throttled", "too_many_requests"}
    failed = [line for line in _of(lines, "run.row", "request.failed") if line.get("code") in codes]
    return ("what", "lines"), list(Counter(f"{line['event']} {line['code']}" for line in failed).items())


PARTS: dict[str, Callable[[Sequence[Line]], Table]] = {
    "Tokens by state, at the last run of each subscription": _states,
    "Renewals and expiries of the next 30 days": _days,
    "What fails or is at risk, since when, and the hours left": _failing,
    "The last run of each subscription": _runs,
    "Seconds that runs took": _seconds,
    "Restarts": _restarts,
    "Rotations of keys": _rotations,
    "Who issued what": _issued,
    "Throttled by Azure or by the app": _throttled,
}


def _cells(line: Line, fields: Sequence[str]) -> Sequence[object]:
    whole = line | {"gateway": f"{line.get('service')}/{line.get('gateway')}"}
    return [whole.get(field, "") for field in fields]


def _bar(value: float, most: float) -> str:
    return _BLOCK * max(1, round(16 * value / most)) if value else ""


def _part(title: str, table: Table, left: int, top: int, width: int) -> tuple[str, int]:
    """One part in a frame, and its height."""
    names, rows = table
    height = 46 + _ROW * (len(rows) or 1)
    frame = f"<rect x='{left}' y='{top}' width='{width}' height='{height}' fill='#fff' stroke='#d2d0ce'/>"
    texts = [_text(left + 10, top + 19, title, "font-weight='600'")]
    if not rows:
        return "\n".join([frame, *texts, _text(left + 10, top + 42, "Nothing.", "fill='#605e5c'")]), height
    at, shown = float(left + 10), [[str(cell) for cell in row] for row in (names, *rows)]
    for column in zip(*shown, strict=True):
        letters = int((left + width - 10 - at) / _LETTER)
        for number, cell in enumerate(column):
            fitted = cell if len(cell) <= letters else f"{cell[: max(0, letters - 1)]}…"
            colour = "#201f1e" if number else "#605e5c"
            texts.append(_cell(at, top + 38 + _ROW * number, fitted, colour))
        at += (max(map(len, column)) + 2) * _LETTER
    return "\n".join([frame, *filter(None, texts)]), height


def _cell(left: float, top: float, text: str, colour: str) -> str:
    """A cell's text; a bar as a shape, since fonts differ in its width."""
    if text.startswith(_BLOCK):
        return f"<rect x='{left:.0f}' y='{top - 9}' width='{len(text) * _LETTER:.0f}' height='11' fill='#0078d4'/>"
    return _text(left, top, text, f"fill='{colour}'")


def _text(left: float, top: float, text: str, style: str = "") -> str:
    return f"<text x='{left:.0f}' y='{top:.0f}' {style}>{escape(text)}</text>" if text else ""


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


async def _sample_lines() -> list[Line]:
    """The log lines of the sample estate: a token for a caller, then two runs of the timer."""
    log, logger = _Lines(), logging.getLogger("gateway_tokens")
    logger.addHandler(log)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    async with Emulator(vaults=sample.VAULTS, endpoints=[sample.CLUSTER]) as emulator:
        sample.populate(emulator, _MORE)
        gateways = next(iter(emulator.azure.services.values())).gateways
        for number in range(_MORE):
            gateway = gateways[f"many-{number:04}"]
            left = timedelta(days=11 + number * 7 % 19, hours=number)
            sample.store(emulator, "contoso", "contoso-apim", gateway, left)
        settings = sample.app_settings(emulator, function_keys=True) | {"LOG_FRESH_ROWS": "false"}
        async with serving(settings, _FREE_PORT) as (host, url):
            await issue_one(url, "", KEY)
            for _ in range(2):
                await host.fire("renew_on_schedule")
                await host.queues.idle()
        texts = log.texts
        for address, name in emulator.names().items():
            texts = [text.replace(address, f"https://{name}.example") for text in texts]
    return [json.loads(text) for text in texts]


def main() -> None:
    """Draw the picture anew."""
    with redirect_stdout(io.StringIO()):
        lines = asyncio.run(_sample_lines())
    (ROOT / "docs" / "workbook.svg").write_text(page(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
