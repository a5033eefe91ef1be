"""`make package`: the zip that `func azure functionapp publish` would send, and what is in it."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parents[1]
ARCHIVE = ROOT / ".build" / "app.zip"


def package_files(root: Path) -> list[str]:
    """The files below root that .funcignore lets through, sorted, with forward slashes."""
    spec = GitIgnoreSpec.from_lines((root / ".funcignore").read_text().splitlines())
    return sorted(_kept(root, root, spec))


def _kept(folder: Path, root: Path, spec: GitIgnoreSpec) -> Iterator[str]:
    for entry in folder.iterdir():
        name = entry.relative_to(root).as_posix()
        # A folder that is ignored is not looked into: virtual environments are large.
        if entry.is_dir():
            if not spec.match_file(f"{name}/"):
                yield from _kept(entry, root, spec)
        elif not spec.match_file(name):
            yield name


def build(root: Path, archive: Path) -> list[tuple[str, int]]:
    """Write the archive, the same bytes for the same files. Returns each file with its size in bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    packed = []
    with ZipFile(archive, "w", ZIP_DEFLATED) as target:
        for name in package_files(root):
            content = (root / name).read_bytes()
            target.writestr(_entry(name), content)
            packed.append((name, len(content)))
    return packed


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name)  # dated 1980, so that only the content counts
    entry.compress_type = ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


if __name__ == "__main__":
    files = build(ROOT, ARCHIVE)
    for file, size in files:
        print(f"{size:>9,}  {file}")
    print(f"{sum(size for _, size in files):>9,}  bytes in {len(files)} files")
    print(f"{ARCHIVE.stat().st_size:>9,}  bytes in {ARCHIVE.relative_to(ROOT)}")
