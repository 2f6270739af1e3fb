"""What a change means for the users: by the counts, and by the fields where these are not whole."""

from typing import Any

import pytest

from flagstaff._tables.rows import Kind
from flagstaff.changes.consequence import (
    Consequence,
    consequence,
    consequence_of,
    impact_text,
    needs_question,
    number_text,
    text_to_type,
    users_text,
    users_texts,
)
from flagstaff.changes.row_states import Effect, Impact, RowState
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support import shop
from tests.support.admin_pages import production
from tests.support.conditions import condition

NONE, FEWER, MORE, MOST = Consequence
STAFF = {"conditions": [shop.STAFF]}
IS_ONE, IS_TRUE = ([{"conditions": [condition("beta", "in", value)]}] for value in (1, True))


def flag(enabled: bool = True, percent: int = 25, **fields: Any) -> RowState:
    allowed = fields.pop("allowed", None)
    row = FeatureFlag(key="flag", enabled=enabled, rollout_percent=percent, **fields)
    return RowState(Kind.FLAG, row, allowed)


def value(own: object = 1, **fields: Any) -> RowState:
    return RowState(Kind.VALUE, KeyValueStore(key="limit", value=own, **fields))


def rule(percent: int) -> dict[str, Any]:
    return {"conditions": [shop.GERMAN], "rollout_percent": percent}


def counted(gain: int = 0, lose: int = 0, on: int = 0, **more: Any) -> Effect:
    before = on - gain + lose
    return Effect(100, gain, lose, (before, on), changed=gain + lose, **more)


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (counted(on=25), NONE),
        (counted(lose=1, on=99), FEWER),
        (counted(on=99, anonymous=(True, False), anonymous_changed=True), FEWER),
        (counted(gain=1, lose=9, on=50), MORE),
        (counted(gain=1, on=51), MOST),
    ],
)
def test_whole_counts_decide(effect: Effect, expected: Consequence) -> None:
    assert consequence(flag(), flag(rules=[STAFF]), effect) is expected


def test_raised_rollout_that_no_present_user_gains_is_more() -> None:
    assert consequence(flag(), flag(percent=26), counted(on=25)) is MORE


@pytest.mark.parametrize(
    ("percent", "effect", "asks"),
    [
        # Users who come later gain it by a rollout that nobody gains now.
        (26, counted(on=25), False),
        (26, counted(gain=1, on=25), True),
        (24, counted(lose=1, on=25), True),
        (26, counted(on=25, anonymous=(False, True), anonymous_changed=True), True),
        # Who is not counted may gain it.
        (26, counted(on=25, ignored=("country",)), True),
        (26, counted(on=25, is_estimate=True), True),
        (26, Effect(0), True),
        (26, Effect(None, problem="slow"), True),
        # Everybody who comes later.
        (100, counted(on=25), True),
    ],
)
def test_question_is_needed_if_a_counted_user_notices_or_not_all_are_counted(
    percent: int, effect: Effect, asks: bool
) -> None:
    impact = impact_of(flag(), flag(percent=percent), effect)
    assert needs_question(impact, FEWER) is asks
    # As the admin's page of the action and the terminal ask, whatever the least is.
    assert needs_question(impact, MOST) is (consequence_of(impact) is MOST)


def test_unit_other_than_the_user_is_asked_about_and_not_counted_whole() -> None:
    before, after, most = (flag(percent=n, bucket_by="organization") for n in (25, 26, 60))
    assert needs_question(impact_of(before, after, counted()), FEWER)
    assert consequence(before, most, counted()) is MOST


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (Effect(100), NONE),
        (Effect(100, changed=50), MORE),
        (Effect(100, changed=51), MOST),
        (Effect(None, problem="slow"), MOST),
    ],
)
def test_users_whose_value_changes_decide(effect: Effect, expected: Consequence) -> None:
    assert consequence(value(), value(2), effect) is expected


# What is not counted, so that the fields decide, too.
UNCOUNTED = (
    Effect(None, problem="slow"),
    Effect(0),
    counted(ignored=("country",)),
    counted(is_estimate=True),
    counted(anonymous=(False, True), anonymous_changed=True),
)


@pytest.mark.parametrize("effect", UNCOUNTED)
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (flag(), flag(percent=10), FEWER),
        (flag(), flag(percent=50), MORE),
        (flag(), flag(percent=51), MOST),
        (flag(), flag(enabled=False, percent=100), FEWER),
        (flag(enabled=False, percent=9), flag(percent=9), MORE),
        # Its allowed users gain it.
        (flag(enabled=False, percent=0), flag(percent=0), MORE),
        (flag(enabled=False, percent=9), flag(percent=9, rules=[rule(51)]), MOST),
        (flag(), flag(bucket_by="visitor"), MOST),
        # A rule that is added, or whose percentage changes.
        (flag(), flag(rules=[rule(50)]), MORE),
        (flag(), flag(rules=[rule(51)]), MOST),
        (flag(rules=[STAFF]), flag(rules=[STAFF, rule(50)]), MORE),
        (flag(rules=[rule(10)]), flag(rules=[rule(20)]), MORE),
        # The users of a rule that goes get what comes after it.
        (flag(rules=[rule(0)]), flag(), MORE),
        (flag(percent=60, rules=[rule(0)]), flag(percent=60), MOST),
        (flag(rules=[rule(0), STAFF]), flag(rules=[STAFF]), MOST),
        (flag(rules=[rule(0), rule(9)]), flag(rules=[rule(9), rule(0)]), MORE),
        # A rule that moves beside one that is added.
        (flag(rules=[rule(0), STAFF]), flag(rules=[STAFF, rule(0), rule(9)]), MOST),
        (flag(rules={"a": 1}), flag(), MOST),
        # For Python, 1 equals true.
        (flag(rules=IS_ONE), flag(rules=IS_TRUE), MOST),
        (value(), value(True), MOST),
        (value(), value(2), MOST),
        (value(), value(rules=[{**rule(9), "value": 2}]), MORE),
        (value(rules=[{**rule(9), "value": 2}]), value(), MOST),
    ],
)
def test_fields_decide_what_is_not_counted(
    effect: Effect, before: RowState, after: RowState, expected: Consequence
) -> None:
    assert consequence(before, after, effect) is expected


@pytest.mark.parametrize("effect", UNCOUNTED)
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (flag(rules=[rule(9)]), flag(rules=[rule(9)]), MORE),
        (flag(rules=[STAFF]), flag(rules=[STAFF]), MOST),
        # Those whom a holdback lets go get what comes after it.
        (flag(percent=100, rules=[rule(0)]), flag(percent=100, rules=[rule(0)]), MOST),
        # The flag itself changes, too.
        (flag(rules=[STAFF]), flag(percent=24, rules=[STAFF]), MOST),
    ],
)
def test_segment_that_is_not_counted_changes_all_rules(
    effect: Effect, before: RowState, after: RowState, expected: Consequence
) -> None:
    assert consequence(before, after, effect, by_use=True) is expected


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (Effect(100), NONE),
        (Effect(100, changed=1), MORE),
        (Effect(100, is_estimate=True), MOST),
        (Effect(100, changed=1, is_estimate=True), MORE),
    ],
)
def test_experiment_that_is_not_counted_whole_is_most(
    effect: Effect, expected: Consequence
) -> None:
    impact = Impact([], [])
    impact[None, "test"] = effect
    assert consequence_of(impact) is expected


@pytest.mark.parametrize(
    ("effect", "expected"), [(counted(gain=1, on=90), MORE), (Effect(None, problem="slow"), MOST)]
)
def test_added_allowed_users_are_compared_by_themselves(
    effect: Effect, expected: Consequence
) -> None:
    assert consequence(flag(allowed=[]), flag(allowed=[1]), effect) is expected


@pytest.mark.parametrize(
    ("effect", "count", "text"),
    [
        (Effect(90), 0, "0"),
        (Effect(90), 4, "4"),
        (Effect(90, hides_small=True), 0, "0"),
        (Effect(90, hides_small=True), 1, "fewer than 5"),
        (Effect(90, hides_small=True), 4, "fewer than 5"),
        (Effect(90, hides_small=True), 19, "about 15"),
        (Effect(900_000, is_estimate=True), 123_456, "about 123,000"),
    ],
)
def test_number_is_rough_if_it_is_hidden_or_estimated(
    effect: Effect, count: int, text: str
) -> None:
    assert number_text(effect, count) == text


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (Effect(90), "18 of 90"),
        (Effect(90, ignored=("country",)), "18 of 90, without those selected only by country"),
        (Effect(1_003_117, is_estimate=True), "about 18 of 1,000,000"),
        (Effect(None, problem="the time limit was reached"), "not counted: the time limit was"),
    ],
)
def test_users_are_shown_with_what_is_not_counted(effect: Effect, text: str) -> None:
    assert users_text(effect, 18).startswith(text)


def test_side_that_the_fields_decide_has_no_note_about_attributes() -> None:
    effect = Effect(90, on=(18, 0), ignored=("country",), is_certain=(False, True))
    assert users_texts(effect) == ("18 of 90, without those selected only by country", "0 of 90")


def impact_of(before: RowState, after: RowState, effect: Effect) -> Impact:
    impact = Impact([before], [after])
    impact[after.kind, after.row.key] = effect
    return impact


@pytest.mark.parametrize(
    ("anonymous", "unit", "text"),
    [
        ((False, True), "user", "Everybody who is not logged in gains the flag."),
        ((True, False), "user", "Everybody who is not logged in loses the flag."),
        ((True, False), "visitor", "Afterwards not everybody without “visitor” has the flag."),
        ((True, True), "user", "have it."),
    ],
)
def test_sentence_about_anonymous_users(anonymous: tuple[bool, bool], unit: str, text: str) -> None:
    changed = anonymous[0] != anonymous[1]
    effect = counted(anonymous=anonymous, anonymous_changed=changed)
    impact = impact_of(flag(bucket_by=unit), flag(percent=90, bucket_by=unit), effect)
    assert impact_text(impact).endswith(text)


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (counted(), "No user gains or loses the flag."),
        (
            counted(ignored=("country",)),
            "If no user is selected by country, which only the application knows: Afterwards 0 of",
        ),
        (
            counted(lose=99, ignored=("country",), is_certain=(True, False)),
            "If no user is selected by country, which only the application knows: 99 users lose",
        ),
        (counted(lose=99, ignored=("country",), is_certain=(True, True)), "99 users lose the flag"),
        (counted(is_estimate=True), "Afterwards 0 of 100"),
        # The singular would say that it is one.
        (counted(gain=1, on=1, hides_small=True), "Fewer than 5 users gain the flag."),
        (counted(lose=1, hides_small=True), "Fewer than 5 users lose the flag."),
    ],
)
def test_sentence_says_only_what_the_numbers_say(effect: Effect, text: str) -> None:
    assert impact_text(impact_of(flag(), flag(rules=[STAFF]), effect)).startswith(text)


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (counted(lose=99), "99 of 100 users have the flag."),
        (counted(), "0 of 100 users have the flag."),
    ],
)
def test_sentence_about_a_deletion_says_who_has_the_flag_and_not_who_loses_it(
    effect: Effect, text: str
) -> None:
    impact = Impact([flag()], [])
    impact[Kind.FLAG, "flag"] = effect
    assert impact_text(impact) == text


def test_sentence_about_several_rows_of_which_one_is_counted_begins_with_its_key() -> None:
    rows = [RowState(Kind.FLAG, FeatureFlag(key=key)) for key in ("a", "b")]
    impact = Impact(rows, rows)
    impact[Kind.FLAG, "a"] = counted(lose=2)
    assert impact_text(impact).startswith("a: 2 users lose the flag.")


def test_sentence_about_several_rows_says_what_is_not_counted() -> None:
    rows = [RowState(Kind.FLAG, FeatureFlag(key=key)) for key in ("a", "b", "c")]
    impact = Impact(rows, rows)
    impact[Kind.FLAG, "a"] = counted(lose=2, ignored=("country",))
    impact[Kind.FLAG, "b"] = counted(ignored=("country", "plan"))
    impact[Kind.FLAG, "c"] = Effect(None, problem="slow")
    impact.changed = 2
    assert impact_text(impact) == (
        "If no user is selected by country, plan, which only the application knows: 2 different "
        "users lose a flag. The users of 1 flag, value or experiment could not be counted."
    )


@pytest.mark.parametrize("rounded_key", ["a", "b"])
@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (1, "Fewer than 5 different users lose a flag."),
        (12, "About 10 different users lose a flag."),
    ],
)
def test_total_of_several_rows_is_rounded_if_one_of_them_is(
    changed: int, text: str, rounded_key: str
) -> None:
    rows = [RowState(Kind.FLAG, FeatureFlag(key=key)) for key in ("a", "b")]
    impact = Impact(rows, rows)
    for key in ("a", "b"):
        impact[Kind.FLAG, key] = counted(lose=changed, hides_small=key == rounded_key)
    impact.changed = changed
    assert impact_text(impact) == text


@pytest.mark.parametrize(("effect", "typed"), [(counted(1, on=90), "flag"), (counted(1, on=9), "")])
def test_key_is_typed_in_production_if_most_users_have_the_flag_then(
    effect: Effect, typed: str, settings: Any
) -> None:
    impact = impact_of(flag(), flag(percent=90), effect)
    assert text_to_type(impact) == ""
    production(settings)
    assert text_to_type(impact) == typed
