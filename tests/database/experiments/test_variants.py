"""The variants that code gets: in memory and in direct mode."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
from django.contrib.auth.models import AnonymousUser, User

from flagstaff import experiments, snapshot
from flagstaff.experiments import explain_variant, get_variant, peek_variant
from flagstaff.testing import override_variant
from tests.support.fixtures import Load
from tests.support.workers import Worker

pytestmark = pytest.mark.django_db

KEY = "checkout_button"


def bucket(unit: str, shuffle: int = 0) -> int:
    digest = sha256(f"experiment:{KEY}:{shuffle}:{unit}".encode()).hexdigest()
    return int(digest, 16) % 10_000


def expected(unit: str) -> str:
    return "control" if bucket(unit) < 5000 else "treatment"


@pytest.fixture
def running(load: Load) -> Load:
    experiments.create(KEY)
    experiments.start(KEY)
    load()
    return load


def test_variant_is_that_of_the_oracle(running: Load) -> None:
    for unit in range(300):
        assert get_variant(KEY, unit) == peek_variant(KEY, unit) == expected(str(unit))


def test_variants_of_ten_thousand_units_are_those_of_the_oracle(running: Load) -> None:
    units: list[str | int] = [*range(10_000), *(f"ünit-{number}" for number in range(1_000))]
    # In direct mode it makes one query for all.
    current = snapshot()
    assert [current.get_variant(KEY, unit) for unit in units] == [
        expected(str(unit)) for unit in units
    ]


def test_buckets_are_those_of_the_test_of_the_core() -> None:
    # tests/core/assign.rs has the same number.
    assert sum((unit + 1) * bucket(str(unit)) for unit in range(10_000)) == 250_845_773_321


def test_variants_are_the_same_after_a_restart(database: str) -> None:
    with Worker(database) as creator:
        creator.ask("call", "tests.support.exposing.create_running")
    for _ in range(2):
        with Worker(database) as worker:
            assert worker.ask("ready", 10) is True
            found = worker.ask("call", "tests.support.exposing.variants", 10_000)
        assert found == [expected(str(unit)) for unit in range(10_000)]


def test_user_object_and_its_key_get_the_same_variant(running: Load) -> None:
    user = User(pk=7, username="ana")
    assert get_variant(KEY, user) == get_variant(KEY, 7) == get_variant(KEY, "7")


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_anonymous_user_gets_the_default(running: Load, user: AnonymousUser | None) -> None:
    assert get_variant(KEY, user) is None
    assert get_variant(KEY, user, default="control") == "control"


def test_unknown_experiment_gives_the_default(running: Load) -> None:
    assert get_variant("other", 1, default="a") == "a"


def test_stopped_experiment_gives_the_default_at_once(running: Load) -> None:
    experiments.stop(KEY)
    running()
    assert get_variant(KEY, 1, default="none") == "none"


def test_shipped_winner_is_given_to_everyone(running: Load) -> None:
    experiments.ship(KEY, "treatment")
    running()
    assert {get_variant(KEY, user) for user in (None, 1, 2, 3)} == {"treatment"}


def test_forced_unit_gets_its_variant(running: Load) -> None:
    unit = next(unit for unit in range(100) if expected(str(unit)) == "control")
    experiments.force(KEY, str(unit), "treatment")
    running()
    assert get_variant(KEY, unit) == "treatment"
    found = explain_variant(KEY, unit)
    assert (found.reason, found.is_recorded) == ("TARGETING_MATCH", False)


def test_rules_decide_who_takes_part(load: Load) -> None:
    rules = [
        {"conditions": [{"attribute": "country", "operator": "in", "values": ["DE"]}]},
    ]
    experiments.create(KEY, rules=rules)
    experiments.start(KEY)
    load()
    assert get_variant(KEY, 1, context={"country": "DE"}) == expected("1")
    assert get_variant(KEY, 1, context={"country": "FR"}) is None
    found = explain_variant(KEY, 1, context={"country": "FR"})
    assert [rule.decides for rule in found.rules] == [False]
    assert found.rules[0].conditions[0].outcome == "failed"


def test_unit_may_be_an_attribute(load: Load) -> None:
    experiments.create(KEY, bucket_by="company")
    experiments.start(KEY)
    load()
    for user in (None, 1, 2):
        assert get_variant(KEY, user, context={"company": "acme"}) == expected("acme")


def test_change_of_weights_keeps_the_units_of_the_variant_that_grows(running: Load) -> None:
    before = {unit: get_variant(KEY, unit) for unit in range(300)}
    experiments.set_weights(KEY, {"treatment": 3})
    running()
    after = {unit: get_variant(KEY, unit) for unit in range(300)}
    moves = Counter((before[unit], after[unit]) for unit in before)
    assert moves["treatment", "control"] == 0
    assert moves["control", "treatment"] > 0


def test_explanation_names_bucket_and_phase(running: Load) -> None:
    found = explain_variant(KEY, 1)
    assert (found.variant, found.reason, found.is_recorded) == (expected("1"), "SPLIT", True)
    assert (found.bucket, found.bucket_by, found.phase) == (bucket("1"), "user", 1)


def test_explanation_of_an_unknown_experiment_is_an_error(running: Load) -> None:
    found = explain_variant("other", 1)
    assert (found.variant, found.reason, found.error_code) == (None, "ERROR", "FLAG_NOT_FOUND")


def test_override_of_a_test_decides(running: Load) -> None:
    with override_variant(KEY, "other"):
        assert get_variant(KEY, 1) == "other"
        assert explain_variant(KEY, 1).is_overridden
    with override_variant(KEY, None):
        assert get_variant(KEY, 1, default="none") == "none"
    assert get_variant(KEY, 1) == expected("1")


def test_wrong_user_is_a_type_error(running: Load) -> None:
    with pytest.raises(TypeError, match="user must be a user"):
        get_variant(KEY, 1.5)  # type: ignore[call-overload]
