"""How callers prove who they are; in doubt a function key is asked for."""

import pytest

from gateway_tokens.sign_in import SignIn, sign_in_mode


@pytest.mark.parametrize("mode", SignIn)
@pytest.mark.parametrize("around", ["", " ", "\n"])
def test_the_setting_names_the_mode(mode: SignIn, around: str) -> None:
    assert sign_in_mode({"SIGN_IN": f"{around}{mode}{around}"}) is mode


@pytest.mark.parametrize(
    "environ", [{}, {"SIGN_IN": ""}, {"SIGN_IN": "none"}, {"SIGN_IN": "ENTRA"}, {"sign_in": "entra"}]
)
def test_a_mode_that_is_not_understood_asks_for_a_key(environ: dict[str, str]) -> None:
    assert sign_in_mode(environ) is SignIn.FUNCTION_KEY


@pytest.mark.parametrize(
    ("mode", "key"), [("functionKey", True), ("entra", False), ("entraAndFunctionKey", True)]
)
def test_only_signing_in_with_entra_alone_needs_no_key(mode: str, key: bool) -> None:  # noqa: FBT001
    assert SignIn(mode).needs_key is key
