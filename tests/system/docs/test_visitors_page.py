"""What the page about visitors says is so."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpResponse
from django.template import engines
from django.test import Client
from django.urls import path

from flagstaff.models import FeatureFlag
from tests.support import pages
from tests.support.buckets import bucket_of
from tests.support.draws import draws
from tests.support.pages import code_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

PAGE = "how-to/visitors.md"
NAME = "flagstaff_visitor"
# Those of a new project that the views of the page need.
DEFAULT_MIDDLEWARE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)


def names_of(text: str) -> dict[str, Any]:
    """The names that the block of the page with a text defines."""
    names: dict[str, Any] = {"__name__": "shop.consent", "MIDDLEWARE": [*DEFAULT_MIDDLEWARE]}
    return pages.names_of(PAGE, text, **names)


CONSENT = names_of("def is_given")


def front(request: Any) -> HttpResponse:
    return HttpResponse(str(request.flags.enabled("new_front")))


def cached_front(request: Any) -> HttpResponse:
    [block] = code_of(PAGE, "django", "new_front")
    return HttpResponse(engines["django"].from_string(block).render({}, request).strip())


urlpatterns = [
    path("", names_of("def front")["front"]),
    path("front/", front),
    path("front/cached/", cached_front),
    path("withdraw/", CONSENT["withdraw"]),
]


@pytest.fixture(autouse=True)
def site(settings: Any) -> None:
    settings.MIDDLEWARE = names_of("MIDDLEWARE")["MIDDLEWARE"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    FeatureFlag.objects.create(
        key="new_front", enabled=True, rollout_percent=50, bucket_by="visitor"
    )


@pytest.fixture
def consent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the page, in a project that has its module."""
    module: Any = ModuleType("shop.consent")
    module.is_given = CONSENT["is_given"]
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    monkeypatch.setitem(sys.modules, "shop.consent", module)
    settings.FLAGSTAFF = names_of("VISITOR_COOKIE")["FLAGSTAFF"]


def test_view_of_the_page_keeps_its_result_per_browser() -> None:
    seen: set[bytes] = set()
    for _ in draws(seen):
        client = Client()
        front = client.get("/").content
        assert client.get("/").content == front
        seen.add(front)
    assert seen == {b"new front", b"old front"}


@pytest.mark.usefixtures("consent")
def test_browser_gets_the_cookie_with_consent_only(client: Client) -> None:
    response = client.get("/front/")
    assert (response.content, len(response.cookies)) == (b"False", 0)
    client.cookies["consent"] = "yes"
    assert NAME in client.get("/front/").cookies
    response = client.post("/withdraw/")
    assert response.cookies[NAME]["max-age"] == response.cookies["consent"]["max-age"] == 0
    assert client.get("/withdraw/").status_code == 405


def test_fragments_of_the_page_are_those_of_the_result() -> None:
    seen: set[bytes] = set()
    for _ in draws(seen):
        client = Client()
        expected = {b"True": b"new", b"False": b"old"}[client.get("/front/").content]
        assert client.get("/front/cached/").content == expected
        seen.add(expected)
    assert seen == {b"new", b"old"}


def test_task_of_the_page_has_the_result_of_the_visitor() -> None:
    tasks = names_of("def send_receipt")
    FeatureFlag.objects.create(
        key="new_receipt", enabled=True, rollout_percent=50, bucket_by="visitor"
    )

    class Request:
        user = User(pk=1)

    class Queue:
        results: list[object] = []

        def enqueue(self, task: Any, *args: object, **kwargs: object) -> None:
            self.results.append(task(*args, **kwargs))

    request: Any = Request()
    for visitor in ("a", "b", "c", "d", None):
        request.flags = type("Flags", (), {"visitor": visitor})
        tasks["order"](request, Queue())
    expected = [bucket_of("new_receipt", visitor) < 50 for visitor in "abcd"]
    assert [*expected, False] == Queue.results
