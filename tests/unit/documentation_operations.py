"""What the documents say of renewal, logs and recipes, compared with the code. Each check lists what is wrong."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from gateway_tokens.azure import errors as azure_errors
from gateway_tokens.errors import SettingsInvalid
from gateway_tokens.estate.app_settings import rules_that_match_nobody
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schedule import FEW_RUNS
from gateway_tokens.estate.sign_in import SignIn
from gateway_tokens.http import renewals
from gateway_tokens.http.requests import MAX_BODY_BYTES
from gateway_tokens.issuing import AUTH_SETTING, HELM_SECRET_KEY, SecretName, TokenFormat, kubernetes_secret
from gateway_tokens.renewal.causes import PROBE_AFTER
from gateway_tokens.renewal.report import BAD, CHECK_STOPPED, Outcome, Row, ServiceReport
from gateway_tokens.renewal.rows import Action, Decision, Reason, RowId
from gateway_tokens.renewal.run import RUN_SECONDS, SERVICE_SECONDS, SERVICES_AT_ONCE
from gateway_tokens.renewal.service import AT_ONCE
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import CLOCK_MARGIN, GatewayRef, KeyType
from tests.unit import documentation_recipes as recipes
from tests.unit.documentation_checks import error_classes
from tests.unit.documentation_log_lines import log_lines
from tests.unit.documentation_reading import ROOT, codes, difference, names, rows, section, sections, snippets
from tests.unit.samples import token

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGN_IN = SignIn("https://login.microsoftonline.com", "tenant", ("audience",), frozenset({"application"}))
_NOW = datetime(2026, 11, 23, tzinfo=UTC)
# Reasons of rows that are never planned, so that they are in no enumeration.
_UNPLANNED: set[str] = set()
_NO_TROUBLE = {Reason.FRESH, Reason.NOT_STORED, Reason.ADOPTED, Reason.FORCED, Reason.IN_RENEWAL_WINDOW}
_OF_HEALTH = {"settings_invalid", "wrong_python", "identity_unavailable", "reports_unreadable"}
_NEVER_IN_A_ROW = {
    "settings_invalid",
    "wrong_python",
    "request_invalid",
    "sign_in_required",
    "signing_keys_unavailable",
    "access_denied",
    "not_managed",
    "key_not_active",
    "revoke_stopped",
    "event_invalid",
    "renewal_failed",
    "message_invalid",
    "destination_error",
}


def that_settings_snippets_are_accepted(documents: Mapping[str, str]) -> list[str]:
    wrong = []
    for path, text in documents.items():
        for snippet in snippets(text, "json"):
            try:
                read_estate(json.dumps(recipes.whole_document(json.loads(snippet))))
            except (SettingsInvalid, ValueError) as error:
                wrong.append(f"{path}: {error}")
    return wrong


def that_the_access_example_fits_the_default_mode(documents: Mapping[str, str]) -> list[str]:
    return [
        f"README.md: {fault}"
        for snippet in snippets(documents["README.md"], "json")
        for fault in rules_that_match_nobody(read_estate(snippet).access, _SIGN_IN, function_keys=False)
    ]


def that_reasons_are_explained(documents: Mapping[str, str]) -> list[str]:
    order = names(documents["docs/renewal.md"], "Reason")
    wrong = difference("renewal.md, reasons", set(order), {*Reason, *_UNPLANNED})
    if order != [*Reason]:
        wrong.append("renewal.md, reasons: they are not in the order in which they are checked")
    of_trouble = {*Reason, *_UNPLANNED} - _NO_TROUBLE
    return wrong + difference(
        "runbook.md, reasons", set(names(documents["docs/runbook.md"], "Reason")), of_trouble
    )


def that_outcomes_are_explained(documents: Mapping[str, str]) -> list[str]:
    said = {f"{codes(r['Outcome'])[0]}: {r['Failed']}" for r in rows(documents["docs/renewal.md"], "Outcome")}
    true = {f"{outcome}: {'yes' if outcome in BAD else 'no'}" for outcome in Outcome}
    acted = set(names(documents["docs/runbook.md"], "Outcome"))
    return [
        *difference("renewal.md, outcomes", said, true),
        *difference("runbook.md, outcomes", acted, set(Outcome)),
    ]


def that_trouble_is_explained(documents: Mapping[str, str]) -> list[str]:
    text = documents["docs/runbook.md"]
    of_health = set(
        re.findall(r'Problem\(\s*"(\w+)"', (ROOT / "gateway_tokens/renewal/health.py").read_text("utf-8"))
    )
    of_health.add(CHECK_STOPPED)
    of_rows = {kind.code for kind in error_classes()} - _NEVER_IN_A_ROW | {"internal_error", CHECK_STOPPED}
    return [
        *difference(
            "runbook.md, health", set(names(section(text, "Codes of health"), "Code")), of_health | _OF_HEALTH
        ),
        *difference("runbook.md, rows", set(names(section(text, "Codes of failed rows"), "Code")), of_rows),
    ]


def that_answers_are_explained(documents: Mapping[str, str]) -> list[str]:
    text = documents["docs/api.md"]
    row = Row(RowId(GatewayRef("contoso", "edge-01"), ""), Decision(Action.KEEP, Reason.FRESH, ""))
    report = {**renewals._summary([], _NOW), "services": [], "keys": [], "freeze": None}
    return [
        *difference(
            "api.md, rows",
            set(names(section(text, "Rows"), "Field")),
            set(renewals.shown(row, ServiceReport(), _NOW)),
        ),
        *difference(
            "api.md, summary", set(names(section(text, "`GET /api/renewals`"), "Field")), set(report)
        ),
    ]


def that_log_lines_are_explained(documents: Mapping[str, str]) -> list[str]:
    said = {
        codes(row["Event"])[0]: set(codes(row["Fields"])) for row in rows(documents["docs/logs.md"], "Event")
    }
    true = log_lines()
    wrong = difference("logs.md, events", set(said), set(true))
    for event in said.keys() & true.keys():
        wrong += difference(f"logs.md, {event}", said[event], true[event])
    return wrong


def that_queries_ask_for_fields_that_exist(documents: Mapping[str, str]) -> list[str]:
    known = {"event", "correlationId"}.union(*log_lines().values())
    return [
        f"{path}: no line has {field}"
        for path, text in documents.items()
        for query in snippets(text, "kusto")
        for field in re.findall(r"\bline\.(\w+)", query)
        if field not in known
    ]


def that_numbers_are_those_of_the_code(documents: Mapping[str, str]) -> list[str]:
    bounded = f"within {azure_errors.OPERATION_SECONDS:.0f} seconds"
    margin = f"{CLOCK_MARGIN.total_seconds() / 60:.0f} minutes"
    phrases = {
        "docs/renewal.md": [
            bounded,
            f"{SERVICES_AT_ONCE} services are reconciled at a time",
            f"{AT_ONCE} rows of a service are written at a time",
            f"each service within {SERVICE_SECONDS:.0f} from its start, each run within {RUN_SECONDS:.0f}",
            f"one row tries again every {PROBE_AFTER:.0f} seconds",
            f"expiry - {FEW_RUNS} pauses of the schedule",
        ],
        "docs/settings.md": [f"asked for {margin} less than 30 days"],
        "docs/api.md": [
            f"{renewals.MOST_ROWS_SHOWN} at most",
            f"what {renewals._RENEW_WITHIN:.0f} seconds",
            f"{MAX_BODY_BYTES // 1024} KiB at most",
            f"else 30 days less {margin}",
        ],
    }
    return [
        f"{path}: it does not say '{p}'"
        for path in phrases
        for p in phrases[path]
        if p not in documents[path]
    ]


def that_recipes_fit_what_the_app_writes(documents: Mapping[str, str]) -> list[str]:
    wrong = []
    for title, text in sections(documents["docs/recipes.md"]).items():
        for destination in recipes.destinations(text):
            location, workload = recipes.written(destination)
            if workload and workload not in recipes.workloads(text):
                wrong.append(f"recipes.md, {title}: no workload is called {workload}")
            wrong += [f"recipes.md, {title}: {said}" for said in _unread(location, text)]
    return wrong


def that_the_docker_recipe_shows_the_line_of_the_env_file(documents: Mapping[str, str]) -> list[str]:
    (line,) = snippets(section(documents["docs/recipes.md"], "Docker"), "text")
    begins = f"{AUTH_SETTING}=GatewayKey edge-01&"
    return [] if line.startswith(begins) else ["recipes.md, Docker: the file has another line"]


def that_the_script_for_hosts_is_explained(documents: Mapping[str, str]) -> list[str]:
    """Its variables and exit codes; and the units run what the recipe installs, where it says."""
    text = section(documents["docs/recipes.md"], "Docker")
    script = (ROOT / "edge" / "gateway-token").read_text("utf-8")
    (needed,) = re.findall(r"for name in (.*); do", script)
    units = [(ROOT / "edge" / f"gateway-token@.{kind}").read_text("utf-8") for kind in ("service", "timer")]
    paths = re.findall(r"^(?:ExecStart|EnvironmentFile)=(/.*/)", "".join(units), re.MULTILINE)
    return [
        *difference(
            "recipes.md, variables",
            set(names(text, "Variable")),
            {*needed.split(), *re.findall(r"\{([A-Z_]+):[-=]", script)},
        ),
        *difference(
            "recipes.md, exit codes", set(names(text, "Exit code")), {"0", *re.findall(r"fail (\d) ", script)}
        ),
        *(f"recipes.md: {path} of a unit is not named" for path in paths if path not in text),
    ]


def that_callers_who_ask_again_and_again_take_what_the_app_answers(
    documents: Mapping[str, str],
) -> list[str]:
    """External Secrets makes the chart's Secret of an answer, and its body and Terraform's ask for the stable token."""
    text = documents["docs/recipes.md"]
    (webhook,) = (
        one["spec"]
        for one in recipes.manifests(section(text, "External Secrets' webhook generator"))
        if one["kind"] == "Webhook"
    )
    address, _, query = webhook["url"].partition("?")
    manifest = kubernetes_secret(
        token(),
        Ownership("", KeyType.PRIMARY, _NOW, _NOW),
        SecretName(key=dict(parse_qsl(query))["secretKey"]),
    )
    made = json.loads(manifest.reveal()).get(webhook["result"]["jsonPath"].removeprefix("$."), {})
    said = {
        "the Secret's keys": list(made) == [HELM_SECRET_KEY],
        "the address": address.endswith(f"/gateways/edge-01/generateToken/{TokenFormat.KUBERNETES}"),
        "the body": json.loads(webhook["body"]) == {"stable": True},
        "Terraform's body": "jsonencode({ stable = true })" in section(text, "Terraform"),
    }
    return [f"recipes.md: {part} is not as the app has it" for part, right in said.items() if not right]


def _unread(location: recipes.Place, text: str) -> list[str]:
    if location.kind == "vault" and "az keyvault secret show" in text:
        vault, name = re.findall(r"--vault-name (\S+) --name (\S+)", text)[0]
        location, read = recipes.Place("vault", f"https://{vault}.vault.azure.net/secrets/{name}"), {location}
    else:
        location = recipes.carried(text).get(location, location)
        read = recipes.read_by_gateways(text)
    return [] if read == {location} else [f"it reads {sorted(read)} where {location} is written"]
