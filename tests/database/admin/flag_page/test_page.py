"""The page of a flag: what it says, and which actions it links to."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import changes
from flagstaff._engine import forced_off
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import flag_url, page, staff
from tests.support.conditions import condition
from tests.support.screen import Screen

RULES = [{"conditions": [condition("is_staff", "in", True)], "rollout_percent": 10}]
EVERY_DAY = ["Kill", "0 %", "1 %", "5 %", "25 %", "50 %", "100 %", "other"]


def links_of(html: str) -> list[str]:
    """Returns the actions that the page links to, in their order."""
    return [
        text.removesuffix("…")
        for text, url in Screen(html).part(".flagstaff-row").links
        if re.search(r"/(?!change|staleflag|history)\w+/(\?(percent=\d+|_later=1))?$", url)
    ]


def test_page_says_who_has_the_flag_and_links_to_what_can_be_done(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", {"description": "On one page", "owner": "shop"})
    html = page(operator, flag_url(flag))
    [title, *above_the_sections] = Screen(html).texts(
        ".flagstaff-row > :not(.flagstaff-parts, .flagstaff-links)"
    )
    assert title.startswith("new_checkout rollout 25 % Preview ")
    assert title.endswith("Kill…")
    assert above_the_sections[:2] == ["On for 0 of 1 user.", "On one page · shop"]
    links = links_of(html)
    assert links[: len(EVERY_DAY)] == EVERY_DAY
    others = [link for link in links if link not in EVERY_DAY]
    head_links = ["Turn off later"]
    assert others == [*head_links, "Rules", "Bucketing unit", "Details", "Delete"]
    assert Screen(html).texts('.flagstaff-act [aria-current="true"]') == ["25 %"]


def test_number_of_allowed_users_is_not_hidden_beside_itself(
    operator: Client, flag: FeatureFlag, admin_user: User
) -> None:
    changes.flags.set_rollout("new_checkout", 0)
    changes.flags.allow("new_checkout", [admin_user.pk])
    viewer = staff("view_featureflag", "change_featureflag")
    shown = Screen(page(viewer, flag_url(flag)))
    assert "On for 1 of 2 users." in shown.text
    assert ["Allowed users 1 user", "100 %"] in shown.section("Targeting").rows
    assert "1 user loses the flag." in Screen(page(viewer, flag_url(flag, "kill"))).text
    # With a rollout, the number would say who is in it.
    changes.flags.set_rollout("new_checkout", 50)
    assert "On for fewer than 5 of 2 users." in Screen(page(viewer, flag_url(flag))).text


def test_link_to_turn_off_later_opens_the_time(operator: Client, flag: FeatureFlag) -> None:
    url = Screen(page(operator, flag_url(flag))).link("Turn off later…")
    assert Screen(page(operator, url)).all("details.flagstaff-later[open]")
    at_once = Screen(page(operator, flag_url(flag, "off")))
    assert not at_once.all("details.flagstaff-later[open]")


def test_flag_that_is_off_has_no_present_percentage_and_says_that_shares_are_those_when_on(
    operator: Client, flag: FeatureFlag
) -> None:
    on = Screen(page(operator, flag_url(flag)))
    assert "Share" in on.part(".flagstaff-steps").texts("th")
    changes.flags.disable("new_checkout")
    off = Screen(page(operator, flag_url(flag)))
    assert not off.texts('.flagstaff-act [aria-current="true"]')
    assert "Share when on" in off.part(".flagstaff-steps").texts("th")


def test_about_says_yes_in_words(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(client_side=True)
    assert "Client side: yes" in Screen(page(operator, flag_url(flag))).text


@pytest.mark.parametrize(
    ("fields", "there", "not_there"),
    [
        ({"enabled": False}, "Turn on", "Kill"),
        ({"enabled": False, "rules": RULES}, "25 %", "100 %, also in rules"),
        ({"enabled": False}, "25 %", "Turn off"),
        ({"rules": RULES}, "100 %, also in rules", "Turn off"),
        ({"rollout_percent": 50}, "100 %", "100 %, also in rules"),
        ({"rollout_percent": 0}, "1 %", "0 %"),
    ],
)
def test_what_cannot_be_done_now_is_not_there(
    fields: dict[str, Any], there: str, not_there: str, operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", fields)
    links = links_of(page(operator, flag_url(flag)))
    assert there in links
    assert not_there not in links


@pytest.mark.parametrize(
    ("permissions", "links", "missing"),
    [
        (("view",), [], ["toggle", "change", "delete"]),
        (("toggle",), [*EVERY_DAY, "Turn off later"], ["change", "delete"]),
        (("view", "delete"), [], ["toggle", "change"]),
    ],
)
def test_what_a_user_may_not_do_names_the_permission(
    permissions: tuple[str, ...], links: list[str], missing: list[str], flag: FeatureFlag
) -> None:
    html = page(staff(*(f"{permission}_featureflag" for permission in permissions)), flag_url(flag))
    assert links_of(html) == links
    for name in missing:
        assert f"(needs “Can {name} flag”)" in html


def test_targeting_is_in_words_in_the_order_of_the_evaluation(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.allow("new_checkout", User.objects.create_user("alice"))
    rule = {"conditions": [condition("is_staff", "in", True)], "rollout_percent": 10}
    changes.flags.update("new_checkout", {"rules": [rule], "bucket_by": "organization"})
    text = Screen(page(operator, flag_url(flag))).section("Targeting").text
    assert re.search(
        "Allowed users 1 user 100 % Rule 1 is_staff is true 10 % Everyone else by organization 25",
        text,
    )


def test_rule_that_keeps_users_out_and_a_forced_off_flag_are_alarms(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"conditions": [condition("is_staff", "in", True)], "rollout_percent": 10}
    changes.flags.update("new_checkout", {"rules": [rule], "rollout_percent": 100})
    monkeypatch.setattr(forced_off, "keys", frozenset({"new_checkout"}))
    html = page(operator, flag_url(flag))
    assert Screen(html).texts(".flagstaff-alarm") == [
        "Forced off in this process by FLAGSTAFF_FORCE_OFF.",
        "Rule 1 keeps 90 % of its users out, also at a rollout of 100 %.",
    ]


@pytest.mark.django_db(transaction=True)
def test_last_changes_are_shown_with_their_undo(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.set_rollout("new_checkout", 50)
    text = Screen(page(operator, flag_url(flag))).section("Last changes").text
    assert "25 → 50 %" in text
    assert "Undo…" in text
