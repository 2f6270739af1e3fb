"""Several events are undone together: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    create_segment,
    create_value,
    delete,
    delete_segment,
    enable,
    preview_undo_events,
    set_rollout,
    set_value,
    undo_events,
    update,
    update_segment,
    update_value,
)
from flagstaff.changes.undoing import plan
from flagstaff.changes.undoing.row import RowUndo
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.history import events
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.concurrency import in_threads, run_during
from tests.support.history import all_events
from tests.support.history_fixtures import GERMAN, flag_and_value

__all__ = ["flag_and_value"]

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("flag_and_value")]


Step = Callable[[], Any]


def versions_of(actor: str) -> list[int]:
    hour = timezone.now() - timedelta(hours=1)
    return [event.version for event in events(Change.objects.by(actor).since(hour).newest())]


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
    deletion = all_events()[0]
    create("new_checkout")
    [planned] = preview_undo_events([deletion.version])
    assert str(planned.error) == (
        "new_checkout was deleted, and another flag has the same key now; "
        "rename or delete the other flag first"
    )


def test_conflict_refuses_all_unless_it_is_skipped() -> None:
    versions = by_ana(wider, adyen)
    with acting_as("bob"):
        set_rollout("new_checkout", 75)
    with pytest.raises(ConflictError, match=r"^bob changed new_checkout again at"):
        undo_events(versions)
    assert FeatureFlag.objects.get().rollout_percent == 75
    assert KeyValueStore.objects.get().value == "adyen"
    value, flag = undo_events(versions, skip_conflicts=True)
    assert value.changed is not None
    assert value.changed.written
    assert flag.changed is None
    assert flag.problem.endswith(": rollout 25 → 75 %")
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


def change_rows(count: int) -> list[int]:
    """Changes as many rows of each kind as ana, among them users, creations and deletions."""
    users = [*User.objects.all()[:2]]
    keys = [f"row_{number:02}" for number in range(count)]
    for key in keys:
        create_segment(key, GERMAN)
        create(key, rules=[{"conditions": [{"segment": key}], "rollout_percent": 5}])
        create_value(f"{key}.value", 1, secret=key.endswith("1"))
        create(f"old_{key}", allowed_users=users)
    return by_ana(
        *(partial(update, key, {"rules": [], "allowed_users": users}) for key in keys),
        *(partial(update_value, f"{key}.value", {"description": "x"}) for key in keys),
        *(partial(update_segment, key, {"description": "x"}) for key in keys),
        *(partial(delete, f"old_{key}") for key in keys),
    )


def undo_queries(versions: list[int]) -> tuple[list[str], list[str]]:
    """Undoes events, and returns the queries that read, and those that write or name the undo."""
    with CaptureQueriesContext(connection) as queries:
        undo_events(versions)
    texts = [one["sql"] for one in queries]
    begins = ("INSERT", "UPDATE", "DELETE", "SAVEPOINT", "SELECT pg_catalog.set_config")
    writes = [one for one in texts if one.startswith(begins)]
    return [one for one in texts if one not in writes], writes


@pytest.mark.thorough
def test_undo_reads_as_often_for_many_rows_and_writes_each_at_most_four_times() -> None:
    User.objects.bulk_create([User(username="alice"), User(username="bob")])
    few, writes = undo_queries(change_rows(2))
    assert len(writes) <= 4 * 8
    many, writes = undo_queries(change_rows(20))
    assert len(writes) <= 4 * 80
    assert len(many) == len(few) < 40


@pytest.mark.thorough
def test_conflicts_of_many_rows_are_described_with_as_many_queries() -> None:
    def figures(count: int) -> int:
        keys = [f"row_{number:02}" for number in range(count)]
        for key in keys:
            create(key)
        versions = by_ana(*(partial(set_rollout, key, 25) for key in keys))
        for key in keys:
            set_rollout(key, 50)
        with CaptureQueriesContext(connection) as queries:
            assert all(one.error for one in undo_events(versions, skip_conflicts=True))
        for key in keys:
            delete(key)
        Change.objects.all().delete()
        return len(queries)

    assert figures(3) == figures(30)


def test_flag_is_protected_from_undo_of_choices_of_a_value_with_the_same_primary_key() -> None:
    flag = FeatureFlag.objects.get()
    KeyValueStore.objects.all().delete()
    KeyValueStore.objects.create(pk=flag.pk, key="token", value="a", secret=True, choices=["a"])
    with transaction.atomic():
        set_rollout("new_checkout", 25)
        value = update_value("token", {"choices": ["a", "b"]}).version
        changed = update("new_checkout", {"description": "x"}).version
    set_rollout("new_checkout", 50)
    done = undo_events([changed or 0, value or 0], skip_conflicts=True)
    assert [one.changed for one in done] == [None, None]
    assert FeatureFlag.objects.get().rollout_percent == 50


def test_deletion_that_another_call_undoes_meanwhile_is_undone_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    delete("new_checkout")
    deletion = all_events()[0]
    planned = plan._as_written

    def undo_again(undos: Sequence[RowUndo]) -> list[plan.RowPlan]:
        monkeypatch.undo()
        in_threads(lambda: undo_events([deletion.version]))
        return planned(undos)

    monkeypatch.setattr(plan, "_as_written", undo_again)
    [done] = undo_events([deletion.version])
    assert done.changed is not None
    assert not done.changed.written
    assert FeatureFlag.objects.count() == 1


def test_undo_of_a_segment_and_of_rules_waits_for_rules_that_name_both_segments() -> None:
    create_segment("first", GERMAN)
    create_segment("last", GERMAN)
    named = {
        key: [{"conditions": [{"segment": key}], "rollout_percent": 5}] for key in ("first", "last")
    }
    update("new_checkout", {"rules": named["first"]})
    create("banner")
    create("poster")
    versions = by_ana(
        lambda: update("new_checkout", {"rules": []}),
        lambda: update_segment("last", {"description": "x"}),
    )
    # The undo needs both segments, and so does the other transaction.
    done = run_during(
        lambda: update("banner", {"rules": named["first"]}),
        lambda: undo_events(versions),
        lambda: update("poster", {"rules": named["last"]}),
    )
    assert all(one.changed.written for one in done)
