"""`snapshot()` and `all_flags()`: all of one moment, from memory and from the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.utils.functional import SimpleLazyObject

from flagstaff import _core, all_flags, explain, flag_enabled, get_value, refresh, snapshot
from flagstaff._engine import lifecycle
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db
# The engine has a connection of its own and sees what is committed.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

Ready = Callable[[], None]

LIVE = {"ramp": 50, "off": 100, "everyone": 100, "nobody": 0}


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def answered_from(request: pytest.FixtureRequest, db: None) -> Iterator[Ready]:
    """Both ways to an answer. Call it when the rows are made."""
    if request.param == "database":
        yield lambda: None
        return
    with live_engine():
        yield refresh


@pytest.fixture
def alice() -> User:
    """A user who is on the allow-list of one flag, and below the ramp of another."""
    return User.objects.create(pk=42, username="alice")


@pytest.fixture
def flags(answered_from: Ready, alice: User) -> None:
    for key, percent in LIVE.items():
        FeatureFlag.objects.create(key=key, enabled=key != "off", rollout_percent=percent)
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    KeyValueStore.objects.create(key="cities", value=["Rome"])
    answered_from()


def read_by(user: object, seen: list[object]) -> SimpleLazyObject[Any]:
    def look() -> object:
        seen.append(user)
        return user

    return SimpleLazyObject(look)


@pytest.mark.usefixtures("flags")
def test_all_flags_have_the_answers_of_single_questions(alice: User) -> None:
    for user in (alice, 42, "42", 1, 2, None, AnonymousUser(), User()):
        expected = {key: flag_enabled(key, user) for key in [*LIVE, "listed"]}
        assert all_flags(user) == snapshot().all_flags(user) == expected
    assert all_flags(alice)["listed"] is True
    assert all_flags() == {**dict.fromkeys([*LIVE, "listed"], False), "everyone": True}


@pytest.mark.usefixtures("flags")
def test_all_flags_are_sorted_by_key(alice: User) -> None:
    assert list(all_flags(alice)) == ["everyone", "listed", "nobody", "off", "ramp"]


@pytest.mark.usefixtures("flags")
def test_all_flags_are_sorted_with_those_that_a_test_has_set() -> None:
    with override_flag("banner", True), override_flag("zebra", False):
        keys = list(all_flags())
    assert keys == sorted(keys)
    assert keys[0] == "banner"


@pytest.mark.usefixtures("flags")
def test_user_is_read_once_for_all_flags(alice: User) -> None:
    seen: list[object] = []
    assert all_flags(read_by(alice, seen)) == all_flags(alice)
    assert seen == [alice]


def test_user_is_not_read_where_no_flag_depends_on_it(answered_from: Ready) -> None:
    FeatureFlag.objects.create(key="everyone", enabled=True, rollout_percent=100)
    FeatureFlag.objects.create(key="off", rollout_percent=50)
    answered_from()
    nobody: Any = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert all_flags(nobody) == {"everyone": True, "off": False}


@pytest.mark.usefixtures("flags")
def test_overrides_are_among_all_flags(alice: User) -> None:
    with override_flag("listed", False), override_flag("banner", True):
        answers = all_flags(alice)
    assert (answers["listed"], answers["banner"]) == (False, True)
    assert all_flags(alice)["listed"] is True
    assert "banner" not in all_flags(alice)


@pytest.mark.usefixtures("flags")
def test_user_of_another_type_is_refused() -> None:
    for ask in (all_flags, snapshot().all_flags):
        with pytest.raises(TypeError):
            ask(4.2)


@pytest.mark.usefixtures("flags")
def test_snapshot_keeps_its_moment(answered_from: Ready, alice: User) -> None:
    kept, before = snapshot(), all_flags(alice)
    FeatureFlag.objects.exclude(key="everyone").delete()
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value=["Oslo"])
    answered_from()
    assert kept.all_flags(alice) == before
    assert kept.flag_enabled("everyone") is True
    assert kept.get_value("cities") == ["Rome"]
    assert kept.explain("listed", alice) == (True, "TARGETING_MATCH", None, 37, 0)
    assert all_flags(alice) == {"everyone": False}
    assert get_value("cities") == ["Oslo"]


@pytest.mark.usefixtures("flags")
def test_snapshot_answers_as_the_functions_do(alice: User) -> None:
    kept = snapshot()
    for key in [*LIVE, "listed", "missing"]:
        for user in (alice, 1, None):
            told = explain(key, user)
            assert kept.explain(key, user) == tuple(vars(told).values())[1:]
            assert kept.flag_enabled(key, user) is told.value
    assert kept.flag_enabled("missing", default=True) is True
    assert kept.get_value("missing", "default") == "default"
    assert kept.get_value("missing") is None


@pytest.mark.usefixtures("flags")
def test_snapshot_gives_fresh_values() -> None:
    kept = snapshot()
    kept.get_value("cities").append("Oslo")
    assert kept.get_value("cities") == ["Rome"]


@pytest.mark.usefixtures("flags")
def test_snapshot_says_which_flags_depend_on_the_user() -> None:
    kept = snapshot()
    keys = [*LIVE, "listed", "missing"]
    assert [key for key in keys if kept.depends_on_user(key)] == ["ramp", "listed"]


@pytest.mark.usefixtures("flags")
def test_snapshot_keeps_what_a_test_has_set() -> None:
    with override_flag("everyone", False), override_value("cities", ["Oslo"]):
        kept = snapshot()
    assert kept.flag_enabled("everyone") is False
    assert kept.depends_on_user("everyone") is False
    assert kept.get_value("cities") == ["Oslo"]
    assert flag_enabled("everyone") is True


@pytest.mark.usefixtures("flags")
def test_snapshot_leaves_the_user_alone_where_it_does_not_matter(alice: User) -> None:
    seen: list[object] = []
    kept = snapshot()
    for key in ("off", "everyone", "nobody", "missing"):
        kept.flag_enabled(key, read_by(alice, seen))
    assert seen == []
    assert kept.flag_enabled("listed", read_by(alice, seen)) is True
    assert seen == [alice]


@pytest.mark.usefixtures("flags")
def test_snapshot_in_memory_names_its_token(request: pytest.FixtureRequest) -> None:
    kept = snapshot()
    assert kept.ready is True
    in_memory = request.node.callspec.params["answered_from"] == "memory"
    assert (kept.token is not None) is in_memory


def test_unknown_keys_are_told_of(answered_from: Ready, settings: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    in_memory = _core.report()["mode"] != "direct"
    lifecycle.close()
    try:
        lifecycle.begin(in_memory=in_memory)
        kept = snapshot()
        with pytest.raises(UnknownFlagError):
            kept.flag_enabled("missing")
        with pytest.raises(UnknownValueError):
            kept.get_value("missing")
    finally:
        lifecycle.close()


def test_snapshot_is_of_the_open_transaction_in_a_test(alice: User) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
        kept = snapshot()
        raise ZeroDivisionError
    assert kept.all_flags() == {"banner": True}
    assert all_flags() == {}


def test_questions_at_once_are_not_counted_as_queries(
    alice: User, django_assert_num_queries: Any
) -> None:
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    with django_assert_num_queries(0):
        assert all_flags(alice) == {"listed": True}
        assert snapshot().flag_enabled("listed", alice) is True


def test_missing_table_leaves_the_transaction_whole(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_keyvaluestore")
    assert (snapshot().ready, all_flags()) == (False, {})
    assert snapshot().flag_enabled("banner", default=True) is True
    assert User.objects.count() == 0


def test_row_that_cannot_be_evaluated_is_left_out(db: None) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_featureflag ALTER enabled DROP NOT NULL")
        cursor.execute("INSERT INTO flagstaff_featureflag (key, enabled) VALUES ('broken', NULL)")
    assert all_flags() == {"banner": True}


BEFORE_THE_FIRST_LOAD = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ["DATABASE_URL"] = "postgres://nobody@127.0.0.1:1/nowhere"
import logging
logging.getLogger("flagstaff").addHandler(logging.NullHandler())
import django
django.setup()
from django.conf import settings
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 0}
from flagstaff import all_flags, snapshot
from flagstaff.testing import override_flag
kept = snapshot()
print(kept.ready, kept.token, kept.all_flags(1), all_flags(1))
print(kept.flag_enabled("banner", 1, default=True), kept.get_value("gateway", "stripe"))
print(kept.explain("banner", 1), kept.depends_on_user("banner"))
with override_flag("banner", True):
    print(kept.all_flags(1), all_flags(1), snapshot().flag_enabled("banner"))
"""


def test_before_the_first_load_there_are_no_flags(run_isolated: RunIsolated) -> None:
    assert run_isolated(BEFORE_THE_FIRST_LOAD).splitlines() == [
        "False None {} {}",
        "True stripe",
        "(False, 'ERROR', 'PROVIDER_NOT_READY', None, None) False",
        "{} {'banner': True} True",
    ]
