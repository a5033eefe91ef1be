"""The way of an event: from API Management's system topic into the queue that the app listens to."""

import re

from tests.infra.digests import ROOT, grants, resources, settings

CASE = "every-destination"


def test_events_about_gateways_are_sent_whatever_the_spelling_of_their_kind() -> None:
    assert {one["filter"] for one in resources(CASE, "eventSubscriptions").values()} == {
        "{subjectBeginsWith:/gateways/}"
    }


def test_the_queue_that_is_delivered_to_is_the_one_that_the_app_listens_to() -> None:
    listening = re.findall(
        r'queue_trigger\("\w+", "%(EVENTS\w+)%", "([^"]+)"\)', (ROOT / "function_app.py").read_text()
    )
    delivered = {one["queueName"] for one in resources(CASE, "eventSubscriptions").values()}
    assert listening == [("EVENTS_QUEUE", "AzureWebJobsStorage")]
    assert delivered == {settings("cloud-public")["EVENTS_QUEUE"]}


def test_the_identity_of_every_topic_may_send_to_that_queue_and_nowhere_else() -> None:
    senders = [scope for role, scope in grants(CASE) if role == "Storage Queue Data Message Sender"]
    assert len(senders) == len(resources(CASE, "systemTopics"))
    assert {scope.rpartition("/")[2] for scope in senders} == {"gateway-events"}


def test_a_subscription_waits_until_its_topics_identity_may_send() -> None:
    source = (ROOT / "infra" / "modules" / "events.bicep").read_text()
    assert "dependsOn: [senders]" in source.partition("module subscriptions ")[2]
