"""Who may do what in Azure, and which vaults there are, as routes of ARM: for whoever asks before anything is tried."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

from emulator.azure import Azure
from emulator.endpoint import Route

RBAC = "/providers/Microsoft.Authorization"
OWNER = {"actions": ["*"], "notActions": [], "dataActions": ["*"], "notDataActions": []}


def permission(*actions: str, data: Iterable[str] = (), less: Iterable[str] = ()) -> dict[str, Any]:
    """A permission of actions, and of actions on data, less some actions."""
    return {"actions": [*actions], "notActions": [*less], "dataActions": [*data], "notDataActions": []}


class Authorization:
    """Permissions of the person who asks and role assignments of others, by scope in lower case; `*` is any scope.

    `roles` are the definitions by name. Lists come in pages of one entry.
    """

    def __init__(self) -> None:
        self.permissions: dict[str, list[dict[str, Any]]] = {"*": [OWNER]}
        self.roles: dict[str, dict[str, Any]] = {}
        self.assignments: list[tuple[str, str, str, str]] = []  # principal, scope, role, condition
        self.denied: dict[str, list[str]] = {}
        self.vaults: dict[str, str] = {}  # ids by address

    def routes(self) -> list[Route]:
        """Return the operations."""
        scope, of_2022 = "/subscriptions/{scope:.+}" + RBAC, ("2022-04-01",)
        vaults = "/subscriptions/{subscription}/providers/Microsoft.KeyVault/vaults"
        reading = "Microsoft.Authorization/roleAssignments/read"
        return [
            Route("GET", "/subscriptions", self._subscriptions, "", ("2022-12-01",)),
            Route("GET", vaults, self._vaults, "", ("2023-07-01",)),
            Route("GET", f"{scope}/permissions", self._permissions, "", of_2022),
            Route("GET", f"{scope}/roleAssignments", self._assignments, reading, of_2022),
            Route("GET", f"{scope}/denyAssignments", self._denied, "", of_2022),
            Route("GET", f"{scope}/roleDefinitions", self._roles, "", of_2022),
            Route("GET", f"{scope}/roleDefinitions/{{role}}", self._role, "", of_2022),
        ]

    async def _subscriptions(self, azure: Azure, request: web.Request) -> web.Response:
        names = sorted({name for name, _ in azure.groups})
        return _page(request, [{"id": f"/subscriptions/{name}"} for name in names])

    async def _vaults(self, _: Azure, request: web.Request) -> web.Response:
        within = f"/subscriptions/{request.match_info['subscription']}/"
        vaults = {address: id_ for address, id_ in self.vaults.items() if id_.startswith(within)}
        entries = [{"id": id_, "properties": {"vaultUri": f"{at}/"}} for at, id_ in vaults.items()]
        return _page(request, entries)

    async def _permissions(self, _: Azure, request: web.Request) -> web.Response:
        return _page(request, self.permissions.get(_scope(request), self.permissions["*"]))

    async def _assignments(self, _: Azure, request: web.Request) -> web.Response:
        here, wanted = _scope(request), request.query["$filter"]
        entries = [
            {"properties": {"roleDefinitionId": _id(role), "condition": condition or None}}
            for principal, scope, role, condition in self.assignments
            if here.startswith(scope.lower()) and wanted == f"atScope() and assignedTo('{principal}')"
        ]
        return _page(request, entries)

    async def _denied(self, _: Azure, request: web.Request) -> web.Response:
        names = self.denied.get(_scope(request), [])
        return _page(request, [{"properties": {"denyAssignmentName": name}} for name in names])

    async def _roles(self, _: Azure, request: web.Request) -> web.Response:
        return _page(request, [{"id": _id(name), "properties": {"roleName": name}} for name in self.roles])

    async def _role(self, _: Azure, request: web.Request) -> web.Response:
        name = next(name for name in self.roles if _id(name).endswith(f"/{request.match_info['role']}"))
        return web.json_response({"properties": {"roleName": name, "permissions": [self.roles[name]]}})


def _id(role: str) -> str:
    return f"/subscriptions/0{RBAC}/roleDefinitions/{role.encode().hex()}"


def _scope(request: web.Request) -> str:
    return request.path.lower().partition(RBAC.lower())[0]


def _page(request: web.Request, entries: list[dict[str, Any]]) -> web.Response:
    number = int(request.query.get("$skip", 0))
    body: dict[str, Any] = {"value": entries[number : number + 1]}
    if number + 1 < len(entries):
        body["nextLink"] = str(request.url.update_query({"$skip": str(number + 1)}))
    return web.json_response(body)
