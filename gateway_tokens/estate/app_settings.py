"""The app settings that the code reads: their names, defaults and checks. No file is read but CA_FILE."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gateway_tokens.access import AccessRule
from gateway_tokens.errors import Fault, SettingsInvalid
from gateway_tokens.sign_in import AzureSettings, CredentialKind, SignIn, function_keys_allowed
from gateway_tokens.tokens import CLOCK_MARGIN, MAX_LIFETIME

from .faults import read_estate
from .schedule import CHANGES_AT_ONCE, FEW_RUNS, longest_for, longest_gap, longest_pause
from .schema import Estate, GatewayRule, Service

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
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTEAD_OF_SIGN_IN = (
    "is not a setting any more. For 'entra' remove it; for 'functionKey' or 'entraAndFunctionKey' write "
    "ALLOW_FUNCTION_KEYS=true in its place"
)
# A log alert looks back two days at most:
# https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-create-log-alert-rule
# How many gateways a pattern counts as.
OF_A_PATTERN = 100
LONGEST_ALERT_HOURS = 48


@dataclass(frozen=True, slots=True)
class AppSettings(AzureSettings):
    """All settings, read and checked."""

    estate: Estate
    schedule: str
    state_container_url: str
    log_fresh_rows: bool
    function_keys: bool
    sign_in: SignIn | None


def read_settings(environ: Mapping[str, str]) -> AppSettings:
    """The settings of an environment. Raises SettingsInvalid with every fault of every setting."""
    estate, faults = _estate(environ)
    arm_endpoint = _value(environ, "ARM_ENDPOINT").rstrip("/")
    container = _value(environ, "STATE_CONTAINER_URL").rstrip("/")
    sign_in, sign_in_faults = _sign_in(environ, estate)
    ca_file = _value(environ, "CA_FILE")
    faults += [*sign_in_faults, *_faults(environ), *_ca_faults(ca_file), *schedule_faults(environ, estate)]
    if not container and estate is not None and estate.manages_something:
        faults.append(Fault("STATE_CONTAINER_URL", "is needed to renew: the address of a blob container"))
    if faults or estate is None:
        raise SettingsInvalid(faults)
    return AppSettings(
        estate=estate,
        schedule=environ["RENEWAL_SCHEDULE"],
        state_container_url=container,
        log_fresh_rows=_value(environ, "LOG_FRESH_ROWS").lower() == "true",
        function_keys=function_keys_allowed(environ),
        sign_in=sign_in,
        credential=CredentialKind(_value(environ, "AZURE_CREDENTIAL")),
        client_id=_value(environ, "AZURE_CLIENT_ID"),
        arm_endpoint=arm_endpoint,
        arm_scope=_value(environ, "ARM_SCOPE") or f"{arm_endpoint}/.default",
        ca_file=ca_file,
    )


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip() or SETTINGS[name] or ""


def _estate(environ: Mapping[str, str]) -> tuple[Estate | None, list[Fault]]:
    text = _value(environ, "GATEWAY_TOKENS")
    if not text:
        return None, [Fault("GATEWAY_TOKENS", "is not set: it describes the estate, see docs/settings.md")]
    try:
        return read_estate(text), []
    except SettingsInvalid as error:
        return None, list(error.faults)


def _sign_in(environ: Mapping[str, str], estate: Estate | None) -> tuple[SignIn | None, list[Fault]]:
    values = {name: _value(environ, name) for name in SETTINGS}
    sign_in, faults = read_sign_in({**values, "SIGN_IN": environ.get("SIGN_IN", "").strip()})
    if not faults and estate is not None:
        keys = function_keys_allowed(environ)
        faults = list(rules_that_match_nobody(estate.access, sign_in, function_keys=keys))
    return sign_in, faults


def read_sign_in(values: Mapping[str, str]) -> tuple[SignIn | None, list[Fault]]:
    """Who may sign in, None where function keys alone are in use, and the faults of these settings.

    `values` are the app settings, with their defaults where they are not set.
    """
    faults = list(_sign_in_faults(values))
    if faults or not values["SIGN_IN_TENANT"]:
        return None, faults
    sign_in = SignIn(
        endpoint=values["SIGN_IN_ENDPOINT"].rstrip("/"),
        tenant=values["SIGN_IN_TENANT"].lower(),
        audiences=tuple(_listed(values["SIGN_IN_AUDIENCES"])),
        applications=frozenset(_listed(values["SIGN_IN_APPLICATIONS"].lower())),
    )
    return sign_in, []


def _sign_in_faults(values: Mapping[str, str]) -> Iterator[Fault]:
    if values["SIGN_IN"]:
        yield Fault("SIGN_IN", _INSTEAD_OF_SIGN_IN)
    if values["ALLOW_FUNCTION_KEYS"].casefold() not in {"true", "false"}:
        yield Fault("ALLOW_FUNCTION_KEYS", "must be true or false")
    listed = {name: list(_listed(values[name])) for name in NEEDED}
    if any(listed.values()) or not function_keys_allowed(values):
        yield from (
            Fault(name, "must be set: it is needed to verify bearer tokens")
            for name in NEEDED
            if not listed[name]
        )
    if values["SIGN_IN_TENANT"] and not _GUID.fullmatch(values["SIGN_IN_TENANT"].lower()):
        yield Fault("SIGN_IN_TENANT", "must be the tenant's id, a GUID")
    if not all(_GUID.fullmatch(client_id.lower()) for client_id in listed["SIGN_IN_APPLICATIONS"]):
        yield Fault("SIGN_IN_APPLICATIONS", "must be client ids (GUIDs), separated by commas")


def _listed(value: str) -> Iterator[str]:
    return filter(None, (part.strip() for part in value.split(",")))


def _faults(environ: Mapping[str, str]) -> list[Fault]:
    faults = []
    if _value(environ, "AZURE_CREDENTIAL") not in set(CredentialKind):
        faults.append(Fault("AZURE_CREDENTIAL", f"must be one of {', '.join(CredentialKind)}"))
    if _value(environ, "LOG_FRESH_ROWS").lower() not in {"true", "false"}:
        faults.append(Fault("LOG_FRESH_ROWS", "must be true or false"))
    faults += [
        Fault(name, "must be an https:// address")
        for name in ("ARM_ENDPOINT", "STATE_CONTAINER_URL", "ARM_SCOPE", "SIGN_IN_ENDPOINT")
        if _value(environ, name) and not re.match(r"https://[a-zA-Z0-9]", _value(environ, name))
    ]
    return faults


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
        interval = longest_pause(schedule)
    except ValueError as error:
        yield Fault("RENEWAL_SCHEDULE", str(error))
        return
    yield from _alert_faults(_value(environ, "NO_RUN_AFTER_HOURS"), interval)
    for name, service in estate.services.items() if estate else ():
        for pattern, rule in service.gateways.items():
            if rule.renew and rule.destinations:
                for message in filter(
                    None, (_due_again(rule, interval), _too_seldom(rule, schedule, interval))
                ):
                    yield Fault(f"services.{name}.gateways.{pattern}", message)
        if message := _too_slow_to_rotate(service, schedule, interval):
            yield Fault(f"services.{name}.gateways", message)


def _due_again(rule: GatewayRule, pause: timedelta) -> str:
    """Why a new token would be due at one of the next runs, or the empty string.

    Counted with what Azure gives, the whole hour that renewals end on, jitter, and the rule for tokens with few runs left.
    """
    lives = min(rule.lifetime, MAX_LIFETIME - CLOCK_MARGIN) - timedelta(hours=1)
    due_before = max(rule.window + rule.jitter, FEW_RUNS * pause)
    if lives - due_before > FEW_RUNS * pause:
        return ""
    return (
        f"a new token would be renewed again within {FEW_RUNS} runs: it lives for {_in_words(lives)} at least, is due {_in_words(due_before)} "
        f"before its end at most, and the schedule pauses for {_in_words(pause)} at most. Set a shorter renewBefore, a longer lifetime, or run more often"
    )


def _too_seldom(rule: GatewayRule, schedule: str, pause: timedelta) -> str:
    """Why a token that is due could be at risk before a run falls into one of the rule's windows, or the empty string."""
    if not rule.windows:
        return ""
    gap, urgent = longest_gap(rule.windows, schedule, pause), max(rule.margin, FEW_RUNS * pause)
    if gap is None:
        return "no run of the schedule falls into one of its windows. Make them longer, or run more often"
    if gap <= rule.window - urgent:
        return ""
    return (
        f"its windows come too seldom: two runs in them are up to {gap} apart. A token is due {rule.window} before its end, and "
        f"{urgent} before it, at risk or with {FEW_RUNS} runs left, it waits no longer: {max(rule.window - urgent, timedelta())} "
        "are between. Add a window, set a longer renewBefore or a shorter riskMargin, or run more often"
    )


def _too_slow_to_rotate(service: Service, schedule: str, pause: timedelta) -> str:
    """Why a service's gateways could not all move to their other key within half of the time, or the empty string."""
    rotating = {p: rule for p, rule in service.gateways.items() if rule.rotate_keys}
    half = min((rule.rotate_keys.every / 2 for rule in rotating.values() if rule.rotate_keys), default=pause)
    gateways = sum(OF_A_PATTERN if "*" in pattern else 1 for pattern in rotating)
    turns = -(-gateways // CHANGES_AT_ONCE)
    takes, why = turns * pause, f"the schedule pauses for {pause} at most"
    for windows in {rule.windows for rule in rotating.values() if rule.windows}:
        if (longer := longest_for(windows, schedule, turns)) > takes:
            takes, why = longer, f"{turns} runs fall into their windows within {longer} at most"
    if takes <= half:
        return ""
    return (
        f"{gateways} gateways (a pattern counts as {OF_A_PATTERN}) cannot move to their other key in time: {CHANGES_AT_ONCE} do at a time, "
        f"{why}, so all take {takes}, and half of rotateKeys is {half}. Run more often, widen the windows, or rotate less often"
    )


def _in_words(duration: timedelta) -> str:
    """The duration as people say it, to the minute: `9 days 23 hours`."""
    minutes = int(duration.total_seconds() // 60)
    parts = {"day": minutes // 1440, "hour": minutes // 60 % 24, "minute": minutes % 60}
    named = [f"{number} {unit}{'s' * (number != 1)}" for unit, number in parts.items() if number]
    return " ".join(named) or f"{int(duration.total_seconds())} seconds"


def _alert_faults(hours: str, interval: timedelta) -> Iterator[Fault]:
    """Whether the alert that misses a run, if there is one, would fire between two runs of the schedule."""
    if not hours:
        return
    if not re.fullmatch("[0-9]{1,2}", hours) or not 1 <= int(hours) <= LONGEST_ALERT_HOURS:
        yield Fault("NO_RUN_AFTER_HOURS", f"must be a whole number of hours from 1 to {LONGEST_ALERT_HOURS}")
    elif interval > timedelta(hours=int(hours)):
        message = f"pauses for {_in_words(interval)}, longer than NO_RUN_AFTER_HOURS ({hours}): the alert would fire in each pause"
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
