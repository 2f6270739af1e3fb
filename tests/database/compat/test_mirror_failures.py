"""What happens if a change in waffle cannot be written to the flag."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import Client
from waffle.models import Flag, Switch

from flagstaff import changes
from flagstaff._tables.user_lookup import UserTable
from flagstaff.compat import mirrored_row
from flagstaff.compat import rows as rows_of_waffle
from flagstaff.compat.converting import Converted, Status
from flagstaff.compat.mirrored import WaffleMirrorError
from flagstaff.compat.models import WaffleRow
from flagstaff.compat.rows import SourceRow
from flagstaff.models import FeatureFlag
from tests.support.mirrored_rows import (
    allowed,
    flag_of,
    is_on,
    new_flag,
    new_switch,
    problem,
    served,
)
from tests.support.sql import rows

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # The admin of waffle 5.0.0 on the newest Django.
    pytest.mark.filterwarnings("ignore:Overriding get_actions"),
]


@pytest.fixture
def only_on() -> Iterator[None]:
    """A database that refuses to turn a flag off."""
    rows("ALTER TABLE flagstaff_featureflag ADD CONSTRAINT only_on CHECK (enabled)")
    yield
    rows("ALTER TABLE flagstaff_featureflag DROP CONSTRAINT only_on")


def while_locked(key: str, work: Callable[[], Any], limit: str = "50ms") -> BaseException | None:
    """Runs work in a thread while a transaction changes the flag, and returns its error."""

    def run() -> None:
        try:
            rows(f"SET lock_timeout = '{limit}'")
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        changes.update(key, {"owner": "payments"})
        return pool.submit(run).exception()


def kill(row: Any) -> None:
    """Turns a row of waffle off."""
    if isinstance(row, Switch):
        row.active = False
    else:
        row.everyone = False
    row.save()


def test_locked_flag_does_not_stop_waffle(caplog: Any) -> None:
    row = new_switch("search", active=True)
    with caplog.at_level(logging.ERROR, "flagstaff"):
        assert while_locked("search", lambda: kill(row)) is None
    assert not Switch.objects.get().active
    assert is_on("search")
    assert problem("search") == "another transaction is changing the flag"
    assert "waffle's switch 'search' could not be written to the flag 'search'" in caplog.text


def test_next_save_writes_what_could_not_be_written() -> None:
    row = new_flag("checkout", percent="20")
    row.percent = 40
    assert while_locked("checkout", row.save) is None
    row.note = "half of it"
    row.save()
    flag = flag_of("checkout")
    assert (flag.rollout_percent, flag.description) == (40, "half of it")
    assert not problem("checkout")


def test_locked_flag_that_is_served_fails_the_save(settings: Any) -> None:
    row = new_switch("search", active=True)
    served(settings, "search")
    error = while_locked("search", lambda: kill(row))
    assert isinstance(error, WaffleMirrorError)
    assert str(error) == (
        "the change of switch 'search' was not saved: its flag 'search' is served by flagstaff, "
        "and could not be changed: another transaction is changing the flag; save it again"
    )
    assert Switch.objects.get().active
    assert not problem("search")


def test_save_waits_at_most_two_seconds_for_a_lock(settings: Any) -> None:
    row = new_switch("search", active=True)
    served(settings, "search")
    assert isinstance(while_locked("search", lambda: kill(row), limit="1h"), WaffleMirrorError)


def test_limit_of_the_project_is_restored() -> None:
    row = new_switch("search", active=True)
    with transaction.atomic():
        rows("SET LOCAL lock_timeout = '1h'")
        kill(row)
        assert rows("SHOW lock_timeout") == [("1h",)]
    assert rows("SHOW lock_timeout") == [("0",)]


def test_limit_is_restored_after_a_failure() -> None:
    changes.create("search")
    with transaction.atomic():
        new_switch("search", active=True)
        assert rows("SHOW lock_timeout") == [("0",)]
    assert problem("search")


@pytest.mark.usefixtures("only_on")
def test_refused_kill_says_how_to_turn_the_flag_off(settings: Any) -> None:
    row = new_switch("search", active=True)
    served(settings, "sea*")
    with pytest.raises(WaffleMirrorError, match=r'run "manage.py flags kill search"$'):
        kill(row)
    assert Switch.objects.get().active


@pytest.mark.usefixtures("only_on")
def test_caught_error_leaves_the_outer_transaction_usable(settings: Any) -> None:
    row = new_switch("search", active=True)
    served(settings, "search")
    with transaction.atomic():
        with pytest.raises(WaffleMirrorError):
            kill(row)
        new_switch("chat", active=True)
    assert list(Switch.objects.order_by("name").values_list("name", "active")) == [
        ("chat", True),
        ("search", True),
    ]


@pytest.mark.usefixtures("only_on")
def test_refused_deletion_keeps_the_row_of_a_served_flag(settings: Any) -> None:
    row = new_flag("checkout", everyone=True)
    changes.update("checkout", {"owner": "payments"})
    served(settings, "checkout")
    with pytest.raises(WaffleMirrorError):
        row.delete()
    assert Flag.objects.exists()


def test_served_flag_of_another_origin_fails_the_save(settings: Any) -> None:
    served(settings, "search")
    changes.create("search", enabled=True)
    with pytest.raises(WaffleMirrorError, match="does not come from this switch"):
        new_switch("search", active=False)
    assert not Switch.objects.exists()


def test_users_of_a_served_flag_are_rolled_back(settings: Any, alice: User) -> None:
    changes.create("checkout")
    row = new_flag("checkout")
    served(settings, "checkout")
    with pytest.raises(WaffleMirrorError):
        row.users.add(alice)
    assert not row.users.exists()


def test_one_served_flag_of_several_fails_the_change(settings: Any, alice: Any) -> None:
    changes.create("checkout")
    flags = [new_flag("checkout"), new_flag("search")]
    served(settings, "checkout")
    with pytest.raises(WaffleMirrorError, match="'checkout'"):
        alice.flag_set.add(*flags)
    assert not alice.flag_set.exists()
    assert allowed("search") == set()


def test_flags_that_are_not_served_are_written_beside_one_that_fails(alice: Any) -> None:
    changes.create("checkout")
    alice.flag_set.add(new_flag("checkout"), new_flag("search"))
    assert (allowed("checkout"), allowed("search")) == (set(), {"alice"})
    assert problem("checkout")


@pytest.mark.usefixtures("only_on")
def test_request_in_a_transaction_saves_nothing_of_a_failed_kill(
    admin_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    flags = [new_flag("checkout", everyone=True), new_flag("search", everyone=True)]
    served(settings, "checkout")
    data = {"action": "disable_for_all", "_selected_action": [row.pk for row in flags]}
    with pytest.raises(WaffleMirrorError):
        admin_client.post("/admin/waffle/flag/", data)
    assert not LogEntry.objects.exists()
    assert set(Flag.objects.values_list("everyone", flat=True)) == {True}
    assert FeatureFlag.objects.filter(enabled=True).count() == 2


def test_error_of_the_projects_own_code_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    row = new_switch("search", active=True)

    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("out of order")

    monkeypatch.setattr(FeatureFlag, "save", fail)
    kill(row)
    assert problem("search") == "ZeroDivisionError: out of order"
    assert not Switch.objects.get().active


def test_user_who_is_missing_in_the_database_of_the_flags_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, alice: User, bob: User
) -> None:
    row = new_flag("checkout")
    row.users.add(alice)
    existing = UserTable.existing
    monkeypatch.setattr(UserTable, "existing", lambda table, pks: existing(table, pks) - {bob.pk})
    row.users.add(bob)
    text = f"no user in the database of the flags has the primary key {bob.pk}"
    assert (allowed("checkout"), problem("checkout")) == ({"alice"}, text)
    monkeypatch.undo()
    row.save()
    assert (allowed("checkout"), problem("checkout")) == ({"alice", "bob"}, "")


def test_problem_row_is_no_proof_that_the_flag_is_from_waffle() -> None:
    changes.create("search", enabled=True)
    row = new_switch("search", active=False)
    kill(row)
    assert is_on("search")
    assert not WaffleRow.objects.get().has_written("search")


def test_row_that_cannot_be_a_flag_any_more_can_be_turned_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kills, changed = new_flag("checkout", everyone=True), new_flag("search", everyone=True)
    monkeypatch.setattr(mirrored_row, "convert", refuse)
    kill(kills)
    changed.everyone = None
    changed.save()
    assert (is_on("checkout"), problem("checkout")) == (False, "it needs a field")
    assert (is_on("search"), problem("search")) == (True, "it needs a field")


def test_rules_that_cannot_be_written_do_not_stop_a_kill(settings: Any) -> None:
    row = new_flag("checkout", languages="de")
    row.languages = ",".join(map(str, range(1_001)))
    row.save()
    assert "1,001 values are too many" in problem("checkout")
    served(settings, "checkout")
    kill(row)
    assert (is_on("checkout"), flag_of("checkout").rules[0]["name"]) == (False, "languages")
    assert "1,001 values are too many" in problem("checkout")
    row.everyone = None
    with pytest.raises(WaffleMirrorError, match="1,001 values are too many"):
        row.save()
    row.languages = "de,fr"
    row.save()
    assert (is_on("checkout"), problem("checkout")) == (True, "")


def test_row_that_waffle_goes_on_evaluating_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_of_waffle, "overridden_methods", lambda _model: ("is_active",))
    new_flag("checkout", everyone=False)
    assert not FeatureFlag.objects.exists()
    assert not WaffleRow.objects.exists()


def refuse(row: SourceRow) -> Converted:
    """Converts no row."""
    return Converted(row, row.name, Status.REFUSED, ("it needs a field",))
