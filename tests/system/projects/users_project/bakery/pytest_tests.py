"""Tests of a project with the fixtures of pytest-django."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import pytest

from flagstaff import explain, flag_enabled, get_value
from flagstaff.models import FeatureFlag, KeyValueStore


def create_enabled(key: str) -> FeatureFlag:
    return FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)


@pytest.mark.parametrize("run", ["first", "second"])
def test_flag_is_visible_and_gone_in_next_test(run: str, db: None) -> None:
    assert flag_enabled("banner") is False
    create_enabled("banner")
    assert flag_enabled("banner") is True


@pytest.mark.parametrize("run", ["first", "second"])
def test_committed_flag_is_visible_in_threads(run: str, transactional_db: None) -> None:
    assert flag_enabled("banner") is False
    create_enabled("banner")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(flag_enabled, ["banner"] * 4)) == [True] * 4


def test_evaluation_without_database_mark_returns_default() -> None:
    assert flag_enabled("banner", default=True) is True
    assert get_value("gateway", "stripe") == "stripe"
    assert explain("banner", 42).error_code == "PROVIDER_NOT_READY"


def test_evaluation_in_thread_without_database_mark_returns_default() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(flag_enabled, "banner", default=True).result() is True


def test_evaluations_do_not_count_as_queries(db: None, django_assert_num_queries: Any) -> None:
    create_enabled("banner")
    KeyValueStore.objects.create(key="gateway", value="paypal")
    with django_assert_num_queries(0):
        assert flag_enabled("banner", 42) is True
        assert get_value("gateway") == "paypal"


def test_live_server_uses_flag(live_server: Any) -> None:
    create_enabled("new_checkout")
    with urlopen(f"{live_server.url}/checkout/") as response:
        assert response.read() == b"new checkout, paid through stripe"
