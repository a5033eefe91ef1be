"""What answers when another Python runs the packages than the one that they were built for.

Compiled modules cannot be imported then, so nothing here imports one.
"""

from __future__ import annotations

import logging
import re
import sys
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path

import azure.functions as func

from gateway_tokens.errors import WrongPython
from gateway_tokens.logs import log_line

from .answers import answered, json_answer

# Every part of the app imports it, and it has one compiled module, whose name has the Python that can load it.
_COMPILED = "pydantic_core"


def wrong_python(error: ImportError) -> WrongPython:
    """Why an import failed. Raises the error itself when the packages were built for this Python."""
    running, built_for = f"{sys.version_info.major}.{sys.version_info.minor}", _built_for()
    if not built_for or running in built_for:
        raise error
    return WrongPython(built_for[0], running)


def _built_for() -> list[str]:
    """The Pythons in the compiled module's file names: `cpython-311-x86_64-linux-gnu` is for 3.11."""
    spec = find_spec(_COMPILED)
    folders = (spec and spec.submodule_search_locations) or ()
    names = sorted(file.name for folder in folders for file in Path(folder).iterdir())
    return [f"3.{match[1]}" for name in names if (match := re.search(r"\.cpython-3(\d+)", name))]


class WrongPythonApi:
    """Every route: answers that the app cannot be loaded, and why."""

    def __init__(self, error: WrongPython) -> None:
        self._versions = error.built_for, error.running

    @answered
    async def health(self, request: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """The code in health's own form. The log has the two versions."""
        error = WrongPython(*self._versions)
        log_line("request.failed", logging.ERROR, code=error.code, error=str(error))
        document = {"status": "unhealthy", "problems": [{"code": error.code}], "warnings": []}
        return json_answer(document, HTTPStatus.SERVICE_UNAVAILABLE)

    @answered
    async def refuse(self, request: func.HttpRequest, *_: object) -> func.HttpResponse:  # noqa: ARG002 - every route takes one
        """The reason as a problem document."""
        raise WrongPython(*self._versions)

    generate_token = list_gateways = renew = revoke = plan = show_run = run = refuse
