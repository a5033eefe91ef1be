"""`make infra`: formats and lints the Bicep files, and writes the digests of what the real compiler makes of them.

With `--check` nothing is written, and whatever would change is reported.
"""

import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.bicep import Bicep, CompilerFailed
from tools.digest import digest
from tools.template_digest import interface, shape

ROOT = Path(__file__).parents[1]
CASES = Path("tests/infra/cases")
DIGESTS = Path("tests/infra/digests")
EXAMPLES = Path("infra/examples")
_HOW_TO = (
    "Set BICEP to the path of the Bicep compiler, for example: make infra BICEP=~/.azure/bin/bicep. "
    "The workflow names the version whose output is in the repository."
)


def main() -> int:
    """Bring the files up to date, or check that they are."""
    program = os.environ.get("BICEP", "")
    if not program:
        print(_HOW_TO, file=sys.stderr)
        return 2
    check = "--check" in sys.argv[1:]
    # In a copy, since the compiler leaves its output beside its input.
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("infra", CASES):
            shutil.copytree(ROOT / part, copy / part)
        try:
            findings = _findings(Bicep(Path(program)), copy, check=check)
        except CompilerFailed as error:
            findings = [str(error)]
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"{len(findings)} findings" if findings else "The Bicep files and their digests are up to date.")
    return 1 if findings else 0


def _findings(bicep: Bicep, copy: Path, *, check: bool) -> list[str]:
    formatted = _formatted(bicep, copy)
    if complaints := bicep.lint(copy):
        return complaints
    written = formatted | _digests(bicep, copy)
    outdated = {path for path, text in written.items() if _current(path) != text}
    gone = {path.relative_to(ROOT) for path in (ROOT / DIGESTS).glob("*.txt")} - written.keys()
    if not check:
        for path in outdated:
            (ROOT / path).write_text(written[path], encoding="utf-8")
        for path in gone:
            (ROOT / path).unlink()
        return bicep.lint(copy)
    return [
        *bicep.lint(copy),
        *(f"{path} is not up to date: run `make infra`" for path in sorted(outdated | gone)),
    ]


def _current(path: Path) -> str | None:
    return (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else None


def _formatted(bicep: Bicep, copy: Path) -> dict[Path, str]:
    bicep.format(copy)
    sources = [path for path in copy.rglob("*") if path.suffix in {".bicep", ".bicepparam"}]
    return {path.relative_to(copy): path.read_text(encoding="utf-8") for path in sources}


def _digests(bicep: Bicep, copy: Path) -> dict[Path, str]:
    cases = sorted([*(copy / EXAMPLES).rglob("*.bicepparam"), *(copy / CASES).glob("*.bicepparam")])
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        texts = list(workers.map(lambda case: digest(_title(case), bicep.evaluate(case)), cases))
    digests = {DIGESTS / f"{case.stem}.txt": text for case, text in zip(cases, texts, strict=True)}
    main = bicep.template(copy / "infra/main.bicep")
    grants = bicep.template(copy / "infra/grants.bicep")
    return digests | {
        DIGESTS / "interface.txt": interface({"main.bicep": main, "grants.bicep": grants}),
        DIGESTS / "estate-type.txt": shape(main, "estate"),
    }


def _title(case: Path) -> str:
    """The first comment of a parameter file."""
    match = re.search(r"^// (.+)$", case.read_text(encoding="utf-8"), re.MULTILINE)
    return f"{case.stem}: {match[1]}" if match else case.stem


if __name__ == "__main__":
    sys.exit(main())
