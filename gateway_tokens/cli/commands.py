"""The commands, their options and their exit codes."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from gateway_tokens.errors import GatewayTokensError, IdentityUnavailable

from .documents import Finding, Unusable, read_file

_T = TypeVar("_T")
GOOD, FAULTS, WRONG_USAGE = 0, 1, 2
_IN_A_PIPE = 160  # columns, since a pipe has no width
app = typer.Typer(
    help="See your own estate before you deploy: check its settings, see what the app would do with it, and what it lacks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables could show a token
    rich_markup_mode=None,
)
Paths = Annotated[list[Path], typer.Argument(help="Files: .json or .bicepparam.", metavar="PATH...")]
AsJson = Annotated[bool, typer.Option("--json", help="Print data in place of text.")]
EstatePath = Annotated[Path, typer.Option("--estate", metavar="PATH", help="A file as for `validate`.")]
Principal = Annotated[str, typer.Option(help="The object id of the app's identity: identityPrincipalId.")]
AppUrl = Annotated[str, typer.Option("--app", metavar="URL", help="The app's address, to read its health.")]
OutputFormat = Annotated[
    Literal["text", "github"], typer.Option("--format", help="`github` annotates changes.")
]


@app.command()
def validate(paths: Paths, *, form: OutputFormat = "text", json_: AsJson = False) -> None:
    """Check files offline, and print every fault in one line: file:line: path: message.

    A .json file holds the settings document, or app settings in the form of local.settings.json. A .bicepparam file is
    read through the Bicep compiler: the one that BICEP names, on PATH, or that of az.
    Exit code 0: no fault. 1: faults. 2: wrong usage, or a file that cannot be read.
    """
    findings, code = list[Finding](), GOOD
    for path in paths:
        try:
            findings += read_file(path).findings
        except Unusable as error:
            findings.append(Finding(str(path), None, "", str(error)))
            code = WRONG_USAGE
    good = f"No fault in {len(paths)} {'file' if len(paths) == 1 else 'files'}."
    lines = [_annotation(finding) if form == "github" else str(finding) for finding in findings]
    data = json.dumps([finding._asdict() for finding in findings], indent=2)
    typer.echo(data if json_ else "\n".join(lines or [good]))
    raise typer.Exit(code or (FAULTS if findings else GOOD))


@app.command()
def plan(*, estate: EstatePath, json_: AsJson = False) -> None:
    """Show what the app would do with your estate now, and why. Reads with your own `az login`, and writes nothing.

    For each gateway and destination: what is stored, until when, whose it is, and what a run would do. No token is
    printed. Your sign-in needs the rights to list gateways and to read secrets. ARM_ENDPOINT, ARM_SCOPE and CA_FILE
    mean what they mean to the app.
    Exit code 0: all was read, and a run may write it. 1: not all, or the file has faults. 2: wrong usage, no sign-in.
    """
    from rich.console import Console

    from .plan import is_bad, print_plan, read_plan

    rows = _read(estate, lambda app, _: read_plan(app))
    if json_:
        typer.echo(json.dumps(rows, indent=2))
    else:
        width = None if sys.stdout.isatty() else _IN_A_PIPE
        print_plan(rows, Console(width=width, markup=False, highlight=False, emoji=False))
    raise typer.Exit(FAULTS if any(map(is_bad, rows)) else GOOD)


@app.command()
def doctor(*, estate: EstatePath, principal: Principal = "", url: AppUrl = "", json_: AsJson = False) -> None:
    """Try every right and every reach that your estate needs, from here, with your own `az login`. Writes nothing.

    Rights: what your sign-in may do at each scope and, with --principal, what the app may: its roles there, those that
    it inherits and those of its groups. Deny assignments and conditions are shown, and not judged.
    Reach: gateways, vaults and clusters are read; certificates and sign-in secrets are held to their expiry.
    Exit code 0: nothing is lacking. 1: something is, or the file has faults. 2: wrong usage, no sign-in.
    """
    from .doctor import LACKING, examine, health_of

    checks = _read(estate, lambda app, azure: examine(app, azure, principal))
    checks += [health_of(url)] if url else []
    if json_:
        typer.echo(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        for check in checks:
            typer.echo(f"{check.verdict}: {check.what} {check.about}: {check.message}")
            typer.echo(f"    {check.command}\n" if check.command else "", nl=False)
        typer.echo("Tried from here with your sign-in. The app's own reach is what its health says: --app.")
    raise typer.Exit(FAULTS if any(check.verdict == LACKING for check in checks) else GOOD)


def _read(path: Path, work: Callable[..., Awaitable[_T]]) -> _T:
    """What the work returns for the file's estate; what prevents it altogether is printed, and the command ends."""
    from .plan import signed_in

    logging.getLogger().addHandler(logging.NullHandler())  # what the modules log is for the deployed app
    code = WRONG_USAGE
    try:
        file = read_file(path)
        if file.estate and not file.findings:
            return asyncio.run(signed_in(file, file.estate, work))
        code, message = FAULTS, "\n".join(map(str, file.findings))
    except Unusable as error:
        message = f"{path}: {error}"
    except IdentityUnavailable:
        message = "The Azure CLI gives no access token. Sign in: az login"
    except GatewayTokensError as error:
        message = str(error)
    typer.echo(message, err=True)
    raise typer.Exit(code)


def _annotation(finding: Finding) -> str:
    """https://docs.github.com/actions/reference/workflow-commands-for-github-actions."""

    def escaped(text: str, more: str = "") -> str:
        return "".join(f"%{ord(c):02X}" if c in f"%\r\n{more}" else c for c in text)

    line = "" if finding.line is None else f",line={finding.line}"
    message = ": ".join(filter(None, (finding.path, finding.message)))
    return f"::error file={escaped(finding.file, ':,')}{line}::{escaped(message)}"
