"""The ownership beside a value: written and read back the same, and never taken from somebody else's tags."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.stored import Ownership, token_in
from gateway_tokens.tokens import KeyType
from tests.unit.samples import NOW, SIGNATURE, token

LABEL = Ownership("contoso-apim/edge-01", KeyType.SECONDARY, NOW)
TAGS = LABEL.tags(token())


def test_a_label_is_written_as_these_tags() -> None:
    assert LABEL.tags(token()) == {
        "managed-by": "gateway-tokens",
        "gateway": "contoso-apim/edge-01",
        "key-type": "secondary",
        "issued-at": "2026-03-01T12:00:00Z",
        "expiry": "2026-03-31T11:55:00Z",
        "fingerprint": token().fingerprint,
    }


def test_tags_hold_nothing_of_the_signature() -> None:
    assert SIGNATURE not in str(TAGS)


@given(st.text(min_size=1), st.sampled_from(KeyType), st.integers(min_value=0, max_value=10**9))
def test_a_label_that_was_written_is_read_back(owner: str, key_type: KeyType, seconds: int) -> None:
    ownership = Ownership(owner, key_type, NOW + timedelta(seconds=seconds))
    assert Ownership.from_tags(ownership.tags(token())) == ownership


def test_further_tags_do_not_matter() -> None:
    assert Ownership.from_tags({**TAGS, "team": "platform"}) == LABEL


@pytest.mark.parametrize(
    "tags",
    [
        None,
        {},
        {"team": "platform"},
        {**TAGS, "managed-by": "helm"},
        {**TAGS, "managed-by": "Gateway-Tokens"},
        {**TAGS, "key-type": "tertiary"},
        {**TAGS, "key-type": ""},
        {**TAGS, "issued-at": "yesterday"},
        {**TAGS, "issued-at": "2026-02-29T12:00:00Z"},
        {**TAGS, "issued-at": "2026-03-01T12:00:00+01:00"},
    ],
)
def test_tags_of_others_and_tags_that_make_no_sense_are_no_label(tags: dict[str, str] | None) -> None:
    assert Ownership.from_tags(tags) is None


@pytest.mark.parametrize("missing", ["managed-by", "gateway", "key-type", "issued-at"])
def test_a_label_needs_all_that_it_is_made_of(missing: str) -> None:
    assert Ownership.from_tags({name: value for name, value in TAGS.items() if name != missing}) is None


@pytest.mark.parametrize("not_needed", ["expiry", "fingerprint"])
def test_what_the_token_itself_says_is_not_needed_to_read_a_label(not_needed: str) -> None:
    assert Ownership.from_tags({name: value for name, value in TAGS.items() if name != not_needed}) == LABEL


@pytest.mark.parametrize("prefix", ["", "GatewayKey "])
def test_a_stored_token_is_found_with_and_without_its_prefix(prefix: str) -> None:
    assert token_in(prefix + token().value.reveal()) == token()


@pytest.mark.parametrize("value", [None, "", "GatewayKey ", "password", "a&b&c"])
def test_a_value_that_is_no_token_holds_none(value: str | None) -> None:
    assert token_in(value) is None
