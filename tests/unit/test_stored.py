"""The ownership beside a value: written and read back the same, and never taken from somebody else's tags."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_tokens.stored import Ownership, StoredToken, token_in
from gateway_tokens.tokens import KeyType, Secret
from tests.samples import NOW, token

OURS = Ownership("contoso-apim/edge-01", KeyType.SECONDARY, NOW, token().expiry).of(token().header_value())
TAGS = OURS.tags()
MOMENTS = st.integers(0, 10**9).map(lambda seconds: NOW + timedelta(seconds=seconds))


def test_ownership_is_written_as_these_tags() -> None:
    tags = {
        "managed-by": "gateway-tokens",
        "gateway": "contoso-apim/edge-01",
        "key-type": "secondary",
        "issued-at": "2026-03-01T12:00:00Z",
        "expiry": "2026-03-31T11:55:00Z",
        "fingerprint": token().header_value().fingerprint,
    }
    assert tags == TAGS
    more = {"taken-over": "true", "restart-asked": "abc"}
    assert replace(OURS, taken_over=True, restart_asked="abc").tags() == tags | more


def test_what_a_restart_depends_on_is_among_annotations_only_since_a_vaults_tags_are_few() -> None:
    ownership = replace(OURS, replaced_expiry=NOW, urgent=True)
    assert ownership.tags() == TAGS
    more = {"replaced-expiry": "2026-03-01T12:00:00Z", "urgent": "true"}
    assert ownership.annotations() == {f"gateway-tokens/{n}": v for n, v in {**TAGS, **more}.items()}


@given(
    st.builds(
        Ownership,
        owner=st.text(min_size=1),
        issued_at=MOMENTS,
        expiry=MOMENTS,
        fingerprint=st.text(),
        taken_over=st.booleans(),
        restart_asked=st.text(),
        key_since=st.none() | MOMENTS,
        regenerated_at=st.none() | MOMENTS,
        replaced_expiry=st.none() | MOMENTS,
        urgent=st.booleans(),
    )
)
def test_ownership_that_was_written_is_read_back(ownership: Ownership) -> None:
    assert Ownership.from_annotations(ownership.annotations()) == ownership
    in_tags = replace(ownership, replaced_expiry=None, urgent=False)
    assert Ownership.from_tags(ownership.tags()) == in_tags


@pytest.mark.parametrize(
    "tags",
    [
        None,
        {},
        {"team": "platform"},
        {**TAGS, "managed-by": "Gateway-Tokens"},
        {**TAGS, "key-type": "tertiary"},
        {**TAGS, "key-type": ""},
        {**TAGS, "issued-at": "2026-02-29T12:00:00Z"},
        {**TAGS, "expiry": "2026-03-01T12:00:00+01:00"},
        *({name: value for name, value in TAGS.items() if name != missing} for missing in TAGS),
    ],
)
def test_tags_of_others_and_tags_that_lack_one_or_cannot_be_read_are_not_ownership(
    tags: dict[str, str] | None,
) -> None:
    assert Ownership.from_tags(tags) is None


def test_tags_beside_ownership_do_not_change_it() -> None:
    assert Ownership.from_tags({**TAGS, "team": "platform", "key-since": ""}) == OURS


def test_ownership_counts_for_the_very_value_that_it_was_written_with() -> None:
    value, bare = token().header_value(), token().value
    assert StoredToken(value, token(), OURS).owned == OURS
    assert StoredToken(bare, token(), OURS).owned is None
    assert StoredToken(Secret("other"), None, OURS).owned is None
    first_version = replace(OURS, fingerprint=token().fingerprint)
    assert StoredToken(value, token(), first_version).owned == first_version


def test_a_stored_token_is_read_whatever_is_around_it() -> None:
    bare = token().value.reveal()
    for value in (bare, f'"GatewayKey {bare}"', f" GatewayKey  {bare}\r\n", f"\ufeff'{bare}'"):
        assert token_in(value) == token(), value
    for nothing in (None, "", "GatewayKey ", "password", "a&b&c"):
        assert token_in(nothing) is None
