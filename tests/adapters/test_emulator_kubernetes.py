"""The emulated cluster refuses what a real API server refuses."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from emulator.cluster_objects import Objects, merged
from emulator.kubernetes import Cluster
from emulator.server import Emulator

MERGE = "application/merge-patch+json"
SECRETS = "/api/v1/namespaces/default/secrets"


class Client(NamedTuple):
    """What the cluster holds, and a connection to it."""

    objects: Objects
    session: aiohttp.ClientSession


@pytest.fixture
async def cluster() -> AsyncIterator[Client]:
    running = Cluster("edge")
    async with Emulator(endpoints=[running]) as emulator:
        token = running.service_account_token(emulator.azure)
        tls = ssl.create_default_context(cafile=emulator.ca_file)
        connector = aiohttp.TCPConnector(ssl=tls)
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(running.url, connector=connector, headers=headers) as session:
            yield Client(running.objects, session)


async def call(
    cluster: Client, method: str, path: str, body: object = None, kind: str = MERGE
) -> tuple[int, str]:
    async with cluster.session.request(method, path, json=body, headers={"Content-Type": kind}) as answer:
        return answer.status, (await answer.json()).get("reason", "")


async def test_a_patch_needs_its_own_media_type(cluster: Client) -> None:
    cluster.objects.add_secret("default", "a", {"key": "value"})
    assert await call(cluster, "PATCH", f"{SECRETS}/a", {"data": {}}, "application/json") == (
        415,
        "UnsupportedMediaType",
    )


async def test_a_patch_of_another_version_is_a_conflict(cluster: Client) -> None:
    cluster.objects.add_secret("default", "a", {"key": "value"})
    body = {"metadata": {"resourceVersion": "1"}, "data": {"key": ""}}
    assert await call(cluster, "PATCH", f"{SECRETS}/a", body) == (409, "Conflict")
    assert cluster.objects.secret_value("default", "a", "key") == "value"


async def test_a_secret_is_created_once(cluster: Client) -> None:
    body = {"metadata": {"name": "a"}, "stringData": {"key": "plain"}}
    assert (await call(cluster, "POST", SECRETS, body, "application/json"))[0] == 201
    assert cluster.objects.secret_value("default", "a", "key") == "plain"
    assert await call(cluster, "POST", SECRETS, body, "application/json") == (409, "AlreadyExists")


@pytest.mark.parametrize("data", [{"key": "not base64!"}, {"key": 1}])
async def test_data_must_be_base64(cluster: Client, data: dict[str, object]) -> None:
    body = {"metadata": {"name": "a"}, "data": data}
    assert await call(cluster, "POST", SECRETS, body) == (400, "BadRequest")


async def test_an_immutable_secret_keeps_its_data(cluster: Client) -> None:
    cluster.objects.add_secret("default", "a", {"key": "value"}, immutable=True)
    body = {"data": {"key": b64encode(b"other").decode()}}
    assert await call(cluster, "PATCH", f"{SECRETS}/a", body) == (422, "Invalid")


async def test_what_is_not_json_is_refused(cluster: Client) -> None:
    cluster.objects.add_secret("default", "a", {"key": "value"})
    assert await call(cluster, "PATCH", f"{SECRETS}/a", []) == (400, "BadRequest")


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
