"""The rules of a value in a terminal: value create, rules, show, get and set-for-everyone."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from flagstaff import changes
from flagstaff.models import KeyValueStore
from tests.support.admin_pages import bucket_of
from tests.support.terminals import document, flags, run, typed

pytestmark = pytest.mark.django_db

KEY = "max_items"
RULES = [
    {"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}], "value": 50},
    {"conditions": [], "rollout_percent": 25, "value": 20},
]
SENTENCES = 'rule 1: 50 if plan is "pro"; rule 2: 20 for 25 % of the others'
KEPT = f"{KEY}: users for whom a rule decides keep another value: rule 1 → 50, rule 2 → 20 for 25 %"


@pytest.fixture
def ruled() -> None:
    changes.values.create(KEY, 10, rules=RULES)


def stored() -> Any:
    return KeyValueStore.objects.values_list("value", "rules", "bucket_by").get(key=KEY)


def test_create_and_update_take_rules_as_json_as_a_file_and_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES))
    ran = flags("value", "create", KEY, "10", "--rules", str(file), "--bucket-by", "visitor")
    assert ran.err.splitlines()[0] == (
        f"{KEY}: created, value 10, rules {SENTENCES}, bucketing unit visitor"
    )
    assert stored() == (10, RULES, "visitor")
    assert run(f"value rules {KEY} []").status == 0
    assert stored() == (10, [], "visitor")
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(RULES)))
    ran = run(f"value rules {KEY} - --bucket-by user")
    assert stored() == (10, RULES, "user")
    assert "the new unit reassigns every user; where a percentage decides" in ran.err


def test_rules_that_are_not_valid_are_refused(ruled: None) -> None:
    assert run(f"value rules {KEY} [").status == 2
    ran = flags("value", "rules", KEY, '[{"conditions": []}]')
    assert (ran.status, "refused: rules: rule 1" in ran.err) == (4, True)
    assert stored() == (10, RULES, "user")


def test_update_warns_of_groups_that_do_not_exist(ruled: None) -> None:
    condition = {"attribute": "groups", "operator": "in", "values": ["editors", "beta"]}
    Group.objects.create(name="editors")
    rules = json.dumps([{"conditions": [condition], "value": 5}])
    ran = flags("value", "rules", KEY, rules)
    assert "groups that do not exist: 'beta'; create them" in ran.err


def test_show_and_list_contain_the_rules(ruled: None) -> None:
    assert f"rules        {SENTENCES}\n" in typed(f"flags value show {KEY}")
    assert document("value", "show", KEY)["rules"] == RULES
    listed = typed("flags value list").splitlines()
    assert listed[0].split()[:3] == ["KEY", "VALUE", "RULES"]
    assert listed[1].split()[:3] == [KEY, "10", "2"]


def test_get_evaluates_the_rules_for_a_user(ruled: None) -> None:
    alice = User.objects.create_user("alice")
    assert run(f"value get {KEY}").out == "10\n"
    assert run(f"value get {KEY} --user alice --context plan=pro").out == "50\n"
    assert document("value", "get", KEY, "--user", str(alice.pk), "--context", "plan=pro") == {
        "key": KEY,
        "value": 50,
        "reason": "TARGETING_MATCH",
        "rule": 1,
        "bucket": bucket_of(KEY, alice.pk),
        "bucket_by": "user",
    }
    assert document("value", "get", KEY, "--anonymous")["reason"] == "DEFAULT"
    assert run(f"value get {KEY} --user nobody").status == 1


def test_set_lists_the_rules_that_stay_and_everyone_removes_them(ruled: None) -> None:
    ran = run(f"value set {KEY} 5")
    assert f"{KEPT}\n" in ran.err
    assert ran.err.endswith(f"new value: manage.py flags value set-for-everyone {KEY} JSON\n")
    assert document("value", "set", KEY, "5")["kept_by_rules"] == KEPT.partition(": ")[2]
    ran = run(f"value set-for-everyone {KEY} 4")
    assert f"{KEY}: value 5 → 4, rules {SENTENCES} → no rules\n" in ran.err
    assert "keep another value" not in ran.err
    assert stored() == (4, [], "user")
    assert run(f"value set-for-everyone {KEY} 4").err.startswith(f"{KEY}: already up to date")


def test_no_command_prints_the_rules_of_a_secret_value() -> None:
    changes.values.create(KEY, "hunter2", secret=True, rules=[{**RULES[0], "value": "swordfish"}])
    changes.values.update(KEY, {"description": "The mail server"})
    printed = [
        (run(f"value {line}"), typed(f"flags value {line}"))
        for line in (
            f"show {KEY}",
            f"show {KEY} --json",
            "list",
            "list --json",
            f"get {KEY} --context plan=pro",
            f"get {KEY} --json",
            f"set {KEY} '\"a\"' --dry-run",
            f"set-for-everyone {KEY} '\"a\"' --dry-run",
            f"rules {KEY} [] --dry-run --json",
            f"delete {KEY} --yes --dry-run",
        )
    ]
    assert {ran.status for ran, _text in printed} == {0}
    assert not any(word in str(printed) for word in ("swordfish", "hunter2", '"pro"'))
    assert run(f"value get {KEY} --context plan=pro --show-secret").out == '"swordfish"\n'
    assert 'rule 1: "swordfish" if plan is "pro"' in typed(f"flags value show {KEY} --show-secret")
