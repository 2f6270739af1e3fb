"""The panel of Django Debug Toolbar."""

import asyncio
import json
import logging
from collections.abc import Iterator
from threading import Barrier, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.core.checks.registry import registry
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from flagstaff import _log, experiments, flag_enabled, get_value, listeners
from flagstaff.contrib import toolbar
from flagstaff.experiments import get_variant
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.conftest import RunIsolated
from tests.support.fixtures import COMMITTED
from tests.support.screen import Screen

PAGE = "<html><body>a page</body></html>"
#: Where two requests wait for each other.
both_threads = Barrier(2)


def evaluated(request: HttpRequest) -> HttpResponse:
    """Evaluates what the request names, for each user that it names."""
    users: list[str | None] = [*request.GET.getlist("user")]
    for user in users or [None]:
        for key in request.GET.getlist("flag"):
            flag_enabled(key, user, context={"plan": request.GET.get("plan", "")})
        for key in request.GET.getlist("value"):
            get_value(key, "a default")
        for key in request.GET.getlist("variant"):
            get_variant(key, user)
    return HttpResponse(PAGE)


async def evaluated_async(request: HttpRequest) -> HttpResponse:
    return evaluated(request)


def waiting(request: HttpRequest) -> HttpResponse:
    both_threads.wait(10)
    response = evaluated(request)
    both_threads.wait(10)
    return response


async def waiting_async(request: HttpRequest) -> HttpResponse:
    for _turn in range(5):
        await asyncio.sleep(0)
        await evaluated_async(request)
    return HttpResponse(PAGE)


#: Tasks of `outlived`.
outliving: list[asyncio.Task[HttpResponse]] = []


async def outlived(request: HttpRequest) -> HttpResponse:
    """Leaves a task behind, which evaluates after the response."""

    async def later() -> HttpResponse:
        await asyncio.sleep(0.05)
        return evaluated(request)

    outliving[:] = [asyncio.create_task(later())]
    return evaluated(request)


def odd_keys(_request: HttpRequest) -> HttpResponse:
    """Evaluates keys that no page can hold."""
    flag_enabled("\udc80")
    flag_enabled("a\0")
    return HttpResponse(PAGE)


@pytest.fixture(autouse=True)
def project(settings: Any) -> Iterator[None]:
    """A project with the toolbar, in a process whose first request is yet to come."""
    checks = registry.registered_checks.copy()
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda _request: True}
    settings.DEBUG_TOOLBAR_PANELS = [
        "debug_toolbar.panels.history.HistoryPanel",
        "flagstaff.contrib.toolbar.FlagsPanel",
        "debug_toolbar.panels.sql.SQLPanel",
    ]
    toolbar_middleware = "debug_toolbar.middleware.DebugToolbarMiddleware"
    settings.MIDDLEWARE = [toolbar_middleware, *settings.MIDDLEWARE]
    urlpatterns = [
        path("", evaluated),
        path("async/", evaluated_async),
        path("outlived/", outlived),
        path("waiting/", waiting),
        path("waiting-async/", waiting_async),
        path("odd/", odd_keys),
        path("admin/", admin.site.urls),
        path("__debug__/", include("debug_toolbar.urls")),
    ]
    settings.ROOT_URLCONF = type("Urls", (), {"urlpatterns": urlpatterns})
    yield
    # The toolbar registers its own at its first import, for the whole process.
    registry.registered_checks = checks
    # The toolbar ends the record of an async request in the thread of the loop only. All later
    # tests of the process would make a stack trace of each query.
    for connection in connections.all():
        vars(connection)["_djdt_logger"] = None


def stats_of(response: Any) -> dict[str, Any]:
    """What the history of the toolbar has of a request."""
    from debug_toolbar.toolbar import DebugToolbar

    stored = DebugToolbar.fetch(response["djdt-request-id"], "FlagsPanel")
    assert stored is not None
    [panel] = stored.panels
    stats: dict[str, Any] = panel.get_stats()
    return stats


def panel_of(response: Any, client: Client) -> Screen:
    """The panel, as the browser fetches it after a click."""
    query = {"request_id": response["djdt-request-id"], "panel_id": "FlagsPanel"}
    return Screen(client.get("/__debug__/render_panel/", query).json()["content"])


def keys_of(response: Any) -> list[str]:
    return [result["key"] for result in stats_of(response)["results"]]


def test_panel_shows_results_with_reasons_and_numbers(client: Client, alice: User) -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    team = FeatureFlag.objects.create(key="team", enabled=True)
    team.allowed_users.add(alice)
    FeatureFlag.objects.create(key="old")
    KeyValueStore.objects.create(key="limit", value={"a": 3})
    experiments.create("button")
    experiments.start("button")
    flags = ["banner", "banner", "half", "team", "old", "unknown"]
    query: Any = {
        "flag": flags,
        "value": ["limit", "none"],
        "variant": ["button"],
        "user": alice.pk,
    }
    half = flag_enabled("half", alice.pk)
    response = client.get("/", query)
    assert panel_of(response, client).rows == [
        ["banner", "flag", "on", "STATIC", "2"],
        ["half", "flag", "on" if half else "off", "SPLIT", "1"],
        ["team", "flag", "on", "TARGETING_MATCH", "1"],
        ["old", "flag", "off", "DISABLED", "1"],
        ["unknown", "flag", "off", "FLAG_NOT_FOUND", "1"],
        ["limit", "value", '{"a": 3}', "STATIC", "1"],
        ["none", "value", "the default of the call", "FLAG_NOT_FOUND", "1"],
        ["button", "variant", get_variant("button", alice.pk), "SPLIT", "1"],
    ]
    assert "9 evaluations" in response.content.decode()


def test_rule_that_decides_is_named(client: Client) -> None:
    rules = [
        {
            "conditions": [{"attribute": "plan", "operator": "in", "values": [plan]}],
            "rollout_percent": percent,
        }
        for plan, percent in (("gold", 100), ("silver", 1))
    ]
    FeatureFlag.objects.create(key="banner", enabled=True, rules=rules)
    plans = [{"flag": "banner", "user": 3, "plan": plan} for plan in ("gold", "silver", "")]
    results = [panel_of(client.get("/", query), client).rows[0] for query in plans]
    assert [result[3] for result in results] == [
        "TARGETING_MATCH, rule 1",
        "SPLIT, rule 2",
        "SPLIT",
    ]


def test_same_key_with_two_results_has_two_rows(client: Client, alice: User) -> None:
    FeatureFlag.objects.create(key="team", enabled=True).allowed_users.add(alice)
    query: Any = {"flag": "team", "user": [alice.pk, 0]}
    response = client.get("/", query)
    assert panel_of(response, client).rows == [
        ["team", "flag", "on", "TARGETING_MATCH", "1"],
        ["team", "flag", "off", "SPLIT", "1"],
    ]


def test_page_without_evaluations_says_so(client: Client) -> None:
    assert "has evaluated no flag" in panel_of(client.get("/"), client).text


def test_secret_value_is_nowhere_in_the_toolbar(client: Client) -> None:
    KeyValueStore.objects.create(key="password", value="hunter2", secret=True)
    response = client.get("/", {"value": ["password", "other"]})
    panel = panel_of(response, client).html
    seen = [json.dumps(stats_of(response)), response.content.decode(), panel]
    assert not any("hunter2" in text for text in seen)
    # The default of a call may be the secret itself.
    assert not any("a default" in text for text in seen)
    assert "********" in seen[0]


def test_markup_is_escaped_and_a_long_value_is_cut(client: Client) -> None:
    KeyValueStore.objects.create(key="<b>", value="<script>")
    KeyValueStore.objects.create(key="text", value="x" * 10_000)
    markup, text = panel_of(client.get("/", {"value": ["<b>", "text"]}), client).rows
    assert markup[:3] == ["<b>", "value", '"<script>"']
    assert text[2] == f'"{"x" * 298}…'


def test_key_that_no_page_can_hold_has_replacement_characters(client: Client) -> None:
    rows = panel_of(client.get("/odd/"), client).rows
    assert [row[0] for row in rows] == ["\ufffd", "a\ufffd"]


def test_number_of_rows_has_a_limit(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbar, "_MAX_RESULTS", 2)
    panel = panel_of(client.get("/", {"flag": ["a", "b", "c", "a"]}), client)
    assert [(row[0], row[4]) for row in panel.rows] == [("a", "2"), ("b", "1")]
    assert "Only the first 2 different results are shown." in panel.text


# Requests at the same time, and code outside of requests.


def test_async_view_and_middleware_show_their_evaluations() -> None:
    FeatureFlag.objects.create(key="banner", enabled=True, rollout_percent=100)
    for address in ("/", "/async/"):
        response = async_to_sync(AsyncClient().get)(address, {"flag": "banner"})
        assert keys_of(response) == ["banner"]
        assert stats_of(response)["results"][0]["text"] == "on"


def test_task_that_outlives_its_request_changes_no_shown_number() -> None:
    async def visit() -> list[Any]:
        response = await AsyncClient().get("/outlived/", {"flag": "one"})
        before = stats_of(response)
        for task in outliving:
            await task
        return [before, stats_of(response)]

    before, after = async_to_sync(visit)()
    assert before == after
    assert [result["key"] for result in before["results"]] == ["one"]


def test_async_requests_at_the_same_time_show_their_own_evaluations() -> None:
    async def both() -> list[Any]:
        return await asyncio.gather(
            *(AsyncClient().get("/waiting-async/", {"flag": key}) for key in ("one", "two"))
        )

    responses = async_to_sync(both)()
    assert [keys_of(response) for response in responses] == [["one"], ["two"]]
    assert [stats_of(response)["results"][0]["count"] for response in responses] == [5, 5]


@COMMITTED
def test_threads_at_the_same_time_show_their_own_evaluations() -> None:
    responses: dict[str, Any] = {}

    def visit(key: str) -> None:
        responses[key] = Client().get("/waiting/", {"flag": key})

    with live_engine():
        threads = [Thread(target=visit, args=(key,)) for key in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {key: keys_of(response) for key, response in responses.items()} == {
        "one": ["one"],
        "two": ["two"],
    }


def test_code_outside_of_requests_is_not_recorded(client: Client) -> None:
    response = client.get("/", {"flag": "one"})
    flag_enabled("two")
    assert keys_of(response) == ["one"]
    assert toolbar._results.get() is None


def test_listener_is_there_during_requests_with_the_panel_only(client: Client) -> None:
    client.cookies["djdtFlagsPanel"] = "off"
    client.get("/", {"flag": "one"})
    client.cookies["djdtFlagsPanel"] = "on"
    client.get("/", {"flag": "one"})
    assert listeners._added == []


def test_link_leads_a_superuser_to_the_page_of_the_key(admin_client: Client) -> None:
    flag = FeatureFlag.objects.create(key="a/b?c&d")
    value = KeyValueStore.objects.create(key="limit", value=1)
    experiments.create("button")
    query = {"flag": ["a/b?c&d", "unknown"], "value": "limit", "variant": "button"}
    response = admin_client.get("/", query)
    links = [url for _text, url in panel_of(response, admin_client).links]
    assert [parse_qs(urlsplit(link).query)["key"] for link in links] == [
        ["a/b?c&d"], ["unknown"], ["limit"], ["button"],
    ]  # fmt: skip
    targets = [admin_client.get(link) for link in links]
    assert [target.headers.get("Location") for target in targets[:3]] == [
        f"/admin/flagstaff/featureflag/{flag.pk}/change/",
        None,
        f"/admin/flagstaff/keyvaluestore/{value.pk}/change/",
    ]
    assert targets[1].status_code == 404
    assert admin_client.get(targets[3]["Location"]).status_code == 200


def test_link_of_a_user_without_the_permission_is_a_404(client: Client, alice: User) -> None:
    FeatureFlag.objects.create(key="banner")
    link = "/__debug__/flagstaff/?kind=flag&key=banner"
    alice.is_staff = True
    alice.save()
    client.force_login(alice)
    assert client.get(link).status_code == 404
    alice.user_permissions.add(Permission.objects.get(codename="view_featureflag"))
    assert panel_of(client.get("/", {"flag": "banner"}), client).link("banner") == link
    assert client.get(link).status_code == 302
    assert client.get(link.replace("flag&", "other&")).status_code == 404


def test_panel_works_without_the_admin(run_isolated: RunIsolated) -> None:
    script = """
import django
from django.conf import settings
apps = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.staticfiles"]
settings.configure(
    INSTALLED_APPS=[*apps, "flagstaff", "debug_toolbar"], STATIC_URL="static/", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEBUG_TOOLBAR_PANELS=["flagstaff.contrib.toolbar.FlagsPanel"],
)
django.setup()
from flagstaff.contrib.toolbar import _row
print(_row("flag", "banner", "on", "STATIC", 1)["url"])
"""
    assert run_isolated(script, DJANGO_SETTINGS_MODULE="") == "None\n"


def test_error_of_the_panel_does_not_break_the_page(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_log, "_logged", set())

    def broken(*args: object) -> None:
        raise RuntimeError("personal data")

    monkeypatch.setattr(toolbar, "_text", broken)
    with caplog.at_level(logging.WARNING, "flagstaff"):
        response = client.get("/", {"flag": "two"})
    assert response.content.decode().startswith("<html><body>a page")
    assert keys_of(response) == []
    assert len(caplog.messages) == 1
    assert "personal data" not in caplog.text
