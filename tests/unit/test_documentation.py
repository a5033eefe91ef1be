"""The documents say what the code does. Every check is shown to report a defect that it is there for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.unit import documentation_checks, documentation_operations
from tests.unit.documentation_reading import read_documents, sections, snippets
from tools import error_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCUMENTS = read_documents()
CHECKS: dict[str, Callable[[Mapping[str, str]], list[str]]] = {
    name: check
    for module in (documentation_checks, documentation_operations)
    for name, check in vars(module).items()
    if name.startswith("that_")
}


class Drift(NamedTuple):
    """A change to one document that a check must report."""

    check: str
    path: str
    old: str
    new: str


DRIFTS = (
    Drift("that_app_settings_are_explained", "docs/settings.md", "| `CA_FILE` |", "| `CA_FILES` |"),
    Drift(
        "that_app_settings_are_explained",
        "docs/settings.md",
        "| `ALLOW_FUNCTION_KEYS` | `false` |",
        "| `ALLOW_FUNCTION_KEYS` | `true` |",
    ),
    Drift(
        "that_the_access_example_fits_the_default_mode",
        "README.md",
        '{ "appRole": "GatewayToken.Issue" }',
        '{ "functionKey": true }',
    ),
    Drift("that_document_fields_are_explained", "docs/settings.md", "| `renewBefore` |", "| `renewAfter` |"),
    Drift(
        "that_document_fields_are_explained",
        "docs/settings.md",
        "| `portal` | `value` |",
        "| `portal` | `key` |",
    ),
    Drift("that_sign_in_modes_are_explained", "docs/api.md", "| `false` | an Entra", "| `no` | an Entra"),
    Drift("that_routes_are_explained", "docs/api.md", "| `POST /api/renewals` |", "| `PUT /api/renewals` |"),
    Drift("that_routes_are_explained", "docs/api.md", "## `GET /api/health`", "## `GET /api/healthz`"),
    Drift("that_requests_are_explained", "docs/api.md", "| `secretKey` |", "| `key` |"),
    Drift("that_requests_are_explained", "docs/api.md", "| `envFile` |", "| `env` |"),
    Drift("that_requests_are_explained", "docs/api.md", "| `lifetime` |", "| `ttl` |"),
    Drift(
        "that_errors_are_explained", "docs/errors.md", "| `not_managed` | 409 |", "| `not_managed` | 404 |"
    ),
    Drift("that_errors_are_explained", "docs/errors.md", "| `not_restarted` |", "| `restart_late` |"),
    Drift("that_links_lead_somewhere", "README.md", "](docs/runbook.md)", "](docs/run-book.md)"),
    Drift("that_links_lead_somewhere", "docs/api.md", "runbook.md#health", "runbook.md#healthy"),
    Drift("that_decisions_are_listed", "docs/adr/README.md", "](0003-", "](0033-"),
    Drift("that_the_plain_commands_are_those_of_make", "CONTRIBUTING.md", "--no-deps --ignore", "--ignore"),
    Drift("that_settings_snippets_are_accepted", "README.md", '"lifetime": "P14D"', '"lifetime": "P31D"'),
    Drift("that_settings_snippets_are_accepted", "docs/recipes.md", '"kind": "keyVault"', '"kind": "vault"'),
    Drift("that_reasons_are_explained", "docs/renewal.md", "| `few_runs_left` |", "| `soon` |"),
    Drift(
        "that_reasons_are_explained", "docs/renewal.md", "| `wrong_key` | renew |", "| `expired` | renew |"
    ),
    Drift("that_reasons_are_explained", "docs/runbook.md", "| `not_read` |", "| `unseen` |"),
    Drift(
        "that_outcomes_are_explained",
        "docs/renewal.md",
        "| `not_reached` | yes |",
        "| `not_reached` | no |",
    ),
    Drift("that_outcomes_are_explained", "docs/runbook.md", "| `gone` |", "| `lost` |"),
    Drift("that_trouble_is_explained", "docs/runbook.md", "| `run_missing` |", "| `no_run` |"),
    Drift("that_trouble_is_explained", "docs/runbook.md", "| `token_unusable` |", "| `token_useless` |"),
    Drift("that_answers_are_explained", "docs/api.md", "| `secondsLeft` |", "| `secondsToGo` |"),
    Drift("that_answers_are_explained", "docs/api.md", "| `notListed` |", "| `more` |"),
    Drift("that_log_lines_are_explained", "docs/logs.md", "| `event.taken` |", "| `event.done` |"),
    Drift("that_log_lines_are_explained", "docs/logs.md", "`failingSince`", "`failures`"),
    Drift("that_log_lines_are_explained", "docs/logs.md", "`expiry`, `fingerprint`", "`expiry`"),
    Drift("that_log_lines_are_explained", "docs/logs.md", "`not_reached`, ", ""),
    Drift("that_queries_ask_for_fields_that_exist", "docs/runbook.md", "line.outcome", "line.result"),
    Drift("that_numbers_are_those_of_the_code", "docs/renewal.md", "within 25 seconds", "within 20 seconds"),
    Drift(
        "that_recipes_fit_what_the_app_writes", "docs/recipes.md", '"layout": "portal"', '"layout": "helm"'
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes",
        "docs/recipes.md",
        "existingSecretName: edge-01-token",
        "existingSecretName: edge-01",
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes",
        "docs/recipes.md",
        '"secret": "apim-access-token"',
        '"secret": "{gateway}-token"',
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes", "docs/recipes.md", "name: apim-gateway\n", "name: gateway\n"
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes",
        "docs/recipes.md",
        "secretRef: gateway-token",
        "secretRef: token",
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes", "docs/recipes.md", "secrets/edge-01-token", "secrets/edge-01"
    ),
    Drift(
        "that_recipes_fit_what_the_app_writes",
        "docs/recipes.md",
        "        key: edge-01-token",
        "        key: edge",
    ),
    Drift("that_recipes_fit_what_the_app_writes", "docs/recipes.md", "- key: value", "- key: token"),
    Drift(
        "that_recipes_fit_what_the_app_writes",
        "docs/recipes.md",
        "--name edge-01-token --",
        "--name edge-01 --",
    ),
    Drift(
        "that_callers_who_ask_again_and_again_take_what_the_app_answers",
        "docs/recipes.md",
        "jsonPath: $.stringData",
        "jsonPath: $.data",
    ),
    Drift(
        "that_callers_who_ask_again_and_again_take_what_the_app_answers",
        "docs/recipes.md",
        "?secretKey=gateway-key",
        "?secretKey=value",
    ),
    Drift(
        "that_callers_who_ask_again_and_again_take_what_the_app_answers",
        "docs/recipes.md",
        "jsonencode({ stable = true })",
        "jsonencode({})",
    ),
    Drift("that_the_script_for_hosts_is_explained", "docs/recipes.md", "| `ARC_KEYS` |", "| `KEYS` |"),
    Drift("that_the_script_for_hosts_is_explained", "docs/recipes.md", "| `6` |", "| `9` |"),
    Drift("that_the_script_for_hosts_is_explained", "docs/recipes.md", "/usr/local/bin/", "/usr/bin/"),
    Drift(
        "that_the_docker_recipe_shows_the_line_of_the_env_file",
        "docs/recipes.md",
        "config.service.auth=GatewayKey ",
        "auth=",
    ),
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_documents_agree_with_the_code_in(check: str) -> None:
    assert CHECKS[check](DOCUMENTS) == []


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: f"{drift.check}: {drift.old} -> {drift.new}")
def test_a_document_that_drifts_is_reported(drift: Drift) -> None:
    assert drift.old in DOCUMENTS[drift.path]

    drifted = {**DOCUMENTS, drift.path: DOCUMENTS[drift.path].replace(drift.old, drift.new)}

    assert CHECKS[drift.check](drifted) != []


def test_every_check_is_shown_to_report_something() -> None:
    assert {drift.check for drift in DRIFTS} == CHECKS.keys()


def test_the_list_of_texts_is_that_of_the_source() -> None:
    assert DOCUMENTS["docs/errors.md"] == error_texts.page(), "run `make errors`"


def test_every_recipe_has_a_destination() -> None:
    titles = [
        line.split("](")[0].removeprefix("| [")
        for line in DOCUMENTS["docs/recipes.md"].splitlines()
        if line.startswith("| [")
    ]
    recipes = sections(DOCUMENTS["docs/recipes.md"])

    assert [title for title in titles if not snippets(recipes[title], "json")] == []
    assert len(titles) >= 8


def test_the_first_ten_lines_of_the_runbook_cure_an_expired_token() -> None:
    start = "\n".join(DOCUMENTS["docs/runbook.md"].splitlines()[:10])

    (commands,) = snippets(start + "\n", "sh")
    steps = [commands.find(step) for step in ("/generateToken?", "kubectl apply", "kubectl rollout restart")]
    assert -1 not in steps
    assert steps == sorted(steps)


def test_the_readme_leads_to_the_runbook_on_its_first_screen() -> None:
    assert "](docs/runbook.md)" in "\n".join(DOCUMENTS["README.md"].splitlines()[:25])
