"""An evaluation on the page of a flag, and its form, which the page of a user has, too."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flagstaff import explain
from flagstaff._engine.direct import read_own_writes
from flagstaff._engine.status import status
from flagstaff._words.text import Text
from flagstaff.models import FeatureFlag, Segment
from tests.support.admin_pages import FLAGS, bucket_of, page, staff
from tests.support.forced_off import forced_off
from tests.support.screen import Screen
from tests.support.translations import german

Show = Callable[..., str]

pytestmark = pytest.mark.django_db

GERMAN = {"attribute": "country", "operator": "in", "values": ["DE"]}


def section(client: Client, flag: FeatureFlag, **parameters: str) -> str:
    """Returns the HTML of the section."""
    response = client.get(f"{FLAGS}{flag.pk}/change/", parameters)
    assert response.status_code == 200
    return Screen(response).part("#who-has-it").html


def page_of_user(client: Client, _flag: FeatureFlag, **parameters: str) -> str:
    """Returns the HTML of the page of a user."""
    return Screen(page(client, f"{FLAGS}user/?{urlencode(parameters)}")).part("#content").html


def words(html: str) -> str:
    return Screen(html).text


def result(html: str) -> str:
    return Screen(html).part("p > strong").text


def steps(html: str) -> list[tuple[str, str]]:
    """Returns the label and the outcome of each step."""
    rows = Screen(html).part(".flagstaff-steps").rows
    return [(label, re.sub(r"^\W+", "", outcome)) for label, outcome, _why in rows]


def whys(html: str) -> list[str]:
    return Screen(html).texts("td.flagstaff-why")


def is_evaluated(html: str) -> bool:
    return bool(Screen(html).all("strong, tbody"))


def set_flag(flag: FeatureFlag, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(flag, name, value)
    flag.save()


# The form, also of the page of a user.

both_pages = pytest.mark.parametrize("show", [section, page_of_user])


@both_pages
def test_page_without_parameters_has_only_the_form(
    show: Show, operator: Client, flag: FeatureFlag
) -> None:
    html = show(operator, flag, _changelist_filters="q=new")
    assert 'name="user"' in html
    assert 'name="context"' in html
    assert not is_evaluated(html)
    assert (show is page_of_user) or 'name="_changelist_filters" value="q=new"' in html
    assert "who-has-it" not in page(operator, f"{FLAGS}add/")


@both_pages
def test_unknown_user_is_an_error_with_a_guess(
    show: Show, operator: Client, flag: FeatureFlag, alice: User
) -> None:
    html = show(operator, flag, user="alcie", context="country=DE")
    problem = "No user has this primary key or username: “alcie”. Did you mean “alice”?"
    assert problem in words(html)
    assert 'value="alcie"' in html
    assert "country=DE</textarea>" in html
    assert not is_evaluated(html)


@both_pages
@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ('{"a": 1, "a": 2}', 'the JSON cannot be read: an object has the name "a" twice'),
        ("country", 'expected name=value, such as country=DE, not "country"'),
    ],
)
def test_invalid_context_is_an_error_beside_what_was_typed(
    typed: str, problem: str, show: Show, operator: Client, flag: FeatureFlag
) -> None:
    html = show(operator, flag, user="", context=typed)
    assert problem in words(html)
    assert not is_evaluated(html)
    assert Screen(html).fields()["context"] == typed


@both_pages
@pytest.mark.parametrize("user", ["'", "9" * 400, "%", "<b>"])
def test_odd_user_is_error_and_is_escaped(
    user: str, show: Show, operator: Client, flag: FeatureFlag
) -> None:
    html = show(operator, flag, user=user, context="<i>")
    assert 'class="errorlist" id="id_user_error"' in html
    assert not Screen(html).all("b, i")


@both_pages
def test_form_needs_the_permission_to_view_users(
    show: Show, flag: FeatureFlag, alice: User
) -> None:
    html = show(staff("change_featureflag"), flag, user="alice")
    assert "you need the permission “auth.view_user”" in words(html)
    # Only the search over everything is there.
    assert html.count("<form") == (show is page_of_user)
    assert "alice" not in html
    assert (show is section) or flag.key not in html
    viewer = staff("view_featureflag", "view_user", name="viewer")
    assert "alice (primary key" in words(show(viewer, flag, user="alice"))


# The section "Who has it?".


def test_primary_key_without_a_user_is_evaluated_with_a_note(
    operator: Client, flag: FeatureFlag
) -> None:
    html = section(operator, flag, user="987654")
    assert "No user has the primary key 987654." in words(html)
    assert result(html).endswith("for primary key 987654.")


def test_user_in_rollout_passes_each_step(operator: Client, flag: FeatureFlag, alice: User) -> None:
    bucket = bucket_of("new_checkout", alice.pk)
    set_flag(flag, rollout_percent=bucket + 1 if bucket < 99 else 99)
    html = section(operator, flag, user="alice")
    is_on = bucket < 99
    assert result(html) == f"{'On' if is_on else 'Off'} for alice (primary key {alice.pk})."
    assert steps(html) == [
        ("Enabled", "yes"),
        ("Allowed user", "no"),
        ("Rollout of 100 %", "no"),
        ("Known user", "yes"),
        ("Bucket below the rollout", f"{'yes' if is_on else 'no'}, decides"),
    ]
    for percent in (max(bucket, 1), min(bucket + 1, 99)):
        set_flag(flag, rollout_percent=percent)
        html = section(operator, flag, user=str(alice.pk))
        side = "" if bucket < percent else "not "
        assert whys(html)[-1] == f"{bucket} is {side}below {percent}"
        with read_own_writes():
            expected = explain("new_checkout", alice).value
        assert result(html).startswith("On for" if expected else "Off for")


def test_step_that_decides_stops_others(operator: Client, flag: FeatureFlag, alice: User) -> None:
    html = section(operator, flag, user="", context="")
    assert result(html) == "Off for anonymous users."
    assert ("Known user", "no, decides") in steps(html)
    flag.allowed_users.add(alice)
    set_flag(flag, rollout_percent=0)
    html = section(operator, flag, user="alice")
    assert result(html).startswith("On for alice")
    assert ("Allowed user", "yes, decides") in steps(html)
    set_flag(flag, enabled=False)
    html = section(operator, flag, user="alice")
    assert result(html) == f"Off for alice (primary key {alice.pk})."
    assert steps(html)[:2] == [("Enabled", "no, decides"), ("Allowed user", "not reached")]


def test_rule_shows_each_condition_and_its_rollout(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    Segment.objects.create(key="german", conditions=[GERMAN])
    seats = {"attribute": "seats", "operator": "gte", "values": [5]}
    rules = [
        {"name": "big", "conditions": [seats, GERMAN], "rollout_percent": 50},
        {"conditions": [{"segment": "german"}], "rollout_percent": 100},
    ]
    set_flag(flag, rules=rules)
    html = section(operator, flag, user="alice", context="country=DE\nseats = 3")
    assert result(html).startswith("On for alice")
    assert steps(html)[2:] == [
        ("Rule 1", "no"),
        ("Condition 1", "no"),
        ("Condition 2", "yes"),
        ("Rule 2", "yes, decides"),
        ("Condition 1", "yes"),
        ("Condition 1", "yes"),
        ("Rollout of 100 %", "not reached"),
        ("Known user", "not reached"),
        ("Bucket below the rollout", "not reached"),
    ]
    assert '"big", 50 %: does not match' in whys(html)
    levels = [step["class"][-1] for step in Screen(html).all(".flagstaff-steps tbody th")]
    assert levels[2:8] == ["0", "1", "1", "0", "1", "2"]


def test_context_in_json_is_read_and_a_missing_visitor_named(
    operator: Client, flag: FeatureFlag
) -> None:
    set_flag(flag, rules=[{"conditions": [GERMAN], "rollout_percent": 100}])
    html = section(operator, flag, user="", context='{"country": "DE"}')
    assert result(html) == "On for anonymous users."
    assert Screen(html).fields()["context"] == '{"country": "DE"}'
    set_flag(flag, rules=[], bucket_by="visitor")
    html = section(operator, flag, user="")
    assert "there is no visitor in the context (write visitor=ID into the context)" in whys(html)
    html = section(operator, flag, user="", context="visitor=42")
    assert whys(html)[-1].startswith(f"{bucket_of('new_checkout', '42')} is ")


def test_forced_off_flag_reaches_no_other_step(
    operator: Client, flag: FeatureFlag, alice: User
) -> None:
    with forced_off(["new_checkout"]):
        html = section(operator, flag, user="alice")
    assert result(html).startswith("Off for alice")
    assert steps(html) == [("Not forced off", "no, decides")]
    assert whys(html)[0] == "forced off in this process by FLAGSTAFF_FORCE_OFF"


def test_unreadable_rules_return_the_default(operator: Client, flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rules=[{"conditions": [{"attribute": 5}]}])
    html = section(operator, flag, user="")
    assert result(html) == "The flag returns the default of the call for anonymous users."
    assert ("Rules", "no, decides") in steps(html)


def test_process_that_is_not_live_says_so(
    operator: Client, flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling = replace(status(), mode="poll", mode_reason=Text("the server is a standby"))
    monkeypatch.setattr("flagstaff.admin.evaluation.status", lambda: polling)
    text = words(section(operator, flag, user=""))
    why = "the server is a standby"
    assert f"This process is not live ({why}), so its own results may be older." in text
    with german({why: "der Server ist ein Standby"}):
        assert "(der Server ist ein Standby)" in words(section(operator, flag, user=""))


@pytest.mark.parametrize(
    ("field", "expected"),
    [("username", "Username or primary key"), ("email", "Email address or primary key")],
)
def test_pages_name_the_log_in_field_of_the_user_model(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, field: str, expected: str
) -> None:
    flag = FeatureFlag.objects.create(key="new_checkout")
    monkeypatch.setattr(User, "USERNAME_FIELD", field)
    pages = ("change", "allowed-users", "allow")
    for url in (*(f"{FLAGS}{flag.pk}/{one}/" for one in pages), f"{FLAGS}user/"):
        assert expected in admin_client.get(url).content.decode(), url
