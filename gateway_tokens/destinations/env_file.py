"""A file for Docker's --env-file: the gateway's setting as a line, the label as a comment above it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway_tokens.destination_settings import Form
from gateway_tokens.errors import DestinationBlocked, WriteConflict
from gateway_tokens.ledger import Held, Label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_tokens.destination_settings import EnvFile
    from gateway_tokens.model import GatewayRef, GatewayToken

# https://learn.microsoft.com/azure/api-management/self-hosted-gateway-settings-reference
_SETTING = "config.service.auth="
_LEDGER = "# gateway-tokens: "


class EnvFileDestination:
    """One line of one file; its other lines are left as they are. Docker reads it when a container is made."""

    restarts = False

    def __init__(self, spec: EnvFile, ref: GatewayRef) -> None:
        self.place = spec.place(ref)
        self._path = Path(self.place)

    async def read(self) -> Held | None:
        """What the line holds, or None while the file or the line is missing."""
        return _held(await asyncio.to_thread(self._lines))

    async def write(self, token: GatewayToken, label: Label, held: Held | None) -> None:
        """Replace the file as a whole: a reader sees the old content or the new, never a part."""
        await asyncio.to_thread(self._write, token, label, held.version if held else "")

    async def restart(self, token: GatewayToken) -> None:
        """Nothing to do: a file does not know who reads it."""

    def _lines(self) -> list[str]:
        with self._clear_errors():
            try:
                mode = self._path.lstat().st_mode
            except FileNotFoundError:
                return []
            # A link could lead the token anywhere.
            if not stat.S_ISREG(mode):
                raise DestinationBlocked(self.place, "is not a regular file. Name the file itself.")
            return self._path.read_text(encoding="utf-8").splitlines()

    def _write(self, token: GatewayToken, label: Label, expected: str) -> None:
        lines = self._lines()
        now = _held(lines)
        if (now.version if now else "") != expected:
            raise WriteConflict(self.place, "somebody changed the file. The next sweep looks at it.")
        kept = [line for line in lines if not line.startswith((_SETTING, _LEDGER))]
        kept.append(_LEDGER + json.dumps(label.tags(token)))
        kept.append(_SETTING + Form.HEADER.of(token).reveal())
        with self._clear_errors():
            _replace(self._path, "\n".join(kept) + "\n")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DestinationBlocked(
                self.place, "its folder does not exist. Create it where the app runs."
            ) from None
        except UnicodeDecodeError:
            raise DestinationBlocked(self.place, "is not UTF-8 text. Name another file.") from None
        except OSError as error:
            raise DestinationBlocked(
                self.place, f"the app cannot use this file: {error.strerror or type(error).__name__}."
            ) from None


def _held(lines: list[str]) -> Held | None:
    ours = [line for line in lines if line.startswith((_SETTING, _LEDGER))]
    # Of a setting given twice, Docker takes the last.
    values = [line.removeprefix(_SETTING) for line in ours if line.startswith(_SETTING)]
    if not values:
        return None
    version = hashlib.sha256("\n".join(ours).encode()).hexdigest()
    return Held(Form.HEADER.token_in(values[-1]), _label(ours), version)


def _label(lines: list[str]) -> Label | None:
    comments = [line.removeprefix(_LEDGER) for line in lines if line.startswith(_LEDGER)]
    try:
        tags = json.loads(comments[-1]) if comments else None
    except ValueError:
        return None
    texts = isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())
    return Label.from_tags(tags) if texts else None


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
