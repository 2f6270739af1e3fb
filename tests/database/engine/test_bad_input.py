"""Wrong arguments raise errors; wrong rows and a server that is down do not stop evaluations."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import IntegrityError, connections, transaction
from pytest_django import Settings

from flagstaff import (
    _core,
    all_flags,
    explain,
    flag_enabled,
    get_value,
    ready,
    refresh,
    snapshot,
    status,
)
from flagstaff._engine import lifecycle
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag
from tests.support.fixtures import COMMITTED
from tests.support.forced_off import forced_off
from tests.support.sql import rows, without_table
from tools.ports import free_port

Start = Callable[[], object]
SetUnknownKey = Callable[[str], None]
ADVICE = 'check the spelling, create it in the admin, or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'


@pytest.fixture
def unknown_key(settings: Settings) -> SetUnknownKey:
    """Sets UNKNOWN_KEY. Call it before the first evaluation."""

    def choose(what: str) -> None:
        settings.FLAGSTAFF = {"UNKNOWN_KEY": what}
        lifecycle.close()

    return choose


@pytest.fixture(autouse=True)
def fresh_engine() -> Iterator[None]:
    """Each test begins like a process before its first evaluation."""
    lifecycle.close()
    yield
    lifecycle.close()


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database"])
def start_mode(request: pytest.FixtureRequest, db: None) -> Start:
    """Both evaluation modes. Call it after the settings and rows are set."""
    if request.param == "database":
        return lambda: None
    return lambda: _core.start(in_memory=True)


class TestWrongTypes:
    @pytest.mark.parametrize("enabled", [True, False, None], ids=["on", "off", "unknown"])
    def test_argument_of_a_wrong_type_raises_for_every_state_of_the_flag(
        self, start_mode: Start, enabled: bool | None
    ) -> None:
        if enabled is not None:
            FeatureFlag.objects.create(key="new_checkout", enabled=enabled, rollout_percent=50)
        start_mode()
        functions: tuple[Any, ...] = (flag_enabled, explain, snapshot().flag_enabled)
        for function in functions:
            with pytest.raises(TypeError, match="user must be a user, the primary key of one"):
                function("new_checkout", 4.2)
            with pytest.raises(TypeError, match="key must be a string"):
                function(None)
        with pytest.raises(TypeError, match="default must be True or False"):
            flag_enabled("new_checkout", default=1)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments but 3 were"):
            flag_enabled("new_checkout", None, True)  # type: ignore[call-arg]

    @pytest.mark.parametrize("key", ["\ud800", "new\0checkout", "", " ", "x" * 300])
    def test_key_that_no_row_can_have_is_unknown(self, start_mode: Start, key: str) -> None:
        start_mode()
        assert flag_enabled(key, 42, default=True)
        assert get_value(key, "stripe") == "stripe"
        assert explain(key, 42).error_code == "FLAG_NOT_FOUND"

    @COMMITTED
    def test_timeout_is_a_number_of_seconds_from_0_up_to_infinity(self) -> None:
        with live_engine():
            for timeout in (-1, -0.5, float("nan")):
                with pytest.raises(ValueError, match="a number of seconds from 0, not"):
                    refresh(timeout)
            refresh(float("inf"))
            refresh(1e300)


class TestUnknownKeys:
    def test_default_is_returned_and_logged_only_with_warn(
        self, start_mode: Start, unknown_key: SetUnknownKey, caplog: pytest.LogCaptureFixture
    ) -> None:
        unknown_key("ignore")
        start_mode()
        assert flag_enabled("new_checkout") is False
        assert flag_enabled("new_checkout", 42, default=True) is True
        assert get_value("payment_gateway", "stripe") == "stripe"
        assert caplog.records == []

    def test_warning_is_logged_once_per_key_and_for_a_limited_number(
        self,
        start_mode: Start,
        unknown_key: SetUnknownKey,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        unknown_key("warn")
        start_mode()
        # Logged once per process, and this one may have logged other keys before.
        key = f"50%s {uuid4()}"
        for _ in range(3):
            assert flag_enabled(key, default=True)
            assert get_value(key, "stripe") == "stripe"
        assert caplog.record_tuples == [
            ("flagstaff", logging.WARNING, f"there is no flag '{key}'; {ADVICE}"),
            ("flagstaff", logging.WARNING, f"there is no value '{key}'; {ADVICE}"),
        ]
        caplog.clear()
        monkeypatch.setattr(lifecycle._process, "unknown_logged", set())
        monkeypatch.setattr(lifecycle, "_MAX_UNKNOWN_LOGGED", 3)
        for number in range(9):
            flag_enabled(f"key-{number}")
        *warnings, last = caplog.messages
        assert [message.partition(";")[0] for message in warnings] == [
            f"there is no flag 'key-{number}'" for number in range(3)
        ]
        assert last == "3 unknown keys were logged; no more will be"
        assert len(lifecycle._process.unknown_logged) == 3

    def test_error_is_raised_with_raise_for_an_unknown_key_only(
        self, start_mode: Start, unknown_key: SetUnknownKey
    ) -> None:
        unknown_key("raise")
        FeatureFlag.objects.create(key="search")
        KeyValueStore.objects.create(key="limit", value=0)
        start_mode()
        current = snapshot()
        for evaluate_flag, evaluate_value in [
            (flag_enabled, get_value),
            (current.flag_enabled, current.get_value),
        ]:
            with pytest.raises(UnknownFlagError) as flag:
                evaluate_flag("new_checkout", default=True)
            assert str(flag.value) == f"there is no flag 'new_checkout'; {ADVICE}"
            with pytest.raises(UnknownValueError) as value:
                evaluate_value("payment_gateway", "stripe")
            assert str(value.value) == f"there is no value 'payment_gateway'; {ADVICE}"
            assert evaluate_flag("search", default=True) is False
            assert evaluate_value("limit", 1) == 0
        # A key that is overridden or forced off is not unknown.
        with override_flag("new_checkout", True):
            assert flag_enabled("new_checkout") is True
        with forced_off(["new_checkout"]):
            assert flag_enabled("new_checkout", default=True) is False
        nothing = explain("new_checkout")
        assert (nothing.value, nothing.reason, nothing.error_code) == (
            *(False, "ERROR"),
            "FLAG_NOT_FOUND",
        )
        assert (nothing.bucket, nothing.bucket_by, nothing.rollout_percent) == (None, None, None)

    def test_nothing_is_raised_before_the_first_load_and_snapshots_are_empty(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise", "STARTUP_TIMEOUT": 0.05}
        address = connections["default"].settings_dict
        monkeypatch.setitem(address, "HOST", "127.0.0.1")
        monkeypatch.setitem(address, "PORT", str(free_port()))
        with live_engine():
            assert flag_enabled("new_checkout", 42, default=True)
            assert get_value("payment_gateway", "stripe") == "stripe"
            assert explain("new_checkout").error_code == "PROVIDER_NOT_READY"
            assert not ready(0)
            held = snapshot()
            assert (held.ready, held.token, held.all_flags(1), all_flags(1)) == (
                *(False, None, {}, {}),
            )
            assert held.flag_enabled("new_checkout", 1, default=True)
            assert held.get_value("payment_gateway", "stripe") == "stripe"
            assert held.explain("new_checkout", 1)["error_code"] == "PROVIDER_NOT_READY"
            assert held.is_off("new_checkout")
            assert held.depends_on_user("new_checkout") is False
            with override_flag("new_checkout", True):
                assert (held.all_flags(1), all_flags(1)) == ({}, {"new_checkout": True})
                assert snapshot().flag_enabled("new_checkout") is True
            assert len(caplog.records) == 1


def test_start_after_a_close_is_not_logged_as_a_recovery(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {"STARTUP_TIMEOUT": 1}
    with monkeypatch.context() as unreachable:
        unreachable.setitem(connections["default"].settings_dict, "PORT", str(free_port()))
        with live_engine():
            with pytest.raises(Exception, match="refused"):
                refresh(0.5)
            lifecycle._process.status_log.note_late_start(lifecycle._report())
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    with live_engine():
        refresh()
        lifecycle.run_maintenance()
        assert status().mode != "down"
    assert caplog.messages == []


@COMMITTED
def test_evaluations_report_the_state_at_most_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = Mock(wraps=lifecycle._report)
    monkeypatch.setattr(lifecycle, "_report", report)
    with live_engine():
        started = time.monotonic()
        for _ in range(30_000):
            flag_enabled("new_checkout", 3)
        seconds = time.monotonic() - started
    # Each event of the start may add one.
    assert report.call_count <= seconds + 5


@pytest.mark.parametrize("percent", [-1, 101, 32767])
def test_invalid_percentage_is_rejected_by_the_database(percent: int) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    for write in (
        lambda: FeatureFlag.objects.create(key="a", rollout_percent=percent),
        lambda: FeatureFlag.objects.update(rollout_percent=percent),
    ):
        with pytest.raises(IntegrityError, match="rollout_percent"), transaction.atomic():
            write()


@pytest.fixture
def loose_tables(transactional_db: None) -> Iterator[None]:
    """Tables without our constraints: a project's own table may have none."""
    unique = rows(
        "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE contype = 'u' AND conrelid IN "
        "('flagstaff_featureflag'::regclass, 'flagstaff_keyvaluestore'::regclass)"
    )
    columns = "ALTER TABLE flagstaff_featureflag ALTER key {0} NOT NULL, \
        ALTER enabled {0} NOT NULL, ALTER rollout_percent {0} NOT NULL; \
        ALTER TABLE flagstaff_keyvaluestore ALTER key {0} NOT NULL"
    for table, name, _ in unique:
        rows(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    rows(columns.format("DROP"))
    yield
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    rows(columns.format("SET"))
    for table, name, rule in unique:
        rows(f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}")


@contextmanager
def loaded_engine() -> Iterator[None]:
    """An engine that has loaded the present rows, also on a busy machine."""
    with live_engine():
        assert ready(10)
        yield


def flags(*keys: str) -> None:
    """Creates flags that all users have, also several with one key."""
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=key, enabled=True, rollout_percent=100) for key in keys
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("loose_tables")
class TestMalformedRows:
    @pytest.mark.parametrize("column", ["enabled", "rollout_percent"])
    def test_flag_without_a_good_version_is_absent(
        self, column: str, unknown_key: SetUnknownKey
    ) -> None:
        flags("new_checkout", "banner")
        rows(f"UPDATE flagstaff_featureflag SET {column} = NULL WHERE key = 'new_checkout'")
        with loaded_engine():
            assert flag_enabled("new_checkout", default=True)
            assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
            assert flag_enabled("banner")
        assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
        assert flag_enabled("banner")

    def test_rows_whose_keys_become_null_keep_their_keys(self) -> None:
        flags("new_checkout", "banner")
        KeyValueStore.objects.create(key="gateway", value="stripe")
        pk = FeatureFlag.objects.get(key="new_checkout").pk
        with loaded_engine():
            rows("UPDATE flagstaff_featureflag SET key = NULL WHERE id = %s", pk)
            rows("UPDATE flagstaff_keyvaluestore SET key = NULL")
            refresh()
            assert flag_enabled("new_checkout")
            assert get_value("gateway") == "stripe"
            texts = status().problems
            assert f'flag "pk {pk}" is set aside: its key is NULL' in texts
            # The history has no place for a row without a key.
            assert texts[0].startswith("2 recent changes have no entry")
            assert len(texts) == 3

    def test_changes_without_an_entry_in_the_history_are_counted(self) -> None:
        flags("new_checkout")
        with loaded_engine():
            with without_table("flagstaff_change"):
                FeatureFlag.objects.update(enabled=False)
            refresh()
            [problem] = status().problems
            assert problem.startswith("1 recent change has no entry in the history, the last at 2")
            FeatureFlag.objects.update(enabled=True)
            rows("UPDATE flagstaff_token SET entry_missing = false")
            refresh()
            assert status().problems == ()

    def test_rows_with_duplicate_keys_are_ignored(self) -> None:
        flags("new_checkout", "new_checkout", "banner")
        values = [("gateway", 1), ("gateway", 2), ("limit", 3)]
        KeyValueStore.objects.bulk_create(KeyValueStore(key=k, value=v) for k, v in values)

        def assert_ignored() -> None:
            assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
            assert flag_enabled("banner")
            assert (get_value("gateway", "missing"), get_value("limit")) == ("missing", 3)

        with loaded_engine():
            assert_ignored()
            assert set(status().problems) == {
                'flag "new_checkout" is set aside: several rows have this key',
                'value "gateway" is set aside: several rows have this key',
            }
            # A flag that gets a duplicate keeps its last good version.
            rows("INSERT INTO flagstaff_featureflag (key) VALUES ('banner')")
            refresh()
            assert flag_enabled("banner")
            rows("DELETE FROM flagstaff_featureflag WHERE key = 'banner' AND NOT enabled")
        assert_ignored()
