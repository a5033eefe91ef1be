"""Reads an app directory the way the Functions host does: host.json, function_app.py, the settings triggers name."""

import importlib.util
import itertools
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import azure.functions as func
from azure.functions.decorators.function_app import Function

HTTP, TIMER, QUEUE = "httpTrigger", "timerTrigger", "queueTrigger"
_SETTING = re.compile(r"%([^%]+)%")
_loads = itertools.count()


class AppError(Exception):
    """The host cannot start this app; the message says which part of it is wrong."""


@dataclass(frozen=True)
class HostSettings:
    """What host.json decides for this host."""

    route_prefix: str
    max_dequeue_count: int
    batch_size: int
    new_batch_threshold: int
    visibility_timeout: float  # seconds that a message is not seen after a failed try


@dataclass(frozen=True)
class HostedFunction:
    """One function of the app: its trigger with every `%SETTING%` resolved, and the coroutine function."""

    name: str
    trigger: Mapping[str, Any]
    outputs: Mapping[str, str]  # parameter by queue
    call: Callable[..., Awaitable[Any]]

    @property
    def kind(self) -> str:
        """The trigger's type, such as `timerTrigger`."""
        return str(self.trigger["type"])


def read_host_settings(app_root: Path) -> HostSettings:
    """host.json with the host's own defaults where it is silent."""
    extensions = json.loads((app_root / "host.json").read_text("utf-8")).get("extensions", {})
    queues = extensions.get("queues", {})
    batch = queues.get("batchSize", 16)
    return HostSettings(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api").strip("/"),
        max_dequeue_count=queues.get("maxDequeueCount", 5),
        batch_size=batch,
        new_batch_threshold=queues.get("newBatchThreshold", batch // 2),
        visibility_timeout=_seconds(queues.get("visibilityTimeout", "00:00:00")),
    )


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def load_functions(app_root: Path, environ: Mapping[str, str]) -> dict[str, HostedFunction]:
    """The app's functions by name. The app's directory must already be on `sys.path`. Raises AppError."""
    # An app object gives its functions only once, so every host runs function_app.py afresh.
    app = _the_app(_import_afresh(app_root / "function_app.py"))
    hosted = [_hosted(function, environ) for function in app.get_functions()]
    return {function.name: function for function in hosted}


def _import_afresh(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"function_app_{next(_loads)}", script)
    if spec is None or spec.loader is None or not script.exists():
        raise AppError(f"There is no {script.name} in the app directory.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _the_app(module: ModuleType) -> func.FunctionApp:
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionApp)]
    if len(apps) != 1:
        raise AppError(f"function_app.py must define exactly one FunctionApp, not {len(apps)}.")
    return apps[0]


def _hosted(fn: Function, environ: Mapping[str, str]) -> HostedFunction:
    name, trigger = str(fn.get_function_name()), fn.get_trigger()
    if trigger is None:
        raise AppError(f"Function '{name}' has no trigger.")
    known = {HTTP, TIMER, QUEUE, "http", "queue"}
    if unknown := {str(binding.type) for binding in fn.get_bindings()} - known:
        raise AppError(f"Function '{name}': this host does not know {', '.join(sorted(unknown))}.")
    resolved = {key: _resolved(name, value, environ) for key, value in trigger.get_dict_repr().items()}
    outputs = {
        str(_resolved(name, binding.get_dict_repr()["queueName"], environ)): str(binding.name)
        for binding in fn.get_bindings()
        if str(binding.type) == "queue"
    }
    return HostedFunction(name, resolved, outputs, fn.get_user_function())


def _resolved(name: str, value: object, environ: Mapping[str, str]) -> object:
    def setting(match: re.Match[str]) -> str:
        if not (value := environ.get(match[1])):
            raise AppError(f"Function '{name}': '%{match[1]}%' does not resolve to a value.")
        return value

    return _SETTING.sub(setting, value) if isinstance(value, str) else value
