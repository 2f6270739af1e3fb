"""Wrong arguments raise errors; wrong rows in the database only disable themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, connections
from pytest_django import Settings

from flagstaff import _core, explain, flag_enabled, get_value, ready, refresh, snapshot, status
from flagstaff._engine import lifecycle
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tools.ports import free_port

pytestmark = pytest.mark.django_db
# The engine has its own connection and sees only committed rows. `available_apps` makes Django's
# flush faster.
COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)

Start = Callable[[], None]


@pytest.fixture
def unknown_key(settings: Settings) -> Callable[[str], None]:
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
def start_mode(request: pytest.FixtureRequest, db: None) -> Iterator[Start]:
    """Both evaluation modes. Call it after the settings and rows are set."""
    if request.param == "database":
        yield lambda: None
        return

    def start() -> None:
        _core.start(in_memory=True)

    yield start


class TestWrongTypes:
    @pytest.mark.parametrize("user", [True, 4.2, [4], {"pk": 4}, b"4"])
    @pytest.mark.parametrize("enabled", [True, False, None], ids=["on", "off", "unknown"])
    def test_user_of_a_wrong_type_raises_for_every_state_of_the_flag(
        self, start_mode: Start, user: Any, enabled: bool | None
    ) -> None:
        if enabled is not None:
            FeatureFlag.objects.create(key="new_checkout", enabled=enabled, rollout_percent=50)
        start_mode()
        for function in (flag_enabled, explain, snapshot().flag_enabled):
            with pytest.raises(TypeError) as caught:
                function("new_checkout", user)
            assert str(caught.value) == (
                "user must be a user, the primary key of one (int, str or uuid.UUID) or None, "
                f"not {type(user).__name__}"
            )

    @pytest.mark.parametrize("key", [None, 1, True, b"new_checkout", ["new_checkout"], object()])
    def test_key_of_a_wrong_type_raises(self, start_mode: Start, key: Any) -> None:
        start_mode()
        for function in (flag_enabled, get_value, explain, snapshot().flag_enabled):
            with pytest.raises(TypeError, match="is not an instance of 'str'"):
                function(key)

    def test_default_of_a_flag_is_keyword_only(self, start_mode: Start) -> None:
        start_mode()
        with pytest.raises(TypeError) as caught:
            flag_enabled("new_checkout", None, True)  # type: ignore[call-arg]
        assert str(caught.value) == (
            "flag_enabled() takes from 1 to 2 positional arguments but 3 were given"
        )

    @pytest.mark.parametrize("default", [None, 1, "yes"])
    def test_default_of_a_flag_of_a_wrong_type_raises(
        self, start_mode: Start, default: Any
    ) -> None:
        start_mode()
        with pytest.raises(TypeError, match="is not an instance of 'bool'"):
            flag_enabled("new_checkout", default=default)

    @pytest.mark.parametrize("key", ["\ud800", "new\0checkout", "", " "])
    def test_key_that_no_row_can_have_is_unknown(self, start_mode: Start, key: str) -> None:
        start_mode()
        assert flag_enabled(key, 42, default=True)
        assert get_value(key, "stripe") == "stripe"
        assert explain(key, 42).error_code == "FLAG_NOT_FOUND"

    @pytest.mark.parametrize("user", [2**63, 2**64, -(2**70), 10**400])
    def test_integer_beyond_64_bits_is_a_valid_user(self, start_mode: Start, user: int) -> None:
        FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=99)
        start_mode()
        assert explain("new_checkout", user).reason == "SPLIT"
        assert flag_enabled("new_checkout", user) is flag_enabled("new_checkout", str(user))

    @COMMITTED
    @pytest.mark.parametrize("timeout", [-1, -0.5, float("nan")])
    def test_invalid_timeout_raises_a_value_error(self, timeout: float) -> None:
        with live_engine(), pytest.raises(ValueError, match="a number of seconds from 0, not"):
            refresh(timeout)

    @COMMITTED
    @pytest.mark.parametrize("timeout", [float("inf"), 1e300])
    def test_infinite_timeout_is_accepted(self, timeout: float) -> None:
        with live_engine():
            refresh(timeout)


class TestUnknownKeys:
    def test_default_is_returned(self, start_mode: Start) -> None:
        start_mode()
        assert flag_enabled("new_checkout") is False
        assert flag_enabled("new_checkout", default=True) is True
        assert flag_enabled("new_checkout", 42, default=True) is True
        assert get_value("payment_gateway", "stripe") == "stripe"

    def test_nothing_is_logged_with_ignore(
        self,
        start_mode: Start,
        unknown_key: Callable[[str], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        unknown_key("ignore")
        start_mode()
        flag_enabled("new_checkout")
        get_value("payment_gateway")
        assert caplog.records == []

    def test_warning_is_logged_once_per_key(
        self,
        start_mode: Start,
        unknown_key: Callable[[str], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        unknown_key("warn")
        start_mode()
        # Logged once per process, and this one may have logged other keys before.
        key = f"50%s {uuid4()}"
        for _ in range(3):
            assert flag_enabled(key, default=True)
            assert get_value(key, "stripe") == "stripe"
        advice = (
            "check the spelling, create it in the admin, "
            'or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'
        )
        assert caplog.record_tuples == [
            ("flagstaff", logging.WARNING, f"there is no flag '{key}'; {advice}"),
            ("flagstaff", logging.WARNING, f"there is no value '{key}'; {advice}"),
        ]

    def test_number_of_logged_keys_is_limited(
        self,
        start_mode: Start,
        unknown_key: Callable[[str], None],
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        unknown_key("warn")
        start_mode()
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

    def test_error_is_raised_with_raise(
        self, start_mode: Start, unknown_key: Callable[[str], None]
    ) -> None:
        unknown_key("raise")
        start_mode()
        advice = (
            "check the spelling, create it in the admin, "
            'or set UNKNOWN_KEY to "ignore" in FLAGSTAFF'
        )
        current = snapshot()
        for evaluate_flag, evaluate_value in [
            (flag_enabled, get_value),
            (current.flag_enabled, current.get_value),
        ]:
            with pytest.raises(UnknownFlagError) as flag:
                evaluate_flag("new_checkout", default=True)
            assert str(flag.value) == f"there is no flag 'new_checkout'; {advice}"
            with pytest.raises(UnknownValueError) as value:
                evaluate_value("payment_gateway", "stripe")
            assert str(value.value) == f"there is no value 'payment_gateway'; {advice}"

    def test_explain_does_not_raise_for_an_unknown_key(
        self, start_mode: Start, unknown_key: Callable[[str], None]
    ) -> None:
        unknown_key("raise")
        start_mode()
        assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"

    def test_existing_key_does_not_raise(
        self, start_mode: Start, unknown_key: Callable[[str], None]
    ) -> None:
        unknown_key("raise")
        FeatureFlag.objects.create(key="new_checkout")
        KeyValueStore.objects.create(key="payment_gateway", value=0)
        start_mode()
        assert flag_enabled("new_checkout", default=True) is False
        assert get_value("payment_gateway", 1) == 0

    def test_nothing_is_raised_before_the_first_load(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise", "STARTUP_TIMEOUT": 0.05}
        address = connections["default"].settings_dict
        monkeypatch.setitem(address, "HOST", "127.0.0.1")
        monkeypatch.setitem(address, "PORT", str(free_port()))
        with live_engine():
            assert flag_enabled("new_checkout", 42, default=True)
            assert get_value("payment_gateway", "stripe") == "stripe"
            assert snapshot().flag_enabled("new_checkout", default=True)
            assert explain("new_checkout").error_code == "PROVIDER_NOT_READY"
            assert not ready(0)
            assert len(caplog.records) == 1


class TestRejectedRows:
    @pytest.mark.parametrize("key", ["new:checkout", "new checkout", "new\tcheckout", ""])
    def test_invalid_key_is_rejected_by_the_model(self, key: str) -> None:
        with pytest.raises(ValidationError) as caught:
            FeatureFlag(key=key).full_clean()
        assert set(caught.value.message_dict) == {"key"}

    @pytest.mark.parametrize("percent", [-1, 101])
    def test_invalid_percentage_is_rejected_by_the_model(self, percent: int) -> None:
        with pytest.raises(ValidationError) as caught:
            FeatureFlag(key="new_checkout", rollout_percent=percent).full_clean()
        assert "rollout_percent" in caught.value.message_dict

    @pytest.mark.parametrize("percent", [-1, 101, 32767])
    @pytest.mark.parametrize(
        "write",
        [
            lambda percent: FeatureFlag.objects.create(key="a", rollout_percent=percent),
            lambda percent: FeatureFlag.objects.update(rollout_percent=percent),
            lambda percent: run(
                "INSERT INTO flagstaff_featureflag (key, rollout_percent) VALUES ('a', %s)",
                percent,
            ),
        ],
        ids=["create", "update", "INSERT"],
    )
    def test_invalid_percentage_is_rejected_by_the_database(
        self, write: Callable[[int], object], percent: int
    ) -> None:
        FeatureFlag.objects.create(key="new_checkout")
        with pytest.raises(IntegrityError, match="rollout_percent"):
            write(percent)


def run(statement: str, *parameters: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)


@pytest.fixture
def loose_tables(transactional_db: None) -> Iterator[None]:
    """Tables without our constraints: a project's own table may have none."""
    indexes = (
        "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE contype = 'u' AND conrelid IN "
        "('flagstaff_featureflag'::regclass, 'flagstaff_keyvaluestore'::regclass)"
    )
    columns = "ALTER TABLE flagstaff_featureflag ALTER key {0} NOT NULL, \
        ALTER enabled {0} NOT NULL, ALTER rollout_percent {0} NOT NULL; \
        ALTER TABLE flagstaff_keyvaluestore ALTER key {0} NOT NULL"
    with connection.cursor() as cursor:
        cursor.execute(indexes)
        unique = cursor.fetchall()
    for table, name, _ in unique:
        run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    run(columns.format("DROP"))
    yield
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    run(columns.format("SET"))
    for table, name, rule in unique:
        run(f"ALTER TABLE {table} ADD CONSTRAINT {name} {rule}")


def flags(*keys: str) -> None:
    FeatureFlag.objects.bulk_create(
        FeatureFlag(key=key, enabled=True, rollout_percent=100) for key in keys
    )


@contextmanager
def loaded_engine() -> Iterator[None]:
    """An engine that has loaded the present rows, also on a busy machine."""
    with live_engine():
        assert ready(10)
        yield


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("loose_tables")
class TestMalformedRows:
    @pytest.mark.parametrize("column", ["enabled", "rollout_percent"])
    def test_flag_keeps_its_last_good_version(self, column: str) -> None:
        flags("new_checkout", "banner")
        with loaded_engine():
            run(f"UPDATE flagstaff_featureflag SET {column} = NULL WHERE key = 'new_checkout'")
            FeatureFlag.objects.filter(key="banner").update(enabled=False)
            refresh()
            assert flag_enabled("new_checkout")
            assert not flag_enabled("banner")
            problem = f'flag "new_checkout" is set aside: its {column} is NULL'
            assert (status().problems, status().flags) == ((problem,), 2)

    @pytest.mark.parametrize("column", ["enabled", "rollout_percent"])
    def test_flag_without_a_good_version_is_absent(
        self, column: str, unknown_key: Callable[[str], None]
    ) -> None:
        flags("new_checkout", "banner")
        run(f"UPDATE flagstaff_featureflag SET {column} = NULL WHERE key = 'new_checkout'")
        with loaded_engine():
            assert flag_enabled("new_checkout", default=True)
            assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
            assert flag_enabled("banner")
        assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
        assert flag_enabled("banner")

    def test_flag_whose_key_becomes_null_keeps_its_key(self) -> None:
        flags("new_checkout", "banner")
        pk = FeatureFlag.objects.get(key="new_checkout").pk
        with loaded_engine():
            run("UPDATE flagstaff_featureflag SET key = NULL WHERE id = %s", pk)
            refresh()
            assert flag_enabled("new_checkout")
            assert status().problems == (f'flag "pk {pk}" is set aside: its key is NULL',)

    def test_flags_with_duplicate_keys_are_ignored(self) -> None:
        flags("new_checkout", "new_checkout", "banner")
        with loaded_engine():
            assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"
            assert flag_enabled("banner")
            problem = 'flag "new_checkout" is set aside: several rows have this key'
            assert status().problems == (problem,)
        assert explain("new_checkout").error_code == "FLAG_NOT_FOUND"

    def test_flag_that_gets_a_duplicate_keeps_its_last_good_version(self) -> None:
        flags("new_checkout")
        with loaded_engine():
            run("INSERT INTO flagstaff_featureflag (key) VALUES ('new_checkout')")
            refresh()
            assert flag_enabled("new_checkout")

    def test_repaired_flag_is_evaluated_again(self) -> None:
        flags("new_checkout")
        with loaded_engine():
            run("UPDATE flagstaff_featureflag SET enabled = NULL")
            refresh()
            run("UPDATE flagstaff_featureflag SET enabled = false")
            refresh()
            assert not flag_enabled("new_checkout")
            assert status().problems == ()

    def test_values_with_duplicate_keys_are_ignored(self) -> None:
        rows = [("gateway", 1), ("gateway", 2), ("limit", 3)]
        KeyValueStore.objects.bulk_create(KeyValueStore(key=k, value=v) for k, v in rows)
        with loaded_engine():
            assert (get_value("gateway", "missing"), get_value("limit")) == ("missing", 3)
            problem = 'value "gateway" is set aside: several rows have this key'
            assert status().problems == (problem,)
        assert (get_value("gateway", "missing"), get_value("limit")) == ("missing", 3)

    def test_value_whose_key_becomes_null_keeps_its_key(self) -> None:
        KeyValueStore.objects.create(key="gateway", value="stripe")
        with loaded_engine():
            run("UPDATE flagstaff_keyvaluestore SET key = NULL")
            refresh()
            assert get_value("gateway") == "stripe"
            assert len(status().problems) == 1
