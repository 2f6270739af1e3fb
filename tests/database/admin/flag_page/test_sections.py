"""The sections below the form of a flag: its evaluations, and recent changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as zones
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff.admin.flag.page.release import release
from flagstaff.models import FeatureFlag
from tests.support.sql import rows as execute
from tests.support.stale_flags import KEY, collect_usage, evaluate, serve
from tests.support.terminals import delete_usage
from tests.support.usage_rows import add_usage
from tests.support.views import request_of

pytestmark = pytest.mark.django_db

Section = Callable[[Any, HttpRequest, Any], str]


@pytest.fixture(autouse=True)
def flag() -> FeatureFlag:
    """A flag without evaluations, whose history starts with its creation."""
    delete_usage()
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


@pytest.fixture
def as_admin(admin_user: User) -> Any:
    return request_of(admin_user)


def html_of(section: Section, request: HttpRequest, flag: FeatureFlag) -> str:
    if not request.GET:
        request.GET = QueryDict("period=7d")
    return section(admin.site.get_model_admin(FeatureFlag), request, flag)


def text(html: str) -> str:
    """Returns the text of a section, without its chart."""
    without = re.sub(r'<div class="flagstaff-release">.*?</div>', "", html, flags=re.DOTALL)
    apart = re.sub(r"</(p|h2|td|th|span|summary)>", " ", without)
    return unescape(" ".join(strip_tags(apart).split()))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the clock of the pages: an hour may end during a test."""
    present = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: present)


def hour(ago: int) -> datetime:
    present = timezone.now().astimezone(zones.utc)
    return present.replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago)


def count(ago: int, true_count: int, false_count: int, key: str = KEY) -> None:
    """Evaluations in the hour that began so many hours before the present one."""
    last = min(hour(ago - 1) - timedelta(seconds=1), timezone.now())
    for result, number in (("true", true_count), ("false", false_count)):
        if number:
            add_usage(key, result, number, last)


def test_evaluations_of_a_day_are_summed(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    collect_usage()
    count(0, 250, 750)
    count(23, 60, 180)
    count(24, 9999, 9999)
    count(1, 5, 5, key="another_flag")
    shown = text(html_of(release, as_admin, flag))
    assert "1,240 evaluations in the last 24 hours, 25 % true, last just now." in shown
    assert "Counted since " in shown
    assert "Workers report every 60 s: later evaluations are not included yet." in shown


def test_chart_and_table_have_every_hour(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    count(0, 0, 5_000)
    count(3, 7_500, 2_500)
    as_admin.GET = QueryDict("period=24h")
    html = html_of(release, as_admin, flag)
    chart = html[html.index("<svg") : html.index("</svg></div>")]
    [false, true] = re.findall(r'class="flagstaff-(?:false|true)" d="([^"]*)"', chart)
    assert re.findall(r"V(\d+)", false) == ["0", "56", "28", "56"]
    assert re.findall(r"V(\d+)", true) == ["14", "56"]
    assert "10,000 evaluations an hour" in chart
    assert 'style="' not in html
    found = [row for row in table_rows(html) if row]
    assert len(found) == 24
    assert found[0] == ["0", "5,000", "0 %"]
    assert found[1] == ["0", "0", ""]
    assert found[3] == ["7,500", "2,500", "75 %"]


def table_rows(html: str) -> list[list[str]]:
    """Returns the cells of each hour or day."""
    table = html[html.index("flagstaff-figures") :]
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", table)]


def test_month_is_counted_by_day(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    count(1, 10, 10)
    count(24 * 10, 30, 10)
    as_admin.GET = QueryDict("period=30d")
    html = html_of(release, as_admin, flag)
    assert "40 evaluations a day" in html
    assert "20 evaluations in the last 24 hours, 50 % true" in text(html)
    found = [row for row in table_rows(html) if row]
    assert len(found) == 30
    assert ["30", "10", "75 %"] in found


def test_share_of_true_is_all_or_nothing_only_if_exact(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    for true_count, false_count, share in (
        (0, 7, "0 %"),
        (1, 999, "less than 1 %"),
        (999, 1, "more than 99 %"),
        (7, 0, "100 %"),
    ):
        delete_usage()
        count(0, true_count, false_count)
        assert f", {share} true," in text(html_of(release, as_admin, flag))


def test_flag_without_evaluations_says_why(
    as_admin: HttpRequest, flag: FeatureFlag, settings: Any
) -> None:
    count(2, 1, 1, key="another_flag")
    shown = text(html_of(release, as_admin, flag))
    assert "No evaluation since counting began." in shown
    collect_usage()
    assert "No evaluation in the last 30 days." in text(html_of(release, as_admin, flag))
    evaluate(KEY, 3)
    html = html_of(release, as_admin, flag)
    assert re.search(r"No evaluation in the last 24 hours, last 3.days ago\.", text(html))
    assert "evaluations an hour" not in html
    delete_usage()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    shown = text(html_of(release, as_admin, flag))
    assert "Usage is turned off: USAGE_INTERVAL is 0." in shown


def test_flag_served_in_bulk_is_not_said_to_be_unused(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    collect_usage()
    serve(KEY, 40)
    assert "No evaluation in the last 30 days." in text(html_of(release, as_admin, flag))
    serve(KEY, 3)
    shown = text(html_of(release, as_admin, flag))
    assert "No evaluation" not in shown
    assert re.search(r"Served in bulk, last 3.days ago\. It is not known whether the code", shown)
    count(0, 1, 0)
    shown = text(html_of(release, as_admin, flag))
    assert "1 evaluation in the last 24 hours" in shown
    assert "It is not known" not in shown


def test_flag_served_to_browsers_is_in_use(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    collect_usage()
    serve(KEY, 3, to_browsers=True)
    shown = text(html_of(release, as_admin, flag))
    assert re.search(r"Served to browsers, last 3.days ago\.", shown)
    assert "No evaluation" not in shown
    assert "It is not known" not in shown


def test_missing_tables_are_one_sentence_or_no_section(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    execute("ALTER TABLE flagstaff_change RENAME TO moved")
    execute("ALTER TABLE flagstaff_usage RENAME TO moved_as_well")
    assert text(html_of(release, as_admin, flag)) == (
        "24 hours · 7 days · 30 days "
        "The changes and the evaluations cannot be shown. This needs PostgreSQL, the migrations of "
        "flagstaff, and the permission to read its tables."
    )
