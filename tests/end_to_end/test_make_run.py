"""The command behind `make run`, as a newcomer starts it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from emulator.command import write_local_settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "local.settings.json"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


_WITH_CTRL_C = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("emulator", run_name="__main__", alter_sys=True)
"""


def started(*arguments: str) -> "subprocess.Popen[str]":
    """The command, in a terminal of 80 columns, behind a proxy that is not there."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    closed = f"http://127.0.0.1:{free_port()}"
    return subprocess.Popen(
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and so it would be in what they start.
        [sys.executable, "-c", _WITH_CTRL_C, *arguments],
        cwd=ROOT,
        env={**kept, "COLUMNS": "80", "HTTP_PROXY": closed, "HTTPS_PROXY": closed, "https_proxy": closed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str) -> tuple[int, str, str]:
    """The command to its end: exit code, output, errors."""
    with started("--once", *arguments) as process:
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_it_prints_a_request_its_answer_and_a_token_and_exits_0() -> None:
    port = free_port()
    code, output, errors = run("--port", str(port))
    assert (code, errors) == (0, "")
    assert f"POST http://127.0.0.1:{port}/api/services/contoso/gateways/edge-01/generateToken" in output
    # One for a caller who signs in, one for a function key.
    assert output.count("Authorization: Bearer eyJ") == output.count("x-functions-key: ") == 1
    assert output.count("200 OK") == 2
    assert len(re.findall(r'"value": "edge-01&[0-9]{12}&[A-Za-z0-9+/]{86}=="', output)) == 2
    # Nothing but a token is too long for a terminal; what failed says why, before the counts, and that it was meant to.
    assert [line for line in output.splitlines() if len(line) > 80 and '"value"' not in line] == []
    assert re.search(
        r"\nplant-b failed: azure_forbidden: (.+\n)+6 rows: 3 renewed, 1 failed, 1 fresh, 1 restarting\.\n",
        output,
    )
    assert output.endswith("Everything went as it should: plant-b was meant to fail.\n")


def test_a_port_that_is_taken_is_said_plainly_and_exits_with_another_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = run("--port", str(port))
    assert code == 1
    assert errors == f"Port {port} is taken. Choose another: make run PORT=7072\n"


def test_ctrl_c_in_the_middle_of_a_run_ends_it_quietly_within_two_seconds() -> None:
    with started("--gateways", "200", "--latency", "0.05", "--port", str(free_port())) as process:
        assert process.stdout
        # Output comes line by line into a pipe as well, and rows while others are under way.
        while "many-" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        rest, errors = process.communicate(timeout=30)
    assert time.monotonic() - before < 2
    assert (process.returncode, errors) == (0, "")
    assert rest.endswith("\nStopped.\n")


PROVIDERS = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft."
VAULT = {"kind": "keyVault", "vault": "https://shop.vault.azure.net", "secret": "{service}-{gateway}"}
SIGN_IN = {"vault": "https://shop.vault.azure.net", "secret": "reader"}
SERVER = {"kind": "kubernetes", "server": "https://k8s.example:6443", "namespace": "gw", "signIn": SIGN_IN}
AKS = {"kind": "kubernetes", "cluster": f"{PROVIDERS}ContainerService/managedClusters/aks"}
OWN = {
    "services": {
        "shop": {
            "resourceId": f"{PROVIDERS}ApiManagement/service/shop-apim",
            "gateways": {
                "*": {"destinations": [VAULT]},
                "edge-*": {"destinations": [{**SERVER, "restart": {"name": "{gateway}"}}]},
                "lab": {"renew": False},
            },
        },
        "plant": {
            "resourceId": f"{PROVIDERS}ApiManagement/service/plant-apim",
            "gateways": {"hall-1": {"destinations": [VAULT, AKS]}},
        },
    },
    "access": [{"caller": {"appRole": "Operator"}, "gateways": ["*/*"], "allow": ["read"]}],
}


def test_a_document_of_ones_own_is_served_with_what_it_names_made_up_and_what_it_says_to_try_works(
    tmp_path: Path,
) -> None:
    (tmp_path / "estate.json").write_text(json.dumps(OWN))
    there_before = SETTINGS.exists()
    try:
        with started("--settings", str(tmp_path / "estate.json"), "--port", str(free_port())) as process:
            assert process.stdout
            shown = "".join(iter(process.stdout.readline, "The app's log lines follow. Ctrl-C ends it.\n"))
            [header] = re.findall("^H='(.*): (.*)'$", shown, re.MULTILINE)
            [plan] = re.findall('^curl -H "\\$H" (.*/renewals)$', shown, re.MULTILINE)
            with urllib.request.urlopen(urllib.request.Request(plan, headers=dict([header]))) as answer:  # noqa: S310 - our own
                assert answer.status == 200
            refused = urllib.request.Request(f"{plan}?limit=1", headers=dict([header]))  # noqa: S310
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(refused)  # noqa: S310
            process.send_signal(signal.SIGINT)
            log, _ = process.communicate(timeout=30)
    finally:
        if not there_before:
            SETTINGS.unlink(missing_ok=True)
    rows = [line.split() for line in shown.splitlines() if line.startswith(("shop/", "plant/"))]
    assert sorted((gateway, outcome, location) for gateway, _, outcome, *_, location in rows) == [
        ("plant/hall-1", "renewed", "aks/hall-1-token"),
        ("plant/hall-1", "renewed", "shop/plant-hall-1"),
        ("shop/edge-01", "restarting", "k8s/edge-01-token"),
        ("shop/edge-02", "restarting", "k8s/edge-02-token"),
        ("shop/gateway-01", "renewed", "shop/shop-gateway-01"),
        ("shop/gateway-02", "renewed", "shop/shop-gateway-02"),
    ]
    # The app's log lines are JSON.
    [line] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert line["event"] == "request.failed"


def test_faults_of_a_document_of_ones_own_are_listed_and_it_is_not_served(tmp_path: Path) -> None:
    document = tmp_path / "estate.json"
    document.write_text(json.dumps(OWN).replace("keyVault", "keyVolt").replace('"read"', '"reed"'))
    code, output, errors = run("--settings", str(document))
    assert (code, output) == (1, "")
    first, *faults = errors.splitlines()
    assert first == f"{document} has faults:"
    assert [fault.partition(":")[0].strip() for fault in faults] == [
        "services.shop.gateways.*.destinations[0].kind",
        "services.plant.gateways.hall-1.destinations[0].kind",
        "access[0].allow[0]",
    ]
    document.write_bytes(b"\xff")
    assert run("--settings", str(document)) == (1, "", f"{document} cannot be read: it is not text.\n")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A call of make, without what an outer make hands on."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def a_python(path: Path, command: str) -> Path:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path


def test_a_broken_virtual_environment_is_made_anew_and_said_and_a_sound_one_kept(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("pyvenv.cfg", ".app"):
        (tmp_path / name).touch()
    sentence = f"{tmp_path} is broken, or of a Python before 3.11: it is made anew."
    for command, warned in (("exit 1", True), (f'exec "{sys.executable}" "$@"', False)):
        a_python(tmp_path / "bin" / "python", command)
        output = make("--dry-run", "run", f"VENV={tmp_path}").stdout
        assert (sentence in output, f"-m venv --clear {tmp_path}" in output) == (warned, warned)


def test_a_folder_that_is_no_virtual_environment_is_left_alone_and_an_old_python_explained(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").touch()
    done = make("run", f"VENV={tmp_path}")
    assert f"{tmp_path} is not a virtual environment." in done.stderr
    assert (tmp_path / "mine").exists()
    old = a_python(tmp_path / "python3", "exit 1")
    explained = make("run", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert explained.stderr.startswith("Install Python 3.11 or newer with venv")
    assert explained.stdout == ""
    assert 0 not in {done.returncode, explained.returncode}


def test_settings_that_make_run_wrote_are_written_anew_and_somebodys_own_are_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "local.settings.json"
    for value in ("true", "false"):
        write_local_settings(path, {"ALLOW_FUNCTION_KEYS": value})
        assert json.loads(path.read_text())["Values"]["ALLOW_FUNCTION_KEYS"] == value
    for own in ("{}", "not JSON", '{"Values": {"GATEWAY_TOKENS": "mine"}}'):
        path.write_text(own)
        assert "left alone" in write_local_settings(path, {"ALLOW_FUNCTION_KEYS": "true"})
        assert path.read_text() == own
