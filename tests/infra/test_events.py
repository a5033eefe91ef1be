"""The way of an event: from API Management's system topic into the queue that the app listens to."""

from __future__ import annotations

import re

from gateway_tokens.events import EventKind
from tests.infra.bicep_tree import ROOT, at, declarations, read_sources, strings_below, written

SOURCES = read_sources()
MODULES = {m.name: m for m in declarations(SOURCES, "module")}


def test_the_app_is_sent_the_events_that_it_understands_and_no_other() -> None:
    subscription = next(d for d in declarations(SOURCES, "resource") if d.name == "subscription")
    filtered = at(subscription.body, "properties.filter.includedEventTypes")
    assert filtered is not None

    sent = strings_below(filtered)

    assert {kind.rpartition(".")[2].lower() for kind in sent} == set(EventKind)
    assert {kind.rpartition(".")[0] for kind in sent} == {"Microsoft.ApiManagement"}


def test_the_queue_is_the_one_that_the_app_listens_to() -> None:
    listening = re.findall(
        r'queue_trigger\("\w+", "([^"]+)", "([^"]+)"\)', (ROOT / "function_app.py").read_text()
    )
    queue = next(d for d in declarations({"": SOURCES["main.bicep"]}, "var") if d.name == "eventQueue")

    assert listening == [(written(queue.value), "AzureWebJobsStorage")]


def test_the_same_queue_is_made_granted_and_delivered_to() -> None:
    assert written(at(MODULES["storage"].body, "params.eventQueue")) == "eventQueue"
    assert written(at(MODULES["eventSenders"].body, "params.queueName")) == "eventQueue"
    assert written(at(MODULES["eventSubscriptions"].body, "params.queueName")) == "eventQueue"


def test_the_subscription_waits_until_its_identity_may_send() -> None:
    account = at(MODULES["eventSubscriptions"].body, "params.storageAccountId")

    assert written(account) == "eventSenders[index]!.outputs.storageAccountId"
