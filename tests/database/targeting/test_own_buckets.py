"""A percentage of a bucket by which the same rule selects: of these users, all or none. Refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from flagstaff import changes
from flagstaff.exceptions import FlagstaffError, InvalidChangeError
from flagstaff.models import FeatureFlag, Segment
from tests.support.concurrency import run_during
from tests.support.documents import import_text
from tests.support.segment_rules import message_of, rules, rules_of
from tests.support.shop import STAFF
from tests.support.terminals import json_word, refused

pytestmark = pytest.mark.django_db(transaction=True)

TEXT = "is also that of the 50 % of this rule, so it would select all of these users or none"


def bucket(name: str) -> dict[str, Any]:
    return {"bucket": name, "operator": "lt", "values": [0.5]}


def half(*conditions: dict[str, Any], percent: int = 50) -> list[dict[str, Any]]:
    return [{"conditions": [*conditions], "rollout_percent": percent}]


OF_TEAM = {"segment": "team"}
OF_A = {"segment": "of_a"}


@pytest.fixture(autouse=True)
def rows() -> None:
    """Half of a segment has the flag a, and all of it the flag b; another reads the bucket of a."""
    changes.segments.create("team", [STAFF])
    changes.segments.create("of_a", [STAFF, bucket("a")])
    changes.flags.create("a", rules=half(OF_TEAM))
    changes.flags.create("b", rules=rules("team"))


def test_condition_of_the_rule_is_refused_but_not_with_all_or_nobody() -> None:
    for percent in (0, 100):
        changes.flags.update("a", rules=half(bucket("a"), percent=percent))
    text = message_of(changes.flags.update, "a", rules=half(bucket("a")))
    assert text.startswith(f'rules: rule 1: the bucket "a" {TEXT}')


def test_segment_of_the_rule_is_refused_but_not_with_all_or_nobody() -> None:
    for percent in (0, 100):
        changes.flags.update("a", rules=half(OF_A, percent=percent))
    text = message_of(changes.flags.update, "a", rules=half({**OF_A, "negate": True}))
    assert text.startswith(f'rules: rule 1, segment "of_a": the bucket "a" {TEXT}')


def test_conditions_of_a_segment_are_refused_with_the_rows_that_name_it() -> None:
    changes.segments.update("team", {"conditions": [bucket("b")]})
    text = message_of(changes.segments.update, "team", {"conditions": [bucket("b"), bucket("a")]})
    assert text.startswith("conditions: the rules of a name this segment with a percentage of the")


def test_value_is_refused_as_a_flag_is() -> None:
    value_rules = [{**half(OF_TEAM)[0], "value": 2}]
    changes.values.create("limit", 1, rules=value_rules)
    text = message_of(changes.segments.update, "team", {"conditions": [bucket("limit")]})
    assert text.startswith("conditions: the rules of limit name this segment")


def test_change_that_takes_the_percentage_away_at_once_is_not_refused() -> None:
    import_text(
        "flagstaff: 1\n"
        "flags: {a: {rules: [{conditions: [{segment: team}]}]}}\n"
        "segments: {team: {conditions: [{bucket: a, operator: lt, values: [5]}]}}\n"
    )
    assert rules_of("a") == rules("team")


def undo_of_rules_after_the_segment_got_the_bucket() -> None:
    changes.flags.update("a", rules=[])
    changes.segments.update("team", {"conditions": [bucket("a")]})
    changes.flags.undo("a")


CHANGES: dict[str, Callable[[], object]] = {
    "import of rules": lambda: import_text(
        "flagstaff: 1\nflags: {a: {rules: [{conditions: [{segment: of_a}], rollout_percent: 1}]}}"
    ),
    "import of conditions": lambda: import_text(
        "flagstaff: 1\nsegments: {team: {conditions: [{bucket: a, operator: lt, values: [5]}]}}"
    ),
    "rename": partial(changes.flags.update, "b", {"key": "a2"}),
    "undo": undo_of_rules_after_the_segment_got_the_bucket,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_that_makes_it_is_refused(change: Callable[[], object]) -> None:
    changes.flags.update("b", rules=half(bucket("a2")))
    with pytest.raises(FlagstaffError, match="bucket"):
        change()


def test_terminal_refuses_rules_and_conditions() -> None:
    new_rules, conditions = map(json_word, (half(OF_A), [bucket("a")]))
    refused(f"rules a {new_rules}", 4, TEXT)
    refused(f"segment conditions team {conditions} --yes", 4, "the rules of a name this segment")


@pytest.mark.parametrize("is_segment_first", [True, False])
def test_two_saves_at_once_do_not_make_it(is_segment_first: bool) -> None:
    changes.flags.update("a", rules=[])
    saves: list[Callable[[], object]] = [
        partial(changes.segments.update, "team", {"conditions": [bucket("a")]}),
        partial(changes.flags.update, "a", rules=half(OF_TEAM)),
    ]
    first, second = saves if is_segment_first else reversed(saves)
    with pytest.raises(InvalidChangeError, match="select all of these users or none"):
        run_during(first, second)


def test_other_change_is_not_refused_if_the_database_has_it() -> None:
    FeatureFlag.objects.filter(key="a").update(rules=half(OF_A))
    changes.flags.update("a", description="Half of a half")
    changes.flags.enable("a")
    changes.segments.update("of_a", description="Half")
    assert Segment.objects.get(key="of_a").description == "Half"
