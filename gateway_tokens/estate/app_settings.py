"""The app settings that the code reads: their names, defaults and checks. No file is read but CA_FILE."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain

from gateway_tokens.access import AccessRule
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.sign_in import CredentialKind, SignIn, function_keys_allowed
from gateway_tokens.tokens import CLOCK_MARGIN, MAX_LIFETIME

from .faults import read_estate
from .schedule import CHANGES_AT_ONCE, FEW_RUNS, longest_for, longest_gap, longest_pause
from .schema import AppSettings, Estate, GatewayRule, Service

# Every setting the code and its triggers read, with its default; None means that it must be set.
SETTINGS: dict[str, str | None] = {
    "GATEWAY_TOKENS": None,
    "RENEWAL_SCHEDULE": None,
    "NO_RUN_AFTER_HOURS": "",
    "STATE_CONTAINER_URL": "",
    "RENEWALS_QUEUE": "gateway-renewals",  # this and the next are read by the triggers, through the host
    "EVENTS_QUEUE": "gateway-events",
    "LOG_FRESH_ROWS": "false",
    "ALLOW_FUNCTION_KEYS": "false",
    "SIGN_IN_TENANT": "",
    "SIGN_IN_AUDIENCES": "",
    "SIGN_IN_APPLICATIONS": "",
    "SIGN_IN_ENDPOINT": "https://login.microsoftonline.com",
    "AZURE_CREDENTIAL": CredentialKind.MANAGED_IDENTITY,
    "AZURE_CLIENT_ID": "",
    "ARM_ENDPOINT": "https://management.azure.com",
    "ARM_SCOPE": "",
    "CA_FILE": "",
}
# Set together: without one of them no bearer token can be verified.
NEEDED = ("SIGN_IN_TENANT", "SIGN_IN_AUDIENCES", "SIGN_IN_APPLICATIONS")
_GUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_BOOLEAN = "(?ai:true|false)", "must be true or false"
_ADDRESS = "https://[a-zA-Z0-9](?s:.*)", "must be an https:// address"
# What a setting that has a value must match, and what a fault says.
_FORMS = {
    "ALLOW_FUNCTION_KEYS": _BOOLEAN,
    "SIGN_IN_TENANT": (_GUID, "must be the tenant's id, a GUID"),
    "SIGN_IN_APPLICATIONS": (
        rf"(\s*({_GUID})?\s*,)*\s*({_GUID})?",
        "must be client ids (GUIDs), separated by commas",
    ),
    "AZURE_CREDENTIAL": ("|".join(CredentialKind), f"must be one of {', '.join(CredentialKind)}"),
    "LOG_FRESH_ROWS": _BOOLEAN,
    "ARM_ENDPOINT": _ADDRESS,
    "STATE_CONTAINER_URL": _ADDRESS,
    "ARM_SCOPE": _ADDRESS,
    "SIGN_IN_ENDPOINT": _ADDRESS,
}
_INSTEAD_OF_SIGN_IN = (
    "is not a setting any more. For 'entra' remove it; for 'functionKey' or 'entraAndFunctionKey' write "
    "ALLOW_FUNCTION_KEYS=true in its place"
)
# How many gateways a pattern counts as.
OF_A_PATTERN = 100
# A log alert looks back two days at most:
# https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-create-log-alert-rule
LONGEST_ALERT_HOURS = 48


def read_settings(environ: Mapping[str, str]) -> AppSettings:
    """The settings of an environment. Raises SettingsInvalid with every fault of every setting."""
    values = {name: environ.get(name, "").strip() or default or "" for name, default in SETTINGS.items()}
    container, arm_endpoint = (values[name].rstrip("/") for name in ("STATE_CONTAINER_URL", "ARM_ENDPOINT"))
    estate, faults = _estate(values["GATEWAY_TOKENS"])
    sign_in, keys = _sign_in(values), function_keys_allowed(environ)
    of_settings = list(_faults(values, environ))
    if estate and not {*NEEDED, "SIGN_IN", "ALLOW_FUNCTION_KEYS"} & {fault.path for fault in of_settings}:
        faults += rules_that_match_nobody(estate.access, sign_in, function_keys=keys)
    faults += [*of_settings, *_ca_faults(values["CA_FILE"]), *schedule_faults(environ, estate)]
    if estate and estate.manages_something and not container:
        faults.append(Fault("STATE_CONTAINER_URL", "is needed to renew: the address of a blob container"))
    if faults or estate is None:
        raise SettingsInvalid(faults)
    return AppSettings(
        estate=estate,
        schedule=environ["RENEWAL_SCHEDULE"],
        state_container_url=container,
        log_fresh_rows=values["LOG_FRESH_ROWS"].lower() == "true",
        function_keys=keys,
        sign_in=sign_in,
        credential=CredentialKind(values["AZURE_CREDENTIAL"]),
        client_id=values["AZURE_CLIENT_ID"],
        arm_endpoint=arm_endpoint,
        arm_scope=values["ARM_SCOPE"] or f"{arm_endpoint}/.default",
        ca_file=values["CA_FILE"],
    )


def _estate(text: str) -> tuple[Estate | None, list[Fault]]:
    if not text:
        return None, [Fault("GATEWAY_TOKENS", "is not set: it describes the estate, see docs/settings.md")]
    try:
        return read_estate(text), []
    except SettingsInvalid as error:
        return None, list(error.faults)


def _sign_in(values: Mapping[str, str]) -> SignIn | None:
    """Who may sign in; None where function keys alone are in use."""
    if not values["SIGN_IN_TENANT"]:
        return None
    return SignIn(
        endpoint=values["SIGN_IN_ENDPOINT"].rstrip("/"),
        tenant=values["SIGN_IN_TENANT"].lower(),
        audiences=_listed(values["SIGN_IN_AUDIENCES"]),
        applications=frozenset(_listed(values["SIGN_IN_APPLICATIONS"].lower())),
    )


def _listed(value: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in value.split(","))))


def _faults(values: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Fault]:
    if environ.get("SIGN_IN", "").strip():
        yield Fault("SIGN_IN", _INSTEAD_OF_SIGN_IN)
    missing = [name for name in NEEDED if not _listed(values[name])]
    if len(missing) < len(NEEDED) or not function_keys_allowed(values):
        yield from (Fault(name, "must be set: it is needed to verify bearer tokens") for name in missing)
    for name, (pattern, message) in _FORMS.items():
        if values[name] and not re.fullmatch(pattern, values[name]):
            yield Fault(name, message)


def _ca_faults(ca_file: str) -> list[Fault]:
    try:
        if ca_file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca_file)
    except ssl.SSLError:
        return [
            Fault("CA_FILE", "names a file that does not hold certificates in PEM form (BEGIN CERTIFICATE)")
        ]
    except OSError as error:
        return [Fault("CA_FILE", f"names a file that cannot be read: {error.strerror}")]
    return []


def schedule_faults(environ: Mapping[str, str], estate: Estate | None) -> Iterator[Fault]:
    """What is wrong with the schedule, by itself and beside the alert and the rules of the estate."""
    # As it is set: the host refuses white space that every other setting may have around it.
    schedule = environ.get("RENEWAL_SCHEDULE", "")
    try:
        pause = longest_pause(schedule)
    except ValueError as error:
        yield Fault("RENEWAL_SCHEDULE", str(error))
        return
    yield from _alert_faults(environ.get("NO_RUN_AFTER_HOURS", "").strip(), pause)
    for name, service in estate.services.items() if estate else ():
        for pattern, rule in service.gateways.items():
            if rule.renew and rule.destinations:
                messages = chain(_due_again(rule, pause), _too_seldom(rule, schedule, pause))
                yield from (Fault(f"services.{name}.gateways.{pattern}", message) for message in messages)
        for message in _too_slow_to_rotate(service, schedule, pause):
            yield Fault(f"services.{name}.gateways", message)


def _due_again(rule: GatewayRule, pause: timedelta) -> Iterator[str]:
    """Why a new token would be due at one of the next runs.

    Counted with what Azure gives, the whole hour that renewals end on, jitter, and the rule for tokens with few runs left.
    """
    lives = min(rule.lifetime, MAX_LIFETIME - CLOCK_MARGIN) - timedelta(hours=1)
    due_before = max(rule.window + rule.jitter, FEW_RUNS * pause)
    if lives - due_before <= FEW_RUNS * pause:
        yield (
            f"a new token would be renewed again within {FEW_RUNS} runs: it lives for {_in_words(lives)} at least, is due {_in_words(due_before)} "
            f"before its end at most, and the schedule pauses for {_in_words(pause)} at most. Set a shorter renewBefore, a longer lifetime, or run more often"
        )


def _too_seldom(rule: GatewayRule, schedule: str, pause: timedelta) -> Iterator[str]:
    """Why a token that is due could be at risk before a run falls into one of the rule's windows."""
    if not rule.windows:
        return
    gap, urgent = longest_gap(rule.windows, schedule, pause), max(rule.margin, FEW_RUNS * pause)
    if gap is None:
        yield "no run of the schedule falls into one of its windows. Make them longer, or run more often"
    elif gap > rule.window - urgent:
        yield (
            f"its windows come too seldom: two runs in them are up to {gap} apart. A token is due {rule.window} before its end, and "
            f"{urgent} before it, at risk or with {FEW_RUNS} runs left, it waits no longer: {max(rule.window - urgent, timedelta())} "
            "are between. Add a window, set a longer renewBefore or a shorter riskMargin, or run more often"
        )


def _too_slow_to_rotate(service: Service, schedule: str, pause: timedelta) -> Iterator[str]:
    """Why a service's gateways could not all move to their other key within half of the time."""
    rotating = {p: rule for p, rule in service.gateways.items() if rule.rotate_keys}
    half = min((rule.rotate_keys.every / 2 for rule in rotating.values() if rule.rotate_keys), default=pause)
    gateways = sum(OF_A_PATTERN if "*" in pattern else 1 for pattern in rotating)
    turns = -(-gateways // CHANGES_AT_ONCE)
    takes, why = turns * pause, f"the schedule pauses for {pause} at most"
    for windows in {rule.windows for rule in rotating.values() if rule.windows}:
        if (longer := longest_for(windows, schedule, turns)) > takes:
            takes, why = longer, f"{turns} runs fall into their windows within {longer} at most"
    if takes > half:
        yield (
            f"{gateways} gateways (a pattern counts as {OF_A_PATTERN}) cannot move to their other key in time: {CHANGES_AT_ONCE} do at a time, "
            f"{why}, so all take {takes}, and half of rotateKeys is {half}. Run more often, widen the windows, or rotate less often"
        )


def _in_words(duration: timedelta) -> str:
    """The duration as people say it, to the minute: `9 days 23 hours`."""
    minutes = int(duration.total_seconds() // 60)
    parts = {"day": minutes // 1440, "hour": minutes // 60 % 24, "minute": minutes % 60}
    named = [f"{number} {unit}{'s' * (number != 1)}" for unit, number in parts.items() if number]
    return " ".join(named) or f"{int(duration.total_seconds())} seconds"


def _alert_faults(hours: str, pause: timedelta) -> Iterator[Fault]:
    """Whether the alert that misses a run, if there is one, would fire between two runs of the schedule."""
    if hours and (not re.fullmatch("[0-9]{1,2}", hours) or not 1 <= int(hours) <= LONGEST_ALERT_HOURS):
        yield Fault("NO_RUN_AFTER_HOURS", f"must be a whole number of hours from 1 to {LONGEST_ALERT_HOURS}")
    elif hours and pause > timedelta(hours=int(hours)):
        message = f"pauses for {_in_words(pause)}, longer than NO_RUN_AFTER_HOURS ({hours}): the alert would fire in each pause"
        yield Fault(
            "RENEWAL_SCHEDULE", f"{message}. Raise noRunAfterHours in the deployment, or run more often"
        )


def rules_that_match_nobody(
    rules: Sequence[AccessRule], sign_in: SignIn | None, *, function_keys: bool
) -> Iterator[Fault]:
    """A fault for each access rule that names a caller who can never call in this mode."""
    for index, rule in enumerate(rules):
        caller, path = rule.caller, f"access[{index}].caller"
        if caller.function_key and not function_keys:
            yield Fault(f"{path}.functionKey", "can never match: ALLOW_FUNCTION_KEYS is not true")
        if not caller.function_key and sign_in is None:
            yield Fault(path, f"can never match: nobody can sign in until {', '.join(NEEDED)} are set")
        if caller.client_id and sign_in and caller.client_id.lower() not in sign_in.applications:
            yield Fault(f"{path}.clientId", "can never match: SIGN_IN_APPLICATIONS does not list it")
