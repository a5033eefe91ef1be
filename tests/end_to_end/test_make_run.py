"""The command behind `make run`, as a newcomer starts it."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.__main__ import write_local_settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "local.settings.json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(port: int) -> subprocess.CompletedProcess[str]:
    """The demonstration, once, on this port; settings that it wrote are taken away again."""
    there_before = SETTINGS.exists()
    # Nothing but what any shell has: the command brings its own settings.
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    try:
        return subprocess.run(
            [sys.executable, "-m", "emulator", "--once", "--port", str(port)],
            cwd=ROOT,
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        if not there_before:
            SETTINGS.unlink(missing_ok=True)


def test_it_prints_a_request_its_answer_and_a_token_and_exits_0() -> None:
    port = free_port()
    done = run(port)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"POST http://127.0.0.1:{port}/api/services/contoso/gateways/edge-01/generateToken" in done.stdout
    # One for a caller who signs in, one for a function key.
    assert done.stdout.count("Authorization: Bearer eyJ") == done.stdout.count("x-functions-key: ") == 1
    assert done.stdout.count("200 OK") == 2
    assert len(re.findall(r'"value": "edge-01&[0-9]{12}&[A-Za-z0-9+/]{86}=="', done.stdout)) == 2


def test_a_port_that_is_taken_is_said_plainly_and_exits_with_another_code() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(port)
    assert done.returncode != 0
    assert str(port) in done.stderr
    assert "PORT=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("own", ["{}", "not JSON", '{"Values": {"GATEWAY_TOKENS": "mine"}}'])
def test_settings_of_somebodys_own_are_left_alone(tmp_path: Path, own: str) -> None:
    path = tmp_path / "local.settings.json"
    path.write_text(own)
    assert "left alone" in write_local_settings(path, {"ALLOW_FUNCTION_KEYS": "true"})
    assert path.read_text() == own


def test_settings_that_make_run_wrote_are_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "local.settings.json"
    write_local_settings(path, {"ALLOW_FUNCTION_KEYS": "true"})
    write_local_settings(path, {"ALLOW_FUNCTION_KEYS": "false"})
    assert json.loads(path.read_text())["Values"]["ALLOW_FUNCTION_KEYS"] == "false"
