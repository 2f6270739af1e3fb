"""The code of the quickstart and of the how-to pages works."""

from __future__ import annotations

import doctest
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.checks import run_checks
from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.test import RequestFactory, override_settings

from flagstaff._engine.request_flags import RequestFlags
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value
from tests.support import terminals
from tests.support.pages import DOCS, code_of

pytestmark = pytest.mark.django_db


def defined(page: str, having: str) -> dict[str, Any]:
    """Runs a block of a page and returns its names."""
    [block] = code_of(page, "python", having)
    names: dict[str, Any] = {"INSTALLED_APPS": []}
    exec(block, names)
    return names


@pytest.fixture
def alice() -> User:
    return User.objects.create(username="alice")


def templates_in(folder: Path) -> dict[str, Any]:
    return {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [folder],
        "OPTIONS": {"libraries": {"flagstaff": "flagstaff.templatetags.flagstaff"}},
    }


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/")

    async def auser() -> Any:
        return user

    request.user, request.auser = user, auser
    request.session = SessionStore()
    request.flags = RequestFlags(request)  # type: ignore[attr-defined]
    return request


def test_quickstart_view_depends_on_the_flag(alice: User) -> None:
    checkout = defined("quickstart.md", "def checkout")["checkout"]
    assert checkout(request_of(alice)).content == b"three pages"
    defined("quickstart.md", "changes.create")
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert checkout(request_of(alice)).content == b"three pages"
    flag.allowed_users.add(alice)
    FeatureFlag.objects.update(enabled=True)
    assert checkout(request_of(alice)).content == b"one page"
    assert checkout(request_of(AnonymousUser())).content == b"three pages"


def test_quickstart_works_from_top_to_bottom(admin_user: User) -> None:
    assert admin_user.username == "admin"
    page = (DOCS / "quickstart.md").read_text()
    shown: list[str] = []
    blocks = re.findall(r"^```(console|pycon)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for language, code in blocks:
        if language == "pycon":
            session = doctest.DocTestParser().get_doctest(code, {}, "quickstart", None, 0)
            assert doctest.DocTestRunner().run(session, out=shown.append).failed == 0, shown
        for line in re.findall(r"^\$ python manage.py flags (.+)$", code, re.MULTILINE):
            ran = terminals.run(line)
            assert ran.status == 0, ran.err
    flag = FeatureFlag.objects.get(key="new_checkout")
    assert (flag.enabled, flag.rollout_percent) == (False, 50)


def test_task_evaluates_by_primary_key(alice: User) -> None:
    send_invoice = defined("how-to/tasks.md", "send_invoice")["send_invoice"]
    flag = FeatureFlag.objects.create(key="invoices_as_pdf", enabled=True)
    flag.allowed_users.add(alice)
    assert send_invoice(alice.pk, "7") == "pdf for 7, from billing@example.com"
    assert send_invoice(alice.pk + 1, "7") == "html for 7, from billing@example.com"


def test_batch_uses_one_snapshot(alice: User) -> None:
    invoice_all = defined("how-to/tasks.md", "invoice_all")["invoice_all"]
    flag = FeatureFlag.objects.create(key="invoices_as_pdf", enabled=True, rollout_percent=100)

    def users() -> Iterator[User]:
        yield alice
        FeatureFlag.objects.filter(pk=flag.pk).update(enabled=False)
        yield alice

    assert invoice_all(users()) == [alice, alice]


def test_script_continues_after_the_first_load() -> None:
    defined("how-to/tasks.md", "def main")["main"]()


@pytest.mark.django_db(transaction=True)
def test_script_sees_its_own_committed_change() -> None:
    with live_engine():
        assert defined("how-to/tasks.md", "def open_shop")["open_shop"]() is True


@pytest.mark.django_db(transaction=True)
def test_trial_change_is_evaluated_and_rolled_back() -> None:
    would_be_on = defined("how-to/tasks.md", "def would_be_on")["would_be_on"]
    FeatureFlag.objects.create(key="new_checkout")
    assert would_be_on("new_checkout", 1) is True
    assert FeatureFlag.objects.get().enabled is False


def test_value_without_a_row_returns_the_default() -> None:
    names = defined("how-to/values.md", "def page_size")
    assert (names["page_size"](), names["carriers"]()) == (20, ["post"])
    KeyValueStore.objects.create(key="page_size", value=50)
    assert names["page_size"]() == 50


def test_value_is_created_and_changed() -> None:
    names = defined("how-to/values.md", "def choose_provider")
    names["choose_provider"]("paypal")
    assert names["provider"]() == "paypal"


@pytest.mark.parametrize(("value", "used"), [(10, 10), (90, 0), ("10", 0)])
def test_value_out_of_range_is_not_used(value: object, used: int) -> None:
    with override_value("discount", value):
        assert defined("how-to/values.md", "def discount")["discount"]() == used


def test_browser_gets_client_side_flags_only(alice: User, tmp_path: Path) -> None:
    FeatureFlag.objects.create(key="new_checkout", enabled=True, client_side=True)
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    [address] = defined("how-to/browser.md", "urlpatterns")["urlpatterns"]
    view = address.resolve("flags/").func
    [shown] = re.findall(r"^\{.+", code_of("how-to/browser.md", "console")[0], re.MULTILINE)
    assert json.loads(view(request_of(alice)).content) == json.loads(shown)
    [template] = code_of("how-to/browser.md", "django")
    (tmp_path / "page.html").write_text(template)
    page = defined("how-to/browser.md", "def page")["page"]
    with override_settings(TEMPLATES=[templates_in(tmp_path)]):
        assert b'{"new_checkout": false}' in page(request_of(alice)).content


def test_rollout_starts_with_the_team(alice: User) -> None:
    defined("how-to/rollout-and-kill.md", "def start")["start"]([alice])
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent) == (True, 0)
    assert list(flag.allowed_users.all()) == [alice]


def test_watchdog_disables_the_flag_with_a_reason() -> None:
    watch = defined("how-to/rollout-and-kill.md", "def watch")["watch"]
    FeatureFlag.objects.create(key="new_checkout", enabled=True)
    watch(0.01)
    assert FeatureFlag.objects.get().enabled is True
    watch(0.2)
    assert FeatureFlag.objects.get().enabled is False
    entry = Change.objects.latest("id")
    assert (entry.actor, entry.reason) == ("watchdog", "20% of the orders fail")


@pytest.mark.parametrize("having", ["import flag_enabled", "aenabled"])
def test_async_view_depends_on_the_flag(having: str, alice: User) -> None:
    checkout = async_to_sync(defined("how-to/async.md", having)["checkout"])
    assert checkout(request_of(alice)).content == b"old"
    with override_flag("new_checkout", True):
        assert checkout(request_of(alice)).content == b"new"


def test_template_of_an_async_view_evaluates_for_the_user(alice: User, tmp_path: Path) -> None:
    [template] = code_of("how-to/async.md", "django")
    (tmp_path / "page.html").write_text(template)
    FeatureFlag.objects.create(key="new_checkout", enabled=True).allowed_users.add(alice)
    page = async_to_sync(defined("how-to/async.md", "def page")["page"])
    with override_settings(TEMPLATES=[templates_in(tmp_path)]):
        assert page(request_of(alice)).content.split() == [b"new"]
        assert page(request_of(AnonymousUser())).content.split() == [b"old"]


def test_async_startup_waits_for_the_first_load() -> None:
    async_to_sync(defined("how-to/async.md", "aready")["startup"])()


def test_async_shutdown_stops_the_engine() -> None:
    async_to_sync(defined("how-to/async.md", "aclose")["shutdown"])()


def test_health_view_returns_json() -> None:
    response: HttpResponse = defined("reference/reasons.md", "def health")["health"](
        request_of(None)
    )
    assert (response.status_code, json.loads(response.content)["stale"]) == (200, False)


def test_settings_of_the_page_pass_the_checks() -> None:
    given = defined("reference/settings.md", "UNKNOWN_KEY")["FLAGSTAFF"]
    with override_settings(FLAGSTAFF=given):
        assert run_checks(tags=["flagstaff"]) == []


def test_evaluation_in_a_test_sees_its_transaction() -> None:
    FeatureFlag.objects.create(key="new_checkout", rollout_percent=100)
    assert (
        defined("discussions/consistency.md", "def open_and_evaluate")["open_and_evaluate"]()
        is True
    )


def test_all_templates_can_be_rendered() -> None:
    engine = Engine(libraries={"flagstaff": "flagstaff.templatetags.flagstaff"})
    for page in ("how-to/templates.md", "how-to/async.md"):
        for block in code_of(page, "django"):
            engine.from_string(block).render(Context())
