"""How JSON documents are read: strict, frozen, every fault listed with its path, no value echoed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from .errors import Fault

# Years and months have no fixed length, so they are not among the units.
DURATION = r"^P(?=[0-9T])([0-9]{1,3}W)?([0-9]{1,4}D)?(T(?=[0-9])([0-9]{1,4}H)?([0-9]{1,5}M)?([0-9]{1,6}S)?)?$"
_LONGEST_NAME = 100
_KEY = "[key]"  # what pydantic calls a name of an object whose names are free
# Texts in place of pydantic's own.
_MESSAGES = {
    "missing": "required",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be an array",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "too_short": "must not be empty",
    "union_tag_not_found": "required",
}


def _without_years(value: object) -> object:
    if not isinstance(value, timedelta) and not (isinstance(value, str) and re.fullmatch(DURATION, value)):
        raise ValueError(
            "must be an ISO 8601 duration of weeks, days, hours, minutes and seconds, such as P30D"
        )
    return value


def duration_text(value: timedelta) -> str:
    """The duration in ISO 8601, in days where it is whole days, else in seconds."""
    seconds = int(value.total_seconds())
    return f"P{value.days}D" if seconds % 86_400 == 0 else f"PT{seconds}S"


Duration = Annotated[
    timedelta,
    Field(strict=False),
    BeforeValidator(_without_years),
    PlainSerializer(duration_text),
    WithJsonSchema(
        {"type": "string", "format": "duration", "pattern": DURATION, "examples": ["P30D", "PT12H"]}
    ),
]


def within(least: timedelta, most: timedelta, message: str) -> AfterValidator:
    """A check that a duration is one of these, which says the message of any other."""

    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(message)
        return value

    return AfterValidator(check)


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must be like: in words, which a fault says, as a pattern, and its greatest length.

    Editors compile patterns as ECMA-262, pydantic as Rust does: no look-around, no flags, no classes such as `word`.
    """

    words: str
    pattern: str
    longest: int | None = None

    def __get_pydantic_core_schema__(self, *_: object) -> Any:  # noqa: ANN401 - a core schema, of a package that is pydantic's own business
        text = {"type": "str", "pattern": self.pattern, "max_length": self.longest, "strict": True}
        error = {"custom_error_type": "form", "custom_error_message": f"must be {self.words}"}
        return {"type": "custom-error", "schema": {n: v for n, v in text.items() if v is not None}, **error}


class StrictModel(BaseModel):
    """A part of a JSON document: camelCase names, unknown names refused, never changed once read."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        defer_build=True,  # on first use and as a whole: each part by itself would cost every cold start
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_default=True,
        hide_input_in_errors=True,
    )


_P = TypeVar("_P", bound=StrictModel)
Errors = Sequence[Mapping[str, Any]]  # as pydantic tells them


def read_json(text: str | bytes, path: str, known: Collection[str] | None = None) -> tuple[Any, list[Fault]]:
    """The JSON value and no faults, or None and what is wrong: malformed text, a name given twice.

    Null members of objects are left out: null counts as absent. Where the names are `known`, others are kept, null or not.
    """
    repeated: list[Fault] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            twice = [shown_name(name) for name, times in counted.items() if times > 1]
            repeated.extend(Fault(path, f"'{name}' is given twice") for name in twice)
        return {name: value for name, value in pairs if value is not None or (known and name not in known)}

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=_no_constant)
    except RecursionError:
        return None, [Fault(path, "is nested too deeply")]
    except UnicodeDecodeError:
        return None, [Fault(path, "is not UTF-8 text")]
    except json.JSONDecodeError as error:
        return None, [Fault(path, _not_json(error))]
    except ValueError:
        return None, [Fault(path, "is not JSON: it holds a number that JSON does not know")]
    return value, repeated


def _not_json(error: json.JSONDecodeError) -> str:
    where, rest = f"at line {error.lineno} column {error.colno}", error.doc[error.pos :].lstrip(", \t\r\n")
    if not error.doc.strip():
        return "is empty: a JSON object is expected"
    if error.doc.startswith("\ufeff"):
        return "begins with a byte order mark, which JSON does not allow. Save it as UTF-8 without one"
    if rest.startswith(("//", "/*", "#")):
        return f"is not JSON: a comment {where}. JSON has no comments: remove it"
    if rest.startswith(("}", "]")) and "delimiter" not in error.msg:
        return f"is not JSON: a comma with nothing after it {where}. Remove it"
    return f"is not JSON: {error.msg} {where}"


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_model(
    kind: type[_P], document: object, *, context: dict[str, Any] | None = None
) -> tuple[_P | None, list[Fault]]:
    """The document as that kind of part and no faults, or None and every fault."""
    part, errors = validated(kind, document, context)
    return part, faults_of(errors, kind)


def validated(
    kind: type[_P], document: object, context: dict[str, Any] | None = None
) -> tuple[_P | None, Errors]:
    """The document as that kind of part and no errors, or None and pydantic's errors, which tell no value."""
    try:
        # Through JSON text: strict reading takes enumerations and tuples from JSON only.
        return kind.model_validate_json(
            json.dumps(document), context=context, by_alias=True, by_name=False
        ), []
    except RecursionError:
        return None, [{"type": "nesting", "loc": (), "msg": "is nested too deeply"}]
    except ValidationError as error:
        return None, error.errors(include_url=False, include_context=False, include_input=False)


def faults_of(errors: Errors, kind: type[StrictModel], tags: Iterable[str] = ()) -> list[Fault]:
    """The errors in our words; `tags` are those of unions, which are not part of a path."""
    holders = {error["loc"][:end] for error in errors for end in range(len(error["loc"]))}
    return [
        Fault(_path(error, {*tags}) or "(document)", _text(error, kind))
        for error in errors
        # An array whose only entries are faulty counts as too short as well: that is not a fault of its own.
        if not (error["type"] == "too_short" and error["loc"] in holders)
    ]


def _path(error: Mapping[str, Any], tags: set[str]) -> str:
    loc, path = error["loc"], ""
    for before, part in zip(("", *loc), loc, strict=False):
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != _KEY and not (isinstance(before, int) and part in tags):
            path += f".{shown_name(part)}"
    return (f"{path}.kind" if error["type"].startswith("union_tag") else path).removeprefix(".")


def _text(error: Mapping[str, Any], kind: type[StrictModel]) -> str:
    if error["type"] == "extra_forbidden":
        return f"unknown field{_hint(str(error['loc'][-1]), kind)}"
    if error["type"] == "union_tag_invalid":  # pydantic's own words quote the value
        return f"must be one of {error['msg'].rpartition(': ')[2]}"
    message = re.sub("^(Input|String) should ", "must ", error["msg"].removeprefix("Value error, "))
    return _MESSAGES.get(error["type"]) or message[0].lower() + message[1:]


def shown_name(part: str) -> str:
    """A field's name, unless it looks like a token: a token that is pasted there by mistake must not reach a log."""
    return "(a name withheld)" if "&" in part or len(part) > _LONGEST_NAME else part


def _hint(name: str, kind: type[StrictModel]) -> str:
    """What a misspelt name may stand for."""
    known = _known_names(kind)
    if known.get(name.casefold()) == name:
        return f": '{name}' belongs to another part"
    close = get_close_matches(name.casefold(), known, 1)
    return f". Did you mean '{known[close[0]]}'?" if close else ""


@lru_cache(maxsize=4)
def _known_names(kind: type[StrictModel]) -> dict[str, str]:
    schema = kind.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return {name.casefold(): name for part in parts for name in part.get("properties", ())}
