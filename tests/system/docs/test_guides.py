"""The code of the quickstart and of the how-to pages works."""

import doctest
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin import site
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpResponse
from django.template import RequestContext
from django.template.backends.jinja2 import Jinja2
from django.test import Client, override_settings
from django.urls import path, reverse
from django.utils.module_loading import import_string
from rest_framework.test import APIRequestFactory, force_authenticate

from flagstaff import Flag, acting_as, all_flags
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value
from tests.conftest import RunIsolated
from tests.support import terminals
from tests.support.check_messages import check_messages
from tests.support.pages import DOCS, blocks_in, code_of, names_of, template_of
from tests.support.screen import Screen
from tests.support.sql import rows
from tests.support.views import flagged_request_of, request_of, with_flags

pytestmark = pytest.mark.django_db

VIEWS, HISTORY = "how-to/views.md", "how-to/history.md"


@pytest.fixture
def page_html(tmp_path: Path, settings: Any) -> Path:
    """The template "page.html" of the project."""
    backend = "django.template.backends.django.DjangoTemplates"
    libraries = {"flagstaff": "flagstaff.templatetags.flagstaff"}
    options = {"libraries": libraries}
    settings.TEMPLATES = [{"BACKEND": backend, "DIRS": [tmp_path], "OPTIONS": options}]
    return tmp_path / "page.html"


def shop_request(user: Any) -> Any:
    async def auser() -> Any:
        return user

    request = flagged_request_of(user)
    request.auser, request.session = auser, SessionStore()
    return request


def test_quickstart_view_depends_on_the_flag(alice: User) -> None:
    checkout = names_of("quickstart.md", "def checkout")["checkout"]
    assert checkout(shop_request(alice)).content == b"three pages"
    names_of("quickstart.md", "NEW_CHECKOUT = Flag")
    assert checkout(shop_request(alice)).content == b"three pages"
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    assert checkout(shop_request(alice)).content == b"one page"
    assert checkout(shop_request(AnonymousUser())).content == b"three pages"


@pytest.mark.smoke
@pytest.mark.django_db(transaction=True)  # Each command is a change of its own, for the undo.
def test_quickstart_works_from_top_to_bottom() -> None:
    # Another one than user 42, whom the page explains.
    User.objects.create_superuser("admin", pk=1)
    names_of("quickstart.md", "NEW_CHECKOUT = Flag")
    shown: list[str] = []
    for language, code, _line in blocks_in(DOCS / "quickstart.md"):
        if language == "pycon":
            session = doctest.DocTestParser().get_doctest(code, {}, "quickstart", None, 0)
            assert doctest.DocTestRunner().run(session, out=shown.append).failed == 0, shown
        lines = re.findall(r"^\$ python manage.py flags (.+)\n((?:[^$].*\n)*)", code, re.MULTILINE)
        for line, question in lines:
            # Only what the page shows is asked.
            ran = terminals.asked(line, *(["y"] if question else []))
            assert (ran.status, question in ran.err) == (0, True), ran.err
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent) == (True, 50)


def test_task_evaluates_by_primary_key(alice: User) -> None:
    send_invoice = names_of(VIEWS, "send_invoice")["send_invoice"]
    flag = FeatureFlag.objects.create(key="invoices_as_pdf", enabled=True)
    flag.allowed_users.add(alice)
    assert send_invoice(alice.pk, "7") == "pdf for 7, from billing@example.com"
    assert send_invoice(alice.pk + 1, "7") == "html for 7, from billing@example.com"


def test_batch_uses_one_snapshot(alice: User) -> None:
    invoice_all = names_of(VIEWS, "invoice_all")["invoice_all"]
    flag = FeatureFlag.objects.create(key="invoices_as_pdf", enabled=True, rollout_percent=100)

    def users() -> Iterator[User]:
        yield alice
        FeatureFlag.objects.filter(pk=flag.pk).update(enabled=False)
        yield alice

    assert invoice_all(users()) == [alice, alice]


def test_script_continues_after_the_first_load() -> None:
    names_of(VIEWS, "def main")["main"]()


@pytest.mark.django_db(transaction=True)
def test_script_sees_its_own_committed_change() -> None:
    with live_engine():
        assert names_of(VIEWS, "def open_shop")["open_shop"]() is True


@pytest.mark.django_db(transaction=True)
def test_trial_change_is_evaluated_and_rolled_back() -> None:
    would_be_on = names_of(VIEWS, "def would_be_on")["would_be_on"]
    FeatureFlag.objects.create(key="new_checkout")
    assert would_be_on("new_checkout", 1) is True
    assert FeatureFlag.objects.get().enabled is False


def test_value_is_the_default_until_it_is_created_and_changed() -> None:
    names = names_of("how-to/values.md", "def page_size")
    assert (names["page_size"](), names["carriers"]()) == (20, ["post"])
    KeyValueStore.objects.create(key="page_size", value=50)
    assert names["page_size"]() == 50
    names = names_of("how-to/values.md", "def choose_provider")
    names["choose_provider"]("paypal")
    assert names["provider"]() == "paypal"


def test_browser_gets_client_side_flags_only(alice: User, page_html: Path) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, client_side=True)
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    [address] = names_of(VIEWS, "urlpatterns")["urlpatterns"]
    view = address.resolve("flags/").func
    [shown] = re.findall(r"^\{.+", code_of(VIEWS, "console")[0], re.MULTILINE)
    assert json.loads(view(shop_request(alice)).content) == json.loads(shown)
    page_html.write_text('{{ flags|json_script:"flags" }}')
    page = names_of(VIEWS, "def render_with_flags")["render_with_flags"]
    assert b'{"new_checkout": false}' in page(shop_request(alice)).content


def test_rollout_starts_with_the_team(alice: User) -> None:
    Flag("new_checkout")
    names_of("how-to/rollout-and-kill.md", "def start")["start"]([alice])
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (True, 0)
    assert list(flag.allowed_users.all()) == [alice]


def test_watchdog_disables_the_flag_with_a_reason() -> None:
    watch = names_of("how-to/rollout-and-kill.md", "def watch")["watch"]
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    watch(0.01)
    assert FeatureFlag.objects.get().enabled is True
    watch(0.2)
    assert FeatureFlag.objects.get().enabled is False
    entry = Change.objects.latest("id")
    assert (entry.actor, entry.reason) == ("watchdog", "20% of the orders fail")


def test_sql_of_the_page_kills_the_flag() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    rows(*code_of("how-to/rollout-and-kill.md", "sql"))
    assert FeatureFlag.objects.get().enabled is False


def test_async_view_depends_on_the_flag(alice: User) -> None:
    checkout = async_to_sync(names_of(VIEWS, "await request.auser()\n    return")["checkout"])
    assert checkout(shop_request(alice)).content == b"old"
    with override_flag("new_checkout", True):
        assert checkout(shop_request(alice)).content == b"new"


def test_template_of_an_async_view_evaluates_for_the_user(alice: User, page_html: Path) -> None:
    tag = '{% flag "new_checkout" customer %}new{% else %}old{% endflag %}'
    page_html.write_text(f"{{% load flagstaff %}}{tag}")
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    page = async_to_sync(names_of(VIEWS, "async def page")["page"])
    assert page(shop_request(alice)).content.split() == [b"new"]
    assert page(shop_request(AnonymousUser())).content.split() == [b"old"]


def test_async_startup_and_shutdown_wait_for_the_engine() -> None:
    async_to_sync(names_of(VIEWS, "aready")["startup"])()
    async_to_sync(names_of(VIEWS, "aclose")["shutdown"])()


def test_health_view_returns_json() -> None:
    health = names_of("reference/reasons.md", "def health")["health"]
    response: HttpResponse = health(shop_request(None))
    assert (response.status_code, json.loads(response.content)["stale"]) == (200, False)


def test_settings_of_the_page_pass_the_checks() -> None:
    own_settings = names_of("reference/settings.md", "UNKNOWN_KEY")["FLAGSTAFF"]
    with override_settings(FLAGSTAFF=own_settings):
        assert check_messages("flagstaff") == []


def test_evaluation_in_a_test_sees_its_transaction() -> None:
    FeatureFlag.objects.create(key="new_checkout", rollout_percent=100)
    names = names_of("how-to/propagation.md", "def open_and_evaluate")
    assert names["open_and_evaluate"]() is True


def test_views_are_for_those_who_have_the_flag(alice: User) -> None:
    decorated, classes = names_of(VIEWS, "@flag_required"), names_of(VIEWS, "FlagRequiredMixin")
    checkouts = decorated["checkout"], classes["Checkout"].as_view()
    reviews = [*map(async_to_sync, (decorated["reviews"], classes["Reviews"].as_view()))]
    for checkout, review in zip(checkouts, reviews, strict=True):
        assert checkout(request_of(alice)).content == b"old checkout"
        with pytest.raises(Http404):
            review(request_of(alice))
    with override_flag("new_checkout", True), override_flag("beta_reviews", True):
        assert checkouts[0](request_of(alice)).content == b"new checkout"
        assert checkouts[1](request_of(alice)).template_name == ["checkout.html"]
        assert {review(request_of(alice)).content for review in reviews} == {b"reviews"}


def test_requests_have_flags(alice: User) -> None:
    views = names_of(VIEWS, "def checkout_async")
    FeatureFlag.objects.create(key="banner")
    with override_flag("new_checkout", True):
        assert json.loads(views["checkout"](with_flags(request_of(alice))).content) == {
            "gateway": "stripe"
        }
        answer = async_to_sync(views["checkout_async"])(with_flags(request_of(alice)))
        assert json.loads(answer.content) == {"new": True}
    assert json.loads(views["checkout"](with_flags(request_of(alice))).content) == all_flags()


@pytest.mark.parametrize("page", [VIEWS, HISTORY])
def test_middleware_has_the_name_that_the_pages_give(page: str) -> None:
    [name] = names_of(page, "MIDDLEWARE +=")["MIDDLEWARE"]
    assert import_string(name) is FlagstaffMiddleware


def shown(text: str) -> str:
    """Renders a Django template for an anonymous user with a full cart."""
    return template_of(text).render(RequestContext(request_of(None), {"cart": 1}))


def test_templates_show_what_they_say() -> None:
    tags, expression = code_of(VIEWS, "django")
    with override_flag("summer_banner", True), override_value("support_mail", "us@example.com"):
        assert shown(tags).split("\n") == ["", "Summer is here.", "us@example.com", ""]
        assert shown(expression) == "Summer is in your cart.\n"
    assert shown(tags).split("\n") == ["", "Welcome.", "help@example.com", ""]
    assert shown(expression) == "\n"


def test_jinja2_shows_what_it_says(alice: User) -> None:
    [setting] = names_of(VIEWS, "jinja2")["TEMPLATES"]
    options = {"NAME": "jinja2", "DIRS": [], "APP_DIRS": True, "OPTIONS": setting["OPTIONS"]}
    backend = Jinja2(options)
    template = backend.from_string(code_of(VIEWS, "jinja")[0])
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
    names_of(HISTORY, "def release")["release"](42)
    acting_as("watchdog", reason="errors doubled")(FeatureFlag.objects.update)(enabled=False)
    assert changes() == [("deploy", "code", "release 42"), ("watchdog", "code", "errors doubled")]
    newest, older, *_ = names_of(HISTORY, "def audit")["audit"]("new_checkout")
    assert newest.endswith(" change by watchdog")
    assert older.endswith(" change by deploy")


def test_psql_can_set_the_actor() -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    [statements] = code_of(HISTORY, "sql")
    # The test has its transaction already.
    rows(statements.replace("BEGIN;", "").replace("COMMIT;", ""))
    assert changes()[-1] == ("alice", None, "ticket 7")


def test_history_page_code_reads_and_changes(alice: User) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout", rollout_percent=5)
    names = names_of(HISTORY, "def widen")
    read, widen = names["read"], names["widen"]
    seen = read("new_checkout")
    undo = widen("new_checkout", 25, seen)
    now = read("new_checkout")
    assert undo == f"python manage.py flags undo new_checkout {now}"
    assert widen("new_checkout", 25, now) == "nothing to undo"
    assert widen("new_checkout", 50, seen) == f"version {now}, not {seen}: read it again"
    with acting_as("deploy", reason="release 42"):
        flag.allowed_users.add(alice)
    last = names_of(HISTORY, "def last_change")["last_change"]("new_checkout")
    assert last == (now + 1, "deploy", "release 42", {}, 1)


def test_admin_site_of_the_page_can_be_the_default_site(
    run_isolated: RunIsolated, tmp_path: Path
) -> None:
    [code] = code_of("how-to/admin-set-up.md", "python", having="ShopAdminSite")
    (tmp_path / "own_site.py").write_text(code)
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import django
from django.contrib.admin import site
from django.contrib.admin.apps import AdminConfig
AdminConfig.default_site = "own_site.ShopAdminSite"
django.setup()
print(type(site._wrapped).__name__)
"""
    assert run_isolated(script, str(tmp_path)) == "ShopAdminSite\n"


def test_page_of_a_user_links_to_the_flags_of_the_user(
    admin_user: User, client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    registry: Any = site._registry
    monkeypatch.setitem(registry, User, registry[User])
    names_of("how-to/admin-set-up.md", "ShopUserAdmin")
    urls = {"urlpatterns": [path("admin/", site.urls)]}
    settings.ROOT_URLCONF = type("urls", (), urls)
    client.force_login(admin_user)
    user_page = Screen(client.get(f"/admin/auth/user/{admin_user.pk}/change/"))
    url = user_page.link("Flags of this user")
    assert url == f"/admin/flagstaff/featureflag/user/?user={admin_user.pk}"
    assert client.get(url).status_code == 200


SETUP = "how-to/admin-set-up.md"


def test_second_admin_site_has_the_pages_with_its_own_name(
    admin_user: User, client: Client, settings: Any
) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout")
    operators = names_of(SETUP, "AdminSite(name=")["operators"]
    settings.ROOT_URLCONF = type("urls", (), {"urlpatterns": [path("flags/", operators.urls)]})
    client.force_login(admin_user)
    listed = reverse("operators:flagstaff_featureflag_changelist")
    for url in (listed, f"{listed}{flag.pk}/change/", f"{listed}overview/"):
        html = client.get(url).content.decode()
        assert 'href="/flags/flagstaff/featureflag/' in html, url


def test_item_in_the_menu_of_wagtail_leads_to_the_overview(
    admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: dict[str, Any] = {}

    def register(name: str) -> Any:
        return lambda function: registered.setdefault(name, function)

    class MenuItem:
        def __init__(self, label: str, url: str, icon_name: str) -> None:
            self.url = url

    hooks = SimpleNamespace(register=register)
    for name, stand_in in {
        "wagtail": SimpleNamespace(hooks=hooks),
        "wagtail.admin": SimpleNamespace(),
        "wagtail.admin.menu": SimpleNamespace(MenuItem=MenuItem),
    }.items():
        monkeypatch.setitem(sys.modules, name, cast("Any", stand_in))
    names_of(SETUP, "from wagtail")
    item = registered["register_admin_menu_item"]()
    assert item.url == reverse("admin:flagstaff_featureflag_overview")
    assert item.is_shown(request_of(admin_user))
    assert not item.is_shown(request_of(AnonymousUser()))
