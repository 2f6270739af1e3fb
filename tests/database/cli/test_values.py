"""`manage.py flags value` and `segment`: JSON arguments, secrets, rules, and what is printed."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.db.models import JSONField, Value

from flagstaff import changes
from flagstaff.models import KeyValueStore, Segment
from tests.support.shop import Shop
from tests.support.stored import stored_value
from tests.support.terminals import asked, document, flags, refused, run, typed, undo_of

pytestmark = pytest.mark.usefixtures("open_shop", "plain_terminal")


@pytest.mark.parametrize(
    "text", ['"stripe"', "-1.5", "true", "[]", '{"a": null}', '"Grüße 🥐"', '""', "1" * 40]
)
def test_value_get_returns_what_value_set_has_set(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flags("value", "set", "page_size", text).status == 0
    assert document("value", "show", "page_size")["value"] == json.loads(text)
    assert stored_value("page_size") == json.loads(text)
    monkeypatch.setattr("sys.stdin", StringIO(f"{text}\n"))
    assert run("value set payment_gateway -").status == 0
    assert stored_value("payment_gateway") == stored_value("page_size")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("old", ["-5", "-1e-05", '"it\'s"', '{"a": [1, "b c"]}'])
def test_undo_command_of_any_value_can_be_run(old: str) -> None:
    changes.values.create("limit", json.loads(old))
    assert run(undo_of(run("value set limit 5").err)).status == 0
    assert stored_value("limit") == json.loads(old)


def test_show_prints_a_secret_value_and_its_rules_with_show_secret_only() -> None:
    changes.values.update("mail_password", {"rules": [{**RULES[0], "value": "swordfish"}]})
    for options, shown in ([], None), (["--show-secret"], "hunter2"):
        record = document("value", "show", "mail_password", *options)
        assert (record["value"], record["secret"]) == (shown, True)
    rule = 'rule 1: "swordfish" if plan is "pro"'
    assert rule in typed("flags value show mail_password --show-secret")


@pytest.mark.django_db(transaction=True)
def test_no_other_command_prints_a_secret_value_its_choices_or_its_rules() -> None:
    rules = [{**RULES[0], "value": "swordfish"}]
    changes.values.create(
        "token", "hunter2", secret=True, rules=rules, choices=["hunter2", "swordfish"]
    )
    lines = [
        *("value show token", "value show token --json", "value list", "value list --json"),
        *("value set token '\"swordfish\"' --dry-run", "value rules token [] --dry-run --json"),
        *("value set token '\"swordfish\"' --json", "value set-for-everyone token '\"hunter2\"'"),
        *("history token", "history token --json", "history token --csv", "export token"),
    ]
    refused = {
        """value set token '{"hunter": 1, "hunter": 2}'""": 2,
        """value set token '"hunter3"'""": 4,
        "value undo token": 4,
    }
    for line in (*lines, *refused, "value delete token --yes --json"):
        terminal, pipe = typed(f"flags {line}"), run(line)
        assert pipe.status == refused.get(line, 0)
        assert not re.search("swordfish|hunter|sha256|'pro'|\"pro\"", f"{terminal}{pipe}"), line


@pytest.mark.django_db(transaction=True)
def test_value_that_was_secret_meanwhile_is_masked_in_undo_and_restore() -> None:
    run("value create token '\"hunter2\"'")
    change = changes.values.set("token", "hunter3").version
    changes.values.update("token", {"secret": True})
    changes.values.update("token", {"secret": False})
    for line in (f"value restore token {change}", f"value undo token {change}"):
        assert "hunter" not in str(run(line))


def test_question_before_a_secret_value_is_deleted_says_that_it_cannot_be_brought_back() -> None:
    ran = asked("value delete mail_password", "n")
    assert (
        "A secret value cannot be brought back: the history does not store what it was.\n"
    ) in ran.err
    assert stored_value("mail_password") == "hunter2"


KEY = "max_items"
RULES = [
    {"conditions": [{"attribute": "plan", "operator": "in", "values": ["pro"]}], "value": 50},
    {"conditions": [], "rollout_percent": 25, "value": 20},
]
SENTENCES = 'rule 1: 50 if plan is "pro"; rule 2: 20 for 25 % of the others'
REMOVED = 'removed rule 1: 50 if plan is "pro"; removed rule 2: 20 for 25 % of the others'
KEPT = f"{KEY}: users for whom a rule decides keep another value: rule 1 → 50, rule 2 → 20 for 25 %"


def test_rules_are_json_a_file_or_the_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = KeyValueStore.objects.filter(key=KEY).values_list("value", "rules", "bucket_by")
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES))
    ran = flags("value", "create", KEY, "10", "--rules", str(file), "--bucket-by", "visitor")
    created = f"{KEY}: created, value 10, rules {SENTENCES}, bucketing unit visitor"
    assert ran.err.splitlines()[0] == created
    assert stored.get() == (10, RULES, "visitor")
    assert run(f"value rules {KEY} []").status == 0
    assert stored.get() == (10, [], "visitor")
    monkeypatch.setattr("sys.stdin", StringIO(json.dumps(RULES)))
    run(f"value rules {KEY} - --bucket-by user")
    assert stored.get() == (10, RULES, "user")


def test_show_and_list_have_the_rules(shop: Shop) -> None:
    shop.value(KEY, value=10, rules=RULES)
    assert f"rules        {SENTENCES}\n" in typed(f"flags value show {KEY}")
    assert document("value", "show", KEY)["rules"] == RULES
    header, _password, row, *_ = typed("flags value list").splitlines()
    assert (header.split()[:3], row.split()[:3]) == (["KEY", "VALUE", "RULES"], [KEY, "10", "2"])


def test_set_lists_the_rules_that_stay_and_set_for_everyone_removes_them(shop: Shop) -> None:
    shop.value(KEY, value=10, rules=RULES)
    ran = run(f"value set {KEY} 5")
    assert f"{KEPT}\n" in ran.err
    assert document("value", "set", KEY, "5")["kept_by_rules"] == KEPT.partition(": ")[2]
    ran = run(f"value set-for-everyone {KEY} 4")
    assert f"{KEY}: value 5 → 4, rules {REMOVED}\n" in ran.err
    assert "keep another value" not in ran.err
    assert run(f"value set-for-everyone {KEY} 4").err.startswith(f"{KEY}: already up to date")


def test_segment_list_and_show_have_the_conditions_and_the_flags_that_use_it() -> None:
    changes.flags.update("new_checkout", {"rules": [{"conditions": [{"segment": "enterprise"}]}]})
    [record] = document("segment", "list")
    assert (record["key"], len(record["conditions"])) == ("enterprise", 1)
    assert document("segment", "show", "enterprise")["flags"] == ["new_checkout"]
    refused("segment delete enterprise --yes", 4, "is used by the rules of 'new_checkout'")
    # SQL can write any JSON.
    Segment.objects.update(conditions=Value(None, JSONField()))
    assert "unreadable" in typed("flags segment list")
