"""An evaluation on the page of a flag, and its form, which the page of a user has, too."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import flag_enabled
from flagstaff._text import say
from flagstaff._workers.status import status
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, flag_url, page
from tests.support.buckets import bucket_of
from tests.support.conditions import condition, needs
from tests.support.forced_off import forced_off
from tests.support.screen import Screen
from tests.support.shop import GERMAN, Shop
from tests.support.translations import german

Show = Callable[..., Screen]
#: What an evaluation shows.
RESULTS = "strong, .flagstaff-why, #content-main .flagstaff-table tbody"


def section(client: Client, flag: FeatureFlag, **parameters: str) -> Screen:
    """Opens the page of a flag, and returns the section."""
    return Screen(page(client, flag_url(flag), **parameters)).part("#who-has-it")


def page_of_user(client: Client, _flag: FeatureFlag, **parameters: str) -> Screen:
    return Screen(page(client, f"{FLAGS}user/", **parameters)).part("#content")


def result(shown: Screen) -> str:
    return shown.part("p > strong").text


def lines(shown: Screen) -> list[tuple[str, ...]]:
    """Returns who is in each line of the table, with which share, and what came of it there."""
    rows = shown.part(".flagstaff-steps").rows
    return [tuple(re.sub(r"^[^\w\s] ", "", cell) for cell in row) for row in rows]


def attributes(user: User | None, request: Any) -> dict[str, object]:
    """The function of ATTRIBUTES."""
    return {} if request is None else {"host": request.get_host()}


# The form, also of the page of a user.

both_pages = pytest.mark.parametrize("show", [section, page_of_user])


@both_pages
def test_page_without_parameters_has_only_the_form(
    show: Show, operator: Client, flag: FeatureFlag
) -> None:
    shown = show(operator, flag, _changelist_filters="q=new")
    fields = shown.fields()
    assert {"user", "context"} <= fields.keys()
    assert not shown.all(RESULTS)
    assert (show is page_of_user) or fields["_changelist_filters"] == "q=new"
    assert "who-has-it" not in page(operator, f"{FLAGS}add/")


@both_pages
@pytest.mark.parametrize(
    ("user", "context", "problem"),
    [
        (
            "alcie",
            "country=DE",
            "No user has this primary key or username: “alcie”. Did you mean “alice”?",
        ),
        ("", '{"a": 1, "a": 2}', 'cannot be read: an object has the name "a" twice'),
        ("", "country", 'expected name=value, such as country=DE, not "country"'),
        ("", "name=1\n" * 1_500, "at most 10000 characters"),
        ("'", "<i>", "primary key or username"),
        ("9" * 400, "<i>", "primary key or username"),
        ("%", "<i>", "primary key or username"),
        ("<b>", "<i>", "primary key or username"),
    ],
    ids=["unknown", "JSON", "name", "long", "quote", "large", "percent", "markup"],
)
def test_wrong_input_is_an_error_beside_what_was_typed(  # noqa: PLR0913, PLR0917
    user: str,
    context: str,
    problem: str,
    show: Show,
    operator: Client,
    flag: FeatureFlag,
    alice: User,
) -> None:
    shown = show(operator, flag, user=user, context=context)
    assert problem in shown.text
    assert not shown.all(RESULTS)
    assert not shown.all("b, i")
    fields = shown.fields()
    assert (fields["user"], fields["context"].strip()) == (user, context.strip())


@both_pages
def test_form_needs_the_permission_to_view_users(show: Show, flag: FeatureFlag, shop: Shop) -> None:
    shop.user("alice")
    client = shop.client("olga", "change_featureflag")
    shown = show(client, flag, user="alice")
    assert "you need the permission “Can view user”" in shown.text
    # Only the search over everything is there.
    assert len(shown.all("form")) == (show is page_of_user)
    assert "alice" not in shown.html
    assert (show is section) or flag.key not in shown.html
    shop.client("olga", "view_user")
    assert "alice (primary key" in show(client, flag, user="alice").text


def test_primary_key_without_a_user_is_evaluated_with_a_note(
    operator: Client, flag: FeatureFlag
) -> None:
    shown = section(operator, flag, user="987654")
    assert "No user has the primary key 987654." in shown.text
    assert result(shown).endswith("for primary key 987654.")


def test_rollout_that_a_flag_that_is_off_limits_says_so(
    operator: Client, flag: FeatureFlag, shop: Shop
) -> None:
    alice = shop.user("alice")
    FeatureFlag.objects.update(rollout_percent=100, rules=needs("gone", percent=2))
    shown = section(operator, flag, user=str(alice.pk))
    assert result(shown).startswith("Off for alice")
    assert lines(shown)[-1][2] == (
        "no, decides not in the first 2 % (bucket 2) ✗ no "
        "a flag that a rule needs is off, so at most 2 % have this one"
    )


@pytest.mark.parametrize(
    ("percent", "state", "outcome", "why"),
    [
        (3, "On", "yes", "in the first 3 % (bucket 2)"),
        (2, "Off", "no", "not in the first 2 % (bucket 2)"),
        (0, "Off", "no", "the rollout is 0 %"),
    ],
)
def test_rollout_says_whether_a_user_is_in_its_first_part(  # noqa: PLR0913, PLR0917
    percent: int,
    state: str,
    outcome: str,
    why: str,
    operator: Client,
    flag: FeatureFlag,
    shop: Shop,
) -> None:
    # In the bucket 2.
    alice = shop.user("alice")
    FeatureFlag.objects.update(rollout_percent=percent)
    shown = section(operator, flag, user=str(alice.pk))
    assert result(shown) == f"{state} for alice (primary key {alice.pk})."
    assert lines(shown) == [
        ("Allowed users 0 users", "100 %", "no the user is not an allowed user"),
        ("Everyone else", f"{percent} %", f"{outcome}, decides {why}"),
    ]


def test_line_that_decides_stops_others(operator: Client, flag: FeatureFlag, alice: User) -> None:
    shown = section(operator, flag, user="", context="")
    assert result(shown) == "Off for anonymous users."
    assert shown.texts("thead th")[-1] == "anonymous"
    assert lines(shown)[1][2] == "no, decides there is no user"
    flag.allowed_users.add(alice)
    FeatureFlag.objects.update(rollout_percent=0)
    shown = section(operator, flag, user="alice")
    assert result(shown).startswith("On for alice")
    assert shown.texts("thead th")[-1] == "alice"
    assert [line[2] for line in lines(shown)] == [
        "yes, decides the user is an allowed user",
        "not reached",
    ]


@pytest.mark.parametrize(
    ("country", "then", "outcome"),
    [("DE", "is on", "yes, decides matches"), ("FR", "stays off", "no")],
)
def test_flag_that_is_off_is_evaluated_as_when_it_is_on(  # noqa: PLR0913, PLR0917
    country: str, then: str, outcome: str, operator: Client, flag: FeatureFlag, alice: User
) -> None:
    rules = [{"conditions": [GERMAN]}]
    FeatureFlag.objects.update(enabled=False, rollout_percent=0, rules=rules)
    shown = section(operator, flag, user="alice", context=f"country={country}")
    user = f"alice (primary key {alice.pk})"
    assert result(shown) == f"The flag is off. When it is turned on, it {then} for {user}."
    assert not shown.all("p.flagstaff-hidden > strong")
    [allowed, rule, _everyone_else] = (line[2] for line in lines(shown))
    assert allowed == "no the user is not an allowed user"
    assert rule.startswith(outcome)
    assert not flag_enabled(flag.key, alice, context={"country": country})


def test_rule_shows_each_condition_and_its_rollout(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    Segment.objects.create(key="german", conditions=[GERMAN])
    seats = {"attribute": "seats", "operator": "gte", "values": [5]}
    rules = [
        {"name": "big", "conditions": [seats, GERMAN], "rollout_percent": 50},
        {"conditions": [{"segment": "german"}], "rollout_percent": 100},
    ]
    FeatureFlag.objects.update(rules=rules)
    shown = section(operator, flag, user="alice", context="country=DE\nseats = 3")
    assert result(shown).startswith("On for alice")
    assert lines(shown)[1:] == [
        (
            'big seats is at least 5 and country is "DE"',
            "50 %",
            'no ✗ no seats is at least 5 ✓ yes country is "DE"',
        ),
        (
            'Rule 2 in segment "german"',
            "100 %",
            'yes, decides matches ✓ yes in segment "german" ✓ yes country is "DE"',
        ),
        ("Everyone else", "25 %", "not reached"),
    ]
    levels = [condition["class"][-1] for condition in shown.all("[class^=flagstaff-level]")]
    assert levels == ["1", "1", "1", "2"]


def test_rule_that_matches_can_keep_a_user_out(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [GERMAN], "rollout_percent": 0}])
    shown = section(operator, flag, user="alice", context="country=DE")
    assert result(shown).startswith("Off for alice")
    assert lines(shown)[1][2].startswith("no, decides matches")


def test_context_in_json_is_read_and_a_missing_visitor_named(
    operator: Client, flag: FeatureFlag
) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [GERMAN], "rollout_percent": 100}])
    shown = section(operator, flag, user="", context='{"country": "DE"}')
    assert result(shown) == "On for anonymous users."
    assert shown.fields()["context"] == '{"country": "DE"}'
    FeatureFlag.objects.update(rules=[], bucket_by="visitor")
    shown = section(operator, flag, user="")
    why = "there is no visitor in the context (write visitor=ID into the context)"
    assert lines(shown)[-1][2] == f"no, decides {why}"
    shown = section(operator, flag, user="", context="visitor=42")
    assert f"(bucket {bucket_of('new_checkout', '42')})" in lines(shown)[-1][2]


def test_request_of_the_operator_is_not_that_of_the_users(
    operator: Client, flag: FeatureFlag, settings: Any
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.attributes"}
    rules = [{"conditions": [condition("host", "in", "testserver")]}]
    FeatureFlag.objects.update(rules=rules)
    assert result(section(operator, flag, user="")) == "Off for anonymous users."
    assert "0 of 1 flag is on" in page_of_user(operator, flag, user="").text


def test_forced_off_flag_reaches_no_other_step(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    with forced_off(["new_checkout"]):
        shown = section(operator, flag, user="alice")
    assert result(shown).startswith("Off for alice")
    assert "Forced off in this process by FLAGSTAFF_FORCE_OFF" in shown.text
    assert [line[2] for line in lines(shown)] == ["not reached", "not reached"]


def test_unreadable_rules_return_the_default(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [{"attribute": 5}]}])
    shown = section(operator, flag, user="")
    assert result(shown) == "The flag returns the default of the call for anonymous users."
    assert "Rules: cannot be read, so the result is the default of the call" in shown.text
    assert lines(shown)[1][0].startswith("Rules")


def test_process_that_is_not_live_says_so(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling = replace(status(), mode="poll", mode_reason=say("the server is a standby"))
    monkeypatch.setattr("flagstaff.admin.evaluation.status", lambda: polling)
    text = section(operator, flag, user="").text
    why = "the server is a standby"
    assert f"This process is not live ({why}), so its own results may be older." in text
    with german({why: "der Server ist ein Standby"}):
        assert "(der Server ist ein Standby)" in section(operator, flag, user="").text


def test_pages_name_the_log_in_field_of_the_user_model(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [flag_url(flag, view) for view in ("change", "allowed-users", "allow")]
    for url in (*urls, f"{FLAGS}user/"):
        assert "Username or primary key" in page(operator, url), url
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    for url in (*urls, f"{FLAGS}user/"):
        assert "Email address or primary key" in page(operator, url), url
