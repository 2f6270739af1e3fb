"""`impact`: the exact number of users whose result another rollout changes.

The last test runs these tests again on SQLite and with other primary keys.
"""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, models, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from flagstaff import _core, impact, read_own_writes, snapshot
from flagstaff._engine import impact as impact_module
from flagstaff._engine import rule_columns
from flagstaff._tables.names import sql, user_names
from flagstaff._tables.user_lookup import UserTable
from flagstaff.exceptions import FlagstaffError, InvalidChangeError, UnknownFlagError
from flagstaff.models import FeatureFlag, Segment
from flagstaff.testing import live_engine
from tests.conformance.oracle import Article, FlagStore, as_user
from tests.conftest import RunIsolated
from tests.support.terminals import flags, typed

COMMITTED = pytest.mark.django_db(transaction=True, available_apps=settings.INSTALLED_APPS)
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


@pytest.mark.usefixtures("counted_by")
@pytest.mark.parametrize(
    ("count", "percent", "then"),
    [(MANY, 10, 50), (500, 90, 25), (500, 0, 100), (500, 100, 0), (500, 37, 37)],
)
def test_counts_match_the_articles_results(count: int, percent: int, then: int) -> None:
    pks = make_users(count)
    allowed = pks[::100]
    make_flag(allowed, enabled=True, rollout_percent=percent)
    now = results(pks, allowed, percent, enabled=True)
    later = results(pks, allowed, then, enabled=True)
    gain = {pk for pk in pks if later[pk] and not now[pk]}
    lose = {pk for pk in pks if now[pk] and not later[pk]}
    found = impact("new_checkout", then, sample=20)
    assert (found.users, found.have, found.would_have) == (
        *(count, sum(now.values()), sum(later.values())),
    )
    assert (found.gain, found.lose, found.same) == (
        *(len(gain), len(lose), count - len(gain) - len(lose)),
    )
    assert found.direction == ("gain" if gain else "lose" if lose else "same")
    assert len(set(found.sample)) == min(20, len(gain | lose))
    assert set(found.sample) <= gain | lose


@pytest.mark.usefixtures("counted_by")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((True, 10), (True, 50)),
        ((True, 90), (True, 25)),
        ((False, 40), (True, 40)),
        ((False, 0), (True, 70)),
        ((True, 40), (False, 40)),
        ((True, 60), (False, 0)),
        ((False, 10), (False, 90)),
    ],
)
def test_counts_between_two_states_match_the_articles_results(before: Any, after: Any) -> None:
    pks = make_users(300)
    allowed = pks[::50]
    # The flag itself is in neither of the two states.
    make_flag(allowed, enabled=False, rollout_percent=33)
    then = results(pks, allowed, before[1], enabled=before[0])
    now = results(pks, allowed, after[1], enabled=after[0])
    found = impact_module.impact_of_change("new_checkout", before, after, timeout=10)
    assert found == impact_module.ChangeImpact(
        300,
        gain=sum(now[pk] and not then[pk] for pk in pks),
        lose=sum(then[pk] and not now[pk] for pk in pks),
        after=sum(now.values()),
    )


@pytest.mark.usefixtures("counted_by")
@pytest.mark.parametrize("percent", [0, 50, 90])
def test_disabled_flag_is_counted_as_if_it_were_enabled(percent: int) -> None:
    pks = make_users(300)
    allowed = pks[::100]
    make_flag(allowed, rollout_percent=90)
    then = results(pks, allowed, percent, enabled=True)
    found = impact("new_checkout", percent, sample=1000)
    assert (found.enabled, found.as_if_enabled, found.users, found.have) == (False, True, 300, 0)
    assert (found.gain, found.lose, found.would_have) == (sum(then.values()), 0, found.gain)
    assert set(found.sample) == {pk for pk in pks if then[pk]}
    assert found.as_dict()["as_if_enabled"] is True


@pytest.mark.usefixtures("counted_by")
def test_enabled_flag_is_not_counted_as_if_it_were_enabled() -> None:
    make_flag(enabled=True)
    assert impact("new_checkout", 5).as_if_enabled is False


@pytest.mark.usefixtures("counted_by")
def test_counts_are_zero_without_users() -> None:
    make_flag(enabled=True)
    assert impact("new_checkout", 100).users == 0


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


@pytest.mark.parametrize("percent", [-1, 101, 2.5, True, "5"])
def test_invalid_percentage_raises(percent: Any) -> None:
    with pytest.raises(InvalidChangeError, match="0 to 100"):
        impact("new_checkout", percent)


@pytest.mark.parametrize("sample", [-1, 1_001])
def test_invalid_sample_size_raises(sample: int) -> None:
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


def test_command_on_a_terminal_prints_words_and_usernames() -> None:
    make_users(3)
    make_flag(enabled=True, rollout_percent=0)
    assert typed("flags impact new_checkout 100").splitlines() == [
        "3 of 3 users would gain the flag.",
        "",
        "flag               new_checkout",
        "rollout now        0 %",
        "new rollout        100 %",
        "users              3",
        "have the flag now  0",
        "would gain it      3",
        "would lose it      0",
        "would have it      3",
        "for example        user0, user1, user2",
        "anonymous users    not counted",
    ]


def test_command_on_a_terminal_prints_primary_keys_to_a_role_that_may_not_read_names() -> None:
    make_users(1)
    make_flag(enabled=True, rollout_percent=0)
    [pk] = get_user_model().objects.values_list("pk", flat=True)
    with patch.object(UserTable, "names", side_effect=DatabaseError("permission denied")):
        assert f"for example        {pk}" in typed("flags impact new_checkout 100")


def test_command_prints_the_counts() -> None:
    make_users(20)
    make_flag(enabled=True)
    printed = dict(
        line.split("\t") for line in flags("impact", "new_checkout", "100%").out.splitlines()
    )
    assert printed["impact"] == "20 of 20 users would gain the flag."
    assert (printed["users"], printed["gain"], printed["lose"]) == ("20", "20", "0")
    found = json.loads(flags("impact", "new_checkout", "100", "--sample", "2", "--json").out)
    assert found["would_have"] == 20
    assert len(found["sample"]) == 2


def test_command_says_that_a_disabled_flag_is_counted_as_if_it_were_enabled() -> None:
    make_users(2)
    make_flag()
    ran = flags("impact", "new_checkout", "100")
    assert ran.out.startswith(
        "impact\tIf new_checkout were enabled at 100 %, 2 of 2 users would gain the flag.\n"
    )
    assert ran.err == "new_checkout is disabled: until it is enabled, no user has it\n"
    assert json.loads(flags("impact", "new_checkout", "100", "--json").out)["as_if_enabled"] is True


def test_command_reports_errors() -> None:
    make_flag()
    assert flags("impact", "missing", "100").status == 5
    assert flags("impact", "new_checkout", "101").status != 0


# Rules. A rule reads columns of the users, in the projects with other user models, too.

HAS_STAFF = hasattr(User, "is_staff")
LONG_AGO = datetime(2020, 5, 17, 12, tzinfo=timezone.utc)


def condition(attribute: str, operator: str, *values: object, **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator, "values": [*values], **more}


ENDS_WITH_0 = condition("username", "endswith", "0")
ENDS_WITH_5 = condition("username", "endswith", "5")
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
    "segments and datetimes": [
        {"conditions": [{"segment": "recent"}, ENDS_WITH_5], "rollout_percent": 70},
        {"conditions": [{"segment": "recent", "negate": True}], "rollout_percent": 0},
        {"conditions": [{"segment": "gone", "negate": True}]},
    ],
}


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
    if hasattr(User, "groups"):
        for name, step in (("beta", 3), ("staff", 5), ("other", 2)):
            Group.objects.create(name=name).user_set.set(rows[::step])
    return pks


def results_of_all() -> dict[Any, bool]:
    """The results that `flag_enabled` returns for the users as the database has them."""
    with read_own_writes():
        now = snapshot()
    return {user.pk: now.flag_enabled("new_checkout", user) for user in User.objects.all()}


@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_counts_with_rules_match_evaluating_every_user(rules: list[Any]) -> None:
    pks = make_various_users(300)
    make_flag(pks[::50], enabled=True, rollout_percent=20, rules=rules)
    found = impact("new_checkout", 65, sample=1000)
    now = results_of_all()
    FeatureFlag.objects.update(rollout_percent=65)
    later = results_of_all()
    gain = {pk for pk in pks if later[pk] and not now[pk]}
    assert (found.users, found.have, found.gain, found.lose) == (
        *(300, sum(now.values()), len(gain)),
        sum(now[pk] and not later[pk] for pk in pks),
    )
    assert set(found.sample) == gain
    assert 0 < found.have < found.would_have < 300


@pytest.mark.usefixtures("counted_by", "columns")
def test_disabled_flag_with_rules_is_counted_as_if_it_were_enabled() -> None:
    make_various_users(100)
    make_flag(rollout_percent=0, rules=RULES["whole and partial"])
    found = impact("new_checkout", 0)
    FeatureFlag.objects.update(enabled=True)
    assert (found.have, found.gain) == (0, sum(results_of_all().values()))


@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize(
    ("before", "after"),
    [((True, 10), (True, 50)), ((False, 0), (True, 70)), ((True, 60), (False, 0))],
)
def test_counts_between_two_states_use_the_present_rules(before: Any, after: Any) -> None:
    make_various_users(200)
    flag = make_flag(rules=RULES["whole and partial"])
    sides = []
    for enabled, percent in (before, after):
        flag.enabled, flag.rollout_percent = enabled, percent
        flag.save()
        sides.append(results_of_all())
    then, now = sides
    found = impact_module.impact_of_change("new_checkout", before, after, timeout=10)
    assert found == impact_module.ChangeImpact(
        200,
        gain=sum(now[pk] and not then[pk] for pk in now),
        lose=sum(then[pk] and not now[pk] for pk in now),
        after=sum(now.values()),
    )


@pytest.mark.usefixtures("counted_by", "columns")
def test_counts_between_two_states_use_the_rules_of_each() -> None:
    make_various_users(200)
    flag = make_flag(enabled=True, rollout_percent=30)
    sides = []
    texts: list[str | None] = [None, json.dumps(RULES["segments and datetimes"])]
    for text in texts:
        flag.rules = json.loads(text or "[]")
        flag.save()
        sides.append(results_of_all())
    then, now = sides
    found = impact_module.impact_of_change(
        "new_checkout", (True, 30), (True, 30), (texts[0], texts[1]), timeout=10
    )
    assert found == impact_module.ChangeImpact(
        200,
        gain=sum(now[pk] and not then[pk] for pk in now),
        lose=sum(then[pk] and not now[pk] for pk in now),
        after=sum(now.values()),
    )
    assert found.gain
    assert found.lose


@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            {"name": "beta", "conditions": [condition("country", "in", "DE")]},
            'rule 2 ("beta") of flag "new_checkout" reads "country", which is neither built in nor',
        ),
        (
            {"conditions": [LOGGED_IN, {"segment": "abroad"}]},
            'segment "abroad" in rule 2 of flag "new_checkout" reads "country", which is neither',
        ),
    ],
)
def test_rule_that_reads_no_column_cannot_be_counted(rule: dict[str, Any], message: str) -> None:
    Segment.objects.create(key="abroad", conditions=[condition("country", "in", "DE", negate=True)])
    make_flag(enabled=True, rules=[{"conditions": [LOGGED_IN]}, rule])
    with pytest.raises(FlagstaffError, match=re.escape(f"cannot be counted: {message}")):
        impact("new_checkout", 50)


@pytest.mark.skipif(not HAS_STAFF, reason="the user model has no is_staff")
def test_permission_that_is_no_column_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_columns, "find_field", lambda *of: None)
    make_flag(enabled=True, rules=[{"conditions": [condition("is_staff", "in", True)]}])
    with pytest.raises(FlagstaffError, match='rule 1 of flag "new_checkout" reads "is_staff"'):
        impact("new_checkout", 50)


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
@pytest.mark.parametrize("rules", [[], RULES["whole and partial"]], ids=["no rules", "rules"])
def test_counts_by_a_column_match_evaluating_every_user(rules: list[Any]) -> None:
    pks = make_various_users(300)
    make_flag(pks[::50], enabled=True, rollout_percent=20, rules=rules, bucket_by="username")
    found = impact("new_checkout", 65)
    now = results_of_all()
    FeatureFlag.objects.update(rollout_percent=65)
    later = results_of_all()
    assert (found.users, found.have, found.gain) == (
        *(300, sum(now.values())),
        sum(later[pk] and not now[pk] for pk in pks),
    )
    FeatureFlag.objects.update(bucket_by="user")
    assert results_of_all() != later


@pytest.mark.usefixtures("counted_by", "columns")
def test_column_that_is_no_unit_counts_no_user() -> None:
    make_various_users(20)
    make_flag(enabled=True, rollout_percent=99, bucket_by="last_login")
    assert (impact("new_checkout", 100).have, impact("new_checkout", 100).gain) == (0, 20)


@pytest.mark.usefixtures("counted_by", "columns")
@pytest.mark.parametrize(
    ("unit", "why"),
    [
        ("visitor", "bucketed by visitor, and visitors are not in the database"),
        (
            "organization",
            (
                'bucketed by "organization", which is not a column in ATTRIBUTES; results of '
                "functions and context cannot be counted"
            ),
        ),
    ],
)
def test_unit_that_is_no_column_cannot_be_counted(unit: str, why: str) -> None:
    make_flag(enabled=True, rollout_percent=20, bucket_by=unit)
    with pytest.raises(FlagstaffError) as error:
        impact("new_checkout", 50)
    assert str(error.value) == f'the users cannot be counted: flag "new_checkout" is {why}'


def test_command_reports_a_unit_that_cannot_be_counted() -> None:
    make_flag(enabled=True, bucket_by="visitor")
    ran = flags("impact", "new_checkout", "100")
    assert (ran.status, ran.out) == (1, "")
    assert "is bucketed by visitor, and visitors are not in the database" in ran.err


def test_command_reports_a_rule_that_cannot_be_counted() -> None:
    make_flag(enabled=True, rules=[{"conditions": [condition("country", "in", "DE")]}])
    ran = flags("impact", "new_checkout", "100")
    assert (ran.status, ran.out) == (1, "")
    assert 'rule 1 of flag "new_checkout" reads "country"' in ran.err


ONLY_POSTGRESQL = pytest.mark.skipif(not ON_POSTGRESQL, reason="there is no engine")


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
def test_engine_uses_its_own_connection() -> None:
    make_users(10)
    make_flag(enabled=True)
    with live_engine(), CaptureQueriesContext(connection) as queries:
        assert impact("new_checkout", 100).gain == 10
    assert not queries.captured_queries


@ONLY_POSTGRESQL
@pytest.mark.usefixtures("only_pool")
def test_engine_closes_the_connection() -> None:
    make_flag(enabled=True)
    with live_engine(), connection.cursor() as cursor:
        impact("new_checkout", 100)
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
def test_users_in_another_table_are_counted_through_django(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_users(10)
    make_flag(enabled=True)
    away = {**user_names(connection, User._meta.pk), "user_table": "elsewhere"}
    monkeypatch.setattr(impact_module, "user_names", lambda *of: away)
    with live_engine():
        assert impact("new_checkout", 100).gain == 10


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
def test_users_of_a_view_are_counted_through_django(monkeypatch: pytest.MonkeyPatch) -> None:
    make_users(10)
    make_flag(enabled=True)
    seen = {**user_names(connection, User._meta.pk), "user_table": "seen"}
    monkeypatch.setattr(impact_module, "user_names", lambda *of: seen)
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW seen AS SELECT 1::bigint AS id")
        try:
            with live_engine():
                assert impact("new_checkout", 100).gain == 10
        finally:
            cursor.execute("DROP VIEW seen")


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
            with pytest.raises(FlagstaffError, match="statement timeout"):
                impact("new_checkout", 100, timeout=0.2)
            # The transaction goes on, without the limit.
            assert FeatureFlag.objects.count() == 1
            with connection.cursor() as own:
                own.execute("SHOW statement_timeout")
                assert own.fetchone() == ("0",)
    finally:
        locker.close()
    assert time.monotonic() - started < 2


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
        assert time.monotonic() - started < 2


def test_error_of_the_users_iterator_propagates() -> None:
    def users() -> Iterator[tuple[int]]:
        yield (1,)
        raise KeyError("gone")

    states = (True, 0, None, None), (True, 5, None, None)
    with pytest.raises(KeyError, match="gone"):
        _core.impact_on("new_checkout", 1, states, [], {}, users(), [])


@pytest.mark.skipif(
    User._meta.label != "auth.User" or not ON_POSTGRESQL,
    reason="the test below runs the other projects",
)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("project", ["settings_sqlite", "apps.settings_uuid", "apps.settings_text"])
def test_these_tests_pass_on_other_projects(project: str, run_isolated: RunIsolated) -> None:
    options = ["-q", "-p", "no:cacheprovider", f"--ds=tests.{project}", __file__]
    run_isolated("import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))", *options)
