"""What the how-to pages say of views and of the history is so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.template import Engine, RequestContext
from django.template.backends.jinja2 import Jinja2
from django.test import RequestFactory
from rest_framework.test import APIRequestFactory, force_authenticate

from flagstaff import acting_as, all_flags
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import Change, FeatureFlag
from flagstaff.testing import override_flag, override_value
from tests.support.pages import code_of

pytestmark = pytest.mark.django_db

VIEWS, CHANGES = "how-to/views.md", "how-to/audit-log.md"
TEMPLATES, HISTORY = "how-to/templates.md", "how-to/history.md"


def names_of(page: str, having: str) -> dict[str, Any]:
    """What a block of a page defines."""
    [block] = code_of(page, "python", having)
    names: dict[str, Any] = {"MIDDLEWARE": []}
    exec(block, names)
    return names


def request_of(user: Any) -> Any:
    request: Any = RequestFactory().get("/")
    request.user = user
    return request


def with_flags(user: Any) -> HttpRequest:
    """A request behind the middleware."""
    request: HttpRequest = request_of(user)
    FlagstaffMiddleware(lambda request: HttpResponse())(request)
    return request


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


def test_decorated_views_are_for_those_who_have_the_flag(alice: User) -> None:
    views = names_of(VIEWS, "@flag_required")
    reviews = async_to_sync(views["reviews"])
    assert views["checkout"](request_of(alice)).content == b"old checkout"
    with pytest.raises(Http404):
        reviews(request_of(alice))
    with override_flag("new_checkout", True), override_flag("beta_reviews", True):
        assert views["checkout"](request_of(alice)).content == b"new checkout"
        assert reviews(request_of(alice)).content == b"reviews"


def test_views_with_the_mixin_are_for_those_who_have_the_flag(alice: User) -> None:
    views = names_of(VIEWS, "FlagRequiredMixin")
    reviews = async_to_sync(views["Reviews"].as_view())
    assert views["Checkout"].as_view()(request_of(alice)).content == b"old checkout"
    with pytest.raises(Http404):
        reviews(request_of(alice))
    with override_flag("new_checkout", True), override_flag("beta_reviews", True):
        assert views["Checkout"].as_view()(request_of(alice)).template_name == ["checkout.html"]
        assert reviews(request_of(alice)).content == b"reviews"


def test_requests_have_flags(alice: User) -> None:
    views = names_of(VIEWS, "request.flags.enabled")
    FeatureFlag.objects.create(key="banner")
    with override_flag("new_checkout", True):
        assert json.loads(views["checkout"](with_flags(alice)).content) == {"gateway": "stripe"}
        answer = async_to_sync(views["checkout_async"])(with_flags(alice))
        assert json.loads(answer.content) == {"new": True}
    assert json.loads(views["checkout"](with_flags(alice)).content) == all_flags()


@pytest.mark.parametrize("page", [VIEWS, CHANGES])
def test_middleware_has_the_name_that_the_pages_give(page: str) -> None:
    [name] = names_of(page, "MIDDLEWARE +=")["MIDDLEWARE"]
    assert name == f"{FlagstaffMiddleware.__module__}.{FlagstaffMiddleware.__name__}"


def shown(text: str) -> str:
    """Renders a Django template for an anonymous user with a full cart."""
    processors = [
        "django.template.context_processors.request",
        "flagstaff.context_processors.flags",
    ]
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    engine = Engine(libraries=libraries, context_processors=processors)
    return engine.from_string(text).render(RequestContext(request_of(None), {"cart": 1}))


def test_templates_show_what_they_say() -> None:
    tags, expression = code_of(TEMPLATES, "django")
    with override_flag("summer_banner", True), override_value("support_mail", "us@example.com"):
        assert shown(tags).split("\n") == ["", "Summer is here.", "us@example.com", ""]
        assert shown(expression) == "Summer is in your cart.\n"
    assert shown(tags).split("\n") == ["", "Welcome.", "help@example.com", ""]
    assert shown(expression) == "\n"


def test_jinja2_shows_what_it_says(alice: User) -> None:
    [setting] = names_of(TEMPLATES, "jinja2")["TEMPLATES"]
    backend = Jinja2(
        {"NAME": "jinja2", "DIRS": [], "APP_DIRS": True, "OPTIONS": setting["OPTIONS"]}
    )
    template = backend.from_string(code_of(TEMPLATES, "jinja")[0])
    with override_flag("summer_banner", True):
        lines = str(template.render({"cart": 1}, request_of(alice))).split("\n")
    assert lines == ["Summer is here.", "help@example.com", "Summer is in your cart."]
    lines = str(template.render({"cart": 1}, request_of(alice))).split("\n")
    assert lines == ["Welcome.", "help@example.com", ""]


def test_endpoint_is_for_those_who_have_the_flag(alice: User) -> None:
    orders = names_of(VIEWS, "HasFlag")["Orders"].as_view()

    def status(user: User | None) -> int:
        request = APIRequestFactory().get("/")
        force_authenticate(request, user)
        return int(orders(request).status_code)

    assert status(alice) == 404
    with override_flag("new_api", True):
        assert (status(alice), status(None)) == (200, 403)


def changes() -> list[tuple[str | None, str | None, str | None]]:
    entries = Change.objects.order_by("id").values_list("actor", "source", "reason")
    return list(entries)[-2:]


def test_audit_log_has_the_actors_of_the_page(alice: User) -> None:
    FeatureFlag.objects.create(key="new_checkout")
    names_of(CHANGES, "def release")["release"](42)
    names_of(CHANGES, "@acting_as")["kill_new_checkout"]()
    assert changes() == [
        ("deploy", "code", "release 42"),
        ("watchdog", "code", "errors doubled"),
    ]
    lines = names_of(CHANGES, "def audit")["audit"]("new_checkout")
    assert [line.split(" ", 1)[1] for line in lines[:2]] == [
        "change by watchdog",
        "change by deploy",
    ]


def test_psql_can_set_the_actor() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    [statements] = code_of(CHANGES, "sql")
    with connection.cursor() as cursor:
        # The test has its transaction already.
        cursor.execute(statements.replace("BEGIN;", "").replace("COMMIT;", ""))
    assert changes()[-1] == ("alice", None, "ticket 7")


def test_history_page_code_reads_and_changes(alice: User) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", rollout_percent=5)
    names = names_of(HISTORY, "def widen")
    read, widen = names["read"], names["widen"]
    seen = read("new_checkout")
    assert widen("new_checkout", 25, seen) == "manage.py flags rollout new_checkout 5"
    now = read("new_checkout")
    assert widen("new_checkout", 25, now) == "nothing to undo"
    assert widen("new_checkout", 50, seen) == f"version {now}, not {seen}: read it again"
    with acting_as("deploy", reason="release 42"):
        flag.allowed_users.add(alice)
    last = names_of(HISTORY, "def last_change")["last_change"]("new_checkout")
    assert last == (now + 1, "deploy", "release 42", {}, 1)
