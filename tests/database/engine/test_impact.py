"""`impact`: the exact number of users whose result another rollout changes.

tests/system/engine/test_other_projects.py runs these tests on SQLite and with other primary keys.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection, models, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from flagstaff import _core, impact, read_own_writes, snapshot
from flagstaff._engine import impact as impact_module
from flagstaff._engine import rule_columns
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.names import sql, user_names
from flagstaff.exceptions import FlagstaffError, InvalidChangeError, UnknownFlagError
from flagstaff.models import FeatureFlag, Segment
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, FlagStore, as_user
from tests.support.conditions import condition
from tests.support.fixtures import COMMITTED
from tools.limits import seconds

pytestmark = COMMITTED

User: Any = get_user_model()
# More than one batch.
MANY = 10_000
ON_POSTGRESQL = connection.vendor == "postgresql"


@pytest.fixture(params=["engine", "django"] if ON_POSTGRESQL else ["django"])
def counted_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """Counts over the engine's pool, and over Django's own connection."""
    if request.param == "django":
        yield request.param
        return
    with live_engine():
        yield request.param


@pytest.fixture
def only_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own connection is not used."""
    monkeypatch.delattr(impact_module, "_count_through_django")


def some_pk(number: int) -> Any:
    if isinstance(User._meta.pk, models.UUIDField):
        return uuid.UUID(int=random.Random(number).getrandbits(128))
    if isinstance(User._meta.pk, models.TextField):
        return ("a user ", "Ж", "zoë:", "'\"\\", "%s", "")[number % 6] + str(number)
    return number


def make_users(count: int) -> list[Any]:
    pks = [some_pk(number) for number in range(1, count + 1)]
    users = [User(pk=pk, username=f"user{number}") for number, pk in enumerate(pks)]
    User.objects.bulk_create(users)
    return pks


def make_flag(pks: Any = (), **fields: Any) -> FeatureFlag:
    flag = FeatureFlag.objects.create(key="new_checkout", **fields)
    flag.allowed_users.set(pks)
    return flag


def results(pks: list[Any], allowed: list[Any], percent: int, *, enabled: bool) -> dict[Any, bool]:
    """The results of the article's code."""
    store = FlagStore()
    names = [str(pk) for pk in allowed]
    store.put("new_checkout", enabled=enabled, percent=percent, allowed=names)
    article = Article(store)
    return {pk: article.flag_enabled("new_checkout", as_user(pk)) for pk in pks}


class Numbers(NamedTuple):
    """The numbers of a change."""

    users: int
    gain: int
    lose: int
    after: int


def change_of(then: dict[Any, bool], now: dict[Any, bool]) -> Numbers:
    """What a change means for users with these results before and after it."""
    return Numbers(
        len(now),
        gain=sum(now[pk] and not then[pk] for pk in now),
        lose=sum(then[pk] and not now[pk] for pk in now),
        after=sum(now.values()),
    )


def assert_counts(
    found: impact_module.Impact, now: dict[Any, bool], later: dict[Any, bool], sample: int
) -> None:
    """Compares an impact with the results before and after the change."""
    change = change_of(now, later)
    changed = {pk for pk in now if now[pk] is not later[pk]}
    assert (found.users, found.have, found.would_have) == (
        *(len(now), sum(now.values()), sum(later.values())),
    )
    assert (found.gain, found.lose, found.same) == (
        *(change.gain, change.lose, len(now) - len(changed)),
    )
    assert found.direction == ("gain" if change.gain else "lose" if change.lose else "same")
    assert len(set(found.sample)) == min(sample, len(changed))
    assert set(found.sample) <= changed


@pytest.mark.usefixtures("counted_by")
@pytest.mark.parametrize(
    ("count", "enabled", "percent", "then"),
    [
        *((MANY, True, 10, 50), (500, True, 90, 25), (500, True, 0, 100), (500, True, 100, 0)),
        *((500, True, 37, 37), (0, True, 0, 100)),
        # Counted as if it were enabled.
        *((300, False, 90, 0), (300, False, 90, 50), (300, False, 90, 90)),
    ],
)
def test_counts_match_the_articles_results(
    count: int, enabled: bool, percent: int, then: int
) -> None:
    pks = make_users(count)
    allowed = pks[::100]
    make_flag(allowed, enabled=enabled, rollout_percent=percent)
    now = results(pks, allowed, percent, enabled=enabled)
    later = results(pks, allowed, then, enabled=True)
    found = impact("new_checkout", then, sample=20)
    assert_counts(found, now, later, 20)
    assert (found.enabled, found.as_if_enabled) == (enabled, not enabled)
    assert found.as_dict()["as_if_enabled"] is not enabled


@pytest.mark.usefixtures("counted_by")
def test_sample_is_even_and_repeatable() -> None:
    pks = make_users(2_000)
    make_flag(enabled=True)
    sample = impact("new_checkout", 100, sample=500).sample
    assert sample == impact("new_checkout", 100, sample=500).sample
    later_half = set(pks[1_000:])
    assert 200 < len(later_half & set(sample)) < 300


@pytest.mark.usefixtures("counted_by")
def test_unknown_flag_raises_with_the_nearest_key() -> None:
    make_flag()
    with pytest.raises(UnknownFlagError, match="did you mean 'new_checkout'"):
        impact("new_chekout", 5)
    with pytest.raises(UnknownFlagError):
        impact("nul\0", 5)


def test_invalid_percentage_or_sample_size_raises() -> None:
    for percent in (-1, 101, 2.5, True, "5"):
        with pytest.raises(InvalidChangeError, match="0 to 100"):
            impact("new_checkout", percent)  # type: ignore[arg-type]
    for sample in (-1, 1_001):
        with pytest.raises(ValueError, match="0 to 1000"):
            impact("new_checkout", 5, sample=sample)


@pytest.mark.usefixtures("counted_by")
def test_timeout_raises() -> None:
    make_users(3)
    make_flag(enabled=True)
    with pytest.raises(FlagstaffError):
        impact("new_checkout", 5, timeout=0)


def test_open_transaction_is_counted_with_own_writes(counted_by: str) -> None:
    make_users(3)
    with transaction.atomic():
        make_flag(enabled=True)
        with read_own_writes():
            assert impact("new_checkout", 100).gain == 3
        if counted_by == "engine":
            # The pool cannot see the flag, so Django's connection counts.
            assert impact("new_checkout", 100).gain == 3


# Rules. A rule reads columns of the users, in the projects with other user models, too.

HAS_STAFF = hasattr(User, "is_staff")
LONG_AGO = datetime(2020, 5, 17, 12, tzinfo=timezone.utc)


ENDS_WITH_0 = condition("username", "endswith", "0")
ENDS_WITH_5 = condition("username", "endswith", "5")
ANY_USER = condition("is_authenticated", "in", True)
LOGGED_IN = condition("last_login", "isnull", False)
LOGGED_IN_LATER = condition("last_login", "gte", "2020-06-01")

RULES = {
    "whole and partial": [
        {"name": "fives", "conditions": [ENDS_WITH_5], "rollout_percent": 100},
        {"name": "zeros", "conditions": [ENDS_WITH_0], "rollout_percent": 40},
    ],
    "nobody and built in": [
        {"conditions": [condition("is_superuser", "in", True)], "rollout_percent": 0},
        {"conditions": [condition("is_staff", "in", False, negate=True)]},
        {"conditions": [condition("is_authenticated", "in", False)]},
        {"conditions": [condition("groups", "in", "beta")]},
    ],
    "groups": [
        {"conditions": [condition("groups", "in", "beta")], "rollout_percent": 60},
        {"conditions": [condition("groups", "startswith", "st")]},
        {"conditions": [condition("groups", "in", "beta", "gone", negate=True), ENDS_WITH_5]},
    ],
    "groups of other kinds": [
        {"conditions": [{"segment": "insiders"}]},
        {"conditions": [condition("groups", "in", 42)]},
        {"conditions": [condition("groups", "in", "empty", "none")]},
        {"conditions": [condition("groups", "isnull", False), ENDS_WITH_5], "rollout_percent": 30},
    ],
    "segments and datetimes": [
        {"conditions": [{"segment": "recent"}, ENDS_WITH_5], "rollout_percent": 70},
        {"conditions": [{"segment": "recent", "negate": True}], "rollout_percent": 0},
        {"conditions": [{"segment": "gone", "negate": True}]},
    ],
}

WHOLE_AND_PARTIAL = RULES["whole and partial"]


@pytest.fixture
def columns() -> Iterator[None]:
    """Rules may read two columns of the users."""
    with override_settings(FLAGSTAFF={"ATTRIBUTES": ["username", "last_login"]}):
        yield


def make_various_users(count: int) -> list[Any]:
    pks = make_users(count)
    rows = list(User.objects.all())
    fields = ["last_login"]
    for number, user in enumerate(rows):
        user.last_login = LONG_AGO + timedelta(days=number) if number % 3 else None
        if HAS_STAFF:
            user.is_staff, user.is_superuser = number % 4 == 0, number % 8 == 0
            fields = ["last_login", "is_staff", "is_superuser"]
    User.objects.bulk_update(rows, fields)
    Segment.objects.create(key="recent", conditions=[LOGGED_IN, LOGGED_IN_LATER])
    Segment.objects.create(key="insiders", conditions=[condition("groups", "in", "staff")])
    if hasattr(User, "groups"):
        for name, step in (("beta", 3), ("staff", 5), ("other", 2), ("42", 7)):
            Group.objects.create(name=name).user_set.set(rows[::step])
        Group.objects.create(name="empty")
    return pks


def results_of_all() -> dict[Any, bool]:
    """The results that `flag_enabled` returns for the users as the database has them."""
    with read_own_writes():
        now = snapshot()
    return {user.pk: now.flag_enabled("new_checkout", user) for user in User.objects.all()}


@pytest.mark.thorough
@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize(
    ("rules", "unit"),
    [
        *((rules, "user") for rules in RULES),
        *(("none", "username"), ("whole and partial", "username")),
    ],
)
def test_counts_with_rules_and_units_match_evaluating_every_user(rules: str, unit: str) -> None:
    pks = make_various_users(300)
    fields = {"rollout_percent": 20, "rules": RULES.get(rules, []), "bucket_by": unit}
    make_flag(pks[::50], enabled=True, **fields)
    found = impact("new_checkout", 65, sample=1000)
    now = results_of_all()
    FeatureFlag.objects.update(rollout_percent=65)
    later = results_of_all()
    assert_counts(found, now, later, 1000)
    assert 0 < found.have < found.would_have < 300
    # A disabled flag is counted as if it were enabled.
    FeatureFlag.objects.update(enabled=False)
    as_if = impact("new_checkout", 65)
    assert (as_if.have, as_if.gain) == (0, sum(later.values()))


@pytest.mark.thorough
@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        ((True, 10), (True, 50), ([], [])),
        ((True, 90), (True, 25), (WHOLE_AND_PARTIAL, WHOLE_AND_PARTIAL)),
        ((False, 40), (True, 40), ([], [])),
        ((False, 0), (True, 70), (WHOLE_AND_PARTIAL, WHOLE_AND_PARTIAL)),
        ((True, 40), (False, 40), ([], [])),
        ((True, 60), (False, 0), (WHOLE_AND_PARTIAL, WHOLE_AND_PARTIAL)),
        ((False, 10), (False, 90), ([], [])),
        ((True, 30), (True, 30), ([], RULES["segments and datetimes"])),
    ],
)
def test_counts_between_two_states_match_evaluating_every_user(
    before: tuple[bool, int], after: tuple[bool, int], rules: tuple[list[Any], list[Any]]
) -> None:
    pks = make_various_users(200)
    flag = make_flag(pks[::50])
    sides = []
    for (enabled, percent), of_side in zip((before, after), rules, strict=True):
        flag.enabled, flag.rollout_percent, flag.rules = enabled, percent, of_side
        flag.save()
        sides.append(results_of_all())
    # The flag itself is in neither of the two states.
    FeatureFlag.objects.update(enabled=False, rollout_percent=33)
    states = (
        FlagState(*side, of_side) for side, of_side in zip((before, after), rules, strict=True)
    )
    found = impact_module.impact_of_change("new_checkout", *states, timeout=10)
    assert found.is_exact
    assert (found.users, found.gain, found.lose, found.after.on) == change_of(*sides)


@pytest.mark.usefixtures("counted_by", "columns")
def test_rule_that_reads_no_column_is_not_counted_and_the_others_are() -> None:
    pks = make_various_users(40)
    Segment.objects.create(key="abroad", conditions=[condition("country", "in", "DE", negate=True)])
    in_germany = {"name": "DE", "conditions": [condition("country", "in", "DE")]}
    make_flag(
        pks[:5],
        enabled=True,
        rules=[
            {"conditions": [condition("pk_is_known", "isnull", False)], "rollout_percent": 0},
            {"conditions": [ANY_USER, {"segment": "abroad"}], "rollout_percent": 50},
            in_germany,
            {"conditions": [ANY_USER], "rollout_percent": 0},
        ],
    )
    found = impact("new_checkout", 100)
    assert (found.users, found.have, found.unsure, found.gain, found.lose) == (40, 5, 35, 0, 0)
    assert [(rule.users, rule.unsure) for rule in found.reach.rules] == [(0, 35)] * 4
    assert [str(rule.text) for rule in found.reach.rules] == [
        "not counted: the call passes “pk_is_known”",
        *("not counted: the call passes “country”",) * 2,
        "not counted: that depends on an earlier rule, whose users are not counted",
    ]
    assert found.reach.text(found.users) == "at least 5 of 40"


@pytest.mark.usefixtures("counted_by", "columns")
def test_rule_before_one_that_is_not_counted_has_its_users() -> None:
    pks = make_various_users(40)
    rules = [
        {"name": "staff", "conditions": [ANY_USER], "rollout_percent": 50},
        {"conditions": [condition("country", "in", "DE")]},
    ]
    make_flag(enabled=True, rules=rules)
    found = impact("new_checkout", 0)
    within = sum(results(pks, [], 50, enabled=True).values())
    assert found.have == within
    assert (found.unsure, found.would_be_unsure) == (0, 0)
    assert found.reach.texts == [
        f'rule 1 ("staff"): {within} of 40',
        "rule 2: 0 of 0",
        "no rule matches: 0 of 0",
    ]


@pytest.mark.skipif(not HAS_STAFF, reason="the user model has no is_staff")
def test_permission_that_is_no_column_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(3)
    monkeypatch.setattr(rule_columns, "find_field", lambda *of: None)
    make_flag(enabled=True, rules=[{"conditions": [condition("is_staff", "in", True)]}])
    assert impact("new_checkout", 50).unsure == 3


@pytest.mark.usefixtures("counted_by")
@pytest.mark.parametrize(
    "rules", [{"a": 1}, [1], [{"conditions": []}], [{"conditions": [{}]}], "[]"]
)
def test_rules_that_cannot_be_read_cannot_be_counted(rules: object) -> None:
    make_flag(enabled=True, rules=rules)
    message = 'the rules of flag "new_checkout" cannot be read: '
    with pytest.raises(FlagstaffError, match=message):
        impact("new_checkout", 50)


@pytest.mark.usefixtures("counted_by", "columns")
def test_column_that_is_no_unit_counts_no_user() -> None:
    make_various_users(20)
    make_flag(enabled=True, rollout_percent=99, bucket_by="last_login")
    assert (impact("new_checkout", 100).have, impact("new_checkout", 100).gain) == (0, 20)


@pytest.mark.usefixtures("counted_by", "columns")
def test_unit_that_is_no_column_cannot_be_counted() -> None:
    make_flag(enabled=True, rollout_percent=20, bucket_by="organization")
    with pytest.raises(FlagstaffError) as error:
        impact("new_checkout", 50)
    assert str(error.value) == (
        'the users cannot be counted: flag "new_checkout" is bucketed by "organization", which is '
        "not a column in ATTRIBUTES; results of functions and context cannot be counted"
    )


ONLY_POSTGRESQL = pytest.mark.skipif(not ON_POSTGRESQL, reason="there is no engine")


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
def test_engine_uses_its_own_connection_and_closes_it() -> None:
    make_users(10)
    make_flag(enabled=True)
    with live_engine(), connection.cursor() as cursor:
        states = (
            FlagState(enabled=True, rollout_percent=0),
            FlagState(enabled=True, rollout_percent=100),
        )
        with CaptureQueriesContext(connection) as queries:
            assert impact_module.impact_of_change("new_checkout", *states, timeout=10).gain == 10
        assert not queries.captured_queries
        deadline = time.monotonic() + 5
        sessions = 2
        while sessions > 1 and time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
                "(application_name LIKE 'fs2 %' OR application_name LIKE 'flagstaff%')"
            )
            sessions = (cursor.fetchone() or (2,))[0]
    assert sessions == 1


@ONLY_POSTGRESQL
@pytest.mark.parametrize("table", ["elsewhere", "seen"], ids=["another table", "a view"])
def test_users_of_another_table_or_a_view_are_counted_through_django(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_users(10)
    make_flag(enabled=True)
    away = {**user_names(connection, User._meta.pk), "user_table": table}
    monkeypatch.setattr(impact_module, "user_names", lambda *of: away)
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW seen AS SELECT 1::bigint AS id")
        try:
            with live_engine():
                assert impact("new_checkout", 100).gain == 10
        finally:
            cursor.execute("DROP VIEW seen")


TABLES = {
    "with partitions": [
        "CREATE TABLE population (id bigint, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE population_1 PARTITION OF population FOR VALUES FROM (0) TO (9000)",
        "CREATE TABLE population_2 PARTITION OF population DEFAULT",
    ],
    "with inheritance": [
        "CREATE TABLE population (id bigint, name text)",
        "CREATE TABLE population_1 () INHERITS (population)",
        """
        CREATE RULE all_go AS ON INSERT TO population WHERE NEW.id < 9000
        DO INSTEAD INSERT INTO population_1 VALUES (NEW.*)
        """,
    ],
    "with holes": [
        "CREATE TABLE population (id bigint, name text) WITH (fillfactor = 10)",
        "INSERT INTO population SELECT n, repeat('x', 100) FROM generate_series(1, 5000) AS n",
        "DELETE FROM population",
    ],
}


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
@pytest.mark.parametrize("statements", TABLES.values(), ids=TABLES)
def test_users_on_every_page_are_counted_once(
    statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_flag(enabled=True)
    there = {
        **user_names(connection, User._meta.pk),
        "user_table": "population",
        "user_pk_type": "int8",
    }
    monkeypatch.setattr(impact_module, "user_names", lambda *of: there)
    monkeypatch.setattr(impact_module, "user_field", lambda *of: models.BigAutoField())
    with connection.cursor() as cursor:
        try:
            for statement in statements:
                cursor.execute(statement)
            cursor.execute(
                "INSERT INTO population SELECT n, repeat('x', 100) FROM generate_series(1, 12000) n"
            )
            with live_engine():
                found = impact("new_checkout", 100, sample=1000)
        finally:
            cursor.execute("DROP TABLE population CASCADE")
    assert (found.users, found.gain, len(set(found.sample))) == (12_000, 12_000, 1000)


@ONLY_POSTGRESQL
def test_locked_table_raises_instead_of_blocking() -> None:
    make_users(1)
    make_flag(enabled=True)
    with live_engine(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {connection.ops.quote_name(User._meta.db_table)}")
        with pytest.raises(FlagstaffError, match="locked"):
            impact("new_checkout", 100)


@ONLY_POSTGRESQL
def test_locked_table_raises_within_the_timeout_without_an_engine() -> None:
    make_users(1)
    make_flag(enabled=True)
    locker = connection.copy()
    started = time.monotonic()
    try:
        with transaction.atomic(), closing(locker), locker.cursor() as cursor:
            locker.set_autocommit(False)
            cursor.execute(f"LOCK TABLE {connection.ops.quote_name(User._meta.db_table)}")
            with pytest.raises(FlagstaffError, match="such as a time limit"):
                impact("new_checkout", 100, timeout=0.2)
            # The transaction goes on, without the limit.
            assert FeatureFlag.objects.count() == 1
            with connection.cursor() as own:
                own.execute("SHOW statement_timeout")
                assert own.fetchone() == ("0",)
    finally:
        locker.close()
    assert time.monotonic() - started < seconds(2)


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
def test_refused_query_is_reported_without_the_servers_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_flag(enabled=True)
    refused = {"impact_users_v1": "SELECT ARRAY['hunter2'::text::int8] AS users"}
    monkeypatch.setattr(impact_module, "sql", lambda name: refused.get(name) or sql(name))
    with live_engine(), pytest.raises(FlagstaffError, match="22P02") as raised:
        impact("new_checkout", 100)
    assert "hunter2" not in f"{raised.value} {raised.value.__cause__!r}"


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
def test_slow_batch_ends_with_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    make_flag(enabled=True)
    slow = {"impact_users_v1": "SELECT NULL::int8[] AS users FROM pg_sleep(10)"}
    monkeypatch.setattr(impact_module, "sql", lambda name: slow.get(name) or sql(name))
    with live_engine():
        started = time.monotonic()
        with pytest.raises(FlagstaffError, match="did not answer in time"):
            impact("new_checkout", 100, timeout=0.5)
        assert time.monotonic() - started < seconds(2)


def test_error_of_the_users_iterator_propagates() -> None:
    def users() -> Iterator[tuple[int]]:
        yield (1,)
        raise KeyError("gone")

    states = (True, 0, None, None), (True, 5, None, None)
    with pytest.raises(KeyError, match="gone"):
        _core.impact_on("new_checkout", 1, states, [], {}, users(), ([], set()))
