"""The emulated cluster refuses what a real API server refuses."""

import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from emulator.cluster_objects import Objects, merged, with_data
from emulator.kubernetes import Cluster
from emulator.server import Emulator

JSON, MERGE = "application/json", "application/merge-patch+json"
NEW = {"metadata": {"name": "new"}}
CHANGE = {"data": {"key": b64encode(b"other").decode()}}
STALE = {"metadata": {"resourceVersion": "1"}, **CHANGE}
SECRETS = "/api/v1/namespaces/default/secrets"


REFUSED = {
    "a patch of another media type": ("PATCH", "/a", {}, JSON, (415, "UnsupportedMediaType")),
    "a patch of another version": ("PATCH", "/a", STALE, MERGE, (409, "Conflict")),
    "a patch that is no object": ("PATCH", "/a", [], MERGE, (400, "BadRequest")),
    "a second creation": ("POST", "", {"metadata": {"name": "a"}}, JSON, (409, "AlreadyExists")),
    "no base64": ("POST", "", {**NEW, "data": {"key": "not base64!"}}, JSON, (400, "BadRequest")),
    "no text": ("POST", "", {**NEW, "data": {"key": 1}}, JSON, (400, "BadRequest")),
    "a change of an immutable secret": ("PATCH", "/fixed", CHANGE, MERGE, (422, "Invalid")),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_the_cluster_refuses_what_an_api_server_refuses(case: str) -> None:
    method, path, body, kind, refusal = REFUSED[case]
    running = Cluster("edge")
    objects = running.objects
    objects.add_secret("default", "a", {"key": "value"})
    objects.add_secret("default", "fixed", {"key": "value"}, immutable=True)
    async with Emulator(endpoints=[running]) as emulator, aiohttp.ClientSession(running.url) as session:
        token = running.service_account_token(emulator.azure)
        tls = ssl.create_default_context(cafile=emulator.ca_file)
        headers = {"Content-Type": kind, "Authorization": f"Bearer {token}"}
        async with session.request(method, SECRETS + path, json=body, headers=headers, ssl=tls) as answer:
            assert (answer.status, (await answer.json())["reason"]) == refusal
    assert [objects.secret_value("default", name, "key") for name in ("a", "fixed")] == ["value"] * 2
    assert objects.current("secrets", "default", "new") is None


def test_string_data_is_stored_as_data() -> None:
    assert with_data({"stringData": {"key": "plain"}}) == {"data": {"key": b64encode(b"plain").decode()}}


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None}, {}),
        ({"a": {"b": 1}}, {"a": {"c": None, "d": 2}}, {"a": {"b": 1, "d": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": "text"}, {"a": {"b": None}}, {"a": {}}),
    ],
)
def test_a_merge_patch_follows_rfc_7386(target: object, patch: object, result: object) -> None:
    assert merged(target, patch) == result


def test_who_owns_a_field_and_since_when_is_kept_as_an_api_server_keeps_it() -> None:
    objects, now = Objects(), datetime(2026, 3, 1, tzinfo=UTC)
    objects.clock = lambda: now

    def owners() -> dict[str, tuple[str, object]]:
        entries = objects.stored("secrets", "default", "a")["metadata"]["managedFields"]
        return {entry["manager"]: (entry["time"][8:10], entry["fieldsV1"]) for entry in entries}

    def write(manager: str, data: dict[str, str], **annotations: str) -> None:
        nonlocal now
        now += timedelta(days=1)
        manifest = {"metadata": {"annotations": annotations}, "data": data}
        objects.put("secrets", "default", "a", manifest, manager)

    write("one", {"a": "1", "b": "1"})
    assert owners() == {"one": ("02", {"f:data": {"f:a": {}, "f:b": {}}})}
    version = objects.stored("secrets", "default", "a")["metadata"]["resourceVersion"]
    write("two", {"a": "1", "b": "1"})
    assert owners() == {"one": ("02", {"f:data": {"f:a": {}, "f:b": {}}})}
    assert objects.stored("secrets", "default", "a")["metadata"]["resourceVersion"] == version
    write("two", {"a": "1", "b": "2"}, c="3")
    two = {"f:data": {"f:b": {}}, "f:metadata": {"f:annotations": {"f:c": {}}}}
    assert owners() == {"one": ("02", {"f:data": {"f:a": {}}}), "two": ("04", two)}
    write("three", {"b": "2"}, c="3")
    assert owners() == {"two": ("04", two)}
    assert (
        objects.stored("secrets", "default", "a")["metadata"]["creationTimestamp"] == "2026-03-02T00:00:00Z"
    )
