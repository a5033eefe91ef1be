"""Revoking keys and the key in use over HTTP, against an emulator whose keys really change."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.faults import Fault, Kind
from emulator.kubernetes import Cluster
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.tokens import GatewayToken
from tests.callers import SIGN_IN_MODE, bearer
from tests.http.edge_estate import ALL, DAY, Edge
from tests.http_calls import Answer, code_of, document, generate_token, plan, revoke
from tests.renewal_estate import lines


@pytest.fixture
def cluster() -> Cluster:
    return Cluster("plant", knows_entra=False)


@pytest.fixture
async def emulator(cluster: Cluster) -> AsyncIterator[Emulator]:
    async with Emulator(vaults=("contoso", "fabrikam"), endpoints=[cluster]) as running:
        yield running


@pytest.fixture
async def edge(emulator: Emulator, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    made = Edge(emulator, cluster, monkeypatch)
    made.configure()
    await gateway_app.forget()
    yield made
    await gateway_app.forget()


def ended(answer: Answer) -> list[tuple[str, str | None]]:
    """Reason and outcome of each destination."""
    body = document(answer)
    return [(row["reason"], row["outcome"]) for row in body.get("report", body)["destinations"]]


class TestRevoke:
    async def test_leaves_both_kinds_of_destination_with_tokens_that_are_good_and_ends_the_old_ones(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        (leaked,) = edge.stored()
        answer = await revoke()
        body = document(answer)
        assert (answer.status_code, body["regenerated"], body["keyType"]) == (200, True, "primary")
        assert ended(answer) == [("revoked", "renewed"), ("not_stored", "restarting")]
        assert {row["keyType"] for row in body["destinations"]} == {"secondary"}
        assert edge.accepted() == [True, True]
        assert not edge.gateways["edge-01"].accepts(leaked, datetime.now(UTC))
        (line,) = lines(caplog, "key.revoked")
        assert (line["caller"], line["reason"], line["gateway"]) == ("function-key", "ticket 42", "edge-01")

    async def test_with_one_failing_destination_regenerates_nothing_and_says_which(self, edge: Edge) -> None:
        edge.emulator.azure.faults.add(Fault(host="kubernetes", method="POST", status=403, times=None))
        answer = await revoke()
        body = document(answer)
        assert code_of(answer) == (503, "revoke_stopped")
        assert body["report"]["regenerated"] is False
        assert [(row["outcome"], row["code"]) for row in body["report"]["destinations"]] == [
            ("renewed", None),
            ("failed", "azure_forbidden"),
        ]
        assert (edge.regenerated(), edge.accepted()) == ([], [True])
        edge.emulator.azure.faults.clear()
        answer = await revoke()
        assert (answer.status_code, edge.regenerated(), edge.accepted()) == (200, ["edge-01"], [True, True])

    async def test_immediately_regenerates_before_anything_is_delivered(self, edge: Edge) -> None:
        fault = Fault(host="vault", method="PUT", status=403, times=None)
        edge.emulator.azure.faults.add(fault)
        answer = await revoke(immediately=True)
        assert (answer.status_code, document(answer)["regenerated"]) == (200, True)
        assert ended(answer)[0] == ("dead", "failed")
        assert (edge.regenerated(), edge.accepted()) == (["edge-01"], [False, True])
        edge.emulator.azure.faults.clear()
        await revoke()
        assert edge.accepted() == [True, True]

    async def test_dry_shows_what_would_happen_and_does_nothing(self, edge: Edge) -> None:
        before = edge.stored()
        answer = await revoke(dryRun=True)
        body = document(answer)
        assert (answer.status_code, body["dryRun"], body["regenerated"]) == (200, True, False)
        assert ended(answer) == [("revoked", None), ("not_stored", None)]
        assert [row["action"] for row in body["destinations"]] == ["renew", "renew"]
        assert (edge.stored(), edge.regenerated()) == (before, [])

    async def test_repeated_regenerates_again_and_leaves_the_key_in_use_alone(self, edge: Edge) -> None:
        await revoke()
        stored = edge.stored()
        answer = await revoke()
        assert (answer.status_code, document(answer)["regenerated"]) == (200, True)
        assert (edge.stored(), edge.accepted()) == (stored, [True, True])
        assert edge.regenerated() == ["edge-01", "edge-01"]

    @pytest.mark.parametrize("kind", ["drop", "drop_after"])
    async def test_whose_regeneration_got_no_answer_is_told_and_repeated_without_harm(
        self, edge: Edge, kind: Kind
    ) -> None:
        edge.emulator.azure.faults.add(Fault(host="arm", path="*/regenerateKey", kind=kind))
        answer = await revoke()
        assert code_of(answer) == (503, "azure_unavailable")
        assert document(answer)["report"]["regenerated"] is None
        assert [outcome for _, outcome in ended(answer)] == ["renewed", "restarting"]
        assert (edge.regenerated(), edge.accepted()) == (["edge-01"], [True, True])
        assert (await revoke()).status_code == 200
        assert edge.accepted() == [True, True]

    async def test_of_a_gateway_that_is_pulled_says_who_takes_the_new_token_up(self, edge: Edge) -> None:
        pulled = document(await generate_token("docker-01"))["value"]
        answer = await revoke("docker-01")
        body = document(answer)
        assert (answer.status_code, body["regenerated"], body["destinations"]) == (200, True, [])
        assert "its hosts take up a new token" in body["message"]
        gateway, now = edge.gateways["docker-01"], datetime.now(UTC)
        assert not gateway.accepts(pulled, now)
        assert gateway.accepts(document(await generate_token("docker-01"))["value"], now)

    async def test_of_the_key_that_the_rule_names_says_that_the_next_run_moves_back(self, edge: Edge) -> None:
        edge.configure(keyType="primary")
        await gateway_app.forget()
        assert "the next run moves back" in document(await revoke())["message"]

    async def test_of_a_gateway_that_is_left_alone_stops(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.configure(renew=False)
        await gateway_app.forget()
        before = edge.stored()
        answer = await revoke()
        assert code_of(answer) == (503, "revoke_stopped")
        assert {outcome for _, outcome in ended(answer)} == {"paused"}
        assert [line["code"] for line in lines(caplog, "request.failed")] == ["revoke_stopped"]
        assert (edge.stored(), edge.regenerated()) == (before, [])

    async def test_without_the_right_to_regenerate_names_it_and_keeps_what_is_delivered(
        self, edge: Edge
    ) -> None:
        refusal = json.dumps({"error": {"code": "AuthorizationFailed", "message": "No."}})
        headers = {"Content-Type": "application/json"}
        edge.emulator.azure.faults.add(
            Fault(host="arm", path="*/regenerateKey", status=403, body=refusal, headers=headers)
        )
        answer = await revoke()
        assert code_of(answer) == (502, "azure_forbidden")
        assert document(answer)["report"]["regenerated"] is False
        assert "Gateway key regenerator" in document(answer)["detail"]
        assert edge.accepted() == [True, True]

    async def test_that_is_asked_for_wrongly_names_the_field_and_does_nothing(self, edge: Edge) -> None:
        wrong: dict[str, list[Any]] = {
            "keyType": [None, "third"],
            "reason": [None, "", "a" * 201],
            "immediately": ["yes"],
            "dryRun": [1],
            "expiry": ["never"],
        }
        for name, value in ((name, value) for name, values in wrong.items() for value in values):
            answer = await revoke(**{name: value})
            assert (answer.status_code, [f["path"] for f in document(answer)["faults"]]) == (400, [name])
        for raw in (b"", b"{", b"[]", b"null", b'"' + b"a" * 17_000 + b'"'):
            answer = await revoke(raw=raw)
            assert code_of(answer) == (400, "request_invalid")
            assert document(answer)["faults"]
        assert (len(edge.stored()), edge.regenerated()) == (1, [])

    async def test_needs_a_permission_of_its_own(self, edge: Edge) -> None:
        edge.configure([{**ALL[0], "allow": ["issue", "read", "renew"]}])
        await gateway_app.forget()
        answer = await revoke()
        assert code_of(answer) == (403, "access_denied")
        assert "'revoke'" in document(answer)["detail"]
        assert edge.regenerated() == []

    async def test_names_the_caller_who_signs_in(self, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
        edge.configure([{**ALL[0], "caller": {"appRole": "Revoke"}}])
        edge.set(**SIGN_IN_MODE)
        await gateway_app.forget()
        answer = await revoke(headers=bearer(edge.emulator, roles=["Revoke"]))
        assert answer.status_code == 200
        assert {line["caller"] for line in lines(caplog, "key.revoked")} == {
            line["caller"] for line in lines(caplog, "token.issued")
        }

    async def test_of_an_unknown_gateway_is_a_404(self, edge: Edge) -> None:
        answer = await revoke("edge-99")
        assert (answer.status_code, edge.regenerated()) == (404, [])


class TestTheKeyInUse:
    async def test_signs_every_token_of_a_gateway_whose_keys_are_rotated(self, edge: Edge) -> None:
        for key in ("primary", "secondary"):
            edge.hold("turn-01", key)
            for body in ({}, {"keyType": key}, {"stable": True}):
                token = document(await generate_token("turn-01", body))
                assert token["keyType"] == key
                read = GatewayToken.parse(token["value"])
                assert edge.gateways["turn-01"].token(key, read.expiry) == token["value"]

    async def test_is_named_to_a_caller_who_asks_for_the_other(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.hold("turn-01", "secondary")
        answer = await generate_token("turn-01", {"keyType": "primary"})
        assert code_of(answer) == (409, "key_not_active")
        assert "its secondary key is in use" in document(answer)["detail"]
        (line,) = lines(caplog, "token.refused")
        assert line["code"] == "key_not_active"

    async def test_that_nobody_can_tell_since_no_destination_can_be_read_is_a_503(self, edge: Edge) -> None:
        edge.emulator.azure.faults.add(Fault(host="vault", status=403, times=None))
        answer = await generate_token("turn-01")
        assert code_of(answer) == (503, "azure_unavailable")
        # A gateway whose keys are not rotated needs no destination.
        assert (await generate_token("edge-01")).status_code == 200

    @pytest.mark.usefixtures("edge")
    async def test_changes_with_a_revoke_and_so_does_the_stable_token(self) -> None:
        before = document(await generate_token("turn-01", {"stable": True}))
        await revoke("turn-01")
        after = document(await generate_token("turn-01", {"stable": True}))
        assert (before["keyType"], after["keyType"]) == ("primary", "secondary")
        assert before["expiry"] == after["expiry"]

    async def test_is_shown_by_the_plan_with_the_next_step(self, edge: Edge) -> None:
        edge.hold("turn-01", age=20 * DAY)
        (shown,) = document(await plan())["keys"]
        assert {name: shown[name] for name in ("gatewayId", "activeKey", "phase", "waitsFor")} == {
            "gatewayId": "turn-01",
            "activeKey": "primary",
            "phase": "grace",
            "waitsFor": None,
        }
        since, then = (datetime.fromisoformat(shown[name]) for name in ("since", "nextAt"))
        assert then - since == 31 * DAY
        edge.emulator.azure.faults.add(Fault(host="vault", status=403, times=None))
        (shown,) = document(await plan())["keys"]
        assert (shown["nextAt"], shown["waitsFor"]) == (None, "a location that cannot be read")
