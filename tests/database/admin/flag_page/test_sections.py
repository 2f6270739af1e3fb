"""The sections below the form of a flag: evaluations per hour, and recent changes."""

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
from django.db import connection
from django.http import HttpRequest
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.admin.flag_page.evaluations import evaluations
from flagstaff.admin.flag_page.recent_changes import recent_changes
from flagstaff.models import Change, FeatureFlag
from tests.support.admin_pages import FLAGS, permit
from tests.support.stale_flags import KEY, collect_usage, evaluate
from tests.support.terminals import delete_usage

pytestmark = pytest.mark.django_db

Section = Callable[[Any, HttpRequest, Any], str]


@pytest.fixture(autouse=True)
def flag() -> FeatureFlag:
    """A flag without evaluations, whose history starts with its creation."""
    Change.objects.all().delete()
    delete_usage()
    return FeatureFlag.objects.create(key=KEY, enabled=True, rollout_percent=25)


@pytest.fixture
def request_of_admin(admin_user: User) -> HttpRequest:
    return request_of(admin_user)


def request_of(user: User) -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = user
    return request


def html_of(section: Section, request: HttpRequest, flag: FeatureFlag) -> str:
    model_admin = admin.site.get_model_admin(FeatureFlag)
    return section(model_admin, request, flag)


def text(html: str) -> str:
    """Returns the text of a section, without its chart."""
    without = re.sub(r"<svg.*?</svg>", "", html, flags=re.DOTALL)
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
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_usage (hour, key, defined, true_count, false_count, "
            "last_evaluated_at) VALUES (%s, %s, true, %s, %s, %s)",
            [hour(ago), key, true_count, false_count, min(hour(ago - 1), timezone.now())],
        )


def evaluations_of(request: HttpRequest, flag: FeatureFlag) -> str:
    return html_of(evaluations, request, flag)


def test_evaluations_of_a_day_are_summed(request_of_admin: HttpRequest, flag: FeatureFlag) -> None:
    collect_usage()
    count(0, 250, 750)
    count(23, 60, 180)
    count(24, 9999, 9999)
    count(1, 5, 5, key="another_flag")
    shown = text(evaluations_of(request_of_admin, flag))
    assert "1,240 evaluations in the last 24 hours, 25 % true, last just now." in shown
    assert "Counted since " in shown
    assert "Workers report every 60 s: later evaluations are not included yet." in shown


def test_chart_has_a_column_for_each_hour_with_evaluations(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    count(0, 0, 50)
    count(3, 75, 25)
    html = evaluations_of(request_of_admin, flag)
    chart = html[html.index("<svg") : html.index("</svg>")]
    heights = re.findall(
        r'class="flagstaff-(true|false)" x="[\d.]+%" y="[\d.]+" .*?height="(\d+)"', chart
    )
    assert heights == [("true", "81"), ("false", "27"), ("false", "54")]
    assert "100 evaluations an hour" in chart
    assert 'style="' not in html


def test_table_has_every_hour_newest_first(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    count(0, 1, 2)
    count(3, 75, 1025)
    html = evaluations_of(request_of_admin, flag)
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", html)]
    found = [row for row in cells if row]
    assert len(found) == 24
    assert (found[0], found[1], found[3]) == (["1", "2"], ["0", "0"], ["75", "1,025"])


@pytest.mark.parametrize(
    ("true_count", "false_count", "share"),
    [(1, 999, "less than 1 %"), (999, 1, "more than 99 %"), (0, 7, "0 %"), (7, 0, "100 %")],
)
def test_share_of_true_is_all_or_nothing_only_if_exact(
    request_of_admin: HttpRequest, flag: FeatureFlag, true_count: int, false_count: int, share: str
) -> None:
    count(0, true_count, false_count)
    assert f", {share} true," in text(evaluations_of(request_of_admin, flag))


def test_evaluations_before_the_day_are_named_without_a_chart(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    evaluate(KEY, 3)
    html = evaluations_of(request_of_admin, flag)
    assert re.search(r"No evaluation in the last 24 hours, last 3.days ago\.", text(html))
    assert "<svg" not in html


def test_flag_without_evaluations_says_so(request_of_admin: HttpRequest, flag: FeatureFlag) -> None:
    collect_usage()
    assert "No evaluation in the last 30 days." in text(evaluations_of(request_of_admin, flag))


def test_usage_that_was_not_counted_for_long_is_no_evidence_of_a_month(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    count(2, 1, 1, key="another_flag")
    shown = text(evaluations_of(request_of_admin, flag))
    assert "No evaluation since counting began." in shown


def test_usage_that_is_turned_off_is_named(
    request_of_admin: HttpRequest, flag: FeatureFlag, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    shown = text(evaluations_of(request_of_admin, flag))
    assert "Usage is turned off: USAGE_INTERVAL is 0." in shown


def test_lost_workers_are_counted(request_of_admin: HttpRequest, flag: FeatureFlag) -> None:
    collect_usage(until=0.1)
    collect_usage(until=2, pid=2)
    shown = text(evaluations_of(request_of_admin, flag))
    assert "1 worker did not shut down cleanly: some evaluations may be missing." in shown
    assert "No worker is reporting now." in shown


def test_missing_table_of_usage_is_one_sentence(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_usage RENAME TO moved")
    assert text(evaluations_of(request_of_admin, flag)) == (
        "Evaluations per hour The evaluations cannot be shown. This needs PostgreSQL, the "
        "migrations of flagstaff, and the permission to read its tables."
    )


def test_evaluations_take_two_queries(request_of_admin: HttpRequest, flag: FeatureFlag) -> None:
    count(0, 1, 2)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        evaluations_of(request_of_admin, flag)
    assert len(queries) == 2


def changes_of(request: HttpRequest, flag: FeatureFlag) -> list[str]:
    """Returns the text of each row of the recent changes."""
    html = html_of(recent_changes, request, flag)
    return [text(row) for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)[1:]]


def test_newest_five_changes_are_shown_with_actor_and_reason(
    request_of_admin: HttpRequest, flag: FeatureFlag, admin_user: User
) -> None:
    for percent in range(30, 90, 10):
        with acting_as(admin_user, reason=f"step {percent}"):
            changes.set_rollout(KEY, percent)
    found = changes_of(request_of_admin, flag)
    assert len(found) == 5
    assert re.fullmatch(
        r".*, \d\d:\d\d:\d\d \w+ rollout_percent 70 → 80 admin code step 80", found[0]
    )


def test_each_change_links_to_its_version_in_the_history(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    changes.set_rollout(KEY, 30)
    html = html_of(recent_changes, request_of_admin, flag)
    version = Change.objects.latest("id").pk
    assert f'href="{FLAGS}{flag.pk}/history/#version-{version}"' in html
    assert f'href="{FLAGS}{flag.pk}/history/">Whole history' in html


def test_allowed_users_are_a_number_without_the_permission_to_view_users(
    request_of_admin: HttpRequest, flag: FeatureFlag, admin_user: User
) -> None:
    changes.add_allowed_users(KEY, [admin_user])
    staff = User.objects.create_user("staff", is_staff=True)
    permit(staff, "view_featureflag")
    assert "added 1 allowed user (admin)" in changes_of(request_of_admin, flag)[0]
    assert "added 1 allowed user postgres" in changes_of(request_of(staff), flag)[0]


def test_flag_without_a_history_has_no_section(
    request_of_admin: HttpRequest, flag: FeatureFlag
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE flagstaff_change RENAME TO moved")
    assert not html_of(recent_changes, request_of_admin, flag)
