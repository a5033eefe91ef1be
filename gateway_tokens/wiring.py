"""The composition root: puts the rooms together, once per worker, and alone reads the environment.

At import it loads the standard library only. Everything else is loaded and made on first use, and a failure is not
kept, so that the next call after a repair works.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING

from .sign_in import function_keys_allowed

if TYPE_CHECKING:
    from .azure_access import AzureAccess
    from .background import Background
    from .http_api import HttpApi
    from .http_renewals import RenewalApi
    from .ports import World
    from .wrong_python import WrongPythonApi

_worlds: dict[str, tuple[World, AzureAccess]] = {}


def key_needed() -> bool:
    """Whether the host must ask callers for a function key; reads no other setting and cannot fail."""
    return function_keys_allowed(os.environ)


@cache
def http_api() -> HttpApi | WrongPythonApi:
    """The HTTP API."""
    try:
        from .http_api import HttpApi
    except ImportError as error:
        return _unloadable(error)
    return HttpApi(world)


@cache
def renewal_api() -> RenewalApi | WrongPythonApi:
    """The HTTP API's half on renewal."""
    try:
        from .http_renewals import RenewalApi
    except ImportError as error:
        return _unloadable(error)
    return RenewalApi(world)


@cache
def background() -> Background:
    """What runs without a caller. Raises WrongPython."""
    try:
        from .background import Background
    except ImportError as error:
        from .wrong_python import wrong_python

        raise wrong_python(error) from error
    return Background(world)


def _unloadable(error: ImportError) -> WrongPythonApi:
    from .wrong_python import WrongPythonApi, wrong_python

    return WrongPythonApi(wrong_python(error))


def world() -> World:
    """The world of this worker. Raises SettingsInvalid."""
    if "world" not in _worlds:
        _worlds["world"] = _put_together()
    return _worlds["world"][0]


async def forget() -> None:
    """Close what is open and start afresh on the next use: for tests and for orderly ends."""
    for _, azure in _worlds.values():
        await azure.close()
    _worlds.clear()


def _put_together() -> tuple[World, AzureAccess]:
    from .app_settings import read_settings
    from .arm import ArmGateways
    from .arm_budget import CallersBudget
    from .azure_access import AzureAccess
    from .destinations import open_destination
    from .ports import World
    from .schedule import longest_pause
    from .sweep_store import BlobSweepStore, NoSweepStore

    settings = read_settings(os.environ)
    container = settings.state_container_url
    # The SDK writes two lines for every request it sends: at a sweep's size that is all one would see, and pay for.
    logging.getLogger("azure").setLevel(logging.WARNING)
    # Its warnings quote what the identity endpoint answered, which may hold an access token.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    azure, callers = AzureAccess(settings), CallersBudget()
    made = World(
        settings=settings,
        clock=azure.clock,
        gateways=ArmGateways(azure, azure.budget),
        callers_gateways=ArmGateways(azure, callers),
        callers_budget=callers,
        destination=lambda spec, ref: open_destination(spec, ref, azure),
        sweeps=BlobSweepStore(azure, container) if container else NoSweepStore(),
        interval=longest_pause(settings.schedule),
        identity_works=azure.identity_works,
        signing_key=lambda address, key_id: azure.signing_keys(address).key(key_id),
    )
    return made, azure
