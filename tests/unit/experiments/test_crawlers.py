"""The ready function for IS_CRAWLER."""

import pytest
from django.test import RequestFactory

from flagstaff.experiments import crawlers

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (FIREFOX, False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", True),
        ("curl/8.5.0", True),
        ("", True),
        (None, True),
    ],
)
def test_crawlers_and_requests_without_a_user_agent_are_named(
    agent: str | None, expected: bool
) -> None:
    headers = {} if agent is None else {"User-Agent": agent}
    assert crawlers.is_crawler(RequestFactory().get("/", headers=headers)) is expected


def test_user_agent_is_searched_once_and_the_cache_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crawlers._names_crawler.cache_clear()
    searched: list[str] = []
    monkeypatch.setattr("crawleruseragents.is_crawler", searched.append)
    for _ in range(2):
        crawlers.is_crawler(RequestFactory().get("/", headers={"User-Agent": "a" * 1_000}))
    # Longer texts take longer.
    assert searched == ["a" * 500]
    assert crawlers._names_crawler.cache_info().maxsize == 4_000
    crawlers._names_crawler.cache_clear()
