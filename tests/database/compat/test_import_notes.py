"""What an import from waffle says about the project: settings, URLs, cookies and groups."""

from __future__ import annotations

from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.urls import include, path
from django.views.generic import RedirectView

from flagstaff._words.times import today
from tests.support.terminals import document, run
from tests.support.waffle_rows import flag, sample, switch
from tests.support.watched_groups import watch_groups

pytestmark = pytest.mark.django_db


def import_notes() -> list[str]:
    found: list[str] = document("import-from", "waffle", "--dry-run")["notes"]
    return found


def test_project_with_the_defaults_of_waffle_has_no_notes() -> None:
    flag()
    switch()
    assert import_notes() == []


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("OVERRIDE", "?NAME=1 in a URL turns a flag on in waffle"),
        ("FLAG_DEFAULT", "pass default=True to flag_enabled()"),
        ("SWITCH_DEFAULT", "pass default=True to flag_enabled()"),
        ("SAMPLE_DEFAULT", "pass default=True to flag_enabled()"),
        ("CREATE_MISSING_FLAGS", '"manage.py flags usage --unknown" lists such names'),
        ("CREATE_MISSING_SWITCHES", '"manage.py flags usage --unknown" lists such names'),
        ("CREATE_MISSING_SAMPLES", '"manage.py flags usage --unknown" lists such names'),
    ],
)
def test_setting_that_matters_is_named(settings: Any, setting: str, advice: str) -> None:
    setattr(settings, f"WAFFLE_{setting}", True)
    [note] = import_notes()
    assert note.startswith(f"WAFFLE_{setting} is True: ")
    assert advice in note
    assert note in run("import-from waffle").err


def test_urls_of_waffle_are_named(settings: Any) -> None:
    urls: Any = ModuleType("urls")
    home = path("home", RedirectView.as_view(url="/"))
    of_site: list[Any] = [path("flags/", include("waffle.urls")), home]
    urls.urlpatterns = [path("site/", include(of_site))]
    settings.ROOT_URLCONF = urls
    [note] = import_notes()
    assert note.startswith("the URLs /site/flags/waffle_status, /site/flags/wafflejs of waffle ")
    assert "pass --client-side" in note


@pytest.mark.parametrize("use_tz", [True, False])
def test_last_day_of_cookies_is_named_if_a_flag_has_a_percentage(
    use_tz: bool, settings: Any
) -> None:
    settings.USE_TZ = use_tz
    sample(percent=10)
    flag("disabled", everyone=False, percent=10)
    assert import_notes() == []
    flag("ab", percent=10)
    settings.WAFFLE_MAX_AGE = 3 * 24 * 60 * 60 - 1
    day = today() + timedelta(days=3)
    [note] = import_notes()
    assert note == (
        'if flagstaff serves these flags from today, set KEEP_COOKIES_UNTIL in FLAGSTAFF["WAFFLE"] '
        f'to "{day}", so that browsers keep the results of their cookies: ab'
    )
    waffle = {"KEEP_COOKIES_UNTIL": str(day)}
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "WAFFLE": waffle}
    assert import_notes() == []


def test_groups_that_are_not_watched_are_named_if_a_rule_reads_them() -> None:
    flag("other")
    flag().groups.add(Group.objects.create(name="beta"))
    renamed, note = import_notes()
    assert renamed == (
        "rules have the names of groups: if a group is renamed, its users lose checkout until the "
        "next import"
    )
    assert note.startswith("rules read groups, but triggers on ")
    assert note.endswith('"manage.py check --database default" says what to do')
    watch_groups()
    assert import_notes() == [renamed]
