"""Which events were undone: what an undo stores, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from flagstaff.history.undone import changed_again, undone_events

from flagstaff import acting_as
from flagstaff.changes import (
    add_allowed_users,
    create,
    delete,
    enable,
    preview_undo_events,
    set_rollout,
    set_value,
    undo,
    undo_events,
    undo_transaction,
    update,
)
from flagstaff.history import recent_events
from flagstaff.models import Change
from tests.support.flag_fixtures import flag, gateway
from tests.support.history import flag_history
from tests.support.sql import rows

__all__ = ["flag", "gateway"]

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("flag", "gateway")]

KEY = "new_checkout"


@pytest.fixture(autouse=True)
def empty_history(flag: object, gateway: object) -> None:
    """Flushing the tables between tests keeps the history."""
    Change.objects.all().delete()


def undone() -> dict[int, str | None]:
    """Returns the actor who undid each event, by version, read in both ways."""
    events = recent_events()
    found = undone_events(events, are_newest=True)
    assert {version: one.actor for version, one in found.items()} == {
        version: one.actor for version, one in undone_events(events, are_newest=False).items()
    }
    return {version: one.actor for version, one in found.items()}


def test_undone_event_has_the_author_of_its_undo() -> None:
    version = set_rollout(KEY, 50).version
    with acting_as("ana"):
        undo(KEY, version)
    assert undone() == {version: "ana"}


def test_event_that_was_set_back_by_hand_is_not_undone() -> None:
    set_rollout(KEY, 50)
    set_rollout(KEY, 25)
    assert undone() == {}


def test_event_whose_undo_was_undone_is_not_undone() -> None:
    version = set_rollout(KEY, 50).version
    back = undo(KEY, version).version
    again = undo(KEY, back).version
    assert list(undone()) == [back]
    undo(KEY, again)
    assert set(undone()) == {version, again}


def test_event_stays_undone_after_a_later_change() -> None:
    version = set_rollout(KEY, 50).version
    undo(KEY, version)
    set_rollout(KEY, 50)
    assert list(undone()) == [version]


def test_change_after_an_undo_in_its_transaction_is_no_undo() -> None:
    version = set_rollout(KEY, 50).version
    with transaction.atomic():
        undo(KEY, version)
        set_value("gateway", "adyen")
        preview_undo_events([recent_events(limit=1)[0].version])
        enable(KEY)
    stored = dict(Change.objects.values_list("action", "undoes").filter(relation="k"))
    assert stored == {"update": None}
    assert Change.objects.latest("id").undoes is None


def test_all_rows_of_an_undone_transaction_are_undone() -> None:
    with transaction.atomic():
        first = set_rollout(KEY, 50).version
        second = set_value("gateway", "adyen").version
    undo_transaction(first or 0)
    assert set(undone()) == {first, second}


def test_events_that_were_undone_together_are_undone() -> None:
    bob = User.objects.create(username="bob")
    versions = [set_rollout(KEY, 50).version, add_allowed_users(KEY, bob).version]
    untouched = update(KEY, {"description": "One"}).version
    undo_events([version or 0 for version in versions])
    assert set(undone()) == {*versions}
    assert untouched not in undone()


def test_deletion_that_was_undone_is_undone() -> None:
    version = delete(KEY).version
    undo_events([version or 0])
    assert list(undone()) == [version]


@pytest.mark.parametrize("stored", ["5", '["a"]', "[[1]]", "[[null, 2]]", '[{"a": 1}]'])
def test_other_json_of_sql_undoes_nothing(stored: str) -> None:
    version = set_rollout(KEY, 50).version
    rows(f"UPDATE flagstaff_change SET undoes = '{stored}'")
    assert undone() == {}
    assert flag_history(KEY)[0].version == version


OVERWRITTEN: dict[str, tuple[Callable[[], object], bool]] = {
    "to another value": (lambda: set_rollout(KEY, 75), True),
    "to the value before": (lambda: set_rollout(KEY, 25), False),
    "another field": (lambda: update(KEY, {"description": "One"}), False),
    "and back": (lambda: [set_rollout(KEY, 75), set_rollout(KEY, 50)], False),
}


@pytest.mark.parametrize(("change", "expected"), OVERWRITTEN.values(), ids=OVERWRITTEN)
def test_field_that_was_changed_again_prevents_an_undo(
    change: Callable[[], object], *, expected: bool
) -> None:
    version = set_rollout(KEY, 50).version
    change()
    assert (version in changed_again(recent_events())) is expected
    [result] = preview_undo_events([version or 0])
    assert (result.error is not None) is expected


def test_changed_creation_cannot_be_undone() -> None:
    version = create("banner").version
    assert changed_again(recent_events()) == set()
    set_rollout("banner", 5)
    assert changed_again(recent_events()) == {version}


@pytest.mark.parametrize("text", ["x", " ", "[]", "[[1, 2],]", "[[01, 2]]", "\\u0000", "[[1, 2]"])
def test_parameter_that_is_no_range_is_ignored_and_the_change_is_recorded(text: str) -> None:
    with transaction.atomic():
        rows("SELECT set_config('flagstaff.undoes', %s, true)", text)
        rows("UPDATE flagstaff_featureflag SET description = 'by SQL'")
    newest = Change.objects.latest("id")
    assert (newest.action, newest.undoes) == ("update", None)
