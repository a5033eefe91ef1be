"""The script for hosts that cannot be reached, run as systemd runs it, against the app and the emulator."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emulator.directory import API_ID
from emulator.faults import Fault
from emulator.host import Host
from emulator.server import Emulator
from emulator.tls import throw_away_tls
from gateway_tokens import app as gateway_app
from tests.callers import OBJECT_ID, SIGN_IN_MODE, rule
from tests.http.renewal_app import RenewalApp
from tests.renewal_estate import DAY, StandingClock
from tests.stand_ins.metadata import ArcAgent, VirtualMachine

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "edge" / "gateway-token"
CURL = shutil.which("curl")
OLD = "config.service.auth=GatewayKey edge-01&202603021200&b2xk\n"
# Stands before curl on the path: notes how curl is called, and calls it.
WITNESS = """#!/bin/sh
{{ printf '%s\\n' "$@"; env; }} >> {seen}
exec {curl} "$@"
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CURL is None, reason="curl is not installed: the script needs it"),
]


class EdgeHost:
    """A host with a managed identity that may have the tokens of contoso's edge; its clock stands still.

    `restarts` counts how often its container was restarted, `curls` how often it called curl.
    """

    def __init__(self, folder: Path) -> None:
        self.clock = StandingClock()
        self.vm, self.arc = VirtualMachine(), ArcAgent(folder)
        self.emulator = Emulator(vaults=("contoso", "fabrikam"), endpoints=[self.vm, self.arc])
        self.env_file = folder / "edge-01.env"
        self._restarts, self._seen = folder / "restarts", folder / "seen"
        self._restarts.touch()
        self._seen.touch()
        witness = folder / "bin" / "curl"
        witness.parent.mkdir()
        witness.write_text(WITNESS.format(seen=self._seen, curl=CURL))
        witness.chmod(0o755)
        self.settings = {
            "PATH": f"{witness.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AUDIENCE": f"api://{API_ID}",
            "GATEWAY": "contoso/edge-01",
            "ENV_FILE": str(self.env_file),
            "RESTART": f"echo restarted >> {self._restarts}",
            "RETRIES": "0",
        }

    async def run(self, **settings: str) -> int:
        """The script's exit code. A setting that is empty counts as left out."""
        environ = {name: value for name, value in (self.settings | settings).items() if value}
        started = await asyncio.create_subprocess_exec(
            SCRIPT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(started.communicate(), 30)
        self.output = output.decode()
        seen = self._seen.read_text()
        for hidden in ("eyJ", "GatewayKey", "Bearer", "Basic", "Metadata"):
            assert hidden not in seen + self.output
        assert seen.count("--silent\n") == self.curls
        return started.returncode or 0

    @property
    def line(self) -> str:
        return self.env_file.read_text()

    @property
    def curls(self) -> int:
        return self._seen.read_text().count("--config\n-\n")

    @property
    def restarts(self) -> int:
        return len(self._restarts.read_text().splitlines())


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EdgeHost]:
    """The host, with the app served to it over TLS."""
    edge = EdgeHost(tmp_path)
    async with edge.emulator as emulator:
        emulator.azure.clock = edge.clock
        monkeypatch.setattr(gateway_app, "_clock", edge.clock)
        estate = RenewalApp(emulator, monkeypatch)
        estate.configure(rule("contoso/edge-*", allow=("issue",), objectId=OBJECT_ID), **SIGN_IN_MODE)
        await gateway_app.forget()
        app = await Host.load(ROOT, key="nobody-has-it")
        try:
            url = await app.start(tls=throw_away_tls().server)
            settings = {"APP_URL": url, "IDENTITY_URL": edge.vm.address, "CURL_CA_BUNDLE": emulator.ca_file}
            edge.settings |= settings
            yield edge
        finally:
            await app.stop()
            await gateway_app.forget()


async def test_the_file_is_written_once_and_again_when_the_token_is_due_or_its_key_is_new(
    host: EdgeHost,
) -> None:
    [contoso] = [
        service for service in host.emulator.azure.services.values() if service.name == "contoso-apim"
    ]
    gateway = contoso.gateways["edge-01"]
    assert (await host.run(), host.restarts, host.curls) == (0, 1, 2)
    first, written = host.line, host.env_file.stat()
    assert first.startswith("config.service.auth=GatewayKey edge-01&")
    assert first.endswith("==\n")
    assert gateway.accepts(first.partition("GatewayKey ")[2].strip(), host.clock() + 10 * DAY)
    assert written.st_mode & 0o777 == 0o600

    host.clock.now += DAY
    # The identity endpoint is on this host, or in its network: it is asked without a proxy.
    assert (await host.run(http_proxy="http://127.0.0.1:9"), host.restarts, host.output) == (0, 1, "")
    assert (host.env_file.stat().st_ino, host.env_file.stat().st_mtime) == (written.st_ino, written.st_mtime)

    host.clock.now += 20 * DAY
    assert (await host.run(), host.restarts) == (0, 2)
    second = host.line
    assert second != first

    gateway.regenerate("primary")
    assert (await host.run(), host.restarts) == (0, 3)
    assert host.line != second
    assert {path.name for path in host.env_file.parent.glob("edge-01.*")} == {"edge-01.env"}


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"GATEWAY": "contoso/lab-01"}, 3, "does not give this host the token of contoso/lab-01"),
        ({"GATEWAY": "contoso/edge-99"}, 3, "does not give this host the token of contoso/edge-99"),
        ({"APP_URL": "https://127.0.0.1:9"}, 4, "The next run tries again."),
        ({"CURL_CA_BUNDLE": ""}, 4, "certificate"),
        ({"IDENTITY_URL": "http://127.0.0.1:9/token?api=1"}, 2, "token?api=1 does not answer."),
        ({"AUDIENCE": "api://another"}, 2, "gave no access token: HTTP/1.1 400 Bad Request."),
        ({"ACCESS_TOKEN_FILE": "/nowhere"}, 2, "/nowhere cannot be read."),
        ({"ACCESS_TOKEN_FILE": str(SCRIPT)}, 2, f"What {SCRIPT} holds is not an access token."),
        ({"APP_URL": "http://127.0.0.1:9"}, 1, "APP_URL must begin with https://."),
        *(({name: ""}, 1, f"{name} is not set.") for name in ("AUDIENCE", "GATEWAY", "ENV_FILE", "RESTART")),
    ],
)
async def test_without_a_token_the_file_stays_and_the_exit_code_says_why(
    host: EdgeHost, settings: dict[str, str], code: int, message: str
) -> None:
    host.env_file.write_text(OLD)
    assert await host.run(**settings) == code
    assert message in host.output
    assert (host.line, host.restarts) == (OLD, 0)


async def test_a_503_is_asked_again_by_the_next_run_and_by_curl_within_one(host: EdgeHost) -> None:
    faults = host.emulator.azure.faults
    host.env_file.write_text(OLD)
    refusing = faults.add(Fault(host="arm", status=503, times=None))
    assert await host.run() == 4
    assert (host.line, host.restarts) == (OLD, 0)
    # As often as the app asked Azure for its first answer; its second one finds Azure well again.
    faults.remove(refusing)
    faults.add(Fault(host="arm", status=503, times=refusing.struck))
    assert (await host.run(RETRIES="1"), host.restarts) == (0, 1)
    assert host.line != OLD


@pytest.mark.parametrize("half", ["", "config.service.auth=GatewayKey edge-0", "\0\0\0"])
async def test_a_half_written_file_is_replaced_with_one_that_nobody_else_can_read(
    host: EdgeHost, half: str
) -> None:
    new = host.env_file.with_name("edge-01.env.new")
    for path in (host.env_file, new):
        path.write_text(half)
        path.chmod(0o644)
    assert (await host.run(), host.restarts) == (0, 1)
    assert host.line.startswith("config.service.auth=GatewayKey edge-01&")
    assert host.env_file.stat().st_mode & 0o777 == 0o600
    assert not new.exists()


async def test_a_restart_that_failed_is_repeated_by_the_next_run(host: EdgeHost) -> None:
    assert await host.run(RESTART="exit 1") == 7
    assert (await host.run(), host.restarts) == (0, 1)
    assert (await host.run(), host.restarts) == (0, 1)


async def test_a_file_that_cannot_be_written_restarts_nothing(host: EdgeHost) -> None:
    assert await host.run(ENV_FILE=f"{host.env_file.parent}/nowhere/edge-01.env") == 6
    assert host.restarts == 0


async def test_an_arc_enabled_server_shows_that_it_can_read_a_file(host: EdgeHost) -> None:
    keys, address = host.arc.keys, host.arc.address
    assert (await host.run(IDENTITY_URL=address, ARC_KEYS=str(keys)), host.restarts) == (0, 1)
    for elsewhere in (keys / "tokens", keys / "tokens" / ".."):
        assert await host.run(IDENTITY_URL=address, ARC_KEYS=str(elsewhere)) == 2
        assert f"is not a .key file in {elsewhere}" in host.output


async def test_only_a_key_file_of_the_agent_is_read_and_sent(host: EdgeHost) -> None:
    """Whoever answers in the agent's place learns nothing of the host's files."""
    keys, azure = host.arc.keys, host.emulator.azure
    for realm in (f"{keys}/../x.key", f"{keys}/passwd", "/etc/passwd", f"{keys}/x/y.key"):
        challenge = {"Www-Authenticate": f"Basic realm={realm}"}
        azure.faults.add(Fault(host="metadata", status=401, headers=challenge))
        assert await host.run(IDENTITY_URL=host.arc.address, ARC_KEYS=str(keys)) == 2
        assert f"{realm} is not a .key file in {keys}" in host.output
    assert len(azure.called("metadata")) == 4


async def test_an_access_token_may_come_from_a_file(host: EdgeHost) -> None:
    file = host.env_file.with_name("access-token")
    file.write_text(host.emulator.azure.directory.access_token(host.clock()) + "\n")
    assert (await host.run(ACCESS_TOKEN_FILE=str(file)), host.restarts) == (0, 1)
    assert host.emulator.azure.called("metadata") == []
    file.write_text(file.read_text() + 'url = "https://example.com"\n')
    assert await host.run(ACCESS_TOKEN_FILE=str(file)) == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"200 OK\r\nContent-Length: 13\r\n\r\n<html></html>", 5),
        (b"302 Found\r\nLocation: https://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", 5),
        (f"200 OK\r\nContent-Length: 200\r\n\r\n{OLD}".encode(), 4),
    ],
    ids=["a page", "a redirect", "half a token"],
)
async def test_an_answer_that_is_not_a_whole_token_changes_nothing(
    host: EdgeHost, answer: bytes, code: int
) -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"true}")
        writer.write(b"HTTP/1.1 " + answer)
        writer.close()
        await writer.wait_closed()

    host.env_file.write_text(OLD)
    server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=throw_away_tls().server)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await host.run(APP_URL=url) == code
    assert (host.line, host.restarts) == (OLD, 0)


def test_shellcheck_has_nothing_to_say_of_the_script() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
