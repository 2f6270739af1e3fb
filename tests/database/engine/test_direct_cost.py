"""What evaluations read in direct mode: the statements that the driver gets."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import RequestFactory

from flagstaff import all_flags, explain, flag_enabled, get_value, read_own_writes, resolve_value
from flagstaff._engine.direct import read_all
from flagstaff._request.flags import flags_of
from flagstaff.experiments import peek_variant
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.driver import counted
from tests.support.sql import rows

# Flags, allowed users, values, experiments and segments; on PostgreSQL in a savepoint.
IN_SAVEPOINT = 2 if connection.vendor == "postgresql" else 0
SNAPSHOT = 5 + IN_SAVEPOINT
GROUPS = 1 + IN_SAVEPOINT


@pytest.fixture(autouse=True)
def alice(db: None) -> User:
    """An allowed user of `half`. The rules of `beta` name a group."""
    alice = User.objects.create(pk=42, username="alice")
    Group.objects.create(name="beta").user_set.add(alice)
    half = FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    half.allowed_users.add(alice)
    condition = {"attribute": "groups", "operator": "in", "values": ["beta"]}
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": [condition]}])
    KeyValueStore.objects.create(key="gateway", value="stripe")
    return alice


EVALUATIONS: dict[str, tuple[Callable[[], object], int]] = {
    "flag": (lambda: flag_enabled("half", 42), SNAPSHOT),
    "unknown key": (lambda: flag_enabled("unknown", 42), SNAPSHOT),
    "groups": (lambda: flag_enabled("beta", 42), SNAPSHOT + GROUPS),
    "value": (lambda: get_value("gateway"), SNAPSHOT),
    "reason": (lambda: resolve_value("gateway"), SNAPSHOT),
    "explanation": (lambda: explain("half", 42), SNAPSHOT),
    "variant": (lambda: peek_variant("button", 42), SNAPSHOT),
    "all flags": (lambda: all_flags(42), SNAPSHOT + GROUPS),
}


@pytest.mark.parametrize(("evaluate", "cost"), EVALUATIONS.values(), ids=EVALUATIONS)
def test_evaluation_reads_one_snapshot_that_django_does_not_count(
    evaluate: Callable[[], object], cost: int, django_assert_num_queries: Any
) -> None:
    with counted() as read, django_assert_num_queries(0):
        evaluate()
    assert len(read) == cost


@pytest.mark.parametrize("times", [1, 100, 1000])
def test_evaluations_read_a_snapshot_each_but_in_a_block_and_a_request(times: int) -> None:
    flags = flags_of(RequestFactory().get("/"))
    with counted() as alone:
        for _ in range(times):
            flag_enabled("half", 42)
    with counted() as in_block, read_own_writes():
        for _ in range(times):
            flag_enabled("half", 42)
    with counted() as in_request:
        for _ in range(times):
            flags.enabled("half")
    assert (len(alone), len(in_block)) == (SNAPSHOT * times, SNAPSHOT)
    assert len(in_request) == SNAPSHOT + GROUPS


def test_allowed_users_of_other_flags_are_not_read() -> None:
    flags, allowed, *_others = read_all("beta")
    assert allowed == []
    assert flags != []


STATEMENTS: dict[str, tuple[Callable[[], object], bool]] = {
    "query": (lambda: list(User.objects.all()), False),
    "query of flags": (lambda: FeatureFlag.objects.get(key="half"), False),
    "update": (lambda: FeatureFlag.objects.update(enabled=False), True),
    "allowed users": (
        lambda: FeatureFlag.objects.get(key="half").allowed_users.add(User.objects.create()),
        True,
    ),
    "deletion of a user": (lambda: User.objects.all().delete(), True),
    "SQL": (lambda: rows("/* by hand */ UPDATE flagstaff_featureflag SET enabled = false"), True),
    "query in a CTE": (lambda: rows("WITH one AS (SELECT 1) SELECT * FROM one"), True),
    "query that locks": (lambda: rows("SELECT 'update' FROM auth_user"), True),
    "call of a function": (lambda: rows("SELECT abs(1)"), True),
    "savepoint": (transaction.savepoint, True),
}


@pytest.mark.parametrize(("run", "may_write"), STATEMENTS.values(), ids=STATEMENTS)
def test_block_reads_again_after_a_statement_that_may_write(
    run: Callable[[], object], may_write: bool
) -> None:
    with read_own_writes():
        flag_enabled("half", 1)
        run()
        with counted() as read:
            flag_enabled("half", 1)
    assert len(read) == (SNAPSHOT if may_write else 0)
