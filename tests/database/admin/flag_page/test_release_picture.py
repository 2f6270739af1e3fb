"""The picture of a release: the course of the rollout, and the marks of changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, QueryDict
from django.utils import timezone, translation
from django.utils.html import strip_tags

from flagstaff import acting_as, changes
from flagstaff.admin.flag.page.release import release
from flagstaff.models import FeatureFlag
from tests.support.sql import keep_indexes, rows, statements_of
from tests.support.stale_flags import KEY, evaluate, make_flag
from tests.support.terminals import delete_usage
from tests.support.views import request_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def flag() -> FeatureFlag:
    """A flag for half of all users that is older than all periods."""
    delete_usage()
    return make_flag()


@pytest.fixture
def as_admin(admin_user: User) -> Any:
    return request_of(admin_user)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the clock of the page: an hour may end during a test."""
    present = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: present)


def section(request: HttpRequest, flag: FeatureFlag, query: str = "period=7d") -> str:
    request.GET = QueryDict(query)
    flag.refresh_from_db()
    return release(admin.site.get_model_admin(FeatureFlag), request, flag)


def age_newest(hours: float) -> None:
    """Makes the newest entry older by so many hours."""
    rows(
        "UPDATE flagstaff_change SET at = at - make_interval(secs => %s) "
        "WHERE id = (SELECT max(id) FROM flagstaff_change)",
        hours * 3600,
    )


def set_rollout(percent: int, hours: float, actor: Any = "deploy", reason: str = "") -> None:
    """A change of the rollout so many hours ago."""
    with acting_as(actor, source="admin", reason=reason or f"step {percent}"):
        changes.flags.set_rollout(KEY, percent)
    age_newest(hours)


def lines(html: str, css: str = "course") -> list[tuple[str, float]]:
    """Returns the commands of the line, each with its last number."""
    [data] = re.findall(rf'class="flagstaff-{css}" d="([^"]*)"', html)
    return [(one, float(number)) for one, number in re.findall(r"([MHV])(?:\S* )?([\d.]+)", data)]


def heights(html: str, css: str = "course") -> list[float]:
    """Returns the rollouts that the line goes through."""
    return [100 - y / 0.8 for one, y in lines(html, css) if one == "V"]


def titles(html: str) -> list[str]:
    """Returns what the marks say, newest first."""
    return [unescape(one) for one in re.findall(r"<title>(.*?)</title>", html, re.DOTALL)]


def table(html: str) -> list[str]:
    """Returns the rows of the table of changes, newest first, without their times."""
    cells = re.findall(r'<td class="flagstaff-change">(.*?)</td>', html, re.DOTALL)
    return [unescape(" ".join(strip_tags(cell).split())) for cell in cells]


def label(html: str) -> str:
    """Returns the sentence for screen readers."""
    [found] = re.findall(r'role="img"[^>]* aria-label="([^"]*)"', html)
    return unescape(found)


def test_rollout_is_drawn_from_before_the_period_through_each_change(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    set_rollout(20, 100)
    set_rollout(80, 2)
    html = section(as_admin, flag)
    assert heights(html) == [50, 20, 80]
    assert lines(html, "course-unknown") == []
    assert label(html) == "The last 7 days: rollout from 50 % to 80 %, 2 changes, 0 evaluations."
    first, second, present = (x for one, x in lines(html) if one == "H")
    assert 390 < first < 410
    assert 980 < second < present <= 1000


def test_disabled_flag_has_a_rollout_of_zero(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    changes.flags.disable(KEY)
    age_newest(10)
    changes.flags.enable(KEY)
    html = section(as_admin, flag)
    assert heights(html) == [50, 0, 50]


def test_mark_and_row_have_actor_change_and_reason(
    as_admin: HttpRequest, flag: FeatureFlag, admin_user: User
) -> None:
    set_rollout(80, 30, admin_user, "INC-7 https://example.com/7")
    changes.flags.update(KEY, {"description": "New"})
    html = section(as_admin, flag)
    other, step = titles(html)
    assert re.fullmatch(
        r".*, \d\d:\d\d:\d\d \w+: admin · rollout 50 → 80 % · INC-7 https://example\.com/7",
        step,
    )
    assert "description" in other
    assert re.findall(r'<circle class="flagstaff-(step|other)" cx="[\d.]+%"', html) == [
        "other",
        "step",
    ]
    assert table(html)[1] == "rollout 50 → 80 % admin · admin · INC-7 https://example.com/7"
    assert '<a href="https://example.com/7" rel="noreferrer">' in html
    assert ">80 % admin</text>" in html


def test_allowed_users_are_only_counted(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    alice = User.objects.create(username="alice")
    changes.flags.allow(KEY, [alice])
    [row] = table(section(as_admin, flag))
    assert row.startswith("added 1 allowed user ")
    assert "alice" not in row


def test_changes_of_one_place_are_one_mark(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    for number in range(6):
        set_rollout(number, 50)
    html = section(as_admin, flag)
    [title] = titles(html)
    assert [line.rsplit(" ", 1)[1] for line in title.splitlines()] == [
        "5",
        "4",
        "3",
        "2",
        "changes",
    ]
    assert title.endswith("\nand 2 more changes")
    assert len(table(html)) == 6
    assert heights(html)[-1] == 5


def test_thousands_of_changes_are_drawn_and_counted_in_a_short_answer(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO flagstaff_change (at, transaction_id, relation, object_pk, key, action, "
            "old, new, object_table) "
            "SELECT now() - make_interval(mins => 9000 - n), n, 'f', %s, %s, 'update', "
            "jsonb_build_object('enabled', true, 'rollout_percent', (n - 1) %% 101), "
            "jsonb_build_object('enabled', true, 'rollout_percent', n %% 101), "
            "'flagstaff_featureflag'::regclass FROM generate_series(1, 9000) AS n",
            [str(flag.pk), KEY],
        )
    html = section(as_admin, flag)
    assert len(table(html)) == 100
    assert "<p>and 8,900 more changes</p>" in html
    assert "9,000 changes" in label(html)
    found = heights(html)
    assert 300 < len(found) <= 502
    assert found[-1] == 9000 % 101
    assert len(html) < 100_000


def test_history_that_begins_in_the_period_is_dashed_before(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    set_rollout(80, 24)
    rows("DELETE FROM flagstaff_change WHERE at < now() - interval '10 days'")
    html = section(as_admin, flag)
    assert heights(html, "course-unknown") == [50]
    assert heights(html) == [80]
    assert "The history begins on " in html


def test_flag_without_entries_is_dashed(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    rows("DELETE FROM flagstaff_change")
    html = section(as_admin, flag)
    assert heights(html, "course-unknown") == [50]
    assert "The history has no change of this flag" in html
    assert label(html) == "The last 7 days: rollout 50 %, 0 changes, 0 evaluations."


def test_line_of_a_new_flag_starts_at_its_creation(as_admin: HttpRequest) -> None:
    with acting_as("deploy"):
        new = FeatureFlag.objects.create(key="new", enabled=True, rollout_percent=5)
    age_newest(84)
    html = section(as_admin, new)
    assert heights(html) == [5]
    assert 480 < float(re.findall(r'class="flagstaff-course" d="M([\d.]+)', html)[0]) < 510
    assert lines(html, "course-unknown") == []
    assert table(html)[0].startswith("created")


def test_entries_of_the_future_are_at_the_present(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    set_rollout(80, -48)
    html = section(as_admin, flag)
    assert heights(html) == [50, 80]
    assert len(titles(html)) == 1


def test_flag_with_rules_has_a_note(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    assert "Rules decide first" not in section(as_admin, flag)
    condition = {"attribute": "is_staff", "operator": "in", "values": [True]}
    changes.flags.update(KEY, {"rules": [{"conditions": [condition]}]})
    assert "Rules decide first" in section(as_admin, flag)


def test_periods_are_links_that_keep_other_parameters(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    html = section(as_admin, flag, "user=a%26b&period=24h")
    assert '<strong aria-current="true">24 hours</strong>' in html
    links = re.findall(r'href="(\?[^"]*)"', html)
    assert [unescape(one) for one in links] == [
        "?user=a%26b&period=7d#release-picture",
        "?user=a%26b&period=30d#release-picture",
    ]


@pytest.fixture
def no_history() -> Iterator[None]:
    rows("ALTER TABLE flagstaff_change RENAME TO moved")
    yield
    rows("ALTER TABLE moved RENAME TO flagstaff_change")


def test_evaluations_are_shown_without_a_history(
    as_admin: HttpRequest, flag: FeatureFlag, no_history: None
) -> None:
    evaluate(KEY, times=7)
    html = section(as_admin, flag)
    assert "The changes cannot be shown. This needs PostgreSQL" in html
    assert "7 evaluations an hour" in html
    assert "flagstaff-course" not in html
    assert label(html) == "The last 7 days: 7 evaluations, 100 % true."


def test_rollout_is_shown_without_usage(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    rows("ALTER TABLE flagstaff_usage RENAME TO moved")
    html = section(as_admin, flag)
    assert "The evaluations cannot be shown. This needs PostgreSQL" in html
    assert heights(html) == [50]
    assert label(html) == "The last 7 days: rollout 50 %, 0 changes."


def test_section_takes_three_queries_beside_that_of_the_flag(
    as_admin: HttpRequest, flag: FeatureFlag, admin_user: User
) -> None:
    for number in range(20):
        set_rollout(number, number, admin_user)
    assert len(statements_of(lambda: section(as_admin, flag))) == 4


def test_section_without_a_period_has_links_and_takes_no_query(
    as_admin: HttpRequest, flag: FeatureFlag
) -> None:
    assert len(statements_of(lambda: section(as_admin, flag, "user=alice"))) == 1
    html = section(as_admin, flag, "user=alice")
    assert "<svg" not in html
    assert [unescape(one) for one in re.findall(r'href="(\?[^"]*)"', html)] == [
        f"?user=alice&period={name}#release-picture" for name in ("24h", "7d", "30d")
    ]


def test_history_is_read_by_the_index_of_objects(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    set_rollout(80, 24)
    keep_indexes("flagstaff_change", "flagstaff_change_object")
    [statement] = [
        one for one in statements_of(lambda: section(as_admin, flag)) if "date_bin" in one
    ]
    plan = "\n".join(line for [line] in rows(f"EXPLAIN {statement}".replace("%", "%%")))
    assert plan.count("flagstaff_change_object") >= 2


def test_section_is_german(as_admin: HttpRequest, flag: FeatureFlag) -> None:
    set_rollout(80, 24)
    with translation.override("de"):
        html = section(as_admin, flag)
    assert "Rollout und Auswertungen" in html
    assert label(html) == (
        "Die letzten 7 Tage: Rollout von 50 % auf 80 %, 1 Änderung, 0 Auswertungen."
    )


def test_naive_times_are_drawn_where_they_were(
    as_admin: HttpRequest, flag: FeatureFlag, settings: Any
) -> None:
    set_rollout(80, 84)
    aware = lines(section(as_admin, flag))
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    assert lines(section(as_admin, flag)) == aware
