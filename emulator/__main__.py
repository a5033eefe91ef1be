"""`make run`. Imports little, so that Ctrl-C ends it quietly from the beginning."""

import io
import sys


def _run() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe or a file as well
    from emulator.command import command  # noqa: PLC0415 - see above

    return command()


if __name__ == "__main__":
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        print("\nStopped.")
