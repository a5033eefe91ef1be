"""Log lines: one JSON object each, whatever the values hold, and never a secret."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway_tokens.logs import correlation, log_line
from gateway_tokens.tokens import GatewayRef, KeyType, Secret
from tests.samples import NOW, SIGNATURE, token

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Written:
    """Every line written so far, read back: a message that is not one line of JSON fails here."""
    caplog.set_level(logging.INFO, logger="gateway_tokens")

    def lines() -> list[dict[str, Any]]:
        messages = [record.getMessage() for record in caplog.records]
        assert all(len(message.splitlines()) == 1 for message in messages)
        return [json.loads(message) for message in messages]

    return lines


def test_a_line_says_what_happened_and_in_which_call(written: Written) -> None:
    token = correlation.set("c-1")
    log_line("token.issued", keyType=KeyType.PRIMARY)
    correlation.reset(token)
    assert written() == [{"event": "token.issued", "correlationId": "c-1", "keyType": "primary"}]


def test_a_line_outside_any_call_names_none_and_leaves_empty_text_out(written: Written) -> None:
    log_line("run.done", due=0, late=False, gateway="", reason=None)
    assert written() == [{"event": "run.done", "due": 0, "late": False, "reason": None}]


def test_a_line_has_the_level_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    log_line("token.refused", logging.WARNING)
    assert caplog.record_tuples == [("gateway_tokens", logging.WARNING, '{"event": "token.refused"}')]


def test_a_moment_is_written_as_azure_writes_it_and_a_noun_as_it_prints(written: Written) -> None:
    log_line("token.issued", expiry=NOW, ref=GatewayRef("contoso", "edge-01"), token=token())
    (line,) = written()
    assert (line["expiry"], line["ref"]) == ("2026-03-01T12:00:00Z", "contoso/edge-01")
    assert SIGNATURE not in str(line)


@given(st.text(min_size=1))
@example("a\r\n\u2028b")
@example('"}\n{"event": "forged"')
@example("%s %d")
@example("\ud800")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_from_one_line(written: Written, value: str) -> None:
    log_line("token.refused", gateway=value)
    assert written()[-1] == {"event": "token.refused", "gateway": value}


@pytest.mark.parametrize("value", [Secret("tok-3n"), ["a", Secret("tok-3n")], {"a": Secret("tok-3n")}])
def test_a_secret_is_refused_without_being_quoted(written: Written, value: object) -> None:
    with pytest.raises(TypeError, match="a secret is never logged") as refused:
        log_line("token.issued", value=value)
    assert "tok-3n" not in str(refused.value)
    assert written() == []
