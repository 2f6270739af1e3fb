"""`manage.py flags explain`."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from flagstaff import explain, flag_enabled
from flagstaff._engine.forced_off import NOTICE
from flagstaff.models import FeatureFlag
from flagstaff.testing import live_engine, override_flag
from tests.support.forced_off import forced_off
from tests.support.terminals import document, flags, typed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("cli_shop", "plain_terminal")]


KEYS = ["beta_reviews", "dark_mode", "new_checkout", "search_v2", "summer_banner"]


@pytest.mark.parametrize("key", KEYS)
def test_explain_agrees_with_flag_enabled(key: str) -> None:
    for user in (None, *range(1, 20)):
        found = document("explain", key, "--anonymous" if user is None else str(user))
        explanation = explain(key, user)
        assert found["value"] is flag_enabled(key, user)
        assert (found["reason"], found["bucket"]) == (explanation.reason, explanation.bucket)
        # Steps above the deciding one were checked, steps below it were not.
        reached = [step["decides"] for step in found["steps"] if step["met"] is not None]
        assert reached == [False] * (len(reached) - 1) + [True]


@pytest.mark.parametrize(
    ("key", "user", "value", "decides"),
    [
        ("summer_banner", "alice", False, "enabled"),
        ("new_checkout", "--anonymous", False, "user"),
        ("new_checkout", "3", True, "bucket < rollout"),
    ],
)
def test_explain_marks_the_deciding_step(key: str, user: str, value: bool, decides: str) -> None:
    found = document("explain", key, user)
    assert found["value"] is value
    assert [step["name"] for step in found["steps"] if step["decides"]] == [decides]
    [marked] = [line for line in typed(f"flags explain {key} {user}").splitlines() if "▸" in line]
    assert marked.startswith(f"▸  {decides} ")


def test_explain_finds_users_by_primary_key_before_username() -> None:
    User.objects.create(pk=42, username="1")
    User.objects.create(pk=43, username="77")
    found = document("explain", "dark_mode", "1")["user"]
    assert found == {"pk": 1, "name": "alice", "by": "primary key"}
    found = document("explain", "dark_mode", "77")["user"]
    assert found == {"pk": 43, "name": "77", "by": "username"}
    status, out, err = flags("explain", "new_checkout", "3")
    assert status == 0
    assert out.startswith("result\tnew_checkout is on for user 3.\n")
    assert err == ("no user has the primary key 3; showing the result for primary key 3 anyway\n")


def test_explain_of_an_overridden_flag_names_the_override() -> None:
    with override_flag("summer_banner", True):
        found = document("explain", "summer_banner", "alice")
    assert found["value"] is True
    assert [step["text"] for step in found["steps"]] == ["overridden by a test"]


@pytest.mark.django_db(transaction=True)
def test_explain_reads_the_database_of_the_open_transaction() -> None:
    with live_engine(), transaction.atomic():
        FeatureFlag.objects.filter(key="new_checkout").update(rollout_percent=100)
        assert document("explain", "new_checkout", "bob")["value"] is True
        # The memory of this process changes after the commit.
        assert flag_enabled("new_checkout", 2) is False


def test_explain_of_a_forced_off_flag_names_the_environment() -> None:
    with forced_off(["dark_mode"]):
        found = document("explain", "dark_mode", "alice")
        shown = typed("flags explain dark_mode alice")
    assert (found["value"], found["override"]) == (False, "FLAGSTAFF_FORCE_OFF")
    assert shown.splitlines() == [
        "dark_mode is off for all users.",
        "",
        "   STEP",
        f"▸  override  yes  {NOTICE}",
    ]


def condition(attribute: str, *values: object, operator: str = "in", **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator, "values": [*values], **more}


STAFF = {"name": "staff", "conditions": [condition("is_staff", True)]}
BETA = {
    "name": "beta",
    "conditions": [condition("country", "DE", "AT"), {"segment": "enterprise"}],
    "rollout_percent": 60,
}
BLOCKED = {"conditions": [condition("country", "US")], "rollout_percent": 0}


def set_rules(*rules: object) -> None:
    FeatureFlag.objects.filter(key="new_checkout").update(rules=[*rules])


def steps(*arguments: str) -> list[tuple[int, str, bool | None, str]]:
    """Returns level, name, whether it is met, and why, of the steps between allowed and 100 %."""
    found = document("explain", "new_checkout", *arguments)["steps"]
    names = [step["name"] for step in found]
    between = found[names.index("allowed") + 1 : names.index("100 %")]
    return [(step["level"], step["name"], step["met"], step["text"]) for step in between]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"rollout_percent": 100}, "100 %: matches"),
        ({"rollout_percent": 0}, "0 %: matches, so the flag is off"),
        ({"rollout_percent": 51}, "51 %: matches; 51 is not below 51"),
        ({"rollout_percent": 52, "name": "Ж"}, '"Ж", 52 %: matches; 51 is below 52'),
    ],
)
def test_deciding_rule_shows_its_own_percentage(rule: dict[str, Any], why: str) -> None:
    set_rules({"conditions": [condition("is_authenticated", True)], **rule})
    found = document("explain", "new_checkout", "bob")
    [decisive] = [step for step in found["steps"] if step["decides"]]
    assert (decisive["name"], decisive["text"]) == ("rule 1", why)
    assert found["rule"] == 1


def test_rules_that_do_not_match_leave_the_decision_to_the_rollout() -> None:
    set_rules(STAFF, BLOCKED)
    found = document("explain", "new_checkout", "bob")
    assert [step["name"] for step in found["steps"] if step["decides"]] == ["bucket < rollout"]
    assert [why for _, _, _, why in steps("bob")] == [
        '"staff", 100 %: does not match',
        "is_staff is true",
        "0 %: does not match",
        'missing: country is "US"',
    ]
    # The rules of a disabled flag are not reached.
    FeatureFlag.objects.filter(key="new_checkout").update(enabled=False)
    assert steps("bob") == [(0, "rule 1", None, ""), (0, "rule 2", None, "")]


def test_missing_segment_and_missing_user_are_named() -> None:
    set_rules({"conditions": [{"segment": "gone", "negate": True}]})
    shown = 'there is no such segment: not in segment "gone"'
    assert steps("bob")[1] == (1, "condition 1", False, shown)
    set_rules({"conditions": [condition("is_authenticated", False)], "rollout_percent": 99})
    shown = "99 %: matches, but there is no user, so the flag is off"
    assert steps("--anonymous")[0] == (0, "rule 1", True, shown)


@override_settings(FLAGSTAFF={"ATTRIBUTES": ["last_name"]})
def test_user_that_is_found_is_read_for_attributes() -> None:
    set_rules(STAFF)
    shown = "needs the user object: is_staff is true"
    assert steps("3")[1] == (1, "condition 1", False, shown)
    User.objects.filter(username="bob").update(is_staff=True, last_name="Bell")
    assert steps("bob")[1] == (1, "condition 1", True, "is_staff is true")
    set_rules({"conditions": [condition("last_name", "Bell")]})
    assert document("explain", "new_checkout", "2")["rule"] == 1


def test_explain_as_json_has_the_rules_among_the_steps() -> None:
    set_rules(STAFF, BETA)
    found = document("explain", "new_checkout", "bob", "--context", "country=DE")
    assert (found["rule"], found["rule_name"], found["rules_problem"]) == (None, None, None)
    assert found["user"] == {"pk": 2, "name": "bob", "by": "username"}
    [beta] = [step for step in found["steps"] if step["name"] == "rule 2"]
    assert (beta["values"], beta["decides"]) == ({"name": "beta", "percent": 60}, False)
    conditions = found["steps"][found["steps"].index(beta) + 1 :][:3]
    assert [step["values"]["outcome"] for step in conditions] == ["passed", "missing", "missing"]
    assert conditions[2]["values"]["condition"] == condition("plan", "enterprise")


def test_rules_that_cannot_be_read_are_explained() -> None:
    set_rules(STAFF, {"name": "beta", "conditions": []})
    problem = 'rule 2 ("beta"): '
    found = document("explain", "new_checkout", "bob")
    assert (found["reason"], found["error_code"]) == ("ERROR", "PARSE_ERROR")
    assert found["rules_problem"].startswith(problem)
    [decisive] = [step for step in found["steps"] if step["decides"]]
    assert decisive["name"] == "rules"
    assert (
        f"cannot be read, so the result is the default of the call: {problem}" in decisive["text"]
    )
    shown = "new_checkout returns the default of the call for user 2 (bob), found by username."
    assert typed("flags explain new_checkout bob").splitlines()[0] == shown
    # An allowed user has the flag in any case.
    assert document("explain", "new_checkout", "alice")["reason"] == "TARGETING_MATCH"


def test_context_value_null_is_missing() -> None:
    set_rules({"conditions": [condition("plan", True, operator="isnull")]})
    assert document("explain", "new_checkout", "bob", "--context", "plan=null")["rule"] == 1
    assert document("explain", "new_checkout", "bob", "--context", 'plan="null"')["rule"] is None


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        (["country"], 'expected name=value, such as country=DE, not "country"'),
        (["a=1", "a=2"], '"a" is given twice; remove one'),
    ],
)
def test_wrong_context_is_a_usage_error(contexts: list[str], message: str) -> None:
    arguments = [part for context in contexts for part in ("--context", context)]
    ran = flags("explain", "new_checkout", "bob", *arguments)
    assert (ran.status, ran.err) == (2, f"CommandError: argument --context: {message}\n")
