"""The ownership beside a value: written and read back the same, and never taken from somebody else's tags."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.stored import Ownership, token_in
from gateway_tokens.tokens import KeyType
from tests.unit.samples import NOW, token

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


@given(st.text(min_size=1), st.sampled_from(KeyType), st.integers(min_value=0, max_value=10**9))
def test_a_label_that_was_written_is_read_back(owner: str, key_type: KeyType, seconds: int) -> None:
    ownership = Ownership(owner, key_type, NOW + timedelta(seconds=seconds))
    assert Ownership.from_tags(ownership.tags(token())) == ownership


def test_tags_of_others_and_tags_that_cannot_be_read_are_no_label() -> None:
    for tags in (None, {}, {"team": "platform"}, {**TAGS, "managed-by": "Gateway-Tokens"}):
        assert Ownership.from_tags(tags) is None
    for key_type in ("tertiary", ""):
        assert Ownership.from_tags({**TAGS, "key-type": key_type}) is None
    for moment in ("yesterday", "2026-02-29T12:00:00Z", "2026-03-01T12:00:00+01:00"):
        assert Ownership.from_tags({**TAGS, "issued-at": moment}) is None


def test_a_label_needs_all_but_further_tags_and_the_facts_of_the_token_itself() -> None:
    assert Ownership.from_tags({**TAGS, "team": "platform"}) == LABEL
    for missing in TAGS:
        found = Ownership.from_tags({name: value for name, value in TAGS.items() if name != missing})
        assert found == (LABEL if missing in {"expiry", "fingerprint"} else None)


def test_a_stored_token_is_found_with_and_without_its_prefix() -> None:
    for prefix in ("", "GatewayKey "):
        assert token_in(prefix + token().value.reveal()) == token()
    for value in (None, "", "GatewayKey ", "password", "a&b&c"):
        assert token_in(value) is None
