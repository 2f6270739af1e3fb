"""What a change of a flag means for what needs it: the counts before, and evaluations after."""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import User

from flagstaff import changes, flag_enabled, get_value
from flagstaff._engine.direct import read_own_writes
from flagstaff._tables.rows import Kind
from flagstaff.actions.commit import look_at_changes
from flagstaff.actions.table import Look
from flagstaff.changes.row_states import Key, previewed
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import FeatureFlag, KeyValueStore, Segment
from tests.support.conditions import condition, needs
from tests.support.forced_off import forced_off
from tests.support.repeats import repeats
from tests.support.shop import STAFF

_Change = Callable[[], Any]
FLAGS, SEGMENTS, PERCENTS = "abcdefgh", ("s", "t"), (0, 25, 50, 100)


@pytest.fixture(autouse=True)
def users() -> list[User]:
    """Forty users, ten of them staff."""
    return User.objects.bulk_create(
        User(username=f"user{number}", is_staff=number % 4 == 0) for number in range(40)
    )


def look_at(change: _Change) -> Look:
    with previewed():
        changed = [change()]
    return look_at_changes(changed, lambda _expected: ())


def results(users: list[User]) -> dict[Key, list[Any]]:
    """What each user gets, by what gives it."""
    flags = FeatureFlag.objects.values_list("key", flat=True)
    values = KeyValueStore.objects.values_list("key", flat=True)
    with read_own_writes():
        return {
            **{(Kind.FLAG, key): [flag_enabled(key, user) for user in users] for key in flags},
            **{(Kind.VALUE, key): [get_value(key, user=user) for user in users] for key in values},
        }


def test_rollout_counts_who_gains_what_needs_the_flag_also_through_others(
    users: list[User],
) -> None:
    changes.flags.create("a", enabled=True, rollout_percent=25)
    changes.segments.create("s", [{"flag": "a", "is": True}])
    changes.flags.create("b", enabled=True, rules=[{"conditions": [{"segment": "s"}]}])
    changes.flags.create("c", enabled=True, rules=needs("b", is_on=False))
    rollout = partial(changes.flags.set_rollout, "a", 75)
    before, impact = results(users), look_at(rollout).impact
    rollout()
    after = results(users)
    assert before != after
    for key in (Kind.FLAG, "a"), (Kind.FLAG, "b"), (Kind.FLAG, "c"):
        assert impact[key].on == (sum(before[key]), sum(after[key]))
    assert [use.key for use in impact.given] == ["b", "c"]


def test_flag_that_is_off_and_needs_another_one_is_not_counted() -> None:
    changes.flags.create("a", enabled=True)
    changes.flags.create("b", rules=needs("a"))
    changes.flags.create("c", enabled=True, rules=needs("b"))
    assert [*look_at(partial(changes.flags.set_rollout, "a", 75)).impact] == [(Kind.FLAG, "a")]


def test_change_of_a_flag_that_stays_off_reaches_nothing() -> None:
    changes.flags.create("a")
    changes.flags.create("b", enabled=True, rules=needs("a"))
    assert not look_at(partial(changes.flags.set_rollout, "a", 75)).impact.uses


def test_footprint_has_what_needs_the_flag_and_what_that_needs() -> None:
    changes.flags.create("a", enabled=True)
    changes.flags.create("other")
    changes.flags.create("b", enabled=True, rules=[*needs("a"), *needs("other")])
    footprint = look_at(partial(changes.flags.set_rollout, "a", 75)).footprint
    assert {key for _noun, key, _name in footprint} == {"a", "b", "other"}


def test_needed_flag_that_the_environment_forces_off_is_named_beside_the_counts() -> None:
    changes.flags.create("a", enabled=True)
    changes.flags.create("b", enabled=True, rules=needs("a"))
    changes.flags.create("c", enabled=True, rules=needs("b"))
    rollout = partial(changes.flags.set_rollout, "b", 75)
    assert "environment" not in look_at(rollout).users_text()
    with forced_off(["a"]):
        look = look_at(rollout)
    assert look.impact[Kind.FLAG, "c"].forced == ("a",)
    text = "The environment of this process forces a, counted here as stored."
    assert text in look.users_text()


def _rules(random: Random, needed: str) -> list[dict[str, Any]]:
    def any_condition() -> dict[str, Any]:
        kind = random.randrange(6)
        if kind < 2 and needed:
            return {"flag": random.choice(needed), "is": random.random() < 0.6}
        if kind == 2:
            return {"segment": random.choice(SEGMENTS), "negate": random.random() < 0.3}
        if kind == 3:
            bound, name = random.choice([0.25, 5, 50]), random.choice(["x", "y"])
            return {"bucket": name, "operator": random.choice(["lt", "gte"]), "values": [bound]}
        return condition("is_staff", "in", random.random() < 0.5)

    return [
        {
            "conditions": [any_condition() for _ in range(random.randint(1, 2))],
            "rollout_percent": random.choice(PERCENTS),
        }
        for _ in range(random.randint(0, 2))
    ]


def _conditions(random: Random) -> list[dict[str, Any]]:
    flag = {"flag": random.choice(FLAGS), "is": random.random() < 0.5}
    return [random.choice([flag, flag, STAFF])]


def _change(random: Random, users: list[User]) -> tuple[str, _Change]:
    key, segment, percent = random.choice(FLAGS), random.choice(SEGMENTS), random.choice(PERCENTS)
    user = random.choice(users)
    flags: Any = changes.flags
    made: dict[str, _Change] = {
        "kill": partial(flags.disable, key),
        "brake": partial(flags.set_rollout, key, 0),
        "on": partial(flags.enable, key),
        "rollout": partial(flags.set_rollout, key, percent),
        "rules": partial(flags.update, key, rules=_rules(random, FLAGS)),
        "release": partial(flags.release, key),
        "allow": partial(flags.allow, key, user),
        "disallow": partial(flags.disallow, key, user),
        "undo": partial(flags.undo, key),
        "delete": partial(flags.delete, key),
        "create": partial(flags.create, key, enabled=True, rollout_percent=percent),
        "conditions": partial(
            changes.segments.update, segment, {"conditions": _conditions(random)}
        ),
    }
    name = random.choice([*made])
    return name, made[name]


def test_counts_of_random_changes_are_those_of_the_evaluations_afterwards(
    users: list[User],
) -> None:
    random = Random(80)
    for segment in SEGMENTS:
        changes.segments.create(segment, [STAFF])
    for number, key in enumerate(FLAGS):
        rules, percent = _rules(random, FLAGS[:number]), random.choice(PERCENTS)
        try:
            changes.flags.create(key, enabled=True, rollout_percent=percent, rules=rules)
        except FlagstaffError:
            changes.flags.create(key, enabled=True)
    value_rules = [{**rule, "value": 2} for rule in needs("a")]
    changes.values.create("limit", 1, rules=value_rules)
    before, wanted, reached, kills = results(users), repeats(300, 60), 0, 0
    while wanted:
        name, change = _change(random, users)
        try:
            look = look_at(change)
        except FlagstaffError:
            continue
        wanted, impact = wanted - 1, look.impact
        is_without_rules = name == "brake" and not any(
            impact.after[row].row.rules for row in impact.rows
        )
        takes = name == "kill" or is_without_rules
        change()
        after = results(users)
        for row in before.keys() | after.keys():
            old, new = (side.get(row, [False] * len(users)) for side in (before, after))
            gain, lose = (
                sum(bool(better) > bool(worse) for better, worse in zip(*sides, strict=True))
                for sides in ((new, old), (old, new))
            )
            if row not in impact:
                assert old == new, (name, row)
            elif row[0] is Kind.FLAG:
                effect = impact[row]
                assert (effect.gain, effect.lose) == (gain, lose), (name, row)
            else:
                differ = sum(was != now for was, now in zip(old, new, strict=True))
                assert impact[row].changed == differ, (name, row)
            if takes and row[0] is Kind.FLAG:
                assert gain == 0, (name, row)
        reached += bool(impact.uses)
        assert not (name in {"kill", "brake"} and impact.given)
        kills += takes and bool(impact.uses)
        before = after
    assert min(reached, kills) > 0
    assert Segment.objects.count() == len(SEGMENTS)
