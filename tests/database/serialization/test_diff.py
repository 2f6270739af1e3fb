"""Comparisons of a document with the database, in words."""

from itertools import combinations
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flagstaff import changes, serialization
from flagstaff._tables.rows import Kind
from flagstaff.exceptions import DocumentError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.documents import MASK
from tests.support.repeats import repeats
from tests.support.shop import ENTERPRISE, GERMAN, GERMANY, STAFF

pytestmark = pytest.mark.usefixtures("open_shop")

VIP = {"name": "vip", "conditions": [{"segment": "enterprise"}]}


def lines(document: dict[str, Any], **options: Any) -> list[str]:
    """Returns the lines of a comparison: key, field and text."""
    names = {str(pk): name for pk, name in User.objects.values_list("pk", "username")}
    compared = serialization.diff(document, **options)
    return [f"{key} {line.field}: {line.text}" for _, key, line in compared.lines(names)]


def edited(kind: str, key: str, **fields: Any) -> dict[str, Any]:
    """Returns an export of the shop with other fields of a row."""
    document = serialization.export()
    document[kind][key].update(fields)
    return document


def test_export_has_no_differences_from_its_database() -> None:
    compared = serialization.diff(serialization.export())
    assert (compared.changed, compared.problems) == ({}, {})


@pytest.mark.parametrize(
    ("kind", "key", "fields", "line"),
    [
        ("flags", "new_checkout", {"rollout_percent": 5}, "rollout_percent: 5 % there, 25 % here"),
        ("flags", "dark_mode", {"enabled": False}, "enabled: off there, on here"),
        ("flags", "dark_mode", {"owner": "web"}, 'owner: "web" there, "" here'),
        (
            "flags",
            "new_checkout",
            {"rules": [VIP]},
            'rules: only there: "vip": 100 % if in segment "enterprise"',
        ),
        (
            "flags",
            "new_checkout",
            {"allowed_users": ["bob"]},
            "allowed_users: only there: bob; only here: alice",
        ),
        ("values", "page_size", {"value": 50}, "value: 50 there, 20 here"),
        ("values", "mail_password", {"value": "hunter3"}, "value: differs"),
        (
            "segments",
            "enterprise",
            {"conditions": [GERMAN]},
            'conditions: country is "DE" there, plan is "enterprise" here',
        ),
    ],
)
def test_difference_of_a_field_is_a_line_with_both_sides(
    kind: str, key: str, fields: dict[str, Any], line: str
) -> None:
    assert lines(edited(kind, key, **fields)) == [f"{key} {line}"]


@pytest.mark.parametrize(
    ("here", "texts"),
    [
        ([VIP], ["only there: rule 1: 100 % if country"]),
        ([VIP, GERMANY], ["moved to place 1: 100 % if country"]),
        (
            [GERMANY, {**VIP, "rollout_percent": 5}],
            ['"vip": 100 % if', 'there, "vip": 5 % if', "here"],
        ),
    ],
    ids=["added", "moved", "changed"],
)
def test_rules_of_two_sides_are_compared_one_by_one(here: list[Any], texts: list[str]) -> None:
    document = edited("flags", "new_checkout", rules=[GERMANY, VIP])
    changes.flags.update("new_checkout", rules=here)
    [line] = lines(document)
    for text in texts:
        assert text in line


def test_members_of_an_object_are_compared_one_by_one() -> None:
    changes.values.create("retries", {"max": 3, "old": 1, "same": 0})
    document = edited("values", "retries", value={"max": 5, "new": 2, "same": 0})
    assert lines(document) == [
        "retries value: max: 5 there, 3 here; old: only here: 1; new: only there: 2"
    ]


def test_rows_of_one_side_only_are_a_line_each() -> None:
    document = serialization.export()
    del document["flags"]["summer_banner"]
    document["flags"]["fresh"] = {"enabled": True, "rollout_percent": 5, "allowed_users": ["bob"]}
    document["segments"]["staff"] = {"conditions": [STAFF]}
    assert lines(document) == [
        "fresh : only there: on, rollout 5 %, added 1 allowed user (bob)",
        "summer_banner : only here: off, rollout 100 %",
        "staff : only there: conditions is_staff is true",
    ]


def test_document_of_some_keys_does_not_say_what_it_lacks() -> None:
    assert lines(serialization.export(["new_checkout"])) == []


def test_selected_key_that_is_only_here_is_a_line() -> None:
    document = serialization.export()
    del document["flags"]["dark_mode"]
    assert lines(document, keys=["dark_mode"]) == ["dark_mode : only here: on, rollout 100 %"]


def test_selected_key_of_neither_side_is_refused() -> None:
    with pytest.raises(DocumentError, match="dark_mod: is not in the file; did you mean"):
        lines(serialization.export(), keys=["dark_mod"])


def test_diff_of_a_group_shows_only_its_fields() -> None:
    document = edited("flags", "new_checkout", rollout_percent=5, rules=[VIP], description="New")
    [line] = lines(document, only=["state"])
    assert line.startswith("new_checkout rollout_percent: ")


def test_row_that_no_import_accepts_is_a_line_with_the_problem() -> None:
    document = edited("flags", "new_checkout", rollout_percent=101)
    document["values"]["api_token"] = {"value": MASK, "secret": True}
    [flag, value] = lines(document)
    assert flag.startswith("new_checkout : cannot be imported: rollout_percent: ")
    assert value.startswith("api_token : cannot be imported: value: is masked")


def test_users_who_do_not_exist_and_masked_secrets_are_notes() -> None:
    document = edited("flags", "new_checkout", allowed_users=["alice", "zoe"])
    compared = serialization.diff(document)
    assert compared.changed == {}
    assert [*compared.notes()] == [
        "new_checkout: allowed users only there, no user here: 'zoe'",
        "mail_password: secret, so not compared: value",
    ]


@pytest.mark.parametrize("guess", ["hunter2", "hunter3"])
def test_diff_without_secrets_does_not_say_whether_a_secret_was_guessed(guess: str) -> None:
    document = edited("values", "mail_password", value=guess, choices=[guess], secret=False)
    compared = serialization.diff(document, compare_secrets=False)
    assert compared.not_compared == {"mail_password": ["value", "choices", "rules"]}
    [(place, changed)] = compared.changed.items()
    assert (place, changed.new) == ((Kind.VALUE, "mail_password"), {"secret": False})


def test_diff_neither_writes_nor_locks() -> None:
    document = edited("flags", "new_checkout", rollout_percent=5, rules=[VIP])
    with CaptureQueriesContext(connection) as queries:
        serialization.diff(document)
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert not any("FOR UPDATE" in query["sql"] for query in queries)
    assert len(queries) <= 8


KEYS = [f"key_{number}" for number in range(6)]
RULES: list[list[Any]] = [[], [GERMANY], [VIP], [VIP, GERMANY], [GERMANY, VIP]]


def fill(dice: Random) -> None:
    """Fills the database with other rows, whose users exist here."""
    for model in (FeatureFlag, KeyValueStore, Segment):
        model.objects.all().delete()
    changes.segments.create("enterprise", dice.choice([[ENTERPRISE], [STAFF]]))
    if dice.random() < 0.5:
        changes.segments.create("german", [GERMAN], description=dice.choice("ab"))
    for key in dice.sample(KEYS, dice.randint(1, len(KEYS))):
        changes.flags.create(
            key,
            enabled=dice.random() < 0.5,
            rollout_percent=dice.randint(0, 100),
            rules=dice.choice(RULES),
            bucket_by=dice.choice(["user", "organization"]),
            description=dice.choice(["", "a", "b"]),
            kind=dice.choice(["release", "ops"]),
            tags=dice.choice([[], ["q3"]]),
            allowed_users=dice.sample([1, 2, 3], dice.randint(0, 3)),
        )
    for key in dice.sample(KEYS, dice.randint(1, len(KEYS))):
        changes.values.create(
            f"{key}.v",
            dice.choice([1, "a", {"b": [1.0, None]}]),
            description=dice.choice(["", "a"]),
            # Of the same key on both sides.
            secret=key == "key_0",
            bucket_by=dice.choice(["user", "organization"]),
        )


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(repeats(100, 4)))
def test_diff_after_the_import_of_a_random_other_database_is_empty(seed: int) -> None:
    """And for each choice of groups of fields. Secrets and missing users are named."""
    dice = Random(seed)
    User.objects.create(pk=3, username="zoe")
    fill(dice)
    document = serialization.export()
    fill(dice)
    User.objects.filter(username="zoe").delete()
    has_secret = KeyValueStore.objects.filter(secret=True).exists()
    secret = document["values"].get("key_0.v", {})
    if secret and not has_secret:
        # An import needs the value.
        secret["value"] = "hunter2"
    groups = [group for size in (1, 2, 3) for group in combinations(serialization.GROUPS, size)]
    for only in groups:
        serialization.apply(document, only=only, skip_unknown_users=True)
        compared = serialization.diff(document, only=only)
        assert all(changed.new is None for changed in compared.changed.values())
        assert compared.problems == {}
    serialization.apply(document, delete_missing=True, skip_unknown_users=True)
    compared = serialization.diff(document)
    assert (compared.changed, compared.problems) == ({}, {})
    with_zoe = [key for key, flag in document["flags"].items() if "zoe" in flag["allowed_users"]]
    assert compared.unknown_users == {key: ["'zoe'"] for key in with_zoe}
    masked = {key for key, value in document["values"].items() if value["value"] == MASK}
    assert compared.not_compared.keys() == masked
