"""`manage.py flags explain`. tests/conformance and tests/core test the results and the steps."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from flagstaff import explain, flag_enabled
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine
from tests.support.buckets import bucket_of
from tests.support.conditions import condition, rule
from tests.support.forced_off import forced_off, forced_on
from tests.support.terminals import document, flags, typed

pytestmark = pytest.mark.usefixtures("open_shop", "plain_terminal")


STAFF = rule(condition("is_staff", "in", True), name="staff")
ANYONE = condition("is_authenticated", "in", True)


def set_fields(**fields: object) -> None:
    """Writes columns past all checks, as SQL can."""
    FeatureFlag.objects.filter(key="new_checkout").update(**fields)


def deciding(line: str) -> tuple[str, str]:
    """Returns the name and the reason of the step that decides."""
    [step] = [step for step in document(*line.split())["steps"] if step["decides"]]
    return step["name"], step["text"]


@pytest.mark.parametrize("user", [None, 1, 2, 3])
def test_explain_has_the_result_the_reason_and_the_steps_of_the_function(user: int | None) -> None:
    explained = document("explain", "new_checkout", "--anonymous" if user is None else str(user))
    explanation = explain("new_checkout", user)
    assert explained["value"] is flag_enabled("new_checkout", user)
    assert (explained["reason"], explained["bucket"]) == (explanation.reason, explanation.bucket)
    names = [(step["name"], step["met"], step["decides"]) for step in explained["steps"]]
    assert names == [(step.name, step.met, step.decides) for step in explanation.steps]


@pytest.mark.parametrize(
    ("user", "shown", "sentence"),
    [
        ("1", {"pk": 1, "name": "alice", "by": "primary key"}, "user 1 (alice), found by primary"),
        ("77", {"pk": 43, "name": "77", "by": "username"}, "user 43 (77), found by username."),
        ("3", {"pk": 3, "name": None, "by": None}, "user 3."),
        ("--anonymous", None, "anonymous users."),
    ],
)
def test_user_is_found_by_primary_key_before_username(
    user: str, shown: dict[str, Any] | None, sentence: str
) -> None:
    User.objects.create(pk=42, username="1")
    User.objects.create(pk=43, username="77")
    assert document("explain", "dark_mode", user)["user"] == shown
    ran = flags("explain", "dark_mode", user)
    assert ran.out.startswith(f"result\tdark_mode is on for {sentence}")
    unknown = "no user has the primary key 3; showing the result for primary key 3 anyway\n"
    assert ran.err == (unknown if user == "3" else "")


def test_steps_in_a_pipe_have_a_header() -> None:
    _result, header, *steps = flags("explain", "dark_mode", "1").out.splitlines()
    assert header == "decides\tname\tmet\ttext"
    assert steps[0] == "false\texists\ttrue\tthe flag exists"


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name"]})
def test_user_that_is_found_is_read_for_attributes_and_units() -> None:
    set_fields(rules=[STAFF], bucket_by="last_name")
    User.objects.filter(username="bob").update(is_staff=True, last_name="Bell")
    assert document("explain", "new_checkout", "bob")["rule"] == 1
    set_fields(rules=[])
    assert document("explain", "new_checkout", "bob")["bucket"] == bucket_of("new_checkout", "Bell")


@pytest.mark.parametrize(
    ("rule", "user", "matches", "text"),
    [
        (rule(ANYONE), "bob", True, "100 %: matches"),
        (rule(ANYONE, rollout_percent=0), "bob", True, "0 %: matches, so the flag is off"),
        (
            rule(ANYONE, rollout_percent=51),
            *("bob", True, "51 %: matches; not in the first 51 % (bucket 51)"),
        ),
        (
            rule(ANYONE, rollout_percent=52, name="Ж"),
            *("bob", True, '"Ж", 52 %: matches; in the first 52 % (bucket 51)'),
        ),
        (
            rule(condition("is_authenticated", "in", False), rollout_percent=99),
            *("--anonymous", True, "99 %: matches, but there is no user, so the flag is off"),
        ),
        (STAFF, "bob", False, '"staff", 100 %: does not match'),
        (STAFF, "3", False, "needs the user object: is_staff is true"),
        (
            rule({"segment": "gone", "negate": True}),
            *("bob", False, 'there is no such segment: not in segment "gone"'),
        ),
        (rule({"segment": "enterprise"}), "bob", False, 'missing: plan is "enterprise"'),
    ],
)
def test_rule_and_its_conditions_are_steps_that_say_why(
    rule: dict[str, Any], user: str, matches: bool, text: str
) -> None:
    set_fields(rules=[rule])
    explained = document("explain", "new_checkout", user)
    [step] = [step for step in explained["steps"] if step["text"] == text]
    assert (step["met"], step["decides"], explained["rule"] == 1) == (matches, matches, matches)
    shown = typed(f"flags explain new_checkout {user}")
    assert ("▸  rule 1 " in shown) is matches
    # A disabled flag does not reach its rules.
    set_fields(enabled=False)
    steps = document("explain", "new_checkout", user)["steps"]
    first = [(step["met"], step["text"]) for step in steps if step["name"] == "rule 1"]
    assert first == [(None, "")]


def test_json_has_the_rules_and_the_conditions_as_they_are_stored() -> None:
    country = condition("country", "in", "DE")
    set_fields(rules=[rule(country, {"segment": "enterprise"}, name="beta")])
    explained = document("explain", "new_checkout", "bob", "--context", "country=DE")["steps"]
    values = [(step["level"], step["values"]) for step in explained if step["values"]]
    assert (0, {"name": "beta", "percent": 100}) in values
    assert (1, {"condition": country, "outcome": "passed"}) in values
    plan = condition("plan", "in", "enterprise")
    assert (2, {"condition": plan, "outcome": "missing"}) in values


def test_rules_that_cannot_be_read_leave_the_default_of_the_call_except_to_allowed_users() -> None:
    set_fields(rules=[STAFF, rule(name="beta")])
    explained = document("explain", "new_checkout", "bob")
    assert (explained["reason"], explained["error_code"]) == ("ERROR", "PARSE_ERROR")
    assert explained["rules_problem"].startswith('rule 2 ("beta"): ')
    shown = "new_checkout returns the default of the call for user 2 (bob), found by username."
    assert typed("flags explain new_checkout bob").splitlines()[0] == shown
    assert document("explain", "new_checkout", "alice")["reason"] == "TARGETING_MATCH"


@pytest.mark.parametrize(
    ("unit", "missing", "option", "unit_id"),
    [
        # A visitor is text, whatever it looks like.
        *[
            ("visitor", "there is no visitor in the context", "visitor=ID", unit_id)
            for unit_id in ("8f3a", "7", "1e5", "true")
        ],
        ("organization", "organization is missing", "organization=VALUE", "acme"),
    ],
)
def test_bucket_is_that_of_the_unit_or_a_hint_says_how_to_pass_it(
    unit: str, missing: str, option: str, unit_id: str
) -> None:
    set_fields(bucket_by=unit)
    hint = f" (pass --context {option})"
    assert deciding("explain new_checkout bob") == (unit, missing + hint)
    first, *_ = typed("flags explain new_checkout bob").splitlines()
    assert first.endswith(f"found by username. It is bucketed by {unit}, which is missing.")
    bucket = bucket_of("new_checkout", unit_id)
    line = f"explain new_checkout --anonymous --context {unit}={unit_id}"
    place = "in" if bucket < 25 else "not in"
    why = f"{place} the first 25 % by {unit} (bucket {bucket})"
    assert deciding(line) == ("bucket < rollout", why)
    assert f"It is bucketed by {unit}, bucket {bucket}." in typed(f"flags {line}")
    set_fields(rules=[rule(ANYONE, rollout_percent=99)])
    shown = f"99 %: matches, but {missing}, so the flag is off{hint}"
    assert deciding("explain new_checkout bob") == ("rule 1", shown)
    # An allowed user needs no unit.
    assert deciding("explain new_checkout alice") == ("allowed", "the user is an allowed user")


def test_value_null_of_the_context_is_missing() -> None:
    set_fields(rules=[rule(condition("plan", "isnull", True))])
    assert document("explain", "new_checkout", "bob", "--context", "plan=null")["rule"] == 1
    assert document("explain", "new_checkout", "bob", "--context", 'plan="null"')["rule"] is None


@pytest.mark.parametrize(
    ("force", "value", "variable", "notice"),
    [
        (forced_off, False, "FLAGSTAFF_FORCE_OFF", "dark_mode is off for all users."),
        (forced_on, True, "FLAGSTAFF_FORCE_ON", "dark_mode is on for all users."),
    ],
    ids=["off", "on"],
)
def test_forced_flag_names_the_environment(
    force: Any, value: bool, variable: str, notice: str
) -> None:
    with force(["dark_mode"]):
        explained = document("explain", "dark_mode", "alice")
        shown = typed("flags explain dark_mode alice")
    assert (explained["value"], explained["override"]) == (value, variable)
    [first, _, _, step] = shown.splitlines()
    assert first == notice
    assert step.startswith("▸  override  yes  forced ")
    assert step.endswith(f" in this process by {variable}")


@pytest.mark.django_db(transaction=True)
def test_explain_reads_the_database_of_the_open_transaction() -> None:
    with live_engine(), transaction.atomic():
        set_fields(rollout_percent=100)
        assert document("explain", "new_checkout", "bob")["value"] is True
        # The memory of this process changes after the commit.
        assert flag_enabled("new_checkout", 2) is False
