"""The variants that code gets, in memory and in direct mode."""

from hashlib import sha256
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from pytest_django import Settings

from flagstaff import all_flags, experiments, snapshot, status
from flagstaff.exceptions import UnknownExperimentError
from flagstaff.experiments import explain_variant, get_variant, peek_variant
from flagstaff.experiments.models import Experiment
from flagstaff.experiments.variants import shares_of
from flagstaff.testing import override_variant
from tests.support.experiments import KEY
from tests.support.fixtures import Load
from tests.support.forced_off import forced_off
from tests.support.shop import GERMANY, Shop


def digest(unit: str, run: int = 0) -> str:
    return sha256(f"experiment:{KEY}:{run}:{unit}".encode()).hexdigest()


def bucket(unit: str, run: int = 0) -> int:
    return int(digest(unit, run), 16) % 10_000


def expected(unit: str) -> str:
    return "control" if bucket(unit) < 5000 else "treatment"


@pytest.fixture
def running(shop: Shop, load: Load) -> Load:
    shop.experiment(KEY)
    load()
    return load


def test_variant_is_that_of_the_oracle_and_is_explained(running: Load) -> None:
    for unit in range(20):
        assert get_variant(KEY, unit) == peek_variant(KEY, unit) == expected(str(unit))
    variant = explain_variant(KEY, 1)
    assert (variant.value, variant.reason, variant.is_recorded) == (expected("1"), "SPLIT", True)
    assert (variant.bucket, variant.bucket_by, variant.run) == (bucket("1"), "user", 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("variants", "traffic", "ends"),
    [
        (["control", "treatment"], 100, {"control": 5000, "treatment": 10_000}),
        (["control:99", "treatment:1"], 100, {"control": 9900, "treatment": 10_000}),
        (["a:1", "b:2", "c:4"], 40, {"a": 1429, "b": 4286, "c": 10_000}),
    ],
    ids=["halves", "99:1", "1:2:4 of 40 %"],
)
def test_variants_of_ten_thousand_units_are_those_of_the_oracle(
    shop: Shop, load: Load, variants: list[str], traffic: int, ends: dict[str, int]
) -> None:
    shop.experiment(KEY, variants=variants, traffic_percent=traffic)
    units = [*range(10_000), *(f"ünit-{number}" for number in range(1_000))]
    assert {*shares_of(Experiment.objects.get().variants)} == {*ends}
    for run in (0, 1):
        load()
        # In direct mode it makes one query for all.
        current = snapshot()
        for unit in units:
            place, takes_part = bucket(str(unit), run), int(digest(str(unit), run)[:16], 16)
            expected = next(variant for variant, end in ends.items() if place < end)
            assigned = current.get_variant(KEY, unit)
            assert assigned == (expected if takes_part % 100 < traffic else None), (unit, run)
        experiments.restart(KEY)


def test_buckets_are_those_of_the_test_of_the_core() -> None:
    # tests/core/assign.rs has the same number.
    assert sum((unit + 1) * bucket(str(unit)) for unit in range(10_000)) == 250_845_773_321


def test_unit_above_the_traffic_gets_the_default_and_keeps_its_variant_when_it_grows(
    shop: Shop, load: Load
) -> None:
    shop.experiment(KEY, traffic_percent=20)
    load()
    before = {unit: get_variant(KEY, unit) for unit in range(100)}
    outside = next(unit for unit, variant in before.items() if variant is None)
    explained = explain_variant(KEY, outside)
    assert (explained.value, explained.reason, explained.is_recorded) == (None, "SPLIT", False)
    experiments.grow(KEY, 60)
    load()
    after = {unit: get_variant(KEY, unit) for unit in range(100)}
    assert sum(variant is not None for variant in after.values()) > 40
    for unit, variant in before.items():
        assert variant in {None, after[unit]}
        assert after[unit] in {None, expected(str(unit))}


def test_user_object_and_its_key_get_the_same_variant(running: Load) -> None:
    user = User(pk=7, username="ana")
    assert get_variant(KEY, user) == get_variant(KEY, 7) == get_variant(KEY, "7")
    with pytest.raises(TypeError, match="user must be a user"):
        get_variant(KEY, 1.5)  # type: ignore[call-overload]


def test_unknown_experiment_is_explained_or_an_error_as_the_settings_say(
    settings: Settings,
) -> None:
    assert get_variant("other", 1, default="a") == "a"
    variant = explain_variant("other", 1)
    assert (variant.value, variant.reason, variant.error_code) == (None, "ERROR", "FLAG_NOT_FOUND")
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    with pytest.raises(UnknownExperimentError, match="there is no experiment 'chekout_button'"):
        get_variant("chekout_button", 1)


@pytest.mark.parametrize(
    ("state", "unit", "value", "step"),
    [
        ("draft", 1, None, ("running", False, "the experiment is not running")),
        ("stopped", 1, None, ("running", False, "the experiment is not running")),
        ("shipped", 1, "treatment", ("winner", True, "everyone gets the winner")),
        ("running", None, None, ("user", False, "there is no user")),
        ("running", AnonymousUser(), None, ("user", False, "there is no user")),
        ("forced", 1, "treatment", ("forced", True, "the unit has an override")),
        ("rules", 1, None, ("rules", False, "no rule matches")),
        ("running", 1, expected("1"), ("bucket", True, f"the bucket of the unit is {bucket('1')}")),
    ],
)
def test_step_that_decides_gives_the_variant_and_is_named(
    load: Load, state: str, unit: Any, value: str | None, step: tuple[str, bool, str]
) -> None:
    experiments.create(KEY, rules=[GERMANY] if state == "rules" else [])
    if state != "draft":
        experiments.start(KEY)
    if state == "forced":
        experiments.force(KEY, "1", "treatment")
    if state in {"stopped", "shipped"}:
        experiments.stop(KEY)
    if state == "shipped":
        experiments.ship(KEY, "treatment")
    load()
    assert get_variant(KEY, unit, default="default") == (value or "default")
    variant = explain_variant(KEY, unit)
    assert (variant.value, variant.is_recorded) == (value, step[0] == "bucket")
    assert [(step.name, step.met, step.text) for step in variant.steps if step.decides] == [step]


def test_steps_of_a_variant_have_the_rule_that_lets_the_unit_take_part(
    shop: Shop, load: Load
) -> None:
    rules = [
        {"conditions": [{"attribute": "country", "operator": "in", "values": [country]}]}
        for country in ("FR", "DE", "AT")
    ]
    shop.experiment(KEY, rules=rules)
    load()
    variant = explain_variant(KEY, 1, context={"country": "DE"})
    assert variant.rule == 2
    assert [(step.name, step.met, step.decides) for step in variant.steps[5:]] == [
        *(("rule 1", False, False), ("condition 1", False, False)),
        *(("rule 2", True, False), ("condition 1", True, False)),
        *(("rule 3", None, False), ("counted", True, False), ("bucket", True, True)),
    ]


# Overrides of tests and of the environment.


def test_override_of_a_test_wins_over_the_environment(running: Load) -> None:
    for keys in ([], [KEY]):
        with forced_off(keys):
            with override_variant(KEY, "other"):
                assert get_variant(KEY, 1) == "other"
                assert explain_variant(KEY, 1).override == "override_variant"
            with override_variant(KEY, None):
                assert get_variant(KEY, 1, default="none") == "none"
            assert get_variant(KEY, 1) == (None if keys else expected("1"))


def test_forced_off_experiment_gives_the_default_without_a_query(
    running: Load, django_assert_num_queries: Any
) -> None:
    experiments.ship(KEY, "treatment")
    running()
    with forced_off([KEY]), django_assert_num_queries(0):
        held = snapshot()
        for get in (get_variant, peek_variant, held.get_variant, held.peek_variant):
            assert get(KEY, 1, default="old") == "old"
        variant = explain_variant(KEY, 1)
    assert (variant.value, variant.reason, variant.is_recorded) == (None, "DISABLED", False)
    assert variant.override == "FLAGSTAFF_FORCE_OFF"
    # A snapshot keeps the keys that were forced off.
    assert held.get_variant(KEY, 1, default="old") == "old"
    assert (get_variant(KEY, 1), explain_variant(KEY, 1).override) == ("treatment", None)


def test_forced_off_experiment_is_not_a_flag(running: Load) -> None:
    with forced_off([KEY, "search_v2"]):
        assert status().forced_off == (KEY, "search_v2")
        assert all_flags(1) == snapshot().all_flags(1) == {"search_v2": False}


@pytest.mark.parametrize("broken", [{"variants": [5]}, {"overrides": 5}, {"guardrails": 5}])
def test_experiment_that_sql_has_broken_is_stopped(running: Load, broken: dict[str, Any]) -> None:
    Experiment.objects.update(**broken)
    experiments.stop(KEY)
    running()
    assert get_variant(KEY, 1, default="none") == "none"
