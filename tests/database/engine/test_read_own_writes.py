"""`read_own_writes()`: only the block evaluates from its own open transaction."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction

from flagstaff import (
    all_flags,
    explain,
    flag_enabled,
    get_value,
    read_own_writes,
    refresh,
    snapshot,
    status,
)
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag
from tests.support.fixtures import COMMITTED
from tests.support.sql import rolled_back

pytestmark = COMMITTED


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    """Evaluations use memory, which has a disabled flag."""
    FeatureFlag.objects.create(key="banner", rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    with live_engine():
        yield


@pytest.fixture
def uncommitted_change(engine: None) -> Iterator[None]:
    """In an open transaction, the flag is enabled and the value is different."""
    with rolled_back():
        FeatureFlag.objects.update(enabled=True)
        KeyValueStore.objects.update(value="paypal")
        yield


@pytest.mark.usefixtures("uncommitted_change")
def test_block_sees_uncommitted_changes_until_the_outermost_ends() -> None:
    assert (flag_enabled("banner"), get_value("gateway")) == (False, "stripe")
    with read_own_writes():
        with read_own_writes():
            assert flag_enabled("banner") is True
        assert (flag_enabled("banner"), get_value("gateway")) == (True, "paypal")
        assert explain("banner").reason == "STATIC"
        assert all_flags() == {"banner": True}
        assert status().mode == "live"
    assert (flag_enabled("banner"), get_value("gateway")) == (False, "stripe")
    with pytest.raises(ZeroDivisionError), read_own_writes():
        raise ZeroDivisionError
    assert flag_enabled("banner") is False


@pytest.mark.usefixtures("uncommitted_change")
def test_snapshot_and_other_threads_do_not_change_when_a_block_begins_or_ends() -> None:
    before = snapshot()
    with read_own_writes():
        assert before.flag_enabled("banner") is False
        inside = snapshot()
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(
                lambda: (flag_enabled("banner"), all_flags(), get_value("gateway"))
            ).result()
    assert (inside.flag_enabled("banner"), snapshot().flag_enabled("banner")) == (True, False)
    assert elsewhere == (False, {"banner": False}, "stripe")


def test_block_follows_each_change_and_its_rollback() -> None:
    with read_own_writes(), rolled_back():
        FeatureFlag.objects.update(enabled=True)
        assert flag_enabled("banner") is True
        with suppress(ZeroDivisionError), transaction.atomic():
            FeatureFlag.objects.all().delete()
            assert explain("banner").error_code == "FLAG_NOT_FOUND"
            raise ZeroDivisionError
        assert flag_enabled("banner") is True
    assert flag_enabled("banner") is False
    # Outside a transaction.
    with read_own_writes():
        FeatureFlag.objects.update(enabled=True)
        assert flag_enabled("banner") is True
    refresh()
    assert flag_enabled("banner") is True
    FeatureFlag.objects.update(enabled=False)
    refresh()
    with read_own_writes():
        with rolled_back():
            FeatureFlag.objects.update(enabled=True)
            assert flag_enabled("banner") is True
        with transaction.atomic():
            assert flag_enabled("banner") is False


def test_each_thread_sees_only_its_own_writes() -> None:
    together = threading.Barrier(4)

    def change(number: int) -> list[str]:
        try:
            with rolled_back(), read_own_writes():
                FeatureFlag.objects.create(key=f"flag_{number}", enabled=True)
                together.wait(10)
                return list(all_flags())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(change, range(4)))
    assert seen == [["banner", f"flag_{number}"] for number in range(4)]
    assert all_flags() == {"banner": False}


def test_async_task_in_a_block_sees_its_own_writes() -> None:
    def change_and_evaluate() -> bool:
        with rolled_back():
            FeatureFlag.objects.update(enabled=True)
            return flag_enabled("banner")

    async def with_block() -> bool:
        with read_own_writes():
            return await sync_to_async(change_and_evaluate)()

    async def both() -> tuple[bool, bool]:
        return await asyncio.gather(with_block(), sync_to_async(change_and_evaluate)())

    assert tuple(async_to_sync(both)()) == (True, False)


@pytest.mark.usefixtures("uncommitted_change")
def test_override_wins_over_the_block_which_counts_no_query(django_assert_num_queries: Any) -> None:
    with read_own_writes(), django_assert_num_queries(0):
        assert flag_enabled("banner") is True
        with override_flag("banner", False):
            assert flag_enabled("banner") is False


def test_evaluation_in_a_failed_transaction_returns_the_default() -> None:
    with read_own_writes(), rolled_back():
        with pytest.raises(Exception, match="does not exist"), connection.cursor() as cursor:
            cursor.execute("SELECT missing")
        assert flag_enabled("banner", default=True) is True
    assert flag_enabled("banner") is False
