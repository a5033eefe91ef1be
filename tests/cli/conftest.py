"""The command line against an emulated Azure, with a stand-in for the Azure CLI."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway_tokens.cli.commands import app
from tests.destinations.destination_places import SUBSCRIPTION, Surroundings, surroundings_of
from tests.stand_ins.authorization import Authorization

AZ = """#!{python}
import json, sys, urllib.request
resource = sys.argv[sys.argv.index("--resource") + 1]
request = urllib.request.Request("{endpoint}?api-version=2019-08-01&resource=" + resource)
request.add_header("X-IDENTITY-HEADER", "{header}")
token = json.load(urllib.request.urlopen(request))
print(json.dumps({{"accessToken": token["access_token"], "expires_on": int(token["expires_on"])}}))
"""
SERVICE = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.ApiManagement/service/contoso-apim"
CLUSTER = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/edge/providers/Microsoft.ContainerService/managedClusters/edge"
READ_ONLY = {"GET", "HEAD"}


class Laptop:
    """A person signed in with the Azure CLI, and an estate of one service in a local.settings.json."""

    def __init__(self, around: Surroundings, folder: Path, authorization: Authorization) -> None:
        self.azure, self.cluster, self.emulator = around.emulator.azure, around.cluster, around.emulator
        self.authorization, self.file = authorization, folder / "local.settings.json"
        self.service = self.azure.add_service(SUBSCRIPTION, "edge", "contoso-apim")
        self.vault = self.emulator.vault_url("contoso")

    def describe(self, gateways: dict[str, Any]) -> None:
        """Write the estate into the file."""
        document = {"services": {"contoso": {"resourceId": SERVICE, "gateways": gateways}}}
        settings = {"GATEWAY_TOKENS": json.dumps(document), "RENEWAL_SCHEDULE": "0 0 * * * *"}
        self.file.write_text(json.dumps({"Values": {**self.emulator.settings(), **settings}}))

    async def run(self, *arguments: str) -> Result:
        """Run a command over the estate."""
        command = [arguments[0], "--estate", str(self.file), *arguments[1:]]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

    def writes(self) -> list[str]:
        """Every call that may change something. Asking a cluster for its address is a POST that changes nothing."""
        return [
            f"{call.method} {call.path}"
            for call in self.azure.calls
            if call.method not in READ_ONLY and not call.path.endswith("/listClusterUserCredential")
        ]


@pytest.fixture
async def laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Laptop]:
    """The person, with a vault and a cluster."""
    authorization = Authorization()
    async with surroundings_of(authorization.routes()) as around:
        settings = around.emulator.settings()
        az = tmp_path / "bin" / "az"
        az.parent.mkdir()
        az.write_text(
            AZ.format(
                python=sys.executable,
                endpoint=settings["IDENTITY_ENDPOINT"],
                header=settings["IDENTITY_HEADER"],
            )
        )
        az.chmod(0o755)
        monkeypatch.setenv("PATH", f"{az.parent}:/usr/bin:/bin")
        yield Laptop(around, tmp_path, authorization)
