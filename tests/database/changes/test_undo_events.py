"""Several events are undone together: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_segment,
    delete,
    delete_segment,
    enable,
    preview_undo_events,
    set_rollout,
    set_value,
    undo_events,
    update,
)
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import recent_events
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.history_fixtures import GERMAN, flag_and_value

__all__ = ["flag_and_value"]

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("flag_and_value")]


Step = Callable[[], Any]


def versions_of(actor: str) -> list[int]:
    hour = timezone.now() - timedelta(hours=1)
    return [event.version for event in recent_events(actor=actor, since=hour)]


def by_ana(*steps: Step) -> list[int]:
    """Runs each step as ana, in a transaction of its own. Returns the versions of the events."""
    for step in steps:
        with acting_as("ana"):
            step()
    return versions_of("ana")


def wider() -> None:
    set_rollout("new_checkout", 25)


def adyen() -> None:
    set_value("gateway", "adyen")


def test_everything_of_a_person_is_undone_newest_first() -> None:
    done = undo_events(by_ana(wider, lambda: set_rollout("new_checkout", 50), adyen))
    assert FeatureFlag.objects.get().rollout_percent == 10
    assert KeyValueStore.objects.get().value == "stripe"
    assert [(one.key, len(one.events)) for one in done] == [("gateway", 1), ("new_checkout", 2)]


def test_undo_leaves_changes_of_others_to_other_fields() -> None:
    by_ana(wider)
    with acting_as("bob"):
        enable("new_checkout")
    undo_events(by_ana(lambda: update("new_checkout", {"description": "Checkout"})))
    flag = FeatureFlag.objects.get()
    assert (flag.rollout_percent, flag.enabled, flag.description) == (10, True, "")


def test_created_and_then_changed_flag_is_deleted_and_its_key_is_free_again() -> None:
    undo_events(by_ana(lambda: create("banner"), lambda: enable("banner")))
    assert not FeatureFlag.objects.filter(key="banner").exists()
    undo_events(by_ana(lambda: delete("new_checkout"), lambda: create("new_checkout")))
    assert FeatureFlag.objects.get().rollout_percent == 10
    with pytest.raises(InvalidChangeError, match="the history has no version 987654321"):
        undo_events([987654321])


def test_changed_and_then_deleted_flag_returns_with_its_users_as_it_was_before() -> None:
    alice = User.objects.create(username="alice")
    add_allowed_users("new_checkout", alice)
    pk = FeatureFlag.objects.get().pk
    undo_events(by_ana(wider, lambda: delete("new_checkout")))
    flag = FeatureFlag.objects.get()
    assert (flag.pk, flag.key, [*flag.allowed_users.all()]) == (pk, "new_checkout", [alice])
    assert flag.rollout_percent == 10


def test_flag_and_segment_of_its_rule_return_together() -> None:
    create_segment("german", GERMAN)
    rules = [{"conditions": [{"segment": "german"}], "rollout_percent": 100}]
    update("new_checkout", {"rules": rules})
    with acting_as("ana"):
        update("new_checkout", {"rules": []})
        delete_segment("german")
    undo_events(versions_of("ana"))
    assert FeatureFlag.objects.get().rules == rules
    assert Segment.objects.get().key == "german"


def test_deletion_cannot_be_undone_while_another_flag_has_the_key() -> None:
    delete("new_checkout")
    [deletion] = recent_events(limit=1)
    create("new_checkout")
    [planned] = preview_undo_events([deletion.version])
    assert planned.problem == (
        "new_checkout was deleted, and another flag has the same key now; "
        "rename or delete the other flag first"
    )


def test_conflict_refuses_all_unless_it_is_skipped() -> None:
    versions = by_ana(wider, adyen)
    set_rollout("new_checkout", 75)
    with pytest.raises(ConflictError, match="new_checkout has version"):
        undo_events(versions)
    assert FeatureFlag.objects.get().rollout_percent == 75
    assert KeyValueStore.objects.get().value == "adyen"
    value, flag = undo_events(versions, skip_conflicts=True)
    assert value.changed is not None
    assert value.changed.written
    assert flag.changed is None
    assert "new_checkout has version" in flag.problem
    assert KeyValueStore.objects.get().value == "stripe"


def test_preview_writes_nothing_and_a_second_undo_neither() -> None:
    versions = by_ana(wider)
    newest = Change.objects.latest("id").pk
    [planned] = preview_undo_events(versions)
    assert planned.changed is not None
    assert planned.changed.old == {"rollout_percent": 25}
    assert planned.changed.new == {"rollout_percent": 10}
    assert Change.objects.latest("id").pk == newest
    assert FeatureFlag.objects.get().rollout_percent == 25
    undo_events(versions)
    [again] = undo_events(versions)
    assert again.changed is not None
    assert not again.changed.written


def test_entry_of_an_older_part_stands_for_its_event() -> None:
    with transaction.atomic():
        set_rollout("new_checkout", 25)
        set_rollout("new_checkout", 50)
    newest, older = Change.objects.order_by("-id").values_list("pk", flat=True)[:2]
    [done] = undo_events([newest, older])
    assert done.versions == (newest,)
    assert FeatureFlag.objects.get().rollout_percent == 10
