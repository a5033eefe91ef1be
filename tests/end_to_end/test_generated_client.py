"""A client that openapi-python-client generates from docs/openapi.yaml calls every operation of the running app."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gateway_tokens.tokens import GatewayToken
from tests.served_app import FILE, KEY, OPERATIONS, Served, served_app

PACKAGE = "generated_gateway_tokens"
EDGE: dict[str, Any] = {"service": "contoso", "gateway_id": "edge-01"}
# The tag of every operation: the generator makes a package of each tag and a module of each operation in it.
TAGS = {operation["operationId"]: operation["tags"][0] for *_, operation in OPERATIONS}


class Generated:
    """The generated package: its models by their names, its operations on the app by theirs."""

    def __init__(self, served: Served) -> None:
        self._url = served.url
        self._package = import_module(PACKAGE)
        self._models = import_module(f"{PACKAGE}.models")

    def __getattr__(self, model: str) -> Any:  # noqa: ANN401 - generated
        return getattr(self._models, model)

    def call(self, operation: str, key: str = KEY, **arguments: Any) -> Any:  # noqa: ANN401 - generated
        """The operation's answer, in full."""
        client = self._package.AuthenticatedClient(
            base_url=self._url,
            token=key,
            prefix="",
            auth_header_name="x-functions-key",
            raise_on_unexpected_status=True,
        )
        name = re.sub(r"(?=[A-Z])", "_", operation).lower()
        with client:
            module = import_module(f"{PACKAGE}.api.{TAGS[operation]}.{name}")
            return module.sync_detailed(client=client, **arguments)

    def parsed(self, operation: str, status: int = 200, **arguments: Any) -> Any:  # noqa: ANN401 - generated
        """What the client reads from the answer, which must have this status."""
        answer = self.call(operation, **arguments)
        assert answer.status_code == status
        return answer.parsed


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    folder: Path = tmp_path_factory.mktemp("client")
    (folder / "config.yaml").write_text("post_hooks: []\n")  # they only format
    arguments = ["--fail-on-warning", "--meta", "none", "--config", str(folder / "config.yaml")]
    paths = ["--path", str(FILE), "--output-path", str(folder / PACKAGE)]
    generation = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", *arguments, *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert generation.returncode == 0, generation.stdout + generation.stderr
    with pytest.MonkeyPatch.context() as patch, served_app() as served:
        patch.syspath_prepend(folder)
        yield Generated(served)


def test_a_token_is_read_in_every_format(generated: Generated) -> None:
    expiry = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=1)
    body = generated.TokenRequest(key_type=generated.KeyType.SECONDARY, expiry=expiry)
    token = generated.parsed("generateToken", **EDGE, body=body, api_version="2024-05-01")
    assert isinstance(token, generated.IssuedToken)
    assert token.expiry == GatewayToken.parse(token.value).expiry == expiry
    assert (token.gateway_id, token.key_type) == ("edge-01", generated.KeyType.SECONDARY)
    header = "GatewayKey edge-01&"
    body = generated.TokenRequest(lifetime="P1D")
    assert generated.parsed("generateTokenAsHeaderValue", **EDGE, body=body).startswith(header)
    line = generated.parsed("generateTokenAsEnvFile", **EDGE)
    assert (line.startswith(f"config.service.auth={header}"), line[-1]) == (True, "\n")
    names: dict[str, Any] = {"secret_name": "mine", "secret_key": "value", "namespace": "edge"}
    manifest = generated.parsed("generateTokenAsKubernetesSecret", **EDGE, **names)
    assert (manifest.metadata.name, manifest.metadata.namespace) == ("mine", "edge")
    assert manifest.string_data["value"].startswith(header)


def test_every_other_answer_is_read(generated: Generated) -> None:
    edge, *_, lab = generated.parsed("listGateways", service="contoso").gateways
    assert edge.destinations[0].expiry > datetime.now(UTC)
    assert (edge.destinations[0].outcome, lab.destinations) == (None, [])
    assert ("plant-b", None) in {
        (row.gateway_id, row.action) for row in generated.parsed("planRenewals").listed
    }
    assert [row.reason for row in generated.parsed("renewGateway", **EDGE).listed] == ["forced"]
    wish = generated.RevocationWish(key_type=generated.KeyType.PRIMARY, reason="a leak")
    revoked = generated.parsed("revokeKey", **EDGE, body=wish)
    assert (revoked.regenerated, [row.key_type for row in revoked.destinations]) == (True, ["secondary"])
    run = generated.parsed("runRenewals", 202)
    assert len(run.subscriptions) == 2
    assert generated.parsed("showRun", run=run.run).run == run.run
    answer = generated.call("getHealth")
    assert (answer.status_code, answer.parsed.status) in {(200, "healthy"), (503, "unhealthy")}


def test_a_refusal_is_read_as_a_problem_and_the_hosts_own_which_has_no_body_as_none(
    generated: Generated,
) -> None:
    problem = generated.parsed("generateToken", 400, service="contoso", gateway_id="managed")
    assert (problem.code, problem.status) == ("request_invalid", 400)
    assert [fault.path for fault in problem.faults] == ["gatewayId"]
    problem = generated.parsed("generateTokenAsEnvFile", 404, service="contoso", gateway_id="edge-99")
    assert (problem.code, list(problem.faults or ())) == ("not_found", [])
    for operation in ("generateToken", "generateTokenAsHeaderValue"):
        assert generated.parsed(operation, 401, **EDGE, key="another-key") is None


def test_every_operation_is_called_here() -> None:
    source = Path(__file__).read_text("utf-8")
    assert set(re.findall(r'generated\.(?:parsed|call)\(\s*"(\w+)"', source)) == TAGS.keys()
