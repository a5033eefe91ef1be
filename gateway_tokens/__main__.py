"""`gateway-tokens` and `python -m gateway_tokens`: the command line, if its packages are installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from .cli.commands import app  # noqa: PLC0415 - its packages may not be there
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        print(
            f"The command line needs the package '{error.name}'. Install it with its extra: pipx install '.[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app(prog_name="gateway-tokens")


if __name__ == "__main__":
    main()
