"""Every query, of alerts, workbook and documents: it asks for what the app logs, of this app alone, and is sound Kusto."""

import json
import re
import shutil
import subprocess

import pytest

from tests.docs.documentation_log_lines import log_lines
from tests.docs.documentation_reading import read_documents, snippets
from tests.infra.digests import ROOT, queries

PACKAGE = ROOT / ".build" / "kusto" / "node_modules" / "@kusto" / "language-service-next"
INSTALL = "npm install --prefix .build/kusto @kusto/language-service-next@12.4.1"
NODE = shutil.which("node") or ""
QUERIES = queries("alerts") | queries("workbook")


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_events_of_this_app_alone_and_for_fields_that_one_of_them_has(name: str) -> None:
    lines, query = log_lines(), QUERIES[name]
    events = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', query))
    fields = set(re.findall(r"\bline\.(\w+)", query)) - {"event"}
    assert events
    assert events <= lines.keys()
    assert fields <= set().union(*(lines[event] for event in events))
    table = r"App(?:Traces|Requests)"  # in a workspace that many share
    alone = rf"{table} \| where _ResourceId =~ \"/subscriptions/\S+/components/appi\""
    assert len(re.findall(alone, query)) == len(re.findall(table, query)) > 0


def faults(*texts: str) -> list[list[str]]:
    command = [NODE, str(ROOT / "tests" / "infra" / "kusto.js"), str(PACKAGE)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    not (NODE and PACKAGE.exists()), reason=f"the Kusto language service is not here: {INSTALL}"
)
def test_every_query_is_sound_to_microsofts_own_language_service_and_a_faulty_one_is_not() -> None:
    documents = [query for text in read_documents().values() for query in snippets(text, "kusto")]
    sound = [*QUERIES.values(), *documents]
    found = faults(*sound, "AppTraces | wher Message has 'a'", "AppTraces | project Massage")
    assert {query: told for query, told in zip(sound, found, strict=False) if told} == {}
    assert len(sound) > len(documents) > 0
    assert all(found[-2:])


def test_the_workflow_installs_the_language_service_before_it_tests() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert workflow.index(f"run: {INSTALL}\n") < workflow.index("run: make test\n")
