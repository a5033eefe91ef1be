"""How JSON documents are read: strict, frozen, every fault listed with its path, no value echoed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
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
_MESSAGES = {
    "extra_forbidden": "unknown field",
    "missing": "required",
    "value_error": "",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be an array",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "too_short": "must not be empty",
    "union_tag_not_found": "kind: required",
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


def read_json(text: str | bytes, path: str) -> tuple[Any, list[Fault]]:
    """The JSON value and no faults, or None and what is wrong: malformed text, a name given twice.

    Null members of objects are left out: null counts as absent.
    """
    repeated: list[Fault] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            counted = Counter(name for name, _ in pairs)
            twice = [shown_name(name) for name, times in counted.items() if times > 1]
            repeated.extend(Fault(path, f"'{name}' is given twice") for name in twice)
        return {name: value for name, value in pairs if value is not None}

    try:
        value = json.loads(text, object_pairs_hook=once, parse_constant=_no_constant)
    except RecursionError:
        return None, [Fault(path, "is nested too deeply")]
    except UnicodeDecodeError:
        return None, [Fault(path, "is not UTF-8 text")]
    except json.JSONDecodeError as error:
        return None, [Fault(path, f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}")]
    except ValueError:
        return None, [Fault(path, "is not JSON: it holds a number that JSON does not know")]
    return value, repeated


def _no_constant(name: str) -> None:
    raise ValueError(name)


def read_model(
    kind: type[_P],
    document: object,
    *,
    context: dict[str, Any] | None = None,
    tags: Iterable[str] = (),
) -> tuple[_P | None, list[Fault]]:
    """The document as that kind of part and no faults, or None and every fault.

    `tags` are the union tags, which are not part of a path.
    """
    try:
        # Through JSON text: strict reading takes enumerations and tuples from JSON only.
        return kind.model_validate_json(json.dumps(document), context=context), []
    except RecursionError:
        return None, [Fault("(document)", "is nested too deeply")]
    except ValidationError as error:
        return None, _faults_of(error, tags)


def _faults_of(invalid: ValidationError, tags: Iterable[str]) -> list[Fault]:
    hidden = set(tags)
    every = invalid.errors(include_url=False, include_context=False, include_input=False)
    holders = {error["loc"][:-1] for error in every}
    return [
        Fault(_path(error["loc"], hidden) or "(document)", _message(error["type"], error["msg"]))
        for error in every
        # An array whose only entries are faulty counts as too short as well: that is not a fault of its own.
        if not (error["type"] == "too_short" and error["loc"] in holders)
    ]


def _path(loc: tuple[int | str, ...], tags: set[str]) -> str:
    path = ""
    for before, part in zip(("", *loc), loc, strict=False):
        if isinstance(before, int) and part in tags:
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{shown_name(part)}" if path else shown_name(part)
    return path


def shown_name(part: str) -> str:
    """A field's name, unless it looks like a token: whoever pastes one there should not find it in a log."""
    return "(a name withheld)" if "&" in part or len(part) > _LONGEST_NAME else part


def _message(kind: str, message: str) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "union_tag_invalid":  # pydantic's own words quote the value
        return f"kind must be one of {message.rpartition(': ')[2]}"
    return _MESSAGES.get(kind) or message[0].lower() + message[1:]
