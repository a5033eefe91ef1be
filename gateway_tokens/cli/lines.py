"""In which line of a JSON text a fault is."""

from __future__ import annotations

import json
import re
from bisect import bisect

from gateway_tokens.errors import Fault
from gateway_tokens.parsing import shown_name

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_STATED = re.compile(r"at line ([0-9]+) column")


class Lines:
    """The lines of a JSON text by path, where paths are written as faults write them."""

    def __init__(self, text: str) -> None:
        self._by_path, self._repeated = dict[str, int](), dict[str, int]()
        ends, path = [match.start() for match in re.finditer("\n", text)], ""
        # What is open: its path, and the index of an array's next entry, or the name before an object's next value.
        holders: list[tuple[str, int | str | None]] = []
        for token in _TOKEN.finditer(text):
            word, line = token[0], bisect(ends, token.start()) + 1
            outer, member = holders[-1] if holders else ("", "")
            if word in "}]":
                holders.pop()
            elif word == ",":
                holders[-1] = outer, member + 1 if isinstance(member, int) else None
            elif member is None:
                name = shown_name(json.loads(word))
                holders[-1] = outer, name
                path = f"{outer}.{name}".lstrip(".")
                (self._repeated if path in self._by_path else {})[name] = line
                self._by_path.setdefault(path, line)
            elif word != ":":
                path = f"{outer}[{member}]" if isinstance(member, int) else f"{outer}.{member}".lstrip(".")
                self._by_path.setdefault(path, line)
                if word in "{[":
                    holders.append((path, 0 if word == "[" else None))

    def of(self, fault: Fault, within: str = "") -> int:
        """The line of the fault, or of the closest part around it that the text has; its document is at `within`."""
        if stated := _STATED.search(fault.message):
            return int(stated[1])
        for name, line in self._repeated.items():
            if fault.message == f"'{name}' is given twice":
                return line
        path = within + fault.path
        while path and path not in self._by_path:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._by_path.get(path, 1)
