"""The same through the fixtures of pytest-django."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import urlopen

import pytest

from flagstaff import explain, flag_enabled, get_value
from flagstaff.models import FeatureFlag, KeyValueStore


def switch_on(key: str) -> FeatureFlag:
    return FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=100)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_flag_is_seen_and_gone_in_the_next_test(turn: str, db: None) -> None:
    assert flag_enabled("banner") is False
    switch_on("banner")
    assert flag_enabled("banner") is True


@pytest.mark.parametrize("turn", ["first", "second"])
def test_flag_that_is_committed_is_seen_in_threads(turn: str, transactional_db: None) -> None:
    assert flag_enabled("banner") is False
    switch_on("banner")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(flag_enabled, ["banner"] * 4)) == [True] * 4


def test_question_without_the_mark_gives_its_default() -> None:
    assert flag_enabled("banner", default=True) is True
    assert get_value("gateway", "stripe") == "stripe"
    assert explain("banner", 42).error_code == "PROVIDER_NOT_READY"


def test_question_in_a_thread_without_the_mark_gives_its_default() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(flag_enabled, "banner", default=True).result() is True


def test_questions_are_not_counted_as_queries(db: None, django_assert_num_queries: Any) -> None:
    switch_on("banner")
    KeyValueStore.objects.create(key="gateway", value="paypal")
    with django_assert_num_queries(0):
        assert flag_enabled("banner", 42) is True
        assert get_value("gateway") == "paypal"


def test_page_of_the_live_server_follows_the_flag(live_server: Any) -> None:
    switch_on("new_checkout")
    with urlopen(f"{live_server.url}/checkout/") as response:
        assert response.read() == b"new checkout, paid through stripe"
