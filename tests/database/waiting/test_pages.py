"""The pages of actions that wait: ask for a time, see what waits, and decide."""

import json
import re
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission, User
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.translation import override

from flagstaff import changes
from flagstaff._text.times import local_time_text, time_text
from flagstaff.actions import commit
from flagstaff.admin import FeatureFlagAdmin, action_page
from flagstaff.changes.consequence import Consequence
from flagstaff.changes.impact import count_users
from flagstaff.models import FeatureFlag, WaitingAction
from flagstaff.waiting.actions import ask as ask_for
from flagstaff.waiting.stored import COLUMNS, State, records_of
from tests.support.admin_pages import (
    FLAGS,
    VALUES,
    act,
    answer,
    flag_url,
    message_links,
    messages_of,
    notes_of,
    question,
    row_url,
    show,
)
from tests.support.plans import rollout
from tests.support.screen import Screen
from tests.support.shop import STAFF, Shop
from tests.support.sql import rows as execute
from tests.support.sql import statements_of, without_table
from tests.support.terminals import document, run
from tests.support.waiting import TOMORROW, ask, make_due, run_jobs, state_of

LIST = "/admin/flagstaff/waitingaction/"
OVERVIEW = f"{FLAGS}overview/"
KEY = "search_v2"
NEXT_WEEK = f"{timezone.now() + timedelta(days=7):%Y-%m-%dT%H:%M}"
TO_HALF = f"{KEY}: Roll out to 50 %"

# An action that waits compares the versions of the history.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def flag(shop: Shop) -> FeatureFlag:
    shop.user("ana")
    return shop.flag(KEY, rollout_percent=5)


@pytest.fixture
def ben(shop: Shop) -> Client:
    return shop.client("ben")


def urls(client: Client, url: str) -> list[str]:
    """Returns the addresses of the links of a page."""
    return show(client, url).attributes("a", "href")


def test_time_on_the_page_of_an_action_stores_it_for_then(ben: Client, flag: FeatureFlag) -> None:
    changes.flags.set_rollout(KEY, 6)
    response = act(ben, flag_url(flag, "release"), _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert (waiting.action, waiting.state) == ("release", State.WAITING)
    [message] = messages_of(response)
    assert "Nothing is changed yet." in message
    assert row_url(waiting) in dict(message_links(response)).values()
    assert rollout(KEY) == 6


def test_request_for_many_flags_stands_on_each(ben: Client, flag: FeatureFlag, shop: Shop) -> None:
    other = shop.flag("dark_mode")
    changes.flags.set_rollout(KEY, 6)
    chosen = {"action": "release", "_selected_action": [flag.pk, other.pk]}
    shown = Screen(ben.post(FLAGS, chosen)).fields()
    # Without JavaScript, the button has to say the time first.
    shown = Screen(ben.post(FLAGS, shown | chosen | {"_at": TOMORROW})).fields()
    ben.post(FLAGS, shown | chosen)
    stands_on = WaitingAction.objects.get().stands_on
    assert {row["key"] for row in stands_on} == {KEY, "dark_mode"}


def test_request_of_a_user_who_may_not_see_users_has_the_numbers_for_those_who_may(
    flag: FeatureFlag, shop: Shop
) -> None:
    changes.flags.update(KEY, {"rules": [{"conditions": [STAFF], "rollout_percent": 100}]})
    client = shop.client("bob", "change_featureflag")
    act(client, flag_url(flag, "rollout"), percent="10", _at=TOMORROW)
    waiting = WaitingAction.objects.latest("pk")
    # The class is that of the page: the job must not say whether a user matches.
    assert waiting.consequence == Consequence.MOST
    assert waiting.users.endswith("Afterwards 2 of 2 users have it.")
    assert waiting.rough_users == "The users cannot be counted."


@pytest.mark.parametrize("permission", ["view_featureflag", "view_keyvaluestore"])
def test_page_names_what_would_end_only_to_who_may_see_it(permission: str, shop: Shop) -> None:
    segment = shop.segment("enterprise")
    shop.flag("invoices", enabled=False)
    ask("on invoices")
    client = shop.client("bob", "change_segment", permission)
    soon = f"{timezone.localtime() + timedelta(hours=2):%Y-%m-%dT%H:%M}"
    typed = {"conditions-0-0-values": "free", "_at": soon}
    shown = question(client, row_url(segment, "conditions"), **typed)
    text = "then will not run: Turn on invoices"
    assert (text in Screen(shown).text) is (permission == "view_featureflag")
    assert not any("invoices" in message for message in messages_of(answer(client, shown)))
    assert WaitingAction.objects.count() == 2


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"_at": "2020-01-01T09:00"}, "expected a time from now on"),
        ({"_at": TOMORROW, "_zone": "Europe/Wien"}, "there is no time zone 'Europe/Wien'"),
    ],
)
def test_wrong_time_is_said_beside_its_field_and_nothing_is_written(
    data: dict[str, str], problem: str, ben: Client, flag: FeatureFlag
) -> None:
    url = flag_url(flag, "release")
    page = Screen(ben.post(url, show(ben, url).fields() | data))
    assert problem in page.part("details[open]").text
    assert not WaitingAction.objects.exists()
    assert rollout(KEY) == 5


@pytest.mark.parametrize("action", ["off", "release"])
def test_page_that_is_opened_for_later_requires_a_time(
    action: str, ben: Client, flag: FeatureFlag
) -> None:
    page = show(ben, f"{flag_url(flag, action)}?_later=1")
    assert "Schedule" in page.buttons
    # Also if the address has lost its query.
    page = Screen(ben.post(flag_url(flag, action), page.fields()))
    text = "Enter when it runs. Nothing was changed."
    assert page.part("details[open] .errorlist").text == text
    assert "Schedule" in page.buttons
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 5)
    page = Screen(ben.post(flag_url(flag, action), page.fields() | {"_at": TOMORROW}))
    ben.post(flag_url(flag, action), page.fields())
    assert WaitingAction.objects.get().action == action
    flag.refresh_from_db()
    assert (flag.enabled, flag.rollout_percent) == (True, 5)


def test_page_whose_link_fills_in_a_time_does_nothing_without_one(
    ben: Client, flag: FeatureFlag
) -> None:
    url = f"{flag_url(flag, 'off')}?_at={TOMORROW}"
    page = Screen(ben.post(url, show(ben, url).fields() | {"_at": ""}))
    assert "Enter when it runs. Nothing was changed." in page.text
    # Also if the address has lost its query.
    page = Screen(ben.post(flag_url(flag, "off"), page.fields()))
    assert "Enter when it runs. Nothing was changed." in page.text
    flag.refresh_from_db()
    assert flag.enabled


@pytest.mark.parametrize("query", ["_later=1", f"_at={TOMORROW}"])
def test_page_that_is_opened_for_later_does_nothing_if_nothing_can_wait(
    query: str, ben: Client, flag: FeatureFlag
) -> None:
    url = f"{flag_url(flag, 'off')}?{query}"
    with without_table("flagstaff_change"):
        assert "Turn off later…" not in dict(show(ben, flag_url(flag)).links)
        page = show(ben, url)
        ben.post(url, page.fields())
    assert "This cannot wait: its value is secret, or changes leave no history." in page.text
    assert "Turn off search_v2" not in page.buttons
    flag.refresh_from_db()
    assert flag.enabled
    act(ben, flag_url(flag, "kill"))
    flag.refresh_from_db()
    assert not flag.enabled


def test_button_says_the_time_in_its_zone_before_the_action_is_stored(
    ben: Client, flag: FeatureFlag
) -> None:
    url, at = flag_url(flag, "rollout"), timezone.now() + timedelta(days=3)
    data = {"percent": "50", "_at": f"{at:%Y-%m-%d}T09:00", "_zone": "Europe/Vienna"}
    page = Screen(ben.post(url, show(ben, url).fields() | data))
    local = datetime(at.year, at.month, at.day, 9, tzinfo=ZoneInfo("Europe/Vienna"))
    assert f"Roll out to 50 % on {time_text(local)}" in page.buttons
    assert f"09:00:00 {local:%Z}" in time_text(local)
    assert not WaitingAction.objects.exists()
    ben.post(url, page.fields())
    run_at = WaitingAction.objects.get().run_at
    assert run_at
    assert run_at.astimezone(ZoneInfo("Europe/Vienna")).strftime("%H:%M") == "09:00"


def test_page_with_a_time_counts_the_users_once_as_those_before_it_leave_the_row(
    ben: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Mock(wraps=count_users)
    monkeypatch.setattr(commit, "count_users", count)
    ask(f"rollout {KEY} 25")
    count.reset_mock()
    at = f"{timezone.now() + timedelta(days=3):%Y-%m-%dT09:00}"
    page = show(ben, f"{flag_url(flag, 'rollout')}?percent=50&_at={at}")
    assert "25 → 50 %" in page.text
    assert count.call_count == 1


@pytest.mark.parametrize(
    ("action", "tags", "runs_anyway"),
    [("off", [], True), ("off", ["reverse"], False), ("on", [], False)],
)
def test_page_says_whether_an_action_runs_if_the_flag_has_changed_by_then(
    action: str, tags: list[str], runs_anyway: bool, ben: Client, flag: FeatureFlag
) -> None:
    changes.flags.update(KEY, {"enabled": action == "off", "tags": tags})
    text = show(ben, flag_url(flag, action)).text
    assert ("also if what it changes has changed by then." in text) is runs_anyway
    assert ("it does not run, unless it only takes something away." in text) is not runs_anyway


def test_period_is_one_button_and_ends_with_a_second_action(ben: Client, shop: Shop) -> None:
    url, now = flag_url(shop.flag("summer_banner"), "on"), timezone.now()
    begin, end = now + timedelta(days=2), now + timedelta(days=4)
    times = {"_at": f"{begin:%Y-%m-%dT09:00}", "_until": f"{end:%Y-%m-%dT17:00}", "_zone": "UTC"}
    page = Screen(ben.post(url, show(ben, url).fields() | times))
    [button] = [text for text in page.buttons if text.startswith("Turn on summer_banner from ")]
    assert re.search(r", 09:00:00 UTC until .*, 17:00:00 UTC$", button)
    response = ben.post(url, page.fields(), follow=True)
    on, off = WaitingAction.objects.order_by("pk")
    assert (on.action, off.action, off.begun_by) == ("on", "off", on.pk)
    [message] = messages_of(response)
    assert message.count("runs at") == 2
    lines = Screen(response).texts(".flagstaff-notice")
    assert [line.split()[1] for line in lines if "runs at" in line] == ["on", "off"]


def test_end_of_a_period_is_approved_with_its_begin(ben: Client, shop: Shop) -> None:
    shop.flag("summer_banner")
    until = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    ask(f"on summer_banner --at {TOMORROW} --until {until} --request")
    begin, end = WaitingAction.objects.order_by("pk")
    assert row_url(end, "approve") in urls(ben, row_url(end))
    act(ben, row_url(end, "approve"))
    assert state_of(begin) == State.WAITING
    assert row_url(end, "approve") not in urls(ben, row_url(end))


def test_period_that_ends_before_it_begins_is_refused_beside_its_fields(
    ben: Client, shop: Shop
) -> None:
    url = flag_url(shop.flag("summer_banner"), "on")
    for times in ({"_until": TOMORROW}, {"_at": TOMORROW, "_until": TOMORROW}):
        page = Screen(ben.post(url, show(ben, url).fields() | times))
        problem = "A period begins at a time, and ends later."
        assert problem in page.part("details[open]").text
    assert not WaitingAction.objects.exists()


class OwnBackend(ModelBackend):
    """A backend of a project."""


@pytest.mark.parametrize("backend", [ModelBackend, OwnBackend])
def test_colleague_is_asked_by_a_button_that_names_who_can_approve(
    ben: Client, flag: FeatureFlag, shop: Shop, settings: Any, backend: type[ModelBackend]
) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{backend.__module__}.{backend.__qualname__}"]
    ben.force_login(User.objects.get(username="ben"))
    shop.client("cleo")
    operators = Group.objects.create(name="operators")
    operators.permissions.add(Permission.objects.get(codename="toggle_featureflag"))
    operators.user_set.add(User.objects.get(username="cleo"))
    shop.client("dora", "delete_featureflag")
    shop.client("vera", "view_featureflag")
    shop.client("zoe", "change_featureflag", is_active=False)
    url = f"{flag_url(flag, 'rollout')}?percent=50"
    page = show(ben, url)
    assert page.part(".flagstaff-colleagues p").text == "One of these has to approve it: ana, cleo."
    ben.post(url, page.fields() | {"_request": "1"})
    waiting = WaitingAction.objects.get()
    assert (waiting.state, waiting.needs_approval) == (State.APPROVAL, True)
    assert rollout(KEY) == 5


def test_colleagues_are_named_only_to_those_who_may_view_users(
    flag: FeatureFlag, shop: Shop
) -> None:
    bob = shop.client("bob", "toggle_featureflag")
    colleagues = show(bob, f"{flag_url(flag, 'rollout')}?percent=50").part(
        ".flagstaff-colleagues p"
    )
    assert colleagues.text == "Another user with the permission for it has to approve it."


def test_colleague_who_lacks_the_right_for_a_flag_that_a_segment_reaches_is_not_named(
    ben: Client, shop: Shop
) -> None:
    shop.flag("invoices", rollout_percent=100)
    shop.client("cleo", "change_segment")
    shop.client("dora", "change_segment", "toggle_featureflag")
    page = question(
        ben, row_url(shop.segment("enterprise"), "conditions"), conditions=json.dumps([STAFF])
    )
    text = Screen(page).part(".flagstaff-colleagues p").text
    assert text == "One of these has to approve it: ana, dora."


def test_off_can_be_scheduled_and_pressed_at_once(ben: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "off")
    act(ben, url, _at=TOMORROW)
    assert WaitingAction.objects.get().action == "off"
    flag.refresh_from_db()
    assert flag.enabled
    ben.post(url, show(ben, url).fields())
    flag.refresh_from_db()
    assert not flag.enabled


def test_flag_that_is_off_offers_to_cancel_what_waits_to_give_it(ben: Client, shop: Shop) -> None:
    banner = shop.flag("summer_banner")
    # That nobody gains by it is not cancelled.
    ask("rollout summer_banner 0")
    assert flag_url(banner, "off") not in urls(ben, flag_url(banner))
    ask("on summer_banner")
    url = show(ben, flag_url(banner)).link("Cancel what waits…")
    assert url == flag_url(banner, "off")
    page = show(ben, url)
    assert page.heading == "Cancel what waits summer_banner"
    assert "Cancel what waits for summer_banner" in page.buttons
    assert "Previews" not in page.text
    ben.post(url, page.fields())
    waiting = WaitingAction.objects.get(action="on")
    assert state_of(waiting) == "cancelled"
    assert show(ben, url).heading == "Turn off summer_banner"


def test_time_beside_a_kill_does_not_delay_it(ben: Client, flag: FeatureFlag) -> None:
    ben.post(flag_url(flag, "kill"), {"_at": TOMORROW})
    flag.refresh_from_db()
    assert not flag.enabled


def test_change_while_a_time_is_asked_for_is_a_conflict(
    ben: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_first(*arguments: Any, **options: Any) -> Any:
        changes.flags.set_rollout(KEY, 10)
        return ask_for(*arguments, **options)

    monkeypatch.setattr(action_page, "ask", change_first)
    response = act(ben, flag_url(flag, "release"), _at=TOMORROW)
    assert f"“{KEY}” has changed since the page was shown." in Screen(response).text
    assert not WaitingAction.objects.exists()


def test_time_beside_a_rollout_to_0_is_kept_and_nothing_is_done_before(
    ben: Client, flag: FeatureFlag
) -> None:
    url = f"{flag_url(flag, 'rollout')}?percent=0"
    act(ben, url, _at=TOMORROW)
    waiting = WaitingAction.objects.get()
    assert (waiting.state, waiting.arguments) == (State.WAITING, {"percent": 0})
    assert rollout(KEY) == 5


def test_kill_and_secret_values_offer_no_time(ben: Client, flag: FeatureFlag, shop: Shop) -> None:
    secret = f"{VALUES}{shop.value('mail_password').pk}/set/"
    assert "Later…" in show(ben, flag_url(flag, "release")).text
    for url in (flag_url(flag, "kill"), secret):
        assert "Later…" not in show(ben, url).text


def test_row_and_overview_say_what_waits(ben: Client, flag: FeatureFlag) -> None:
    waiting = ask(f"rollout {KEY} 50 --request")
    for url in (flag_url(flag), OVERVIEW):
        assert row_url(waiting) in urls(ben, url)
        shown = show(ben, url).text
        assert TO_HALF in shown
        assert "waits for approval; asked by ana" in shown


@pytest.mark.parametrize(("option", "end"), [("", ""), (" --request", ": waits for approval")])
def test_list_says_first_when_an_action_runs(option: str, end: str, ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50 --at {TOMORROW}{option}")
    assert waiting.run_at
    time = local_time_text(waiting.run_at)
    assert f"{time}: {TO_HALF}{end}" in show(ben, FLAGS).text


@pytest.mark.parametrize(("language", "runs"), [("en", "runs at"), ("de", "läuft am")])
def test_pages_say_when_an_action_runs_in_the_form_of_all_times(
    language: str, runs: str, ben: Client, flag: FeatureFlag, settings: Any
) -> None:
    waiting = ask(f"rollout {KEY} 50 --at {TOMORROW}")
    assert waiting.run_at
    settings.LANGUAGE_CODE = language
    with override(language):
        text = f"{runs} {local_time_text(waiting.run_at)}"
    for url in (flag_url(flag), OVERVIEW):
        assert text in show(ben, url).text


def test_user_who_asked_is_read_once_for_the_rights_and_the_name(
    ben: Client, flag: FeatureFlag, shop: Shop
) -> None:
    ask(f"rollout {KEY} 50")
    statements = statements_of(lambda: show(ben, row_url(flag)))
    asker = f'"auth_user"."id" IN ({shop.user("ana").pk})'
    assert len([statement for statement in statements if asker in statement]) == 1


def test_failed_action_is_on_the_overview_and_on_its_row_until_it_is_cancelled(
    ben: Client, flag: FeatureFlag
) -> None:
    waiting = ask(f"rollout {KEY} 50")
    changes.flags.set_rollout(KEY, 6)
    make_due()
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.result in show(ben, OVERVIEW).text
    assert waiting.result in show(ben, flag_url(flag)).part(".flagstaff-alarm").text
    planned = f"; was to run at {local_time_text(waiting.run_at or waiting.asked_at)}"
    for url in (OVERVIEW, flag_url(flag), row_url(waiting)):
        assert planned in show(ben, url).text
    # From the page that says so one gets to the flag.
    assert flag_url(flag) in urls(ben, row_url(waiting))
    act(ben, row_url(waiting, "cancel"))
    assert state_of(waiting) == State.CANCELLED
    for url in (OVERVIEW, flag_url(flag)):
        assert row_url(waiting) not in urls(ben, url)


def test_german_pages_quote_the_english_reason_why_an_action_failed(
    ben: Client, flag: FeatureFlag
) -> None:
    waiting = ask(f"rollout {KEY} 50")
    changes.flags.set_rollout(KEY, 6)
    make_due()
    run_jobs()
    waiting.refresh_from_db()
    with override_settings(LANGUAGE_CODE="de"):
        for url in (OVERVIEW, flag_url(flag), row_url(waiting), LIST, FLAGS):
            shown = show(ben, url)
            assert f"fehlgeschlagen: „{waiting.result}“" in shown.text, url
            assert waiting.result in shown.texts("[lang=en]"), url
    shown = show(ben, OVERVIEW)
    assert f"failed: {waiting.result}; was to run" in shown.text
    assert not shown.all("span[lang=en]")


def test_german_page_quotes_what_an_action_did_but_no_reason_of_a_person(ben: Client) -> None:
    done = ask(f"rollout {KEY} 50")
    make_due()
    run_jobs()
    done.refresh_from_db()
    cancelled = ask(f"rollout {KEY} 60")
    WaitingAction.objects.filter(pk=cancelled.pk).update(state=State.CANCELLED, result="zu früh")
    with override_settings(LANGUAGE_CODE="de"):
        assert show(ben, row_url(done)).texts("[lang=en]") == [done.result]
        shown = show(ben, row_url(cancelled))
    assert "zu früh" in shown.text
    assert not shown.all("span[lang=en]")


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
def test_flag_of_an_action_that_did_not_run_needs_attention(state: State, ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50 --at {TOMORROW}")
    assert "No flag" in show(ben, FLAGS, state="attention").text
    WaitingAction.objects.update(state=state, result="the database was down")
    assert "the database was down" in show(ben, FLAGS, state="attention").text
    WaitingAction.objects.filter(pk=waiting.pk).update(state=State.CANCELLED)
    assert "No flag" in show(ben, FLAGS, state="attention").text


def test_list_shows_what_waits_first_and_when_a_failed_action_was_to_run(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    failed = ask(f"rollout {KEY} 60 --at {NEXT_WEEK}")
    WaitingAction.objects.filter(pk=failed.pk).update(state=State.FAILED)
    first, second = show(ben, LIST).texts("#result_list .field-heading")
    assert first.startswith(f"{TO_HALF}, ")
    assert second.startswith(f"{KEY}: Roll out to 60 %, was to run at ")
    assert "was to run at " not in show(ben, row_url(waiting)).heading


def test_page_names_who_ended_an_action_if_a_person_did(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")

    def labels() -> list[str]:
        return [
            text for text in show(ben, row_url(waiting)).texts("th") if text.startswith("Ended")
        ]

    changes.flags.set_rollout(KEY, 6)
    make_due()
    run_jobs()
    assert labels() == ["Ended"]
    act(ben, row_url(waiting, "cancel"))
    assert labels() == ["Ended by"]


def test_action_that_has_failed_is_taken_off_the_overview_and_not_cancelled(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    assert "Cancel…" in dict(show(ben, row_url(waiting)).links)
    changes.flags.set_rollout(KEY, 6)
    make_due()
    run_jobs()
    page = show(ben, row_url(waiting))
    assert "Cancel…" not in dict(page.links)
    question = show(ben, page.link("Take off the overview…"))
    assert question.heading.startswith("Take off the overview")
    assert "Take off the overview" in question.buttons


def test_page_of_a_cancellation_says_what_will_not_happen_and_what_stays(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    after = ask(f"rollout {KEY} 60 --at {NEXT_WEEK}")
    response = ben.get(row_url(waiting, "cancel"))
    [[what, now, then]] = Screen(response).part("#content table").rows
    assert (what, now[:8], then) == (TO_HALF, "runs at ", "will not run")
    stays, summary, ends = notes_of(response)
    assert (stays, summary) == (f"This changes nothing about “{KEY}”.", "On for 5 % of all users.")
    text = f"This was to run after it, and will not run either: {KEY}: Roll out to 60 %: runs at "
    assert ends.startswith(text)
    assert row_url(after) in Screen(response).attributes(".flagstaff-notice a", "href")


def test_pages_of_a_cancellation_and_a_refusal_name_both_actions_of_a_period(
    ben: Client, shop: Shop
) -> None:
    shop.flag("summer_banner")
    waiting = ask(f"on summer_banner --at {TOMORROW} --until {NEXT_WEEK} --request")
    for name in ("cancel", "refuse"):
        rows = show(ben, row_url(waiting, name)).part("#content table").rows
        assert [row[0] for row in rows] == ["Turn on summer_banner", "Turn off summer_banner"]
        assert {row[-1] for row in rows} == {"will not run"}


def test_page_of_a_decision_has_one_way_back_and_one_cancellation(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    page = show(ben, row_url(waiting, "cancel"))
    assert page.link("Back") == row_url(waiting)
    texts = [*page.buttons, *dict(page.links)]
    assert [text for text in texts if "Cancel" in text] == ["Cancel the action"]


def test_action_that_is_due_for_six_minutes_needs_attention(ben: Client, flag: FeatureFlag) -> None:
    waiting = ask(f"rollout {KEY} 50")
    make_due(minutes=6)
    waiting.refresh_from_db()
    for url in (LIST, OVERVIEW, flag_url(flag), row_url(waiting)):
        _before, since, why = show(ben, url).text.partition("due since ")
        assert since
        assert "no run-jobs has run it" in why
    assert show(ben, LIST).texts(".flagstaff-tripped") == ["overdue"]
    assert len(show(ben, flag_url(flag)).all(".flagstaff-alarm")) == 1
    [record] = records_of([waiting])
    cells = [column.for_terminal(record) for column in COLUMNS]
    assert (cells[1], cells[-1]) == ("overdue", "no run-jobs has run it")


def test_page_of_a_change_names_what_will_not_run_afterwards(
    ben: Client, flag: FeatureFlag
) -> None:
    waiting = ask(f"rollout {KEY} 50")
    note = show(ben, flag_url(flag, "release")).part("p", "this will not run: ")
    assert row_url(waiting) in note.attributes("a", "href")


def test_page_of_a_change_does_not_name_what_has_ended_already(
    ben: Client, flag: FeatureFlag
) -> None:
    ask(f"rollout {KEY} 50")
    changes.flags.set_rollout(KEY, 6)
    assert "this will not run" not in show(ben, flag_url(flag, "release")).text


def test_pages_of_a_decision_are_named_after_the_action(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    for name in ("change", "cancel"):
        page = show(ben, row_url(waiting, name))
        assert page.title.startswith(f"{TO_HALF}, ")
        assert str(waiting.pk) not in page.part(".breadcrumbs").text.split()
    response = act(ben, row_url(waiting, "cancel"))
    # Django would capitalise a key at the start.
    assert messages_of(response) == [f"“{TO_HALF}”: cancelled."]


def test_another_user_approves_what_the_page_shows(ben: Client) -> None:
    waiting = ask(f'rollout {KEY} 50 --request --reason "tests are green"')
    page = show(ben, row_url(waiting))
    assert page.heading.startswith(TO_HALF)
    assert "tests are green" in page.text
    shown = show(ben, row_url(waiting, "approve")).texts(".flagstaff-notice")
    assert "Asked by ana: “tests are green”" in shown
    assert [text for text in shown if text.startswith("When asked: 5 → 50 %")]
    assert "this will not run" not in " ".join(shown)
    act(ben, row_url(waiting, "approve"))
    assert state_of(waiting) == State.WAITING
    assert "due now" in show(ben, row_url(waiting)).text
    assert "waits for its time" not in show(ben, row_url(waiting)).text


def test_user_who_may_not_see_users_sees_rounded_numbers_of_now_and_of_the_asking(
    shop: Shop,
) -> None:
    User.objects.bulk_create(User(pk=10**6 + number, username=f"u{number}") for number in range(99))
    waiting = ask(f"rollout {KEY} 50 --request")
    User.objects.filter(pk__gte=10**6 + 50).delete()
    url = row_url(waiting, "approve")
    shown = show(shop.client("bob", "change_featureflag"), url).texts(".flagstaff-notice")
    [now, then] = [text for text in shown if "users gain the flag" in text]
    assert now.startswith("5 → 50 %: about ")
    assert then.startswith("When asked: 5 → 50 %: about ")
    assert now not in then
    assert "about" not in show(shop.client("ben"), url).text


def test_user_who_may_not_see_users_approves_what_was_not_counted(shop: Shop) -> None:
    User.objects.bulk_create(
        User(pk=10**6 + number, username=f"u{number}", is_staff=number < 30) for number in range(90)
    )
    no_staff = {"attribute": "is_staff", "operator": "in", "values": [False]}
    changes.flags.update(KEY, {"rules": [{"conditions": [no_staff]}]})
    waiting = ask(f"rollout {KEY} 45 --request")
    assert waiting.consequence == Consequence.MOST
    client = shop.client("bob", "change_featureflag")
    act(client, row_url(waiting, "approve"))
    assert state_of(waiting) == State.WAITING


def test_user_who_asked_may_only_cancel(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50 --request", actor="ben")
    assert "Another user has to approve it." in show(ben, row_url(waiting)).text
    assert row_url(waiting, "approve") not in urls(ben, row_url(waiting))
    for name in ("approve", "refuse"):
        assert ben.get(row_url(waiting, name)).status_code == 403
    act(ben, row_url(waiting, "cancel"))
    assert state_of(waiting) == State.CANCELLED


def test_user_without_the_right_only_reads(shop: Shop) -> None:
    viewer, waiting = shop.client("bob", "view_featureflag"), ask(f"rollout {KEY} 50 --request")
    for name in ("approve", "refuse", "cancel"):
        assert row_url(waiting, name) not in urls(viewer, row_url(waiting))
        assert viewer.get(row_url(waiting, name)).status_code == 403
    # Exact numbers of users need another permission.
    assert "fewer than 5 users gain the flag." in show(viewer, row_url(waiting)).text


def test_approval_is_needed_for_the_mark_as_secret_and_refuses_a_value_beside_it(
    ben: Client, shop: Shop, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "APPROVAL": "always"}
    value = shop.value("payment_gateway")
    url = row_url(value, "details")
    page = Screen(act(ben, url, value='"paypal"', secret="on"))
    assert "ask for the mark alone, and set the value when it is secret" in page.text
    assert not WaitingAction.objects.exists()
    act(ben, url, secret="on")
    assert WaitingAction.objects.get().arguments == {"secret": True}
    value.refresh_from_db()
    assert (value.value, value.secret) == ("stripe", False)


def test_value_that_has_become_secret_without_triggers_is_masked(ben: Client, shop: Shop) -> None:
    shop.value("payment_gateway")
    done = ask("value set payment_gateway '\"hunter1\"'")
    make_due()
    run_jobs()
    waiting = ask("value set payment_gateway '\"hunter2\"'")
    execute("SET session_replication_role = replica")
    execute("UPDATE flagstaff_keyvaluestore SET secret = true")
    execute("SET session_replication_role = DEFAULT")
    shown = [show(ben, url).text for url in (row_url(done), row_url(waiting), LIST, OVERVIEW)]
    shown += [str(document(*line.split())) for line in (f"waiting show {done.pk}", "waiting list")]
    assert "hunter1" in str(WaitingAction.objects.values())
    assert "hunter" not in " ".join(shown)


def test_action_of_rows_that_the_user_may_not_see_is_nowhere(shop: Shop) -> None:
    shop.value("page_size")
    waiting, viewer = ask("value set page_size 2"), shop.client("bob", "view_featureflag")
    for url in (LIST, OVERVIEW):
        assert "page_size" not in show(viewer, url).text
    response = viewer.get(row_url(waiting), follow=True)
    assert "exist" in " ".join(messages_of(response))


class _AdminOfPayments(FeatureFlagAdmin):
    def has_view_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None or obj.owner == "search"


class _ListOfPayments(FeatureFlagAdmin):
    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).filter(owner="search")


@pytest.mark.parametrize(
    ("own_admin", "shown"),
    # A query set cannot say it of a row that does not exist.
    [(_AdminOfPayments, ["search_v3"]), (_ListOfPayments, [])],
)
def test_creation_is_shown_to_those_who_would_see_the_row_and_to_who_asked(
    own_admin: type[FeatureFlagAdmin], shown: list[str], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, owner in (("pay", "payments"), ("search_v3", "search")):
        ask(f"create {key} --owner {owner}")
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, FeatureFlag, own_admin(FeatureFlag, admin.site))
    text = show(shop.client("bob", "view_featureflag"), LIST).text
    assert [key for key in ("pay", "search_v3") if key in text] == shown
    assert "pay" in show(shop.client("ana"), LIST).text


def test_list_shows_the_state_and_filters_by_it(ben: Client) -> None:
    ask(f"rollout {KEY} 50")
    run(f"waiting cancel {ask(f'release {KEY}').pk} --as ana")
    assert TO_HALF in show(ben, LIST).text
    cancelled = show(ben, f"{LIST}?state__exact=cancelled").text
    assert f"Release {KEY} to everybody" in cancelled
    assert "Roll out to 50 %" not in cancelled
    assert f"Release {KEY}" in show(ben, f"{LIST}?q={KEY}").text


def test_nobody_adds_or_deletes_one(ben: Client) -> None:
    waiting = ask(f"rollout {KEY} 50")
    for url in (f"{LIST}add/", row_url(waiting, "delete")):
        assert ben.get(url).status_code == 403
    assert ben.get(row_url(waiting, "history")).status_code == 200


def again(client: Client, waiting: WaitingAction) -> str:
    """Returns the address of the link on the page of an action that does not run."""
    alarm = show(client, row_url(waiting)).part(".flagstaff-alarm")
    assert "will not run: " in alarm.text
    return alarm.link("Ask again…")


@timezone.override("UTC")
def test_action_that_will_not_run_is_asked_for_again_with_its_arguments_and_time(
    ben: Client,
) -> None:
    waiting = ask(f"rollout {KEY} 50")
    assert "Ask again…" not in show(ben, row_url(waiting)).text
    changes.flags.set_rollout(KEY, 6)
    url = again(ben, waiting)
    page = show(ben, url)
    assert page.fields()["percent"] == "50"
    [button] = [text for text in page.buttons if text.startswith("Roll out to 50 % on ")]
    ben.post(url, page.fields())
    first, second = WaitingAction.objects.order_by("pk")
    assert (second.arguments, second.run_at) == (first.arguments, first.run_at)
    assert button.endswith(":00 UTC")


@pytest.mark.parametrize(
    "line",
    [
        f"details {KEY} --owner search --tag q3",
        f"allow {KEY} ana ben",
        f"release dark_mode {KEY}",
        "create brand_new --owner search",
        f"rules {KEY} '{json.dumps([{'conditions': [STAFF]}])}'",
    ],
)
@pytest.mark.one_in(4)
def test_all_arguments_are_filled_in_again(line: str, ben: Client, shop: Shop) -> None:
    shop.flag("dark_mode")
    asker = shop.user("ana")
    waiting = ask(line)
    User.objects.filter(pk=asker.pk).update(is_active=False)
    url = again(ben, waiting)
    page = Screen(ben.post(url, show(ben, url).posted()))
    ben.post(url, page.posted())
    first, second = WaitingAction.objects.order_by("pk")
    assert second.keys == first.keys
    # A page also sends what it shows of the flag.
    assert second.arguments == second.arguments | first.arguments


def test_period_is_asked_for_again_as_a_whole(ben: Client, shop: Shop) -> None:
    shop.flag("summer_banner")
    until = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    ask(f"on summer_banner --at {TOMORROW} --until {until}")
    changes.flags.set_rollout("summer_banner", 7)
    url = again(ben, WaitingAction.objects.order_by("pk")[0])
    ben.post(url, show(ben, url).fields())
    *before, second, end = WaitingAction.objects.order_by("pk")
    assert (second.action, end.action, end.begun_by) == ("on", "off", second.pk)
    # Or else both would end.
    assert [row.state for row in before] == ["cancelled", "cancelled"]


def test_link_to_the_page_of_another_flag_neither_fills_in_nor_cancels(
    ben: Client, shop: Shop
) -> None:
    other = shop.flag("dark_mode")
    waiting = ask(f"unit {KEY} visitor")
    changes.flags.update(KEY, bucket_by="organization")
    url = f"{flag_url(other, 'unit')}?again={waiting.pk}"
    shown = show(ben, url)
    assert shown.fields().get("bucket_by") != "visitor"
    page = Screen(ben.post(url, {**shown.posted(), "bucket_by": "visitor", "_at": TOMORROW}))
    ben.post(url, page.posted())
    waiting, another = WaitingAction.objects.order_by("pk")
    assert (waiting.state, another.keys) == (State.WAITING, [other.key])


def test_link_fills_in_nothing_of_an_action_that_the_user_may_not_see(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, shown = shop.flag("pay", owner="payments"), shop.flag("search_v3", owner="search")
    waiting = ask(f"rollout {hidden.key} 50")
    url = f"{flag_url(shown, 'rollout')}?again={waiting.pk}"
    assert show(shop.client("ben"), url).fields()["percent"] == "50"
    registry: dict[Any, Any] = admin.site._registry
    monkeypatch.setitem(registry, FeatureFlag, _ListOfPayments(FeatureFlag, admin.site))
    assert not show(shop.client("ben"), url).fields().get("percent")
