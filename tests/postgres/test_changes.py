"""What a person changes is locked, checked, and written where it differs."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext, isolate_apps

from flagstaff.changes import Changed, create, delete, disable, enable, set_rollout, set_value, undo
from flagstaff.conf import Conf
from flagstaff.exceptions import (
    FlagstaffError,
    InvalidChangeError,
    UnknownFlagError,
    UnknownValueError,
)
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.apps.stores.models import DecimalStore, TextStore
from tests.conftest import RunIsolated

pytestmark = pytest.mark.django_db


@pytest.fixture
def flag(db: None) -> FeatureFlag:
    return FeatureFlag.objects.create(key="new_checkout", rollout_percent=25)


@pytest.fixture
def gateway(db: None) -> KeyValueStore:
    return KeyValueStore.objects.create(key="payment_gateway", value="stripe")


@pytest.fixture
def queries() -> Iterator[CaptureQueriesContext]:
    with CaptureQueriesContext(connection) as queries:
        yield queries


def test_switch_turns_a_flag_on_and_leaves_the_rest(flag: FeatureFlag) -> None:
    changed = enable("new_checkout")
    assert changed == Changed("new_checkout", "enabled", old=False, new=True, written=True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 25)


def test_ramp_moves_the_rollout_and_leaves_the_switch(flag: FeatureFlag) -> None:
    changed = set_rollout("new_checkout", 50)
    assert changed == Changed("new_checkout", "rollout_percent", old=25, new=50, written=True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 50)


def test_set_value_replaces_the_value(gateway: KeyValueStore) -> None:
    changed = set_value("payment_gateway", {"name": "paypal", "fee": 0.5})
    assert (changed.old, changed.new) == ("stripe", {"name": "paypal", "fee": 0.5})
    gateway.refresh_from_db()
    assert gateway.value == {"name": "paypal", "fee": 0.5}


def test_what_a_change_did_cannot_be_altered(flag: FeatureFlag) -> None:
    with pytest.raises(FrozenInstanceError):
        enable("new_checkout").key = "other"  # type: ignore[misc]


def test_change_moves_the_time_of_the_last_change(flag: FeatureFlag) -> None:
    enable("new_checkout")
    before = flag.changed_at
    flag.refresh_from_db()
    assert flag.changed_at > before


def test_change_writes_no_other_column(flag: FeatureFlag, queries: CaptureQueriesContext) -> None:
    set_rollout("new_checkout", 50)
    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert update.count(" = ") == 3  # the rollout, the time, and the key of the row
    assert "description" not in update


def test_change_is_announced_as_any_save_is(flag: FeatureFlag) -> None:
    told: list[Any] = []

    def listen(instance: FeatureFlag, update_fields: Any, **kwargs: Any) -> None:
        told.append((instance.key, sorted(update_fields)))

    post_save.connect(listen, FeatureFlag)
    try:
        enable("new_checkout")
    finally:
        post_save.disconnect(listen, FeatureFlag)
    assert told == [("new_checkout", ["changed_at", "enabled"])]


@pytest.mark.usefixtures("flag", "gateway")
@pytest.mark.parametrize(
    "change",
    [
        lambda: enable("new_checkout"),
        lambda: set_rollout("new_checkout", 50),
        lambda: set_value("payment_gateway", {"b": [1], "a": None}),
    ],
    ids=["switch", "ramp", "set_value"],
)
def test_second_call_changes_nothing(change: Callable[[], Changed]) -> None:
    before = Change.objects.count()
    assert change().written is True
    with CaptureQueriesContext(connection) as queries:
        again = change()
    assert (again.written, again.old) == (False, again.new)
    assert not any(query["sql"].startswith("UPDATE") for query in queries)
    assert Change.objects.count() == before + 1


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ([0], [False])])
def test_values_that_python_takes_for_equal_are_told_apart(old: Any, new: Any) -> None:
    entry = KeyValueStore.objects.create(key="limit", value=old)
    assert set_value("limit", new).written is True
    entry.refresh_from_db()
    assert repr(entry.value) == repr(new)


def test_order_of_the_keys_is_no_change() -> None:
    KeyValueStore.objects.create(key="fees", value={"b": 2, "a": 1})
    assert set_value("fees", {"a": 1, "b": 2}).written is False


@pytest.mark.parametrize("percent", [-1, 101, 25.0, "25", True, None, Decimal(25)], ids=repr)
def test_percent_that_is_none_is_refused(flag: FeatureFlag, percent: Any) -> None:
    with pytest.raises(InvalidChangeError) as error:
        set_rollout("new_checkout", percent)
    expected = f"a rollout percent is a whole number from 0 to 100, not {percent!r}"
    assert str(error.value) == expected
    flag.refresh_from_db()
    assert flag.rollout_percent == 25


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1, 2}, "JSON cannot hold this value: Object of type set is not JSON serializable"),
        (float("nan"), "JSON cannot hold this value: Out of range float values"),
        ([float("inf")], "JSON cannot hold this value: Out of range float values"),
        (None, 'value cannot be null; write JSON, such as "stripe", 25 or []'),
    ],
    ids=repr,
)
def test_value_that_json_cannot_hold_is_refused(
    gateway: KeyValueStore, value: Any, why: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        set_value("payment_gateway", value)
    assert str(error.value).startswith(why)
    gateway.refresh_from_db()
    assert gateway.value == "stripe"


@pytest.mark.parametrize("secret", [True, False])
def test_refusal_of_the_database_tells_no_secret(secret: bool) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=secret)
    with pytest.raises(InvalidChangeError, match="the database refuses it: unsupported") as caught:
        set_value("token", "hunter3\0")
    told = "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert ("hunter3" in told) is not secret


def test_refusal_is_a_value_error_and_ours() -> None:
    assert issubclass(InvalidChangeError, ValueError)
    assert issubclass(InvalidChangeError, FlagstaffError)


@pytest.mark.usefixtures("flag", "gateway")
def test_unknown_key_is_told_with_the_nearest() -> None:
    FeatureFlag.objects.create(key="old_checkout")
    with pytest.raises(UnknownFlagError) as error:
        enable("new_chekout")
    assert str(error.value) == (
        "there is no flag 'new_chekout'; did you mean 'new_checkout' or 'old_checkout'?"
    )
    with pytest.raises(UnknownFlagError, match="no flag 'xyz'; no other key is near it"):
        set_rollout("xyz", 5)
    with pytest.raises(UnknownValueError, match="did you mean 'payment_gateway'"):
        set_value("payments_gateway", 1)


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("key", ["", "new\0checkout", "new\ud800", "x" * 300, "NEW_CHECKOUT"])
def test_key_that_no_row_has_is_unknown(key: str) -> None:
    with pytest.raises(UnknownFlagError):
        enable(key)


def test_row_is_locked_before_it_is_looked_at(
    flag: FeatureFlag, queries: CaptureQueriesContext
) -> None:
    enable("new_checkout")
    select, *_ = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert select.endswith("FOR UPDATE")


@pytest.mark.django_db(transaction=True)
def test_change_waits_for_another_and_sees_it(flag: FeatureFlag) -> None:
    done: list[Changed] = []

    def ramp_in_a_thread() -> None:
        done.append(set_rollout("new_checkout", 50))
        connection.close()

    thread = threading.Thread(target=ramp_in_a_thread)
    with transaction.atomic():
        set_rollout("new_checkout", 33)
        thread.start()
        while not _somebody_waits():
            assert thread.is_alive()
    thread.join()
    assert [changed.old for changed in done] == [33]


def _undo_deletion() -> Changed:
    return undo("search_v2")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [lambda: create("brand_new", enabled=True), _undo_deletion])
def test_change_that_is_sent_twice_at_the_same_moment_is_one(change: Callable[[], Changed]) -> None:
    create("search_v2")
    delete("search_v2")
    done: list[Changed] = []

    def again_in_a_thread() -> None:
        done.append(change())
        connection.close()

    thread = threading.Thread(target=again_in_a_thread)
    with transaction.atomic():
        assert change().written is True
        thread.start()
        while not _somebody_waits():
            assert thread.is_alive()
    thread.join()
    assert [changed.written for changed in done] == [False]


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_change_that_fails_halfway_leaves_no_trace(flag: FeatureFlag) -> None:
    def fail(**kwargs: Any) -> None:
        raise RuntimeError

    post_save.connect(fail, FeatureFlag)
    try:
        with pytest.raises(RuntimeError):
            enable("new_checkout")
    finally:
        post_save.disconnect(fail, FeatureFlag)
    flag.refresh_from_db()
    assert flag.enabled is False


# Models of the project.


class _Visible(models.Manager[Any]):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(hidden=False)


def _in_fives(percent: int) -> None:
    if percent % 5:
        raise ValidationError("write a multiple of five")


@pytest.fixture
def shop_flags(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project's own model: with a rule, a manager that hides, and keys that are not unique."""
    with isolate_apps("flagstaff"):

        class ShopFlag(models.Model):  # noqa: DJ008 (nobody looks at one)
            key = models.CharField(max_length=50)
            enabled = models.BooleanField(null=True)
            rollout_percent = models.IntegerField(default=0, validators=[_in_fives])
            allowed_users = models.ManyToManyField(User, related_name="+")
            owner = models.CharField(max_length=20)
            hidden = models.BooleanField(default=False)
            touched = models.DateField(auto_now=True)

            objects = _Visible()

            class Meta:
                app_label = "flagstaff"

    with connection.schema_editor() as editor:
        editor.create_model(ShopFlag)
    monkeypatch.setattr(Conf, "flag_model", ShopFlag)
    return ShopFlag._base_manager


def test_projects_own_flag_is_changed(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout", hidden=True, enabled=None)
    assert disable("new_checkout").old is None
    assert set_rollout("new_checkout", 20).written is True
    assert shop_flags.values_list("enabled", "rollout_percent").get() == (False, 20)
    assert not FeatureFlag.objects.exists()


def test_rule_of_the_projects_model_is_kept(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout")
    with pytest.raises(InvalidChangeError) as error:
        set_rollout("new_checkout", 7)
    assert str(error.value) == "rollout_percent: write a multiple of five"


def test_kill_does_not_fail_for_another_field(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout", enabled=True, rollout_percent=7, owner="")
    assert disable("new_checkout").written is True


def test_key_of_two_rows_is_told(shop_flags: Any) -> None:
    shop_flags.bulk_create([ShopFlag(key="new_checkout") for ShopFlag in [shop_flags.model] * 2])
    with pytest.raises(FlagstaffError, match="2 rows have the key 'new_checkout'; delete all but"):
        enable("new_checkout")


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another model of values, in a table of its own."""
    with connection.schema_editor() as editor:
        editor.create_model(request.param)
    monkeypatch.setattr(Conf, "value_model", request.param)
    return request.param.objects


@pytest.mark.parametrize("store", [DecimalStore], indirect=True)
def test_value_is_compared_as_the_field_reads_it(store: Any) -> None:
    store.create(key="fee", value=1.5)
    assert set_value("fee", 1.5).written is False
    assert set_value("fee", 2.5) == Changed("fee", "value", Decimal("1.5"), 2.5, written=True)


@pytest.mark.parametrize("store", [TextStore], indirect=True)
def test_value_that_is_no_json_is_changed_too(store: Any) -> None:
    store.create(key="gateway", value="stripe")
    assert set_value("gateway", "stripe").written is False
    assert set_value("gateway", "paypal").written is True
    assert store.get().value == "paypal"


TWO_DATABASES = """
    import sys

    import django
    from django.conf import settings

    sqlite = {"ENGINE": "django.db.backends.sqlite3"}
    settings.configure(
        DATABASES={
            "default": {**sqlite, "NAME": ":memory:"}, "flags": {**sqlite, "NAME": sys.argv[1]}
        },
        FLAGSTAFF={"DATABASE": "flags"},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
    )
    django.setup()

    from django.core.management import call_command
    from flagstaff.changes import set_rollout, set_value, switch
    from flagstaff.models import FeatureFlag, KeyValueStore

    call_command("migrate", database="flags", verbosity=0)
    FeatureFlag.objects.using("flags").create(key="new_checkout")
    KeyValueStore.objects.using("flags").create(key="payment_gateway", value="stripe")
    for _ in range(2):
        print(enable("new_checkout").written, set_rollout("new_checkout", 5).written)
        print(set_value("payment_gateway", "paypal").written)
    print(FeatureFlag.objects.using("flags").values_list("enabled", "rollout_percent").get())
"""


def test_changes_are_made_in_the_chosen_database_and_on_sqlite(
    run_isolated: RunIsolated, tmp_path: Path
) -> None:
    told = run_isolated(dedent(TWO_DATABASES), str(tmp_path / "flags.sqlite3")).split("\n")
    assert told == ["True True", "True", "False False", "False", "(True, 5)", ""]
