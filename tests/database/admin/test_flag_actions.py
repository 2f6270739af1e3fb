"""The actions of a flag: what only their pages ask and say."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from flagstaff import changes
from flagstaff.changes import impact
from flagstaff.models import FeatureFlag
from tests.support.admin_pages import (
    FLAGS,
    act,
    answer,
    asks,
    confirmed,
    errors_of,
    flag_url,
    message_links,
    messages_of,
    notes_of,
    page,
    preview_of,
    problems_of,
    production,
    staff,
    state,
    text_to_type,
    toggle_url,
    typed,
    undo_urls,
)
from tests.support.history import flag_history
from tests.support.screen import Screen
from tests.support.shop import Shop
from tests.support.sql import statements_of
from tests.support.stale_flags import collect_usage, evaluate
from tests.support.terminals import asked
from tests.support.usage_rows import delete_usage

STAFF = [{"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}]
FEW_STAFF = [{**STAFF[0], "rollout_percent": 5}]


def test_details_are_set_and_cleared(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "details")
    act(operator, url, review_on="2100-01-01", tags="a, b", owner="ana")
    flag.refresh_from_db()
    assert (str(flag.review_on), flag.tags, flag.owner) == ("2100-01-01", ["a", "b"], "ana")
    act(operator, url, review_on="", tags="", owner="")
    flag.refresh_from_db()
    assert (flag.review_on, flag.tags, flag.owner) == (None, [], "")


def test_percentage_of_the_url_opens_the_preview(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "rollout")
    shown = operator.get(f"{url}?percent=50")
    assert preview_of(shown)["rollout"] == ["25 %", "50 %"]
    assert Screen(shown).focused.text == "Roll out to 50 %"
    assert state(flag) == (True, 25)
    # Another argument than was shown is another question.
    assert asks(operator.post(url, {**confirmed(shown), "percent": "75"}))
    assert state(flag) == (True, 25)
    [message] = messages_of(operator.post(url, confirmed(shown), follow=True))
    assert message.count("25 → 50 %") == 1
    assert state(flag) == (True, 50)
    for text in ("101", "x", "", "%00"):
        assert errors_of(operator.get(f"{url}?percent={text}"))


def test_page_of_an_action_looks_for_the_history_once(operator: Client, flag: FeatureFlag) -> None:
    statements = statements_of(lambda: operator.get(flag_url(flag, "rollout")))
    assert len([text for text in statements if "row_security_active" in text]) == 1


def test_rollout_that_no_user_gains_is_written_at_once(operator: Client, flag: FeatureFlag) -> None:
    url = flag_url(flag, "rollout")
    response = operator.get(f"{url}?percent=26")
    assert "No user gains or loses the flag." in str(response.context["notes"])
    assert not response.context["look"].asks
    [message, *_] = messages_of(operator.post(url, {"percent": "26"}, follow=True))
    assert "Afterwards 0 of " in message
    assert state(flag) == (True, 26)


@pytest.mark.parametrize(
    ("name", "arguments", "key"),
    [
        ("rollout", {"percent": "45"}, ""),
        ("rollout", {"percent": "100"}, "new_checkout"),
        ("release", {}, "new_checkout"),
        ("allow", {"users": ",".join(f"user{n}" for n in range(99))}, "new_checkout"),
    ],
)
def test_action_that_gives_a_flag_to_most_users_in_production_types_the_key(  # noqa: PLR0913, PLR0917
    name: str,
    arguments: dict[str, str],
    key: str,
    operator: Client,
    flag: FeatureFlag,
    settings: Any,
) -> None:
    users = (User(pk=10_000 + number, username=f"user{number}") for number in range(99))
    User.objects.bulk_create(users)
    production(settings)
    url = flag_url(flag, name)
    before = state(flag), flag.allowed_users.count()
    response = operator.post(url, typed(operator, url, **arguments))
    assert (asks(response), text_to_type(response)) == (True, key)
    answer(operator, response, _typed_key="new")
    assert ((state(flag), flag.allowed_users.count()) == before) is bool(key)
    answer(operator, response, _typed_key=key)
    assert (state(flag), flag.allowed_users.count()) != before


@pytest.mark.usefixtures("reason_required")
def test_required_reason_has_the_focus(operator: Client, flag: FeatureFlag) -> None:
    shown = Screen(page(operator, f"{flag_url(flag, 'rollout')}?percent=5"))
    assert shown.focused["name"] == "_reason"


# What a person should know before.


def test_release_says_what_happens_to_rules(operator: Client, flag: FeatureFlag) -> None:
    changes.flags.update("new_checkout", {"rules": FEW_STAFF})
    note = "Rule 1 keeps 95 % of its users out, also at a rollout of 100 %."
    shown = operator.get(f"{flag_url(flag, 'rollout')}?percent=100")
    assert note in notes_of(shown)
    more = Screen(shown).part(".flagstaff-notice", having="gives the flag to them, too.")
    assert more.links == [("100 %, also in rules", flag_url(flag, "release"))]
    command = "to give it to them, too, run: python manage.py flags release new_checkout"
    assert command in asked("rollout new_checkout 100", "n").err
    response = operator.get(flag_url(flag, "release"))
    assert "changed rule" in preview_of(response)
    operator.post(flag_url(flag, "release"), confirmed(response))
    flag.refresh_from_db()
    assert flag.rules == [{**STAFF[0], "rollout_percent": 100}]
    [entry, *_] = flag_history("new_checkout")
    assert {difference.field for difference in entry.differences} == {"rules", "rollout_percent"}


@pytest.mark.parametrize(
    ("percent", "notes"),
    [
        ("5", []),
        ("6", ["Rule 1 gives the flag to 5 % of its users, not 6 %."]),
        ("100", ["Rule 1 keeps 95 % of its users out, also at a rollout of 100 %."]),
    ],
)
def test_page_and_message_name_a_rule_that_gives_less_than_the_rollout(
    percent: str, notes: list[str], operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", {"rules": FEW_STAFF, "enabled": False})
    for name in ("on", "rollout"):
        url = flag_url(flag, name)
        edited = operator.post(url, {"percent": percent, "_edit": "preview"})
        # The link to the release is offered only at 100 %.
        for texts in (notes_of(edited), messages_of(act(operator, url, percent=percent))):
            assert [text for text in texts if "of its users" in text] == notes
            assert any("gives the flag to them" in text for text in texts) is (percent == "100")


def test_message_after_a_rollout_to_100_links_to_what_includes_the_rules(
    operator: Client, flag: FeatureFlag
) -> None:
    changes.flags.update("new_checkout", {"rules": FEW_STAFF})
    response = act(operator, flag_url(flag, "rollout"), percent="100")
    assert ("100 %, also in rules", flag_url(flag, "release")) in message_links(response)


OFF = "“new_checkout” is off: no user has it until it is turned on."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rollout", {"percent": "50"}),
        ("rules", {"rules": json.dumps(STAFF)}),
        ("allow", {"users": "ana"}),
    ],
)
def test_flag_that_is_off_says_so_before_and_after_it_is_given_to_users(
    name: str, arguments: dict[str, str], operator: Client, flag: FeatureFlag, shop: Shop
) -> None:
    shop.user("ana")
    url, edit = flag_url(flag, name), {"_edit": "preview"}
    assert OFF not in notes_of(operator.post(url, typed(operator, url, **arguments) | edit))
    FeatureFlag.objects.update(enabled=False)
    assert OFF in notes_of(operator.post(url, typed(operator, url, **arguments) | edit))
    assert OFF in messages_of(act(operator, url, **arguments))


def test_percentage_to_turn_on_says_of_whom_and_what_it_is(
    operator: Client, flag: FeatureFlag
) -> None:
    text, of_others = "If it is empty, it stays at 25 %.", "Rollout for everyone else, in percent"
    shown = Screen(operator.get(flag_url(flag, "on"))).text
    assert text in shown
    assert of_others not in shown
    FeatureFlag.objects.update(rules=FEW_STAFF)
    assert of_others in Screen(operator.get(flag_url(flag, "on"))).text


def test_unknown_attribute_is_said_after_the_change(operator: Client, flag: FeatureFlag) -> None:
    rules = [{"conditions": [{"attribute": "contry", "operator": "in", "values": ["DE"]}]}]
    response = act(operator, flag_url(flag, "rules"), rules=json.dumps(rules))
    assert any("contry" in text for text in messages_of(response)[1:])


def test_kill_wins_over_a_newer_change(operator: Client, flag: FeatureFlag) -> None:
    data = Screen(page(operator, flag_url(flag, "kill"))).fields()
    changes.flags.set_rollout("new_checkout", 75)
    operator.post(flag_url(flag, "kill"), data)
    assert state(flag) == (False, 75)


@pytest.mark.parametrize("name", ["kill", "off"])
def test_flag_that_is_off_says_that_its_previews_end_where_there_can_be_some(
    operator: Client, flag: FeatureFlag, name: str, settings: Any
) -> None:
    changes.flags.disable(flag.key)
    assert "Already off." in notes_of(operator.get(flag_url(flag, name)))
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    operator.handler.load_middleware()
    notes = notes_of(operator.get(flag_url(flag, name)))
    assert "Already off. If somebody previews it in a browser, the preview ends." in notes


def test_page_of_a_kill_focuses_its_button_and_says_what_stays(
    operator: Client, flag: FeatureFlag, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    production(settings)
    shown = Screen(page(operator, flag_url(flag, "kill")))
    assert shown.part(".flagstaff-danger[autofocus]").text == "Kill new_checkout"
    assert "Rollout, rules and allowed users stay as they are." in shown.text
    assert "_typed_key" not in shown.fields()
    # The page does not depend on the count.
    monkeypatch.setattr(impact, "_count", lambda *_args: 1 / 0)
    shown = Screen(page(operator, flag_url(flag, "kill")))
    assert "Kill new_checkout" in shown.buttons
    assert "The users cannot be counted." in shown.text


@pytest.mark.parametrize(
    ("back", "end"),
    [
        (f"{FLAGS}?q=a#flag-1", f"{FLAGS}?q=a#flag-1"),
        ("https://example.com/", None),
        ("//example.com/", None),
        ("", None),
    ],
)
def test_way_back_is_the_list_and_cannot_leave_the_site(
    back: str, end: str | None, operator: Client, flag: FeatureFlag
) -> None:
    url = toggle_url(flag, "kill", back)
    target = end or flag_url(flag)
    assert Screen(page(operator, url)).link("Back") == target
    assert operator.post(url)["Location"] == target


def test_new_flag_is_off_and_its_message_leads_on(operator: Client) -> None:
    focused = Screen(page(operator, f"{FLAGS}add/?key=beta")).focused
    assert (focused["name"], focused["value"]) == ("key", "beta")
    response = act(operator, f"{FLAGS}add/", key="beta", description="Beta", owner="ana")
    flag = FeatureFlag.objects.get()
    assert (flag.key, flag.enabled, flag.rollout_percent, flag.owner) == ("beta", False, 0, "ana")
    *links, (_undo, _url) = message_links(response)
    pages = [(url.partition("?")[0], text.removesuffix("…")) for text, url in links]
    assert pages == [
        (flag_url(flag, "rules"), "Rules for staff"),
        (flag_url(flag, "rules"), "Rules"),
        (flag_url(flag, "allowed-users"), "Allowed users"),
        (flag_url(flag, "on"), "Turn on"),
    ]
    # The first one has filled in the rule.
    operator.post(flag_url(flag, "rules"), typed(operator, links[0][1]))
    flag.refresh_from_db()
    assert [rule["conditions"] for rule in flag.rules] == [STAFF[0]["conditions"]]


def test_message_of_a_new_flag_leads_to_what_the_user_may_do() -> None:
    response = act(staff("add_featureflag", "view_featureflag"), f"{FLAGS}add/", key="beta")
    assert "href" not in messages_of(response)[0]
    assert undo_urls(response) == []


@pytest.mark.django_db(transaction=True)
def test_deletion_says_who_has_the_flag_and_types_the_key_of_one_in_use(
    operator: Client, flag: FeatureFlag
) -> None:
    with transaction.atomic():
        collect_usage()
    evaluate("new_checkout")
    try:
        response = operator.get(flag_url(flag, "delete"))
        assert "On for 25 % of all users." in Screen(response).text
        assert "manage.py flags references new_checkout" in Screen(response).text
        assert text_to_type(response) == "new_checkout"
        notes = notes_of(response)
        assert "The code still evaluates “new_checkout”." in notes
        default = "After the deletion, the code uses its own default for “new_checkout”."
        assert default in notes
        assert any(
            note.startswith("Evaluated: 1 time in the last 30 days, last reported at ")
            for note in notes
        )
        again = operator.post(flag_url(flag, "delete"), confirmed(response))
        assert problems_of(again) == ["Not confirmed: type “new_checkout” exactly."]
    finally:
        with transaction.atomic():
            delete_usage()
