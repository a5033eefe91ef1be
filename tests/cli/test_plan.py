"""`plan`: what is stored, whose it is, what the app would do and why; nothing is written and no token is shown."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.faults import Fault
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import KeyType, Secret
from tests.cli.conftest import CLUSTER, Laptop


def stored_in(laptop: Laptop, gateway: str, days: int, owner: str | None) -> str:
    """A token that the vault holds for the gateway, with the ownership of a gateway or without any."""
    expiry = (datetime.now(UTC) + timedelta(days=days)).replace(second=0, microsecond=0)
    token = laptop.service.add_gateway(gateway).token("primary", expiry)
    value, issued_at = f"GatewayKey {token}", datetime(2026, 1, 1, tzinfo=UTC)
    ownership = Ownership(owner or "", KeyType.PRIMARY, issued_at, expiry).of(Secret(value))
    tags = ownership.tags() if owner else None
    laptop.azure.vault("contoso").set(f"{gateway}-token", value, datetime.now(UTC), tags=tags)
    return token.rpartition("&")[2]


@pytest.fixture
def signatures(laptop: Laptop) -> list[str]:
    """An estate in which every row is another: the signatures of the tokens that it holds."""
    laptop.describe(
        {
            "*": {"destinations": [{"kind": "keyVault", "vault": laptop.vault}]},
            "edge-05": {"destinations": [{"kind": "kubernetes", "cluster": CLUSTER}]},
            "edge-06": {"destinations": [{"kind": "keyVault", "vault": "https://127.0.0.1:1"}]},
            "lab-*": {"renew": False},
        }
    )
    for gateway in ("edge-04", "edge-05", "edge-06", "lab-01"):
        laptop.service.add_gateway(gateway)
    return [
        stored_in(laptop, "edge-07", 25, None),
        stored_in(laptop, "edge-01", 25, "contoso-apim/edge-01"),
        stored_in(laptop, "edge-02", 2, "contoso-apim/edge-02"),
        stored_in(laptop, "edge-03", 25, "contoso-apim/edge-99"),
    ]


async def test_every_gateway_is_told_with_what_is_stored_whose_it_is_and_what_would_be_done_and_nothing_is(
    laptop: Laptop, signatures: list[str]
) -> None:
    done = await laptop.run("plan", "--json")
    rows = {row["gatewayId"]: row for row in json.loads(done.stdout)}

    def described(gateway: str) -> tuple[Any, ...]:
        return tuple(rows[gateway].get(name) for name in ("stored", "whose", "action", "reason"))

    assert described("edge-01") == ("a token", "this app's", "keep", "fresh")
    assert described("edge-02") == ("a token", "this app's", "renew", "in_renewal_window")
    assert described("edge-03") == ("a token", "somebody else's", "refuse", "owned_by_another")
    assert described("edge-04") == described("edge-05") == ("nothing", "", "renew", "not_stored")
    assert described("edge-06") == ("not read", "", None, "not_read")
    assert described("edge-07") == ("a token", "somebody else's", "prove", "to_be_proved")
    assert rows["edge-06"]["code"] == "azure_unavailable"
    assert rows["lab-01"]["message"] == "its rule has no destination"
    assert rows["edge-01"]["expiry"].endswith("Z")
    assert len(rows) == 8
    assert [call.path for call in laptop.azure.calls if call.host == "vault"]
    assert laptop.writes() == []
    assert done.exit_code == 1
    assert not [signature for signature in signatures if signature in done.output]


async def test_the_table_fits_the_terminal_and_tells_the_same(
    laptop: Laptop, signatures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("gateway_tokens.cli.commands._IN_A_PIPE", 80)
    done = await laptop.run("plan")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in ("contoso/edge-01", "this app's", "in_renewal_window", "azure_unavailable", "left_alone"):
        assert word in done.stdout
    assert "1 keep, 1 left_alone, 1 not known, 1 prove, 1 refuse, 3 renew" in done.stdout
    assert not [signature for signature in signatures if signature[:20] in done.output]


async def test_a_right_that_is_lacking_is_named_as_that_of_the_person(laptop: Laptop) -> None:
    laptop.describe({"*": {"destinations": [{"kind": "keyVault", "vault": laptop.vault}]}})
    laptop.service.add_gateway("edge-01")
    laptop.azure.granted = {"Microsoft.ApiManagement/service/gateways/read"}
    [row] = json.loads((await laptop.run("plan", "--json")).stdout)
    assert row["code"] == "azure_forbidden"
    assert (
        "Your sign-in needs a role with the action 'Microsoft.KeyVault/vaults/secrets/getSecret/action'"
        in row["error"]
    )
    laptop.azure.granted = set()
    [row] = json.loads((await laptop.run("plan", "--json")).stdout)
    assert row["reason"] == "not_listed"


async def test_whoever_is_not_signed_in_is_told_so(laptop: Laptop) -> None:
    laptop.describe({})
    laptop.azure.faults.add(Fault(host="identity", status=500, times=None))
    done = await laptop.run("plan")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "The Azure CLI gives no access token. Sign in: az login\n"


async def test_a_faulty_file_is_told_as_by_validate_and_nothing_is_read(
    laptop: Laptop, tmp_path: Path
) -> None:
    laptop.describe({"*": {"lifetime": "P31D"}})
    done = await laptop.run("plan")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "GATEWAY_TOKENS.services.contoso.gateways.*.lifetime: must be between" in done.stderr
    laptop.file = tmp_path / "none.json"
    assert (await laptop.run("plan")).exit_code == 2
    assert laptop.azure.calls == []
