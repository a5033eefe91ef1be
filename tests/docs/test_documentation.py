"""The documents say what the code does: tables against enums and types, snippets against the parser, phrases against numbers."""

import ast
import json
import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest

from gateway_tokens import errors
from gateway_tokens.access import AccessRule, CallerMatch
from gateway_tokens.azure import errors as azure_errors
from gateway_tokens.destinations.kubernetes import Layout
from gateway_tokens.estate import schedule, schema
from gateway_tokens.estate.app_settings import SETTINGS, rules_that_match_nobody
from gateway_tokens.estate.destination import Cluster, DestinationSettings
from gateway_tokens.estate.faults import read_estate
from gateway_tokens.estate.schedule import FEW_RUNS
from gateway_tokens.formats import AUTH_SETTING, HELM_SECRET_KEY, SecretName, TokenFormat, kubernetes_secret
from gateway_tokens.http import answers, renewals
from gateway_tokens.http.answers import status_of
from gateway_tokens.http.requests import MAX_BODY_BYTES, SECRET_NAMES, TokenRequestBody
from gateway_tokens.parsing import StrictModel
from gateway_tokens.renewal.reader import CAUSE_AT_ONCE, PROBE_AFTER
from gateway_tokens.renewal.report import ServiceReport
from gateway_tokens.renewal.rows import BAD, CHECK_STOPPED, Action, Decision, Outcome, Reason, Row, RowId
from gateway_tokens.renewal.run import RUN_SECONDS, SERVICE_SECONDS, SERVICES_AT_ONCE
from gateway_tokens.renewal.service import AT_ONCE
from gateway_tokens.sign_in import SignIn
from gateway_tokens.stored import Ownership
from gateway_tokens.tokens import CLOCK_MARGIN, GatewayRef, KeyType
from tests.docs import documentation_recipes as recipes
from tests.docs.documentation_log_lines import log_lines
from tests.docs.documentation_reading import (
    ROOT,
    anchors,
    codes,
    links,
    names,
    read_documents,
    rows,
    sections,
    snippets,
)
from tests.samples import token
from tools import error_texts

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DOCUMENTS = read_documents()
API, SETTINGS_DOC, RECIPES = (DOCUMENTS[f"docs/{name}.md"] for name in ("api", "settings", "recipes"))
RENEWAL, RUNBOOK, LOGS = (DOCUMENTS[f"docs/{name}.md"] for name in ("renewal", "runbook", "logs"))
GENERATE = "`POST /api/services/{service}/gateways/{gatewayId}/generateToken`"
DOCKER = sections(RECIPES)["Docker"]
EDGE = {path.name: path.read_text("utf-8") for path in (ROOT / "edge").glob("gateway-token*")}
SCRIPT = EDGE["gateway-token"]

PARTS: dict[str, type[StrictModel]] = {
    "The whole document": schema.Estate,
    "A service": schema.Service,
    "A gateway rule": schema.GatewayRule,
    "A maintenance window": schedule.Window,
    "A pause": schedule.Pause,
    "A freeze": schedule.Freeze,
    "A named cluster": Cluster,
    **{f"`{kind}`": settings for kind, settings in DestinationSettings.kinds.items()},
    "An access rule": AccessRule,
}
NO_TROUBLE = {Reason.FRESH, Reason.NOT_STORED, Reason.ADOPTED, Reason.FORCED, Reason.IN_RENEWAL_WINDOW}
OF_HEALTH = {"settings_invalid", "wrong_python", "identity_unavailable", "reports_unreadable", CHECK_STOPPED}
NEVER_IN_A_ROW = {
    *("settings_invalid", "wrong_python", "request_invalid", "sign_in_required", "signing_keys_unavailable"),
    *("access_denied", "not_managed", "key_not_active", "revoke_stopped", "event_invalid", "renewal_failed"),
    *("message_invalid", "destination_error"),
}
NEVER_ANSWERED = (errors.DestinationError, errors.EventInvalid, errors.MessageInvalid)
ERRORS = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.GatewayTokensError) and kind.__name__[0] != "_"
} - {errors.GatewayTokensError}
A_ROW = Row(RowId(GatewayRef("contoso", "edge-01"), ""), Decision(Action.KEEP, Reason.FRESH, ""))


def names_in(text: str, title: str, first: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return set(names(sections(text)[title], first))


def pairs(text: str, first: str, second: str) -> set[tuple[str, str]]:
    """The names of a table's first column, each with what stands in another column."""
    return {(codes(row[first])[0], row[second]) for row in rows(text, first)}


def fields(part: type[StrictModel]) -> set[str]:
    return {field.alias or name for name, field in part.model_fields.items()}


def shared(part: type[StrictModel]) -> set[str]:
    """The fields that are explained once for every destination."""
    return {"kind", "adopt"} & fields(part) if "adopt" in part.model_fields else set()


def default_of(setting: str) -> str:
    default = SETTINGS[setting]
    return "must be set" if default is None else f"`{default}`" if default else "empty"


def status(kind: type[errors.GatewayTokensError]) -> str:
    """What a caller sees, or a dash for what only rows and runs can hold."""
    return "–" if issubclass(kind, NEVER_ANSWERED) else str(int(status_of(kind.__new__(kind))))


def routes() -> set[str]:
    """`METHOD /api/route` of every function with a route."""
    source = (ROOT / "function_app.py").read_text()
    declared = re.findall(r'\.route\(\s*"([^"]+)",[^)]*?methods=\[([^\]]+)\]', source)
    return {
        f"{method} /api/{path}" for path, methods in declared for method in ast.literal_eval(f"[{methods}]")
    }


def in_health() -> set[str]:
    return set(re.findall(r'Problem\(\s*"(\w+)"', (ROOT / "gateway_tokens/renewal/report.py").read_text()))


# What a document says, and what the code has. Neither is empty, so that an equal pair proves something.
TABLES: dict[str, tuple[object, object]] = {
    **{
        f"fields of {title}": (names_in(SETTINGS_DOC, title, "Field") | shared(part), fields(part))
        for title, part in PARTS.items()
    },
    "app settings": (set(names(SETTINGS_DOC, "Setting")), set(SETTINGS)),
    "defaults of app settings": (
        {(name, value) for name, value in pairs(SETTINGS_DOC, "Setting", "Default") if name != "ARM_SCOPE"},
        {(name, default_of(name)) for name in SETTINGS if name != "ARM_SCOPE"},
    ),
    "traits": (set(names(SETTINGS_DOC, "Trait")), fields(CallerMatch)),
    "layouts": (
        {(layout, codes(key)[0]) for layout, key in pairs(SETTINGS_DOC, "Layout", "Key in the Secret")},
        {(str(layout), layout.key) for layout in Layout},
    ),
    "modes of sign-in": (set(names(API, "Mode")), {"false", "true"}),
    "calls": (set(names(API, "Call")), routes()),
    "headings of calls": (set(re.findall(r"^## `([A-Z]+ /api/.+)`$", API, re.MULTILINE)), routes()),
    "body": (names_in(API, GENERATE, "Field"), fields(TokenRequestBody)),
    "query": (set(names(API, "Query parameter")), {"api-version", *SECRET_NAMES}),
    "formats": (set(names(API, "Format")), set(TokenFormat)),
    "rows": (names_in(API, "Rows", "Field"), set(answers.row_shown(A_ROW, ServiceReport(), NOW))),
    "summary": (
        names_in(API, "`GET /api/renewals`", "Field"),
        {*renewals._summary([], NOW), "services", "keys", "freeze"},
    ),
    "errors": (
        pairs(sections(DOCUMENTS["docs/errors.md"])["Codes"], "Code", "HTTP status"),
        {(kind.code, status(kind)) for kind in ERRORS} | {("internal_error", "500")},
    ),
    "reasons in the order of their checks": (names(RENEWAL, "Reason"), list(Reason)),
    "reasons of trouble": (set(names(RUNBOOK, "Reason")), set(Reason) - NO_TROUBLE),
    "outcomes": (
        pairs(RENEWAL, "Outcome", "Failed"),
        {(str(outcome), "yes" if outcome in BAD else "no") for outcome in Outcome},
    ),
    "outcomes in the runbook": (set(names(RUNBOOK, "Outcome")), set(Outcome)),
    "codes of health": (names_in(RUNBOOK, "Codes of health", "Code"), in_health() | OF_HEALTH),
    "codes of failed rows": (
        names_in(RUNBOOK, "Codes of failed rows", "Code"),
        {kind.code for kind in ERRORS} - NEVER_IN_A_ROW | {"internal_error", CHECK_STOPPED},
    ),
    "log lines": (
        {codes(row["Event"])[0]: set(codes(row["Fields"])) for row in rows(LOGS, "Event")},
        log_lines(),
    ),
    "decisions": (
        {link for link in links(DOCUMENTS["docs/adr/README.md"]) if link.endswith(".md")},
        {path.name for path in (ROOT / "docs" / "adr").glob("0*.md")},
    ),
    "variables of the script for hosts": (
        set(names(DOCKER, "Variable")),
        {
            *" ".join(re.findall(r"for name in (.*); do", SCRIPT)).split(),
            *re.findall(r"\{([A-Z_]+):[-=]", SCRIPT),
        },
    ),
    "exit codes of the script for hosts": (
        set(names(DOCKER, "Exit code")),
        {"0", *re.findall(r"fail (\d) ", SCRIPT)},
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_what_the_code_has_and_nothing_else(table: str) -> None:
    value, true = TABLES[table]
    assert true
    assert value == true


def test_the_access_example_fits_the_default_mode() -> None:
    sign_in = SignIn("https://login.microsoftonline.com", "tenant", ("audience",), frozenset({"application"}))
    access = [rule for text in snippets(DOCUMENTS["README.md"], "json") for rule in read_estate(text).access]
    assert access
    assert list(rules_that_match_nobody(access, sign_in, function_keys=False)) == []


def leads_somewhere(path: str, link: str) -> bool:
    """Whether there is what a document links to: another site, or a file and a heading of ours."""
    target, _, anchor = link.partition("#")
    file = ((ROOT / path).parent / target).resolve() if target else ROOT / path
    if "://" in link or not file.exists():
        return "://" in link
    there = DOCUMENTS.get(file.relative_to(ROOT).as_posix())
    return not anchor or there is None or anchor in anchors(there)


def test_links_lead_somewhere() -> None:
    linked = [(path, link) for path, text in DOCUMENTS.items() for link in links(text)]
    assert linked
    assert [link for link in linked if not leads_somewhere(*link)] == []


def test_files_and_log_lines_that_documents_name_exist() -> None:
    events, folders = set(log_lines()), "gateway_tokens|emulator|tests|tools|infra|docs|edge"
    kinds = "|".join({event.partition(".")[0] for event in events if "." in event})
    now = {path: text for path, text in DOCUMENTS.items() if not path.startswith(("docs/adr/", "CHANGELOG"))}
    files = {name for text in now.values() for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text)}
    lines = {name for text in now.values() for name in re.findall(rf"`((?:{kinds})\.\w+)`", text)}
    assert "tests/docs/test_documentation.py" in files
    assert [name for name in files if not (ROOT / name).exists()] == []
    assert lines - events == set()


def test_the_plain_commands_are_those_of_make() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for name, plain in (("PIP", "$(BIN)/python -m pip"), ("BIN", "$(VENV)/bin"), ("PYTHON", "python3")):
        text = text.replace(f"$({name})", plain)
    commands, target = list[str](), ""
    for line in text.replace("$(VENV)", ".venv").splitlines():
        target = line.partition(":")[0] if not line.startswith("\t") else target
        if target in {".venv/bin/python", ".venv/.app", ".venv/.dev", "lint", "types", "unit"}:
            commands += [f"$ {line.strip()}"] if re.match("\t[^@]", line) else []
    shown = re.sub(r"\s+#.*", "", DOCUMENTS["CONTRIBUTING.md"])
    assert len(commands) > 6
    assert [command for command in commands if command not in shown] == []


def test_queries_ask_for_fields_that_exist() -> None:
    queries = [query for text in DOCUMENTS.values() for query in snippets(text, "kusto")]
    queried = {field for query in queries for field in re.findall(r"\bline\.(\w+)", query)}
    assert {"event", "outcome"} <= queried
    assert queried <= {"event", "correlationId"}.union(*log_lines().values())


def test_numbers_are_those_of_the_code() -> None:
    margin = f"{CLOCK_MARGIN.total_seconds() / 60:.0f} minutes"
    for document, phrases in {
        RENEWAL: [
            f"within {azure_errors.OPERATION_SECONDS:.0f} seconds",
            f"{SERVICES_AT_ONCE} services are reconciled at a time",
            f"{AT_ONCE} rows of a service are written at a time",
            f"At most {CAUSE_AT_ONCE} requests at a time go to one vault",
            f"each service within {SERVICE_SECONDS:.0f} from its start, each run within {RUN_SECONDS:.0f}",
            f"one row tries again every {PROBE_AFTER:.0f} seconds",
            f"expiry - {FEW_RUNS} pauses of the schedule",
        ],
        SETTINGS_DOC: [f"asked for {margin} less than 30 days"],
        API: [
            f"{renewals.MOST_ROWS_SHOWN} at most",
            f"what {renewals.RENEW_SECONDS:.0f} seconds",
            f"{MAX_BODY_BYTES // 1024} KiB at most",
            f"else 30 days less {margin}",
        ],
    }.items():
        assert [phrase for phrase in phrases if phrase not in document] == []


def test_recipes_read_what_the_app_writes() -> None:
    assert recipes.unread(RECIPES) == []


def test_the_docker_recipe_shows_the_line_of_the_env_file() -> None:
    (line,) = snippets(DOCKER, "text")
    assert line.startswith(f"{AUTH_SETTING}=GatewayKey edge-01&")


def test_the_docker_recipe_installs_the_script_where_the_units_run_it() -> None:
    units = "".join(text for name, text in EDGE.items() if "@" in name)
    paths = re.findall(r"^(?:ExecStart|EnvironmentFile)=(/.*/)", units, re.MULTILINE)
    assert paths
    assert [path for path in paths if path not in DOCKER] == []


def test_external_secrets_makes_the_charts_secret_of_an_answer_and_asks_for_the_stable_token() -> None:
    (webhook,) = (
        document["spec"]
        for document in recipes.manifests(sections(RECIPES)["External Secrets' webhook generator"])
        if document["kind"] == "Webhook"
    )
    address, _, query = webhook["url"].partition("?")
    ownership = Ownership("", KeyType.PRIMARY, NOW, NOW)
    manifest = kubernetes_secret(token(), ownership, SecretName(key=dict(parse_qsl(query))["secretKey"]))
    values = json.loads(manifest.reveal())[webhook["result"]["jsonPath"].removeprefix("$.")]
    assert list(values) == [HELM_SECRET_KEY]
    assert address.endswith(f"/gateways/edge-01/generateToken/{TokenFormat.KUBERNETES}")
    assert json.loads(webhook["body"]) == {"stable": True}
    assert "jsonencode({ stable = true })" in sections(RECIPES)["Terraform"]


def test_the_list_of_texts_is_that_of_the_source() -> None:
    assert DOCUMENTS["docs/errors.md"] == error_texts.page(), "run `make errors`"


def test_every_recipe_has_a_destination() -> None:
    titles = re.findall(r"^\| \[([^\]]+)\]\(", RECIPES, re.MULTILINE)
    assert len(titles) >= 8
    assert [title for title in titles if not snippets(sections(RECIPES)[title], "json")] == []


def test_the_first_ten_lines_of_the_runbook_cure_an_expired_token() -> None:
    (commands,) = snippets("\n".join([*RUNBOOK.splitlines()[:10], ""]), "sh")
    steps = [commands.find(step) for step in ("/generateToken?", "kubectl apply", "kubectl rollout restart")]
    assert -1 not in steps
    assert steps == sorted(steps)


def test_the_readme_leads_to_the_runbook_on_its_first_screen() -> None:
    assert "](docs/runbook.md)" in "\n".join(DOCUMENTS["README.md"].splitlines()[:25])
