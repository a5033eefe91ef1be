"""Every query, of alerts, workbook and documents, is read by Microsoft's own Kusto language service, which knows the tables."""

import json
import shutil
import subprocess

import pytest

from tests.infra.digests import ROOT, queries
from tests.unit.documentation_reading import read_documents, snippets

PACKAGE = ROOT / ".build" / "kusto" / "node_modules" / "@kusto" / "language-service-next"
VERSION = "12.4.1"
INSTALL = f"npm install --prefix .build/kusto @kusto/language-service-next@{VERSION}"
NODE = shutil.which("node") or ""


def faults(*texts: str) -> list[list[str]]:
    done = subprocess.run(
        [NODE, str(ROOT / "tests" / "infra" / "kusto.js"), str(PACKAGE)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(
    not (NODE and PACKAGE.exists()), reason=f"the Kusto language service is not here: {INSTALL}"
)
def test_every_query_is_sound_and_a_faulty_one_is_not() -> None:
    documents = [query for text in read_documents().values() for query in snippets(text, "kusto")]
    sound = [*queries("alerts").values(), *queries("workbook").values(), *documents]
    faulty = ["AppTraces | wher Message has 'a'", "AppTraces | project Massage"]
    found = faults(*sound, *faulty)
    assert {query: told for query, told in zip(sound, found, strict=False) if told} == {}
    assert len(sound) > len(documents) > 0
    assert all(found[-2:])


def test_the_workflow_installs_the_language_service_before_it_tests() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert workflow.index(f"run: {INSTALL}\n") < workflow.index("run: make test\n")
