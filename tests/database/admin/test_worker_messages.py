"""The message after a change: which workers have applied it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.test import Client

from flagstaff._workers.sessions import Worker
from flagstaff._workers.wait import Propagation
from flagstaff.admin import propagation
from flagstaff.admin.propagation import applied_by_workers
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import browser_form, flag_url, kill, messages_of, post_confirmed, turn_on
from tests.support.workers import Worker as Process
from tests.support.workers import address

# The engine has its own connection and sees committed rows only.
pytestmark = pytest.mark.django_db(transaction=True, available_apps=django_settings.INSTALLED_APPS)

BY = datetime(2026, 11, 20, 12, 0, 22, tzinfo=timezone.utc)
ALL = Propagation(complete=True, applied=4, seconds=0.04, applied_after=0.034, polling_deadline=BY)


@pytest.fixture
def flag() -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=25)


def worker(host: str, pid: int, mode: str = "live") -> Worker:
    return Worker(host, pid, mode, 0, "00000000", 99, 1)


def replace_wait(monkeypatch: pytest.MonkeyPatch, outcome: Propagation | Exception) -> list[float]:
    """Replaces `wait_for_workers`, and returns the timeouts of its calls."""
    calls: list[float] = []

    def wait_for_workers(timeout: float) -> Propagation:
        calls.append(timeout)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(propagation, "wait_for_workers", wait_for_workers)
    return calls


def after(monkeypatch: pytest.MonkeyPatch, **found: Any) -> propagation.Applied:
    """Returns the sentences about such a propagation."""
    replace_wait(monkeypatch, Propagation(**{"complete": False, "polling_deadline": BY, **found}))
    return applied_by_workers(1.0)


def levels_of(response: Any) -> list[str]:
    return [message.level_tag for message in response.context["messages"]]


def test_flag_deleted_while_the_page_waits_was_killed_before(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_workers(_timeout: float) -> Propagation:
        FeatureFlag.objects.all().delete()
        return ALL

    monkeypatch.setattr(propagation, "wait_for_workers", wait_for_workers)
    [killed, gone] = messages_of(kill(admin_client, flag))
    assert killed.startswith("The flag “new_checkout” is now off.")
    assert "exist. Perhaps it was deleted?" in gone


def test_message_after_a_kill_counts_the_workers(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = replace_wait(monkeypatch, ALL)
    response = kill(admin_client, flag)
    [message] = messages_of(response)
    assert message == (
        "The flag “new_checkout” is now off. Off for all users. "
        "4 of 4 workers have applied it after 0.03 s."
    )
    assert (levels_of(response), calls) == (["success"], [5.0])


def test_save_and_turning_on_wait_for_a_second(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = replace_wait(monkeypatch, ALL)
    for data in ({"rollout_percent": 5}, {"rollout_percent": 50}):
        posted = browser_form(admin_client, flag, **data)
        [message] = messages_of(post_confirmed(admin_client, flag_url(flag), posted, follow=True))
        assert message.endswith("4 of 4 workers have applied it after 0.03 s.")
    FeatureFlag.objects.update(enabled=False)
    turn_on(admin_client, flag)
    assert calls == [1.0, 1.0, 1.0]


def test_message_warns_of_workers_that_have_not_applied_it(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Propagation(complete=False, applied=1, pending=(worker("web-2", 7),), seconds=5.0)
    replace_wait(monkeypatch, Propagation(**{**vars(late), "polling_deadline": BY}))
    response = kill(admin_client, flag)
    [message] = messages_of(response)
    assert "1 of 2 workers have applied it after 5.00 s. Not applied yet: " in message
    assert "web-2" in message
    assert levels_of(response) == ["warning"]
    flag.refresh_from_db()
    assert flag.enabled is False


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"complete": True, "applied": 1, "applied_after": 0.5}, "1 of 1 worker has applied it"),
        ({"complete": True}, "No worker is connected."),
        ({"polling": (worker("web-3", 9, "poll"),)}, "These workers poll, and apply it by "),
        ({"disconnected": (worker("web-4", 3),)}, "Disconnected: "),
        ({"possibly_hidden": True}, "Workers behind a pooler or at a standby are not listed; "),
    ],
)
def test_sentence_says_what_is_known(
    found: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = after(monkeypatch, **found)
    assert text in applied.text
    assert applied.complete is found.get("complete", False)


def test_many_workers_are_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = tuple(worker(f"web-{number}", number) for number in range(50))
    text = after(monkeypatch, pending=pending).text
    assert "0 of 50 workers" in text
    assert "web-19" in text
    assert "web-20" not in text
    assert "30 more" in text


def test_nothing_is_said_if_evaluations_query_the_database(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_wait(monkeypatch, Propagation(complete=True))
    assert messages_of(kill(admin_client, flag)) == [
        "The flag “new_checkout” is now off. Off for all users."
    ]


def test_failed_wait_is_a_warning_and_no_error_of_the_change(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_wait(monkeypatch, PropagationError("the workers cannot be listed: no right"))
    response = kill(admin_client, flag)
    (text,) = messages_of(response)
    assert text.startswith("The flag “new_checkout” is now off. Off for all users. ")
    assert text.endswith("applied it: the workers cannot be listed: no right.")
    flag.refresh_from_db()
    assert flag.enabled is False


def test_nothing_is_said_in_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = replace_wait(monkeypatch, ALL)
    with transaction.atomic():
        assert applied_by_workers(1.0) == ("", True)
    assert calls == []


def test_page_in_a_transaction_of_the_request_does_not_wait(
    admin_client: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = replace_wait(monkeypatch, ALL)
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert messages_of(kill(admin_client, flag)) == [
        "The flag “new_checkout” is now off. Off for all users."
    ]
    assert calls == []


@pytest.fixture
def process(flag: FeatureFlag) -> Iterator[Process]:
    """A worker in a process of its own, which has loaded the flag."""
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    # Without usage, which it would leave to the other tests of this database.
    with Process(url, POLL_INTERVAL=60, USAGE_INTERVAL=0) as process:
        assert process.ask("ready", 10) is True
        yield process


def test_message_names_a_worker_that_has_the_change(
    admin_client: Client, flag: FeatureFlag, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process evaluates in the transaction of a test by queries, and lists no workers then.
    monkeypatch.setattr("flagstaff._workers.wait._is_direct", lambda _connection: False)
    FeatureFlag.objects.update(rollout_percent=100)
    process.sees(["flag_enabled", "new_checkout"], True, within=5.0)
    [message] = messages_of(kill(admin_client, flag))
    assert re.search(r"\b(\d+) of \1 workers? ha(s|ve) applied it after \d+\.\d\d s\.", message)
    # The message was shown after the worker had the change.
    assert process.ask("flag_enabled", "new_checkout") is False
