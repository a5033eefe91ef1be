"""The part of Microsoft.App that concerns an app's secrets, revisions and their restarts, as routes of ARM."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from emulator.arm import GROUP, check_group, resource_not_found
from emulator.azure import Azure
from emulator.cluster_objects import merged
from emulator.endpoint import RefusedError, Route, Work

PROVIDER = "Microsoft.App/containerApps"
VERSIONS = ("2024-03-01", "2025-01-01")


@dataclass
class App:
    """An app. A change is in progress for `looks_to_settle` looks; the new revision runs `looks_to_run` looks later.

    `broken` revisions fail, `stuck` ones go on processing. Tags in a change are merged, or with `replaces_tags`, as some
    resource providers do, taken for all the tags.
    """

    name: str
    secrets: list[dict[str, str]] = field(default_factory=list, repr=False)
    tags: dict[str, str] = field(default_factory=dict)
    template: dict[str, Any] = field(default_factory=dict)
    revisions: list[str] = field(default_factory=list)
    ready: str = ""
    restarted: list[str] = field(default_factory=list)
    looks_to_settle: int = 1
    looks_to_run: int = 1
    broken: bool = False
    stuck: bool = False
    replaces_tags: bool = False
    settling: int = 0
    starting: int = 0

    def secret(self, name: str) -> str | None:
        """Return a secret's value."""
        return next((secret.get("value") for secret in self.secrets if secret["name"] == name), None)

    def put(self, name: str, **entry: str) -> None:
        """Set a secret as somebody else would."""
        others = [secret for secret in self.secrets if secret["name"] != name]
        self.secrets = [*others, {"name": name, **entry}]


class ContainerApps:
    """The apps by name, whatever their subscription and group."""

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}

    def add(self, name: str) -> App:
        """Create an app with one running revision."""
        first = f"{name}--first"
        self.apps[name] = App(name, revisions=[first], ready=first)
        return self.apps[name]

    def routes(self) -> list[Route]:
        """Return the operations."""
        app = f"{GROUP}/providers/{PROVIDER}/{{app}}"
        revision = f"{app}/revisions/{{revision}}"

        def route(method: str, path: str, work: Work, action: str) -> Route:
            return Route(method, path, work, f"{PROVIDER}/{action}", VERSIONS)

        return [
            route("GET", app, self._get, "read"),
            route("PATCH", app, self._patch, "write"),
            route("POST", f"{app}/listSecrets", self._list_secrets, "listSecrets/action"),
            route("GET", revision, self._revision, "revisions/read"),
            route("POST", f"{revision}/restart", self._restart, "revisions/restart/action"),
        ]

    def _find(self, azure: Azure, request: web.Request) -> App:
        check_group(azure, request)
        name = request.match_info["app"]
        if name not in self.apps:
            raise resource_not_found(PROVIDER, name, request.match_info["group"])
        return self.apps[name]

    async def _get(self, azure: Azure, request: web.Request) -> web.Response:
        app = self._find(azure, request)
        answer = _shown(app)
        app.settling = max(0, app.settling - 1)
        return web.json_response(answer)

    async def _patch(self, azure: Azure, request: web.Request) -> web.Response:
        app, body = self._find(azure, request), json.loads(await request.read())
        if app.settling:
            message = "Cannot modify a container app because there is an ongoing provisioning operation."
            raise RefusedError(409, "ContainerAppOperationInProgress", message)
        properties = body.get("properties", {})
        secrets = properties.get("configuration", {}).get("secrets", app.secrets)
        if any("value" not in secret and "keyVaultUrl" not in secret for secret in secrets):
            message = "Invalid secrets: value or keyVaultUrl must be provided."
            raise RefusedError(400, "ContainerAppSecretInvalid", message)
        template = merged(app.template, properties.get("template", {}))
        if template != app.template:
            _begin_revision(app, template)
        app.secrets = secrets
        app.tags = merged({} if app.replaces_tags else app.tags, body.get("tags", {}))
        app.settling = app.looks_to_settle
        return web.json_response(_shown(app), status=202, headers={"Location": str(request.url)})

    async def _list_secrets(self, azure: Azure, request: web.Request) -> web.Response:
        app = self._find(azure, request)
        return web.json_response({"value": app.secrets}) if app.secrets else web.Response(status=204)

    async def _revision(self, azure: Azure, request: web.Request) -> web.Response:
        app = self._find(azure, request)
        name = _known_revision(app, request)
        states = ("Provisioned", "Running")
        if name != app.ready:
            app.starting = max(0, app.starting - 1)
            states = ("Failed", "Failed") if app.broken else ("Provisioning", "Processing")
            if not app.broken and not app.stuck and app.starting == 0:
                app.ready = name
        provisioning, running = states
        properties = {"provisioningState": provisioning, "runningState": running, "replicas": 1}
        return web.json_response({"name": name, "properties": properties})

    async def _restart(self, azure: Azure, request: web.Request) -> web.Response:
        app = self._find(azure, request)
        app.restarted.append(_known_revision(app, request))
        return web.Response()


def _known_revision(app: App, request: web.Request) -> str:
    name = request.match_info["revision"]
    if name not in app.revisions:
        raise RefusedError(404, "RevisionNotFound", f"Revision '{name}' was not found.")
    return name


def _begin_revision(app: App, template: dict[str, Any]) -> None:
    name = f"{app.name}--{template.get('revisionSuffix', len(app.revisions))}"
    if name in app.revisions:
        message = f"Field 'template.revisionSuffix' is invalid: revision '{name}' already exists."
        raise RefusedError(400, "ContainerAppInvalidRevisionSuffix", message)
    app.template, app.starting = template, app.looks_to_run
    app.revisions.append(name)


def _shown(app: App) -> dict[str, Any]:
    """Return the app as ARM shows it: the secrets without their values."""
    shown = [{name: text for name, text in secret.items() if name != "value"} for secret in app.secrets]
    return {
        "name": app.name,
        "tags": app.tags,
        "properties": {
            "provisioningState": "InProgress" if app.settling else "Succeeded",
            "latestRevisionName": app.revisions[-1],
            "latestReadyRevisionName": app.ready,
            "configuration": {"activeRevisionsMode": "Single", "secrets": shown},
            "template": app.template,
        },
    }
