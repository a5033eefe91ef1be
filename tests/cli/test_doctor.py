"""`doctor`: what is lacking is named with its scope, its role and the command that grants it; nothing is written."""

import asyncio
import base64
import gc
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import jwt
import pytest

from emulator.tls import throw_away_tls
from gateway_tokens.azure.clients import trust_in
from gateway_tokens.cli.doctor import certificate_end
from gateway_tokens.errors import ROLES
from tests.cli.conftest import CLUSTER, SERVICE, Laptop
from tests.destinations.destination_places import SUBSCRIPTION
from tests.stand_ins.authorization import permission

APP = "66666666-6666-6666-6666-666666666666"
VAULT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/vaults/providers/Microsoft.KeyVault/vaults/contoso"
SIGN_IN = f"{VAULT}/secrets/edge-cluster"
ISSUE = "Microsoft.ApiManagement/service/gateways/generateToken/action"
LIST = "Microsoft.ApiManagement/service/gateways/read"
GET, SET, TAG = (
    f"Microsoft.KeyVault/vaults/secrets/{does}/action" for does in ("getSecret", "setSecret", "update")
)
CREDENTIAL = "Microsoft.ContainerService/managedClusters/listClusterUserCredential/action"
ISSUER, WRITER = "Gateway token issuer (abc)", "Gateway token secret writer (abc)"
READER = "Gateway token cluster reader (abc)"


@pytest.fixture
def everything(laptop: Laptop) -> Laptop:
    """An estate with every kind of destination, all of it within reach, and an app with every right."""
    server = {"server": laptop.cluster.url, "certificateAuthority": Path(laptop.emulator.ca_file).read_text()}
    sign_in = {"vault": laptop.vault, "secret": "edge-cluster"}
    destinations: list[dict[str, object]] = [
        {"kind": "keyVault", "vault": laptop.vault},
        {"kind": "kubernetes", "cluster": CLUSTER},
        {"kind": "kubernetes", **server, "signIn": sign_in, "namespace": "edge"},
    ]
    laptop.describe({"edge-01": {"destinations": destinations}})
    laptop.service.add_gateway("edge-01")
    laptop.authorization.vaults[laptop.vault] = VAULT
    laptop.authorization.roles |= {
        ISSUER: permission(LIST, ISSUE),
        WRITER: permission(data=ROLES["Gateway token secret writer"]),
        READER: permission(CREDENTIAL),
    }
    group = SERVICE.partition("/providers/")[0]
    of_app = ((group, ISSUER), (VAULT, WRITER), (CLUSTER, READER))  # the first is inherited
    laptop.authorization.assignments += [(APP, scope, role, "") for scope, role in of_app]
    hold_sign_in(laptop, datetime.now(UTC) + timedelta(days=90))
    return laptop


def hold_sign_in(laptop: Laptop, ends: datetime) -> None:
    token = jwt.encode({"exp": int(ends.timestamp())}, "0" * 32)
    laptop.azure.bearers[token] = f"cluster/{laptop.cluster.instance}"
    laptop.azure.vault("contoso").set("edge-cluster", token, datetime.now(UTC))


async def checks_of(laptop: Laptop, *more: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """The exit code, and the checks by verdict."""
    done = await laptop.run("doctor", "--json", *more)
    by_verdict: dict[str, list[dict[str, str]]] = {"good": [], "lacking": [], "not judged": []}
    for check in json.loads(done.stdout):
        by_verdict[check["verdict"]].append(check)
    return done.exit_code, by_verdict


async def test_nothing_is_lacking_where_everything_is_granted_and_within_reach(everything: Laptop) -> None:
    code, checks = await checks_of(everything, "--principal", APP)
    assert (code, checks["lacking"], checks["not judged"]) == (0, [], [])
    addresses = {everything.vault, CLUSTER.lower(), everything.cluster.url}
    for what, where in (
        ("reach", addresses),
        ("certificate", addresses),
        ("sign-in", {f"{everything.vault}/secrets/edge-cluster"}),
        ("right", {SERVICE, VAULT, CLUSTER.lower(), SIGN_IN}),
    ):
        assert {check["about"] for check in checks["good"] if check["what"] == what} == where


async def test_actions_that_your_sign_in_lacks_are_named_with_their_scope(everything: Laptop) -> None:
    everything.authorization.permissions["*"] = [permission("*/write")]
    for more, of_service, of_vault in (
        ((), f"{LIST} and {ISSUE}", f"{SET} and {GET} and {TAG}"),
        # Where the app is asked about, a person need not be allowed what only the app does.
        (("--principal", APP), LIST, GET),
    ):
        code, checks = await checks_of(everything, *more)
        lacks = {check["about"]: check["message"].partition(". ")[0] for check in checks["lacking"]}
        needed = {SERVICE: of_service, VAULT: of_vault, CLUSTER.lower(): CREDENTIAL, SIGN_IN: GET}
        assert lacks == {scope: f"Your sign-in lacks {named} at {scope}" for scope, named in needed.items()}
        assert code == 1


async def test_a_role_that_the_app_lacks_is_named_with_the_command_that_grants_it(everything: Laptop) -> None:
    everything.authorization.assignments = everything.authorization.assignments[1:]
    code, checks = await checks_of(everything, "--principal", APP)
    [check] = checks["lacking"]
    lacks = f"The app lacks {LIST} and {ISSUE} at {SERVICE}. The role 'Gateway token issuer' grants it."
    assert (code, check["about"], check["message"]) == (1, SERVICE, lacks)
    whom = f"--assignee-object-id {APP} --assignee-principal-type ServicePrincipal"
    assert check["command"] == f"az role assignment create {whom} --role '{ISSUER}' --scope '{SERVICE}'"
    del everything.authorization.roles[ISSUER]
    _, checks = await checks_of(everything, "--principal", APP)
    define, assign = checks["lacking"][0]["command"].split(" && ")
    assert json.loads(define.partition("--role-definition ")[2].strip("'")) == {
        "Name": "Gateway token issuer (edge)",
        "Actions": [LIST, ISSUE],
        "AssignableScopes": [SERVICE.partition("/providers/")[0]],
    }
    assert "--role 'Gateway token issuer (edge)'" in assign


async def test_what_a_role_takes_away_again_is_lacking_and_wildcards_grant(everything: Laptop) -> None:
    everything.authorization.roles[ISSUER] = permission(
        "Microsoft.ApiManagement/*/READ", "*/action", less=[ISSUE]
    )
    _, checks = await checks_of(everything, "--principal", APP)
    [check] = checks["lacking"]
    assert check["message"].startswith(f"The app lacks {ISSUE} at {SERVICE}.")
    everything.authorization.roles[ISSUER] = permission("*")
    everything.authorization.roles[WRITER] = permission("*")  # no operations on data
    _, checks = await checks_of(everything, "--principal", APP)
    assert {check["about"] for check in checks["lacking"]} == {VAULT, SIGN_IN}


async def test_deny_assignments_conditions_and_unseen_scopes_are_shown_as_not_judged(
    everything: Laptop,
) -> None:
    everything.authorization.denied[SERVICE.lower()] = ["managed by a blueprint", "and another"]
    everything.authorization.assignments[2] = (APP, CLUSTER, READER, "@Resource[x] StringEquals 'y'")
    del everything.authorization.vaults[everything.vault]
    code, checks = await checks_of(everything, "--principal", APP)
    messages = {check["about"]: check["message"] for check in checks["not judged"]}
    assert messages[SERVICE] == "May take rights away: managed by a blueprint, and another"
    assert "A role with a condition is not judged." in messages[CLUSTER.lower()]
    assert "Your sign-in sees no such vault in Azure." in messages[everything.vault]
    assert (code, checks["lacking"]) == (0, [])
    everything.azure.granted = {LIST, GET, CREDENTIAL, "get secrets"}
    _, checks = await checks_of(everything, "--principal", APP)
    assert "Microsoft.Authorization/roleAssignments/read" not in str(checks["lacking"])
    assert "'roleAssignments/read' at '" in str(checks["not judged"])


async def test_what_cannot_be_reached_or_does_not_exist_is_lacking(everything: Laptop) -> None:
    everything.describe(
        {
            "edge-77": {"destinations": [{"kind": "keyVault", "vault": "https://127.0.0.1:1"}]},
            "edge-01": {"destinations": [{"kind": "keyVault", "vault": everything.vault}]},
        }
    )
    code, checks = await checks_of(everything)
    assert code == 1
    messages = {(check["what"], check["about"]): check["message"] for check in checks["lacking"]}
    assert messages["name", "contoso/edge-77"].startswith("The service has no such gateway.")
    assert "Azure cannot be reached" in messages["reach", "https://127.0.0.1:1"]
    assert ("certificate", "https://127.0.0.1:1") in {(c["what"], c["about"]) for c in checks["not judged"]}


async def test_a_sign_in_secret_is_held_to_its_expiry(everything: Laptop) -> None:
    for days, verdict in ((-1, "lacking"), (6.9, "lacking"), (7.1, "good")):
        ends = datetime.now(UTC) + timedelta(days=days)
        hold_sign_in(everything, ends)
        _, checks = await checks_of(everything)
        [check] = [check for check in checks[verdict] if check["what"] == "sign-in"]
        assert f"Expires on {ends:%Y-%m-%d %H:%M} UTC." in check["message"]


async def test_a_connection_does_not_outlive_the_command_when_its_server_is_slow_to_end_it() -> None:
    tls, requested = throw_away_tls(), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with tls.server.wrap_socket(connection, server_side=True):
            requested.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as threads:
        serving = threads.submit(serve)
        reading = certificate_end(
            f"https://127.0.0.1:{listening.getsockname()[1]}", trust_in(None, tls.ca_file)
        )
        ends = await asyncio.to_thread(asyncio.run, reading)
        requested.set()
        serving.result()
    assert ends > datetime.now(UTC)
    gc.collect()  # a transport that is left open is a warning, which fails whichever test runs by then


class Health(BaseHTTPRequestHandler):
    """Apps that answer health, each by its path before `/api/health`."""

    documents: ClassVar[dict[str, dict[str, Any]]] = {
        "/healthy": {"status": "healthy", "problems": [], "warnings": []},
        "/unhealthy": {"status": "unhealthy", "problems": [{"code": "identity_unavailable"}]},
    }

    def do_GET(self) -> None:
        document = self.documents.get(self.path.removesuffix("/api/health"), {})
        self.send_response(200 if document.get("status") == "healthy" else 503)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("healthy", 0, "The app is healthy."),
        ("unhealthy", 1, "The app is unhealthy. identity_unavailable"),
        ("none", 1, "The app is not there, or does not answer."),
    ],
)
async def test_the_apps_own_reach_is_what_its_health_says(
    laptop: Laptop, path: str, code: int, message: str
) -> None:
    laptop.describe({})
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{path}"
        done = await laptop.run("doctor", "--app", address)
        server.shutdown()
    assert done.exit_code == code
    assert f"{'lacking' if code else 'good'}: health {address}: {message}\n" in done.stdout
    assert "Tried from here with your sign-in." in done.stdout


async def test_nothing_is_written_and_no_token_and_no_secret_is_printed(everything: Laptop) -> None:
    secret = everything.azure.vault("contoso").secret("edge-cluster")
    assert secret is not None
    done = await everything.run("doctor", "--principal", APP)
    assert any("/roleAssignments" in call.path for call in everything.azure.calls)
    assert everything.writes() == []
    for value in (secret.latest.value, *everything.azure.bearers):
        assert value not in done.output
        assert base64.b64encode(value.encode()).decode() not in done.output
