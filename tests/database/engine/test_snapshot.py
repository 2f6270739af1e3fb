"""`snapshot()` and `all_flags()`, from memory and from the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection, transaction
from django.utils.functional import SimpleLazyObject

from flagstaff import _core, all_flags, explain, flag_enabled, get_value, snapshot
from flagstaff._engine import lifecycle
from flagstaff._engine.explain import Explanation, explanation_of
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag, override_value
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db
# The engine has its own connection and sees committed rows only.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

Load = Callable[[], None]

ROLLOUTS = {"half": 50, "off": 100, "all": 100, "none": 0}


@pytest.fixture
def alice() -> User:
    """The allowed user of "listed", inside the rollout of "half"."""
    return User.objects.create(pk=42, username="alice")


@pytest.fixture
def flags(load: Load, alice: User) -> None:
    for key, percent in ROLLOUTS.items():
        FeatureFlag.objects.create(key=key, enabled=key != "off", rollout_percent=percent)
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    KeyValueStore.objects.create(key="cities", value=["Rome"])
    load()


def lazy(user: object, reads: list[object]) -> SimpleLazyObject[Any]:
    """Returns a lazy user that records each read."""

    def read() -> object:
        reads.append(user)
        return user

    return SimpleLazyObject(read)


@pytest.mark.usefixtures("flags")
def test_all_flags_equal_single_evaluations(alice: User) -> None:
    for user in (alice, 42, "42", 1, 2, None, AnonymousUser(), User()):
        expected = {key: flag_enabled(key, user) for key in [*ROLLOUTS, "listed"]}
        assert all_flags(user) == snapshot().all_flags(user) == expected
    assert all_flags(alice)["listed"] is True
    assert all_flags() == {**dict.fromkeys([*ROLLOUTS, "listed"], False), "all": True}


@pytest.mark.usefixtures("flags")
def test_all_flags_are_sorted_by_key(alice: User) -> None:
    assert list(all_flags(alice)) == ["all", "half", "listed", "none", "off"]


@pytest.mark.usefixtures("flags")
def test_all_flags_with_overrides_are_sorted_by_key() -> None:
    with override_flag("aaa", True), override_flag("zebra", False):
        keys = list(all_flags())
    assert keys == sorted(keys)
    assert keys[0] == "aaa"


@pytest.mark.usefixtures("flags")
def test_all_flags_read_user_once(alice: User) -> None:
    reads: list[object] = []
    assert all_flags(lazy(alice, reads)) == all_flags(alice)
    assert reads == [alice]


def test_all_flags_do_not_read_user_if_no_flag_depends_on_it(load: Load) -> None:
    FeatureFlag.objects.create(key="all", enabled=True, rollout_percent=100)
    FeatureFlag.objects.create(key="off", rollout_percent=50)
    load()
    user: Any = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    assert all_flags(user) == {"all": True, "off": False}


@pytest.mark.usefixtures("flags")
def test_all_flags_include_overrides(alice: User) -> None:
    with override_flag("listed", False), override_flag("banner", True):
        results = all_flags(alice)
    assert (results["listed"], results["banner"]) == (False, True)
    assert all_flags(alice)["listed"] is True
    assert "banner" not in all_flags(alice)


@pytest.mark.usefixtures("flags")
def test_user_of_wrong_type_raises_type_error() -> None:
    for evaluate_all in (all_flags, snapshot().all_flags):
        with pytest.raises(TypeError):
            evaluate_all(4.2)  # type: ignore[arg-type]


@pytest.mark.usefixtures("flags")
def test_snapshot_does_not_change_with_rows(load: Load, alice: User) -> None:
    held, before = snapshot(), all_flags(alice)
    FeatureFlag.objects.exclude(key="all").delete()
    FeatureFlag.objects.update(enabled=False)
    KeyValueStore.objects.update(value=["Oslo"])
    load()
    assert held.all_flags(alice) == before
    assert held.flag_enabled("all") is True
    assert held.get_value("cities") == ["Rome"]
    explanation = explanation_of("listed", held.explain("listed", alice))
    assert explanation == Explanation("listed", True, "TARGETING_MATCH", None, 37, 0, "user")
    assert all_flags(alice) == {"all": False}
    assert get_value("cities") == ["Oslo"]


@pytest.mark.usefixtures("flags")
def test_snapshot_returns_same_results_as_functions(alice: User) -> None:
    held = snapshot()
    for key in [*ROLLOUTS, "listed", "missing"]:
        for user in (alice, 1, None):
            explanation = explain(key, user)
            assert explanation_of(key, held.explain(key, user)) == explanation
            assert held.flag_enabled(key, user) is explanation.value
    assert held.flag_enabled("missing", default=True) is True
    assert held.get_value("missing", "default") == "default"
    assert held.get_value("missing") is None


@pytest.mark.usefixtures("flags")
def test_snapshot_returns_fresh_values() -> None:
    held = snapshot()
    held.get_value("cities").append("Oslo")
    assert held.get_value("cities") == ["Rome"]


@pytest.mark.usefixtures("flags")
def test_snapshot_knows_flags_that_depend_on_user() -> None:
    held = snapshot()
    keys = [*ROLLOUTS, "listed", "missing"]
    assert [key for key in keys if held.depends_on_user(key)] == ["half", "listed"]


@pytest.mark.usefixtures("flags")
def test_snapshot_keeps_overrides() -> None:
    with override_flag("all", False), override_value("cities", ["Oslo"]):
        held = snapshot()
    assert held.flag_enabled("all") is False
    assert held.depends_on_user("all") is False
    assert held.get_value("cities") == ["Oslo"]
    assert flag_enabled("all") is True


@pytest.mark.usefixtures("flags")
def test_snapshot_does_not_read_user_if_result_does_not_depend_on_it(alice: User) -> None:
    reads: list[object] = []
    held = snapshot()
    for key in ("off", "all", "none", "missing"):
        held.flag_enabled(key, lazy(alice, reads))
    assert reads == []
    assert held.flag_enabled("listed", lazy(alice, reads)) is True
    assert reads == [alice]


@pytest.mark.usefixtures("flags")
def test_snapshot_in_memory_has_change_token(request: pytest.FixtureRequest) -> None:
    held = snapshot()
    assert held.ready is True
    in_memory = request.node.callspec.params["load"] == "memory"
    assert (held.token is not None) is in_memory


def test_snapshot_with_unknown_key_raises(load: Load, settings: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    in_memory = _core.status_report()["mode"] != "direct"
    lifecycle.close()
    try:
        _core.start(in_memory=in_memory)
        held = snapshot()
        with pytest.raises(UnknownFlagError):
            held.flag_enabled("missing")
        with pytest.raises(UnknownValueError):
            held.get_value("missing")
    finally:
        lifecycle.close()


def test_snapshot_in_test_contains_open_transaction(alice: User) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
        held = snapshot()
        raise ZeroDivisionError
    assert held.all_flags() == {"banner": True}
    assert all_flags() == {}


def test_snapshot_and_all_flags_do_not_count_as_queries(
    alice: User, django_assert_num_queries: Any
) -> None:
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    with django_assert_num_queries(0):
        assert all_flags(alice) == {"listed": True}
        assert snapshot().flag_enabled("listed", alice) is True


def test_missing_table_does_not_break_transaction(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE flagstaff_keyvaluestore")
    assert (snapshot().ready, all_flags()) == (False, {})
    assert snapshot().flag_enabled("banner", default=True) is True
    assert User.objects.count() == 0


def test_row_with_null_is_ignored(db: None) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_featureflag ALTER enabled DROP NOT NULL")
        cursor.execute("INSERT INTO flagstaff_featureflag (key, enabled) VALUES ('broken', NULL)")
    assert all_flags() == {"banner": True}


BEFORE_THE_FIRST_LOAD = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
os.environ["DATABASE_URL"] = "postgres://user@127.0.0.1:1/missing"
import logging
logging.getLogger("flagstaff").addHandler(logging.NullHandler())
import django
django.setup()
from django.conf import settings
settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 0}
from flagstaff import all_flags, snapshot
from flagstaff.testing import override_flag
held = snapshot()
print(held.ready, held.token, held.all_flags(1), all_flags(1))
print(held.flag_enabled("banner", 1, default=True), held.get_value("gateway", "stripe"))
print(held.explain("banner", 1)["error_code"], held.depends_on_user("banner"))
with override_flag("banner", True):
    print(held.all_flags(1), all_flags(1), snapshot().flag_enabled("banner"))
"""


def test_snapshot_before_first_load_is_empty(run_isolated: RunIsolated) -> None:
    assert run_isolated(BEFORE_THE_FIRST_LOAD).splitlines() == [
        "False None {} {}",
        "True stripe",
        "PROVIDER_NOT_READY False",
        "{} {'banner': True} True",
    ]
