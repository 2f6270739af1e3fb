"""Changes lock their row, validate, and write only what differs."""

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
from tests.support.apps.stores.models import DecimalStore, TextStore
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


def test_enable_keeps_the_rollout(flag: FeatureFlag) -> None:
    changed = enable("new_checkout")
    assert changed == Changed("new_checkout", "enabled", old=False, new=True, written=True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 25)


def test_set_rollout_keeps_a_flag_disabled(flag: FeatureFlag) -> None:
    changed = set_rollout("new_checkout", 50)
    assert changed == Changed("new_checkout", "rollout_percent", old=25, new=50, written=True)
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (False, 50)


def test_set_value_replaces_the_value(gateway: KeyValueStore) -> None:
    changed = set_value("payment_gateway", {"name": "paypal", "fee": 0.5})
    assert (changed.old, changed.new) == ("stripe", {"name": "paypal", "fee": 0.5})
    gateway.refresh_from_db()
    assert gateway.value == {"name": "paypal", "fee": 0.5}


def test_changed_is_immutable(flag: FeatureFlag) -> None:
    with pytest.raises(FrozenInstanceError):
        enable("new_checkout").key = "other"  # type: ignore[misc]


def test_change_updates_changed_at(flag: FeatureFlag) -> None:
    enable("new_checkout")
    before = flag.changed_at
    flag.refresh_from_db()
    assert flag.changed_at > before


def test_change_writes_no_other_column(flag: FeatureFlag, queries: CaptureQueriesContext) -> None:
    set_rollout("new_checkout", 50)
    [update] = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    assert update.count(" = ") == 3  # the rollout, the time, and the key of the row
    assert "description" not in update


def test_change_sends_post_save(flag: FeatureFlag) -> None:
    signals: list[Any] = []

    def receive(instance: FeatureFlag, update_fields: Any, **kwargs: Any) -> None:
        signals.append((instance.key, sorted(update_fields)))

    post_save.connect(receive, FeatureFlag)
    try:
        enable("new_checkout")
    finally:
        post_save.disconnect(receive, FeatureFlag)
    assert signals == [("new_checkout", ["changed_at", "enabled"])]


@pytest.mark.usefixtures("flag", "gateway")
@pytest.mark.parametrize(
    "change",
    [
        lambda: enable("new_checkout"),
        lambda: set_rollout("new_checkout", 50),
        lambda: set_value("payment_gateway", {"b": [1], "a": None}),
    ],
    ids=["enable", "set_rollout", "set_value"],
)
def test_change_repeated_writes_nothing(change: Callable[[], Changed]) -> None:
    before = Change.objects.count()
    assert change().written is True
    with CaptureQueriesContext(connection) as queries:
        again = change()
    assert (again.written, again.old) == (False, again.new)
    assert not any(query["sql"].startswith("UPDATE") for query in queries)
    assert Change.objects.count() == before + 1


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ([0], [False])])
def test_set_value_with_equal_python_values_of_other_types_writes(old: Any, new: Any) -> None:
    row = KeyValueStore.objects.create(key="limit", value=old)
    assert set_value("limit", new).written is True
    row.refresh_from_db()
    assert repr(row.value) == repr(new)


def test_set_value_with_other_key_order_writes_nothing() -> None:
    KeyValueStore.objects.create(key="fees", value={"b": 2, "a": 1})
    assert set_value("fees", {"a": 1, "b": 2}).written is False


@pytest.mark.parametrize("percent", [-1, 101, 25.0, "25", True, None, Decimal(25)], ids=repr)
def test_set_rollout_with_invalid_percent_is_rejected(flag: FeatureFlag, percent: Any) -> None:
    with pytest.raises(InvalidChangeError) as error:
        set_rollout("new_checkout", percent)
    expected = f"the rollout percent must be a whole number from 0 to 100, not {percent!r}"
    assert str(error.value) == expected
    flag.refresh_from_db()
    assert flag.rollout_percent == 25


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "JSON cannot hold this value: Object of type set is not JSON serializable"),
        (float("nan"), "JSON cannot hold this value: Out of range float values"),
        ([float("inf")], "JSON cannot hold this value: Out of range float values"),
        (10**4_300, "JSON cannot hold this value: Exceeds the limit"),
        (nested(501), "get_value() cannot return this value: it is nested deeper than 500 levels"),
        (nested(50_000), "get_value() cannot return this value: it is nested too deeply"),
        (None, 'value cannot be null; write JSON, such as "stripe", 25 or []'),
    ],
    ids=["set", "NaN", "infinity", "digits", "deep", "very deep", "null"],
)
def test_set_value_that_json_cannot_hold_is_rejected(
    gateway: KeyValueStore, value: Any, message: str
) -> None:
    with pytest.raises(InvalidChangeError) as error:
        set_value("payment_gateway", value)
    assert str(error.value).startswith(message)
    gateway.refresh_from_db()
    assert gateway.value == "stripe"


@pytest.mark.parametrize("secret", [True, False])
def test_database_error_does_not_contain_a_secret_value(secret: bool) -> None:
    KeyValueStore.objects.create(key="token", value="hunter2", secret=secret)
    rejected = "the database rejected the change: unsupported"
    with pytest.raises(InvalidChangeError, match=rejected) as caught:
        set_value("token", "hunter3\0")
    text = "".join(traceback.format_exception(caught.value.with_traceback(None)))
    assert ("hunter3" in text) is not secret


def test_invalid_change_error_is_a_value_error_and_a_flagstaff_error() -> None:
    assert issubclass(InvalidChangeError, ValueError)
    assert issubclass(InvalidChangeError, FlagstaffError)


@pytest.mark.usefixtures("flag", "gateway")
def test_change_of_unknown_key_suggests_similar_keys() -> None:
    FeatureFlag.objects.create(key="old_checkout")
    with pytest.raises(UnknownFlagError) as error:
        enable("new_chekout")
    assert str(error.value) == (
        "there is no flag 'new_chekout'; did you mean 'new_checkout' or 'old_checkout'?"
    )
    with pytest.raises(UnknownFlagError, match=r"no flag 'xyz'; .+ flags list. lists all keys"):
        set_rollout("xyz", 5)
    with pytest.raises(UnknownValueError, match="did you mean 'payment_gateway'"):
        set_value("payments_gateway", 1)


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize("key", ["", "new\0checkout", "new\ud800", "x" * 300, "NEW_CHECKOUT"])
def test_change_of_key_without_a_row_raises(key: str) -> None:
    with pytest.raises(UnknownFlagError):
        enable(key)


def test_change_locks_the_row_when_it_reads_it(
    flag: FeatureFlag, queries: CaptureQueriesContext
) -> None:
    enable("new_checkout")
    select, *_ = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    assert select.endswith("FOR UPDATE")


@pytest.mark.django_db(transaction=True)
def test_change_waits_for_a_concurrent_change_and_sees_it(flag: FeatureFlag) -> None:
    done: list[Changed] = []

    def change_in_a_thread() -> None:
        done.append(set_rollout("new_checkout", 50))
        connection.close()

    thread = threading.Thread(target=change_in_a_thread)
    with transaction.atomic():
        set_rollout("new_checkout", 33)
        thread.start()
        while not _a_lock_is_awaited():
            assert thread.is_alive()
    thread.join()
    assert [changed.old for changed in done] == [33]


def _undo_deletion() -> Changed:
    return undo("search_v2")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [lambda: create("brand_new", enabled=True), _undo_deletion])
def test_two_concurrent_equal_changes_write_once(change: Callable[[], Changed]) -> None:
    create("search_v2")
    delete("search_v2")
    done: list[Changed] = []

    def change_in_a_second_thread() -> None:
        done.append(change())
        connection.close()

    thread = threading.Thread(target=change_in_a_second_thread)
    with transaction.atomic():
        assert change().written is True
        thread.start()
        while not _a_lock_is_awaited():
            assert thread.is_alive()
    thread.join()
    assert [changed.written for changed in done] == [False]


def _a_lock_is_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_change_that_fails_halfway_is_rolled_back(flag: FeatureFlag) -> None:
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


# A project's own models.


class _Visible(models.Manager[Any]):
    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(hidden=False)


def _in_fives(percent: int) -> None:
    if percent % 5:
        raise ValidationError("write a multiple of five")


@pytest.fixture
def shop_flags(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project's own model, with a validator, a manager that hides rows, and keys not unique."""
    with isolate_apps("flagstaff"):

        class ShopFlag(models.Model):  # noqa: DJ008 (never shown)
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


def test_change_of_a_projects_own_model_writes_its_row(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout", hidden=True, enabled=None)
    assert disable("new_checkout").old is None
    assert set_rollout("new_checkout", 20).written is True
    assert shop_flags.values_list("enabled", "rollout_percent").get() == (False, 20)
    assert not FeatureFlag.objects.exists()


def test_validator_of_a_projects_own_model_is_applied(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout")
    with pytest.raises(InvalidChangeError) as error:
        set_rollout("new_checkout", 7)
    assert str(error.value) == "rollout_percent: write a multiple of five"


def test_disable_ignores_invalid_values_of_other_fields(shop_flags: Any) -> None:
    shop_flags.create(key="new_checkout", enabled=True, rollout_percent=7, owner="")
    assert disable("new_checkout").written is True


def test_change_of_key_with_two_rows_raises(shop_flags: Any) -> None:
    shop_flags.bulk_create([ShopFlag(key="new_checkout") for ShopFlag in [shop_flags.model] * 2])
    with pytest.raises(FlagstaffError, match="2 rows have the key 'new_checkout'; delete all but"):
        enable("new_checkout")


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another VALUE_MODEL."""
    with connection.schema_editor() as editor:
        editor.create_model(request.param)
    monkeypatch.setattr(Conf, "value_model", request.param)
    return request.param.objects


@pytest.mark.parametrize("store", [DecimalStore], indirect=True)
def test_set_value_compares_as_the_field_reads(store: Any) -> None:
    store.create(key="fee", value=1.5)
    assert set_value("fee", 1.5).written is False
    assert set_value("fee", 2.5) == Changed("fee", "value", Decimal("1.5"), 2.5, written=True)


@pytest.mark.parametrize("store", [TextStore], indirect=True)
def test_set_value_of_a_text_field_writes(store: Any) -> None:
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
    from flagstaff.changes import enable, set_rollout, set_value
    from flagstaff.models import FeatureFlag, KeyValueStore

    call_command("migrate", database="flags", verbosity=0)
    FeatureFlag.objects.using("flags").create(key="new_checkout")
    KeyValueStore.objects.using("flags").create(key="payment_gateway", value="stripe")
    for _ in range(2):
        print(enable("new_checkout").written, set_rollout("new_checkout", 5).written)
        print(set_value("payment_gateway", "paypal").written)
    print(FeatureFlag.objects.using("flags").values_list("enabled", "rollout_percent").get())
"""


def test_changes_use_the_configured_database_also_on_sqlite(
    run_isolated: RunIsolated, tmp_path: Path
) -> None:
    lines = run_isolated(dedent(TWO_DATABASES), str(tmp_path / "flags.sqlite3")).split("\n")
    assert lines == ["True True", "True", "False False", "False", "(True, 5)", ""]
