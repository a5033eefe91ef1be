"""The composition root: builds the app once per worker, and alone reads the environment and the clock.

At import it loads the standard library only. Everything else is loaded and made on first use, and a failure is not
kept, so that the next call after a repair works.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from .sign_in import function_keys_allowed

if TYPE_CHECKING:
    from .azure.clients import AzureAccess
    from .estate.schema import AppSettings
    from .http.answers import WrongPythonApi
    from .http.health import HealthApi
    from .http.renewals import RenewalApi
    from .http.tokens import TokenApi
    from .parts import App
    from .renewal.queues import Queues

_apps: dict[str, tuple[App, AzureAccess]] = {}
_Api = TypeVar("_Api")


def key_needed() -> bool:
    """Whether the host must ask callers for a function key; reads no other setting and cannot fail."""
    return function_keys_allowed(os.environ)


@contextmanager
def _loading() -> Iterator[None]:
    """Around what loads modules: nothing in them is garbage, and looking for it takes a tenth of a cold start."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _routes(load: Callable[[], _Api]) -> Callable[[], _Api | WrongPythonApi]:
    """What it loads, once; or routes that say that the packages were built for another Python."""

    @cache
    def loaded() -> _Api | WrongPythonApi:
        try:
            with _loading():
                return load()
        except ImportError as error:
            from .http.answers import WrongPythonApi, wrong_python

            return WrongPythonApi(wrong_python(error))

    return loaded


@_routes
def tokens() -> TokenApi:
    """The routes that issue tokens."""
    from .http.tokens import TokenApi

    return TokenApi(current)


@_routes
def renewals() -> RenewalApi:
    """The routes on renewal and revocation."""
    from .http.renewals import RenewalApi

    return RenewalApi(current)


@_routes
def health() -> HealthApi:
    """The route that says whether the app can do its job."""
    from .http.health import HealthApi

    return HealthApi(current)


@cache
def queues() -> Queues:
    """What the timer and the queues bring. Raises WrongPython."""
    try:
        from .renewal.queues import Queues
    except ImportError as error:
        from .http.answers import wrong_python

        raise wrong_python(error) from error
    return Queues(current)


def current() -> App:
    """The app of this worker. Raises SettingsInvalid."""
    if "app" not in _apps:
        with _loading():
            from . import destinations  # noqa: F401 - defines the kinds that the settings name
            from .estate.app_settings import read_settings

            _apps["app"] = put_together(read_settings(os.environ))
    return _apps["app"][0]


async def forget() -> None:
    """Close what is open and start afresh on the next use: for tests and for orderly ends."""
    for _, azure in _apps.values():
        await azure.close()
    _apps.clear()


def _clock() -> datetime:
    """The one clock of the app: aware UTC."""
    return datetime.now(UTC)


def put_together(settings: AppSettings) -> tuple[App, AzureAccess]:
    """An app with these settings, and its clients of Azure, for the caller to close."""
    from .azure.api_management import ArmGateways
    from .azure.clients import AzureAccess, CallersBudget
    from .azure.reports import Reports
    from .destinations import open_destination
    from .estate.schedule import longest_pause
    from .parts import App

    for needed in ("azure.identity.aio", "azure.mgmt.apimanagement.aio"):
        import_module(needed)  # by every token: so here, where no garbage is looked for
    # The SDK writes two lines for every request it sends: at a run's size that is all one would see, and pay for.
    logging.getLogger("azure").setLevel(logging.WARNING)
    # Its warnings quote what the identity endpoint answered, which may hold an access token.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    azure, callers = AzureAccess(settings), CallersBudget()
    app = App(
        settings=settings,
        clock=_clock,
        gateways=ArmGateways(azure, azure.budget),
        callers_gateways=ArmGateways(azure, callers),
        callers_budget=callers,
        destination=lambda spec, ref: open_destination(spec, ref, azure),
        reports=Reports(azure, settings.state_container_url),
        pause=longest_pause(settings.schedule),
        identity_works=azure.identity_works,
        signing_key=lambda address, key_id: azure.signing_keys(address).key(key_id),
    )
    return app, azure
