"""The message after a change: which workers have applied it."""

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from flagstaff._workers.wait import Propagation
from flagstaff.admin import base_admin
from flagstaff.admin.base_admin import applied_by_workers
from flagstaff.exceptions import PropagationError
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import FLAGS, act, flag_url, kill, messages_of, state, turn_on
from tests.support.fake_workers import registered_worker as worker
from tests.support.fixtures import COMMITTED
from tests.support.workers import Worker as Process
from tests.support.workers import address

pytestmark = COMMITTED

ALL = Propagation(complete=True, applied=4, seconds=0.04, applied_after=0.034)


def replace_wait(
    monkeypatch: pytest.MonkeyPatch, outcome: Propagation | Exception
) -> list[tuple[float, bool]]:
    """Replaces `wait_for_workers`: the timeout of each call, and whether it asks regions."""
    calls: list[tuple[float, bool]] = []

    def wait_for_workers(timeout: float, *, regions: bool) -> Propagation:
        calls.append((timeout, regions))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(base_admin, "wait_for_workers", wait_for_workers)
    return calls


def test_flag_deleted_while_the_page_waits_was_killed_before(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_for_workers(_timeout: float, **_: bool) -> Propagation:
        FeatureFlag.objects.all().delete()
        return ALL

    monkeypatch.setattr(base_admin, "wait_for_workers", wait_for_workers)
    [killed, gone] = messages_of(kill(operator, flag))
    assert killed.startswith("“new_checkout” was changed: turned off.")
    assert "exist. Perhaps it was deleted?" in gone


def test_message_counts_workers_after_five_seconds_and_asks_regions_only_for_a_kill(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = replace_wait(monkeypatch, ALL)
    counted = "Applied by 4 of 4 workers after 0.03 s."
    for percent in ("5", "50"):
        [message] = messages_of(act(operator, flag_url(flag, "rollout"), percent=percent))
        assert message.endswith(counted)
    # What to do next follows.
    [message] = messages_of(act(operator, f"{FLAGS}add/", key="new_search"))
    assert counted in message
    response = kill(operator, flag)
    [message] = messages_of(response)
    assert message == f"“new_checkout” was changed: turned off. Off for all users. {counted}"
    assert [message.level_tag for message in response.context["messages"]] == ["success"]
    turn_on(operator, flag)
    save = (1.0, False)
    assert calls == [save, save, save, (5.0, True), save]


LATE = Propagation(
    complete=False, applied=1, pending=(worker("web-2", 7),), seconds=5.0, applied_after=0.0
)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (
            LATE,
            (
                r"Applied by 1 of 2 workers after 0\.0 s; the wait ended after 5\.0 s\. "
                r"Not applied yet: .*web-2.*"
            ),
        ),
        (
            PropagationError("the workers cannot be listed: no right"),
            r".*applied it: the workers cannot be listed: no right\.",
        ),
    ],
    ids=["late", "failed"],
)
def test_message_warns_of_workers_that_have_not_applied_it_and_of_a_failed_wait(
    outcome: Any, text: str, operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_wait(monkeypatch, outcome)
    response = kill(operator, flag)
    [message] = messages_of(response)
    done = "“new_checkout” was changed: turned off. Off for all users. "
    assert re.fullmatch(f"{done}{text}", message)
    assert [message.level_tag for message in response.context["messages"]] == ["warning"]
    assert state(flag) == (False, 25)


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        (
            {"complete": True, "applied": 1, "applied_after": 0.5},
            ["Applied by 1 of 1 worker after 0.5 s."],
        ),
        ({"complete": True}, ["No worker is registered."]),
        ({"unreported": 2}, ["Connected workers that do not report: 2."]),
        ({"missing": 3}, ["Expected, but not registered: 3."]),
        (
            {"unasked_regions": ("", "eu")},
            ["Regions that were not asked: behind replication, without REGION, eu."],
        ),
        (
            {"lost": (worker("web-4", 3),)},
            ["Lost (killed, or without a connection): web-4 (pid 3)."],
        ),
        (
            {"pending": tuple(worker(f"web-{number}", number) for number in range(50))},
            ["Applied by 0 of 50 workers within 0.0 s.", "web-19", "30 more"],
        ),
    ],
)
def test_sentence_says_what_is_known(
    fields: dict[str, Any], texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_wait(monkeypatch, Propagation(**{"complete": False, **fields}))
    applied = applied_by_workers(1.0, asks_regions=False)
    assert all(text in applied.text for text in texts)
    assert "web-20" not in applied.text
    assert applied.complete is fields.get("complete", False)


@pytest.mark.parametrize("is_atomic", [False, True], ids=["direct", "atomic request"])
def test_nothing_is_said_if_evaluations_query_the_database_or_the_request_is_atomic(
    is_atomic: bool, operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = replace_wait(monkeypatch, ALL if is_atomic else Propagation(complete=True, direct=True))
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", is_atomic)
    [message] = messages_of(kill(operator, flag))
    assert message == "“new_checkout” was changed: turned off. Off for all users."
    assert len(calls) == (0 if is_atomic else 1)
    replace_wait(monkeypatch, ALL)
    with transaction.atomic():
        assert applied_by_workers(1.0, asks_regions=False) == ("", True)


@pytest.fixture
def process(flag: FeatureFlag) -> Iterator[Process]:
    """A worker in a process of its own, which has loaded the flag."""
    url = address(os.environ["DATABASE_URL"], connection.settings_dict["NAME"])
    # Without usage, which it would leave to the other tests of this database.
    with Process(url, POLL_INTERVAL=60, USAGE_INTERVAL=0) as process:
        assert process.ask("ready", 10) is True
        yield process


def test_message_names_a_worker_that_has_the_change(
    operator: Client, flag: FeatureFlag, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process evaluates in the transaction of a test by queries, and lists no workers then.
    monkeypatch.setattr("flagstaff._workers.wait._is_direct", lambda: False)
    FeatureFlag.objects.update(rollout_percent=100)
    process.sees(["flag_enabled", "new_checkout"], True, within=5.0)
    [message] = messages_of(kill(operator, flag))
    assert re.search(r"Applied by (\d+) of \1 workers? after \d+\.\d+ s\.", message)
    # The message was shown after the worker had the change.
    assert process.ask("flag_enabled", "new_checkout") is False
