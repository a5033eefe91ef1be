"""Revoking keys and the key in use over HTTP, against an emulator whose keys really change.

The tests of renewal have what a revocation and a rotation do; these have what callers are told of it.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.faults import Fault, Kind
from emulator.server import Emulator
from gateway_tokens import app as gateway_app
from gateway_tokens.tokens import GatewayToken, KeyType
from tests.callers import SIGN_IN_MODE, bearer, rule
from tests.http.renewal_app import DAY, RenewalApp
from tests.http_calls import Answer, call, code_of, document, generate_token, plan, revoke
from tests.renewal_estate import lines

PRIMARY, SECONDARY = KeyType


class Edge(RenewalApp):
    """`edge-01` in two vaults, `edge-02` whose keys are rotated, and `lab-01`, which is pulled."""

    def __init__(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(emulator, monkeypatch)
        both = [*self.delivered()["destinations"], *self.delivered("fabrikam")["destinations"]]
        rotated = {**self.delivered(), "rotateKeys": {"every": "P90D"}}
        self.rules = {"edge-01": {"destinations": both}, "edge-02": rotated, "lab-01": {}}

    def tokens(self) -> list[GatewayToken]:
        """The tokens of edge-01: in the first vault and, once one is there, in the second."""
        stored = (self.stored(), self.stored("edge-01", "fabrikam"))
        return [GatewayToken.parse(value.removeprefix("GatewayKey ")) for value in stored if value]

    def accepted(self) -> list[bool]:
        """Whether the gateway can sign in with each of them."""
        now = self.emulator.azure.clock()
        return [self.gateways["edge-01"].accepts(token.value.reveal(), now) for token in self.tokens()]

    def regenerations(self) -> int:
        return len(self.emulator.azure.called("arm", "POST", "/regenerateKey"))

    def refuse(self, vault: str, method: str = "PUT") -> None:
        self.emulator.azure.faults.add(Fault("vault", method, instance=vault, status=403, times=None))


@pytest.fixture
async def edge(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Edge]:
    edge_app = Edge(emulator, monkeypatch)
    edge_app.configure()
    edge_app.hold("edge-01")
    await gateway_app.forget()
    yield edge_app
    await gateway_app.forget()


def ended(answer: Answer) -> list[tuple[str, str | None, str | None]]:
    """Reason, outcome and code of each destination."""
    body = document(answer)
    rows = body.get("report", body)["destinations"]
    return [(row["reason"], row["outcome"], row["code"]) for row in rows]


class TestRevoke:
    async def test_leaves_every_destination_with_a_token_that_is_good_and_ends_the_old_ones(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.configure(rule("*/*", allow=("revoke",), appRole="Revoke"), **SIGN_IN_MODE)
        (leaked,) = edge.tokens()
        answer = await revoke(headers=bearer(edge.emulator, "Revoke"))
        body = document(answer)
        assert (answer.status_code, body["regenerated"], body["keyType"]) == (200, True, "primary")
        assert (body["message"], body["timeWasOver"], body["dryRun"]) == (None, False, False)
        assert ended(answer) == [("revoked", "renewed", None), ("not_stored", "renewed", None)]
        assert {row["keyType"] for row in body["destinations"]} == {"secondary"}
        assert edge.accepted() == [True, True]
        assert not edge.gateways["edge-01"].accepts(leaked.value.reveal(), datetime.now(UTC))
        (line,) = lines(caplog, "key.revoked")
        assert (line["reason"], line["gateway"]) == ("ticket 42", "edge-01")
        assert line["caller"].startswith("client:")
        assert {issued["caller"] for issued in lines(caplog, "token.issued")} == {line["caller"]}

    async def test_that_stopped_is_a_problem_which_says_where_and_can_be_repeated(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.refuse("fabrikam")
        answer = await revoke()
        assert code_of(answer) == (503, "revoke_stopped")
        assert document(answer)["report"]["regenerated"] is False
        failed = ("not_stored", "failed", "azure_forbidden")
        assert ended(answer) == [("revoked", "renewed", None), failed]
        assert [line["code"] for line in lines(caplog, "request.failed")] == ["revoke_stopped"]
        assert (edge.regenerations(), edge.accepted()) == (0, [True])
        edge.emulator.azure.faults.clear()
        answer = await revoke()
        assert (answer.status_code, edge.regenerations(), edge.accepted()) == (200, 1, [True, True])

    async def test_immediately_regenerates_before_anything_is_delivered(self, edge: Edge) -> None:
        edge.refuse("contoso")
        answer = await revoke(immediately=True)
        assert (answer.status_code, document(answer)["regenerated"]) == (200, True)
        assert ended(answer)[0] == ("dead", "failed", "azure_forbidden")
        assert edge.accepted() == [False, True]

    async def test_dry_shows_what_would_happen_and_does_nothing(self, edge: Edge) -> None:
        body = document(await revoke(dryRun=True))
        assert (body["dryRun"], body["regenerated"]) == (True, False)
        shown = [(row["action"], row["reason"], row["outcome"]) for row in body["destinations"]]
        assert shown == [("renew", "revoked", None), ("renew", "not_stored", None)]
        assert edge.writes() == []

    @pytest.mark.parametrize("kind", ["drop", "drop_after"])
    async def test_whose_regeneration_got_no_answer_is_told_and_repeated_without_harm(
        self, edge: Edge, kind: Kind
    ) -> None:
        edge.emulator.azure.faults.add(Fault(host="arm", path="*/regenerateKey", kind=kind))
        answer = await revoke()
        assert code_of(answer) == (503, "azure_unavailable")
        assert document(answer)["report"]["regenerated"] is None
        assert (edge.regenerations(), edge.accepted()) == (1, [True, True])
        assert (await revoke()).status_code == 200
        assert edge.accepted() == [True, True]

    async def test_of_a_gateway_that_is_pulled_says_who_takes_the_new_token_up(self, edge: Edge) -> None:
        pulled = document(await generate_token("lab-01"))["value"]
        body = document(await revoke("lab-01"))
        assert (body["regenerated"], body["destinations"]) == (True, [])
        assert "its hosts take up a new token" in body["message"]
        assert not edge.gateways["lab-01"].accepts(pulled, datetime.now(UTC))

    async def test_of_the_key_that_the_rule_names_says_that_the_next_run_moves_back(self, edge: Edge) -> None:
        edge.rules["edge-01"]["keyType"] = "primary"
        edge.configure()
        assert "the next run moves back" in document(await revoke())["message"]

    async def test_that_is_asked_for_wrongly_names_the_field_and_does_nothing(self, edge: Edge) -> None:
        wrong = [
            ("keyType", None),
            ("keyType", "third"),
            ("reason", None),
            ("reason", ""),
            ("reason", "a" * 201),
        ]
        for name, value in (*wrong, ("immediately", "yes"), ("dryRun", 1), ("expiry", "never")):
            sent: dict[str, Any] = {name: value}
            answer = await revoke(**sent)
            assert (answer.status_code, [f["path"] for f in document(answer)["faults"]]) == (400, [name])
        answer = await call("revoke_key", b"", service="contoso", gatewayId="edge-01")
        assert [fault["path"] for fault in document(answer)["faults"]] == ["keyType", "reason"]
        assert edge.writes() == []


class TestTheKeyInUse:
    async def test_signs_every_token_of_a_gateway_whose_keys_are_rotated(self, edge: Edge) -> None:
        for key in KeyType:
            edge.hold("edge-02", key=key)
            for body in ({}, {"keyType": key}, {"stable": True}):
                token = document(await generate_token("edge-02", body))
                assert token["keyType"] == key
                expiry = GatewayToken.parse(token["value"]).expiry
                assert edge.gateways["edge-02"].token(key, expiry) == token["value"]

    async def test_is_named_to_a_caller_who_asks_for_the_other(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.hold("edge-02", key=SECONDARY)
        answer = await generate_token("edge-02", {"keyType": PRIMARY})
        assert code_of(answer) == (409, "key_not_active")
        assert "its secondary key is in use" in document(answer)["detail"]
        assert [line["code"] for line in lines(caplog, "token.refused")] == ["key_not_active"]

    async def test_that_nobody_can_tell_since_no_destination_can_be_read_is_a_503(self, edge: Edge) -> None:
        edge.refuse("contoso", "GET")
        assert code_of(await generate_token("edge-02")) == (503, "azure_unavailable")
        # A gateway whose keys are not rotated needs no destination.
        assert (await generate_token("edge-01")).status_code == 200

    async def test_changes_with_a_revoke_and_so_does_the_stable_token(self, edge: Edge) -> None:
        edge.hold("edge-02")
        before, again = [document(await generate_token("edge-02", {"stable": True})) for _ in range(2)]
        await revoke("edge-02")
        after = document(await generate_token("edge-02", {"stable": True}))
        assert before == again
        assert (before["keyType"], after["keyType"]) == ("primary", "secondary")
        assert before["expiry"] == after["expiry"]

    async def test_is_shown_by_the_plan_with_the_next_step(self, edge: Edge) -> None:
        edge.hold("edge-02", 9 * DAY)
        (shown,) = document(await plan())["keys"]
        since, then = (datetime.fromisoformat(shown.pop(name)) for name in ("since", "nextAt"))
        assert then - since == 31 * DAY
        named = {"service": "contoso", "gatewayId": "edge-02"}
        assert shown == {**named, "activeKey": "primary", "phase": "grace", "waitsFor": None}
        edge.refuse("contoso", "GET")
        (shown,) = document(await plan())["keys"]
        assert (shown["nextAt"], shown["waitsFor"]) == (None, "a location that cannot be read")
