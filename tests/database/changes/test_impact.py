"""`changes.impact`: two states of rows in memory, and the users whose results differ."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timezone
from random import Random
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from flagstaff._engine import direct
from flagstaff._engine.direct import NotReadyError
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind
from flagstaff.changes import impact as impact_module
from flagstaff.changes.consequence import (
    Consequence,
    consequence_of,
    impact_text,
    use_texts,
    users_texts,
)
from flagstaff.changes.impact import HIDDEN, impact, impact_of_enabling
from flagstaff.changes.row_states import Effect, Impact, RowState
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.conformance import rules_oracle as oracle
from tests.support.conditions import condition
from tests.support.fixtures import COMMITTED
from tests.support.repeats import repeats
from tests.support.shop import GERMAN, STAFF
from tests.support.users import create_users

User: Any = get_user_model()
ON_POSTGRESQL = connection.vendor == "postgresql"
NAMES = ("ann", "bob", "cy", "dora", "eve")
UTC = timezone.utc


@pytest.fixture
def columns(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["first_name", "last_name"]}


@pytest.fixture
def users(columns: None) -> list[Any]:
    """Thirty users, some of them in groups."""
    random = Random(7)
    made: list[Any] = User.objects.bulk_create(
        [
            User(
                username=f"user{number}",
                first_name=random.choice(NAMES),
                last_name=random.choice(["", "x", "y"]),
                is_staff=number % 4 == 0,
            )
            for number in range(30)
        ]
    )
    for name in ("beta", "crew"):
        group = Group.objects.create(name=name)
        group.user_set.set(random.sample(made, 9))
    return made


def random_condition(random: Random, *, segments: bool) -> dict[str, Any]:
    if segments and random.random() < 0.25:
        return {"segment": random.choice(["one", "two"]), "negate": random.random() < 0.3}
    negate = random.random() < 0.3
    return random.choice(
        [
            condition("is_staff", "in", True, negate=negate),
            condition("first_name", "in", *random.sample(NAMES, 2), negate=negate),
            condition("last_name", "startswith", "x", negate=negate),
            condition("groups", "in", random.choice(["beta", "crew"]), negate=negate),
            condition("is_authenticated", "in", random.random() < 0.5),
            condition("country", random.choice(["in", "isnull"]), True, negate=negate),
        ]
    )


def random_rules(random: Random, *, results: bool = False) -> list[dict[str, Any]]:
    return [
        {
            "conditions": [
                random_condition(random, segments=True) for _ in range(random.randint(1, 2))
            ],
            "rollout_percent": random.choice([0, 30, 60, 100]),
            **({"value": random.choice([1, "a", [2]])} if results else {}),
        }
        for _ in range(random.randint(0, 3))
    ]


def random_states(random: Random, users: list[Any]) -> list[RowState]:
    """A flag, a value, and two segments."""
    unit = random.choice(["user", "user", "last_name", "plan"])
    flag = FeatureFlag(
        key="flag",
        enabled=random.random() < 0.8,
        rollout_percent=random.choice([0, 10, 50, 100]),
        rules=random_rules(random),
        bucket_by=unit,
    )
    value = KeyValueStore(
        key="value",
        value=random.choice([1, "a", [2]]),
        rules=random_rules(random, results=True),
        bucket_by=unit,
    )
    segments = [
        Segment(key=key, conditions=[random_condition(random, segments=False)])
        for key in ("one", "two")
    ]
    allowed = [user.pk for user in random.sample(users, random.randint(0, 3))]
    return [
        RowState(Kind.FLAG, flag, allowed),
        RowState(Kind.VALUE, value),
        *(RowState(Kind.SEGMENT, segment) for segment in segments),
    ]


def known(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules as the reference reads them: what only a call knows is not there, and not null."""
    false = {"attribute": "country", "operator": "in", "values": ["no such country"]}
    return [
        {
            **rule,
            "conditions": [
                false if condition.get("attribute") == "country" else condition
                for condition in rule["conditions"]
            ],
        }
        for rule in rules
    ]


def results_of(states: list[RowState], user: Any) -> tuple[Any, Any]:
    """The results of the flag and the value, by the reference."""
    flag, value, *segments = (state.row for state in states)
    rows = {
        segment.key: known([{"conditions": segment.conditions}])[0]["conditions"]
        for segment in segments
    }
    attributes: dict[str, Any] = {
        "is_authenticated": user is not None,
        "is_staff": user is not None and user.is_staff,
        "groups": [] if user is None else [group.name for group in user.groups.all()],
    }
    if user is not None:
        attributes |= {"first_name": user.first_name, "last_name": user.last_name}
    pk = None if user is None else str(user.pk)
    allowed = frozenset(map(str, states[0].allowed_users or ()))
    of_flag = oracle.Flag(
        flag.key,
        flag.enabled,
        flag.rollout_percent,
        allowed,
        known(flag.rules),
        rows,
        flag.bucket_by,
    )
    of_value = oracle.Value(value.key, value.value, known(value.rules), rows, value.bucket_by)
    return (
        oracle.evaluate(of_flag, pk, attributes, UTC).value,
        oracle.evaluate_value(of_value, pk, attributes, UTC).value,
    )


def expected(before: list[RowState], after: list[RowState], users: list[Any]) -> list[Any]:
    pairs = [(results_of(before, user), results_of(after, user)) for user in users]
    flags = [(then[0], now[0]) for then, now in pairs]
    anonymous = results_of(before, None), results_of(after, None)
    return [
        (
            len(users),
            sum(now and not then for then, now in flags),
            sum(then and not now for then, now in flags),
            (sum(then for then, _ in flags), sum(now for _, now in flags)),
            (anonymous[0][0], anonymous[1][0]),
        ),
        (
            len(users),
            sum(then[1] != now[1] for then, now in pairs),
            anonymous[0][1] != anonymous[1][1],
        ),
        sum(then != now for then, now in pairs),
    ]


@pytest.mark.timeout(repeats(1_200, 60))
def test_impact_of_random_states_matches_an_independent_count(users: list[Any]) -> None:
    people = list(User.objects.prefetch_related("groups").order_by("pk"))
    random = Random(20261127)
    for _ in range(repeats(1_000, 60)):
        before, after = random_states(random, people), random_states(random, people)
        impacts = impact(before, after)
        flag, value, changed = expected(before, after, people)
        nothing = Effect(len(people))
        flag_impact = impacts.get((Kind.FLAG, "flag"), nothing)
        two = impacts.get((Kind.VALUE, "value"), nothing)
        assert (
            flag_impact.users,
            flag_impact.gain,
            flag_impact.lose,
            flag_impact.on,
            flag_impact.anonymous,
        ) == flag
        assert (two.users, two.changed, two.anonymous_changed) == value
        assert (impacts.changed or 0) == changed


def flag(key: str = "flag", **fields: Any) -> RowState:
    fields = {"enabled": True, "rollout_percent": 0, **fields}
    return RowState(Kind.FLAG, FeatureFlag(key=key, **fields), ())


def only(impacts: Impact) -> Effect:
    [effect] = impacts.values()
    return effect


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"rules": [{"conditions": [GERMAN]}]}, ("country",)),
        ({"rules": [{"conditions": [condition("country", "isnull", True)]}]}, ("country",)),
        ({"rules": [{"conditions": [condition("first_name", "in", "ann")]}]}, ()),
        ({"bucket_by": "visitor", "rollout_percent": 50}, ("visitor",)),
        ({"bucket_by": "last_name", "rollout_percent": 50}, ()),
        # The unit of such a percentage is not read.
        ({"bucket_by": "visitor", "rollout_percent": 100}, ()),
        ({"enabled": False, "rules": [{"conditions": [condition("a", "in", 1)]}]}, ()),
    ],
)
def test_attributes_that_only_a_call_knows_are_ignored(
    fields: dict[str, Any], ignored: tuple[str, ...], users: list[Any]
) -> None:
    now = flag(rollout_percent=1)
    effect = only(impact([now], [now.after(fields)]))
    assert effect.ignored == ignored
    assert effect.users == 30


@pytest.mark.parametrize(
    ("fields", "is_certain"),
    [
        ({"rollout_percent": 9}, False),
        ({"enabled": False}, True),
        ({"rules": []}, True),
        ({"rollout_percent": 100}, True),
        ({"rules": [{"conditions": [GERMAN], "rollout_percent": 9}]}, False),
        ({"rules": [], "bucket_by": "visitor", "rollout_percent": 9}, False),
    ],
)
def test_fields_alone_decide_about_a_flag_unless_its_rules_or_unit_read_more(
    fields: dict[str, Any], is_certain: bool, users: list[Any]
) -> None:
    now = flag(rollout_percent=1, rules=[{"conditions": [GERMAN]}])
    assert only(impact([now], [now.after(fields)])).is_certain == (False, is_certain)


def test_attribute_of_an_added_rule_is_not_said_of_those_who_have_the_flag_now(
    users: list[Any],
) -> None:
    now = flag(rollout_percent=0, rules=[{"conditions": [STAFF]}])
    after = now.after({"rules": [{"conditions": [STAFF, GERMAN]}]})
    impacts = impact([now], [after])
    assert users_texts(only(impacts)) == (
        "8 of 30",
        "0 of 30, without those selected only by country",
    )
    assert impact_text(impacts).startswith(
        "If no user is selected by country, which only the application knows: 8 users lose the "
    )
    removed = only(impact([after], [now]))
    assert removed.is_certain == (False, True)


@pytest.mark.parametrize(
    ("column", "read", "expected"),
    [
        ("is_staff", lambda value: int(bool(value)), 8),
        ("is_staff", lambda _value: int("cannot be decrypted"), None),
        # The next batch of users is read by their key, which must be comparable.
        ("id", lambda _value: object(), None),
    ],
    ids=["small integer", "encrypted", "odd key"],
)
def test_column_with_other_python_values_is_counted_or_reported(
    column: str,
    read: Callable[[object], object],
    expected: int | None,
    users: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field = User._meta.get_field(column)
    monkeypatch.setattr(field, "from_db_value", lambda value, *_: read(value), raising=False)
    monkeypatch.setattr(impact_module, "_BATCH", 10)
    now = flag()
    rules = [{"conditions": [STAFF]}]
    effect = only(impact([now], [now.after({"rules": rules})]))
    assert (effect.users and effect.gain, not effect.problem) == (expected, expected is not None)


def test_permission_that_is_a_property_is_not_counted(
    users: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_module, "find_field", lambda *_: None)
    now = flag()
    effect = only(impact([now], [now.after({"rules": [{"conditions": [STAFF]}]})]))
    assert effect.ignored == ("is_staff",)


def test_groups_that_cannot_be_read_are_not_counted(
    users: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NotReadyError("gone")

    monkeypatch.setattr(direct, "select", fail)
    now = flag()
    rules = [{"conditions": [condition("groups", "in", "beta")]}]
    effect = only(impact([now], [now.after({"rules": rules})]))
    assert effect.users is None
    assert effect.problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rollout_percent": 50}, ""),
        ({"rules": [{"conditions": [condition("is_authenticated", "in", True)]}]}, ""),
        ({"rules": [{"conditions": [STAFF]}]}, HIDDEN),
        ({"rules": [{"conditions": [condition("groups", "in", "beta")]}]}, HIDDEN),
        ({"rules": [{"conditions": [{"segment": "one"}]}]}, HIDDEN),
        ({"rollout_percent": 50, "bucket_by": "last_name"}, HIDDEN),
    ],
)
def test_rules_on_users_are_not_counted_for_a_person_who_may_not_view_users(
    fields: dict[str, Any], problem: str, users: list[Any]
) -> None:
    Segment.objects.create(key="one", conditions=[condition("first_name", "in", "ann")])
    now = flag()
    [nobody] = User.objects.filter(username="user1")
    effect = only(impact([now], [now.after(fields)], viewer=nobody))
    assert (effect.problem, effect.users) == (problem, None if problem else 30)
    assert effect.hides_small


@pytest.mark.parametrize(
    ("fields", "is_exact"),
    [
        ({"rollout_percent": 100}, True),
        ({"rollout_percent": 100, "rules": [{"conditions": [STAFF]}]}, True),
        # Nobody but the allowed users has it.
        ({"rules": [{"conditions": [STAFF], "rollout_percent": 0}]}, True),
        # The number of the others is that of the users whom the rule matches.
        (
            {"rollout_percent": 100, "rules": [{"conditions": [STAFF], "rollout_percent": 0}]},
            False,
        ),
        ({"rollout_percent": 99}, False),
    ],
    ids=["on for all", "all rules at 100 %", "off for some at 0 %", "off for some", "99 %"],
)
def test_number_of_all_or_allowed_users_is_exact_for_a_person_who_may_not_view_users(
    fields: dict[str, Any], is_exact: bool, users: list[Any]
) -> None:
    User.objects.filter(pk__in=[user.pk for user in users[:3]]).delete()
    [nobody] = User.objects.filter(username="user3")
    on = replace(flag(**fields), allowed_users=[nobody.pk])
    off = on.after({"enabled": False})
    for before, after in ((off, on), (on, off), (None, on), (on, None)):
        sides = ([side] if side else [] for side in (before, after))
        effect = only(impact(*sides, viewer=nobody))
        assert effect.hides_small is not is_exact
        assert not is_exact or effect.users == 27


def test_number_of_users_of_a_value_is_exact_without_rules_for_a_person_who_may_not_view_users(
    users: list[Any],
) -> None:
    [nobody] = User.objects.filter(username="user1")
    now = RowState(Kind.VALUE, KeyValueStore(key="value", value=1))
    without, rules = now.after({"value": 2}), [{"conditions": [STAFF], "value": 2}]
    assert not only(impact([now], [without], viewer=nobody)).hides_small
    assert only(impact([now], [now.after({"rules": rules})], viewer=nobody)).hides_small


def test_segment_changes_all_rules_of_a_flag_that_changes_itself(users: list[Any]) -> None:
    segment = Segment.objects.create(key="one", conditions=[GERMAN])
    rules: list[Any] = [{"conditions": [{"segment": "one"}]}]
    row = FeatureFlag.objects.create(key="on", enabled=True, rollout_percent=25, rules=rules)
    before = [RowState(Kind.FLAG, row), RowState(Kind.SEGMENT, segment)]
    wider = {"conditions": [condition("country", "in", "FR", negate=True)]}
    after = [before[0].after({"rollout_percent": 24}), before[1].after(wider)]
    assert consequence_of(impact(before, after)) is Consequence.MOST


def test_segment_of_flags_values_and_disabled_flags_has_an_effect_on_each(users: list[Any]) -> None:
    segment = Segment.objects.create(key="one", conditions=[STAFF])
    rules: list[Any] = [{"conditions": [{"segment": "one"}]}]
    FeatureFlag.objects.create(key="on", enabled=True, rollout_percent=0, rules=rules)
    FeatureFlag.objects.create(key="off", enabled=False, rollout_percent=0, rules=rules)
    KeyValueStore.objects.create(key="limit", value=1, rules=[{**rules[0], "value": 2}])
    now = RowState(Kind.SEGMENT, segment)
    impacts = impact([now], [now.after({"conditions": [condition("is_staff", "in", False)]})])
    assert {key: (effect.gain, effect.lose, effect.changed) for key, effect in impacts.items()} == {
        (Kind.FLAG, "on"): (22, 8, 30),
        (Kind.VALUE, "limit"): (0, 0, 30),
    }
    assert [(use.key, use.is_active) for use in impacts.uses] == [
        ("off", False),
        ("on", True),
        ("limit", True),
    ]
    assert impacts.changed == 30


def test_change_of_a_segment_counts_the_users_who_get_another_value(users: list[Any]) -> None:
    segment = Segment.objects.create(key="one", conditions=[STAFF])
    rules: list[Any] = [{"conditions": [{"segment": "one"}], "value": 50}]
    KeyValueStore.objects.create(key="limit", value=10, rules=rules)
    now = RowState(Kind.SEGMENT, segment)
    nobody = [STAFF, condition("is_staff", "in", False)]
    counted = impact([now], [now.after({"conditions": nobody})])
    [use] = counted.uses
    assert (use.label(), use.kind) == ("value limit", Kind.VALUE)
    assert use_texts(counted, use) == ("", "another result: 8 of 30")
    assert (counted.changed, consequence_of(counted)) == (8, Consequence.MORE)
    assert impact_text(counted) == "8 different users gain or lose something."


def test_created_and_deleted_flag_are_counted(users: list[Any]) -> None:
    nothing, for_everyone = RowState(Kind.FLAG, None), flag(rollout_percent=100)
    assert only(impact([nothing], [for_everyone])).gain == 30
    assert only(impact([for_everyone], [nothing])).lose == 30


def test_deleted_flag_is_not_counted_again_as_a_use_of_a_changed_segment(users: list[Any]) -> None:
    rules = [{"conditions": [{"segment": "one"}]}]
    segment = Segment.objects.create(key="one", conditions=[STAFF])
    row = FeatureFlag.objects.create(key="flag", enabled=True, rollout_percent=0, rules=rules)
    before = [RowState(Kind.FLAG, row), RowState(Kind.SEGMENT, segment)]
    wider = before[1].after({"conditions": [condition("is_staff", "isnull", False)]})
    effect = only(impact(before, [RowState(Kind.FLAG, None), wider]))
    staff = sum(user.is_staff for user in users)
    assert (effect.gain, effect.lose, effect.on) == (0, staff, (staff, 0))


def test_impact_locks_and_writes_nothing(users: list[Any]) -> None:
    row = FeatureFlag.objects.create(key="flag", enabled=True, rollout_percent=0)
    now = RowState(Kind.FLAG, row)
    with CaptureQueriesContext(connection) as queries:
        impact([now], [now.after({"rollout_percent": 50})])
    assert len(queries) < 13
    words = ("INSERT", "UPDATE ", "DELETE", "FOR NO KEY", "LOCK TABLE", "DECLARE")
    assert not [query["sql"] for query in queries if any(word in query["sql"] for word in words)]
    assert row.rollout_percent == 0


@pytest.mark.parametrize("rules", [[{"conditions": "x"}], {"a": 1}])
def test_rules_that_cannot_be_read_are_not_counted(rules: object, users: list[Any]) -> None:
    effect = only(impact_of_enabling([flag(rules=rules).row]))
    assert (effect.users, effect.problem) == (None, "its rules cannot be read")


def test_time_limit_ends_the_count_and_the_transaction_goes_on(users: list[Any]) -> None:
    now = flag()
    effect = only(impact([now], [now.after({"rollout_percent": 50})], timeout=0))
    assert effect.users is None
    assert effect.problem
    assert User.objects.count() == 30


def test_count_of_many_flags_looks_at_the_clock_before_all_users_of_a_batch(
    users: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 0.0, 1e9])
    monkeypatch.setattr(impact_module, "_EVALUATIONS", 20)
    monkeypatch.setattr(impact_module, "monotonic", lambda: next(times))
    flags = [FeatureFlag(key=f"flag_{number}", enabled=True) for number in range(2)]
    before = [RowState(Kind.FLAG, flag) for flag in flags]
    effects = impact(before, [state.after({"rollout_percent": 50}) for state in before])
    assert {str(effect.problem) for effect in effects.values()} == {"the time limit was reached"}
    # The last time was read after the first ten users.
    assert next(times, None) is None


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite has no other connection")
@pytest.mark.django_db(transaction=True)
def test_allowed_users_of_an_open_transaction_are_counted(users: list[Any]) -> None:
    row = FeatureFlag.objects.create(key="flag", enabled=True, rollout_percent=0)
    with transaction.atomic():
        row.allowed_users.set(users[:4])
        assert only(impact_of_enabling([row])).gain == 4


@pytest.fixture
def sampled(columns: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact_module, "_MAX_USERS", 1_000)
    monkeypatch.setattr(impact_module, "_BATCH", 500)
    monkeypatch.setattr(impact_module, "_SAMPLE", 3_000)
    monkeypatch.setattr(impact_module, "_PAGES", 2)


@pytest.mark.skipif(not ON_POSTGRESQL, reason="only PostgreSQL has pages")
@pytest.mark.usefixtures("sampled")
def test_sample_is_close_and_counts_allowed_users_exactly() -> None:
    made = create_users(6_000, last_name="x" * 50)
    now = flag(rollout_percent=0)
    allowed = [user.pk for user in made[:3]]
    effect = only(impact([now], [replace(now, allowed_users=allowed)]))
    assert (effect.gain, effect.lose, effect.is_estimate) == (3, 0, True)
    effect = only(impact([now], [now.after({"rollout_percent": 50})]))
    assert effect.users == pytest.approx(6_000, rel=0.3)
    assert effect.gain == pytest.approx(3_000, rel=0.3)


@pytest.mark.usefixtures("sampled")
def test_many_users_without_pages_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    create_users(1_001, last_name="x" * 50)
    monkeypatch.setattr(type(db), "is_postgresql", False)
    effect = only(impact_of_enabling([flag(rollout_percent=50).row]))
    assert (effect.users, "too many users" in effect.problem) == (None, True)


@pytest.mark.skipif(not ON_POSTGRESQL, reason="only PostgreSQL has pages")
@COMMITTED
def test_users_on_every_page_are_counted_once(
    sampled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact_module, "_SAMPLE", 10_000)
    monkeypatch.setattr(impact_module, "_PAGES", 3)
    made = create_users(2_000, last_name="x" * 50)
    User.objects.filter(pk__in=[user.pk for user in made[200:700]]).delete()
    assert only(impact_of_enabling([flag(rollout_percent=100).row])).gain == 1_500


def test_foreign_key_of_a_state_is_set_by_its_column() -> None:
    state = RowState(Kind.FLAG, Permission()).after({"content_type": 7})
    assert state.row.content_type_id == 7


def test_sides_of_a_model_are_not_changed_in_place() -> None:
    row: Model = FeatureFlag(key="flag", enabled=True)
    assert RowState(Kind.FLAG, row).after({"enabled": False}).row.enabled is False
    assert row.enabled is True  # type: ignore[attr-defined]
