"""Visitors and crawlers in experiments: who is recorded, and who gets the default."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from flagstaff import experiments
from flagstaff._engine import lifecycle
from flagstaff.experiments import explain_variant, get_variant, peek_variant
from flagstaff.experiments.models import Exposure, LostExposures
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.testing import live_engine
from tests.support.experiments import KEY
from tests.support.fixtures import COMMITTED, Load
from tests.support.shop import Shop

COOKIE = "flagstaff_visitor"

_asked: list[HttpRequest] = []


def is_bot(request: HttpRequest) -> bool:
    _asked.append(request)
    # It may evaluate the experiment itself.
    assert get_variant(KEY, 1, default="none")
    return "bot" in request.headers.get("User-Agent", "")


def fails(request: HttpRequest) -> bool:
    raise ValueError("no list")


@pytest.fixture
def asked() -> Iterator[list[HttpRequest]]:
    _asked.clear()
    yield _asked
    _asked.clear()


def visit(cookie: str | None = None, ask: Any = get_variant, agent: str = "") -> tuple[Any, Any]:
    """A request of a browser. Returns its result, and the cookie that the browser then has."""
    request = RequestFactory().get("/", headers={"User-Agent": agent})
    if cookie is not None:
        request.COOKIES[COOKIE] = cookie
    variants = []

    def view(request: HttpRequest) -> HttpResponse:
        variants.extend([ask(KEY), ask(KEY)])
        return HttpResponse()

    response: Any = FlagstaffMiddleware(view)(request)
    assert variants[0] == variants[1]
    new = response.cookies.get(COOKIE)
    return variants[0], new.value if new else cookie


@COMMITTED
def test_visitor_is_recorded_at_once_and_marked_when_the_cookie_comes_back(shop: Shop) -> None:
    shop.experiment(KEY, bucket_by="visitor")
    with live_engine():
        first, cookie = visit()
        other, _ = visit()
        assert {first, other} <= {"control", "treatment"}
        assert visit(cookie) == (first, cookie)
        lifecycle.close()
    assert sorted(Exposure.objects.values_list("returned", flat=True)) == [False, True]
    with live_engine():
        # In another process, too.
        assert visit(cookie)[0] == first
        lifecycle.close()
    assert Exposure.objects.filter(returned=True).count() == 1


@COMMITTED
def test_new_visitors_above_the_bound_get_the_default_and_are_counted(
    shop: Shop, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "NEW_VISITORS_PER_HOUR": 3}
    experiment = shop.experiment(KEY, bucket_by="visitor")
    with live_engine():
        visits = [visit() for _ in range(8)]
        shown = [variant for variant, _ in visits]
        assert None not in shown[:3]
        assert shown[3:] == [None] * 5
        # Both kinds stay what they were when their cookies come back.
        assert [visit(cookie)[0] for _, cookie in visits] == shown
        assert [visit(cookie, peek_variant)[0] for _, cookie in visits] == shown
        explained, _ = visit(visits[5][1], explain_variant)
        assert (explained.value, explained.reason) == (None, "LIMIT")
        # A visitor whom another worker may know is never left out.
        assert get_variant(KEY, context={"visitor": "of-another-worker"})
        lifecycle.close()
    assert Exposure.objects.count() == 4
    lost = LostExposures.objects.get(experiment=experiment)
    assert (lost.count, lost.left_out) == (0, 5)


@pytest.mark.parametrize("bucket_by", ["user", "visitor"])
def test_crawler_gets_the_default_and_the_function_runs_once_per_request(
    shop: Shop, load: Load, settings: Any, asked: list[HttpRequest], bucket_by: str
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "IS_CRAWLER": f"{__name__}.is_bot"}
    shop.experiment(KEY, bucket_by=bucket_by)
    load()

    def ask(key: str) -> Any:
        arguments: Any = {"user": 7, "context": {"visitor": "v"}}
        reason = explain_variant(key, **arguments).reason
        return get_variant(key, **arguments), peek_variant(key, **arguments), reason

    assert visit(agent="a bot", ask=ask)[0] == (None, None, "CRAWLER")
    assert len(asked) == 1
    variant, peeked, reason = visit(agent="a browser", ask=ask)[0]
    assert (variant in {"control", "treatment"}, peeked, reason) == (True, variant, "SPLIT")
    # Outside a request nobody is a crawler.
    assert get_variant(KEY, 7, context={"visitor": "v"}) in {"control", "treatment"}
    assert len(asked) == 2
    experiments.stop(KEY)
    load()
    visit(agent="a bot", ask=ask)
    assert len(asked) == 2


def test_failing_crawler_function_names_nobody(shop: Shop, settings: Any, caplog: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "IS_CRAWLER": f"{__name__}.fails"}
    shop.experiment(KEY)
    assert visit(ask=lambda key: get_variant(key, 7))[0] in {"control", "treatment"}
    [message] = [
        record.getMessage() for record in caplog.records if "IS_CRAWLER" in record.getMessage()
    ]
    assert "raised ValueError" in message
