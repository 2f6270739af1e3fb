"""Changes in waffle and in flagstaff at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from waffle.models import Flag, Switch

from flagstaff import changes
from flagstaff._attribution.writes import acting_as
from flagstaff.compat.mirrored import WaffleMirrorError
from flagstaff.exceptions import ConflictError
from flagstaff.models import Change, FeatureFlag
from tests.support.concurrency import in_threads, run_during
from tests.support.mirrored_rows import allowed, flag_of, is_on, new_flag, new_switch, served
from tests.support.sql import rows

pytestmark = pytest.mark.django_db(transaction=True)

_NAMES = tuple("abcdefgh")
# Of each of the two admins.
_CHANGES = 500


def saved(name: str, /, **columns: Any) -> None:
    """Changes a flag of waffle as a form does: reads it, and saves all columns."""
    row = Flag.objects.get(name=name)
    for column, value in columns.items():
        setattr(row, column, value)
    row.save()


def test_kill_here_survives_a_save_in_waffle_that_waits_for_it() -> None:
    new_flag("checkout", percent="20")
    run_during(lambda: changes.disable("checkout"), lambda: saved("checkout", percent=40))
    flag = flag_of("checkout")
    assert (flag.enabled, flag.rollout_percent) == (False, 40)


def test_kill_in_waffle_survives_a_change_here_that_waits_for_it() -> None:
    new_flag("checkout", everyone=True)
    run_during(
        lambda: saved("checkout", everyone=False), lambda: changes.set_rollout("checkout", 5)
    )
    flag = flag_of("checkout")
    assert (flag.enabled, flag.rollout_percent) == (False, 5)


def test_users_that_two_transactions_add_are_both_written(alice: User, bob: User) -> None:
    row = new_flag("checkout")
    run_during(lambda: row.users.add(alice), lambda: row.users.add(bob))
    assert allowed("checkout") == {"alice", "bob"}


def test_user_is_added_while_the_row_is_saved(alice: User) -> None:
    row = new_flag("checkout", percent="20")
    run_during(lambda: row.users.add(alice), lambda: saved("checkout", percent=40))
    assert (allowed("checkout"), flag_of("checkout").rollout_percent) == ({"alice"}, 40)


def test_rename_waits_for_a_kill_here() -> None:
    new_flag("checkout", everyone=True)
    run_during(lambda: changes.disable("checkout"), lambda: saved("checkout", name="cart"))
    assert (is_on("cart"), is_on("checkout")) == (False, False)


def test_opposite_orders_end_with_an_error_in_waffle_that_can_be_retried(settings: Any) -> None:
    for name in "ab":
        new_flag(name, everyone=True)
    served(settings, "*")
    both_have_one = Barrier(2)
    failures: list[str] = []

    def in_waffle() -> None:
        rows("SET lock_timeout = '200ms'")
        try:
            with transaction.atomic():
                saved("a", everyone=False)
                both_have_one.wait()
                saved("b", everyone=False)
        except WaffleMirrorError as error:
            failures.append(str(error))
            saved("a", everyone=False)
            saved("b", everyone=False)

    def here() -> None:
        with transaction.atomic():
            changes.disable("b")
            both_have_one.wait()
            changes.disable("a")

    in_threads(in_waffle, here)
    assert [text.endswith("save it again") for text in failures] == [True]
    assert not FeatureFlag.objects.filter(enabled=True).exists()
    assert set(Flag.objects.values_list("everyone", flat=True)) == {False}


@pytest.mark.thorough
def test_two_saves_in_waffle_and_a_kill_here_in_any_order_leave_no_flag_on() -> None:
    for name in "abc":
        new_switch(name, active=True)
    start = Barrier(3)

    def in_waffle(*names: str) -> Callable[[], None]:
        def save_all() -> None:
            with transaction.atomic():
                for name in names:
                    row = Switch.objects.get(name=name)
                    row.active = False
                    row.save()

        return lambda: _retried(save_all, start)

    def here() -> None:
        with transaction.atomic():
            for name in "bca":
                changes.disable(name)

    in_threads(in_waffle(*"abc"), in_waffle(*"cab"), lambda: _retried(here, start))
    assert not FeatureFlag.objects.filter(enabled=True).exists()
    assert not Switch.objects.filter(active=True).exists()


def _retried(work: Callable[[], None], start: Barrier) -> None:
    start.wait()
    while not _is_done(work):
        pass


def _is_done(work: Callable[[], None]) -> bool:
    try:
        work()
    except OperationalError:
        return False
    return True


class _Admin:
    """One of two admins, who makes random changes; each kill is checked before its commit."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.done: Counter[str] = Counter()

    def work(self) -> None:
        operations = [name for name in dir(self) if name.startswith("do_")]
        for _ in range(_CHANGES):
            name = self.random.choice(operations)
            # The same random choices again after a lock timeout.
            state = self.random.getstate()
            while True:
                self.random.setstate(state)
                try:
                    getattr(self, name)()
                except (OperationalError, WaffleMirrorError) as error:
                    self.done[f"retry of {name} {type(error).__name__}"] += 1
                else:
                    break
            self.done[name] += 1

    def name(self) -> str:
        return self.random.choice(_NAMES)

    def names(self) -> list[str]:
        return self.random.sample(_NAMES, self.random.randint(2, 5))

    @staticmethod
    def kill(names: list[str], kill: Callable[[str], object]) -> None:
        with acting_as("admin", reason="kill"):
            for name in names:
                kill(name)
            assert not FeatureFlag.objects.filter(key__in=names, enabled=True).exists()


class _AdminOfWaffle(_Admin):
    def do_kill(self) -> None:
        self.kill([self.name()], lambda name: saved(name, everyone=False))

    def do_kill_several(self) -> None:
        self.kill(self.names(), lambda name: saved(name, everyone=False))

    def do_turn_on(self) -> None:
        with acting_as("admin", reason="on"):
            saved(self.name(), everyone=self.random.choice((True, None)))

    def do_turn_several_on(self) -> None:
        with acting_as("admin", reason="on"):
            for name in self.names():
                saved(name, everyone=True)

    def do_change_other_columns(self) -> None:
        with acting_as("admin", reason="other"):
            number = self.random.randint(1, 99)
            saved(self.name(), percent=number, note=f"since {number}")

    def do_change_users(self) -> None:
        with acting_as("admin", reason="other"):
            user: Any = User.objects.get(username=self.random.choice(("alice", "bob")))
            flags = list(Flag.objects.filter(name__in=self.names()))
            self.random.shuffle(flags)
            self.random.choice((user.flag_set.add, user.flag_set.remove))(*flags)
            if self.random.random() < 0.2:
                user.flag_set.clear()
            else:
                flags[0].users.add(user)


class _AdminHere(_Admin):
    def do_kill(self) -> None:
        self.kill([self.name()], changes.disable)

    def do_kill_several(self) -> None:
        self.kill(sorted(self.names()), changes.disable)

    def do_turn_on(self) -> None:
        with acting_as("admin", reason="on"):
            changes.enable(self.name())

    def do_roll_out(self) -> None:
        with acting_as("admin", reason="other"):
            changes.set_rollout(self.name(), self.random.randint(0, 100))

    def do_undo(self) -> None:
        with acting_as("admin", reason="undo"):
            try:
                changes.undo(self.name())
            except ConflictError:
                self.done["refused undo"] += 1

    def do_add_user(self) -> None:
        with acting_as("admin", reason="other"):
            changes.add_allowed_users(self.name(), User.objects.get(username="alice"))


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_two_admins_lose_no_kill(
    settings: Any, alice: User, bob: User, record_property: Callable[[str, object], None]
) -> None:
    served(settings, "*")
    for name in _NAMES:
        new_flag(name, everyone=True)
        # An undo of the creation would delete the flag.
        changes.set_rollout(name, 50)
    waffle, here = _AdminOfWaffle(1), _AdminHere(2)
    in_threads(waffle.work, here.work)
    for admin in (waffle, here):
        record_property(type(admin).__name__, dict(admin.done))
        print(type(admin).__name__, sorted(admin.done.items()))  # noqa: T201
    # Only a change that was meant to turn a flag on has done so.
    turned_on = Change.objects.filter(
        relation="f", action="update", old__enabled=False, new__enabled=True
    )
    assert turned_on.count() > 20
    assert set(turned_on.values_list("reason", flat=True)) <= {"on", "undo"}
    assert sum(_of_both(waffle, here, "do_kill", "do_kill_several")) > 100
    for name in _NAMES:
        row = Flag.objects.get(name=name)
        assert row.everyone is not False or not is_on(name) or _turned_on_last(name)


def _of_both(waffle: _Admin, here: _Admin, *names: str) -> list[int]:
    return [admin.done[name] for admin in (waffle, here) for name in names]


def _turned_on_last(key: str) -> bool:
    """Whether a person here has turned a flag on after its last kill in waffle."""
    newest = Change.objects.filter(relation="f", key=key, old__enabled=False, new__enabled=True)
    return newest.order_by("-id")[0].source == "code"
