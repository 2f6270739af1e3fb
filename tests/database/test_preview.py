"""The preview of a flag in one browser: where it applies, what ends it, what it leaves alone."""

import time
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.utils.http import http_date
from django.views import View
from django.views.decorators.cache import cache_page
from django.views.decorators.http import condition
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request

from flagstaff import (
    Flag,
    all_flags,
    changes,
    explain,
    flag_enabled,
    refresh,
    resolve_flag,
    snapshot,
)
from flagstaff._core import Observation
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.forced_off import force_off
from flagstaff._request.flags import PREVIEW_COOKIES
from flagstaff.admin.flag import preview
from flagstaff.admin.flag.admin import FeatureFlagAdmin
from flagstaff.contrib.drf import HasFlag
from flagstaff.contrib.jinja2 import FlagstaffExtension
from flagstaff.decorators import flag_required
from flagstaff.experiments import get_variant
from flagstaff.experiments.models import Exposure
from flagstaff.mixins import FlagRequiredMixin
from flagstaff.models import Change, FeatureFlag
from flagstaff.rollouts.models import SignalCount
from flagstaff.testing import live_engine, override_flag
from tests.conftest import RunIsolated
from tests.support.admin_pages import FLAGS
from tests.support.experiments import KEY as EXPERIMENT
from tests.support.fixtures import COMMITTED
from tests.support.pages import code_of
from tests.support.screen import Screen
from tests.support.shop import OPENED, Shop
from tests.support.sql import rows
from tests.support.terminals import run
from tests.support.views import rendered

KEY = "search_v2"
BUTTON = f"{FLAGS}preview/"
COOKIE, SECURE_COOKIE = PREVIEW_COOKIES
OFREP = "/ofrep/v1/evaluate/flags"
TAG = "{% load flagstaff %}{% flag 'search_v2' %}on{% endflag %}"
CACHES = ("Update", "FetchFrom")
EVE = User.objects.filter(username="eve")
[BAR] = code_of("how-to/environments.md", "django")

Path = Callable[[Any], bool]
declared = dict[str, Flag]()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("on")


def other(request: HttpRequest) -> HttpResponse:
    return HttpResponse("off")


class Guarded(FlagRequiredMixin, View):
    flag_key, flag_otherwise = KEY, other

    def get(self, request: HttpRequest) -> HttpResponse:
        return page(request)


def is_on(response: Any) -> bool:
    return bool(response.content == b"on")


def of_framework(request: HttpRequest) -> Request:
    return Request(request, authenticators=[SessionAuthentication()])


def in_jinja(request: Any) -> bool:
    from jinja2 import Environment

    environment = Environment(extensions=[FlagstaffExtension])
    template = environment.from_string("{% flag 'search_v2' %}on{% endflag %}")
    return template.render(request=request) == "on"


#: What evaluates the flag for the user of a request, in its context.
PATHS: dict[str, Path] = {
    "function": lambda request: flag_enabled(KEY, request.user),
    "primary key": lambda request: flag_enabled(KEY, request.user.pk),
    "reason": lambda request: resolve_flag(KEY, request.user).value,
    "explain": lambda request: explain(KEY, request.user).value,
    "all": lambda request: all_flags(request.user)[KEY],
    "snapshot": lambda request: snapshot().flag_enabled(KEY, request.user),
    "request.flags": lambda request: request.flags.enabled(KEY),
    "all of request.flags": lambda request: request.flags.all()[KEY],
    "template variable": lambda request: (
        rendered(request, "{{ request.flags.search_v2 }}") == "True"
    ),
    "template tag": lambda request: rendered(request, TAG) == "on",
    "Jinja": in_jinja,
    "decorator": lambda request: is_on(flag_required(KEY, other)(page)(request)),
    "mixin": lambda request: is_on(Guarded.as_view()(request)),
    "REST framework": lambda request: HasFlag(KEY)().has_permission(of_framework(request), None),
    "class": lambda request: declared[KEY].enabled(request.user),
}


def on_all_paths(request: Any) -> JsonResponse:
    """Evaluates the flag on each path, as often as the request says."""
    times = int(request.GET.get("times", "1"))
    return JsonResponse(
        {name: [evaluate(request) for _ in range(times)] for name, evaluate in PATHS.items()}
    )


async def in_event_loop(request: Any) -> JsonResponse:
    user = await request.auser()
    return JsonResponse(
        {
            "request.flags": [await request.flags.aenabled(KEY)],
            "all": [(await request.flags.aall())[KEY]],
            "function": [flag_enabled(KEY, user)],
            "decorator": [is_on(await flag_required(KEY, other)(async_page)(request))],
        }
    )


async def async_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("on")


def for_others(request: Any) -> JsonResponse:
    """Evaluates the flag for other users, and outside the context of the request."""
    in_thread = list[bool]()
    thread = Thread(target=lambda: in_thread.append(flag_enabled(KEY, request.user)))
    thread.start()
    thread.join()
    with Observation():
        in_task = flag_enabled(KEY, request.user)
    with read_own_writes():
        of_own_writes = flag_enabled(KEY, request.user)
    nobody = [flag_enabled(KEY), flag_enabled(KEY, 999), flag_enabled(KEY, User(pk=999))]
    return JsonResponse({"others": [*nobody, *in_thread, in_task, of_own_writes]})


def shown(request: Any) -> HttpResponse:
    return HttpResponse("on" if request.flags.enabled(KEY) else "off")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("flagstaff.contrib.ofrep.urls")),
    path("paths/", on_all_paths),
    path("paths/async/", in_event_loop),
    path("others/", for_others),
    path("bar/", lambda request: HttpResponse(rendered(request, BAR))),
    path("shown/", shown),
    path("cached/", cache_page(600)(shown)),
    path("cached/visitor/", cache_page(600)(lambda request: HttpResponse(request.flags.visitor))),
    path("stored/", condition(lambda _: '"1"', lambda _: OPENED)(shown)),
]


@pytest.fixture(autouse=True)
def site(settings: Any, shop: Shop, db: None) -> Iterator[None]:
    """A flag that is on at 0 %, and pages behind the middleware."""
    shop.flag(KEY, client_side=True)
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    declared[KEY] = Flag(KEY, kind="ops", client_side=True)
    yield
    declared.clear()


@pytest.fixture
def browser(shop: Shop) -> Client:
    """A browser where eve, who may toggle flags, previews the flag as on."""
    client = shop.client("eve", "view_featureflag", "toggle_featureflag")
    assert client.post(BUTTON, {"key": KEY, "result": "on"}).status_code == 302
    refresh()
    return client


def results(client: Client, url: str = "/paths/", times: int = 1) -> set[bool]:
    """Returns the results that differ between paths and evaluations, with those of OFREP."""
    response = client.get(url, {"times": times})
    results = {value for values in response.json().values() for value in values}
    if url == "/paths/":
        single = client.post(f"{OFREP}/{KEY}", {"context": {}}, "application/json").json()
        every = client.post(OFREP, {"context": {}}, "application/json").json()["flags"]
        results |= {single["value"], *(flag["value"] for flag in every if flag["key"] == KEY)}
    return results


@COMMITTED
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("fields", [{}, {"enabled": False}, {"rollout_percent": 100}], ids=str)
def test_each_path_has_the_preview_and_without_it_the_flag(
    shop: Shop, fields: dict[str, Any]
) -> None:
    FeatureFlag.objects.filter(key=KEY).update(**fields)
    client, by_flag = shop.client(), "rollout_percent" in fields
    refresh()
    assert results(client, times=50) == {by_flag}
    for state in ("on", "off"):
        client.post(BUTTON, {"key": KEY, "result": state})
        assert results(client, times=200) == {state == "on"}
    client.post(BUTTON, {"key": KEY, "end": "1"})
    assert results(client, times=50) == {by_flag}


@COMMITTED
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("percent", [0, 100])
def test_each_path_in_an_event_loop_has_the_preview(shop: Shop, percent: int) -> None:
    FeatureFlag.objects.filter(key=KEY).update(rollout_percent=percent)
    client, loop = shop.client(), AsyncClient()
    client.post(BUTTON, {"key": KEY, "result": "off" if percent else "on"})
    loop.cookies = client.cookies
    refresh()
    response = async_to_sync(loop.get)("/paths/async/")
    assert {value for values in response.json().values() for value in values} == {not percent}


def test_preview_has_an_effect_in_direct_mode(browser: Client) -> None:
    assert results(browser) == {True}


@COMMITTED
@pytest.mark.usefixtures("engine")
def test_preview_is_for_its_user_in_the_context_of_the_request_only(browser: Client) -> None:
    assert browser.get("/others/").json() == {"others": [False] * 6}
    assert flag_enabled(KEY, EVE.get()) is False


def forge(client: Client) -> None:
    signed = client.cookies[COOKIE].value
    client.cookies[COOKIE] = signed[:-1] + ("A" if signed[-1] != "A" else "B")


def move(client: Client, user: str, **options: Any) -> Client:
    """Copies the cookie into a new session of a user."""
    copied = Client(**options)
    copied.force_login(User.objects.get(username=user))
    copied.cookies[COOKIE] = client.cookies[COOKIE].value
    return copied


def log_in_again(client: Client) -> None:
    """Logs out, which deletes no cookie of ours, and in again."""
    signed = client.cookies[COOKIE].value
    client.logout()
    client.force_login(EVE.get())
    client.cookies[COOKIE] = signed


def change_password(client: Client) -> None:
    user = EVE.get()
    user.set_password("another")
    user.save()
    session = client.session
    session["_auth_user_hash"] = user.get_session_auth_hash()
    session.save()


def kill_and_turn_on(client: Client) -> None:
    changes.flags.disable(KEY)
    changes.flags.enable(KEY)


def create_again(client: Client) -> None:
    changes.flags.delete(KEY)
    changes.flags.create(KEY)


def kill_without_an_entry(client: Client) -> None:
    """Kills the flag where the history cannot be written, and turns it on again."""
    rows("ALTER TABLE flagstaff_featureflag DISABLE TRIGGER flagstaff_history_update_v1")
    changes.flags.disable(KEY)
    changes.flags.enable(KEY)
    rows("ALTER TABLE flagstaff_featureflag ENABLE TRIGGER flagstaff_history_update_v1")


ATTACKS: dict[str, Callable[[Client], object]] = {
    "forged": forge,
    "copied to another user": lambda client: move(client, "ben"),
    "copied to another session": lambda client: move(client, "eve"),
    "copied to another host": lambda client: client.defaults.update(SERVER_NAME="localhost"),
    "sent as the cookie of https": lambda client: client.cookies.load(
        {SECURE_COOKIE: client.cookies.pop(COOKIE).value}
    ),
    "logged out": lambda client: client.logout(),
    "logged in again": log_in_again,
    "new password": change_password,
    "right taken away": lambda _client: EVE.get().user_permissions.clear(),
    "staff no more": lambda _client: EVE.update(is_staff=False),
    "killed": lambda _client: changes.flags.disable(KEY),
    "killed and on again": kill_and_turn_on,
    "killed by SQL": lambda _client: rows("UPDATE flagstaff_featureflag SET enabled = false"),
    "killed without an entry": kill_without_an_entry,
    "rolled out": lambda _client: changes.flags.set_rollout(KEY, 1),
    "created again": create_again,
}


@COMMITTED
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_preview_ends(shop: Shop, browser: Client, attack: Callable[[Client], object]) -> None:
    shop.user("ben")
    assert browser.get("/shown/").content == b"on"
    client = attack(browser)
    attacker = client if isinstance(client, Client) else browser
    refresh()
    assert attacker.get("/shown/").content == b"off"


def test_preview_ends_after_an_hour(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for seconds, content in ((3_590, b"on"), (3_610, b"off")):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: now + seconds)
        assert browser.get("/shown/").content == content


def test_new_secret_key_ends_the_preview_although_sessions_go_on(
    settings: Any, browser: Client
) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"
    assert browser.get("/bar/").content.split() == [b"<body>"]
    assert browser.get(FLAGS).status_code == 200


def test_class_of_the_project_can_refuse_the_preview(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureFlagAdmin, "has_toggle_permission", lambda *_: False)
    assert browser.get("/shown/").content == b"off"


@COMMITTED
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("end", [changes.flags.disable, lambda key: run(f"kill {key} --no-wait")])
def test_kill_of_a_flag_that_is_off_ends_its_preview_without_an_entry(
    browser: Client, end: Callable[[str], object]
) -> None:
    changes.flags.disable(KEY)
    browser.post(BUTTON, {"key": KEY, "result": "on"})
    refresh()
    assert browser.get("/shown/").content == b"on"
    entries = Change.objects.count()
    end(KEY)
    assert browser.get("/shown/").content == b"off"
    assert Change.objects.count() == entries


def killed_meanwhile(request: Any) -> JsonResponse:
    """Kills the flag, which is off, before the second evaluation."""
    before = request.flags.enabled(KEY)
    changes.flags.disable(KEY)
    refresh()
    return JsonResponse({"results": [before, request.flags.enabled(KEY)]})


@COMMITTED
@pytest.mark.usefixtures("engine")
def test_kill_ends_the_preview_in_a_request_that_is_handled(browser: Client) -> None:
    changes.flags.disable(KEY)
    browser.post(BUTTON, {"key": KEY, "result": "on"})
    refresh()
    assert browser.get("/killed/").json() == {"results": [True, False]}


@COMMITTED
def test_kill_between_the_check_and_the_evaluation_ends_the_preview(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_after_the_query(*arguments: Any, **options: Any) -> None:
        changes.flags.disable(KEY)
        refresh()

    with live_engine():
        monkeypatch.setattr(preview, "page_path", killed_after_the_query)
        assert browser.get("/shown/").content == b"off"


def test_test_and_environment_win_over_the_preview(browser: Client) -> None:
    with override_flag(KEY, False):
        assert results(browser) == {False}
    force_off([KEY])
    try:
        assert results(browser) == {False}
    finally:
        force_off([])


def test_link_of_another_site_sets_no_preview(shop: Shop) -> None:
    shop.user("ana")
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="ana"))
    assert client.get(BUTTON, {"key": KEY, "result": "on"})["Location"] == FLAGS
    assert client.get("/shown/").content == b"off"
    assert client.post(BUTTON, {"key": KEY, "result": "on"}).status_code == 403
    assert client.get("/shown/", {COOKIE: "on"}).content == b"off"


def test_user_who_may_only_view_the_flag_cannot_preview_it(shop: Shop) -> None:
    client = shop.client("viewer", "view_featureflag")
    assert client.post(BUTTON, {"key": KEY, "result": "on"}).status_code == 403
    page = Screen(client.get(f"{FLAGS}{shop.flag(KEY, client_side=True).pk}/change/"))
    assert "Preview on" not in page.buttons


@pytest.mark.parametrize("order", ["in", "around"])
def test_page_of_a_preview_is_neither_stored_nor_taken_from_the_cache(
    settings: Any, shop: Shop, browser: Client, order: str
) -> None:
    update, fetch = (f"django.middleware.cache.{name}CacheMiddleware" for name in CACHES)
    *others, own = settings.MIDDLEWARE
    if order == "around":
        settings.MIDDLEWARE = [update, *others, own, fetch]
    # A client that has sent a request keeps its middleware.
    visitor, session = Client(), browser.cookies
    browser = Client()
    browser.cookies = session
    url = "/shown/" if order == "around" else "/cached/"
    assert visitor.get(url).content == b"off"
    response = browser.get(url)
    assert response.content == b"on"
    assert "no-store" in response["Cache-Control"]
    assert "private" in response["Cache-Control"]
    assert "Cookie" in response["Vary"]
    assert visitor.get(url).content == b"off"
    browser.post(BUTTON, {"key": KEY, "end": "1"})
    assert browser.get(url).content == b"off"


def test_page_that_the_browser_has_stored_before_is_sent_again(browser: Client) -> None:
    for name, value in (("If-None-Match", '"1"'), ("If-Modified-Since", http_date(time.time()))):
        response = browser.get("/stored/", headers={name: value})
        assert (response.status_code, response.content) == (200, b"on")
    browser.post(BUTTON, {"key": KEY, "end": "1"})
    assert browser.get("/stored/", headers={"If-None-Match": '"1"'}).status_code == 304


def test_permission_of_the_project_may_evaluate_flags_also_for_the_visitor(
    shop: Shop, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.flag("visitor_banner")

    def has_permission(_: object, request: Any, flag: object = None) -> bool:
        request.flags.enabled("visitor_banner")
        return True

    assert Client().get("/cached/").content == b"off"
    monkeypatch.setattr(FeatureFlagAdmin, "has_toggle_permission", has_permission)
    assert browser.get("/cached/").content == b"on"


def test_permission_of_the_project_may_refuse_by_the_visitor_whose_page_is_not_stored(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_permission(_: object, request: Any, flag: object = None) -> bool:
        return request.flags.visitor is None

    monkeypatch.setattr(FeatureFlagAdmin, "has_toggle_permission", has_permission)
    pages = {client.get("/cached/visitor/").content for client in (browser, Client())}
    assert len(pages) == 2


@COMMITTED
def test_preview_counts_in_no_usage_and_no_plan(shop: Shop, browser: Client) -> None:
    shop.plan(KEY)
    browser.post(BUTTON, {"key": KEY, "result": "on"})
    before = counted()
    with live_engine():
        assert results(browser, times=20) == {True}
    assert counted() == before
    browser.post(BUTTON, {"key": KEY, "end": "1"})
    with live_engine():
        results(browser)
    # So the first part could have found something.
    assert all(now > then for now, then in zip(counted(), before, strict=True))


@COMMITTED
def test_plan_of_another_flag_measures_no_request_with_a_preview(
    shop: Shop, browser: Client
) -> None:
    shop.flag("other", owner="search")
    shop.plan("other")
    for end, is_measured in (("", False), ("1", True)):
        if end:
            browser.post(BUTTON, {"key": KEY, "end": end})
        with live_engine():
            assert browser.get("/failing/").status_code == 500
        assert bool(measured()) == is_measured


@COMMITTED
def test_experiment_records_no_unit_that_meets_it_in_a_request_with_a_preview(
    shop: Shop, browser: Client
) -> None:
    shop.experiment()
    for end, units in (("", 0), ("1", 1)):
        if end:
            browser.post(BUTTON, {"key": KEY, "end": end})
        with live_engine():
            assert browser.get("/experiment/").content in {b"control", b"treatment"}
        assert Exposure.objects.count() == units


def experiment(request: Any) -> HttpResponse:
    return HttpResponse(get_variant(EXPERIMENT, request.user))


def failing(request: Any) -> HttpResponse:
    """A page with another flag that has a plan, where the previewed feature fails."""
    request.flags.enabled("other")
    return HttpResponse(status=500)


def measured() -> int:
    """Returns how many signals all plans have counted."""
    [(total,)] = rows(f"SELECT sum(count) FROM {SignalCount._meta.db_table}")
    return int(total or 0)


def counted() -> list[int]:
    """Returns how often the flag was counted, and measured for its plan."""
    of_flag = "FROM flagstaff_usage WHERE key = %s AND result IN ('true', 'false')"
    [(total,)] = rows(f"SELECT sum(count) {of_flag}", KEY)
    return [int(total or 0), measured()]


def test_preview_works_with_read_only_and_writes_nothing(
    settings: Any, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    client, before = shop.client("eve", "toggle_featureflag"), rows("TABLE flagstaff_featureflag")
    entries = Change.objects.count()
    client.post(BUTTON, {"key": KEY, "result": "on"})
    assert client.get("/shown/").content == b"on"
    assert (rows("TABLE flagstaff_featureflag"), Change.objects.count()) == (before, entries)
    user = EVE.get()
    assert f"user {user.pk} previews {KEY} as on for an hour" in caplog.text


def test_refused_preview_with_read_only_names_the_permission(settings: Any, shop: Shop) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "READ_ONLY": True}
    client = shop.client("eve", "view_featureflag")
    response = client.post(BUTTON, {"key": KEY, "result": "on"})
    assert response.status_code == 403
    text = "To do this, you need the permission “Can toggle flag”."
    assert Screen(response).texts(".flagstaff-problem") == [text]


def test_cookie_is_for_this_host_and_no_script(shop: Shop) -> None:
    client = shop.client()
    client.post(BUTTON, {"key": KEY, "result": "on"})
    plain = client.cookies[COOKIE]
    client.post(BUTTON, {"key": KEY, "result": "on"}, secure=True)
    secure = client.cookies[SECURE_COOKIE]
    for cookie in (plain, secure):
        assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Lax", 3_600)
        assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert (plain["secure"], secure["secure"]) == ("", True)


def test_browser_previews_at_most_ten_flags(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    client = shop.client()
    for number in range(11):
        shop.flag(f"flag_{number}", owner="search")
        response = client.post(BUTTON, {"key": f"flag_{number}", "result": "on"}, follow=True)
    assert "Preview at most 10 flags: end the preview first." in Screen(response).text
    assert Screen(client.get("/bar/")).text.count(" on until ") == 10
    assert "previews flag_9 " in caplog.text
    assert "previews flag_10 " not in caplog.text


def test_pages_say_what_is_previewed_and_end_it(shop: Shop, browser: Client) -> None:
    url = f"{FLAGS}{shop.flag(KEY, client_side=True).pk}/change/"
    page = Screen(browser.get(url))
    assert "Preview in this browser: search_v2 on until" in page.text
    [menu] = page.all(".flagstaff-menu")
    assert menu.buttons == ["Preview on", "Preview off", "End the preview"]
    line = Screen(browser.get("/bar/"))
    assert "Preview in this browser: search_v2 on until" in line.text
    assert "What you do on the pages is real." in line.text
    response = browser.post(BUTTON, {"end": "1", "back": "/bar/"})
    assert response["Location"] == "/bar/"
    assert browser.get("/bar/").content.split() == [b"<body>"]
    assert browser.post(BUTTON, {"end": "1", "back": "//evil.example"})["Location"] == FLAGS


def test_explain_names_the_preview(browser: Client) -> None:
    explained = browser.get("/explained/").json()
    assert explained == ["PREVIEW", "preview", "previewed in this browser"]


def test_cookie_has_no_effect_without_the_admin(run_isolated: RunIsolated) -> None:
    script = f"""
import django
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import path
urlpatterns = [path("", lambda request: HttpResponse("a page"))]
settings.configure(
    ALLOWED_HOSTS=["testserver"], ROOT_URLCONF=__name__, SECRET_KEY="key", USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "flagstaff"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    MIDDLEWARE=["flagstaff.middleware.FlagstaffMiddleware"],
)
django.setup()
client = Client()
client.cookies["{COOKIE}"] = "any"
print(client.get("/").content)
"""
    assert run_isolated(script, DJANGO_SETTINGS_MODULE="") == "b'a page'\n"


def explained(request: Any) -> JsonResponse:
    explanation = explain(KEY, request.user)
    return JsonResponse(
        [explanation.reason, explanation.override, str(explanation.deciding_step.text)], safe=False
    )


urlpatterns += [
    path("killed/", killed_meanwhile),
    path("explained/", explained),
    path("failing/", failing),
    path("experiment/", experiment),
]
