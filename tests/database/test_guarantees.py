"""Guarantees of SECURITY.md over every URL of the package: a new page is tested, too."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, include, path

from flagstaff import changes
from flagstaff.experiments.models import Experiment
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment, WaitingAction
from flagstaff.rollouts.models import Plan
from tests.support import urls
from tests.support.admin_pages import RECENT
from tests.support.shop import Shop

urlpatterns = [
    *urls.urlpatterns,
    path("flags/", include("flagstaff.urls")),
    path("", include("flagstaff.contrib.ofrep.urls")),
    path("health/", include("flagstaff.health")),
]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

# Its rules name the segment enterprise.
KEY = "invoices"
MODELS: dict[str, Any] = {
    "featureflag": FeatureFlag,
    "keyvaluestore": KeyValueStore,
    "segment": Segment,
    "plan": Plan,
    "experiment": Experiment,
    "waitingaction": WaitingAction,
}
# Each would show in a statement that contains it.
MARKER = "x'\"%s;--"
# What pages read from the query, and what their forms post.
PARAMETERS = [
    *("_confirmed", "action", "actor", "before", "changed", "context", "days", "flag"),
    *("format", "from", "key", "kind", "like", "o", "p", "page", "q"),
    *("restore", "source", "state", "tag", "time", "to", "transaction", "undo", "user"),
]


def urls_below(prefix: str) -> Iterator[str]:
    """Yields the URLs of the package below a prefix, with the primary key of a row of the model."""
    yield from (url for url in _urls(get_resolver().url_patterns, "/") if url.startswith(prefix))


def _urls(patterns: list[URLPattern | URLResolver], start: str) -> Iterator[str]:
    for pattern in patterns:
        url = start + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _urls(pattern.url_patterns, url)
        elif "flagstaff" in (pattern.lookup_str + url) and "(" not in url:
            model = next((name for name in MODELS if f"/{name}/" in url), "")
            if "<path:object_id>" in url:
                url = url.replace("<path:object_id>", str(MODELS[model].objects.get().pk))
            yield url.replace("<path:key>", KEY)


@pytest.fixture(autouse=True)
def rows(shop: Shop) -> None:
    """A row of each model, with changes that can be undone."""
    shop.user("ana")
    shop.flag(KEY, rollout_percent=1)
    changes.flags.set_rollout(KEY, 2)
    shop.value()
    shop.plan(KEY, state="pending")
    shop.experiment(state="draft")
    shop.waiting(f"off {KEY}")


def state() -> list[Any]:
    """All rows that decide what users get, and the number of entries in the history."""
    tables = [[*model._base_manager.order_by("pk").values()] for model in MODELS.values()]
    return [*tables, Change.objects.count()]


@pytest.fixture
def admin(shop: Shop) -> Client:
    client = shop.client("ana")
    client.raise_request_exception = False
    return client


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_request_outside_of_the_admin_changes_no_row(admin: Client, method: str) -> None:
    before = state()
    urls = [url for start in ("/flags/", "/ofrep/", "/health/") for url in urls_below(start)]
    assert len(urls) >= 6
    data = '{"key": "invoices", "enabled": false, "rollout_percent": 100, "context": {}}'
    for url in urls:
        admin.generic(method, url, data, "application/json")
    assert state() == before


@pytest.fixture
def statements(admin: Client) -> Iterator[list[str]]:
    """The statements of a test, of which none has a text of a request in it."""
    executed: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        executed.append(str(sql))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        yield executed
    assert len(executed) >= 100
    assert [text for text in executed if MARKER in text or ";--" in text] == []


@pytest.mark.thorough
def test_get_request_of_any_page_of_the_admin_changes_no_row_and_is_part_of_no_statement(
    admin: Client, statements: list[str]
) -> None:
    before, entry = state(), Change.objects.latest("id").pk
    urls = [*urls_below("/admin/flagstaff")]
    assert len(urls) >= 40
    requests: list[tuple[str, dict[str, Any]]] = [
        *((url, {"_confirmed": 1, "q": MARKER}) for url in urls),
        *((url, dict.fromkeys(PARAMETERS, MARKER)) for url in urls),
        (RECENT, {"_confirmed": 1, "undo": entry}),
        (RECENT, {"_confirmed": 1, "restore": entry}),
        (RECENT, {"_confirmed": 1, "transaction": entry, "undo": "all"}),
    ]
    for url, query in requests:
        assert admin.get(url, query).status_code < 500, (url, query)
    assert state() == before


@pytest.mark.thorough
def test_text_of_a_post_request_is_part_of_no_statement(
    admin: Client, statements: list[str]
) -> None:
    for url in urls_below("/admin/flagstaff"):
        if not url.endswith("/delete/"):
            admin.post(url, dict.fromkeys(PARAMETERS, MARKER))


def test_post_without_a_csrf_token_is_refused_by_every_page_of_the_admin(admin: Client) -> None:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    strict.cookies = admin.cookies
    before = state()
    for url in urls_below("/admin/flagstaff"):
        assert strict.post(url, {"_confirmed": "1"}).status_code in {302, 403, 405}, url
    assert state() == before
