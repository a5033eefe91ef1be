"""A run as people read it: its rows as they come in, what failed, and how many there were."""

import json
import logging
import shutil
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

_WIDTHS = {"gateway": 17, "reason": 17, "outcome": 10, "until": 6}
_PROGRESS_SECONDS = 2


class RunTable(logging.Handler):
    """Prints a run's rows from the app's own log lines. `names` are what the addresses of vaults and clusters are shown as.

    Of the rows that went well only `most` are printed, of those that did not every one.
    """

    def __init__(self, names: Mapping[str, str], most: int = 20) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.troubles: list[dict[str, Any]] = []
        self._names, self._most = names, most
        self._columns = shutil.get_terminal_size((80, 24)).columns
        self._told = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one log line."""
        line = json.loads(record.getMessage())
        if line["event"] != "run.row":
            return
        if not self.rows:
            self._print({**{name: name for name in _WIDTHS}, "destination": "destination"})
        self.rows.append(line)
        if record.levelno > logging.INFO:
            self.troubles.append(line)
        if record.levelno > logging.INFO or len(self.rows) <= self._most:
            self._print(self._shown(line))
        elif time.monotonic() - self._told > _PROGRESS_SECONDS:
            print(f"... {len(self.rows)} rows so far")
            self._told = time.monotonic()

    def summary(self) -> str:
        """What failed and why, before how many rows there were of each outcome."""
        counts = Counter(row["outcome"] or "kept" for row in self.rows)
        by_count = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        told = ", ".join(f"{count} {outcome}" for outcome, count in by_count)
        causes = [
            self._wrapped(
                ": ".join(
                    filter(None, [f"{row['gateway']} {row['outcome']}", row.get("code"), row.get("error")])
                )
            )
            for row in self.troubles[: self._most]
        ]
        return "\n".join([*causes, f"{len(self.rows)} rows: {told}."])

    def _wrapped(self, text: str) -> str:
        return textwrap.fill(
            text, self._columns, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )

    def _print(self, shown: Mapping[str, str]) -> None:
        cells = [_fitted(shown[name], width).ljust(width) for name, width in _WIDTHS.items()]
        rest = self._columns - sum(_WIDTHS.values()) - len(_WIDTHS)
        print(" ".join([*cells, _fitted(shown["destination"], rest)]).rstrip())

    def _shown(self, line: dict[str, Any]) -> dict[str, str]:
        until = line.get("newExpiry") or line.get("oldExpiry")
        return {
            "gateway": f"{line['service']}/{line['gateway']}",
            "reason": line["reason"],
            "outcome": line.get("outcome", ""),
            "until": f"{datetime.fromisoformat(until):%d %b}" if until else "-",
            "destination": self._named(line["destination"]),
        }

    def _named(self, location: str) -> str:
        for address, name in self._names.items():
            if location.startswith(address):
                return f"{name}/{location.rpartition('/')[2]}"
        return location.removeprefix("https://")


def _fitted(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
