"""A Kubernetes API server: Secrets, workloads and their pods, as far as a client that delivers tokens goes."""

import json
from collections.abc import Awaitable, Callable, Collection, Iterable

from aiohttp import web

from emulator.azure import Azure
from emulator.cluster_objects import Objects, merged, with_data
from emulator.cluster_workloads import Manifest
from emulator.endpoint import Endpoint, RefusedError, Route

# The audience of the tokens that Entra issues for AKS clusters.
SERVER_APPLICATION = "6dae42f8-4368-4678-94ff-3960e28e3630"
GROUPS = {
    "secrets": "",
    "pods": "",
    "deployments": "apps/v1",
    "statefulsets": "apps/v1",
    "daemonsets": "apps/v1",
    "rollouts": "argoproj.io/v1alpha1",
}
PATCHES = {"application/merge-patch+json", "application/strategic-merge-patch+json"}

ObjectWork = Callable[[str, web.Request], Awaitable[web.Response]]


class Cluster(Endpoint):
    """The address of one cluster. Permissions are named as in its RBAC: `get secrets`, `patch deployments`.

    `objects` are what it holds; `knows_entra` is whether Entra's tokens are good here.
    """

    host = "kubernetes"

    def __init__(self, name: str, *, knows_entra: bool = True) -> None:
        self.instance = name
        self.objects = Objects()
        self.knows_entra = knows_entra

    def service_account_token(self, azure: Azure) -> str:
        """Return a new token of a service account, good for this cluster only."""
        return azure.issue_bearer(f"cluster/{self.instance}")

    def audiences(self) -> Collection[str]:
        """Accept this cluster's service accounts, and Entra's tokens unless told otherwise."""
        own = f"cluster/{self.instance}"
        return (own, SERVER_APPLICATION) if self.knows_entra else (own,)

    def routes(self) -> Iterable[Route]:
        """Return the operations on Secrets and workloads."""
        yield self._route("POST", "secrets", self._create, "create")
        yield self._route("GET", "pods", self._list, "list")
        for resource in GROUPS.keys() - {"pods"}:
            yield self._route("GET", resource, self._get, "get")
            yield self._route("PATCH", resource, self._patch, "patch")

    def _route(self, method: str, resource: str, work: ObjectWork, verb: str) -> Route:
        async def bound(azure: Azure, request: web.Request) -> web.Response:
            self.objects.clock = azure.clock
            return await work(resource, request)

        group = f"/apis/{GROUPS[resource]}" if GROUPS[resource] else "/api/v1"
        name = "" if verb in {"create", "list"} else "/{name}"
        path = f"{group}/namespaces/{{namespace}}/{resource}{name}"
        return Route(method, path, bound, f"{verb} {resource}")

    def express(self, refusal: RefusedError) -> web.Response:
        """Put a refusal in the form of a Status."""
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": refusal.message,
            "reason": refusal.code,
            "code": refusal.status,
        }
        return web.json_response(status, status=refusal.status, headers=refusal.headers)

    def unauthenticated(self, azure: Azure) -> RefusedError:
        """Return what a call without a good bearer token gets."""
        del azure
        return RefusedError(401, "Unauthorized", "Unauthorized")

    def forbidden(self, azure: Azure, request: web.Request, action: str) -> RefusedError:
        """Return what RBAC says to an identity without the role."""
        verb, resource = action.split()
        group = GROUPS[resource].partition("/")[0]
        name, namespace = request.match_info.get("name", ""), request.match_info["namespace"]
        return RefusedError(
            403,
            "Forbidden",
            f'{resource} "{name}" is forbidden: User "{azure.object_id}" cannot {verb} resource "{resource}" in API '
            f'group "{group}" in the namespace "{namespace}"',
        )

    async def _get(self, resource: str, request: web.Request) -> web.Response:
        manifest = self.objects.current(resource, *_key(request))
        if manifest is None:
            raise _not_found(resource, request.match_info["name"])
        return web.json_response(manifest)

    async def _list(self, resource: str, request: web.Request) -> web.Response:
        del resource
        pods = self.objects.pods(request.match_info["namespace"], request.query.get("labelSelector", ""))
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})

    async def _create(self, resource: str, request: web.Request) -> web.Response:
        namespace, manifest = request.match_info["namespace"], await _body(request)
        if namespace not in self.objects.namespaces:
            raise _not_found("namespaces", namespace)
        name = manifest["metadata"]["name"]
        if self.objects.current(resource, namespace, name):
            raise RefusedError(409, "AlreadyExists", f'{resource} "{name}" already exists')
        stored = self.objects.put(resource, namespace, name, _stored(manifest), _manager(request))
        return web.json_response(stored, status=201)

    async def _patch(self, resource: str, request: web.Request) -> web.Response:
        if request.content_type not in PATCHES:
            message = "the body of the request was in an unknown format"
            raise RefusedError(415, "UnsupportedMediaType", message)
        namespace, name = _key(request)
        patch, manifest = await _body(request), self.objects.current(resource, namespace, name)
        if manifest is None:
            raise _not_found(resource, name)
        seen = patch.get("metadata", {}).pop("resourceVersion", None)
        if seen not in {None, manifest["metadata"]["resourceVersion"]}:
            message = (
                f'Operation cannot be fulfilled on {resource} "{name}": the object has been modified; please apply '
                "your changes to the latest version and try again"
            )
            raise RefusedError(409, "Conflict", message)
        if manifest.get("immutable") and {"data", "stringData"} & patch.keys():
            message = (
                f'Secret "{name}" is invalid: data: Forbidden: field is immutable when `immutable` is set'
            )
            raise RefusedError(422, "Invalid", message)
        changed = _stored(merged(manifest, patch))
        return web.json_response(self.objects.put(resource, namespace, name, changed, _manager(request)))


def _key(request: web.Request) -> tuple[str, str]:
    return request.match_info["namespace"], request.match_info["name"]


def _manager(request: web.Request) -> str:
    return request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0]


def _not_found(resource: str, name: str) -> RefusedError:
    return RefusedError(404, "NotFound", f'{resource} "{name}" not found')


async def _body(request: web.Request) -> Manifest:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "BadRequest", "the object provided is unrecognized")
    return body


def _stored(manifest: Manifest) -> Manifest:
    try:
        return with_data(manifest)
    except (ValueError, TypeError):
        message = 'Secret in version "v1" cannot be handled as a Secret: illegal base64 data at input byte 4'
        raise RefusedError(400, "BadRequest", message) from None
