"""How callers prove who they are. Standard library only: the front door needs it at every cold start."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class SignIn(StrEnum):
    """What every route but health asks for."""

    FUNCTION_KEY = "functionKey"
    ENTRA = "entra"
    BOTH = "entraAndFunctionKey"

    @property
    def needs_key(self) -> bool:
        """Whether the host must see a function key before the app sees the request."""
        return self is not SignIn.ENTRA


def sign_in_mode(environ: Mapping[str, str]) -> SignIn:
    """The mode set by SIGN_IN; a function key is asked for when it is missing or not understood."""
    try:
        return SignIn(environ.get("SIGN_IN", "").strip())
    except ValueError:
        return SignIn.FUNCTION_KEY
