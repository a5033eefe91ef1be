"""`make errors`: writes every text of an error, a fault or a row into docs/errors.md, from the source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "docs" / "errors.md"
_BEGIN, _END = "<!-- written by make errors -->", "<!-- end -->"
_GROUPS = {
    "Every error": "What each kind of error begins with or ends in.",
    "Settings": "`settings_invalid`. The path of the setting comes first.",
    "Requests and callers": "Answers over HTTP, and faults of `access` in the settings.",
    "Azure": "`azure_...`, `identity_unavailable`, `signing_keys_unavailable`, `token_unusable`.",
    "Vaults and clusters": "`destination_blocked`, `sign_in_refused`, `write_conflict`, and the messages of rows about restarts.",
    "Rows and runs": "Messages of rows, of queue messages and of health.",
}
_GROUP_OF = {
    "estate": "Settings",
    "parsing.py": "Settings",
    "tokens.py": "Requests and callers",
    "http": "Requests and callers",
    "access.py": "Requests and callers",
    "errors.py": "Every error",
    "azure": "Azure",
    "destinations": "Vaults and clusters",
    "renewal": "Rows and runs",
    "stored.py": "Rows and runs",
}
# Strings with a blank that nobody meets: names of roles, months and verbs, patterns, assertions.
_NOT_TEXTS = re.compile(
    r"Gateway token |Gateway key |Key Vault Secrets|Storage Blob|January|Sunday|Container Apps|\\|^Bearer \{|\^|never logged|pickle"
    r"|import gateway_tokens|no token$|proved token|nothing was issued|^a gateway without a name"
    r"|^Value error|^day of |^(get|create|patch|list) |^because it is|^not an? |^not YAML|^no JSON object"
)


def page() -> str:
    """The page with the texts that the source has now."""
    before, _, rest = PATH.read_text("utf-8").partition(_BEGIN)
    return f"{before}{_BEGIN}\n\n{_texts()}\n{_END}{rest.partition(_END)[2]}"


def _texts() -> str:
    texts: dict[str, set[str]] = {group: set() for group in _GROUPS}
    for path in sorted((ROOT / "gateway_tokens").rglob("*.py")):
        group = _GROUP_OF.get(path.relative_to(ROOT / "gateway_tokens").parts[0])
        if group:
            texts[group].update(_texts_in(ast.parse(path.read_text("utf-8"))))
    parts = [
        f"### {group}\n\n{about}\n\n```text\n" + "\n".join(sorted(texts[group], key=str.casefold)) + "\n```\n"
        for group, about in _GROUPS.items()
    ]
    return "\n".join(parts)


def _texts_in(tree: ast.Module) -> Iterator[str]:
    skipped, templates = set(_no_texts(tree)), set(_templates(tree))
    for node in ast.walk(tree):
        text = _text(node) if id(node) not in skipped else ""
        if id(node) in templates:
            text = re.sub(r"(?<!\{)\{(\w+)\}", r"<\1>", text).format()
        letters = re.sub(r"<\w*>|[^A-Za-z]", "", text)
        if " " in text.strip() and len(letters) > len("is empty") and not _NOT_TEXTS.search(text):
            yield text.strip()


def _templates(tree: ast.Module) -> Iterator[int]:
    """The texts of classes of errors, with the names of facts in braces."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (id(part.value) for part in node.body if isinstance(part, ast.Assign))


def _no_texts(tree: ast.Module) -> Iterator[int]:
    """Docstrings, descriptions of fields, and the parts of a text, which is taken as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield id(node.value)
        elif isinstance(node, ast.JoinedStr):
            yield from (id(part) for part in ast.walk(node) if part is not node)
        elif isinstance(node, ast.keyword) and node.arg == "description":
            yield from (id(part) for part in ast.walk(node.value))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or f"<{_name(part)}>" for part in node.values)
    return ""


def _name(part: ast.expr) -> str:
    """What stands in a text for a value: the last name of the expression that gives it."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    names = re.findall(r"[A-Za-z]\w*", re.sub(r"'[^']*'", "", ast.unparse(value)))
    return names[-1].lower() if names else "value"


if __name__ == "__main__":
    PATH.write_text(page(), "utf-8")
    print(f"wrote {PATH.name}")
