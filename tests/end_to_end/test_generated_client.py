"""A client that openapi-python-client generates from docs/openapi.yaml can call every operation of the running app."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served_app import DOCUMENT, KEY, read_document, served_app

CONTOSO, EDGE = {"service": "contoso"}, {"service": "contoso", "gateway_id": "edge-01"}
# Each operation by its module: the arguments of the call, and the type and a part of what it returns.
CALLS: dict[str, tuple[dict[str, str], str, str]] = {
    "health.get_health": ({}, "Health", "status"),
    "tokens.generate_token": (EDGE, "IssuedToken", "value"),
    "tokens.generate_token_as_header_value": (EDGE, "str", ""),
    "tokens.generate_token_as_env_file": (EDGE, "str", ""),
    "tokens.generate_token_as_kubernetes_secret": (EDGE, "KubernetesSecret", "string_data"),
    "gateways.list_gateways": (CONTOSO, "GatewayList", "gateways"),
    "gateways.renew_gateway": (EDGE, "Report", "counts"),
    "renewals.plan_renewals": ({}, "Report", "counts"),
    "renewals.run_renewals": ({}, "Report", "counts"),
}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the generated package, which can be imported."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = Path(sys.executable).with_name("openapi-python-client")
    done = subprocess.run(
        [
            command,
            "generate",
            "--path",
            DOCUMENT,
            "--output-path",
            folder / "api_client",
            "--meta",
            "none",
            "--config",
            folder / "config.yaml",
            "--fail-on-warning",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield "api_client"
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def client(generated: str) -> Iterator[Any]:
    """A client of the app, which the app lets in. The estate is well, so no run fails."""
    with served_app() as served:
        served.emulator.azure.faults.clear()
        made = importlib.import_module(generated)
        key = {"token": KEY, "prefix": "", "auth_header_name": "x-functions-key"}
        with made.AuthenticatedClient(base_url=served.url, **key) as connected:
            yield connected


def test_every_operation_is_called_here() -> None:
    operations = {
        operation["operationId"]
        for item in read_document()["paths"].values()
        for operation in item.values()
        if "operationId" in operation
    }
    called = {name.partition(".")[2].replace("_", "") for name in CALLS}
    assert {name.lower() for name in operations} == called


@pytest.mark.parametrize("name", CALLS)
def test_an_operation_returns_what_the_description_says(generated: str, client: Any, name: str) -> None:  # noqa: ANN401 - generated
    arguments, kind, part = CALLS[name]
    module = importlib.import_module(f"{generated}.api.{name}")
    answer = module.sync_detailed(client=client, **arguments)
    assert answer.status_code in {200, 503 if name == "health.get_health" else 200}
    assert type(answer.parsed).__name__ == kind
    if part:
        assert getattr(answer.parsed, part)
    else:
        assert "GatewayKey edge-01&" in answer.parsed
