"""The emulated cluster refuses what a real API server refuses."""

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import aiohttp
import pytest

from emulator.cluster_objects import Objects, merged
from emulator.kubernetes import Cluster
from emulator.server import Emulator

JSON, MERGE = "application/json", "application/merge-patch+json"
NEW = {"metadata": {"name": "new"}}
CHANGE = {"data": {"key": b64encode(b"other").decode()}}
STALE = {"metadata": {"resourceVersion": "1"}, **CHANGE}
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


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "refusal"),
    [
        pytest.param(
            "PATCH", "/a", {}, JSON, (415, "UnsupportedMediaType"), id="a patch of another media type"
        ),
        pytest.param("PATCH", "/a", STALE, MERGE, (409, "Conflict"), id="a patch of another version"),
        pytest.param("PATCH", "/a", [], MERGE, (400, "BadRequest"), id="a patch that is no object"),
        pytest.param(
            "POST", "", {"metadata": {"name": "a"}}, JSON, (409, "AlreadyExists"), id="a second creation"
        ),
        pytest.param(
            "POST", "", {**NEW, "data": {"key": "not base64!"}}, JSON, (400, "BadRequest"), id="no base64"
        ),
        pytest.param("POST", "", {**NEW, "data": {"key": 1}}, JSON, (400, "BadRequest"), id="no text"),
        pytest.param(
            "PATCH", "/fixed", CHANGE, MERGE, (422, "Invalid"), id="a change of an immutable secret"
        ),
    ],
)
async def test_the_cluster_refuses_what_an_api_server_refuses(
    cluster: Client, *, method: str, path: str, body: object, kind: str, refusal: tuple[int, str]
) -> None:
    cluster.objects.add_secret("default", "a", {"key": "value"})
    cluster.objects.add_secret("default", "fixed", {"key": "value"}, immutable=True)
    assert await call(cluster, method, SECRETS + path, body, kind) == refusal
    assert [cluster.objects.secret_value("default", name, "key") for name in ("a", "fixed")] == ["value"] * 2
    assert cluster.objects.look("secrets", "default", "new") is None


async def test_string_data_is_stored_as_data(cluster: Client) -> None:
    assert (await call(cluster, "POST", SECRETS, {**NEW, "stringData": {"key": "plain"}}, JSON))[0] == 201
    assert cluster.objects.secret_value("default", "new", "key") == "plain"


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


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Rollout"])
async def test_a_workloads_pods_follow_its_template_its_number_and_its_labels(
    cluster: Client, kind: str
) -> None:
    resource = f"{kind.lower()}s"
    cluster.objects.add_workload(kind, "default", "a", 3)
    cluster.objects.add_workload(kind, "default", "b", 1)
    before = cluster.objects.pods("default", "app=a")
    assert [len(before), len(cluster.objects.pods("default", ""))] == [3, 4]
    group = "argoproj.io/v1alpha1" if kind == "Rollout" else "apps/v1"
    path = f"/apis/{group}/namespaces/default/{resource}/a"
    change = {"restartAt": "2026-03-01T12:00:01Z"} if kind == "Rollout" else {"template": {"spec": {"x": 1}}}
    assert (await call(cluster, "PATCH", path, {"spec": change}))[0] == 200
    counts = []
    for _ in range(2):
        assert (await call(cluster, "GET", path))[0] == 200
        after = cluster.objects.pods("default", "app=a")
        counts.append((len(after), sum(pod in before for pod in after)))
    assert counts == [(3, 3), (3, 0)]
    async with cluster.session.get("/api/v1/namespaces/default/pods?labelSelector=app%3Da") as answer:
        assert (await answer.json())["items"] == cluster.objects.pods("default", "app=a")
