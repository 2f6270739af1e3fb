"""The section of the evaluations on the page of a flag."""

import re
from datetime import timedelta
from datetime import timezone as zones
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from flagstaff.models import FeatureFlag
from tests.support.admin_pages import flag_url, page
from tests.support.screen import Screen
from tests.support.sql import rows as execute
from tests.support.stale_flags import collect_usage, evaluate, serve
from tests.support.usage_rows import add_usage, delete_usage

KEY = "new_checkout"


@pytest.fixture(autouse=True)
def _usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Usage of 90 days without this flag. The clock stands still: an hour may end during a test."""
    present = timezone.now().replace(minute=30)
    monkeypatch.setattr(timezone, "now", lambda: present)
    delete_usage()
    collect_usage()


def section(client: Client, flag: FeatureFlag) -> str:
    """Returns the HTML of the section; empty without one."""
    sections = Screen(page(client, flag_url(flag))).all("section")
    return next((part.html for part in sections if part.texts("h2") == ["Evaluations"]), "")


def text(html: str) -> str:
    return " ".join(Screen(html).texts("p"))


def count(ago: int, true: int, false: int, key: str = KEY) -> None:
    """Evaluations in the hour that began so many hours before the present one."""
    present = timezone.now().astimezone(zones.utc)
    hour = present.replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago - 1)
    last = min(hour - timedelta(seconds=1), timezone.now())
    for result, number in (("true", true), ("false", false)):
        if number:
            add_usage(key, result, number, last)


@pytest.mark.parametrize(
    ("true", "false", "percent"),
    [(250, 750, 25), (0, 1000, 0), (1, 999, 1), (999, 1, 99), (1000, 0, 100)],
)
def test_sentence_says_how_often_in_a_day_and_the_share_of_true(
    true: int, false: int, percent: int, operator: Client, flag: FeatureFlag
) -> None:
    count(0, true, false)
    count(25, 9999, 9999)
    count(1, 5, 5, key="another_flag")
    assert text(section(operator, flag)) == (
        f"1,000 evaluations in 24 hours, {percent} % true, last reported just now."
    )


def test_bars_have_the_true_results_over_all_of_each_hour(
    operator: Client, flag: FeatureFlag
) -> None:
    count(0, 0, 5_000)
    count(3, 7_500, 2_500)
    count(167, 1, 0)
    count(168, 9_999, 0)
    html = section(operator, flag)
    false, true = Screen(html).attributes(".flagstaff-false, .flagstaff-true", "d")
    assert re.findall(r"M(\d+) 44V(\d+)", false) == [("0", "43"), ("492", "0"), ("501", "22")]
    assert re.findall(r"M(\d+) 44V(\d+)", true) == [("0", "43"), ("492", "11")]
    assert Screen(html).attributes("svg", "aria-label") == [
        "True results, and all, by hour in the last 7 days"
    ]
    assert 6 <= html.count("<text") <= 7
    assert "style=" not in html


@pytest.mark.parametrize(
    ("days", "kind", "sentence"),
    [
        (None, "evaluated", "No evaluation in the last 30 days."),
        (40, "evaluated", "No evaluation in the last 30 days."),
        (3, "evaluated", "No evaluation in the last 24 hours, last reported 3 days ago."),
        (40, "bulk", "No evaluation in the last 30 days."),
        (
            3,
            "bulk",
            (
                "Served in bulk, last recorded 3 days ago. It is not known whether the code uses "
                "the flag: an evaluation of one key would be counted."
            ),
        ),
        (3, "browsers", "Served to browsers, last recorded 3 days ago."),
        (3, "needed", "Read by a condition, last recorded 3 days ago."),
    ],
)
def test_flag_without_an_evaluation_in_a_day_says_what_is_known(
    days: int | None, kind: str, sentence: str, operator: Client, flag: FeatureFlag
) -> None:
    if days is not None and kind == "evaluated":
        evaluate(KEY, days)
    elif days is not None and kind == "needed":
        add_usage(KEY, "needed", 0, days)
    elif days is not None:
        serve(KEY, days, to_browsers=kind == "browsers")
    assert text(section(operator, flag)) == sentence


def test_flag_is_not_said_to_be_unused_while_usage_is_young(
    operator: Client, flag: FeatureFlag
) -> None:
    collect_usage(5)
    assert text(section(operator, flag)) == "No evaluation since counting began."


@pytest.mark.parametrize("is_off", [True, False])
def test_section_is_left_out_where_nothing_is_counted(
    is_off: bool, operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    count(0, 1, 0)
    if is_off:
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "USAGE_INTERVAL": 0}
    else:
        execute("ALTER TABLE flagstaff_usage RENAME TO moved")
    assert section(operator, flag) == ""
