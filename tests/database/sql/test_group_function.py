"""The function of groups writes a change token if rules read one of the groups."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from django.db import Error, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from flagstaff.experiments.models import Experiment
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from flagstaff.operations import InstallTriggers
from tests.support.conditions import condition, rule
from tests.support.sql import Tokens, rolled_back, rows

Rule = dict[str, Any]
Names = list[str] | None
OpenSession = Callable[[], "psycopg.Connection[Any]"]

PAIR = [["1", "7"]]


def reads(*groups: object, operator: str = "in", **members: object) -> Rule:
    return condition("groups", operator, *groups, **members)


def change(names: Names, groups: Names = None, users: Names = None) -> None:
    rows("SELECT flagstaff_groups_v1(%s::text[], %s::text[], %s::text[])", names, groups, users)


@pytest.fixture
def tokens(db: None) -> Tokens:
    """The tokens since a flag has a rule that reads the group beta."""
    FeatureFlag.objects.create(key="new_checkout", rules=[rule(reads("beta"))])
    return Tokens()


READ_BY_RULES: dict[str, tuple[Any, bool]] = {
    "in": ([rule(reads("alpha", "beta"))], True),
    "in, negated": ([rule(reads("beta", negate=True))], True),
    "second condition of the second rule": (
        [rule({"segment": "s"}), rule({"segment": "s"}, reads("beta"))],
        True,
    ),
    "name that contains the group's": ([rule(reads("beta testers"))], False),
    "name in other case": ([rule(reads("Beta"))], False),
    "another attribute": ([rule({**reads("beta"), "attribute": "group_names"})], False),
    "name of the rule": ([{"name": "groups", "conditions": [{"segment": "beta"}]}], False),
    "text that looks like a condition": (
        [rule({**reads('"attribute": "groups"', "beta"), "attribute": "plan"})],
        False,
    ),
    "other condition with the name": ([rule(reads("zzz"), condition("plan", "in", "beta"))], False),
    "contains": ([rule(reads("zzz", operator="contains"))], True),
    "isnull": ([rule(reads(True, operator="isnull"))], True),
    "operator of a newer version": ([rule(reads("zzz", operator="is_one_of"))], True),
    "number": ([rule(reads(5))], True),
    "no values": ([rule(reads())], True),
    "no operator": ([rule({"attribute": "groups", "values": ["zzz"]})], True),
    "values that are no list": ([rule({**reads(), "values": {"zzz": 1}})], True),
    "no rules": ([], False),
    "no list": ("groups", False),
    "no rules, but a list": ([1, None, "groups", [], {}], False),
}


@pytest.mark.parametrize(("rules", "is_read"), READ_BY_RULES.values(), ids=READ_BY_RULES)
def test_rules_that_may_depend_on_a_group_count_as_a_reference(
    rules: Any, is_read: bool, tokens: Tokens
) -> None:
    FeatureFlag.objects.update(rules=rules)
    tokens()
    change(["beta"])
    assert tokens() == (["g"] if is_read else [])


READERS: dict[type[Model], dict[str, Any]] = {
    KeyValueStore: {"value": 10, "rules": [rule(reads("staff"))]},
    Experiment: {"variants": [], "rules": [rule(reads("staff"))]},
    Segment: {"conditions": [condition("plan", "in", "pro"), reads("staff")]},
}


@pytest.mark.parametrize("model", READERS)
def test_values_experiments_and_segments_count_as_flags_do(
    model: type[Model], tokens: Tokens
) -> None:
    change(["staff"])
    assert tokens() == []
    model._base_manager.create(key="other", **READERS[model])
    tokens()
    change(["staff"])
    assert tokens() == ["g"]
    model._base_manager.all().delete()
    tokens()
    change(["staff"])
    assert tokens() == []


@pytest.mark.parametrize(
    ("names", "rules", "expected"),
    [
        (["staff", "beta"], [rule(reads("beta"))], ["g"]),
        (None, [rule(reads("beta"))], ["g"]),
        (None, [], []),
        ([f"group {number}" for number in range(65)], [rule(reads("beta"))], ["g"]),
        ([], [rule(reads("beta"))], []),
        ([], [rule(reads("zzz", operator="contains"))], ["g"]),
    ],
    ids=["one of two", "any", "any, without a rule", "too many", "none", "none, any name"],
)
def test_one_name_that_a_rule_reads_is_enough(
    names: Names, rules: Any, expected: list[str], tokens: Tokens
) -> None:
    FeatureFlag.objects.update(rules=rules)
    tokens()
    change(names)
    assert tokens() == expected


USERS = [str(number) for number in range(65)]


@pytest.mark.parametrize(
    ("groups", "users", "pairs"),
    [
        (["1"], ["7"], PAIR),
        (["1", "2"], ["7"], [["1", "7"], ["2", "7"]]),
        (["1"], USERS[:64], [["1", user] for user in USERS[:64]]),
        (["1"], USERS, None),
        (["1", "2"], USERS[:33], None),
        (["1"], None, None),
        (None, ["7"], None),
        ([], ["7"], None),
        (["1"], ["Zoë"], None),
        (["1"], ["x" * 101], None),
        (["1"], [None], None),
    ],
)
def test_token_has_the_pairs_of_up_to_64_short_keys(
    groups: Names, users: Any, pairs: Any, tokens: Tokens
) -> None:
    change(["beta"], groups, users)
    assert tokens.pks() == [("g", pairs)]


OWN = "SELECT pks FROM flagstaff_token WHERE relation = 'g' AND xact = pg_current_xact_id()"
CHANGE = "SELECT flagstaff_groups_v1('{beta}', '{1}', '{7}')"


def test_transaction_writes_one_token_with_the_pairs_of_all_changes(tokens: Tokens) -> None:
    for user in ("7", "8"):
        change(["beta"], ["1"], [user])
    assert tokens.pks() == [("g", [*PAIR, ["1", "8"]])]
    # The same token, which has too many pairs now.
    change(["beta"], ["1"], USERS[:63])
    change(["beta"], ["1"], ["7"])
    assert rows(OWN) == [(None,)]
    # Nothing is written any more: the row would get slower with each version.
    rows("DELETE FROM flagstaff_token WHERE relation = 'g'")
    change(["beta"], ["1"], ["8"])
    assert rows(OWN) == []


def test_rolled_back_change_takes_only_its_pairs_back(tokens: Tokens) -> None:
    with rolled_back():
        change(["beta"], ["1"], ["8"])
    assert tokens() == []
    change(["beta"], ["1"], ["7"])
    with rolled_back():
        change(["beta"], ["1"], ["8"])
    assert tokens.pks() == [("g", PAIR)]


@pytest.mark.django_db(transaction=True)
def test_each_transaction_writes_a_token_of_its_own() -> None:
    FeatureFlag.objects.create(key="new_checkout", rules=[rule(reads("beta"))])
    tokens = Tokens()
    change(["beta"], ["1"], ["7"])
    change(["beta"], ["1"], ["8"])
    assert tokens() == ["g", "g"]


@pytest.mark.django_db(transaction=True)
def test_serializable_sign_ups_do_not_abort_each_other(open_session: OpenSession) -> None:
    FeatureFlag.objects.create(key="new_checkout", rules=[rule(reads("beta"))])
    rows("DELETE FROM flagstaff_token")
    tokens, sessions = Tokens(), (open_session(), open_session())
    for session in sessions:
        session.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        # The third one writes nothing.
        for _ in range(3):
            session.execute(CHANGE)
    for session in sessions:
        session.commit()
    assert [pks for _, pks in tokens.pks()] == [PAIR, None] * 2


@pytest.mark.parametrize("claim", ["1", "x", ""])
def test_claimed_token_of_another_transaction_is_not_changed(claim: str, tokens: Tokens) -> None:
    # One token of 64 prunes those of other tests that are older.
    rows("DELETE FROM flagstaff_token WHERE id < (SELECT max(id) - 900 FROM flagstaff_token)")
    before = "SELECT id, pks FROM flagstaff_token WHERE relation = 'f' ORDER BY id"
    before_it = rows(before)
    rows("SELECT set_config('flagstaff.group_token', %s, true)", claim or str(before_it[-1][0]))
    if claim == "x":
        # It fails if the table has rows that are compared with it.
        with suppress(Error), transaction.atomic():
            change(["beta"], ["1"], ["7"])
    else:
        change(["beta"], ["1"], ["7"])
        assert tokens() == ["g"]
    assert rows(before) == before_it


def test_role_without_any_right_may_call_it_and_nothing_else(tokens: Tokens) -> None:
    rows("CREATE ROLE clerk; SET LOCAL ROLE clerk")
    change(["beta"], ["1"], ["7"])
    for refused in ("flagstaff_write_token_v1('g', NULL)", "flagstaff_barrier_v1()"):
        with pytest.raises(Error), transaction.atomic():
            rows(f"SELECT {refused}")
    rows("RESET ROLE")
    assert tokens.pks() == [("g", PAIR)]


def test_names_and_keys_are_only_compared(tokens: Tokens) -> None:
    texts = ["'; DROP TABLE flagstaff_token; --", '"', "\\", "$1", "beta"]
    change(texts, texts, texts)
    [(relation, pairs)] = tokens.pks()
    assert (relation, len(pairs or [])) == ("g", 25)


def test_function_reads_the_tables_that_have_triggers() -> None:
    operation = InstallTriggers(value_model="flagstaff.KeyValueStore")

    def read_tables() -> list[str]:
        [[body]] = rows("SELECT prosrc FROM pg_proc WHERE proname = 'flagstaff_groups_v1'")
        return sorted(re.findall(r"FROM public\.flagstaff_(\w+) AS reader", body))

    all_tables = ["experiments_experiment", "featureflag", "keyvaluestore", "segment"]
    assert read_tables() == all_tables
    state = MigrationLoader(connection).project_state()
    with connection.schema_editor() as editor:
        operation.database_backwards("flagstaff", editor, state, state)
    assert "keyvaluestore" not in read_tables()
    with connection.schema_editor() as editor:
        operation.database_forwards("flagstaff", editor, state, state)
    assert read_tables() == all_tables
    [[comment]] = rows(
        "SELECT obj_description(oid, 'pg_proc') FROM pg_proc WHERE proname = 'flagstaff_groups_v1'"
    )
    assert comment.startswith("flagstaff: SHA-256 of the body ")
