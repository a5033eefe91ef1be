"""What the scripts for real parts share: commands that must be there, processes, and waiting."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def require(*commands: str) -> None:
    """End the script with exit code 2 unless every command is there."""
    if lacking := [command for command in commands if not shutil.which(command)]:
        print(f"Not run: there is no command {' and no '.join(lacking)}. Install it.", file=sys.stderr)
        sys.exit(2)


@contextmanager
def running(command: list[str], folder: Path, log: Path) -> Iterator[None]:
    """The command with its output in a file, until the end."""
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output) as process,
    ):
        try:
            yield
        finally:
            process.kill()  # what it keeps is in a folder that goes away


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait up to 90 seconds, then say that it holds. Raises AssertionError."""
    for _ in range(180):
        if await holds():
            print(f"ok  {what}")
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not within 90 seconds: {what}")
